"""Displacements and shifts of arrays of positions [..., d], on top of `cell`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import jax.numpy as jnp

from mdsl.grammar.diagnostics import Diagnostic, Rejected
from mdsl.lowering.tracing import is_traced

from .cell import Cell, nearest, of_matrix, wrap

if TYPE_CHECKING:
    from mdsl.lowering.arrays import Numbers, Vector


class Space(NamedTuple):
    """displacement(a, b): from b to a, [..., d]; shift(x, dx): where x + dx is; distance(a, b): [...]."""

    displacement: Callable[[Numbers, Numbers], Numbers]
    shift: Callable[[Numbers, Numbers], Numbers]
    distance: Callable[[Numbers, Numbers], Numbers]


def space(image: Callable[[Numbers], Numbers], inside: Callable[[Numbers], Numbers]) -> Space:
    """``image`` brings a displacement to its nearest image, ``inside`` a position into the box."""

    def displacement(a, b):
        return image(jnp.asarray(a) - jnp.asarray(b))

    def shift(x, dx):
        return inside(jnp.asarray(x) + jnp.asarray(dx))

    def distance(a, b):
        square = jnp.sum(displacement(a, b) ** 2, axis=-1)
        # The distance of a point to itself has no derivative; here it is 0 and not NaN.
        return jnp.where(square == 0, 0, jnp.sqrt(jnp.where(square == 0, 1, square)))

    return Space(displacement, shift, distance)


def free() -> Space:
    return space(lambda d: d, lambda x: x)


def periodic(box, axes: Sequence[bool] | None = None) -> Space:
    box = jnp.asarray(box, jnp.result_type(float))
    if not is_traced(box) and not (box > 0).all():
        raise Rejected(Diagnostic("bad-box", "an edge of the box is not positive", help="edges are positive lengths"))

    def cell(dim: int) -> Cell:
        if box.ndim > 1 or box.size not in (1, dim):
            raise Rejected(
                Diagnostic(
                    "wrong-shape", f"box has the shape {box.shape}; it is one edge, or one for each of {dim} axes"
                )
            )
        return Cell(tuple(jnp.broadcast_to(box, (dim,))))

    return _boxed(cell, axes)


def periodic_general(cell, axes: Sequence[bool] | None = None) -> Space:
    cell = jnp.asarray(cell, jnp.result_type(float))
    dim = len(cell) if cell.ndim else 0
    if dim not in (2, 3) or cell.shape != (dim, dim):
        raise Rejected(
            Diagnostic(
                "wrong-shape", f"the cell has the shape {cell.shape}; it is two vectors in the plane or three in space"
            )
        )
    skew = (jnp.triu(cell, 1) != 0).any() | ~(jnp.diagonal(cell) > 0).all()
    if not is_traced(cell) and skew:
        help = "a along x, b in the plane of x and y, and positive edges: [[ax, 0, 0], [bx, by, 0], [cx, cy, cz]]"
        raise Rejected(Diagnostic("bad-box", "the box vectors are not those of a triangular matrix", help=help))
    checked = of_matrix(cell + jnp.where(skew, jnp.nan, 0.0), tilted=True)

    def fitting(d: int) -> Cell:
        if d != dim:
            raise Rejected(Diagnostic("wrong-shape", f"the cell has {dim} dimensions, the positions {d}"))
        return checked

    return _boxed(fitting, axes)


def _boxed(cell: Callable[[int], Cell], axes: Sequence[bool] | None) -> Space:
    def repeating(dim: int) -> tuple[bool, ...]:
        if axes is not None and len(axes) != dim:
            raise Rejected(Diagnostic("wrong-shape", f"there are {len(axes)} flags for {dim} axes"))
        return (True,) * dim if axes is None else tuple(bool(a) for a in axes)

    def columns(x: Numbers) -> Vector:
        return tuple(x[..., k] for k in range(x.shape[-1]))

    def image(d):
        dim = d.shape[-1]
        return jnp.stack(nearest(cell(dim), repeating(dim))(columns(d)), axis=-1)

    def inside(x):
        dim = x.shape[-1]
        return jnp.stack(wrap(cell(dim), repeating(dim), columns(x))[0], axis=-1)

    return space(image, inside)
