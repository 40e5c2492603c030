"""The potential energy of a program as JAX functions: energies, forces, virial, derivatives by parameters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field as with_default, replace
from functools import cached_property, lru_cache

import jax
import jax.numpy as jnp

from mdsl.model import Label, Model, Read, walk

from .cell import Cell, cast, entries_of, fractions, nearest, wrap
from .field import Field, Measure, Term
from .kernels import BOX, ENERGY, FORCE, SLOPES, VIRIAL, PairKernel, atom_values, total, virial_components
from .layout import Layout, OneDevice
from .topologies import IDS, Topologies, TupleSums, inverse, reads
from .traversal import all_pairs_in_blocks, slot_sum
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
    def _kernel(self):
        @lru_cache(maxsize=None)
        def kernel(outputs: frozenset[str], excluded: frozenset[str], measures: tuple[Measure, ...], masked: bool) -> PairKernel:
            return PairKernel(self.model, self.pair_terms(excluded), measures, outputs, masked)

        return kernel

    # -- exclusions: each set of them is a traversal of its own ----------------------------------------------

    @cached_property
    def exclusions(self) -> tuple[frozenset[str], ...]:
        """The different sets of topologies that pair sums leave out."""
        sums = (*self.field.terms, *self.field.measures)
        found = dict.fromkeys(frozenset(s.domain.excluded) for s in sums if s.domain.kind == "ordered")
        return tuple(sorted(found, key=sorted))

    @cached_property
    def always_excluded(self) -> frozenset[str]:
        """What every pair sum leaves out: these pairs are taken out of a neighbour list when it is built."""
        return frozenset.intersection(*self.exclusions) if self.exclusions else frozenset()

    def pair_terms(self, excluded: frozenset[str]) -> tuple[Term, ...]:
        return tuple(t for t in self.field.pair_terms if frozenset(t.domain.excluded) == excluded)

    def without_excluded(self, slots, ids, rows):
        """A new list less the pairs that every sum leaves out. ``ids``: the user's index of each sorted position;
        ``rows``: the sorted positions whose lists these are."""
        if not self.always_excluded:
            return slots
        mine = ids[jnp.minimum(rows, ids.shape[0] - 1)]
        return self.topologies.without(slots, self.always_excluded, inverse(ids), mine, rows)

    def cutoff(self, params: Mapping[str, object]):
        """The distance beyond which all pair terms are zero; None where one of them has no proved support."""
        reach = None
        for term in self.field.pair_terms:
            if term.support.cutoff is None:
                return None
            value = jnp.max(Globals(self.model, params).table(term.support.cutoff, term.domain.binders))
            reach = value if reach is None else jnp.maximum(reach, value)
        return jnp.asarray(0.0) if reach is None else reach

    def evaluate(
        self,
        known: Globals,
        atoms: Mapping[str, object],
        slots,
        outputs: frozenset[str],
        measures: tuple[Measure, ...] = (),
        layout: Layout | None = None,
        used=None,
    ) -> Result:
        """All terms at once.

        ``atoms``: x and v as tuples of [n] arrays, m, species and "$ids" (the user's index) as [n] arrays, the rows
        of this device in the order of ``slots`` [K, n]; ``slots`` None: all pairs. ``measures``: the sums of observables that are
        wanted too. ``used``: how many slots hold neighbours, where that is known to be fewer than K.
        """
        layout = layout or OneDevice(atoms["x"][0].shape[0])
        if VIRIAL in outputs and self.reads_volume:
            outputs = outputs | {ENERGY, SLOPES}
        x = atoms["x"]
        dtype = x[0].dtype
        nearest = self.geometry.nearest(known.cell)
        force = [jnp.zeros_like(c) for c in x]
        virial = [jnp.zeros((), dtype) for _ in virial_components(self.geometry.dim)]
        box = [jnp.zeros((), dtype) for _ in known.cell.leaves]
        sums: dict[str, object] = {}
        slopes: dict[str, object] = {}
        place = None
        if self.field.tuple_terms or any(m.domain.kind == "members" for m in measures) or any(self.exclusions):
            ids = layout.everywhere(atoms[IDS])[: layout.n_atoms]
            place = inverse(ids)
        for excluded in self.exclusions:
            terms = self.pair_terms(excluded)
            pair_measures = tuple(m for m in measures if m.domain.kind == "ordered" and frozenset(m.domain.excluded) == excluded)
            far = tuple(m for m in pair_measures if not m.near) if slots is not None else ()
            if far:  # the list does not hold all the pairs that these sums are over
                pairs = self._pairs(known, atoms, None, frozenset(), excluded, far, layout, None, place)
                sums |= {k: layout.add(v.astype(dtype)) / 2 for k, v in pairs.items() if k.startswith("#")}
                pair_measures = tuple(m for m in pair_measures if m.near)
            if not (outputs and terms) and not pair_measures:
                continue
            pairs = self._pairs(known, atoms, slots, outputs, excluded, pair_measures, layout, used, place)
            if FORCE in outputs:
                force = [a + b.astype(dtype) for a, b in zip(force, pairs[FORCE])]
            if VIRIAL in outputs:
                virial = [a + layout.add(b.astype(dtype)) / 2 for a, b in zip(virial, pairs[VIRIAL])]
            sums |= {k: layout.add(v.astype(dtype)) / 2 for k, v in pairs.items() if k.startswith("#")}
            if BOX in outputs:
                box = [a + layout.add(b.astype(dtype)) / 2 for a, b in zip(box, pairs[BOX])]
            if SLOPES in outputs:
                for term in terms:
                    for k, (leaf, _) in enumerate(term.slopes):
                        rows = tuple(v.astype(dtype) / 2 for v in pairs[f"slope {term.number} {k}"])
                        _add(slopes, leaf, self.gathered(leaf, term.domain.binders, rows, atoms, known, layout))
        self._tuples(known, atoms, nearest, outputs, measures, force, virial, box, sums, slopes, layout, place)
        for term in self.field.atom_terms:
            self._atoms(term, known, atoms, nearest, outputs, force, virial, box, sums, slopes, layout)
        for measure in measures:
            if measure.domain.kind == "each":
                values = self._each(measure, known, atoms, nearest)
                sums[f"#{measure.number}"] = total(values, layout.add) if measure.op == "sum" else layout.extreme(values, measure.op)
        if VIRIAL in outputs and self.reads_volume:
            for a in range(self.geometry.dim):
                virial[a * self.geometry.dim + a] -= self._expansion(known, sums, slopes)
        rows = tuple(tuple(virial[a * self.geometry.dim + b] for b in range(self.geometry.dim)) for a in range(self.geometry.dim))
        return Result(tuple(force), sums, rows, tuple(box), slopes)

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

    def gathered(self, leaf: Read, binders: tuple[str, ...], rows: tuple, atoms: Mapping[str, object], known: Globals, layout: Layout):
        """Slopes of single rows as the derivative by a parameter, in its shape.

        ``rows``: one [N] array, or one for each species of the other atom where the parameter is read for it.
        """
        if not leaf.indices:
            return layout.add(rows[0])
        shape = jnp.shape(known.params[leaf.symbol])
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

    def _pairs(self, known: Globals, atoms: Mapping[str, object], slots, outputs: frozenset[str], excluded: frozenset[str], measures: tuple[Measure, ...], layout: Layout, used, place):
        """The sums over each row of the terms and measures that leave out ``excluded``."""
        kernel = self._kernel(outputs, excluded, measures, masked=slots is None and bool(excluded))
        values = {"x": tuple(c.astype(self.dtype) for c in atoms["x"])}
        for name in kernel.atom_reads - {"x"}:
            values[name] = atoms[name]
        nearest = self.geometry.nearest(cast(known.cell, self.dtype))
        # An atom with itself is no pair; it is given a distance at which every term is regular.
        cutoff = self.cutoff(known.params)
        safe = jnp.asarray(1.0 if cutoff is None else jnp.where(jnp.isfinite(cutoff), (2 * cutoff) ** 2, 1.0), self.dtype)
        body = kernel.body(known, nearest, safe)
        zeros = kernel.zeros(values["x"][0], known.cell)
        others = layout.everywhere(values)
        if slots is None:
            left_out = self.topologies.excluded(excluded, place, atoms[IDS]) if excluded else None
            others = jax.tree.map(lambda a: a[: layout.n_atoms], others)
            return all_pairs_in_blocks(body, values, others, zeros, rows=layout.rows(), excluded=left_out)
        if excluded - self.always_excluded:
            slots = self.topologies.without(slots, excluded - self.always_excluded, place, atoms[IDS], layout.rows())
        return slot_sum(body, slots, values, others, zeros, rows=layout.rows(), used=used)

    def _tuples(self, known: Globals, atoms, nearest, outputs, measures, force, virial, box, sums, slopes, layout: Layout, place) -> None:
        """Add the sums over topologies to the results."""
        terms = self.field.tuple_terms if outputs else ()
        members = tuple(m for m in measures if m.domain.kind == "members")
        if not terms and not members:
            return
        wanted = {"x", "species"}.union(*(reads(s.summand) for s in (*terms, *members)))
        everyone = jax.tree.map(lambda a: a[: layout.n_atoms], layout.everywhere({name: atoms[name] for name in atoms if name in wanted}))
        tuples = TupleSums(self.model, self.topologies, known, everyone, place, nearest)
        for term in terms:
            if ENERGY in outputs:
                sums[f"#{term.number}"] = tuples.sum(term)
            if outputs & {FORCE, VIRIAL, BOX}:
                tuples.add(term, outputs, virial, box)
            if SLOPES in outputs:
                for leaf, slope in term.slopes:
                    _add(slopes, leaf, tuples.slope(term, leaf, slope))
        if FORCE in outputs and tuples.forces:
            for k, own in enumerate(tuples.on_rows(atoms[IDS])):
                force[k] = force[k] + own
        for measure in members:
            sums[f"#{measure.number}"] = tuples.sum(measure)

    def _each(self, measure: Measure | Term, known: Globals, atoms, nearest):
        values = atom_values(measure.summand, measure.domain.binders[0], known, atoms, nearest)
        return _fill(values, atoms["x"][0])

    def _atoms(self, term: Term, known: Globals, atoms, nearest, outputs, force, virial, box, sums, slopes, layout: Layout) -> None:
        """Add one sum over atoms (an external field) to the results."""
        binder = term.domain.binders[0]
        gradient = term.gradients[0]
        if ENERGY in outputs:
            sums[f"#{term.number}"] = layout.add(self._each(term, known, atoms, nearest))
        if outputs & {FORCE, VIRIAL, BOX}:
            d = nearest(atoms["x"])
            images = fractions(known.cell, tuple(near - c for near, c in zip(d, atoms["x"]))) if BOX in outputs else None
            for a in range(self.geometry.dim):
                slope = jnp.zeros_like(d[a])
                if gradient.radial is not None:
                    slope = slope + 2 * atom_values(gradient.radial, binder, known, atoms, nearest) * d[a]
                if gradient.direct is not None:
                    slope = slope + atom_values(gradient.direct[a], binder, known, atoms, nearest)
                force[a] = force[a] - slope
                for n, (vector, axis) in enumerate(entries_of(known.cell)):
                    if BOX in outputs and axis == a and self.geometry.periodic[vector]:
                        # The nearest image of an atom moves with the box.
                        box[n] = box[n] + layout.add(images[vector] * slope)
                for b in range(self.geometry.dim):
                    virial[b * self.geometry.dim + a] = virial[b * self.geometry.dim + a] - layout.add(d[b] * slope)
        if SLOPES in outputs:
            for leaf, slope in term.slopes:
                values = _fill(atom_values(slope, binder, known, atoms, nearest), atoms["x"][0])
                _add(slopes, leaf, self.gathered(leaf, term.domain.binders, (values,), atoms, known, layout))


def _add(slopes: dict[str, object], leaf: Read, value) -> None:
    slopes[leaf.symbol] = slopes[leaf.symbol] + value if leaf.symbol in slopes else value


def _fill(values, like):
    if isinstance(values, tuple):
        return tuple(_fill(v, like) for v in values)
    return jnp.broadcast_to(jnp.asarray(values, like.dtype), like.shape)


