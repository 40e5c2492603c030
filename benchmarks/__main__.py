"""`python -m benchmarks`: mdsl and its peers in turn, in rounds, each run in a process of its own."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import platform
import sys
from pathlib import Path

from . import plot, table
from .protocol import MODULES, PRECISIONS, family, installed
from .rounds import Group, measured
from .workloads import WORKLOADS


def main() -> int:
    options = arguments()
    load = os.getloadavg()[0]
    print(f"{platform.machine()}, {os.cpu_count()} processors, load {load:.1f} when this began")
    if load > 0.5:
        print("other programs are busy here: compare the ratios of a round, not the times")
    groups: list[Group] = []
    for name in options.workloads or WORKLOADS:
        groups += ran(name, options)
        write(groups, load, options)
    return int(any(group.wrong for group in groups))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description="Measure mdsl, and others on the same system with the same physics."
    )
    parser.add_argument("workloads", metavar="WORKLOAD", nargs="*", help=f"{', '.join(WORKLOADS)}; all by default")
    parser.add_argument(
        "--peers",
        nargs="*",
        choices=[m for m in MODULES if m != "mdsl"],
        help="who else runs; by default all that are installed",
    )
    parser.add_argument("--sizes", nargs="+", help="by default those that each workload names; `tiny` takes seconds")
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--precisions", nargs="+", choices=PRECISIONS, default=list(PRECISIONS))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, help="timed steps, instead of each size's own number")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all measurements")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw them; by default beside the JSON file, as PNG")
    options = parser.parse_args()
    for word, known in (
        (options.workloads, set(WORKLOADS)),
        (options.sizes or [], {s for w in WORKLOADS.values() for s in w.sizes}),
    ):
        strange = [w for w in word if w not in known]
        if strange:
            parser.error(f"there is no {strange[0]}; there are {', '.join(sorted(known))}")
    return options


def ran(name: str, options: argparse.Namespace) -> list[Group]:
    """All sizes of a workload, on so many threads each; prints a table for each."""
    workload = WORKLOADS[name]
    if lacking := workload.lacking():
        print(f"\n{name}: skipped: {lacking}")
        return []
    for peer in {family(engine) for engine in workload.engines}:
        if not installed(peer) and (options.peers is None or peer in options.peers):
            print(f"{name}: {peer} is not installed, left out (pip install -e '.[bench]')")
    groups: list[Group] = []
    for threads in options.threads:
        smaller = None
        for size in [s for s in workload.sizes if s in (options.sizes or workload.usual)]:
            group = measured(workload, size, threads, options.precisions, options.peers, options.rounds, options.steps)
            print(table.shown(group), flush=True)
            if smaller and workload.grows:
                print(*table.growth(smaller, group), sep="\n")
            if smaller is None or size == "32k":
                smaller = group
            groups.append(group)
    return groups


def write(groups: list[Group], load: float, options: argparse.Namespace) -> None:
    """What there is so far, so that a run that is broken off leaves it behind."""
    if options.json:
        rows = [
            {**dataclasses.asdict(job), "energy": group.energy, "wrong": group.wrong, "rounds": rounds}
            for group in groups
            for job, rounds in group.rounds.items()
        ]
        machine = {
            "machine": platform.machine(),
            "processors": os.cpu_count(),
            "load": load,
            "python": platform.python_version(),
        }
        options.json.write_text(json.dumps({**machine, "jobs": rows}, indent=1) + "\n")
    path = options.plot or (options.json and options.json.with_suffix(".png"))
    if path and (trouble := plot.draw(groups, path)):
        print(trouble)


if __name__ == "__main__":
    sys.exit(main())
