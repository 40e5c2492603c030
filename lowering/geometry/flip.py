"""Other vectors of the same lattice: boxes whose tilts have become large are flipped, as in LAMMPS.

Whole vectors are taken from later ones: with the integer matrix F, 1 on its diagonal and 0 above, F·cell spans the same
lattice. Atoms stay where they are, and nearest images with them; lists, whose columns follow the box vectors, stay
short. F is held by its entries below the diagonal, row by row, as tilts are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import jax.numpy as jnp

from .cell import Cell

if TYPE_CHECKING:
    from mdsl.lowering.arrays import Numbers, Vector


def _row(flip: Vector, k: int) -> Vector:
    first = k * (k - 1) // 2
    return flip[first : first + k]


def flipped(cell: Cell, flip: Vector) -> Cell:
    """F·cell."""
    tilts = []
    for k in range(len(cell.edges)):
        row = list(cell.row(k)[:k])
        for j, turns in enumerate(_row(flip, k)):
            for i, entry in enumerate(cell.row(j)):
                row[i] = row[i] + turns * entry
        tilts += row
    return Cell(cell.edges, tuple(tilts))


def between(old: Cell, new: Cell) -> Vector:
    """F with new = F·old, of two boxes that span the same lattice."""
    found: list = []
    for k in range(len(old.edges)):
        rest = [a - b for a, b in zip(new.row(k)[:k], old.row(k)[:k])]
        turns: list[Numbers | float] = [0.0] * k
        for j in reversed(range(k)):
            turns[j] = jnp.round(rest[j] / old.edges[j])
            for i, entry in enumerate(old.row(j)[:j]):
                rest[i] = rest[i] - turns[j] * entry
        found += turns
    return tuple(found)


def reducing(cell: Cell, periodic: Sequence[bool]) -> Vector:
    """F after which no tilt is more than half of the edge of its axis, where that repeats."""
    found: list = []
    rows = [cell.row(0)]
    for k in range(1, len(cell.edges)):
        row = list(cell.row(k))
        taken: list[Numbers | float] = [0.0] * k
        for j in reversed(range(k)):
            if periodic[j] and periodic[k]:
                taken[j] = -jnp.round(row[j] / cell.edges[j])
                row[: j + 1] = [a + taken[j] * b for a, b in zip(row, rows[j])]
        # `rows` are reduced already: in the vectors of `cell` they are those, and what was taken from them.
        turns = list(taken)
        for j in range(k):
            for i, part in enumerate(_row(tuple(found), j)):
                turns[i] = turns[i] + taken[j] * part
        found += turns
        rows.append(tuple(row))
    return tuple(found)


def images_in(images: Vector, flip: Vector) -> Vector:
    """n' with n'·F = n: how often the vectors of F·cell are to be added where those of the cell were n times."""
    found = list(images)
    for k in reversed(range(len(found))):
        for j, turns in enumerate(_row(flip, k)):
            found[j] = found[j] - found[k] * turns
    return tuple(found)
