"""The library's pair functions, bonds, angles, dihedrals and impropers against the unit tests of LAMMPS.

The files are read where they are, in shared/reference/force_styles (its README tells their traps), and the tests are
skipped without them. All numbers are in the units of the files, taken as pure numbers. The box of 15 A is shorter than
two cutoffs: pair energies are computed for 2 x 2 x 2 copies of it.
"""

import functools
import itertools
import math
import re

import jax
import numpy as np
import pytest
import quick
from compiled import program
from reference import REFERENCE

import mdsl
from mdsl.files.lammps import read_lammps_data

STYLES = REFERENCE / "force_styles"
pytestmark = pytest.mark.skipif(not STYLES.exists(), reason="needs the unit tests of LAMMPS")

HEAD = "use units.lj\nuse pair\nuse bonded\nuse coulomb\n"
ORDER = ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2))  # xx yy zz xy xz yz
COULOMB = 332.06371  # kcal A/mol/e^2 in LAMMPS


@functools.cache
def wanted(name):
    """A file's entries: the words of each line that follows a name and a colon."""
    found, rows = {}, []
    for line in (STYLES / f"{name}.yaml").read_text().splitlines():
        if key := re.match(r"(\w+):(.*)", line):
            rows = found.setdefault(key[1], [])
            line = re.sub(r"^\s*!?\s*\|[-\d]*$", "", key[2])
        if line.split() and line != "...":
            rows.append(line.split())
    return found


def numbers(name, key):
    return np.array(wanted(name)[key], float)


@functools.cache
def molecules():
    return read_lammps_data((STYLES / "data.fourmol").read_text(), "data.fourmol")


def everything(system, params):
    """Energy, forces and virial, compiled in half the time."""
    return tuple(map(np.asarray, compiled_for(system)(params)))


@functools.cache
def compiled_for(system):
    x = system.x
    function = jax.jit(
        lambda p: (system.energy(x, params=p), system.forces(x, params=p), system.virial(x, params=p)),
        compiler_options=quick.OPTIONS,
    )
    return lambda params: function({name: float(value) for name, value in params.items()})


# -- pair styles ---------------------------------------------------------------------------------------


def energy_like(i, j):
    return math.sqrt(i * j)


def mean(i, j):
    return (i + j) / 2


# The pair function over tables named by letters; which coefficient each letter is, and how it mixes.
LJ = {"e": (0, energy_like), "s": (1, mean)}
NEVER = None
PAIRS = {
    "lj_cut": ("shifted(lennard_jones(s, e), 8)", LJ),
    "lj_smooth_linear": ("force_shifted(lennard_jones(s, e), 8)", LJ),
    "lj_smooth": ("force_smoothed(lennard_jones(s, e), 8, 10)", LJ),
    "lj_expand": ("around_core(truncated(lennard_jones(s, e), 8), d)", LJ | {"d": (2, mean)}),
    "lj_gromacs": ("force_switched(lennard_jones(s, e), 7, 8)", LJ),
    "morse": ("truncated(morse(e, a, s), 8)", {"e": (0, NEVER), "a": (1, NEVER), "s": (2, NEVER)}),
    "soft": ("soft_cosine(e, s)", LJ),
    "yukawa": ("truncated(yukawa(a, 2), 8)", {"a": (0, energy_like)}),
    "gauss": ("truncated(gaussian(-a, 1/sqrt(2*b)), 8)", {"a": (0, energy_like), "b": (1, energy_like)}),
    "born": (
        "truncated(born_mayer_huggins(a, s, p, c, -d), 8)",
        {"a": (0, NEVER), "p": (1, NEVER), "s": (2, NEVER), "c": (3, NEVER), "d": (4, NEVER)},
    ),
    "harmonic_cut": ("soft_sphere(s, 2*e*s^2, 2)", LJ),
    "lj_cut_coul_cut": ("truncated(lennard_jones(s, e), 8)", LJ),
    "coul": ("truncated(coulomb(q[i], q[j]), 8)", {}),
}


@functools.cache
def kinds():
    """Each atom's type and charge as its species, since the tables are over species."""
    found = list(zip(map(int, molecules().species), molecules().charges))
    return sorted(set(found)), [sorted(set(found)).index(f) for f in found]


def tables(name, letters):
    """The declarations of a style's tables, its coefficients mixed."""
    given = {}
    if not letters:
        return
    for i, j, *values in wanted(f"mol-pair-{name}")["pair_coeff"]:
        given[int(i), int(j)] = given[int(j), int(i)] = [float(v) for v in values]
    species, _ = kinds()
    for letter, (place, mix) in letters.items():
        entries = []
        for a, b in itertools.combinations_with_replacement(range(len(species)), 2):
            i, j = species[a][0], species[b][0]
            value = given[i, j][place] if (i, j) in given else mix(given[i, i][place], given[j, j][place])
            entries.append(f"S{a}-S{b}: {value!r}")
        yield f"const {letter}_{name}[species, species] = {{ {', '.join(entries)} }}"


@functools.cache
def pair_program():
    """All pair styles in one program, each with a weight; near pairs scaled as `special_bonds` says."""
    species, _ = kinds()
    lines = [
        f"species {', '.join(f'S{k}' for k in range(len(species)))}",
        f"const q[species] = {{ "
        f"{', '.join(f'S{k}: {float(q) * math.sqrt(COULOMB)!r}' for k, (_, q) in enumerate(species))} }}",
    ]
    lines.append("topology bonds(i, j), pairs13(i, j) = apart(bonds, 2), pairs14(i, j) = apart(bonds, 3)")
    for name, (function, letters) in PAIRS.items():
        lines += tables(name, letters)
        u = re.sub(r"\b([a-z])\b(?!\[)", lambda m: f"{m[1]}_{name}[i, j]" if m[1] in letters else m[1], function)
        terms = ["sum(i < j, (i, j) not in bonds, (i, j) not in pairs13, (i, j) not in pairs14)"]
        terms += [
            f"{weight}*sum((i, j) in {pairs})"
            for weight, pairs in ((0.10, "bonds"), (0.25, "pairs13"), (0.50, "pairs14"))
        ]
        lines += [
            f"param w_{name} = 0.0",
            f"energy U_{name} = w_{name}*({' + '.join(f'{t} {u}(|x[i] - x[j]|)' for t in terms)})",
        ]
    return program("\n".join(lines), HEAD)


@functools.cache
def copies():
    """The molecules 2 x 2 x 2 times, bonds leading to the nearest image; bound."""
    one = molecules()
    x, edges, count = one.positions, one.lengths, one.atoms
    cells = np.array(list(itertools.product((0, 1), repeat=3)))
    bonds = one.topology["bonds"]
    step = np.round((x[bonds[:, 0]] - x[bonds[:, 1]]) / edges).astype(
        int
    )  # the cell of the nearest image of the second atom
    other = (cells[:, None] + step) % 2 @ (4, 2, 1)
    many = np.stack([np.arange(8)[:, None] * count + bonds[:, 0], other * count + bonds[:, 1]], axis=2).reshape(-1, 2)
    positions = (x + (cells * edges)[:, None]).reshape(-1, 3)
    return pair_program().bind(positions, box=2 * edges, species=kinds()[1] * 8, topologies={"bonds": many})


def check(name, energy, forces, virial, expected=None):
    assert energy == pytest.approx(numbers(name, "init_vdwl")[0, 0] if expected is None else expected, rel=1e-11)
    stress = numbers(name, "init_stress").ravel()
    assert np.allclose([virial[k] for k in ORDER], stress, rtol=0, atol=1e-10 * np.abs(stress).max())
    if forces is not None:
        f = numbers(name, "init_forces")[:, 1:]
        assert np.allclose(forces, f, rtol=0, atol=1e-10 * np.abs(f).max())


@pytest.mark.parametrize("name", [n for n in PAIRS if n != "coul"])
def test_pair_style(name):
    on = {name, "coul"} if name == "lj_cut_coul_cut" else {name}
    energy, forces, virial = everything(copies(), {f"w_{n}": float(n in on) for n in PAIRS})
    file = f"mol-pair-{name}"
    expected = None
    if name == "lj_cut_coul_cut":
        expected = numbers(file, "init_vdwl")[0, 0] + numbers(file, "init_coul")[0, 0]
    if name == "lj_smooth_linear":
        expected = energy / 8  # the file's is without the weights of near pairs
        assert expected == pytest.approx(749.26802846, rel=1e-10)
    if name == "lj_smooth":
        expected = numbers(file, "init_vdwl")[0, 0] + shift_at_the_end()
    check(file, energy / 8, forces[:29], virial / 8, expected)


def shift_at_the_end():
    """LAMMPS does not shift this energy to 0 at its end: what that is for all pairs together, with their weights."""
    system, total = copies(), 0.0
    given = {(int(i), int(j)): (float(e), float(s)) for i, j, e, s in wanted("mol-pair-lj_smooth")["pair_coeff"]}
    d = system.x[:, None] - system.x[None]
    r = np.linalg.norm(d - system.box * np.round(d / system.box), axis=2)
    weight = np.triu(np.ones(r.shape), 1)
    for factor, name in ((0.10, "bonds"), (0.25, "pairs13"), (0.50, "pairs14")):
        a, b = np.sort(system.initial.topologies[name], axis=1).T
        weight[a, b] = factor
    types = np.array([kinds()[0][k][0] for k in kinds()[1]] * 8)
    for i, j in np.argwhere((weight > 0) & (r < 10)):
        key = tuple(sorted((types[i], types[j])))
        e, s = given.get(key) or (mix(p, q) for mix, p, q in zip((energy_like, mean), *(given[k, k] for k in key)))
        slope, bend = (
            4 * e * (a * (s / 8) ** 12 - b * (s / 8) ** 6) for a, b in ((-12 / 8, -6 / 8), (156 / 64, 42 / 64))
        )
        # The energy at 10 less that at 8: the force falls as a cubic from -slope to 0.
        rise = slope * 2 + bend / 2 * 4 - (3 * slope + 4 * bend) / 12 * 8 + (2 * slope + 2 * bend) / 32 * 16
        total -= weight[i, j] * (4 * e * ((s / 8) ** 12 - (s / 8) ** 6) + rise)
    return total / 8


# -- bonds, angles, dihedrals, impropers -----------------------------------------------------------------

DEGREE = math.pi / 180
FILES = {
    "bond-harmonic": lambda k, r0: f"harmonic_bond({2 * k}, {r0})(r)",
    "bond-fene": lambda k, r0, e, s: f"(fene({k}, {r0})(r) + wca({s}, {e})(r))",
    "bond-morse": lambda d, a, r0: f"morse_bond({d}, {a}, {r0})(r)",
    "angle-harmonic": lambda k, t: f"harmonic_angle({2 * k}, {t * DEGREE})(theta)",
    "angle-cosine": lambda k: f"cosine_angle({k})(theta)",
    "angle-cosine_squared": lambda k, t: f"cosine_squared_angle({2 * k}, {t * DEGREE})(theta)",
    "dihedral-harmonic": lambda k, d, n: f"periodic_dihedral({k}, {n}, {0 if d > 0 else math.pi})(phi)",
    "dihedral-opls": lambda *k: f"opls_dihedral({', '.join(map(str, k))})(phi)",
    "dihedral-charmm": lambda k, n, d, weight: f"periodic_dihedral({k}, {n}, {d * DEGREE})(phi)",
    "improper-harmonic": lambda k, c: f"harmonic_improper({2 * k}, {c * DEGREE})(phi)",
}
SHAPES = {
    "bond": ("(i, j)", "where r = |x[i] - x[j]|"),
    "angle": ("(i, j, k)", "where theta = angle(x[i], x[j], x[k])"),
    "dihedral": ("(i, j, k, l)", "where phi = dihedral(x[i], x[j], x[k], x[l])"),
    "improper": ("(i, j, k, l)", "where phi = dihedral(x[i], x[j], x[k], x[l])"),
}


@functools.cache
def bonded():
    """All styles in one program, each with a weight; a topology for each type of the file."""
    lines, topologies = ['run { x = read("data.fourmol") }'], set()
    for kind, (atoms, _) in SHAPES.items():
        lines.append(f"topology {kind}s{atoms}")
        for k in sorted(set(molecules().topology_types[f"{kind}s"])):
            topologies.add(f"{kind}{k}")
            lines.append(f"topology {kind}{k}{atoms} = of_type({kind}s, {k})")
    for file, formula in FILES.items():
        kind, name = file.split("-")
        atoms, where = SHAPES[kind]
        sums = [
            f"sum({atoms} in {kind}{k}) {formula(*map(float, values))}"
            for k, *values in wanted(file)[f"{kind}_coeff"]
            if f"{kind}{k}" in topologies
        ]
        w = f"w_{kind}_{name}"
        lines += [f"param {w} = 0.0", f"energy U_{kind}_{name} = {w}*({' + '.join(sums)}) {where}"]
    return mdsl.compile(HEAD + "\n".join(lines), STYLES).bind()


@pytest.mark.slow  # for what there is to compile
@pytest.mark.parametrize("file", FILES)
def test_bonded_style(file):
    found = everything(bonded(), {f"w_{f.replace('-', '_')}": float(f == file) for f in FILES})
    energy, forces, virial = found
    # The forces in this file are of a pair style as well.
    check(file, energy, None if file == "dihedral-charmm" else forces, virial, numbers(file, "init_energy")[0, 0])
