"""What learned and extern functions mean, in plain NumPy: networks by dual numbers, functions of Python row by row,
with differences for their derivatives."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mdsl.model.functions import Extern, Network

from . import dual
from .dual import Number, linear
from .values import rank, vector

STEP = 1e-3  # of differences, of the size of the argument
STENCIL = ((1, 0.75), (2, -0.15), (3, 1 / 60))  # of sixth order


def value(body: Network | Extern, args: Sequence[Number], by: tuple[int, ...] = ()) -> Number:
    """A function of its arguments in rows, numbers [rows] or arrays [rows, C], differentiated by the numbers at the
    places ``by``; of a network the first argument are all its weights."""
    if by:
        *rest, k = by
        return dual.derivative(lambda a: value(body, (*args[:k], a, *args[k + 1 :]), tuple(rest)), args[k], np.ones(1))
    if isinstance(body, Network):
        return network(body, *args)
    if body.function is None:
        raise NameError(f"the function `{body.name}` was not given")
    return _extern(body, args)


def network(body: Network, weights: Number, *inputs: Number) -> Number:
    layers = {name: linear(lambda row, name=name: body.split(row)[name], weights) for name in body.shapes}

    def affine(h: Number, w: Number, b: Number) -> Number:
        return dual.add(dual.bilinear(np.matmul)(h, w), linear(lambda a: a[..., None, :], b))

    inputs = inputs[0] if rank(inputs[0]) else vector(*inputs)
    return linear(lambda a: a[..., 0], body.apply(layers, inputs, dual.tanh, affine))


def _extern(body: Extern, args: Sequence[Number]) -> Number:
    """Of the columns of all arguments, so that each has a derivative of its own."""
    widths = [dual.primal(a).shape[-1] if rank(a) else None for a in args]
    columns = [
        a if w is None else linear(lambda v, c=c: v[..., c], a) for a, w in zip(args, widths) for c in range(w or 1)
    ]

    def plain(*columns: np.ndarray) -> np.ndarray:
        columns = np.broadcast_arrays(*columns)
        found = np.empty(columns[0].shape)
        for place in np.ndindex(found.shape):
            numbers = iter([c[place] for c in columns])
            found[place] = body.function(
                *(next(numbers) if w is None else np.array([next(numbers) for _ in range(w)]) for w in widths)
            )
        return found

    def partial(function, k: int):
        def slope(*columns: np.ndarray) -> np.ndarray:
            h = STEP * np.maximum(1.0, np.abs(columns[k]))

            def moved(n: int) -> np.ndarray:
                return function(*columns[:k], columns[k] + n * h, *columns[k + 1 :])

            return sum(c * (moved(n) - moved(-n)) for n, c in STENCIL) / h

        return slope

    def differentiable(function, depth: int):
        """With its derivatives, up to the third."""
        partials = [differentiable(partial(function, k), depth - 1) for k in range(len(columns))] if depth else ()
        return dual.elementwise(function, *partials)

    return differentiable(plain, 3 if len(columns) < 4 else 2)(*columns)
