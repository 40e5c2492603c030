"""The systems of a run: the replicas of a batch, which differ in their random numbers, start, or parameters, or one
alone.

Arrays of the host have the systems along their first axis, and numbers such as steps and times are arrays with one for
each. So have those of the devices, where one program advances all of them (`replicas.Replicas`), but of one alone:
`Members.placed` and `Members.gathered` are the way there and back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from dataclasses import field as with_default
from functools import cached_property

import jax
import jax.numpy as jnp
import numpy as np

from mdsl.grammar.diagnostics import Diagnostic, Rejected
from mdsl.interpret.constants import value, whole
from mdsl.lowering.dynamics.observing import reaches
from mdsl.lowering.dynamics.state import Began, Inputs
from mdsl.lowering.dynamics.transfer import cell_of, columns
from mdsl.lowering.field.field import Field
from mdsl.lowering.geometry.cell import Cell
from mdsl.lowering.kernels.globals import complete
from mdsl.lowering.planning.traversal import Facts
from mdsl.model.nodes import Advance, Model, Output
from mdsl.start.initial import Initial

from .losses import Loss
from .outcome import Outcome
from .program import Lowered
from .snapshot import Snapshot


@dataclass(frozen=True, eq=False)
class Member:
    """What is a replica's own: where it starts, its free parameters (internal units, and data), its random key."""

    initial: Initial
    params: Mapping[str, object]
    key: object


@dataclass(frozen=True, eq=False)
class Members:
    """``all``: the members of a run, of which ``count`` were asked for; the others only fill up a device. ``alone``:
    there is one, no replica, whose arrays have no axis of replicas on the devices. ``devices``: those among which
    replicas are shared.

    ``number``: which replica it is, of one that goes its way apart from the others.

    ``lost``: the replicas that went wrong on the way, for which others stand in (`losses`): member k on the devices is
    ``source[k]`` of ``all``.
    """

    lowered: Lowered
    all: tuple[Member, ...]
    count: int
    alone: bool
    devices: tuple = ()
    lost: Mapping[int, Loss] = with_default(default_factory=dict)
    source: tuple[int, ...] = (0,)
    number: int | None = None

    @property
    def asked(self) -> tuple[Member, ...]:
        return self.all[: self.count]

    @property
    def first(self) -> Member:
        """From which all is taken that must be the same for all: atoms, and numbers of steps."""
        return self.all[0]

    @property
    def on_devices(self) -> tuple[Member, ...]:
        return tuple(self.all[k] for k in self.source)

    @property
    def apart(self) -> tuple[Members, ...]:
        """Each of those that were asked for as a system alone."""
        return tuple(Members(self.lowered, (m,), 1, alone=True, number=k) for k, m in enumerate(self.asked))

    @property
    def computed(self) -> tuple[int, ...]:
        """Which of those that were asked for each is, or is a copy of."""
        return tuple(min(k, self.count - 1) for k in self.source)

    def without(self, lost: Mapping[int, Loss]) -> Members:
        """Those who go on when some were lost; copies of the first that is left take their places, if one is."""
        lost = {**self.lost, **lost}
        living = next((k for k in range(self.count) if k not in lost), None)
        gone = [source in lost or min(k, self.count - 1) in lost for k, source in enumerate(self.source)]
        source = self.source if living is None else tuple(living if g else k for g, k in zip(gone, self.source))
        return replace(self, lost=lost, source=source)

    def in_states(self, states: np.ndarray) -> Members:
        """Each asked for with the parameters that the one of this number began with."""
        last = self.count - 1
        given = [self.all[states[min(k, last)]].params for k in range(len(self.all))]
        return replace(self, all=tuple(replace(m, params=p) for m, p in zip(self.all, given)))

    # -- in what they differ -----------------------------------------------------------------------------------

    @cached_property
    def facts(self) -> list[Facts]:
        """By which it is decided how the pairs of each are found."""
        lowered = self.lowered
        longest = np.max([self.dt(a)[: self.count] for a in lowered.field.dynamics], axis=0, initial=0.0)
        speeds = (float(np.sqrt((m.initial.v**2).sum(axis=1).max(initial=0.0))) for m in self.asked)
        return [
            lowered.facts(m.params, m.initial.x, m.initial.cell, changing=lowered.changing, drift=speed * dt)
            for m, speed, dt in zip(self.asked, speeds, np.broadcast_to(longest, self.count).tolist())
        ]

    @property
    def cutoffs(self) -> list[float | None]:
        """Where the energies of each end; None where they do not."""
        return [f.cutoff for f in self.facts]

    @cached_property
    def ends(self) -> list[dict[str, float]]:
        """Where sums for observables end."""
        return [reaches(self.lowered.potential, complete(self.lowered.model, m.params)) for m in self.asked]

    @cached_property
    def varying(self) -> frozenset[str]:
        """The parameters that are not the same for all."""
        return varying(self.asked)

    @cached_property
    def boxes_differ(self) -> bool:
        return not self.alone and (self.lowered.changing or not self._same("cell"))

    @cached_property
    def atoms_differ(self) -> bool:
        return not (self._same("species") and self._same("masses"))

    def _same(self, name: str) -> bool:
        return all(np.array_equal(getattr(m.initial, name), getattr(self.first.initial, name)) for m in self.asked)

    def like(self, others: Members) -> bool:
        """Whether what was compiled for others serves these."""
        mine, theirs = ((m.count, m.varying, m.cutoffs, m.ends) for m in (self, others))
        return mine == theirs and all(
            np.array_equal(getattr(a.initial, n), getattr(b.initial, n))
            for a, b in zip(self.asked, others.asked)
            for n in ("cell", "species", "masses")
        )

    # -- arrays ------------------------------------------------------------------------------------------------

    def spread(self, values):
        """[B, ...]: a value for each member on the devices, from one for all, or one for each that was asked for."""
        values = np.asarray(values)
        if values.ndim == 0:
            return np.broadcast_to(values, len(self.all))
        short = len(self.all) - len(values)
        values = np.concatenate([values, np.repeat(values[-1:], short, axis=0)]) if short > 0 else values
        return values[np.array(self.source)] if self.lost else values

    def cut(self, values):
        """The values of those that were asked for."""
        return np.asarray(values)[: self.count]

    def placed(self, values):
        """Values as `spread` takes them, as the devices have them."""
        values = self.spread(values)
        return values[0] if self.alone else values

    def gathered(self, values) -> np.ndarray:
        """[B, ...], of an array of the devices."""
        return np.asarray(values)[None] if self.alone else np.asarray(values)

    @cached_property
    def cells(self) -> np.ndarray:
        """[B, d, d]: the boxes at the start, of those on the devices."""
        return np.stack([m.initial.cell for m in self.on_devices])

    def start(self) -> Snapshot:
        """The beginning of the run."""
        x, v, images, cell = (
            np.stack([getattr(m.initial, name) for m in self.asked]) for name in ("x", "v", "images", "cell")
        )
        return Snapshot(x, v, images, np.zeros(self.count, int), np.zeros(self.count), cell)

    def dt(self, advance: Advance) -> np.ndarray:
        """[B]: the time of a step of each on the devices; 0 of a scheme without."""
        if advance.dt is None:
            return np.zeros(len(self.all))
        return np.array([float(value(self.lowered.model, advance.dt, m.params, "`dt`")) for m in self.on_devices])

    def who(self, k: int) -> str:
        """Which of them it is, in words that follow others."""
        number = self.number if self.alone else k
        return "" if number is None else f" of replica {number}"

    def end(self, found: Snapshot) -> Snapshot:
        """The end of the run, with those that were lost where they were: nowhere."""
        if not self.lost:
            return found
        x, v, cell, step, time = (np.array(getattr(found, name)) for name in ("x", "v", "cell", "step", "time"))
        for k, loss in self.lost.items():
            x[k], v[k], cell[k] = np.nan, np.nan, np.nan
            step[k], time[k] = loss.step, loss.time
        return replace(found, x=x, v=v, cell=cell, step=step, time=time)

    def outcome(self, statement: int, steps, met) -> Outcome:
        """How a statement ended. ``steps`` done; ``met``: whether its condition holds, None where it has none."""
        steps, met = np.array(self.cut(steps)), None if met is None else np.array(self.cut(met))
        for k, loss in self.lost.items():
            steps[k] = loss.done if loss.statement == statement else 0
            if met is not None:
                met[k] = False
        return Outcome(steps, met)

    def steps(self, advance: Advance, most: int | None = None) -> int:
        """The number of steps of a statement, the same for all."""
        steps = whole(self.lowered.model, advance.steps, self.first.params, "the number of steps")
        return steps if most is None else min(steps, most)

    def every(self, output: Output) -> int | None:
        """Every how many steps something is put out; None: at the end."""
        if output.every is None:
            return None
        return max(1, whole(self.lowered.model, output.every, self.first.params, "`every`"))

    # -- what the device is given ------------------------------------------------------------------------------

    def inputs(self, t, origin, skin: float, began: np.ndarray | None = None, t_began=0.0) -> Inputs:
        """For steps from the time ``t`` at step ``origin`` on. ``began``: x, images and v when the statement began,
        [3, B, N, d]. Replicas have no skin of their own."""
        dtype = self.lowered.dtype
        past = [] if began is None else [columns(self.placed(rows), dtype) for rows in began]
        return self._fixed._replace(
            t=self.each(t, dtype),
            origin=self.each(origin, jnp.int32),
            began=Began(*past, self.each(t_began, dtype)) if past else (),
            skin=jnp.asarray(skin, dtype) if self.alone else None,
        )

    def each(self, values, dtype):
        return jnp.asarray(self.placed(values), dtype)

    def cell(self, matrix: np.ndarray) -> Cell:
        """The boxes with these vectors, [B, d, d]; one for all where it is the same."""
        matrix = self.spread(matrix) if self.boxes_differ else matrix[0]
        return cell_of(matrix, self.first.initial.tilted, self.lowered.dtype)

    @cached_property
    def _fixed(self) -> Inputs:
        """What stays the same during a run."""
        dtype = self.lowered.dtype

        def stacked(values, differ: bool, dtype):
            values = [np.asarray(v) if dtype is jnp.int32 else v for v in values]
            return jnp.stack([jnp.asarray(v, dtype) for v in values]) if differ else jnp.asarray(values[0], dtype)

        params = {
            n: stacked([m.params[n] for m in self.on_devices], n in self.varying, dtype) for n in self.first.params
        }
        masses = stacked([m.initial.masses for m in self.on_devices], self.atoms_differ, dtype)
        species = stacked([m.initial.species for m in self.on_devices], self.atoms_differ, jnp.int32)
        key = self.first.key if self.alone else jnp.stack([m.key for m in self.on_devices])
        return Inputs(params, self.cell(self.cells), masses, species, key, None, None)

    def params_of(self, states: np.ndarray) -> dict[str, object]:
        """The parameters on the devices, where each has those that the one of this number began with."""
        order = self.spread(states)
        return {**self._fixed.params, **{name: a[order] for name, a in self._varied.items()}}

    @cached_property
    def _varied(self) -> dict[str, np.ndarray]:
        """The parameters that are not the same for all, on the host."""
        return {name: np.asarray(self._fixed.params[name]) for name in self.varying}

    @property
    def shared(self) -> Inputs:
        """Of which inputs there is one for each replica ("all"), and which are the "same" (`replicas.Replicas`)."""
        spec = lambda differ: "all" if differ else "same"  # noqa: E731
        params = {name: spec(name in self.varying) for name in self.first.params}
        atoms = spec(self.atoms_differ)
        return Inputs(params, spec(self.boxes_differ), atoms, atoms, key="all", t="all", origin="one", began="all")


def single(field: Field, initial: Initial, params: Mapping[str, object], key, precision: str) -> Members:
    """The run of one system."""
    return Members(Lowered.of(field, initial, precision), (Member(initial, params, key),), 1, alone=True)


def batch(field: Field, members: Sequence[Member], precision: str, devices: Sequence | None = None) -> Members:
    """The run of several, as many on each of ``devices``. Raises Rejected: ``batch-shape``."""
    check_shapes(field.model, members)
    devices = tuple(devices or jax.devices()[:1])[: len(members)]
    short = -len(members) % len(devices)
    return Members(
        Lowered.of(field, members[0].initial, precision),
        (*members, *members[-1:] * short),
        len(members),
        False,
        devices,
        source=tuple(range(len(members) + short)),
    )


def check_shapes(model: Model, members: Sequence[Member]) -> None:
    """Refuse members that one program cannot hold. Raises Rejected: ``batch-shape``."""

    def refuse(what: str, a, b) -> None:
        raise Rejected(
            Diagnostic(
                "batch-shape",
                f"the replicas of a batch differ in {what}: {a} and {b}",
                help="run them one by one, with --set",
            )
        )

    first = members[0].initial
    for member in members[1:]:
        for what, of in (("the number of atoms", lambda i: i.atoms), ("the axes that repeat", lambda i: i.periodic)):
            if of(member.initial) != of(first):
                refuse(what, of(first), of(member.initial))
    exchanging = any(o.kind == "exchange" for a in model.run if isinstance(a, Advance) for o in a.outputs)
    for member in members if exchanging else ():
        for name in ("species", "masses"):
            if not np.array_equal(getattr(member.initial, name), getattr(first, name)):
                raise Rejected(
                    Diagnostic(
                        "batch-shape",
                        f"replicas that exchange have the same atoms, but these differ in their {name}",
                        help="read the atoms from a file, or bind them",
                    )
                )
    if not varying(members):
        return
    for advance in (s for s in model.run if isinstance(s, Advance)):
        for what, expr in (
            ("the number of steps", advance.steps),
            *(("`every`", o.every) for o in advance.outputs if o.every is not None),
        ):
            found = sorted({float(value(model, expr, m.params, what)) for m in members})
            if len(found) > 1:
                refuse(what, f"{found[0]:g}", f"{found[-1]:g}")


def varying(members: Sequence[Member]) -> frozenset[str]:
    """The parameters that are not the same for all."""
    first = members[0].params
    return frozenset(
        n
        for n in first
        if any(m.params[n] is not first[n] and not np.array_equal(m.params[n], first[n]) for m in members)
    )
