"""What decides the box that a program declares."""

from __future__ import annotations

from .dependencies import reads
from .nodes import Model


def decided_by(model: Model) -> frozenset[str]:
    """The names that the declared box reads, also through the defaults of parameters; `t` is the time."""
    return reads(model, model.box.exprs if model.box is not None else ())
