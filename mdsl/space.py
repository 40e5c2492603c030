"""Displacements, shifts and distances in a box, as plain functions of JAX arrays.

    displacement, shift, distance = mdsl.space.periodic(10.0)
    r = distance(x[:, None], x[None, :])                # [N, N], nearest images
    x = shift(x, dt*v)                                  # back into the box

Positions are arrays [..., d] of real coordinates, d is 2 or 3, and shapes broadcast; everything can be compiled,
differentiated (also by the box) and vectorised by JAX. They compute what programs compute for ``x[i] - x[j]``. The
functions are those of section 4.1 of Schoenholz and Cubuk, JAX MD (2020), for users who write their own energies.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from mdsl.lowering.jax_version import check

if TYPE_CHECKING:
    from mdsl.lowering.geometry.space import Space

__all__ = ["free", "periodic", "periodic_general"]


def _space():
    """Raises Rejected: ``unsupported-jax``."""
    check()
    from mdsl.lowering.geometry import space

    return space


def free() -> Space:
    """Space without walls: displacement(a, b) is a - b, shift(x, dx) is x + dx."""
    return _space().free()


def periodic(box, axes: Sequence[bool] | None = None) -> Space:
    """A rectangular box with a corner at the origin. ``box``: one edge, or one for each axis, [d]; ``axes``: which of
    them repeat, all by default.

    displacement(a, b): the nearest image of a - b, [..., d], at any distance. shift(x, dx): x + dx, brought into
    the box. distance(a, b): [...]; its derivative where a and b coincide is 0. Raises Rejected: ``bad-box``,
    ``wrong-shape``.
    """
    return _space().periodic(box, axes)


def periodic_general(cell, axes: Sequence[bool] | None = None) -> Space:
    """A box whose vectors are the rows of ``cell``, [d, d], triangular: a along x, b in the plane of x and y. As
    `periodic` otherwise.

    The displacement is the nearest image wherever that is nearer than half the smallest entry of the diagonal. A
    traced cell that is not triangular makes everything NaN. Raises Rejected: ``bad-box``, ``wrong-shape``.
    """
    return _space().periodic_general(cell, axes)
