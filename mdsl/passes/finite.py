"""Parameters must be numbers: a default that divides by zero would only show as a run that makes no sense."""

from __future__ import annotations

import numpy as np

from mdsl.grammar.diagnostics import Diagnostic
from mdsl.interpret.meaning import parameter
from mdsl.model.nodes import Expr, Model, Param, Read, walk


def known(model: Model, param: Param) -> bool:
    """Whether a parameter has a value before the atoms are known: it is no data, nor made of data."""
    return param.data is None and (param.default is None or knows(model, param.default))


def knows(model: Model, expr: Expr) -> bool:
    """Whether an expression of parameters has a value before the atoms are known."""
    reads = (model.param(n.symbol) for n in walk(expr) if isinstance(n, Read))
    return all(known(model, param) for param in reads if param is not None)


def check_finite(model: Model) -> list[Diagnostic]:
    """A diagnostic for each parameter whose value is infinite or not a number."""
    found: list[Diagnostic] = []
    for param in model.params:
        if not known(model, param):  # that is checked when the atoms are bound
            continue
        value = np.asarray(parameter(model, param.name), float)
        if not np.isfinite(value).all():
            what = "not a number" if np.isnan(value).any() else "infinite"
            found.append(Diagnostic("bad-number", f"the value of `{param.name}` is {what}", param.span))
    return found
