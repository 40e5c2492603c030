"""What the operations of the Model do to values.

A value stands for one thing in each of M rows (see `rows`). Its array has a leading row axis of length M, or of
length 1 when all rows agree:

    number     [M]         condition  [M], of bool
    vector     [M, d]      matrix     [M, d, d]
    point      Point of [M, d]

Numbers, vectors and matrices may be `dual`. ``OPERATIONS`` gives each operation of `operators` its meaning;
``GEOMETRY`` holds the few that need the box, as the displacement between two points.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce

import numpy as np

from mdsl.model.operators import ELEMENTARY

from . import dual
from .dual import Number, bilinear, linear, primal


@dataclass(frozen=True, eq=False)
class Point:
    """A place in the box: points have differences, not sums."""

    coordinates: Number


Value = Number | Point


def rank(value: Number) -> int:
    """0 for a number, 1 for a vector, 2 for a matrix."""
    return primal(value).ndim - 1


# -- rows ----------------------------------------------------------------------------------------------


def take(value: Value, index: np.ndarray) -> Value:
    """The rows ``index`` of a value."""
    if isinstance(value, Point):
        return Point(take(value.coordinates, index))
    inner = rank(value)

    def rows(a: np.ndarray) -> np.ndarray:
        axis = a.ndim - 1 - inner
        return a if a.shape[axis] == 1 else np.take(a, index, axis)

    return linear(rows, value)


def _all_rows(a: np.ndarray, size: int, inner: int) -> np.ndarray:
    """Written out for every row."""
    axis = a.ndim - 1 - inner
    return np.broadcast_to(a, (*a.shape[:axis], size, *a.shape[axis + 1 :]))


def spread(value: Value, index: np.ndarray, size: int) -> Value:
    """The opposite of take: row n goes to row index[n] of ``size``; the others are 0."""
    if isinstance(value, Point):
        return Point(spread(value.coordinates, index, size))
    inner = rank(value)

    def rows(a: np.ndarray) -> np.ndarray:
        a = _all_rows(a, len(index), inner)
        axis = a.ndim - 1 - inner
        out = np.zeros((*a.shape[:axis], size, *a.shape[axis + 1 :]), a.dtype)
        out[(..., index) + (slice(None),) * inner] = a
        return out

    return linear(rows, value)


def total(value: Number, owner: np.ndarray, size: int) -> Number:
    """The sum of the rows of each owner; ``owner`` ascends from 0 to size - 1, where it may leave some out."""
    inner = rank(value)
    first = np.flatnonzero(np.diff(owner, prepend=-1))  # where the rows of the next owner begin

    def rows(a: np.ndarray) -> np.ndarray:
        a = _all_rows(a, len(owner), inner)
        return np.add.reduceat(a, first, axis=a.ndim - 1 - inner)

    if len(owner) == 0:
        return np.zeros((size, *primal(value).shape[1:]))
    return spread(linear(rows, value), owner[first], size)


def extreme(value: Number, owner: np.ndarray, size: int, op: str) -> Number:
    """The largest or smallest of the rows of each owner, without rows an infinity; NaN where one of them is NaN."""
    if len(owner) == 0:
        return np.full(size, -np.inf if op == "largest" else np.inf)
    plain = _all_rows(primal(value), len(owner), 0)
    pick = np.argmax if op == "largest" else np.argmin
    bounds = [*np.flatnonzero(np.diff(owner, prepend=-1)), len(owner)]
    chosen = np.array([a + pick(plain[a:b]) for a, b in zip(bounds, bounds[1:])])
    return spread(take(value, chosen), owner[chosen], size)


# -- numbers, vectors, matrices ------------------------------------------------------------------------


def _widen(number: Number, axes: int) -> Number:
    return linear(lambda a: a[(..., *(None,) * axes)], number)


def product(a: Number, b: Number) -> Number:
    """A number times anything."""
    if rank(a) and rank(b):
        raise TypeError("a product needs a number on one side; vectors have `dot`, `cross` and `outer`")
    return dual.mul(_widen(a, rank(b)), _widen(b, rank(a)))


def quotient(a: Number, b: Number) -> Number:
    if rank(b):
        raise TypeError("only a number can divide")
    return dual.div(a, _widen(b, rank(a)))


def _same_rank(a: Number, b: Number) -> None:
    if rank(a) != rank(b):
        raise TypeError("a sum or difference of unlike things")


def plus(a: Value, b: Value) -> Value:
    match a, b:
        case Point(), Point():
            raise TypeError("points cannot be added")
        case (Point(place), vector) | (vector, Point(place)):
            _same_rank(place, vector)
            return Point(dual.add(place, vector))
    _same_rank(a, b)
    return dual.add(a, b)


def comparison(function: Callable) -> Callable:
    return lambda a, b: function(primal(a), primal(b))


def component(axis: int) -> Callable:
    return lambda a: linear(lambda v: v[..., axis], a)


def entry(row: int, column: int) -> Callable:
    return lambda a: linear(lambda m: m[..., row, column], a)


def vector(*components: Number) -> Number:
    """A vector by its components."""

    def place(k: int) -> Callable:
        return lambda a: np.stack([a if k == axis else np.zeros_like(a) for axis in range(len(components))], -1)

    return reduce(dual.add, (linear(place(k), a) for k, a in enumerate(components)))


dot = bilinear(lambda a, b: (a * b).sum(-1))
matrix_times_column = bilinear(lambda a, b: (a * b[..., None, :]).sum(-1))
matrix_times_matrix = bilinear(np.matmul)
cross = bilinear(np.cross)
outer = bilinear(lambda a, b: a[..., :, None] * b[..., None, :])
row_times_matrix = bilinear(lambda a, b: (a[..., :, None] * b).sum(-2))


def inverse(a: Number) -> Number:
    if isinstance(a, dual.Dual):
        inside = inverse(a.value)
        return dual.Dual(a.level, inside, dual.neg(matrix_times_matrix(matrix_times_matrix(inside, a.tangent), inside)))
    return np.linalg.inv(a)


def exponential(a: Number) -> Number:
    """exp of a number, or of a matrix: the series of a part 2^-k of it, squared k times."""
    if rank(a) < 2:
        return dual.exp(a)
    size = np.abs(primal(a)).sum(-1).max(initial=0.0)
    k = max(0, int(np.ceil(np.log2(size))) + 2) if 0 < size < np.inf else 0
    part = linear(lambda m: m / 2.0**k, a)
    one = np.broadcast_to(np.eye(primal(a).shape[-1]), primal(a).shape)
    result = term = one
    for n in range(1, 19):
        term = linear(lambda m, n=n: m / n, matrix_times_matrix(term, part))
        result = dual.add(result, term)
    for _ in range(k):
        result = matrix_times_matrix(result, result)
    return result


def adjacent(a: Number, b: Number) -> Number:
    """a·b of vectors and matrices."""
    match rank(a), rank(b):
        case 2, 2:
            return matrix_times_matrix(a, b)
        case 2, 1:
            return matrix_times_column(a, b)
        case 1, 2:
            return row_times_matrix(a, b)
    return dot(a, b)


def norm(a: Number) -> Number:
    return dual.sqrt(dot(a, a)) if rank(a) else dual.magnitude(a)


OPERATIONS: dict[str, Callable] = {
    "add": plus,
    "neg": dual.neg,
    "mul": product,
    "div": quotient,
    "pow": dual.power,
    "lt": comparison(np.less),
    "le": comparison(np.less_equal),
    "gt": comparison(np.greater),
    "ge": comparison(np.greater_equal),
    "eq": comparison(np.equal),
    "ne": comparison(np.not_equal),
    "and": np.logical_and,
    "or": np.logical_or,
    "not": np.logical_not,
    **{name: getattr(dual, name) for name in ELEMENTARY},
    "exp": exponential,
    "sqrt": dual.sqrt,
    "atan2": dual.atan2,
    "floor": dual.floor,
    "round": dual.nearest,
    "abs": dual.magnitude,
    "next": lambda a: a,
    "previous": lambda a: a,
    "min": dual.smaller,
    "max": dual.larger,
    "norm": norm,
    "vector": vector,
    "dot": adjacent,
    "cross": cross,
    "outer": outer,
    "trace": lambda a: linear(lambda m: np.trace(m, axis1=-2, axis2=-1), a),
    "inverse": inverse,
    "diagonal": lambda a: linear(lambda m: m * np.eye(m.shape[-1]), a),
    "transpose": lambda a: linear(lambda m: np.swapaxes(m, -1, -2), a),
    **{f"component_{a}": component(k) for k, a in enumerate("xyz")},
    **{f"entry_{a}{b}": entry(k, n) for k, a in enumerate("xyz") for n, b in enumerate("xyz")},
}

# -- points --------------------------------------------------------------------------------------------

Between = Callable[[Point, Point], Number]  # the displacement a - b


def difference(between: Between, a: Value, b: Value) -> Value:
    match a, b:
        case Point(), Point():
            return between(a, b)
        case Point(), vector:
            return plus(a, dual.neg(vector))
        case _, Point():
            raise TypeError("a point cannot be taken from a vector")
    _same_rank(a, b)
    return dual.sub(a, b)


def angle(between: Between, a: Point, b: Point, c: Point) -> Number:
    """Between unit vectors p and q: 2 atan(|p - q|/|p + q|), accurate at 0 and pi too (Kahan)."""
    p, q = (quotient(d, norm(d)) for d in (between(a, b), between(c, b)))
    return dual.mul(np.full(1, 2.0), dual.atan2(norm(dual.sub(p, q)), norm(dual.add(p, q))))


def dihedral(between: Between, a: Point, b: Point, c: Point, d: Point) -> Number:
    """The angle from the plane a b c to the plane b c d, clockwise when looking from b to c."""
    ab, bc, cd = between(b, a), between(c, b), between(d, c)
    before, after = cross(ab, bc), cross(bc, cd)
    return dual.atan2(dual.mul(norm(bc), dot(ab, after)), dot(before, after))


GEOMETRY: dict[str, Callable] = {
    "sub": difference,
    "displacement": difference,
    "angle": angle,
    "dihedral": dihedral,
}
