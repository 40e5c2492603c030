"""Derivatives of the potential by parameters, data and the weights of networks."""

from __future__ import annotations

from dataclasses import replace

import jax
import jax.numpy as jnp

from mdsl.lowering.field.field import PerAtom, Term
from mdsl.lowering.field.names import Symbol
from mdsl.lowering.kernels.globals import entry
from mdsl.lowering.kernels.pair_kernel import NOTHING
from mdsl.lowering.kernels.ranges import keeps
from mdsl.lowering.traversals.topologies import IDS
from mdsl.model.domains import Each, Members
from mdsl.model.nodes import Read

from .adjoints import with_partials
from .configuration import Configuration
from .pair_terms import pair_rows
from .triple_terms import around


def gathered(now: Configuration, leaf: Read, term: Term, rows: tuple):
    """Slopes of single rows as the derivative by a parameter, in its shape.

    ``rows``: one [N] array, or one for each species of the other atom where the parameter is read for it; [C, N]
    where it is read for each number of a range.
    """
    model, add = now.model, now.layout.add
    binders = term.domain.binders
    if not leaf.indices:
        return add(rows[0])
    shape = jnp.shape(now.known.params[leaf.symbol])
    if keeps(leaf, term.axis):
        (axis,) = model.param(leaf.symbol).axes
        return jnp.zeros(shape).at[term.axis.first - axis.first : term.axis.last + 1 - axis.first].add(add(rows[0]))
    if not model.param(leaf.symbol).axes:
        return sum(map(add, rows))
    # [own, other]: the sum over each species of the own atoms, where the entry depends on it, and of the others.
    own = now.atoms["species"]
    kinds = jnp.arange(max(1, len(model.species))) if binders[0] in leaf.indices else None
    table = jnp.stack(
        [
            add(values)[None] if kinds is None else jnp.stack([add(jnp.where(own == k, values, 0)) for k in kinds])
            for values in rows
        ],
        axis=1,
    )
    species = (jnp.arange(table.shape[0])[:, None], jnp.arange(table.shape[1])[None, :])
    places = entry(model, leaf, lambda atom: species[binders.index(atom)])
    table = table.reshape(jnp.broadcast_shapes(*map(jnp.shape, places)))  # a single number of entries that are fixed
    return jnp.zeros(shape, table.dtype).at[places].add(table)


def by_data(now: Configuration) -> dict[str, object]:
    """The derivatives by the data of single atoms, in the user's order. Adjoints carry those through per-atom
    values."""
    terms = (*now.field.terms, *now.field.carriers)
    found = with_partials(now, tuple(replace(t, partials=t.data) for t in terms if t.data), {})
    return {name: jnp.zeros_like(now.known.params[name]).at[now.atoms[IDS]].add(rows) for name, rows in found.items()}


def by_networks(now: Configuration) -> list[tuple[str, object]]:
    """The derivatives by the weights of networks, in reverse mode through what reads them, term by term; per-atom
    values and the weights of sums are numbers in this."""
    found = []
    for term in (t for t in (*now.field.terms, *now.field.carriers) if t.networks):
        names = [leaf.symbol for leaf in term.networks]

        def of(weights, term=term, names=names):
            known = replace(now.known, params={**now.known.params, **dict(zip(names, weights))})
            return _weighted(replace(now, known=known, used=None, driven=False), term)

        slopes = jax.grad(of)([now.known.params[n] for n in names])
        whole = isinstance(term.domain, Members)  # every device computes all tuples
        found += [(name, slope if whole else now.layout.plus(slope)) for name, slope in zip(names, slopes)]
    return found


def _weighted(now: Configuration, term: Term):
    """The sum of a term over the rows here, times its weight."""
    domain, centre = term.domain, term.binders[0]
    if isinstance(domain, Each):
        return _here(now, now.each(term.weighted, centre, term.axis))
    if isinstance(domain, Members):
        tuples = now.tuples([term.weighted])
        return jnp.sum(tuples.filled(domain, tuples.value(domain, term.weighted)))
    value = PerAtom(
        Symbol("weighted"),
        term.equation,
        centre,
        domain.around,
        term.weighted,
        term.support,
        0,
        near=True,
        axis=term.axis,
    )
    if value.pairs:  # every pair is seen from both of its atoms
        return _here(now, pair_rows(now, NOTHING, (), frozenset(domain.excluded), values=(value,))[value.name]) / 2
    return _here(now, around(now, (), NOTHING, (value,)).rows[value.name])


def _here(now: Configuration, values):
    """The sum of an array [..., n] over the atoms of this device."""
    return jnp.sum(jnp.where(now.layout.rows() < now.layout.n_atoms, values, 0))
