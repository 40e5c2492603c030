"""What decides the box that a program declares, and what depends on the time."""

from __future__ import annotations

from .dependencies import energetic, reads
from .nodes import Model


def decided_by(model: Model) -> frozenset[str]:
    """The names that the declared box reads, also through the defaults of parameters; `t` is the time."""
    return reads(model, model.box.exprs if model.box is not None else ())


def explicit_time(model: Model) -> bool:
    """Whether an energy depends on the time itself, or on a box that does."""
    if "t" in decided_by(model):
        return True
    return model.param("t") is None and "t" in reads(model, tuple(e.body for e in energetic(model)))
