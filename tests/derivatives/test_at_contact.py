"""Derivatives where atoms lie at one place, or exactly where a power of what is 0 is singular: limits, not NaN."""

import jax
import numpy as np
import pytest
import sympy
from compiled import program

X = np.array([[5.0, 5, 5], [5, 5, 5], [6, 5.2, 5], [5.3, 5.6, 5.1]])  # the first two at one place

# Functions that are smooth at r = 0, some of them written as 0/0, and u''(0), worked out by hand.
SMOOTH = {
    "sin(2*r)/r": -8 / 3,
    "erf(1.3*r)/r": -4 * 1.3**3 / (3 * np.sqrt(np.pi)),
    "cos(r)": -1.0,
    "tanh(r)/r": -2 / 3,
    "(sin(r)/r)^2": -2 / 3,
    "exp(-r^2)*sin(r)/r": -7 / 3,
    "r^3": 0.0,
    "(if r < 2 then (1 - r/2)^4*(1 + 2*r) else 0)": -5.0,
    "soft_cosine(1.0, 3.0)(r)": -((np.pi / 3) ** 2),
    "switched(soft_cosine(1.0, 3.0), 1.0, 2.5)(r)": -((np.pi / 3) ** 2),
    "gaussian(1.0, 0.7)(r)": -1 / 0.7**2,
}
H = 1e-3


def test_functions_with_a_limit():
    """Energy, forces and the Hessian at distance 0: there it is u''(0) times the unit matrix."""
    weights = "\n".join(f"param w{k} = 0.0" for k in range(len(SMOOTH)))
    energies = "\n".join(f"energy U{k} = w{k}*sum(i < j) {u} where r = |x[i] - x[j]|" for k, u in enumerate(SMOOTH))
    made = program(f"{weights}\n{energies}")
    system = made.bind(X, box=30.0)
    rng = np.random.default_rng(0)
    d, w = rng.normal(size=(2, 4, 3))
    energy = jax.jit(lambda x, p: system.energy(x, params=p))
    forces = jax.jit(lambda x, p: system.forces(x, params=p))
    forward = jax.jit(lambda x, p, d: jax.jvp(lambda x: system.forces(x, params=p), (x,), (d,))[1])
    reverse = jax.jit(jax.grad(lambda x, p: (system.forces(x, params=p) * w).sum()))
    first = np.zeros((4, 3))
    first[0] = d[0]
    for k, (u, curvature) in enumerate(SMOOTH.items()):
        at = {f"w{n}": float(n == k) for n in range(len(SMOOTH))}
        f = np.asarray(forces(X, at))
        assert np.isfinite(f).all(), u
        slope = (energy(X + H * d, at) - energy(X - H * d, at)) / (2 * H)
        assert -float((f * d).sum()) == pytest.approx(float(slope), abs=1e-4), u
        assert np.allclose(forward(X, at, first)[1], curvature * d[0], atol=1e-9), u  # on the atom that lies there
        assert float((w * forward(X, at, d)).sum()) == pytest.approx(float((reverse(X, at) * d).sum()), rel=1e-9), u


MASKED = {
    "species": "sum(i < j) (if species[i] == A and species[j] == A then k*u(r) else 0)"
    " where u = truncated(lennard_jones(1.0, 1.0), 2.5), r = |x[i] - x[j]|",
    "a table of cutoffs": "sum(i < j) (if r < rc[i, j] then k*(1/r^6 + exp(-r)/r) else 0) where r = |x[i] - x[j]|",
    "far from a centre": "sum(i) (if |d| > 1.0 then k/2*(|d| - 1.0)^2 else 0) where d = x[i] - origin",
    "the other branch": "sum(i < j) (if r <= 0.5 then 0 else k/r^3) where r = |x[i] - x[j]|",
    "not near": "sum(i < j) (if not (r < 0.5 or r > 3) then k*log(r) else 0) where r = |x[i] - x[j]|",
    "triples": "sum(i; j < l) (if species[i] == A and species[j] == A and species[l] == A"
    " then k/(|a|*|b|) + k*sqrt(|a|*|b|) else 0)"
    " where a = x[j] - x[i], b = x[l] - x[i]",
}


@pytest.mark.parametrize("name", MASKED)
def test_what_is_not_taken_at_contact_has_no_part_in_derivatives(name):
    """Pairs that lie at one place and do not interact: derivatives of forces in both modes, against differences."""
    x = np.array([[0.0, 0, 0], [1.2, 0.3, 0], [0.4, 1.3, 0.6], [0, 0, 0]])
    head = "species A, B\nparam k = 1.0\nparam rc[species, species] = { A-A: 1.9, A-B: 0.0, B-B: 0.0 }\nbox free\n"
    system = program(f"{head}energy U = {MASKED[name]}").bind(x, species=["A", "A", "A", "B"])

    def loss(k, x):
        return (system.forces(x, params={"k": k}) ** 2).sum()

    reverse = jax.jit(jax.grad(loss, (0, 1)))(1.0, x)
    along = np.random.default_rng(1).normal(size=x.shape)
    along[3] = along[0]  # they stay where they are to each other
    forward = jax.jit(lambda d: jax.jvp(loss, (1.0, x), d)[1])
    h = 1e-5
    by_k = (loss(1.0 + h, x) - loss(1.0 - h, x)) / (2 * h)
    by_x = (loss(1.0, x + h * along) - loss(1.0, x - h * along)) / (2 * h)
    assert float(reverse[0]) == pytest.approx(float(by_k), rel=1e-6) and abs(by_k) > 1e-3
    assert float((reverse[1] * along).sum()) == pytest.approx(float(by_x), rel=1e-6)
    assert float(forward((1.0, 0 * x))) == pytest.approx(float(by_k), rel=1e-6)
    assert float(forward((0.0, along))) == pytest.approx(float(by_x), rel=1e-6)


POWERS = ["1.5", "2.5", "3.5", "1.3", "2.7", "0.5"]


@pytest.mark.parametrize("form", ["max(0, 1 - r)", "max(1 - r, 0)", "(if r < 1 then 1 - r else 0)", "-min(0, r - 1)"])
def test_broken_powers_of_nothing(form):
    """At the end of max(0, 1 - r)^p, and beyond: as of `if r < 1 then (1 - r)^p else 0`, 0."""
    x = np.array([[0.0, 0, 0], [1.0, 0, 0], [0, 1.0, 0], [0, 0, 1.5]])
    powers = " + ".join(f"({form})^{p}" for p in POWERS)
    system = program(f"param a = 1.0\nenergy U = a*sum(i < j) ({powers}) where r = |x[i] - x[j]|").bind(x, box=5.0)
    assert np.all(system.forces() == 0)
    assert np.all(jax.jvp(system.forces, (x,), (x,))[1] == 0)
    assert np.all(jax.grad(lambda x: (system.forces(x) * x).sum())(x) == 0)


def test_half_powers_have_the_derivatives_of_powers():
    """s^2.5 at 0: 0, 0, and then infinite, at 0.7 those of SymPy."""
    from mdsl.lowering.kernels.emit import half_power

    s = sympy.Symbol("s")
    function = lambda a: half_power(a, 5)  # noqa: E731
    for order in range(4):
        exact = sympy.diff(s ** sympy.Rational(5, 2), s, order)
        assert float(function(0.7)) == pytest.approx(float(exact.subs(s, 0.7)), rel=1e-12)
        assert float(function(0.0)) == (0.0 if order < 3 else np.inf)
        function = jax.grad(function)


def test_powers_of_a_quantity_of_an_atom_alone():
    """rho^1.5 of an atom without neighbours: its second derivative is infinite, and counts for nothing."""
    x = np.array([[1.0, 1, 1], [1.8, 1, 1], [5, 5, 5]])
    text = "quantity rho[i] = sum(j != i) if r < 1.5 then (1.5 - r)^3 else 0 where r = |x[i] - x[j]|\n"
    for u in ("rho[i]^1.5", "-sqrt(rho[i])", "|(rho[i], 2*rho[i], 0)|"):
        system = program(f"{text}energy U = sum(i) {u}").bind(x, box=9.0)
        product = jax.jvp(system.forces, (x,), (np.ones_like(x) * x,))[1]
        h = 1e-5
        expected = (system.forces(x * (1 + h)) - system.forces(x * (1 - h))) / (2 * h)
        assert np.allclose(product, expected, atol=1e-6 * np.abs(expected).max()), u
        assert np.isfinite(jax.grad(lambda x, s=system: (s.forces(x) ** 2).sum())(x)).all(), u
