"""Tests that are skipped prove nothing: those of which that is known are listed, and others fail
`--only-known-skips`."""

import os
import subprocess
import sys
from pathlib import Path

import known_skips
import pytest
from known_skips import Known, unknown

ROOT = Path(__file__).parents[2]


@pytest.fixture
def two(monkeypatch):
    monkeypatch.setattr(known_skips, "KNOWN", (Known("tests/a.py", "no data", 2, "it is so"),))


def test_known_skips_are_fine(two):
    assert unknown([]) == unknown([("tests/a.py::b", "Skipped: no data here"), ("tests/a.py::c", "no data")]) == []


def test_other_skips_are_told(two):
    other = [("tests/a.py::b", "no LAMMPS"), ("tests/ab.py::b", "no data")]
    assert unknown(other) == [f"{test} is skipped: {reason}" for test, reason in other]


def test_more_skips_than_known_are_told(two):
    (told,) = unknown([(f"tests/a.py::b[{k}]", "no data") for k in range(3)])
    assert "3 tests of tests/a.py are skipped, not 2 at most" in told


def test_each_known_skip_is_one_that_can_happen():
    """Its file is there, and it, or what all share, says the reason."""
    for known in known_skips.KNOWN:
        text = (ROOT / known.file).read_text() + (ROOT / "tests/support/reference.py").read_text()
        assert known.why and known.most > 0
        assert known.reason in text, known


@pytest.mark.parametrize("option, status", [("--only-known-skips", 1), ("-q", 0)])
def test_the_option(option, status, tmp_path):
    """A test that skips itself for a reason of its own, beside one that passes."""
    file = tmp_path / "test_it.py"
    file.write_text("import pytest\ndef test_a(): pytest.skip('not today')\ndef test_b(): pass\n")
    words = ["-p", "conftest", "-p", "no:cacheprovider", "-n0", "-c", str(ROOT / "pyproject.toml"), option, str(file)]
    path = os.pathsep.join([str(ROOT / "tests"), str(ROOT / "tests" / "support")])
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *words],
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert done.returncode == status, done.stdout + done.stderr
    assert ("not today" in done.stdout) == bool(status)
