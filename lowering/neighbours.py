"""Neighbour lists in pure XLA: no sort of candidates, memory O(N K).

The atoms are sorted by *column* (a square prism along the last axis, at least
one list radius wide) and, inside a column, by bin along the last axis.  Then

1. 16 atoms that follow each other in a column form a *cluster*, and all their
   neighbours lie in nine windows of the sorted order (three in two dimensions).
   Since the 16 atoms share their windows, a candidate is loaded once for all
   of them and no test needs a gather.  The results of the tests are bits of
   one 32-bit word per atom and window (or piece of a window);
2. every atom walks the bits of its words, and so fills its slots in order.

The list is full (every pair stands in both rows) and slot-major, `[K, N]`: the
force loop reads one contiguous row per slot.  Unused slots hold the atom's own
index, so neither a dummy atom nor a mask array is needed.

Static is only the capacity (`Plan`).  A list that does not fit, or a box that
has shrunk so far that the columns are too narrow for the radius, raises
`overflow`, and `grow` makes the plan that would have fitted.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy.spatial
from jax import lax

from .gather import padded, take

LANES = 16  # atoms per cluster: one AVX-512 register of float32
BINS = 8  # bins along a column, per radius
BLOCK = 256  # clusters that are tested together, so that their data stay in cache
ROWS = 8192  # rows that are filled together
UNROLL = 4
MARGIN = 1.1  # spare capacity
SAMPLE = 50_000  # atoms whose neighbours the plan counts


@dataclasses.dataclass(frozen=True)
class Plan:
    """Static shape of a neighbour list; hashable.

    n_atoms:  N
    periodic: one flag per axis (two or three axes)
    cells:    columns per axis; for the last axis, bins along a column
    window:   most atoms in a window
    slots:    K
    """

    n_atoms: int
    periodic: tuple[bool, ...]
    cells: tuple[int, ...]
    window: int
    slots: int

    @property
    def columns(self):
        return math.prod(self.cells[:-1])

    @property
    def clusters(self):
        """Most clusters that N atoms can form: each column may have a partial one."""
        return (self.n_atoms + min(self.columns, self.n_atoms) * (LANES - 1)) // LANES

    @property
    def link_bits(self):
        """High bits of a word that name the atom's next non-empty word."""
        visited = len(_offsets(self))
        return next(b for b in range(1, 31) if visited * -(-self.window // (32 - b)) < 2**b)

    @property
    def word(self):
        """Candidates per word."""
        return 32 - self.link_bits


class Needed(NamedTuple):
    """Capacities that a build would have needed, int32.

    slots:  the most neighbours of an atom
    window: the most atoms in a window
    cells:  `[d]`; periodic axis: the most columns that the radius allows;
            free axis: as many as the atoms spread over
    """

    slots: jax.Array
    window: jax.Array
    cells: jax.Array


class NeighbourList(NamedTuple):
    """order: `[N]` int32, caller's index of the atom at each sorted position.
    slots: `[K, rows]` int32, neighbours as sorted positions; unused: the row itself.
    needed, overflow: whether the list is complete, and what would make it so.
    """

    order: jax.Array
    slots: jax.Array
    needed: Needed
    overflow: jax.Array


def build(plan, positions, lengths, radius, rows=None):
    """The list of the atoms within `radius` of each other.

    positions: `[N, d]`, or d arrays `[N]`; need not be wrapped
    lengths:   `[d]`, the box; at least 2 radius on periodic axes, unused on free ones
    rows:      `(start, count)`: only these sorted positions, `count` static; rows
               from N on are padding and have no neighbours.  All rows by default.
    """
    if not isinstance(positions, (tuple, list)):
        positions = [positions[:, a] for a in range(positions.shape[1])]
    dtype = positions[0].dtype
    radius = jnp.asarray(radius, dtype)
    lengths = [jnp.asarray(lengths[a], dtype) for a in range(len(positions))]
    start, count = (0, plan.n_atoms) if rows is None else rows
    grid, order = _sort(plan, positions, lengths, radius)
    words, most = _test(plan, grid, radius, start, count)
    slots, degree = _fill(plan, grid, words, start, count)
    needed = Needed(degree, most, jnp.stack([axis.wanted for axis in grid.axes]))
    return NeighbourList(order, slots, needed, overflows(plan, needed))


def overflows(plan, needed):
    """Whether a list of this plan is incomplete, as a bool scalar."""
    over = (needed.slots > plan.slots) | (needed.window > plan.window)
    for a, periodic in enumerate(plan.periodic[:-1]):
        if periodic and plan.cells[a] >= 3:  # fewer columns are all visited anyway
            over |= plan.cells[a] > needed.cells[a]
    return over


# --- host side ----------------------------------------------------------------


def plan(n_atoms, lengths, periodic, radius, positions=None):
    """A plan whose capacities fit `positions` (`[N, d]`, in any order) with a margin.

    Without positions the atoms are taken to fill the box evenly; the driver then
    has to `grow` the plan until nothing overflows.
    """
    lengths, periodic = np.asarray(lengths, float), tuple(bool(p) for p in periodic)
    axes, radius = len(periodic), float(radius)
    if axes not in (2, 3):
        raise ValueError(f"a neighbour list needs two or three dimensions, not {axes}")
    if any(p and not length >= 2 * radius for p, length in zip(periodic, lengths)):
        raise ValueError(f"the box {lengths.tolist()} is shorter than twice the list radius {radius}")
    extent = lengths
    if positions is not None:
        positions = np.asarray(positions, float)
        extent = np.where(periodic, lengths, np.ptp(positions, axis=0) if n_atoms else 0.0)
    radii = extent / radius * ([1] * (axes - 1) + [BINS])
    # Not quite as many columns as would fit: the margin of `_axis`.
    cells = [int(r * (1 - 1e-4)) if p else math.ceil(r) for r, p in zip(np.minimum(radii, 2**14), periodic)]
    cells = _affordable(n_atoms, cells)
    if positions is None:
        density = n_atoms / np.prod(np.maximum(extent, radius))
        ball = math.pi * radius**2 if axes == 2 else 4 / 3 * math.pi * radius**3
        cluster = LANES / (density * radius ** (axes - 1))
        window = density * radius ** (axes - 1) * (2 * radius + cluster)
        slots = density * ball
    else:
        slots, window = _count(positions, lengths, periodic, radius, cells)
    return _capacities(n_atoms, periodic, cells, window, slots)


def grow(plan, needed):
    """A plan that holds a list with the capacities `needed` (arrays or numbers)."""
    cells = list(plan.cells)
    crowded = int(needed.window) > plan.window
    for a, periodic in enumerate(plan.periodic):
        wanted = int(needed.cells[a])
        if not periodic and crowded:  # the atoms have spread beyond the grid
            cells[a] = max(cells[a], wanted)
        elif periodic and a < len(cells) - 1:
            cells[a] = min(cells[a], wanted)
    window = int(needed.window) * MARGIN if crowded else plan.window - 1
    slots = int(needed.slots) * MARGIN if int(needed.slots) > plan.slots else plan.slots
    return _capacities(plan.n_atoms, plan.periodic, _affordable(plan.n_atoms, cells), window, slots)


def _capacities(n_atoms, periodic, cells, window, slots):
    window = min(n_atoms, int(window) + 1)
    slots = min(n_atoms - 1, int(slots))
    slots = max(UNROLL, -(-slots // UNROLL) * UNROLL)
    return Plan(n_atoms, periodic, cells, max(1, window), slots)


def _affordable(n_atoms, cells):
    """Not many more columns and bins than atoms, however sparse the system."""
    columns = [max(1, c) for c in cells[:-1]]
    while math.prod(columns) > max(9, n_atoms // 4):
        widest = columns.index(max(columns))
        columns[widest] = max(1, int(columns[widest] * 0.8))
    return (*columns, max(1, min(cells[-1], 4 * n_atoms // math.prod(columns))))


def _count(x, lengths, periodic, radius, cells):
    """Most neighbours of an atom (of a sample, if there are many), most atoms in a window."""
    n, axes = x.shape
    if n < 2:
        return 0, n
    x = np.where(periodic, x - lengths * np.floor(x / lengths), x - x.min(axis=0))
    box = np.where(periodic, lengths, 0.0)
    x = np.where((x >= box) & periodic, 0.0, x)  # rounding of the floor above
    sample = x if n <= SAMPLE else x[np.random.default_rng(0).choice(n, SAMPLE, replace=False)]
    tree = scipy.spatial.cKDTree(x, boxsize=box)
    slots = tree.query_ball_point(sample, radius, return_length=True).max() - 1

    # The clusters' extents along the last axis, and all atoms and images near them.
    width = np.where(periodic, lengths / cells, radius / np.array([1] * (axes - 1) + [BINS]))
    origin = np.where(periodic, 0.0, np.maximum(0.0, x.mean(axis=0) - width * cells / 2))
    at = np.clip(((x - origin) / width).astype(int), 0, np.array(cells) - 1)[:, :-1]
    column = np.ravel_multi_index(at.T, cells[:-1])
    order = np.lexsort((x[:, -1], column))
    at, column, z = at[order], column[order], x[order, -1]
    rank = np.arange(n) - np.searchsorted(column, column)
    first = np.flatnonzero(rank % LANES == 0)
    last = np.append(first[1:], n) - 1
    images = (-lengths[-1], 0.0, lengths[-1]) if periodic[-1] else (0.0,)
    period = 4 * (np.ptp(z) + images[-1] + 2 * radius)
    key = np.sort(np.concatenate([column * period + z + image for image in images]))
    margin = radius + width[-1]
    window = 0
    for offset in itertools.product((-1, 0, 1), repeat=axes - 1):
        target = np.ravel_multi_index((at[first] + offset).T, cells[:-1], mode="wrap") * period
        high = np.searchsorted(key, target + z[last] + margin)
        window = max(window, np.max(high - np.searchsorted(key, target + z[first] - margin)))
    return slots * MARGIN, min(n, window * MARGIN)


# --- sorted order -------------------------------------------------------------


class _Axis(NamedTuple):
    """Cells along one axis: cell = floor((x - origin) / width)."""

    origin: jax.Array
    width: jax.Array
    length: jax.Array
    wanted: jax.Array


class _Grid(NamedTuple):
    """Atoms in sorted order, with the extents of bins, columns and clusters.

    Each column is written twice in succession in `twice` and `x`, so that a
    window that runs over the end of a periodic column is contiguous there:
    place `2 bottom + t` and `2 bottom + size + t` hold the same atom.

    All are padded to a power of two (see `gather`).

    x:       d arrays `[2 N]`, wrapped into the box on periodic axes
    twice:   `[2 N]` int32, sorted position at each place
    start:   `[columns * bins + 1]` int32, first sorted position of each bin
    bottom:  `[columns + 1]` int32, first sorted position of each column, and N
    cluster: `[columns + 1]` int32, first cluster of each column
    column:  `[N]` int32, column of each sorted position
    """

    axes: tuple[_Axis, ...]
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
        return x, _Axis(jnp.zeros_like(length), length / cells, length, wanted.astype(jnp.int32))
    low, high = jnp.min(x), jnp.max(x)
    wanted = jnp.clip(jnp.ceil((high - low) / smallest), 1, 2**30)
    # Centred on the atoms, so that a stray atom does not drag the grid along;
    # what lies outside is counted into the cells at the edge.
    origin = jnp.maximum(low, jnp.mean(x) - 0.5 * cells * smallest)
    return x, _Axis(origin, smallest, length, wanted.astype(jnp.int32))


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


def _sort(plan, x, lengths, radius):
    """The grid, and the permutation that sorts the atoms into it."""
    wrapped, axes = [], []
    for a, periodic in enumerate(plan.periodic):
        per_radius = BINS if a == len(plan.periodic) - 1 else 1
        y, axis = _axis(x[a], lengths[a], periodic, plan.cells[a], radius, per_radius)
        wrapped.append(y)
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
    x = tuple(padded(take(padded(y), source)) for y in wrapped)
    return _Grid(tuple(axes), x, padded(twice), start, bottom, padded(cluster), column), order


# --- 1: distance tests, cluster by cluster ------------------------------------


class _Words(NamedTuple):
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


def _offsets(plan):
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

    def tests(step, bits):
        t = step * UNROLL + lax.iota(jnp.int32, UNROLL)
        place = begin + t[:, None]
        candidates = [take(x, place) for x in grid.x]
        candidates = [x if image[a] or a == last else x + shift[a] for a, x in enumerate(candidates)]
        # The barrier keeps the gathers out of the loop over lanes.
        candidates = lax.optimization_barrier(candidates)
        for u in range(UNROLL):
            r2 = 0
            for a, axis in enumerate(grid.axes):
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


def _test(plan, grid, radius, start, count):
    """The words of all clusters with an atom in rows `[start, start + count)`."""
    # Clusters touched by the rows: one more partial cluster at either end.
    most = min(plan.clusters, count // LANES + min(plan.columns, count) + 2)
    # Powers of two, because gathers divide their flattened index by the row length.
    block = min(BLOCK, 1 << max(0, most - 1).bit_length())
    blocks = -(-most // block)
    size = plan.word
    pieces = -(-plan.window // size)
    offsets = np.repeat(_offsets(plan), pieces, axis=0)
    skips = np.tile(np.arange(pieces, dtype=np.int32) * size, len(offsets) // pieces)
    home = ~offsets.any(axis=1)
    last = len(offsets)  # an empty word, where every chain of words ends
    groups = (
        jnp.asarray(np.append(offsets, offsets[:1], axis=0)),
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
    return _Words(*tables, origin), most


# --- 2: slots, row by row -----------------------------------------------------


def _fill(plan, grid, words, start, count):
    """slots `[K, count]` of the rows from `start` on, and the most neighbours of a row."""
    _, groups, block, _ = words.words.shape
    size = plan.word
    bottom = grid.bottom
    table, begin, first, degrees = (padded(v.reshape(-1)) for v in words[:4])
    mask = jnp.uint32(2**size - 1)

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
        word = take(table, at_word + group * (block * LANES))

        degree = take(degrees, cluster * LANES + lane)
        degree = jnp.max(jnp.where(row < plan.n_atoms, degree, 0))

        def fill(k, carry):
            slots, group, word = carry
            bits = word & mask
            lowest = bits & (~bits + 1)
            place = take(begin, at_begin + group * block)
            place += lax.population_count(lowest - 1).astype(jnp.int32)
            neighbour = jnp.where(bits != 0, take(grid.twice, place), row)
            slots = lax.dynamic_update_index_in_dim(slots, neighbour, k, 0)
            following = (word >> size).astype(jnp.int32)
            done = bits == lowest
            word = jnp.where(done, take(table, at_word + following * (block * LANES)), word ^ lowest)
            return slots, jnp.where(done, following, group), word

        slots = jnp.broadcast_to(row, (plan.slots, n))
        bound = jnp.minimum(degree, plan.slots)
        return lax.fori_loop(0, bound, fill, (slots, group, word))[0], degree

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
