"""Between arrays of the host, in the user's order, and arrays of the device, in columns.

Where arrays have the systems of a run along their first axis (`run.members`), so have the columns.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from mdsl.lowering.geometry.cell import Cell, cast, of_matrix


def columns(rows: np.ndarray, dtype) -> tuple:
    """[..., N, d] as d arrays [..., N]."""
    return tuple(jnp.asarray(rows[..., k], dtype) for k in range(rows.shape[-1]))


def by_user(ids, rows: tuple, atoms: int) -> np.ndarray:
    """[..., N, d] in the user's order, of d arrays [..., n] of which the first N are atoms. ``ids``: whose each is."""
    ids = np.asarray(ids)[..., :atoms]
    out = np.empty((*ids.shape, len(rows)))
    for k, column in enumerate(rows):
        np.put_along_axis(out[..., k], ids, np.asarray(column, float)[..., :atoms], axis=-1)
    return out


def cell_of(matrix: np.ndarray, tilted: bool, dtype) -> Cell:
    """A box from its vectors, [..., d, d], with entries [...]."""
    return cast(of_matrix(np.moveaxis(matrix, (-2, -1), (0, 1)), tilted), dtype)


def components(array: np.ndarray, put):
    """Of a value that is one for all atoms of each of B systems, [B, ...], nested tuples of its components [B], each as
    ``put`` gives it to the devices."""

    def nested(values):
        return put(values) if np.ndim(values) == 1 else tuple(map(nested, values))

    return nested(np.moveaxis(array, 0, -1))


def stacked(value, got) -> np.ndarray:
    """The other way round: of nested tuples of components one array [B, ...], of what ``got`` makes of each. Tuples
    hold no axes but those of components."""
    array = np.array(jax.tree.map(got, value))
    return np.moveaxis(array, -1, 0) if isinstance(value, tuple) else array
