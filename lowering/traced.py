"""A run as one pure function of its key and parameters: what `System.run` is inside JAX transformations.

Steps are scanned between records, each stretch under `jax.checkpoint`, so that reverse mode keeps the states at
records and one stretch of steps. A statement that runs `until` a condition holds goes through its most steps; from
where the condition holds, nothing changes any more. A neighbour list is renewed where it no longer holds; it cannot grow here, so
the records of a run whose list overflowed are NaN.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import jax
import jax.numpy as jnp
from jax import lax

from mdsl.model import Advance

from . import edges, observing
from .dynamics import BLOW_UP, FINE, STALE, TOO_SMALL, Dynamics, Inputs, State
from .kept import noted, repeated, spacing, sparing
from .potential import marked


def trajectory(dynamics: Dynamics, inputs: Inputs, x: tuple, v: tuple, statements: tuple[tuple[Advance, int, dict[str, int | None]], ...]):
    """Records and the final state of a run.

    ``statements``: each statement of dynamics with its number of steps and, by recorded name, every how many
    steps (None: at the end). Returns ``{name: [value, ...]}`` with an array [rows, ...] for each statement, State, the
    time, and for each statement its steps and whether its condition holds (None: it has none).
    """
    zeros = tuple(jnp.zeros_like(c) for c in x)
    fits = dynamics.fits(inputs, inputs.cell)  # parameters decide the cutoff, and may the box
    state = dynamics.start(inputs, x, v, zeros, jnp.int32(0))._replace(flag=jnp.where(fits, FINE, TOO_SMALL))
    if dynamics.plan is not None:
        state = _kept(dynamics.rebuild(inputs, state), state)
    records: dict[str, list] = {}
    outcomes: list[tuple] = []
    t = inputs.t
    for number, (advance, steps, names) in enumerate(statements):
        origin = state.step
        now = inputs._replace(t=t, origin=origin)
        if dynamics.looks_back:
            now = now._replace(began=dynamics.began(state, now, t))
        state, dt = _statement(dynamics, now, state, advance, steps, names, records, first=number == 0)
        done = steps if advance.until is None else state.step - origin
        outcomes.append((done, None if advance.until is None else state.met))
        t = t + done * dt
    return records, state, t, outcomes


def _statement(dynamics: Dynamics, inputs: Inputs, state: State, advance: Advance, steps: int, names: Mapping[str, int | None], records: dict[str, list], first: bool):
    known = dynamics.known(inputs, inputs.t)
    dt = known.value(advance.dt) if advance.dt is not None else 0.0
    parts = dynamics.cut(advance)
    observer = observing.observer(dynamics, advance, tuple(names)) if names else None
    memory = dynamics.begin(advance)(inputs, state) if advance.states else {}
    state = dynamics.enter(advance, state, memory)._replace(held={})
    if parts.carried:  # what the statement before left may be older than its last positions
        state = _listed(dynamics, inputs, state)
        state = dynamics.refreshed(parts, state, inputs, dynamics.known(dynamics.now(inputs, state), inputs.t), advance.states)

    def at(state: State):
        return dynamics.known(dynamics.now(inputs, state), inputs.t + (state.step - inputs.origin).astype(dynamics.dtype) * dt, known.params)

    def step(state: State):
        if advance.until is None:
            return one_step(state), None
        return lax.cond(state.met, lambda s: s, one_step, state), None

    @sparing
    def one_step(before: State) -> State:
        state = before
        new = dynamics.carry_out(advance, parts, parts.body, parts.before, state, inputs, at(state), listed=lambda s: _listed(dynamics, inputs, s))
        new = new._replace(step=state.step + 1, held={})
        if dynamics.deforming:
            new = dynamics.deformed(new, inputs, at(new))
        return _sound(dynamics, inputs, new, before)

    def observe(state: State):
        state = _listed(dynamics, inputs, state)
        values, _ = observer(inputs, state, inputs.t + (state.step - inputs.origin).astype(dynamics.dtype) * dt) if observer else ({}, ())
        return state, marked(values, state.flag == FINE)

    everys = [n for n in names.values() if n is not None]
    base = math.gcd(*everys) if everys else steps
    count = steps // base if base else 0
    start_values = observe(state)[1] if first and everys else {}
    every = spacing(steps, state)

    def segment(state: State):
        return observe(repeated(step, state, base, every)[0])

    state, rows = repeated(segment, state, count, every // max(1, base))
    if steps - count * base:
        state = repeated(step, state, steps - count * base, every)[0]
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
    return state, dt


def _sound(dynamics: Dynamics, inputs: Inputs, new: State, before: State) -> State:
    """The new state, flagged where an atom is lost or crossed a good part of the box; a list does that by itself."""
    if dynamics.plan is not None:
        return new
    still = lax.stop_gradient(new._replace(at=before.x, built=before.cell, flag=FINE))
    return new._replace(flag=jnp.maximum(new.flag, dynamics.flag(still, inputs)))


def _listed(dynamics: Dynamics, inputs: Inputs, state: State) -> State:
    """The state with a list that holds. Whether it does is no matter of derivatives."""
    if dynamics.plan is None:
        return state
    still = lax.stop_gradient(state)
    flag = dynamics.flag(still._replace(flag=jnp.int32(FINE)), inputs)
    state = state._replace(flag=jnp.maximum(state.flag, jnp.where(flag >= BLOW_UP, flag, FINE)))
    return noted(lax.cond(flag == STALE, lambda s: _kept(dynamics.rebuild(inputs, s), s), lambda s: s, state))


def _kept(new: State, old: State) -> State:
    """The new list, with trouble of an earlier one remembered."""
    return new._replace(flag=jnp.maximum(new.flag, old.flag))
