"""One engine at work in a process of its own: `python -m benchmarks.worker (check | run) JOB`, JOB and the answer in
JSON."""

from __future__ import annotations

import dataclasses
import json
import os
import resource
import sys


def main(task: str, text: str) -> None:
    given = json.loads(text)
    # No engine may use more cores than it is said to, whatever its own threads think.
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: given["threads"]])
    os.environ["OMP_NUM_THREADS"] = str(given["threads"])
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    from .protocol import Job
    from .workloads import WORKLOADS

    job = Job(**given)
    workload = WORKLOADS[job.workload]
    ready = workload.engines[job.engine].ready(job, workload.sizes[job.size])
    if task == "check":
        answer = {"energy": ready.energy()}
    else:
        measured = ready.run()
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        answer = {**dataclasses.asdict(measured), "peak_megabytes": peak, "outcome": ready.outcome()}
    print("\n" + json.dumps(answer))


if __name__ == "__main__":
    main(*sys.argv[1:])
