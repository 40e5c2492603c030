"""Tabulated functions in JAX: the piece is found by arithmetic, its cubic read by `row_of_four`.

The derivative of a lookup is the lookup of the next order. Lookups at one place, of a function and its derivatives,
find and read the same piece, which is done once.
"""

from __future__ import annotations

from functools import lru_cache, partial
from math import perm

import jax
import jax.numpy as jnp
import numpy as np

from mdsl.lowering.neighbours.gather import row_of_four
from mdsl.model.curves import OUTSIDE, REPEAT, Curves, quotient


@partial(jax.custom_jvp, nondiff_argnums=(0, 1, 2))
def lookup(curves: Curves, order: int, extended: bool, which, x):
    """The ``order``-th derivative of curve ``which`` (whole numbers, of any type) at ``x``. See `Curves.value`."""
    x = x if jnp.issubdtype(x.dtype, jnp.floating) else x.astype(float)
    steps = (x - curves.first) * (1 / curves.step)
    k, p = _piece(curves, steps)
    if len(curves.values) > 1:
        k = jnp.asarray(which).astype(jnp.int32) * curves.values.shape[-1] + k
    c = dict(enumerate(row_of_four(_coefficients(curves, x.dtype.name), k)))
    if curves.beyond in OUTSIDE:
        inside = curves.inside(steps)
        c |= {m: jnp.where(inside, c[m], 0) for m in c if m >= OUTSIDE[curves.beyond]}

    def cubic(n: int):
        if n > 3:
            return jnp.zeros_like(p)
        total = perm(3, n) * c[3]
        for m in range(2, n - 1, -1):
            total = total * p + perm(m, n) * c[m]
        return total * curves.step**-n

    return curves.with_ends(quotient(cubic, order, x) if curves.divided else cubic(order), x, extended, jnp)


@lookup.defjvp
def _(curves: Curves, order: int, extended: bool, primals, tangents):
    (which, x), (_, dx) = primals, tangents
    return lookup(curves, order, extended, which, x), lookup(curves, order + 1, extended, which, x) * dx


def _piece(curves: Curves, steps):
    """As `Curves.piece`, with the number of the cubic as whole numbers, among which ends cost least."""
    if curves.beyond == REPEAT:
        k, p = curves.piece(steps, jnp)
        return k.astype(jnp.int32), p
    k = jnp.clip(steps.astype(jnp.int32), 0, curves.values.shape[-1] - 1)
    return k, steps - k.astype(steps.dtype)


@lru_cache(maxsize=64)
def _coefficients(curves: Curves, dtype: str) -> np.ndarray:
    """[L, 4]: the coefficients of all pieces of all curves, filled up to a power of two."""
    flat = curves.pieces.reshape(4, -1)
    length = 1 << max(0, flat.shape[1] - 1).bit_length()
    return np.ascontiguousarray(np.pad(flat, ((0, 0), (0, length - flat.shape[1]))).T.astype(dtype))
