"""Which wrong compilers the fast tests find: `python tests/mutants/run.py [WORDS...] [--wide]`.

In a copy of the project each of `mutants.py`, or those whose rule or name holds one of the words, is put in the place
of the right one, and its tests are run until the first fails. What survives is looked for by the tests of `WIDE`, with
``--wide``. Nothing is told before the right compiler passes, and one that cannot do anything fails, what is asked.
"""

import argparse
import importlib.util
import multiprocessing
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

import jax  # noqa: F401  what takes long to import, and is not of the project, is imported once
import pytest
import sympy  # noqa: F401
from mutants import ROOT, Mutant, mutants

# Where else a fault of the compiler shows, in the order of what it costs.
WIDE = tuple(f"tests/{f}" for f in "field interpret passes library derivatives potential dynamics".split())
FOLDERS = ("mdsl", "grammar", "lowering", "stdlib", "docs", "tests", "examples", "benchmarks")
OPTIONS = ("-x", "-q", "-n", "0", "-p", "no:cacheprovider")
BROKEN = Mutant("", "nothing works", "mdsl/model/nodes.py", "", "raise RuntimeError\n", "", ())
KILLED, HUNG, SURVIVED = "killed", "killed (hangs)", "SURVIVED"
ELSEWHERE = 99


class Copy:
    """The project in a folder of its own, from where it is imported."""

    def __init__(self, folder: Path):
        self.root, self.packages, self.log = folder / "source", folder / "packages", folder / "log"
        for name in FOLDERS:
            shutil.copytree(ROOT / name, self.root / name, ignore=shutil.ignore_patterns("__pycache__"))
        for name in ("pyproject.toml", "README.md"):
            shutil.copy(ROOT / name, self.root)
        (self.packages / "mdsl").mkdir(parents=True)
        for part in (*(self.root / "mdsl").iterdir(), *(self.root / name for name in FOLDERS[1:5])):
            (self.packages / "mdsl" / part.name).symlink_to(part)
        if (ROOT.parent / "shared").exists():
            (folder / "shared").symlink_to(ROOT.parent / "shared")

    def _pytest(self, tests: tuple[str, ...]) -> None:
        """In a process of its own: run tests with the copy, and leave with what they say."""
        output = os.open(self.log, os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.chdir(self.root)
        sys.path[0] = str(self.packages)  # in the place of this file's folder
        status = pytest.main([*OPTIONS, *tests])
        found = getattr(sys.modules.get("mdsl"), "__file__", str(self.packages))
        os._exit(status if found.startswith(str(self.packages)) else ELSEWHERE)

    def passes(self, tests: tuple[str, ...], seconds: float | None = None) -> bool:
        """Whether these tests pass. Raises TimeoutError."""
        process = multiprocessing.get_context("fork").Process(target=self._pytest, args=(tests,))
        process.start()
        process.join(seconds)
        if process.exitcode is None:
            process.kill()
            process.join()
            raise TimeoutError
        # 2: what is computed when tests are collected fails; 4: what is imported then
        if process.exitcode not in (0, 1, 2, 4):
            raise SystemExit(f"pytest left with {process.exitcode}\n{self.log.read_text()}")
        return process.exitcode == 0

    def try_out(self, mutant: Mutant, tests: tuple[str, ...], seconds: float | None = None) -> str:
        """What becomes of a mutant."""
        path = self.root / mutant.file
        right = path.read_text()
        try:
            self._write(path, mutant.applied(right) if mutant.old else mutant.new + right)
            return SURVIVED if self.passes(tests, seconds) else KILLED
        except TimeoutError:
            return HUNG
        finally:
            self._write(path, right)

    def _write(self, path: Path, text: str) -> None:
        path.write_text(text)
        Path(importlib.util.cache_from_source(str(path))).unlink(missing_ok=True)  # two may be of one second and size


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("words", nargs="*", help="of rules or names")
    parser.add_argument("--wide", action="store_true", help="try all fast tests of the compiler on what survives")
    asked = parser.parse_args()
    some = [m for m in mutants() if not asked.words or any(w in str(m) for w in asked.words)]
    with tempfile.TemporaryDirectory() as folder:
        copy = Copy(Path(folder).resolve())
        every = tuple(dict.fromkeys(t for m in some for t in m.tests))
        began = time.monotonic()
        if not copy.passes(every):
            raise SystemExit(f"the tests fail without any mutant\n{copy.log.read_text()}")
        allowed = 60 + 3 * (time.monotonic() - began)
        if copy.try_out(BROKEN, every[:1]) != KILLED:
            raise SystemExit("a compiler that cannot do anything is not noticed: the copy is not what is tested")
        survivors = []
        for mutant in some:
            began = time.monotonic()
            found = copy.try_out(mutant, mutant.tests, allowed)
            for tests in WIDE if asked.wide and found == SURVIVED else ():
                if found == SURVIVED and (found := copy.try_out(mutant, (tests,))) != SURVIVED:
                    found += f" by {tests}"
            survivors += [mutant] if found == SURVIVED else []
            print(f"{time.monotonic() - began:6.1f} s  {found:9s}  {mutant}", flush=True)
    print(f"{len(some) - len(survivors)} of {len(some)} killed")
    for mutant in survivors:
        print(f"survives: {mutant} ({mutant.why})")
    return int(len(survivors) > len(some) // 10)


if __name__ == "__main__":
    sys.exit(main())
