"""Singular points in the branch of a choice that is not taken.

A choice computes both branches. What the other one gives does not matter, but in reverse mode the derivative of
(1 - r/D)^1.5 beyond D, or of exp(1/(r - rc)) just beyond rc, is no number, and 0 times that is none either. So in a
branch the arguments of such operations are replaced by a harmless number where the branch is not taken.
"""

from __future__ import annotations

from mdsl.model.nodes import Expr, Number, Op, Read, children

# Of which of its arguments an operation may have no derivative, and a number of which it has.
SINGULAR = {"div": (1, 1.0), "log": (0, 1.0), "sqrt": (0, 1.0), "asin": (0, 0.0), "acos": (0, 0.0), "pow": (0, 1.0)}


def singular(expr: Expr) -> tuple[int, float] | None:
    """Which argument of an expression has to be kept from singular points, and by which number; None: none."""
    if not isinstance(expr, Op) or expr.op not in SINGULAR:
        return None
    place, _ = found = SINGULAR[expr.op]
    if expr.op == "pow" and isinstance(expr.args[1], Number) and (p := expr.args[1].value) == int(p) and p >= 0:
        return None
    return None if expr.op not in ("asin", "acos") and positive(expr.args[place]) else found


def positive(expr: Expr) -> bool:
    """Whether an expression is a product of distances and of parameters, none of which is 0 in one branch alone."""
    match expr:
        case Number() | Read(indices=()):
            return True
        case Read(symbol=symbol):
            return symbol.startswith("@")
        case Op(op="dot", args=(a, b)):
            return a == b
        case Op(op="mul" | "div" | "pow" | "sqrt", args=args):
            return all(positive(a) for a in args)
    return False


def at_risk(expr: Expr, memo: dict[int, tuple[Expr, bool]]) -> bool:
    """Whether an expression holds anything that has to be guarded."""
    known = memo.get(id(expr))
    if known is None:
        known = memo[id(expr)] = (expr, singular(expr) is not None or any(at_risk(c, memo) for c in children(expr)))
    return known[1]
