"""How a statement of dynamics ended."""

from __future__ import annotations

from dataclasses import dataclass

from mdsl.model.nodes import Advance


@dataclass(frozen=True)
class Outcome:
    """``steps`` done, and whether the condition of `until` held after the last of them; None where it has none."""

    steps: int
    converged: bool | None


def not_converged(advance: Advance, outcome: Outcome) -> str:
    """What is said of a statement that did all its steps without meeting its condition."""
    name = advance.scheme.rpartition(".")[2]
    return (
        f"{name} (line {advance.span.line}) did not converge: its condition does not hold after {outcome.steps:,} steps"
    )
