"""Neighbour lists by a kernel of our own, as an operation of JAX. The plan is data: a list that grows has the same
kernel."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import NamedTuple

import jax
import jax.numpy as jnp

from .call import api, target
from .compile import lanes, packs
from .list_kernel import ROWS, Shape, printed


class Listed(NamedTuple):
    """order: [N] int32, which atom stands at each place; slots: [K, rows] int32; lengths: [rows] int32, the
    number of neighbours of each; degree, widest: int32, the most of these, and the most candidates in one column."""

    order: jax.Array
    slots: jax.Array
    lengths: jax.Array
    degree: jax.Array
    widest: jax.Array


def listed(
    periodic: tuple[bool, ...],
    imaged: tuple[bool, ...],
    bins: jax.Array,
    x: Sequence[jax.Array],
    cells: tuple[int, ...],
    start,
    numbers: Sequence[jax.Array],
    box: Sequence[Sequence[jax.Array]],
    tilted: bool,
    into: jax.Array,
) -> Listed:
    """Lists of the rows from ``start`` on, as many as ``into`` [K, rows] has; its place is taken by them.

    bins: [N] int32, in which bin each atom is; x: d arrays [N] float32; cells: along each axis; numbers:
    `list_kernel.NUMBERS`; box: its vectors, up to the diagonal.
    """
    width = lanes(4)
    shape = Shape(periodic, imaged, tilted, width, packs())
    n, (slots, rows) = bins.shape[0], into.shape
    whole = jnp.stack([*(jnp.int32(c) for c in cells), jnp.asarray(start, jnp.int32)])
    reals = jnp.stack([jnp.asarray(v, jnp.float32) for v in (*numbers, *(entry for row in box for entry in row))])
    outputs = [(n,), into.shape, (rows,), (2,), (prod(cells) + 1,)]
    types = [jax.ShapeDtypeStruct(s, jnp.int32) for s in outputs]
    types += [jax.ShapeDtypeStruct((n + width,), jnp.float32)] * len(x)
    types += [jax.ShapeDtypeStruct((ROWS, slots + width), jnp.int32)]
    operands = (bins, *x, whole, reals, into)
    order, found, lengths, counts, *_ = jax.ffi.ffi_call(
        target(printed(shape, api())),
        types,
        vmap_method="broadcast_all",
        input_output_aliases={len(operands) - 1: 1},
    )(*operands)
    return Listed(order, found, lengths, counts[0], counts[1])
