"""The sums of observables that have an entry for each number of a range."""

from __future__ import annotations

from dataclasses import replace

from jax import lax

from mdsl.lowering.field.field import Measure
from mdsl.lowering.field.series import ENTRY
from mdsl.lowering.kernels.pair_kernel import NOTHING
from mdsl.lowering.kernels.ranges import numbers
from mdsl.lowering.traversals.configuration import Configuration
from mdsl.lowering.traversals.domains import over

from .adjoints import with_values
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
        found[measure.name] = over(measure).histogram(now, measure)
    for axis in dict.fromkeys(m.axis for m in unique if m.bin is None):
        some = tuple(m for m in unique if m.bin is None and m.axis == axis)

        def entry(k, some=some):
            known = replace(now.known, more={**now.known.more, ENTRY: k})
            sums = evaluate(replace(now, known=known), NOTHING, some).sums
            return {m.name: sums[m.name] for m in some}

        found |= lax.map(entry, numbers(axis, now.dtype))
    return {name: found[value.name] if isinstance(value, Measure) else value for name, value in found.items()}
