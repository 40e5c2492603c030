"""A run as it is seen from outside: its atoms, where it stands, what it cost so far, and what it tells as it goes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol

import numpy as np

from mdsl.model.dynamics import UNWRAPPED
from mdsl.model.nodes import Advance, Output

from .outcome import Outcome

if TYPE_CHECKING:
    from .driver import Runner
    from .exchanges import Attempt
    from .losses import Loss
    from .standing import Standing, Standings


@dataclass(frozen=True, eq=False)
class Snapshot:
    """Atoms in the user's order, of B systems. x: [B, N, d] in the box; images: [B, N, d] box vectors to add for the
    path without jumps; step, time: [B]. began: x, images and v when the statement of dynamics began, [B, 3, N, d],
    where that is read. cell: [B, d, d], the boxes. standing: what else decides the next bits, where it is known.
    """

    x: np.ndarray
    v: np.ndarray
    images: np.ndarray
    step: np.ndarray
    time: np.ndarray
    cell: np.ndarray
    began: np.ndarray | None = None
    memory: Mapping[str, np.ndarray] = field(default_factory=dict)  # the states of the statement of dynamics under way
    standing: Standing | Standings | None = None

    @classmethod
    def of_all(cls, each: Sequence[Snapshot]) -> Snapshot:
        """Of several, one behind the other; without what else decides their bits."""

        def together(name: str) -> np.ndarray:
            return np.concatenate([getattr(one, name) for one in each])

        began = None if each[0].began is None else together("began")
        return cls(*map(together, ("x", "v", "images", "step", "time", "cell")), began)

    def of(self, which) -> Snapshot:
        """Some of the systems; or one, without their axis."""
        arrays = {name: getattr(self, name)[which] for name in ("x", "v", "images", "step", "time", "cell")}
        began = None if self.began is None else self.began[which]
        return replace(self, **arrays, began=began, memory={name: a[which] for name, a in self.memory.items()})


def as_written(output: Output, snapshot: Snapshot) -> Snapshot:
    """The snapshot of one system with the positions that a statement writes."""
    if UNWRAPPED not in output.names:
        return snapshot
    return replace(snapshot, x=snapshot.x + snapshot.images @ snapshot.cell)


class Listener(Protocol):
    """What a run tells as it goes, in internal units. ``replicas`` [n] are the numbers of those concerned, [0] of a
    system alone, whose values are along the first axes."""

    def statement(self, index: int, advance: Advance, steps: int, done: int, dt: np.ndarray) -> None: ...
    def record(
        self, replicas: np.ndarray, step: np.ndarray, t: np.ndarray, values: Mapping[str, np.ndarray]
    ) -> None: ...
    def frame(self, output: Output, replicas: np.ndarray, snapshot: Snapshot) -> None: ...
    def progress(self, done: int, runner: Runner) -> None: ...
    def ended(self, advance: Advance, outcome: Outcome) -> None: ...
    def lost(self, replica: int, loss: Loss) -> None: ...
    def exchanged(self, attempt: Attempt, t: np.ndarray) -> None: ...


@dataclass
class Counts:
    """What a run cost so far. ``seconds`` by part: compile, steps, observe, lists."""

    steps: int = 0
    force_evaluations: int = 0
    list_builds: int = 0
    regrown: int = 0
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def stepping(self) -> float:
        """Seconds spent in steps and neighbour lists, without compiling."""
        return self.seconds.get("steps", 0.0) + self.seconds.get("lists", 0.0)

    def add(self, part: str, seconds: float) -> None:
        self.seconds[part] = self.seconds.get(part, 0.0) + seconds


@dataclass(frozen=True)
class Place:
    """Where a run is: the statement of dynamics, its steps done, the time at its start, and whether its condition
    (`until`) holds already: [B], or one for all."""

    statement: int = 0
    done: int | np.ndarray = 0
    t: float | np.ndarray = 0.0
    met: bool | np.ndarray = False

    def of(self, k: int) -> Place:
        """Of one system."""
        return Place(self.statement, int(self.done[k]), float(self.t[k]), bool(self.met[k]))
