"""Differences of coordinates that are not those of the nearest image.

A coordinate `x[i].x` is that of the nearest image of the corner of the box, from minus to plus half of an edge. Less a
number of the atom (where it is held), or less the coordinate of another atom, it jumps by an edge where an atom crosses
the middle of the box. The difference of points, `x[i] - x[j]`, does not.
"""

from __future__ import annotations

from mdsl.grammar.diagnostics import Diagnostic
from mdsl.model.faults import fault
from mdsl.model.nodes import Expr, Model, Op, Read, children, walk

COMPONENTS = ("component_x", "component_y", "component_z")
REPEATING = ("round", "floor", "sin", "cos")  # functions in which a period is taken care of


def jumping_differences(model: Model) -> list[Diagnostic]:
    """A warning for each of them in energies, quantities and observables, along axes that repeat."""
    found = []
    for equation in model.equations:
        nodes = [n for n in walk(equation.body) if isinstance(n, Op)]
        folded = {m for n in nodes if n.op in REPEATING for a in n.args for m in walk(a) if isinstance(m, Op)}
        for node in nodes:
            if node.op != "sub" or node in folded:
                continue
            a, b = node.args
            axis = _axis(a) if _axis(a) is not None else _axis(b)
            if axis is None or not _repeats(model, axis):
                continue
            if _axis(a) is not None and _axis(b) is not None:
                what, help = "of two coordinates", f"`(x[i] - x[j]).{'xyz'[axis]}` is that of the nearest image"
            elif _own_number(model, b if _axis(a) is not None else a):
                what = "of a coordinate and a number of the atom"
                help = (
                    f"`d - L*round(d/L)`, where L is the edge of the box along {'xyz'[axis]}, is that of the "
                    f"nearest image"
                )
            else:
                continue
            found.append(
                fault(
                    model.source, "not-nearest", f"the difference {what} jumps in a box that repeats", node, help=help
                )
            )
    return found


def _axis(expr: Expr) -> int | None:
    """The axis along which an expression is the coordinate of an atom, or one that is moved; None where it is none."""
    if isinstance(expr, Op) and expr.op in ("add", "sub"):
        return next((axis for axis in map(_axis, expr.args) if axis is not None), None)
    if not (isinstance(expr, Op) and expr.op in COMPONENTS):
        return None
    (inner,) = expr.args
    if not (isinstance(inner, Op) and inner.op == "displacement"):
        return None
    point, corner = inner.args
    of_atom = isinstance(point, Read) and point.symbol == "x" and corner == Read("origin")
    return COMPONENTS.index(expr.op) if of_atom else None


def _repeats(model: Model, axis: int) -> bool:
    """Whether the box may repeat along an axis; one that the program does not declare may."""
    if model.box is None:
        return True
    edges = model.box.edges
    return edges[axis if len(edges) > 1 else 0] is not None


def _own_number(model: Model, expr: Expr) -> bool:
    """Whether this is made of a number that comes with each atom, but for what a period takes care of."""
    if isinstance(expr, Read):
        param = model.param(expr.symbol)
        return param is not None and param.data is not None and param.per_atom
    if isinstance(expr, Op) and expr.op in REPEATING:
        return False
    return any(_own_number(model, part) for part in children(expr))
