"""Running the engines of a workload: first their physics is compared, then they take turns on the clock, in rounds."""

from __future__ import annotations

import dataclasses
import json
import math
import subprocess
import sys
from dataclasses import dataclass, replace

from .protocol import ROUNDING, Job, Workload, family, installed


@dataclass(frozen=True)
class Group:
    """Engines that are held against each other. ``rounds``: what each round of a job gave; ``energy``: what all have
    per atom at the start; ``wrong``: what was found not to agree."""

    workload: Workload
    size: str
    threads: int
    energy: float | None
    rounds: dict[Job, list[dict]]
    wrong: tuple[str, ...]


def jobs(
    workload: Workload, size: str, threads: int, precisions: list[str], peers: list[str] | None, steps: int | None
) -> list[Job]:
    given = workload.sizes[size]
    engines = {
        n: e
        for n, e in workload.engines.items()
        if family(n) == "mdsl" or ((peers is None or family(n) in peers) and installed(n))
    }
    return [
        Job(workload.name, name, size, precision, threads, given.warm, steps or given.steps)
        for name, engine in engines.items()
        if given.atoms <= engine.largest
        for precision in engine.precisions
        if precision in precisions
    ]


def ask(task: str, job: Job) -> dict | str:
    """The answer of a worker, or what its trouble was."""
    command = [sys.executable, "-m", "benchmarks.worker", task, json.dumps(dataclasses.asdict(job))]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line[:1].strip()]
        return lines[-1] if lines else f"ended with {done.returncode}"
    return json.loads(done.stdout.strip().splitlines()[-1])


def agreeing(wanted: list[Job]) -> tuple[list[Job], float | None, list[str]]:
    """The jobs whose energy per atom at the start is that of the most precise of mdsl's, that energy, and what was
    wrong."""
    wrong, energies = [], {}
    for job in wanted:
        answer = ask("check", job)
        if isinstance(answer, str):
            wrong.append(f"{job.name}: failed: {answer}")
        else:
            energies[job] = answer["energy"]
    if not energies:
        return [], None, wrong
    exact = energies[max(energies, key=lambda j: (family(j.engine) == "mdsl", j.precision == "double"))]
    for job, energy in list(energies.items()):
        if not abs(energy - exact) <= ROUNDING[job.precision] * abs(exact):
            wrong.append(f"{job.name}: energy per atom {energy:.8f}, not {exact:.8f}: other physics, not timed")
            del energies[job]
    return list(energies), exact, wrong


def measured(
    workload: Workload,
    size: str,
    threads: int,
    precisions: list[str],
    peers: list[str] | None,
    count: int,
    steps: int | None = None,
) -> Group:
    wanted = jobs(workload, size, threads, precisions, peers, steps)
    good, energy, wrong = agreeing(wanted)
    rounds: dict[Job, list[dict]] = {job: [] for job in good}
    for _ in range(count):
        for job in list(rounds):
            answer = ask("run", job)
            if isinstance(answer, str):
                wrong.append(f"{job.name}: failed: {answer}")
                del rounds[job]
            else:
                rounds[job].append(answer)
    return with_outcomes(Group(workload, size, threads, energy, rounds, tuple(wrong)))


def with_outcomes(group: Group) -> Group:
    """With the engines named whose outcome is another than that of mdsl in its highest precision."""
    name, tolerance = group.workload.outcome
    outcomes = {job: rounds[0]["outcome"] for job, rounds in group.rounds.items() if rounds}
    if not outcomes:
        return group
    exact = outcomes[max(outcomes, key=lambda j: (family(j.engine) == "mdsl", j.precision == "double"))]
    strange = [
        f"{job.name}: {name} {o:.6g}, not {exact:.6g}"
        for job, o in outcomes.items()
        if math.isnan(o) or abs(o - exact) > tolerance * abs(exact)
    ]
    return replace(group, wrong=(*group.wrong, *strange))
