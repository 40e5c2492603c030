"""Which wrong compilers the fast tests find: `python tests/mutants/run.py [WORDS...] [--wide]`.

In a copy of the project each of `mutants.py`, or those whose rule or name holds one of the words, is put in the place
of the right one, and its tests are run until the first fails. What survives is looked for by the tests of `WIDE`, with
``--wide``. Nothing is told before the right compiler passes, and one that cannot do anything fails, all that is asked.
"""

import argparse
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from mutants import ROOT, Mutant, mutants

# Where else a fault of the compiler shows, in the order of what it costs.
WIDE = (
    "tests/field",
    "tests/interpret",
    "tests/passes",
    "tests/library",
    "tests/derivatives",
    "tests/potential",
    "tests/dynamics",
)
PARTS = (
    "mdsl",
    "grammar",
    "lowering",
    "stdlib",
    "docs",
    "tests",
    "examples",
    "benchmarks",
    "pyproject.toml",
    "README.md",
)
BROKEN = Mutant("", "nothing works", "mdsl/model/nodes.py", "", "raise RuntimeError\n", "", ())
KILLED, HUNG, SURVIVED = "killed", "killed (hangs)", "SURVIVED"


class Copy:
    """The project in a folder of its own, where it is imported from."""

    def __init__(self, folder: Path):
        self.root, packages = folder / "source", folder / "packages" / "mdsl"
        ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
        self.root.mkdir()
        for name in PARTS:
            part = ROOT / name
            (shutil.copytree if part.is_dir() else shutil.copy)(
                part, self.root / name, **({"ignore": ignored} if part.is_dir() else {})
            )
        packages.mkdir(parents=True)
        for part in (
            *(self.root / "mdsl").iterdir(),
            *(self.root / name for name in ("grammar", "lowering", "stdlib", "docs")),
        ):
            (packages / part.name).symlink_to(part)
        if (ROOT.parent / "shared").exists():
            (folder / "shared").symlink_to(ROOT.parent / "shared")
        self.environment = {**os.environ, "PYTHONPATH": str(packages.parent)}
        where = [sys.executable, "-P", "-c", "import mdsl.lowering.field.support as m; print(m.__file__)"]
        found = subprocess.run(where, cwd=folder, env=self.environment, capture_output=True, text=True, check=True)
        if not Path(found.stdout.strip()).resolve().is_relative_to(self.root.resolve()):
            raise SystemExit(f"the copy is not what is imported, but {found.stdout}")

    def passes(self, tests: tuple[str, ...], seconds: float | None = None) -> bool:
        """Whether these tests pass. Raises TimeoutExpired."""
        options = ["-x", "-q", "-n", "0", "-p", "no:cacheprovider", "--no-header"]
        command = [sys.executable, "-P", "-m", "pytest", *options, *tests]
        done = subprocess.run(
            command, cwd=self.root, env=self.environment, timeout=seconds, capture_output=True, text=True
        )
        if done.returncode not in (0, 1, 2):  # 2: what is computed when tests are collected fails
            raise SystemExit(done.stdout + done.stderr)
        return done.returncode == 0

    def try_out(self, mutant: Mutant, tests: tuple[str, ...], seconds: float | None = None) -> str:
        """What becomes of a mutant."""
        path = self.root / mutant.file
        right = path.read_text()
        try:
            self._write(path, mutant.applied(right) if mutant.old else mutant.new + right)
            return SURVIVED if self.passes(tests, seconds) else KILLED
        except subprocess.TimeoutExpired:
            return HUNG
        finally:
            self._write(path, right)

    def _write(self, path: Path, text: str) -> None:
        path.write_text(text)
        Path(importlib.util.cache_from_source(str(path))).unlink(missing_ok=True)  # two may be of one second and size


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("words", nargs="*", help="of rules or names")
    parser.add_argument("--wide", action="store_true", help="try all fast tests on what survives")
    asked = parser.parse_args()
    some = [m for m in mutants() if not asked.words or any(w in str(m) for w in asked.words)]
    with tempfile.TemporaryDirectory() as folder:
        copy = Copy(Path(folder))
        every = tuple(dict.fromkeys(t for m in some for t in m.tests))
        began = time.monotonic()
        if not copy.passes(every):
            raise SystemExit("the tests fail without any mutant")
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
    return len(survivors) > len(some) // 10


if __name__ == "__main__":
    sys.exit(main())
