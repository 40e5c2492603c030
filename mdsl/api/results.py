"""What a run in Python gives back, and the listeners that keep its records in memory."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from mdsl.grammar.diagnostics import Diagnostic
from mdsl.interpret.constants import factor
from mdsl.lowering.run.outcome import Outcome, not_converged
from mdsl.model.dimensions import TIME
from mdsl.model.observable_types import observable_type


@dataclass(frozen=True, eq=False)
class Result:
    """What a run gives: ``records`` name to array [rows, ...], with ``step`` and ``time``; the final state: x and v
    [N, d], and the box, edges [d] or vectors [d, d], with 1 for an axis that does not repeat; for each statement of
    dynamics its steps and whether it converged (None where it does not run `until` a condition holds). Of a batch all
    arrays have the replicas along their first axis; where a replica has fewer rows than others, what is missing at the
    end is NaN, and -1 of ``step``. ``lost``: the replicas that went wrong on the way, and what is said of each; their
    records end before, their final state is NaN, and ``step`` and ``time`` are the last at which they were sound."""

    records: dict[str, np.ndarray]
    x: np.ndarray
    v: np.ndarray
    step: int
    time: float
    box: np.ndarray
    counts: object = field(repr=False, default=None)
    statements: tuple[Outcome, ...] = ()
    lost: Mapping[int, Diagnostic] = field(default_factory=dict)


class Memory:
    """Keeps records in memory, in the units of the program."""

    def __init__(self, model):
        self.model = model
        self.rows: dict[int, dict[str, np.ndarray]] = {}

    def statement(self, index, advance, steps, done, dt) -> None:
        pass

    def frame(self, output, snapshot) -> None:
        pass

    def ended(self, advance, outcome) -> None:
        if outcome.converged is False:
            warnings.warn(not_converged(advance, outcome), stacklevel=6)

    def progress(self, done, runner) -> None:
        pass

    def record(self, step, t, values) -> None:
        row = self.rows.setdefault(
            step,
            {"step": np.asarray(step), "time": np.asarray(t * factor(self.model, self.model.units.dimension(TIME)))},
        )
        for name, value in values.items():
            row[name] = np.asarray(value) * factor(self.model, observable_type(self.model, name).dimension)

    def arrays(self) -> dict[str, np.ndarray]:
        names = dict.fromkeys(name for row in self.rows.values() for name in row)
        shapes = {name: next(row[name].shape for row in self.rows.values() if name in row) for name in names}
        return {
            name: np.array([row.get(name, np.full(shapes[name], np.nan)) for row in self.rows.values()])
            for name in names
        }


class BatchMemory:
    """Keeps the records of a batch in memory, in the units of the program."""

    def __init__(self, model, replicas: int):
        self.model = model
        self.rows: list[dict[int, dict[str, np.ndarray]]] = [{} for _ in range(replicas)]
        self.gone: list[int] = []

    def statement(self, index, advance, steps, done, dt) -> None:
        pass

    def frame(self, output, replicas, snapshot) -> None:
        pass

    def progress(self, done, runner) -> None:
        pass

    def ended(self, advance, outcome) -> None:
        _warn_of(advance, outcome, self.gone)

    def lost(self, replica, loss) -> None:
        self.gone.append(replica)

    def record(self, replicas, step, t, values) -> None:
        scale = factor(self.model, self.model.units.dimension(TIME))
        shown = {n: a * factor(self.model, observable_type(self.model, n).dimension) for n, a in values.items()}
        for place, k in enumerate(replicas):
            row = self.rows[k].setdefault(int(step[place]), {"step": step[place], "time": t[place] * scale})
            row |= {name: a[place] for name, a in shown.items()}

    def arrays(self) -> dict[str, np.ndarray]:
        rows = [list(own.values()) for own in self.rows]
        most = max(map(len, rows))
        first: dict[str, np.ndarray] = {}
        for row in (r for own in rows for r in own):
            for name, value in row.items():
                first.setdefault(name, np.asarray(value))
        found = {}
        for name, example in first.items():
            kind, none = (int, -1) if name == "step" else (float, np.nan)
            array = np.full((len(rows), most, *example.shape), none, kind)
            for k, own in enumerate(rows):
                for j, row in enumerate(own):
                    if name in row:
                        array[k, j] = row[name]
            found[name] = array
        return found


def _warn_of(advance, outcome, lost) -> None:
    """Tell of replicas that did not converge, but for those that were ``lost``."""
    failed = np.setdiff1d(np.flatnonzero(~np.asarray(outcome.converged)), lost) if outcome.converged is not None else []
    if not len(failed):
        return
    single = Outcome(int(np.max(outcome.steps)), False)
    warnings.warn(f"{len(failed)} of {len(outcome.converged)} replicas: {not_converged(advance, single)}", stacklevel=8)
