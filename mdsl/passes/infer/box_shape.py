"""Boxes must keep their form: a along x, b in the plane of x and y."""

from __future__ import annotations

from mdsl.grammar.diagnostics import Diagnostic
from mdsl.model.box_dependencies import decided_by
from mdsl.model.box_shape import FULL, LOWER, changes_box, forms
from mdsl.model.nodes import Advance, Model


def check_box(model: Model) -> list[Diagnostic]:
    """Every change of the box that may not keep its form."""
    found, box = [], model.box
    if box is not None and changes_box(model) and "t" in decided_by(model):
        found.append(Diagnostic("bad-box", "the box is a function of time, and so no flow can change it", box.span))
    for advance in (s for s in model.run if isinstance(s, Advance)):
        for update, form in forms(advance, LOWER, model.dim):
            if form == FULL:
                notes = ("the box vectors are the rows of a triangular matrix, and it is not proved that this is one",)
                help = "`cell = cell·exp(h*diagonal(M))` changes the edges only, `outer((0, 1, 0), (1, 0, 0))` shears"
                span = update.value.via[0] if update.value.via else update.value.span or update.span
                found.append(Diagnostic("bad-box", "this may turn the box", span, notes=notes, help=help))
    return found
