"""Columns, clusters and windows: the device side of the neighbour list.

`sort`   puts the atoms in the order of columns and bins
`test`   tests distances, cluster by cluster, into words of bits
`fill`   turns each atom's words into its slots

See `neighbours` for the idea; `plan` is a `neighbours.Plan` throughout.
"""

from __future__ import annotations

import itertools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from .cell import Cell, fractions, nearest, steepness, wrap
from .gather import padded, take

LANES = 16  # atoms per cluster: one AVX-512 register of float32
BINS = 8  # bins along a column, per radius
BLOCK = 256  # clusters that are tested together, so that their data stay in cache
ROWS = 8192  # rows that are filled together
UNROLL = 4


# --- sorted order -------------------------------------------------------------


class Axis(NamedTuple):
    """Cells along one axis: cell = floor((x - origin) / width)."""

    origin: jax.Array
    width: jax.Array
    length: jax.Array
    wanted: jax.Array


class Grid(NamedTuple):
    """Atoms in sorted order, with the extents of bins, columns and clusters.

    Each column is written twice in succession in `twice` and `x`, so that a
    window that runs over the end of a periodic column is contiguous there:
    place `2 bottom + t` and `2 bottom + size + t` hold the same atom.

    All are padded to a power of two (see `gather`).

    x:       d arrays `[2 N]`, wrapped into the box on periodic axes
    cell:    the box; where it is tilted, columns run along its last vector
    twice:   `[2 N]` int32, sorted position at each place
    start:   `[columns * bins + 1]` int32, first sorted position of each bin
    bottom:  `[columns + 1]` int32, first sorted position of each column, and N
    cluster: `[columns + 1]` int32, first cluster of each column
    column:  `[N]` int32, column of each sorted position
    """

    axes: tuple[Axis, ...]
    cell: Cell
    x: tuple[jax.Array, ...]
    twice: jax.Array
    start: jax.Array
    bottom: jax.Array
    cluster: jax.Array
    column: jax.Array




def _axis(x, length, periodic, cells, radius, per_radius):
    """Cell geometry along one axis, and the coordinates wrapped into the box."""
    # Rounding of x / width must not move a neighbour one column further.
    margin = 1 + 8 * cells * jnp.finfo(x.dtype).eps
    smallest = radius / per_radius * margin
    if periodic:
        x = x - length * jnp.floor(x / length)
        wanted = jnp.clip(jnp.floor(length / smallest), 2, 2**30)
        return x, Axis(jnp.zeros_like(length), length / cells, length, wanted.astype(jnp.int32))
    low, high = jnp.min(x), jnp.max(x)
    wanted = jnp.clip(jnp.ceil((high - low) / smallest), 1, 2**30)
    # Centred on the atoms, so that a stray atom does not drag the grid along;
    # what lies outside is counted into the cells at the edge.
    origin = jnp.maximum(low, jnp.mean(x) - 0.5 * cells * smallest)
    return x, Axis(origin, smallest, length, wanted.astype(jnp.int32))


def _cell(axis, x, cells):
    index = jnp.floor((x - axis.origin) / axis.width)
    return jnp.clip(index, 0, cells - 1).astype(jnp.int32)


def _argsort(key, bound):
    """Stable argsort of int32 keys below `bound`.

    XLA sorts a single array of integers six times faster than pairs, so digits
    of the key are packed into one word with the index (a radix sort if the key
    has more than one digit).
    """
    n = key.shape[0]
    index_bits = max(1, (n - 1).bit_length())
    digit_bits = 32 - index_bits
    iota = lax.iota(jnp.uint32, n)
    order = None
    for shift in range(0, max(1, (bound - 1).bit_length()), digit_bits):
        digit = (key if order is None else take(padded(key), order)).astype(jnp.uint32) >> shift
        packed = lax.sort((digit << index_bits) | iota, is_stable=False)
        rank = (packed & jnp.uint32(2**index_bits - 1)).astype(jnp.int32)
        order = rank if order is None else take(padded(order), rank)
    return order


def sort(plan, x, cell, radius):
    """The grid, and the permutation that sorts the atoms into it.

    In a tilted box the coordinate along each axis is the fraction of the box vector times its edge: it does not
    change along the other vectors, and atoms within the radius differ in it by the radius times its steepness at
    most. The last one is the cartesian coordinate.
    """
    wrapped, axes = [], []
    across, steep = x, (1.0,) * len(x)
    if cell.tilts:
        x, _ = wrap(cell, plan.periodic, x)
        across = tuple(s * edge for s, edge in zip(fractions(cell, x), cell.edges))
        steep = steepness(cell)
    for a, periodic in enumerate(plan.periodic):
        per_radius = BINS if a == len(plan.periodic) - 1 else 1
        reach = radius * steep[a] if cell.tilts else radius
        y, axis = _axis(across[a], cell.edges[a], periodic, plan.cells[a], reach, per_radius)
        # What is wrapped along one vector only would no longer be where the others are.
        wrapped.append(across[a] if cell.tilts else y)
        axes.append(axis)
    key = jnp.zeros(plan.n_atoms, jnp.int32)
    for axis, y, cells in zip(axes, wrapped, plan.cells):
        key = key * cells + _cell(axis, y, cells)
    order = _argsort(key, math.prod(plan.cells))
    key = take(padded(key), order)
    every = lax.iota(jnp.int32, math.prod(plan.cells) + 1)
    start = jnp.searchsorted(key, every).astype(jnp.int32)
    bottom = start[:: plan.cells[-1]]  # of each column, and N
    full = (jnp.diff(bottom) + LANES - 1) // LANES
    cluster = jnp.concatenate([jnp.zeros(1, jnp.int32), jnp.cumsum(full, dtype=jnp.int32)])
    column, start, bottom = padded(key // plan.cells[-1]), padded(start), padded(bottom)
    place = lax.iota(jnp.int32, 2 * plan.n_atoms)
    here = place // 2
    low, high = take(bottom, take(column, here)), take(bottom, take(column, here) + 1)
    twice = place - low
    twice = jnp.where(twice >= high, twice - (high - low), twice)
    source = take(padded(order), twice)
    x = tuple(padded(take(padded(y), source)) for y in (x if cell.tilts else wrapped))
    return Grid(tuple(axes), cell, x, padded(twice), start, bottom, padded(cluster), column), order


# --- 1: distance tests, cluster by cluster ------------------------------------


class Words(NamedTuple):
    """Neighbours of every atom, as bits; clusters in blocks of B.

    A word holds the bits of `plan.word` candidates, and above them the index of
    the atom's next word that is not empty (the last word is empty and names itself).

    words: `[blocks, groups + 1, B, LANES]` uint32
    begin: `[blocks, groups + 1, B]` int32, place of a word's first candidate
    first: `[blocks, B, LANES]` int32, the first word that is not empty
    degree: `[blocks, B, LANES]` int32, the number of neighbours
    origin: first cluster of the table
    """

    words: jax.Array
    begin: jax.Array
    first: jax.Array
    degree: jax.Array
    origin: jax.Array


def offsets(plan):
    """Columns to visit around an atom's own, as one offset per axis."""
    choices = []
    for periodic, cells in zip(plan.periodic[:-1], plan.cells[:-1]):
        if periodic and cells < 3:
            choices.append(range(cells))  # each column once: no double counting
        else:
            choices.append(range(-1, 2) if cells > 1 else range(1))
    return np.array(list(itertools.product(*choices)), np.int32)


def _window(plan, grid, column, low, high, offset):
    """Windows of some clusters in the column at `offset` from their own.

    column: `[B]` int32; low, high: `[B]` the range of the last axis to be covered
    Returns the first place and the count, `[B]` int32, and how the column has to
    be shifted to be next to the clusters', `[d - 1, B]`.
    """
    target, inside, stride = jnp.zeros_like(column), jnp.ones(column.shape, bool), 1
    shift = [jnp.zeros_like(low)] * (len(plan.cells) - 1)
    for a in reversed(range(len(plan.cells) - 1)):
        cells = plan.cells[a]
        c = column // stride % cells + offset[a]
        if plan.periodic[a]:
            turns = (c >= cells).astype(low.dtype) - (c < 0).astype(low.dtype)
            shift[a] = turns * grid.axes[a].length
            c = c % cells
        else:
            inside &= (c >= 0) & (c < cells)
            c = jnp.clip(c, 0, cells - 1)
        target += c * stride
        stride *= cells
    axis, cells = grid.axes[-1], plan.cells[-1]
    base = target * cells
    bottom, top = take(grid.start, base), take(grid.start, base + cells)
    first = jnp.floor((low - axis.origin) / axis.width)
    last = jnp.floor((high - axis.origin) / axis.width)
    if plan.periodic[-1]:
        whole = last - first + 1 >= cells
        first, last = first.astype(jnp.int32), last.astype(jnp.int32)
        over = (first < 0) | (last >= cells)
        first = jnp.where(whole, 0, first % cells)
        last = jnp.where(whole, cells - 1, last % cells)
        begin, end = take(grid.start, base + first), take(grid.start, base + last + 1)
        count = end - begin + jnp.where(over & ~whole, top - bottom, 0)
    else:
        first = jnp.clip(first, 0, cells - 1).astype(jnp.int32)
        last = jnp.clip(last, 0, cells - 1).astype(jnp.int32)
        begin = take(grid.start, base + first)
        count = take(grid.start, base + last + 1) - begin
    return bottom + begin, jnp.where(inside, count, 0), shift


def _near(plan, grid, own, radius, begin, count, shift):
    """Bits `[B, LANES]` of the candidates from place `begin` on that are near."""
    last = len(plan.cells) - 1
    # The column tells the image, unless a column is visited once on behalf of both.
    image = [p and (a == last or plan.cells[a] < 3) for a, p in enumerate(plan.periodic)]
    tilted = bool(grid.cell.tilts)  # then the nearest image is found for each candidate
    nearest_image = nearest(grid.cell, plan.periodic)

    def tests(step, bits):
        t = step * UNROLL + lax.iota(jnp.int32, UNROLL)
        place = begin + t[:, None]
        candidates = [take(x, place) for x in grid.x]
        candidates = [x if tilted or image[a] or a == last else x + shift[a] for a, x in enumerate(candidates)]
        # The barrier keeps the gathers out of the loop over lanes.
        candidates = lax.optimization_barrier(candidates)
        for u in range(UNROLL):
            r2 = 0
            if tilted:
                apart = nearest_image(tuple(own[a] - candidates[a][u][:, None] for a in range(last + 1)))
                r2 = sum(c * c for c in apart)
            for a, axis in () if tilted else enumerate(grid.axes):
                distance = own[a] - candidates[a][u][:, None]
                if image[a]:  # both are wrapped into the box
                    distance = jnp.abs(distance)
                    across = axis.length - distance
                    distance = jnp.where(distance < across, distance, across)
                r2 += distance * distance
            bits |= (r2 < radius * radius).astype(jnp.uint32) << (step * UNROLL + u).astype(jnp.uint32)
        return bits

    steps = (jnp.max(count) + UNROLL - 1) // UNROLL
    bits = lax.fori_loop(0, steps, tests, jnp.zeros(own[0].shape, jnp.uint32))
    return bits & ((jnp.uint32(1) << count.astype(jnp.uint32)) - 1)[:, None]


def test(plan, grid, radius, start, count):
    """The words of all clusters with an atom in rows `[start, start + count)`."""
    # Clusters touched by the rows: one more partial cluster at either end.
    most = min(plan.clusters, count // LANES + min(plan.columns, count) + 2)
    # Powers of two, because gathers divide their flattened index by the row length.
    block = min(BLOCK, 1 << max(0, most - 1).bit_length())
    blocks = -(-most // block)
    size = plan.word
    pieces = -(-plan.window // size)
    visited = np.repeat(offsets(plan), pieces, axis=0)
    skips = np.tile(np.arange(pieces, dtype=np.int32) * size, len(visited) // pieces)
    home = ~visited.any(axis=1)
    last = len(visited)  # an empty word, where every chain of words ends
    groups = (
        jnp.asarray(np.append(visited, visited[:1], axis=0)),
        jnp.asarray(np.append(skips, np.int32(plan.n_atoms))),
        jnp.asarray(np.append(home, False)),
    )
    bottom = grid.bottom
    eps = jnp.finfo(grid.x[0].dtype).eps

    def cluster_of(row):
        column = take(grid.column, row)
        return take(grid.cluster, column) + (row - take(bottom, column)) // LANES

    origin = cluster_of(jnp.minimum(start, plan.n_atoms - 1))
    final = cluster_of(jnp.minimum(start + count, plan.n_atoms) - 1)

    def one(most, index):
        cluster = origin + index * block + lax.iota(jnp.int32, block)
        used = cluster <= final
        column = jnp.searchsorted(grid.cluster[: plan.columns + 1], cluster, side="right").astype(jnp.int32) - 1
        column = jnp.clip(column, 0, plan.columns - 1)
        low, high = take(bottom, column), take(bottom, column + 1)
        row = low + (cluster - take(grid.cluster, column)) * LANES
        # A partial cluster repeats its last atom.
        row = jnp.minimum(row[:, None] + lax.iota(jnp.int32, LANES), high[:, None] - 1)
        own = [take(x, low[:, None] + row) for x in grid.x]
        own = lax.optimization_barrier(own)
        margin = radius + 8 * eps * (radius + jnp.max(jnp.abs(own[-1]), axis=1))
        below, above = jnp.min(own[-1], axis=1) - margin, jnp.max(own[-1], axis=1) + margin

        def visit(carry, group):
            most, degree = carry
            offset, skip, home = group
            begin, total, shift = _window(plan, grid, column, below, above, offset)
            total = jnp.where(used, total, 0)
            rest = jnp.clip(total - skip, 0, size)
            bits = _near(plan, grid, own, radius, begin + skip, rest, shift)

            def other(bits):  # an atom is not its own neighbour
                place = low[:, None] + row - begin[:, None]
                place = jnp.where(place < 0, place + (high - low)[:, None], place) - skip
                place = jnp.where((place >= 0) & (place < size), place, 31).astype(jnp.uint32)
                return bits & ~(jnp.uint32(1) << place)

            bits = lax.cond(home, other, lambda bits: bits, bits)
            degree += lax.population_count(bits).astype(jnp.int32)
            return (jnp.maximum(most, jnp.max(total)), degree), (bits, begin + skip)

        carry = (most, jnp.zeros((block, LANES), jnp.int32))
        (most, degree), (bits, begin) = lax.scan(visit, carry, groups)

        def link(following, group):
            bits, index = group
            word = bits | (following << size)
            return jnp.where(bits != 0, index, following), word

        end = jnp.full((block, LANES), last, jnp.uint32)
        index = jnp.arange(last + 1, dtype=jnp.uint32)
        first, words = lax.scan(link, end, (bits, index), reverse=True)
        return most, (words, begin, first.astype(jnp.int32), degree)

    most, tables = lax.scan(one, jnp.int32(0), jnp.arange(blocks, dtype=jnp.int32))
    return Words(*tables, origin), most


# --- 2: slots, row by row -----------------------------------------------------


def fill(plan, grid, words, start, count):
    """slots `[K, count]` of the rows from `start` on, and the most neighbours of a row."""
    _, groups, block, _ = words.words.shape
    size = plan.word
    bottom = grid.bottom
    table, begin, first, degrees = (padded(v.reshape(-1)) for v in words[:4])
    mask, stride = jnp.uint32(2**size - 1), block * LANES

    def rows_from(offset, n):
        row = start + offset + lax.iota(jnp.int32, n)
        atom = jnp.minimum(row, plan.n_atoms - 1)
        column = take(grid.column, atom)
        rank = atom - take(bottom, column)
        cluster = take(grid.cluster, column) + rank // LANES - words.origin
        lane = rank % LANES
        which, within = cluster // block, cluster % block
        at_word = which * (groups * block * LANES) + within * LANES + lane
        at_begin = which * (groups * block) + within
        group = take(first, cluster * LANES + lane)
        group = jnp.where(row < plan.n_atoms, group, groups - 1)
        word = take(table, at_word + group * stride)

        degree = take(degrees, cluster * LANES + lane)
        degree = jnp.max(jnp.where(row < plan.n_atoms, degree, 0))

        def next_slot(k, carry):
            slots, group, word = carry
            bits = word & mask
            lowest = bits & (~bits + 1)
            place = take(begin, at_begin + group * block)
            place += lax.population_count(lowest - 1).astype(jnp.int32)
            neighbour = jnp.where(bits != 0, take(grid.twice, place), row)
            slots = lax.dynamic_update_index_in_dim(slots, neighbour, k, 0)
            following = (word >> size).astype(jnp.int32)
            done = bits == lowest
            word = jnp.where(done, take(table, at_word + following * stride), word ^ lowest)
            return slots, jnp.where(done, following, group), word

        slots = jnp.broadcast_to(row, (plan.slots, n))
        bound = jnp.minimum(degree, plan.slots)
        return lax.fori_loop(0, bound, next_slot, (slots, group, word))[0], degree

    parts = -(-count // ROWS)
    n = -(-count // parts)
    if parts == 1:
        return rows_from(0, n)

    def part(slots, p):
        offset = jnp.minimum(p * n, count - n)  # the last part repeats some rows to fit
        here, degree = rows_from(offset, n)
        return lax.dynamic_update_slice(slots, here, (jnp.int32(0), offset)), degree

    slots = jnp.zeros((plan.slots, count), jnp.int32)
    slots, degree = lax.scan(part, slots, jnp.arange(parts, dtype=jnp.int32))
    return slots, jnp.max(degree)
