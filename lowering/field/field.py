"""The Field: what is computed where.

    Term     one sum of an energy: its domain, its summand, the gradient of the summand, its support
    PerAtom  one value for each atom: a sum over its neighbours, or a quantity made of such sums
    Measure  one sum of an observable: its domain and its summand
    Field    the terms, per-atom values and measures of a program, and how energies, observables and the statements
             of dynamics are put together from them

All summands are typed, first-order expressions of the Model over `Read`s and displacements. `Read(SumOf(k))` in a
combination stands for the value of sum number k, `Read("rho", (i,))` or `Read(SumOf(k), (i,))` in a summand for a
per-atom value, and `Read(AdjointOf("rho"), (i,))` for its *adjoint*: the derivative of the potential by it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from mdsl.model.dependencies import closure
from mdsl.model.domains import Centred, Domain, Each, Members, Others, Pairs, Triples, Whole
from mdsl.model.nodes import Advance, Axis, Expr, Model, Read, names_in, walk

from .names import AdjointOf, SumOf, Symbol

CUTOFF = Symbol("cutoff")


@dataclass(frozen=True)
class Support:
    """Where a pair function can differ from zero: at distances below ``cutoff``, an expression of parameters
    and of the pair's species; None where no bound was proved. ``jump`` and ``kink`` are the function and its
    derivative as expressions of the same kind and of the distance `CUTOFF`, just below which they hold. ``each``: of a
    sum over a range the end at each number of it, where they differ; ``cutoff`` is the largest.
    """

    cutoff: Expr | None
    jump: Expr | None = None
    kink: Expr | None = None
    why: str = ""
    each: Expr | None = None


@dataclass(frozen=True)
class Gradient:
    """The derivative of a summand by a displacement: ``2 radial d + direct``.

    ``radial`` is the derivative by d·d, ``direct`` a vector by its components, or None; the displacement runs from
    the second atom of the pair to the first, or from the origin to the atom. A sum over a topology or over triples
    has a gradient for each displacement between two atoms of a tuple, all of it in ``direct``; where it is a sum of
    displacements, ``along`` has them with their factors.
    """

    displacement: Expr
    radial: Expr | None
    direct: tuple[Expr, ...] | None
    along: tuple[tuple[Expr, Expr], ...] | None = None

    @property
    def none(self) -> bool:
        """Whether the summand does not depend on the displacement at all."""
        return self.radial is None and self.direct is None


@dataclass(frozen=True)
class Term:
    """One sum of an energy. ``number`` is its place among all sums of the Field; None where the term carries the
    derivative through a per-atom value: its summand then holds the adjoint, and its value is of no interest.

    ``slopes`` are derivatives by parameters, ``partials`` by per-atom values, ``data`` by data of single atoms, each as
    the summand reads it; all, and the gradients, hold the weight of the sum in the potential.
    """

    number: int | None
    equation: str
    domain: Domain
    summand: Expr
    gradients: tuple[Gradient, ...]
    support: Support
    slopes: tuple[tuple[Read, Expr], ...] = ()
    written: Expr | None = None  # the summand with conditions as they were written, for `explain`
    partials: tuple[tuple[Read, Expr], ...] = ()
    data: tuple[tuple[Read, Expr], ...] = ()
    axis: Axis | None = (
        None  # it is added up over the numbers of a range too, which the summand reads as `series.ENTRY`
    )
    networks: tuple[Read, ...] = ()  # the weights that it reads
    inner: tuple[tuple[Read, Expr], ...] = ()  # its derivatives, weighted, by the sums that the summand reads
    weighted: Expr | None = None  # the summand times its weight, where it reads weights: by these JAX differentiates it

    @property
    def name(self) -> SumOf | None:
        return None if self.number is None else SumOf(self.number)

    @property
    def binders(self) -> tuple[str, ...]:
        return self.domain.binders


@dataclass(frozen=True)
class PerAtom:
    """One value for each atom. ``name`` is that of a quantity, or `SumOf` one that has no name of its own.

    ``domain``: others or around; None where ``summand`` is an expression of other values of the same atom
    ``centre``. ``adjoint`` is the term that carries derivatives through it, None where no energy needs it.
    ``near``: pairs within the cutoff of the energies are enough for it. ``depth``: how many sums over
    neighbours lie on the way to it. ``axis``: it has an entry for each number of a range (see `ranges`).
    """

    name: str
    equation: str
    centre: str
    domain: Centred | None
    summand: Expr
    support: Support
    depth: int
    adjoint: Term | None = None
    near: bool = False
    axis: Axis | None = None

    @property
    def binders(self) -> tuple[str, ...]:
        """The atoms that the summand reads, the centre first."""
        return (self.centre,) if self.domain is None else self.domain.atoms

    @property
    def reaches(self) -> bool:
        """Whether a neighbour list has its pairs, or the legs of its triples."""
        return self.domain is not None and self.domain.reaches

    @property
    def pairs(self) -> bool:
        """Whether it is a sum over pairs with each neighbour."""
        return isinstance(self.domain, Others)


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
    support: Support = Support(None)
    op: str = "sum"
    axis: Axis | None = None
    bin: Expr | None = None

    @property
    def name(self) -> SumOf:
        return SumOf(self.number)

    @property
    def binders(self) -> tuple[str, ...]:
        return self.domain.binders


@dataclass(frozen=True)
class Combination:
    """An energy or observable as an expression of sums, parameters and global quantities."""

    name: str
    kind: str
    expr: Expr


@dataclass(frozen=True)
class Field:
    """``values`` are in an order in which each needs only those before it."""

    model: Model
    terms: tuple[Term, ...]
    values: tuple[PerAtom, ...]
    measures: tuple[Measure, ...]
    combinations: tuple[Combination, ...]
    inner: tuple[str, ...] = ()  # the sums that summands read, each after those that it reads itself
    dynamics: tuple[Advance, ...] = ()  # the statements of dynamics, with sums and energies read as in combinations

    @cached_property
    def on_the_spot(self) -> Mapping[str, Measure]:
        """Sums over atoms that read nothing of other atoms: at any moment they are only added up."""
        names = {v.name for v in self.values} | {*self.inner}
        return {
            m.name: m
            for m in self.measures
            if isinstance(m.domain, Each) and m.axis is None and not names & names_in(m.summand)
        }

    @property
    def whole(self) -> bool:
        """Whether an energy is a function of Python of all atoms."""
        return any(isinstance(t.domain, Whole) for t in self.terms)

    @cached_property
    def far(self) -> frozenset[str]:
        """The other sums: they are known only after an evaluation of the energies at the present positions."""
        sums: tuple[Term | Measure, ...] = (*self.terms, *self.measures)
        return frozenset(s.name for s in sums if s.name is not None) - self.on_the_spot.keys()

    @cached_property
    def pulled(self) -> frozenset[str]:
        """The sums over atoms that read forces."""
        return frozenset(name for name, m in self.on_the_spot.items() if "f" in names_in(m.summand))

    @property
    def due(self) -> frozenset[str]:
        """The names of all that is known only after an evaluation of the energies."""
        return self.far | self.pulled | {"f", "virial"}

    @cached_property
    def beside(self) -> tuple[Measure, ...]:
        """The sums that the value of an energy reads, and by which the potential has no derivative: those of a
        condition, or that are multiplied by 0, or that cancel."""
        read = names_in(tuple(c for c in self.combinations if c.kind == "energy"))
        return tuple(m for m in self.measures if m.name in read)

    @cached_property
    def linear(self) -> bool:
        """Whether the potential is linear in its sums; else the sums must be known before anything is
        differentiated."""
        parts = [
            e
            for t in self.terms
            for e in (
                t.weighted,
                *(s for _, s in (*t.slopes, *t.partials, *t.inner)),
                *(e for g in t.gradients for e in (g.radial, *(g.direct or ()))),
            )
        ]
        return not any(
            isinstance(n, Read) and isinstance(n.symbol, SumOf | AdjointOf) and not n.indices
            for e in parts
            if e is not None
            for n in walk(e)
        )

    def combination(self, name: str) -> Combination | None:
        return next((c for c in self.combinations if c.name == name), None)

    def value(self, name: str) -> PerAtom | None:
        return next((v for v in self.values if v.name == name), None)

    @property
    def carriers(self) -> tuple[Term, ...]:
        """The terms that carry derivatives through per-atom values."""
        return tuple(v.adjoint for v in self.values if v.adjoint is not None)

    def over(self, domain: type[Domain]) -> tuple[Term, ...]:
        """The terms over one kind of domain, those that carry derivatives among them."""
        return tuple(t for t in (*self.terms, *self.carriers) if isinstance(t.domain, domain))

    @property
    def pair_terms(self) -> tuple[Term, ...]:
        return self.over(Pairs)

    @property
    def triple_terms(self) -> tuple[Term, ...]:
        return self.over(Triples)

    @property
    def tuple_terms(self) -> tuple[Term, ...]:
        return self.over(Members)

    @property
    def reaching(self) -> tuple[Term, ...]:
        """The terms whose supports a neighbour list has to cover."""
        return tuple(t for t in (*self.terms, *self.carriers) if t.domain.reaches)

    def sum(self, name: str) -> Measure:
        """What is added up in a sum."""
        for t in self.terms:
            if t.number is not None and t.name == name:
                return Measure(t.number, t.equation, t.domain, t.summand, True, t.support)
        return next(m for m in self.measures if m.name == name)

    def within(self, exprs) -> tuple[str, ...]:
        """The sums that these summands read, also through per-atom values and other such sums, in order."""
        if not self.inner:
            return ()

        def behind(summands: tuple[Expr, ...]) -> set[str]:
            return names_in((*summands, *(v.summand for v in self.needed(summands)))) & {*self.inner}

        found = closure(behind(tuple(exprs)), lambda name: behind((self.sum(name).summand,)))
        return tuple(name for name in self.inner if name in found)

    def needed(self, exprs) -> tuple[PerAtom, ...]:
        """The per-atom values that some expressions read, with all that these need, in order."""
        summands = {v.name: v.summand for v in self.values}
        read = names_in(tuple(exprs)) & summands.keys()
        names = closure(read, lambda name: names_in(summands[name]) & summands.keys())
        return tuple(v for v in self.values if v.name in names)
