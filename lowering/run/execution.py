"""Compiled programs carried out for the members of a run: states, lists that grow until they fit, steps,
observables."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np

from mdsl.grammar.diagnostics import Diagnostic, Rejected
from mdsl.lowering.dynamics import chunks, observing
from mdsl.lowering.dynamics.state import BETWEEN, BLOW_UP, FINE, OVERFLOW, STALE, STALE_INSIDE, TOO_SMALL, Inputs, State
from mdsl.lowering.dynamics.transfer import by_user, columns, components, stacked
from mdsl.lowering.field.reduced import exchange_of
from mdsl.lowering.field.schedule import cut
from mdsl.lowering.geometry.cell import matrix_of
from mdsl.lowering.planning import capacity
from mdsl.lowering.planning import on_host as images
from mdsl.lowering.planning.policy import DEFAULT, Policy
from mdsl.lowering.planning.traversal import Traversal, beyond
from mdsl.model.nodes import Advance

from . import failures as trouble
from . import losses
from .exchanges import Attempt, Exchanges, exchange
from .members import Members
from .plan import Arrangement
from .programs import Programs
from .snapshot import Counts, Snapshot
from .standing import Capacities, Standing


class Execution:
    """What was compiled for some members, and what it does for these or others like them."""

    standing_of = Standing

    def __init__(
        self,
        members: Members,
        first: Arrangement,
        policy: Policy = DEFAULT,
        programs: Programs | None = None,
    ):
        """``first``: as it is computed before anything has grown; ``programs``: what others have compiled, who do the
        same."""
        self.policy, self.first, self.compiled_for = policy, first, members
        self._made = programs or Programs()
        self.prepare(members)

    def prepare(self, members: Members) -> None:
        """Make ready for a run of these. Every run begins with what was planned, that each does what the first did:
        what another has grown to decides last bits, and is compiled already when it is wanted again."""
        self.members, self.counts = members, Counts()
        self._beyond: dict[tuple[str, ...], observing.Beyond | None] = {}
        self._plans: Mapping[tuple[str, ...], capacity.Plan | None] = {}  # those of a run that goes on
        self._rearrange(self.first.traversal)
        self.began: np.ndarray | None = None  # x, images and v when the statement began, [3, B, N, d]
        self.t_began: object = 0.0
        self._skin: float | None = None  # of the present list
        self._built: int | None = None  # at which step it was built
        exchanging = any(exchange_of(a) is not None for a in members.lowered.field.dynamics)
        self.go_on_with(Exchanges.none(members.count) if exchanging else None)

    # -- programs ------------------------------------------------------------------------------------------

    def _rearrange(self, traversal: Traversal) -> None:
        """Go on with another traversal, by the programs that an earlier run has compiled for it, where there are
        any."""
        self.arrangement = replace(self.first, traversal=traversal)
        made = self._made.of(self.arrangement)
        self.dynamics, self._program, self._called = made.dynamics, made.program, made.called

    def _chunk(self, advance: Advance):
        return self._program(("chunk", id(advance)), lambda: chunks.chunk(self.dynamics, advance))

    @property
    def _rebuilt(self):
        return self._program(("rebuild",), lambda: self.dynamics.rebuild)

    def inputs(self, t, origin, states: np.ndarray | None = None) -> Inputs:
        """``states``: in which each replica is, where it is another than it is in."""
        skin = self.arrangement.traversal.skin if self._skin is None else self._skin
        found = self.members.inputs(t, origin, skin, self.began, self.t_began)
        if self.exchanges is None:
            return found
        if states is None and self._params is None:
            self._params = self.members.params_of(self.exchanges.states)
        return found._replace(params=self._params if states is None else self.members.params_of(states))

    # -- exchanges -----------------------------------------------------------------------------------------

    def go_on_with(self, exchanges: Exchanges | None) -> None:
        """Have each replica in the state that these say."""
        self.exchanges, self._params = exchanges, None

    @property
    def present(self) -> Members:
        """The members with the parameters that they have by now."""
        return self.members if self.exchanges is None else self.members.in_states(self.exchanges.states)

    def carries(self, advance: Advance) -> bool:
        """Whether steps of a statement begin with the force of the last."""
        return self._program(("carries", id(advance)), lambda: cut(self.members.lowered.field, advance).carried)

    def exchanged(self, advance: Advance, state: State, t) -> tuple[State, Attempt]:
        """The state when replicas have tried to exchange theirs, and what came of it."""
        begun = time.perf_counter()
        state, attempt = exchange(self, advance, state, t)
        self.counts.add("exchange", time.perf_counter() - begun)
        return state, attempt

    # -- states --------------------------------------------------------------------------------------------

    def start(self, snapshot: Snapshot) -> State:
        """The state on the devices, with a list that holds; its force is not known yet."""
        members, dtype = self.members, self.members.lowered.dtype
        self._skin, self._built = None, most(snapshot.step)
        if snapshot.standing is not None:
            self._take_up(snapshot.standing.capacities)
        inputs = self.inputs(snapshot.time, snapshot.step)._replace(cell=members.cell(snapshot.cell))
        rows = (columns(members.placed(a), dtype) for a in (snapshot.x, snapshot.v, snapshot.images))
        state = self.dynamics.start(inputs, *rows, members.each(snapshot.step, jnp.int32))
        return self.listed(state, inputs) if snapshot.standing is None else state

    def _take_up(self, had: Capacities) -> None:
        """What an earlier run, which this one goes on with, had made room for."""
        self._skin, self._built, self._plans = had.skin, had.built, dict(had.beyond)
        self._rearrange(replace(self.first.traversal, plan=had.plan, legs=had.legs))

    def standing(self, state: State) -> Standing:
        """All that decides the next bits."""
        beyond = tuple((names, more and more.plan) for names, more in self._beyond.items())
        found = self.arrangement.traversal
        return Standing.of(state, Capacities(found.plan, found.legs, self._skin, self._built, beyond))

    def snapshot(self, state: State, t) -> Snapshot:
        members = self.members
        cells = self.cells(state)
        x, moved = images.wrap(self.rows(state, state.x), cells, members.lowered.periodic)
        began = None if self.began is None else np.moveaxis(self.began, 0, -3)
        atoms = x, self.rows(state, state.v), self.rows(state, state.images) + moved
        found = *atoms, members.gathered(state.step), members.spread(t), cells
        return Snapshot(*map(members.cut, found), None if began is None else members.cut(began))

    def rows(self, state: State, values: tuple) -> np.ndarray:
        """[B, N, d] in the user's order."""
        return self.members.gathered(by_user(state.ids, values, self.members.first.initial.atoms))

    def cells(self, state: State) -> np.ndarray:
        """[B, d, d]: the boxes of this moment."""
        members = self.members
        return members.gathered(matrix_of(state.cell)) if members.lowered.changing else members.cells

    def enter(self, advance: Advance, state: State, t, origin, snapshot: Snapshot | None) -> State:
        """The state made ready for a statement; ``snapshot``: of one that goes on, with the very bits that it had where
        its `Standing` is known. Raises Rejected: ``malformed-checkpoint``."""
        memory: Mapping[str, object] = {}
        if snapshot is not None:
            missing = [s.name for s in advance.states if s.name not in snapshot.memory]
            if missing:
                raise Rejected(
                    Diagnostic("malformed-checkpoint", f"the checkpoint does not hold the state `{missing[0]}`")
                )
            put = lambda values: self.members.each(values, self.members.lowered.dtype)  # noqa: E731
            memory = {s.name: components(snapshot.memory[s.name], put) for s in advance.states}
        elif advance.states:
            memory = self._program(("begin", id(advance)), lambda: chunks.begin(self.dynamics, advance))(
                self.inputs(t, origin), state
            )
        entered = chunks.enter(self.dynamics, advance, state, memory)
        return entered if snapshot is None or snapshot.standing is None else snapshot.standing.state(entered)

    def having_met(self, state: State, met: np.ndarray) -> State:
        """The state of members of which some [B] have met the condition of their statement."""
        return state._replace(met=self.members.each(met, bool))

    def begin_history(self, state: State, t, snapshot: Snapshot | None) -> None:
        """Remember how a statement begins, at the time ``t``; ``snapshot``: of one that goes on."""
        self.t_began = t
        if snapshot is None:
            x, counts, v = (self.rows(state, values) for values in (state.x, state.images, state.v))
            if self.members.lowered.changing:  # whose vectors may become others
                x, counts = x + counts @ self.cells(state), np.zeros_like(counts)
            self.began = np.stack([x, counts, v])
        else:
            self.began = np.moveaxis(self.members.spread(snapshot.began), -3, 0)

    def memory(self, advance: Advance, state: State) -> dict[str, np.ndarray]:
        """The states of a statement under way, [B, components]."""
        members = self.members
        return {s.name: members.cut(stacked(state.kept[s.name], members.gathered)) for s in advance.states}

    # -- lists ---------------------------------------------------------------------------------------------

    def listed(self, state: State, inputs: Inputs) -> State:
        """The state with a new list, which is grown until it fits."""
        if self.dynamics.plan is None:
            return state
        for _ in range(self.policy.most_growths):
            begun = time.perf_counter()
            state = self._rebuilt(inputs, self._roomy(state))
            flag = most(state.flag)
            self.counts.list_builds += 1
            self.counts.add(
                "lists" if self.counts.list_builds > 1 + self.counts.regrown else "compile", time.perf_counter() - begun
            )
            if flag != OVERFLOW:
                return state
            state = self._grow(state)
        raise trouble.endless("the neighbour list")

    def _grow(self, state: State) -> State:
        """The same state with room for a longer list."""
        self.counts.regrown += 1
        self._rearrange(self.arrangement.traversal.longer(self._needed(state.needed), self.policy))
        return self._roomy(state)

    def _roomy(self, state: State) -> State:
        """The same state with room for a list of the plan: in the place of its last list, where that is large enough
        and no list made since has taken it."""
        *replicas, slots, rows = state.slots.shape
        if slots == self.dynamics.plan.slots and not state.slots.is_deleted():
            return state
        room = jnp.zeros((*replicas, self.dynamics.plan.slots, rows), jnp.int32)
        return state._replace(slots=jax.device_put(room, state.slots.sharding))

    def _needed(self, needed) -> capacity.Needed:
        """The capacities that a list needed, as numbers."""
        return capacity.Needed(*(self.members.gathered(n)[0] for n in needed))

    def _adapted(self, state: State, inputs: Inputs) -> Inputs:
        """The inputs with a skin for the next list, by how long the last one has held, and how many pairs it holds. The
        time that things took has no part in it: a run is to repeat."""
        step, before = most(state.step), self._built
        self._built = step
        if self.policy.skin is not None or inputs.skin is None or before is None or step <= before:
            return inputs
        found = self.arrangement.traversal
        self._skin = found.next_skin(float(inputs.skin), float(most(state.used)), step - before)
        return inputs._replace(skin=jnp.asarray(self._skin, self.dynamics.dtype))

    # -- steps ---------------------------------------------------------------------------------------------

    def advance(self, advance: Advance, state: State, count: int, t, origin, dt) -> State:
        """``count`` steps, with a new list wherever the old one no longer holds. Replicas of a batch that go wrong are
        lost. Raises Rejected: ``blow-up``, ``box-collapsed``."""
        inputs = self.inputs(t, origin)
        before, last = state, state.step + count
        evaluations = most(state.evaluations)
        while True:
            begun = time.perf_counter()
            compiled = id(advance) in self._called
            new = self._chunk(advance)(inputs, state, last)
            flag = most(new.flag)
            self._called.add(id(advance))
            self.counts.add("steps" if compiled else "compile", time.perf_counter() - begun)
            if flag == BLOW_UP and self._more_legs():
                continue
            if flag in (BLOW_UP, TOO_SMALL):  # what is left, if anything, does the chunk once more
                before = state = self._failed(advance, flag, before, new, t, origin, dt)
                inputs, last = self.inputs(t, origin), self.members.spread(last)
                continue
            if flag == STALE_INSIDE:
                state = self._single_steps(advance, before, last, t, origin, dt)
                break
            if flag != STALE:
                state = new
                break
            inputs = self._adapted(new, inputs)
            state = self.listed(new, inputs)
            if np.all(np.asarray(state.phase) == BETWEEN):
                break
        self.counts.force_evaluations += most(state.evaluations) - evaluations
        return state

    def _more_legs(self) -> bool:
        """Make more room in sums over triples, where there is any to make: without it forces are NaN as well."""
        found = self.arrangement.traversal
        if found.legs is None:
            return False
        self.counts.regrown += 1
        self._rearrange(found.roomier(self.members.first.initial.atoms, self.policy))
        return True

    def _single_steps(self, advance: Advance, state: State, last, t, origin, dt) -> State:
        """Step by step, each with a new list: for schemes that move the atoms far between forces of one step."""
        chunk = self._chunk(advance)
        while np.any((state.step < last) & ~state.met):
            inputs = self.inputs(t, origin)
            before = self.listed(state, inputs)
            state = chunk(inputs, before, before.step + 1)
            flag = most(state.flag)
            if flag == BLOW_UP and self._more_legs():
                state, chunk = before, self._chunk(advance)
            elif flag in (BLOW_UP, TOO_SMALL, STALE_INSIDE):
                state, last = self._failed(advance, flag, before, state, t, origin, dt), self.members.spread(last)
        return state

    def _failed(self, advance: Advance, flag: int, before: State, after: State, t, origin, dt) -> State:
        """From the state in which it stopped, find what went wrong. ``before``: a state from which it had gone well.
        Returns the state to go on from, with other replicas in the places of those that were lost, and a list of its
        own. Raises Rejected where none is left."""
        members = self.present
        last = (
            self.snapshot(self._replayed(advance, before, after.step, self.inputs(t, origin)), t)
            if flag == BLOW_UP
            else None
        )
        found = trouble.losses_of(members, advance, flag, after, self.cells(after), last, t, origin, dt)
        self.members = self.members.without(found)
        # Without one of its states a row of them is cut in two: where these exchange, one that is lost ends the run.
        if len(self.members.lost) == members.count or self.exchanges is not None:
            raise Rejected(*losses.told(self.members.lost, members.count))
        source = np.array(self.members.source)
        if self.began is not None:
            self.began = self.began[:, source]
        return self.listed(losses.in_place(before, source), self.inputs(t, origin))

    def _replayed(self, advance: Advance, state: State, last, inputs: Inputs) -> State:
        """The state at step ``last``, which was reached before, computed anew."""
        chunk = self._chunk(advance)
        state = self.listed(state, inputs)  # its own list may have had another skin
        while np.any(state.step < last):
            state = chunk(inputs, state, last)
            if most(state.flag) == STALE:
                state = self.listed(state, inputs)
            elif most(state.flag) != FINE:
                break
        return state

    def seconds_for_forces(self, advance: Advance, state: State, t, times: int) -> float:
        """Wall time of an evaluation of what the steps of a statement evaluate; a program of its own is compiled for
        it."""
        inputs, timed = self.inputs(t, 0), chunks.evaluations(self.dynamics, advance, times)
        if self.dynamics.plan is not None:
            state = self._rebuilt(inputs, self._roomy(state))
        for _ in range(2):  # the first time it is compiled
            begun = time.perf_counter()
            jax.block_until_ready(timed(inputs, state))
            each = (time.perf_counter() - begun) / times
        return each

    # -- observables ---------------------------------------------------------------------------------------

    def observed(
        self, advance: Advance, names: tuple[str, ...], state: State, t, states: np.ndarray | None = None
    ) -> dict[str, np.ndarray]:
        """The values of observables, [B, entries, components]; where they have a list of their own, it is grown until
        it fits. ``states``: as for `inputs`."""
        members, lowered = self.members, self.members.lowered
        if not self.keeps_list(names):
            self.keep_list(names, self.own_list(names, state, t))
        for _ in range(self.policy.most_growths):
            more = self._beyond[names]
            observer = self._program(
                ("observe", id(advance), names, more and more.plan),
                lambda m=more: observing.observer(self.dynamics, advance, names, m),
            )
            values, needed = observer(self.inputs(t, 0, states), state, members.each(t, lowered.dtype))
            if not needed or not bool(capacity.overflows(more.plan, self._needed(needed))):
                return {name: stacked(v, members.gathered) for name, v in values.items()}
            self._beyond[names] = replace(more, plan=capacity.grow(more.plan, self._needed(needed), self.policy))
        raise trouble.endless("the list of an observable")

    def own_list(self, names: tuple[str, ...], state: State, t) -> observing.Beyond | None:
        """The list that observables have beyond that of the energies, None where they visit all pairs; so do those of
        a batch that is one program."""
        if not self.members.alone:
            return None
        farther = observing.farther(self.arrangement.lowered.potential, names, self.arrangement.ends)
        (facts,) = self.members.facts
        plan = beyond(replace(facts, x=self.snapshot(state, t).x[0]), farther.radius, self.policy)
        return plan and replace(farther, plan=plan)

    def keeps_list(self, names: tuple[str, ...]) -> bool:
        return names in self._beyond

    def keep_list(self, names: tuple[str, ...], more: observing.Beyond | None) -> None:
        """Begin with this list of observables; of a run that goes on, with the room that it had."""
        self._beyond[names] = more and replace(more, plan=self._plans.get(names) or more.plan)


def most(values) -> int:
    """The largest of all replicas."""
    return int(np.max(values))
