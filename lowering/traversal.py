"""Sums over neighbours: one pair kernel, several schedules.

A pair kernel is `body(own, other, valid) -> increments`: `own` and `other` are
pytrees of equal structure-by-need (the caller's choice) that hold one value per
row, `valid` says that the two are different atoms.  The result is a pytree of
increments per row.  Displacements, nearest images and cutoffs are the kernel's.

slot_sum       loop over neighbour slots, rows vectorised: for CPUs
row_sum        all slots gathered, one reduction: for GPUs
all_pairs_sum  no list: for small systems
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import lax


def _take(values, index):
    return values.at[index].get(mode="promise_in_bounds", wrap_negative_indices=False)


def slot_sum(body, slots, own, others, zeros, *, rows=None, unroll=4):
    """Sum of `body` over each row's neighbours, slot by slot.

    slots:  `[K, n]` int32, a row's own index where there is no neighbour
    own:    pytree of `[n]` arrays, the rows' values
    others: pytree of `[N]` arrays, gathered at the neighbours
    zeros:  pytree of `[n]` arrays like the increments, where the sum begins
    rows:   `[n]` int32, the rows' own indices; 0 ... n-1 by default
    """
    count, n = slots.shape
    rows = lax.iota(slots.dtype, n) if rows is None else rows

    def add(total, index):
        other = jax.tree.map(lambda v: _take(v, index), others)
        return jax.tree.map(jnp.add, total, body(own, other, index != rows))

    def step(k, total):
        for u in range(unroll):
            total = add(total, lax.dynamic_index_in_dim(slots, k * unroll + u, 0, keepdims=False))
        return total

    total = lax.fori_loop(0, count // unroll, step, zeros)
    for k in range(count - count % unroll, count):
        total = add(total, slots[k])
    return total
