"""Tabulated functions: values at evenly spaced knots, and what lies between them.

Between two knots a function is the cubic with given values and slopes at both (Hermite). The slopes are differences of
five knots, [(f₋₂ - f₂) + 8 (f₁ - f₋₁)]/12 of a step, of two knots at the ends. This is the scheme of LAMMPS, so that one
file means the same energies in both. The derivative is that of the cubic: continuous at knots, where the second jumps.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import perm

import numpy as np

LEAST = 5  # knots


def slopes(values: np.ndarray) -> np.ndarray:
    """[..., K]: the slope at each knot of values [..., K], in units of the value for each step."""
    f = values
    out = np.empty_like(f)
    out[..., 2:-2] = ((f[..., :-4] - f[..., 4:]) + 8 * (f[..., 3:-1] - f[..., 1:-3])) / 12
    out[..., 1], out[..., -2] = (f[..., 2] - f[..., 0]) / 2, (f[..., -1] - f[..., -3]) / 2
    out[..., 0], out[..., -1] = f[..., 1] - f[..., 0], f[..., -1] - f[..., -2]
    return out


@dataclass(frozen=True, eq=False)
class Curves:
    """Functions of one number that share their knots ``first + k*step``.

    values: [C, K]; number: which of the C curves serves each entry of the table, in the shape of its axes. From ``end``
    on functions are 0; None: beyond the last knot they go on as straight lines. Where a table begins
    beyond 0 it says nothing of what comes before, and the value there is not a number; else the first cubic goes on.
    divided: the values are those of x f(x), as files of pair potentials hold them.
    """

    first: float
    step: float
    values: np.ndarray
    number: np.ndarray
    end: float | None = None
    divided: bool = False

    @cached_property
    def pieces(self) -> np.ndarray:
        """[4, C, K]: the coefficients of the cubic behind each knot, in powers of the steps from it; a line behind the last."""
        f, s = self.values, slopes(self.values)
        rise = np.diff(f, axis=-1)
        last = np.zeros((*f.shape[:-1], 1))
        square = np.concatenate([3 * rise - 2 * s[..., :-1] - s[..., 1:], last], axis=-1)
        cube = np.concatenate([s[..., :-1] + s[..., 1:] - 2 * rise, last], axis=-1)
        return np.stack([f, s, square, cube])

    def value(self, which: np.ndarray, order: int, x: np.ndarray, extended: bool = False) -> np.ndarray:
        """The ``order``-th derivative of curve ``which`` at ``x``. extended: without the end, to see what is just before it."""
        which, x = np.broadcast_arrays(np.asarray(which, int), np.asarray(x, float))
        steps = (x - self.first) / self.step
        k = np.clip(np.nan_to_num(np.floor(steps)), 0, self.values.shape[-1] - 1).astype(int)
        c, p = self.pieces[:, which, k], steps - k

        def cubic(n: int) -> np.ndarray:
            return sum((perm(m, n) * c[m] * p ** (m - n) for m in range(n, 4)), np.zeros_like(p)) / self.step**n

        result = quotient(cubic, order, x) if self.divided else cubic(order)
        if self.end is not None and not extended:
            result = np.where(x >= self.end, 0.0, result)
        return np.where(x < self.first, np.nan, result) if self.first > 0 else result


def quotient(derivative, order: int, x):
    """The ``order``-th derivative of z(x)/x from those of z: since f = z/x, z⁽ⁿ⁾ = x f⁽ⁿ⁾ + n f⁽ⁿ⁻¹⁾."""
    result = derivative(0) / x
    for n in range(1, order + 1):
        result = (derivative(n) - n * result) / x
    return result
