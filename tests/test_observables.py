"""Observables: what is recorded is what the interpreter says, and what physics says."""

import jax
import numpy as np
import pytest
from compiled import program
from interpreted import jumbled, moved
from observed import agree

from mdsl import interpret
from mdsl.grammar.diagnostics import Rejected

jax.config.update("jax_enable_x64", True)

WCA = "energy U = sum(i < j) wca(1.0, 1.0)(|x[i] - x[j]|)\n"

# -- matrices and vectors --------------------------------------------------------------------------------

MATRICES = WCA + """observe W = virial
observe xy = virial.xy
observe zx = stress.zx
observe axis = (1, 0, N)
observe row = (1, 2, 3)·virial
observe column = virial·(1, 2, 3)
observe square = virial·stress
observe turned = transpose(outer((1, 2, 3), (0, 1, -1)))
observe deviator = virial - trace(virial)/dim*identity
observe angle2 = sum(i) atan2(v[i].y, v[i].x)
observe cells = sum(i) (floor(3*v[i].x) - 2*round(2*v[i].z))
"""


def test_matrices_and_vectors_by_components():
    system = jumbled(9)
    found = agree(MATRICES, system)
    W = found["W"]
    assert found["xy"] == W[0, 1] and found["axis"].tolist() == [1, 0, 9]
    assert np.allclose(found["row"], [1, 2, 3] @ W) and np.allclose(found["column"], W @ [1, 2, 3])
    assert found["turned"].tolist() == np.outer([0, 1, -1], [1, 2, 3]).tolist()
    assert abs(np.trace(found["deviator"])) < 1e-12 * np.abs(W).max()
    assert found["angle2"] == pytest.approx(np.arctan2(system.v[:, 1], system.v[:, 0]).sum())
    assert found["cells"] == (np.floor(3 * system.v[:, 0]) - 2 * np.round(2 * system.v[:, 2])).sum()


def test_matrices_in_two_dimensions():
    found = agree(
        "dim 2\nobserve a = (3, 4)·identity·(1, 1)\nobserve M = virial·identity\nobserve yx = stress.yx\nenergy U = sum(i < j) wca(1.0, 1.0)(|x[i] - x[j]|)", jumbled(9, 2)
    )
    assert found["a"] == 7 and found["M"].shape == (2, 2)


def test_a_force_along_a_direction():
    """A uniform field written with a vector, in sums over atoms, pairs and topologies."""
    n, rng = 7, np.random.default_rng(4)
    x = rng.uniform(-2, 2, (n, 3))
    text = "box free\ntopology bonds(i, j)\nparam g = 2.0\nenergy G = -g*sum(i) (0, 0.6, 0.8)·(x[i] - origin)\nenergy B = sum((i, j) in bonds) ((x[i] - x[j])·(1, 0, 2))^2\nenergy P = sum(i < j) exp(-((x[i] - x[j])·(0, g, 0))^2)"
    compiled = program(text)
    bonds = np.array([[0, 1], [4, 2]])
    system = compiled.bind(x, box=np.inf, topologies={"bonds": bonds})
    same = moved(jumbled(n), x=x, periodic=[False] * 3, lengths=[1.0] * 3, topologies={"bonds": bonds})
    assert np.allclose(system.forces(), interpret.forces(compiled.model, same), rtol=1e-12, atol=1e-12)
    alone = program("box free\nenergy G = -2*sum(i) (0, 0.6, 0.8)·(x[i] - origin)").bind(x, box=np.inf)
    assert np.allclose(alone.forces(), [0, 1.2, 1.6])


@pytest.mark.parametrize("traversal", ["all pairs", "list"])
def test_largest_and_smallest(traversal):
    system = jumbled(24, edge=5.0)
    text = WCA + "observe fast = largest(i) |v[i]|\nobserve pushed = 2*largest(i) |f[i]| - smallest(i) f[i].x\nobserve low = smallest(i) if v[i].x > 0 then v[i].x else 7"
    found = agree(text, system, traversal)
    assert found["fast"] == pytest.approx(np.linalg.norm(system.v, axis=1).max(), rel=1e-14)
    assert found["low"] == system.v[system.v[:, 0] > 0, 0].min()


def test_largest_over_two_devices():
    from mdsl.lowering.layout import ManyDevices

    layout = ManyDevices(5, tuple(jax.devices()[:1]) * 1)
    program = layout.program(lambda v: layout.extreme(layout.local(v), "smallest"), ("all",), "all")
    assert program(np.arange(2.0, 7.0)) == 2


def test_steps_have_no_slope():
    """floor and round are constant between their steps, atan2 turns: in forces too."""
    text = "box free\nenergy U = sum(i < j) (floor(3*r)*r^2 + round(r)*r + atan2(r, 2.0)) where r = |x[i] - x[j]|"
    compiled, system = program(text), moved(jumbled(6), periodic=[False] * 3, lengths=[1.0] * 3)
    assert np.allclose(compiled.bind(system.x, box=np.inf).forces(), interpret.forces(compiled.model, system), rtol=1e-12)


@pytest.mark.parametrize(
    ("text", "id", "said"),
    [
        ("observe q = virial.x", "wrong-type", "wants a vector"),
        ("observe q = (1, 0, 0).xy", "wrong-type", "`.xy` wants a matrix"),
        ("observe q = virial*virial", "wrong-type", "cannot multiply"),
        ("observe q = (1, 2)", "bad-dimension", "a vector of 2 components in 3 dimensions"),
        ("observe q = (1, 2, 3, 4)", "misplaced", "a list of values"),
        ("observe q = (1, 2, (1, 2, 3))", "wrong-type", "components of a vector are numbers"),
        ("observe q = transpose(1)", "wrong-type", "wants a matrix"),
        ("observe q = virial.qq", "unknown-name", "no component"),
        ("observe q = largest(i) v[i]", "wrong-type", "`largest` compares numbers"),
        ("observe q = smallest(i < j) |x[i] - x[j]|", "not-yet", "`smallest(i)`"),
        ("observe far = largest(i) |x[i] - origin|\nenergy W = far", "misplaced", "which has no force"),
        ("dim 2\nobserve q = virial.xz", "bad-dimension", "no `.xz`"),
    ],
)
def test_mistakes(text, id, said):
    with pytest.raises(Rejected) as caught:
        program(WCA + text)
    (diagnostic,) = caught.value.diagnostics
    assert diagnostic.id == id and said in diagnostic.message


def test_components_have_the_dimension_of_their_vector():
    head = "use units.metal\nuse pair\nuse integrators (velocity_verlet)\n"
    text = "energy U = sum(i < j) wca(3 [angstrom], 0.01 [eV])(|x[i] - x[j]|)\n"
    program(text + "observe q = (1 [angstrom], 0, 2 [nm])·virial", head)
    with pytest.raises(Rejected) as caught:
        program(text + "observe q = (1 [angstrom], 1 [fs], 0)", head)
    assert caught.value.diagnostics[0].id == "wrong-unit"
