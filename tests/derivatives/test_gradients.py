"""Derivatives of the energy by positions, params and box, under every transformation of JAX."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compiled import TRAVERSALS, bound, program

TEXT = """dim 2
species A, B
param sigma[species, species] = { A-A: 1.0, A-B: 0.9, B-B: 0.8 }
param epsilon[species] = { A: 1.0, B: 0.6 }
param alpha = 1.2
param width = 2.0*alpha                      # follows alpha
energy lj   = sum(i < j) sqrt(epsilon[i]*epsilon[j])*force_shifted(lennard_jones(sigma[i,j], 1), 1.7*sigma[i,j])(|x[i] - x[j]|)
energy soft = alpha^2*sum(i < j) switched(gaussian(0.5, 1/width), 1.0, 1.6)(|x[i] - x[j]|)
"""
EDGES = np.array([6.6, 6.2])


def positions(seed=0):
    """Two dimensions, for lists compile faster. Most atoms are on a lattice, one is alone: a row with padding only."""
    rng = np.random.default_rng(seed)
    cells = np.stack(np.meshgrid(*[np.arange(6)] * 2, indexing="ij"), -1).reshape(-1, 2)
    near = cells[(cells < 4).any(axis=1)] / 6 * EDGES
    return np.concatenate([near + rng.uniform(-0.05, 0.05, near.shape), [[4.9, 4.6]]])


SPECIES = np.arange(len(positions())) % 2


@pytest.fixture(scope="module")
def compiled():
    return program(TEXT)


@pytest.fixture(scope="module", params=TRAVERSALS)
def system(request, compiled):
    return bound(compiled, positions(), request.param, box=EDGES, species=SPECIES)


@pytest.fixture(scope="module")
def small(compiled):
    return bound(compiled, positions(), box=EDGES, species=SPECIES)


@pytest.fixture(scope="module")
def slopes(system):
    """Energy and gradient as one compiled function of (params, x, box)."""
    function = jax.jit(jax.value_and_grad(lambda p, x, b: system.energy(x, params=p, box=b), (0, 1, 2)))
    return lambda p=None, x=None, b=None: function(
        system.program.params if p is None else p, positions() if x is None else x, EDGES if b is None else b
    )


def central(function, h=1e-4):
    """The slope at 0, of fourth order."""
    return (8 * (function(h) - function(-h)) - function(2 * h) + function(-2 * h)) / (12 * h)


def test_positions(system, slopes):
    _, (_, dx, _) = slopes()
    assert np.allclose(dx, -np.asarray(system.forces(positions())), rtol=1e-12, atol=1e-11)
    for atom, axis in ((0, 0), (7, 1), (20, 1), (-1, 0)):

        def energy(h, atom=atom, axis=axis):
            x = positions()
            x[atom, axis] += h
            return float(slopes(x=x)[0])

        assert float(dx[atom, axis]) == pytest.approx(central(energy), rel=1e-6, abs=1e-8)


def test_params(system, slopes):
    params = system.program.params
    assert set(params) == {"sigma", "epsilon", "alpha"}
    _, (dp, _, _) = slopes()
    for name, value in params.items():
        assert dp[name].shape == np.shape(value)
        for entry in np.ndindex(np.shape(value)):

            def energy(h, name=name, value=value, entry=entry):
                changed = np.array(value, float)
                changed[entry] += h
                return float(slopes({**params, name: changed})[0])

            assert float(dp[name][entry]) == pytest.approx(central(energy), rel=1e-6, abs=1e-8)
    assert np.allclose(dp["sigma"], dp["sigma"].T, rtol=1e-12)
    assert abs(dp["sigma"][0, 1]) > 1e-3


def test_box(slopes):
    _, (_, _, db) = slopes()
    for axis in range(2):

        def energy(h, axis=axis):
            return float(slopes(b=EDGES + h * np.eye(2)[axis])[0])

        assert float(db[axis]) == pytest.approx(central(energy), rel=1e-6, abs=1e-8)


def test_the_virial_is_the_slope_by_strain(small):
    """x and box stretched together: L dU/dL + sum x dU/dx is minus the virial."""
    dx, db = jax.jit(jax.grad(lambda x, b: small.energy(x, box=b), (0, 1)))(positions(), EDGES)
    virial = np.asarray(small.virial(positions()))
    assert np.allclose(-np.diag(virial), (positions() * dx).sum(0) + EDGES * db, rtol=1e-10, atol=1e-10)


def test_scaling(small):
    """Lengths scaled together with σ, 1/width and the cutoffs change nothing; energies are linear in ε."""
    lj = program(
        "dim 2\nparam s = 1.0\nparam e = 0.7\nenergy U = sum(i < j) force_shifted(lennard_jones(s, e), 1.7*s)(|x[i] "
        "- x[j]|)"
    )
    system = bound(lj, positions(), box=EDGES)
    dp = jax.jit(jax.grad(lambda p: system.energy(params=p)))(lj.params)
    assert float(0.7 * dp["e"]) == pytest.approx(float(system.energy()), rel=1e-12)
    assert float(dp["s"]) == pytest.approx(np.trace(system.virial()), rel=1e-11)


def test_forward_and_reverse_agree(system, slopes):
    rng = np.random.default_rng(3)
    arguments = (system.program.params, positions(), EDGES)
    directions = jax.tree.map(lambda a: rng.normal(size=np.shape(a)), arguments)
    energy, gradient = slopes()
    again, forward = jax.jit(lambda a, d: jax.jvp(lambda p, x, b: system.energy(x, params=p, box=b), a, d))(
        jax.tree.map(jnp.asarray, arguments), directions
    )
    assert float(again) == pytest.approx(float(energy), rel=1e-13)
    reverse = sum(float((g * d).sum()) for g, d in zip(jax.tree.leaves(gradient), jax.tree.leaves(directions)))
    assert float(forward) == pytest.approx(reverse, rel=1e-11)


def test_vmap_over_positions_and_params(system, slopes):
    xs = np.stack([positions(seed) for seed in range(3)])
    many = jax.jit(jax.vmap(jax.grad(lambda x, p: system.energy(x, params=p)), (0, None)))(xs, system.program.params)
    for x, dx in zip(xs, many):
        assert np.allclose(dx, slopes(x=x)[1][1], rtol=1e-11, atol=1e-11)
    alphas = np.array([0.9, 1.2, 1.5])
    params = {k: v for k, v in system.program.params.items() if k != "alpha"}
    over = jax.jit(jax.vmap(jax.value_and_grad(lambda a: system.energy(params={**params, "alpha": a}))))(alphas)
    for alpha, energy, slope in zip(alphas, *over):
        one, (dp, _, _) = slopes({**params, "alpha": alpha})
        assert float(energy) == pytest.approx(float(one), rel=1e-12)
        assert float(slope) == pytest.approx(float(dp["alpha"]), rel=1e-11)


def test_without_jit(small):
    dx = jax.grad(small.energy)(jnp.asarray(positions()))
    assert np.allclose(dx, -np.asarray(small.forces()), rtol=1e-12, atol=1e-11)
    stress = np.asarray(small.stress())
    assert np.allclose(stress, -np.asarray(small.virial()) / EDGES.prod(), rtol=1e-13, atol=1e-14)


def test_single_precision_with_padded_slots(compiled, small):
    single = bound(compiled, positions(), "list", box=EDGES, species=SPECIES, precision="single")

    def slopes(system):
        return jax.jit(jax.value_and_grad(lambda p, x, b: system.energy(x, params=p, box=b), (0, 1, 2)))(
            compiled.params, positions(), EDGES
        )

    found = slopes(single)
    assert found[0].dtype == jnp.float32
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(slopes(small))):
        assert np.isfinite(a).all()
        assert np.abs(np.asarray(a) - np.asarray(b)).max() < 2e-4 * np.abs(b).max()


def test_first_call_under_a_transformation(compiled):
    """What is planned for a system are numbers, also when its first call is traced."""
    system = compiled.bind(positions(), box=EDGES, species=SPECIES)
    energy = jax.jit(system.energy)(positions())
    system = compiled.bind(positions(), box=EDGES, species=SPECIES)
    assert float(jax.vmap(system.energy)(jnp.asarray(positions())[None])[0]) == pytest.approx(float(energy), rel=1e-12)


# Energies whose formulas are singular somewhere: at the cutoff, beyond it, or at the distance 0 of an atom to itself.
SINGULAR = {
    "inverse powers": "param a = 1.0\nenergy U = sum(i < j) inverse_power(a, 1, 12)(|x[i] - x[j]|)",
    "root at the cutoff": "param a = 1.5\nenergy U = sum(i < j) if r < a then (a - r)^1.5*log(r) else 0 where r = "
    "|x[i] - x[j]|",
    "pole beyond the cutoff": "param a = 1.3\nenergy U = sum(i < j) if r < a then exp(0.3/(r - a - 0.1)) else 0 where "
    "r = |x[i] - x[j]|",
    "the field at the origin": "param a = 1.3\nenergy U = sum(i) a*|x[i] - origin|^2",
    "directions": "param a = 1.3\nenergy U = sum(i < j) if r < a then (a - r)^2*(x[i] - x[j]).x^2/r^2 else 0 where r = "
    "|x[i] - x[j]|",
}


@pytest.mark.parametrize("name", SINGULAR)
@pytest.mark.parametrize("precision", ["double", "single"])
def test_no_derivative_is_hidden_by_nan(name, precision):
    """At two atoms far apart, at an atom at the origin, at one alone."""
    text = ("box free\n" if "origin" in name else "") + SINGULAR[name]
    x = np.array([[0.0, 0, 0], [1.1, 0, 0], [3.0, 3.0, 3.0], [3.0, 3.0, 0.5]])
    compiled = program(text)
    system = compiled.bind(x, box=None if "origin" in name else 6.5, precision=precision)
    energy, (dp, dx) = jax.jit(jax.value_and_grad(lambda p, x: system.energy(x, params=p), (0, 1)))(compiled.params, x)
    assert np.isfinite(energy) and np.isfinite(dx).all() and all(np.isfinite(v).all() for v in dp.values())
    assert any(np.abs(v).max() > 0 for v in dp.values())


def test_second_derivatives(small):
    """The Hessian by forward over reverse, against differences of forces, and its symmetry."""
    x = jnp.asarray(positions())
    direction = np.random.default_rng(5).normal(size=x.shape)
    other = np.random.default_rng(6).normal(size=x.shape)
    forces = jax.jit(small.forces)
    product = jax.jit(lambda d: jax.jvp(small.forces, (x,), (d,))[1])
    expected = central(lambda h: np.asarray(forces(x + h * direction)))
    assert np.allclose(product(direction), expected, rtol=1e-6, atol=1e-6 * np.abs(expected).max())
    assert float((other * product(direction)).sum()) == pytest.approx(
        float((direction * product(other)).sum()), rel=1e-10
    )


@pytest.mark.parametrize(
    "text",
    [
        "param D = 1.0\nenergy U = sum(i < j) soft_sphere(D, 1.0, 2.5)(|x[i] - x[j]|)",
        "param D = 1.8\nenergy U = sum(i < j) (if r < D then exp(1/(r - D)) else 0) where r = |x[i] - x[j]|",
        "param D = 1.5\nenergy U = sum(i < j) (if r < D then log(D - r + 1)*sqrt(D - r)*acos(r/D) else 0)*r where r = "
        "|x[i] - x[j]|",
        "param D = 1.8\nenergy U = sum(i; j < k) u(|x[i] - x[j]|)*u(|x[i] - x[k]|) where u(r) = if r < D then exp(1/(r "
        "- D)) else 0",
    ],
)
def test_what_is_beyond_a_cutoff_has_no_part_in_derivatives_of_forces(text):
    """A negative number to a broken power, or exp(1/(r - rc)) just beyond rc: no number there, and yet none here."""
    x = np.array([[0, 0, 0], [1.8005, 0, 0], [0.2, 0.8, 0.3], [1.2, 1.0, -0.9], [1.4, 0.6, 0.2]])
    system = program(text).bind(x, box=9.0)
    hessian = np.asarray(jax.jacrev(system.forces)(x)).reshape(15, 15)
    assert np.allclose(hessian, hessian.T, atol=1e-12) and np.abs(hessian).max() > 1e-3
    h = 1e-6
    steps = [
        (system.forces(x + h * e.reshape(5, 3)) - system.forces(x - h * e.reshape(5, 3))) / (2 * h) for e in np.eye(15)
    ]
    assert np.allclose(hessian, np.stack([np.asarray(s).ravel() for s in steps], -1), atol=1e-6 * np.abs(hessian).max())
