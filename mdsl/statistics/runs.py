"""What the records of a run are worth, statement by statement, and whether two runs agree."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mdsl.files.records import Column, Records

from .estimates import Estimate, estimate


@dataclass(frozen=True, eq=False)
class Worth:
    """Of a column, as one statement recorded it: the ``estimate``, the time ``between`` two records in the unit of the
    run, and the ``steps`` of the records."""

    column: Column
    estimate: Estimate
    between: float
    steps: np.ndarray

    @property
    def correlation_time(self) -> np.ndarray:
        """In the unit of time of the run."""
        return self.estimate.correlation_time * self.between

    @property
    def first_step(self) -> np.ndarray:
        """The step from which on the records count."""
        return self.steps[self.estimate.first]


def worth(records: Records, rows: slice, names: Sequence[str], replicas: Sequence[int]) -> dict[str, Worth]:
    """Of some of the recorded columns, by name; ``rows``: those of the statement; ``replicas``: those that are taken
    together. Columns that were not recorded are left out."""
    ours = np.flatnonzero(np.isin(records.replicas[rows], replicas)) + (rows.start or 0)
    found = {}
    for name in names:
        values = records[name]
        missing = np.isnan(values[ours])
        there = ours[~missing.all(axis=tuple(range(1, missing.ndim)))]
        own = [there[records.replicas[there] == k] for k in replicas]
        most = max(map(len, own), default=0)
        if not most:
            continue
        series = np.full((len(own), most, *records.columns[name].shape), np.nan)
        for k, which in enumerate(own):
            series[k, : len(which)] = values[which]
        longest = max(own, key=len)
        between = float(np.median(np.diff(records.times[longest]))) if most > 1 else math.nan
        found[name] = Worth(records.columns[name], estimate(series, replicas=True), between, records.steps[longest])
    return found


def described(found: Mapping[str, Worth]) -> dict[str, dict[str, object]]:
    """As `run.json` has it: numbers, or lists of one for each entry; null where there is none."""
    return {name: {n: _plain(value) for n, value in _described(w).items()} for name, w in found.items()}


def _described(w: Worth) -> dict[str, object]:
    e = w.estimate
    return {
        "unit": w.column.unit,
        "mean": e.mean,
        "error": e.error,
        "doubtful": e.doubtful,
        "correlation_time": w.correlation_time,
        "independent": e.independent,
        "degrees": e.degrees,
        "first_step": w.first_step,
        "records": e.count,
        "first_record": w.steps[0],
    }


def _plain(value: np.ndarray) -> object:
    listed = np.asarray(value).tolist()
    if isinstance(listed, list):
        return [_plain(v) for v in listed]
    return None if isinstance(listed, float) and not math.isfinite(listed) else listed


# -- two runs --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Difference:
    """Of one number of two runs, ``which`` in words: both means, the standard ``error`` of their difference, and the
    probability ``chance`` that two runs of the same mean differ by as much or more; NaN where an error is unknown."""

    which: str
    means: tuple[float, float]
    error: float
    chance: float


def differences(one: Mapping[str, Mapping], other: Mapping[str, Mapping]) -> Iterator[Difference]:
    """Of all numbers that both have, by `described`: by B. L. Welch's test (Biometrika 34, 28 (1947))."""
    for name in (n for n in one if n in other):
        a, b = ({n: np.array(run[name][n], float) for n in ("mean", "error", "degrees")} for run in (one, other))
        if a["mean"].shape != b["mean"].shape:
            continue
        for at in np.ndindex(a["mean"].shape):
            which = name + "".join(f"[{k}]" for k in at)
            yield _difference(which, *({n: float(v[at]) for n, v in run.items()} for run in (a, b)))


def _difference(which: str, a: Mapping[str, float], b: Mapping[str, float]) -> Difference:
    from scipy.special import stdtr

    squares = [run["error"] ** 2 for run in (a, b)]
    error, apart, means = math.sqrt(sum(squares)), abs(a["mean"] - b["mean"]), (a["mean"], b["mean"])
    if not error > 0:  # constants, or too few records
        return Difference(which, means, error, math.nan if math.isnan(error) else float(apart == 0))
    degrees = error**4 / sum(s**2 / run["degrees"] for s, run in zip(squares, (a, b)))
    return Difference(which, means, error, float(2 * stdtr(degrees, -apart / error)))
