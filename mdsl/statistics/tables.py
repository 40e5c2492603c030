"""What recorded numbers are worth, as tables of text."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from .runs import Difference, Worth, described

MOST_SHOWN = 9  # numbers of a column that have rows of their own
DOUBT = "?: the run is short for how slowly this changes; its error may well be larger"


@dataclass(frozen=True, eq=False)
class Worths:
    """Of one statement of dynamics, the ``index``th, and of the replicas with these swept ``values``, the worth of what
    was recorded."""

    index: int
    statement: str
    line: int
    values: Mapping[str, object]
    columns: Mapping[str, Worth]

    @property
    def described(self) -> dict[str, object]:
        """As `run.json` has it."""
        values = {"values": self.values} if self.values else {}
        where = {"index": self.index, "statement": self.statement, "line": self.line}
        return {**where, **values, "columns": described(self.columns)}


def table(worths: Worths, time_unit: str) -> str:
    """A row for each number, but none for those of long series: its mean and error, correlation time, how many
    independent numbers it was made from, and from which step on. Nothing where there are too few for an error."""
    rows, some, doubt = [], False, False
    for w in worths.columns.values():
        if w.column.size > MOST_SHOWN:
            continue
        e, names = w.estimate, iter(w.column.titles)
        for at in np.ndindex(e.mean.shape):
            known = not math.isnan(e.error[at])
            some, doubtful = some or known, known and bool(e.doubtful[at])
            doubt |= doubtful
            rows.append(
                (
                    next(names),
                    with_error(e.mean[at], e.error[at]) + "?" * doubtful,
                    _few(w.correlation_time[at]),
                    f"{e.independent[at]:.0f}" if e.independent[at] else "-",
                    str(w.first_step[at]),
                )
            )
    if not some:
        return ""
    values = "".join(f", {n} = {v}" for n, v in worths.values.items())
    title = ("", "mean ± standard error", f"τ [{time_unit}]" if time_unit else "τ", "independent", "from step")
    lines = [f"{worths.statement} (line {worths.line}){values}", *aligned([title, *rows])]
    return "\n".join(lines + [DOUBT] * doubt)


def comparison(found: Sequence[Difference], names: Sequence[str]) -> list[str]:
    """A row for each number of two runs of these names."""
    title = ("", *names, "apart by", "chance")
    rows = [
        (
            d.which,
            *(_few(m, 8) for m in d.means),
            f"{abs(d.means[0] - d.means[1]) / d.error:.1f} σ" if d.error > 0 else "-",
            "-" if math.isnan(d.chance) else f"{d.chance:.2g}",
        )
        for d in found
    ]
    return aligned([title, *rows])


def aligned(rows: Iterable[Sequence[str]]) -> list[str]:
    """Lines with the first column to the left and the others to the right."""
    rows = list(rows)
    widths = [max(map(len, column)) for column in zip(*rows)]
    return [
        "  ".join([row[0].ljust(widths[0]), *(w.rjust(n) for w, n in zip(row[1:], widths[1:]))]).rstrip()
        for row in rows
    ]


def with_error(mean: float, error: float) -> str:
    """A mean to the digits that its error leaves it: ``-4889.43 ± 0.32``, ``(1.20 ± 0.31)e-07``."""
    if not (math.isfinite(mean) and math.isfinite(error) and error > 0):
        return _few(mean, 8) + (" ± 0" if error == 0 else "")
    largest = math.floor(math.log10(max(abs(mean), error)))
    if not -4 <= largest < 8:
        scale = 10.0**largest
        return f"({with_error(mean / scale, error / scale)})e{largest:+03d}"
    digits = max(0, 1 - math.floor(math.log10(error)))
    if digits > 12:  # rounding, of what is constant
        return f"{mean:.12g} ± {error:.1e}"
    return f"{mean:.{digits}f} ± {error:.{digits}f}"


def _few(value: float, digits: int = 3) -> str:
    return f"{value:.{digits}g}" if math.isfinite(value) else "-"
