"""What learned and extern functions mean, in plain NumPy: networks by dual numbers, functions of Python row by row,
with differences for their derivatives."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from mdsl.model.dimensions import ENERGY, LENGTH
from mdsl.model.functions import Extern, Network
from mdsl.model.nodes import OfAll

from . import dual, quantities
from .dual import Number, linear, primal
from .rows import Rows
from .values import rank, vector

if TYPE_CHECKING:
    from .expressions import Interpreter

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


# -- extern energies: of all atoms at once -------------------------------------------------------------------


class Neighbours(NamedTuple):
    """What `lowering.traversals.whole` tells of pairs, without empty places."""

    centre: np.ndarray
    other: np.ndarray
    vector: np.ndarray
    there: np.ndarray


def of_all(now: Interpreter, body: OfAll) -> Number:
    """[1]: a function of Python of positions, box and weights, with differences for its derivatives."""
    (n, d), scales = now.system.x.shape, now.model.units
    length, energy = (scales.shown_per_internal(dimension) for dimension in (LENGTH, ENERGY))
    repeats, function = quantities.periodic(now), body.body.function
    if function is None:
        raise NameError(f"the function `{body.name}` was not given")
    if hasattr(function, "in_units"):
        function = function.in_units(now.model, tuple(map(bool, repeats)))
    radius = [float(primal(now.value(r, Rows(1)))[0]) for r in body.radius]
    learned = now.model.param(body.weights) if body.weights else None

    def plain(x: np.ndarray, cell: np.ndarray, row: np.ndarray) -> np.ndarray:
        x, cell = x.reshape(n, d), cell.reshape(d, d)
        given = {"x": x * length, "species": np.asarray(now.system.species), "box": cell * length}
        if radius:
            given["neighbours"] = _pairs(x, cell, repeats, radius[0], length)
        if learned is not None:
            given[body.weights] = learned.learned.split(row)
        return np.array([float(function(*(given[name] for name in body.inputs)))]) / energy

    x = linear(lambda a: a.reshape(*a.shape[:-2], n * d), now.x)
    cell = linear(lambda a: a.reshape(*a.shape[:-3], d * d), now.cell)
    return _of_vectors(plain, x, cell, now.param(body.weights) if learned is not None else np.zeros(0))


def _pairs(x: np.ndarray, cell: np.ndarray, repeats: Sequence[bool], radius: float, length: float) -> Neighbours:
    vector = x[None, :] - x[:, None]
    for k in reversed(range(len(cell))):
        if repeats[k]:
            vector = vector - np.round(vector[..., k, None] / cell[k, k]) * cell[k]
    centre, other = np.nonzero((vector**2).sum(axis=-1) + radius**2 * np.eye(len(x)) < radius**2)
    return Neighbours(centre, other, vector[centre, other] * length, np.ones(len(centre), bool))


def _of_vectors(function, *args: Number) -> Number:
    """A function of vectors [M] that gives an array, differentiated by each of them."""
    level = max(a.level if isinstance(a, dual.Dual) else 0 for a in args)
    if level == 0:
        return function(*map(np.asarray, args))
    values = [a.value if isinstance(a, dual.Dual) and a.level == level else a for a in args]

    def slopes(k: int):
        def of(*args: np.ndarray) -> np.ndarray:
            """[..., M]: by the numbers of the k-th vector."""
            h = STEP * np.maximum(1.0, np.abs(args[k]))

            def moved(place: int, by: float) -> np.ndarray:
                other = args[k].copy()
                other[place] += by
                return function(*args[:k], other, *args[k + 1 :])

            each = [
                sum(c * (moved(m, s * h[m]) - moved(m, -s * h[m])) for s, c in STENCIL) / h[m] for m in range(len(h))
            ]
            return np.stack(each, axis=-1)

        return of

    along = dual.bilinear(lambda slope, way: (slope * way[..., None, :]).sum(axis=-1))
    terms = [
        along(_of_vectors(slopes(k), *values), a.tangent)
        for k, a in enumerate(args)
        if isinstance(a, dual.Dual) and a.level == level
    ]
    total = terms[0]
    for term in terms[1:]:
        total = dual.add(total, term)
    return dual.Dual(level, _of_vectors(function, *values), total)
