"""The interpreter's dynamics, against what is known of integrators (shared/reference/physics.md)."""

from dataclasses import replace

import numpy as np
import pytest

from mdsl.grammar.source import Source
from mdsl.interpret import meaning as interpret
from mdsl.interpret.meaning import System
from mdsl.model.nodes import Advance
from mdsl.passes.inline.expressions import inline
from mdsl.resolve.program import resolve

HEAD = "use units.lj\nuse pair\nuse integrators\n"
OSCILLATOR = "param k = 1.7\nparam m = 0.6\nenergy U = sum(i) k/2*d·d where d = x[i] - origin\n"
MELT = "energy U = sum(i < j) force_shifted(lennard_jones(1, 1), 1.9)(|x[i] - x[j]|)\nobserve E = U + kinetic\n"
H, OMEGA = 0.4, np.sqrt(1.7 / 0.6)


def program(text, scheme):
    """A model, its one statement of dynamics, and the same after `inline`."""
    model, report = resolve(Source("test", f'{HEAD}{text}run {{ x = read("nothing.xyz")\n {scheme} for 10 }}'), None)
    assert not report, [d.message for d in report]
    inlined, report = inline(model)
    assert not report
    return (model, statement(model)), (inlined, statement(inlined))


def statement(model):
    return next(s for s in model.run if isinstance(s, Advance))


def noise(step, draw):
    return np.random.default_rng((step, draw)).normal(size=(8, 3))


def oscillators(n=8):
    rng = np.random.default_rng(1)
    return System(rng.normal(size=(n, 3)), [99.0] * 3, v=rng.normal(size=(n, 3)))


def melt():
    rng = np.random.default_rng(2)
    cells = np.stack(np.meshgrid(*[np.arange(2)] * 3), -1).reshape(-1, 3)
    v = rng.normal(size=(8, 3))
    return System((cells + rng.uniform(-0.1, 0.1, (8, 3))) * 1.95, [3.9] * 3, v=v - v.mean(0))


def test_velocity_verlet_on_an_oscillator():
    (model, advance), _ = program(OSCILLATOR, f"velocity_verlet(dt = {H})")
    start = oscillators()
    q = (OMEGA * H) ** 2 / 4

    def kept(system):
        return system.v**2 + OMEGA**2 * (1 - q) * system.x**2

    turn = 2 * np.arcsin(OMEGA * H / 2)
    records, end = interpret.run(model, advance, start, 7, observe=("U", "kinetic"))
    assert np.allclose(kept(end), kept(start), rtol=1e-12)
    # x turns by exactly this angle a step.
    speed = start.v / (OMEGA * np.sqrt(1 - q))
    assert np.allclose(end.x, start.x * np.cos(7 * turn) + speed * np.sin(7 * turn), rtol=1e-12)
    assert (end.step, end.t) == (7, pytest.approx(7 * H))
    assert [r["step"] for r in records] == list(range(8))
    assert records[0]["U"] == pytest.approx(1.7 / 2 * (start.x**2).sum())
    assert records[-1]["kinetic"] == pytest.approx(0.3 * (end.v**2).sum())


def test_momentum_is_conserved_and_time_can_be_turned_back():
    (model, advance), _ = program(MELT, "velocity_verlet(dt = 0.004)")
    records, end = interpret.run(model, advance, melt(), 20, observe=("E",))
    assert np.abs(end.v.sum(0)).max() < 1e-12
    assert np.ptp([r["E"] for r in records]) < 0.01 * np.ptp([0, records[0]["E"]])
    _, back = interpret.run(model, advance, replace(end, v=-end.v), 20)
    assert np.allclose(back.x, melt().x, rtol=0, atol=1e-12)


def test_velocity_verlet_is_of_second_order():
    smooth = "energy U = sum(i < j) gaussian(5, 0.7)(|x[i] - x[j]|)\nobserve E = U + kinetic\n"
    error = []
    for dt, steps in ((0.02, 10), (0.01, 20)):
        (model, advance), _ = program(smooth, f"velocity_verlet(dt = {dt})")
        records, _ = interpret.run(model, advance, replace(melt(), periodic=[False] * 3), steps, observe=("E",))
        error.append(abs(records[-1]["E"] - records[0]["E"]))
    assert error[0] / error[1] == pytest.approx(4, rel=0.05)


def test_baoab_by_hand():
    (model, advance), _ = program(OSCILLATOR, f"baoab(dt = {H}, T = 0.8, gamma = 1.3)")
    start = replace(oscillators(), step=3)
    end = interpret.step(model, advance, start, noise)
    x, v = start.x, start.v
    v = v - H / 2 * 1.7 * x / 0.6
    x = x + H / 2 * v
    v = np.exp(-1.3 * H) * v + np.sqrt((1 - np.exp(-2.6 * H)) * 0.8 / 0.6) * noise(3, 0)
    x = x + H / 2 * v
    v = v - H / 2 * 1.7 * x / 0.6
    assert np.allclose(end.x, x, rtol=1e-14) and np.allclose(end.v, v, rtol=1e-13)


def test_noise_must_be_given():
    (model, advance), _ = program(OSCILLATOR, "baoab(dt = 0.1, T = 1, gamma = 1)")
    with pytest.raises(TypeError, match="noise"):
        interpret.step(model, advance, oscillators())


def test_a_schedule_is_taken_at_the_time_of_its_flow():
    """Friction and noise of BAOAB act in the middle of the step."""
    schedule = "def bath(t) = if t < 1 then 1.5 - t else 0.5\n"
    (model, advance), _ = program(OSCILLATOR + schedule, "baoab(dt = 0.2, T = bath, gamma = 1)")
    for t, temperature in [(0.0, 1.4), (0.6, 0.8), (3.0, 0.5)]:
        (same, fixed), _ = program(OSCILLATOR, f"baoab(dt = 0.2, T = {temperature}, gamma = 1)")
        start = replace(oscillators(), t=t)
        a, b = interpret.step(model, advance, start, noise), interpret.step(same, fixed, start, noise)
        assert np.allclose(a.v, b.v, rtol=1e-14) and a.t == b.t == pytest.approx(t + 0.2)


def test_energy_that_depends_on_time():
    (model, advance), _ = program("energy U = sum(i) (1 + t)*(x[i] - origin).x\n", "velocity_verlet(dt = 0.1)")
    _, end = interpret.run(model, advance, replace(oscillators(), v=np.zeros((8, 3))), 2)
    assert np.allclose(end.v, [-0.05 * (1 + 1.1 + 1.1 + 1.2), 0, 0])  # kicks at both ends of a step


OWN = {
    "locals": "flow L(h) { a = h*f/m\n v += a\n x += h*v + h*a }\nflow R(h) { a ~ normal\n v += h*a }\nintegrator "
    "mine(dt) { R(dt) L(dt/2) R(dt) L(dt/2) }\n",
    "sums": "flow S(s) { v = s*v/sqrt(sum(i) v[i]·v[i]) }\nintegrator mine(dt) { S(sqrt(3*N)) x += dt*v }\n",
    "simultaneous": "flow W(h) { v = v - h*(x - origin) }\nintegrator mine(dt) { W(dt) x += dt*v W(dt) }\n",
    "fields": "flow K(a) { v += a }\nintegrator mine(dt) { K(dt*f/m) x += dt*v }\n",
}


@pytest.mark.parametrize("name", OWN)
def test_before_and_after_inline(name):
    before, after = program(OSCILLATOR + OWN[name], "mine(dt = 0.1)")
    _, a = interpret.run(*before, oscillators(), 3, noise)
    _, b = interpret.run(*after, oscillators(), 3, noise)
    assert not np.allclose(a.x, oscillators().x)
    assert np.allclose(a.x, b.x, rtol=1e-13) and np.allclose(a.v, b.v, rtol=1e-13) and a.t == b.t


@pytest.mark.parametrize("scheme", ["velocity_verlet(dt = 0.01)", "baoab(dt = 0.01, T = 0.7, gamma = 2)"])
def test_library_schemes_before_and_after_inline(scheme):
    before, after = program(MELT, scheme)
    _, a = interpret.run(*before, melt(), 3, noise)
    _, b = interpret.run(*after, melt(), 3, noise)
    assert np.allclose(a.x, b.x, rtol=1e-13) and np.allclose(a.v, b.v, rtol=1e-13) and a.t == b.t


def test_names_of_a_flow_do_not_reach_into_energies():
    """The flow's own `a` and the param `a` in the energy are two things."""
    text = (
        "param a = 2.0\nenergy U = sum(i) a*(x[i] - origin).x\nflow L(h) { a ~ normal\n v = h*f }\nintegrator "
        "mine(dt) { L(dt) }\n"
    )
    for model, advance in program(text, "mine(dt = 0.5)"):
        assert np.allclose(interpret.step(model, advance, oscillators(), noise).v, [-1, 0, 0])
