"""One evaluation of the potential and of observables: per-atom values, their adjoints, then every sum.

values    sums over the neighbours of each atom, and quantities made of them, those that need no others first
adjoints  the derivative of the potential by each of them, the last first
sums      energies, forces, virial and derivatives, with all pair terms in one traversal
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp

from mdsl.lowering.field.field import Field, Measure, Term
from mdsl.lowering.field.names import AdjointOf
from mdsl.lowering.kernels.pair_kernel import ENERGY, NOTHING, SLOPES, VIRIAL, virial_components
from mdsl.lowering.traversals.configuration import Configuration
from mdsl.lowering.traversals.domains import parted
from mdsl.lowering.traversals.totals import Totals
from mdsl.model.nodes import Expr, Read

from .adjoints import with_adjoints, with_values
from .slopes import by_data, by_networks

if TYPE_CHECKING:
    from mdsl.lowering.arrays import Numbers, Scalar, Values


def evaluate(now: Configuration, outputs: frozenset[str], measures: tuple[Measure, ...] = ()) -> Totals:
    """All terms at once, and the sums of observables that are wanted too, or that the value of an energy needs. Where
    there is not enough room in sums over triples, what they give is NaN."""
    volume = VIRIAL in outputs and now.potential.reads_volume
    if volume:
        outputs = outputs | {ENERGY, SLOPES}
    if ENERGY in outputs:
        known = {m.number for m in measures}
        measures = (*measures, *(m for m in now.field.beside if m.number not in known))
    now = with_inner(now, [t.summand for t in now.field.terms if outputs] + [m.summand for m in measures])
    if outputs - {ENERGY} and not now.field.linear:
        now = with_numbers(now, evaluate(now, frozenset({ENERGY})).sums)
        now = _with_outer(now)
    differentiated = bool(outputs - {ENERGY} and now.field.carriers)
    needed = now.field.needed([t.summand for t in now.field.terms if outputs] + [m.summand for m in measures])
    # A value that cancels out of its energy has an adjoint all the same, 0.
    now = with_values(
        now, tuple(v for v in now.field.values if v in needed or differentiated and v.adjoint is not None)
    )
    if differentiated:
        now = with_adjoints(now)
    found = _totals(now, outputs, measures)
    if SLOPES in outputs:
        found = found.plus(slopes=[*by_data(now).items(), *by_networks(now)])
    if volume:
        stretch = _expansion(now, found.sums, found.slopes)
        found = found.plus(virial=[-stretch if a == b else 0.0 for a, b in virial_components(now.dim)])
    return found


def with_numbers(now: Configuration, numbers: Values) -> Configuration:
    """The configuration with more numbers that are one for all: sums by name."""
    return replace(now, known=replace(now.known, more={**now.known.more, **numbers}))


def with_inner(now: Configuration, summands: Iterable[Expr]) -> Configuration:
    """The configuration with the sums that these summands read, those first that need no others."""
    for name in now.field.within(summands):
        if name not in now.known.more:
            measure = now.field.sum(name)
            valued = with_values(now, now.field.needed([measure.summand]))
            now = with_numbers(now, _totals(valued, NOTHING, (measure,)).sums)
    return now


def _with_outer(now: Configuration) -> Configuration:
    """The configuration with the derivative of the potential by each sum through the summands that read it, those first
    that no others need."""
    terms = (*now.field.terms, *now.field.carriers)
    names = [name for name in now.field.inner if any(leaf.symbol == name for t in terms for leaf, _ in t.inner)]
    now = with_numbers(now, {AdjointOf(name): 0.0 for name in now.field.inner})
    for name in reversed(names):
        field = _by_sum(now.field, name)
        whole = now
        if field.carriers or any(t.partials for t in now.field.terms):
            whole = with_adjoints(with_values(now, tuple(v for v in now.field.values if v.adjoint is not None)))
        found = _totals(replace(whole, potential=replace(now.potential, field=field)), frozenset({SLOPES}), ())
        now = with_numbers(now, {AdjointOf(name): found.slopes.get(name, 0.0)})
    return now


def _by_sum(field: Field, name: str) -> Field:
    """The terms whose summands read a sum, and have no derivative but that by it."""

    def of(term: Term) -> Term | None:
        slopes = tuple((leaf, slope) for leaf, slope in term.inner if leaf.symbol == name)
        return replace(term, slopes=slopes) if slopes else None

    terms = tuple(filter(None, map(of, field.terms)))
    values = tuple(v if v.adjoint is None else replace(v, adjoint=of(v.adjoint)) for v in field.values)
    return replace(field, terms=terms, values=values)


def _totals(now: Configuration, outputs: frozenset[str], measures: tuple[Measure, ...]) -> Totals:
    """The sums of all terms and of measures."""
    # Terms that only carry derivatives have no energy.
    terms = [
        t for t in (*now.field.terms, *now.field.carriers) if outputs - {ENERGY} or outputs and t.number is not None
    ]
    found = Totals.none(now)
    for domain, own, wanted in parted(terms, measures):
        found = domain.totals(now, outputs, own, wanted, found)
    return found


def _expansion(now: Configuration, sums: Values, slopes: Mapping[str, Numbers]) -> Scalar:
    """The derivative of the potential by the logarithm of the volume, where it depends on the volume itself."""
    combinations = [c.expr for c in now.field.combinations if c.kind == "energy"]
    known = now.known

    def energy(stretch):
        edges = (known.cell.edges[0] * stretch, *known.cell.edges[1:])
        return sum(
            jnp.asarray(replace(known, cell=known.cell._replace(edges=edges), more=sums).value(e)) for e in combinations
        )

    one = jnp.ones_like(jnp.asarray(known.cell.edges[0]))
    _, slope = jax.jvp(energy, (one,), (one,))
    return slope + slopes["volume"] * known.value(Read("volume")) if "volume" in slopes else slope
