"""The workload `start`: how long `mdsl run` of a small system takes to its first record, from the command on."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

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


def measure(cache: Path) -> tuple[float, float]:
    """Seconds to the first record and to the end, with the compiled programs that ``cache`` holds."""
    with tempfile.TemporaryDirectory() as folder:
        program, out = Path(folder, "small.mdsl"), Path(folder, "out")
        program.write_text(PROGRAM)
        environment = {**os.environ, "XDG_CACHE_HOME": str(cache), "JAX_PLATFORMS": "cpu"}
        begun = time.perf_counter()
        command = [sys.executable, "-m", "mdsl.cli", "run", str(program), "--out", str(out), "--seed", "1", "--quiet"]
        run = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
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


def rounds(count: int) -> dict[str, list[tuple[float, float]]]:
    """``count`` runs each without and with a cache of compiled programs, in turn."""
    found: dict[str, list[tuple[float, float]]] = {"cold": [], "warm": []}
    for _ in range(count):
        with tempfile.TemporaryDirectory() as cache:
            found["cold"].append(measure(Path(cache)))
            found["warm"].append(measure(Path(cache)))
    return found
