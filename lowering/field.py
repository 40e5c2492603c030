"""The Field: what is computed where.

    Term     one sum of an energy: its domain, its summand, the gradient of the summand, its support
    Measure  one sum of an observable: its domain and its summand
    Field    the terms and measures of a program, and how energies and observables are put together from them

All summands are typed, first-order expressions of the Model over `Read`s and displacements; `Read("#k")` in a
combination stands for the value of sum number k.
"""

from __future__ import annotations

from dataclasses import dataclass

from mdsl.model import Axis, Domain, Expr, Model


@dataclass(frozen=True)
class Support:
    """Where a pair function can differ from zero: at distances below ``cutoff``, an expression of parameters
    and of the pair's species; None where no bound was proved. ``jump`` and ``kink`` are the limits of the
    function and of its derivative at the cutoff from below, as expressions of the same kind.
    """

    cutoff: Expr | None
    jump: Expr | None = None
    kink: Expr | None = None
    why: str = ""


@dataclass(frozen=True)
class Gradient:
    """The derivative of a summand by a displacement: ``2 radial d + direct``.

    ``radial`` is the derivative by d·d, ``direct`` a vector by its components, or None; the displacement runs from
    the second atom of the pair to the first, or from the origin to the atom. A sum over a topology has a
    gradient for each displacement between two atoms of a tuple, all of it in ``direct``.
    """

    displacement: Expr
    radial: Expr | None
    direct: tuple[Expr, ...] | None


@dataclass(frozen=True)
class Term:
    """One sum of an energy. ``number`` is its place among all sums of the Field."""

    number: int
    equation: str
    domain: Domain
    summand: Expr
    gradients: tuple[Gradient, ...]
    support: Support
    slopes: tuple[tuple[Expr, Expr], ...] = ()  # (parameter as the summand reads it, weight × d summand/d parameter)
    written: Expr | None = None  # the summand with conditions as they were written, for `explain`


@dataclass(frozen=True)
class Measure:
    """One sum of an observable, or the largest or smallest of its values. ``near``: pairs within the cutoff of the
    energies are enough for it. ``axis``: it has an entry for each number of a range, which the summand reads as
    `series.ENTRY`; with ``bin`` the summand belongs to the entry of that number, and to no other."""

    number: int
    equation: str
    domain: Domain
    summand: Expr
    near: bool = False
    op: str = "sum"
    axis: Axis | None = None
    bin: Expr | None = None


@dataclass(frozen=True)
class Combination:
    """An energy or observable as an expression of sums ``Read("#k")``, parameters and global quantities."""

    name: str
    kind: str
    expr: Expr


@dataclass(frozen=True)
class Field:
    model: Model
    terms: tuple[Term, ...]
    measures: tuple[Measure, ...]
    combinations: tuple[Combination, ...]

    def combination(self, name: str) -> Combination | None:
        return next((c for c in self.combinations if c.name == name), None)

    @property
    def pair_terms(self) -> tuple[Term, ...]:
        return tuple(t for t in self.terms if t.domain.kind == "ordered")

    @property
    def tuple_terms(self) -> tuple[Term, ...]:
        return tuple(t for t in self.terms if t.domain.kind == "members")

    @property
    def atom_terms(self) -> tuple[Term, ...]:
        return tuple(t for t in self.terms if t.domain.kind == "each")
