"""What XLA is told before it starts. It reads the variable of the environment once, and takes this from nowhere else."""

from __future__ import annotations

EXTRA = "--xla_backend_extra_options="
WHOLE_LOOPS = f"{EXTRA}xla_cpu_small_while_loop_byte_threshold={10**12}"
WIDTH = "--xla_cpu_prefer_vector_width="
WIDEST = f"{WIDTH}512"


def flags(given: str, ensemble: bool = False) -> str:
    """``XLA_FLAGS`` with which programs run fastest on CPUs, beside those that are given.

    LLVM prefers vectors of 256 bits also where a processor has longer ones, on which most programs run a tenth faster.

    XLA calls each operation in the body of a loop by itself, and may pass it to another thread: sums over neighbours
    take a sixth longer, lists half as long again. Loops over less than so many bytes it compiles to one function each,
    as it did formerly; where noise or sines make up most of a loop that is slower (64 replicas of 32 atoms: by half),
    so an ``ensemble`` of many small systems is not compiled so.
    """
    wanted = {WIDTH: WIDEST} if ensemble else {WIDTH: WIDEST, EXTRA: WHOLE_LOOPS}
    return " ".join([given, *(flag for name, flag in wanted.items() if name not in given)]).strip()
