"""Derivatives of higher order against physics: elastic constants, phonons, minima, and symmetry of the Hessian."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compiled import PAIRS_BY, program, running
from reference import REFERENCE, needs_reference

import mdsl

EXAMPLES = Path(__file__).parents[2] / "examples"

BAR = 1e-4  # GPa


@pytest.mark.slow
def test_elastic_constants_of_silicon():
    """Stillinger-Weber: C11 151.4, C12 76.4, C44 56.4 GPa, the last with relaxation within the cell: derivatives of
    the stress by strain, in forward mode."""
    text = (
        (EXAMPLES / "silicon.mdsl")
        .read_text()
        .replace("cells = 4", "cells = 2")
        .replace("record two, three, temperature, pressure  every 100", "")
    )
    a = 2 * 5.43095
    x = np.asarray(mdsl.compile(text).bind().x) * 5.43095 / 5.431
    system = mdsl.compile(text).bind(x, box=a, policy=PAIRS_BY["list"])

    def stress(strains):
        stretch, shear = strains
        strain = jnp.array([[1 + stretch, 0, 0], [0, 1, 0], [0, shear, 1]])
        box = a * strain
        return system.stress(system.relaxed(x @ strain, box=box), box=box) * BAR

    found = jax.jit(jax.jacfwd(stress))(jnp.zeros(2))
    np.testing.assert_allclose((found[0, 0, 0], found[1, 1, 0], found[1, 2, 1]), (151.4, 76.4, 56.4), atol=0.15)


def fcc(cells, a):
    corners = np.stack(np.meshgrid(*[np.arange(cells)] * 3, indexing="ij"), -1).reshape(-1, 1, 3)
    return (corners + np.array([[0, 0, 0], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]])).reshape(-1, 3) * a


def test_second_derivatives_by_the_box_of_a_crystal():
    """Lennard-Jones, fcc: the Hessian of the energy by strains against sums over the lattice."""
    a, reach = 1.55, 2.05
    x, edge = fcc(3, a), 3 * a
    compiled = program(f"energy U = sum(i < j) truncated(lennard_jones(1.0, 1.0), {reach})(|x[i] - x[j]|)")
    system = compiled.bind(x, box=edge, policy=PAIRS_BY["list"])

    def energy(strains):
        along_x, along_y, shear = strains
        strain = jnp.array([[1 + along_x, 0, 0], [0, 1 + along_y, 0], [0, shear, 1]])
        return system.energy(x @ strain, box=edge * strain) / len(x)

    found = jax.jit(jax.hessian(energy))(jnp.zeros(3))
    d = fcc(7, a) - 3 * a
    r = np.linalg.norm(d, axis=1)
    d, r = d[(r > 0) & (r < reach)], r[(r > 0) & (r < reach)]
    first, second = 4 * (-12 * r**-13 + 6 * r**-7), 4 * (156 * r**-14 - 42 * r**-8)
    # Of r' = |strain d|: its derivatives by two strains that move d along u and w, and the product of both.
    moves = [d * (1, 0, 0), d * (0, 1, 0), d[:, [2]] * (0, 1, 0)]
    slopes = [np.sum(m * d, axis=1) / r for m in moves]
    for p in range(3):
        for q in range(3):
            bend = np.sum(moves[p] * moves[q], axis=1) / r - slopes[p] * slopes[q] / r
            expected = np.sum(second * slopes[p] * slopes[q] + first * bend) / 2
            np.testing.assert_allclose(found[p, q], expected, rtol=1e-9, atol=1e-9)


@pytest.mark.slow
@needs_reference
def test_elastic_constants_of_jammed_packings():
    """Those of jax-md's data: second derivatives of the energy by strain, the packing relaxed: implicit derivatives."""
    packings = np.load(REFERENCE / "jaxmd" / "2d_polyuniform_N64_Lp-1.0.npz")
    k = 3
    fractions, box = packings["pos"][k].reshape(64, 2), packings["box"][k].reshape(2, 2)
    compiled = program("dim 2\ndata R[atoms]\nenergy U = sum(i < j) soft_sphere(R[i] + R[j], 1.0, 2)(|x[i] - x[j]|)")
    box = np.linalg.cholesky(box @ box.T)
    system = compiled.bind(fractions @ box, box=box, data={"R": packings["rad"][k]})

    def energy(strains):
        a, b, c = strains
        strained = box @ (jnp.eye(2) + jnp.array([[a, c / 2], [c / 2, b]]))
        cell = jnp.linalg.cholesky(strained @ strained.T)
        return system.energy(system.relaxed(fractions @ cell, box=cell), box=cell) / np.linalg.det(box)

    value, found = jax.jit(lambda e: (energy(e), jax.hessian(energy)(e)))(jnp.zeros(3))
    np.testing.assert_allclose(value * np.linalg.det(box), packings["Energy"][k], rtol=1e-10)
    xxxx, yyyy, xyxy, xxyy, xxxy, yyxy = packings["Cijkl"][k]
    np.testing.assert_allclose(
        found, [[xxxx, xxyy, xxxy], [xxyy, yyyy, yyxy], [xxxy, yyxy, xyxy]], rtol=1e-6, atol=1e-7
    )


def test_phonons_of_a_chain():
    """m ω² = sum over neighbours n of 2 c(n a) (1 - cos(n k a)), with c = u'' along the chain and u'/r across it:
    exact, from the Hessian."""
    n, a, reach, m = 12, 1.1, 2.5, 2.0
    compiled = program(f"dim 2\nenergy U = sum(i < j) truncated(lennard_jones(1.0, 1.0), {reach})(|x[i] - x[j]|)")
    x = np.arange(n)[:, None] * (a, 0.0)
    system = compiled.bind(x, box=[n * a, np.inf], policy=PAIRS_BY["list"])
    hessian = jax.jit(jax.hessian(system.energy))(jnp.asarray(x)).reshape(2 * n, 2 * n)
    np.testing.assert_allclose(hessian, hessian.T, rtol=0, atol=1e-13 * np.abs(hessian).max())
    along, across = lambda r: 4 * (156 * r**-14 - 42 * r**-8), lambda r: 4 * (-12 * r**-14 + 6 * r**-8)
    k = 2 * np.pi * np.arange(n) / (n * a)
    expected = [sum(2 * c(j * a) * (1 - np.cos(j * k * a)) for j in (1, 2)) / m for c in (along, across)]
    np.testing.assert_allclose(np.linalg.eigvalsh(hessian / m), np.sort(np.ravel(expected)), rtol=1e-10, atol=1e-10)


# -- Hessians and runs, in both modes --------------------------------------------------------------------

MIXTURE = """species A, B
param e[species, species] = { A-A: 1.0, A-B: 1.3, B-B: 0.6 }
quantity rho[i] = sum(j != i) smooth(|x[i] - x[j]|) where smooth(r) = if r < 1.6 then (1.6 - r)^3 else 0
energy pair = sum(i < j) e[i, j]*force_shifted(lennard_jones(1.0, 1.0), 1.7)(|x[i] - x[j]|)
energy glue = -sum(i) sqrt(rho[i])"""


def jumbled(seed=3, cells=3, edge=4.2, shake=0.12):
    rng = np.random.default_rng(seed)
    places = np.stack(np.meshgrid(*[np.arange(cells)] * 3, indexing="ij"), -1).reshape(-1, 3) + 0.5
    return places / cells * edge + rng.uniform(-shake, shake, places.shape), rng


def test_a_table_over_pairs_of_species_is_symmetric():
    """Another is refused; where its numbers are not known yet its symmetric part counts, so that each entry of a pair
    has half of the derivative by both, also of forces."""
    x, rng = jumbled(cells=2, edge=3.6)
    system = program(MIXTURE).bind(x, box=3.6, species=[0, 1] * 4)
    e = np.array([[1.0, 1.4], [1.2, 0.6]])
    for ask in (lambda: system.energy(params={"e": e}), lambda: system.program.internal({"e": e.tolist()})):
        with pytest.raises(mdsl.Rejected, match="bad-table.*differ for a pair of species"):
            ask()
    for wrong in ("much", [[1.0], [1.0, 2.0]], None):
        with pytest.raises(mdsl.Rejected, match="wrong-type.*`e` is given"):
            system.energy(params={"e": wrong})
    even = (e + e.T) / 2
    assert system.energy(params={"e": even.tolist()}) == pytest.approx(
        float(system.energy(params={"e": even})), rel=1e-14
    )
    forces = jax.jit(lambda e: system.forces(params={"e": e}))
    np.testing.assert_allclose(forces(e), system.forces(params={"e": even}), rtol=1e-12)
    by_entry = np.asarray(jax.jit(jax.jacfwd(lambda e: system.forces(params={"e": e})))(even))
    both = np.array([[0, 1e-5], [1e-5, 0]])
    np.testing.assert_array_equal(by_entry[..., 0, 1], by_entry[..., 1, 0])
    np.testing.assert_allclose(
        by_entry[..., 0, 1] + by_entry[..., 1, 0],
        (forces(even + both) - forces(even - both)) / 2e-5,
        rtol=1e-6,
        atol=1e-8,
    )


@pytest.mark.parametrize("precision", ["double", "single"])
def test_products_with_the_hessian(precision):
    """By positions and a table of species, with padded slots and an atom beyond all cutoffs: symmetric, the same in
    both modes, and in single precision no NaN."""
    x, rng = jumbled()
    x = np.concatenate([x, [[40.0] * 3]])
    given = {"species": rng.integers(0, 2, len(x)), "precision": precision, "policy": PAIRS_BY["list"]}
    system = program(MIXTURE).bind(x, box=80.0, **given)
    gradient = jax.grad(lambda p, x: system.energy(x, params=p), (0, 1))
    dtype = jnp.float64 if precision == "double" else jnp.float32
    at = jax.tree.map(lambda a: jnp.asarray(a, dtype), (system.program.params, x))
    u, w = (jax.tree.map(lambda a: jnp.asarray(rng.normal(size=a.shape), dtype), at) for _ in range(2))

    @jax.jit
    def products(u, w):
        value, forward = jax.jvp(gradient, at, u)
        return value, forward, jax.vjp(gradient, *at)[1](w)

    inner = lambda a, b: sum(np.vdot(p, q) for p, q in zip(jax.tree.leaves(a), jax.tree.leaves(b)))  # noqa: E731
    (value, forward, reverse), (_, _, again) = products(u, w), products(w, u)
    assert all(np.isfinite(a).all() for a in jax.tree.leaves((value, forward, reverse)))
    close = 1e-12 if precision == "double" else 1e-4
    scale = inner(jax.tree.map(np.abs, forward), jax.tree.map(np.abs, w))
    assert abs(inner(forward, w) - inner(reverse, u)) < close * scale
    for a, b in zip(jax.tree.leaves(forward), jax.tree.leaves(again)):
        np.testing.assert_allclose(a, b, rtol=0, atol=close * np.abs(a).max())


def differences(function, args, h=1e-6):
    """Central differences along one random direction, and the direction."""
    rng = np.random.default_rng(1)
    way = jax.tree.map(lambda a: rng.normal(size=np.shape(a)), args)
    ends = [np.asarray(function(*jax.tree.map(lambda a, d, s=s: a + s * h * d, args, way))) for s in (1, -1)]
    return (ends[0] - ends[1]) / (2 * h), way


LIQUID = """dim 2
param T = 0.7
param tau = 0.3
param step = 0.01
param sigma = 1.0
energy U = sum(i < j) switched(lennard_jones(sigma, 1.0), 1.3, 1.8)(|x[i] - x[j]|)"""


@pytest.mark.parametrize(
    "scheme, names",
    [
        pytest.param("baoab(T = T, gamma = 1/tau, dt = step)", ("step", "sigma", "T", "tau"), marks=pytest.mark.slow),
        pytest.param("velocity_verlet(dt = step)", ("step", "sigma"), marks=pytest.mark.slow),
    ],
)
def test_runs_with_lists_that_are_rebuilt(scheme, names):
    """Derivatives by parameters (of schemes too), start, and box through 60 steps, with noise that stays the same:
    reverse mode, for two runs side by side, against differences and forward mode."""
    compiled = running(LIQUID, scheme, 60, "record U every 20")
    rng = np.random.default_rng(0)
    edge, places = 6.0, np.stack(np.meshgrid(*[np.arange(4)] * 2, indexing="ij"), -1).reshape(-1, 2) + 0.5
    x, v = places * 1.5 + rng.uniform(-0.1, 0.1, (16, 2)), rng.normal(size=(16, 2))
    # Steps are about 0.01 long: the list does not hold for more than a few of them.
    system = compiled.bind(x, box=edge, velocities=v, skin=0.05, policy=PAIRS_BY["list"])

    @jax.jit
    def outcome(params, x, v, box, key=jax.random.key(0)):
        result = system.run(key, params=params, x=x, v=v, box=box)
        return result.records["U"][-2] + jnp.sum(jnp.sin(result.v))

    args = {name: system.program.params[name] for name in names}, x, v, np.full(2, edge)
    expected, way = differences(outcome, args)
    keys = jax.random.split(jax.random.key(0), 2).at[0].set(jax.random.key(0))
    gradients = jax.jit(jax.vmap(jax.grad(outcome, (0, 1, 2, 3)), (None,) * 4 + (0,)))(*args, keys)
    first = jax.tree.map(lambda a: a[0], gradients)
    along = sum(np.vdot(a, b) for a, b in zip(jax.tree.leaves(first), jax.tree.leaves(way)))
    np.testing.assert_allclose(along, expected, rtol=2e-6)
    _, forward = jax.jit(lambda: jax.jvp(outcome, args, jax.tree.map(jnp.asarray, way)))()
    np.testing.assert_allclose(along, forward, rtol=1e-9)


def test_an_ensemble_of_derivatives_is_one_after_the_other():
    """64 rafts of bubbles: the derivative of each run by the diameter, in both modes, in one program."""
    text = (EXAMPLES / "bubble_raft.mdsl").read_text()
    raft = mdsl.compile(text.replace("for 1_000", "for 10").replace("record U  every 100", "record U")).bind()
    keys = jax.random.split(jax.random.key(3), 64)

    def outcome(D, key):
        return raft.run(key, params={"D": D}).records["U"][-1]

    together = jax.jit(jax.vmap(jax.grad(outcome), (None, 0)))(1.0, keys)
    alone = jax.jit(jax.grad(outcome))
    np.testing.assert_allclose(together, [alone(1.0, key) for key in keys], rtol=1e-10)
    forward = jax.jit(jax.vmap(lambda D, key: jax.jvp(lambda D: outcome(D, key), (D,), (1.0,))[1], (None, 0)))(
        1.0, keys
    )
    np.testing.assert_allclose(together, forward, rtol=1e-10)
    assert np.ptp(together) > 0.1 * np.abs(together).mean()  # each has noise of its own
