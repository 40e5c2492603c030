"""Dual numbers: forward differentiation of NumPy arrays, exact and nestable.

``Dual(level, value, tangent)`` is ``value + tangent*e`` with ``e*e = 0``; each differentiation has an ``e`` of
its own, told apart by ``level``. A later level lies outside: the value and the tangent of a Dual are arrays or
Duals of lower levels, so derivatives of derivatives need nothing more.

The tangent's array either has the shape of the value, or one leading axis more: several directions at once.
Only one of the levels in use may have that axis. All functions here therefore count axes from the end.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

_levels = itertools.count(1)


@dataclass(frozen=True, eq=False)
class Dual:
    level: int
    value: Number
    tangent: Number

    __array_ufunc__ = None  # array + Dual asks Dual

    def __add__(self, other):
        return add(self, other)

    def __radd__(self, other):
        return add(other, self)

    def __sub__(self, other):
        return sub(self, other)

    def __rsub__(self, other):
        return sub(other, self)

    def __mul__(self, other):
        return mul(self, other)

    def __rmul__(self, other):
        return mul(other, self)

    def __truediv__(self, other):
        return div(self, other)

    def __rtruediv__(self, other):
        return div(other, self)

    def __neg__(self):
        return neg(self)


Number = np.ndarray | Dual


def derivative(function: Callable[[Number], Number], at: Number, direction: Number) -> Number:
    """How fast ``function`` changes when its argument leaves ``at`` in ``direction``."""
    level = next(_levels)
    return tangent(function(Dual(level, at, direction)), level)


def tangent(a: Number, level: int) -> Number:
    """The derivative that ``a`` carries at a level; 0 where it does not depend on it."""
    return a.tangent if _level(a) == level else np.zeros_like(primal(a), dtype=float)


def primal(a: Number) -> np.ndarray:
    """The number alone."""
    while isinstance(a, Dual):
        a = a.value
    return np.asarray(a)


def _level(a: Number) -> int:
    return a.level if isinstance(a, Dual) else 0


def _split(a: Number, level: int) -> tuple[Number, Number | None]:
    return (a.value, a.tangent) if _level(a) == level else (a, None)


def _sum(terms: list[Number]) -> Number:
    total = terms[0]
    for term in terms[1:]:
        total = total + term
    return total


# -- three ways in which a function can be differentiated ---------------------------------------------


def linear(function: Callable[[np.ndarray], np.ndarray], a: Number) -> Number:
    """A linear function of one number: the tangent goes the same way as the value."""
    if isinstance(a, Dual):
        return Dual(a.level, linear(function, a.value), linear(function, a.tangent))
    return function(np.asarray(a))


def bilinear(function: Callable) -> Callable:
    """A product of two numbers: d f(a, b) = f(da, b) + f(a, db)."""

    def apply(a: Number, b: Number) -> Number:
        level = max(_level(a), _level(b))
        if level == 0:
            return function(np.asarray(a), np.asarray(b))
        (a, da), (b, db) = _split(a, level), _split(b, level)
        terms = ([] if da is None else [apply(da, b)]) + ([] if db is None else [apply(a, db)])
        return Dual(level, apply(a, b), _sum(terms))

    return apply


def elementwise(function: Callable, *partials: Callable) -> Callable:
    """A function of numbers entry by entry, with its partial derivatives: d f(a, b) = f_a*da + f_b*db."""

    def apply(*args: Number) -> Number:
        level = max(map(_level, args))
        if level == 0:
            return function(*args)
        values, tangents = zip(*(_split(a, level) for a in args))
        terms = [partial(*values) * t for partial, t in zip(partials, tangents) if t is not None]
        return Dual(level, apply(*values), _sum(terms))

    return apply


# -- arithmetic ----------------------------------------------------------------------------------------


def add(a: Number, b: Number) -> Number:
    level = max(_level(a), _level(b))
    if level == 0:
        return np.add(a, b)
    (a, da), (b, db) = _split(a, level), _split(b, level)
    return Dual(level, add(a, b), _sum([t for t in (da, db) if t is not None]))


def neg(a: Number) -> Number:
    return linear(np.negative, a)


def sub(a: Number, b: Number) -> Number:
    return add(a, neg(b))


mul = bilinear(np.multiply)
div = elementwise(np.divide, lambda a, b: 1.0 / b, lambda a, b: -a / (b * b))


def _is(condition: np.ndarray) -> np.ndarray:
    """1 where it holds, else 0."""
    return np.where(condition, 1.0, 0.0)


# The derivative of a^0 is 0 and that of 0^b by b is 0, also where the formulas say 0*infinity.
power = elementwise(
    np.power,
    lambda a, b: b * power(a, b - _is(primal(b) != 0)),
    lambda a, b: power(a, b) * log(a + _is(primal(a) == 0)),
)

# -- elementary functions ------------------------------------------------------------------------------

exp = elementwise(np.exp, lambda a: exp(a))
log = elementwise(np.log, lambda a: 1.0 / a)
log1p = elementwise(np.log1p, lambda a: 1.0 / (1.0 + a))
sqrt = elementwise(np.sqrt, lambda a: 0.5 / sqrt(a))
sin = elementwise(np.sin, lambda a: cos(a))
cos = elementwise(np.cos, lambda a: -sin(a))
tan = elementwise(np.tan, lambda a: 1.0 + tan(a) * tan(a))
asin = elementwise(np.arcsin, lambda a: 1.0 / sqrt(1.0 - a * a))
acos = elementwise(np.arccos, lambda a: -1.0 / sqrt(1.0 - a * a))
atan = elementwise(np.arctan, lambda a: 1.0 / (1.0 + a * a))
atan2 = elementwise(np.arctan2, lambda y, x: x / (x * x + y * y), lambda y, x: -y / (x * x + y * y))
floor = elementwise(np.floor, lambda a: np.zeros(np.shape(primal(a))))
nearest = elementwise(np.round, lambda a: np.zeros(np.shape(primal(a))))
sinh = elementwise(np.sinh, lambda a: cosh(a))
cosh = elementwise(np.cosh, lambda a: sinh(a))
tanh = elementwise(np.tanh, lambda a: 1.0 - tanh(a) * tanh(a))
erf = elementwise(np.vectorize(math.erf, otypes=[float]), lambda a: 2 / math.sqrt(math.pi) * exp(-(a * a)))
erfc = elementwise(np.vectorize(math.erfc, otypes=[float]), lambda a: -2 / math.sqrt(math.pi) * exp(-(a * a)))
magnitude = elementwise(np.abs, lambda a: np.sign(primal(a)))
smaller = elementwise(np.minimum, lambda a, b: _is(primal(a) <= primal(b)), lambda a, b: _is(primal(a) > primal(b)))
larger = elementwise(np.maximum, lambda a, b: _is(primal(a) >= primal(b)), lambda a, b: _is(primal(a) < primal(b)))
