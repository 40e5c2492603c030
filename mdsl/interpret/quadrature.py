"""Integrals of functions of one number by quadrature: what they mean in the interpreter."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import numpy as np

from .dual import Dual, Number, add, mul, primal, sub

TOLERANCE = 1e-12


def integral(function: Callable[[Number], Number], lower: Number, upper: Number) -> Number:
    """The integral from ``lower`` to ``upper`` in every row, by adaptive Gauss-Kronrod quadrature.

    The interval is mapped to a fixed one, so that a dual integrand carries the derivative by the bounds as well
    (Leibniz' rule). A jump inside the interval whose place depends on a parameter has no such derivative.
    """
    ends = [np.unique(np.isinf(primal(end)) * np.sign(primal(end))) for end in (lower, upper)]
    if any(len(end) > 1 for end in ends):
        raise TypeError("an integral is infinite in some rows only")
    below, above = (float(end[0]) for end in ends)
    if below == above != 0:
        return np.zeros(1)
    if below > above:
        return -1.0 * integral(function, upper, lower)
    if below and above:
        return _quadrature(lambda s: function(np.array([s])), -np.inf, np.inf)
    if above:
        return _quadrature(lambda s: function(add(lower, np.array([s]))), 0.0, np.inf)
    if below:
        return _quadrature(lambda s: function(sub(upper, np.array([s]))), 0.0, np.inf)
    width = sub(upper, lower)
    return _quadrature(lambda s: mul(function(add(lower, mul(width, np.array([s])))), width), 0.0, 1.0)


class _Larger(Exception):
    """The integrand has more entries than it had before, since another branch of a choice is taken."""


def _quadrature(function: Callable[[float], Number], lower: float, upper: float) -> Number:
    """All the arrays of a number that may be dual, integrated together."""
    from scipy.integrate import quad_vec  # slow to import, and seldom needed

    shapes: dict[Path, tuple[int, ...]] = {}

    def entries(s: float) -> np.ndarray:
        arrays = dict(_arrays(function(s)))
        for path, array in arrays.items():
            if shapes.get(path, ()) != (shape := np.broadcast_shapes(array.shape, shapes.get(path, ()))):
                shapes[path] = shape
                raise _Larger
        return np.concatenate([np.broadcast_to(arrays.get(p, 0.0), shape).ravel() for p, shape in shapes.items()])

    while True:
        try:
            flat, _ = quad_vec(entries, lower, upper, epsabs=0.0, epsrel=TOLERANCE, norm="max")
            break
        except _Larger:
            pass
    places = np.cumsum([np.prod(shape, dtype=int) for shape in shapes.values()])[:-1]
    return _number({path: part.reshape(shape) for (path, shape), part in zip(shapes.items(), np.split(flat, places))})


Path = tuple[int, ...]
"""The levels of a dual number at which the tangent is taken, outermost first."""


def _arrays(number: Number, path: Path = ()) -> Iterator[tuple[Path, np.ndarray]]:
    if isinstance(number, Dual):
        yield from _arrays(number.value, path)
        yield from _arrays(number.tangent, (*path, number.level))
    else:
        yield path, np.asarray(number, float)


def _number(arrays: Mapping[Path, np.ndarray]) -> Number:
    """The opposite of `_arrays`; what is missing is 0."""
    level = max((path[0] for path in arrays if path), default=0)
    if level == 0:
        return arrays.get((), np.zeros(1))
    tangent = _number({path[1:]: a for path, a in arrays.items() if path and path[0] == level})
    return Dual(level, _number({path: a for path, a in arrays.items() if not path or path[0] != level}), tangent)
