"""Per-atom values of a configuration, and their *adjoints*: the derivatives of the potential by them.

Values are sums over the neighbours of each atom, and quantities made of them, those that need no others first. Adjoints
go the other way, the last first, so that each has all that reads it.
"""

from __future__ import annotations

import jax.numpy as jnp

from mdsl.lowering.field.field import PerAtom, Term
from mdsl.lowering.field.names import AdjointOf
from mdsl.lowering.kernels.ranges import added
from mdsl.lowering.traversals.configuration import Configuration
from mdsl.lowering.traversals.domains import parted


def with_values(now: Configuration, values: tuple[PerAtom, ...]) -> Configuration:
    """The configuration with per-atom values, in an order that lets each read those before it."""
    values = tuple(v for v in values if v.name not in now.atoms)
    for depth in range(1 + max((v.depth for v in values), default=0)):
        for domain, here in parted([v for v in values if v.depth == depth]):
            now = now.with_rows(domain.values(now, here))
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
    for domain, here in parted(terms):
        for term, leaf, rows in domain.partials(now, here):
            name = leaf.symbol
            found[name] = added(found[name], leaf, term.axis, rows) if name in found else rows
    return found
