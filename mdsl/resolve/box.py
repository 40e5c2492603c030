"""The box of a program."""

from __future__ import annotations

from mdsl.grammar import tree
from mdsl.model import nodes as model

from .expressions import Resolver
from .scope import Scope


def resolve_box(resolver: Resolver, statement: tree.Box, scope: Scope) -> model.Box | None:
    """The box, by its edges or its vectors; None where it is wrong, which has been said."""
    value = statement.value
    if isinstance(value, tree.Name) and value.id == "free":
        return model.Box((None,), statement.span)
    if (
        isinstance(value, tree.Call)
        and isinstance(value.function, tree.Name)
        and value.function.id == "periodic"
        and value.args
    ):
        edges = tuple(
            None if isinstance(a, tree.Name) and a.id == "free" else resolver.expr(a, scope) for a in value.args
        )
        return model.Box(edges, statement.span)
    if isinstance(value, tree.Call) and isinstance(value.function, tree.Name) and value.function.id == "triclinic":
        return _triclinic(resolver, statement, value.args, scope)
    resolver.error(
        "bad-box",
        "this is not a box",
        value,
        help="write `box free`, `box periodic(L)`, `box periodic(Lx, Ly, free)` or `box triclinic(a, b, c)`",
    )
    return None


def _triclinic(
    resolver: Resolver, statement: tree.Box, vectors: tuple[tree.Expr, ...], scope: Scope
) -> model.Box | None:
    """``triclinic((ax, 0, 0), (bx, by, 0), (cx, cy, cz))``; `free` in the place of a vector that does not repeat."""
    dim = len(vectors)
    edges: list[model.Expr | None] = []
    tilts: list[model.Expr] = []
    help = "box triclinic((ax, 0), (bx, by))" if dim == 2 else "box triclinic((ax, 0, 0), (bx, by, 0), (cx, cy, cz))"
    for k, vector in enumerate(vectors):
        if isinstance(vector, tree.Name) and vector.id == "free":
            edges.append(None)
            tilts += [model.Number(0.0, span=vector.span)] * k
            continue
        if dim not in (2, 3) or not isinstance(vector, tree.Tuple) or len(vector.items) != dim:
            resolver.error(
                "bad-box",
                "a triclinic box is given by its vectors, each with as many components as there are vectors",
                vector,
                help=help,
            )
            return None
        before, edge, beyond = vector.items[:k], vector.items[k], vector.items[k + 1 :]
        other = next((e for e in beyond if not (isinstance(e, tree.Number) and e.value == 0)), None)
        if other is not None:
            where = "along x" if k == 0 else "in the plane of x and y"
            resolver.error(
                "bad-box", f"vector {k + 1} of a triclinic box lies {where}: here stands 0", other, help=help
            )
            return None
        edges.append(resolver.expr(edge, scope))
        tilts += [resolver.expr(e, scope) for e in before]
    return model.Box(tuple(edges), statement.span, tuple(tilts))
