"""Chains of replicas: what a flow reads of the next one and the one before, and the bands that are made of it."""

import os
import subprocess
import sys
import textwrap

import ase
import ase.io
import jax
import numpy as np
import pytest

import mdsl
from mdsl.command import cli
from mdsl.grammar.diagnostics import Rejected

SURFACE = """use units.lj
use chains (elastic_band)
dim 2
box free
replicas r in 0..{last}
param A = -200.0
def hill(A, a, b, c, X, Y)(x, y) = A*exp(a*(x - X)^2 + b*(x - X)*(y - Y) + c*(y - Y)^2)
energy U = sum(i) (hill(A, -1, 0, -10, 1, 0)(x[i].x, x[i].y)
                   + hill(-100, -1, 0, -10, 0, 0.5)(x[i].x, x[i].y)
                   + hill(-170, -6.5, 11, -6.5, -0.5, 1.5)(x[i].x, x[i].y)
                   + hill(15, 0.7, 0.6, 0.7, -1, 1)(x[i].x, x[i].y))
run {{ x = between("a.extxyz", "b.extxyz")
  {band}
    record U, reaction, barrier, residual }}
"""
BAND = """elastic_band(dt = 0.002, k = 1000, climbing = 0) for 200
  elastic_band(dt = 0.002, k = 1000, climbing = {climbing}) until residual < 1e-6, at most 3_000"""
# Minima and saddles of the surface of Müller and Brown (1979), to the digits that are known of them.
ENDS = np.array([[-0.5582236346, 1.4417258418], [0.6234994049, 0.0280377585]])
MINIMA, SADDLES = (-146.69951721, -108.16672412), (-40.66484351, -72.24894011)


def straight(last):
    return np.linspace(*ENDS, last + 1)[:, None, :]


def surface(last=12, climbing=1, band=BAND):
    program = mdsl.compile(SURFACE.format(last=last, band=band.format(climbing=climbing)))
    return program.bind(ENDS[:1], box=np.inf)


def test_a_climbing_band_finds_the_saddles_of_a_surface():
    result = surface(climbing=2).run(jax.random.key(0), x=straight(12))
    U = result.records["U"][:, -1]
    assert result.statements[1].converged.all()
    peaks = [k for k in range(1, 12) if U[k] > max(U[k - 1], U[k + 1])]
    np.testing.assert_allclose(U[peaks], SADDLES, rtol=2e-9)
    np.testing.assert_allclose(U[[0, -1]], MINIMA, rtol=1e-9)
    assert result.records["residual"][:, -1].max() < 1e-6
    np.testing.assert_allclose(result.records["barrier"][-1, -1], SADDLES[0] - MINIMA[0], rtol=1e-8)
    # The ends stay, the others are where springs have them, and the length is that of the polygon.
    np.testing.assert_array_equal(result.x[[0, -1], 0], ENDS)
    steps = np.linalg.norm(np.diff(result.x[:, 0], axis=0), axis=1)
    np.testing.assert_allclose(result.records["reaction"][:, -1], [0, *np.cumsum(steps)], rtol=1e-6)
    for part in (steps[: peaks[0]], steps[peaks[0] : peaks[1]], steps[peaks[1] :]):
        np.testing.assert_allclose(part, part[0], rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("climbing", [0, 1])
def test_the_highest_image_climbs_or_none(climbing):
    result = surface(climbing=climbing).run(jax.random.key(0), x=straight(12))
    U = result.records["U"][:, -1]
    assert result.statements[1].converged.all() and SADDLES[1] - 8 < U[8:].max() < SADDLES[1] - 0.001
    if climbing:
        np.testing.assert_allclose(U.max(), SADDLES[0], rtol=1e-8)
    else:
        assert SADDLES[0] - 8 < U.max() < SADDLES[0] - 0.05
        steps = np.linalg.norm(np.diff(result.x[:, 0], axis=0), axis=1)
        np.testing.assert_allclose(steps, steps[0], rtol=1e-5)


@pytest.mark.slow
def test_the_barrier_has_a_derivative():
    """The place of a saddle does not count: its energy changes by what the parameter changes there."""
    system = surface(
        last=6,
        band="elastic_band(dt = 0.002, k = 1000, climbing = 0) for 200 elastic_band(dt = 0.002, k = 1000) for 600",
    )

    def highest(A):
        return system.run(jax.random.key(0), x=straight(6), params={"A": A}).records["U"][:, -1].max()

    top, slope = jax.jvp(highest, (-200.0,), (1.0,))
    np.testing.assert_allclose(top, SADDLES[0], rtol=1e-8)
    x, y = -0.822001558, 0.624312803
    np.testing.assert_allclose(slope, np.exp(-((x - 1) ** 2) - 10 * y**2), rtol=1e-4)


# -- what is read of neighbours ----------------------------------------------------------------------------

TALK = """use units.lj
replicas r in 1..{count}
param k = 0.1*r
energy U = sum(i < j) if d < 1.2 then k*(1.2 - d)^2 else 0  where d = |x[i] - x[j]|
state far = 0
minimizer talk(h) {{
  state number = 0
  state ahead  = 0
  state energy_behind = 0
  number = r
  ahead  = next(number)
  energy_behind = previous(potential)
  way = next(x) - x
  far = sum(i) way[i]·way[i]
  observe on = ahead
  observe back = energy_behind
  x += h*way
}}
observe distance = far
run {{ x ~ uniform(atoms = {atoms}, density = 0.5)  talk(h = 0.25) for 3 record on, back, U, distance every 1 }}
"""


@pytest.mark.parametrize("atoms", [12, pytest.param(400, marks=pytest.mark.slow)])
def test_neighbours_are_read_by_the_numbers_of_atoms(atoms):
    """The larger system has lists, and an order of its own in each replica."""
    system = mdsl.compile(TALK.format(count=4, atoms=atoms)).bind(seed=3)
    result = system.run(jax.random.key(0))
    records, box = result.records, float(system.box[0])
    np.testing.assert_array_equal(records["on"][:, 1:], np.repeat([[2], [3], [4], [4]], 3, axis=1))
    np.testing.assert_allclose(records["back"][1:, 1:], records["U"][:-1, :-1], rtol=1e-12)
    np.testing.assert_allclose(records["back"][0, 1:], records["U"][0, :-1], rtol=1e-12)
    x = np.stack([s.x for s in system.starts])
    for turn in range(3):
        way = np.concatenate([x[1:], x[-1:]]) - x
        way -= box * np.round(way / box)
        np.testing.assert_allclose(records["distance"][:, turn + 1], (way**2).sum(axis=(1, 2)), rtol=1e-10)
        x = x + 0.25 * way
    apart = result.x - x
    np.testing.assert_allclose(apart - box * np.round(apart / box), 0, atol=1e-10)


@pytest.mark.slow
def test_chains_are_read_across_devices_and_inside_transformations():
    text = TALK.format(count=3, atoms=12)
    script = f"""
    import jax, numpy as np
    jax.config.update("jax_enable_x64", True)
    jax.config.update("jax_num_cpu_devices", 2)
    import mdsl
    program = mdsl.compile({text!r})
    one, two = (program.bind(seed=3, devices=jax.devices()[:n]) for n in (1, 2))
    a, b = (s.run(jax.random.key(0)) for s in (one, two))  # three replicas on two devices: one is filled up
    assert np.allclose(a.x, b.x, rtol=1e-12) and np.allclose(a.records["back"], b.records["back"], rtol=1e-12)
    def values(key):
        found = one.run(key)
        return found.x, found.records["back"]

    x, back = jax.jit(values)(jax.random.key(0))
    assert np.allclose(a.x, x, rtol=1e-12) and np.allclose(a.records["back"][:, 1:], back[:, 1:], rtol=1e-12)
    """
    env = {n: v for n, v in os.environ.items() if n not in ("JAX_NUM_CPU_DEVICES",)}
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], env=env, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-2000:]


# -- on the command line, and what is wrong ----------------------------------------------------------------


def test_a_band_between_two_files(tmp_path, capsys):
    program = SURFACE.format(last=4, band=BAND.format(climbing=1))
    (tmp_path / "band.mdsl").write_text(program)
    for name, place in zip("ab", ENDS):
        ase.io.write(tmp_path / f"{name}.extxyz", ase.Atoms("X", positions=[(*place, 0)]))
    assert cli.main(["run", str(tmp_path / "band.mdsl"), "--seed", "1", "--out", str(tmp_path / "out")]) == 0
    said = capsys.readouterr().out
    assert "5 of 5 replicas converged" in said
    records = np.genfromtxt(tmp_path / "out" / "records.csv", delimiter=",", names=True)
    np.testing.assert_allclose(records["U"].max(), SADDLES[0], rtol=1e-8)
    for k, place in ((0, ENDS[0]), (4, ENDS[1])):
        atoms = ase.io.read(tmp_path / "out" / f"replica-{k:03d}" / "final.extxyz")
        np.testing.assert_allclose(atoms.positions[0, :2], place, rtol=1e-7)  # of the file


def test_ways_between_structures_are_by_nearest_images(tmp_path):
    for name, x in (("a", 0.5), ("b", 9.5)):
        ase.io.write(tmp_path / f"{name}.extxyz", ase.Atoms("Cu2", [(x, 1, 1), (5, 5, 5)], cell=[10] * 3, pbc=True))
    text = """use units.metal
replicas r in 1..3
energy U = sum(i < j) if d < 2 [angstrom] then 0.1 [eV/angstrom]*d else 0  where d = |x[i] - x[j]|
run { x = between("a.extxyz", "b.extxyz") }
"""
    (tmp_path / "way.mdsl").write_text(text)
    system = mdsl.load(tmp_path / "way.mdsl").bind()
    np.testing.assert_allclose([s.x[0, 0] for s in system.starts], [0.5, 0.0, -0.5], atol=1e-12)
    ase.io.write(tmp_path / "b.extxyz", ase.Atoms("CuNi", [(1, 1, 1), (5, 5, 5)], cell=[10] * 3, pbc=True))
    with pytest.raises(Rejected, match="differ in their species"):
        mdsl.load(tmp_path / "way.mdsl").bind()


def test_bound_positions_decide_nothing_of_a_name_of_the_program():
    """`next` and `previous` may be declared, as in programs that were written before."""
    text = """use units.lj
param next = 2.0
def previous(r) = if r < next then (next - r)^2 else 0
energy U = sum(i < j) previous(|x[i] - x[j]|)
"""
    system = mdsl.compile(text).bind(np.array([[0.0, 0, 0], [1, 0, 0]]), box=9.0)
    np.testing.assert_allclose(system.energy(), 1.0)
