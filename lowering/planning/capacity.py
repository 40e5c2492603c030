"""For how much a neighbour list has room: `Plan`, made of where the atoms are, and grown by what they needed.

What columns, clusters, windows and words are is told in `neighbours.lists`, which fills the lists.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from .on_host import as_matrix, widths, with_images, wrap
from .policy import DEFAULT, Policy

LANES = 16  # atoms per cluster: one AVX-512 register of float32
BINS = 8  # bins along a column, per radius
SMALL = 2 * BINS + 3  # bins along a column up to which two images of an atom can be as near as the radius
UNROLL = 4  # slots are a multiple of this
SAMPLE = 50_000  # atoms whose neighbours the plan counts


@dataclass(frozen=True)
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
    def visited(self) -> np.ndarray:
        """Columns to visit around an atom's own, as one offset per axis."""
        choices = []
        for periodic, cells in zip(self.periodic[:-1], self.cells[:-1]):
            if periodic and cells < 3:
                choices.append(range(cells))  # each column once: no double counting
            else:
                choices.append(range(-1, 2) if cells > 1 else range(1))
        return np.array(list(itertools.product(*choices)), np.int32)

    @property
    def link_bits(self):
        """High bits of a word that name the atom's next non-empty word."""
        visited = len(self.visited)
        return next(b for b in range(1, 31) if visited * -(-self.window // (32 - b)) < 2**b)

    @property
    def word(self):
        """Candidates per word."""
        return 32 - self.link_bits


class Needed(NamedTuple):
    """Capacities that a build would have needed, int32 of NumPy or JAX. A window that was cut, or columns that were too
    narrow, hide neighbours: then ``slots`` may be too small, and the list must be grown again.

    slots:  the most neighbours of an atom
    window: the most atoms in a window
    cells:  `[d]`; periodic axis: the most columns that the radius allows; free axis: as many as the atoms spread over
    """

    slots: np.ndarray
    window: np.ndarray
    cells: np.ndarray


def overflows(plan, needed):
    """Whether a list of this plan is incomplete, as a bool scalar."""
    over = (needed.slots > plan.slots) | (needed.window > plan.window)
    for a, periodic in enumerate(plan.periodic[:-1]):
        if periodic and plan.cells[a] >= 3:  # fewer columns are all visited anyway
            over |= plan.cells[a] > needed.cells[a]
    if plan.periodic[-1] and plan.cells[-1] >= SMALL:  # two images of an atom may now be near
        over |= needed.cells[-1] < SMALL - 1
    return over


def plan(n_atoms, box, periodic, radius, positions=None, changing=False, policy: Policy = DEFAULT) -> Plan:
    """A plan for a box (edges `[d]`, or vectors as the rows of `[d, d]`) whose capacities fit `positions` (`[N, d]`, in
    any order) with the margins of ``policy``.

    ``changing``: the box may become smaller, by ``policy.shrinking``, before the plan no longer fits.

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
    radii = extent / (radius * steep) * ([1] * (axes - 1) + [BINS])
    if changing:
        radii = radii / policy.shrinking
    # Not quite as many columns as would fit, because `columns` adds a margin for rounding.
    cells = [int(r * (1 - 1e-4)) if p else math.ceil(r) for r, p in zip(np.minimum(radii, 2**14), periodic)]
    cells = _affordable(n_atoms, cells)
    if positions is None:
        density = n_atoms / np.prod(np.maximum(extent, radius))
        ball = math.pi * radius**2 if axes == 2 else 4 / 3 * math.pi * radius**3
        cluster = LANES / (density * radius ** (axes - 1))
        window = density * radius ** (axes - 1) * (2 * radius + cluster)
        slots = density * ball
    else:
        slots, window = _count(positions, cell, periodic, radius, cells)
        slots, window = slots * policy.slots, window * policy.window
    if changing:
        window, slots = window * policy.shrinking, slots * policy.shrinking
    return _capacities(n_atoms, periodic, cells, window, slots)


def grow(plan: Plan, needed, policy: Policy = DEFAULT) -> Plan:
    """A plan that holds a list with the capacities ``needed`` (which says when one call is not enough). Unchanged,
    and equal, where nothing overflowed."""
    cells = list(plan.cells)
    crowded = int(needed.window) > plan.window
    for a, periodic in enumerate(plan.periodic):
        wanted = int(needed.cells[a])
        if not periodic and crowded:  # the atoms have spread beyond the grid
            cells[a] = max(cells[a], wanted)
        elif periodic and (a < len(cells) - 1 or cells[a] >= SMALL and wanted < SMALL - 1):
            cells[a] = min(cells[a], wanted)
    window = int(needed.window) * policy.growth if crowded else plan.window - 1
    slots = int(needed.slots) * policy.growth if int(needed.slots) > plan.slots else plan.slots
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
    from scipy.spatial import cKDTree  # slow to import

    n, axes = x.shape
    if n < 2:
        return 0, n
    chosen = slice(None) if n <= SAMPLE else np.random.default_rng(0).choice(n, SAMPLE, replace=False)
    lengths, steep = np.diag(cell), np.diag(cell) / widths(cell)
    tilted = np.any(cell != np.diag(lengths))
    if tilted:
        tree = cKDTree(with_images(x, cell, periodic, radius)[0])
        slots = tree.query_ball_point(wrap(x, cell, periodic)[0][chosen], radius, return_length=True).max() - 1
        x = x @ np.linalg.inv(cell) * lengths  # as `columns` sees them
    x = np.where(periodic, x - lengths * np.floor(x / lengths), x - x.min(axis=0))
    box = np.where(periodic, lengths, 0.0)
    x = np.where((x >= box) & periodic, 0.0, x)  # rounding of the floor above
    if not tilted:
        tree = cKDTree(x, boxsize=box)
        slots = tree.query_ball_point(x[chosen], radius, return_length=True).max() - 1

    # The clusters' extents along the last axis, and all atoms and images near them.
    width = np.where(periodic, lengths / cells, radius * steep / np.array([1] * (axes - 1) + [BINS]))
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
    return slots, window
