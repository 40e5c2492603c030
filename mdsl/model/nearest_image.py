"""How far pairs may reach in a box so that each has one image: the one rule of nearest images.

The box vectors are the rows of a triangular matrix with the edges ax, by, cz on its diagonal, and images are found by
rounding along c, then b, then a. Two lattice points whose last different coordinate is the k-th are at least the k-th
edge apart, so at most one image is nearer than half the smallest edge, and rounding finds it, however skew the box. The
distances between faces, which are smaller in a skew box, have no part in it.
"""

from __future__ import annotations

from collections.abc import Sequence


def fits(edges: Sequence, periodic: Sequence[bool], reach):
    """Whether nearest images are enough for pairs that reach so far: at most half of each edge that repeats.

    edges: [d] numbers, or arrays of NumPy or JAX of one shape; reach: a number or such an array, None or infinite where
    there is no end, so that pairs are those of nearest images by definition. False where an edge is NaN or not
    positive, as that of a box that is lost: there no pair would be near, and the energy 0.
    """
    good = True
    for edge, repeats in zip(edges, periodic):
        if repeats:
            good = good & (edge > 0) & (True if reach is None else (edge >= 2 * reach) | (reach == float("inf")))
    return good


def half(edges: Sequence[float], periodic: Sequence[bool]) -> float:
    """Half of the smallest edge that repeats, infinite where none does; NaN where one of them is NaN."""
    found = float("inf")
    for edge, repeats in zip(edges, periodic):
        if repeats and not edge / 2 >= found:
            found = float(edge) / 2
        if found != found:
            break
    return found
