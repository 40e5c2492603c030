"""Sums over the tuples of topologies: bonds, angles, ..., and over the partners of each atom along those of pairs.

Every device computes all of them, and keeps the forces on its own rows; forces of pairs are computed by rows instead,
where that is the faster way (`bonds`)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np

from mdsl.lowering.field.field import Measure, PerAtom, Term
from mdsl.lowering.field.series import at_entry
from mdsl.lowering.kernels.accumulate import binned
from mdsl.lowering.kernels.pair_kernel import BOX, ENERGY, FORCE, SLOPES, VIRIAL
from mdsl.lowering.kernels.ranges import one_by_one
from mdsl.lowering.neighbours.gather import padded
from mdsl.model.domains import Domain, Members, Partners
from mdsl.model.nodes import Expr, Read
from mdsl.start.initial import Initial

from .bonds import PARTNERS, forces
from .configuration import Configuration
from .topologies import IDS, TupleSums, reads
from .totals import Measures, Outputs, Quantities, Terms, Totals

if TYPE_CHECKING:
    from mdsl.lowering.arrays import Numbers, Scalar, Value, Values

OVER = (Members, Partners)
BY_ROWS = False


def values(now: Configuration, wanted: Quantities) -> Values:
    tuples, rows = _tuples(now, [v.summand for v in wanted]), {}
    for value in wanted:
        found = [_of_each(now, tuples, value, e) for e in at_entry(value.summand, value.axis)]
        rows[value.name] = found[0] if value.axis is None else jnp.stack(found)
    return rows


def _of_each(now: Configuration, tuples: TupleSums, value: PerAtom, expr: Expr) -> Value:
    """The sum over the partners of each atom, which is at the one end of its pairs or at the other."""
    there = value.domain.everywhere
    back = there.renamed(dict(zip(there.binders, there.binders[::-1])))
    return jax.tree.map(jnp.add, *(tuples.at(pairs, value.centre, expr, now.atoms[IDS]) for pairs in (there, back)))


def totals(now: Configuration, outputs: Outputs, terms: Terms, measures: Measures, found: Totals) -> Totals:
    terms = tuple(e for t in terms for e in one_by_one(t))
    if outputs == {FORCE} and (partners := now.atoms.get(PARTNERS)):
        found = found.plus(_bonds(now, [t for t in terms if t.domain.topology in partners], partners))
        terms = tuple(t for t in terms if t.domain.topology not in partners)
    tuples = _tuples(now, [s.summand for s in (*terms, *measures)])
    virial, box = list(found.virial), list(found.box)
    sums, slopes = {}, []
    for term in terms:
        if ENERGY in outputs and term.number is not None:
            sums[term.name] = tuples.sum(term)
        if outputs & {FORCE, VIRIAL, BOX}:
            tuples.add(term, outputs, virial, box)
        for leaf, slope in term.slopes if SLOPES in outputs else ():
            slopes.append((leaf.symbol, tuples.slope(term, leaf, slope)))
    own = tuples.on_rows(now.atoms[IDS]) if FORCE in outputs and tuples.forces else ()
    sums |= {m.name: tuples.sum(m) for m in measures}
    return replace(found, virial=tuple(virial), box=tuple(box)).plus(own, sums=sums, slopes=slopes)


def partials(now: Configuration, terms: Terms) -> Iterator[tuple[Term, Read, Numbers]]:
    terms = tuple(e for t in terms for e in one_by_one(t))
    tuples = _tuples(now, [p for t in terms for _, p in t.partials])
    for term in terms:
        for leaf, partial in term.partials:
            yield term, leaf, tuples.at(term.domain, leaf.indices[0], partial, now.atoms[IDS])


def weighted(now: Configuration, term: Term) -> Scalar:
    return sum(jnp.sum(_each(now, e.domain, (e.weighted,))[0]) for e in one_by_one(term))


def histogram(now: Configuration, measure: Measure) -> Value:
    bins, weights = _each(now, measure.domain, (measure.bin, measure.summand))
    return binned(measure.axis, bins, weights, True, now.dtype)


def suspects(domain: Domain, initial: Initial, x: np.ndarray) -> tuple[np.ndarray, ...]:
    return tuple(initial.topologies[domain.topology].T)


# -- tuples ----------------------------------------------------------------------------------------------


def _each(now: Configuration, domain: Domain, exprs: Sequence[Expr]) -> list:
    """The values of expressions for each tuple."""
    tuples = _tuples(now, exprs)
    return [tuples.filled(domain, tuples.value(domain, e)) for e in exprs]


def _tuples(now: Configuration, exprs: Iterable[Expr]) -> TupleSums:
    """The tuples of topologies, with what these expressions read of their atoms."""
    everyone = jax.tree.map(lambda a: a[..., : now.layout.n_atoms], now.layout.everywhere(_read(now, exprs)))
    potential = now.potential
    return TupleSums(now.model, potential.topologies, now.known, everyone, now.place, now.nearest)


def _bonds(now: Configuration, terms: list[Term], partners: Mapping[str, tuple]) -> tuple:
    """The forces of pairs of topologies, by rows."""
    own = _read(now, [t.summand for t in terms])
    others = jax.tree.map(padded, now.layout.everywhere(own))
    return forces(now.model, now.known, terms, partners, own, others, now.layout.rows(), now.nearest)


def _read(now: Configuration, exprs: Iterable[Expr]) -> dict[str, Value]:
    """What expressions read of the atoms here."""
    wanted = {"x", "species"}.union(*(reads(e) for e in exprs))
    return {name: values for name, values in now.atoms.items() if name in wanted}
