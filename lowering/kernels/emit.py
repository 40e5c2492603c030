"""From expressions of the Model to JAX: every operation is one entry of a table.

Vectors and points are tuples of arrays, one for each axis (a structure of arrays), matrices tuples of rows.
What a `Read` means is the business of the environment that the caller gives.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
from jax import lax
from jax.scipy.special import erf, erfc

from mdsl.lowering.field.singularities import at_risk, holds_at_contact, singular, squared_distance
from mdsl.model.nodes import Call, Expr, Number, Op, Read, Tabulated
from mdsl.model.operators import NEIGHBOURS

from .calls import call
from .tables import lookup

if TYPE_CHECKING:
    from mdsl.lowering.arrays import Value, Vector

SCALARS: dict[str, Callable] = {
    "add": jnp.add, "sub": jnp.subtract, "mul": jnp.multiply, "div": jnp.divide, "neg": jnp.negative,
    "lt": jnp.less, "le": jnp.less_equal, "gt": jnp.greater, "ge": jnp.greater_equal, "eq": jnp.equal,
    "ne": jnp.not_equal,
    "and": jnp.logical_and, "or": jnp.logical_or, "not": jnp.logical_not,
    "exp": jnp.exp, "log": jnp.log, "log1p": jnp.log1p, "sqrt": jnp.sqrt,
    "sin": jnp.sin, "cos": jnp.cos, "tan": jnp.tan,
    "asin": jnp.arcsin, "acos": jnp.arccos, "atan": jnp.arctan, "sinh": jnp.sinh, "cosh": jnp.cosh, "tanh": jnp.tanh,
    "atan2": jnp.arctan2, "floor": jnp.floor, "round": jnp.round, "erf": erf, "erfc": erfc,
    "abs": jnp.abs, "min": jnp.minimum, "max": jnp.maximum, "choose": jnp.where,
}  # fmt: skip

HALVES = range(3, 65, 2)  # powers of a root that are no powers of what is under it
MOST_SQUARINGS = 12  # of the exponential of a matrix: exact up to a size of a thousand

Read_ = Callable[[Read], "Value"]
Displacement = Callable[["Vector", "Vector"], "Vector"]


@dataclass
class Memo:
    """What is known: values by expression and guard, and which expressions have anything to guard."""

    values: dict[tuple[int, int | None], tuple[Expr, object, object]] = field(default_factory=dict)
    risks: dict[tuple[int, bool], tuple[Expr, bool]] = field(default_factory=dict)


def evaluate(
    expr: Expr,
    read: Read_,
    displacement: Displacement,
    memo: Memo | None = None,
    beside: Callable[[object, int], object] | None = None,
):
    """The value of an expression. ``read`` gives the value of a Read, ``displacement`` that of point - point,
    ``beside`` what a value is in the next replica (1) or the one before (-1): of a system alone what it is."""
    return _value(expr, _Reader(read, displacement, Memo() if memo is None else memo, beside), None)


@dataclass(frozen=True)
class _Reader:
    read: Read_
    displacement: Displacement
    memo: Memo
    beside: Callable[[object, int], object] | None = None


@dataclass(frozen=True, eq=False)
class _Taken:
    """Where a branch is taken; ``touching``: also where atoms lie at one place."""

    where: object
    touching: bool


def _value(expr: Expr, reader: _Reader, taken: _Taken | None):
    """``taken``: of the branch in which the expression stands; None where it always is."""
    if taken is not None and not at_risk(expr, taken.touching, reader.memo.risks):
        taken = None
    key = (id(expr), None if taken is None else id(taken.where))
    if key not in reader.memo.values:
        reader.memo.values[key] = (expr, taken, _evaluate(expr, reader, taken))
    return reader.memo.values[key][2]


def _evaluate(expr: Expr, reader: _Reader, taken):
    if isinstance(expr, Number):
        return expr.value
    if isinstance(expr, Read):
        return reader.read(expr)
    if isinstance(expr, Tabulated):
        which, at = (_value(e, reader, taken) for e in (expr.which, expr.at))
        return lookup(expr.curves, expr.order, expr.extended, which, jnp.asarray(at))
    if isinstance(expr, Call):
        return call(expr, [_value(a, reader, taken) for a in expr.args])
    if not isinstance(expr, Op):
        raise AssertionError(f"{type(expr).__name__} cannot be lowered")
    if expr.op == "choose":
        return _choice(expr, reader, taken)

    def arguments(expr: Op):
        place, harmless = (None if taken is None else singular(expr, taken.touching)) or (None, None)
        for k, arg in enumerate(expr.args):
            value = _value(arg, reader, taken)
            yield jnp.where(taken.where, value, harmless) if k == place else value

    if expr.op == "pow":
        base, exponent = expr.args
        if isinstance(base, Op) and base.op == "sqrt" and isinstance(exponent, Number) and exponent.value in HALVES:
            return half_power(jnp.asarray(*arguments(base)), int(exponent.value))
        return power(next(arguments(expr)), exponent, lambda e: _value(e, reader, taken))
    args = list(arguments(expr))
    if expr.op == "sqrt" and squared_distance(expr.args[0]):
        return distance(jnp.asarray(*args))
    if expr.op in NEIGHBOURS:
        return args[0] if reader.beside is None else reader.beside(args[0], NEIGHBOURS[expr.op])
    if expr.op == "displacement":
        return reader.displacement(*args)
    if expr.op in GEOMETRY:
        return GEOMETRY[expr.op](reader.displacement, *args)
    return operate(expr.op, args)


def _choice(expr: Op, reader: _Reader, taken):
    """Both branches, each kept from singular points where the other is taken."""
    condition, then, otherwise = expr.args
    holds = _value(condition, reader, taken)
    here = there = None  # a Python bool is decided already
    if hasattr(holds, "dtype"):
        here, there = (
            _Taken(where if taken is None else where & taken.where, (taken is None or taken.touching) and touching)
            for where, touching in (
                (holds, holds_at_contact(condition, True)),
                (~holds, holds_at_contact(condition, False)),
            )
        )
    return operate("choose", [holds, _value(then, reader, here), _value(otherwise, reader, there)])


@jax.custom_jvp
def distance(square):
    """The root of a squared distance. Where that is 0 its derivative is taken to be 0, the middle of those of all
    directions: then r³ and others that are smooth enough have the right derivatives there."""
    return jnp.sqrt(square)


@distance.defjvp
def _(primals, tangents):
    (square,), (change,) = primals, tangents
    r = distance(square)
    apart = square > 0
    return r, change * jnp.where(apart, 0.5 / jnp.where(apart, r, 1.0), jnp.where(square == 0, 0.0, jnp.nan))


@partial(jax.custom_jvp, nondiff_argnums=(1,))
def half_power(base, n: int):
    """base^(n/2) of an odd n. Its derivative at 0 is 0 for n > 2, where the chain rule through the root has 0·∞."""
    return lax.integer_pow(jnp.sqrt(base), n)


@half_power.defjvp
def _(n, primals, tangents):
    (base,), (change,) = primals, tangents
    return half_power(base, n), change * (n / 2 * (half_power(base, n - 2) if n > 3 else jnp.sqrt(base)))


def angle(displacement: Displacement, a, b, c):
    """Between unit vectors p and q: 2 atan(|p - q|/|p + q|), accurate at 0 and π too (Kahan)."""
    p, q = (spread(lambda e, n=_length(d): e / n, [d]) for d in (displacement(a, b), displacement(c, b)))
    return 2 * jnp.arctan2(_length(spread(jnp.subtract, [p, q])), _length(spread(jnp.add, [p, q])))


def dihedral(displacement: Displacement, a, b, c, d):
    """From the plane a b c to the plane b c d, trans = π."""
    ab, bc, cd = displacement(b, a), displacement(c, b), displacement(d, c)
    before, after = operate("cross", [ab, bc]), operate("cross", [bc, cd])
    return jnp.arctan2(_length(bc) * operate("dot", [ab, after]), operate("dot", [before, after]))


def _length(v: tuple):
    """With a derivative also where v is 0."""
    return jnp.sqrt(jnp.maximum(sum(c * c for c in v), 1e-36))


GEOMETRY: dict[str, Callable] = {"angle": angle, "dihedral": dihedral}


def power(base, exponent: Expr, value: Callable[[Expr], Value]):
    """A power; whole and half exponents by products and roots, which cost little and have derivatives at 0."""
    if isinstance(exponent, Number):
        p = exponent.value
        if p == int(p) and abs(p) <= 64:
            return (
                lax.integer_pow(jnp.asarray(base), int(p))
                if p >= 0
                else 1 / lax.integer_pow(jnp.asarray(base), -int(p))
            )
        if 2 * p in HALVES:
            return half_power(jnp.asarray(base), int(2 * p))
        if p == 0.5:
            return jnp.sqrt(base)
    return jnp.power(base, value(exponent))


def operate(op: str, args: list):
    match op:
        case "vector":
            return tuple(args)
        case "dot":
            return dot(*args)
        case "norm":
            return jnp.sqrt(sum(a * a for a in args[0])) if isinstance(args[0], tuple) else jnp.abs(args[0])
        case "outer":
            return tuple(tuple(a * b for b in args[1]) for a in args[0])
        case "cross":
            (a, b, c), (d, e, f) = args
            return (b * f - c * e, c * d - a * f, a * e - b * d)
        case "trace":
            return sum(row[k] for k, row in enumerate(args[0]))
        case "inverse":
            return inverse(args[0])
        case "exp" if isinstance(args[0], tuple):
            return exponential(args[0])
        case "diagonal":
            return tuple(
                tuple(e if k == n else jnp.zeros_like(e) for n, e in enumerate(row)) for k, row in enumerate(args[0])
            )
        case "transpose":
            return tuple(zip(*args[0]))
        case "component_x" | "component_y" | "component_z":
            return args[0]["xyz".index(op[-1])]
        case _ if op.startswith("entry_"):
            return args[0]["xyz".index(op[-2])]["xyz".index(op[-1])]
    return spread(SCALARS[op], args)


def dot(a: tuple, b: tuple):
    """The product summed over the last index of ``a`` and the first of ``b``: vectors are tuples, matrices tuples of
    rows."""
    if isinstance(a[0], tuple):
        return tuple(dot(row, b) for row in a)
    if isinstance(b[0], tuple):
        return tuple(dot(a, column) for column in zip(*b))
    return sum(p * q for p, q in zip(a, b))


def inverse(a: tuple):
    """By cofactors, of two or three rows."""
    if len(a) == 2:
        (p, q), (r, s) = a
        turned = ((s, -q), (-r, p))
        volume = p * s - q * r
    else:
        columns = [operate("cross", [a[(k + 1) % 3], a[(k + 2) % 3]]) for k in range(3)]
        volume = dot(a[0], columns[0])
        turned = tuple(zip(*columns))
    return tuple(tuple(e / volume for e in row) for row in turned)


def exponential(a: tuple):
    """exp of a matrix, of arrays of any shape: the series of a part 2^-k of it, squared k times."""
    entries = jnp.broadcast_arrays(*(e for row in a for e in row))
    matrix = jnp.stack(entries, axis=-1).reshape(*entries[0].shape, len(a), len(a))
    size = jnp.max(jnp.sum(jnp.abs(lax.stop_gradient(matrix)), axis=-1), axis=-1)[..., None, None]
    squarings = jnp.clip(jnp.ceil(jnp.log2(jnp.maximum(size, 1e-30))) + 2, 0, MOST_SQUARINGS)
    part = matrix / 2.0**squarings
    one = jnp.broadcast_to(jnp.eye(len(a), dtype=matrix.dtype), matrix.shape)

    def add(total, n):
        result, term = total
        term = jnp.matmul(term, part, precision="highest") / n
        return (result + term, term), None

    (result, _), _ = lax.scan(add, (one, one), jnp.arange(1, 19, dtype=matrix.dtype))
    result, _ = lax.scan(
        lambda m, k: (jnp.where(k < squarings, jnp.matmul(m, m, precision="highest"), m), None),
        result,
        jnp.arange(MOST_SQUARINGS),
    )
    return tuple(tuple(result[..., k, n] for n in range(len(a))) for k in range(len(a)))


def spread(function: Callable, args: list):
    """Apply to each component where an argument is a vector or matrix."""
    wide = next((a for a in args if isinstance(a, tuple)), None)
    if wide is None:
        return function(*args)
    return tuple(spread(function, [a[k] if isinstance(a, tuple) else a for a in args]) for k in range(len(wide)))
