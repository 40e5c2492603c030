"""Values of expressions that depend on parameters and on the species of two atoms, at default parameters."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from mdsl.model.nodes import Expr, Model

from .atoms import System
from .expressions import Interpreter
from .rows import Rows


@np.errstate(all="ignore")
def pair_constant(
    model: Model,
    expr: Expr,
    binders: tuple[str, ...],
    names: Mapping[str, np.ndarray] = {},
    data: Mapping[str, np.ndarray] = {},
) -> np.ndarray:  # noqa: B006
    """The value for every pair of species, [S, S] over the species of the first and the second atom. ``names`` are
    values, [S, S] too, that the expression reads besides; ``data`` those of S atoms, one of each species."""
    count = max(1, len(model.species))
    first, second = np.divmod(np.arange(count * count), count)
    system = System(np.zeros((count, model.dim)), np.ones(model.dim), species=np.arange(count), params=data)
    rows = Rows(
        count * count, dict(zip(binders, (first, second))) | {name: value.ravel() for name, value in names.items()}
    )
    value = np.asarray(Interpreter(model, system).value(expr, rows), float)
    return np.broadcast_to(value, (count * count,)).reshape(count, count)
