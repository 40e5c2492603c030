"""Adding up many numbers in single precision.

JAX adds up an array as a tree, and loses no more than a digit of the last place: of a million numbers 1e-7 of the sum
where they vary, 1e-6 where all are the same. Adding one after the other to one place does lose: a million equal numbers
are off by one in a hundred, and a count stops at 2^24. So what is scattered to few places is added up in blocks, and
what comes in many turns with the rounding errors kept apart.
"""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp

BLOCK = 8192  # numbers that are added one after the other


def scattered(shape: tuple[int, ...], entry: tuple, values):
    """[*shape]: ``values`` [n], each added at its ``entry``: indices, numbers or arrays [n]."""
    zeros = jnp.zeros(shape, values.dtype)
    if values.dtype == jnp.float64 or values.ndim != 1 or values.size <= BLOCK:
        return zeros.at[entry].add(values)
    blocks = jnp.arange(values.size, dtype=jnp.int32) // BLOCK
    return jnp.sum(jnp.zeros((-(-values.size // BLOCK), *shape), values.dtype).at[(blocks, *entry)].add(values), axis=0)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Total:
    """A sum of arrays so far, and its rounding errors."""

    sum: object
    rest: object

    @classmethod
    def of(cls, zeros) -> Total:
        return cls(zeros, zeros)

    def plus(self, found) -> Total:
        """With another array; A. Neumaier, Z. Angew. Math. Mech. 54, 39 (1974)."""
        total = self.sum + found
        lost = jnp.where(jnp.abs(self.sum) >= jnp.abs(found), (self.sum - total) + found, (found - total) + self.sum)
        return Total(total, self.rest + lost)

    @property
    def value(self):
        return self.sum + self.rest
