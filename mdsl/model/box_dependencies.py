"""What decides the box that a program declares, and what depends on the time."""

from __future__ import annotations

from .dependencies import energetic, reads
from .nodes import Model
from .traverse import inside


def decided_by(model: Model) -> frozenset[str]:
    """The names that the declared box reads, also through the defaults of parameters; `t` is the time."""
    return reads(model, tuple(inside(model.box)))


def explicit_time(model: Model) -> bool:
    """Whether an energy depends on the time itself, or on a box that does."""
    if "t" in decided_by(model):
        return True
    return model.param("t") is None and "t" in reads(model, tuple(e.body for e in energetic(model)))
