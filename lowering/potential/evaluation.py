"""One evaluation of the potential and of observables: per-atom values, their adjoints, then every sum.

values    sums over the neighbours of each atom, and quantities made of them, those that need no others first
adjoints  the derivative of the potential by each of them, the last first
sums      energies, forces, virial and derivatives, with all pair terms in one traversal
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp

from mdsl.lowering.field.field import Field, Measure, Term
from mdsl.lowering.field.names import AdjointOf, SlopeOf, SumOf
from mdsl.lowering.geometry.cell import entries_of, fractions
from mdsl.lowering.kernels.pair_kernel import (
    BOX,
    ENERGY,
    FORCE,
    NOTHING,
    SLOPES,
    VIRIAL,
    atom_values,
    total,
    virial_components,
)
from mdsl.lowering.kernels.ranges import keeps
from mdsl.lowering.neighbours.gather import padded
from mdsl.lowering.traversals.bonds import PARTNERS, forces
from mdsl.lowering.traversals.topologies import IDS, reads
from mdsl.model.domains import Each, Members, Pairs, Triples
from mdsl.model.nodes import Expr, Read

from .adjoints import with_adjoints, with_values
from .configuration import Configuration, each_sum
from .pair_terms import pair_rows
from .slopes import by_data, by_networks, gathered
from .triple_terms import around

if TYPE_CHECKING:
    from mdsl.lowering.arrays import Matrix, Numbers, Rows, Scalar, Value, Values


@dataclass(frozen=True)
class Result:
    """``force``: a tuple of [n] arrays; ``sums``: by name; ``virial``: rows of the tensor; ``box``:
    the derivative of the potential by each entry of the cell, at fixed positions; ``slopes``: by parameters, in their
    shape."""

    force: tuple[Rows, ...]
    sums: Values
    virial: Matrix
    box: tuple[Scalar, ...]
    slopes: Mapping[str, Numbers]


def evaluate(now: Configuration, outputs: frozenset[str], measures: tuple[Measure, ...] = ()) -> Result:
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
    found = _Totals.none(now)
    _all_terms(now, outputs, measures, found)
    if SLOPES in outputs:
        found.slopes |= by_data(now)
        for name, slope in by_networks(now):
            found.add_slope(name, slope)
    dim = now.dim
    if volume:
        for a in range(dim):
            found.virial[a * dim + a] -= _expansion(now, found.sums, found.slopes)
    rows = tuple(tuple(found.virial[a * dim + b] for b in range(dim)) for a in range(dim))
    return Result(tuple(found.force), found.sums, rows, tuple(found.box), found.slopes)


def with_numbers(now: Configuration, numbers: Values) -> Configuration:
    """The configuration with more numbers that are one for all: sums by name."""
    return replace(now, known=replace(now.known, more={**now.known.more, **numbers}))


def with_inner(now: Configuration, summands: Iterable[Expr]) -> Configuration:
    """The configuration with the sums that these summands read, those first that need no others."""
    for name in now.field.within(summands):
        if name not in now.known.more:
            measure = now.field.sum(name)
            found = _Totals.none(now)
            _all_terms(with_values(now, now.field.needed([measure.summand])), NOTHING, (measure,), found)
            now = with_numbers(now, found.sums)
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
        found = _Totals.none(now)
        _all_terms(replace(whole, potential=replace(now.potential, field=field)), frozenset({SLOPES}), (), found)
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


@dataclass
class _Totals:
    """What has been added up so far; ``force`` by axes, ``virial`` by components, ``box`` by the entries of the
    cell."""

    force: list[Rows]
    virial: list[Scalar]
    box: list[Scalar]
    sums: dict[str, Value] = field(default_factory=dict)
    slopes: dict[str, Numbers] = field(default_factory=dict)

    @classmethod
    def none(cls, now: Configuration) -> _Totals:
        zero = [jnp.zeros((), now.dtype) for _ in virial_components(now.dim)]
        return cls(
            [jnp.zeros_like(c) for c in now.atoms["x"]], zero, [jnp.zeros((), now.dtype) for _ in now.known.cell.leaves]
        )

    def add_slope(self, name: str, value: Numbers) -> None:
        self.slopes[name] = self.slopes[name] + value if name in self.slopes else value


def _all_terms(now: Configuration, outputs: frozenset[str], measures: tuple[Measure, ...], found: _Totals) -> None:
    """Add the sums of all terms and of measures."""
    for excluded in now.potential.exclusions:
        terms = _active([t for t in now.field.pair_terms if frozenset(t.domain.excluded) == excluded], outputs)
        wanted = tuple(m for m in measures if isinstance(m.domain, Pairs) and frozenset(m.domain.excluded) == excluded)
        far = tuple(m for m in wanted if not now.holds(m.near))
        if far:  # the list does not hold all the pairs that these sums are over
            _pair_sums(now, pair_rows(now, NOTHING, (), excluded, far, near=False), far, found)
        wanted = tuple(m for m in wanted if m not in far)
        if terms or wanted:
            pairs = pair_rows(now, outputs, terms, excluded, wanted)
            _pair_sums(now, pairs, (*terms, *wanted), found)
            _pair_outputs(now, pairs, outputs, terms, found)
    _triples(now, outputs, tuple(m for m in measures if isinstance(m.domain, Triples)), found)
    _tuples(now, outputs, tuple(m for m in measures if isinstance(m.domain, Members)), found)
    for term in now.field.atom_terms if outputs else ():
        _atoms(now, term, outputs, found)
    for measure in (m for m in measures if isinstance(m.domain, Each)):
        found.sums[measure.name] = each_sum(measure, now.known, now.atoms, now.nearest, now.layout)


def _active(terms: Iterable[Term], outputs: frozenset[str]) -> tuple[Term, ...]:
    """The terms that have something to give: those that only carry derivatives have no energy."""
    return tuple(t for t in terms if outputs - {ENERGY} or outputs and t.number is not None)


def _pair_sums(now: Configuration, rows: Values, sums: Iterable[Term | Measure], found: _Totals) -> None:
    """Totals of pair sums from those of each row, in which every pair stands twice."""
    for name in (s.name for s in sums if s.name is not None):
        if name in rows:
            found.sums[name] = total(rows[name], lambda v: now.layout.add(v) / 2)


def _pair_outputs(
    now: Configuration, pairs: Values, outputs: frozenset[str], terms: tuple[Term, ...], found: _Totals
) -> None:
    add = now.layout.add
    if FORCE in outputs:
        found.force = [a + b for a, b in zip(found.force, pairs[FORCE])]
    if VIRIAL in outputs:
        found.virial = [a + add(b) / 2 for a, b in zip(found.virial, pairs[VIRIAL])]
    if BOX in outputs:
        found.box = [a + add(b) / 2 for a, b in zip(found.box, pairs[BOX])]
    for n, term in enumerate(terms if SLOPES in outputs else ()):
        for k, (leaf, _) in enumerate(term.slopes):
            found.add_slope(leaf.symbol, gathered(now, leaf, term, tuple(v / 2 for v in pairs[SlopeOf(n, k)])))


def _triples(now: Configuration, outputs: frozenset[str], measures: tuple[Measure, ...], found: _Totals) -> None:
    if terms := _active(now.field.triple_terms, outputs):
        triples = around(now, terms, outputs)
        found.force = [a + b for a, b in zip(found.force, triples.force)] or found.force
        found.virial = [a + b for a, b in zip(found.virial, triples.virial)] or found.virial
        found.box = [a + b for a, b in zip(found.box, triples.box)] or found.box
        for name, slope in triples.slopes:
            found.add_slope(name, slope)
        found.sums |= {name: now.layout.add(rows) for name, rows in triples.rows.items() if isinstance(name, SumOf)}
    if measures:
        rows = around(now, (), NOTHING, measures=measures, near=all(m.near for m in measures)).rows
        found.sums |= {name: now.layout.add(values) for name, values in rows.items()}


def _tuples(now: Configuration, outputs: frozenset[str], measures: tuple[Measure, ...], found: _Totals) -> None:
    terms = now.field.tuple_terms if outputs else ()
    if not terms and not measures:
        return
    if outputs == {FORCE} and (partners := now.atoms.get(PARTNERS)):
        own = _bonds(now, [t for t in terms if t.domain.topology in partners], partners)
        found.force = [a + b for a, b in zip(found.force, own)]
        terms = tuple(t for t in terms if t.domain.topology not in partners)
    tuples = now.tuples([s.summand for s in (*terms, *measures)])
    for term in terms:
        if ENERGY in outputs:
            found.sums[term.name] = tuples.sum(term)
        if outputs & {FORCE, VIRIAL, BOX}:
            tuples.add(term, outputs, found.virial, found.box)
        for leaf, slope in term.slopes if SLOPES in outputs else ():
            found.add_slope(leaf.symbol, tuples.slope(term, leaf, slope))
    if FORCE in outputs and tuples.forces:
        found.force = [a + b for a, b in zip(found.force, tuples.on_rows(now.atoms[IDS]))]
    for measure in measures:
        found.sums[measure.name] = tuples.sum(measure)


def _bonds(now: Configuration, terms: list[Term], partners: Mapping[str, tuple]) -> tuple:
    """The forces of pairs of topologies, by rows."""
    wanted = {"x", "species"}.union(*(reads(t.summand) for t in terms))
    own = {name: values for name, values in now.atoms.items() if name in wanted}
    others = jax.tree.map(padded, now.layout.everywhere(own))
    return forces(now.model, now.known, terms, partners, own, others, now.layout.rows(), now.nearest)


def _atoms(now: Configuration, term: Term, outputs: frozenset[str], found: _Totals) -> None:
    """Add one sum over atoms."""
    binder, gradient, add = term.domain.binders[0], term.gradients[0], now.layout.add
    if ENERGY in outputs and term.number is not None:
        found.sums[term.name] = add(now.each(term.summand, binder))
    if outputs & {FORCE, VIRIAL, BOX} and not gradient.none:
        x, cell = now.atoms["x"], now.known.cell
        d = now.nearest(x)
        images = fractions(cell, tuple(near - c for near, c in zip(d, x))) if BOX in outputs else None
        for a in range(now.dim):
            slope = jnp.zeros_like(d[a])
            if gradient.radial is not None:
                slope = slope + 2 * atom_values(gradient.radial, binder, now.known, now.atoms, now.nearest) * d[a]
            if gradient.direct is not None:
                slope = slope + atom_values(gradient.direct[a], binder, now.known, now.atoms, now.nearest)
            found.force[a] = found.force[a] - slope
            for n, (vector, axis) in enumerate(entries_of(cell)):
                if BOX in outputs and axis == a and now.potential.geometry.periodic[vector]:
                    # The nearest image of an atom moves with the box.
                    found.box[n] = found.box[n] + add(images[vector] * slope)
            for b in range(now.dim):
                found.virial[b * now.dim + a] = found.virial[b * now.dim + a] - add(d[b] * slope)
    for leaf, slope in term.slopes if SLOPES in outputs else ():
        rows = now.each(slope, binder, term.axis, keeps(leaf, term.axis))
        found.add_slope(leaf.symbol, gathered(now, leaf, term, (rows,)))


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
