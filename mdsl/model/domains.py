"""What sums run over: a class for each kind of domain, with what others ask of it.

Each     sum(i)                 all atoms
Pairs    sum(i < j)             every pair of atoms once
Others   sum(j != i)            all others, around an i that is bound outside
Triples  sum(i; j < k)          around every atom every pair of others
Around   sum(i; j < k)          every pair of others, around an i that is bound outside
Members  sum((i, j) in bonds)   the tuples of a topology
Partners sum(j in bonds[i])     the other ends of the pairs of a topology, around an i that is bound outside
Over     sum(k in 1..n)         whole numbers, until `inline`

The parser knows a domain by its form, in which names are blank (`grammar.tree.Domain`). A class says its own, with a
name in each blank: a field of the class, else the next of the binders.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Self

from .expr import Expr

BLANK = re.compile(r"{(\w+)}")


@dataclass(frozen=True)
class Domain:
    """``binders`` are the indices that the sum binds."""

    binders: tuple[str, ...]

    form: ClassVar[str]  # as a program writes it
    visits: ClassVar[str]  # what a sum over it visits, in words
    words: ClassVar[str]  # the same, and what the sum is
    like: ClassVar[str]  # how it carries the derivatives through values of atoms
    reaches: ClassVar[bool] = False  # whether a neighbour list has its pairs, or the legs of its triples
    tuples: ClassVar[bool] = False  # whether there are several displacements between its atoms
    symmetric: ClassVar[bool] = False  # whether the last two binders play the same part
    counted: ClassVar[bool] = True  # whether a histogram over it visits it once

    @classmethod
    def of(cls, parts: Sequence) -> Self:
        """The domain with these parts in the blanks of its form."""
        given = dict(zip(BLANK.findall(cls.form), parts))
        known = {name: given.pop(name) for name in cls.__dataclass_fields__ if name in given}
        return cls(**{"binders": tuple(given.values()), **known})

    @property
    def parts(self) -> tuple:
        """What stands in the blanks of its form."""
        binders = iter(self.binders)
        return tuple(
            getattr(self, name) if name in self.__dataclass_fields__ else next(binders)
            for name in BLANK.findall(self.form)
        )

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
        parts = (", ".join(map(str, p)) if isinstance(p, tuple) else p for p in self.parts)
        return blank(self.form).format(*parts) + "".join(f", not in {t}" for t in self.excluded)


@dataclass(frozen=True)
class Centred(Domain):
    """Around the atom ``centre``, which is bound outside; a sum over any other domain is one for all."""

    centre: str

    mirrored: ClassVar[bool] = False  # whether what it is made of is seen from both of its atoms

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
class Listed(Domain):
    """Along the tuples of a topology."""

    topology: str

    tuples = True


@dataclass(frozen=True)
class Each(Domain):
    form = "{i}"
    visits = "all atoms"
    words = "every atom by itself, so this is an external field: a map over atoms"
    like = "atom by atom"


@dataclass(frozen=True)
class Pairs(Domain):
    excluded: tuple[str, ...] = ()

    form = "{i} < {j}"
    visits = "pairs"
    words = "every pair of atoms once, so this is a pair energy: a pair map"
    like = "like a pair energy"
    reaches = symmetric = True

    @property
    def around(self) -> Others:
        """What is left of it for each of its first atoms; every pair is then seen from both."""
        first, second = self.binders
        return Others((second,), first, self.excluded)


@dataclass(frozen=True)
class Others(Centred):
    excluded: tuple[str, ...] = ()

    form = "{j} != {centre}"
    words = "all other atoms around each: one value for each atom"
    reaches = mirrored = True

    @property
    def everywhere(self) -> Pairs:
        return Pairs(self.atoms, self.excluded)


@dataclass(frozen=True)
class Triples(Domain):
    form = "{i}; {j} < {k}"
    visits = "triples"
    words = "around every atom every pair of others, so this is a three-body energy"
    like = "like a three-body energy"
    reaches = tuples = symmetric = True
    counted = False

    @property
    def around(self) -> Around:
        """What is left of it for each atom in the middle."""
        return Around(self.binders[1:], self.binders[0])


@dataclass(frozen=True)
class Around(Centred):
    form = "{centre}; {j} < {k}"
    words = "around each atom every pair of others: one value for each atom"
    reaches = tuples = symmetric = True
    counted = False

    @property
    def everywhere(self) -> Triples:
        return Triples(self.atoms)


@dataclass(frozen=True)
class Members(Listed):
    form = "({binders}) in {topology}"
    like = "along the topology, tuple by tuple"

    @property
    def visits(self) -> str:  # type: ignore[override]
        return f"the members of `{self.topology}`"

    @property
    def words(self) -> str:  # type: ignore[override]
        noun = {2: "a bond", 3: "an angle", 4: "a dihedral"}.get(len(self.binders), "a tuple")
        return f"{noun} map over the topology `{self.topology}`, a list that does not change"


@dataclass(frozen=True)
class Partners(Centred, Listed):
    form = "{j} in {topology}[{centre}]"
    words = "the partners of each atom along a topology: one value for each atom"
    mirrored = True

    @property
    def everywhere(self) -> Members:
        return Members(self.atoms, self.topology)


@dataclass(frozen=True)
class Over(Domain):
    bounds: tuple[Expr, ...]  # the first number and the last

    form = "{k} in {bounds}"


@dataclass(frozen=True)
class Whole(Domain):
    """All atoms at once, as an extern energy takes them; no program writes it as a sum. ``near``: it is told of the
    pairs within a radius."""

    near: bool = False

    visits = "the whole"
    words = "all atoms at once, by a function of Python"
    counted = False

    @property
    def reaches(self) -> bool:  # type: ignore[override]
        return self.near

    def __str__(self) -> str:
        return "the whole"


KINDS: tuple[type[Domain], ...] = (Each, Pairs, Others, Triples, Around, Members, Partners, Over)


def blank(form: str) -> str:
    """A form without the names of its blanks."""
    return BLANK.sub("{}", form)


def written(form: str) -> list[type[Domain]]:
    """The kinds of domain that have this form, without names."""
    return [kind for kind in KINDS if blank(kind.form) == form]
