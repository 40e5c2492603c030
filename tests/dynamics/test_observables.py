"""Observables: what is recorded is what the interpreter says, and what physics says."""

import json
import os
import subprocess
import sys
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compiled import PAIRS_BY, killed, program, run, running
from interpreted import jumbled, moved
from observed import agree

import mdsl
from mdsl.command import cli
from mdsl.command.options import RunOptions
from mdsl.grammar.diagnostics import Rejected
from mdsl.interpret import meaning as interpret
from mdsl.lowering.dynamics import observing
from mdsl.lowering.planning.traversal import beyond
from mdsl.lowering.run.members import single
from mdsl.lowering.run.plan import arrange
from mdsl.model.domains import Pairs
from mdsl.model.nodes import Advance

jax.config.update("jax_enable_x64", True)

WCA = "energy U = sum(i < j) wca(1.0, 1.0)(|x[i] - x[j]|)\n"

# -- matrices and vectors --------------------------------------------------------------------------------

MATRICES = (
    WCA
    + """observe W = virial
observe xy = virial.xy
observe zx = stress.zx
observe axis = (1, 0, N)
observe row = (1, 2, 3)·virial
observe column = virial·(1, 2, 3)
observe square = virial·stress
observe turned = transpose(outer((1, 2, 3), (0, 1, -1)))
observe eye = inverse(cell)·cell
observe back = inverse(outer((1, 2, 3), (1, 0, 0)) + identity)
observe deviator = virial - trace(virial)/dim*identity
observe angle2 = sum(i) atan2(v[i].y, v[i].x)
observe cells = sum(i) (floor(3*v[i].x) - 2*round(2*v[i].z))
"""
)


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
        "dim 2\nobserve a = (3, 4)·identity·(1, 1)\nobserve M = virial·identity\nobserve yx = stress.yx\nenergy U = "
        "sum(i < j) wca(1.0, 1.0)(|x[i] - x[j]|)",
        jumbled(9, 2),
    )
    assert found["a"] == 7 and found["M"].shape == (2, 2)


def test_a_force_along_a_direction():
    """A uniform field written with a vector, in sums over atoms, pairs and topologies."""
    n, rng = 7, np.random.default_rng(4)
    x = rng.uniform(-2, 2, (n, 3))
    text = (
        "box free\ntopology bonds(i, j)\nparam g = 2.0\nenergy G = -g*sum(i) (0, 0.6, 0.8)·(x[i] - origin)\nenergy "
        "B = sum((i, j) in bonds) ((x[i] - x[j])·(1, 0, 2))^2\nenergy P = sum(i < j) exp(-((x[i] - x[j])·(0, "
        "g, 0))^2)"
    )
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
    text = (
        WCA
        + "observe fast = largest(i) |v[i]|\nobserve pushed = 2*largest(i) |f[i]| - smallest(i) f[i].x\nobserve low = "
        "smallest(i) if v[i].x > 0 then v[i].x else 7"
    )
    found = agree(text, system, traversal)
    assert found["fast"] == pytest.approx(np.linalg.norm(system.v, axis=1).max(), rel=1e-14)
    assert found["low"] == system.v[system.v[:, 0] > 0, 0].min()


def test_steps_have_no_slope():
    """floor and round are constant between their steps, atan2 turns: in forces too."""
    text = "box free\nenergy U = sum(i < j) (floor(3*r)*r^2 + round(r)*r + atan2(r, 2.0)) where r = |x[i] - x[j]|"
    compiled, system = program(text), moved(jumbled(6), periodic=[False] * 3, lengths=[1.0] * 3)
    assert np.allclose(
        compiled.bind(system.x, box=np.inf).forces(), interpret.forces(compiled.model, system), rtol=1e-12
    )


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
        ("observe q = sum(i) species[i]", "wrong-type", "adds numbers"),
        ("observe q = sum(i) if species[i] == 1 then 1 else 0", "wrong-type", "cannot compare"),
        ("species A\nobserve q = sum(i) if species[i] < A then 1 else 0", "wrong-type", "cannot compare"),
        ("species A\nobserve q = sum(i) if species[i] == B then 1 else 0", "unknown-name", "no name `B`"),
        ("observe q[i] = v[i].x", "misplaced", "no indices of atoms"),
        ("observe q[k in 1..3, n in 1..3] = k", "not-yet", "two ranges"),
        ("observe q[k in 1..2.5] = k", "bad-axis", "a whole number up to another"),
        ("observe q[k in 1..1_000_000] = k", "bad-axis", "at most 100_000"),
        ("param n = 3\nobserve q[k in 1..n] = k", "bad-axis", "a whole number up to another"),
        ("observe q[k in 1..3] = k\nobserve p = q[4]", "wrong-index", "`q` has no entry 4"),
        ("observe q[k in 1..3] = k\nobserve p[k in 1..5] = q[k]", "wrong-index", "`q` has no entry 5"),
        ("const c[k in 1..3] = k\nobserve p[k in 0..3] = c[k]", "wrong-index", "`c` has no entry 0"),
        ("observe q[k in 1..3] = k\nobserve p = sum(i) q[i]", "wrong-index", "whole numbers from 1 to 3"),
        ("observe q[k in 1..3] = k\nobserve p = q", "wrong-index", "`q` is an array"),
        ("observe q[k in 1..3] = sum(i) x[k].x", "wrong-index", "is a number"),
        ("observe q[k in 1..3] = p[k]\nobserve p[k in 1..3] = q[k]", "cyclic-definition", "defined by itself"),
        ("dim 2\nobserve q = virial.xz", "bad-dimension", "no `.xz`"),
    ],
)
def test_mistakes(text, id, said):
    with pytest.raises(Rejected) as caught:
        program(WCA + text)
    (diagnostic,) = caught.value.diagnostics
    assert diagnostic.id == id and said in diagnostic.message


# -- series ----------------------------------------------------------------------------------------------

SERIES = (
    WCA.replace("wca(1.0, 1.0)", "force_shifted(lennard_jones(1.0, 1.0), 2.0)")
    + """topology bonds(i, j)
const bins = 9
param k = 3.0
const shift[k in 1..10] = 0.1*k
def shell(n) = k*n
observe h[k in 1..10] = sum(i < j) if floor(r/0.2) + 1 == k then 1 else 0 where r = |x[i] - x[j]|
observe far[k in 1..bins] = sum(i < j) if k == floor(r/0.3) then shift[k]*r else 0 where r = |x[i] - x[j]|
observe free[k in 0..4] = sum(i < j, (i, j) not in bonds) if k == floor(|x[i] - x[j]|/0.5) then 1 else 0
observe lengths[k in 0..9] = sum((i, j) in bonds) if k == floor(|x[i] - x[j]|/0.5) then 1 else 0
observe g[n in 1..10] = h[n]/shell(n)
observe short[n in 2..3] = h[n]*n
observe one = h[3] + N
observe currents[n in -1..1] = n*sum(i) v[i] + k*p where p = sum(i) v[i]
observe debye[n in 1..3] = sum(i < j) sin(n*r)/(n*r) where r = |x[i] - x[j]|
observe waves[n in 0..4] = (sum(i) cos(q*x[i].x))^2 where q = 2*pi*n/5
observe speeds[n in 0..5] = sum(i) (if n == floor(|v[i]|/0.5) then n^2 else 0)*m[i]
observe momenta[n in 0..1] = sum(i) (if n == (if v[i].x > 0 then 1 else 0) then 1 else 0)*v[i]
observe fastest[n in 1..3] = largest(i) v[i].x^n
observe W[n in 0..1] = n*virial
observe tensor = sum(i < j) (if |d| < 2 then 1 else 0)*outer(d, d) where d = x[i] - x[j]
observe dipoles[n in 1..2] = sum(i < j) n*(v[i] + v[j])/|x[i] - x[j]|
observe weighed[n in 0..4] = sum(i < j) (if floor(|x[i] - x[j]|/0.5) == n then 1 else 0)*(v[i] + v[j])
quantity near[i] = sum(j != i) if |x[i] - x[j]| < 1.5 then 1 else 0
observe around[n in 0..12] = sum(i) if near[i] == n then 1 else 0
observe alike[n in 0..3] = sum(i < j) (if floor(|x[i] - x[j]|/0.5) == n then 1 else 0)*near[i]*near[j]
observe within[n in 1..4] = sum(i < j) if |x[i] - x[j]| < 0.5*n then 1 else 0
observe angles[n in 0..5] = sum(i; j < k) if near[i] > 2 and |x[i] - x[j]| < 1 and |x[i] - x[k]| < 1 and floor(angle(x[j], x[i], x[k])/(pi/6)) == n then 1 else 0
"""
)


@pytest.mark.parametrize("traversal", ["all pairs", "list"])
def test_series(traversal):
    system = jumbled(24, edge=5.0, topologies={"bonds": np.array([[0, 1], [3, 9], [23, 4]])})
    found = agree(SERIES, system, traversal)
    assert found["h"].shape == (10,) and found["currents"].shape == (3, 3) and found["W"].shape == (2, 3, 3)
    d = system.x[:, None] - system.x[None]
    r = np.linalg.norm(d - system.lengths * np.round(d / system.lengths), axis=-1)[np.triu_indices(24, 1)]
    assert np.array_equal(found["h"], np.histogram(r, np.arange(11) * 0.2)[0])
    assert found["lengths"].sum() == 3 and found["one"] == found["h"][2] + 24
    assert np.array_equal(found["g"], found["h"] / (3 * np.arange(1, 11)))
    assert np.allclose(found["momenta"][1], system.v[system.v[:, 0] > 0].sum(0))


def test_ends_that_are_not_of_parameters_alone():
    """A bound that moves with the box or in time proves nothing: all pairs are visited."""
    text = "energy U = sum(i < j) if r < L/3 then (r - L/3)^2 else 0 where r = |x[i] - x[j]|, L = volume^(1/3)\n"
    text += "observe h[k in 1..10] = sum(i < j) if floor(|x[i] - x[j]|/w) + 1 == k then 1 else 0 where w = volume^(1/3)/20\nobserve n = sum(i < j) if |x[i] - x[j]| < N/20 + t then 1 else 0"
    agree(text, jumbled(24, edge=5.0))
    field = program(text).compiled.field
    assert {m.support.why for m in field.measures if isinstance(m.domain, Pairs)} | {field.terms[0].support.why} == {
        "the bound depends on `volume`, not on parameters alone", "the bound depends on `t`, not on parameters alone"
    }  # fmt: skip


@pytest.mark.parametrize("traversal", ["all pairs", "list"])
def test_species_are_compared(traversal):
    text = (
        "species A, B\n"
        + WCA
        + "topology bonds(i, j)\nobserve mixed = sum(i < j) if species[i] == A and species[j] == B or species[i] == B "
        "and species[j] == A then 1 else 0\n"
    )
    text += "observe same[k in 0..3] = sum(i < j) if species[i] == species[j] and floor(|x[i] - x[j]|) == k then 1 else 0\nobserve others = sum(i) if species[i] != B then |v[i]| else 0\nobserve bonded = sum((i, j) in bonds) if species[i] != species[j] then 1 else 0"
    species = np.arange(24) % 3 // 2
    found = agree(
        text,
        jumbled(24, edge=5.0, species=species, topologies={"bonds": np.array([[0, 1], [1, 2], [2, 3]])}),
        traversal,
    )
    assert found["mixed"] == 16 * 8 and found["bonded"] == 2


def test_which_series_are_histograms_and_end_with_the_list():
    field = program(SERIES).compiled.field
    found = {m.equation: m for m in field.measures if m.axis}
    assert {n for n, m in found.items() if m.bin is not None} == {
        "h",
        "free",
        "lengths",
        "speeds",
        "momenta",
        "weighed",
        "around",
        "alike",
        "short",
    }
    assert {n for n, m in found.items() if m.near} == {"h", "short", "alike", "angles"}


def test_a_histogram_of_many_bins():
    """100 bins, 1,100 atoms, in blocks of rows: every pair is counted once."""
    x = np.random.default_rng(1).uniform(0, 10, (1100, 3))
    text = (
        "energy W = sum(i) 0*(x[i].x)^2\nobserve h[k in 1..100] = sum(i < j) if floor(|x[i] - x[j]|/0.05) + 1 == k "
        "then 1 else 0"
    )
    found = (
        running(text, "velocity_verlet(dt = 1)", 0, "record h every 1")
        .bind(x, box=10.0)
        .run(jax.random.key(0))
        .records["h"][0]
    )
    d = x[:, None] - x[None]
    r = np.linalg.norm(d - 10 * np.round(d / 10), axis=-1)[np.triu_indices(1100, 1)]
    assert np.array_equal(found, np.histogram(r, np.arange(101) * 0.05)[0])


def test_histograms_in_traced_runs():
    text = (
        WCA
        + "observe h[k in 1..9] = sum(i < j) if floor(|x[i] - x[j]|/0.2) + 1 == k then 1 else 0\nobserve c[n in 1..2] "
        "= n*sum(i) v[i]"
    )
    system = running(text, "velocity_verlet(dt = 0.001)", 2, "record h, c every 1").bind(jumbled(8).x, box=4.0)
    plain = system.run(jax.random.key(0)).records
    traced = jax.jit(lambda key: {n: system.run(key).records[n] for n in ("h", "c")})(jax.random.key(0))
    assert traced["h"].shape == (3, 9) and traced["c"].shape == (3, 2, 3)
    assert all(np.allclose(plain[n], traced[n]) for n in ("h", "c"))


@pytest.mark.slow
def test_observables_are_differentiable():
    """The derivative of the last records by a parameter of the energy, through the dynamics, against differences."""
    text = (
        "param a = 1.0\nenergy U = sum(i < j) a*force_shifted(lennard_jones(1.0, 1.0), 1.7)(|x[i] - x[j]|)\n"
        "observe debye[n in 1..3] = sum(i < j) sin(n*r)/(n*r) where r = |x[i] - x[j]|\n"
        "observe way = sum(i) travelled[i]·travelled[i]\nobserve top = largest(i) |v[i]|\nobserve around = sum(i) "
        "(sum(j != i) exp(-|x[i] - x[j]|))^2\n"
    )
    names = ["debye", "way", "top", "around"]
    system = jumbled(14)
    compiled = running(text, "velocity_verlet(dt = 0.002)", 6, f"record {', '.join(names)} every 3")
    bound = compiled.bind(system.x, box=system.lengths, velocities=system.v, policy=PAIRS_BY["list"])
    weights = dict(zip(names, (1.0, 30.0, 0.5, 2.0)))  # each counts

    def last(a):
        records = bound.run(jax.random.key(0), params={"a": a}).records
        return sum(w * jnp.sum(records[n][-1] * jnp.arange(1.0, 1 + records[n][-1].size)) for n, w in weights.items())

    slope, h = jax.grad(last)(1.0), 1e-5
    expected = (last(1 + h) - last(1 - h)) / (2 * h)
    assert float(slope) == pytest.approx(float(expected), rel=1e-6)


def test_components_have_the_dimension_of_their_vector():
    head = "use units.metal\nuse pair\nuse integrators (velocity_verlet)\n"
    text = "energy U = sum(i < j) wca(3 [angstrom], 0.01 [eV])(|x[i] - x[j]|)\n"
    program(text + "observe q = (1 [angstrom], 0, 2 [nm])·virial", head)
    with pytest.raises(Rejected) as caught:
        program(text + "observe q = (1 [angstrom], 1 [fs], 0)", head)
    assert caught.value.diagnostics[0].id == "wrong-unit"


# -- since the statement began ---------------------------------------------------------------------------

FREE = "energy U = 0*sum(i) (x[i].x)^2\n"  # no forces


@pytest.mark.parametrize("traversal", ["all pairs", "list"])
def test_the_way_since_the_statement_began(traversal):
    """Free flight through several periods; the second statement starts anew."""
    text = (
        "energy U = sum(i < j) 1e-14*force_shifted(gaussian(1, 1), 1.0)(|x[i] - x[j]|)\nobserve way = sum(i) "
        "travelled[i]\nobserve far = sum(i) |travelled[i]|^2\nobserve c = sum(i) v[i]·v_start[i]\nobserve t0 = "
        "t_start\n"
    )
    text += 'run {\n x = read("bound in Python")\n velocity_verlet(dt = 0.25) for 40 record way, far, c, t0 every 10\n velocity_verlet(dt = 0.5) for 8 record way, far, c, t0 every 4\n}'
    compiled, system = program(text), jumbled(12)
    system = moved(system, v=0.3 * system.v)
    records = run(compiled, system.x, traversal=traversal, box=system.lengths, velocities=system.v).records
    v, t = system.v, np.array([0, 2.5, 5, 7.5, 10, 2, 4])
    assert np.allclose(records["way"], t[:, None] * v.sum(0)) and np.allclose(records["far"], t**2 * (v**2).sum())
    assert np.allclose(records["c"], (v**2).sum()) and records["t0"].tolist() == [0] * 5 + [10] * 2


def test_the_way_is_what_the_interpreter_says():
    text = WCA + "observe msd = sum(i) travelled[i]·travelled[i]/N\nobserve c = sum(i) v[i]·v_start[i]/N"
    compiled, system = running(text, "velocity_verlet(dt = 0.02)", 5, "record msd, c every 1"), jumbled(8)
    (advance,) = [s for s in compiled.model.run if isinstance(s, Advance)]
    expected, _ = interpret.run(compiled.model, advance, system, 5, observe=("msd", "c"))
    found = run(compiled, system.x, box=system.lengths, velocities=system.v).records
    assert np.allclose(found["msd"], [r["msd"] for r in expected], rtol=1e-10, atol=1e-15)
    assert np.allclose(found["c"], [r["c"] for r in expected], rtol=1e-10)
    traced = jax.jit(
        lambda key: compiled.bind(system.x, box=system.lengths, velocities=system.v).run(key).records["msd"]
    )(jax.random.key(0))
    assert np.allclose(traced, found["msd"], rtol=1e-10, atol=1e-15)


def test_energies_do_not_look_back():
    for read in ("travelled[i].x", "v_start[i].x", "t_start", "cell.xx"):
        with pytest.raises(Rejected) as caught:
            program(f"energy U = sum(i) {read}")
        assert caught.value.diagnostics[0].id == "misplaced"


# -- everything in one program ---------------------------------------------------------------------------

EVERYTHING = """use units.real
use pair
use integrators (baoab)
use observables
param m = 40.0 [g/mol]
energy core = sum(i < j) wca(3.4 [angstrom], 0.24 [kcal/mol])(|x[i] - x[j]|)
energy tail = sum(i < j) if r < 5 [angstrom] then -0.1 [kcal/mol]*(1 - r/(5 [angstrom]))^2 else 0 where r = |x[i] - x[j]|
quantity near[i] = sum(j != i) if |x[i] - x[j]| < 5 [angstrom] then 1 else 0
observe p = sum(i) m[i]*v[i]
observe f_max = largest(i) |f[i]|
observe g[k in 1..12] = pair_correlation(k, 0.5 [angstrom])
observe around[n in 0..3] = sum(i) if near[i] == n then 1 else 0
observe flux[k in 0..1] = sum(i) (near[i] + k)*v[i]
observe msd = mean_squared_displacement()
observe c = velocity_autocorrelation()
run {
  x = fcc(density = 0.015 [1/angstrom^3], cells = 2)
  v ~ maxwell(200 [K])
  baoab(dt = 4 [fs], T = 200 [K], gamma = 1 [1/ps]) for 30 record potential, core, tail, stress, pressure, g every 10
  baoab(dt = 4 [fs], T = 200 [K], gamma = 1 [1/ps]) for 30
    record potential, core, tail, stress, pressure, p, f_max, g, around, flux every 10
    record msd, c, t every 5
}
"""


def test_records_of_several_shapes_and_a_run_that_is_cut_off(tmp_path):
    """One program observes numbers, vectors, matrices and series; a run that is resumed writes what one in a piece
    does."""
    path = tmp_path / "everything.mdsl"
    path.write_text(EVERYTHING)
    arguments = ["run", str(path), "--seed", "3", "--quiet", "--precision", "double"]
    assert cli.main([*arguments, "--out", str(tmp_path / "whole")]) == 0

    killed(path, RunOptions(seed=3, precision="double", quiet=True, out=tmp_path / "parts"), 45)
    assert cli.main(["run", str(path), "--resume", str(tmp_path / "parts"), "--quiet"]) == 0
    whole, parts = (
        [line.split(",") for line in (tmp_path / name / "records.csv").read_text().splitlines()]
        for name in ("whole", "parts")
    )
    assert whole[0] == parts[0] and [row[0] for row in whole] == [row[0] for row in parts]
    assert whole[0][:5] == ["step", "time [fs]", "potential [kcal/mol]", "core [kcal/mol]", "tail [kcal/mol]"]
    assert {"stress_xy [atm]", "g[1]", "g[12]", "around[0]", "flux[1]_z [angstrom/fs]", "msd [angstrom^2]"} <= set(
        whole[0]
    )
    numbers = [np.array([[float(v or "nan") for v in row] for row in rows[1:]]) for rows in (whole, parts)]
    assert np.array_equal(np.isnan(numbers[0]), np.isnan(numbers[1]))
    assert np.array_equal(*numbers, equal_nan=True)

    result = mdsl.load(path).bind(seed=3).run(jax.random.key(3)).records
    column = {title.partition(" ")[0]: k for k, title in enumerate(whole[0])}
    assert result["g"].shape == (len(whole) - 1, 12) and result["flux"].shape == (len(whole) - 1, 2, 3)
    for name, values in {
        "tail": result["tail"],
        "g[7]": result["g"][:, 6],
        "stress_xz": result["stress"][:, 0, 2],
        "flux[1]_y": result["flux"][:, 1, 1],
        "msd": result["msd"],
    }.items():
        assert np.allclose(values, numbers[0][:, column[name]], rtol=1e-9, atol=1e-12, equal_nan=True), name
    assert np.allclose(result["core"] + result["tail"], result["potential"], equal_nan=True)
    assert np.allclose(-np.trace(result["stress"], axis1=1, axis2=2) / 3, result["pressure"], rtol=1e-9, equal_nan=True)


# -- sums beyond the energies' list ------------------------------------------------------------------------

FAR = (
    "energy U = sum(i < j) force_shifted(lennard_jones(1.0, 1.0), 1.3)(|x[i] - x[j]|)\nparam dr = 0.12\nparam "
    "rc = 2.2\n"
    + """observe h[k in 1..20] = sum(i < j) if floor(|x[i] - x[j]|/dr) + 1 == k then 1 else 0
observe close = sum(i < j) if |x[i] - x[j]| < rc then |x[i] - x[j]|^2 else 0
observe near = sum(i < j) if |x[i] - x[j]| < 0.6*rc then 1 else 0
observe all = sum(i < j) exp(-|x[i] - x[j]|)
quantity n[i] = sum(j != i) if |x[i] - x[j]| < rc then 1 else 0
observe most = largest(i) n[i]
observe spread = sum(i) (n[i] - 20)^2
"""
)


ALWAYS = replace(PAIRS_BY["list"], most_of_box=1.0)  # lists for observables too


def test_sums_beyond_the_list_have_one_of_their_own():
    """Sums that end farther than the energies, at the parameters of the run, have a list of their own."""
    system = jumbled(60, edge=5.6, seed=3)
    agree(FAR, system, "list", policy=ALWAYS)
    compiled = program(FAR)
    bound = compiled.bind(system.x, box=system.lengths)

    def farther(**params):
        """What is planned for these parameters, and the list that sums have beyond that of the energies."""
        given = single(
            compiled.compiled.field, bound.initial, {**compiled.params, **params}, jax.random.key(0), "double"
        )
        planned = arrange(given, policy=ALWAYS)
        more = observing.farther(planned.lowered.potential, ("h", "close", "most", "all"), planned.ends)
        return planned.lowered.potential.field, more, beyond(*given.facts, more.radius, ALWAYS)

    def visited(field):
        return {m.equation for m in field.measures if not m.near and isinstance(m.domain, Pairs)}

    _, more, plan = farther()
    assert plan is not None and more.radius == pytest.approx(2.4, abs=1e-5)
    assert more.potential.field.value("n").near and visited(more.potential.field) == {"all"}
    # With other parameters the list of the energies is enough.
    field, _, plan = farther(dr=0.06, rc=1.2)
    assert visited(field) == {"all"} and plan is None
    assert not any(m.near for m in compiled.compiled.field.measures)  # what holds for any parameters


TWO_DEVICES = """
import json
import jax
jax.config.update("jax_enable_x64", True)
jax.config.update("jax_num_cpu_devices", 2)
import test_observables as here
print(json.dumps(here.on_devices()))
"""
SHARED = """energy U = sum(i < j) force_shifted(lennard_jones(1.0, 1.0), 1.3)(|x[i] - x[j]|)
quantity n[i] = sum(j != i) if |x[i] - x[j]| < 2.1 then 1 else 0
observe near[k in 1..6] = sum(i < j) if floor(|x[i] - x[j]|/0.2) + 1 == k then 1 else 0
observe far[k in 1..12] = sum(i < j) if floor(|x[i] - x[j]|/0.2) + 1 == k then 1 else 0
observe all = sum(i < j) exp(-|x[i] - x[j]|)
observe kinds[k in 0..9] = sum(i) if floor(n[i]/10) == k then 1 else 0
observe most = largest(i) n[i] - smallest(i) |f[i]|
observe waves[n in 1..3] = sum(i) cos(2*pi*n*x[i].x/6)
observe way = sum(i) travelled[i]*travelled[i].x
observe c = sum(i) v[i]·v_start[i]
"""


def on_devices():
    """The records of a run of 99 atoms on one device, and on two of which one holds padding."""
    names = ["near", "far", "all", "kinds", "most", "waves", "way", "c"]
    compiled = running(SHARED, "baoab(dt = 0.02, T = 1.0, gamma = 1.0)", 8, f"record {', '.join(names)} every 4")
    x = np.stack(np.meshgrid(*[np.arange(5.0) * 1.2] * 3), -1).reshape(-1, 3)[:99] + 0.1
    found = []
    for policy, devices in ((PAIRS_BY["all pairs"], 1), (ALWAYS, 2)):
        system = compiled.bind(
            x,
            box=6.0,
            velocities=np.random.default_rng(0).normal(size=x.shape),
            devices=jax.devices()[:devices],
            skin=0.15,
            policy=policy,
        )
        records = system.run(jax.random.key(1)).records
        layout = type(system._runners["last"].arrangement.layout).__name__
        found.append({"layout": layout, **{name: records[name].tolist() for name in names}})
    return found


@pytest.mark.slow
def test_observables_of_atoms_on_two_devices():
    """In a process of its own, for JAX is set up once."""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", TWO_DEVICES], env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    one, two = json.loads(done.stdout.splitlines()[-1])
    assert (one.pop("layout"), two.pop("layout")) == ("OneDevice", "ManyDevices")
    for name in one:
        assert np.abs(one[name]).max() > 0.1 and np.allclose(one[name], two[name], rtol=1e-10, atol=1e-10), name
