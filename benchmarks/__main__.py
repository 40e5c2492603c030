"""`python -m benchmarks`: mdsl and its peers in turn, in rounds, each run in a process of its own."""

from __future__ import annotations

import argparse
import dataclasses
import importlib.util
import json
import os
import platform
import subprocess
import sys
from pathlib import Path
from statistics import median

from . import melt, start

WORKLOADS = ("melt", "start")
STEPS = {"4k": (200, 1000), "32k": (100, 200)}  # warm, timed
# How far energies per atom may lie apart: rounding of the sums, which single precision shows.
TOLERANCE = {"single": 2e-5, "mixed": 2e-5, "double": 1e-6}


def main() -> int:
    options = arguments()
    print(f"{platform.machine()}, {os.cpu_count()} processors, load {os.getloadavg()[0]:.1f} when this began")
    report: dict[str, object] = {"python": platform.python_version(), "load": os.getloadavg()}
    status = 0
    if "melt" in options.workloads:
        report["melt"] = []
        for size in options.sizes:
            for threads in options.threads:
                results, good = melt_rounds(size, threads, options)
                report["melt"] += results
                status |= not good
    if "start" in options.workloads:
        report["start"] = start.rounds(options.rounds)
        print("\nstart: `mdsl run` of 256 atoms, seconds from the command on")
        for name, values in report["start"].items():
            first, total = zip(*values)
            print(f"  {name:5} cache   first record {spread(first)}   end {spread(total)}")
    if options.json:
        options.json.write_text(json.dumps(report, indent=1) + "\n")
    return status


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure mdsl, and others on the same system with the same physics.")
    parser.add_argument("workloads", metavar="WORKLOAD", nargs="*", help=f"{' or '.join(WORKLOADS)}; both by default")
    parser.add_argument("--peers", nargs="*", choices=[e for e in melt.ENGINES if e != "mdsl"], help="who else runs `melt`; by default all that are installed")
    parser.add_argument("--sizes", nargs="+", choices=list(melt.CELLS), default=list(melt.CELLS))
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--precisions", nargs="+", choices=("single", "mixed", "double"), default=["single", "mixed", "double"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, help="timed steps, instead of each size's own number")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all measurements")
    options = parser.parse_args()
    strange = [w for w in options.workloads if w not in WORKLOADS]
    if strange:
        parser.error(f"there is no workload {strange[0]}; there are {', '.join(WORKLOADS)}")
    options.workloads = options.workloads or list(WORKLOADS)
    return options


# -- melt ------------------------------------------------------------------------------------------------


def melt_rounds(size: str, threads: int, options: argparse.Namespace) -> tuple[list[dict], bool]:
    """All engines in turn, ``--rounds`` times; prints a table. False where the physics differs."""
    atoms = 4 * melt.CELLS[size] ** 3
    warm, steps = STEPS[size]
    steps = options.steps or steps
    print(f"\nmelt: {atoms:,} Lennard-Jones atoms, {threads} thread{'s' * (threads > 1)}, {steps} steps after {warm}, {options.rounds} rounds")
    jobs = [melt.Job(engine, size, precision, threads, warm, steps) for engine in engines(options.peers) for precision in melt.ENGINES[engine][2] if precision in options.precisions]
    results: dict[melt.Job, list[dict]] = {job: [] for job in jobs}
    for _ in range(options.rounds):
        for job in list(results):
            measured = run(job)
            if measured is None:
                del results[job]
            else:
                results[job].append(measured)
    good = same_physics(results)
    table(results, atoms)
    return [{**dataclasses.asdict(job), "rounds": rounds} for job, rounds in results.items()], good


def engines(peers: list[str] | None) -> list[str]:
    found = ["mdsl"]
    for name, (_, module, _) in melt.ENGINES.items():
        if name == "mdsl" or (peers is not None and name not in peers):
            continue
        if importlib.util.find_spec(module) is None:
            print(f"  {name}: not installed, skipped (pip install -e '.[bench]')")
        else:
            found.append(name)
    return found


def run(job: melt.Job) -> dict | None:
    command = [sys.executable, "-m", "benchmarks.worker", json.dumps(dataclasses.asdict(job))]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        print(f"  {job.name}: failed: {(done.stderr.strip().splitlines() or ['no message'])[-1]}")
        return None
    return json.loads(done.stdout.strip().splitlines()[-1])


def same_physics(results: dict[melt.Job, list[dict]]) -> bool:
    """Whether all engines have the energy per atom of the most precise one at the first step."""
    energies = {job: rounds[0]["energy"] for job, rounds in results.items() if rounds}
    if not energies:
        return True
    exact = next((e for j, e in energies.items() if j.precision == "double"), None) or next(iter(energies.values()))
    wrong = {j: e for j, e in energies.items() if abs(e - exact) > TOLERANCE[j.precision] * abs(exact)}
    for job, energy in wrong.items():
        print(f"  {job.name}: energy per atom {energy:.8f}, not {exact:.8f}: not the same physics, ratios mean nothing")
    if not wrong:
        print(f"  energy per atom at the first step {exact:.6f}, the same for all")
    return not wrong


def table(results: dict[melt.Job, list[dict]], atoms: int) -> None:
    def rates(job: melt.Job) -> list[float]:
        return [atoms * r["steps"] / r["seconds"] / 1e6 for r in results[job]]

    print(f"  {'':16} {'million atom-steps/s':>24} {'prepare, s':>12} {'peak, MB':>9}   mdsl is faster by")
    for job, rounds in results.items():
        if not rounds:
            continue
        line = f"  {job.name:16} {spread(rates(job)):>24} {median(r['prepare'] for r in rounds):12.2f} {median(r['peak_megabytes'] for r in rounds):9.0f}"
        # A peer is held against mdsl in its own precision, round by round, so that what the machine does else cancels.
        own = next((j for j in results if j.engine == "mdsl" and j.precision == job.precision), None)
        if job.engine != "mdsl" and own and len(results[own]) == len(rounds):
            line += f"   {spread([a / b for a, b in zip(rates(own), rates(job))])}"
        print(line)


def spread(values) -> str:
    """Median, and the range of all rounds."""
    values = list(values)
    return f"{median(values):.2f} ({min(values):.2f} - {max(values):.2f})"


if __name__ == "__main__":
    sys.exit(main())
