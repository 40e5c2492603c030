"""What a run says of its records at its end, and `mdsl compare`."""

import csv
import json

import jax
import numpy as np
import pytest
from compiled import killed

import mdsl
from mdsl.command import cli
from mdsl.command import run as run_program
from mdsl.command.options import RunOptions, sweep
from mdsl.statistics.runs import differences

PROGRAM = """use units.lj
use integrators (baoab)
box free
param k = 2.0
param m = 1.0
param T = 1.5
energy U = sum(i) k/2 * |x[i] - origin|^2
observe p = sum(i) m*v[i]
run {
  x = read("atoms.xyz")
  v ~ maxwell(T)
  baoab(dt = 0.2, T = T, gamma = 0.7) for 400 record U every 10
  baoab(dt = 0.1, T = T, gamma = 0.7) for 600 record U, p every 4
}
"""


@pytest.fixture
def program(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = np.random.default_rng(0).normal(size=(20, 3))
    (tmp_path / "atoms.xyz").write_text("20\n\n" + "".join("Ar {} {} {}\n".format(*row) for row in rows))
    (tmp_path / "trap.mdsl").write_text(PROGRAM)
    return tmp_path


def run(program, out, **options):
    run_program.run_file(program / "trap.mdsl", RunOptions(out=program / out, **{"seed": 3, "quiet": True, **options}))
    return json.loads((program / out / "run.json").read_text())["statistics"]


def columns(path):
    with open(path, newline="") as file:
        rows = list(csv.DictReader(file))
    return {n: np.array([float(row[n]) if row[n] else np.nan for row in rows]) for n in rows[0]}


def test_each_statement_by_itself(program):
    first, second = run(program, "out")
    rows = columns(program / "out" / "records.csv")
    for entry, part in ((first, rows["step"] <= 400), (second, rows["step"] > 400)):
        expected = mdsl.estimate(rows["U"][part])
        found = entry["columns"]["U"]
        assert found["mean"] == expected.mean and found["error"] == expected.error
        assert found["records"] == expected.count
        between = np.diff(rows["time"][part])[0]
        assert found["correlation_time"] == pytest.approx(expected.correlation_time * between)
        assert found["first_step"] == rows["step"][part][expected.first]
    assert list(first["columns"]) == ["U"] and np.shape(second["columns"]["p"]["mean"]) == (3,)


def test_a_run_that_was_killed_says_the_same(program):
    whole = run(program, "whole")
    for step in (200, 700):
        options = RunOptions(out=program / f"cut-{step}", seed=3, quiet=True)
        killed(program / "trap.mdsl", options, step)
        again = RunOptions(resume=program / f"cut-{step}", quiet=True)
        run_program.run_file(program / "trap.mdsl", again)
        assert json.loads((program / f"cut-{step}" / "run.json").read_text())["statistics"] == whole


def test_replicas_of_each_swept_value_are_taken_together(program):
    cold, hot, *more = run(program, "out", replicas=3, sweeps=(sweep("T=1,2"),))[2:]
    assert not more and (cold["values"], hot["values"]) == ({"T": 1.0}, {"T": 2.0})
    rows = columns(program / "out" / "records.csv")
    series = [rows["U"][(rows["replica"] == k) & (rows["step"] > 400)] for k in (3, 4, 5)]
    expected = mdsl.estimate(np.stack(series), replicas=True)
    assert hot["columns"]["U"]["mean"] == expected.mean and hot["columns"]["U"]["error"] == expected.error


def test_the_result_in_python(program):
    result = mdsl.load("trap.mdsl").bind(seed=3).run(jax.random.key(3))
    found = result.statistics
    rows = columns_of(result)
    assert found["U"].mean == mdsl.estimate(rows["U"][rows["step"] > 400]).mean
    assert found["p"].error.shape == (3,)


def columns_of(result):
    return {name: np.asarray(rows) for name, rows in result.records.items()}


def test_the_table_at_the_end(program, capsys):
    assert cli.main(["run", "trap.mdsl", "--seed", "3", "--out", "out"]) == 0
    out = capsys.readouterr().out
    lines = out[out.index("mean ± standard error") :].splitlines()
    u = json.loads((program / "out" / "run.json").read_text())["statistics"][1]["columns"]["U"]
    mean, _, error = lines[1].split()[1:4]
    assert float(mean) == pytest.approx(u["mean"], abs=0.006 * 10) and float(error.strip("?")) == pytest.approx(
        u["error"], rel=0.06
    )
    assert all(len(line) <= 80 for line in lines)
    assert [line.split()[0] for line in lines[1:5]] == ["U", "p_x", "p_y", "p_z"]
    capsys.readouterr()
    cli.main(["run", "trap.mdsl", "--steps", "12", "--out", "short"])
    assert "standard error" not in capsys.readouterr().out  # of three numbers there is no error


def test_a_statement_that_came_to_no_record(program):
    """The second one records every 4 steps, and begins at step 1."""
    (found,) = run(program, "out", steps=1)
    assert (found["index"], found["columns"]["U"]["error"]) == (0, None)
    assert run(program, "none", steps=0)[0]["columns"]["U"]["records"] == 1


def test_runs_that_agree_and_runs_that_differ(program, capsys):
    for out, seed, temperature in (("a", 1, 1.5), ("b", 2, 1.5), ("c", 1, 3.0)):
        (program / "trap.mdsl").write_text(PROGRAM.replace("T = 1.5", f"T = {temperature}"))
        run(program, out, seed=seed)
    assert cli.main(["compare", "a", "b"]) == 0
    assert "the same within errors: 4 numbers" in capsys.readouterr().out
    assert cli.main(["compare", "a", "c"]) == 1
    assert "they differ in U, of 4 numbers" in capsys.readouterr().out
    assert cli.main(["compare", "a", "b", "--level", "2"]) == 2
    assert "bad-option" in capsys.readouterr().err
    assert cli.main(["compare", "a", "nowhere"]) == 2
    assert "no-run" in capsys.readouterr().err


def test_chances_are_as_often_as_they_say():
    """Of pairs of runs of the same mean, a twentieth has a chance below 0.05."""
    rng = np.random.default_rng(2)
    small = 0
    for _ in range(400):
        one, other = (
            {"U": {"mean": e.mean, "error": e.error, "degrees": e.degrees}}
            for e in (mdsl.estimate(rng.normal(size=n)) for n in (60, 300))
        )
        small += next(iter(differences(one, other))).chance < 0.05
    assert 0.03 <= small / 400 <= 0.075
