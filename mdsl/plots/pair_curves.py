"""The pair functions of a program as curves: energy and force, minimum, cutoff, second virial coefficient."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations_with_replacement

import numpy as np

from mdsl.interpret.atoms import System
from mdsl.interpret.constants import factor
from mdsl.interpret.meaning import evaluate
from mdsl.interpret.species_pairs import pair_constant
from mdsl.lowering.field.field import Field, Term
from mdsl.model.dimensions import ENERGY, LENGTH
from mdsl.model.domains import Pairs
from mdsl.model.nodes import Model, Op, Read, walk
from mdsl.passes.finite import known

POINTS = 4000
WITHOUT_END = 12.0  # lengths of the minimum, or of the program's unit, to which a function without a cutoff is followed
SHALLOW = 1e-6  # of the size of the function beyond a third of its reach: what tables leave below 0 is no minimum


@dataclass(frozen=True, eq=False)
class PairCurve:
    """u(r) and −u′(r) of a pair of species, in the units of the program; ``cutoff`` is None where there is none, and so
    is ``minimum``, (r, u), where the energy is nowhere below 0."""

    energy: str
    pair: str
    r: np.ndarray  # [n]
    u: np.ndarray
    force: np.ndarray
    cutoff: float | None
    minimum: tuple[float, float] | None
    dim: int

    @property
    def label(self) -> str:
        return f"{self.energy}, {self.pair}" if self.pair else self.energy

    def virial_coefficients(self, kT: np.ndarray) -> np.ndarray:
        """B₂, a volume (an area in two dimensions), at temperatures in units of energy: half the integral of
        1 - exp(-u/kT) over all displacements (J. E. Mayer and M. G. Mayer, Statistical Mechanics, 1940, chapter 13).
        Below the first distance the function counts as it does there."""
        shell = (4 * np.pi if self.dim == 3 else 2 * np.pi) * self.r ** (self.dim - 1)
        with np.errstate(over="ignore"):
            missing = -np.expm1(-self.u / np.asarray(kT)[:, None])
        inner = (4 * np.pi / 3 if self.dim == 3 else np.pi) * self.r[0] ** self.dim * missing[:, 0]
        return (inner + np.trapezoid(missing * shell, self.r, axis=1)) / 2


def pair_curves(field: Field) -> tuple[list[PairCurve], list[str]]:
    """All pair functions that depend on nothing but distance and species, and what is left out, in words."""
    found, left = [], []
    for term in field.terms:
        if not isinstance(term.domain, Pairs) or term.number is None:
            continue
        if why := _more_than_distance(field, term):
            left.append(f"the pairs of {term.equation} (line {field.model.equation(term.equation).span.line}) {why}")
        else:
            found += _curves(field, term)
    return found, left


def _more_than_distance(field: Field, term: Term) -> str:
    """Why a pair function cannot be drawn; nothing where it can."""
    names = {n.symbol for n in walk(term.summand) if isinstance(n, Read)}
    params = {p.name for p in field.model.params if known(field.model, p)}
    if more := sorted(names - params - {"x"}):
        return f"read {', '.join(more)}"
    if term.axis is not None:
        return "are a sum over a range"
    if (
        any(g.direct is not None for g in term.gradients)
        or len(term.gradients) != 1
        or term.gradients[0].radial is None
    ):
        return "depend on directions"
    return ""


def _curves(field: Field, term: Term) -> Iterator[PairCurve]:
    model = field.model
    length, energy = factor(model, LENGTH), factor(model, ENERGY)
    kinds = range(max(1, len(model.species)))
    several = len(kinds) > 1 and any(isinstance(n, Read) and n.indices and n.symbol != "x" for n in walk(term.summand))
    ends = None if term.support.cutoff is None else pair_constant(model, term.support.cutoff, term.binders)
    for a, b in combinations_with_replacement(kinds, 2) if several else [(0, 0)]:
        cutoff = None if ends is None else float(np.broadcast_to(ends, (len(kinds), len(kinds)))[a, b])
        reach = cutoff if cutoff else _reach(model, term, a, b)
        r = np.linspace(0, 1.05 * reach, POINTS + 1)[1:]
        u = _values(model, term, term.summand, r, a, b)
        force = -2 * r * _values(model, term, term.gradients[0].radial, r, a, b)
        lowest = int(np.nanargmin(u))
        deep = u[lowest] < -SHALLOW * np.nanmedian(np.abs(u[POINTS // 3 :]))
        yield PairCurve(
            term.equation,
            f"{model.species[a]}-{model.species[b]}" if several else "",
            r * length,
            u * energy,
            force * energy / length,
            None if cutoff is None else cutoff * length,
            (float(r[lowest] * length), float(u[lowest] * energy)) if deep and lowest < len(r) - 1 else None,
            model.dim,
        )


def _reach(model: Model, term: Term, a: int, b: int) -> float:
    """How far a function without an end is drawn."""
    r = np.geomspace(1e-2, 1e2, POINTS) / factor(model, LENGTH)
    u = _values(model, term, term.summand, r, a, b)
    lowest = int(np.nanargmin(u))
    inside = 0 < lowest < len(r) - 1 and u[lowest] < 0
    return WITHOUT_END * (r[lowest] if inside else 1 / factor(model, LENGTH))


def _values(model: Model, term: Term, expr: Op, r: np.ndarray, a: int, b: int) -> np.ndarray:
    """What an expression of a pair is worth at all distances, by the interpreter."""
    x = np.zeros((2 * len(r), model.dim))
    x[1::2, 0] = r
    system = System(
        x,
        lengths=np.full(model.dim, 10 * r.max()),
        periodic=np.zeros(model.dim),
        species=np.tile([a, b], len(r)),
    )
    first = np.arange(0, 2 * len(r), 2)
    return np.broadcast_to(evaluate(model, expr, system, **dict(zip(term.binders, (first, first + 1)))), r.shape)
