"""Singular points in the branch of a choice that is not taken.

A choice computes both branches. What the other one gives does not matter, but in reverse mode the derivative of
(1 - r/D)^1.5 beyond D, or of exp(1/(r - rc)) just beyond rc, is no number, and 0 times that is none either. So in a
branch the arguments of such operations are replaced by a harmless number where the branch is not taken.

Atoms may lie at one place, where a function of their distance is singular, but for the most part need not be guarded: a
branch with `r < rc` is taken there.
"""

from __future__ import annotations

from mdsl.model.nodes import Expr, Number, Op, Read, children, walk
from mdsl.model.operators import OPERATORS

from .names import HoistedPart, Symbol

SQUARE = Symbol("square")  # the squared distance of the pair at hand


def singular(expr: Expr, touching: bool) -> tuple[int, float] | None:
    """Which argument of an expression has to be kept from singular points, and by which number; None: none.
    ``touching``: the branch in which it stands is taken where atoms lie at one place."""
    if not isinstance(expr, Op) or (found := OPERATORS[expr.op].singular) is None:
        return None
    if expr.op == "pow" and isinstance(expr.args[1], Number) and (p := expr.args[1].value) == int(p) and p >= 0:
        return None
    return None if expr.op not in ("asin", "acos") and positive(expr.args[found[0]], touching) else found


def positive(expr: Expr, touching: bool) -> bool:
    """Whether an expression is a product of parameters, and of distances where the branch is taken in which these may
    be 0: none of them is 0 in the other branch alone."""
    match expr:
        case _ if squared_distance(expr):
            return touching
        case Number() | Read(indices=()):
            return True
        case Read(symbol=symbol):
            return isinstance(symbol, HoistedPart)
        case Op(op="mul" | "div" | "pow" | "sqrt", args=args):
            return all(positive(a, touching) for a in args)
    return False


def squared_distance(expr: Expr) -> bool:
    return expr == Read(SQUARE) or isinstance(expr, Op) and expr.op == "dot" and expr.args[0] == expr.args[1]


def at_risk(expr: Expr, touching: bool, memo: dict[tuple[int, bool], tuple[Expr, bool]]) -> bool:
    """Whether an expression holds anything that has to be guarded."""
    known = memo.get((id(expr), touching))
    if known is None:
        found = singular(expr, touching) is not None or any(at_risk(c, touching, memo) for c in children(expr))
        known = memo[id(expr), touching] = (expr, found)
    return known[1]


def holds_at_contact(condition: Expr, wanted: bool) -> bool:
    """Whether a condition holds, or ``wanted`` False does not, where atoms lie at one place: `r < rc` does. Not of ends
    that are others for each pair, for some of these may be 0."""
    match condition:
        case Op(op="lt" | "le", args=(a, b)):
            return _distance(a) and _one_for_all(b) if wanted else _distance(b) and _one_for_all(a)
        case Op(op="gt" | "ge", args=(a, b)):
            return _distance(b) and _one_for_all(a) if wanted else _distance(a) and _one_for_all(b)
        case Op(op="and" | "or", args=args):
            all_of_them = (condition.op == "and") == wanted
            return (all if all_of_them else any)(holds_at_contact(a, wanted) for a in args)
        case Op(op="not", args=(a,)):
            return holds_at_contact(a, not wanted)
    return False


def _distance(expr: Expr) -> bool:
    """Whether an expression is a distance, a multiple of one, or its square."""
    match expr:
        case Op(op="sqrt", args=(a,)):
            return _distance(a)
        case Op(op="mul", args=(a, b)):
            return _distance(a) and _one_for_all(b) or _one_for_all(a) and _distance(b)
        case Op(op="div", args=(a, b)):
            return _distance(a) and _one_for_all(b)
    return squared_distance(expr)


def _one_for_all(expr: Expr) -> bool:
    return not any(isinstance(n, Read) and (n.indices or n.symbol == SQUARE) for n in walk(expr))
