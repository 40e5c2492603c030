"""The box in which a run starts: what the program declares, or a user's array."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from mdsl.grammar.diagnostics import Diagnostic, Rejected
from mdsl.interpret.constants import array, factor, value
from mdsl.model.dimensions import LENGTH
from mdsl.model.nodes import Box, Model


def box_of_array(box, dim: int) -> np.ndarray:
    """[d, d] from one edge, [d] or [d, d]."""
    box = array("box", box, None)
    if box.shape == (dim, dim):
        if np.triu(box, 1).any():
            raise Rejected(
                Diagnostic(
                    "bad-box",
                    "the box vectors are not those of a triangular matrix",
                    help="rotate atoms and box so that a lies along x and b in the plane of x and y: box = [[ax, 0, "
                    "0], [bx, by, 0], [cx, cy, cz]]",
                )
            )
    elif box.size not in (1, dim):
        raise Rejected(
            Diagnostic(
                "wrong-shape",
                f"box has the shape {box.shape}; it is one positive length, one for each of {dim} axes, or "
                f"{dim} vectors",
            )
        )
    else:
        box = np.diag(np.broadcast_to(box, (dim,)))
    if not (np.diag(box) > 0).all() or np.isinf(np.tril(box, -1)).any():
        raise Rejected(Diagnostic("bad-box", "an edge of the box is not positive", help="edges are positive lengths"))
    return box


def declared_box(model: Model, params: Mapping[str, object], atoms: int) -> tuple[np.ndarray, tuple[bool, ...]]:
    """The box vectors that the program's `box` declares, [d, d] with edge inf where free, and which axes repeat."""
    box = model.box
    if box is None:
        raise Rejected(
            Diagnostic(
                "missing-box", "there is no box", help="`box periodic(L)`, `box free`, or a builder with a density"
            )
        )
    edges = box.edges * model.dim if len(box.edges) == 1 else box.edges
    known = {**params, "N": atoms, "t": 0.0}
    lengths = np.array([np.inf if e is None else float(value(model, e, known, "an edge of the box")) for e in edges])
    if not (lengths > 0).all():
        raise Rejected(
            Diagnostic(
                "bad-box", f"an edge of the box is {lengths.min():g}", box.span, help="edges are positive lengths"
            )
        )
    cell = np.diag(lengths)
    if box.tilts:
        cell[np.tril_indices(model.dim, -1)] = [float(value(model, e, known, "a box vector")) for e in box.tilts]
    return cell, tuple(e is not None for e in edges)


def extended(cell: np.ndarray, periodic: tuple[bool, ...]) -> np.ndarray:
    """Box vectors with edge 1 on an axis that does not repeat: a length there only says where the atoms are."""
    return np.where(np.array(periodic)[:, None], cell, np.eye(len(cell)))


def other_box(model: Model, declared: np.ndarray, built: np.ndarray) -> Diagnostic:
    unit = model.units.display(LENGTH).text

    def edges(cell: np.ndarray) -> str:
        shown = cell * factor(model, LENGTH)
        if np.tril(cell, -1).any():
            rows = ("(" + ", ".join(f"{e:g}" for e in row) + ")" for row in shown)
            return f"the vectors {', '.join(rows)} {unit}".rstrip()
        return f"{' × '.join(f'{e:g}' for e in np.diag(shown))} {unit}".rstrip()

    return Diagnostic(
        "bad-box",
        f"the program declares a box of {edges(declared)}, but the atoms come in one of {edges(built)}",
        model.box.span,
        help="leave out one of the two; `uniform(atoms = ...)` without a density fills the declared box",
    )


def check_small(box: Box | None, lengths: np.ndarray) -> None:
    if np.nanmin(lengths) <= 0:
        raise Rejected(
            Diagnostic("bad-box", f"an edge of the box is {np.nanmin(lengths):g}", box.span if box else None)
        )
