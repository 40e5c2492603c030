"""What a run shows on the terminal: a table of records that grows, a bar below it, and a summary at the end.

On a terminal the bar is redrawn in place by rich. Elsewhere (a file, a pipe, a batch system) plain lines are
written, without control characters, and the bar is a line of text every half minute.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Self, TextIO

import numpy as np

from mdsl.files.records import Column

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress

PLAIN_PROGRESS_SECONDS = 30.0
MOST_SHOWN = 9  # numbers of a series that have columns of their own
DIGITS = range(8, 4, -1)  # as many significant digits as fit the width, from eight down to five


@dataclass(frozen=True)
class Summary:
    """What is said when a run ends. ``parts`` are seconds by name; what they leave of ``wall`` is shown as other."""

    wall: float  # seconds
    steps: int
    atoms: int
    replicas: int = 1
    nanoseconds: float | None = None  # simulated, where the program's time has a unit
    parts: Mapping[str, float] | None = None
    folder: str | None = None
    stepping: float | None = None  # seconds without compiling and setting up, for the speeds; None: all of ``wall``

    @property
    def seconds(self) -> float:
        """The seconds by which speeds are measured."""
        return self.wall if self.stepping is None else self.stepping

    @property
    def atom_steps_per_second(self) -> float:
        return self.steps * self.atoms * self.replicas / self.seconds if self.seconds > 0 else 0.0


class Display:
    """Shows a run: ``phase``, then ``row`` and ``advance`` as it goes, then ``finish``. A context manager.

    ``quiet`` shows nothing. ``atoms`` counts for the speed, times ``replicas``.
    """

    def __init__(
        self, atoms: int, replicas: int = 1, *, quiet: bool = False, stream: TextIO | None = None, time_unit: str = ""
    ):
        self.atoms, self.replicas, self.quiet, self.time_unit = atoms, replicas, quiet, time_unit
        self.stream = stream or sys.stdout
        self.live = not quiet and self.stream.isatty()
        self._console: Console | None = None
        self._progress: Progress | None = None
        self._table: Table | None = None
        self._total, self._done, self._first, self._ns_per_step = 0, 0, 0, None
        self._started = self._said = time.perf_counter()
        if not quiet:
            from rich.console import Console

            self._console = Console(file=self.stream, highlight=False, soft_wrap=True)

    def phase(
        self, title: str, columns: Sequence[Column], total: int, *, done: int = 0, ns_per_step: float | None = None
    ) -> None:
        """Begins a part of the run: ``total`` steps, of which ``done`` are done (a resumed run).

        The header of the table is written again if the columns are others than before.
        """
        self._stop()
        self._total, self._done, self._first, self._ns_per_step = total, done, done, ns_per_step
        self._started = self._said = time.perf_counter()
        if self.quiet:
            return
        width = self._console.width if self.live else None
        long = [c for c in columns if c.entries is not None and c.size > MOST_SHOWN]
        columns = [c for c in columns if c not in long]
        table = Table([Column("step"), Column("time", self.time_unit), *columns], width)
        again = self._table is None or table.titles != self._table.titles
        self._table = table
        self.note(title + "".join(f", {c.components[0]} to {c.components[-1]} in records.csv" for c in long))
        if again and columns:
            self._print(table.header(), "bold")
        if self.live:
            from rich.progress import BarColumn, Progress, TextColumn

            self._progress = Progress(
                BarColumn(bar_width=30), TextColumn("{task.fields[text]}"), console=self._console, transient=True
            )
            self._task = self._progress.add_task("", total=max(total, 1), completed=done, text="compiling")
            self._progress.start()

    def row(self, step: int, time: float, values: Mapping[str, object]) -> None:
        """One record, with the columns of the phase."""
        if not self.quiet:
            self._print(self._table.row(step, time, values))

    def restart(self, done: int) -> None:
        """The clock of the speed starts here, with ``done`` steps done: what came before was compiling."""
        self._first = done
        self.advance(done)

    def advance(self, done: int) -> None:
        """``done`` steps of the phase are done. Called before the first is, it restarts the clock of the speed."""
        self._done = done
        if done == self._first:
            self._started = time.perf_counter()
        if self.quiet:
            return
        text = self.progress_text()
        if self._progress is not None:
            self._progress.update(self._task, completed=done, text=text)
        elif time.perf_counter() - self._said >= PLAIN_PROGRESS_SECONDS and done < self._total:
            self._said = time.perf_counter()
            self._print(f"# {text}")

    def progress_text(self) -> str:
        """The line beside the bar: steps, speeds, and how long it will still take."""
        seconds = time.perf_counter() - self._started
        made = self._done - self._first
        parts = [f"{self._done:,}/{self._total:,}"]
        if made > 0 and seconds > 0:
            rate = made / seconds
            parts += [f"{human(rate)} steps/s", f"{human(rate * self.atoms * self.replicas)} atom-steps/s"]
            if self._ns_per_step is not None:
                parts.append(f"{human(rate * self._ns_per_step * 86400)} ns/day")
            parts.append(f"{duration((self._total - self._done) / rate)} left")
        return "  ".join(parts)

    def note(self, text: str) -> None:
        """A line between the rows."""
        if text and not self.quiet:
            self._print(text, "dim")

    def finish(self, summary: Summary) -> None:
        """Ends the bar and writes the summary."""
        self._stop()
        if not self.quiet:
            self._print("\n" + summary_text(summary))

    def _print(self, text: str, style: str | None = None) -> None:
        try:
            if self.live:
                self._console.print(text, style=style, markup=False)
            else:
                print(text, file=self.stream, flush=True)
        except BrokenPipeError:  # the reader (`| head`) has gone; the run goes on, and its files are complete
            self.quiet = True

    def _stop(self) -> None:
        if self._progress is not None:
            self._progress.stop()
            self._progress = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()


class Table:
    """Columns of text, all numbers right-aligned below their titles; ``width`` characters if they fit, or None. The
    first ``narrow`` are steps and times."""

    def __init__(self, columns: Sequence[Column], width: int | None = None, narrow: int = 2):
        self.columns, self.narrow = tuple(columns), narrow
        self.titles = tuple(title for c in self.columns for title in c.titles)
        for self.digits in DIGITS:
            self.widths = [self._width(k, title) for k, title in enumerate(self.titles)]
            if width is None or sum(self.widths) + 2 * len(self.widths) <= width:
                break

    def _width(self, k: int, title: str) -> int:
        # Sign, point and exponent (e-05) take six places; steps and times are shorter than that.
        return max(len(title), 10 if k < self.narrow else self.digits + 6)

    def header(self) -> str:
        return self._line(self.titles)

    def row(self, step: int, time: float, values: Mapping[str, object]) -> str:
        return self._line([str(step), f"{time:.10g}", *self._numbers(values)])

    def values(self, values: Mapping[str, object]) -> str:
        """A row without step and time."""
        return self._line(self._numbers(values))

    def _numbers(self, values: Mapping[str, object]) -> list[str]:
        return [number(v, self.digits) for c in self.columns[self.narrow :] for v in _flat(values.get(c.name), c.size)]

    def _line(self, words: Sequence[str]) -> str:
        return "  ".join(word.rjust(width) for word, width in zip(words, self.widths, strict=True))


def _flat(value: object, size: int) -> list[float]:
    return [math.nan] * size if value is None else np.asarray(value, dtype=np.float64).reshape(size).tolist()


def number(value: float, digits: int) -> str:
    """A number to ``digits`` significant digits, with its zeros: 1.4400000; NaN, for no value, is a dash."""
    if not math.isfinite(value):
        return "-" if math.isnan(value) else str(value)
    if value == 0:
        return "0"
    exponent = math.floor(math.log10(abs(value)))
    if -4 <= exponent < digits:
        return f"{value:.{min(digits - 1 - exponent, digits + 2)}f}"
    return f"{value:.{digits - 1}e}"


def human(value: float) -> str:
    """Three digits and a letter: 4.83 M."""
    for letter, size in (("P", 1e15), ("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if value >= 0.9995 * size:
            return f"{value / size:#.3g}".rstrip(".") + f" {letter}"
    return f"{value:#.3g}".rstrip(".")


def duration(seconds: float) -> str:
    """Hours, minutes and seconds: 1:02:03; below a minute, seconds with a decimal: 2.5 s."""
    if not math.isfinite(seconds):
        return "?"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}"


def summary_text(summary: Summary) -> str:
    """The block at the end of a run: time, speed, and where the time went."""
    system = f"{summary.atoms:,} atoms" + (f", {summary.replicas:,} replicas" if summary.replicas > 1 else "")
    lines = [f"{summary.steps:,} steps of {system} in {duration(summary.wall)}"]
    if summary.steps and summary.seconds > 0:
        speed = (
            f"{human(summary.steps / summary.seconds)} steps/s   {human(summary.atom_steps_per_second)} atom-steps/s"
        )
        if summary.nanoseconds is not None:
            speed += f"   {human(summary.nanoseconds / summary.seconds * 86400)} ns/day"
        lines.append(speed)
    if summary.parts:
        other = summary.wall - sum(summary.parts.values())
        parts = {**summary.parts, **({"other": other} if other > 0 else {})}
        width = max(len(name) for name in parts)
        lines.append("")
        for name, seconds in parts.items():
            share = 100 * seconds / summary.wall if summary.wall > 0 else 0.0
            lines.append(f"  {name:<{width}}  {seconds:>10.3f} s  {share:>5.1f} %")
    if summary.folder:
        lines += ["", f"output in {summary.folder}"]
    return "\n".join(lines)
