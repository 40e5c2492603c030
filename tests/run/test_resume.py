"""A run that goes on from where another stood does what that one did, to the last bit: from every point at which it
looked in, in one process. Runs that are killed as processes are in `test_kills`."""

import time

import jax
import numpy as np
import pytest
from compiled import APART, PAIRS_BY, killed
from killing import contents

import mdsl
from mdsl.command import cli
from mdsl.command import run as run_program
from mdsl.command.options import RunOptions, sweep
from mdsl.lowering.run import members
from mdsl.lowering.run.driver import Runner
from mdsl.lowering.run.pace import end_of_chunk

HEAD = """use units.lj
use integrators
use barostats
use minimizers
use observables
param eps = 5.0
def soft(r) = if r < 1.3 then eps*(1 - r/1.3)^2 else 0
energy U = sum(i < j) soft(|x[i] - x[j]|)
observe E = potential + kinetic
observe msd = mean_squared_displacement()
"""
START = "x = fcc(density = 1, cells = 3) v ~ maxwell(1)"
RUNS = {  # how pairs are found, replicas, and what is run
    "thermostats": (
        "list",
        None,
        f"{START} baoab(dt = 0.01, T = 1, gamma = 1) for 40 record E, msd every 8"
        " nose_hoover(dt = 0.01, T = 1, tau = 0.1) for 40 record conserved, msd every 8",
    ),
    "a box that changes": (
        "list",
        None,
        f"{START} mtk(dt = 0.005, T = 1, P = 8, tau = 0.1, tau_P = 1) for 40 record E, volume every 8",
    ),
    "replicas that end when they are done": (
        "all pairs",
        3,
        "x ~ uniform(atoms = 40, density = 1) fire(dt = 0.05) until largest(i) |f[i]| < 0.5, at most 80 record U "
        "every 10"
        " velocity_verlet(dt = 0.01) for 20 record E, msd every 5",
    ),
    "replicas with lists of their own": (
        "apart",
        2,
        f"{START} fire(dt = 0.05) until largest(i) |f[i]| < 0.5, at most 40 record U every 10"
        " nose_hoover(dt = 0.02, T = 1, tau = 0.1) for 64 record conserved, msd every 8",
    ),
}
WAYS = {**PAIRS_BY, "apart": APART}


class Points:
    """A listener that keeps what is put out, and where the run stood. ``pause``: it takes its time."""

    def __init__(self, pause: bool = False):
        self.out, self.points, self.chunks, self.random = [], [], [], np.random.default_rng(0) if pause else None

    def record(self, *row) -> None:
        self.out.append(jax.tree.map(np.asarray, row))

    def progress(self, done, runner) -> None:
        self.chunks.append(done)
        self.points.append((len(self.out), *runner.checkpoint()))
        if self.random is not None:
            time.sleep(self.random.choice([0.0, 0.1]))

    def __getattr__(self, name):
        return lambda *_: None


def runner_of(text: str, replicas: int | None, traversal: str) -> Runner:
    system = mdsl.compile(f"{HEAD}run {{ {text} }}").bind(seed=1)
    field, params = system.program.compiled.field, system.program.internal(None)
    key, policy = jax.random.key(0), WAYS[traversal]
    if replicas is None:
        return Runner(members.single(field, system.initial, params, key, "double"), policy=policy)
    keys = jax.random.split(key, replicas)
    each = [members.Member(system.initial, {**params, "eps": np.float64(4.0 + k)}, key) for k, key in enumerate(keys)]
    return Runner(members.batch(field, each, "double"), policy=policy)


def alike(a, b) -> bool:
    """Whether the leaves of two trees are the same bits."""
    (one, first), (two, second) = (jax.tree.flatten(t) for t in (a, b))
    return first == second and all(np.array_equal(p, q, equal_nan=True) for p, q in zip(one, two))


def state_of(final) -> tuple:
    return tuple(np.asarray(getattr(final, name)) for name in ("x", "v", "images", "step", "time", "cell"))


@pytest.mark.parametrize(
    "name", [n if n.startswith("replicas that") else pytest.param(n, marks=pytest.mark.slow) for n in RUNS]
)
def test_a_run_goes_on_bit_for_bit(name):
    traversal, replicas, text = RUNS[name]
    runner = runner_of(text, replicas, traversal)
    whole, again = Points(), Points(pause=True)
    final = runner.run(whole)
    assert traversal == "all pairs" or runner.counts.list_builds > 4
    # Nothing follows a clock.
    runner.prepare(runner.members)
    assert alike(state_of(runner.run(again)), state_of(final))
    assert again.chunks == whole.chunks and alike(again.out, whole.out)
    for k in range(0, len(whole.points), 3):
        already, snapshot, place = whole.points[k]
        runner.prepare(runner.members)
        rest = Points()
        end = runner.run(rest, snapshot=snapshot, place=place)
        assert alike(state_of(end), state_of(final)), (k, place)
        assert rest.chunks == whole.chunks[k + 1 :] and alike(rest.out, whole.out[already:]), (k, place)


def test_chunks_end_at_the_same_steps_wherever_a_run_goes_on():
    for together in (1, 4, 7, 1024):
        ends = [0]
        while ends[-1] < 3000:
            ends.append(end_of_chunk(ends[-1], together))
        assert ends[1] == 1 and all(0 < b - a <= together for a, b in zip(ends, ends[1:]))
        # What is put out in between shifts none of those that follow.
        for done in range(1, 3000, 13):
            assert end_of_chunk(done, together) == next(e for e in ends if e > done)


@pytest.mark.slow
@pytest.mark.parametrize("options", ({}, {"replicas": 2, "sweeps": (sweep("eps=4,5"),)}))
def test_files_of_a_resumed_run_are_those_of_a_run_in_one_piece(options, tmp_path):
    path = tmp_path / "files.mdsl"
    path.write_text(
        f'{HEAD}run {{ {START} csvr(dt = 0.01, T = 1, tau = 0.1) for 30 record E, msd every 5 write "a.dcd" every 10'
        ' baoab(dt = 0.01, T = 1, gamma = 1) for 30 record E every 6 write "b.xtc" every 15 write "c.extxyz" every 10 }'
    )
    given = RunOptions(seed=3, precision="double", quiet=True, **options)
    lists = APART if options else PAIRS_BY["list"]
    run_program.run_file(path, RunOptions(**{**vars(given), "out": tmp_path / "whole"}), lists)
    for step in (45,) if not options else (15, 45):
        folder = tmp_path / f"parts {step}"
        killed(path, RunOptions(**{**vars(given), "out": folder}), step, lists)
        assert run_program.run_file(path, RunOptions(resume=folder, quiet=True), lists) == 0
        assert contents(folder) == contents(tmp_path / "whole")


def test_a_run_that_is_resumed_elsewhere_is_told_so(tmp_path, capsys):
    path = tmp_path / "few.mdsl"
    path.write_text(f"{HEAD}run {{ {START} velocity_verlet(dt = 0.01) for 30 record E every 5 }}")
    killed(path, RunOptions(seed=3, precision="double", quiet=True, threads=1, out=tmp_path / "few"), 10)
    capsys.readouterr()
    resume = ["run", str(path), "--resume", str(tmp_path / "few"), "--quiet"]
    assert cli.main([*resume, "--threads", "2"]) == 0
    assert "warning[other-conditions]: the run goes on with 2 threads instead of 1:" in capsys.readouterr().err
    assert cli.main(resume) == 0 and "other-conditions" not in capsys.readouterr().err  # with those that it had
    rows = (tmp_path / "few" / "records.csv").read_text().splitlines()
    assert [row.partition(",")[0] for row in rows[1:]] == [str(k) for k in range(0, 31, 5)]


def test_trajectories_survive_a_kill_while_they_are_copied(tmp_path):
    """A process that dies between two of its calls leaves the old frames under another name."""
    from mdsl.files.trajectories import open_trajectory

    x, path = np.random.default_rng(0).uniform(0, 4, (5, 3)), tmp_path / "a.dcd"
    with open_trajectory(path, None, interval=5, first_step=10) as trajectory:
        for k in range(4):
            trajectory.write(x + k, np.full(3, 9.0), 10 + 5 * k, 0.0)
    whole = path.read_bytes()
    path.rename(tmp_path / "a.dcd.old")
    for left in (None, whole[:300]):
        if left is not None:
            path.rename(tmp_path / "a.dcd.old")
            path.write_bytes(left)
        with open_trajectory(path, None, interval=7, first_step=20, keep=3) as trajectory:
            assert trajectory.frames == 3
            trajectory.write(x + 3, np.full(3, 9.0), 25, 0.0)
        assert path.read_bytes() == whole and not (tmp_path / "a.dcd.old").exists()
