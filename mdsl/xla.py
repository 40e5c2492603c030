"""What XLA is told before it starts. It reads the variable of the environment once, and takes this from nowhere else."""

from __future__ import annotations

EXTRA = "--xla_backend_extra_options="
WHOLE_LOOPS = f"{EXTRA}xla_cpu_small_while_loop_byte_threshold={10**12}"


def flags(given: str) -> str:
    """``XLA_FLAGS`` with which loops run fastest on CPUs, beside those that are given.

    XLA calls each operation in the body of a loop by itself, and may pass it to another thread: sums over neighbours
    take a sixth longer, lists half as long again. Loops over less than so many bytes it compiles to one function each,
    as it did formerly; where noise or sines make up most of a loop that is slower (64 replicas of 32 atoms: by half).
    """
    return given if EXTRA in given else f"{given} {WHOLE_LOOPS}".strip()
