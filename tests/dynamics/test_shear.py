"""Boxes that shear, by flows and as functions of time: flips, SLLOD, and viscosity."""

from dataclasses import replace

import engines
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compiled import HEAD, PAIRS_BY, killed, running

import mdsl
from mdsl.command import run as run_program
from mdsl.command.options import RunOptions
from mdsl.interpret import meaning as interpret
from mdsl.lowering.geometry import flip as flips
from mdsl.lowering.geometry.cell import combination, matrix_of, of_matrix
from mdsl.model import box_shape
from mdsl.model.nodes import Advance

SOFT = "energy U = sum(i < j) if r < 1.6 then 20*(1.6 - r)^4 else 0 where r = |x[i] - x[j]|\n"
FLOW = HEAD + "use shear\n"
EDGE = 4.0
BY_FLOW = ("", "sllod(dt = 0.01, G = planar_shear(4.0))")
BY_TIME = (
    "param L = 4.0\nbox triclinic((L, 0, 0), (4*t*L, L, 0), (-3.1*t*L, 2.3*t*L, L))\n",
    "velocity_verlet(dt = 0.01)",
)


def atoms(n=27, edge=EDGE, seed=4):
    rng = np.random.default_rng(seed)
    places = np.stack(np.meshgrid(*[np.arange(round(n ** (1 / 3)))] * 3), -1).reshape(-1, 3)
    v = rng.normal(0, 0.8, (n, 3))
    return (places + rng.uniform(0.35, 0.65, (n, 3))) / round(n ** (1 / 3)) * edge, v - v.mean(0)


def box_of(driver):
    return {} if driver is BY_TIME else {"box": EDGE}


# -- flips ---------------------------------------------------------------------------------------------


def test_flips_are_other_vectors_of_the_same_lattice():
    rng = np.random.default_rng(2)
    for dim in (2, 3):
        for _ in range(30):
            matrix = np.diag(rng.uniform(1, 3, dim)) + np.tril(rng.uniform(-20, 20, (dim, dim)), -1)
            cell = of_matrix(matrix, True)
            flip = flips.reducing(cell, (True,) * dim)
            new = flips.flipped(cell, flip)
            reduced = np.array(matrix_of(new))
            whole = reduced @ np.linalg.inv(matrix)
            np.testing.assert_allclose(whole, np.round(whole), atol=1e-9)
            assert np.array_equal(np.diag(reduced), np.diag(matrix))
            assert (np.abs(np.tril(reduced, -1)) <= np.diag(matrix) / 2 + 1e-9).all()
            np.testing.assert_array_equal(np.round(whole)[np.tril_indices(dim, -1)], np.array(flip))
            np.testing.assert_array_equal(np.array(flips.between(cell, new)), np.array(flip))
            images = tuple(map(jnp.asarray, rng.integers(-5, 6, (dim, 7)).astype(float)))
            there = combination(new, flips.images_in(images, flip))
            np.testing.assert_allclose(there, combination(cell, images), atol=1e-9)
    free = of_matrix(np.array([[1.0, 0, 0], [7, 2, 0], [5, 9, 2]]), True)
    assert [float(f) for f in flips.reducing(free, (False, True, True))] == [0, 0, -4]  # no vector along x to take


DRIVERS = (pytest.param(BY_FLOW, id="flow"), pytest.param(BY_TIME, id="time", marks=pytest.mark.slow))


@pytest.mark.parametrize("driver", DRIVERS)
@pytest.mark.parametrize("traversal", ["all pairs", pytest.param("list", marks=pytest.mark.slow)])
def test_sheared_far_beyond_half_steps_are_those_of_the_interpreter(driver, traversal):
    """The interpreter wraps no atom and flips nothing but what it shows: three edges of shear in 75 steps."""
    box, scheme = driver
    observed = "observe way = sum(i) travelled[i]·travelled[i]\nobserve tilt = cell.yx\nobserve low = cell.zx\n"
    prog = running(SOFT + box + observed, scheme, 75, "record U, kinetic, way, tilt, low, volume every 25", head=FLOW)
    x, v = atoms()
    system = prog.bind(x, velocities=v, skin=0.3, policy=PAIRS_BY[traversal], **box_of(driver))
    result = system.run(jax.random.key(0))
    (advance,) = (s for s in prog.model.run if isinstance(s, Advance))
    there = interpret.System(x, v=v) if driver is BY_TIME else interpret.System(x, [EDGE] * 3, v=v)
    there = replace(there, start=replace(there, start=None))
    for step in range(1, 76):
        there = interpret.step(prog.model, advance, there)
        if step % 25 == 0:
            for name in ("U", "kinetic", "way", "tilt", "low", "volume"):
                told = interpret.observe(prog.model, name, there)
                assert np.isclose(result.records[name][step // 25], told, rtol=1e-6, atol=1e-7), (step, name)
    np.testing.assert_allclose(result.v, there.v, rtol=1e-6, atol=1e-7)
    assert (np.abs(np.tril(result.box, -1)) <= EDGE / 2 + 1e-9).all()
    if traversal == "list":
        assert result.counts.list_builds > 3


@pytest.mark.parametrize("driver", DRIVERS)
def test_flips_in_a_transformed_run_and_in_replicas(driver):
    box, scheme = driver
    prog = running(SOFT + box + "observe tilt = cell.yx\n", scheme, 30, "record U, kinetic, tilt every 10", head=FLOW)
    x, v = atoms()
    system = prog.bind(x, velocities=v, **box_of(driver))
    single = system.run(jax.random.key(0))
    many = system.run(jax.random.split(jax.random.key(1), 2))
    traced = jax.jit(lambda key: system.run(key).records)(jax.random.key(0))
    assert np.abs(single.records["tilt"]).max() > 0.5
    for name in ("U", "kinetic", "tilt"):
        np.testing.assert_allclose(traced[name], single.records[name], rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(many.records[name], np.stack([single.records[name]] * 2), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("driver", DRIVERS)
def test_a_run_can_be_differentiated_through_flips(driver):
    box, scheme = driver
    prog = running("param a = 20\n" + SOFT.replace("20*", "a*") + box, scheme, 30, "record U", head=FLOW)
    x, v = atoms()
    system = prog.bind(x, velocities=v, **box_of(driver))
    outcome = jax.jit(lambda a: system.run(jax.random.key(0), params={"a": a}).records["U"][-1])
    slope = jax.jit(jax.grad(outcome))(20.0)
    assert np.isclose(slope, (outcome(20.001) - outcome(19.999)) / 0.002, rtol=1e-6) and abs(slope) > 1e-3


@pytest.mark.parametrize("driver", DRIVERS)
def test_a_run_goes_on_in_a_flipped_box(driver, tmp_path):
    box, scheme = driver
    path = tmp_path / "sheared.mdsl"
    box = box.replace("4.0", "(27/0.4)^(1/3)") if box else ""
    place = "x ~ uniform(atoms = 27)" if box else "x = sc(density = 0.4, cells = 3)"
    text = (
        FLOW
        + SOFT.replace("20*", "2*")
        + box
        + "observe tilt = cell.yx\nobserve way = sum(i) travelled[i]·travelled[i]\n"
    )
    path.write_text(f"{text}run {{ {place}  v ~ maxwell(0.5)  {scheme} for 60 record U, kinetic, tilt, way every 10 }}")
    options = RunOptions(seed=3, precision="double", quiet=True)
    run_program.run_file(path, replace(options, out=tmp_path / "whole"))
    killed(path, replace(options, out=tmp_path / "parts"), 25)
    run_program.run_file(path, RunOptions(quiet=True, resume=tmp_path / "parts"))
    whole, parts = (np.genfromtxt(tmp_path / n / "records.csv", delimiter=",", names=True) for n in ("whole", "parts"))
    assert len(whole) == len(parts) == 7 and np.ptp(whole["tilt"]) > 1
    for name in whole.dtype.names:
        np.testing.assert_allclose(parts[name], whole[name], rtol=1e-7, atol=1e-9)


# -- what is proved of the form of the box ---------------------------------------------------------------

FORMS = [
    ("cell·(identity + dt*outer((0, 1, 0), (1, 0, 0)))", box_shape.LOWER),
    ("cell·(identity + dt*outer((1, 0, 0), (0, 1, 0)))", box_shape.FULL),
    ("cell·transpose(identity + dt*outer((1, 0, 0), (0, 1, 0)))", box_shape.LOWER),
    ("cell·exp(dt*(outer((0, 1, 0), (1, 0, 0)) + outer((0, 0, 1), (0, 2, 0))))", box_shape.LOWER),
    ("cell·exp(dt*(outer((0, 1, 0), (1, 0, 0)) + outer((1, 0, 0), (0, 2, 0))))", box_shape.FULL),
    ("cell·inverse(identity + dt*outer((0, 0, 1), (1, 3, 0) + (0, 0, 2)))", box_shape.LOWER),
    ("cell·(identity + dt*outer((1, 0, 0), (0, 1, 0)·cell)/volume^(1/3))", box_shape.FULL),
    ("cell + dt*outer((0, 1, 0), (0, 1, 0)·cell)", box_shape.DIAGONAL),
    ("cell + dt*outer((0, 0, 1), (if t > 0 then (1, 0, 0) else (0, 1, 0))·cell)", box_shape.LOWER),
    ("cell·(identity + dt*virial.yx/potential*outer((0, 1, 0), (1, 0, 0)))", box_shape.LOWER),
    ("cell·(identity + dt*virial/potential)", box_shape.FULL),
]


@pytest.mark.parametrize("formula, form", FORMS)
def test_forms_are_proved(formula, form):
    text = (
        HEAD
        + SOFT
        + f"integrator mine(dt) {{ cell = {formula} }}\nrun {{ x = fcc(density = 0.5, cells = 3)  mine(dt = 0.1) "
        f"for 1 }}"
    )
    if form == box_shape.FULL:
        with pytest.raises(mdsl.Rejected, match="may turn the box") as caught:
            mdsl.compile(text)
        assert caught.value.diagnostics[0].id == "bad-box"
        return
    prog = mdsl.compile(text)
    assert box_shape.becomes_skew(prog.model) == (form == box_shape.LOWER)
    (advance,) = (s for s in prog.model.run if isinstance(s, Advance))
    x = np.random.default_rng(0).uniform(0, 2.5, (6, 3))
    cell = interpret.step(prog.model, advance, interpret.System(x, cell=np.diag([5.0, 6.0, 7.0]))).cell
    assert np.array_equal(cell, np.tril(cell)) and (np.tril(cell, -1).any() == (form == box_shape.LOWER))


def test_a_flow_of_the_plane_and_one_that_stretches():
    plane = "dim 2\nenergy U = sum(i < j) if r < 1.2 then (1.2 - r)^2 else 0 where r = |x[i] - x[j]|\n"
    prog = running(plane, "sllod(dt = 0.01, G = 2*outer((0, 1), (1, 0)))", 40, "record U", head=FLOW)
    result = prog.bind(np.array([[1.0, 1], [2, 1.3], [3, 3]]), box=4.0).run(jax.random.key(0))
    np.testing.assert_allclose(result.box, [[4, 0], [4 * 0.8 - 4, 4]], atol=1e-9)
    prog = running(
        SOFT, "sllod(dt = 0.01, G = outer((1, 0, 0), (1, 0, 0)) - outer((0, 1, 0), (0, 1, 0)))", 40, head=FLOW
    )
    with pytest.raises(mdsl.Rejected) as caught:
        prog.bind(atoms()[0], box=EDGE).run(jax.random.key(0))
    assert caught.value.diagnostics[0].id == "box-collapsed"


# -- SLLOD ---------------------------------------------------------------------------------------------


def test_sllod_is_of_second_order():
    x, v = atoms()
    prog = running(
        "param step = 0.1\n" + SOFT, "sllod(dt = step, G = planar_shear(1.5))", 400, "record U, kinetic", head=FLOW
    )
    system, found = prog.bind(x, velocities=v, box=EDGE), []
    for steps in (25, 50, 100, 400):
        result = system.run(jax.random.key(0), params={"step": 0.6 / steps}, steps=steps)
        assert result.counts.force_evaluations <= steps + 1
        found.append([result.records["U"][-1], result.records["kinetic"][-1]])
    errors = np.abs(np.array(found[:-1]) - found[-1])
    np.testing.assert_allclose(errors[0] / errors[1], 4, rtol=0.15)
    assert abs(result.box[1, 0] - (0.9 * EDGE - EDGE)) < 1e-9


def test_heat_is_the_work_of_the_stress():
    """dE/dt = volume stress : G, which is what the stream does to the fluid; by finite differences of one run."""
    x, v = atoms()
    text = SOFT + "observe E = potential + kinetic\nobserve power = volume*stress.xy*1.5\n"
    prog = running(text, "sllod(dt = 0.002, G = planar_shear(1.5))", 300, "record E, power every 1", head=FLOW)
    result = prog.bind(x, velocities=v, box=EDGE).run(jax.random.key(0))
    power = np.asarray(result.records["power"])
    work = np.cumsum((power[1:] + power[:-1]) / 2) * 0.002
    gained = np.asarray(result.records["E"])[1:] - result.records["E"][0]
    assert np.abs(gained).max() > 5
    np.testing.assert_allclose(gained, work, atol=2e-4 * np.abs(gained).max())


def sheared_by_lammps(x, v, steps, dt, rate):
    """Positions [N, 3] after steps of LAMMPS in a box that deforms, and its tilt."""
    engine = engines.lammps()
    try:
        engine.commands_string(
            f"units lj\natom_style atomic\natom_modify map array sort 0 0\nregion b prism 0 {EDGE} 0 {EDGE} 0 "
            f"{EDGE} 0 0 0\n"
            "create_box 1 b\nmass 1 1.0\npair_style lj/cut 1.122462048309373\npair_coeff 1 1 1.0 1.0\npair_modify "
            "shift yes\n"
            "neighbor 0.4 bin\nneigh_modify delay 0 every 1\n"
        )
        lab = v + np.outer(x[:, 1], (rate, 0, 0))
        engine.create_atoms(len(x), None, np.ones(len(x), int).tolist(), x.ravel().tolist(), lab.ravel().tolist())
        engine.commands_string(
            f"timestep {dt}\nfix 1 all nve\nfix 2 all deform 1 xy erate {rate} remap v units box flip yes\nrun "
            f"{steps} post no"
        )
        order = np.argsort(engine.numpy.extract_atom("id")[: len(x)])
        return engine.numpy.extract_atom("x")[: len(x)][order].copy(), engine.extract_box()[2]
    finally:
        engine.close()


def test_lammps_shears_alike():
    """Atoms in LAMMPS's deforming box have velocities of the laboratory: the same motion as SLLOD, for planar shear.
    Its box follows a step behind, so that it is of first order: its own two step lengths give the limit. Both go
    through a flip."""
    time, rate, (x, v) = 0.45, 2.0, atoms()
    pair = "energy U = sum(i < j) wca(1.0, 1.0)(|x[i] - x[j]|)\n"
    prog = running(pair, f"sllod(dt = 0.0005, G = planar_shear({rate}))", 900, head=FLOW)
    result = prog.bind(x, velocities=v, box=EDGE).run(jax.random.key(0))
    away = []
    for steps in (900, 1800):
        there, tilt = sheared_by_lammps(x, v, steps, time / steps, rate)
        assert np.isclose(result.box[1, 0], tilt) and np.isclose(tilt, 0.9 * EDGE - EDGE)
        d = there - np.asarray(result.x)
        away.append(d - np.round(d @ np.linalg.inv(result.box)) @ result.box)
    assert 1e-3 < np.abs(away[0]).max() < 0.1
    assert np.abs(2 * away[1] - away[0]).max() < 0.02 * np.abs(away[0]).max()


@pytest.mark.slow
def test_the_viscosity_of_wca_at_high_shear():
    """Near the triple point, at rate 1: LAMMPS, with Lees-Edwards boxes, velocity Verlet and rescaling."""
    text = "energy U = sum(i < j) wca(1.0, 1.0)(|x[i] - x[j]|)\nobserve viscosity = stress.xy/1.0\n"
    scheme = "sllod_rescaling(dt = 0.003, T = 0.722, G = planar_shear(1.0))"
    run = (
        f"run {{ x = fcc(density = 0.8442, cells = 5)  v ~ maxwell(0.722)\n{scheme} for 2_000\n{scheme} for 36_000 "
        f"record viscosity every 20 }}"
    )
    result = mdsl.compile(FLOW + text + run).bind(seed=1).run(jax.random.key(0))
    blocks = np.asarray(result.records["viscosity"])[-1800:].reshape(40, -1).mean(1)
    error = blocks.std() / 40**0.5
    assert error < 0.02 and abs(blocks.mean() - 1.807) < 3.5 * np.hypot(error, 0.004)
