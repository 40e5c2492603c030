"""Sums over pairs of atoms, and over the other atoms around each: all terms, measures and per-atom values that leave
out the same pairs, in one traversal."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np

from mdsl.lowering.field.field import Measure, Term
from mdsl.lowering.field.names import PartialOf, SlopeOf
from mdsl.lowering.field.series import size
from mdsl.lowering.geometry.cell import cast
from mdsl.lowering.kernels.accumulate import Total, binned
from mdsl.lowering.kernels.pair_kernel import BOX, FORCE, NOTHING, PARTIALS, SLOPES, VIRIAL, PairKernel
from mdsl.lowering.planning.on_host import widths, with_images
from mdsl.model.domains import Domain, Others, Pairs
from mdsl.model.nodes import Read
from mdsl.start.initial import Initial

from .configuration import Configuration
from .pair_sum import pair_sum
from .schedules import all_pairs_fold, listed_sum, slot_fold, unlisted_sum
from .topologies import IDS, Topologies
from .totals import Measures, Outputs, Quantities, Terms, Totals, by_parameter, weight_of_each

if TYPE_CHECKING:
    from mdsl.lowering.arrays import Numbers, Scalar, Slots, Value, Values

FEW_ATOMS = 300  # all of whose pairs are looked at sooner (8 ms) than SciPy's trees are imported (0.2 s)
OVER = (Pairs, Others)
BY_ROWS = True


def values(now: Configuration, wanted: Quantities) -> Values:
    rows: dict[str, Value] = {}
    for excluded, same in _by_exclusions(now, wanted):
        for near in (True, False):
            if some := tuple(v for v in same if now.holds(v.near) == near):
                rows |= _rows(now, NOTHING, (), excluded, values=some, near=near)
    return rows


def totals(now: Configuration, outputs: Outputs, terms: Terms, measures: Measures, found: Totals) -> Totals:
    for excluded, own, wanted in _by_exclusions(now, terms, measures):
        far = tuple(m for m in wanted if not now.holds(m.near))
        if far:  # the list does not hold all the pairs that these sums are over
            found = found.plus(sums=_sums(now, _rows(now, NOTHING, (), excluded, far, near=False), far))
        near = tuple(m for m in wanted if now.holds(m.near))
        if own or near:
            rows = _rows(now, outputs, own, excluded, near)
            found = _with_outputs(now, rows, outputs, own, found.plus(sums=_sums(now, rows, (*own, *near))))
    return found


def _sums(now: Configuration, rows: Values, sums: Iterable[Term | Measure]) -> dict[str, Value]:
    """The sums from those of each row, in which every pair stands twice."""
    return {s.name: jax.tree.map(lambda v: now.layout.add(v) / 2, rows[s.name]) for s in sums if s.name in rows}


def _with_outputs(now: Configuration, rows: Values, outputs: Outputs, terms: Terms, found: Totals) -> Totals:
    halves = lambda name: [now.layout.add(v) / 2 for v in rows[name]] if name in outputs else ()  # noqa: E731
    slopes = [
        (leaf.symbol, by_parameter(now, leaf, term, tuple(v / 2 for v in rows[SlopeOf(n, k)])))
        for n, term in enumerate(terms if SLOPES in outputs else ())
        for k, (leaf, _) in enumerate(term.slopes)
    ]
    return found.plus(rows[FORCE] if FORCE in outputs else (), halves(VIRIAL), halves(BOX), slopes=slopes)


def partials(now: Configuration, terms: Terms) -> Iterator[tuple[Term, Read, Numbers]]:
    for excluded, some in _by_exclusions(now, terms):
        rows = _rows(now, frozenset({PARTIALS}), some, excluded)
        for n, term in enumerate(some):
            for k, (leaf, _) in enumerate(term.partials):
                yield term, leaf, rows[PartialOf(n, k)]


def weighted(now: Configuration, term: Term) -> Scalar:
    value = weight_of_each(term)
    return now.here(values(now, (value,))[value.name]) / 2  # every pair is seen from both of its atoms


def histogram(now: Configuration, measure: Measure) -> Value:
    weight, bin = replace(measure, number=0, bin=None), replace(measure, number=1, summand=measure.bin, bin=None)
    pairs = Visit.of(now, NOTHING, (), frozenset(measure.domain.excluded), (weight, bin), near=measure.near)

    def into(total, increments, valid):
        found = binned(measure.axis, increments[bin.name], increments[weight.name], valid, now.dtype)
        return jax.tree.map(Total.plus, total, found, is_leaf=lambda v: isinstance(v, Total))

    empty = jnp.zeros(size(measure.axis), now.dtype)
    start = jax.tree.map(lambda _: Total.of(empty), pairs.zeros[weight.name])
    loop, rows = (pairs.own, pairs.others, start, into), now.layout.rows()
    if pairs.slots is not None:
        total = slot_fold(pairs.body, pairs.slots, *loop, rows=rows, used=now.used)
    else:
        total = all_pairs_fold(pairs.body, *loop, rows=rows, last=now.layout.n_atoms, excluded=pairs.excluded)
    return jax.tree.map(lambda t: now.layout.across(t.value) / 2, total, is_leaf=lambda v: isinstance(v, Total))


def suspects(domain: Domain, initial: Initial, x: np.ndarray) -> tuple[np.ndarray, ...]:
    """The nearest neighbour of each atom, and all pairs of few atoms."""
    if len(x) < 2:
        return np.empty(0, int), np.empty(0, int)
    topologies, excluded = Topologies(initial.topologies, len(x)), frozenset(domain.excluded)
    partners = topologies.partners(excluded) if excluded else np.empty((0, len(x)), int)
    if len(x) <= FEW_ATOMS:
        first, other = np.triu_indices(len(x), 1)
        kept = (partners[:, first] != other).all(axis=0)
        return first[kept], other[kept]
    if not np.isfinite(x).all():
        return np.empty(0, int), np.empty(0, int)
    from scipy.spatial import cKDTree  # slow to import

    # Images within a third of the box of it, in case the nearest neighbour of an atom is one of them.
    points, owner = with_images(x, initial.cell, initial.periodic, float(np.min(widths(initial.cell))) / 3)
    _, near = cKDTree(points).query(points[: len(x)], k=min(2 + len(partners), len(x)))
    first = np.repeat(np.arange(len(x)), near.shape[1])
    other = owner[near.ravel()]
    kept = (first != other) & (partners[:, first] != other).all(axis=0)
    first, other = first[kept], other[kept]
    return np.minimum(first, other), np.maximum(first, other)


# -- one traversal ---------------------------------------------------------------------------------------


def _by_exclusions(now: Configuration, *groups: tuple) -> Iterator[tuple]:
    """The topologies whose pairs some sums leave out, and these sums of each group."""
    for excluded in now.potential.exclusions:
        some = [tuple(s for s in group if frozenset(s.domain.excluded) == excluded) for group in groups]
        if any(some):
            yield excluded, *some


@dataclass(frozen=True, eq=False)
class Visit:
    """What a loop over pairs takes: the kernel, and what it is for these parameters, a function; what it reads of rows
    and of others, where its sums begin, and which pairs there are: a list [K, n], or all but those ``excluded``
    [E, n]."""

    kernel: PairKernel
    body: Callable
    own: Values
    others: Values
    zeros: Values
    slots: Slots | None
    excluded: Numbers | None

    @classmethod
    def of(
        cls,
        now: Configuration,
        outputs: Outputs,
        terms: Terms,
        excluded: frozenset[str],
        measures: Measures = (),
        values: Quantities = (),
        near: bool = True,
    ) -> Visit:
        """Of terms, measures and values that leave out ``excluded``; ``near``: within the list."""
        potential, listed = now.potential, near and now.slots is not None
        kernel = potential.kernel(outputs, terms, measures, values, not listed and bool(excluded))
        own = {name: jax.tree.map(potential.cast, now.atoms[name]) for name in {"x"} | kernel.atom_reads}
        # An atom with itself is no pair; it is given a distance at which every term is regular.
        reach = potential.reach(now.known.params, (*terms, *values))
        safe = 1.0 if reach is None else jnp.where(jnp.isfinite(reach) & (reach > 0), (2 * reach) ** 2, 1.0)
        nearest = potential.geometry.nearest(cast(now.known.cell, potential.dtype))
        body = kernel.body(now.known, nearest, jnp.asarray(safe, potential.dtype))
        others, zeros = now.layout.everywhere(own), kernel.zeros(own["x"][0], now.known.cell)
        topologies, still_in = potential.topologies, excluded - potential.always_excluded
        if not listed:
            others = jax.tree.map(lambda a: a[..., : now.layout.n_atoms], others)
            left_out = topologies.excluded(excluded, now.place, now.atoms[IDS]) if excluded else None
            return cls(kernel, body, own, others, zeros, None, left_out)
        slots = now.slots
        if still_in:
            slots = topologies.without(slots, still_in, now.place, now.atoms[IDS], now.layout.rows())
        return cls(kernel, body, own, others, zeros, slots, None)


def _rows(now: Configuration, *what, **more) -> dict[str, Value]:
    """The sums over each row, [n], by the names of `pair_kernel`. Every pair is seen from both of its atoms."""
    pairs, rows = Visit.of(now, *what, **more), now.layout.rows()
    if now.seen is not None:
        return now.seen(pairs)
    # Quantities over a range have several numbers for each atom, which only the loops themselves know.
    if now.differentiable and all(a.ndim == 1 for a in jax.tree.leaves((pairs.own, pairs.zeros))):
        found = pair_sum(pairs.body, pairs.slots, pairs.own, pairs.zeros, excluded=pairs.excluded)
    elif pairs.slots is not None:
        loop = (pairs.body, pairs.slots, pairs.own, pairs.others, pairs.zeros)
        found = listed_sum(*loop, rows=rows, used=now.used, lengths=now.lengths)
    else:
        loop = (pairs.body, pairs.own, pairs.others, pairs.zeros)
        found = unlisted_sum(*loop, rows=rows, excluded=pairs.excluded)
    return jax.tree.map(lambda v: v.astype(now.dtype), found)
