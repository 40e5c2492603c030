"""Per-atom values of a configuration, and their *adjoints*: the derivatives of the potential by them.

Values are sums over the neighbours of each atom, and quantities made of them, those that need no others first. Adjoints
go the other way, the last first, so that each has all that reads it.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from mdsl.lowering.field.field import PerAtom, Term
from mdsl.lowering.field.names import AdjointOf, PartialOf
from mdsl.lowering.field.singularities import at_risk
from mdsl.lowering.kernels.pair_kernel import NOTHING, PARTIALS
from mdsl.lowering.kernels.ranges import added, keeps, leaf_name, one_by_one, pick
from mdsl.lowering.traversals.topologies import IDS
from mdsl.model.domains import Each, Members, Pairs, Triples
from mdsl.model.nodes import Expr, Read

from .configuration import Configuration
from .pair_terms import pair_rows
from .triple_terms import around


def with_values(now: Configuration, values: tuple[PerAtom, ...]) -> Configuration:
    """The configuration with per-atom values, in an order that lets each read those before it."""
    values = tuple(v for v in values if v.name not in now.atoms)
    for depth in range(1 + max((v.depth for v in values), default=0)):
        here = [v for v in values if v.depth == depth]
        for excluded in now.potential.exclusions:
            pairs = tuple(v for v in here if v.pairs and frozenset(v.domain.excluded) == excluded)
            for near in (True, False):
                some = tuple(v for v in pairs if now.holds(v.near) == near)
                if some:
                    now = now.with_rows(pair_rows(now, NOTHING, (), excluded, values=some, near=near))
        triples = tuple(v for v in here if v.domain is not None and not v.pairs)
        for near in (True, False):
            some = tuple(v for v in triples if now.holds(v.near) == near)
            if some:
                now = now.with_rows(around(now, (), NOTHING, some, near).rows)
        for v in here:
            if v.domain is None:
                now = now.with_rows({v.name: now.each(v.summand, v.centre, v.axis, keep=True)})
    return now


def with_adjoints(now: Configuration) -> Configuration:
    """The configuration with the adjoint of each per-atom value that energies need."""
    found = {v.name: jnp.zeros_like(now.atoms[v.name]) for v in now.field.values if v.adjoint is not None}
    found = with_partials(now, tuple(t for t in now.field.terms if t.partials), found)
    for value in reversed(now.field.values):
        if value.adjoint is not None:
            now = now.with_rows({AdjointOf(value.name): found[value.name]})
            if value.adjoint.partials:
                found = with_partials(now, (value.adjoint,), found)
    return now


def with_partials(now: Configuration, terms: tuple[Term, ...], found: dict[str, object]) -> dict[str, object]:
    """``found`` with what terms contribute to the derivatives by the values that they read."""
    found = dict(found)

    def add(term: Term, leaf: Read, values) -> None:
        found[leaf.symbol] = added(found[leaf.symbol], leaf, term.axis, values) if leaf.symbol in found else values

    for term in (t for t in terms if isinstance(t.domain, Each)):
        for leaf, partial in term.partials:
            add(term, leaf, _own_partial(now, leaf, partial, term))
    for excluded in now.potential.exclusions:
        pairs = tuple(t for t in terms if isinstance(t.domain, Pairs) and frozenset(t.domain.excluded) == excluded)
        if pairs:
            rows = pair_rows(now, frozenset({PARTIALS}), pairs, excluded)
            for n, term in enumerate(pairs):
                for k, (leaf, _) in enumerate(term.partials):
                    add(term, leaf, rows[PartialOf(n, k)])
    triples = tuple(e for t in terms if isinstance(t.domain, Triples) for e in one_by_one(t))
    if triples:
        rows = around(now, triples, frozenset({PARTIALS})).rows
        leaves = {leaf_name(leaf): (term, leaf) for term in triples for leaf, _ in term.partials}
        for name, (term, leaf) in leaves.items():
            add(term, leaf, rows[AdjointOf(name)])
    bonded = tuple(t for t in terms if isinstance(t.domain, Members))
    if bonded:
        tuples = now.tuples([p for t in bonded for _, p in t.partials])
        for term in bonded:
            for leaf, partial in term.partials:
                add(term, leaf, tuples.partial(term, leaf, partial, now.atoms[IDS]))
    return found


def _own_partial(now: Configuration, leaf: Read, partial: Expr, term: Term):
    """The derivative by a per-atom value of the same atom. That of sqrt(rho) where rho is 0 is infinite, and so is the
    second one of rho^1.5; but there rho is 0 because no atom is near, and does not change: such an atom has no part in
    derivatives."""

    def derivative(now: Configuration):
        return now.each(partial, term.domain.binders[0], term.axis, keeps(leaf, term.axis))

    if now.field.value(leaf.symbol) is None or not at_risk(partial, True, {}):
        return derivative(now)
    whole = now.atoms[leaf.symbol]

    def moved(step):
        return derivative(now.with_rows({leaf.symbol: added(whole, leaf, term.axis, step)}))

    value = jax.lax.stop_gradient(pick(whole, leaf, term.axis))
    found, change = jax.lax.stop_gradient(jax.jvp(moved, (jnp.zeros_like(value),), (jnp.ones_like(value),)))
    alone = (value == 0) & ~(jnp.isfinite(found) & jnp.isfinite(change))
    return jnp.where(alone, jnp.where(jnp.isfinite(found), found, 0.0), moved(jnp.where(alone, 1.0, 0.0)))
