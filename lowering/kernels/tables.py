"""Tabulated functions in JAX: a search for the interval by arithmetic, gathers of coefficients, a cubic.

The derivative of a lookup is the lookup of the next order. Lookups at one place, of a function and its derivatives,
search and gather alike, so XLA computes what they share once.
"""

from __future__ import annotations

from functools import lru_cache, partial
from math import perm

import jax
import jax.numpy as jnp
import numpy as np

from mdsl.lowering.neighbours.gather import take
from mdsl.model.curves import OUTSIDE, Curves, quotient


@partial(jax.custom_jvp, nondiff_argnums=(0, 1, 2))
def lookup(curves: Curves, order: int, extended: bool, which, x):
    """The ``order``-th derivative of curve ``which`` (whole numbers, of any type) at ``x``. See `Curves.value`."""
    x = x if jnp.issubdtype(x.dtype, jnp.floating) else x.astype(float)
    knots = curves.values.shape[-1]
    steps = (x - curves.first) / curves.step
    k, p = curves.piece(steps, jnp)
    entry = jnp.asarray(which).astype(jnp.int32) * knots + k.astype(jnp.int32)
    lowest = 0 if curves.divided else order
    # The tables are one long array for each power; a gather of four numbers side by side does not vectorise.
    c = {m: take(jnp.asarray(_coefficients(curves, x.dtype.name)[m]), entry) for m in range(lowest, 4)}
    if curves.beyond in OUTSIDE:
        inside = curves.inside(steps)
        c |= {m: jnp.where(inside, c[m], 0) for m in c if m >= OUTSIDE[curves.beyond]}

    def cubic(n: int):
        total = jnp.zeros_like(p)
        for m in range(3, n - 1, -1):
            total = total * p + perm(m, n) * c[m]
        return total / curves.step**n

    return curves.with_ends(quotient(cubic, order, x) if curves.divided else cubic(order), x, extended, jnp)


@lookup.defjvp
def _(curves: Curves, order: int, extended: bool, primals, tangents):
    (which, x), (_, dx) = primals, tangents
    return lookup(curves, order, extended, which, x), lookup(curves, order + 1, extended, which, x) * dx


@lru_cache(maxsize=64)
def _coefficients(curves: Curves, dtype: str) -> np.ndarray:
    """[4, L]: the coefficients of all pieces of all curves, filled up to a power of two."""
    flat = curves.pieces.reshape(4, -1)
    length = 1 << max(0, flat.shape[1] - 1).bit_length()
    return np.pad(flat, ((0, 0), (0, length - flat.shape[1]))).astype(dtype)
