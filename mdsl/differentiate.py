"""Pass `differentiate`: `D(u)(a)` becomes the derivative, by SymPy.

Before: Slope nodes. After: none.
"""

from __future__ import annotations

from dataclasses import replace

import sympy

from .model import Expr, Model, Read, Slope, transform
from .rewrite import rewrite_model
from .symbolic import Leaves, from_sympy, to_sympy


def _slope(expr: Expr) -> Expr:
    if not isinstance(expr, Slope):
        return expr
    variable = Read(expr.variable)
    leaves = Leaves()
    symbol = sympy.Symbol(expr.variable, real=True)
    leaves.add(variable, symbol)
    derivative = sympy.diff(to_sympy(expr.body, leaves), symbol)
    leaves.exprs[symbol] = expr.at
    return replace(from_sympy(derivative, leaves, like=expr), type=expr.type)


def differentiate(model: Model) -> Model:
    """The Model without Slope."""
    return rewrite_model(model, lambda expr: transform(expr, _slope))
