"""The names that the compiler gives, beside those of the program: what a `Read` in the Field may stand for.

Names are keys: of what kernels read and give, which JAX puts in order, and of arrays in a checkpoint. So each is a
string, spelled as no program can spell one, and so it is shown. What it stands for is its class: nobody looks at the
spelling.
"""

from __future__ import annotations

from typing import Self


class Symbol(str):
    """What is there once in its place, such as ``Symbol("square")``; of a subclass what is there for each of its
    ``parts``."""

    mark = "$"
    parts: tuple[object, ...]

    def __new__(cls, *parts: object) -> Self:
        symbol = super().__new__(cls, cls.mark + " ".join(map(str, parts)))
        symbol.parts = parts
        return symbol

    def __reduce__(self) -> tuple[type[Self], tuple[object, ...]]:  # for copies
        return type(self), self.parts


class SumOf(Symbol):
    """The sum of this number: one value for all, or, of a sum around an atom, one for each."""

    mark = "#"


class AdjointOf(Symbol):
    """The derivative of the potential by what has this name."""

    mark = "~"


class EntryOf(Symbol):
    """An entry of a per-atom value over a range: its name, and the number."""

    mark = ""


class HoistedPart(Symbol):
    """A part of summands that is computed once, by the numbers of its group and within that."""

    mark = "@"


class SlopeOf(Symbol):
    """The derivative of a kernel's term by a parameter: the numbers of the term, and of the parameter in it."""

    mark = "slope "


class PartialOf(Symbol):
    """The derivative of a kernel's term by a per-atom value: the numbers of the term, and of the value in it."""

    mark = "partial "


class EndsOf(Symbol):
    """What has this name, for the atoms at the ends of the legs of triples."""

    mark = "ends "


class AtRest(Symbol):
    """The reduced energy of this name, of the same positions without velocities."""

    mark = "at rest "


class PerKinetic(Symbol):
    """The factor before the kinetic energy in the reduced energy of this name."""

    mark = "per kinetic energy "
