"""The compiled programs of a statement of dynamics: how it begins, and chunks of steps that run without the host.

A step is cut where it needs the force: what comes before is its *head*, what comes after its *tail*. The loop
runs force, tail, and the head of the next step, so it can stop exactly where a force is due and the neighbour
list no longer holds. The host then builds the list, which is a program of its own, and goes on: the list is
compiled once, the force once for each statement, and every force is computed with a list that holds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
from jax import lax

from mdsl.lowering.field.schedule import TIME, cut
from mdsl.model.nodes import Advance, Draw, Type, Update

from .device import Dynamics
from .state import BETWEEN, FINE, NEW, STATE, WAITING, Inputs, State
from .step import Step, value_of

if TYPE_CHECKING:
    from mdsl.lowering.arrays import Value, Values

AHEAD = 0.75  # of the skin, which a list may have used up where forces are evaluated within a step too


def begin(dynamics: Dynamics, advance: Advance):
    """``begin(inputs, state) -> memory``: what the states of a statement start from."""

    def begin(inputs: Inputs, state: State) -> dict[str, Value]:
        known = dynamics.known(dynamics.now(inputs, state), inputs.t)
        return {
            s.name: value_of(s.value, dynamics, state, {}, {}, inputs, known, advance.states) for s in advance.states
        }

    return dynamics.layout.program(begin, ("inputs", STATE), "all")


def enter(dynamics: Dynamics, advance: Advance, state: State, memory: Values) -> State:
    """A state that stands between steps, made ready for a statement of dynamics whose states are ``memory``."""
    parts, dim = cut(dynamics.potential.field, advance), dynamics.dim
    types = {s.target: Type("vector") if s.per_atom else Type("scalar") for s in advance.body if isinstance(s, Draw)}
    types |= {s.target: s.value.type for s in advance.body if isinstance(s, Update)} | {TIME: Type("scalar")}
    held = {name: _zero(types[name], dim, jnp.zeros_like(state.v[0])) for name in parts.held}
    one = jnp.full_like(
        state.step, 0, dynamics.dtype
    )  # like what chunks return, on all devices: they are compiled once
    kept = {name: memory[name] if name in memory else _zero(types[name], dim, one) for name in parts.kept}
    kept |= {name: _zero(Type("matrix" if name == "virial" else "scalar"), dim, one) for name in parts.sums}
    # What the statement before left in `f` may be older than its last positions.
    return state._replace(
        held=held,
        kept=kept,
        phase=jnp.full_like(state.phase, NEW if parts.carried else BETWEEN),
        met=jnp.full_like(state.met, False),
    )


def _zero(kind: Type, dim: int, like):
    if kind.kind == "matrix":
        return ((like,) * dim,) * dim
    return like.astype(bool) if kind.kind == "bool" else (like,) * dim if kind.kind in ("vector", "point") else like


def chunk(dynamics: Dynamics, advance: Advance):
    """``chunk(inputs, state, last) -> State``: steps of a statement up to step ``last``, or until flagged, or until
    its condition holds."""

    def chunk(inputs: Inputs, state: State, last) -> State:
        step = Step.of(dynamics, advance, inputs)
        parts = step.parts
        spent = AHEAD if any(parts.again) else 1.0  # by a list that has to last to the end of a step

        def head(state: State, wanted) -> State:
            moved = step.carried_out(parts.head, (False,) * len(parts.head), state, step.known(state))
            state = _pick(wanted, moved, state)
            return state._replace(phase=jnp.where(wanted, WAITING, state.phase))

        def body(state: State) -> State:
            known = step.known(state)
            if dynamics.plan is None:  # no list: how far atoms move is counted from force to force
                state = state._replace(at=state.x, built=state.cell)
            if parts.evaluates or not parts.tail:
                state = step.evaluated(state, known)
            waiting = state.phase == WAITING
            done = step.carried_out(parts.tail, parts.again, state, known)
            state = _pick(waiting, done, state)
            state = state._replace(
                step=state.step + waiting.astype(jnp.int32),
                phase=jnp.int32(BETWEEN),
                flag=jnp.where(waiting, done.flag, state.flag),
            )
            if step.ends:
                state = _pick(waiting, step.ended(state), state)
            state = head(state, (state.step < last) & ~state.met)
            return state._replace(flag=dynamics.flag(state, inputs, spent=spent))

        # A chunk that goes on after a new list has its head behind it.
        first = (state.phase == BETWEEN) & (state.step < last) & ~state.met
        state = lax.cond(first, lambda s: head(s, jnp.bool_(True)), lambda s: s, state)
        state = state._replace(flag=dynamics.flag(state, inputs, spent=spent))
        state = lax.while_loop(lambda s: (s.phase != BETWEEN) & (s.flag == FINE), body, state)
        return state._replace(slots=())

    # The list stays as it is, and is not copied.
    stepped = dynamics.layout.program(chunk, ("inputs", STATE, "one"), STATE._replace(slots="all"))
    return lambda inputs, state, last: stepped(inputs, state, last)._replace(slots=state.slots)


def evaluations(dynamics: Dynamics, advance: Advance, times: int):
    """``evaluations(inputs, state) -> State``: what the steps of a statement evaluate, so many times, and nothing
    else: a program to be timed."""

    def again(inputs: Inputs, state: State) -> State:
        step = Step.of(dynamics, advance, inputs)
        known = dynamics.known(dynamics.now(inputs, state), inputs.t)

        def once(_, state: State) -> State:
            new = step.evaluated(state, known)
            return new._replace(x=tuple(a + 0 * b for a, b in zip(state.x, new.f)))  # the next one has to wait

        return lax.fori_loop(0, times, once, state)._replace(slots=())

    return dynamics.layout.program(again, ("inputs", STATE), STATE._replace(slots="all"))


def _pick(wanted, new: State, old: State) -> State:
    """The positions, velocities, held values and box of one state or the other, with all that is told by its
    vectors."""
    choose = lambda a, b: jnp.where(wanted, a, b)  # noqa: E731
    return old._replace(
        x=jax.tree.map(choose, new.x, old.x),
        v=jax.tree.map(choose, new.v, old.v),
        f=new.f,
        held=jax.tree.map(choose, new.held, old.held),
        cell=jax.tree.map(choose, new.cell, old.cell),
        built=jax.tree.map(choose, new.built, old.built),
        images=jax.tree.map(choose, new.images, old.images) if old.cell else old.images,
        kept=jax.tree.map(choose, new.kept, old.kept),
        met=choose(new.met, old.met),
        evaluations=new.evaluations,
    )
