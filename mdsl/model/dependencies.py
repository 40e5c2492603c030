"""What expressions read, with all that decides it."""

from __future__ import annotations

from .nodes import Advance, Equation, Expr, Model, Read, names_in, walk
from .traverse import inside


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
        read = names_in(bodies[pending.pop()])
        found = (read & bodies.keys()) - names
        names |= found
        pending += found
    return tuple(e for e in model.equations if e.name in names)


def weighs(model: Model) -> bool:
    """Whether the energies, or what is run and recorded, depend on the masses of the atoms. The Model has no
    functions."""
    exprs: list[Expr | None] = [e.body for e in energetic(model)]
    for step in model.run:
        if not isinstance(step, Advance):
            if step.target == "v":
                return True  # velocities are drawn for a temperature
            continue
        exprs += inside((step.body, step.until, step.states, step.observes))
        exprs += [Read(name) for output in step.outputs for name in output.names]
    seen: set[str] = set()
    while exprs:
        names = reads(model, tuple(exprs)) - seen
        seen |= names
        exprs = [equation.body for name in names if (equation := model.equation(name)) is not None]
    return "m" in seen
