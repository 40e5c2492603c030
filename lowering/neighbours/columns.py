"""The order of atoms in columns, for neighbour lists: see `lists` for the idea.

Everything here is in single precision, whatever the positions are in: they are wrapped, or measured from the lowest
of all, before they are rounded, and the radius is larger by what rounding may do (`blurred`).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from mdsl.lowering.geometry.cell import Cell, cast, fractions, steepness, wrap
from mdsl.lowering.planning.capacity import BINS, LANES

from .gather import padded, take

SINGLE = jnp.float32
EPS = float(jnp.finfo(SINGLE).eps)


class Axis(NamedTuple):
    """Cells along one axis: cell = floor((x - origin) / width)."""

    origin: jax.Array
    width: jax.Array
    length: jax.Array
    wanted: jax.Array


class Grid(NamedTuple):
    """Atoms in sorted order, with the extents of bins, columns and clusters. All are padded to a power of two
    (see `gather`).

    axes, cell: the cells of each axis, and the box; where it is tilted, columns run along its last vector
    radius:  within which atoms are near, as an upper bound of what the caller asked for
    places:  `[3 N]` int32, sorted position at each place. Each column is written three times in succession, with its
             images before and behind it if it repeats: s atoms from its beginning, s from `-size` to `2 size`, is place
             `3 bottom + size + s`. So windows that reach over its ends are contiguous.
    x:       d arrays `[3 N]`, coordinates at each place, wrapped into the box on periodic axes
    start:   `[columns * bins + 1]` int32, first sorted position of each bin
    bottom:  `[columns + 1]` int32, first sorted position of each column, and N
    cluster: `[columns + 1]` int32, first cluster of each column
    column:  `[N]` int32, column of each sorted position
    """

    axes: tuple[Axis, ...]
    cell: Cell
    radius: jax.Array
    places: jax.Array
    x: tuple[jax.Array, ...]
    start: jax.Array
    bottom: jax.Array
    cluster: jax.Array
    column: jax.Array


def blurred(radius, extents):
    """The radius, and by how much the distance of two atoms may come out too large: their coordinates, and those of
    an image, are rounded to parts of the extents."""
    return radius + 4 * EPS * (sum(extents) + radius)


def _axis(x, length, periodic, cells, radius, per_radius):
    """Cell geometry along one axis, of coordinates that are wrapped or begin at 0."""
    # Rounding of x / width must not move a neighbour one column further.
    smallest = radius / per_radius * (1 + 8 * cells * EPS)
    if periodic:
        wanted = jnp.clip(jnp.floor(length / smallest), 2, 2**30)
        return Axis(jnp.zeros_like(length), length / cells, length, wanted.astype(jnp.int32))
    wanted = jnp.clip(jnp.ceil(jnp.max(x) / smallest), 1, 2**30)
    # Centred on the atoms, so that a stray atom does not drag the grid along;
    # what lies outside is counted into the cells at the edge.
    origin = jnp.maximum(0, jnp.mean(x) - 0.5 * cells * smallest)
    return Axis(origin, smallest, length, wanted.astype(jnp.int32))


def _cell(axis, x, cells):
    index = jnp.floor((x - axis.origin) / axis.width)
    return jnp.clip(index, 0, cells - 1).astype(jnp.int32)


def _bits(bound):
    """Bits of the integers below ``bound``."""
    return max(1, (bound - 1).bit_length())


def _sorted(*parts):
    """The order that sorts atoms by integers, the first ones first, of pairs (`[N]`, bits), which have 32 bits
    together. They must differ between atoms."""
    word = jnp.uint32(0)
    for values, bits in parts:
        word = (word << bits) | values.astype(jnp.uint32)
    # XLA sorts a single array of integers six times faster than pairs.
    return (lax.sort(word, is_stable=False) & jnp.uint32(2 ** parts[-1][1] - 1)).astype(jnp.int32)


def _order(plan, column, along):
    """The order of atoms by columns, and by bins in these. What is nearly in order already is sorted the fastest."""
    n, bins = plan.n_atoms, plan.cells[-1]
    index, whole = (lax.iota(jnp.int32, n), _bits(n)), (column * bins + along, _bits(plan.columns * bins))
    if whole[1] + index[1] <= 32:
        return _sorted(whole, index)

    def digits():
        """A radix sort, from the lowest digit of the whole key on."""
        key, bits = whole
        size = 32 - index[1]
        order = index[0]
        for shift in range(0, bits, size):
            digit = (take(padded(key), order) >> shift) & (2**size - 1)
            order = take(padded(order), _sorted((digit, size), index))
        return order

    rank_bits = 32 - _bits(plan.columns) - _bits(bins)
    if _bits(plan.columns) + index[1] > 32 or rank_bits <= 0:
        return digits()
    order = _sorted((column, _bits(plan.columns)), index)
    column, along = (take(padded(v), order) for v in (column, along))
    bottom = padded(jnp.searchsorted(column, lax.iota(jnp.int32, plan.columns)).astype(jnp.int32))
    rank = index[0] - take(bottom, column)

    def ranks():
        """Columns first, then bins with each atom's rank in its column."""
        best = _sorted((column, _bits(plan.columns)), (along, _bits(bins)), (rank, rank_bits))
        return take(padded(order), take(bottom, column) + best)

    return lax.cond(jnp.max(rank) < 2**rank_bits, ranks, digits)


def _rounded(plan, x, cell):
    """Positions in single precision: wrapped along axes that repeat, from the lowest on along others. Their
    coordinates across columns, with the steepness of these; the extent of each axis."""
    lowest = tuple(jnp.zeros_like(c[:1]) if p else jnp.min(c, keepdims=True) for c, p in zip(x, plan.periodic))
    x, _ = wrap(cell, plan.periodic, x)
    steep = (1.0,) * len(x)
    if cell.tilts:  # along a free axis, fractions are measured from the lowest too, which moves all atoms alike
        across = tuple(s * edge for s, edge in zip(fractions(cell, x), cell.edges))
        across = tuple(a if p else a - jnp.min(a) for a, p in zip(across, plan.periodic))
        steep = steepness(cell)
    x = tuple((c - low).astype(SINGLE) for c, low in zip(x, lowest))
    across = tuple(a.astype(SINGLE) for a in across) if cell.tilts else x
    extents = tuple(edge if p else jnp.max(c) - jnp.min(c) for c, edge, p in zip(x, cell.edges, plan.periodic))
    return x, across, steep, tuple(jnp.asarray(e, SINGLE) for e in extents)


class Placed(NamedTuple):
    """Atoms in single precision, and the cells that they are in. axes, cell, radius: as in `Grid`; x: d arrays `[N]`;
    column, along: `[N]` int32, the column and the bin in it."""

    axes: tuple[Axis, ...]
    cell: Cell
    radius: jax.Array
    x: tuple[jax.Array, ...]
    column: jax.Array
    along: jax.Array


def placed(plan, x, cell, radius) -> Placed:
    """In which cell of the ``plan``, a `capacity.Plan`, each atom is.

    In a tilted box the coordinate along each axis is the fraction of the box vector times its edge: it does not
    change along the other vectors, and atoms within the radius differ in it by the radius times its steepness at
    most. The last one is the cartesian coordinate.
    """
    x, across, steep, extents = _rounded(plan, x, cell)
    cell, radius = cast(cell, SINGLE), jnp.asarray(radius, SINGLE)
    # What is skewed is wrapped along several vectors.
    radius = blurred(radius, (*extents, *(jnp.abs(t) for t in cell.tilts)))
    axes = []
    for a, periodic in enumerate(plan.periodic):
        per_radius = BINS if a == len(plan.periodic) - 1 else 1
        axes.append(
            _axis(across[a], cell.edges[a], periodic, plan.cells[a], radius * jnp.asarray(steep[a], SINGLE), per_radius)
        )
    *across, along = (_cell(axis, y, cells) for axis, y, cells in zip(axes, across, plan.cells))
    column = jnp.zeros(plan.n_atoms, jnp.int32)
    for c, cells in zip(across, plan.cells):
        column = column * cells + c
    return Placed(tuple(axes), cell, radius, x, column, along)


def sort(plan, atoms: Placed):
    """The grid, and the permutation that sorts the atoms into it."""
    axes, cell, radius, x, column, along = atoms
    order = _order(plan, column, along)
    key = take(padded(column * plan.cells[-1] + along), order)
    every = lax.iota(jnp.int32, math.prod(plan.cells) + 1)
    start = jnp.searchsorted(key, every).astype(jnp.int32)
    bottom = start[:: plan.cells[-1]]  # of each column, and N
    full = (jnp.diff(bottom) + LANES - 1) // LANES
    cluster = jnp.concatenate([jnp.zeros(1, jnp.int32), jnp.cumsum(full, dtype=jnp.int32)])
    column, bottom = padded(key // plan.cells[-1]), padded(bottom)
    place = jnp.minimum(lax.iota(jnp.int32, 1 << _bits(3 * plan.n_atoms)), 3 * plan.n_atoms - 1)
    low, high = take(bottom, take(column, place // 3)), take(bottom, take(column, place // 3) + 1)
    s = place - 2 * low - high  # from -size to 2 size, beyond the beginning of the column
    turns = (s >= high - low).astype(jnp.int32) - (s < 0).astype(jnp.int32)
    places = low + s - turns * (high - low)
    along = jnp.stack([jnp.asarray(entry if plan.periodic[-1] else 0.0, SINGLE) for entry in cell.row(len(x) - 1)])
    # In a loop, or the places would be computed anew for each axis.
    x = lax.map(lambda c: take(padded(take(padded(c[0]), order)), places) + turns * c[1], (jnp.stack(x), along))
    return Grid(axes, cell, radius, places, tuple(x), padded(start), bottom, padded(cluster), column), order
