"""The part of `infer` for names: what is read, and whether its indices are those of its axes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mdsl.model.nodes import UNKNOWN, UNTYPED, Axis, Read, Species, Type
from mdsl.model.operators import BUILTINS

from .declarations import infer_equation, infer_param

if TYPE_CHECKING:
    from .expressions import Inference


def infer_read(work: Inference, expr: Read) -> Type:
    """The type of what a name stands for, with its indices."""
    symbol, indices = expr.symbol, expr.indices
    if expr.type is not UNTYPED:
        return expr.type
    if symbol in work.locals and len(indices) <= 1:
        return work.locals[symbol]
    if symbol == "m" and len(indices) == 1:
        if isinstance(indices[0], int) or indices[0] in work.ranges:
            work.fail("wrong-index", f"`m` is one for each atom, and `{indices[0]}` is a number", expr)
        return work.builtin("m")
    declared = work.model.param(symbol)
    if declared is not None:
        param = infer_param(work, declared)
        for index, axis in zip(indices, param.axes):
            counts = isinstance(index, int) or index in work.locals  # a whole number, or an index of a range
            if isinstance(index, int) and axis.kind != "range":
                work.fail("wrong-index", f"`{symbol}` has no entry {index}", expr)
            elif counts and axis.kind == "range":
                _entry(work, expr, index, axis)
            elif counts != (axis.kind == "range") or isinstance(index, Species) and axis.kind == "atoms":
                wanted = f"whole numbers from {axis.first} to {axis.last}" if axis.kind == "range" else axis.kind
                work.fail("wrong-index", f"the indices of `{symbol}` are {wanted}, which `{index}` is not", expr)
        return param.type
    equation = work.model.equation(symbol)
    if equation is not None:
        series = equation.series
        if series is not None and len(indices) == len(equation.binders):
            _entry(work, expr, indices[-1], series)
        if equation.kind == "quantity" and any(isinstance(i, int) or i in work.locals for i in indices[:1]):
            work.fail("wrong-index", f"`{symbol}` is one for each atom, and `{indices[0]}` is a number", expr)
        kind = infer_equation(work, equation).body.type
        if series is None or equation.kind != "quantity" or len(indices) == len(equation.binders):
            return kind
        return kind if kind.kind == "unknown" else Type("array", kind.dimension, series.count)
    if symbol == "infinity":
        work.fail(
            "misplaced",
            "`infinity` is no number: it is only a bound of an integral",
            expr,
            help="a function without a cutoff needs none",
        )
        return UNKNOWN
    if symbol in BUILTINS:
        if any(isinstance(i, int) or i in work.ranges for i in indices):
            work.fail("wrong-index", f"`{symbol}` is one for each atom, and `{indices[0]}` is a number", expr)
        return work.builtin(symbol)
    return UNKNOWN  # its declaration was wrong, which has been said


def _entry(work: Inference, expr: Read, index, axis: Axis) -> None:
    """The index of a series is a number of its range, or an index of a range that has no others."""
    numbers = Axis("range", index, index) if isinstance(index, int) else work.ranges.get(index)
    if numbers is not None:
        wrong = next((n for n in (numbers.first, numbers.last) if not axis.first <= n <= axis.last), None)
        if wrong is not None:
            work.fail(
                "wrong-index",
                f"`{expr.symbol}` has no entry {wrong}",
                expr,
                help=f"its entries are {axis.first} to {axis.last}",
            )
    elif not isinstance(index, str) or index not in work.locals:
        work.fail(
            "wrong-index",
            f"the indices of `{expr.symbol}` are whole numbers from {axis.first} to {axis.last}, which "
            f"`{index}` is not",
            expr,
        )
