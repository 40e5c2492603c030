"""The legs of three-body sums: of the neighbours of an atom, those within the reach of the summand."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
from jax import lax

from .gather import take


class Legs(NamedTuple):
    """index: [M, n] neighbours as sorted positions; apart, d: tuples of [M, n], from the neighbour to the atom,
    straight and by the nearest image; count: [n] legs of each atom, which may be more than M; far: a length at
    which a leg adds nothing."""

    index: object
    apart: tuple
    d: tuple
    count: object
    far: object


def legs(slots, own: tuple, others: tuple, rows, nearest: Callable, reach, capacity: int | None, static: bool) -> Legs:
    """The neighbours within ``reach`` (None: all) of atoms at ``own`` [n].

    slots: [K, n], a row's own index where there is no neighbour; others: tables of all positions, padded.
    ``static``: with loops that reverse mode can go through.
    """
    total, n = slots.shape
    capacity = max(1, total if capacity is None else min(capacity, total))

    # Which atoms are near is no matter of derivatives.
    here, there = lax.stop_gradient((own, others))

    def pick(k, carry):
        index, count = carry
        j = slots[k]
        near = j != rows
        if reach is not None:
            d = nearest(tuple(a - take(b, j) for a, b in zip(here, there)))
            near &= sum(c * c for c in d) < reach**2

        def put(m, index):
            return index.at[m].set(jnp.where(near & (count == m), j, index[m]))

        bound = capacity if static else jnp.minimum(jnp.max(count) + 1, capacity)
        return lax.fori_loop(0, bound, put, index), count + near

    start = jnp.broadcast_to(rows, (capacity, n)), jnp.zeros(n, jnp.int32)
    index, count = lax.fori_loop(0, total, pick, start)
    apart = tuple(a - take(b, index) for a, b in zip(own, others))
    return Legs(index, apart, nearest(apart), count, jnp.asarray(1.0 if reach is None else 2 * reach, own[0].dtype))
