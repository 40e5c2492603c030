"""Numbers and arrays that must be known before a run starts."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from mdsl.grammar.diagnostics import Diagnostic, Rejected
from mdsl.grammar.source import Span
from mdsl.model.dimensions import Dimension
from mdsl.model.dynamics import MOST_STEPS
from mdsl.model.literals import whole_value
from mdsl.model.nodes import Expr, Model

from . import meaning as interpret


def factor(model: Model, dimension: Dimension) -> float:
    """Shown number per internal number of a dimension: what a user's arrays are divided by."""
    return model.units.shown_per_internal(dimension)


def array(name: str, value, shape) -> np.ndarray:
    """A user's array. ``shape``: its lengths, None for any. Raises Rejected: ``wrong-type``, ``wrong-shape``,
    ``not-finite``."""
    try:
        if isinstance(value, str) or np.iscomplexobj(value):
            raise TypeError
        found = np.asarray(value, float)
    except (TypeError, ValueError):
        help = (
            f'positions are an array [N, d]; a program reads a file by `x = read("{value}")`'
            if isinstance(value, str) and name == "x"
            else None
        )
        raise Rejected(Diagnostic("wrong-type", f"{name} is no array of numbers", help=help)) from None
    if shape is not None and (
        found.ndim != len(shape) or any(w is not None and w != h for w, h in zip(shape, found.shape))
    ):
        wanted = " × ".join("N" if w is None else str(w) for w in shape)
        raise Rejected(Diagnostic("wrong-shape", f"{name} has the shape {found.shape}, not {wanted}"))
    if not np.isfinite(found[~np.isinf(found)] if name == "box" else found).all():
        raise Rejected(Diagnostic("not-finite", f"{name} holds a number that is not finite"))
    return found


def value(model: Model, expr: Expr, params: Mapping[str, object], what: str = "this"):
    """A number that must be known before the run. Raises Rejected: ``nonconstant``."""
    try:
        return interpret.constant(model, expr, params)
    except (NameError, AttributeError, TypeError, KeyError):
        raise Rejected(
            Diagnostic("nonconstant", f"{what} must be known before the run starts", span_of(expr))
        ) from None


def span_of(expr: Expr) -> Span | None:
    return expr.via[0] if expr.via else expr.span


def whole(model: Model, expr: Expr, params: Mapping[str, object], what: str, least: int = 0) -> int:
    """A whole number that must be known before the run."""
    number = float(value(model, expr, params, what))
    count = whole_value(number)
    if count is None or not least <= count <= MOST_STEPS:
        raise Rejected(
            Diagnostic(
                "bad-number",
                f"{what} is a whole number{', at least 1' if least else ''}, not {number:.15g}",
                span_of(expr),
            )
        )
    return count
