"""What a run in Python gives back, and the listener that keeps its records in memory."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from mdsl.grammar.diagnostics import Diagnostic, Rejected
from mdsl.interpret.constants import factor
from mdsl.lowering.run.outcome import Outcome, not_converged
from mdsl.lowering.run.snapshot import Snapshot, as_written
from mdsl.model.dimensions import LENGTH, TIME, VELOCITY
from mdsl.model.observable_types import observable_type
from mdsl.statistics.estimates import Estimate, each, estimate

if TYPE_CHECKING:
    from ase import Atoms

    from mdsl.lowering.run.exchanges import Exchanges

    from .system import System

STATE = "state"


@dataclass(frozen=True, eq=False)
class History:
    """What became of the exchanges of B replicas. A state is a set of parameters, numbered from 0.

    tried, accepted: [B - 1], how often each state and the next have tried to exchange, and have. states: [B], the
    state in which each replica is at the end. path: [A + 1, B], that after each of A attempts, the start first; step:
    [A], when these were made. trips: [B], how often each replica came back to the first state from the last. visits:
    [B, B], after how many attempts each replica was in each state.
    """

    tried: np.ndarray
    accepted: np.ndarray
    states: np.ndarray
    path: np.ndarray
    step: np.ndarray
    trips: np.ndarray
    visits: np.ndarray

    @property
    def ratio(self) -> np.ndarray:
        """[B - 1]: the part of the attempts that was accepted; NaN where there was none."""
        from mdsl.lowering.run.exchanges import acceptance

        return acceptance(self.tried, self.accepted)


@dataclass(frozen=True, eq=False)
class Result:
    """What a run gives: ``records`` name to array [rows, ...], with ``step`` and ``time``; the final state: x and v
    [N, d], and the box, edges [d] or vectors [d, d], with 1 for an axis that does not repeat; for each statement of
    dynamics its steps and whether it converged (None where it does not run `until` a condition holds). Of a batch all
    arrays have the replicas along their first axis; where a replica has fewer rows than others, what is missing at the
    end is NaN, and -1 of ``step``. ``since``: for each record the row from which on the last statement that recorded it
    did so. ``lost``: the replicas that went wrong on the way, and what is said of each; their
    records end before, their final state is NaN, and ``step`` and ``time`` are the last at which they were sound.
    ``exchanges``: of replicas that exchange their states, what came of it; the records have `state` beside `step`."""

    records: dict[str, np.ndarray]
    x: np.ndarray
    v: np.ndarray
    step: int
    time: float
    box: np.ndarray
    counts: object = field(repr=False, default=None)
    statements: tuple[Outcome, ...] = ()
    lost: Mapping[int, Diagnostic] = field(default_factory=dict)
    since: Mapping[str, int] = field(default_factory=dict)
    exchanges: History | None = None
    kept: Kept | None = field(repr=False, default=None)

    def to_atoms(self) -> Atoms:
        """The final state as `Atoms` of ASE, with velocities, masses and data; in reduced units the numbers as they
        are. Raises Rejected: ``wrong-arguments`` of a batch, or inside transformations."""
        if self.kept is None or self.kept.replica is None:
            raise Rejected(
                Diagnostic(
                    "wrong-arguments",
                    "Atoms are made of the result of one run, outside of transformations",
                    help="of a batch choose a replica: `result.of(0).to_atoms()`",
                )
            )
        model = self.kept.system.model
        length, velocity = factor(model, LENGTH), factor(model, model.units.dimension(VELOCITY))
        cell = np.asarray(self.box) if np.ndim(self.box) == 2 else np.diag(self.box)
        return self.kept.shown(self.x / length, self.v / velocity, cell / length, self.step, self.time)

    @property
    def trajectory(self) -> list[Atoms]:
        """The frames that ``write`` statements put out, as `Atoms`, of a run with ``trajectory=True``. Raises Rejected:
        ``wrong-arguments``."""
        frames = None if self.kept is None or self.kept.replica is None else self.kept.frames
        if frames is None:
            raise Rejected(
                Diagnostic(
                    "wrong-arguments",
                    "the frames of this run were not kept",
                    help="`run(key, trajectory=True)` keeps what the program writes; of a batch, "
                    "`result.of(0).trajectory`",
                )
            )
        time = factor(self.kept.system.model, self.kept.system.model.units.dimension(TIME))
        own = frames[self.kept.replica].values()
        return [self.kept.shown(s.x, s.v, s.cell, int(s.step), float(s.time) * time) for s in own]

    def by_state(self) -> Result:
        """Of replicas that exchange, the same with the states along the first axis of all arrays: what was recorded in
        each, whichever replica was in it, and the atoms that are in it at the end."""
        if self.exchanges is None:
            return self
        rows = np.argsort(self.records[STATE], axis=0)
        last = np.argsort(self.exchanges.states)
        return replace(
            self,
            records={n: np.take_along_axis(a, _like(rows, a), axis=0) for n, a in self.records.items()},
            **{name: getattr(self, name)[last] for name in ("x", "v", "box", "step", "time")},
        )

    @property
    def statistics(self) -> dict[str, Estimate]:
        """What the records of the last statement that made them are worth, by name, see `mdsl.estimate`. Of a batch all
        fields of each have the replicas along their first axis; `mdsl.estimate(rows, replicas=True)` takes them as one.
        """
        of = each if np.ndim(self.step) else estimate
        rows = {n: np.asarray(r) for n, r in self.records.items() if n not in ("step", "time", STATE)}
        last = {n: slice(self.since.get(n, 0), None) for n in rows}
        return {n: of(r[:, last[n]] if of is each else r[last[n]]) for n, r in rows.items()}

    def of(self, k: int) -> Result:
        """Of a batch, one replica."""
        return replace(
            self,
            records={name: rows[k] for name, rows in self.records.items()},
            **{name: getattr(self, name)[k] for name in ("x", "v", "box")},
            step=int(self.step[k]),
            time=float(self.time[k]),
            statements=tuple(o.of(k) for o in self.statements),
            lost={j: d for j, d in self.lost.items() if j == k},
            kept=self.kept and replace(self.kept, replica=k),
        )


@dataclass(frozen=True, eq=False)
class Kept:
    """What `Atoms` are made of. ``data``: of each replica, in internal units; ``frames``: of each replica by step, None
    where they were not to be kept; ``replica``: the one that is meant."""

    system: System
    data: Sequence[Mapping[str, object]]
    frames: Sequence[Mapping[int, Snapshot]] | None
    replica: int | None = None

    def shown(self, x, v, cell, step: int, time: float) -> Atoms:
        """``x``, ``v``, ``cell`` in internal units."""
        from .atoms import shown_atoms

        return shown_atoms(self.system, x, v, cell, self.data[self.replica], {"step": step, "time": time})


def _like(rows: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Places [B, rows] as places in an array [B, rows, ...]."""
    return rows.reshape(rows.shape + (1,) * (values.ndim - rows.ndim))


class Memory:
    """A listener that keeps the records of a run of ``members`` in memory, in the units of the program."""

    def __init__(self, model, members, trajectory: bool = False):
        self.model, self.members = model, members
        self.frames: list[dict[int, Snapshot]] | None = [{} for _ in members.asked] if trajectory else None
        self.rows: list[dict[int, dict[str, np.ndarray]]] = [{} for _ in members.asked]
        self.gone: list[int] = []
        self.exchanges: Exchanges | None = None  # so far
        self.path: list[np.ndarray] = []
        self.when: list[int] = []
        self.index = 0
        self.began: dict[str, tuple[int, int]] = {}  # the last statement that recorded it, and its first row

    def statement(self, index, advance, steps, done, dt) -> None:
        self.index = index

    def frame(self, output, replicas, snapshot) -> None:
        """Of several files that are written at one step there is one frame."""
        for n, k in enumerate(replicas if self.frames is not None else ()):
            own = snapshot.of(n)
            self.frames[k].setdefault(int(own.step), as_written(output, own))

    def progress(self, done, runner) -> None:
        pass

    def ended(self, advance, outcome) -> None:
        """Tell of those that did not converge, but for those that were lost."""
        if outcome.converged is None:
            return
        count, failed = len(self.rows), np.setdiff1d(np.flatnonzero(~outcome.converged), self.gone)
        if len(failed):
            words = not_converged(advance, Outcome(int(np.max(outcome.steps)), False))
            who = "" if self.members.alone else f"{len(failed)} of {count} replicas: "
            warnings.warn(who + words, stacklevel=7 - self.members.alone)  # where `System.run` was called

    def lost(self, replica, loss) -> None:
        self.gone.append(replica)

    def begin(self, exchanges: Exchanges | None) -> None:
        """Before a run, of replicas that exchange if there are ``exchanges``."""
        self.exchanges = exchanges
        self.path = [] if exchanges is None else [exchanges.states]

    def exchanged(self, attempt, t) -> None:
        self.exchanges = attempt.exchanges
        self.path.append(attempt.exchanges.states)
        self.when.append(attempt.step)

    def history(self) -> History | None:
        """What became of exchanges, if there were any to be."""
        found = self.exchanges
        if found is None:
            return None
        path, step = np.array(self.path), np.array(self.when, int)
        return History(found.tried, found.accepted, found.states, path, step, found.trips, found.visits)

    def record(self, replicas, step, t, values) -> None:
        scale = factor(self.model, self.model.units.dimension(TIME))
        shown = {n: a * factor(self.model, observable_type(self.model, n).dimension) for n, a in values.items()}
        for place, k in enumerate(replicas):
            row = self.rows[k].setdefault(int(step[place]), {"step": step[place], "time": t[place] * scale})
            row |= {} if self.exchanges is None else {STATE: self.exchanges.states[k]}
            row |= {name: a[place] for name, a in shown.items()}
        for name in shown:
            if self.began.get(name, (-1, 0))[0] != self.index:
                self.began[name] = self.index, len(self.rows[replicas[0]]) - 1

    def arrays(self) -> dict[str, np.ndarray]:
        """[B, rows, ...]"""
        rows = [list(own.values()) for own in self.rows]
        most = max(map(len, rows))
        first: dict[str, np.ndarray] = {}
        for row in (r for own in rows for r in own):
            for name, value in row.items():
                first.setdefault(name, np.asarray(value))
        found = {}
        for name, example in first.items():
            array = np.full((len(rows), most, *example.shape), -1 if name in ("step", STATE) else np.nan, example.dtype)
            for k, own in enumerate(rows):
                for j, row in enumerate(own):
                    if name in row:
                        array[k, j] = row[name]
            found[name] = array
        return found
