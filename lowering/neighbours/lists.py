"""Neighbour lists in pure XLA: no sort of candidates, memory O(N K).

The atoms are sorted by *column* (a prism along the last axis, at least one list
radius wide) and, inside a column, by bin along the last axis (`columns`).  Then

1. 16 atoms that follow each other in a column form a *cluster*, and all their
   neighbours lie in nine windows of the sorted order (three in two dimensions).
   Since the 16 atoms share their windows, a candidate is loaded once for all
   of them and no test needs a gather.  The results of the tests are bits of
   one 32-bit word per atom and window (or piece of a window) (`windows`);
2. every atom walks the bits of its words, and so fills its slots in order, a
   block of clusters after the other (`filling`).

Images: coordinates are written three times for each column, with its images
before and behind it, so that a window may reach over both ends, and a column
across the box is compared as far away as it is seen.  Only along axes so short
that two images of an atom may be near is the nearest image found for each pair.

Tests are in single precision, with a radius that is larger by what rounding may
do: no pair is lost of positions wrapped into the box, and few are too far apart.

Beside the slots only arrays of a few numbers for each atom are needed, and the
words of one block.  The slots may take the place of an old list.

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
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import jax.numpy as jnp
import numpy as np
import scipy.spatial
from jax import lax

from mdsl.lowering.field.costs import ROOM
from mdsl.lowering.geometry.cell import Cell, cast
from mdsl.lowering.geometry.on_host import as_matrix, widths, with_images, wrap

from . import columns, windows
from .slots import fill

if TYPE_CHECKING:
    from mdsl.lowering.arrays import Count, Counts, Flag, Labels, Numbers, PerAtom, Positions, Scalar, Slots

MARGIN = 1.1  # spare capacity of the windows
SPARE = 1.1  # of the widths of columns, where the box may shrink
GROWTH = 1.4  # when a list has overflowed: each growth compiles the programs that hold the list anew
UNROLL = 4  # slots are a multiple of this
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
        return (self.n_atoms + min(self.columns, self.n_atoms) * (columns.LANES - 1)) // columns.LANES

    @property
    def link_bits(self):
        """High bits of a word that name the atom's next non-empty word."""
        visited = len(windows.offsets(self))
        return next(b for b in range(1, 31) if visited * -(-self.window // (32 - b)) < 2**b)

    @property
    def word(self):
        """Candidates per word."""
        return 32 - self.link_bits


class Needed(NamedTuple):
    """Capacities that a build would have needed, int32.  A window that was cut, or
    columns that were too narrow, hide neighbours: then `slots` may be too small, and
    the list must be grown again.

    slots:  the most neighbours of an atom
    window: the most atoms in a window
    cells:  `[d]`; periodic axis: the most columns that the radius allows;
            free axis: as many as the atoms spread over
    """

    slots: Count
    window: Count
    cells: Counts


class NeighbourList(NamedTuple):
    """order: `[N]` int32, caller's index of the atom at each sorted position.
    slots: `[K, rows]` int32, neighbours as sorted positions; unused: the row itself.
    needed, overflow: whether the list is complete, and what would make it so.
    """

    order: Labels
    slots: Slots
    needed: Needed
    overflow: Flag


def build(
    plan: Plan,
    positions: Positions | Sequence[PerAtom],
    box: Cell | Numbers,
    radius: Scalar,
    rows: tuple[Count, int] | None = None,
    into: Slots | None = None,
) -> NeighbourList:
    """The list of the atoms within `radius` of each other.

    positions: `[N, d]`, or d arrays `[N]`; need not be wrapped
    box:       a `Cell`, or edges `[d]`; at least 2 radius on periodic axes, unused on free ones
    rows:      `(start, count)`: only these sorted positions, `count` static; rows
               from N on, 16 at most, are padding and have no neighbours.  All rows by default.
    into:      `[K, count]` int32, whose place the slots take, whatever it holds; it stays as it is unless
               the caller donates it
    """
    positions, box, radius = lax.stop_gradient((positions, box, radius))
    if not isinstance(positions, (tuple, list)):
        positions = [positions[:, a] for a in range(positions.shape[1])]
    cell = cast(
        box if isinstance(box, Cell) else Cell(tuple(box[a] for a in range(len(positions)))), positions[0].dtype
    )
    start, count = (0, plan.n_atoms) if rows is None else rows
    grid, order = columns.sort(plan, tuple(positions), cell, radius)
    filled, degree, most = fill(plan, grid, start, jnp.zeros((plan.slots, count), jnp.int32) if into is None else into)
    needed = Needed(degree, most, jnp.stack([axis.wanted for axis in grid.axes]))
    return NeighbourList(order, filled, needed, overflows(plan, needed))


def overflows(plan: Plan, needed: Needed) -> Flag:
    """Whether a list of this plan is incomplete, as a bool scalar."""
    over = (needed.slots > plan.slots) | (needed.window > plan.window)
    for a, periodic in enumerate(plan.periodic[:-1]):
        if periodic and plan.cells[a] >= 3:  # fewer columns are all visited anyway
            over |= plan.cells[a] > needed.cells[a]
    if plan.periodic[-1] and plan.cells[-1] >= windows.SMALL:  # two images of an atom may now be near
        over |= needed.cells[-1] < windows.SMALL - 1
    return over


# --- host side ----------------------------------------------------------------


def plan(n_atoms, box, periodic, radius, positions=None, changing=False):
    """A plan for a box (edges `[d]`, or vectors as the rows of `[d, d]`) whose capacities fit `positions` (`[N, d]`, in
    any order) with a margin.

    ``changing``: the box may become smaller by a tenth before the plan no longer fits.

    Without positions the atoms are taken to fill the box evenly; the driver then
    has to `grow` the plan until nothing overflows.
    """
    cell, periodic = as_matrix(box), tuple(bool(p) for p in periodic)
    lengths = np.diag(cell)
    axes, radius = len(periodic), float(radius)
    if axes not in (2, 3):
        raise ValueError(f"a neighbour list needs two or three dimensions, not {axes}")
    if any(p and not length >= 2 * radius for p, length in zip(periodic, lengths)):
        raise ValueError(f"the box {lengths.tolist()} is shorter than twice the list radius {radius}")
    extent, steep = lengths, lengths / widths(cell)
    if positions is not None:
        positions = np.asarray(positions, float)
        across = positions @ np.linalg.inv(cell) * lengths
        extent = np.where(periodic, lengths, np.ptp(across, axis=0) if n_atoms else 0.0)
    radii = extent / (radius * steep) * ([1] * (axes - 1) + [columns.BINS])
    if changing:
        radii = radii / SPARE
    # Not quite as many columns as would fit, because `columns` adds a margin for rounding.
    cells = [int(r * (1 - 1e-4)) if p else math.ceil(r) for r, p in zip(np.minimum(radii, 2**14), periodic)]
    cells = _affordable(n_atoms, cells)
    if positions is None:
        density = n_atoms / np.prod(np.maximum(extent, radius))
        ball = math.pi * radius**2 if axes == 2 else 4 / 3 * math.pi * radius**3
        cluster = columns.LANES / (density * radius ** (axes - 1))
        window = density * radius ** (axes - 1) * (2 * radius + cluster)
        slots = density * ball
    else:
        slots, window = _count(positions, cell, periodic, radius, cells)
    if changing:
        window, slots = window * SPARE, slots * SPARE
    return _capacities(n_atoms, periodic, cells, window, slots)


def grow(plan, needed):
    """A plan that holds a list with the capacities `needed` (arrays or numbers).

    Unchanged, and equal, where nothing overflowed.  See `Needed` for when one call
    is not enough.
    """
    cells = list(plan.cells)
    crowded = int(needed.window) > plan.window
    for a, periodic in enumerate(plan.periodic):
        wanted = int(needed.cells[a])
        if not periodic and crowded:  # the atoms have spread beyond the grid
            cells[a] = max(cells[a], wanted)
        elif periodic and (a < len(cells) - 1 or cells[a] >= windows.SMALL and wanted < windows.SMALL - 1):
            cells[a] = min(cells[a], wanted)
    window = int(needed.window) * GROWTH if crowded else plan.window - 1
    slots = int(needed.slots) * GROWTH if int(needed.slots) > plan.slots else plan.slots
    return _capacities(plan.n_atoms, plan.periodic, _affordable(plan.n_atoms, cells), window, slots)


def _capacities(n_atoms, periodic, cells, window, slots):
    window = min(3 * n_atoms, int(window) + 1)  # with their images along a column
    slots = min(n_atoms - 1, int(slots))
    slots = max(UNROLL, -(-slots // UNROLL) * UNROLL)
    return Plan(n_atoms, periodic, cells, max(1, window), slots)


def _affordable(n_atoms, cells):
    """Not many more columns and bins than atoms, however sparse the system."""
    across = [max(1, c) for c in cells[:-1]]
    while math.prod(across) > max(9, n_atoms // 4):
        widest = across.index(max(across))
        across[widest] = max(1, int(across[widest] * 0.8))
    return (*across, max(1, min(cells[-1], 4 * n_atoms // math.prod(across))))


def _count(x, cell, periodic, radius, cells):
    """Most neighbours of an atom (of a sample, if there are many), most atoms in a window."""
    n, axes = x.shape
    if n < 2:
        return 0, n
    chosen = slice(None) if n <= SAMPLE else np.random.default_rng(0).choice(n, SAMPLE, replace=False)
    lengths, steep = np.diag(cell), np.diag(cell) / widths(cell)
    tilted = np.any(cell != np.diag(lengths))
    if tilted:
        tree = scipy.spatial.cKDTree(with_images(x, cell, periodic, radius)[0])
        slots = tree.query_ball_point(wrap(x, cell, periodic)[0][chosen], radius, return_length=True).max() - 1
        x = x @ np.linalg.inv(cell) * lengths  # as `columns` sees them
    x = np.where(periodic, x - lengths * np.floor(x / lengths), x - x.min(axis=0))
    box = np.where(periodic, lengths, 0.0)
    x = np.where((x >= box) & periodic, 0.0, x)  # rounding of the floor above
    if not tilted:
        tree = scipy.spatial.cKDTree(x, boxsize=box)
        slots = tree.query_ball_point(x[chosen], radius, return_length=True).max() - 1

    # The clusters' extents along the last axis, and all atoms and images near them.
    width = np.where(periodic, lengths / cells, radius * steep / np.array([1] * (axes - 1) + [columns.BINS]))
    origin = np.where(periodic, 0.0, np.maximum(0.0, x.mean(axis=0) - width * cells / 2))
    at = np.clip(((x - origin) / width).astype(int), 0, np.array(cells) - 1)[:, :-1]
    column = np.ravel_multi_index(at.T, cells[:-1])
    order = np.lexsort((x[:, -1], column))
    at, column, z = at[order], column[order], x[order, -1]
    rank = np.arange(n) - np.searchsorted(column, column)
    first = np.flatnonzero(rank % columns.LANES == 0)
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
    return slots * ROOM, window * MARGIN
