"""`energy`, `quantity` and `observe`: equations, some with an entry for each number of a range."""

from __future__ import annotations

from mdsl.grammar import tree
from mdsl.model import nodes as model

from .expressions import Resolver
from .names import Resolution
from .ranges import range_of, resolve_range
from .scope import Binder, Scope


def resolve_equation(
    work: Resolution, resolver: Resolver, statement: tree.Equation, scope: Scope
) -> model.Equation | None:
    """An equation with its `where`; None where it is wrong, which has been said."""
    kind, name, axes, where = statement.kind, statement.name, statement.axes, statement.where
    if axes and kind == "observe":
        return _series(work, resolver, statement, scope)
    if axes and kind != "quantity":
        resolver.error(
            "misplaced", f"an {kind} has no indices", name, help="`quantity` declares one value for each atom"
        )
    if kind == "quantity" and len(axes) > 1:
        return _ranged_quantity(work, resolver, statement, scope)
    if kind == "quantity" and (not axes or axes[0].range is not None):
        resolver.error(
            "misplaced",
            "a quantity has an index: one value for each atom",
            name,
            help=f"write `quantity {name.id}[i] = ...`, or `quantity {name.id}[i, k in 1..4] = ...`",
        )
        return None
    binders = {a.name: Binder(a.name, span=a.span) for a in axes}
    body = resolver.expr(statement.value, resolver.bindings(where, scope.inside(binders)))
    resolver.unused(where)
    return model.Equation(kind, name.id, tuple(binders), body, statement.span)


def _series(work: Resolution, resolver: Resolver, statement: tree.Equation, scope: Scope) -> model.Equation | None:
    """``observe g[k in 1..100] = ...``: an observable with an entry for each number of a range."""
    first, *more = statement.axes
    if first.range is None:
        help = (
            f"an entry for each number of a range: `observe {statement.name.id}[k in 1..100] = ...`; one value for "
            f"each atom: `quantity`"
        )
        resolver.error("misplaced", "an observe has no indices of atoms", first, help=help)
        return None
    if more:
        resolver.error("not-yet", "an observe of two ranges is not implemented yet", more[0])
        return None
    axis = resolve_range(work, resolver, first.range, scope)
    if axis is None:
        return None
    inner = scope.inside({first.name: Binder(first.name, "range", span=first.span)})
    body = resolver.expr(statement.value, resolver.bindings(statement.where, inner))
    resolver.unused(statement.where)
    return model.Equation("observe", statement.name.id, (first.name,), body, statement.span, axis)


def _ranged_quantity(
    work: Resolution, resolver: Resolver, statement: tree.Equation, scope: Scope
) -> model.Equation | None:
    """``quantity G[i, k in 1..16] = ...``: for each atom an entry for each number of a range. Where the statement does
    not say the range, it is that of an array that its value reads with this index."""
    if len(statement.axes) != 2 or statement.axes[0].range is not None:
        help = f"`quantity {statement.name.id}[i, k in 1..16] = ...`"
        resolver.error(
            "misplaced",
            "a quantity has one index of an atom, and one of a range if it has several values",
            statement.name,
            help=help,
        )
        return None
    atom, index = statement.axes
    if index.name == atom.name:
        resolver.error("duplicate-name", f"`{index.name}` is bound twice", index)
        return None
    declared = index.range or range_of(work, statement, index.name, scope)
    if declared is None:
        help = (
            f"a range is said, `quantity {statement.name.id}[{atom.name}, {index.name} in 1..16]`, or is "
            f"that of an "
            f"array that is read with this index"
        )
        resolver.error(
            "not-yet",
            f"nothing says the range of `{index.name}`, and a quantity of two atoms is not implemented yet",
            index,
            help=help,
        )
        return None
    axis = resolve_range(work, resolver, declared, scope)
    if axis is None:
        return None
    inner = scope.inside(
        {atom.name: Binder(atom.name, span=atom.span), index.name: Binder(index.name, "range", span=index.span)}
    )
    body = resolver.expr(statement.value, resolver.bindings(statement.where, inner))
    resolver.unused(statement.where)
    return model.Equation("quantity", statement.name.id, (atom.name, index.name), body, statement.span, axis)
