"""Sums over triples, and over pairs of neighbours around each atom.

`legs` finds the neighbours, `triple_kernel` computes with them; here blocks of atoms are gone through, and what was
found for legs is scattered to the atoms at their ends.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp

from mdsl.lowering.field.field import Term
from mdsl.lowering.field.names import AdjointOf, EndsOf, EntryOf, SlopeOf, SumOf
from mdsl.lowering.field.series import at_entry, size
from mdsl.lowering.geometry.cell import cast, entries_of, fractions
from mdsl.lowering.kernels.pair_kernel import BOX, FORCE, NOTHING, PARTIALS, VIRIAL, atom_arrays, virial_components
from mdsl.lowering.kernels.ranges import leaf_name, one_by_one
from mdsl.lowering.kernels.triple_kernel import ENDS, TWIST, TripleSums
from mdsl.lowering.neighbours import legs
from mdsl.lowering.neighbours.gather import padded
from mdsl.model.domains import Around, Triples
from mdsl.model.nodes import Read

from .configuration import Configuration
from .potential import marked
from .totals import Measures, Outputs, Quantities, Terms, Totals, weight_of_each

if TYPE_CHECKING:
    from mdsl.lowering.arrays import Numbers, Scalar, Value, Values

OVER = (Triples, Around)
BY_ROWS = True
histogram = suspects = None


def values(now: Configuration, wanted: Quantities) -> Values:
    rows: dict[str, Value] = {}
    for near in (True, False):
        if some := tuple(v for v in wanted if now.holds(v.near) == near):
            rows |= _around(now, (), NOTHING, some, near).rows
    return rows


def totals(now: Configuration, outputs: Outputs, terms: Terms, measures: Measures, found: Totals) -> Totals:
    if terms:
        here = _around(now, terms, outputs)
        sums = {name: now.layout.add(rows) for name, rows in here.rows.items() if isinstance(name, SumOf)}
        found = found.plus(here.force, here.virial, here.box, sums, here.slopes)
    if measures:
        rows = _around(now, (), NOTHING, measures=measures, near=all(m.near for m in measures)).rows
        found = found.plus(sums={name: now.layout.add(v) for name, v in rows.items()})
    return found


def partials(now: Configuration, terms: Terms) -> Iterator[tuple[Term, Read, Numbers]]:
    single = tuple(e for t in terms for e in one_by_one(t))
    rows = _around(now, single, frozenset({PARTIALS})).rows
    leaves = {leaf_name(leaf): (term, leaf) for term in single for leaf, _ in term.partials}
    for name, (term, leaf) in leaves.items():
        yield term, leaf, rows[AdjointOf(name)]


def weighted(now: Configuration, term: Term) -> Scalar:
    value = weight_of_each(term)
    return now.here(values(now, (value,))[value.name])


# -- one traversal ---------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Around:
    """What triples add up to. ``rows``: sums and partials by name, [n]; ``force``, ``virial`` and ``box`` are empty
    where they were not asked for; ``slopes``: by parameter."""

    rows: Values
    force: tuple
    virial: tuple
    box: tuple
    slopes: tuple[tuple[str, Numbers], ...]


def _around(
    now: Configuration,
    terms: Terms,
    outputs: Outputs,
    values: Quantities = (),
    near: bool = True,
    measures: Measures = (),
) -> Around:
    """The sums over the triples around each row; ``near``: of neighbours within the list. NaN where there are terms and
    an atom has more neighbours than there is room for (`Configuration.legs`)."""
    potential, layout, dtype = now.potential, now.layout, now.potential.dtype
    terms = tuple(e for t in terms for e in one_by_one(t))
    entries = {v.name: [EntryOf(v.name, k) for k in range(size(v.axis))] for v in values if v.axis is not None}
    sums = (
        *(
            (name, v.binders, e)
            for v in values
            for name, e in zip(entries.get(v.name, [v.name]), at_entry(v.summand, v.axis))
        ),
        *((m.name, m.binders, m.summand) for m in measures),
    )
    exprs = [s for _, _, s in sums]
    for term in terms:
        exprs += [
            term.summand,
            *(p for _, p in term.partials),
            *(s for _, s in term.slopes),
            *(c for g in term.gradients for c in g.direct),
        ]
    names = {"x", "species"}.union(*(atom_arrays(e, now.model) for e in exprs))
    arrays = {name: jax.tree.map(potential.cast, now.atoms[name]) for name in names}
    others = jax.tree.map(padded, layout.everywhere(arrays))
    rows = layout.rows()
    nearest = potential.geometry.nearest(cast(now.known.cell, dtype))
    listed = now.slots is not None and near
    slots = (
        now.slots
        if listed
        else (rows + 1 + jnp.arange(max(1, layout.n_atoms - 1), dtype=jnp.int32)[:, None]) % layout.n_atoms
    )
    reach = potential.reach(now.known.params, (*terms, *values, *measures))
    found = legs.near(slots, arrays["x"], others["x"], rows, nearest, reach, now.used if listed else None)
    limited = bool(terms) and now.legs is not None
    capacity = max(1, min(slots.shape[0], now.legs) if limited else slots.shape[0])
    work = TripleSums(now.model, now.known, terms, outputs, sums, nearest, not now.driven)

    def part(columns, there, total):
        """The sums with those of some of the rows."""
        some = legs.Near(found.words[:, columns], jnp.where(there, found.count[columns], 0))
        own = jax.tree.map(lambda v: v[..., columns], arrays)
        most = jnp.minimum(jnp.max(some.count, initial=0), capacity) if now.driven else capacity
        index = legs.picked(some, slots, rows[columns], columns, capacity, most)
        legs_of = legs.legs(index, own["x"], others["x"], nearest, reach, some.count)
        return _scattered(now, work(legs_of, own, others, most), legs_of, columns, rows[columns], outputs, total)

    start = _unscattered(now, work, outputs)
    if now.driven:
        order, there = legs.blocks(found.count)
        total = jax.lax.fori_loop(0, order.shape[0], lambda k, total: part(order[k], there[k], total), start)
    else:
        total = part(rows - rows[0], jnp.ones(rows.shape, bool), start)
    if limited:
        total = marked(total, layout.largest(jnp.max(found.count, initial=0)) <= now.legs)
    return _gathered(now, total, terms, entries)


def _unscattered(now: Configuration, work: TripleSums, outputs: Outputs) -> dict[str, object]:
    """Where the sums begin."""
    rows, every, one = (jnp.zeros(shape, now.dtype) for shape in (now.layout.count, now.layout.total, ()))
    return {
        "rows": {name: rows for name in work.of_rows},
        "ends": {name: every for name in work.of_ends},
        "force": (every,) * (now.dim if FORCE in outputs else 0),
        "virial": (one,) * (now.dim**2 if VIRIAL in outputs else 0),
        "box": (one,) * (len(now.known.cell.leaves) if BOX in outputs else 0),
        "slopes": {name: jnp.zeros(shape, now.dtype) for name, shape in work.of_parameters.items()},
    }


def _scattered(
    now: Configuration,
    found: dict[str, object],
    legs_of: legs.Legs,
    columns,
    rows,
    outputs: Outputs,
    total: dict,
) -> dict[str, object]:
    """``total`` with what the triples around some rows add up to."""
    found = jax.tree.map(lambda v: v.astype(now.dtype), found)

    def scatter(every, values):
        return jax.lax.fori_loop(0, values.shape[0], lambda m, every: every.at[legs_of.index[m]].add(values[m]), every)

    out = dict(total)
    out["rows"] = {name: v.at[columns].add(found[name]) for name, v in total["rows"].items()}
    out["ends"] = {name: scatter(v, found[EndsOf(name)]) for name, v in total["ends"].items()}
    out["slopes"] = {name: v + found[name] for name, v in total["slopes"].items()}
    if ENDS not in found:
        return out
    dim, ends, twist = now.dim, found[ENDS], found.get(TWIST)
    if FORCE in outputs:
        out["force"] = tuple(scatter(v, e).at[rows].add(-jnp.sum(e, axis=0)) for v, e in zip(total["force"], ends))
    if VIRIAL in outputs:
        beyond = [0.0 if twist is None else jnp.sum(t) for t in twist or (None,) * dim**2]
        out["virial"] = tuple(
            v - jnp.sum(legs_of.d[a] * ends[b]) - w
            for v, w, (a, b) in zip(total["virial"], beyond, virial_components(dim))
        )
    if BOX in outputs:
        cell = now.known.cell
        images = fractions(cell, tuple(near - c for near, c in zip(legs_of.d, legs_of.apart)))
        box = list(total["box"])
        for n, (vector, axis) in enumerate(entries_of(cell)):
            box[n] = box[n] + jnp.sum(images[vector] * ends[axis])
            if twist is not None:
                box[n] = box[n] + jnp.sum(fractions(cell, tuple(twist[a * dim + axis] for a in range(dim)))[vector])
        out["box"] = tuple(box)
    return out


def _gathered(now: Configuration, total: dict[str, object], terms: Terms, entries: Mapping[str, list[str]]) -> Around:
    """What came together on this device and the others. ``entries``: of values over a range, the names of their
    rows."""
    layout = now.layout
    force = tuple(layout.gather(v) for v in total["force"])
    virial, box = (tuple(layout.plus(v) for v in total[name]) for name in ("virial", "box"))
    slopes = [
        (leaf.symbol, layout.plus(total["slopes"][SlopeOf(n, k)]))
        for n, term in enumerate(terms if total["slopes"] else ())
        for k, (leaf, _) in enumerate(term.slopes)
    ]
    rows = dict(total["rows"])
    for name, ends in total["ends"].items():
        rows[name] = rows[name] + layout.gather(ends) if name in rows else layout.gather(ends)
    rows |= {name: jnp.stack([rows.pop(e) for e in parts]) for name, parts in entries.items()}
    return Around(rows, force, virial, box, tuple(slopes))
