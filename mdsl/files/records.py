"""What a run records: rows of numbers in memory and in ``records.csv``."""

from __future__ import annotations

import csv
import io
import itertools
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from .errors import rejected, writing


@dataclass(frozen=True)
class Column:
    """A recorded quantity: its name, its unit ("" for a pure number), and the shape of one value.

    ``entries`` are the first and the last index of a series, whose entries are along the first axis.
    """

    name: str
    unit: str = ""
    shape: tuple[int, ...] = ()
    entries: tuple[int, int] | None = None

    @property
    def components(self) -> tuple[str, ...]:
        """One name per number: ``stress_xx``, ``p_x``, of a series ``g[1]``, ``g[1]_x``; numbers from 1 on axes longer
        than three."""
        shape, names = self.shape, [self.name]
        if self.entries is not None:
            shape, names = shape[1:], [f"{self.name}[{k}]" for k in range(self.entries[0], self.entries[1] + 1)]
        letters = ["xyz"[:n] if n <= 3 else [str(k + 1) for k in range(n)] for n in shape]
        between = "" if all(n <= 3 for n in shape) else "_"
        return tuple(f"{name}_{between.join(c)}" if c else name for name in names for c in itertools.product(*letters))

    @property
    def titles(self) -> tuple[str, ...]:
        """The components with their unit, as a header shows them: ``T [K]``."""
        return tuple(f"{name} [{self.unit}]" if self.unit else name for name in self.components)

    @property
    def size(self) -> int:
        return int(np.prod(self.shape, dtype=int))


class Records:
    """Rows of (step, time, values), kept in memory and, where a path is given, written to a CSV file.

    The file has one header line, ``step,time [fs],T [K],stress_xx [bar]``, and one line per record that is on the
    disk when ``append`` returns. Numbers are written so that they read back exactly. A value that a row does not
    have (another part of the run records other columns) is an empty field, and NaN in the arrays.

    The records of a batch have further columns in front, ``keys``: the number of the replica first. ``series``: which
    of them tells what a row belongs to where rows are taken together; of replicas that exchange, the state.
    """

    def __init__(
        self,
        columns: Sequence[Column],
        path: str | Path | None = None,
        time_unit: str = "",
        keys: Sequence[Column] = (),
        series: int = 0,
    ):
        self.keys, self.series = tuple(keys), series
        self.columns = {c.name: c for c in columns}
        self.path = None if path is None else Path(path)
        self._time = Column("time", time_unit)
        self._rows: list[tuple[int, float, np.ndarray]] = []
        self._replicas: list[int] = []
        self._file: io.TextIOBase | None = None
        if self.path is not None:
            with writing(self.path):
                self._file = open(self.path, "w", newline="", encoding="utf-8")
                self._put(self.header)

    @classmethod
    def resume(
        cls,
        columns: Sequence[Column],
        path: str | Path,
        last_step: int | Sequence[int],
        time_unit: str = "",
        keys: Sequence[Column] = (),
        series: int = 0,
    ) -> Records:
        """The records of a killed run up to and with ``last_step`` (of each replica); later rows are dropped from the
        file.

        Raises ``malformed-checkpoint`` where the file has other columns than the program.
        """
        path = Path(path)
        records = cls(columns, None, time_unit, keys, series)
        first = sum(k.size for k in records.keys)
        header, rows = load_rows(path)
        if header != records.header:
            raise rejected(
                "malformed-checkpoint",
                f"{path} has other columns than the program",
                notes=(f"the file has {', '.join(header)}", f"the program records {', '.join(records.header)}"),
            )
        kept = [row for row in rows if int(row[first]) <= (last_step[int(row[0])] if first else last_step)]
        records._rows = [
            (int(row[first]), float(row[first + 1]), np.array([float(v) if v else np.nan for v in row[first + 2 :]]))
            for row in kept
        ]
        records._replicas = [int(float(row[series])) if first else 0 for row in kept]
        records.path = path
        with writing(path):
            fresh = path.with_name(path.name + ".new")
            with open(fresh, "w", newline="", encoding="utf-8") as file:
                csv.writer(file, lineterminator="\n").writerows([header, *kept])
            os.replace(fresh, path)
            records._file = open(path, "a", newline="", encoding="utf-8")
        return records

    @property
    def header(self) -> list[str]:
        return [
            *(title for k in self.keys for title in k.titles),
            "step",
            *self._time.titles,
            *(title for c in self.columns.values() for title in c.titles),
        ]

    def append(self, step: int, time: float, values: Mapping[str, object], keys: Sequence[float] = ()) -> None:
        """One record. ``values`` are arrays of the columns' shapes, by name; columns may be missing. ``keys``: the
        numbers in the columns in front."""
        if unknown := set(values) - set(self.columns):
            raise KeyError(f"no columns called {sorted(unknown)}")
        parts = [
            np.asarray(values[c.name], dtype=np.float64).reshape(c.size)
            if c.name in values
            else np.full(c.size, np.nan)
            for c in self.columns.values()
        ]
        row = np.concatenate(parts) if parts else np.empty(0)
        self._rows.append((int(step), float(time), row))
        self._replicas.append(int(keys[self.series]) if keys else 0)
        if self._file is not None:
            present = [c.name in values for c in self.columns.values() for _ in range(c.size)]
            with writing(self.path):
                self._put(
                    [
                        *(str(k) if isinstance(k, int) else repr(float(k)) for k in keys),
                        int(step),
                        repr(float(time)),
                        *(repr(float(v)) if p else "" for v, p in zip(row, present, strict=True)),
                    ]
                )

    def _put(self, row: Sequence[object]) -> None:
        csv.writer(self._file, lineterminator="\n").writerow(row)
        self._file.flush()

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def steps(self) -> np.ndarray:
        """[n] int64."""
        return np.array([step for step, _, _ in self._rows], dtype=np.int64)

    @property
    def replicas(self) -> np.ndarray:
        """[n] int64: the number of each row's replica, or state, 0 of a system alone."""
        return np.array(self._replicas, dtype=np.int64)

    @property
    def times(self) -> np.ndarray:
        """[n] float64."""
        return np.array([time for _, time, _ in self._rows], dtype=np.float64)

    def __getitem__(self, name: str) -> np.ndarray:
        """[n, *shape] the values of a column, NaN where a row has none."""
        column = self.columns[name]
        start = sum(c.size for c in itertools.takewhile(lambda c: c.name != name, self.columns.values()))
        rows = [row[start : start + column.size] for _, _, row in self._rows]
        return np.array(rows, dtype=np.float64).reshape(-1, *column.shape)

    def arrays(self) -> dict[str, np.ndarray]:
        """All columns by name."""
        return {name: self[name] for name in self.columns}

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def load_rows(path: Path) -> tuple[list[str], list[list[str]]]:
    """Header and rows of a records file as text; a last line that was cut off is left out.

    Raises ``malformed-checkpoint``.
    """
    try:
        text = path.read_text(encoding="utf-8")
        header, *rows = csv.reader(io.StringIO(text[: text.rfind("\n") + 1]))
        for row in rows:
            if len(row) != len(header):
                raise ValueError(f"a row of {len(row)} fields below a header of {len(header)}")
            int(row[0]), [float(v) for v in row[1:] if v]
    except (OSError, ValueError, csv.Error) as error:
        raise rejected("malformed-checkpoint", f"the records in {path} cannot be read: {error}") from error
    return header, rows
