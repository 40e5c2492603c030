"""Displacement, shift and distance as functions of arrays."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mdsl
from mdsl import space

CELL = np.array([[5.0, 0, 0], [2.1, 5.2, 0], [-1.7, 3.4, 5.6]])
X = np.random.default_rng(0).uniform(-9, 14, (20, 3))


def brute(a, b, cell):
    """The shortest of many images."""
    images = np.array(list(itertools.product(range(-8, 9), repeat=len(cell)))) @ cell
    d = (a - b) + images
    return d[np.argmin(np.linalg.norm(d, axis=1))]


def test_free_space():
    displacement, shift, distance = space.free()
    np.testing.assert_array_equal(displacement(X[0], X[1]), X[0] - X[1])
    np.testing.assert_array_equal(shift(X, 1.0), X + 1.0)
    np.testing.assert_allclose(distance(X[:, None], X[None]), np.linalg.norm(X[:, None] - X[None], axis=-1))


@pytest.mark.parametrize("box", [5.0, [5.0, 6.0, 7.0]])
def test_rectangular_boxes(box):
    cell = np.diag(np.broadcast_to(box, 3))
    displacement, shift, distance = space.periodic(box)
    for a, b in zip(X, X[1:]):
        np.testing.assert_allclose(displacement(a, b), brute(a, b, cell), atol=1e-12)
    moved = shift(X, np.ones(3))
    assert (moved >= 0).all() and (moved < np.diag(cell)).all()
    turns = (X + 1 - moved) / np.diag(cell)
    np.testing.assert_allclose(turns, np.round(turns), atol=1e-12)
    np.testing.assert_allclose(distance(X[0], X[1]), np.linalg.norm(brute(X[0], X[1], cell)))


def test_skew_boxes():
    displacement, shift, distance = space.periodic_general(CELL)
    near = 0
    for a, b in itertools.combinations(X, 2):
        wanted = brute(a, b, CELL)
        if np.linalg.norm(wanted) < 2.5:
            near += 1
            np.testing.assert_allclose(displacement(a, b), wanted, atol=1e-12)
    assert near > 20
    s = np.asarray(shift(X, 0.3)) @ np.linalg.inv(CELL)
    assert (s > -1e-12).all() and (s < 1 + 1e-12).all()
    np.testing.assert_allclose(
        space.periodic_general(np.diag([5.0, 6.0])).displacement(X[:, :2], X[0, :2]),
        space.periodic([5.0, 6.0]).displacement(X[:, :2], X[0, :2]),
        atol=1e-12,
    )


def test_axes_that_do_not_repeat():
    displacement, shift, _ = space.periodic(5.0, axes=(True, False, True))
    d = displacement(X[0], X[1])
    assert d[1] == X[0, 1] - X[1, 1] and abs(d[0]) <= 2.5
    np.testing.assert_array_equal(shift(X, 0.0)[:, 1], X[:, 1])


def test_they_can_be_differentiated():
    def energy(x, edge):
        return jnp.sum(space.periodic(edge).distance(x[:, None], x[None]) ** 3)

    slope = jax.jit(jax.grad(energy, (0, 1)))
    by_x, by_edge = slope(X, 30.0)
    assert np.isfinite(by_x).all() and by_x.shape == X.shape
    h = 1e-5
    assert np.isclose(by_edge, (energy(X, 30.0 + h) - energy(X, 30.0 - h)) / (2 * h), rtol=1e-7)


def test_they_agree_with_a_program():
    text = "use units.lj\nenergy U = sum(i < j) if r < 2.5 then (2.5 - r)^3 else 0 where r = |x[i] - x[j]|"
    system = mdsl.compile(text).bind(X, box=CELL)
    r = np.asarray(space.periodic_general(CELL).distance(X[:, None], X[None]))[np.triu_indices(len(X), 1)]
    assert np.isclose(system.energy(), np.sum(np.where(r < 2.5, (2.5 - r) ** 3, 0)))


@pytest.mark.parametrize(
    "make, id",
    [
        (lambda: space.periodic(-1.0), "bad-box"),
        (lambda: space.periodic_general(CELL.T), "bad-box"),
        (lambda: space.periodic_general(5.0), "wrong-shape"),
        (lambda: space.periodic([5.0, 6.0]).displacement(X[0], X[1]), "wrong-shape"),
        (lambda: space.periodic_general(CELL).displacement(X[0, :2], X[1, :2]), "wrong-shape"),
        (lambda: space.periodic(5.0, axes=(True, False)).shift(X, 0.0), "wrong-shape"),
    ],
)
def test_mistakes(make, id):
    with pytest.raises(mdsl.Rejected) as caught:
        make()
    assert caught.value.diagnostics[0].id == id


def test_a_traced_cell_that_is_not_triangular():
    distance = jax.jit(lambda cell: space.periodic_general(cell).distance(X[0], X[1]))
    assert np.isnan(distance(CELL.T)) and np.isfinite(distance(CELL))
