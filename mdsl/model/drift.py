"""How the time goes on within a step: with the atoms.

That ``v`` is the velocity is what ``x += h*v`` says where h is a time: the atoms move as they do in the time h. A
scheme that is made of such drifts, of kicks and of what a thermostat does is a splitting of the equations of motion,
and stays one of second order where these depend on the time when ``t`` is one more coordinate that drifts with the
positions. So ``t`` goes on by h where the atoms drift, half before them and half after: a box that follows the time is
then that of the middle.
"""

from __future__ import annotations

from .dynamics import Draw, Update
from .nodes import EACH, Expr, Number, Op, Read, Type, reads_each

SCALAR = Type("scalar")


def drift(statement: Update | Draw | object) -> Expr | None:
    """The time h of a statement ``x += h*v``, however it is written; None of other statements."""
    if not isinstance(statement, Update) or (statement.target, statement.op) != ("x", "+="):
        return None
    return _times(statement.value)


def _times(expr: Expr) -> Expr | None:
    """What a multiple of the velocity multiplies it with."""
    match expr:
        case Read(symbol="v", indices=(index,)) if index == EACH:
            return Number(1.0, type=SCALAR, span=expr.span)
        case Op(op="neg", args=(a,)):
            found = _times(a)
            return None if found is None else _scalar(expr, "neg", found)
        case Op(op="mul", args=(a, b)):
            for factor, rest in ((a, b), (b, a)):
                found = _times(rest)
                if found is not None and not reads_each(factor):
                    return (
                        factor
                        if isinstance(found, Number) and found.value == 1
                        else _scalar(expr, "mul", factor, found)
                    )
        case Op(op="div", args=(a, b)):
            found = _times(a)
            return None if found is None or reads_each(b) else _scalar(expr, "div", found, b)
    return None


def _scalar(like: Expr, op: str, *args: Expr) -> Expr:
    return Op(op, args, type=SCALAR, span=like.span, via=like.via)
