"""Sums over neighbours: one pair kernel, several schedules.

A pair kernel is `body(own, other, valid) -> increments`.  `own` holds values of
the row atoms, `other` the same or other values of one neighbour each, `valid`
says that the two are different atoms (an index comparison: atoms that coincide
are still a pair).  All operations are elementwise; arrays broadcast along the
last axis, which is the row; an axis before it holds several numbers of each,
`[C, n]`.  Displacements, nearest images and cutoffs are the kernel's own business,
and increments where `valid` is false must be zero.

slot_sum       loop over neighbour slots, vectorised over rows: CPUs
row_sum        all slots gathered, one reduction: GPUs
row_sum_on_gpu the same, or blocks of rows that go through their slots, by a kernel of Pallas (`row_kernel`)
listed_sum     one of these two, by what it is compiled for (`LISTED`)
all_pairs_sum  no list: small systems
unlisted_sum   the same, in the way for so many atoms and what it is compiled for
each_other_sum the same, one other atom after the other: the smallest systems, and ensembles of these
slot_fold, all_pairs_fold  the same pairs, taken in one after the other by a function of the caller: histograms

`Shards` splits rows over devices; its methods belong inside `jax.shard_map`.
"""

from __future__ import annotations

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import PartitionSpec

from mdsl.lowering.kernels.staged import Staged
from mdsl.lowering.neighbours import lists as neighbours
from mdsl.lowering.neighbours.gather import padded, take
from mdsl.lowering.planning import capacity
from mdsl.lowering.planning.kernels import asked, by_pallas

MOST_PAIRS = 1_000_000  # that are computed at once where there is no list
ROWS = 8192  # that are gone through together where there are many more, so that their sums stay in the cache
SMALLEST = 100  # atoms up to which `each_other_sum` is the faster way to visit all pairs
ATOMS = "atoms"  # name of the mesh axis


def slot_sum(body, slots, own, others, zeros, *, rows=None, used=None, lengths=None, unroll=2):
    """Sum of `body` over each row's neighbours, slot by slot.

    slots:  `[K, n]` int32, a row's own index where there is no neighbour
    own:    pytree of `[n]` arrays, values of the rows
    others: pytree of `[N]` arrays, gathered at the neighbours
    zeros:  pytree of `[n]` arrays, the structure and types of the increments
    rows:   `[n]` int32, the rows' own indices; 0 ... n - 1 by default
    used:   int32, the slots in use (`needed.slots`) if the rest may be skipped; a
            loop of traced length cannot be differentiated in reverse mode
    lengths: as of `listed_sum`; only native kernels go by them
    """
    n = slots.shape[1]
    rows = lax.iota(slots.dtype, n) if rows is None else rows
    others = jax.tree.map(padded, others)
    if used is None or n < 2 * ROWS:
        return _slots_of_rows(body, slots, None, own, others, zeros, rows, used, unroll)

    def block(b, sums):
        first = jnp.int32(
            jnp.minimum(b * ROWS, n - ROWS)
        )  # the last block may go through some rows of the one before again
        cut = lambda tree: jax.tree.map(lambda v: lax.dynamic_slice_in_dim(v, first, ROWS, v.ndim - 1), tree)  # noqa: E731
        found = _slots_of_rows(body, slots, first, cut(own), others, cut(zeros), cut(rows), used, unroll)
        return jax.tree.map(lambda v, f: lax.dynamic_update_slice_in_dim(v, f, first, v.ndim - 1), sums, found)

    return lax.fori_loop(0, -(-n // ROWS), block, zeros)


def _slots_of_rows(body, slots, first, own, others, zeros, rows, used, unroll):
    """`slot_sum` of as many rows as there are in ``rows``, from ``first`` on (None: of all)."""
    count = slots.shape[0]

    def at(k):
        index = (
            lax.dynamic_index_in_dim(slots, k, 0, keepdims=False)
            if first is None
            else lax.dynamic_slice(slots, (jnp.int32(k), first), (1, rows.shape[0]))[0]
        )
        return jax.tree.map(lambda values: take(values, index), others), index != rows

    def add(total, increments):
        return jax.tree.map(jnp.add, total, increments)

    def step(k, total):
        for u in range(unroll):
            total = add(total, body(own, *at(k * unroll + u)))
        return total

    def factors(k):
        return [body.factors(own, *at(k * unroll + u)) for u in range(unroll)]

    def push(k, total, found):
        for u in range(unroll):
            total = add(total, body.increments(found[u], own, *at(k * unroll + u)))
        return total

    rest = count % unroll
    steps = count // unroll
    if used is not None:
        steps = jnp.minimum(steps, (used + unroll - 1) // unroll)
    if isinstance(body, Staged) and count >= unroll:
        total, found = lax.fori_loop(1, steps, lambda k, carry: (push(k - 1, *carry), factors(k)), (zeros, factors(0)))
        total = push(jnp.maximum(steps, 1) - 1, total, found)
    else:
        total = lax.fori_loop(0, steps, step, zeros)
    for k in range(count - rest, count):
        total = add(total, body(own, *at(k)))
    return total


def row_sum(body, slots, own, others, zeros, *, rows=None, used=None, lengths=None):
    """As `slot_sum`, with all slots gathered at once: `[K, n]` terms, reduced over K, unused ones too."""
    n = slots.shape[1]
    rows = lax.iota(slots.dtype, n) if rows is None else rows
    others = jax.tree.map(padded, others)
    other = jax.tree.map(lambda values: take(values, slots), others)
    own = jax.tree.map(_beside, own)
    return _reduced(body(own, other, slots != rows), slots.shape, zeros)


def _native():
    """The schedules of kernels of our own, where these are chosen. Only then are they imported, which takes 40 ms."""
    if not asked():
        return None
    from mdsl.lowering.native import call

    return call if call.chosen() else None


def slot_sum_on_cpu(body, slots, own, others, zeros, *, rows=None, used=None, lengths=None):
    """As `slot_sum`, by a kernel of our own where these are chosen and this one can be printed."""
    if native := _native():
        with native.or_else():
            return native.slot_sum(body, slots, own, others, zeros, rows=rows, used=used, lengths=lengths)
    return slot_sum(body, slots, own, others, zeros, rows=rows, used=used)


def row_sum_on_gpu(body, slots, own, others, zeros, *, rows=None, used=None, lengths=None, platform="cuda"):
    """As `slot_sum`, by a kernel of Pallas where these are chosen, and Triton takes this one."""
    if by_pallas():
        from mdsl.lowering.native.call import or_else

        from .row_kernel import believed, row_kernel_sum

        if believed(platform):
            with or_else():
                return row_kernel_sum(body, slots, own, others, zeros, rows=rows, used=used, platform=platform)
    return row_sum(body, slots, own, others, zeros, rows=rows, used=used)


ELSEWHERE = row_sum  # as those of `GPUS` tested, but never timed on a GPU
GPUS = {name: partial(row_sum_on_gpu, platform=name) for name in ("cuda", "rocm")}
LISTED = {"cpu": slot_sum_on_cpu, **GPUS}  # by what a program is compiled for


def listed_sum(body, slots, own, others, zeros, *, rows=None, used=None, lengths=None):
    """As `slot_sum`, by the schedule for what the program is compiled for: that is known when it is lowered.
    ``lengths``: `[n]` int32, beyond which slot each row has no neighbours, if these may be skipped."""

    def by(schedule):
        return lambda: schedule(body, slots, own, others, zeros, rows=rows, used=used, lengths=lengths)

    special = {k: v for k, v in LISTED.items() if k not in GPUS or by_pallas()}  # each is traced
    return lax.platform_dependent(default=by(ELSEWHERE), **{k: by(v) for k, v in special.items()})


def all_pairs_sum(body, own, others, zeros, *, rows=None, excluded=None):
    """As `slot_sum`, over all atoms `others`, without a list. ``excluded``: `[E, n]` atoms that are no neighbours
    of each row."""
    n = jax.tree.leaves(zeros)[0].shape[-1]
    every = jnp.arange(jax.tree.leaves(others)[0].shape[-1], dtype=jnp.int32)
    rows = lax.iota(jnp.int32, n) if rows is None else rows
    other = jax.tree.map(lambda values: values[..., None], others)
    own = jax.tree.map(_beside, own)
    valid = every[:, None] != rows
    if excluded is not None:
        valid &= (every[:, None] != excluded[:, None, :]).all(0)
    return _reduced(body(own, other, valid), (len(every), n), zeros)


def unlisted_sum(body, own, others, zeros, *, rows=None, excluded=None):
    """As `all_pairs_sum`, by a kernel of our own as `slot_sum_on_cpu`, or as suits so many atoms."""

    def elsewhere():
        return all_pairs_in_blocks(body, own, others, zeros, rows=rows, excluded=excluded)

    def here():
        with native.or_else():
            return native.all_pairs_sum(body, own, others, zeros, rows=rows, excluded=excluded)
        return elsewhere()

    native = _native()
    return lax.platform_dependent(cpu=here, default=elsewhere) if native else elsewhere()


def each_other_sum(body, own, others, zeros, *, rows=None, excluded=None, unroll=2):
    """As `all_pairs_sum`: the others are taken in one after the other by all rows and, under `vmap`, all replicas at
    once, so that what is added up stays in the cache. 64 replicas of 32 atoms: a third of the time."""
    rows = lax.iota(jnp.int32, jax.tree.leaves(zeros)[0].shape[0]) if rows is None else rows

    def step(j, total):
        other = jax.tree.map(
            lambda values: jnp.broadcast_to(lax.dynamic_index_in_dim(values, j, 0, keepdims=False), rows.shape), others
        )
        valid = rows != j
        if excluded is not None:
            valid &= (excluded != j).all(0)
        return jax.tree.map(lambda a, b: a + jnp.asarray(b, a.dtype), total, body(own, other, valid))

    return lax.fori_loop(0, jax.tree.leaves(others)[0].shape[0], step, zeros, unroll=unroll)


def slot_fold(body, slots, own, others, start, into, *, rows, used=None):
    """As `slot_sum`, where `into(total, increments, valid)` takes in what `body` gives for all rows at one slot."""
    others = jax.tree.map(padded, others)

    def step(k, total):
        index = lax.dynamic_index_in_dim(slots, k, 0, keepdims=False)
        valid = index != rows
        return into(total, body(own, jax.tree.map(lambda values: take(values, index), others), valid), valid)

    return lax.fori_loop(0, slots.shape[0] if used is None else jnp.minimum(slots.shape[0], used), step, start)


def all_pairs_fold(body, own, others, start, into, *, rows, last, excluded=None):
    """As `slot_fold`, over all atoms `others`, a block of rows at a time. Rows from ``last`` on are no atoms."""
    n, every = rows.shape[0], jnp.arange(jax.tree.leaves(others)[0].shape[-1], dtype=jnp.int32)
    size = min(n, max(1, MOST_PAIRS // max(1, every.shape[0])))
    blocks = -(-n // size)
    other = jax.tree.map(lambda values: values[..., None], others)

    def step(block, total):
        mine = jnp.minimum(block * size + lax.iota(jnp.int32, size), n - 1)
        index = rows[mine]
        valid = (every[:, None] != index) & (index < last) & (block * size + lax.iota(jnp.int32, size) < n)
        if excluded is not None:
            valid &= (every[:, None] != excluded[:, None, mine]).all(0)
        return into(total, body(jax.tree.map(lambda values: _beside(values[..., mine]), own), other, valid), valid)

    return lax.fori_loop(0, blocks, step, start)


def all_pairs_in_blocks(body, own, others, zeros, *, rows=None, excluded=None):
    """As `all_pairs_sum`, by whichever way is the fastest for so many atoms: a block of rows at a time where all pairs
    at once would need too much memory."""
    n = jax.tree.leaves(zeros)[0].shape[-1]
    total = jax.tree.leaves(others)[0].shape[-1]
    if total <= SMALLEST and all(
        v.ndim == 1 for v in jax.tree.leaves((own, zeros))
    ):  # reverse mode may go through the others
        return each_other_sum(body, own, others, zeros, rows=rows, excluded=excluded)
    size = max(1, MOST_PAIRS // max(1, total))
    if n <= size:
        return all_pairs_sum(body, own, others, zeros, rows=rows, excluded=excluded)
    rows = lax.iota(jnp.int32, n) if rows is None else rows
    blocks = -(-n // size)

    def cut(v):  # the last block is filled up with copies of its last row
        v = jnp.concatenate([v, jnp.broadcast_to(v[..., -1:], (*v.shape[:-1], blocks * size - n))], axis=-1)
        return jnp.moveaxis(v.reshape(*v.shape[:-1], blocks, size), -2, 0)

    parts = {"own": own, "zeros": zeros, "rows": rows} | ({} if excluded is None else {"excluded": excluded})

    def one(part):
        return all_pairs_sum(body, part["own"], others, part["zeros"], rows=part["rows"], excluded=part.get("excluded"))

    sums = lax.map(one, jax.tree.map(cut, parts))
    return jax.tree.map(lambda v: jnp.moveaxis(v, 0, -2).reshape(*v.shape[1:-1], blocks * size)[..., :n], sums)


def _beside(values):
    """The values of rows beside those of all others: several numbers of each row, `[C, n]`, as `[C, 1, n]`."""
    return values if values.ndim < 2 else values[..., None, :]


def _reduced(terms, shape, zeros):
    def total(zero, term):
        return zero + jnp.sum(jnp.broadcast_to(term, (*zero.shape[:-1], *shape)), axis=-2, dtype=zero.dtype)

    return jax.tree.map(total, zeros, terms)


# --- several devices ----------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Shards:
    """Rows of the sorted order in equal, contiguous parts, one per device; hashable.

    Every device holds `count` rows.  Those from N on are padding: they have no
    neighbours, and the driver gives them any finite position.
    """

    n_atoms: int
    devices: int

    @property
    def count(self):
        return -(-self.n_atoms // self.devices)

    @property
    def total(self):
        return self.count * self.devices

    def mesh(self, devices=None):
        devices = jax.devices()[: self.devices] if devices is None else devices
        return jax.sharding.Mesh(np.asarray(devices), (ATOMS,))

    def over(self, mesh, function, in_specs, out_specs):
        """`function` as one program per device.  The leaves of the specs are "inputs", "one" and "all" (the
        same on every device), "rows" (`[count]` of each) and "slots" (`[K, count]`)."""
        specs = {
            **dict.fromkeys(("inputs", "one", "all"), PartitionSpec()),
            "rows": PartitionSpec(ATOMS),
            "slots": PartitionSpec(None, ATOMS),
        }
        ins, outs = (jax.tree.map(specs.__getitem__, tree) for tree in (in_specs, out_specs))
        # Sums start from zeros that are the same everywhere, which the check of
        # replication refuses.
        return jax.shard_map(function, mesh=mesh, in_specs=ins, out_specs=outs, check_vma=False)

    # Inside shard_map:

    def start(self):
        """First row of this device."""
        return lax.axis_index(ATOMS).astype(jnp.int32) * self.count

    def rows(self):
        return self.start() + lax.iota(jnp.int32, self.count)

    def local(self, values):
        """This device's rows of a pytree of `[N]` or `[total]` arrays, along the first axis."""

        def cut(v):
            v = jnp.concatenate([v, jnp.broadcast_to(v[:1], (self.total - v.shape[0], *v.shape[1:]))])
            return lax.dynamic_slice_in_dim(v, self.start(), self.count)

        return jax.tree.map(cut, values)

    def everywhere(self, values):
        """All rows, `[..., total]`, of a pytree of `[..., count]` arrays; those `[count]` of one type are gathered
        together."""
        found, tree = jax.tree.flatten(values)
        for dtype in dict.fromkeys(v.dtype for v in found):
            places = [k for k, v in enumerate(found) if v.dtype == dtype and v.ndim == 1]
            if places:
                together = lax.all_gather(jnp.stack([found[k] for k in places]), ATOMS)  # [devices, arrays, count]
                for n, k in enumerate(places):
                    found[k] = together[:, n].reshape(self.total)
        found = [v if v.ndim == 1 else lax.all_gather(v, ATOMS, axis=v.ndim - 1, tiled=True) for v in found]
        return jax.tree.unflatten(tree, found)

    def build(self, plan, positions, cell, radius, into=None):
        """This device's rows of the list of `positions` (all of them, `[N]`), with the
        capacities and the overflow of all devices."""
        part = neighbours.build(plan, positions, cell, radius, rows=(self.start(), self.count), into=into)
        needed = jax.tree.map(lambda v: lax.pmax(v, ATOMS), part.needed)
        return part._replace(needed=needed, overflow=capacity.overflows(plan, needed))
