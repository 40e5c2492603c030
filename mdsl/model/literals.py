"""Values of expressions that are made of numbers alone."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable

from .nodes import Expr, Number, Op, Read

_VALUES: dict[str, Callable[..., float]] = {
    "add": operator.add,
    "sub": operator.sub,
    "mul": operator.mul,
    "div": operator.truediv,
    "pow": operator.pow,
    "neg": operator.neg,
    "sqrt": math.sqrt,
    "abs": abs,
    "norm": abs,
    "min": min,
    "max": max,
}


ROUNDING = 1e-12  # what a few operations make of a number, relative to it


def whole_value(value: float) -> int | None:
    """The whole number that a value is within rounding, as `10 [ps]/(4 [fs])` is 2500; None where it is none."""
    if not math.isfinite(value):
        return None
    nearest = round(value)
    return nearest if abs(value - nearest) <= ROUNDING * max(1.0, abs(value)) else None


def constant_value(expr: Expr, dim: int | None = None) -> float | None:
    """The number that an expression of numbers stands for; None where it depends on anything else. ``dim`` is what the
    number of dimensions stands for."""
    match expr:
        case Number(value=value):
            return value
        case Read(symbol="pi", indices=()):
            return math.pi
        case Read(symbol="dim", indices=()) if dim is not None:
            return float(dim)
        case Op(op=op, args=args) if op in _VALUES:
            values = [v for a in args if (v := constant_value(a, dim)) is not None]
            if len(values) < len(args):
                return None
            try:
                result = _VALUES[op](*values)
            except (ArithmeticError, ValueError):
                return None
            return float(result) if isinstance(result, int | float) and math.isfinite(result) else None
    return None


_COMPARISONS = {
    "lt": operator.lt,
    "le": operator.le,
    "gt": operator.gt,
    "ge": operator.ge,
    "eq": operator.eq,
    "ne": operator.ne,
}


def constant_truth(expr: Expr) -> bool | None:
    """Whether a condition on numbers holds; None where it depends on anything else."""
    match expr:
        case Op(op="not", args=(inner,)):
            truth = constant_truth(inner)
            return None if truth is None else not truth
        case Op(op="and" | "or" as op, args=args):
            truths = [constant_truth(a) for a in args]
            decided = op == "or"
            return decided if decided in truths else None if None in truths else not decided
        case Op(op=op, args=args) if op in _COMPARISONS:
            values = [v for a in args if (v := constant_value(a)) is not None]
            return bool(_COMPARISONS[op](*values)) if len(values) == len(args) else None
    return None
