"""Where in a step the time goes on: order of convergence of what depends on it, against exact solutions."""

import jax
import numpy as np
import pytest
from compiled import HEAD, running

import mdsl
from mdsl.interpret import meaning as interpret
from mdsl.lowering.field.schedule import advances_wholly, cut
from mdsl.model.nodes import Advance

DRIVEN = (
    "param k = 1.3  param F = 0.7  param w = 1.9\nenergy U = sum(i) (k/2*d·d - F*sin(w*t)*d.x) where d = x[i] - "
    "origin\n"
)
OWN = "flow kick(h) { v += h*f/m } flow drift(h) { x += h*v }\n"


def ratios(errors):
    """How many times smaller each error is than the one before."""
    return np.abs(errors[:-1]) / np.abs(errors[1:])


def oscillator(t, x, v, k=1.3, F=0.7, w=1.9):
    """Position and velocity of m = 1 under -k x + F sin(w t)."""
    w0 = np.sqrt(k)
    A = F / (k - w**2)
    b = (v - A * w) / w0
    place = x * np.cos(w0 * t) + b * np.sin(w0 * t) + A * np.sin(w * t)
    return place, -x * w0 * np.sin(w0 * t) + b * w0 * np.cos(w0 * t) + A * w * np.cos(w * t)


SCHEMES = {
    "velocity_verlet": ("", "velocity_verlet(dt = {})", 1),
    "baoab": ("", "baoab(dt = {}, T = 0, gamma = 0)", 1),
    "own": (OWN + "integrator mine(dt) { kick(dt/2) drift(dt) kick(dt/2) }", "mine(dt = {})", 1),
    "position first": (OWN + "integrator mine(dt) { drift(dt/2) kick(dt) drift(dt/2) }", "mine(dt = {})", 1),
    "in parts": (
        OWN + "integrator mine(dt) { for k in 1..2 { kick(dt/4) drift(dt/2) kick(dt/4) } }",
        "mine(dt = {})",
        2,
    ),
    "otherwise written": (
        "integrator mine(dt) { v += f*dt/(2*m)  x += -(-v*dt/1)  v += f*dt/(2*m) }",
        "mine(dt = {})",
        1,
    ),
}


@pytest.mark.parametrize("name", SCHEMES)
def test_a_driven_oscillator_is_of_second_order(name):
    """With one evaluation a step, carried over: the force at the end of a step is that of the time there."""
    flows, scheme, each = SCHEMES[name]
    errors = []
    prog = running("param step = 0.1\n" + DRIVEN + "box free\n" + flows, scheme.format("step"), 80)
    system = prog.bind(np.array([[0.4, 0, 0]]), velocities=np.array([[-0.3, 0, 0]]))
    for steps in (20, 40, 80):
        result = system.run(jax.random.key(0), params={"step": 2.0 / steps}, steps=steps)
        place, speed = oscillator(2.0, 0.4, -0.3)
        errors.append((result.x[0, 0] - place, result.v[0, 0] - speed))
        assert each * steps <= result.counts.force_evaluations <= each * (steps + 1)
    assert np.abs(errors[-1]).max() < 2e-3
    np.testing.assert_allclose(ratios(np.array(errors)), 4, rtol=0.05)


SHRINKING = (
    "param a = 0.3\nbox triclinic((6*(1 - a*t), 0, 0), (2*t*t, 6, 0), (0, t, 6*(1 + a*t)))\nenergy U = "
    "0*sum(i) x[i].x\n"
)


@pytest.mark.parametrize("inside", [False, True], ids=["run", "traced"])
def test_free_motion_in_a_driven_box_is_of_second_order(inside):
    """s' = v·inverse(cell), with a velocity that stays: the integral by Gauss-Legendre is exact here."""
    x, v, errors = np.array([[1.0, 2.0, 3.0]]), np.array([[0.8, -0.9, 0.7]]), []

    def box(t):
        return np.array([[6 * (1 - 0.3 * t), 0, 0], [2 * t * t, 6, 0], [0, t, 6 * (1 + 0.3 * t)]])

    nodes, weights = np.polynomial.legendre.leggauss(24)
    way = sum(w / 2 * v @ np.linalg.inv(box((n + 1) / 2)) for n, w in zip(nodes, weights))
    expected = (x @ np.linalg.inv(box(0)) + way) @ box(1.0)
    system = running("param step = 0.1\n" + SHRINKING, "velocity_verlet(dt = step)", 40).bind(x, velocities=v)
    for steps in (10, 20, 40):
        run = lambda key, n=steps: system.run(key, params={"step": 1.0 / n}, steps=n).x  # noqa: E731
        found = (jax.jit(run) if inside else run)(jax.random.key(0))
        d = np.asarray(found) - expected
        errors.append((d - np.round(d @ np.linalg.inv(box(1.0))) @ box(1.0))[0])
        assert np.abs(errors[-1]).max() > 1e-6
    np.testing.assert_allclose(ratios(np.linalg.norm(errors, axis=1)), 4, rtol=0.02)


PAIR = "energy U = sum(i < j) if r < 1.6 then 20*(1.6 - r)^4 else 0 where r = |x[i] - x[j]|\n"
SHEARED = "param L = 4.0  param rate = 1.0\nbox triclinic((L, 0, 0), (rate*t*L, L, 0), (0, 0, L))\n"


def atoms(n=27, edge=4.0):
    rng = np.random.default_rng(4)
    places = np.stack(np.meshgrid(*[np.arange(3)] * 3), -1).reshape(-1, 3)[:n]
    v = rng.normal(0, 0.8, (n, 3))
    return (places + rng.uniform(0.35, 0.65, (n, 3))) / 3 * edge, v - v.mean(0)


def test_interacting_atoms_in_a_sheared_box_are_of_second_order():
    x, v = atoms()
    shift = "flow turn(h) { v = (v.x - rate*h*v.y, v.y, v.z) }\n"
    scheme = "integrator sheared(dt) { turn(dt/2) velocity_verlet(dt) turn(dt/2) }\n"
    found = []
    text = "param step = 0.1\n" + PAIR + SHEARED + shift + scheme
    system = running(text, "sheared(dt = step)", 320, "record U, kinetic").bind(x, velocities=v)
    for steps in (20, 40, 80, 320):
        result = system.run(jax.random.key(0), params={"step": 0.4 / steps}, steps=steps)
        assert result.counts.force_evaluations <= steps + 1
        found.append([result.records["U"][-1], result.records["kinetic"][-1]])
    errors = np.array(found[:-1]) - found[-1]
    np.testing.assert_allclose(ratios(errors)[0], 4, rtol=0.15)


def test_what_flows_read_is_of_their_moment():
    """A schedule, and the time itself, halfway through a step and at its end."""
    text = "state a = 0\nstate b = 0\nstate c = 0\nobserve marks = (a, b, c)\nenergy U = 0*sum(i) x[i].x\n"
    text += "integrator mine(dt, T) { a = t  x += dt/2*v  b = T  x += dt/2*v  c = t }\ndef twice(t) = 2*t\n"
    prog = running(text, "mine(dt = 0.1, T = twice)", 3, "record marks, t every 1")
    x = np.ones((2, 3))
    result = prog.bind(x + np.arange(2)[:, None], box=9.0).run(jax.random.key(0))
    np.testing.assert_allclose(
        result.records["marks"][1:], [[t, 2 * t + 0.1, t + 0.1] for t in (0, 0.1, 0.2)], atol=1e-12
    )
    for stage in ("resolve", None):
        model = prog.model if stage is None else prog.compiled.stage(stage)
        (advance,) = (s for s in model.run if isinstance(s, Advance))
        records, end = interpret.run(model, advance, interpret.System(x, [9.0] * 3), 3, observe=("marks",))
        np.testing.assert_allclose(records[-1]["marks"], [0.2, 0.5, 0.3], atol=1e-12)
        assert np.isclose(end.t, 0.3)


def test_an_argument_is_of_the_moment_of_the_call():
    text = (
        "state a = 0\nobserve mark = a\nflow late(h, T) { x += h*v  a = T }\nintegrator mine(dt) { late(dt, 3*t) "
        "}\nenergy U = 0*sum(i) x[i].x\n"
    )
    prog = running(text, "mine(dt = 0.1)", 3, "record mark every 1")
    x = np.ones((2, 3)) + np.arange(2)[:, None]
    np.testing.assert_allclose(
        prog.bind(x, box=9.0).run(jax.random.key(0)).records["mark"], [0, 0, 0.3, 0.6], atol=1e-12
    )
    model = prog.compiled.stage("resolve")
    (advance,) = (s for s in model.run if isinstance(s, Advance))
    assert np.isclose(
        interpret.run(model, advance, interpret.System(x, [9.0] * 3), 3, observe=("mark",))[0][-1]["mark"], 0.6
    )


def _parts(flows, call="mine(dt = 0.1)", energy=DRIVEN):
    compiled = running(energy + "box free\n" + flows, call).compiled
    (advance,) = compiled.field.dynamics
    return advances_wholly(advance), cut(compiled.field, advance)


def test_what_is_left_of_a_step_is_its_end():
    """Where drifts do not add up to dt the time jumps at the end, and forces are evaluated anew."""
    for flows, wholly in {
        "integrator mine(dt) { v += dt/2*f/m  x += dt*v  v += dt/2*f/m }": True,
        "integrator mine(dt) { v += dt/2*f/m  x += 0.3*dt*v  x += v*dt*0.7  v += dt/2*f/m }": True,
        "param s = 0.5\nintegrator mine(dt) { v += dt/2*f/m  x += s*dt*v  x += (1 - s)*dt*v  v += dt/2*f/m }": False,
        "integrator mine(dt) { velocity_verlet(dt/2) }": False,
        "integrator mine(dt) { v += dt/2*f/m  x += dt*v + 0*f  v += dt/2*f/m }": False,
    }.items():
        found, parts = _parts(flows)
        assert found == wholly and parts.carried == wholly and sum(parts.before) == (1 if wholly else 2), flows
    assert not _parts("integrator mine(dt) { velocity_verlet(dt) }", energy="energy U = sum(i) x[i].x\n")[1].timed
    assert _parts("", "velocity_verlet(dt = 0.1)")[1].timed


def test_explain_says_when_the_time_goes_on():
    first = "integrator mine(dt) { v += dt/2*f/m  x += dt*v + 0*f  v += dt/2*f/m }"
    text = running(DRIVEN + "box free\n", "velocity_verlet(dt = 0.1)").explain()
    assert "goes on where atoms drift" in text and "1 evaluation per step, carried over" in text
    assert "first order in dt" in running(DRIVEN + "box free\n" + first, "mine(dt = 0.1)").explain()
    assert "  time " not in running("energy U = sum(i) x[i].x\nbox free\n", "velocity_verlet(dt = 0.1)").explain()


def test_a_minimizer_has_no_time():
    text = (
        HEAD
        + "use minimizers (fire)\n"
        + DRIVEN.replace("sin(w*t)", "cos(w*t)")
        + 'box free\nrun { x = read("given")  fire(dt = 0.1) for 400 }'
    )
    result = mdsl.compile(text).bind(np.array([[0.9, 0.3, 0]])).run(jax.random.key(0))
    np.testing.assert_allclose(result.x, [[0.7 / 1.3, 0, 0]], atol=1e-6)
