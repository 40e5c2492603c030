"""mdsl in the benchmarks: programs as a user writes them, driven as `mdsl run` drives them."""

from __future__ import annotations

import os
import time
from pathlib import Path

from .protocol import Job, Measured, Ready
from .systems import System


def jax_for(job: Job):
    """JAX, set up for a job, before the first array is made."""
    import jax

    jax.config.update("jax_enable_x64", job.precision != "single")
    if job.threads > 1:
        jax.config.update("jax_num_cpu_devices", job.threads)
    return jax


def bound(
    job: Job, text: str, start: System, folder: Path | None = None, topologies=None, species=None, shared: bool = True
):
    """The program in ``text`` with the atoms of ``start``; ``shared`` between as many devices as there are threads."""
    jax = jax_for(job)
    import mdsl

    devices = jax.devices()[: job.threads] if shared and job.threads > 1 else None
    program = mdsl.compile(text, folder)
    return program.bind(
        start.x,
        box=start.edges,
        velocities=start.v,
        species=species,
        topologies=topologies,
        precision=job.precision,
        devices=devices,
    )


class Clock:
    """A listener of the driver that notes when how many steps were done."""

    def __init__(self):
        self.times: list[tuple[int, float]] = []

    def statement(self, *what) -> None: ...
    def record(self, *what) -> None: ...
    def frame(self, *what) -> None: ...
    def ended(self, *what) -> None: ...
    def lost(self, *what) -> None: ...

    def progress(self, done: int, runner) -> None:
        self.times.append((done, time.perf_counter()))


def dynamics(job: Job, text: str, start: System, **arrays) -> Ready:
    """A program whose run block has one statement of dynamics, `for` as many steps as there are."""
    from mdsl.command import xla_flags as xla

    os.environ["XLA_FLAGS"] = xla.flags(os.environ.get("XLA_FLAGS", ""))
    begun = time.perf_counter()
    system = bound(job, text.replace("{steps}", str(job.warm + job.steps)), start, **arrays)
    bind = time.perf_counter() - begun
    final = []

    def run() -> Measured:
        import jax

        import mdsl
        from mdsl.lowering.run.driver import Runner
        from mdsl.lowering.run.members import single

        begun = time.perf_counter()
        runner = Runner(
            single(
                system.program.compiled.field,
                system.initial,
                system.program.internal(None),
                jax.random.key(0),
                job.precision,
            ),
            system.devices,
        )
        clock = Clock()
        final.append(runner.run(clock, seconds=0.05).of(0))
        prepare = bind + clock.times[0][1] - begun
        first = next(k for k, (done, _) in enumerate(clock.times) if done >= job.warm)
        steps = clock.times[-1][0] - clock.times[first][0]
        return Measured(
            prepare,
            clock.times[-1][1] - clock.times[first][1],
            steps * len(start.x),
            mdsl.__version__,
            {"lists": runner.counts.list_builds},
        )

    def outcome() -> float:
        from mdsl.interpret.constants import factor
        from mdsl.model.dimensions import LENGTH

        return float(system.energy(final[-1].x * factor(system.model, LENGTH))) / len(start.x)

    return Ready(lambda: float(system.energy()) / len(start.x), run, outcome)
