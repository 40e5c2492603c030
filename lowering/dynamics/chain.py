"""Replicas that read each other: what a value is in the next one, and in the one before.

They go through each step together, so that what one reads of another is of the same moment. Atoms are paired by their
numbers, for each replica has an order of its own.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
from jax import lax

from mdsl.lowering.field.field import Field
from mdsl.lowering.traversals.topologies import inverse
from mdsl.model.nodes import Op, walk
from mdsl.model.operators import NEIGHBOURS
from mdsl.model.traverse import inside

if TYPE_CHECKING:
    from mdsl.lowering.arrays import Flag, RowLabels, Value

REPLICAS, DEVICES = "replicas", "devices"  # names of axes


def talks(field: Field) -> bool:
    """Whether flows read what is in neighbouring replicas."""
    exprs = inside(tuple(a.body for a in field.dynamics))
    return any(isinstance(n, Op) and n.op in NEIGHBOURS for e in exprs for n in walk(e))


def beside(value: Value, by: int, ids: RowLabels, axes: tuple[str, ...], count: int | None) -> Value:
    """A value, of each atom or one for all, as it is ``by`` replicas farther on; at the ends as it is there.

    ``axes``: along which the replicas lie, the outermost first; ``count``: how many of them there are, None: all;
    others fill up the last device.
    """
    place, size = 0, math.prod(lax.axis_size(a) for a in axes)
    for axis in axes:
        place = place * lax.axis_size(axis) + lax.axis_index(axis)
    other = jnp.clip(place + by, 0, (size if count is None else count) - 1)
    back = inverse(ids)

    def of(leaf):
        leaf = jnp.asarray(leaf)
        each = leaf.shape == ids.shape
        all_of_them = leaf[back] if each else leaf
        for axis in reversed(axes):
            all_of_them = lax.all_gather(all_of_them, axis)
        found = all_of_them.reshape(size, *leaf.shape)[other]
        return found[ids] if each else found

    return jax.tree.map(of, value)


def all_of(flag: Flag, axes: tuple[str, ...]) -> Flag:
    """Whether it holds for all replicas."""
    return lax.pmin(flag.astype(jnp.int32), axes) > 0
