"""Derivatives of the potential by parameters, data and the weights of networks."""

from __future__ import annotations

from dataclasses import replace

import jax
import jax.numpy as jnp

from mdsl.lowering.traversals.configuration import Configuration
from mdsl.lowering.traversals.domains import over
from mdsl.lowering.traversals.topologies import IDS

from .adjoints import with_partials


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
            return over(term).weighted(replace(now, known=known, used=None, driven=False), term)

        slopes = jax.grad(of)([now.known.params[n] for n in names])
        share = now.layout.plus if over(term).BY_ROWS else lambda slope: slope
        found += [(name, share(slope)) for name, slope in zip(names, slopes)]
    return found
