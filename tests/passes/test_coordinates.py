"""Coordinates in boxes that repeat: differences that jump are warned of; flows that look at places count no centre of
mass."""

import jax
import numpy as np
import pytest

import mdsl

HEAD = "use units.lj\ndata x0[atoms]\nparam L = 10.0\nparam w = 1.0\nbox periodic(L)\n"


def warned(text, head=HEAD):
    return [w.id for w in mdsl.compile(head + text).warnings if w.id == "not-nearest"]


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("energy U = sum(i) (x[i].x - x0[i])^2", 1),
        ("energy U = sum(i) (x0[i] - x[i].x)^2", 1),
        ("energy U = sum(i) (x0[i] - (x[i] - origin).x)^2", 1),
        ("energy U = sum(i) ((x[i].x - w)^2 + (x[i].z - w - x0[i])^2)", 1),
        ("energy U = sum(i) d^2 where d = x[i].x - x0[i]", 1),
        ("energy U = sum(i) (x[i].x - w)^2", 0),  # a wall has its place in the box
        ("energy U = sum(i) (d - L*round(d/L))^2 where d = x[i].x - x0[i]", 0),
        ("energy U = sum(i) (1 - cos(2*pi*(x[i].x - x0[i])/L))", 0),
        ("energy U = sum(i) |x[i] - origin|^2\nobserve D = sum(i < j) (x[i].x - x[j].x)^2", 1),
        ("energy U = sum(i) |x[i] - origin|^2\nobserve D = sum(i < j) (x[i] - x[j]).x^2", 0),
    ],
)
def test_differences_of_coordinates(text, count):
    assert len(warned(text)) == count
    assert not warned(text, HEAD.replace("box periodic(L)", "box free"))


def test_along_an_axis_that_does_not_repeat():
    slab = HEAD.replace("periodic(L)", "periodic(L, L, free)")
    assert not warned("energy U = sum(i) (x[i].z - x0[i])^2", slab)
    assert warned("energy U = sum(i) (x[i].y - x0[i])^2", slab)


def test_the_way_out_is_the_nearest_image():
    """The energy of a spring to x0, by the shortest way, for atoms all over the box; with the force as its slope."""
    text = HEAD + "energy U = sum(i) (d - L*round(d/L))^2 where d = x[i].x - x0[i]"
    x = np.random.default_rng(0).uniform(0, 10, (40, 3))
    x0 = np.random.default_rng(1).uniform(0, 10, 40)
    system = mdsl.compile(text).bind(x, data={"x0": x0})
    shortest = np.min([np.abs(x[:, 0] - x0 + k * 10) for k in (-1, 0, 1)], axis=0)
    assert system.energy() == pytest.approx((shortest**2).sum())
    h = np.zeros_like(x)
    h[3, 0] = 1e-6
    slope = (system.energy(x + h) - system.energy(x - h)) / 2e-6
    assert system.forces()[3, 0] == pytest.approx(-float(slope), rel=1e-6)


REFLECT = """use units.lj
box free
use integrators (velocity_verlet)
energy U = sum(i < j) if r < 1 then (1 - r)^2 else 0 where r = |x[i] - x[j]|
flow walls() { {} }
integrator walled(dt) { velocity_verlet(dt)  walls() }
run { x = sc(density = 0.1, cells = 2)  v ~ maxwell(1.0)  walled(dt = 0.01) for 1 record degrees_of_freedom, temperature }
"""


@pytest.mark.parametrize(
    ("step", "dof"),
    [
        ("v = (if x.x < 0 and v.x < 0 then -v.x else v.x, v.y, v.z)", 24),
        ("v = (if (x - origin).x < 0 then |v.x| else v.x, v.y, v.z)", 24),
        ("s = if x.x < 0 then -1 else 1  v = s*v", 24),
        ("v = v", 21),
        ("s = 2*x.x  v = v", 21),
    ],
)
def test_walls_that_reflect_leave_no_centre_of_mass_at_rest(step, dof):
    try:
        program = mdsl.compile(REFLECT.replace("{}", step))
    except mdsl.Rejected as rejected:
        pytest.fail(str(rejected))
    records = program.bind(np.random.default_rng(0).uniform(0, 4, (8, 3))).run(jax.random.key(0)).records
    assert records["degrees_of_freedom"][0] == dof
