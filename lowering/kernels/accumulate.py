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

from mdsl.lowering.field.series import size
from mdsl.model.nodes import Axis

BLOCK = 8192  # numbers that are added one after the other


def scattered(shape: tuple[int, ...], entry: tuple, values):
    """[*shape]: ``values`` [n], each added at its ``entry``: indices, numbers or arrays [n]."""
    zeros = jnp.zeros(shape, values.dtype)
    if values.dtype == jnp.float64 or values.ndim != 1 or values.size <= BLOCK:
        return zeros.at[entry].add(values)
    blocks = jnp.arange(values.size, dtype=jnp.int32) // BLOCK
    return jnp.sum(jnp.zeros((-(-values.size // BLOCK), *shape), values.dtype).at[(blocks, *entry)].add(values), axis=0)


def binned(axis: Axis, bins, values, valid, dtype):
    """[K] for each component of values: these, added at their bins, where these are numbers of the range."""
    count = size(axis)
    place = jnp.asarray(bins) - axis.first
    hit = valid & (place == jnp.floor(place)) & (place >= 0) & (place < count)
    index = jnp.where(hit, place, count).astype(jnp.int32)  # the others go beyond the end
    shape = jnp.broadcast_shapes(index.shape, *(jnp.shape(v) for v in jax.tree.leaves(values)), jnp.shape(hit))
    index, hit = jnp.broadcast_to(index, shape).ravel(), jnp.broadcast_to(hit, shape).ravel()

    def add(v):
        return scattered((count + 1,), (index,), jnp.where(hit, jnp.broadcast_to(v, shape).ravel(), 0).astype(dtype))[
            :count
        ]

    return jax.tree.map(add, values)


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
