"""Running a program: statements of dynamics in chunks, with records and frames where they are due.

What is compiled, and how lists grow, is the matter of `execution`; here is what a run goes through, for one system or
the replicas of a batch (`members`).
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from mdsl.lowering.dynamics.history import looks_back
from mdsl.lowering.dynamics.state import State
from mdsl.lowering.field.reduced import exchange_of
from mdsl.lowering.kernels.ase_energy import telling
from mdsl.lowering.planning.policy import DEFAULT, Policy
from mdsl.model.nodes import Advance, Output

from . import failures as trouble
from . import pace
from .apart import Apart
from .exchanges import Exchanges
from .execution import Execution, most
from .losses import Loss
from .members import Members
from .plan import Arrangement, apart, arrange
from .snapshot import Counts, Listener, Place, Snapshot

LONG = 20.0  # seconds of steps, from which on it pays to compile a program that times the forces alone
TIMED = 5  # evaluations of the forces


class Runner:
    """Runs of a program on one system, or on a batch of them; what one run has compiled serves the next.

    ``devices`` share the work of one system.
    """

    def __init__(self, members: Members, devices: Sequence | None = None, policy: Policy = DEFAULT):
        first = arrange(members, devices, policy)
        together = members.alone or not first.traversal.listed or not apart(members, policy)
        self.execution = (Execution if together else Apart)(members, first, policy)
        self._looks_back = looks_back(members.lowered.field)
        self.prepare(members)

    def fits(self, members: Members) -> bool:
        """Whether what was compiled serves these."""
        return members.like(self.execution.compiled_for)

    def prepare(self, members: Members) -> None:
        """Make ready for a run of these, which it `fits`."""
        self.place, self.outcomes = Place(), []
        self.execution.prepare(members)

    def go_on_without(self, lost: Mapping[int, Loss]) -> None:
        """Before a run that goes on: it has lost these."""
        self.execution.members = self.members.without(lost)

    def go_on_with(self, exchanges: Exchanges) -> None:
        """Before a run that goes on: its replicas have exchanged."""
        self.execution.go_on_with(exchanges)

    @property
    def exchanges(self) -> Exchanges | None:
        """What became of the exchanges of replicas so far; None of a program that states none."""
        return self.execution.exchanges

    @property
    def members(self) -> Members:
        return self.execution.members

    @property
    def statements(self) -> tuple[Advance, ...]:
        return self.members.lowered.field.dynamics

    @property
    def arrangement(self) -> Arrangement:
        return self.execution.arrangement

    @property
    def counts(self) -> Counts:
        return self.execution.counts

    # -- running -------------------------------------------------------------------------------------------

    def run(
        self,
        listener: Listener,
        most_steps: int | None = None,
        snapshot: Snapshot | None = None,
        place: Place = Place(),
        seconds: float = 0.25,
    ) -> Snapshot:
        """All statements of dynamics from ``place`` on; each has at most ``most_steps`` steps.

        Chunks of steps, after each of which ``listener.progress`` is called, take about ``seconds`` by an estimate that
        reads no clock (`pace`): where they end decides last bits. Raises Rejected: ``overlap``,
        ``blow-up``, ``box-collapsed``, ``neighbour-overflow``, ``bad-extern``.
        """
        with telling(self.members.lowered.model):
            return self._run(listener, most_steps, snapshot, place, seconds)

    def _run(
        self, listener: Listener, most_steps: int | None, snapshot: Snapshot | None, place: Place, seconds: float
    ) -> Snapshot:
        members, execution = self.members, self.execution
        snapshot = snapshot or members.start()
        if not isinstance(snapshot.standing, execution.standing_of):
            snapshot = replace(snapshot, standing=None)
        trouble.check_start(execution.present, snapshot)
        place = replace(place, **{name: members.spread(getattr(place, name)) for name in ("done", "t", "met")})
        state = execution.start(snapshot)
        self.outcomes = []
        t, recorded = place.t, members.spread(-1)
        for index, advance in enumerate(self.statements[place.statement :], place.statement):
            steps, dt = members.steps(advance, most_steps), members.dt(advance)
            goes_on = index == place.statement
            each = place.done if goes_on else members.spread(0)  # steps done, of each replica
            met = place.met if goes_on else members.spread(False)
            done, origin = most(each), members.gathered(state.step) - each
            state = execution.enter(advance, state, t, origin, snapshot if done else None)
            if np.any(met):
                state = execution.having_met(state, met)
            listener.statement(index, advance, steps, done, dt)
            self.place, self._closed = Place(index, each, t, met), met
            if self._looks_back:
                execution.begin_history(state, t, snapshot if done else None)
            if index == 0 and done == 0:
                recorded = self._put_out(listener, advance, state, 0, members.spread(steps == 0), t, recorded)
            size = pace.together(execution.first, members, advance, seconds)
            while done < steps and not np.all(met):
                due = min(
                    (n for n in (self._next(o, done, steps) for o in advance.outputs) if n is not None), default=steps
                )
                count = min(due, pace.end_of_chunk(done, size)) - done
                try:
                    state = execution.advance(advance, state, count, t, origin, dt)
                finally:
                    for k in (k for k in execution.members.lost if k not in members.lost):
                        listener.lost(k, execution.members.lost[k])
                    members = execution.members
                met, each = members.gathered(state.met), members.spread(members.gathered(state.step) - origin)
                count = most(each) - done
                done += count
                self.counts.steps += count
                self.place = Place(index, each, t, met)
                recorded = self._put_out(listener, advance, state, done, met | (done == steps), t + each * dt, recorded)
                if (output := exchange_of(advance)) is not None and self._due(output, done, False):
                    state, attempt = execution.exchanged(advance, state, t + each * dt)
                    listener.exchanged(attempt, t + each * dt)
                self._state, self._time = state, t + each * dt
                listener.progress(done, self)
            self.outcomes.append(members.outcome(index, each, None if advance.until is None else met))
            listener.ended(advance, self.outcomes[-1])
            t = t + each * dt
        return members.end(execution.snapshot(state, t))

    def checkpoint(self) -> tuple[Snapshot, Place]:
        """Where the run stands, to go on from."""
        memory = self.execution.memory(self.statements[self.place.statement], self._state)
        cut, place, standing = self.members.cut, self.place, self.execution.standing(self._state)
        return replace(self.execution.snapshot(self._state, self._time), memory=memory, standing=standing), Place(
            place.statement, cut(place.done), cut(place.t), cut(place.met)
        )

    def breakdown(self) -> dict[str, float]:
        """Seconds by part. Of a run whose steps took long enough, one evaluation of the forces is timed apart; as many
        as there were are counted as forces, and what is left of the steps as integration."""
        parts, evaluated = dict(self.counts.seconds), self.counts.force_evaluations
        if parts.get("steps", 0.0) < LONG or not evaluated:
            return parts
        each = self.execution.seconds_for_forces(self.statements[self.place.statement], self._state, self._time, TIMED)
        steps = parts.pop("steps")
        forces = min(steps, each * evaluated)
        return {"forces": forces, "integration": steps - forces, **parts}

    # -- records and frames --------------------------------------------------------------------------------

    def _put_out(self, listener: Listener, advance: Advance, state: State, done: int, ended, t, recorded):
        """Frames and the row of records that are due, for each replica; a step that has its row gets no second.

        ``ended``: for which the statement ends here, which is always recorded of one that runs `until` a condition
        holds, once. ``recorded`` is the last step of each with a row, -1 for none; so is what comes back.
        """
        members, counts = self.members, self.counts
        step, closed = members.gathered(state.step), self._closed
        for group, last in ((~ended, False), (ended & ~closed, True)):
            which = np.array([k for k in np.flatnonzero(group[: members.count]) if k not in members.lost], int)
            if not len(which):
                continue
            due = [o for o in advance.outputs if self._due(o, done, last) or last and advance.until is not None]
            begun = time.perf_counter()
            for output in (o for o in due if o.kind == "write"):
                listener.frame(output, which, self.execution.snapshot(state, t).of(which))
            counts.add("output", time.perf_counter() - begun)
            begun = time.perf_counter()
            which = which[step[which] != recorded[which]]
            row: dict[str, np.ndarray] = {}
            for output in (o for o in due if o.kind == "record" and len(which)):
                row |= self.execution.observed(advance, output.names, state, t)
            if row:
                counts.add("observe", time.perf_counter() - begun)
                listener.record(which, step[which], t[which], {name: a[which] for name, a in row.items()})
                recorded = np.where(group, step, recorded)
        self._closed = ended | closed
        return recorded

    def _due(self, output: Output, done: int, last: bool) -> bool:
        every = self.members.every(output)
        return last if every is None else done % every == 0

    def _next(self, output: Output, done: int, steps: int) -> int | None:
        every = self.members.every(output)
        following = steps if every is None else (done // every + 1) * every
        return following if following <= steps else None
