"""Conditions inside sums over pairs that alone read an atom's numbers, and sums that read no atom at all."""

import jax
import numpy as np
from compiled import TRAVERSALS, bound, program

RNG = np.random.default_rng(0)
X = RNG.uniform(0, 6, (12, 3))
I, J = np.triu_indices(12, 1)
D = X[I] - X[J]
R = np.linalg.norm(D - 6 * np.round(D / 6), axis=1)


def test_a_condition_on_data():
    """The derivative by `a` is the sum over the pairs for which the condition does not hold; that by the data is 0."""
    w = RNG.uniform(0.5, 1.3, 12)
    compiled = program(
        "param a = 1.3\ndata w[atoms]\n"
        "energy U = sum(i < j) if r < 2.4 then (if 1 < w[i]*w[j] then 1 else a)*(1 - r/2.4)^2 else 0 where r = "
        "|x[i] - x[j]|"
    )
    right = ((1 - R / 2.4) ** 2)[(R < 2.4) & (w[I] * w[J] <= 1)].sum()
    assert right > 0.01
    for traversal in TRAVERSALS:
        system = bound(compiled, X, traversal, box=6.0, data={"w": w})
        by_a = jax.grad(lambda p: system.energy(params=p))(compiled.params)["a"]
        by_w = jax.grad(lambda d: system.energy(data={"w": d}))(w)
        assert np.isclose(by_a, right, rtol=1e-12)
        assert np.array_equal(by_w, np.zeros(12))
        assert np.allclose(jax.grad(system.energy)(X), -system.forces(X), atol=1e-12)


def test_a_condition_on_a_quantity():
    """Away from its steps the energy is a sum of c*(1 - r/1.6)^2 with numbers c: its differences are the forces."""
    compiled = program(
        "param a = 1.3\nquantity n[i] = sum(j != i) if r < 2.0 then (2.0 - r)^2 else 0 where r = |x[i] - x[j]|\n"
        "energy U = sum(i < j) if r < 2.0 then (if 0.05 < n[i]*n[j] then 1 else a)*(1 - r/2.0)^2 else 0 where r = "
        "|x[i] - x[j]|"
    )
    system = bound(compiled, X, box=6.0)
    along = RNG.normal(size=X.shape)
    h = 1e-6
    slope = (system.energy(X + h * along) - system.energy(X - h * along)) / (2 * h)
    assert abs(slope) > 0.1
    assert np.isclose(slope, -np.sum(system.forces() * along), rtol=1e-7)
    assert np.isclose(jax.jvp(system.energy, (X,), (along,))[1], slope, rtol=1e-7)


def test_sums_that_read_no_atom():
    """a for each of 66 pairs, squared; its derivative; no force."""
    compiled = program("param a = 2.0\nenergy U = (sum(i < j) a)^2\nenergy V = a*sum(i; j < k) 1")
    system = bound(compiled, X, box=6.0)
    assert np.isclose(system.energy(), (66 * 2.0) ** 2 + 2.0 * 660)
    assert np.isclose(jax.grad(lambda p: system.energy(params=p))(compiled.params)["a"], 2 * 66**2 * 2.0 + 660)
    assert np.array_equal(system.forces(), np.zeros((12, 3)))


def test_what_is_multiplied_by_nothing():
    """`0*sum`, `(a - a)*sum`, and the same by a constant: the energy of two atoms at distance 1 without it."""
    x = np.array([[1.0, 1, 1], [2, 1, 1]])
    for nothing in ("0", "(a - a)", "z"):
        text = f"param a = 0.5\nconst z = 0\nenergy U = a*sum(i < j) exp(-|x[i] - x[j]|) + {nothing}*sum(i) x[i].z^2"
        assert np.isclose(program(text).bind(x, box=10.0).energy(), 0.5 * np.exp(-1), rtol=1e-14)
    assert program("energy U = 0*sum(i) x[i].x").bind(x, box=10.0).energy() == 0
