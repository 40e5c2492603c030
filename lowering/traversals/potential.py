"""The potential energy of a program, with what is known of it before there are positions; `evaluation` computes it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import field as with_default
from functools import cached_property, lru_cache

import jax
import jax.numpy as jnp

from mdsl.lowering.field.field import Field, Measure, PerAtom, Support, Term
from mdsl.lowering.geometry.cell import Cell, nearest, wrap
from mdsl.lowering.kernels.globals import farthest
from mdsl.lowering.kernels.pair_kernel import PairKernel
from mdsl.lowering.traversals.bonds import by_rows, partners
from mdsl.lowering.traversals.topologies import Topologies, inverse
from mdsl.model.domains import Listed
from mdsl.model.nodes import Model, Read, walk


@dataclass(frozen=True)
class Geometry:
    """What stays as it is while positions change: the dimension of space and which axes repeat."""

    dim: int
    periodic: tuple[bool, ...]

    def nearest(self, cell: Cell):
        """Displacement (a tuple of arrays) to displacement of the nearest image."""
        return nearest(cell, self.periodic)

    def wrap(self, x: tuple, cell: Cell) -> tuple[tuple, tuple]:
        """Positions brought back into the box, and by how many of its vectors each was moved."""
        return wrap(cell, self.periodic, x)


@dataclass(frozen=True, eq=False)
class Potential:
    field: Field
    geometry: Geometry
    dtype: object  # of the pair kernels; sums are added up in the dtype of the positions
    topologies: Topologies = with_default(default_factory=Topologies)

    @property
    def model(self) -> Model:
        return self.field.model

    @cached_property
    def kernel(self):
        @lru_cache(maxsize=None)
        def kernel(
            outputs: frozenset[str],
            terms: tuple[Term, ...],
            measures: tuple[Measure, ...],
            values: tuple[PerAtom, ...],
            masked: bool,
        ) -> PairKernel:
            return PairKernel(self.model, terms, measures, values, outputs, masked)

        return kernel

    def cast(self, values):
        """Per-atom values in the precision of the kernels; whole numbers stay such."""
        return values.astype(self.dtype) if jnp.issubdtype(values.dtype, jnp.floating) else values

    # -- exclusions: each set of them is a traversal of its own ----------------------------------------------

    @cached_property
    def exclusions(self) -> tuple[frozenset[str], ...]:
        """The different sets of topologies that pair sums leave out."""
        field = self.field
        domains = [s.domain for s in (*field.terms, *field.measures, *field.values) if s.domain is not None]
        found = dict.fromkeys(frozenset(d.excluded) for d in domains if d.reaches)
        return tuple(sorted(found, key=sorted))

    @cached_property
    def always_excluded(self) -> frozenset[str]:
        """What every pair sum leaves out: these pairs are taken out of a neighbour list when it is built."""
        return frozenset.intersection(*self.exclusions) if self.exclusions else frozenset()

    @property
    def by_topology(self) -> bool:
        """Whether anything depends on which atoms the tuples of topologies are."""
        field = self.field
        listed = any(isinstance(s.domain, Listed) for s in (*field.terms, *field.measures, *field.values))
        return listed or any(self.exclusions)

    def without_excluded(self, slots, ids, rows):
        """A new list less the pairs that every sum leaves out. ``ids``: the user's index of each sorted position;
        ``rows``: the sorted positions whose lists these are."""
        if not self.always_excluded:
            return slots
        mine = ids[jnp.minimum(rows, ids.shape[0] - 1)]
        return self.topologies.without(slots, self.always_excluded, inverse(ids), mine, rows)

    # -- bonds -------------------------------------------------------------------------------------------------

    @cached_property
    def bonds(self) -> tuple[str, ...]:
        """The topologies whose forces are computed by rows."""
        return by_rows(self.topologies, sorted({t.domain.topology for t in self.field.tuple_terms}))

    def partners(self, ids, mine) -> dict[str, tuple]:
        """``ids``: the user's index of each sorted position; ``mine``: that of the rows here."""
        return partners(self.topologies, self.bonds, inverse(ids), mine) if self.bonds else {}

    # -- reach -----------------------------------------------------------------------------------------------

    def cutoff(self, params: Mapping[str, object]):
        """The distance beyond which all pair terms are zero; None where one of them has no proved support."""
        return self._farthest(params, [(t.support, t.domain.binders) for t in self.field.reaching])

    def reach(self, params: Mapping[str, object], sums):
        """The longest distance at which one of these terms, values and measures is not zero; None: any."""
        return self._farthest(params, [(getattr(s, "support", Support(None)), s.binders) for s in sums])

    def _farthest(self, params: Mapping[str, object], supports: list[tuple[Support, tuple[str, ...]]]):
        reach = None
        for support, binders in supports:
            if support.cutoff is None:
                return None
            value = farthest(self.model, params, support.cutoff, binders)
            reach = value if reach is None else jnp.maximum(reach, value)
        return jnp.asarray(0.0) if reach is None else reach

    @cached_property
    def reads_volume(self) -> bool:
        """Whether the potential depends on the volume itself, beside the distances."""
        parts = [c.expr for c in self.field.combinations if c.kind == "energy"]
        parts += [t.summand for t in (*self.field.terms, *self.field.carriers)]
        return any(node == Read("volume") for part in parts for node in walk(part))


def marked(values, good):
    """Values, all of them NaN where they are not ``good``. A factor: then derivatives are NaN as well, where those of a
    choice would be 0."""
    return jax.tree.map(lambda a: a * jnp.where(good, 1.0, jnp.nan).astype(jnp.result_type(a)), values)
