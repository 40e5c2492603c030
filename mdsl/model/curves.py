"""Tabulated functions: values at evenly spaced knots, and what lies between them.

Between two knots a function is the cubic with given values and slopes at both (Hermite). The slopes are differences of
five knots, [(f₋₂ - f₂) + 8 (f₁ - f₋₁)]/12 of a step, of two knots at the ends. This is the scheme of LAMMPS, so that
one file means the same energies in both. The derivative is that of the cubic: continuous at knots, where the second
jumps. A function with a period has no ends: its slopes are differences of five knots everywhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import perm

import numpy as np
from numpy.typing import ArrayLike

LEAST = 5  # knots
HOLD, CONTINUE, STOP, REPEAT = "hold", "continue", "stop", "repeat"
OUTSIDE = {HOLD: 1, CONTINUE: 2}  # how many coefficients of a cubic remain outside of the knots
ROUNDINGS = 8  # an argument that is off an end by so many roundings is at the end


def slopes(values: np.ndarray, periodic: bool = False) -> np.ndarray:
    """[..., K]: the slope at each knot of values [..., K], in units of the value for each step."""
    f = values
    if periodic:
        return ((np.roll(f, 2, -1) - np.roll(f, -2, -1)) + 8 * (np.roll(f, -1, -1) - np.roll(f, 1, -1))) / 12
    out = np.empty_like(f)
    out[..., 2:-2] = ((f[..., :-4] - f[..., 4:]) + 8 * (f[..., 3:-1] - f[..., 1:-3])) / 12
    out[..., 1], out[..., -2] = (f[..., 2] - f[..., 0]) / 2, (f[..., -1] - f[..., -3]) / 2
    out[..., 0], out[..., -1] = f[..., 1] - f[..., 0], f[..., -1] - f[..., -2]
    return out


@dataclass(frozen=True, eq=False)
class Curves:
    """Functions of one number that share their knots ``first + k*step``.

    values: [C, K]; number: which of the C curves serves each entry of the table, in the shape of its axes.
    divided: the values are those of x f(x), as files of pair potentials hold them.

    ``beyond`` says what functions are outside of their knots:

    * ``""``: 0 from ``end`` on, or beyond the last knot where that is the end; without an end they go on as straight
      lines. Where a table begins beyond 0 it says nothing of what comes before, and the value there is not a number;
      else the first cubic goes on. So are functions of a distance, and embedding energies.
    * HOLD: the values at both ends; CONTINUE: straight lines; STOP: not a number.
    * REPEAT: the K knots are one period, and a K-th step leads back to the first.

    At the last knot itself a function has its value, whatever comes beyond.
    """

    first: float
    step: float
    values: np.ndarray
    number: np.ndarray
    end: float | None = None
    divided: bool = False
    beyond: str = ""

    @property
    def last(self) -> float:
        """The last knot."""
        return self.first + (self.values.shape[-1] - 1) * self.step

    def piece(self, steps, xp):
        """The number of the cubic for an argument ``steps`` steps from the first knot, and the place in it. ``xp``:
        NumPy or that of JAX."""
        knots, whole = self.values.shape[-1], xp.floor(steps)
        if self.beyond == REPEAT:
            return xp.mod(whole, knots), steps - whole
        k = xp.clip(whole, 0, knots - 1)
        return k, steps - k

    def inside(self, steps):
        """Whether an argument is between the first knot and the last."""
        return (steps >= 0) & (steps <= self.values.shape[-1] - 1)

    def with_ends(self, result, x, extended: bool, xp):
        """``result`` of the cubics at ``x``, and what is there instead outside of the knots."""
        # An angle of 180 degrees is that also where a rounding makes it more.
        slack = ROUNDINGS * float(xp.finfo(x.dtype).eps) * max(abs(self.first), abs(self.last))
        if self.beyond == STOP:
            return xp.where((x < self.first - slack) | (x > self.last + slack), xp.nan, result)
        if self.beyond:
            return result
        if self.end is not None and not extended:
            ended = x >= self.end if self.end < self.last - slack else x > self.last + slack
            result = xp.where(ended, 0.0, result)
        return xp.where(x < self.first, xp.nan, result) if self.first > 0 else result

    @cached_property
    def pieces(self) -> np.ndarray:
        """[4, C, K]: the coefficients of the cubic behind each knot, in powers of the steps from it; a line behind the
        last, unless it leads back to the first."""
        if self.beyond == REPEAT:
            f, s = self.values, slopes(self.values, periodic=True)
            rise, after = np.roll(f, -1, -1) - f, np.roll(s, -1, -1)
            return np.stack([f, s, 3 * rise - 2 * s - after, s + after - 2 * rise])
        f, s = self.values, slopes(self.values)
        rise = np.diff(f, axis=-1)
        last = np.zeros((*f.shape[:-1], 1))
        square = np.concatenate([3 * rise - 2 * s[..., :-1] - s[..., 1:], last], axis=-1)
        cube = np.concatenate([s[..., :-1] + s[..., 1:] - 2 * rise, last], axis=-1)
        return np.stack([f, s, square, cube])

    def value(self, which: ArrayLike, order: int, x: ArrayLike, extended: bool = False) -> np.ndarray:
        """The ``order``-th derivative of curve ``which`` at ``x``. extended: without the end, to see what is just
        before it."""
        which, x = np.broadcast_arrays(np.asarray(which, int), np.asarray(x, float))
        steps = (x - self.first) / self.step
        k, p = self.piece(steps, np)
        c = self.pieces[:, which, np.nan_to_num(k).astype(int)]
        if self.beyond in OUTSIDE:
            c[OUTSIDE[self.beyond] :] *= self.inside(steps)

        def cubic(n: int) -> np.ndarray:
            return sum((perm(m, n) * c[m] * p ** (m - n) for m in range(n, 4)), np.zeros_like(p)) / self.step**n

        return self.with_ends(quotient(cubic, order, x) if self.divided else cubic(order), x, extended, np)


def quotient(derivative, order: int, x):
    """The ``order``-th derivative of z(x)/x from those of z: since f = z/x, z⁽ⁿ⁾ = x f⁽ⁿ⁾ + n f⁽ⁿ⁻¹⁾."""
    inverse = 1 / x
    result = derivative(0) * inverse
    for n in range(1, order + 1):
        result = (derivative(n) - n * result) * inverse
    return result
