"""Proving how far a pair function reaches, from the shape of its piecewise expression.

The proof is syntactic and complete for what people write: `if r < rc then ... else 0`, nested, in products,
sums, powers and functions that vanish at zero. What it cannot prove it does not assume.
"""

from __future__ import annotations

from dataclasses import dataclass

import sympy

from mdsl.model.operators import OPERATORS
from mdsl.symbolic.bridge import FUNCTIONS, floor
from mdsl.symbolic.tables import Lookup

# Functions that are 0 where their argument is.
ENDING = tuple(FUNCTIONS[name] for name, operator in OPERATORS.items() if operator.ends)


@dataclass(frozen=True)
class Reach:
    """The function is zero from ``cutoff`` on; ``inner`` is its expression just below."""

    cutoff: sympy.Expr
    inner: sympy.Expr


def reach(e: sympy.Expr, s: sympy.Symbol) -> Reach | None:
    """How far ``e`` reaches as a function of the squared distance ``s``; None where no bound is proved."""
    zero = sympy.Integer(0)
    if e == 0:
        return Reach(zero, zero)
    if isinstance(e, sympy.Piecewise):
        return _piecewise(e, s)
    if e.is_Mul:
        # A product ends where its shortest factor does; with several, the first proved one bounds it.
        for factor in e.args:
            found = reach(factor, s)
            if found is not None:
                return Reach(found.cutoff, e.xreplace({factor: found.inner}))
        return None
    if e.is_Add:
        parts = [p for term in e.args if (p := reach(term, s)) is not None]
        if len(parts) < len(e.args):
            return None
        if all(p.cutoff.is_number for p in parts):
            cutoff = sympy.Max(*(p.cutoff for p in parts))
            return Reach(cutoff, sympy.Add(*(p.inner for p in parts if float(p.cutoff) == float(cutoff))))
        cutoff = (
            sympy.Max(*(p.cutoff for p in parts), evaluate=False)
            if len({p.cutoff for p in parts}) > 1
            else parts[0].cutoff
        )
        return Reach(cutoff, sympy.Add(*(_at_end(p, cutoff) for p in parts)))
    if e.is_Pow and e.exp.is_positive:
        found = reach(e.base, s)
        return found and Reach(found.cutoff, sympy.Pow(found.inner, e.exp))
    if isinstance(e, Lookup) and s in e.at.free_symbols:
        # A table ends by itself.
        bound = upper_bound(sympy.StrictLessThan(e.at, e.end), s) if e.end != sympy.oo else None
        return None if bound is None else Reach(bound, e.before_end())
    if isinstance(e, ENDING):
        found = reach(e.args[0], s)
        return found and Reach(found.cutoff, e.func(found.inner))
    return None


def _at_end(part: Reach, cutoff: sympy.Expr) -> sympy.Expr:
    """A part of a sum just below the end of that: 0 where it has ended before."""
    if part.cutoff == cutoff:
        return part.inner
    return sympy.Piecewise((part.inner, sympy.Ge(part.cutoff, cutoff)), (0, True), evaluate=False)


def _piecewise(e: sympy.Piecewise, s: sympy.Symbol) -> Reach | None:
    """The first piece holds up to its bound, or, as in `if r >= rc then 0 else u(r)`, from there on; the rest
    elsewhere."""
    (value, condition), *others = e.args
    if not others:
        return reach(value, s)
    rest = others[0][0] if len(others) == 1 else sympy.Piecewise(*others, evaluate=False)
    after, own = reach(rest, s), reach(value, s)
    if own is not None and (start := upper_bound(_otherwise(condition), s)) is not None:
        before = _nearer(Reach(start, rest), after)
        return before if own.cutoff == 0 else _farther(own, before)
    if after is None:
        return None
    bound = upper_bound(condition, s)
    if bound is not None:
        return after if own is not None and own.cutoff == 0 else _farther(after, _nearer(Reach(bound, value), own))
    # The condition says nothing of the distance: both sides must end.
    return None if own is None else _farther(after, own)


def _otherwise(condition: sympy.Basic) -> sympy.Basic:
    """When a condition does not hold."""
    if isinstance(condition, sympy.And | sympy.Or):
        other = sympy.Or if isinstance(condition, sympy.And) else sympy.And
        return other(*map(_otherwise, condition.args))
    return sympy.Not(condition)


def _nearer(piece: Reach, own: Reach | None) -> Reach:
    """A piece ends with its condition, or before, where its value ends by itself."""
    if own is None:
        return piece
    ratio = own.cutoff / piece.cutoff
    return own if ratio.is_Number and piece.cutoff.is_positive and ratio < 1 else piece


def _farther(a: Reach, b: Reach) -> Reach:
    if a.cutoff == 0:
        return b
    if b.cutoff == 0 or a.cutoff == b.cutoff:
        return a if b.cutoff == 0 else b
    # Pieces of one function end one after the other; the later one counts. Of two multiples of one length that is the
    # larger; where the length is negative neither piece holds anywhere.
    ratio = a.cutoff / b.cutoff
    if ratio.is_Number and ratio > 0:
        return a if ratio > 1 else b
    return Reach(sympy.Max(a.cutoff, b.cutoff, evaluate=False), a.inner)


def upper_bound(condition: sympy.Basic, s: sympy.Symbol) -> sympy.Expr | None:
    """The distance below which the condition can hold: from ``r < rc``, ``r² < rc²``, ``r/σ < 2.5``, ``and``,
    ``or``."""
    if isinstance(condition, sympy.And | sympy.Or):
        bounds = [upper_bound(c, s) for c in condition.args]
        known = [b for b in bounds if b is not None]
        if isinstance(condition, sympy.And):
            return known[0] if known else None
        return sympy.Max(*known, evaluate=False) if len(known) == len(bounds) else None
    if isinstance(condition, sympy.StrictGreaterThan | sympy.GreaterThan):
        small, large = condition.rhs, condition.lhs
    elif isinstance(condition, sympy.StrictLessThan | sympy.LessThan):
        small, large = condition.lhs, condition.rhs
    elif isinstance(condition, sympy.Equality):
        small, large = (
            (condition.lhs, condition.rhs) if s in condition.lhs.free_symbols else (condition.rhs, condition.lhs)
        )
    else:
        return None
    if s in large.free_symbols or s not in small.free_symbols:
        return None
    if small.is_Add:  # a + b < c where a has nothing to do with the distance: b < c - a
        aside = [term for term in small.args if s not in term.free_symbols]
        small, large = sympy.Add(*(t for t in small.args if t not in aside)), sympy.Add(large, *(-t for t in aside))
    if isinstance(small, floor):  # floor(a) <= b: a < b + 1
        return upper_bound(sympy.Lt(small.args[0], large + 1, evaluate=False), s)
    for power in (sympy.Rational(1, 2), sympy.Integer(1)):
        factor = small / s**power
        if s in factor.free_symbols:
            continue
        if factor.is_negative:
            return None
        bound = large / factor
        bound = sympy.sqrt(bound) if power == 1 else bound
        # With a factor of unknown sign the condition bounds the distance from above only where it is positive.
        return bound if factor.is_positive else sympy.Piecewise((bound, factor > 0), (sympy.oo, True))
    return None
