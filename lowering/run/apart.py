"""Replicas that go their ways apart: each does what a system alone does, with a skin and lists of its own, and several
threads share them.

Together, as one program under `vmap`, a list that no longer holds would end the steps of all and give all a new one.
What is compiled, and with room for how much it begins, is the same for all; each has an `execution.Execution`. A thread
that is done with one takes the next, whichever that is, for none depends on another.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TypeVar

import jax
import numpy as np

from mdsl.grammar.diagnostics import Rejected
from mdsl.lowering.dynamics.state import State
from mdsl.lowering.planning.policy import DEFAULT, Policy
from mdsl.lowering.traversals.layout import OneDevice
from mdsl.model.nodes import Advance

from . import losses
from .execution import Execution
from .losses import Loss
from .members import Members
from .plan import Arrangement
from .programs import Programs
from .snapshot import Counts, Snapshot
from .standing import Standings

Found = TypeVar("Found")


@dataclass(frozen=True, eq=False)
class States:
    """``each``: the states of replicas by their numbers; ``members``: which of them each member of the run is."""

    each: Mapping[int, State]
    members: tuple[int, ...]

    @property
    def step(self) -> np.ndarray:
        """[B]"""
        return np.array([int(self.each[k].step) for k in self.members])

    @property
    def met(self) -> np.ndarray:
        """[B]"""
        return np.array([bool(self.each[k].met) for k in self.members])


class Apart:
    """As `execution.Execution`, for replicas that have lists. One that is lost does no more steps; the copies of
    another that stand in for it are no work."""

    standing_of = Standings
    exchanges = None  # those that exchange are not apart

    @property
    def present(self) -> Members:
        """As `Execution.present`."""
        return self.members

    def __init__(self, members: Members, first: Arrangement, policy: Policy = DEFAULT):
        self.policy, self.first, self.arrangement, self.compiled_for = policy, first, first, members
        own, programs = replace(first, layout=OneDevice(first.layout.n_atoms)), Programs()
        self._each = [Execution(one, own, policy, programs) for one in members.apart]
        self.prepare(members)

    def prepare(self, members: Members) -> None:
        self.members, self.counts = members, Counts()
        for one, alone in zip(self._each, members.apart):
            one.prepare(alone)

    # -- all of them -----------------------------------------------------------------------------------------

    def _every(self, work: Callable[[int], Found]) -> dict[int, Found]:
        """What ``work`` gives for each replica that goes on, by the threads that there are."""
        begun, which = time.perf_counter(), sorted(set(self.members.computed))
        threads = min(len(self.members.devices), len(which))
        precise, device = jax.config.jax_enable_x64, jax.config.jax_default_device

        def elsewhere(k: int) -> Found:  # what was set for the calling thread alone holds here too
            with jax.enable_x64(precise), jax.default_device(device):
                return work(k)

        if threads == 1:
            found = {k: work(k) for k in which}
        else:
            with ThreadPoolExecutor(threads) as pool:
                found = dict(zip(which, pool.map(elsewhere, which)))
        self._count(time.perf_counter() - begun)
        return found

    def _count(self, wall: float) -> None:
        """Takes in what replicas have counted: as they do it side by side, what took any of them the most, and of the
        time on the ``wall`` the parts in which they have spent theirs."""
        spent = Counts()
        for one in self._each:
            for part, seconds in one.counts.seconds.items():
                spent.add(part, seconds)
            one.counts.seconds.clear()
        every = sum(spent.seconds.values())
        for part, seconds in spent.seconds.items():
            self.counts.add(part, wall * seconds / every)
        for name in ("force_evaluations", "list_builds", "regrown"):
            setattr(self.counts, name, max(getattr(one.counts, name) for one in self._each))

    def _states(self, work: Callable[[int], State]) -> States:
        return States(self._every(work), self.members.computed)

    def _arrays(self, work: Callable[[int], Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
        """[B, ...] for each member, of the arrays [1, ...] of each replica."""
        found = self._every(work)
        return {name: np.concatenate([found[k][name] for k in self.members.computed]) for name in found[self._first]}

    @property
    def _first(self) -> int:
        return min(self.members.computed)

    def _own(self, snapshot: Snapshot | None, k: int) -> Snapshot | None:
        if snapshot is None:
            return None
        standing = None if snapshot.standing is None else snapshot.standing.each[k]
        return replace(snapshot.of(np.array([k])), standing=standing)

    # -- what an execution does ------------------------------------------------------------------------------

    def start(self, snapshot: Snapshot) -> States:
        return self._states(lambda k: self._each[k].start(self._own(snapshot, k)))

    def enter(self, advance: Advance, states: States, t, origin, snapshot: Snapshot | None) -> States:
        return self._states(
            lambda k: self._each[k].enter(advance, states.each[k], t[[k]], origin[[k]], self._own(snapshot, k))
        )

    def having_met(self, states: States, met: np.ndarray) -> States:
        return self._states(lambda k: self._each[k].having_met(states.each[k], met[[k]]))

    def begin_history(self, states: States, t, snapshot: Snapshot | None) -> None:
        self._every(lambda k: self._each[k].begin_history(states.each[k], t[[k]], self._own(snapshot, k)))

    def advance(self, advance: Advance, states: States, count: int, t, origin, dt) -> States:
        """As `Execution.advance`. Raises Rejected where no replica is left."""

        def work(k: int) -> State | Loss:
            own, state = self._each[k], states.each[k]
            if state.met:
                return state
            try:
                return own.advance(advance, state, count, t[[k]], origin[[k]], dt[[k]])
            except Rejected:
                if not own.members.lost:
                    raise
                return own.members.lost[0]

        found = self._every(work)
        lost = {k: one for k, one in found.items() if isinstance(one, Loss)}
        if lost:
            self.members = self.members.without(lost)
            if len(self.members.lost) == self.members.count:
                raise Rejected(*losses.told(self.members.lost, self.members.count))
        return States({k: one for k, one in found.items() if k not in lost}, self.members.computed)

    def observed(self, advance: Advance, names: tuple[str, ...], states: States, t) -> dict[str, np.ndarray]:
        if not self._each[self._first].keeps_list(names):  # one that suits the first is what all begin with
            more = self._each[self._first].own_list(names, states.each[self._first], t[[self._first]])
            for one in self._each:
                one.keep_list(names, more)
        return self._arrays(lambda k: self._each[k].observed(advance, names, states.each[k], t[[k]]))

    # -- what is seen of it ----------------------------------------------------------------------------------

    def snapshot(self, states: States, t) -> Snapshot:
        time, which = self.members.spread(t), self.members.computed[: self.members.count]
        found = {k: self._each[k].snapshot(states.each[k], time[[k]]) for k in set(which)}
        return Snapshot.of_all([found[k] for k in which])

    def memory(self, advance: Advance, states: States) -> dict[str, np.ndarray]:
        found = self._arrays(lambda k: self._each[k].memory(advance, states.each[k]))
        return {name: self.members.cut(values) for name, values in found.items()}

    def standing(self, states: States) -> Standings:
        return Standings({k: self._each[k].standing(state) for k, state in states.each.items()})

    def seconds_for_forces(self, advance: Advance, states: States, t, times: int) -> float:
        """As `Execution.seconds_for_forces`, of all replicas in turn, shared between the threads."""
        k, members = self._first, self.members
        one = self._each[k].seconds_for_forces(advance, states.each[k], t[[k]], times)
        return one * len(states.each) / min(len(members.devices), members.count)
