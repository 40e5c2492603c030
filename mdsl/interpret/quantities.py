"""What every program has (`operators.BUILTINS`), and the geometry of the box. See `meaning` for that.

An ``Interpreter`` here is that of `evaluate`, with the positions ``x`` [N, d] and the box ``cell`` [1, d, d], whose
rows are its edges; both may be dual.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from functools import reduce
from typing import TYPE_CHECKING

import numpy as np

from mdsl.model.box_dependencies import decided_by
from mdsl.model.nodes import Expr

from . import dual
from .dual import Number, linear, primal
from .rows import Rows
from .values import Point, product, row_times_matrix

if TYPE_CHECKING:
    from .expressions import Interpreter

DIRECTIONS = 48  # derivatives by so many coordinates are computed together: as fast as any, and bounds the memory


def box_of(now: Interpreter) -> Number:
    """The box: the system's, or the one that the program declares, with edge 1 along a free axis."""
    if now.system.cell is not None:
        return now.system.cell[None]
    d = now.model.dim
    edges = {(k, k): e for k, e in enumerate(_declared_edges(now))}
    tilts = dict(zip([(k, j) for k in range(d) for j in range(k)], now.model.box.tilts))
    parts = []
    for (row, column), entry in {**edges, **tilts}.items():
        place = np.zeros((1, d, d))
        place[0, row, column] = 1.0
        parts.append(product(_number(1) if entry is None else now.value(entry, Rows(1)), place))
    return reduce(dual.add, parts)


def _declared_edges(now: Interpreter) -> tuple[Expr | None, ...]:
    if now.model.box is None:
        raise ValueError("neither the system nor the program says the box")
    edges = now.model.box.edges
    return edges * now.model.dim if len(edges) == 1 else edges


def periodic(now: Interpreter) -> np.ndarray:
    """[d]: which axes repeat."""
    if now.system.periodic is not None:
        return now.system.periodic
    return np.array([edge is not None for edge in _declared_edges(now)])


def displacement(now: Interpreter, a: Point, b: Point) -> Number:
    """a - b to the nearest image: less the nearest whole number of box vectors along each periodic axis, beginning
    with the last."""
    apart = dual.sub(a.coordinates, b.coordinates)
    cell, rest = primal(now.cell)[0], np.array(primal(apart))
    images = np.zeros_like(rest)
    for k in reversed(range(len(cell))):
        if periodic(now)[k]:
            images[..., k] = np.round(rest[..., k] / cell[k, k])
            rest -= images[..., k, None] * cell[k]
    return dual.sub(apart, row_times_matrix(images, now.cell))


def least_skew(cell: np.ndarray, periodic: Sequence[bool]) -> np.ndarray:
    """[d, d]: the vectors of the same lattice that lie along the same axes, with tilts of at most half of the edges."""
    cell = np.array(cell)
    for k in range(len(cell)):
        for j in reversed(range(k)):
            if periodic[j] and periodic[k]:
                cell[k] -= np.round(cell[k, j] / cell[j, j]) * cell[j]
    return cell


def box_vectors(now: Interpreter) -> Number:
    """[1, d, d]: the box in the vectors that are read as `cell`. Those of a box that the program declares as skew and
    as a function of time are the least skew."""
    box = now.model.box
    if now.system.cell is not None or not box.tilts or "t" not in decided_by(now.model):
        return now.cell
    declared = primal(now.cell)[0]
    flip = np.round(least_skew(declared, periodic(now)) @ np.linalg.inv(declared))
    return linear(lambda c: flip @ c, now.cell)


def volume(now: Interpreter) -> Number:
    """The determinant of the box vectors."""
    d = now.model.dim
    products = []
    for order in itertools.permutations(range(d)):
        entries = [linear(lambda c, k=k, j=j: c[..., k, j], now.cell) for k, j in enumerate(order)]
        sign = np.linalg.det(np.eye(d)[list(order)]).round()
        products.append(reduce(dual.mul, entries, _number(sign)))
    return reduce(dual.add, products)


def forces(now: Interpreter, atoms: Sequence[int] | None = None) -> Number:
    """[N, d]: minus the derivative of the potential by each coordinate; 0 for atoms not asked for."""
    n, d = now.system.x.shape
    coordinates = np.arange(n * d).reshape(n, d)[slice(None) if atoms is None else list(atoms)].ravel()
    result = np.zeros((n, d))
    for start in range(0, len(coordinates), DIRECTIONS):
        some = np.eye(n * d)[coordinates[start : start + DIRECTIONS]].reshape(-1, n, d)
        slopes = dual.derivative(lambda x: now.changed(x=x).potential(), now.x, some)
        result = dual.sub(result, linear(lambda a: (a[..., None] * some).sum(0), slopes))
    return result


def forces_of_dynamics(now: Interpreter) -> Number:
    """[N, d]: the force on each atom; none on atoms that never move."""
    moves = ~now.system.frozen(now.model)
    return linear(lambda a: np.where(moves[:, None], a, 0.0), forces(now))


def virial(now: Interpreter) -> Number:
    """[1, d, d]: entry (a, b) is minus the derivative by the strain that adds x_a to x_b: the sum of r_a f_b."""
    d = now.model.dim
    strains = np.eye(d * d).reshape(d * d, 1, d, d)

    def energy(strain: Number) -> Number:
        x = dual.add(now.x, row_times_matrix(now.x, strain))
        cell = dual.add(now.cell, dual.bilinear(np.matmul)(now.cell, strain))
        return now.changed(x=x, cell=cell).potential()

    slopes = dual.derivative(energy, np.zeros((1, d, d)), strains)
    return linear(lambda a: -np.broadcast_to(a, (d * d, 1)).reshape(1, d, d), slopes)


def _number(value: float) -> np.ndarray:
    return np.array([float(value)])


BUILTIN_VALUES: dict[str, Callable[[Interpreter], object]] = {
    "x": lambda now: Point(now.x),
    "v": lambda now: now.system.v,
    "f": forces_of_dynamics,
    "m": lambda now: now.system.masses,
    "species": lambda now: now.system.species,
    "travelled": lambda now: now.system.x - (now.system.start or now.system).x,
    "unwrapped": lambda now: now.system.x,  # which nothing wraps here
    "v_start": lambda now: (now.system.start or now.system).v,
    "t_start": lambda now: _number((now.system.start or now.system).t),
    "t": lambda now: _number(now.system.t),
    "N": lambda now: _number(len(now.system.x)),
    "dim": lambda now: _number(now.model.dim),
    "degrees_of_freedom": lambda now: _number(now.system.degrees_of_freedom),
    "volume": volume,
    "potential": lambda now: now.potential(),
    "virial": virial,
    "cell": box_vectors,
    "origin": lambda now: Point(np.zeros((1, now.model.dim))),
    "identity": lambda now: np.eye(now.model.dim)[None],
    "pi": lambda now: _number(np.pi),
    "infinity": lambda now: _number(np.inf),
}
