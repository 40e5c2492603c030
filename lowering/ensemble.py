"""Running a batch: replicas of one program that differ in their random numbers, their start, or their parameters.

One program advances all of them (`replicas.Replicas`); the statements of dynamics, their chunks and what is due when are
those of a single run (`driver.Runner`), of which each replica does exactly the steps. Arrays of the host have the
replicas along their first axis.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Protocol

import jax
import jax.numpy as jnp
import numpy as np

from mdsl.before_run import value
from mdsl.grammar.diagnostics import Diagnostic, Rejected
from mdsl.initial import Initial
from mdsl.model import Advance, Model, Output
from mdsl.outcome import Outcome

from . import losses, neighbours, observing
from .cell import Cell, of_matrix
from .choice import Traversal, choose, leg_room
from .culprit import Culprit, culprit
from .driver import Runner, overlap
from .images import wrap
from .losses import Loss
from .replicas import Replicas
from .snapshot import Place, Snapshot
from .state import BLOW_UP, TOO_SMALL, Began, Inputs, State
from .values import complete


@dataclass(frozen=True, eq=False)
class Member:
    """What is a replica's own: where it starts, its free parameters (internal units, and data), its random key."""

    initial: Initial
    params: Mapping[str, object]
    key: object


class Listener(Protocol):
    """What a batch tells as it goes, as `snapshot.Listener`; ``replicas`` are the numbers of those concerned, whose values
    are along the first axes."""

    def statement(self, index: int, advance: Advance, steps: int, done: int, dt: np.ndarray) -> None: ...
    def record(self, replicas: np.ndarray, step: np.ndarray, t: np.ndarray, values: Mapping[str, np.ndarray]) -> None: ...
    def frame(self, output: Output, replicas: np.ndarray, snapshot: Snapshot) -> None: ...
    def progress(self, done: int, runner: Ensemble) -> None: ...
    def ended(self, advance: Advance, outcome: Outcome) -> None: ...
    def lost(self, replica: int, loss: Loss) -> None: ...


class Ensemble(Runner):
    """One run of one program for all members of a batch. ``lost``: the replicas that went wrong on the way, for which
    others stand in (`losses`); member k of what is on the devices is ``source[k]`` of ``members``. Raises Rejected: ``batch-shape``, and what a single run raises."""

    def __init__(self, fielded, members: Sequence[Member], precision: str, devices: tuple | None = None, skin: float | None = None):
        self._of(fielded, members[0].initial, precision, skin)
        self.count = len(members)
        self.devices = tuple(devices or jax.devices()[:1])[: self.count]
        self.prepare(members)
        cutoffs, self.known_ends = [self._cutoff(m.params) for m in members], [self._ends(m.params) for m in members]
        self.cutoff = None if None in cutoffs else max(cutoffs)
        # A sum is near where it is for every replica.
        self.ends = {name: max(e[name] for e in self.known_ends) for name in self.known_ends[0]} if all(e.keys() == self.known_ends[0].keys() for e in self.known_ends) else {}
        nearest = 0.0 if None in cutoffs else min(cutoffs)
        self.potential = replace(self.always, field=observing.within(fielded, self.ends, nearest))
        self.cutoffs = cutoffs
        self.traversal = self._choose()
        rooms = [leg_room(self.potential, complete(self.model, m.params), m.initial.x, m.initial.cell) for m in self._different()]
        self.legs = None if None in rooms else max(rooms)
        staggered = any(a.until is not None for a in fielded.dynamics)
        spec = lambda varies: "all" if varies else "same"  # noqa: E731
        inputs = Inputs({name: spec(name in self.varying) for name in self.params}, spec(self.boxes_differ), spec(self.atoms_differ), spec(self.atoms_differ), "all", "all", "one", "all")
        self.layout = Replicas(self.initial.atoms, len(self.members), self.devices, inputs, staggered, self.traversal.plan is not None)
        self._programs, self._beyond = {}, {}
        self.dynamics = self._dynamics()

    def prepare(self, members: Sequence[Member]) -> None:
        """Make ready for a run of these."""
        check_shapes(self.model, members)
        super().prepare(members[0].params, None)
        short = -len(members) % len(self.devices)
        self.members = (*members, *members[-1:] * short)  # as many on each device
        self.lost: dict[int, Loss] = {}
        self.source = np.arange(len(self.members))
        self.initial = members[0].initial
        self.varying = varying(members)
        self.boxes_differ = self.changing or any(not np.array_equal(m.initial.cell, self.initial.cell) for m in members)
        self.atoms_differ = any(not np.array_equal(m.initial.species, self.initial.species) or not np.array_equal(m.initial.masses, self.initial.masses) for m in members)
        keys = [m.key for m in self.members]
        self.key = jnp.stack(keys)
        self.__dict__.pop("_fixed", None)

    def fits(self, members: Sequence[Member]) -> bool:
        """Whether what was compiled for one batch serves another."""
        return (
            len(members) == self.count
            and varying(members) == self.varying
            and [self._cutoff(m.params) for m in members] == self.cutoffs
            and [self._ends(m.params) for m in members] == self.known_ends
            and all(
                np.array_equal(getattr(a.initial, name), getattr(b.initial, name)) for a, b in zip(members, self.members) for name in ("cell", "species", "masses")
            )
        )

    def _different(self) -> Sequence[Member]:
        """The members among which differences matter to what is planned."""
        return self.members[: self.count]

    def _choose(self) -> Traversal:
        """How pairs are found: in one way by all replicas, with the skin that suits each."""
        found = [
            choose(self.field, m.initial.x, m.initial.cell, m.initial.periodic, c, self.skin, self.changing)
            for m, c in zip(self._different(), self.cutoffs)
        ]
        without = next((t for t in found if t.plan is None), None)
        if without is not None:
            return without
        skin = min(t.skin for t in found)
        widest = max(found, key=lambda t: t.cutoff)
        plan = replace(
            widest.plan,
            window=max(t.plan.window for t in found),
            slots=max(t.plan.slots for t in found),
            cells=tuple(map(min, zip(*(t.plan.cells for t in found)))),
        )
        return replace(widest, plan=plan, skin=skin)

    # -- what goes in and comes out --------------------------------------------------------------------------

    def inputs(self, t, origin) -> Inputs:
        began = () if self._began is None else Began(*(self._columns(rows) for rows in self._began), self._each(self.place.t, self.dtype))
        return self._fixed._replace(t=self._each(t, self.dtype), origin=self._each(origin, jnp.int32), began=began)

    @cached_property
    def _fixed(self) -> Inputs:
        """What stays the same during a run."""

        def each(values):
            return jnp.stack([jnp.asarray(v, self.dtype) for v in values])

        members = self._on_devices
        params = {n: each(m.params[n] for m in members) if n in self.varying else jnp.asarray(self.params[n], self.dtype) for n in self.params}
        cells = self._cell(np.stack([m.initial.cell for m in members]) if self.boxes_differ else self.initial.cell)
        chosen = members if self.atoms_differ else members[:1]
        masses, species = each(m.initial.masses for m in chosen), jnp.asarray(np.stack([m.initial.species for m in chosen]), jnp.int32)
        if not self.atoms_differ:
            masses, species = masses[0], species[0]
        return Inputs(params, cells, masses, species, self.key[self.source], None, None)

    def _each(self, values, dtype):
        """An array with one entry for each member."""
        values = np.asarray(values)
        return jnp.asarray(np.broadcast_to(values, len(self.members)) if values.ndim == 0 else self._stood_in(self._padded(values)), dtype)

    def _padded(self, values: np.ndarray) -> np.ndarray:
        """Values of replicas, with those of the last once more for members that only fill up a device."""
        short = len(self.members) - len(values)
        return np.concatenate([values, np.repeat(values[-1:], short, axis=0)]) if short > 0 else values

    def _stood_in(self, values):
        return values if np.ndim(values) == 0 else np.asarray(values)[self.source]

    @property
    def _on_devices(self) -> tuple[Member, ...]:
        return tuple(self.members[k] for k in self.source)

    def _cell(self, matrix: np.ndarray) -> Cell:
        entries = of_matrix(np.moveaxis(matrix, 0, -1) if matrix.ndim == 3 else matrix, self.initial.tilted)
        return Cell(*(tuple(jnp.asarray(v, self.dtype) for v in part) for part in entries))

    def _columns(self, rows: np.ndarray) -> tuple:
        return super()._columns(self._padded(np.asarray(rows)))

    def _needed(self, needed) -> neighbours.Needed:
        return neighbours.Needed(*(np.asarray(n)[0] for n in needed))  # the same for all

    def start(self, snapshot: Snapshot) -> State:
        inputs = self.inputs(snapshot.time, snapshot.step)
        if self.boxes_differ:
            inputs = inputs._replace(cell=self._cell(self._padded(snapshot.cell)))
        places = (self._columns(rows) for rows in (snapshot.x, snapshot.v, snapshot.images))
        return self.listed(self.dynamics.start(inputs, *places, self._each(snapshot.step, jnp.int32)), inputs)

    def snapshot(self, state: State, t) -> Snapshot:
        """All replicas, along the first axes."""
        cells = self._cells(state)
        x, images = self._by_user(state, state.x), self._by_user(state, state.images)
        wrapped = [wrap(a, cell, self.initial.periodic) for a, cell in zip(x, cells)]
        time = np.array(np.broadcast_to(np.asarray(t, float), len(self.members)))
        began = None if self._began is None else np.swapaxes(self._began, 0, 1)[: self.count]
        moved = images[: self.count] + np.stack([m for _, m in wrapped])[: self.count]
        return Snapshot(
            np.stack([a for a, _ in wrapped])[: self.count],
            self._by_user(state, state.v)[: self.count],
            moved,
            np.array(state.step)[: self.count],
            time[: self.count],
            cells[: self.count],
            began,
        )

    def _cells(self, state: State) -> np.ndarray:
        """[B, d, d]"""
        if not self.changing:
            return np.stack([m.initial.cell for m in self._on_devices])
        matrices = np.zeros((len(self.members), self.model.dim, self.model.dim))
        entries = [(k, k) for k in range(self.model.dim)] + [(k, j) for k in range(self.model.dim) for j in range(k) if state.cell.tilts]
        for place, values in zip(entries, state.cell.leaves):
            matrices[(slice(None), *place)] = np.asarray(values)
        return matrices

    def _by_user(self, state: State, rows: tuple) -> np.ndarray:
        """[B, N, d] in the user's order."""
        ids = np.asarray(state.ids)
        out = np.empty((*ids.shape, len(rows)))
        for k, column in enumerate(rows):
            np.put_along_axis(out[..., k], ids, np.asarray(column, float), axis=1)
        return out

    def first(self) -> Snapshot:
        initials = [m.initial for m in self.members[: self.count]]
        x, v, cell = (np.stack([getattr(i, name) for i in initials]) for name in ("x", "v", "cell"))
        return Snapshot(x, v, np.zeros_like(x), np.zeros(self.count, int), np.zeros(self.count), cell)

    # -- running ---------------------------------------------------------------------------------------------

    def run(self, listener: Listener, most_steps: int | None = None, snapshot: Snapshot | None = None, place: Place | None = None, seconds: float = 0.25) -> Snapshot:
        none = np.zeros(len(self.members), int)
        if place is None:
            place = Place(0, none, none.astype(float), none.astype(bool))
        else:
            place = replace(place, **{name: self._stood_in(self._padded(np.asarray(getattr(place, name)))) for name in ("done", "t", "met")})
        self._closed = (place.statement, place.met)
        if snapshot is not None and snapshot.began is not None:  # as `Runner.run` has it, with x, images and v first
            snapshot = replace(snapshot, began=np.swapaxes(self._padded(snapshot.began), 0, 1))
        self._lost = listener.lost
        final = super().run(listener, most_steps, snapshot, place, seconds)
        for k, loss in self.lost.items():
            for values in (final.x, final.v, final.cell):
                values[k] = np.nan
            final.step[k], final.time[k] = loss.step, loss.time
        return final

    def without(self, lost: Mapping[int, Loss]) -> None:
        """Go on without some replicas. Raises Rejected where none is left."""
        self.lost |= lost
        living = [k for k in range(self.count) if k not in self.lost]
        if not living:
            raise Rejected(*losses.told(self.lost, self.count))
        gone = [k for k, source in enumerate(self.source) if source in self.lost or min(k, self.count - 1) in self.lost]
        self.source[gone] = living[0]
        self.__dict__.pop("_fixed", None)

    def _outcome(self, steps, met) -> Outcome:
        cut = lambda a: None if a is None else np.array(np.broadcast_to(a, len(self.members))[: self.count])  # noqa: E731
        found = Outcome(cut(steps), cut(met))
        for k, loss in self.lost.items():
            found.steps[k] = loss.done if loss.statement == self.place.statement else 0
            if found.converged is not None:
                found.converged[k] = False
        return found

    def _dt(self, advance: Advance) -> np.ndarray:
        return np.array([0.0 if advance.dt is None else float(value(self.model, advance.dt, m.params, "`dt`")) for m in self._on_devices])

    def checkpoint(self) -> tuple[Snapshot, Place]:
        snapshot, place = super().checkpoint()
        memory = {name: a[: self.count] for name, a in self._memories().items()}
        cut = lambda a: np.asarray(a)[: self.count]  # noqa: E731
        return replace(snapshot, memory=memory), replace(place, done=cut(place.done), t=cut(place.t), met=cut(place.met))

    def _memories(self) -> dict[str, np.ndarray]:
        """The states of the statement under way, [B, ...]."""
        advance = self.field.dynamics[self.place.statement]
        found = {s.name: np.array(jax.tree.map(np.asarray, self._state.kept[s.name])) for s in advance.states}
        return {name: np.moveaxis(a, -1, 0) for name, a in found.items()}

    def _inside(self, array):
        def columns(rows):
            return tuple(map(columns, rows)) if np.ndim(rows) > 1 else jnp.asarray(rows, self.dtype)

        return columns(np.moveaxis(self._padded(array), 0, -1))

    # -- records ---------------------------------------------------------------------------------------------

    def _outputs(self, listener: Listener, advance: Advance, state: State, done: int, last, t, recorded):
        """As `Runner`, for each replica: what is due at the end of a statement is put out when the replica ends it."""
        step, times = np.array(state.step), np.broadcast_to(t, len(self.members))
        recorded = np.full(len(self.members), -1) if recorded is None else recorded
        ended = np.broadcast_to(last, len(self.members))
        at, closed = self._closed
        closed = closed if at == self.place.statement else np.zeros_like(ended)
        for group, final in ((~ended, False), (ended & ~closed, True)):
            which = np.array([k for k in np.flatnonzero(group[: self.count]) if k not in self.lost], int)
            due = [o for o in advance.outputs if self._due(o, done, final) or final and advance.until is not None]
            if not len(which):
                continue
            begun = time.perf_counter()
            for output in (o for o in due if o.kind == "write"):
                listener.frame(output, which, self.snapshot(state, times).of(which))
            self.counts.add("output", time.perf_counter() - begun)
            begun = time.perf_counter()
            which = which[step[which] != recorded[which]]
            row: dict[str, object] = {}
            for output in due:
                if output.kind == "record" and len(which):
                    row |= self._observed(advance, output.names, state, jnp.asarray(times, self.dtype))
            if row:
                values = {name: rows_of(v)[which] for name, v in row.items()}
                self.counts.add("observe", time.perf_counter() - begun)
                listener.record(which, step[which], times[which], values)
                recorded = np.where(group, step, recorded)
        self._closed = (self.place.statement, ended | closed)
        return recorded

    def _observed(self, advance: Advance, names: tuple[str, ...], state: State, t) -> dict[str, object]:
        self._beyond.setdefault(names, None)  # sums that reach beyond the list visit all pairs
        return super()._observed(advance, names, state, t)

    # -- trouble ---------------------------------------------------------------------------------------------

    def _strongest(self, k: int, snapshot: Snapshot) -> Culprit | None:
        """The strongest interaction of a replica."""
        member = self.members[k]
        return culprit(self.field, replace(member.initial, cell=snapshot.cell[k]), member.params, snapshot.x[k], self.cutoffs[k])

    def check_start(self, snapshot: Snapshot) -> None:
        alike = not self.varying and not self.atoms_differ and not (snapshot.x != snapshot.x[:1]).any()
        for k in range(1 if alike else self.count):
            found = None if k in self.lost else self._strongest(k, snapshot)
            if found is not None and not found.finite:
                raise Rejected(overlap(found, f" of replica {k}"))

    def _failed(self, advance: Advance, flag: int, before: State, after: State, t, origin, dt) -> State:
        cells, cutoffs = self._cells(after), self._stood_in(self._padded(np.array([np.inf if c is None else c for c in self.cutoffs])))
        which = losses.fallen(flag, after, cells, self.initial.periodic, cutoffs)
        last = self._last_sound(advance, before, after, t, origin) if flag == BLOW_UP else None
        step = np.asarray(after.step)
        sound = step - 1 if flag == TOO_SMALL else step  # of which the box was still large enough
        done = np.broadcast_to(sound - origin, len(self.members))
        lost = {}
        for k in sorted({min(int(self.source[k]), self.count - 1) for k in which}):  # whoever they are copies of
            found = last and self._strongest(k, last)
            what = self._told(advance, flag, int(step[k]), cells[k], self.cutoffs[k], found, float(dt[k]), f" of replica {k}")
            lost[k] = Loss(int(sound[k]), float(np.broadcast_to(t, done.shape)[k] + done[k] * dt[k]), self.place.statement, int(done[k]), what)
        for k, loss in lost.items():
            self._lost(k, loss)
        self.without(lost)
        if self._began is not None:
            self._began = self._began[:, self.source]
        return losses.in_place(before, self.source)


def check_shapes(model: Model, members: Sequence[Member]) -> None:
    """Refuse members that one program cannot hold. Raises Rejected: ``batch-shape``."""

    def refuse(what: str, a, b) -> None:
        raise Rejected(Diagnostic("batch-shape", f"the replicas of a batch differ in {what}: {a} and {b}", help="run them one by one, with --set"))

    first = members[0].initial
    for member in members[1:]:
        for what, of in (("the number of atoms", lambda i: i.atoms), ("the axes that repeat", lambda i: i.periodic)):
            if of(member.initial) != of(first):
                refuse(what, of(first), of(member.initial))
    if not varying(members):
        return
    for advance in (s for s in model.run if isinstance(s, Advance)):
        for what, expr in (("the number of steps", advance.steps), *(("`every`", o.every) for o in advance.outputs if o.every is not None)):
            found = sorted({float(value(model, expr, m.params, what)) for m in members})
            if len(found) > 1:
                refuse(what, f"{found[0]:g}", f"{found[-1]:g}")


def varying(members: Sequence[Member]) -> frozenset[str]:
    """The parameters that are not the same for all."""
    first = members[0].params
    return frozenset(n for n in first if any(m.params[n] is not first[n] and not np.array_equal(m.params[n], first[n]) for m in members))


def rows_of(value) -> np.ndarray:
    """[B, ...] of an observable, whose components are nested tuples of arrays [B]."""
    return np.moveaxis(np.array(jax.tree.map(np.asarray, value)), -1, 0) if isinstance(value, tuple) else np.asarray(value)
