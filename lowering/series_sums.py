"""The sums of observables that have an entry for each number of a range."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import jax
import jax.numpy as jnp
from jax import lax

from mdsl.model import Axis

from .cell import cast
from .evaluation import Evaluation
from .field import Measure
from .kernels import atom_values
from .layout import Layout
from .potential import Potential
from .ranges import numbers
from .series import ENTRY
from .topologies import IDS, TupleSums, inverse, reads
from .traversal import all_pairs_fold, slot_fold
from .values import Globals


def series_sums(potential: Potential, known: Globals, atoms: Mapping[str, object], slots, measures: tuple[Measure, ...], layout: Layout, used=None) -> dict[str, object]:
    """``{"#k": [K]}``, or tuples of [K], for measures that have an axis; arguments as of `Potential.evaluate`.

    Histograms visit what they sum over once. The others are evaluated in a loop over the entries.
    """
    # Per-atom values are the same for all entries.
    work = Evaluation(potential, known, atoms, slots, layout, used, driven=False)
    work.values(potential.field.needed([e for m in measures for e in (m.summand, m.bin) if e is not None]))
    atoms = work.atoms
    found: dict[str, object] = {}
    same: dict[Measure, Measure] = {}  # two observables may hold the same sum
    for measure in measures:
        first = same.setdefault(replace(measure, number=0, equation=""), measure)
        if first is not measure:
            found[f"#{measure.number}"] = first
    unique = tuple(same.values())
    for measure in (m for m in unique if m.bin is not None):
        found[f"#{measure.number}"] = _histogram(potential, known, atoms, slots, measure, layout, used)
    for axis in dict.fromkeys(m.axis for m in unique if m.bin is None):
        some = tuple(m for m in unique if m.bin is None and m.axis == axis)

        def entry(k, some=some):
            at = replace(known, more={**known.more, ENTRY: k})
            sums = potential.evaluate(at, atoms, slots, frozenset(), some, layout, used).sums
            return {f"#{m.number}": sums[f"#{m.number}"] for m in some}

        found |= lax.map(entry, numbers(axis, atoms["x"][0].dtype))
    return {name: found[f"#{value.number}"] if isinstance(value, Measure) else value for name, value in found.items()}


def _histogram(potential: Potential, known: Globals, atoms: Mapping[str, object], slots, measure: Measure, layout: Layout, used):
    """[K]: the summand of what is summed over, each added to the entry of its bin."""
    match measure.domain.kind:
        case "each":
            nearest = potential.geometry.nearest(known.cell)
            bins, values = (atom_values(e, measure.domain.binders[0], known, atoms, nearest) for e in (measure.bin, measure.summand))
            here = layout.rows() < layout.n_atoms
            return layout.across(_added(_empty(measure, values, atoms["x"][0].dtype), measure.axis, bins, values, here))
        case "members":
            wanted = {"x", "species", *reads(measure.summand), *reads(measure.bin)}
            ids = layout.everywhere(atoms[IDS])[: layout.n_atoms]
            everyone = jax.tree.map(lambda a: a[..., : layout.n_atoms], layout.everywhere({n: atoms[n] for n in atoms if n in wanted}))
            tuples = TupleSums(potential.model, potential.topologies, known, everyone, inverse(ids), potential.geometry.nearest(known.cell))
            bins, values = (tuples.filled(measure.domain, tuples.value(measure.domain, e)) for e in (measure.bin, measure.summand))
            return _added(_empty(measure, values, atoms["x"][0].dtype), measure.axis, bins, values, True)
    return _pairs(potential, known, atoms, slots, measure, layout, used)


def _pairs(potential: Potential, known: Globals, atoms: Mapping[str, object], slots, measure: Measure, layout: Layout, used):
    """A histogram over pairs, each seen from both of its atoms."""
    weight, bin = replace(measure, number=0, bin=None), replace(measure, number=1, summand=measure.bin, bin=None)
    if not measure.near:  # the list does not hold all the pairs
        slots = None
    excluded = frozenset(measure.domain.excluded)
    kernel = potential.kernel(frozenset(), (), (weight, bin), (), slots is None and bool(excluded))
    own = {name: jax.tree.map(potential.cast, atoms[name]) for name in {"x"} | kernel.atom_reads}
    nearest = potential.geometry.nearest(cast(known.cell, potential.dtype))
    body = kernel.body(known, nearest, jnp.asarray(1.0, potential.dtype))
    zeros = kernel.zeros(own["x"][0], known.cell)

    def into(total, increments, valid):
        return _added(total, measure.axis, increments["#1"], increments["#0"], valid)

    rows, start = layout.rows(), _empty(measure, zeros["#0"], potential.dtype)
    others = layout.everywhere(own)
    place = inverse(layout.everywhere(atoms[IDS])[: layout.n_atoms]) if excluded else None
    if slots is None:
        left_out = potential.topologies.excluded(excluded, place, atoms[IDS]) if excluded else None
        others = jax.tree.map(lambda a: a[..., : layout.n_atoms], others)
        total = all_pairs_fold(body, own, others, start, into, rows=rows, last=layout.n_atoms, excluded=left_out)
    else:
        if excluded - potential.always_excluded:
            slots = potential.topologies.without(slots, excluded - potential.always_excluded, place, atoms[IDS], rows)
        total = slot_fold(body, slots, own, others, start, into, rows=rows, used=used)
    return jax.tree.map(lambda v: layout.across(v.astype(atoms["x"][0].dtype)) / 2, total)


def _empty(measure: Measure, like, dtype):
    """Zeros [K] for each component of a value."""
    return jax.tree.map(lambda _: jnp.zeros(measure.axis.last + 1 - measure.axis.first, dtype), like, is_leaf=lambda v: not isinstance(v, tuple))


def _added(total, axis: Axis, bins, values, valid):
    """The histogram with values added at their bins, where these are numbers of the range."""
    count = axis.last + 1 - axis.first
    place = jnp.asarray(bins) - axis.first
    hit = valid & (place == jnp.floor(place)) & (place >= 0) & (place < count)
    index = jnp.where(hit, place, count).astype(jnp.int32)  # the others go beyond the end
    shape = jnp.broadcast_shapes(index.shape, *(jnp.shape(v) for v in jax.tree.leaves(values)), jnp.shape(hit))
    index, hit = jnp.broadcast_to(index, shape).ravel(), jnp.broadcast_to(hit, shape).ravel()

    def add(t, v):
        return t.at[index].add(jnp.where(hit, jnp.broadcast_to(v, shape).ravel(), 0).astype(t.dtype), mode="drop")

    return jax.tree.map(add, total, values)
