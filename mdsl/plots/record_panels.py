"""The records of a run as panels of a figure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

SERIES = re.compile(r"(.+)\[(-?\d+)\]((?:_\w+)?)( \[.*\])?")  # one entry of a series: name, number, component, unit
FEWEST = 5  # entries of a series that are one curve; fewer have panels of their own
MOST_LINES = 8  # in one panel


@dataclass(frozen=True, eq=False)
class Line:
    """A curve, of replicas their mean with the standard deviation between them; ``means`` over time: from, until, mean,
    error, and whether that is doubtful."""

    label: str
    x: np.ndarray
    mean: np.ndarray
    spread: np.ndarray | None = None
    means: tuple[tuple[float, float, float, float, bool], ...] = ()


@dataclass(frozen=True, eq=False)
class Panel:
    """``axis``: what the x-axis is, where it is not time; ``bounds``: times at which a statement ended."""

    title: str
    lines: tuple[Line, ...]
    axis: str = ""
    bounds: tuple[float, ...] = ()


@dataclass(frozen=True, eq=False)
class Table:
    """``records.csv``: the titles of its columns, and all its numbers, NaN where a field is empty."""

    titles: tuple[str, ...]
    numbers: np.ndarray  # [rows, columns]
    statistics: Sequence[Mapping] = field(default_factory=tuple)  # of `run.json`

    @property
    def key_count(self) -> int:
        """How many columns come before the step: replica and swept values."""
        return self.titles.index("step")

    @property
    def time(self) -> str:
        """The title of the column of times."""
        return self.titles[self.key_count + 1]

    @property
    def recorded(self) -> tuple[str, ...]:
        return self.titles[self.key_count + 2 :]

    def column(self, title: str) -> np.ndarray:
        return self.numbers[:, self.titles.index(title)]


def panels(table: Table, wanted: Sequence[str] = ()) -> Iterator[Panel]:
    """One for each number recorded, or for those whose names begin as ``wanted`` ones; of a series its profile."""
    done = set()
    for title in table.recorded:
        found = SERIES.fullmatch(title)
        name = found[1] + found[3] if found else title.partition(" [")[0]
        own = re.split(r"\[|_", name)[0]
        if name in done or (wanted and name not in wanted and own not in wanted):
            continue
        entries = [t for t in table.recorded if (f := SERIES.fullmatch(t)) and f[1] + f[3] == name] if found else []
        if len(entries) >= FEWEST:
            done.add(name)
            yield _profile(table, name + (found[4] or ""), entries)
        else:
            yield Panel(title, tuple(_over_time(table, title)), bounds=_bounds(table))


def _groups(table: Table) -> Iterator[tuple[str, np.ndarray]]:
    """The rows [rows] of replicas that have the same swept values, and what these are in words."""
    keys = table.numbers[:, 1 : table.key_count]
    if keys.shape[1] == 0:
        yield "", np.ones(len(table.numbers), bool)
        return
    _, first = np.unique(keys, axis=0, return_index=True)
    values = keys[np.sort(first)]
    names = [t.partition(" [")[0] for t in table.titles[1 : table.key_count]]
    chosen = np.unique(np.linspace(0, len(values) - 1, MOST_LINES).astype(int))
    for value in values[chosen]:
        yield ", ".join(f"{n} = {v:g}" for n, v in zip(names, value)), (keys == value).all(axis=1)


def _over_time(table: Table, title: str) -> Iterator[Line]:
    for number, (label, rows) in enumerate(_groups(table)):
        there = rows & ~np.isnan(table.column(title))
        times, values, steps = table.column(table.time)[there], table.column(title)[there], table.column("step")[there]
        order, first, which, count = np.unique(steps, return_index=True, return_inverse=True, return_counts=True)
        x, mean, spread = times[first], values[first], None
        if len(order) < len(steps):
            mean = np.bincount(which, values) / count
            spread = np.sqrt(np.bincount(which, (values - mean[which]) ** 2) / count)
        yield Line(label, x, mean, spread, tuple(_means(table, title, number, x, order)))


def _means(table: Table, title: str, group: int, x: np.ndarray, steps: np.ndarray) -> Iterator[tuple[float, ...]]:
    """The means that the run knows of a column of scalars, statement by statement."""
    name = title.partition(" [")[0]
    indices = sorted({entry["index"] for entry in table.statistics})
    for index in indices:
        entries = [e for e in table.statistics if e["index"] == index]
        found = entries[group]["columns"].get(name) if group < len(entries) else None
        if found is None or found["error"] is None or not len(x):
            continue
        later = [
            e["columns"][name]["first_record"] for e in table.statistics if e["index"] > index and name in e["columns"]
        ]
        until = min(later, default=np.inf)
        inside = (steps >= found["first_step"]) & (steps < until)
        if inside.any():
            yield float(x[inside][0]), float(x[inside][-1]), found["mean"], found["error"], found["doubtful"]


def _bounds(table: Table) -> tuple[float, ...]:
    """When one statement ended and the next began."""
    starts = [min(c["first_record"] for c in e["columns"].values()) for e in table.statistics]
    steps, times = table.column("step"), table.column(table.time)
    return tuple(float(times[steps >= s][0]) for s in sorted(set(starts))[1:] if (steps >= s).any())


def _profile(table: Table, title: str, entries: Sequence[str]) -> Panel:
    """The mean of each entry of a series over the second half of its records."""
    numbers = [int(SERIES.fullmatch(e)[2]) for e in entries]
    which = [table.titles.index(e) for e in entries]
    lines = []
    for label, rows in _groups(table):
        own = table.numbers[np.ix_(rows, which)]
        own = own[~np.isnan(own).all(axis=1)]
        late = own[len(own) // 2 :]
        lines.append(Line(label, np.array(numbers), late.mean(axis=0)))
    return Panel(title, tuple(lines), axis="entry, mean of the second half of the records")
