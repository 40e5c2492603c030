"""What expressions read, with all that decides it."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from .nodes import Advance, Equation, Expr, Function, Model, Read, Scheme, names_in
from .traverse import inside


def closure(start: Iterable[str], behind: Callable[[str], Iterable[str]]) -> set[str]:
    """These names, and all that lie behind them."""
    found: set[str] = set()
    pending = [*start]
    while pending:
        name = pending.pop()
        if name not in found:
            found.add(name)
            pending += behind(name)
    return found


def used(model: Model, start: Iterable[str]) -> dict[str, Function | Scheme]:
    """The functions and schemes among these symbols, and those that these use, by symbol."""
    items: dict[str, Function | Scheme] = {f.symbol: f for f in model.functions}
    items |= {s.symbol: s for s in model.schemes}

    def behind(symbol: str) -> set[str]:
        item = items.get(symbol)
        return names_in(item).union(item.invoked() if isinstance(item, Scheme) else ())

    found = closure(start, behind)
    return {symbol: item for symbol, item in items.items() if symbol in found}


def reads(model: Model, exprs: tuple[Expr | None, ...]) -> frozenset[str]:
    """All that expressions read, also through the defaults of parameters."""

    def behind(name: str) -> set[str]:
        param = model.param(name)
        return set() if param is None else names_in(param.default)

    return frozenset(closure(names_in(exprs), behind))


def energetic(model: Model) -> tuple[Equation, ...]:
    """The energies, and all quantities and observables that they are made of."""
    bodies = {e.name: e.body for e in model.equations}
    names = closure((e.name for e in model.of_kind("energy")), lambda name: names_in(bodies[name]) & bodies.keys())
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

    def behind(name: str) -> frozenset[str]:
        equation = model.equation(name)
        return frozenset() if equation is None else reads(model, (equation.body,))

    return "m" in closure(reads(model, tuple(exprs)), behind)
