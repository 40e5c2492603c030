"""The legs of three-body sums: of the neighbours of an atom, those within the reach of the summand.

Which neighbours are near is noted as bits, one for each slot; legs are then picked bit by bit. Atoms with about as
many legs are taken together, so that few do more than their own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
from jax import lax

from .gather import take

BITS = 32  # of a word
BLOCK = 2048  # atoms whose legs are in the fast memory at a time
MOST_SORTED = 1 << 24  # atoms whose place fits into a word beside a count


class Near(NamedTuple):
    """words: [W, n], bit k of word w: whether slot 32 w + k is near; count: [n] of them."""

    words: object
    count: object


class Legs(NamedTuple):
    """index: [M, n] neighbours as sorted positions; apart, d: tuples of [M, n], from the neighbour to the atom,
    straight and by the nearest image; count: [n] legs of each atom, which may be more than M; far: a length at
    which a leg adds nothing."""

    index: object
    apart: tuple
    d: tuple
    count: object
    far: object


def near(slots, own: tuple, others: tuple, rows, nearest: Callable, reach, used=None) -> Near:
    """The neighbours within ``reach`` (None: all) of atoms at ``own`` [n].

    slots: [K, n], a row's own index where there is no neighbour; others: tables of all positions, padded; used: the
    slots in use, if the rest may be skipped.
    """
    total, n = slots.shape
    # Which atoms are near is no matter of derivatives.
    here, there = lax.stop_gradient((own, others))
    if reach is not None:  # rounded up: the summand knows its end
        reach = (reach * (1 + 4 * jnp.finfo(own[0].dtype).eps)).astype(own[0].dtype)

    def note(k, words):
        j = lax.dynamic_index_in_dim(slots, k, 0, keepdims=False)
        found = j != rows
        if reach is not None:
            d = nearest(tuple(a - take(b, j) for a, b in zip(here, there)))
            found &= sum(c * c for c in d) < reach**2
        word = lax.dynamic_index_in_dim(words, k // BITS, 0, keepdims=False)
        word |= found.astype(jnp.uint32) << (k % BITS).astype(jnp.uint32)
        return lax.dynamic_update_index_in_dim(words, word, k // BITS, 0)

    last = jnp.int32(total) if used is None else jnp.minimum(used, total)
    words = lax.fori_loop(jnp.int32(0), last, note, jnp.zeros((max(1, -(-total // BITS)), n), jnp.uint32))
    return Near(words, jnp.sum(lax.population_count(words), axis=0, dtype=jnp.int32))


def blocks(count) -> tuple:
    """How atoms with ``count`` [n] legs are taken together: [B, size] of them, and which of these are there."""
    n = count.shape[0]
    number = max(1, -(-n // BLOCK))
    size = -(-n // number) if number == 1 else -(-n // (16 * number)) * 16
    order = lax.iota(jnp.uint32, n)
    if number > 1 and n <= MOST_SORTED:
        fewer = (255 - jnp.minimum(count, 255)).astype(jnp.uint32)
        order = lax.sort(fewer * MOST_SORTED + order) % MOST_SORTED
    place = jnp.arange(number * size)
    order = jnp.where(place < n, order[jnp.minimum(place, n - 1)].astype(jnp.int32), 0)
    return order.reshape(number, size), (place < n).reshape(number, size)


def picked(found: Near, slots, rows, columns, capacity: int, most) -> object:
    """[M, n] the legs of rows ``rows`` in the ``columns`` of the list, ``most`` at most; rows themselves where there
    are no more."""
    total, words = slots.shape[0], found.words

    def pick(m, carry):
        index, start = carry

        def look(k, best):
            w = words.shape[0] - 1 - k
            ahead = jnp.clip(start - BITS * w, 0, BITS)
            mask = jnp.where(ahead < BITS, jnp.uint32(0xFFFFFFFF) << jnp.minimum(ahead, BITS - 1).astype(jnp.uint32), 0)
            left = lax.dynamic_index_in_dim(words, w, 0, keepdims=False) & mask
            lowest = lax.population_count((left & (~left + 1)) - 1).astype(jnp.int32)
            return jnp.where(left != 0, BITS * w + lowest, best)

        slot = lax.fori_loop(0, words.shape[0], look, jnp.full(rows.shape, total, jnp.int32))
        there = slot < total
        j = jnp.where(there, slots.at[jnp.minimum(slot, total - 1), columns].get(mode="promise_in_bounds"), rows)
        return lax.dynamic_update_index_in_dim(index, j, m, 0), jnp.where(there, slot + 1, total)

    start = jnp.broadcast_to(rows, (capacity, *rows.shape)), jnp.zeros(rows.shape, jnp.int32)
    return lax.fori_loop(0, most, pick, start)[0]


def legs(index, own: tuple, others: tuple, nearest: Callable, reach, count) -> Legs:
    """The legs to the neighbours ``index`` [M, n] of atoms at ``own`` [n], which have ``count`` of them."""
    apart = tuple(a - take(b, index) for a, b in zip(own, others))
    return Legs(index, apart, nearest(apart), count, jnp.asarray(1.0 if reach is None else 2 * reach, own[0].dtype))
