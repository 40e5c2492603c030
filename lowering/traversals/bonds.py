"""Forces of pairs of a topology, bonds for the most part, by rows: each row adds up what its own partners do to it.

Every bond is computed twice, once for each end, and nothing is scattered. The partners of a row are found when the
neighbour list is built, for only then do rows change their atoms.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
from jax import lax

from mdsl.lowering.field.field import Term
from mdsl.lowering.field.names import Symbol
from mdsl.lowering.kernels.globals import Globals
from mdsl.lowering.kernels.pair_kernel import FORCE
from mdsl.lowering.neighbours.gather import take
from mdsl.model.nodes import Model

from .topologies import Topologies, TupleSums

# Among the values of atoms: for each topology, and each end that a row can be, partners [E, n].
PARTNERS = Symbol("partners")
MOST_VISITS = 6  # of a bond: where partners are spread so unevenly that there were more, forces are scattered instead


def by_rows(topologies: Topologies, names: Sequence[str]) -> tuple[str, ...]:
    """Those topologies whose sums are computed by rows."""
    pairs = [name for name in names if topologies.members[name].shape[1] == 2 and len(topologies.members[name])]
    return tuple(
        n
        for n in pairs
        if sum(len(t) for t in topologies.ends(n)) * topologies.n_atoms <= MOST_VISITS * len(topologies.members[n])
    )


def partners(topologies: Topologies, names: Sequence[str], place, ids) -> dict[str, tuple]:
    """The partners of rows with these ``ids``, as sorted positions; the row's own where there is none."""
    return {name: tuple(place[jnp.asarray(table)[:, ids]] for table in topologies.ends(name)) for name in names}


def no_partners(topologies: Topologies, names: Sequence[str], rows: int) -> dict[str, tuple]:
    """Partners that are not known yet, in their shape."""
    return {name: tuple(jnp.zeros((len(table), rows), jnp.int32) for table in topologies.ends(name)) for name in names}


class _OneEach(TupleSums):
    """One tuple for each row: ``members`` are what is known of its first atom, its second, ..."""

    def __init__(self, model: Model, known: Globals, members: Sequence[Mapping[str, object]], nearest):
        self.model, self.known, self.nearest, self.members = model, known, nearest, members
        self.everyone = members[0]
        self.dtype = members[0]["x"][0].dtype
        self.forces, self.memos = {}, {}

    def atoms(self, domain, name: str) -> Mapping[str, object]:
        return self.members[domain.binders.index(name)]

    def filled_by(self, topology: str, values):
        return jnp.broadcast_to(jnp.asarray(values, self.dtype), self.everyone["x"][0].shape)


def forces(
    model: Model,
    known: Globals,
    terms: Sequence[Term],
    partners: Mapping[str, tuple],
    own: Mapping[str, object],
    others: Mapping[str, object],
    rows,
    nearest,
) -> tuple:
    """The forces of some terms on each row, [n] for each axis. ``others``: `padded` values of all atoms."""
    total = tuple(jnp.zeros_like(c) for c in own["x"])
    for name in dict.fromkeys(t.domain.topology for t in terms):
        for end, table in enumerate(partners[name]):

            def add(k, total, name=name, end=end, table=table):
                index = lax.dynamic_index_in_dim(table, k, 0, keepdims=False)
                other = jax.tree.map(lambda values: take(values, index), dict(others))
                tuples = _OneEach(model, known, (own, other) if end == 0 else (other, own), nearest)
                for term in terms:
                    if term.domain.topology == name:
                        tuples.add(term, frozenset({FORCE}), [], [])
                found = tuples.forces[name][end]
                return tuple(jnp.where(index != rows, t + f, t) for t, f in zip(total, found))

            total = lax.fori_loop(0, len(table), add, total)
    return total
