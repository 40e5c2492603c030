"""Running a program: statements of dynamics in chunks, with records and frames where they are due."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np

from mdsl.box import decided_by
from mdsl.box_shape import changes_box
from mdsl.grammar.diagnostics import Diagnostic, Rejected
from mdsl.before_run import value, whole
from mdsl.initial import Initial
from mdsl.model import Advance
from mdsl.outcome import Outcome

from . import images as images_of, neighbours, observing
from .box import carried, declared
from .cell import Cell, cast as cast_cell, matrix_of, of_matrix
from .choice import Traversal, choose, leg_room, too_small
from .culprit import Culprit, culprit
from .dynamics import BETWEEN, Began, BLOW_UP, FINE, OVERFLOW, STALE, STALE_INSIDE, TOO_SMALL, Dynamics, Inputs, State
from .layout import Layout, ManyDevices, OneDevice
from .limits import ALL_PAIRS, ATOMS_EACH, best_skin
from .potential import Geometry, Potential
from .snapshot import Counts, Listener, Place, Snapshot
from .topologies import Topologies
from .traced import trajectory
from .values import complete, defaults

MOST_GROWTHS = 20
LONG = 20.0  # seconds of steps, from which on it pays to compile a program that times the forces alone
TIMED = 5  # evaluations of the forces
PRECISIONS = {"single": (jnp.float32, jnp.float32), "mixed": (jnp.float64, jnp.float32), "double": (jnp.float64, jnp.float64)}


class Runner:
    """One run of one program on one system."""

    def __init__(
        self,
        fielded,
        initial: Initial,
        params: Mapping[str, object],
        seed_key,
        precision: str,
        devices: tuple | None = None,
        skin: float | None = None,
    ):
        self._of(fielded, initial, precision, skin)
        self.cutoff = self._cutoff(params)
        self.prepare(params, seed_key)
        self.ends = self._ends(params)
        self.potential = replace(self.always, field=observing.within(fielded, self.ends, self.cutoff or 0.0))
        self.traversal: Traversal = choose(fielded, initial.x, initial.cell, initial.periodic, self.cutoff, skin, self.changing, self._drift(params))
        self.legs = leg_room(self.potential, complete(self.model, self.params), initial.x, initial.cell)
        self.layout: Layout = OneDevice(initial.atoms)
        shared = tuple(devices or ())[: initial.atoms // ATOMS_EACH]
        if len(shared) > 1 and self.traversal.plan is not None:
            self.layout = ManyDevices(initial.atoms, shared)
        self._programs: dict[object, object] = {}
        self._beyond: dict[tuple[str, ...], observing.Beyond | None] = {}
        self.dynamics = self._dynamics()

    def _of(self, fielded, initial: Initial, precision: str, skin: float | None) -> None:
        """Which program and which atoms; nothing is planned yet."""
        self.field, self.model, self.initial, self.skin = fielded, fielded.model, initial, skin
        self.dtype, kernel_dtype = PRECISIONS[precision]
        # Which sums the list holds all pairs of, whatever the parameters: for transformations, which may change these.
        self.always = Potential(fielded, Geometry(self.model.dim, initial.periodic), kernel_dtype, Topologies(initial.topologies, initial.atoms))
        self.potential = self.always
        self.changing = initial.declared and "t" in decided_by(self.model) or changes_box(self.model)

    def prepare(self, params: Mapping[str, object], key) -> None:
        """Make ready for a run with these free parameters and this key."""
        self.params, self.key, self.counts = dict(params), key, Counts()
        self.place, self._began = Place(), None
        self._skin: float | None = None  # of the present list
        self._built: int | None = None  # at which step it was built

    def _drift(self, params: Mapping[str, object]) -> float:
        """How far the fastest atom moves in a step at the beginning."""
        speed = float(np.sqrt((self.initial.v**2).sum(axis=1).max(initial=0.0)))
        return speed * max((self._dt(a) for a in self.field.dynamics), default=0.0)

    def fits(self, params: Mapping[str, object], initial: Initial) -> bool:
        """Whether what was compiled for one run serves another with these parameters and atoms."""
        return self._cutoff(params) == self.cutoff and self._ends(params) == self.ends and np.array_equal(initial.cell, self.initial.cell)

    def _cutoff(self, params: Mapping[str, object]) -> float | None:
        cutoff = self.potential.cutoff(complete(self.model, params))
        return None if cutoff is None else float(cutoff)

    def _ends(self, params: Mapping[str, object]) -> dict[str, float]:
        return observing.reaches(self.always, complete(self.model, params))

    # -- programs ------------------------------------------------------------------------------------------

    def _dynamics(self) -> Dynamics:
        self._programs.clear()
        self._called: set[int] = set()
        return Dynamics(self.potential, self.layout, self.traversal.plan, self.traversal.skin, self.initial.dof, self.dtype, legs=self.legs, changing=self.changing)

    def _program(self, key: tuple, make):
        """A compiled program of the present plan, made when it is first wanted."""
        if key not in self._programs:
            self._programs[key] = make()
        return self._programs[key]

    def _chunk(self, advance: Advance):
        return self._program(("chunk", id(advance)), lambda: self.dynamics.chunk(advance))

    def _columns(self, rows: np.ndarray) -> tuple:
        """[N, d] as d arrays [N]."""
        return tuple(jnp.asarray(rows[..., k], self.dtype) for k in range(self.model.dim))

    def inputs(self, t: float, origin: int) -> Inputs:
        cast = lambda a: jnp.asarray(a, self.dtype)  # noqa: E731
        return Inputs(
            jax.tree.map(cast, self.params),
            self._cell(self.initial.cell),
            cast(self.initial.masses),
            jnp.asarray(self.initial.species, jnp.int32),
            self.key,
            cast(t),
            jnp.int32(origin),
            () if self._began is None else Began(*(self._columns(rows) for rows in self._began), cast(self.place.t)),
            cast(self.traversal.skin if self._skin is None else self._skin),
        )

    def _cell(self, matrix: np.ndarray) -> Cell:
        return cast_cell(of_matrix(matrix, self.initial.tilted), self.dtype)

    # -- state ---------------------------------------------------------------------------------------------

    def start(self, snapshot: Snapshot) -> State:
        """The state on the devices, with a list that holds; its force is not known yet."""
        self._skin, self._built = None, snapshot.step
        inputs = self.inputs(snapshot.time, snapshot.step)._replace(cell=self._cell(snapshot.cell))
        step = jnp.asarray(snapshot.step, jnp.int32)
        state = self.dynamics.start(inputs, self._columns(snapshot.x), self._columns(snapshot.v), self._columns(snapshot.images), step)
        return self.listed(state, inputs)

    def listed(self, state: State, inputs: Inputs) -> State:
        """The state with a new list, which is grown until it fits."""
        if self.traversal.plan is None:
            return state
        for _ in range(MOST_GROWTHS):
            begun = time.perf_counter()
            state = self.dynamics.rebuild(inputs, state)
            flag = most(state.flag)
            self.counts.list_builds += 1
            self.counts.add("lists" if self.counts.list_builds > 1 + self.counts.regrown else "compile", time.perf_counter() - begun)
            if flag != OVERFLOW:
                return state
            state = self._grow(state)
        raise Rejected(Diagnostic("neighbour-overflow", "the neighbour list does not stop growing", notes=("atoms gather without bound in one place",)))

    def _adapted(self, state: State, inputs: Inputs) -> Inputs:
        """The inputs with a skin for the next list, by how long the last one has held, and how many pairs it holds. The
        time that things took has no part in it: a run is to repeat."""
        step, before = most(state.step), self._built
        self._built = step
        if self.skin is not None or inputs.skin is None or before is None or step <= before or self.cutoff is None:
            return inputs
        skin = float(inputs.skin)
        found = best_skin(self.cutoff, skin, self.traversal.most_skin, float(most(state.used)), step - before, self.model.dim)
        self._skin = max(skin + 0.5 * (found - skin), 0.5 * self.traversal.skin)
        return inputs._replace(skin=jnp.asarray(self._skin, self.dtype))

    def _grow(self, state: State) -> State:
        """The same state with room for a longer list."""
        self.counts.regrown += 1
        plan = neighbours.grow(self.traversal.plan, self._needed(state.needed))
        self.traversal = replace(self.traversal, plan=plan)
        self.dynamics = self._dynamics()
        *replicas, _, rows = state.slots.shape
        return state._replace(slots=jax.device_put(jnp.zeros((*replicas, plan.slots, rows), jnp.int32), state.slots.sharding))

    def _needed(self, needed) -> neighbours.Needed:
        """The capacities that a list needed, as numbers."""
        return neighbours.Needed(*(np.asarray(n) for n in needed))

    def snapshot(self, state: State, t: float) -> Snapshot:
        x, images = self._by_user(state, state.x), self._by_user(state, state.images)
        cell = matrix_of(state.cell) if self.changing else self.initial.cell
        x, moved = images_of.wrap(x, cell, self.initial.periodic)
        return Snapshot(x, self._by_user(state, state.v), images + moved, int(state.step), t, cell, self._began)

    def _by_user(self, state: State, rows: tuple) -> np.ndarray:
        """[N, d] in the user's order."""
        ids = np.asarray(state.ids)[: self.initial.atoms]
        out = np.empty((len(ids), len(rows)), float)
        for k, column in enumerate(rows):
            out[ids, k] = np.asarray(column)[: len(ids)]
        return out

    def first(self, initial: Initial | None = None) -> Snapshot:
        """The beginning of a run, of these atoms or others in the same box."""
        initial = initial or self.initial
        return Snapshot(initial.x, initial.v, np.zeros_like(initial.x), 0, 0.0, initial.cell)

    # -- running -------------------------------------------------------------------------------------------

    def run(self, listener: Listener, most_steps: int | None = None, snapshot: Snapshot | None = None, place: Place = Place(), seconds: float = 0.25) -> Snapshot:
        """All statements of dynamics from ``place`` on; each has at most ``most_steps`` steps.

        ``seconds`` of wall time pass between calls of ``listener.progress``, about.
        """
        snapshot = snapshot or self.first()
        self.check_start(snapshot)
        state = self.start(snapshot)
        self.outcomes: list[Outcome] = []
        t, recorded = place.t, None
        statements = self.field.dynamics
        for index, advance in enumerate(statements[place.statement :], place.statement):
            steps = self._steps(advance, most_steps)
            dt = self._dt(advance)
            each = place.done if index == place.statement else 0  # steps done, of each replica
            met = index == place.statement and place.met
            done, origin = most(each), plain(state.step) - each
            memory = self._memory(advance, snapshot) if done else self._begin(advance, state, t, origin)
            state = self.dynamics.enter(advance, state, memory)
            if np.any(met):
                state = state._replace(met=jnp.asarray(met))
            listener.statement(index, advance, steps, done, dt)
            self.place = Place(index, each, t, met)
            if self.dynamics.looks_back:
                self._began = snapshot.began if done else np.stack([self._by_user(state, rows) for rows in (state.x, state.images, state.v)])
            if index == 0 and done == 0:
                recorded = self._outputs(listener, advance, state, 0, steps == 0, t, recorded)
            size, warm = 1, False
            while done < steps and not np.all(met):
                due = min((n for n in (self._next(o, done, steps) for o in advance.outputs) if n is not None), default=steps)
                count = min(due, done + size) - done
                begun = time.perf_counter()
                state = self._advance(advance, state, count, t, origin, dt)
                elapsed = time.perf_counter() - begun
                met, each = plain(state.met), self._stood_in(plain(state.step) - origin)
                count = most(each) - done
                done += count
                self.counts.steps += count
                if warm:
                    # Chunks grow until they take about as long as asked.
                    size = max(1, min(4 * size, int(count * seconds / max(elapsed, 1e-9))))
                else:
                    size, warm = 16, True  # the first call compiled
                self.place = Place(index, each, t, met)
                recorded = self._outputs(listener, advance, state, done, met | (done == steps), t + each * dt, recorded)
                self._state, self._time = state, t + each * dt
                listener.progress(done, self)
            self.outcomes.append(self._outcome(each, None if advance.until is None else met))
            listener.ended(advance, self.outcomes[-1])
            t = t + each * dt
        return self.snapshot(state, t)

    def _steps(self, advance: Advance, most_steps: int | None) -> int:
        steps = whole(self.model, advance.steps, self.params, "the number of steps")
        return steps if most_steps is None else min(steps, most_steps)

    def _outcome(self, steps, met) -> Outcome:
        return Outcome(steps, met)

    def _dt(self, advance: Advance) -> float:
        return 0.0 if advance.dt is None else float(value(self.model, advance.dt, self.params, "`dt`"))

    def checkpoint(self) -> tuple[Snapshot, Place]:
        """Where the run stands, to go on from."""
        advance = self.field.dynamics[self.place.statement]
        memory = {s.name: np.array(jax.tree.map(np.asarray, self._state.kept[s.name])) for s in advance.states}
        return replace(self.snapshot(self._state, self._time), memory=memory), self.place

    def breakdown(self) -> dict[str, float]:
        """Seconds by part. Of a run whose steps took long enough, one evaluation of the forces is timed apart; as many
        as there were are counted as forces, and what is left of the steps as integration."""
        parts, evaluated = dict(self.counts.seconds), self.counts.force_evaluations
        if parts.get("steps", 0.0) < LONG or not evaluated:
            return parts
        advance, inputs = self.field.dynamics[self.place.statement], self.inputs(self._time, 0)
        timed, state = self.dynamics.evaluations(advance, TIMED), self._state
        if self.traversal.plan is not None:
            state = self.dynamics.rebuild(inputs, state)
        for _ in range(2):  # the first time it is compiled
            begun = time.perf_counter()
            jax.block_until_ready(timed(inputs, state))
            each = (time.perf_counter() - begun) / TIMED
        steps = parts.pop("steps")
        forces = min(steps, each * evaluated)
        return {"forces": forces, "integration": steps - forces, **parts}

    def _begin(self, advance: Advance, state: State, t: float, origin: int) -> Mapping[str, object]:
        """What the states of a statement start from."""
        if not advance.states:
            return {}
        return self._program(("begin", id(advance)), lambda: self.dynamics.begin(advance))(self.inputs(t, origin), state)

    def _memory(self, advance: Advance, snapshot: Snapshot) -> Mapping[str, object]:
        """The states of a statement that goes on. Raises Rejected: ``malformed-checkpoint``."""
        missing = [s.name for s in advance.states if s.name not in snapshot.memory]
        if missing:
            raise Rejected(Diagnostic("malformed-checkpoint", f"the checkpoint does not hold the state `{missing[0]}`"))
        return {s.name: self._inside(snapshot.memory[s.name]) for s in advance.states}

    def _inside(self, array):
        """A state of a statement as the device has it: tuples of numbers."""
        return tuple(map(self._inside, array)) if np.ndim(array) else jnp.asarray(array, self.dtype)

    def _advance(self, advance: Advance, state: State, count: int, t: float, origin: int, dt: float) -> State:
        """``count`` steps, with a new list wherever the old one no longer holds. Raises Rejected: ``blow-up``."""
        inputs = self.inputs(t, origin)
        before, last = state, state.step + count
        evaluations = most(state.evaluations)
        while True:
            begun = time.perf_counter()
            new = self._chunk(advance)(inputs, state, last)
            flag, compiled = most(new.flag), id(advance) in self._called
            self._called.add(id(advance))
            self.counts.add("steps" if compiled else "compile", time.perf_counter() - begun)
            if flag == BLOW_UP and self._more_legs():
                continue
            if flag in (BLOW_UP, TOO_SMALL):  # what is left, if anything, does the chunk once more
                before = state = self._failed(advance, flag, before, new, t, origin, dt)
                inputs, last = self.inputs(t, origin), self._stood_in(last)
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
        if self.legs is None:
            return False
        self.legs = 2 * self.legs if 2 * self.legs < self.initial.atoms else None
        self.counts.regrown += 1
        self.dynamics = self._dynamics()
        return True

    def _single_steps(self, advance: Advance, state: State, last, t: float, origin: int, dt: float) -> State:
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
                state, last = self._failed(advance, flag, before, state, t, origin, dt), self._stood_in(last)
        return state

    def _stood_in(self, values):
        """What is one for each replica, after some were lost."""
        return values

    def _outputs(self, listener: Listener, advance: Advance, state: State, done: int, last: bool, t: float, recorded: int | None) -> int | None:
        """Frames and the row of records that are due; a step that has its row gets no second.

        ``last``: the statement ends here, which is always recorded of one that runs `until` a condition holds.
        ``recorded`` is the last step with a row; so is what comes back.
        """
        due = [o for o in advance.outputs if self._due(o, done, last) or last and advance.until is not None]
        begun = time.perf_counter()
        for output in due:
            if output.kind == "write":
                listener.frame(output, self.snapshot(state, t))
        self.counts.add("output", time.perf_counter() - begun)
        begun = time.perf_counter()
        row: dict[str, object] = {}
        for output in due:
            if output.kind == "record" and recorded != int(state.step):
                row |= self._observed(advance, output.names, state, t)
        if row:
            values = {name: np.array(jax.tree.map(np.asarray, value)) for name, value in row.items()}
            self.counts.add("observe", time.perf_counter() - begun)
            listener.record(int(state.step), t, values)
            recorded = int(state.step)
        return recorded

    def _observed(self, advance: Advance, names: tuple[str, ...], state: State, t: float) -> dict[str, object]:
        """The values of observables; where they have a list of their own, it is grown until it fits."""
        if names not in self._beyond:
            far = self.initial.atoms > ALL_PAIRS and not self.changing
            self._beyond[names] = observing.beyond(self.potential, names, self.ends, self.snapshot(state, t).x, self.initial.cell, self.initial.periodic) if far else None
        for _ in range(MOST_GROWTHS):
            more = self._beyond[names]
            observer = self._program(("observe", id(advance), names, more and more.plan), lambda m=more: observing.observer(self.dynamics, advance, names, m))
            values, needed = observer(self.inputs(t, 0), state, jnp.asarray(t, self.dtype))
            if not needed or not bool(neighbours.overflows(more.plan, self._needed(needed))):
                return values
            self._beyond[names] = replace(more, plan=neighbours.grow(more.plan, self._needed(needed)))
        raise Rejected(Diagnostic("neighbour-overflow", "the list of an observable does not stop growing", notes=("atoms gather without bound in one place",)))

    def _every(self, output) -> int | None:
        return None if output.every is None else max(1, whole(self.model, output.every, self.params, "`every`"))

    def _due(self, output, done: int, last: bool) -> bool:
        every = self._every(output)
        return last if every is None else done % every == 0

    def _next(self, output, done: int, steps: int) -> int | None:
        every = self._every(output)
        following = steps if every is None else (done // every + 1) * every
        return following if following <= steps else None

    def trace(self, key, params: Mapping[str, object], most_steps: int | None = None, x=None, v=None, cell: Cell | None = None):
        """The run as a pure function of ``key``, free parameters, and where given the start [N, d] and the box, for
        use inside transformations.

        How many steps and records there are, and the room of the neighbour list, follow from the parameters that
        this runner was made with. Returns the records, the final state, the time, and how each statement ended.
        """
        statements = []
        for advance in self.field.dynamics:
            steps = whole(self.model, advance.steps, self.params, "the number of steps")
            steps = steps if most_steps is None else min(steps, most_steps)
            names = {n: self._every(o) for o in advance.outputs if o.kind == "record" for n in o.names}
            statements.append((advance, steps, names))
        follows = cell is None and self.initial.declared and bool(decided_by(self.model) & params.keys())  # the box follows these parameters
        changing = self.changing or follows or cell is not None
        dynamics = Dynamics(self.always, OneDevice(self.initial.atoms), self.traversal.plan, self.traversal.skin, self.initial.dof, self.dtype, legs=self.legs, traced=True, changing=changing)
        inputs = self.inputs(0.0, 0)._replace(skin=None, key=key, params=jax.tree.map(lambda a: jnp.asarray(a, self.dtype), dict(params)))
        x, v = (self._columns(bound if given is None else given) for bound, given in ((self.initial.x, x), (self.initial.v, v)))
        if follows:
            cell = declared(self.model, complete(self.model, inputs.params), 0.0, self.initial.atoms, self.dtype)
            x = carried(x, inputs.cell, cell)
        inputs = inputs if cell is None else inputs._replace(cell=cell)
        return trajectory(dynamics, inputs, x, v, tuple(statements))

    # -- trouble -------------------------------------------------------------------------------------------

    def check_start(self, snapshot: Snapshot) -> None:
        """Refuse positions at which a pair has no finite force. Raises Rejected: ``overlap``."""
        found = culprit(self.field, replace(self.initial, cell=snapshot.cell), self.params, snapshot.x, self.cutoff)
        if found is not None and not found.finite:
            raise Rejected(overlap(found))

    def _failed(self, advance: Advance, flag: int, before: State, after: State, t: float, origin: int, dt: float) -> State:
        """From the state in which it stopped, say what went wrong. ``before``: a state from which it had gone well. Returns
        the state to go on from, if there is one. Raises Rejected."""
        last = self._last_sound(advance, before, after, t, origin) if flag == BLOW_UP else None
        initial = last and replace(self.initial, cell=last.cell)
        found = last and culprit(self.field, initial, self.params, last.x, self.cutoff)
        raise Rejected(self._told(advance, flag, int(after.step), matrix_of(after.cell or self.inputs(t, origin).cell), self.cutoff, found, dt))

    def _last_sound(self, advance: Advance, before: State, after: State, t: float, origin: int) -> Snapshot:
        """The last positions that were fine."""
        return self.snapshot(self._replayed(advance, before, after.step, self.inputs(t, origin)), t)

    def _told(self, advance: Advance, flag: int, step: int, cell: np.ndarray, cutoff: float | None, found: Culprit | None, dt: float, who: str = "") -> Diagnostic:
        """What is said of a run that ended after ``step``. ``found``: the interaction that carried it away; ``who``: of which
        replica it is."""
        if flag == TOO_SMALL:
            when = f"at step {step}, of {advance.scheme.rpartition('.')[2]}, the box{who} has become so small"
            return too_small(self.field, cutoff, float(np.diag(cell)[list(self.initial.periodic)].min()), when)
        if flag == STALE_INSIDE:
            words = f"within step {step}{who} atoms move farther than half the skin of the neighbour list"
            return Diagnostic("blow-up", words, advance.span, help="use a shorter time step")
        words = f"the run blew up at step {step + 1}{who}"
        shown = self.model.units.display(advance.dt.type.dimension) if advance.dt is not None else None
        size = f"{dt * self.model.units.shown_per_internal(advance.dt.type.dimension):g} {shown.text}".strip() if shown else ""
        help = f"the time step {size} may be too long for these forces, or atoms start too close" if size else "the forces are too strong for this scheme"
        if found is None:
            return Diagnostic("blow-up", words, advance.span, help=help)
        return found.diagnostic("blow-up", words, help=help, statement=advance.span)

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


def overlap(found: Culprit, who: str = "") -> Diagnostic:
    """What is said of positions at which an interaction has no finite energy."""
    if found.distance == 0:
        return found.diagnostic("overlap", f"two atoms{who} are on top of each other", help="move them apart: check the file, or place the atoms on a lattice")
    return found.diagnostic("overlap", f"an energy{who} is not finite at the start", help="check the file: atoms may be too close, or a bond longer than its formula allows")


def most(values) -> int:
    """The largest, of all replicas where there are several."""
    return int(np.max(values))


def plain(values):
    """A number, or an array with one for each replica."""
    array = np.asarray(values)
    return array if array.ndim else array.item()


def initial_params(model, given: Mapping[str, object] | None = None) -> dict[str, object]:
    """The free parameters: defaults, with those given in their place."""
    return {**defaults(model), **(given or {})}
