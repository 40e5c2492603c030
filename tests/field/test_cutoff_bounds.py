"""Bounds of cutoffs by interval arithmetic, against values at random places of the intervals."""

import numpy as np
import pytest

from mdsl.lowering.field.cutoff_bounds import bounded, interval
from mdsl.model.nodes import SCALAR, Number, Op, Read

A, B, C = (Read(name, ("i",), type=SCALAR) for name in "abc")
TWO, HALF = Number(2.0), Number(0.5)


def op(name, *args):
    return Op(name, args, type=SCALAR)


EXPRESSIONS = {
    "a - b": op("sub", A, B),
    "-a": op("neg", A),
    "a*b": op("mul", A, B),
    "a/b": op("div", A, B),
    "c/(a*b)": op("div", C, op("mul", A, B)),
    "a^2": op("pow", A, TWO),
    "a^3": op("pow", A, Number(3.0)),
    "a^-1": op("pow", A, Number(-1.0)),
    "a^-2": op("pow", A, Number(-2.0)),
    "a^0.5": op("pow", A, HALF),
    "a^-1.5": op("pow", A, Number(-1.5)),
    "a^b": op("pow", A, B),
    "(a^2)^b": op("pow", op("add", op("pow", A, TWO), HALF), B),
    "sqrt|a|": op("sqrt", op("abs", A)),
    "log|a|": op("log", op("abs", A)),
    "exp(a - b)": op("exp", op("sub", A, B)),
    "tanh(a) + atan(b) - sinh(c)": op("sub", op("add", op("tanh", A), op("atan", B)), op("sinh", C)),
    "|a|": op("abs", A),
    "min(a, b)": op("min", A, B),
    "max(a, b)": op("max", A, B),
    "if a < b then c else 7": op("choose", op("lt", A, B), C, Number(7.0)),
    "if a >= b then c else -7": op("choose", op("ge", A, B), C, Number(-7.0)),
    "if a > b and c <= 0 then a else b": op(
        "choose", op("and", op("gt", A, B), op("le", C, Number(0.0))), A, op("add", B, Number(9.0))
    ),
    "if a > b or c <= 0 then a else b": op(
        "choose", op("or", op("gt", A, B), op("le", C, Number(0.0))), A, op("add", B, Number(9.0))
    ),
    "if not a < b then c else 7": op("choose", op("not", op("lt", A, B)), C, Number(7.0)),
}
ENDS = (-3.0, -1.0, 0.0, 0.5, 2.0)


def values(expr, at):
    """By NumPy, operation by operation."""
    match expr:
        case Number(value=value):
            return value
        case Read(symbol=symbol):
            return at[symbol]
        case Op(op="choose", args=(condition, a, b)):
            return np.where(values(condition, at), values(a, at), values(b, at))
    functions = {
        "add": np.add, "sub": np.subtract, "neg": np.negative, "mul": np.multiply, "div": np.divide, "pow": np.power,
        "min": np.minimum, "max": np.maximum, "lt": np.less, "le": np.less_equal, "gt": np.greater,
        "ge": np.greater_equal, "and": np.logical_and, "or": np.logical_or, "not": np.logical_not, "atan": np.arctan,
    }  # fmt: skip
    return functions.get(expr.op, getattr(np, expr.op, None))(*(values(a, at) for a in expr.args))


def places(rng, ends):
    """Random numbers of each interval, and its ends."""
    inside = rng.uniform(*ends, 400)
    inside[rng.random(400) < 0.3] = ends[0]
    inside[rng.random(400) < 0.3] = ends[1]
    return inside


@pytest.mark.parametrize("text", EXPRESSIONS)
@np.errstate(all="ignore")
def test_no_value_is_beyond_the_bounds(text):
    """And where the ends are values themselves, the bounds are no farther."""
    rng, reached = np.random.default_rng(3), False
    for _ in range(60):
        ends = {name: tuple(sorted(rng.choice(ENDS, 2))) for name in "abc"}
        low, high = interval(EXPRESSIONS[text], lambda read, e=ends: tuple(map(np.float64, e[read.symbol])), np)
        found = values(EXPRESSIONS[text], {name: places(rng, e) for name, e in ends.items()})
        found = found[~np.isnan(found)]
        assert not low > high
        assert np.all((found >= low) | np.isclose(found, low)), ends
        assert np.all((found <= high) | np.isclose(found, high)), ends
        reached |= found.size > 0 and np.isfinite(high) and bool(np.isclose(found.max(), high))
    assert reached


def test_a_bound_around_what_is_no_number():
    """0 times what may be as large as one likes could be anything."""
    ends = {"a": (0.0, 1.0), "b": (-1.0, 1.0)}
    with np.errstate(all="ignore"):
        low, high = interval(op("mul", A, op("div", A, B)), lambda read: tuple(map(np.float64, ends[read.symbol])), np)
    assert low == -np.inf and high == np.inf


def test_what_is_bounded():
    """Operations of which no bound is known are not taken for known ones."""

    class Known:
        def param(self, name):
            return None if name == "x" else name

    assert bounded(op("add", op("exp", A), op("max", B, TWO)), Known())
    assert not bounded(op("cos", A), Known()) and not bounded(op("add", Read("x", ("i",)), A), Known())
