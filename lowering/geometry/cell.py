"""The box as JAX values: its vectors, nearest images, and fractions of it.

The box vectors are the rows of a triangular matrix, a = (ax, 0, 0), b = (bx, by, 0), c = (cx, cy, cz). An axis
that does not repeat has the edge 1 and no tilts.

*Nearest images* are found by rounding from the last vector to the first. Of two lattice points the last
coordinate in which their vectors differ differs by at least the edge of that vector, so at most one image is
nearer than half the smallest edge (ax, by, cz), and its coordinates are each less than half the edge: rounding
finds it, however skewed the box. In a rectangular box it is the nearest image at any distance.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import jax.numpy as jnp
import numpy as np

if TYPE_CHECKING:
    from jax.typing import DTypeLike

    from mdsl.lowering.arrays import Numbers, Scalar, Vector


class Cell(NamedTuple):
    """``edges``: the d diagonal entries. ``tilts``: those below, row by row (bx, cx, cy); none where the box is
    rectangular, which makes rectangular programs another, simpler tree of arrays."""

    edges: tuple[Scalar, ...]
    tilts: tuple[Scalar, ...] = ()

    def row(self, k: int) -> tuple[Scalar, ...]:
        """The entries of a box vector up to the diagonal."""
        first = k * (k - 1) // 2
        return (*(self.tilts[first : first + k] if self.tilts else (0.0,) * k), self.edges[k])

    @property
    def leaves(self) -> tuple[Scalar, ...]:
        """All entries, in the order of `entries`."""
        return (*self.edges, *self.tilts)


@lru_cache(maxsize=None)
def entries(dim: int, tilted: bool) -> tuple[tuple[int, int], ...]:
    """Row and column of each entry."""
    below = tuple((k, j) for k in range(dim) for j in range(k))
    return (*((k, k) for k in range(dim)), *(below if tilted else ()))


def entries_of(cell: Cell) -> tuple[tuple[int, int], ...]:
    return entries(len(cell.edges), bool(cell.tilts))


def of_matrix(matrix: Numbers | np.ndarray, tilted: bool) -> Cell:
    """From [d, d], whose entries above the diagonal (and below, unless ``tilted``) are not looked at."""
    dim = len(matrix)
    values = [matrix[k][j] for k, j in entries(dim, tilted)]
    return Cell(tuple(values[:dim]), tuple(values[dim:]))


def matrix_of(cell: Cell) -> np.ndarray:
    """[d, d] on the host; [..., d, d] where entries are [...]."""
    matrix = np.zeros((*np.shape(cell.edges[0]), *(len(cell.edges),) * 2))
    for place, value in zip(entries_of(cell), cell.leaves):
        matrix[(..., *place)] = value
    return matrix


def cast(cell: Cell, dtype: DTypeLike) -> Cell:
    """The same in another precision."""
    return Cell(*(tuple(jnp.asarray(v, dtype) for v in part) for part in cell))


def volume(cell: Cell) -> Scalar:
    return math.prod(cell.edges[1:], start=cell.edges[0])


def fractions(cell: Cell, x: Sequence[Numbers | float]) -> Vector:
    """``s`` with x = s[0]*a + s[1]*b + ..., of a tuple of arrays."""
    if not cell.tilts:
        return tuple(c / edge for c, edge in zip(x, cell.edges))
    rest, found = list(x), []
    for k in reversed(range(len(rest))):
        s = rest[k] / cell.edges[k]
        found.append(s)
        for j, tilt in enumerate(cell.row(k)[:k]):
            rest[j] = rest[j] - s * tilt
    return tuple(reversed(found))


def combination(cell: Cell, s: Sequence[Numbers | float]) -> Vector:
    """``s[0]*a + s[1]*b + ...``"""
    if not cell.tilts:
        return tuple(edge * n for edge, n in zip(cell.edges, s))
    return tuple(sum(s[k] * cell.row(k)[j] for k in range(j, len(s))) for j in range(len(s)))


def steepness(cell: Cell) -> tuple[Scalar, ...]:
    """For each axis the gradient of edge times fraction: how much closer than the edge the two faces are that the
    vector connects."""
    dim = len(cell.edges)
    slopes = [fractions(cell, [float(j == k) for k in range(dim)]) for j in range(dim)]
    return tuple(jnp.sqrt(sum((cell.edges[k] * slope[k]) ** 2 for slope in slopes)) for k in range(dim))


def nearest(cell: Cell, periodic: Sequence[bool]) -> Callable[[Vector], Vector]:
    """Displacement (a tuple of arrays) to displacement of the nearest image."""

    # Divisions take several times as long as products. Where 1/edge is rounded, halves of the edge are still rounded to
    # 0.
    inverse = tuple(1 / edge for edge in cell.edges)

    def image(d: Vector) -> Vector:
        if not cell.tilts:
            return tuple(
                c - edge * jnp.round(c * inv) if repeats else c
                for c, edge, inv, repeats in zip(d, cell.edges, inverse, periodic)
            )
        rest = list(d)
        for k in reversed(range(len(d))):
            if periodic[k]:
                turns = jnp.round(rest[k] * inverse[k])
                for j, entry in enumerate(cell.row(k)):
                    rest[j] = rest[j] - turns * entry
        return tuple(rest)

    return image


def wrap(cell: Cell, periodic: Sequence[bool], x: Vector) -> tuple[Vector, Vector]:
    """Positions brought back into the box, and by how many of its vectors each was moved."""
    moved = tuple(jnp.floor(s) if repeats else jnp.zeros_like(s) for s, repeats in zip(fractions(cell, x), periodic))
    if not cell.tilts:
        return tuple(
            c - edge * n if repeats else c for c, edge, n, repeats in zip(x, cell.edges, moved, periodic)
        ), moved
    return tuple(c - shift for c, shift in zip(x, combination(cell, moved))), moved
