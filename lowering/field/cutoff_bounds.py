"""How far a cutoff reaches at most that is another for each pair of atoms, such as `2.5*(d[i] + d[j])/2` of data `d`.

Interval arithmetic: each value of an atom is somewhere between the smallest and the largest of all atoms, each entry of
a species table between those of the table; what follows is a proved bound over all pairs without looking at any. It
works on numbers of NumPy and of JAX alike.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from mdsl.model.nodes import Expr, Model, Number, Op, Read, walk

# The least and the largest, numbers of NumPy or of JAX; of a condition whether it can be false, can be true.
Interval = tuple[Any, Any]

_RISING = {"exp": "exp", "tanh": "tanh", "atan": "arctan", "sinh": "sinh"}


def varies(expr: Expr, model: Model) -> bool:
    """Whether an expression reads data of single atoms."""
    return any(isinstance(n, Read) and (p := model.param(n.symbol)) is not None and p.per_atom for n in walk(expr))


def bounded(expr: Expr, model: Model) -> bool:
    """Whether the bound of an expression can be computed from parameters and data."""
    for node in walk(expr):
        if isinstance(node, Read) and model.param(node.symbol) is None and node.symbol != "pi":
            return False
        if not isinstance(node, Number | Read) and not (
            isinstance(node, Op) and (node.op in _RULES or node.op in _RISING)
        ):
            return False
    return True


def interval(expr: Expr, read: Callable[[Read], Interval], xp) -> Interval:
    """Where the value of an expression lies. ``read`` says it of what the expression reads; ``xp``: numpy or
    jax.numpy."""
    memo: dict[int, Interval] = {}

    def value(e: Expr) -> Interval:
        if id(e) not in memo:
            memo[id(e)] = _value(e)
        return memo[id(e)]

    def _value(e: Expr) -> Interval:
        match e:
            case Number(value=number):
                return number, number
            case Read():
                return read(e)
            case Op(op="pow", args=(base, Number(value=exponent))):
                return _power(xp, value(base), exponent)
            case Op(op=op, args=args) if op in _RISING:
                return tuple(getattr(xp, _RISING[op])(end) for end in value(args[0]))
            case Op(op=op, args=args):
                return _RULES[op](xp, *map(value, args))
        raise AssertionError(f"no bound of {type(e).__name__}")

    return value(expr)


def _hull(xp, ends) -> Interval:
    """Around numbers; what is not a number could be anything."""
    ends = xp.stack([xp.asarray(e, float) for e in ends])
    lost = xp.isnan(ends).any(axis=0)
    return xp.where(lost, -np.inf, xp.min(ends, axis=0)), xp.where(lost, np.inf, xp.max(ends, axis=0))


def _product(xp, a: Interval, b: Interval) -> Interval:
    return _hull(xp, [p * q for p in a for q in b])


def _quotient(xp, a: Interval, b: Interval) -> Interval:
    zero = (b[0] <= 0) & (b[1] >= 0)
    low, high = (xp.where(zero, 1.0, end) for end in b)
    return tuple(xp.where(zero, end, v) for v, end in zip(_product(xp, a, (1 / high, 1 / low)), (-np.inf, np.inf)))


def _power(xp, a: Interval, exponent: float) -> Interval:
    if exponent < 0:
        return _quotient(xp, (1.0, 1.0), _power(xp, a, -exponent))
    if exponent != int(exponent):  # of a positive number
        return _hull(xp, [xp.maximum(end, 0.0) ** exponent for end in a])
    low, high = _hull(xp, [end ** int(exponent) for end in a])
    return (xp.where((a[0] < 0) & (a[1] > 0), 0.0, low), high) if exponent % 2 == 0 else (low, high)


def _logarithm(xp, a: Interval) -> Interval:
    return tuple(xp.where(end > 0, xp.log(xp.where(end > 0, end, 1.0)), -np.inf) for end in a)


def _magnitude(xp, a: Interval) -> Interval:
    low, high = _hull(xp, [abs(end) for end in a])
    return xp.where((a[0] < 0) & (a[1] > 0), 0.0, low), high


def _choice(xp, condition: Interval, a: Interval, b: Interval) -> Interval:
    can_fail, can_hold = condition
    low = xp.minimum(xp.where(can_hold, a[0], np.inf), xp.where(can_fail, b[0], np.inf))
    return low, xp.maximum(xp.where(can_hold, a[1], -np.inf), xp.where(can_fail, b[1], -np.inf))


def _below(xp, a: Interval, b: Interval) -> Interval:
    """a < b, and near enough a <= b: what may be either is taken for both."""
    return xp.asarray(a[1] >= b[0]), xp.asarray(a[0] <= b[1])


_RULES: dict[str, Callable] = {
    "add": lambda xp, a, b: (a[0] + b[0], a[1] + b[1]),
    "sub": lambda xp, a, b: (a[0] - b[1], a[1] - b[0]),
    "neg": lambda xp, a: (-a[1], -a[0]),
    "mul": _product,
    "div": _quotient,
    "pow": lambda xp, a, b: _hull(xp, [xp.where(a[0] > 0, p, np.nan) ** q for p in a for q in b]),
    "sqrt": lambda xp, a: tuple(xp.sqrt(xp.maximum(end, 0.0)) for end in a),
    "log": _logarithm,
    "abs": _magnitude,
    "min": lambda xp, a, b: (xp.minimum(a[0], b[0]), xp.minimum(a[1], b[1])),
    "max": lambda xp, a, b: (xp.maximum(a[0], b[0]), xp.maximum(a[1], b[1])),
    "choose": _choice,
    "lt": _below,
    "le": _below,
    "gt": lambda xp, a, b: _below(xp, b, a),
    "ge": lambda xp, a, b: _below(xp, b, a),
    "and": lambda xp, a, b: (a[0] | b[0], a[1] & b[1]),
    "or": lambda xp, a, b: (a[0] & b[0], a[1] | b[1]),
    "not": lambda xp, a: (a[1], a[0]),
}
