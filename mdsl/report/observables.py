"""What `mdsl explain` says of observables: their formulas, and what it takes to record them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from mdsl.compiler import Compiled
from mdsl.interpret.species_pairs import pair_constant
from mdsl.lowering.field.field import Measure, PerAtom, Support
from mdsl.lowering.planning.policy import Policy
from mdsl.model.dimensions import LENGTH
from mdsl.model.nodes import Equation, names_in
from mdsl.passes.finite import knows
from mdsl.printing.expressions import text_of

from .energies import by_species, shown

ROUNDING = 1 + 1e-12


def observables(compiled: Compiled, policy: Policy) -> Iterator[tuple[str, str]]:
    """For each observable of the program its formula, and a line for each sum in it."""
    model, field = compiled.model, compiled.field
    for equation in (e for e in model.of_kind("observe") if e.span.source is model.source):
        yield _name(equation), f"= {text_of(model, equation.body)} (line {equation.span.line})"
        reads = names_in(field.combination(equation.name))
        measures = [m for m in field.measures if m.name in reads]
        around = [
            v
            for v in field.needed([e for m in measures for e in (m.summand, m.bin) if e is not None])
            if v.domain is not None
        ]
        said = [
            *("sum around each atom" + (f"; {_reach(compiled, v, policy)}" if v.reaches else "") for v in around),
            *(_words(compiled, m, policy) for m in measures),
        ]
        yield from (("", words) for words in dict.fromkeys(said))
        if "virial" in reads:
            yield "", "the virial is summed up for it, with the energies' derivatives"


def _name(equation: Equation) -> str:
    if equation.series is None:
        return equation.name
    return f"{equation.name}[{equation.binders[0]} in {equation.series.first}..{equation.series.last}]"


def _words(compiled: Compiled, measure: Measure, policy: Policy) -> str:
    domain = measure.domain
    what = domain.visits
    words = f"sum over {what}" if measure.op == "sum" else f"the {measure.op} over {what}"
    if measure.axis is not None:
        count = measure.axis.count
        words = (
            f"histogram over {what}, each visited once"
            if measure.bin is not None
            else f"{words}, for each of the {count} entries in turn"
        )
    return words + (f"; {_reach(compiled, measure, policy)}" if domain.reaches else "")


def _reach(compiled: Compiled, measure: Measure | PerAtom, policy: Policy) -> str:
    """Which pairs are visited, and why."""
    model, support = compiled.model, measure.support
    if support.cutoff is None:
        return f"all pairs are visited: {support.why or 'no end is known'}"
    ends, energies = (
        _cutoff(compiled, support, measure.binders),
        [_cutoff(compiled, t.support, t.domain.binders) for t in compiled.field.reaching],
    )
    if ends is None or any(e is None for e in energies):
        return "which list holds them is known when the run starts"
    beyond = f"0 for r >= {by_species(model, ends, model.units.dimension(LENGTH))}"
    farthest = max((float(np.max(e)) for e in energies), default=0.0)
    if measure.near or np.max(ends) <= farthest * ROUNDING:
        return f"{beyond}: the list of the energies has them"
    return (
        f"{beyond}, beyond the energies' {shown(model, farthest, model.units.dimension(LENGTH))}: above "
        f"{policy.all_pairs} atoms by a list of their own, if it is shorter than all pairs"
    )


def _cutoff(compiled: Compiled, support: Support, binders: tuple[str, ...]) -> np.ndarray | None:
    """Where a sum ends, for each pair of species, at default parameters; None where that is not known."""
    if support.cutoff is None or not knows(compiled.model, support.cutoff):
        return None
    return pair_constant(compiled.model, support.cutoff, binders[:2])
