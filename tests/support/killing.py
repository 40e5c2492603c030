"""Runs of `mdsl run` that are killed and resumed, in processes of their own.

`python killing.py` waits for tasks, one line of JSON each on standard input: ``argv`` of mdsl, and perhaps ``signal``,
sent ``after`` so many seconds, counted from the first sight of the file ``once`` if there is one. It answers with the
exit status and the seconds that the run took since then. It has imported everything and started nothing, and each run
is a fork of it: that saves the seconds of every start, and JAX starts anew in each.
"""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

FIRST = "first"  # the file of a run that marks its first checkpoint
OWN = ("run.json", "checkpoint.npz")  # of a folder, what tells of times

LJ = """use units.lj
use pair (lennard_jones, force_shifted)
use integrators
use thermostats
use barostats
use minimizers
energy U = sum(i < j) force_shifted(lennard_jones(1.0, 1.0), 2.2)(|x[i] - x[j]|)
observe E = potential + kinetic
observe p = pressure
"""
SMALL = "x = fcc(density = 0.8, cells = 3) v ~ maxwell(1.44)"  # 108 atoms: all pairs
LARGE = "x = fcc(density = 0.8, cells = 5) v ~ maxwell(1.44)"  # 500: a list
SILICON = """use units.metal
use manybody (stillinger_weber_pair, stillinger_weber_triple)
use integrators (baoab)
param m = 28.0855 [g/mol]
energy two = sum(i < j) stillinger_weber_pair(2.0951 [angstrom], 2.1683 [eV], 1.8)(|x[i] - x[j]|)
energy three = sum(i; j < k) stillinger_weber_triple(2.0951 [angstrom], 2.1683 [eV], 1.8)(r_ij, r_ik, cosθ)
               where d_ij = x[j] - x[i], r_ij = |d_ij|, d_ik = x[k] - x[i], r_ik = |d_ik|, cosθ = d_ij·d_ik/(r_ij*r_ik)
"""
STATES = """flow count(n) { n += 1 }
integrator heated(dt, T) {
  state n = 0
  state work = kinetic
  count(n)
  v += dt/2*f/m
  x += dt*v
  v += dt/2*f/m
  v = sqrt(1 + 0.01*(3/2*N*T/kinetic - 1))*v
  work += 0.001*kinetic/(1 + n)
  observe spent = work
}
"""
PROGRAMS = {  # the text of a program, and further arguments
    "constant energy, a list": (
        LJ + f'run {{ {LARGE} velocity_verlet(dt = 0.004) for 300 record E, U every 6 write "a.extxyz" every 75 }}',
        (),
    ),
    "Langevin, all pairs": (
        LJ + f'run {{ {SMALL} baoab(dt = 0.004, T = 1, gamma = 1) for 300 record E every 5 write "a.xtc" every 50 }}',
        (),
    ),
    "Langevin, mixed precision": (
        LJ + f"run {{ {LARGE} baoab(dt = 0.004, T = 1, gamma = 1) for 300 record E, p every 7 }}",
        ("--precision", "mixed"),
    ),
    "Nose-Hoover, a list": (
        LJ
        + f'run {{ {LARGE} nose_hoover(dt = 0.004, T = 1, tau = 0.2) for 250 record E every 5 write "a.dcd" every 25 }}',
        (),
    ),
    "Nose-Hoover, all pairs": (
        LJ + f"run {{ {SMALL} nose_hoover(dt = 0.004, T = 1, tau = 0.2) for 300 record E, conserved every 5 }}",
        (),
    ),
    "Martyna-Tobias-Klein": (
        LJ
        + f"run {{ {LARGE} mtk(dt = 0.004, T = 1.4, P = 3, tau = 0.2, tau_P = 1) for 250 record E, p, volume every 5 }}",
        (),
    ),
    "stochastic cell rescaling": (
        LJ + f"run {{ {LARGE} stochastic_cell_rescaling(dt = 0.004, T = 1.4, P = 3, tau = 0.2, tau_P = 1, "
        f"compressibility = 0.03)"
        ' for 250 record E, volume every 5 write "a.extxyz" every 100 }',
        (),
    ),
    "minima": (
        LJ + f"run {{ {LARGE} velocity_verlet(dt = 0.004) for 60 record E every 10 fire(dt = 0.002) until largest(i) "
        f"|f[i]| < 5,"
        " at most 400 record U every 10 velocity_verlet(dt = 0.004) for 100 record E every 5 }",
        (),
    ),
    "states of a flow": (LJ + STATES + f"run {{ {SMALL} heated(dt = 0.004, T = 1) for 300 record E every 5 }}", ()),
    "several statements": (
        LJ
        + "observe g[k in 1..8] = sum(i < j) if floor(|x[i] - x[j]|/0.4) == k then 1 else 0\n"
        + "use observables\nobserve msd = mean_squared_displacement()\nobserve c = velocity_autocorrelation()\n"
        + f'run {{ {LARGE} csvr(dt = 0.004, T = 1, tau = 0.2) for 150 record E every 10 write "a.dcd" every 30'
        ' velocity_verlet(dt = 0.003) for 200 record E, msd, c every 10 record g every 50 write "b.dcd" every 50'
        " nose_hoover(dt = 0.004, T = 1, tau = 0.2) for 150 record E, msd every 10 }",
        (),
    ),
    "replicas": (
        LJ
        + f'run {{ {LARGE} baoab(dt = 0.004, T = 1, gamma = 1) for 200 record E every 5 write "a.extxyz" every 100 }}',
        ("--replicas", "3"),
    ),
    "a sweep": (
        LJ
        + "param P0 = 1.0\nparam T0 = 1.0\n"
        + f"run {{ {SMALL} nose_hoover(dt = 0.004, T = T0, tau = 0.2) for 150 record E every 5 fire(dt = 0.002) until"
        " largest(i) |f[i]| < 8*T0, at most 500 record U every 20 }",
        ("--sweep", "T0=0.5:2:4"),
    ),
    "three bodies": (
        SILICON + "run { x = diamond(a = 5.431 [angstrom], cells = 4) v ~ maxwell(3000 [K])"
        " baoab(dt = 1 [fs], T = 2500 [K], gamma = 5 [1/ps]) for 150 record two, three every 5 }",
        (),
    ),
}


def contents(folder: Path) -> dict[str, bytes]:
    """What a run leaves, but for what tells of times."""
    names = (p for p in sorted(folder.rglob("*")) if p.is_file() and p.name not in (*OWN, FIRST))
    return {str(p.relative_to(folder)): p.read_bytes() for p in names}


class Forks:
    """The process that forks, from the side of a test."""

    def __init__(self, cache: Path):
        environment = {**os.environ, "XDG_CACHE_HOME": str(cache), "NO_COLOR": "1", "JAX_ENABLE_X64": "1"}
        environment.pop("XLA_FLAGS", None)
        self.process = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )

    def run(self, argv, **task) -> dict:
        self.process.stdin.write(json.dumps({"argv": [str(a) for a in argv], **task}) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def _serve() -> None:
    import mdsl.lowering.run.driver  # noqa: F401
    from mdsl.command import cli

    for line in sys.stdin:
        task = json.loads(line)
        begun = time.perf_counter()
        child = os.fork()
        if child == 0:
            _child(cli, task)
        once, status = task.get("once"), None
        while once is not None and not Path(once).exists() and status is None:
            status = _ended(child)
            time.sleep(0.002)
        seen = time.perf_counter()
        until = seen + task.get("after", 0.0)
        while "signal" in task and status is None and time.perf_counter() < until:
            status = _ended(child)
            time.sleep(0.002)
        if status is None and "signal" in task:
            os.kill(child, getattr(signal, task["signal"]))
        if status is None:
            status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        now = time.perf_counter()
        print(json.dumps({"status": status, "seconds": now - seen, "all": now - begun}), flush=True)


def _child(cli, task) -> None:
    sys.stdin.close()
    out = os.open(task.get("log", os.devnull), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(out, 1)
    os.dup2(out, 2)
    status = 70
    try:
        status = cli.main(task["argv"])
    finally:
        os._exit(status)


def _ended(child: int) -> int | None:
    pid, status = os.waitpid(child, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if pid else None


if __name__ == "__main__":
    _serve()
