"""What XLA is told before it starts. It reads the variable of the environment once, and takes this from nowhere else.

XLA ends the process at a flag that it does not know, and releases drop flags. So each flag is tried in a process of its
own before it is given, and the answers are remembered for this release of jaxlib. That takes a second, in which a run
imports JAX and compiles its program.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

EXTRA = "--xla_backend_extra_options="
WHOLE_LOOPS = f"{EXTRA}xla_cpu_small_while_loop_byte_threshold={10**12}"
WIDTH = "--xla_cpu_prefer_vector_width="
WIDEST = f"{WIDTH}512"
START = "import jax; jax.devices()"  # XLA reads its flags when the first platform starts
PATIENCE = 120  # seconds for that
_begun: dict[tuple[str, ...], subprocess.Popen] = {}  # processes whose answers nobody has waited for yet


def flags(given: str, ensemble: bool = False) -> str:
    """``XLA_FLAGS`` with which programs run fastest on CPUs, of those that this XLA knows, beside those that are given.

    LLVM prefers vectors of 256 bits also where a processor has longer ones, on which most programs run a tenth faster.

    XLA calls each operation in the body of a loop by itself, and may pass it to another thread: sums over neighbours
    take a sixth longer, lists half as long again. Loops over less than so many bytes it compiles to one function each,
    as it did formerly; where noise or sines make up most of a loop that is slower (64 replicas of 32 atoms: by half),
    so an ``ensemble`` of many small systems is not compiled so.
    """
    return " ".join([given, *known(_wanted(given, ensemble))]).strip()


def ask_ahead(given: str, ensemble: bool = False) -> None:
    """Begin to ask what `flags` will, where it is not remembered."""
    if unknown := _unknown(_wanted(given, ensemble)):
        with contextlib.suppress(OSError):
            _begun[tuple(unknown)] = _start(unknown)


def _wanted(given: str, ensemble: bool) -> list[str]:
    wanted = {WIDTH: WIDEST} if ensemble else {WIDTH: WIDEST, EXTRA: WHOLE_LOOPS}
    return [flag for name, flag in wanted.items() if name not in given]


def _unknown(wanted: Sequence[str]) -> list[str]:
    """Those of which no answer is remembered; none where there is no jaxlib."""
    try:
        answers = _remembered(_file())
    except PackageNotFoundError:
        return []
    return [flag for flag in wanted if flag not in answers]


def _file() -> Path:
    return cache_folder() / f"xla-flags-{version('jaxlib')}.json"


def known(wanted: Sequence[str]) -> list[str]:
    """Those flags that the installed XLA knows, with the values that they have; none where XLA cannot be asked.

    Answers are remembered in the cache folder; where that cannot be written, XLA is asked each time.
    """
    try:
        file = _file()
    except PackageNotFoundError:
        return []  # what follows tells that
    answers = _remembered(file)
    if unknown := _unknown(wanted):
        found = _asked(unknown)
        answers |= found
        if found:
            _remember(file, answers)
    return [flag for flag in wanted if answers.get(flag)]


def cache_folder() -> Path:
    """Where mdsl keeps what it can find out again."""
    with contextlib.suppress(RuntimeError):  # there is no home
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mdsl"
    return Path(tempfile.gettempdir()) / "mdsl"


def _asked(wanted: Sequence[str]) -> dict[str, bool]:
    """Which flags XLA knows: all at once, and each alone if it does not start with all. Nothing is found out if it does
    not start without any."""
    if _starts(wanted):
        return dict.fromkeys(wanted, True)
    if not _starts(()):
        return {}
    return {wanted[0]: False} if len(wanted) == 1 else {flag: _starts((flag,)) for flag in wanted}


def _starts(given: Sequence[str]) -> bool:
    """Whether XLA starts with these flags alone."""
    try:
        process = _begun.pop(tuple(given), None) or _start(given)
    except OSError:
        return False
    try:
        return process.wait(PATIENCE) == 0
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return False


def _start(given: Sequence[str]) -> subprocess.Popen:
    environment = {**os.environ, "XLA_FLAGS": " ".join(given), "JAX_PLATFORMS": "cpu", "TF_CPP_MIN_LOG_LEVEL": "3"}
    nowhere = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.DEVNULL)
    return subprocess.Popen([sys.executable, "-P", "-c", START], env=environment, **nowhere)


def _remembered(file: Path) -> dict[str, bool]:
    try:
        answers = json.loads(file.read_text())
    except (OSError, ValueError):
        return {}
    return (
        {flag: answer for flag, answer in answers.items() if answer in (True, False)} if type(answers) is dict else {}
    )


def _remember(file: Path, answers: dict[str, bool]) -> None:
    """Other processes may write the same file: it is whole at any time."""
    with contextlib.suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=file.parent, prefix=file.name, delete=False) as new:
            json.dump(answers, new, indent=1)
        os.replace(new.name, file)
