"""Derivatives of every energy of the standard library where they could go wrong: with neighbour lists and their padded
slots, with tables of species, at the ends of cutoffs, in single precision; by positions, params and box.
"""

import functools

import jax
import numpy as np
import pytest
from compiled import bound, program
from test_gradients import central
from test_library import CASES, FUNCTIONS, MODULES, SUMS, VALUES, energies_of

EDGE = 7.0
CUTOFF = 2.45


def atoms():
    """A bent chain, a pair beside it, and an atom alone, whose row of a list is padding only; z stays above 0.9."""
    chain = np.cumsum(
        [[0.7, 0.6, 0.3], [0.9, -0.4, 0.5], [0.2, 0.8, 0.6], [-0.5, 0.7, 0.6], [0.8, 0.4, -0.5], [0.3, -0.8, 0.7]],
        axis=0,
    )
    return np.concatenate([1.0 + chain, [[5.9, 4.9, 1.0], [6.6, 5.4, 1.6], [4.6, 0.9, 5.6]]])


BONDS = [[k, k + 1] for k in range(5)]
SPECIES = np.arange(9) % 2
INDICES = {"r": "[i, j]", "theta": "[j, i]", "phi": "[j, k]", "z": "[i, i]"}
MANYBODY = {
    "stillinger_weber": "param {n}_s[species, species] = {{ A-A: 1.0, A-B: 0.95, B-B: 0.9 }}\nparam {n}_e[species] = "
    "{{ A: 1.0, B: 1.4 }}\nparam {n}_a = 1.9\n"
    "energy U_{n} = w_{n}*sum(i < j) sqrt({n}_e[i]*{n}_e[j])*stillinger_weber_pair({n}_s[i, j], 1, {n}_a)(|x[i] - "
    "x[j]|)\n"
    "energy V_{n} = w_{n}*sum(i; j < k) {n}_e[i]*stillinger_weber_triple(1.1*{n}_s[i, i], 1, {n}_a)(|a|, |b|, "
    "a·b/(|a|*|b|)) where a = x[j] - x[i], b = x[k] - x[i]",
    "sutton_chen": "param {n}_a[species, species] = {{ A-A: 1.3, A-B: 1.2, B-B: 1.1 }}\nparam {n}_e = 1.1\nparam "
    "{n}_c[species] = {{ A: 3.0, B: 4.0 }}\nparam {n}_n = 9.0\nparam {n}_m = 6.0\n"
    "quantity rho_{n}[i] = sum(j != i) switched(sutton_chen_density({n}_a[i, j], {n}_m), 1.5, CUT)(|x[i] - x[j]|)\n"
    "energy U_{n} = w_{n}*sum(i < j) switched(sutton_chen_pair({n}_a[i, j], {n}_e, {n}_n), 1.5, CUT)(|x[i] - "
    "x[j]|)\nenergy V_{n} = w_{n}*sum(i) sutton_chen_embedding({n}_e, {n}_c[i])(rho_{n}[i])",
    "gupta": "param {n}_x[species, species] = {{ A-A: 1.3, A-B: 1.2, B-B: 1.1 }}\nparam {n}_q = 2.1\nparam {n}_r = "
    "1.1\nparam {n}_A = 0.2\nparam {n}_p = 8.0\n"
    "quantity rho_{n}[i] = sum(j != i) switched(gupta_moment({n}_x[i, j], {n}_q, {n}_r), 1.5, CUT)(|x[i] - x[j]|)\n"
    "energy U_{n} = w_{n}*sum(i < j) switched(gupta_pair({n}_A, {n}_p, {n}_r), 1.5, CUT)(|x[i] - x[j]|)\nenergy V_{n} "
    "= w_{n}*sum(i) gupta_band(rho_{n}[i])",
}
OWN = {  # what single atoms and the box add
    "wolf_self": "param {n}_q[species] = {{ A: 1.0, B: -0.8 }}\nparam {n}_a = 0.6\nparam {n}_c = 2.4\nenergy U_{n} = "
    "w_{n}*sum(i) wolf_self({n}_q[i], {n}_a, {n}_c)",
    "damped_shifted_force_self": "param {n}_q[species] = {{ A: 1.0, B: -0.8 }}\nparam {n}_a = 0.6\nparam {n}_c = "
    "2.4\nenergy U_{n} = w_{n}*sum(i) damped_shifted_force_self({n}_q[i], {n}_a, {n}_c)",
    "energy_tail": "param {n}_s = 1.1\nparam {n}_e = 0.9\nparam {n}_c = 2.4\nenergy U_{n} = "
    "w_{n}*energy_tail(lennard_jones({n}_s, {n}_e), {n}_c)",
}
SILICA = """use units.metal
use pair (force_shifted)
use silica
use coulomb (wolf)
param w_bks = 0.0
param bks_alpha = 0.3 [1/angstrom]
param bks_rc = 2.45 [angstrom]
energy U = w_bks*sum(i < j) (force_shifted(bks(bks_A[i, j], bks_rho[i, j], bks_C[i, j], bks_D[i, j]), bks_rc)(r) + wolf(bks_q[i], bks_q[j], bks_alpha, bks_rc)(r)) where r = |x[i] - x[j]|"""
ENDED = {e.name for m, e in FUNCTIONS if "rc" in [n for group in e.signature.groups for n, _ in group]} | {
    "soft_sphere",
    "wca",
}


def library(module):
    """The energies of a module by name, each a text with a weight `w_NAME`, and params that are tables of pairs."""
    found = {}
    for entry in energies_of(module):
        variable, arguments, lines = entry.signature.groups[-1][0][0], [], []
        for k, (name, kind) in enumerate(p for group in entry.signature.groups[:-1] for p in group):
            if " of " in kind:
                arguments.append("sample")
                continue
            value = VALUES.get(name, 1.1 + 0.13 * k)
            table = name not in ("rc", "r_on")  # one end for all, for the list
            text = f"{{ A-A: {value}, A-B: {0.97 * value:.6g}, B-B: {0.94 * value:.6g} }}" if table else str(value)
            lines.append(f"param {entry.name}_{name}{'[species, species]' if table else ''} = {text}")
            arguments.append(f"{entry.name}_{name}{INDICES[variable] if table else ''}")
        u = f"{entry.name}({', '.join(arguments)})"
        if variable == "r" and entry.name not in ENDED and module != "bonded":
            u = f"switched({u}, 1.5, CUT)"
        where = "sum((i, j) in bonds) {}(|x[i] - x[j]|)" if module == "bonded" and variable == "r" else SUMS[variable]
        found[entry.name] = "\n".join([*lines, f"energy U_{entry.name} = w_{entry.name}*{where.format(u)}"])
    return found


GROUPS = {
    **{m: library(m) for m in MODULES if energies_of(m) and m != "external"},
    "manybody": {n: t.format(n=n) for n, t in MANYBODY.items()},
    "external and own": {**library("external"), **{n: t.format(n=n) for n, t in OWN.items()}},
    "silica": {"bks": SILICA},
}


def text_of(group):
    if group == "silica":
        return SILICA
    lines = [
        "use units.lj",
        "use pair",
        *(f"use {m}" for m in ("bonded", "coulomb", "manybody", "external")),
        "species A, B",
    ]
    lines += (
        ["topology bonds(i, j), angles(i, j, k) = path(bonds), dihedrals(i, j, k, l) = path(bonds)"]
        if group == "bonded"
        else []
    )
    lines.append("def sample(r) = morse(1.0, 1.3, 1.2)(r) + exp(-r)/r")
    lines += [f"param w_{name} = 0.0\n{text}" for name, text in GROUPS[group].items()]
    if group in ("bonded", "external and own"):  # something for the list
        lines.append("energy soft = 0.5*sum(i < j) soft_sphere(1.9, 1.0, 2.5)(|x[i] - x[j]|)")
    return "\n".join(lines).replace("CUT", str(CUTOFF))


@functools.cache
def compiled(group, precision="double"):
    """(program, energy and gradient as a function of (params, x, box)), with a neighbour list."""
    made = program(text_of(group), head="")
    more = {"topologies": {"bonds": BONDS}} if group == "bonded" else {}
    system = bound(made, atoms(), "list", box=EDGE, species=SPECIES, precision=precision, **more)
    return made, jax.jit(jax.value_and_grad(lambda a: system.energy(a[1], params=a[0], box=a[2])))


def arguments(made, name):
    params = {n: np.array(v, float) for n, v in made.params.items()}
    return params | {f"w_{name}": np.array(1.0)}, atoms(), np.full(3, EDGE)


def symmetric(tree):
    """A direction in which tables of pairs stay symmetric."""
    params = {n: (v + v.T) / 2 if np.ndim(v) == 2 else v for n, v in tree[0].items()}
    return params, *tree[1:]


TRIED = [(g, n) for g in GROUPS for n in GROUPS[g]]


@pytest.mark.slow
@pytest.mark.parametrize("group, name", TRIED)
def test_gradients(group, name):
    """All parameters of one energy, all positions, all edges, each along a random direction; and in single
    precision."""
    made, gradient = compiled(group)
    at = arguments(made, name)
    rng = np.random.default_rng(7)
    value, slopes = jax.tree.map(np.asarray, gradient(at))
    assert all(np.isfinite(a).all() for a in jax.tree.leaves(slopes))
    direction = symmetric(jax.tree.map(lambda a: rng.normal(size=a.shape), at))
    scale = max(np.abs(slopes[1]).max(), np.abs(value), 1.0)
    zero = jax.tree.map(np.zeros_like, at)
    along = {n: ({**zero[0], n: direction[0][n]}, *zero[1:]) for n in at[0] if n.startswith(name) or n == f"w_{name}"}
    along |= {"x": (zero[0], direction[1], zero[2]), "box": (*zero[:2], direction[2])}
    for what, step in along.items():
        expected = central(
            lambda h, step=step: float(gradient(jax.tree.map(lambda a, d: a + h * d, at, step))[0]), 2e-5
        )
        found = sum(float((s * d).sum()) for s, d in zip(jax.tree.leaves(slopes), jax.tree.leaves(step)))
        assert abs(found - expected) < 1e-6 * max(abs(expected), 0.1 * scale), (what, found, expected)
    single = jax.tree.map(np.asarray, compiled(group, "single")[1](at))
    for a, b in zip(jax.tree.leaves(single), jax.tree.leaves((value, slopes))):
        assert np.isfinite(a).all() and np.abs(a - b).max() < 1e-3 * max(np.abs(b).max(), scale)


# Energies that end smoothly: derivatives are finite, and right, for a pair exactly at the end as well.
ENDS = {
    "soft_sphere": "soft_sphere(1.5*s, 1.0, 2.5)",
    "wca": "wca(1.5/2^(1/6)*s, 1.0)",
    "soft_cosine": "soft_cosine(1.0, 1.5*s)",
    "force_shifted": "force_shifted(lennard_jones(s, 1.0), 1.5*s)",
    "switched": "switched(lennard_jones(s, 1.0), 1.2*s, 1.5*s)",
    "switched at its onset": "switched(lennard_jones(s, 1.0), 1.5*s, 1.9*s)",
    "force_switched": "force_switched(lennard_jones(s, 1.0), 1.2*s, 1.5*s)",
    "force_smoothed": "force_smoothed(lennard_jones(s, 1.0), 1.2*s, 1.5*s)",
    "stillinger_weber_pair": "stillinger_weber_pair(s, 1.0, 1.5)",
    "reaction_field": "reaction_field(1.0, s, 12.0, 1.5*s)",
    "wolf": "wolf(1.0, s, 0.6, 1.5*s)",
}
AT_THE_END = np.array([[1.0, 1.0, 1.0], [2.5, 1.0, 1.0], [1.0, 2.2, 1.0]])  # 1.5 apart, 1.2, and 1.92


def test_at_the_ends_of_cutoffs():
    """From above and below the slopes are those at the end, where force and slope are continuous; finite for the
    others."""
    weights = "\n".join(
        f"param w{k} = 0.0\nenergy U{k} = w{k}*sum(i < j) {u}(|x[i] - x[j]|)" for k, u in enumerate(ENDS.values())
    )
    made = program(f"use coulomb\nuse manybody\nparam s = 1.0\n{weights}")
    for precision in ("double", "single"):
        system = made.bind(AT_THE_END, box=6.5, precision=precision)
        gradient = jax.jit(jax.grad(lambda p, x: system.energy(x, params=p), (0, 1)))
        for k, name in enumerate(ENDS):
            params = {**{n: 0.0 for n in made.params}, "s": 1.0, f"w{k}": 1.0}
            found = []
            for h in (-1e-7, 0.0, 1e-7):
                x = AT_THE_END.copy()
                x[1, 0] += h
                slopes = gradient(params, x)
                assert all(np.isfinite(a).all() for a in jax.tree.leaves(slopes)), name
                found.append(np.r_[float(slopes[0]["s"]), np.ravel(slopes[1])])
            if precision == "double" and name not in ("reaction_field", "wolf"):
                assert np.abs(found[0] - found[1]).max() < 1e-4 and np.abs(found[2] - found[1]).max() < 1e-4, name


def test_every_energy_is_tried():
    assert {n for g, n in TRIED} >= {n for m, n in CASES if m != "manybody"} | {
        e.name for m, e in FUNCTIONS if m == "coulomb" and e.name.endswith("_self")
    }
