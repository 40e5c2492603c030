"""One evaluation of the potential and of observables: per-atom values, their adjoints, then every sum.

    values    sums over the neighbours of each atom, and quantities made of them, those that need no others first
    adjoints  the derivative of the potential by each of them, the last first
    sums      energies, forces, virial and derivatives, with all pair terms in one traversal
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from copy import copy
from dataclasses import replace
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp

from mdsl.model import Axis, Domain, Expr, Read

from . import legs
from .bonds import PARTNERS, forces
from .cell import cast, entries_of, fractions
from .field import ADJOINT, Measure, PerAtom, Term
from .gather import padded
from .guard import at_risk
from .kernels import BOX, ENERGY, FORCE, PARTIALS, SLOPES, VIRIAL, atom_arrays, atom_values, partial_name, slope_name, total, virial_components
from .layout import Layout, OneDevice
from .pair_sum import pair_sum
from .ranges import added, keeps, leaf_name, one_by_one, pick, spread_out
from .series import at_entry, size
from .topologies import IDS, TupleSums, inverse, reads
from .traversal import all_pairs_in_blocks, listed_sum
from .triples import ENDS, TWIST, TripleSums
from .values import Globals, data_of

if TYPE_CHECKING:
    from .potential import Potential

NOTHING: frozenset[str] = frozenset()


def each_sum(measure: Measure, known: Globals, atoms: Mapping[str, object], nearest, layout: Layout):
    """A sum over atoms, or the largest or smallest of its values. ``atoms``: all that its summand reads of them."""
    values = _fill(atom_values(measure.summand, measure.domain.binders[0], known, atoms, nearest), atoms["x"][0])
    return total(values, layout.add) if measure.op == "sum" else layout.extreme(values, measure.op)


class Evaluation:
    """What is known and what has been added up so far."""

    def __init__(self, potential: Potential, known: Globals, atoms: Mapping[str, object], slots, layout: Layout, used, driven: bool = False, legs: int | None = None):
        self.potential, self.known, self.layout = potential, known, layout
        self.field, self.model, self.geometry = potential.field, potential.model, potential.geometry
        self.atoms = {**atoms, **data_of(self.model, known.params, atoms[IDS])}
        self.slots, self.used, self.driven, self.room = slots, used, driven, legs
        self.differentiable = not driven and isinstance(layout, OneDevice)
        x = atoms["x"]
        self.dtype, self.dim = x[0].dtype, len(x)
        self.nearest = self.geometry.nearest(known.cell)
        self.force = [jnp.zeros_like(c) for c in x]
        self.virial = [jnp.zeros((), self.dtype) for _ in virial_components(self.dim)]
        self.box = [jnp.zeros((), self.dtype) for _ in known.cell.leaves]
        self.sums: dict[str, object] = {}
        self.slopes: dict[str, object] = {}
        self.crowd = jnp.int32(0)  # the most legs of an atom
        self.place = inverse(layout.everywhere(atoms[IDS])[: layout.n_atoms]) if potential.by_topology else None

    # -- per-atom values ---------------------------------------------------------------------------------

    def values(self, values: tuple[PerAtom, ...]) -> None:
        """Compute per-atom values that are not known yet, in an order that lets each read those before it."""
        values = tuple(v for v in values if v.name not in self.atoms)
        for depth in range(1 + max((v.depth for v in values), default=0)):
            here = [v for v in values if v.depth == depth]
            for excluded in self.potential.exclusions:
                pairs = tuple(v for v in here if v.pairs and frozenset(v.domain.excluded) == excluded)
                for near in (True, False):
                    some = tuple(v for v in pairs if (v.near or self.slots is None) == near)
                    if some:
                        self.atoms |= self.pairs(NOTHING, (), excluded, values=some, near=near)
            around = tuple(v for v in here if v.domain is not None and not v.pairs)
            for near in (True, False):
                some = tuple(v for v in around if (v.near or self.slots is None) == near)
                if some:
                    self.atoms |= self.triples((), NOTHING, some, near)
            for v in here:
                if v.domain is None:
                    self.atoms[v.name] = self.each(v.summand, v.centre, v.axis, keep=True)

    def adjoints(self) -> None:
        """The derivative of the potential by each per-atom value that energies need, from the last to the first."""
        found = {v.name: jnp.zeros_like(self.atoms[v.name]) for v in self.field.values if v.adjoint is not None}
        self._partials(tuple(t for t in self.field.terms if t.partials), found)
        for value in reversed(self.field.values):
            if value.adjoint is not None:
                self.atoms[ADJOINT + value.name] = found[value.name]
                if value.adjoint.partials:
                    self._partials((value.adjoint,), found)

    def _partials(self, terms: tuple[Term, ...], found: dict[str, object]) -> None:
        """Add what terms contribute to the adjoints of the values that they read."""

        def add(term: Term, leaf: Read, values) -> None:
            found[leaf.symbol] = added(found[leaf.symbol], leaf, term.axis, values) if leaf.symbol in found else values

        for term in (t for t in terms if t.domain.kind == "each"):
            for leaf, partial in term.partials:
                add(term, leaf, self._own_partial(leaf, partial, term))
        for excluded in self.potential.exclusions:
            pairs = tuple(t for t in terms if t.domain.kind == "ordered" and frozenset(t.domain.excluded) == excluded)
            if pairs:
                rows = self.pairs(frozenset({PARTIALS}), pairs, excluded)
                for n, term in enumerate(pairs):
                    for k, (leaf, _) in enumerate(term.partials):
                        add(term, leaf, rows[partial_name(n, k)])
        triples = tuple(e for t in terms if t.domain.kind == "triples" for e in one_by_one(t))
        if triples:
            rows = self.triples(triples, frozenset({PARTIALS}))
            leaves = {leaf_name(leaf): (term, leaf) for term in triples for leaf, _ in term.partials}
            for name, (term, leaf) in leaves.items():
                add(term, leaf, rows[ADJOINT + name])
        bonded = tuple(t for t in terms if t.domain.kind == "members")
        if bonded:
            tuples = self._tuple_sums([p for t in bonded for _, p in t.partials])
            for term in bonded:
                for leaf, partial in term.partials:
                    add(term, leaf, tuples.partial(term, leaf, partial, self.atoms[IDS]))

    def by_data(self) -> None:
        """The derivatives by the data of single atoms, in the user's order. Adjoints carry those through per-atom values."""
        found: dict[str, object] = {}
        terms = (*self.field.terms, *self.field.carriers)
        self._partials(tuple(replace(t, partials=t.data) for t in terms if t.data), found)
        for name, rows in found.items():
            self.slopes[name] = jnp.zeros_like(self.known.params[name]).at[self.atoms[IDS]].add(rows)

    def _own_partial(self, leaf: Read, partial: Expr, term: Term):
        """The derivative by a per-atom value of the same atom. That of sqrt(rho) where rho is 0 is infinite; but there
        rho is 0 because no atom is near, and does not change: such an atom has no part in derivatives."""

        def derivative():
            return self.each(partial, term.domain.binders[0], term.axis, keeps(leaf, term.axis))

        found = derivative()
        if self.field.value(leaf.symbol) is None or not at_risk(partial, {}):
            return found
        whole = self.atoms[leaf.symbol]
        value = pick(whole, leaf, term.axis)
        alone = (value == 0) & ~jnp.isfinite(jax.lax.stop_gradient(found))
        self.atoms[leaf.symbol] = added(whole, leaf, term.axis, jnp.where(alone, 1.0, 0.0))
        found = jnp.where(alone, 0.0, derivative())
        self.atoms[leaf.symbol] = whole
        return found

    # -- sums --------------------------------------------------------------------------------------------

    def all_terms(self, outputs: frozenset[str], measures: tuple[Measure, ...]) -> None:
        """The sums of all terms and of measures."""
        for excluded in self.potential.exclusions:
            terms = self._active([t for t in self.field.pair_terms if frozenset(t.domain.excluded) == excluded], outputs)
            wanted = tuple(m for m in measures if m.domain.kind == "ordered" and frozenset(m.domain.excluded) == excluded)
            far = tuple(m for m in wanted if not m.near) if self.slots is not None else ()
            if far:  # the list does not hold all the pairs that these sums are over
                self._sum_up(self.pairs(NOTHING, (), excluded, far, near=False), far)
            wanted = tuple(m for m in wanted if m not in far)
            if terms or wanted:
                pairs = self.pairs(outputs, terms, excluded, wanted)
                self._sum_up(pairs, (*terms, *wanted))
                self._pair_outputs(pairs, outputs, terms)
        self._triples(outputs, tuple(m for m in measures if m.domain.kind == "triples"))
        self._tuples(outputs, tuple(m for m in measures if m.domain.kind == "members"))
        for term in self.field.atom_terms if outputs else ():
            self._atoms(term, outputs)
        for measure in (m for m in measures if m.domain.kind == "each"):
            self.sums[f"#{measure.number}"] = each_sum(measure, self.known, self.atoms, self.nearest, self.layout)

    def _active(self, terms: Iterable[Term], outputs: frozenset[str]) -> tuple[Term, ...]:
        """The terms that have something to give: those that only carry derivatives have no energy."""
        return tuple(t for t in terms if outputs - {ENERGY} or outputs and t.number is not None)

    def _sum_up(self, rows: Mapping[str, object], sums: Iterable[Term | Measure]) -> None:
        """Totals of pair sums from those of each row, in which every pair stands twice."""
        for name in (f"#{s.number}" for s in sums if s.number is not None):
            if name in rows:
                self.sums[name] = total(rows[name], lambda v: self.layout.add(v) / 2)

    def _pair_outputs(self, pairs: Mapping[str, object], outputs: frozenset[str], terms: tuple[Term, ...]) -> None:
        if FORCE in outputs:
            self.force = [a + b for a, b in zip(self.force, pairs[FORCE])]
        if VIRIAL in outputs:
            self.virial = [a + self.layout.add(b) / 2 for a, b in zip(self.virial, pairs[VIRIAL])]
        if BOX in outputs:
            self.box = [a + self.layout.add(b) / 2 for a, b in zip(self.box, pairs[BOX])]
        for n, term in enumerate(terms if SLOPES in outputs else ()):
            for k, (leaf, _) in enumerate(term.slopes):
                rows = tuple(v / 2 for v in pairs[slope_name(n, k)])
                self._slope(leaf, self.potential.gathered(leaf, term, rows, self.atoms, self.known, self.layout))

    def pairs(self, outputs: frozenset[str], terms: tuple[Term, ...], excluded: frozenset[str], measures: tuple[Measure, ...] = (), values: tuple[PerAtom, ...] = (), near: bool = True):
        """The sums over each row of terms, measures and values that leave out ``excluded``; ``near``: within the list."""
        slots = self.slots if near else None
        dtype, layout = self.potential.dtype, self.layout
        kernel = self.potential.kernel(outputs, terms, measures, values, slots is None and bool(excluded))
        arrays = {name: jax.tree.map(self.potential.cast, self.atoms[name]) for name in {"x"} | kernel.atom_reads}
        nearest = self.geometry.nearest(cast(self.known.cell, dtype))
        # An atom with itself is no pair; it is given a distance at which every term is regular.
        reach = self.potential.reach(self.known.params, (*terms, *values))
        safe = jnp.asarray(1.0 if reach is None else jnp.where(jnp.isfinite(reach) & (reach > 0), (2 * reach) ** 2, 1.0), dtype)
        body = kernel.body(self.known, nearest, safe)
        zeros = kernel.zeros(arrays["x"][0], self.known.cell)
        others = layout.everywhere(arrays)
        # Values over a range have several numbers for each atom, which only the loops themselves know.
        differentiable = self.differentiable and all(a.ndim == 1 for a in jax.tree.leaves((arrays, zeros)))
        if slots is None:
            left_out = self.potential.topologies.excluded(excluded, self.place, self.atoms[IDS]) if excluded else None
            others = jax.tree.map(lambda a: a[..., : layout.n_atoms], others)
            if differentiable:
                found = pair_sum(body, None, arrays, zeros, excluded=left_out)
            else:
                found = all_pairs_in_blocks(body, arrays, others, zeros, rows=layout.rows(), excluded=left_out)
        else:
            still_in = excluded - self.potential.always_excluded
            if still_in:
                slots = self.potential.topologies.without(slots, still_in, self.place, self.atoms[IDS], layout.rows())
            if differentiable:
                found = pair_sum(body, slots, arrays, zeros)
            else:
                found = listed_sum(body, slots, arrays, others, zeros, rows=layout.rows(), used=self.used)
        return jax.tree.map(lambda v: v.astype(self.dtype), found)

    # -- triples -----------------------------------------------------------------------------------------

    def triples(self, terms: tuple[Term, ...], outputs: frozenset[str], values: tuple[PerAtom, ...] = (), near: bool = True, measures: tuple[Measure, ...] = ()):
        """What the triples around each row add up to, by name, [n]; forces and the like are added to the results."""
        layout, dtype = self.layout, self.potential.dtype
        terms = tuple(e for t in terms for e in one_by_one(t))
        entries = {v.name: [f"{v.name} {k}" for k in range(size(v.axis))] for v in values if v.axis is not None}
        sums = (
            *((name, v.binders, e) for v in values for name, e in zip(entries.get(v.name, [v.name]), at_entry(v.summand, v.axis))),
            *((f"#{m.number}", m.binders, m.summand) for m in measures),
        )
        exprs = [s for _, _, s in sums]
        for term in terms:
            exprs += [term.summand, *(p for _, p in term.partials), *(s for _, s in term.slopes), *(c for g in term.gradients for c in g.direct)]
        names = {"x", "species"}.union(*(atom_arrays(e, self.model) for e in exprs))
        arrays = {name: jax.tree.map(self.potential.cast, self.atoms[name]) for name in names}
        others = jax.tree.map(padded, layout.everywhere(arrays))
        rows = layout.rows()
        nearest = self.geometry.nearest(cast(self.known.cell, dtype))
        listed = self.slots is not None and near
        slots = self.slots if listed else (rows + 1 + jnp.arange(max(1, layout.n_atoms - 1), dtype=jnp.int32)[:, None]) % layout.n_atoms
        reach = self.potential.reach(self.known.params, (*terms, *values, *measures))
        found = legs.near(slots, arrays["x"], others["x"], rows, nearest, reach, self.used if listed else None)
        if terms:
            self.crowd = jnp.maximum(self.crowd, layout.largest(jnp.max(found.count, initial=0)))
        capacity = max(1, min(slots.shape[0], self.room) if terms and self.room is not None else slots.shape[0])
        work = TripleSums(self.model, self.known, terms, outputs, sums, nearest, not self.driven)

        def part(columns, there, total):
            """The sums with those of some of the rows."""
            some = legs.Near(found.words[:, columns], jnp.where(there, found.count[columns], 0))
            own = jax.tree.map(lambda v: v[..., columns], arrays)
            most = jnp.minimum(jnp.max(some.count, initial=0), capacity) if self.driven else capacity
            index = legs.picked(some, slots, rows[columns], columns, capacity, most)
            around = legs.legs(index, own["x"], others["x"], nearest, reach, some.count)
            return self._scattered(work(around, own, others, most), around, columns, rows[columns], outputs, total)

        start = self._unscattered(work, outputs)
        if self.driven:
            order, there = legs.blocks(found.count)
            total = jax.lax.fori_loop(0, order.shape[0], lambda k, total: part(order[k], there[k], total), start)
        else:
            total = part(rows - rows[0], jnp.ones(rows.shape, bool), start)
        found = self._taken_in(total, terms)
        return found | {name: jnp.stack([found.pop(e) for e in parts]) for name, parts in entries.items()}

    def _unscattered(self, work: TripleSums, outputs: frozenset[str]) -> dict[str, object]:
        """Where the sums of triples begin."""
        rows, every, one = (jnp.zeros(shape, self.dtype) for shape in (self.layout.count, self.layout.total, ()))
        return {
            "rows": {name: rows for name in work.of_rows},
            "ends": {name: every for name in work.of_ends},
            "force": (every,) * (self.dim if FORCE in outputs else 0),
            "virial": (one,) * (self.dim**2 if VIRIAL in outputs else 0),
            "box": (one,) * (len(self.box) if BOX in outputs else 0),
            "slopes": {name: jnp.zeros(shape, self.dtype) for name, shape in work.of_parameters.items()},
        }

    def _scattered(self, found: dict[str, object], around: legs.Legs, columns, rows, outputs: frozenset[str], total: dict) -> dict[str, object]:
        """``total`` with what the triples around some rows add up to."""
        found = jax.tree.map(lambda v: v.astype(self.dtype), found)

        def scatter(every, values):
            return jax.lax.fori_loop(0, values.shape[0], lambda m, every: every.at[around.index[m]].add(values[m]), every)

        out = dict(total)
        out["rows"] = {name: v.at[columns].add(found[name]) for name, v in total["rows"].items()}
        out["ends"] = {name: scatter(v, found[ENDS + name]) for name, v in total["ends"].items()}
        out["slopes"] = {name: v + found[name] for name, v in total["slopes"].items()}
        if ENDS not in found:
            return out
        ends, twist = found[ENDS], found.get(TWIST)
        if FORCE in outputs:
            out["force"] = tuple(scatter(v, e).at[rows].add(-jnp.sum(e, axis=0)) for v, e in zip(total["force"], ends))
        if VIRIAL in outputs:
            beyond = [0.0 if twist is None else jnp.sum(t) for t in twist or (None,) * self.dim**2]
            out["virial"] = tuple(v - jnp.sum(around.d[a] * ends[b]) - w for v, w, (a, b) in zip(total["virial"], beyond, virial_components(self.dim)))
        if BOX in outputs:
            cell = self.known.cell
            images = fractions(cell, tuple(near - c for near, c in zip(around.d, around.apart)))
            box = list(total["box"])
            for n, (vector, axis) in enumerate(entries_of(cell)):
                box[n] = box[n] + jnp.sum(images[vector] * ends[axis])
                if twist is not None:
                    box[n] = box[n] + jnp.sum(fractions(cell, tuple(twist[a * self.dim + axis] for a in range(self.dim)))[vector])
            out["box"] = tuple(box)
        return out

    def _taken_in(self, total: dict[str, object], terms: tuple[Term, ...]) -> dict[str, object]:
        """Forces and the like added to the results; what is one value for each row, by name."""
        layout = self.layout
        self.force = [a + layout.gather(b) for a, b in zip(self.force, total["force"])] or self.force
        self.virial = [a + layout.plus(b) for a, b in zip(self.virial, total["virial"])] or self.virial
        self.box = [a + layout.plus(b) for a, b in zip(self.box, total["box"])] or self.box
        for n, term in enumerate(terms if total["slopes"] else ()):
            for k, (leaf, _) in enumerate(term.slopes):
                self._slope(leaf, layout.plus(total["slopes"][slope_name(n, k)]))
        found = dict(total["rows"])
        for name, ends in total["ends"].items():
            found[name] = found[name] + layout.gather(ends) if name in found else layout.gather(ends)
        return found

    def _triples(self, outputs: frozenset[str], measures: tuple[Measure, ...]) -> None:
        terms = self._active(self.field.triple_terms, outputs)
        if terms:
            found = self.triples(terms, outputs)
            self.sums |= {name: self.layout.add(rows) for name, rows in found.items() if name.startswith("#")}
        if measures:
            found = self.triples((), NOTHING, measures=measures, near=all(m.near for m in measures))
            self.sums |= {name: self.layout.add(rows) for name, rows in found.items()}

    # -- topologies --------------------------------------------------------------------------------------

    def _tuple_sums(self, exprs) -> TupleSums:
        wanted = {"x", "species"}.union(*(reads(e) for e in exprs))
        layout = self.layout
        everyone = layout.everywhere({name: values for name, values in self.atoms.items() if name in wanted})
        everyone = jax.tree.map(lambda a: a[..., : layout.n_atoms], everyone)
        return TupleSums(self.model, self.potential.topologies, self.known, everyone, self.place, self.nearest)

    def _tuples(self, outputs: frozenset[str], measures: tuple[Measure, ...]) -> None:
        terms = self.field.tuple_terms if outputs else ()
        if not terms and not measures:
            return
        if outputs == {FORCE} and (partners := self.atoms.get(PARTNERS)):
            self._bonds([t for t in terms if t.domain.topology in partners], partners)
            terms = tuple(t for t in terms if t.domain.topology not in partners)
        tuples = self._tuple_sums([s.summand for s in (*terms, *measures)])
        for term in terms:
            if ENERGY in outputs:
                self.sums[f"#{term.number}"] = tuples.sum(term)
            if outputs & {FORCE, VIRIAL, BOX}:
                tuples.add(term, outputs, self.virial, self.box)
            for leaf, slope in term.slopes if SLOPES in outputs else ():
                self._slope(leaf, tuples.slope(term, leaf, slope))
        if FORCE in outputs and tuples.forces:
            for k, own in enumerate(tuples.on_rows(self.atoms[IDS])):
                self.force[k] = self.force[k] + own
        for measure in measures:
            self.sums[f"#{measure.number}"] = tuples.sum(measure)

    def _bonds(self, terms: list[Term], partners: Mapping[str, tuple]) -> None:
        """Add the forces of pairs of topologies, by rows."""
        wanted = {"x", "species"}.union(*(reads(t.summand) for t in terms))
        own = {name: values for name, values in self.atoms.items() if name in wanted}
        others = jax.tree.map(padded, self.layout.everywhere(own))
        found = forces(self.model, self.known, terms, partners, own, others, self.layout.rows(), self.nearest)
        self.force = [a + b for a, b in zip(self.force, found)]

    # -- single atoms ------------------------------------------------------------------------------------

    def each(self, expr, binder: str, axis: Axis | None = None, keep: bool = False):
        """The value of an expression for each row, [n]; of one over a range the sum over its numbers, or, to ``keep``, all
        of them, [C, n]. A derivative by an array is one itself."""
        like = self.atoms["x"][0]
        found = atom_values(expr, binder, self.known, self.atoms, self.nearest, axis)
        return jax.tree.map(lambda v: spread_out(jnp.asarray(v, like.dtype), axis, like.shape, keep), found)

    def _atoms(self, term: Term, outputs: frozenset[str]) -> None:
        """Add one sum over atoms to the results."""
        binder, gradient, add = term.domain.binders[0], term.gradients[0], self.layout.add
        if ENERGY in outputs and term.number is not None:
            self.sums[f"#{term.number}"] = add(self.each(term.summand, binder))
        if outputs & {FORCE, VIRIAL, BOX} and not gradient.none:
            x, atoms = self.atoms["x"], self.atoms
            d, cell = self.nearest(x), self.known.cell
            images = fractions(cell, tuple(near - c for near, c in zip(d, x))) if BOX in outputs else None
            for a in range(self.dim):
                slope = jnp.zeros_like(d[a])
                if gradient.radial is not None:
                    slope = slope + 2 * atom_values(gradient.radial, binder, self.known, atoms, self.nearest) * d[a]
                if gradient.direct is not None:
                    slope = slope + atom_values(gradient.direct[a], binder, self.known, atoms, self.nearest)
                self.force[a] = self.force[a] - slope
                for n, (vector, axis) in enumerate(entries_of(cell)):
                    if BOX in outputs and axis == a and self.geometry.periodic[vector]:
                        # The nearest image of an atom moves with the box.
                        self.box[n] = self.box[n] + add(images[vector] * slope)
                for b in range(self.dim):
                    self.virial[b * self.dim + a] = self.virial[b * self.dim + a] - add(d[b] * slope)
        for leaf, slope in term.slopes if SLOPES in outputs else ():
            rows = self.each(slope, binder, term.axis, keeps(leaf, term.axis))
            self._slope(leaf, self.potential.gathered(leaf, term, (rows,), self.atoms, self.known, self.layout))

    # -- networks ----------------------------------------------------------------------------------------

    def by_networks(self) -> None:
        """The derivatives by the weights of networks, in reverse mode through what reads them; per-atom values and the
        weights of sums are numbers in this."""
        for term in (t for t in (*self.field.terms, *self.field.carriers) if t.networks):
            names = [leaf.symbol for leaf in term.networks]

            def of(weights, term=term, names=names):
                work = copy(self)
                work.known = replace(self.known, params={**self.known.params, **dict(zip(names, weights))})
                work.used, work.driven = None, False
                return work._weighted(term)

            for leaf, slope in zip(term.networks, jax.grad(of)([self.known.params[n] for n in names])):
                self._slope(leaf, slope if term.domain.kind == "members" else self.layout.plus(slope))

    def _weighted(self, term: Term):
        """The sum of a term over the rows here, times its weight."""
        domain, (centre, *others) = term.domain, term.binders
        if domain.kind == "each":
            return self._here(self.each(term.weighted, centre, term.axis))
        if domain.kind == "members":
            tuples = self._tuple_sums([term.weighted])
            return jnp.sum(tuples.filled(domain, tuples.value(domain, term.weighted)))
        kind = {"ordered": "others", "triples": "around"}[domain.kind]
        around = Domain(kind, tuple(others), centre, excluded=domain.excluded)
        value = PerAtom("$weighted", term.equation, centre, around, term.weighted, term.support, 0, near=True, axis=term.axis)
        if kind == "others":  # every pair is seen from both of its atoms
            return self._here(self.pairs(NOTHING, (), frozenset(domain.excluded), values=(value,))[value.name]) / 2
        return self._here(self.triples((), NOTHING, (value,))[value.name])

    def _here(self, values):
        """The sum of an array [..., n] over the atoms of this device."""
        return jnp.sum(jnp.where(self.layout.rows() < self.layout.n_atoms, values, 0))

    def _slope(self, leaf: Read, value) -> None:
        self.slopes[leaf.symbol] = self.slopes[leaf.symbol] + value if leaf.symbol in self.slopes else value


def _fill(values, like):
    if isinstance(values, tuple):
        return tuple(_fill(v, like) for v in values)
    return jnp.broadcast_to(jnp.asarray(values, like.dtype), like.shape)
