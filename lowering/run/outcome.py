"""How a statement of dynamics ended."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mdsl.model.nodes import Advance


@dataclass(frozen=True)
class Outcome:
    """``steps`` done, and whether the condition of `until` held after the last of them; None where it has none. Arrays
    with one for each system of a run, or numbers of one."""

    steps: int | np.ndarray
    converged: bool | np.ndarray | None

    def of(self, k: int) -> Outcome:
        """Of one system."""
        return Outcome(int(self.steps[k]), None if self.converged is None else bool(self.converged[k]))


def not_converged(advance: Advance, outcome: Outcome) -> str:
    """What is said of a statement that did all its steps without meeting its condition."""
    name = advance.scheme.rpartition(".")[2]
    return (
        f"{name} (line {advance.span.line}) did not converge: its condition does not hold after {outcome.steps:,} steps"
    )
