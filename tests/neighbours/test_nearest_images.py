"""One rule for nearest images, against all images of reduced lattices, wherever it is asked."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compiled import HEAD, running

import mdsl
from mdsl.lowering.geometry import cell as traced
from mdsl.lowering.planning import on_host
from mdsl.model import nearest_image

rng = np.random.default_rng(3)


def reduced(cell):
    """A basis of the same lattice whose vectors are short: no vector shortens another."""
    basis, before = cell.copy(), None
    while before is None or (before != basis).any():
        before = basis.copy()
        basis = basis[np.argsort(np.linalg.norm(basis, axis=1))]
        for k, j in itertools.permutations(range(len(basis)), 2):
            basis[k] -= np.round(basis[k] @ basis[j] / (basis[j] @ basis[j])) * basis[j]
    return basis


def images(d, cell):
    """The distances of all images of displacements [M, d] that can be near, [M, images]."""
    turns = np.array(list(itertools.product(range(-3, 4), repeat=len(cell))))
    basis = reduced(cell)
    d = d - np.round(d @ np.linalg.inv(basis)) @ basis
    return np.linalg.norm(d[:, None] + (turns @ basis)[None], axis=-1)


def boxes():
    """Boxes as lattice reduction leaves them, as LAMMPS takes them, and skewer ones."""
    for dim, skew in itertools.product((2, 3), (0.0, 0.5, 0.5, 3.0, 20.0)):
        cell = np.diag(rng.uniform(2, 9, dim))
        for k, j in itertools.combinations(range(dim), 2):
            cell[j, k] = rng.uniform(-skew, skew) * cell[k, k]
        yield cell
    for _ in range(4):  # a reduced basis, rotated to the triangular form
        q, r = np.linalg.qr(reduced(rng.normal(0, 4, (3, 3))).T)
        yield (r * np.sign(np.diag(r))[:, None]).T


@pytest.mark.parametrize("cell", list(boxes()), ids=lambda c: f"{len(c)}d")
def test_rounding_finds_every_image_that_is_nearer_than_half_of_the_edges(cell):
    dim = len(cell)
    repeats, half = (True,) * dim, nearest_image.half(np.diag(cell), (True,) * dim)
    near = rng.normal(size=(300, dim))
    near *= (half * rng.uniform(0, 1, 300) ** (1 / dim) / np.linalg.norm(near, axis=1))[:, None]
    d = near + rng.integers(-4, 5, (300, dim)) @ cell
    all_images = images(d, cell)
    np.testing.assert_allclose(all_images.min(axis=1), np.linalg.norm(near, axis=1), atol=1e-9)
    assert ((all_images < half * (1 - 1e-9)).sum(axis=1) <= 1).all()
    np.testing.assert_allclose(on_host.nearest(d, cell, repeats), near, atol=1e-9)
    found = traced.nearest(traced.of_matrix(cell, True), repeats)(tuple(map(jnp.asarray, d.T)))
    np.testing.assert_allclose(np.stack(found, axis=1), near, atol=1e-9)
    assert nearest_image.fits(np.diag(cell), repeats, half)
    assert not nearest_image.fits(np.diag(cell), repeats, half * (1 + 1e-12))


def test_a_box_that_is_no_box_has_no_nearest_images():
    nan, inf = float("nan"), float("inf")
    for edge in (nan, 0.0, -4.0):
        for reach in (1.0, inf, None):
            assert not nearest_image.fits((5.0, edge), (True, True), reach)
            assert nearest_image.fits((5.0, edge), (True, False), reach)
            assert not bool(jax.jit(lambda e, r=reach: nearest_image.fits((5.0, e), (True, True), r))(edge))
    assert nearest_image.fits((5.0, 6.0), (True, True), 2.5) and not nearest_image.fits((5.0, 6.0), (True, True), nan)
    assert nearest_image.fits((5.0, 6.0), (True, True), inf) and nearest_image.fits((), (), 7.0)
    edges = np.array([[4.0, 5.0, nan], [9.0, 4.9, 9.0]])
    assert nearest_image.fits(edges, (True, True), 2.5).tolist() == [False, False, False]
    assert nearest_image.fits(edges, (True, True), np.array([2.0, 2.45, 1.0])).tolist() == [True, True, False]
    assert np.isnan(nearest_image.half((3.0, nan, 1.0), (True,) * 3)) and nearest_image.half((), ()) == inf
    assert nearest_image.half((3.0, 2.0, 1.0), (True, True, False)) == 1.0


PAIR = "if r < 2.3 then (r - 1)^2/2 else 0 where r = |x[i] - x[j]|"
CHAIN = "energy U = sum((i, j) in bonds) (|x[i] - x[j]| - 1)^2/2"


def test_bonds_and_pairs_of_skew_boxes_are_measured_alike():
    """Energies with the nearest of all images, in boxes whose faces are nearer than the atoms."""
    bonds = mdsl.compile(HEAD + "topology bonds(i, j)\n" + CHAIN)
    pairs = mdsl.compile(HEAD + "energy U = sum(i < j) " + PAIR)
    seen = 0
    for _ in range(12):
        cell = np.diag(rng.uniform(4.7, 6, 3))
        cell[1, 0], cell[2, 0], cell[2, 1] = rng.uniform(-10, 10, 3)
        x = np.array([[1.0, 1, 1], [1, 1, 1]]) + rng.normal(size=(2, 3)) * 0.6
        x[1] += rng.integers(-2, 3, 3) @ cell
        r = images(x[:1] - x[1:], cell).min()
        expected = (r - 1) ** 2 / 2
        assert np.isclose(bonds.bind(x, box=cell, topologies={"bonds": [[0, 1]]}).energy(), expected, rtol=1e-9)
        assert np.isclose(pairs.bind(x, box=cell).energy(), expected if r < 2.3 else 0, rtol=1e-9)
        seen += r > on_host.widths(cell).min() / 2
    assert seen > 2


def test_a_bond_of_more_than_half_an_edge_is_refused():
    prog = mdsl.compile(HEAD + "topology bonds(i, j)\n" + CHAIN)
    x = np.array([[0.0, 0, 0], [1.8, 0, 2.0]])
    with pytest.raises(mdsl.Rejected, match="half of the box, 2.35") as caught:
        prog.bind(x, box=np.array([[9.0, 0, 0], [4, 9, 0], [0, 0, 4.7]]), topologies={"bonds": [[0, 1]]})
    assert caught.value.diagnostics[0].id == "bad-topology"


ENDS = "topology bonds(i, j), ends(i, j) = apart(bonds, 3)\n" + CHAIN + "\nenergy V = sum((i, j) in ends) "
ZIGZAG = np.outer(np.arange(4), (0.74, 0.74, 0)) + np.outer([0, 1, 0, 1], (0, 0, 0.1))  # its ends are 3.1 apart


@pytest.mark.parametrize(
    "summand, box, whole",
    [
        ("truncated(gaussian(1.0, 0.7), 2.5)(|x[i] - x[j]|)", 5.0, True),  # ends at half of the box
        ("truncated(gaussian(1.0, 0.7), 2.6)(|x[i] - x[j]|)", 5.0, False),  # may reach two images
        ("gaussian(1.0, 0.7)(|x[i] - x[j]|)", 5.0, False),  # has no end
        ("gaussian(1.0, 0.7)(|x[i] - x[j]|)", 7.0, True),
        ("truncated(gaussian(1.0, 0.7), 2.5)(|x[i] - x[j]|)*(2 + (x[i] - x[j]).x)", 5.0, True),
    ],
)
def test_pairs_of_a_topology_may_be_apart_where_their_function_ends(summand, box, whole):
    prog = mdsl.compile(HEAD + ENDS + summand)
    given = {"bonds": [[0, 1], [1, 2], [2, 3]]}
    if not whole:
        with pytest.raises(mdsl.Rejected, match="follow each other in the topology `ends`"):
            prog.bind(ZIGZAG, box=box, topologies=given)
        return
    system = prog.bind(ZIGZAG, box=box, topologies=given)
    d = ZIGZAG[0] - ZIGZAG[3]
    d -= box * np.round(d / box)
    r, second = np.linalg.norm(d), np.linalg.norm(ZIGZAG[1] - ZIGZAG[2])
    ending = np.exp(-(r**2) / (2 * 0.7**2)) * (r < 2.5 or "truncated" not in summand)
    expected = 3 * (second - 1) ** 2 / 2 + ending * (2 + d[0] if ".x" in summand else 1)
    assert np.isclose(float(system.energy()), expected, rtol=1e-9)


def test_a_box_that_is_lost_is_a_run_that_blew_up():
    flow = "integrator lose(dt) { g = sqrt(2.5 - t/dt)  cell = (g/g)*cell  velocity_verlet(dt) }"
    pair = "energy U = sum(i < j) if r < 1 then (1 - r)^2 else 0 where r = |x[i] - x[j]|"
    prog = running(pair + "\n" + flow, "lose(dt = 0.01)", 9)
    with pytest.raises(mdsl.Rejected) as caught:
        prog.bind(rng.uniform(0, 5, (8, 3)), box=5.0).run(jax.random.key(0))
    assert caught.value.diagnostics[0].id == "blow-up"
