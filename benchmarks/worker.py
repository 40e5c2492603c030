"""One timed run in a process of its own: `python -m benchmarks.worker JOB`, JOB and the answer in JSON."""

from __future__ import annotations

import dataclasses
import json
import os
import resource
import sys


def main(text: str) -> None:
    given = json.loads(text)
    threads = given["threads"]
    # No engine may use more cores than it is said to, whatever its own threads think.
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
    os.environ["OMP_NUM_THREADS"] = str(threads)
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    from . import melt

    job = melt.Job(**given)
    measured = melt.ENGINES[job.engine][0](job)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print("\n" + json.dumps({**dataclasses.asdict(measured), "peak_megabytes": peak}))


if __name__ == "__main__":
    main(sys.argv[1])
