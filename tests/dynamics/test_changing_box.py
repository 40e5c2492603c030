"""Boxes that are functions of time or of parameters."""

import jax
import numpy as np
import pytest
from compiled import HEAD, PAIRS_BY, program, run, running
from reference import PROGRAMS
from test_cell import LJ, fractions

import mdsl
from mdsl.interpret import meaning as interpret
from mdsl.model.nodes import Advance

GENTLE = LJ.replace("1.9", "1.6")
EDGE = 4.4
SHEAR = "\nparam L = 4.4\nparam rate = 2.0\nbox triclinic((L, 0, 0), (rate*t*L, L*(1 - 0.3*t), 0), (0.3*L, 0, L))"


def start(n=27):
    x = fractions(n) @ (EDGE * np.eye(3) + 0.3 * EDGE * np.eye(3)[[2]].T @ np.eye(3)[[0]])
    v = np.random.default_rng(5).normal(0, 0.7, (n, 3))
    return x, v - v.mean(0)


def test_atoms_keep_their_fractions_and_velocities():
    prog = running(
        "energy U = 0*sum(i) x[i].x" + SHEAR, "velocity_verlet(dt = 0.01)", 20, "record volume, kinetic every 10"
    )
    x, _ = start()
    result = prog.bind(x).run(jax.random.key(0))
    np.testing.assert_allclose(
        result.box, [[EDGE, 0, 0], [0.4 * EDGE, 0.94 * EDGE, 0], [0.3 * EDGE, 0, EDGE]], rtol=1e-12
    )
    np.testing.assert_allclose(result.records["volume"], EDGE**3 * np.array([1, 0.97, 0.94]), rtol=1e-12)
    before = x @ np.linalg.inv(prog.bind(x).box)
    after = result.x @ np.linalg.inv(result.box)
    np.testing.assert_allclose((after - before + 0.5) % 1, 0.5, atol=1e-12)
    assert not result.v.any()


@pytest.mark.parametrize("traversal", ["all pairs", "list"])
def test_steps_are_those_of_the_interpreter(traversal):
    prog = running(GENTLE + SHEAR, "velocity_verlet(dt = 0.004)", 12, "record potential, t, volume every 4")
    x, v = start()
    result = run(prog, x, velocities=v, traversal=traversal, skin=0.25)
    model = prog.model
    system = interpret.System(x, v=v)
    (advance,) = (s for s in model.run if isinstance(s, Advance))
    for _ in range(12):
        system = interpret.step(model, advance, system)
    np.testing.assert_allclose(result.v, system.v, rtol=1e-9, atol=1e-10)
    assert np.isclose(result.records["potential"][-1], interpret.energy(model, system), rtol=1e-10)
    assert np.isclose(result.records["t"][-1], 0.048) and np.isclose(
        result.records["volume"][-1], interpret.observe(model, "volume", system)
    )


def test_a_list_holds_while_the_box_changes():
    """Fast shear and compression: a list that did not know of the box would miss pairs within few steps."""
    text = GENTLE + "\nparam L = 5.6\nbox triclinic((L, 0, 0), (3*t*L, L*(1 - t), 0), (0, 0, L*(1 + t)))"
    prog = running(text, "velocity_verlet(dt = 0.004)", 25, "record potential, kinetic every 5")
    x = fractions(64) @ (5.6 * np.eye(3))
    found = []
    for traversal in ("all pairs", "list"):
        found.append(prog.bind(x, skin=0.2, policy=PAIRS_BY[traversal]).run(jax.random.key(0)))
    assert found[1].counts.list_builds > 3
    for name in ("potential", "kinetic"):
        np.testing.assert_allclose(found[0].records[name], found[1].records[name], rtol=1e-9)


def test_a_box_that_becomes_too_small_ends_the_run():
    prog = running(GENTLE + "\nbox periodic(4*(1 - t))", "velocity_verlet(dt = 0.01)", 100, "record potential every 10")
    with pytest.raises(mdsl.Rejected) as caught:
        prog.bind(fractions(27) * 4).run(jax.random.key(0))
    (found,) = caught.value.diagnostics
    assert found.id == "box-collapsed" and "at step 2" in str(found) and caught.value.exit_status == 1
    system = prog.bind(fractions(27) * 4)
    traced = jax.jit(lambda key: system.run(key).records["potential"])(jax.random.key(0))
    assert np.isfinite(traced[:2]).all() and np.isnan(traced[3:]).all()


# -- parameters ----------------------------------------------------------------------------------------

PACKED = (
    "param D = 0.9\nbox periodic(3.3*D^2)\nenergy U = sum(i < j) if r < D then (1 - r/D)^3 else 0 where r = "
    "|x[i] - x[j]|"
)


def central(function, at, h=2e-6):
    return (function(at + h) - function(at - h)) / (2 * h)


def test_an_energy_follows_the_box_of_its_parameters():
    x = fractions(27) * 3.3 * 0.9**2
    system = program(PACKED).bind(x)
    energy = lambda D: system.energy(x, params={"D": D})  # noqa: E731
    assert np.isclose(energy(0.95), mdsl.compile(HEAD + PACKED.replace("0.9", "0.95", 1)).bind(x).energy(), rtol=1e-13)
    assert np.isclose(jax.grad(energy)(0.9), central(energy, 0.9), rtol=1e-6)


@pytest.mark.parametrize("traversal", ["all pairs", pytest.param("list", marks=pytest.mark.slow)])
def test_a_run_can_be_differentiated_by_the_box(traversal):
    prog = running(PACKED, "velocity_verlet(dt = 0.02)", 15, "record U")
    x = fractions(27) * 3.3 * 0.9**2
    system = prog.bind(x, skin=0.3, policy=PAIRS_BY[traversal])
    outcome = lambda D: system.run(jax.random.key(0), params={"D": D}).records["U"][-1]  # noqa: E731
    slope = jax.grad(outcome)(0.9)
    compiled = jax.jit(outcome)
    assert np.isclose(slope, central(compiled, 0.9), rtol=1e-6)
    if traversal == "all pairs":
        assert np.isclose(compiled(0.93), outcome(0.93), rtol=1e-10)


@pytest.mark.slow
def test_the_derivative_of_jamming_by_a_diameter_that_decides_the_box():
    path = PROGRAMS / "jamming.mdsl"
    if not path.exists():
        pytest.skip("the program is not here")
    system = mdsl.load(path).bind(seed=1)
    outcome = lambda D: system.run(jax.random.key(0), params={"D": D}, steps=60).records["U"][-1]  # noqa: E731
    compiled = jax.jit(outcome)
    slope = jax.jit(jax.grad(outcome))(0.8)
    assert np.isclose(slope, central(compiled, 0.8), rtol=1e-6)
    assert np.isclose(outcome(0.81), compiled(0.81), rtol=1e-10)
