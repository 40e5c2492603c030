"""`start`: how long `mdsl run` of a small system takes to its first record, from the command on, without (`cold`) and
with (`warm`) a cache of compiled programs."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from .protocol import Engine, Job, Measured, Ready, Size, Workload

PROGRAM = """
use units.lj
use pair (lennard_jones, force_shifted)
use integrators (velocity_verlet)
energy lj = sum(i < j) force_shifted(lennard_jones(1.0, 1.0), 2.5)(|x[i] - x[j]|)
run {
  x = fcc(density = 0.8442, cells = 4)
  v ~ maxwell(1.0)
  velocity_verlet(dt = 0.005) for 100 record lj, temperature every 10
}
"""


def command(cache: str) -> tuple[float, float]:
    """Seconds to the first record and to the end, with the compiled programs that ``cache`` holds."""
    with tempfile.TemporaryDirectory() as folder:
        program, out = Path(folder, "small.mdsl"), Path(folder, "out")
        program.write_text(PROGRAM)
        environment = {**os.environ, "XDG_CACHE_HOME": cache, "JAX_PLATFORMS": "cpu"}
        begun = time.perf_counter()
        words = [sys.executable, "-m", "mdsl", "run", str(program), "--out", str(out), "--seed", "1", "--quiet"]
        run = subprocess.Popen(words, env=environment, stdout=subprocess.DEVNULL)
        first = None
        while run.poll() is None:
            records = out / "records.csv"
            if first is None and records.exists() and records.read_bytes().count(b"\n") > 1:
                first = time.perf_counter() - begun
            time.sleep(0.005)
        total = time.perf_counter() - begun
        if run.returncode:
            raise RuntimeError(f"mdsl run failed with {run.returncode}")
        return total if first is None else first, total


def mdsl(job: Job, size: Size) -> Ready:
    import mdsl

    ends = []

    def run() -> Measured:
        with tempfile.TemporaryDirectory() as cache:
            if job.engine == "mdsl warm":
                command(cache)
            first, total = command(cache)
        ends.append(total)
        return Measured(first, first, 1, mdsl.__version__, {"seconds to the end": round(total, 2)})

    return Ready(lambda: 0.0, run, lambda: 0.0)


WORKLOAD = Workload(
    "start",
    "`mdsl run` of 256 atoms, from the command on",
    {"256": Size(256, 256, 0, 100)},
    {"mdsl cold": Engine(mdsl, ("double",)), "mdsl warm": Engine(mdsl, ("double",))},
    outcome=("", float("inf")),
    unit="seconds to the first record",
    shown=lambda seconds, work: seconds / work,
)
