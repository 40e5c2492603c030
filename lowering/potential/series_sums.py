"""The sums of observables that have an entry for each number of a range."""

from __future__ import annotations

from dataclasses import replace

import jax
import jax.numpy as jnp
from jax import lax

from mdsl.lowering.field.field import Measure
from mdsl.lowering.field.series import ENTRY, size
from mdsl.lowering.geometry.cell import cast
from mdsl.lowering.kernels.accumulate import Total, scattered
from mdsl.lowering.kernels.pair_kernel import NOTHING, atom_values
from mdsl.lowering.kernels.ranges import numbers
from mdsl.lowering.traversals.schedules import all_pairs_fold, slot_fold
from mdsl.model.domains import Each, Members
from mdsl.model.nodes import Axis

from .adjoints import with_values
from .configuration import Configuration
from .evaluation import evaluate, with_inner


def series_sums(now: Configuration, measures: tuple[Measure, ...]) -> dict[str, object]:
    """``{name: [K]}``, or tuples of [K], for measures that have an axis.

    Histograms visit what they sum over once. The others are evaluated in a loop over the entries.
    """
    # Per-atom values are the same for all entries.
    now = with_inner(now, [e for m in measures for e in (m.summand, m.bin) if e is not None])
    now = with_values(now, now.field.needed([e for m in measures for e in (m.summand, m.bin) if e is not None]))
    found: dict[str, object] = {}
    same: dict[Measure, Measure] = {}  # two observables may hold the same sum
    for measure in measures:
        first = same.setdefault(replace(measure, number=0, equation=""), measure)
        if first is not measure:
            found[measure.name] = first
    unique = tuple(same.values())
    for measure in (m for m in unique if m.bin is not None):
        found[measure.name] = _histogram(now, measure)
    for axis in dict.fromkeys(m.axis for m in unique if m.bin is None):
        some = tuple(m for m in unique if m.bin is None and m.axis == axis)

        def entry(k, some=some):
            known = replace(now.known, more={**now.known.more, ENTRY: k})
            sums = evaluate(replace(now, known=known), NOTHING, some).sums
            return {m.name: sums[m.name] for m in some}

        found |= lax.map(entry, numbers(axis, now.dtype))
    return {name: found[value.name] if isinstance(value, Measure) else value for name, value in found.items()}


def _histogram(now: Configuration, measure: Measure):
    """[K]: the summand of what is summed over, each added to the entry of its bin."""
    layout = now.layout
    match measure.domain:
        case Each():
            bins, values = (
                atom_values(e, measure.domain.binders[0], now.known, now.atoms, now.nearest)
                for e in (measure.bin, measure.summand)
            )
            here = layout.rows() < layout.n_atoms
            return layout.across(_binned(measure.axis, bins, values, here, now.dtype))
        case Members():
            tuples = now.tuples((measure.summand, measure.bin))
            bins, values = (
                tuples.filled(measure.domain, tuples.value(measure.domain, e)) for e in (measure.bin, measure.summand)
            )
            return _binned(measure.axis, bins, values, True, now.dtype)
    return _pairs(now, measure)


def _pairs(now: Configuration, measure: Measure):
    """A histogram over pairs, each seen from both of its atoms."""
    potential, layout = now.potential, now.layout
    weight, bin = replace(measure, number=0, bin=None), replace(measure, number=1, summand=measure.bin, bin=None)
    excluded, listed = frozenset(measure.domain.excluded), measure.near and now.slots is not None
    kernel = potential.kernel(NOTHING, (), (weight, bin), (), not listed and bool(excluded))
    own = {name: jax.tree.map(potential.cast, now.atoms[name]) for name in {"x"} | kernel.atom_reads}
    nearest = potential.geometry.nearest(cast(now.known.cell, potential.dtype))
    body = kernel.body(now.known, nearest, jnp.asarray(1.0, potential.dtype))
    zeros = kernel.zeros(own["x"][0], now.known.cell)

    def into(total, increments, valid):
        found = _binned(measure.axis, increments[bin.name], increments[weight.name], valid, now.dtype)
        return jax.tree.map(Total.plus, total, found, is_leaf=lambda v: isinstance(v, Total))

    rows, empty = layout.rows(), jnp.zeros(size(measure.axis), now.dtype)
    start = jax.tree.map(lambda _: Total.of(empty), zeros[weight.name])
    others = layout.everywhere(own)
    if listed:
        total = slot_fold(body, now.slots_without(excluded), own, others, start, into, rows=rows, used=now.used)
    else:
        others = jax.tree.map(lambda a: a[..., : layout.n_atoms], others)
        total = all_pairs_fold(
            body, own, others, start, into, rows=rows, last=layout.n_atoms, excluded=now.left_out(excluded)
        )
    return jax.tree.map(lambda t: layout.across(t.value) / 2, total, is_leaf=lambda v: isinstance(v, Total))


def _binned(axis: Axis, bins, values, valid, dtype):
    """[K] for each component of values: these, added at their bins, where these are numbers of the range."""
    count = size(axis)
    place = jnp.asarray(bins) - axis.first
    hit = valid & (place == jnp.floor(place)) & (place >= 0) & (place < count)
    index = jnp.where(hit, place, count).astype(jnp.int32)  # the others go beyond the end
    shape = jnp.broadcast_shapes(index.shape, *(jnp.shape(v) for v in jax.tree.leaves(values)), jnp.shape(hit))
    index, hit = jnp.broadcast_to(index, shape).ravel(), jnp.broadcast_to(hit, shape).ravel()

    def add(v):
        return scattered((count + 1,), (index,), jnp.where(hit, jnp.broadcast_to(v, shape).ravel(), 0).astype(dtype))[
            :count
        ]

    return jax.tree.map(add, values)
