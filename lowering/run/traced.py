"""A run as one pure function of its key and parameters: what `System.run` is inside JAX transformations.

Steps are scanned between records, each stretch under `jax.checkpoint`, so that reverse mode keeps the states at
records and one stretch of steps. A statement that runs `until` a condition holds goes through its most steps; from
where the condition holds, nothing changes any more. A neighbour list is renewed where it no longer holds; it cannot
grow here, so the records of a run whose list overflowed are NaN.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from mdsl.lowering.dynamics import chunks, observing
from mdsl.lowering.dynamics import counting as edges
from mdsl.lowering.dynamics.device import Dynamics
from mdsl.lowering.dynamics.history import began, looks_back
from mdsl.lowering.dynamics.remat import noted, repeated, spacing, sparing
from mdsl.lowering.dynamics.replicas import anywhere
from mdsl.lowering.dynamics.state import BLOW_UP, FINE, STALE, TOO_SMALL, Inputs, State
from mdsl.lowering.dynamics.step import Step
from mdsl.lowering.dynamics.transfer import columns
from mdsl.lowering.geometry.cell import Cell
from mdsl.lowering.kernels.changing_box import carried, declared
from mdsl.lowering.kernels.globals import complete
from mdsl.lowering.planning.policy import Policy
from mdsl.lowering.traversals.layout import OneDevice
from mdsl.lowering.traversals.potential import marked
from mdsl.lowering.traversals.topologies import inverse
from mdsl.model.box_dependencies import decided_by
from mdsl.model.nodes import Advance

from .members import Members
from .plan import arrange


class Trajectory(NamedTuple):
    """records: name to the values of each statement, arrays [rows] or nested tuples of them; x, v: [N, d], the last in
    the user's order; step, time, cell: the last; outcomes: for each statement its steps and whether its condition holds
    (None: it has none). What is not to be trusted is NaN."""

    records: dict[str, list]
    x: object
    v: object
    step: object
    time: object
    cell: Cell
    outcomes: list[tuple]


def trajectory(
    members: Members,
    policy: Policy,
    key,
    params: Mapping[str, object],
    most_steps: int | None = None,
    x=None,
    v=None,
    cell: Cell | None = None,
) -> Trajectory:
    """The run of a single system as a pure function of ``key``, free parameters, and where given the start [N, d] and
    the box, for use inside transformations.

    How many steps and records there are, and the room of the neighbour list, follow from ``members``, whose parameters
    are numbers.
    """
    with jax.ensure_compile_time_eval():
        arrangement = arrange(members, None, policy)
    lowered, initial = members.lowered, members.first.initial
    follows = (
        cell is None and initial.declared and bool(decided_by(lowered.model) & params.keys())
    )  # the box follows these parameters
    layout, changing = OneDevice(initial.atoms), lowered.changing or follows or cell is not None
    dynamics = replace(arrangement.dynamics, potential=lowered.potential, layout=layout, traced=True, changing=changing)
    inputs = members.inputs(0.0, 0, 0.0)._replace(
        skin=None, key=key, params=jax.tree.map(lambda a: jnp.asarray(a, lowered.dtype), dict(params))
    )
    elsewhere = x is not None
    x, v = (
        columns(bound if given is None else given, lowered.dtype) for bound, given in ((initial.x, x), (initial.v, v))
    )
    if follows:
        cell = declared(lowered.model, complete(lowered.model, inputs.params), 0.0, initial.atoms, lowered.dtype)
        x = carried(x, inputs.cell, cell)
    inputs = inputs if cell is None else inputs._replace(cell=cell)
    images = columns(0 * initial.images if elsewhere else initial.images, lowered.dtype)
    records, state, time, outcomes = _statements(dynamics, inputs, x, v, images, members, most_steps)
    back = inverse(state.ids)
    wrapped, _ = lowered.potential.geometry.wrap(state.x, state.cell or inputs.cell)
    x, v = (marked(jnp.stack(rows, axis=1)[back], state.flag == FINE) for rows in (wrapped, state.v))
    return Trajectory(records, x, v, state.step, time, state.cell or inputs.cell, outcomes)


def _statements(
    dynamics: Dynamics, inputs: Inputs, x: tuple, v: tuple, images: tuple, members: Members, most_steps: int | None
):
    """Records, the final state, the time, and how each statement ended."""
    fits = dynamics.fits(inputs, inputs.cell)  # parameters decide the cutoff, and may the box
    state = dynamics.start(inputs, x, v, images, jnp.int32(0))._replace(flag=jnp.where(fits, FINE, TOO_SMALL))
    if dynamics.plan is not None:
        state = _kept(dynamics.rebuild(inputs, state), state)
    records: dict[str, list] = {}
    outcomes: list[tuple] = []
    t, back = inputs.t, looks_back(dynamics.potential.field)
    for number, advance in enumerate(dynamics.potential.field.dynamics):
        steps, origin = members.steps(advance, most_steps), state.step
        names = {n: members.every(o) for o in advance.outputs if o.kind == "record" for n in o.names}
        now = inputs._replace(t=t, origin=origin)
        if back:
            now = now._replace(began=began(state, t))
        state, dt = _statement(dynamics, now, state, advance, steps, names, records, first=number == 0)
        done = steps if advance.until is None else state.step - origin
        outcomes.append((done, None if advance.until is None else state.met))
        t = t + done * dt
    return records, state, t, outcomes


def _statement(
    dynamics: Dynamics,
    inputs: Inputs,
    state: State,
    advance: Advance,
    steps: int,
    names: Mapping[str, int | None],
    records: dict[str, list],
    first: bool,
):
    step = Step.of(dynamics, advance, inputs)
    parts = step.parts
    observer = observing.observer(dynamics, advance, tuple(names)) if names else None
    memory = chunks.begin(dynamics, advance)(inputs, state) if advance.states else {}
    state = chunks.enter(dynamics, advance, state, memory)._replace(held={})
    if parts.carried:  # what the statement before left may be older than its last positions
        state = _listed(dynamics, inputs, state)
        state = step.evaluated(state, dynamics.known(dynamics.now(inputs, state), inputs.t))

    def turn(state: State):
        if advance.until is None:
            return one_step(state), None
        return lax.cond(state.met, lambda s: s, one_step, state), None

    @sparing
    def one_step(before: State) -> State:
        if dynamics.plan is None:
            before = before._replace(at=before.x, built=before.cell)
        new = step.carried_out(
            parts.body, parts.before, before, step.known(before), listed=lambda s: _listed(dynamics, inputs, s)
        )
        new = step.ended(new._replace(step=before.step + 1, held={}))
        return _sound(dynamics, inputs, new)

    def observe(state: State):
        state = _listed(dynamics, inputs, state)
        values, _ = observer(inputs, state, step.time(state)) if observer else ({}, ())
        return state, marked(values, state.flag == FINE)

    everys = [n for n in names.values() if n is not None]
    base = math.gcd(*everys) if everys else steps
    count = steps // base if base else 0
    start_values = observe(state)[1] if first and everys else {}
    every = spacing(steps, state)

    def segment(state: State):
        return observe(repeated(turn, state, base, every)[0])

    state, rows = repeated(segment, state, count, every // max(1, base))
    if steps - count * base:
        state = repeated(turn, state, steps - count * base, every)[0]
    ends = {n for n, every in names.items() if every is None or advance.until is not None and steps % every}
    end_values = observe(state)[1] if ends else {}
    for name, each in names.items():
        if each is None:
            chosen = jax.tree.map(lambda a: a[None], end_values[name])
        else:
            skip = each // base
            chosen = jax.tree.map(lambda a, skip=skip: a[skip - 1 :: skip], rows[name])
            if name in ends:  # where a condition holds, or may, the last step is recorded
                chosen = jax.tree.map(lambda a, b: jnp.concatenate([a, b[None]]), chosen, end_values[name])
            if first:
                chosen = jax.tree.map(lambda a, b: jnp.concatenate([a[None], b]), start_values[name], chosen)
        records.setdefault(name, []).append(edges.told(chosen, name, dynamics.model, advance))
    return state, step.dt


def _sound(dynamics: Dynamics, inputs: Inputs, new: State) -> State:
    """The new state, flagged where an atom is lost or crossed a good part of the box; a list does that by itself."""
    if dynamics.plan is not None:
        return new
    still = lax.stop_gradient(new._replace(flag=FINE))
    return new._replace(flag=jnp.maximum(new.flag, dynamics.flag(still, inputs)))


def _listed(dynamics: Dynamics, inputs: Inputs, state: State) -> State:
    """The state with a list that holds. Whether it does is no matter of derivatives. Under `vmap` all have a new one
    where any needs it: a condition of each would be a choice between the two, and all would have one at every step."""
    if dynamics.plan is None:
        return state
    still = lax.stop_gradient(state)
    flag = dynamics.flag(still._replace(flag=jnp.int32(FINE)), inputs)
    state = state._replace(flag=jnp.maximum(state.flag, jnp.where(flag >= BLOW_UP, flag, FINE)))
    due = anywhere(flag == STALE)
    return noted(lax.cond(due, lambda s: _kept(dynamics.rebuild(inputs, s), s), lambda s: s, state))


def _kept(new: State, old: State) -> State:
    """The new list, with trouble of an earlier one remembered."""
    return new._replace(flag=jnp.maximum(new.flag, old.flag))
