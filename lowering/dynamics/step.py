"""One step of dynamics: the statements of an integrator carried out in order, each for all atoms at once.

`schedule.cut` says before which statements the energies are evaluated; here they are, and values are computed, drawn
and stored. Runs in chunks (`chunks`) and runs inside transformations (`traced`) are made of the same steps.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp

from mdsl.lowering.field.schedule import TIME, Check, Cut, cut, per_atom
from mdsl.lowering.geometry.cell import Cell, of_matrix
from mdsl.lowering.geometry.flip import between, flipped, images_in, reducing
from mdsl.lowering.kernels.changing_box import carried, declared, free_kept
from mdsl.lowering.kernels.emit import evaluate
from mdsl.lowering.kernels.globals import Globals, data_of, reader
from mdsl.lowering.kernels.pair_kernel import ENERGY, FORCE, VIRIAL
from mdsl.lowering.traversals.each import each_sum
from mdsl.model.drift import drift
from mdsl.model.nodes import Advance, Draw, Expr, Read, Update
from mdsl.model.nodes import State as Memory

from . import noise
from .chain import all_of, beside
from .device import Dynamics
from .state import STALE_INSIDE, WAITING, Inputs, State

if TYPE_CHECKING:
    from mdsl.lowering.arrays import Scalar, Values


@dataclass(frozen=True, eq=False)
class Step:
    """A step of a statement of dynamics. ``start`` is what is known when the statement begins, at `Inputs.t`; ``dt``
    the time of a step, 0 of a scheme without."""

    dynamics: Dynamics
    advance: Advance
    parts: Cut
    inputs: Inputs
    start: Globals
    dt: Scalar

    @classmethod
    def of(cls, dynamics: Dynamics, advance: Advance, inputs: Inputs) -> Step:
        start = dynamics.known(inputs, inputs.t)
        dt = start.value(advance.dt) if advance.dt is not None else 0.0
        return cls(dynamics, advance, cut(dynamics.potential.field, advance), inputs, start, dt)

    def time(self, state: State):
        """The time of a state that stands between steps."""
        return self.inputs.t + (state.step - self.inputs.origin).astype(self.dynamics.dtype) * self.dt

    def known(self, state: State) -> Globals:
        """What is known at a state that stands between steps, or has the head of one behind it."""
        t = self.time(state)
        if TIME in state.kept:
            t = jnp.where(state.phase == WAITING, state.kept[TIME], t)
        return self.dynamics.known(self.dynamics.now(self.inputs, state), t, self.start.params)

    def ended(self, state: State) -> State:
        """The state whose step has been counted, as it stands between steps: in the box that the program declares for
        its time, with the vectors of that which are least skew where it can become skew without bound."""
        if not self.ends:
            return state
        if self.dynamics.deforming:
            before = self.time(state._replace(step=state.step - 1))
            known = self.dynamics.known(self.inputs, state.kept.get(TIME, before), self.start.params)
            state = resized(state, self.declared(known, self.time(state), state.cell))
        return turned(state, self.dynamics.potential.geometry.periodic) if self.dynamics.shearing else state

    @property
    def ends(self) -> bool:
        """Whether `ended` does anything."""
        return self.dynamics.deforming or self.dynamics.shearing

    def declared(self, known: Globals, t, cell: Cell) -> Cell:
        """The box that the program declares for the time ``t``, in those vectors of it in which ``cell`` is that of the
        time that is known."""

        def at(t):
            return declared(known.model, known.params, t, self.dynamics.layout.n_atoms, self.dynamics.dtype)

        return flipped(at(t), between(at(known.t), cell)) if cell.tilts else at(t)

    def moved_on(self, state: State, known: Globals, t) -> tuple[State, Globals]:
        """The state at another time, and what is known then: a box that the program declares carries the atoms
        along."""
        if self.dynamics.deforming:
            state = resized(state, self.declared(known, t, state.cell))
            known = replace(known, cell=state.cell)
        return state, replace(known, t=t)

    def evaluated(self, state: State, known: Globals) -> State:
        """The state with what an evaluation of the energies at its positions gives."""
        dynamics, parts = self.dynamics, self.parts
        field = dynamics.potential.field
        measures = tuple(m for m in field.measures if m.name in parts.sums and m.axis is None)
        energies = any(t.name in parts.sums for t in field.terms)
        outputs = frozenset(
            name for name, wanted in ((FORCE, parts.force), (VIRIAL, parts.virial), (ENERGY, energies)) if wanted
        )
        known = with_memory(known, state.kept, self.advance.states)
        result = dynamics.evaluated(state, self.inputs, known, outputs, measures, legs=dynamics.legs)
        found = {**result.sums, "virial": result.tensor}
        kept = state.kept | {
            name: jax.tree.map(lambda a: jnp.asarray(a, dynamics.dtype), found[name]) for name in parts.sums
        }
        return state._replace(
            f=result.force if FORCE in outputs else state.f, kept=kept, evaluations=state.evaluations + 1
        )

    def carried_out(
        self, statements: tuple, again: tuple[bool, ...], state: State, known: Globals, listed=None
    ) -> State:
        """The state after statements of the step. ``again``: those with an evaluation before them.

        ``listed`` gives a state a list that holds, before each such evaluation; without it a list that does not
        hold is flagged.
        """
        dynamics, states = self.dynamics, self.advance.states
        held, kept = tuple(state.held), tuple(state.kept)
        values, memory = dict(state.held), dict(state.kept)
        if TIME in memory:
            memory[TIME] = jnp.asarray(known.t, dynamics.dtype)
        each = per_atom(self.parts.body)
        key = jax.random.fold_in(self.inputs.key, state.step)
        for statement, evaluates in zip(statements, again):
            if evaluates and listed is not None:
                state = listed(state._replace(held=values))
                values = dict(state.held)
            elif evaluates:
                state = state._replace(flag=dynamics.flag(state, self.inputs, STALE_INSIDE))
            if evaluates:
                state = self.evaluated(state._replace(kept=memory), known)
                memory = dict(state.kept)

            at = self._at_end(state, known) if isinstance(statement, Check) else known

            def value(expr, state=state, at=at):
                return value_of(expr, dynamics, state, values, memory, self.inputs, at, states)

            target = statement.target
            if isinstance(statement, Check):
                met = value(statement.value)
                state = state._replace(met=all_of(met, dynamics.layout.chain) if dynamics.chained else met)
            elif isinstance(statement, Draw) and statement.per_atom:
                drawn = noise.drawn_for_each(
                    key, target, state.ids, dynamics.dim, dynamics.potential.dtype
                )  # in the precision of pairs
                values[target] = tuple(v.astype(dynamics.dtype) for v in drawn)
            elif isinstance(statement, Draw):
                memory[target] = noise.drawn_for_all(key, statement, tuple(map(value, statement.args)), dynamics.dtype)
            elif target == "cell":
                matrix = _new(statement, value(statement.value), known.read(Read("cell")))
                cell = free_kept(
                    of_matrix(matrix, bool(state.cell.tilts)), dynamics.potential.geometry.periodic, dynamics.dtype
                )
                state, known = resized(state, cell), replace(known, cell=cell)
            elif target in ("x", "v"):
                new, h = value(statement.value), drift(statement) if self.parts.timed else None
                half = 0.0 if h is None else value(h) / 2
                if h is not None:
                    state, known = self.moved_on(state, known, known.t + half)
                new = jax.tree.map(
                    lambda a: jnp.broadcast_to(a, state.ids.shape), _new(statement, new, getattr(state, target))
                )
                state = state._replace(**{target: dynamics.where_free(state, self.inputs, new, getattr(state, target))})
                if h is not None:
                    state, known = self.moved_on(state, known, known.t + half)
                    memory[TIME] = jnp.asarray(known.t, dynamics.dtype)
            elif target in each:
                new = _new(statement, value(statement.value), values.get(target))
                values[target] = jax.tree.map(lambda a: jnp.broadcast_to(a, state.ids.shape), new)
            else:
                memory[target] = _new(statement, value(statement.value), memory.get(target))
        return state._replace(held={name: values[name] for name in held}, kept={name: memory[name] for name in kept})

    def _at_end(self, state: State, known: Globals) -> Globals:
        """What is known at the end of a step, where a condition is checked: the time has gone on, and a box with it."""
        t = self.time(state._replace(step=state.step + 1))
        cell = self.declared(known, t, state.cell) if self.dynamics.deforming else known.cell
        return replace(known, t=t, cell=cell)


def resized(state: State, cell: Cell) -> State:
    """The state in another box, all positions carried along."""
    return state._replace(x=carried(state.x, state.cell, cell), cell=cell)


def turned(state: State, periodic: tuple[bool, ...]) -> State:
    """The same state in those vectors of its box whose tilts are at most half of the edges. No atom moves."""
    flip = reducing(state.cell, periodic)
    cell, built = flipped(state.cell, flip), flipped(state.built, flip)
    return state._replace(cell=cell, built=built, images=images_in(state.images, flip))


def _new(update: Update, value, old):
    return value if update.op == "=" else jax.tree.map(jnp.add, old, value)


# -- values ----------------------------------------------------------------------------------------------


def with_memory(known: Globals, memory: Values, states: tuple[Memory, ...]) -> Globals:
    """What expressions without atoms can read within a step: states too."""
    params = dict(known.params)
    for state in states:
        if state.param is not None and state.name in memory:
            name, k = state.param
            axis = known.model.param(name).axes
            params[name] = (
                memory[state.name] if k is None else params[name].at[k - axis[0].first].set(memory[state.name])
            )
    return replace(known, params=params, more={**known.more, **memory})


def value_of(
    expr: Expr,
    dynamics: Dynamics,
    state: State,
    values: Values,
    memory: Values,
    inputs: Inputs,
    known: Globals,
    states: tuple[Memory, ...],
):
    """The value of an expression of a flow at this moment: rows [n] where it is another for each atom. ``values``:
    those that the step has computed for each atom; ``memory``: those that are one for all."""
    fields = {**dynamics.atoms(state, inputs), **data_of(dynamics.model, known.params, state.ids), **values}
    now = with_memory(known, memory, states)
    nearest = dynamics.potential.geometry.nearest(known.cell)
    sums = dynamics.potential.field.on_the_spot
    of_atoms = reader(now, fields, lambda _, name: fields[name])

    @cache
    def added_up(name: str):
        return each_sum(sums[name], now, fields, nearest, dynamics.layout)

    def read(node: Read):
        return added_up(node.symbol) if node.symbol in sums else of_atoms(node)

    layout = dynamics.layout
    result = evaluate(
        expr,
        read,
        lambda a, b: nearest(tuple(p - q for p, q in zip(a, b))),
        beside=lambda value, by: beside(value, by, state.ids, layout.chain, layout.asked),
    )
    return jax.tree.map(lambda a: a if jnp.asarray(a).dtype == bool else jnp.asarray(a, dynamics.dtype), result)
