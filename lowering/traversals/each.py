"""Sums over atoms, and values that are made of others of the same atom."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np

from mdsl.lowering.field.field import Measure, Term
from mdsl.lowering.field.singularities import at_risk
from mdsl.lowering.geometry.cell import entries_of, fractions
from mdsl.lowering.kernels.accumulate import binned
from mdsl.lowering.kernels.globals import Globals
from mdsl.lowering.kernels.pair_kernel import BOX, ENERGY, FORCE, SLOPES, VIRIAL, atom_values, virial_components
from mdsl.lowering.kernels.ranges import added, keeps, pick, spread_out
from mdsl.model.domains import Domain, Each
from mdsl.model.nodes import Axis, Expr, Read
from mdsl.start.initial import Initial

from .configuration import Configuration
from .layout import Layout
from .totals import Measures, Outputs, Quantities, Terms, Totals, by_parameter

if TYPE_CHECKING:
    from mdsl.lowering.arrays import Numbers, Scalar, Value, Values

OVER = (Each, None)  # None: of a value that is made of others of the same atom
BY_ROWS = True


def values(now: Configuration, wanted: Quantities) -> Values:
    rows: dict[str, Value] = {}
    for value in wanted:
        rows[value.name] = _rows(now.with_rows(rows), value.summand, value.centre, value.axis, keep=True)
    return rows


def totals(now: Configuration, outputs: Outputs, terms: Terms, measures: Measures, found: Totals) -> Totals:
    for term in terms:
        binder = term.domain.binders[0]
        if ENERGY in outputs and term.number is not None:
            found = found.plus(sums={term.name: now.layout.add(_rows(now, term.summand, binder))})
        if outputs & {FORCE, VIRIAL, BOX} and not term.gradients[0].none:
            found = _pulled(now, outputs, term, found)
        for leaf, slope in term.slopes if SLOPES in outputs else ():
            rows = _rows(now, slope, binder, term.axis, keeps(leaf, term.axis))
            found = found.plus(slopes=[(leaf.symbol, by_parameter(now, leaf, term, (rows,)))])
    sums = {m.name: each_sum(m, now.known, now.atoms, now.nearest, now.layout) for m in measures}
    return found.plus(sums=sums)


def _pulled(now: Configuration, outputs: Outputs, term: Term, found: Totals) -> Totals:
    """With what pulls at single atoms."""
    (binder,), gradient, (x, cell) = term.domain.binders, term.gradients[0], (now.atoms["x"], now.known.cell)
    d, at = now.nearest(x), lambda e: atom_values(e, binder, now.known, now.atoms, now.nearest)
    radial = None if gradient.radial is None else 2 * at(gradient.radial)
    direct = (0.0,) * now.dim if gradient.direct is None else tuple(map(at, gradient.direct))
    slopes = [jnp.broadcast_to(b if radial is None else radial * c + b, c.shape) for c, b in zip(d, direct)]
    box = list(found.box)
    if BOX in outputs:  # the nearest image of an atom moves with the box
        images = fractions(cell, tuple(near - c for near, c in zip(d, x)))
        for n, (vector, axis) in enumerate(entries_of(cell)):
            if now.potential.geometry.periodic[vector]:
                box[n] = box[n] + now.layout.add(images[vector] * slopes[axis])
    virial = [-now.layout.add(d[a] * slopes[b]) for a, b in virial_components(now.dim)]
    return replace(found.plus([-s for s in slopes], virial), box=tuple(box))


def partials(now: Configuration, terms: Terms) -> Iterator[tuple[Term, Read, Numbers]]:
    for term in terms:
        for leaf, partial in term.partials:
            yield term, leaf, _partial(now, leaf, partial, term)


def _partial(now: Configuration, leaf: Read, partial: Expr, term: Term):
    """The derivative by a per-atom value of the same atom. That of sqrt(rho) where rho is 0 is infinite, and so is the
    second one of rho^1.5; but there rho is 0 because no atom is near, and does not change: such an atom has no part in
    derivatives."""

    def derivative(now: Configuration):
        return _rows(now, partial, term.domain.binders[0], term.axis, keeps(leaf, term.axis))

    if now.field.value(leaf.symbol) is None or not at_risk(partial, True, {}):
        return derivative(now)
    whole = now.atoms[leaf.symbol]

    def moved(step):
        return derivative(now.with_rows({leaf.symbol: added(whole, leaf, term.axis, step)}))

    value = jax.lax.stop_gradient(pick(whole, leaf, term.axis))
    found, change = jax.lax.stop_gradient(jax.jvp(moved, (jnp.zeros_like(value),), (jnp.ones_like(value),)))
    alone = (value == 0) & ~(jnp.isfinite(found) & jnp.isfinite(change))
    return jnp.where(alone, jnp.where(jnp.isfinite(found), found, 0.0), moved(jnp.where(alone, 1.0, 0.0)))


def weighted(now: Configuration, term: Term) -> Scalar:
    return now.here(_rows(now, term.weighted, term.domain.binders[0], term.axis))


def histogram(now: Configuration, measure: Measure) -> Value:
    binder, here = measure.domain.binders[0], now.layout.rows() < now.layout.n_atoms
    bins, weights = (atom_values(e, binder, now.known, now.atoms, now.nearest) for e in (measure.bin, measure.summand))
    return now.layout.across(binned(measure.axis, bins, weights, here, now.dtype))


def suspects(domain: Domain, initial: Initial, x: np.ndarray) -> tuple[np.ndarray, ...]:
    return (np.arange(len(x)),)


# -- single atoms ----------------------------------------------------------------------------------------


def each_sum(measure: Measure, known: Globals, atoms: Values, nearest: Callable, layout: Layout):
    """A sum over atoms, or the largest or smallest of its values. ``atoms``: all that its summand reads of them."""
    like, found = atoms["x"][0], atom_values(measure.summand, measure.domain.binders[0], known, atoms, nearest)
    values = jax.tree.map(lambda v: jnp.broadcast_to(jnp.asarray(v, like.dtype), like.shape), found)
    return jax.tree.map(layout.add, values) if measure.op == "sum" else layout.extreme(values, measure.op)


def _rows(now: Configuration, expr: Expr, binder: str, axis: Axis | None = None, keep: bool = False):
    """The value of an expression for each row, [n]; of one over a range the sum over its numbers, or, to ``keep``, all
    of them, [C, n]. A derivative by an array is one itself."""
    like = now.atoms["x"][0]
    found = atom_values(expr, binder, now.known, now.atoms, now.nearest, axis)
    return jax.tree.map(lambda v: spread_out(jnp.asarray(v, like.dtype), axis, like.shape, keep), found)
