"""The potential energy of a program as JAX functions: energies, forces, virial, derivatives by parameters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field as with_default, replace
from functools import cached_property, lru_cache

import jax
import jax.numpy as jnp

from mdsl.model import Label, Model, Read, walk

from .bonds import by_rows, partners
from .bounds import farthest
from .cell import Cell, nearest, wrap
from .evaluation import Evaluation
from .field import Field, Measure, PerAtom, Support, Term
from .kernels import ENERGY, SLOPES, VIRIAL, PairKernel
from .layout import Layout, OneDevice
from .ranges import keeps
from .topologies import Topologies, inverse
from .values import Globals


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


@dataclass(frozen=True)
class Result:
    """``force``: a tuple of [N] arrays; ``sums``: "#k" to the value of sum k; ``virial``: rows of the tensor."""

    force: tuple | None
    sums: Mapping[str, object]
    virial: tuple | None
    box: tuple | None  # derivative of the potential by each entry of the cell, at fixed positions
    slopes: Mapping[str, object]  # parameter to the derivative of the potential by it


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
        def kernel(outputs: frozenset[str], terms: tuple[Term, ...], measures: tuple[Measure, ...], values: tuple[PerAtom, ...], masked: bool) -> PairKernel:
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
        found = dict.fromkeys(frozenset(d.excluded) for d in domains if d.kind in ("ordered", "others", "triples", "around"))
        return tuple(sorted(found, key=sorted))

    @cached_property
    def always_excluded(self) -> frozenset[str]:
        """What every pair sum leaves out: these pairs are taken out of a neighbour list when it is built."""
        return frozenset.intersection(*self.exclusions) if self.exclusions else frozenset()

    @property
    def by_topology(self) -> bool:
        """Whether anything depends on which atoms the tuples of topologies are."""
        members = any(s.domain.kind == "members" for s in (*self.field.terms, *self.field.measures))
        return members or any(self.exclusions)

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

    # -- evaluating ------------------------------------------------------------------------------------------

    def evaluate(
        self,
        known: Globals,
        atoms: Mapping[str, object],
        slots,
        outputs: frozenset[str],
        measures: tuple[Measure, ...] = (),
        layout: Layout | None = None,
        used=None,
        driven: bool = False,
        legs: int | None = None,
    ) -> Result:
        """All terms at once.

        ``atoms``: x and v as tuples of [n] arrays, m, species and "$ids" (the user's index) as [n] arrays, the rows
        of this device in the order of ``slots`` [K, n]; ``slots`` None: all pairs. ``measures``: the sums of observables that are
        wanted too. ``used``: how many slots hold neighbours, where that is known to be fewer than K. ``driven``: no
        reverse mode goes through, so that loops may have a length that is known only when they run. ``legs``: for how
        many neighbours of an atom there is room in sums over triples (None: for all); where that is not enough, the
        result is NaN.
        """
        layout = layout or OneDevice(atoms["x"][0].shape[0])
        if VIRIAL in outputs and self.reads_volume:
            outputs = outputs | {ENERGY, SLOPES}
        if outputs - {ENERGY} and not self.field.linear:
            sums = self.evaluate(known, atoms, slots, frozenset({ENERGY}), (), layout, used, driven, legs).sums
            known = replace(known, more={**known.more, **sums})
        work = Evaluation(self, known, atoms, slots, layout, used, driven, legs)
        work.values(self.field.needed([t.summand for t in self.field.terms if outputs] + [m.summand for m in measures]))
        if outputs - {ENERGY} and self.field.carriers:
            work.adjoints()
        work.all_terms(outputs, measures)
        if SLOPES in outputs:
            work.by_data()
            work.by_networks()
        dim = self.geometry.dim
        if VIRIAL in outputs and self.reads_volume:
            for a in range(dim):
                work.virial[a * dim + a] -= self._expansion(known, work.sums, work.slopes)
        rows = tuple(tuple(work.virial[a * dim + b] for b in range(dim)) for a in range(dim))
        result = Result(tuple(work.force), work.sums, rows, tuple(work.box), work.slopes)
        if legs is None:
            return result
        return Result(*marked((result.force, result.sums, result.virial, result.box, result.slopes), work.crowd <= legs))

    @cached_property
    def reads_volume(self) -> bool:
        """Whether the potential depends on the volume itself, beside the distances."""
        parts = [c.expr for c in self.field.combinations if c.kind == "energy"] + [t.summand for t in self.field.terms]
        return any(node == Read("volume") for part in parts for node in walk(part))

    def _expansion(self, known: Globals, sums: Mapping[str, object], slopes: Mapping[str, object]):
        """The derivative of the potential by the logarithm of the volume, where it depends on the volume itself."""
        combinations = [c.expr for c in self.field.combinations if c.kind == "energy"]

        def total(stretch):
            edges = (known.cell.edges[0] * stretch, *known.cell.edges[1:])
            return sum(jnp.asarray(replace(known, cell=known.cell._replace(edges=edges), more=sums).value(e)) for e in combinations)

        one = jnp.ones_like(jnp.asarray(known.cell.edges[0]))
        _, slope = jax.jvp(total, (one,), (one,))
        return slope + slopes["volume"] * known.value(Read("volume")) if "volume" in slopes else slope

    def gathered(self, leaf: Read, term: Term, rows: tuple, atoms: Mapping[str, object], known: Globals, layout: Layout):
        """Slopes of single rows as the derivative by a parameter, in its shape.

        ``rows``: one [N] array, or one for each species of the other atom where the parameter is read for it; [C, N]
        where it is read for each number of a range.
        """
        binders = term.domain.binders
        if not leaf.indices:
            return layout.add(rows[0])
        shape = jnp.shape(known.params[leaf.symbol])
        if keeps(leaf, term.axis):
            (axis,) = self.model.param(leaf.symbol).axes
            return jnp.zeros(shape).at[term.axis.first - axis.first : term.axis.last + 1 - axis.first].add(layout.add(rows[0]))
        count = max(1, len(self.model.species))

        def by_own(values):
            if count == 1:
                return layout.add(values)[None]
            return jnp.stack([layout.add(jnp.where(atoms["species"] == k, values, 0)) for k in range(count)])

        own = [i == binders[0] for i in leaf.indices if isinstance(i, str)]
        if len(own) < len(leaf.indices):  # a fixed entry
            axes = self.model.param(leaf.symbol).axes
            place = tuple(self.model.species.index(i.species) if isinstance(i, Label) else i - a.first for i, a in zip(leaf.indices, axes))
            return jnp.zeros(shape).at[place].add(layout.add(rows[0]))
        if len(own) == 1:
            return by_own(rows[0]) if own[0] else jnp.stack([layout.add(r) for r in rows])
        if all(own):
            return jnp.diag(by_own(rows[0]))
        if not any(own):
            return jnp.diag(jnp.stack([layout.add(r) for r in rows]))
        table = jnp.stack([by_own(r) for r in rows], axis=1)  # [own, other]
        return table if own[0] else table.T


def marked(values, good):
    """Values, all of them NaN where they are not ``good``. A factor: then derivatives are NaN as well, where those of a
    choice would be 0."""
    return jax.tree.map(lambda a: a * jnp.where(good, 1.0, jnp.nan).astype(jnp.result_type(a)), values)
