"""By what rule replicas exchange, in words."""

from __future__ import annotations

from collections.abc import Callable

from mdsl.lowering.field.names import PerKinetic
from mdsl.model.nodes import Advance, Expr, Number, Output


def exchange(advance: Advance, output: Output, written: Callable[[Expr], str]) -> list[str]:
    """What `explain` says of an output beside what it is. ``advance``: as it is lowered; ``written``: an expression as
    text."""
    if output.kind != "exchange":
        return []
    u = output.names[0]
    factor = next(e.body for e in advance.observes if e.name == PerKinetic(u))
    lines = [
        "neighbours a and b, in turn, with the probability exp(-d), or 1 if d < 0",
        f"d = {u}_a(x_b) + {u}_b(x_a) - {u}_a(x_a) - {u}_b(x_b), of atoms at rest",
    ]
    if isinstance(factor, Number):
        return [*lines, f"velocities stay, for {u} does not read them"]
    return [*lines, f"velocities times the root of {written(factor)}, before over after: what {u} holds of them stays"]
