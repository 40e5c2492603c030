"""Boxes that change: what a program declares for parameters and a time, and positions that are carried along."""

from __future__ import annotations

from typing import TYPE_CHECKING

import jax.numpy as jnp

from mdsl.lowering.geometry.cell import Cell, cast, combination, entries_of, fractions
from mdsl.model.nodes import Model

from .globals import Globals

if TYPE_CHECKING:
    from jax.typing import DTypeLike

    from mdsl.lowering.arrays import Params, Scalar


def declared(model: Model, params: Params, t: Scalar, n_atoms: int, dtype: DTypeLike) -> Cell:
    """The box that a program declares, for all parameters and a time; the edge is 1 where it is free."""
    known = Globals(model, params, None, t, n_atoms)
    edges = model.box.edges * model.dim if len(model.box.edges) == 1 else model.box.edges
    return cast(
        Cell(tuple(1.0 if e is None else known.value(e) for e in edges), tuple(map(known.value, model.box.tilts))),
        dtype,
    )


def repeating(cell: Cell, periodic: tuple[bool, ...]) -> list:
    """The edges along axes that repeat."""
    return [edge for edge, p in zip(cell.edges, periodic) if p]


def free_kept(cell: Cell, periodic: tuple[bool, ...], dtype) -> Cell:
    """A new box, as boxes are along axes that do not repeat: there it has no edge to change."""
    one = jnp.ones((), dtype)
    fixed = [one if k == j else jnp.zeros_like(one) for k, j in entries_of(cell)]
    kept = [v if periodic[k] else f for (k, _), v, f in zip(entries_of(cell), cell.leaves, fixed)]
    return Cell(tuple(kept[: len(periodic)]), tuple(kept[len(periodic) :]))


def carried(x: tuple, old: Cell, new: Cell) -> tuple:
    """Positions with the same fractions of another box."""
    return combination(new, fractions(old, x))


def strain(old: Cell, new: Cell):
    """The Frobenius norm of A - 1, where x A carries positions from one box to the other. No vector grows or shrinks
    by more than this part of its length."""
    dim = len(old.edges)
    axes = [tuple(jnp.asarray(float(j == k)) for k in range(dim)) for j in range(dim)]
    return jnp.sqrt(sum((c - one) ** 2 for axis in axes for c, one in zip(carried(axis, old, new), axis)))
