"""Parameters must be numbers: a default that divides by zero would only show as a run that makes no sense."""

from __future__ import annotations

import numpy as np

from mdsl.grammar.diagnostics import Diagnostic

from .interpret import parameter
from .model import Model


def check_finite(model: Model) -> list[Diagnostic]:
    """A diagnostic for each parameter whose value is infinite or not a number."""
    found: list[Diagnostic] = []
    for param in model.params:
        value = np.asarray(parameter(model, param.name), float)
        if not np.isfinite(value).all():
            what = "not a number" if np.isnan(value).any() else "infinite"
            found.append(Diagnostic("bad-number", f"the value of `{param.name}` is {what}", param.span))
    return found
