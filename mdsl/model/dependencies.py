"""What expressions read, with all that decides it."""

from __future__ import annotations

from .nodes import Equation, Expr, Model, Read, walk


def reads(model: Model, exprs: tuple[Expr | None, ...]) -> frozenset[str]:
    """All that expressions read, also through the defaults of parameters."""
    names: set[str] = set()
    pending = [e for e in exprs if e is not None]
    while pending:
        for node in walk(pending.pop()):
            if isinstance(node, Read) and node.symbol not in names:
                names.add(node.symbol)
                param = model.param(node.symbol)
                pending += [param.default] if param is not None and param.default is not None else []
    return frozenset(names)


def energetic(model: Model) -> tuple[Equation, ...]:
    """The energies, and all quantities and observables that they are made of."""
    bodies = {e.name: e.body for e in model.equations}
    names = {e.name for e in model.of_kind("energy")}
    pending = list(names)
    while pending:
        read = {n.symbol for n in walk(bodies[pending.pop()]) if isinstance(n, Read)}
        found = (read & bodies.keys()) - names
        names |= found
        pending += found
    return tuple(e for e in model.equations if e.name in names)
