"""Distance tests for neighbour lists, cluster by cluster: see `lists` for the idea."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from mdsl.lowering.geometry.cell import Cell, nearest
from mdsl.lowering.planning.capacity import LANES, SMALL

from .columns import EPS, SINGLE
from .gather import take

UNROLL = 8  # candidates that are tested together


class Words(NamedTuple):
    """Neighbours of the atoms of B clusters, as bits.

    A word holds the bits of `plan.word` candidates, and above them the number of the atom's last word before that is
    not empty. Words are counted from 1; a chain of words ends with 0.

    words:  `[G, B, LANES]` uint32
    begin:  `[G, B]` int32, place (see `columns.Grid`) of a word's first candidate
    last:   `[B, LANES]` int32, the last word that is not empty
    degree: `[B, LANES]` int32, the number of neighbours
    """

    words: jax.Array
    begin: jax.Array
    last: jax.Array
    degree: jax.Array


class Clusters(NamedTuple):
    """B clusters. column, low, high: `[B]` int32, their columns, and where these begin and end; row: `[B, LANES]`
    int32 within the column (a partial cluster repeats its last atom); own: d arrays `[B, LANES]`; used: `[B]` bool."""

    column: jax.Array
    low: jax.Array
    high: jax.Array
    row: jax.Array
    own: tuple[jax.Array, ...]
    used: jax.Array


def imaged(plan, cell: Cell) -> tuple[bool, ...]:
    """Axes along which nearest images are found for each pair. Along others the window tells the image: there two
    images of an atom are never both near. Skew vectors have to be looked at together."""
    short = tuple(p and plan.cells[a] < 3 for a, p in enumerate(plan.periodic[:-1]))
    short = (*short, plan.periodic[-1] and plan.cells[-1] < SMALL)
    return plan.periodic if cell.tilts and any(short) else short


def clusters(plan, grid, index, final) -> Clusters:
    """The clusters of these numbers, `[B]`; those beyond ``final`` are not used."""
    column = jnp.searchsorted(grid.cluster[: plan.columns + 1], index, side="right").astype(jnp.int32) - 1
    column = jnp.clip(column, 0, plan.columns - 1)
    low, high = take(grid.bottom, column), take(grid.bottom, column + 1)
    first = (index - take(grid.cluster, column)) * LANES
    row = jnp.minimum(first[:, None] + lax.iota(jnp.int32, LANES), (high - low)[:, None] - 1)
    own = tuple(take(x, (2 * low + high)[:, None] + row) for x in grid.x)
    return Clusters(column, low, high, row, own, index <= final)


class Window(NamedTuple):
    """Candidates of a cluster in one column, `[..., B]`: ``count`` of them from the place ``first`` on.

    itself: the place of the cluster's first atom; one that is never reached where the column is another
    turns:  the image of the column, along each axis but the last
    """

    first: jax.Array
    count: jax.Array
    itself: jax.Array
    turns: tuple[jax.Array, ...]


def windows(plan, grid, some: Clusters) -> Window:
    """The windows of all columns that are visited, `[columns, B]`."""
    margin = grid.radius + 8 * EPS * (grid.radius + jnp.max(jnp.abs(some.own[-1]), axis=1))
    low, high = jnp.min(some.own[-1], axis=1) - margin, jnp.max(some.own[-1], axis=1) + margin
    visited = plan.visited
    shape = (len(visited), some.column.shape[0])
    target, inside, stride, turns = jnp.zeros(shape, jnp.int32), jnp.broadcast_to(some.used, shape), 1, []
    for a in reversed(range(len(plan.cells) - 1)):
        cells = plan.cells[a]
        c = some.column // stride % cells + jnp.asarray(visited[:, a : a + 1])
        if plan.periodic[a]:
            over = (c >= cells).astype(jnp.int32) - (c < 0).astype(jnp.int32)
            turns.insert(0, over.astype(SINGLE))
            c = c - over * cells
        else:
            inside &= (c >= 0) & (c < cells)
            c = jnp.clip(c, 0, cells - 1)
            turns.insert(0, jnp.zeros(shape, SINGLE))
        target += c * stride
        stride *= cells
    axis, cells = grid.axes[-1], plan.cells[-1]
    base = target * cells
    bottom, top = take(grid.start, base), take(grid.start, base + cells)
    size = top - bottom
    first, last = (jnp.floor((z - axis.origin) / axis.width) for z in (low, high))
    if plan.periodic[-1]:
        whole = last - first + 1 >= cells
        first, last = jnp.maximum(first, -cells).astype(jnp.int32), jnp.minimum(last, 2 * cells - 1).astype(jnp.int32)
        before, after = first // cells, last // cells
        begin = take(grid.start, base + first - before * cells) - bottom + before * size
        count = take(grid.start, base + last - after * cells + 1) - bottom + after * size - begin
        if imaged(plan, grid.cell)[-1]:  # each atom once
            begin, count = jnp.where(whole, 0, begin), jnp.where(whole, size, count)
    else:
        first, last = (jnp.clip(v, 0, cells - 1).astype(jnp.int32) for v in (first, last))
        begin = take(grid.start, base + first) - bottom
        count = take(grid.start, base + last + 1) - bottom - begin
    middle = 3 * bottom + size
    itself = jnp.where(target == some.column, middle + some.row[:, 0], -plan.word * LANES)
    return Window(middle + begin, jnp.where(inside, count, 0), itself, tuple(turns))


def _near(plan, grid, own, begin, count):
    """Bits `[B, LANES]` of the candidates from the places ``begin`` on that are near."""
    axes = range(len(plan.cells))
    image = imaged(plan, grid.cell)
    nearest_image = nearest(grid.cell, plan.periodic)
    near = grid.radius * grid.radius

    def tests(step, bits):
        place = begin + (step * UNROLL + lax.iota(jnp.int32, UNROLL))[:, None]
        # The barrier keeps the gathers out of the loop over lanes.
        candidates = lax.optimization_barrier([take(x, place) for x in grid.x])
        for u in range(UNROLL):
            apart = [own[a] - candidates[a][u][:, None] for a in axes]
            if any(image) and grid.cell.tilts:
                apart = nearest_image(apart)
            elif any(image):  # both are wrapped into the box
                apart = [
                    jnp.minimum(jnp.abs(d), grid.cell.edges[a] - jnp.abs(d)) if image[a] else d
                    for a, d in zip(axes, apart)
                ]
            bits |= jnp.where(
                sum(d * d for d in apart) < near, jnp.uint32(1) << (step * UNROLL + u).astype(jnp.uint32), 0
            )
        return bits

    steps = (jnp.max(count) + UNROLL - 1) // UNROLL
    bits = lax.fori_loop(0, steps, tests, jnp.zeros(own[0].shape, jnp.uint32))
    return bits & ((jnp.uint32(1) << count.astype(jnp.uint32)) - 1)[:, None]


def _moved(plan, grid, own, turns):
    """The atoms of clusters as a column sees them that is so many turns away."""
    image, back = imaged(plan, grid.cell), list(own)
    for k, turn in enumerate(turns):
        if plan.periodic[k] and not image[k]:
            for a in range(0 if grid.cell.tilts else k, k + 1):
                back[a] = back[a] - (turn * grid.cell.row(k)[a])[:, None]
    return back


def test(plan, grid, some: Clusters) -> tuple[Words, jax.Array]:
    """The words of these clusters, and the most candidates in one window."""
    size = plan.word
    pieces = -(-plan.window // size)
    window = windows(plan, grid, some)
    visited = plan.visited
    which = np.repeat(np.arange(len(visited), dtype=np.int32), pieces)
    skip = np.tile(np.arange(pieces, dtype=np.int32) * size, len(visited))

    def visit(carry, piece):
        last, degree = carry
        number, which, skip = piece
        here = jax.tree.map(lambda v: v[which], window)
        begin = here.first + skip
        bits = _near(plan, grid, _moved(plan, grid, some.own, here.turns), begin, jnp.clip(here.count - skip, 0, size))
        # An atom is not its own neighbour.
        itself = (here.itself - begin - some.row[:, 0])[:, None] + some.row
        bits &= ~jnp.where((itself >= 0) & (itself < size), jnp.uint32(1) << itself.astype(jnp.uint32), 0)
        word = bits | (last << size)
        return (jnp.where(bits != 0, number, last), degree + lax.population_count(bits).astype(jnp.int32)), (
            word,
            begin,
        )

    numbers = np.arange(1, len(which) + 1, dtype=np.uint32)
    start = (jnp.zeros(some.row.shape, jnp.uint32), jnp.zeros(some.row.shape, jnp.int32))
    (last, degree), (words, begin) = lax.scan(visit, start, tuple(map(jnp.asarray, (numbers, which, skip))))
    return Words(words, begin, last.astype(jnp.int32), degree), jnp.max(window.count)
