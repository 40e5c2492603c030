"""From words of bits to slots, a block of clusters after the other: see `lists` for the idea."""

from __future__ import annotations

import jax.numpy as jnp
from jax import lax

from mdsl.lowering.planning.capacity import LANES

from . import windows
from .gather import padded, take

BLOCK = 64  # clusters that are tested, and their rows filled, together: their words and slots stay in the cache


def fill(plan, grid, start, into):
    """Slots of the rows from ``start`` on in the place of ``into``, `[K, count]`, whatever that holds; the most
    neighbours of a row, and the most candidates in a window."""
    count = into.shape[1]
    # Clusters touched by the rows: one more partial cluster at either end. Where there may be padding, one that is not
    # used comes last, for full ones leave no room behind them.
    most = min(plan.clusters, count // LANES + min(plan.columns, count) + 2) + (count < plan.n_atoms)
    # Powers of two, because gathers divide their flattened index by the row length.
    block = min(BLOCK, 1 << max(0, most - 1).bit_length())
    together = min(count, block * LANES)  # rows

    def cluster_of(row):
        column = take(grid.column, row)
        return take(grid.cluster, column) + (row - take(grid.bottom, column)) // LANES

    origin = cluster_of(jnp.minimum(start, plan.n_atoms - 1))
    final = cluster_of(jnp.minimum(start + count, plan.n_atoms) - 1)

    def one(carry, number):
        slots, degree, widest = carry
        first = origin + number * block
        some = windows.clusters(plan, grid, first + lax.iota(jnp.int32, block), final)
        words, candidates = windows.test(plan, grid, some)
        # Rows behind those of the block are filled by the next one. Before them stand others where the last is cut. A
        # block without atoms empties the padding.
        offset = jnp.where(some.used[0], some.low[0] + some.row[0, 0] - start, jnp.clip(plan.n_atoms - start, 0, count))
        cut = jnp.clip(offset, 0, count - together)
        row = start + cut + lax.iota(jnp.int32, together)
        at, shape = (jnp.int32(0), cut), (plan.slots, together)
        kept = lambda: jnp.where(row < start + offset, lax.dynamic_slice(slots, at, shape), row)  # noqa: E731
        here = lax.cond(cut < offset, kept, lambda: jnp.broadcast_to(row, shape))
        here, most = _rows(plan, grid, words, first, row, here)
        slots = lax.dynamic_update_slice(slots, here, at)
        return (slots, jnp.maximum(degree, most), jnp.maximum(widest, candidates)), None

    carry, _ = lax.scan(one, (into, jnp.int32(0), jnp.int32(0)), jnp.arange(-(-most // block), dtype=jnp.int32))
    return carry


def _rows(plan, grid, words, first, row, slots):
    """The slots of these rows, with those filled that are of the block of clusters from ``first`` on."""
    _, block, lanes = words.words.shape
    size, stride = plan.word, block * lanes
    mask = jnp.uint32(2**size - 1)
    table, begin, last, degrees = (padded(v.reshape(-1)) for v in words)
    column = take(grid.column, row)
    rank = row - take(grid.bottom, column)
    cluster = take(grid.cluster, column) + rank // LANES - first
    mine = (cluster >= 0) & (cluster < block) & (row < plan.n_atoms)
    lane = cluster * LANES + rank % LANES
    group = jnp.where(mine, take(last, lane), 0)

    def word_of(group):
        return jnp.where(group > 0, take(table, lane + (group - 1) * stride), 0)

    def next_slot(k, carry):
        slots, group, word = carry
        bits = word & mask
        lowest = bits & (~bits + 1)
        place = take(begin, cluster + (group - 1) * block) + lax.population_count(lowest - 1).astype(jnp.int32)
        neighbour = jnp.where(
            bits != 0, take(grid.places, place), lax.dynamic_index_in_dim(slots, k, 0, keepdims=False)
        )
        slots = lax.dynamic_update_index_in_dim(slots, neighbour, k, 0)
        following = (word >> size).astype(jnp.int32)
        done = bits == lowest
        return slots, jnp.where(done, following, group), jnp.where(done, word_of(following), word ^ lowest)

    degree = jnp.max(jnp.where(mine, take(degrees, lane), 0))
    return lax.fori_loop(0, jnp.minimum(degree, plan.slots), next_slot, (slots, group, word_of(group)))[0], degree
