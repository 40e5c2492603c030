"""Pair kernels in two stages, for loops that compute a costly part once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Staged:
    """A pair kernel in two stages: `increments(factors(own, other, valid), own, other, valid)`.

    `factors` gives few arrays that are costly, such as the force between two atoms; `increments` makes many of them,
    such as its components. XLA would compute what many results share anew for each of them, or store all that it is
    made of. A loop that carries the factors to its next turn makes it compute them once, each in one go.
    """

    factors: Callable
    increments: Callable

    def __call__(self, own, other, valid):
        return self.increments(self.factors(own, other, valid), own, other, valid)
