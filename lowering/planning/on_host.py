"""Images of atoms in NumPy, for what is planned and diagnosed on the host. ``cell``: [d, d], rows are the box
vectors."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np


def as_matrix(box) -> np.ndarray:
    """[d, d] from edges [d], or as given."""
    box = np.asarray(box, float)
    return np.diag(box) if box.ndim == 1 else box


def wrap(x: np.ndarray, cell: np.ndarray, periodic: Sequence[bool]) -> tuple[np.ndarray, np.ndarray]:
    """Positions [..., N, d] brought back into the box, and by how many of its vectors each was moved."""
    moved = np.where(periodic, np.floor(x @ np.linalg.inv(cell)), 0.0)
    return x - moved @ cell, moved


def nearest(d: np.ndarray, cell: np.ndarray, periodic: Sequence[bool]) -> np.ndarray:
    """Displacements [..., d] to their nearest images, by rounding from the last vector to the first."""
    d = np.array(d, float)
    for k in reversed(range(len(cell))):
        if periodic[k]:
            d -= np.round(d[..., k] / cell[k, k])[..., None] * cell[k]
    return d


def widths(cell: np.ndarray) -> np.ndarray:
    """[d]: the distances between opposite faces."""
    return 1 / np.linalg.norm(np.linalg.inv(cell), axis=0)


def with_images(
    x: np.ndarray, cell: np.ndarray, periodic: Sequence[bool], reach: float
) -> tuple[np.ndarray, np.ndarray]:
    """Wrapped positions followed by all their images within ``reach`` of the box, and whose image each is."""
    x, _ = wrap(x, cell, periodic)
    s = x @ np.linalg.inv(cell)
    margin = reach / widths(cell)
    points, owners = [x], [np.arange(len(x))]
    turns = [range(-int(np.ceil(m)), int(np.ceil(m)) + 1) if p else (0,) for m, p in zip(margin, periodic)]
    for n in itertools.product(*turns):
        if any(n):
            moved = s + n
            near = np.all(~np.array(periodic) | ((moved > -margin) & (moved < 1 + margin)), axis=1)
            points.append(x[near] + np.array(n) @ cell)
            owners.append(np.flatnonzero(near))
    return np.concatenate(points), np.concatenate(owners)


def most_near(x: np.ndarray, cell: np.ndarray, periodic: Sequence[bool], reach: float) -> int:
    """The most atoms, or images of atoms, that one atom has within ``reach``."""
    from scipy.spatial import cKDTree  # slow to import

    points, _ = with_images(np.asarray(x, float), cell, periodic, reach)
    return int(cKDTree(points).query_ball_point(points[: len(x)], reach, return_length=True).max()) - 1
