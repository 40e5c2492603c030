"""What sums run over: a class for each kind of domain, with what others ask of it.

Each     sum(i)                 all atoms
Pairs    sum(i < j)             every pair of atoms once
Others   sum(j != i)            all others, around an i that is bound outside
Triples  sum(i; j < k)          around every atom every pair of others
Around   sum(i; j < k)          every pair of others, around an i that is bound outside
Members  sum((i, j) in bonds)   the tuples of a topology
Over     sum(k in 1..n)         whole numbers, until `inline`
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, Self

from .expr import Expr


@dataclass(frozen=True)
class Domain:
    """``binders`` are the indices that the sum binds."""

    binders: tuple[str, ...]

    reaches: ClassVar[bool] = False  # whether a neighbour list has its pairs, or the legs of its triples
    tuples: ClassVar[bool] = False  # whether there are several displacements between its atoms
    symmetric: ClassVar[bool] = False  # whether the last two binders play the same part
    counted: ClassVar[bool] = True  # whether a histogram over it visits it once

    @property
    def atoms(self) -> tuple[str, ...]:
        """The atoms of a summand, the centre first."""
        return self.binders

    @property
    def excluded(self) -> tuple[str, ...]:
        """Topologies whose pairs are left out."""
        return ()

    def renamed(self, names: Mapping[str, str]) -> Self:
        """The same domain of other indices."""
        return replace(self, binders=tuple(names.get(b, b) for b in self.binders))

    def __str__(self) -> str:
        """As a program writes it."""
        return self.binders[0]


@dataclass(frozen=True)
class Centred(Domain):
    """Around the atom ``centre``, which is bound outside; a sum over any other domain is one for all."""

    centre: str

    @property
    def atoms(self) -> tuple[str, ...]:
        return (self.centre, *self.binders)

    @property
    def everywhere(self) -> Domain:
        """What it is made of around all atoms."""
        raise NotImplementedError

    def renamed(self, names: Mapping[str, str]) -> Self:
        return replace(super().renamed(names), centre=names.get(self.centre, self.centre))


@dataclass(frozen=True)
class Each(Domain):
    pass


@dataclass(frozen=True)
class Pairs(Domain):
    excluded: tuple[str, ...] = ()

    reaches = symmetric = True

    @property
    def around(self) -> Others:
        """What is left of it for each of its first atoms; every pair is then seen from both."""
        first, second = self.binders
        return Others((second,), first, self.excluded)

    def __str__(self) -> str:
        return " < ".join(self.binders) + _left_out(self.excluded)


@dataclass(frozen=True)
class Others(Centred):
    excluded: tuple[str, ...] = ()

    reaches = True

    @property
    def everywhere(self) -> Pairs:
        return Pairs(self.atoms, self.excluded)

    def __str__(self) -> str:
        return f"{self.binders[0]} != {self.centre}" + _left_out(self.excluded)


@dataclass(frozen=True)
class Triples(Domain):
    reaches = tuples = symmetric = True
    counted = False

    @property
    def around(self) -> Around:
        """What is left of it for each atom in the middle."""
        return Around(self.binders[1:], self.binders[0])

    def __str__(self) -> str:
        return "{}; {} < {}".format(*self.binders)


@dataclass(frozen=True)
class Around(Centred):
    reaches = tuples = symmetric = True
    counted = False

    @property
    def everywhere(self) -> Triples:
        return Triples(self.atoms)

    def __str__(self) -> str:
        return str(self.everywhere)


@dataclass(frozen=True)
class Members(Domain):
    topology: str

    tuples = True

    def __str__(self) -> str:
        return f"({', '.join(self.binders)}) in {self.topology}"


@dataclass(frozen=True)
class Over(Domain):
    bounds: tuple[Expr, ...]  # the first number and the last


def _left_out(topologies: tuple[str, ...]) -> str:
    return "".join(f", not in {t}" for t in topologies)
