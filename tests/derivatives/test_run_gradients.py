"""Derivatives through runs: by where they start, the box, and what schemes are given, in reverse and forward mode."""

import jax
import numpy as np
import pytest
from compiled import program, running
from test_gradients import central
from test_library import MODULES, PAGES

LIQUID = """dim 2
param sigma = 1.0
energy U = sum(i < j) gaussian(5.0, 0.5*sigma)(|x[i] - x[j]|)"""
EDGE = 6.0


def disordered(seed=0, cells=4, edge=EDGE):
    """Atoms near the places of a square lattice, with velocities; x, v [N, 2]."""
    rng = np.random.default_rng(seed)
    places = np.stack(np.meshgrid(*[np.arange(cells)] * 2, indexing="ij"), -1).reshape(-1, 2) + 0.5
    return places / cells * edge + rng.uniform(-0.1, 0.1, places.shape), rng.normal(size=places.shape)


def outcome(result):
    return result.records["U"], result.x, result.v, result.box


def agree(found, expected):
    for a, b in zip(found, expected):
        assert np.allclose(a, b, rtol=1e-11, atol=1e-11)


def test_a_run_starts_from_what_it_is_given():
    """As if that had been bound; and another box, which the compiled run of the first does not serve."""
    compiled = running(LIQUID, "velocity_verlet(dt = 0.01)", 10, "record U every 5")
    (x, v), (y, w) = disordered(0), disordered(1)
    key = jax.random.key(0)
    system = compiled.bind(x, box=EDGE, velocities=v)
    first = outcome(system.run(key))
    for box in (EDGE, 6.3):
        expected = outcome(compiled.bind(y, box=box, velocities=w).run(key))
        given = {"x": y, "v": w} if box == EDGE else {"x": y, "v": w, "box": box}
        agree(outcome(system.run(key, **given)), expected)
        agree(jax.jit(lambda given: outcome(system.run(key, **given)))(given), expected)
    agree(outcome(system.run(key)), first)


def test_a_box_of_the_program_carries_a_given_start_along():
    """Positions are given in the box that was bound; params change the box, and the fractions stay."""
    compiled = running(LIQUID + "\nparam L = 6.0\nbox periodic(L)", "velocity_verlet(dt = 0.01)", 4, "record U every 4")
    (x, v), (y, _) = disordered(0), disordered(1)
    system = compiled.bind(x, velocities=v)
    key, params = jax.random.key(0), {**compiled.params, "L": 6.2}
    expected = outcome(compiled.bind(y, velocities=v).run(key, params=params))
    agree(outcome(system.run(key, x=y, params=params)), expected)
    agree(jax.jit(lambda y, p: outcome(system.run(key, x=y, params=p)))(y, params), expected)


# -- every scheme of the library ---------------------------------------------------------------------------

SCHEMES = {
    "at constant energy and temperature": (
        "velocity_verlet",
        "baoab",
        "brownian",
        "csvr",
        "berendsen",
        "velocity_rescaling",
    ),
    "minima": ("gradient_descent", "fire"),
    "boxes that change": ("stochastic_cell_rescaling", "berendsen_barostat", "fire_box"),
    "chains of thermostats": ("nose_hoover",),
    "at constant pressure": ("mtk",),
    "edges of their own": ("mtk_anisotropic",),
    "in shear": ("sllod", "sllod_rescaling"),
    "in shear, with chains": ("sllod_nose_hoover",),
}
FORWARD = {"elastic_band"}  # of replicas, in forward mode alone: dynamics/test_chains.py
QUICK = ("minima",)
STEPS = {"fire": 12, "fire_box": 12}  # their step grows after 5 downhill
OPTIONS = {
    "dt": 0.004,
    "T": 0.9,
    "gamma": 1.3,
    "tau": 0.2,
    "P": 0.6,
    "tau_P": 0.5,
    "compressibility": 0.1,
    "h": 0.002,
    "dt_max": 0.0021,
    "rate": 0.4,
}
FIXED = {"chain": 2, "order": 1, "G": "rate*outer((0, 1), (1, 0))"}


def with_schemes(schemes):
    """A program that runs them one after the other, with a param for each of their options, species and masses."""
    entries = {e.name: e for m in ("integrators", "minimizers", "barostats", "shear") for e in PAGES[m].entries}
    params, statements = {}, []
    for scheme in schemes:
        names = [name for group in entries[scheme].signature.groups for name, _ in group]
        params |= {f"{name}_{scheme}": OPTIONS[name] for name in names if name not in FIXED}
        params |= {"rate": OPTIONS["rate"]} if "G" in names else {}
        options = ", ".join(f"{name} = {FIXED.get(name, f'{name}_{scheme}')}" for name in names)
        statements.append(f"{scheme}({options}) for {STEPS.get(scheme, 2)}")
    declared = " ".join(f"param {name} = {value}" for name, value in params.items())
    masses = "species light, heavy\nparam m[species] = { light: 1.0, heavy: 1.7 }"
    text = LIQUID.replace("dim 2", f"dim 2\n{masses}\n{declared}")
    head = "use units.lj\nuse pair\nuse integrators\nuse minimizers\nuse barostats\nuse shear\n"
    return program(f'{text}\nrun {{ x = read("bound in Python") {" ".join(statements)} }}', head)


@pytest.mark.parametrize("group", [g if g in QUICK else pytest.param(g, marks=pytest.mark.slow) for g in SCHEMES])
def test_schemes(group):
    """The derivative of the final state by every option, masses, the start and the box, in both modes."""
    x, v = disordered(2)
    compiled = with_schemes(SCHEMES[group])
    system = compiled.bind(x, box=EDGE, velocities=v, species=np.arange(len(x)) % 2)
    rng = np.random.default_rng(4)
    weights = rng.normal(size=x.shape), rng.normal(size=x.shape)

    def outcome(start):
        final = system.run(jax.random.key(3), **start)
        return (weights[0] * jax.numpy.sin(final.x)).sum() + (weights[1] * final.v).sum() + (final.box**2).sum()

    start = {"params": dict(compiled.params), "x": x, "v": v, "box": np.full(2, EDGE)}
    start = jax.tree.map(lambda a: np.asarray(a, float), start)
    direction = jax.tree.map(lambda a: rng.normal(size=a.shape), start)
    value = jax.jit(outcome)
    gradient = jax.jit(jax.grad(outcome))(start)
    forward = jax.jit(lambda a, d: jax.jvp(outcome, (a,), (d,))[1])
    products = jax.tree.map(lambda g, d: float((g * d).sum()), gradient, direction)
    assert float(forward(start, direction)) == pytest.approx(sum(jax.tree.leaves(products)), rel=1e-10)
    leaves, tree = jax.tree.flatten(products)
    for k, product in enumerate(leaves):
        only = jax.tree.unflatten(tree, [float(k == j) for j in range(len(leaves))])
        slope = central(
            lambda h, only=only: float(value(jax.tree.map(lambda a, d, w: a + h * w * d, start, direction, only))), 1e-5
        )
        assert product == pytest.approx(slope, rel=1e-6, abs=1e-7), jax.tree.leaves_with_path(start)[k][0]
        assert abs(product) > 1e-9, jax.tree.leaves_with_path(start)[k][0]


def test_every_scheme_is_tried():
    known = {e.name for m in MODULES for e in PAGES[m].entries if e.usage.startswith(("integrator ", "minimizer "))}
    assert known - FORWARD == {s for group in SCHEMES.values() for s in group}


# -- what goes wrong inside transformations ------------------------------------------------------------------


def test_what_went_wrong_has_no_derivative():
    """The box is too small for the cutoff, or an atom crosses it in a step: NaN, in derivatives too, and not 0."""
    x, v = disordered(0)
    text = "dim 2\nparam sigma = 1.0\nenergy U = sum(i < j) soft_sphere(2.0*sigma, 1.0, 2.0)(|x[i] - x[j]|)"
    system = running(text, "velocity_verlet(dt = 0.01)", 1, "record U").bind(x, box=EDGE, velocities=v)

    def outcome(s, speed):
        params = {"sigma": s}
        result = system.run(jax.random.key(0), params=params, v=speed * v)
        return (result.records["U"][-1], result.x[0, 0], result.v[0, 0]), (
            system.energy(params=params),
            system.forces(params=params)[0, 0],
            system.virial(params=params)[0, 0],
        )

    both = jax.jit(lambda s, speed: (outcome(s, speed), jax.jacrev(outcome)(s, speed)))
    assert all(np.isfinite(a) for a in jax.tree.leaves(both(1.0, 1.0)))
    assert all(np.isnan(a) for a in jax.tree.leaves(both(1.6, 1.0)))
    assert all(np.isnan(a) for run, _ in both(1.0, 1e4) for a in jax.tree.leaves(run))
