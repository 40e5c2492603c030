"""Energies of all atoms at once, by functions of Python: what they are given, and their derivatives.

A function sees the atoms in the user's order and in the units of the program. Forces, the virial and derivatives by the
box are JAX's derivatives of it: by positions, by a strain of all that has a direction, and by the box vectors.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mdsl.grammar.diagnostics import Rejected
from mdsl.interpret.constants import factor
from mdsl.lowering.field.field import Measure, Term
from mdsl.lowering.geometry.cell import Cell, entries_of
from mdsl.lowering.kernels.calls import failing, no_number
from mdsl.lowering.kernels.pair_kernel import BOX, ENERGY, FORCE, VIRIAL, virial_components
from mdsl.model.dimensions import ENERGY as OF_ENERGY
from mdsl.model.dimensions import LENGTH
from mdsl.model.domains import Domain, Whole
from mdsl.model.nodes import OfAll, Read
from mdsl.start.initial import Initial

from .configuration import Configuration
from .topologies import IDS, inverse
from .totals import Measures, Outputs, Quantities, Terms, Totals

if TYPE_CHECKING:
    from mdsl.lowering.arrays import Labels, Numbers, Scalar, Value, Values

OVER = (Whole,)
BY_ROWS = False
histogram: Callable[[Configuration, Measure], Value] | None = None


class Neighbours(NamedTuple):
    """The pairs within a radius, each in both directions, of M places of which some are empty: from the atom ``centre``
    [M] to ``other`` [M] leads ``vector`` [M, d], that of the nearest image; ``there`` [M]: which places hold a pair. An
    empty one has a vector of the length of the radius."""

    centre: Labels
    other: Labels
    vector: Numbers
    there: Numbers


def values(now: Configuration, wanted: Quantities) -> Values:
    return {}


def totals(now: Configuration, outputs: Outputs, terms: Terms, measures: Measures, found: Totals) -> Totals:
    wanted = [k for k, o in enumerate(({FORCE}, {BOX}, {VIRIAL})) if outputs & o]
    start = now.atoms["x"], now.known.cell, jnp.zeros((now.dim, now.dim), now.dtype)
    sums = {m.name: _energy(now, m.summand, *start) for m in measures}
    for term in terms:

        def weighted(x, cell, strain, term=term):
            energy = _energy(now, term.summand, x, cell, strain)
            return now.known.value(term.weighted.args[0]) * energy, energy

        if wanted:
            slopes, energy = jax.grad(weighted, wanted, has_aux=True)(*start)
            by = dict(zip(wanted, slopes))
            found = found.plus(
                [-s for s in by[0]] if 0 in by else (),
                [-by[2][a, b] for a, b in virial_components(now.dim)] if 2 in by else (),
                _of_box(now, by[1]) if 1 in by else (),
            )
        else:
            energy = _energy(now, term.summand, *start) if ENERGY in outputs else 0.0
        sums |= {term.name: energy} if ENERGY in outputs and term.number is not None else {}
    return found.plus(sums=sums)


def _of_box(now: Configuration, slopes: Cell) -> list[Scalar]:
    periodic = now.potential.geometry.periodic
    return [s if periodic[k] else jnp.zeros_like(s) for (k, _), s in zip(entries_of(slopes), slopes.leaves)]


def partials(now: Configuration, terms: Terms) -> Iterator[tuple[Term, Read, Numbers]]:
    yield from ()


def weighted(now: Configuration, term: Term) -> Scalar:
    start = now.atoms["x"], now.known.cell, jnp.zeros((now.dim, now.dim), now.dtype)
    return now.known.value(term.weighted.args[0]) * _energy(now, term.summand, *start)


suspects: Callable[[Domain, Initial, np.ndarray], tuple[np.ndarray, ...]] | None = None


# -- the function, and what it is given ------------------------------------------------------------------------------


def _energy(now: Configuration, body: OfAll, x, cell: Cell, strain) -> Scalar:
    """The energy in internal units, of positions ``x`` by axes, in rows, in a box; both strained."""
    model, place = now.model, inverse(now.atoms[IDS])
    length, stretch = factor(model, LENGTH), jnp.eye(now.dim, dtype=now.dtype) + strain
    matrix = jnp.array([[*cell.row(k), *[0.0] * (now.dim - k - 1)] for k in range(now.dim)], now.dtype)
    given = {
        "x": jnp.stack(x, axis=1)[place] @ stretch * length,
        "species": now.atoms["species"][place],
        "box": matrix @ stretch * length,
    }
    if body.radius:
        given["neighbours"] = _neighbours(now, body, x, cell, stretch * length)
    if body.weights:
        given[body.weights] = model.param(body.weights).learned.split(now.known.params[body.weights])
    function = body.body.function
    if hasattr(function, "in_units"):  # a calculator
        function = function.in_units(model, now.potential.geometry.periodic)
    try:
        energy = function(*(given[name] for name in body.inputs))
    except Rejected:
        raise
    except Exception as error:  # whatever the user's function may raise
        raise Rejected(failing(model, body.name, body, error)) from error
    if getattr(energy, "shape", None) != ():
        raise Rejected(no_number(model, body.name, body, energy))
    return energy.astype(now.dtype) / factor(model, OF_ENERGY)


def _neighbours(now: Configuration, body: OfAll, x, cell: Cell, stretch) -> Neighbours:
    (radius,) = body.radius
    ids, count = now.atoms[IDS], now.layout.n_atoms
    rows = jnp.arange(count, dtype=jnp.int32)
    slots = jnp.broadcast_to(rows[:, None], (count, count)) if now.slots is None else now.slots
    d = now.potential.geometry.nearest(cell)(tuple(c[slots] - c for c in x))
    reach = jnp.asarray(now.known.value(radius), now.dtype)
    there = (slots != rows) & (sum(c * c for c in d) < reach**2)
    # Lengths of what is not there have derivatives, too, which must not be NaN.
    vector = jnp.stack([jnp.where(there, c, reach if k == 0 else 0.0) for k, c in enumerate(d)], axis=-1)
    centre = jnp.broadcast_to(ids, slots.shape)
    return Neighbours(
        centre.reshape(-1), ids[slots].reshape(-1), vector.reshape(-1, now.dim) @ stretch, there.reshape(-1)
    )
