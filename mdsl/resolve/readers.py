"""What a `table` statement can read: kinds of files, and the functions that each holds.

This table is what `check` knows of them; `mdsl.files.tables` does the work.
"""

from __future__ import annotations

from dataclasses import dataclass

from mdsl.model.curves import CONTINUE, HOLD, STOP


@dataclass(frozen=True)
class Tabulated:
    """One of the functions in a file: over how many axes of species, and the dimensions of its argument and result by
    name; None where an option of the call gives them."""

    axes: int
    argument: str | None
    result: str | None


@dataclass(frozen=True)
class Reader:
    """``functions``: what the names of the statement stand for, in this order."""

    functions: tuple[Tabulated, ...]
    meaning: str
    example: str


_EMBEDDING = Tabulated(1, "a pure number", "energy")
_PAIR = Tabulated(2, "length", "energy")


def _density(axes: int) -> Tabulated:
    return Tabulated(axes, "length", "a pure number")


READERS: dict[str, Reader] = {
    "setfl": Reader(
        (_EMBEDDING, _density(1), _PAIR),
        "embedded atoms of one or several elements (`.eam.alloy`): embedding energy, electron density, pair energy",
        'table F[species], g[species], phi[species, species] = setfl("NiAl.eam.alloy")',
    ),
    "funcfl": Reader(
        (_EMBEDDING, _density(1), _PAIR),
        "embedded atoms of one element (`.eam`), the pair energy as effective charges",
        'table F[species], g[species], phi[species, species] = funcfl("Cu.eam")',
    ),
    "finnis_sinclair": Reader(
        (_EMBEDDING, _density(2), _PAIR),
        "as `setfl` (`.eam.fs`); `g[i, j]` is the density that an atom j makes at an atom i",
        'table F[species], g[species, species], phi[species, species] = finnis_sinclair("Fe.eam.fs")',
    ),
    "tabulated": Reader(
        (Tabulated(0, None, None),),
        "two columns of text, the argument and the function; `x` and `y` are the units of the columns, `beyond` or "
        "`period` "
        "say [what is outside of them](#the-ends-of-tables)",
        'table u = tabulated("u.txt", x = 1 [angstrom], y = 1 [eV])',
    ),
}
COLUMNS = ("x", "y")  # what 1 in a column of `tabulated` stands for
ENDS = ("beyond", "period")
BEYOND = ("0", HOLD, CONTINUE, STOP)  # what `beyond` may be
