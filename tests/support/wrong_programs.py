"""Wrong programs, from tests/data/wrong: what is wrong with each, where that is marked, and words that are said of
it."""

import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "data" / "wrong"


@dataclass(frozen=True)
class Wrong:
    """``head``: the name of what stands before the ``text``, of those of the file; ``id`` of the diagnostic."""

    id: str
    text: str
    marks: str
    says: str
    head: str = ""


@cache
def _read(name):
    return tomllib.loads((FOLDER / f"{name}.toml").read_text(encoding="utf-8"))


def heads(name):
    return _read(name)["heads"]


def wrong(name):
    """The wrong programs of a file."""
    return tuple(Wrong(**entry) for entry in _read(name)["wrong"])


def each(name, *more):
    """A test for each of them, and of those ``more``, as the argument ``case``."""
    cases = (*wrong(name), *more)
    return pytest.mark.parametrize("case", cases, ids=[f"{k}-{case.id}" for k, case in enumerate(cases)])
