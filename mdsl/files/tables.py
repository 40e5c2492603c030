"""Reading tabulated functions: embedded-atom files (setfl, funcfl, Finnis-Sinclair) and columns of text.

ASE reads these files too, but not to the numbers that others get from them: it takes another Hartree times Bohr radius
for the charges of funcfl files, and interpolates phi itself from the second knot on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

import numpy as np

from mdsl.model.curves import LEAST

from .errors import rejected
from .reading import text_of

HARTREE, BOHR = 27.2, 0.529  # eV and angstrom, as the authors of funcfl files and all who read them have rounded them
UNEVEN = 1e-3  # of a step: how far the knots of a column may be from evenly spaced, for their digits are few


@dataclass(frozen=True, eq=False)
class Grid:
    """Functions with knots ``first + k*step``: values [..., K], an axis for each axis of elements. The rest as in
    `Curves`."""

    step: float
    values: np.ndarray
    end: float | None = None
    divided: bool = False
    first: float = 0.0


@dataclass(frozen=True, eq=False)
class TableFile:
    """What a file holds, in its own units: angstrom and eV where it has ``elements``."""

    elements: tuple[str, ...]
    functions: tuple[Grid, ...]


def read_table(path: Path, kind: str) -> TableFile:
    """``kind`` is one of `READERS`. Raises ``missing-file``, ``unreadable-file``, ``malformed-file``."""
    text = text_of(path)
    if not text.strip():
        raise rejected("malformed-file", f"{path.name} is empty")
    return _READ[kind](text, path.name)


class _Words:
    """The words of a file, taken from its beginning."""

    def __init__(self, lines: list[str], name: str, kind: str):
        rows = [line.split() for line in lines]
        self.words = [word for row in rows for word in row]
        self.ends = list(accumulate(len(row) for row in rows))
        self.name, self.kind, self.place = name, kind, 0

    def fail(self, message: str) -> Exception:
        return rejected("malformed-file", f"{self.name} is no {self.kind} file: {message}")

    def take(self, count: int, what: str) -> list[str]:
        found = self.words[self.place : self.place + count]
        if len(found) < count:
            raise self.fail(f"it ends within {what}, {count - len(found)} values before its end")
        self.place += count
        return found

    def rest_of_line(self) -> list[str]:
        """What is left of the present line: some files leave out its last words."""
        end = next((end for end in self.ends if end > self.place), self.place)
        return self.take(end - self.place, "a line")

    def numbers(self, count: int, what: str) -> np.ndarray:
        words = self.take(count, what)
        try:
            values = np.array(words, float)
        except ValueError:
            try:
                values = np.array([w.replace("D", "E").replace("d", "e") for w in words], float)  # of Fortran
            except ValueError:
                strange = next(w for w in words if not _is_number(w))
                raise self.fail(f"`{strange}` within {what} is not a number") from None
        if not np.isfinite(values).all():
            raise self.fail(f"{what} holds a number that is not finite")
        return values

    def whole(self, what: str, least: int) -> int:
        (value,) = self.numbers(1, what)
        if value != int(value) or value < least:
            raise self.fail(f"{what} is {value:g}, not a whole number from {least}")
        return int(value)

    def positive(self, what: str) -> float:
        (value,) = self.numbers(1, what)
        if value <= 0:
            raise self.fail(f"{what} is {value:g}")
        return float(value)

    def announced(self, count: int) -> None:
        """Refuse a file that is too short for so many values, before room is made for them."""
        left = len(self.words) - self.place
        if left < count:
            raise self.fail(f"it announces {count} values, and {left} words follow")

    def finish(self) -> None:
        if self.place < len(self.words):
            raise self.fail(
                f"{len(self.words) - self.place} values follow its last function, beginning with "
                f"`{self.words[self.place]}`"
            )


def _is_number(word: str) -> bool:
    try:
        float(word.replace("D", "E").replace("d", "e"))
    except ValueError:
        return False
    return True


def _end(cutoff: float, step: float, knots: int) -> float:
    """Functions of the distance end at the cutoff that the file gives, or at the last knot."""
    return min(cutoff, step * (knots - 1))


def _grids(words: _Words) -> tuple[int, float, int, float, float]:
    """The line that says the knots of rho and of r, and the cutoff."""
    return (
        words.whole("the number of values of F", LEAST), words.positive("the step of rho"),
        words.whole("the number of values over r", LEAST), words.positive("the step of r"),
        words.positive("the cutoff"),
    )  # fmt: skip


def _alloy(text: str, name: str, hosts: bool) -> TableFile:
    """setfl and Finnis-Sinclair files: for each element F and its density (``hosts``: at atoms of each element), then
    r phi for each pair of elements."""
    lines = text.split("\n")
    words = _Words(lines[3:], name, "Finnis-Sinclair" if hosts else "setfl")
    count = words.whole("the number of elements", 1)
    elements = tuple(words.take(count, "the names of the elements"))
    if len(set(elements)) < count:
        raise words.fail("it names an element twice")
    knots, drho, radial, dr, cutoff = _grids(words)
    words.announced(count * knots + (count**2 if hosts else count) * radial + count * (count + 1) // 2 * radial)
    embedding, density, pair = (
        np.empty((count, knots)),
        np.empty((count, count, radial)),
        np.empty((count, count, radial)),
    )
    for a, element in enumerate(elements):
        words.whole(f"the atomic number of {element}", 0)
        words.rest_of_line()
        embedding[a] = words.numbers(knots, f"F of {element}")
        for b in range(count if hosts else 1):
            density[b, a] = words.numbers(radial, f"the density of {element}")
    for a in range(count):
        for b in range(a + 1):
            pair[a, b] = pair[b, a] = words.numbers(radial, f"the pair energy of {elements[a]} and {elements[b]}")
    words.finish()
    end = _end(cutoff, dr, radial)
    made = Grid(dr, density if hosts else density[0], end)
    return TableFile(elements, (Grid(drho, embedding), made, Grid(dr, pair, end, divided=True)))


def _funcfl(text: str, name: str) -> TableFile:
    """One element: F, effective charges Z, density; phi = Z² e²/r."""
    words = _Words(text.split("\n")[1:], name, "funcfl")
    number = words.whole("the atomic number", 1)
    words.rest_of_line()
    knots, drho, radial, dr, cutoff = _grids(words)
    embedding = words.numbers(knots, "F")
    charges = words.numbers(radial, "the effective charge")
    density = words.numbers(radial, "the density")
    words.finish()
    end = _end(cutoff, dr, radial)
    pair = HARTREE * BOHR * charges**2
    return TableFile(
        (_element(number, words),),
        (Grid(drho, embedding[None]), Grid(dr, density[None], end), Grid(dr, pair[None, None], end, divided=True)),
    )


def _element(number: int, words: _Words) -> str:
    from ase.data import chemical_symbols

    if number >= len(chemical_symbols):
        raise words.fail(f"no element has the atomic number {number}")
    return chemical_symbols[number]


def _columns(text: str, name: str) -> TableFile:
    """Two columns; comments from # on."""
    rows = []
    for k, line in enumerate(text.split("\n"), 1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        try:
            x, y = map(float, words[:2])
        except ValueError:
            raise rejected(
                "malformed-file", f"{name}, line {k}: `{line.strip()[:60]}` does not begin with two numbers"
            ) from None
        if not np.isfinite([x, y]).all():
            raise rejected("malformed-file", f"{name}, line {k} holds a number that is not finite")
        rows.append((x, y, k))
    if len(rows) < LEAST:
        raise rejected("malformed-file", f"{name} holds {len(rows)} knots; a table needs at least {LEAST}")
    x, y, line = np.array(rows).T
    step = (x[-1] - x[0]) / (len(x) - 1)
    if not (np.diff(x) > 0).all():
        k = int(np.argmax(np.diff(x) <= 0)) + 1
        raise rejected("malformed-file", f"{name}, line {line[k]:.0f}: the first column does not ascend")
    away = np.abs(x - (x[0] + step * np.arange(len(x))))
    if away.max() > UNEVEN * step:
        k = int(np.argmax(away > UNEVEN * step))
        raise rejected(
            "malformed-file",
            f"{name}, line {line[k]:.0f}: the knots are not evenly spaced",
            help="resample the function at equal steps",
            notes=(f"steps of {step:g} from {x[0]:g} would give {x[0] + k * step:g} here, not {x[k]:g}",),
        )
    return TableFile((), (Grid(step, y[None], end=float(x[-1]), first=float(x[0])),))


_READ: dict[str, Callable[[str, str], TableFile]] = {
    "setfl": lambda text, name: _alloy(text, name, hosts=False),
    "finnis_sinclair": lambda text, name: _alloy(text, name, hosts=True),
    "funcfl": _funcfl,
    "tabulated": _columns,
}
