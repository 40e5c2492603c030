"""What can be recorded of a state: energies, observables and built-in quantities.

Sums that reach farther than the energies do not find all their pairs in the neighbour list. Where such a sum is
proved to end somewhere all the same, a list of its own is built for it at each record; otherwise it visits all pairs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp

from mdsl.lowering.field.field import Combination, Field, Measure
from mdsl.lowering.field.series import ENTRY
from mdsl.lowering.kernels.globals import Globals
from mdsl.lowering.kernels.pair_kernel import ENERGY, FORCE, NOTHING, VIRIAL
from mdsl.lowering.kernels.ranges import numbers
from mdsl.lowering.planning.capacity import Plan
from mdsl.lowering.potential.evaluation import evaluate
from mdsl.lowering.potential.series_sums import series_sums
from mdsl.lowering.traversals.configuration import Configuration
from mdsl.lowering.traversals.potential import Potential
from mdsl.lowering.traversals.topologies import IDS
from mdsl.model.nodes import Advance, Read, names_in

from . import counting as edges
from .device import Dynamics
from .state import STATE, Inputs, State
from .step import with_memory

if TYPE_CHECKING:
    from mdsl.lowering.arrays import Params, Values

# -- how far sums reach ----------------------------------------------------------------------------------


def reaches(potential: Potential, params: Params) -> dict[str, float]:
    """Where the sums for observables end, at these parameters; without those that are not proved to end."""
    found = {
        s.name: potential.reach(params, (s,))
        for s in (*potential.field.measures, *potential.field.values)
        if s.support.cutoff is not None
    }
    return {name: float(reach) for name, reach in found.items()}


def within(field: Field, ends: Mapping[str, float], radius: float) -> Field:
    """The field in which the sums that end at ``radius`` or before find all their pairs in the list."""

    def near(sums):
        return tuple(replace(s, near=s.near or ends.get(s.name, math.inf) <= radius) for s in sums)

    return replace(field, measures=near(field.measures), values=near(field.values))


@dataclass(frozen=True, eq=False)
class Beyond:
    """A list for sums that reach farther than the energies, to ``radius``; to ``potential`` they are near. ``plan``
    None: not made yet."""

    potential: Potential
    radius: float
    plan: Plan | None = None


def farther(potential: Potential, names: tuple[str, ...], ends: Mapping[str, float]) -> Beyond:
    """What a list of their own has to hold for these observables; its radius is infinite where none of their sums would
    find all its pairs there."""
    field = potential.field
    measures = Wanted.of(field, names).measures
    sums = [
        s
        for s in (*measures, *field.needed([e for m in measures for e in (m.summand, m.bin) if e is not None]))
        if not s.near and s.name in ends
    ]
    radius = max((ends[s.name] for s in sums), default=math.inf) * (1 + 1e-6)
    return Beyond(replace(potential, field=within(field, ends, radius)), radius)


# -- observing -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Wanted:
    """What some names are made of."""

    combinations: tuple[Combination, ...]
    reads: frozenset[str]
    measures: tuple[Measure, ...]

    @classmethod
    def of(cls, field: Field, names: tuple[str, ...], advance: Advance | None = None) -> Wanted:
        own = {e.name: Combination(e.name, "observe", e.body) for e in (advance.observes if advance else ())}
        combinations = tuple(own.get(n) or field.combination(n) or Combination(n, "builtin", Read(n)) for n in names)
        reads = frozenset(names_in(combinations))
        return cls(combinations, reads, tuple(m for m in field.measures if m.name in reads))

    def of_one(self, combination: Combination) -> tuple[Measure, ...]:
        """The sums of one of them."""
        names = names_in(combination)
        return tuple(m for m in self.measures if m.name in names)


def observer(dynamics: Dynamics, advance: Advance, names: tuple[str, ...], more: Beyond | None = None):
    """``observer(inputs, state, t) -> {name: value}, needed``, while a statement is under way: the value of an
    observable over a range is an array [K, ...]. ``needed``: the capacities that the list of ``more`` needed, ()
    without."""
    layout, field = dynamics.layout, dynamics.potential.field
    wanted = Wanted.of(field, names, advance)
    outputs = {ENERGY} if any(t.name in wanted.reads for t in field.terms) or "potential" in wanted.reads else set()
    outputs |= {VIRIAL} if "virial" in wanted.reads else set()
    forces = "f" in names_in(tuple(_summands(wanted.measures)))
    gaining = {m.number for m in wanted.measures if more is not None and _gains(m, field, more.potential.field)}
    listed = tuple(m for m in wanted.measures if m.number not in gaining)
    counted = (
        {c.name: by for c in wanted.combinations if (by := edges.deciding(field, c, wanted.of_one(c)))}
        if dynamics.traced
        else {}
    )
    farther = tuple(m for m in more.potential.field.measures if m.number in gaining) if gaining else ()

    def observe(inputs: Inputs, state: State, t):
        inputs = dynamics.now(inputs, state)
        memory = {s.name: state.kept[s.name] for s in advance.states}
        known = with_memory(dynamics.known(inputs, t), memory, advance.states)
        if forces:  # those of the state may be older than its positions
            state = state._replace(f=dynamics.evaluated(state, inputs, known, frozenset({FORCE})).force)
        result = dynamics.evaluated(state, inputs, known, frozenset(outputs), _single(listed))
        sums = {**result.sums, **series_sums(dynamics.configuration(state, inputs, known), _series(listed))}
        needed = ()
        if farther:
            atoms, slots, needed = _listed(more, layout, dynamics.atoms(state, inputs), inputs.cell)
            now = Configuration.of(more.potential, known, atoms, slots, layout, needed.slots)
            sums |= {**evaluate(now, NOTHING, _single(farther)).sums, **series_sums(now, _series(farther))}
        known.more = {**known.more, **sums, "virial": result.tensor}
        if "potential" in wanted.reads:
            known.more["potential"] = sum(known.value(c.expr) for c in field.combinations if c.kind == "energy")
        found = {c.name: _recorded(dynamics, c, known) for c in wanted.combinations}
        return found | {
            n: edges.Counted(found[n], edges.decided(by, state, inputs, known)) for n, by in counted.items()
        }, needed

    return layout.program(observe, ("inputs", STATE, "all"), "all")


def _summands(measures: tuple[Measure, ...]):
    return [e for m in measures for e in (m.summand, m.bin) if e is not None]


def _single(measures: tuple[Measure, ...]) -> tuple[Measure, ...]:
    return tuple(m for m in measures if m.axis is None)


def _series(measures: tuple[Measure, ...]) -> tuple[Measure, ...]:
    return tuple(m for m in measures if m.axis is not None)


def _gains(measure: Measure, field: Field, longer: Field) -> bool:
    """Whether a longer list has pairs for a measure, or for what it needs, that visit all of them without."""

    def far(f: Field) -> int:
        mine = next(m for m in f.measures if m.number == measure.number)
        return (mine.domain.reaches and not mine.near) + sum(
            v.reaches and not v.near for v in f.needed(_summands((mine,)))
        )

    return far(longer) < far(field)


def _listed(more: Beyond, layout, atoms: Values, cell):
    """The atoms in the order of the longer list, its slots, and the capacities that it needed."""
    every = jax.tree.map(lambda a: a[: layout.n_atoms], layout.everywhere(dict(atoms)))
    x, _ = more.potential.geometry.wrap(every["x"], cell)
    found = layout.build(more.plan, tuple(c.astype(more.potential.dtype) for c in x), cell, more.radius)
    ordered = jax.tree.map(lambda a: a[found.order], every | {"x": x})
    return (
        layout.local(ordered),
        more.potential.without_excluded(found.slots, ordered[IDS], layout.rows()),
        found.needed,
    )


def _recorded(dynamics: Dynamics, combination: Combination, known: Globals):
    """The value of an observable; of one over a range an array [K, ...]."""
    equation = dynamics.model.equation(combination.name)
    if equation is None or equation.series is None:
        return jax.tree.map(jnp.asarray, known.value(combination.expr))
    entries = numbers(equation.series, dynamics.dtype)
    value = replace(known, more={**known.more, ENTRY: entries}).value(combination.expr)
    value = jax.tree.map(lambda a: jnp.broadcast_to(jnp.asarray(a, dynamics.dtype), entries.shape), value)
    while isinstance(value, tuple):
        value = (
            jax.tree.map(lambda *a: jnp.stack(a, -1), *value) if isinstance(value[0], tuple) else jnp.stack(value, -1)
        )
    return value
