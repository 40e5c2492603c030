"""What pairs do, for engines that are told one formula and one cutoff for each pair of types."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import sympy

from mdsl.interpret.species_pairs import pair_constant
from mdsl.lowering.field.cutoff_bounds import interval, varies
from mdsl.model.nodes import Read

from .subject import Law, Scale, Subject


@dataclass(frozen=True, eq=False)
class PairFormula:
    """The energy of a pair at distances below ``cutoff``, in the engine's units, as a function of ``r`` and of what is
    read of single atoms (``data``: the place of the atom, 0 or 1, and the name)."""

    expr: sympy.Expr
    cutoff: float
    data: Mapping[sympy.Symbol, tuple[int, str]]


def distance(law: Law) -> sympy.Symbol:
    """The only thing that the energy of a pair may be a function of."""
    symbols = [s for s, g in law.geometry.items() if g.kind == "distance"]
    return symbols[0] if symbols else sympy.Symbol("r01", positive=True)


def only_distances(subject: Subject, law: Law) -> None:
    """Raises Rejected: ``cannot-export``."""
    if any(g.kind != "distance" for g in law.geometry.values()):
        raise subject.refuse(
            f"{subject.engine} is told functions of the distance of a pair, and this one depends on its direction",
            law.term.summand,
        )


def end(subject: Subject, law: Law, species: Sequence[int]) -> float:
    """Where the function of a pair of species ends, in internal units; infinite where it does not."""
    cutoff = law.term.support.cutoff
    if cutoff is None:
        return np.inf
    if varies(cutoff, subject.model):

        def read(node: Read) -> tuple[float, float]:
            value = np.pi if node.symbol == "pi" else subject.values[node.symbol]
            return np.min(value), np.max(value)

        found = float(interval(cutoff, read, np)[1])
    else:
        found = float(pair_constant(subject.model, cutoff, law.binders, data=dict(subject.values))[tuple(species)])
    return found if np.isfinite(found) else np.inf


def farthest(subject: Subject, law: Law) -> float:
    """Where the function of a pair ends for all species."""
    count = range(max(1, len(subject.model.species)))
    return max(end(subject, law, (a, b)) for a in count for b in count)


def known(subject: Subject, law: Law, species: Sequence[int]) -> dict[sympy.Symbol, sympy.Expr]:
    """What is read of atoms of these species, as numbers; without what belongs to atoms themselves."""
    found: dict[sympy.Symbol, sympy.Expr] = {}
    place = {name: k for k, name in enumerate(law.binders)}
    for symbol, read in law.reads.items():
        if not subject.of_atoms(read):
            at = tuple(species[place[i]] for i in read.indices)
            found[symbol] = exact(float(subject.by_species(read)[at]))
    return found


def exact(value: float) -> sympy.Expr:
    return sympy.Integer(int(value)) if value == int(value) and abs(value) < 2**53 else sympy.Float(value, 17)


def inner(expr: sympy.Expr, r: sympy.Symbol, cutoff: float) -> sympy.Expr:
    """The function before its end, where it is one formula up to there and 0 from there on."""
    if isinstance(expr, sympy.Piecewise) and len(expr.args) == 2 and expr.args[1][0] == 0:
        value, condition = expr.args[0]
        if isinstance(condition, sympy.StrictLessThan | sympy.LessThan) and condition.lhs == r:
            bound = condition.rhs
            if bound.is_number and abs(float(bound) - cutoff) <= 1e-14 * cutoff:
                return value
    factor, rest = expr.as_independent(sympy.Piecewise, as_Add=False) if expr.is_Mul else (sympy.Integer(1), expr)
    if isinstance(rest, sympy.Piecewise) and factor != 1 and (found := inner(rest, r, cutoff)) is not rest:
        return factor * found
    return expr


def combined(
    subject: Subject, laws: Sequence[Law], scale: Scale, species: Sequence[int], r: sympy.Symbol
) -> PairFormula:
    """The sum of all pair energies of two species. Raises Rejected: ``cannot-export``."""
    parts: list[tuple[sympy.Expr, float]] = []
    data: dict[sympy.Symbol, tuple[int, str]] = {}
    for law in laws:
        only_distances(subject, law)
        changed: dict[sympy.Symbol, sympy.Expr] = dict(known(subject, law, species))
        for symbol, read in law.reads.items():
            if subject.of_atoms(read):
                place = law.binders.index(read.indices[0])
                own = sympy.Symbol(f"{read.symbol}·{place}", real=True)
                changed[symbol] = own
                data[own] = (place, read.symbol)
        changed[distance(law)] = r
        expr = scale.law(law).xreplace(changed)
        cutoff = end(subject, law, species)
        if cutoff <= 0 or expr == 0:
            continue
        if not np.isfinite(cutoff):
            raise subject.refuse(
                f"this function of pairs has no end: {subject.engine} is told one",
                law.term.summand,
                help="`truncated(u, rc)` and the like end it",
            )
        parts.append((expr, cutoff * scale.length))
    if not parts:
        return PairFormula(sympy.Integer(0), 0.0, {})
    farthest = max(cutoff for _, cutoff in parts)
    total = sympy.Add(*(inner(expr, r, farthest) for expr, _ in parts))
    return PairFormula(total, farthest, {s: p for s, p in data.items() if s in total.free_symbols})


def values_read(subject: Subject, law: Law) -> list[Read]:
    """The values of atoms that a law reads."""
    names = {v.name for v in subject.field.values}
    return [read for read in law.reads.values() if read.symbol in names]
