"""Batches of replicas: each does what a run of its own does, whatever is decided for all of them together."""

import csv
import json
import subprocess
import sys
from dataclasses import replace

import ase.io
import jax
import numpy as np
import pytest
from compiled import PAIRS_BY, killed
from killing import contents

import mdsl
from mdsl.command import cli
from mdsl.command import ensemble as run_batch
from mdsl.command.options import RunOptions, setting, sweep, sweeps
from mdsl.command.run import run_file
from mdsl.grammar.diagnostics import Rejected
from mdsl.lowering.planning.policy import Policy

RAFT = """use units.lj
use integrators (brownian)
dim 2
param D = 1.0
def bubble(r) = if r < D then (1 - r/D)^2 else 0
energy U = sum(i < j) bubble(|x[i] - x[j]|)
"""
FLUID = """use units.lj
use integrators (velocity_verlet, csvr, baoab)
use thermostats
use minimizers
use barostats
param eps = 1.0
def soft(r) = if r < 1.2 then eps*(1 - r/1.2)^2 else 0
energy U = sum(i < j) soft(|x[i] - x[j]|)
observe K = kinetic
observe h[k in 1..3] = sum(i < j) if floor(|x[i] - x[j]|) == k then 1 else 0
observe s = stress
"""
# What is run, beside a placing of 32 atoms, and what its replicas may differ in.
RUNS = {
    "random forces": (
        RAFT,
        "x ~ uniform(atoms = 32, density = 1)  brownian(dt = 0.1, T = 0.1, gamma = 1) for 30 record U every 10",
        {"D": [1.0, 0.9, 0.8]},
    ),
    "two statements": (
        FLUID,
        "x = fcc(density = 0.8, cells = 2) v ~ maxwell(1)  baoab(dt = 0.01, T = 1, gamma = 1) for 10 record K, s every "
        "5  csvr(dt = 0.01, T = 1, tau = 0.1) for 10 record K, h every 4",
        {"eps": [5.0, 10.0, 20.0]},
    ),
    "a condition": (
        FLUID,
        "x ~ uniform(atoms = 20, density = 0.5)  fire(dt = 0.1) until largest(i) |f[i]| < 0.03, at most 300 record U "
        "every 20  baoab(dt = 0.01, T = 1, gamma = 1) for 6 record K every 3",
        {"eps": [0.5, 1.0, 4.0]},
    ),
    "states and a box that changes": (
        FLUID,
        "x = fcc(density = 1, cells = 2) v ~ maxwell(1)  mtk(dt = 0.01, T = 1, P = eps, tau = 0.2, tau_P = 1) for 12 "
        "record K, volume every 4",
        {"eps": [1.0, 2.0, 4.0]},
    ),
}


@pytest.mark.parametrize(
    "name, traversal",
    [("random forces", "all pairs"), ("a condition", "all pairs")]
    + [
        pytest.param(*case, marks=pytest.mark.slow)
        for case in (("two statements", "list"), ("a condition", "list"), ("states and a box that changes", "list"))
    ],
)
def test_a_batch_is_a_loop_over_runs(name, traversal):
    head, run, params = RUNS[name]
    system = mdsl.compile(f"{head}run {{ {run} }}").bind(policy=PAIRS_BY[traversal])
    keys = jax.random.split(jax.random.key(3), 3)
    batch = system.run(keys, params=params)
    runs = [system.run(key, params={n: v[k] for n, v in params.items()}) for k, key in enumerate(keys)]
    assert batch.x.shape == (3, *system.x.shape) and not np.allclose(batch.x[0], batch.x[1])
    for k, one in enumerate(runs):
        rows = len(one.records["step"])
        np.testing.assert_array_equal(batch.records["step"][k, :rows], one.records["step"])
        for column, values in one.records.items():
            np.testing.assert_allclose(batch.records[column][k, :rows], values, rtol=1e-8, atol=1e-10)
            assert np.isnan(batch.records[column][k, rows:]).all() or column == "step"
        assert (batch.records["step"][k, rows:] == -1).all()
        np.testing.assert_allclose(batch.x[k], one.x, atol=1e-9)
        np.testing.assert_allclose(batch.v[k], one.v, atol=1e-9)
        np.testing.assert_allclose(batch.box[k], one.box, rtol=1e-10)
        assert [int(o.steps[k]) for o in batch.statements] == [o.steps for o in one.statements]
    if name == "a condition":
        assert len({o.statements[0].steps for o in runs}) > 1  # they end at different steps


def test_replicas_share_devices_and_what_was_compiled():
    """Three replicas on two devices, of which one is idle in part; other keys and parameters compile nothing anew."""
    code = f"""
import jax, numpy as np
jax.config.update("jax_enable_x64", True)
jax.config.update("jax_num_cpu_devices", 2)
import mdsl
program = mdsl.compile({RAFT + "run { x ~ uniform(atoms = 20, density = 1)  brownian(dt = 0.1, T = 0.1, gamma = 1) for 10 record U every 5 }"!r})
keys = jax.random.split(jax.random.key(1), 3)
D = np.array([1.0, 0.9, 0.8])
one, two = (program.bind(devices=jax.devices()[:n]).run(keys, params={{"D": D}}) for n in (1, 2))
np.testing.assert_allclose(one.x, two.x, atol=1e-12)
np.testing.assert_allclose(one.records["U"], two.records["U"], rtol=1e-10)
"""
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stderr == ""


def test_inside_transformations_an_array_of_keys_is_vmap():
    system = mdsl.compile(
        RAFT
        + "run { x ~ uniform(atoms = 10, density = 1)  brownian(dt = 0.1, T = 0.1, gamma = 1) for 4 record U every 2 }"
    ).bind()
    keys, D = jax.random.split(jax.random.key(1), 2), np.array([1.0, 0.8])
    batch = system.run(keys, params={"D": D}).records["U"]
    traced = jax.jit(lambda keys, D: system.run(keys, params={"D": D}).records["U"])(keys, D)
    np.testing.assert_allclose(batch, traced, rtol=1e-10)


# -- the command line --------------------------------------------------------------------------------------


PROGRAM = (
    RAFT
    + """
run {
  x ~ uniform(atoms = 16, density = 1)
  brownian(dt = 0.1, T = 0.1, gamma = 1) for 20
    record U  every 5
    write "path.extxyz"  every 10
}
"""
)


def rows(folder):
    with open(folder / "records.csv", newline="") as file:
        return list(csv.DictReader(file))


def test_replicas_on_the_command_line(tmp_path, capsys):
    path = tmp_path / "raft.mdsl"
    path.write_text(PROGRAM)
    options = RunOptions(
        seed=5, precision="double", quiet=True, out=tmp_path / "batch", replicas=2, sweeps=(sweep("D = 0.8:1.0:2"),)
    )
    assert run_file(path, options) == 0
    found = rows(tmp_path / "batch")
    assert list(found[0]) == ["replica", "D", "step", "time", "U"]
    assert sorted({(r["replica"], r["D"]) for r in found}) == [("0", "0.8"), ("1", "0.8"), ("2", "1.0"), ("3", "1.0")]
    told = json.loads((tmp_path / "batch" / "run.json").read_text())["replicas"]
    assert [r["seed"] for r in told[:2]] == [r["seed"] for r in told[2:]]  # the same random numbers for each value
    # Replica 0 of a value is the run without replicas, and each is the run with its own seed.
    for k in (2, 3):
        run_file(path, RunOptions(seed=told[k]["seed"], precision="double", quiet=True, out=tmp_path / f"one {k}"))
        one, own = rows(tmp_path / f"one {k}"), [r for r in found if r["replica"] == str(k)]
        np.testing.assert_allclose([float(r["U"]) for r in own], [float(r["U"]) for r in one], rtol=1e-10)
        for name in ("path.extxyz", "final.extxyz"):
            frames, expected = (
                ase.io.read(p, ":")
                for p in (tmp_path / "batch" / f"replica-00{k}" / name, tmp_path / f"one {k}" / name)
            )
            assert len(frames) == len(expected)
            np.testing.assert_allclose([f.positions for f in frames], [f.positions for f in expected], atol=1e-8)
    # A run that was cut off and resumed has the same records and frames.
    killed(path, replace(options, out=tmp_path / "parts"), 10)
    assert (
        cli.main(["run", str(tmp_path / "parts" / "program.mdsl"), "--resume", str(tmp_path / "parts"), "--quiet"]) == 0
    )
    assert contents(tmp_path / "parts") == contents(tmp_path / "batch")
    assert len(ase.io.read(tmp_path / "parts" / "replica-003" / "path.extxyz", ":")) == 3


def test_replicas_in_boxes_of_their_own(tmp_path):
    """A sweep that changes the box and the cutoff, and species placed at random for each replica."""
    path = tmp_path / "mixture.mdsl"
    path.write_text("""use units.lj
use integrators (velocity_verlet)
species A, B
param density = 1.0
param sigma[species, species] = { A-A: 1.0, A-B: 1.2, B-B: 1.1 }
param m[species] = { A: 1.0, B: 3.0 }
param reach = 1/density
energy U = sum(i < j) if r < rc then 5*(1 - r/rc)^2 else 0  where r = |x[i] - x[j]|, rc = reach*sigma[i, j]
run {
  x = fcc(density = density, cells = 2, species = { A: 0.5, B: 0.5 })
  v ~ maxwell(1.0)
  velocity_verlet(dt = 0.01) for 20
    record U, kinetic, pressure  every 10
}
""")
    options = RunOptions(
        seed=2, precision="double", quiet=True, out=tmp_path / "batch", replicas=2, sweeps=(sweep("density=0.8,1.1"),)
    )
    run_file(path, options, PAIRS_BY["list"])
    told = json.loads((tmp_path / "batch" / "run.json").read_text())
    assert told["list_builds"] > 0
    for k in (1, 2):
        own = told["replicas"][k]
        run_file(
            path,
            RunOptions(
                seed=own["seed"],
                settings=(setting(f"density={own['density']}"),),
                precision="double",
                quiet=True,
                out=tmp_path / f"one {k}",
            ),
        )
        one, found = rows(tmp_path / f"one {k}"), [r for r in rows(tmp_path / "batch") if r["replica"] == str(k)]
        for a, b in zip(found, one, strict=True):
            assert [float(a[n]) for n in ("step", "U", "kinetic", "pressure")] == pytest.approx(
                [float(b[n]) for n in ("step", "U", "kinetic", "pressure")], rel=1e-9
            )
        labels = [
            [line.split()[0] for line in (folder / "final.extxyz").read_text().splitlines()[2:]]
            for folder in (tmp_path / "batch" / f"replica-00{k}", tmp_path / f"one {k}")
        ]
        assert labels[0] == labels[1] and set(labels[0]) == {"A", "B"}


def test_what_follows_from_another_can_be_swept(tmp_path):
    path = tmp_path / "program.mdsl"
    path.write_text(
        RAFT.replace("r < D", "r < reach").replace("r/D", "r/reach").replace("dim 2\n", "dim 2\nparam reach = 2*D/2\n")
        + "box periodic(4*reach)\n"
        + "run { x ~ uniform(atoms = 16)  brownian(dt = 0.1*reach, T = 0.1, gamma = 1) for 10 record U every 5 }"
    )
    options = RunOptions(seed=2, precision="double", quiet=True)
    run_file(path, replace(options, sweeps=(sweep("reach=0.9*D:2*0.6:2"),), out=tmp_path / "batch"))
    for k, value in enumerate(("0.9", "1.2")):
        run_file(path, replace(options, settings=(setting(f"reach={value}"),), out=tmp_path / value))
        own = [r for r in rows(tmp_path / "batch") if r["replica"] == str(k)]
        assert {float(r["reach"]) for r in own} == {float(value)}
        expected = [float(r["U"]) for r in rows(tmp_path / value)]
        np.testing.assert_allclose([float(r["U"]) for r in own], expected, rtol=1e-10)


def test_mean_and_spread_on_the_terminal(tmp_path, capsys):
    path = tmp_path / "raft.mdsl"
    path.write_text(PROGRAM)
    assert (
        cli.main(
            [
                "run",
                str(path),
                "--seed",
                "5",
                "--replicas",
                "3",
                "--sweep",
                "D=1,0.5",
                "--steps",
                "5",
                "--out",
                str(tmp_path / "out"),
            ]
        )
        == 0
    )
    out, found = capsys.readouterr().out, rows(tmp_path / "out")
    shown = [
        [float(word) for word in line.split()]
        for line in out.splitlines()
        if line.split() and line.split()[0].replace(".", "").isdigit() and len(line.split()) in (3, 4)
    ]
    first = np.array([float(r["U"]) for r in found if r["step"] == "0"])
    assert shown[0] == pytest.approx([0, 0, first.mean(), first.std(ddof=1)], rel=1e-6)
    for line, value in zip(shown[-2:], ("1.0", "0.5")):
        last = np.array([float(r["U"]) for r in found if r["step"] == "5" and r["D"] == value])
        assert line == pytest.approx([float(value), last.mean(), last.std(ddof=1)], rel=1e-6)
    assert "6 replicas of 16 atoms" in out


def test_what_can_be_swept():
    assert sweep("T=100 [K]:300 [K]:5").values == ("100 [K]", "300 [K]")
    assert sweep("m={A: 1, B: 2},{A: 1, B: 3}").values == ("{A: 1, B: 2}", "{A: 1, B: 3}")
    assert sweeps(["D=1,2", "γ=1:2:3"], ())[1].name == "gamma"


WRONG = {
    "D": "does not give values",
    "D=1:2": "a range is START:STOP:COUNT",
    "D=1,,2": "a value is missing",
    "D[A]=1,2": "single entries of a table",
    "D=1:2:1": "at least 2",
    "D=1:2:x": "a whole number",
    "E=1,2": "no parameter `E`",
    "rc=1,2": "`rc` is a constant",
    "cells=2,3": "error[batch-shape]: the replicas of a batch differ in the number of atoms: 32 and 108",
    "n=2,3": "differ in the number of steps: 2 and 3",
    "L=1,2 [m]": "unit",
}


@pytest.mark.parametrize("text", WRONG)
def test_what_cannot_be_swept_is_told(text, tmp_path, capsys):
    path = tmp_path / "program.mdsl"
    path.write_text(
        FLUID
        + "const rc = 1\nparam cells = 2\nparam n = 2\nparam D = 1\nparam L = 1\nrun { x = fcc(density = 0.8*D, cells "
        "= cells)  velocity_verlet(dt = 0.01*rc*L) for n }"
    )
    assert cli.main(["run", str(path), "--sweep", text, "--quiet", "--out", str(tmp_path / "out")]) == 2
    assert WRONG[text] in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_more_trajectories_than_files_may_be_open(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(run_batch, "MOST_FILES", 5)
    path = tmp_path / "raft.mdsl"
    path.write_text(PROGRAM)
    assert (
        cli.main(["run", str(path), "--replicas", "3", "--sweep", "D=1,2", "--quiet", "--out", str(tmp_path / "out")])
        == 2
    )
    assert "6 replicas would write 6 trajectories" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


LOST = (
    FLUID
    + """param tick = 0.01
run {
  x = fcc(density = 0.8, cells = 2)
  v ~ maxwell(1)
  velocity_verlet(dt = tick) for 20 record U, K every 5
  csvr(dt = 0.01, T = 1, tau = 0.1) for 10 record U every 5
}
"""
)


@pytest.mark.parametrize("traversal", ["all pairs", pytest.param("list", marks=pytest.mark.slow)])
def test_a_replica_that_blows_up_leaves_the_others_alone(traversal):
    """They do what they do beside one that does not; it is named, its records end, and it ends as NaN."""
    system = mdsl.compile(LOST).bind(policy=PAIRS_BY[traversal])
    keys = jax.random.split(jax.random.key(0), 4)
    params = {"tick": np.array([2.0, 0.01, 0.005, 0.01]), "eps": np.array([1e5, 1.0, 2.0, 1.0])}
    with pytest.warns(UserWarning, match="1 of 4 replicas.*of replica 0"):
        batch = system.run(keys, params=params)
    harmless = {n: np.concatenate([v[1:2], v[1:]]) for n, v in params.items()}
    whole = system.run(keys, params=harmless)  # as many replicas: nothing is compiled anew
    assert list(batch.lost) == [0] and not whole.lost
    found = batch.lost[0]
    assert (
        found.id == "blow-up"
        and found.message.endswith("of replica 0")
        and "2" in found.help
        and "strongest for atoms" in found.notes[0]
    )
    np.testing.assert_allclose(batch.x[1:], whole.x[1:], rtol=1e-9, atol=1e-10)
    for name, values in whole.records.items():
        np.testing.assert_allclose(batch.records[name][1:], values[1:], rtol=1e-9)
    rows = int((batch.records["step"][0] >= 0).sum())
    assert (
        1 <= rows < 5
        and np.isfinite(batch.records["U"][0, :rows]).all()
        and np.isnan(batch.records["U"][0, rows:]).all()
    )
    assert np.isnan(batch.x[0]).all() and np.isnan(batch.v[0]).all() and batch.step[0] < 20 and batch.step[1] == 30
    assert [int(o.steps[0]) for o in batch.statements] == [batch.step[0], 0]
    assert batch.time[0] == pytest.approx(2.0 * batch.step[0])


def test_where_no_replica_is_left_the_run_ends():
    system = mdsl.compile(LOST).bind()
    with pytest.raises(Rejected) as caught:
        system.run(jax.random.split(jax.random.key(0), 5), params={"tick": 2.0, "eps": 1e5})
    found = caught.value.diagnostics
    assert (
        [d.id for d in found] == ["blow-up"] * 4
        and "2 more of 5" in found[-1].message
        and "3 (step" in found[-1].notes[0]
    )
    with pytest.raises(Rejected, match="wrong-shape"):
        system.run(jax.random.split(jax.random.key(0), (2, 2)))


def test_a_replica_is_lost_after_statements_that_ended_at_different_steps():
    """Whoever stands in for it has done other steps before; the others, and their numbers of steps, are unmoved."""
    system = mdsl.compile(
        FLUID
        + "param tick = 0.01\nrun { x ~ uniform(atoms = 20, density = 0.5)  fire(dt = 0.1) until largest(i) |f[i]| < "
        "0.03, at most 300  baoab(dt = tick, T = 1, gamma = 1) for 20 record K every 5 }"
    ).bind()
    keys, params = jax.random.split(jax.random.key(3), 3), {"eps": np.array([0.5, 1.0, 4.0])}
    whole = system.run(keys, params=params)
    first = int(np.argmin(whole.statements[0].steps))  # the one that was done first
    others = [k for k in range(3) if k != first]
    assert whole.statements[0].steps[first] < whole.statements[0].steps[others].min()
    with pytest.warns(UserWarning, match="1 of 3 replicas"):
        found = system.run(keys, params={**params, "tick": np.where(np.arange(3) == first, 5.0, 0.01)})
    assert list(found.lost) == [first]
    for a, b in zip(found.statements, whole.statements):
        assert a.steps[others].tolist() == b.steps[others].tolist()
    assert found.step[others].tolist() == whole.step[others].tolist()
    for name, values in whole.records.items():
        np.testing.assert_allclose(found.records[name][others], values[others], rtol=1e-9)


def test_a_lost_replica_waits_for_no_condition():
    """Of a statement that ends by a condition it has not converged; the others end when they do without it."""
    text = (
        FLUID
        + "param far = 0.1\nrun { x ~ uniform(atoms = 20, density = 0.5)  gradient_descent(h = far) until largest(i) "
        "|f[i]| < 0.05, at most 100 record U }"
    )
    system = mdsl.compile(text).bind()
    keys, far, eps = jax.random.split(jax.random.key(0), 3), np.array([0.1, 1e4, 0.05]), np.array([1.0, 1e3, 1.0])
    with pytest.warns(UserWarning, match="of replica 1") as warned:
        batch = system.run(keys, params={"far": far, "eps": eps})
    whole = system.run(keys[::2], params={"far": far[::2], "eps": eps[::2]})
    assert list(batch.lost) == [1] and len(warned) == 1  # it is not said to have not converged
    (ended,), (expected,) = batch.statements, whole.statements
    assert ended.steps[::2].tolist() == expected.steps.tolist() and ended.converged.tolist() == [True, False, True]
    np.testing.assert_allclose(batch.x[::2], whole.x, atol=1e-10)


def test_a_lost_replica_on_the_command_line(tmp_path, capsys):
    path = tmp_path / "program.mdsl"
    path.write_text(LOST)
    words = ["--seed", "3", "--sweep", "tick=0.01,2,0.005", "--set", "eps=2e3", "--replicas", "2"]
    assert cli.main(["run", str(path), *words, "--out", str(tmp_path / "out")]) == 1
    out, err = capsys.readouterr()
    assert (
        err.count("error[blow-up]") == 2
        and "of replica 2" in err
        and "of replica 3" in err
        and "the other replicas go on" in out
    )
    told = json.loads((tmp_path / "out" / "run.json").read_text())
    assert told["status"] == "partly failed" and [r["replica"] for r in told["lost"]] == [2, 3]
    found = rows(tmp_path / "out")
    steps = {k: [int(r["step"]) for r in found if r["replica"] == str(k)] for k in range(6)}
    assert steps[0] == steps[1] == steps[4] == [0, 5, 10, 15, 20, 25, 30] and max(steps[2]) <= told["lost"][0]["step"]
    assert [(tmp_path / "out" / f"replica-00{k}" / "final.extxyz").exists() for k in range(6)] == [
        True,
        True,
        False,
        False,
        True,
        True,
    ]
    table = [line.split() for line in out[out.index(" tick ") :].splitlines()[1:4]]
    assert (
        [float(line[0]) for line in table] == [0.01, 2, 0.005]
        and set(table[1][1:]) == {"-"}
        and np.isfinite([float(w) for w in table[0] + table[2]]).all()
    )
    # Cut off after the loss and resumed, it ends the same.
    options = RunOptions(
        seed=3,
        precision="double",
        quiet=True,
        out=tmp_path / "parts",
        replicas=2,
        sweeps=(sweep("tick=0.01,2,0.005"),),
        settings=(setting("eps=2e3"),),
    )
    killed(path, options, 10)
    assert (
        cli.main(["run", str(tmp_path / "parts" / "program.mdsl"), "--resume", str(tmp_path / "parts"), "--quiet"]) == 1
    )
    assert capsys.readouterr().err.count("error[blow-up]") == 2
    assert contents(tmp_path / "parts") == contents(tmp_path / "out")


@pytest.mark.parametrize("name", ("random forces", pytest.param("a condition", marks=pytest.mark.slow)))
def test_groups_of_replicas_are_replicas(name):
    """Replicas that go through the loop in groups, one group after the other, do what they do together."""
    head, run, params = RUNS[name]
    keys = jax.random.split(jax.random.key(3), 4)
    params = {name: [*values, values[0]] for name, values in params.items()}

    def batch(rows):
        system = mdsl.compile(f"{head}run {{ {run} }}").bind(policy=Policy(rows_together=rows))
        found = system.run(keys, params=params)
        return found, system._runners["batch"].arrangement.layout.group

    (together, all_of_them), (apart, two) = batch(10**6), batch(70)
    assert (all_of_them, two) == (4, 2)
    np.testing.assert_allclose(apart.x, together.x, rtol=1e-9, atol=1e-9)
    assert np.array_equal(apart.step, together.step)
    for record, value in together.records.items():
        np.testing.assert_allclose(apart.records[record], value, rtol=1e-9)


def test_a_box_that_becomes_too_small():
    text = (
        "use units.lj\nuse pair\nuse integrators (velocity_verlet)\nparam rate = 0.0\nbox periodic(4*(1 - rate*t))\n"
        "energy U = sum(i < j) soft_sphere(1, 1, 1.5)(|x[i] - x[j]|)\nrun { x = sc(a = 1, cells = 4) "
        "velocity_verlet(dt = 0.1) for 20 record volume every 5 }"
    )
    with pytest.warns(UserWarning, match="2 of 3 replicas"):
        batch = (
            mdsl.compile(text)
            .bind()
            .run(jax.random.split(jax.random.key(0), 3), params={"rate": np.array([0.3, 0.0, 0.6])})
        )
    assert {k: d.id for k, d in batch.lost.items()} == {2: "box-collapsed", 0: "box-collapsed"}
    np.testing.assert_allclose(batch.records["volume"][1], 64)
    assert batch.step.tolist() == [16, 20, 8]  # 4 (1 - rate t) becomes 2, twice the cutoff, at t = 1.67 and 0.83


def test_lists_grow_for_all_replicas():
    """Attraction gathers the atoms of some replicas; the list has room for the most crowded of all."""
    text = """use units.lj
use integrators (velocity_verlet)
param a = 0.0
energy U = sum(i < j) if r < 1.5 then a*(1 - r/1.5)^2*(r - 0.5) else 0  where r = |x[i] - x[j]|
run { x ~ uniform(atoms = 40, density = 0.2) velocity_verlet(dt = 0.02) for 60 record U every 20 }"""
    listed, whole = (mdsl.compile(text).bind(policy=PAIRS_BY[name]) for name in ("list", "all pairs"))
    batch = listed.run(jax.random.split(jax.random.key(0), 2), params={"a": np.array([0.0, -40.0])})
    one = whole.run(jax.random.key(0), params={"a": -40.0})
    assert batch.counts.regrown > 0
    np.testing.assert_allclose(batch.records["U"][1], one.records["U"], rtol=1e-7)


MIXED = """use units.lj
use integrators (velocity_verlet)
data q[atoms]
param k = 1.0
energy U = k*sum(i < j) (q[i] + q[j])*(if r < 1.2 then (1 - r/1.2)^2 else 0)  where r = |x[i] - x[j]|
run { x ~ uniform(atoms = 12, density = 0.6)  velocity_verlet(dt = 0.01) for 4 record U, pressure every 2 }
"""


@pytest.mark.parametrize("shape", ["one edge", "edges", "vectors"])
def test_structures_of_their_own(shape):
    """Positions, velocities, boxes and data of each replica; the same inside transformations."""
    rng = np.random.default_rng(3)
    system = mdsl.compile(MIXED).bind(data={"q": np.ones(12)})
    keys = jax.random.split(jax.random.key(1), 2)
    boxes = {
        "one edge": np.array([[3.0], [3.5]]),
        "edges": np.array([[3, 3, 4.0], [3.5, 3, 3]]),
        "vectors": np.array([np.diag([3.0, 3, 3]), [[3.5, 0, 0], [0.3, 3, 0], [0.1, -0.2, 4]]]),
    }[shape]
    own = {"x": 3 * rng.random((2, 12, 3)), "v": rng.normal(size=(2, 12, 3)), "box": boxes}
    q = rng.random((2, 12))
    batch = system.run(keys, **own, data={"q": q}, params={"k": 2.0})
    traced = jax.jit(
        lambda own, q: (lambda r: (r.records, r.x))(system.run(keys, **own, data={"q": q}, params={"k": 2.0}))
    )(own, q)
    for k in range(2):
        one = system.run(keys[k], **{n: a[k] for n, a in own.items()}, data={"q": q[k]}, params={"k": 2.0})
        for found in ((batch.records, batch.x), traced):
            np.testing.assert_allclose(found[1][k], one.x, atol=1e-10)
            for name in ("U", "pressure"):
                np.testing.assert_allclose(found[0][name][k], one.records[name], rtol=1e-9)


def test_as_many_boxes_as_axes_are_vectors():
    """[3, 3] are the vectors of one box for three replicas; three boxes are [3, 3, 3]."""
    system = mdsl.compile(MIXED).bind(data={"q": np.ones(12)})
    keys = jax.random.split(jax.random.key(1), 3)
    with pytest.raises(Rejected, match="bad-box"):
        system.run(keys, box=np.array([[3.0, 3, 3], [4, 4, 4], [5, 5, 5]]))
    for box in (np.ones((2, 3)), np.ones((4, 3, 3)), np.ones((3, 4))):
        with pytest.raises(Rejected, match="wrong-shape.*3 replicas"):
            system.run(keys, box=box)
    for given in ({"x": np.ones((2, 12, 3))}, {"data": {"q": np.ones((2, 12))}}, {"params": {"k": np.ones(2)}}):
        with pytest.raises(Rejected, match="wrong-shape"):
            system.run(keys, **given)
