"""Dynamics: the updates of an integrator, compiled to chunks of steps that run without the host.

A chunk ends early when the neighbour list does not fit or when positions leave the finite: the driver then
regrows the list, or says what happened, from the state at the start of the chunk, which is still there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from mdsl.model import EACH, Advance, Draw, Read, Update, walk

from . import neighbours
from .emit import evaluate
from .field import Combination
from .kernels import ENERGY, FORCE, VIRIAL
from .layout import Layout
from .potential import Potential, Result
from .step import force_evaluations
from .values import Globals, complete

FINE, OVERFLOW, BLOW_UP = 0, 1, 2


class State(NamedTuple):
    """The rows of one device, in sorted order.

    x, v, f, images: tuples of [n] arrays; x + images*lengths is the position not wrapped into the box.
    ids: [n], the user's index of each atom. slots: [K, n] (K = 0: all pairs), at: x when the list was built,
    used: slots in use. step: steps since the run began. flag: FINE, OVERFLOW or BLOW_UP. builds, evaluations:
    lists built and forces evaluated since the chunk began. needed: what the last list needed.
    """

    x: tuple
    v: tuple
    f: tuple
    images: tuple
    ids: object
    slots: object
    at: tuple
    used: object
    step: object
    flag: object
    builds: object
    evaluations: object
    needed: object


class Inputs(NamedTuple):
    """What stays the same during a chunk. params: the free parameters; masses, species: [N] in the user's order;
    t: the time at step ``origin``."""

    params: Mapping[str, object]
    lengths: tuple
    masses: object
    species: object
    key: object
    t: object
    origin: object


# Which parts of a state hold rows of atoms; the rest is the same on every device.
STATE = State("rows", "rows", "rows", "rows", "rows", "slots", "rows", *("all",) * 6)


@dataclass(frozen=True, eq=False)
class Dynamics:
    """One traversal of one program. ``plan`` None: all pairs; ``skin`` is what the list holds beyond the cutoff."""

    potential: Potential
    layout: Layout
    plan: neighbours.Plan | None
    skin: float
    dof: float
    dtype: object

    @property
    def model(self):
        return self.potential.model

    @property
    def dim(self) -> int:
        return self.model.dim

    def known(self, inputs: Inputs, t) -> Globals:
        return Globals(self.model, complete(self.model, inputs.params), inputs.lengths, t, self.layout.n_atoms, self.dof)

    def masses(self, known: Globals, inputs: Inputs, species, ids):
        """[n]: from the parameter `m`, so that they are differentiable, else as given."""
        param = self.model.param("m")
        if param is None:
            return inputs.masses[ids]
        value = known.params["m"].astype(self.dtype)
        return value[species] if param.axes else jnp.broadcast_to(value, ids.shape)

    def atoms(self, known: Globals, inputs: Inputs, state: State) -> dict[str, object]:
        species = inputs.species[state.ids]
        return {"x": state.x, "v": state.v, "m": self.masses(known, inputs, species, state.ids), "species": species}

    # -- lists and forces ----------------------------------------------------------------------------------

    def rebuild(self, state: State, extra: dict[str, object], inputs: Inputs, radius) -> tuple[State, dict[str, object]]:
        """A new list; atoms are wrapped into the box and reordered in space, with all their values."""
        x, moved = self.potential.geometry.wrap(state.x, inputs.lengths)
        images = tuple(a + b for a, b in zip(state.images, moved))
        rows = {"x": x, "v": state.v, "images": images, "ids": state.ids, "extra": extra}
        every = jax.tree.map(lambda a: a[: self.layout.n_atoms], self.layout.everywhere(rows))
        positions = tuple(c.astype(self.potential.dtype) for c in every["x"])
        found = self.layout.build(self.plan, positions, inputs.lengths, radius)
        mine = self.layout.local(jax.tree.map(lambda a: a[found.order], every))
        new = state._replace(
            x=mine["x"],
            v=mine["v"],
            images=mine["images"],
            ids=mine["ids"],
            slots=found.slots,
            at=mine["x"],
            used=found.needed.slots,
            flag=jnp.where(found.overflow, OVERFLOW, state.flag),
            builds=state.builds + 1,
            needed=found.needed,
        )
        return new, mine["extra"]

    def checked(self, state: State, extra: dict[str, object], inputs: Inputs, radius) -> tuple[State, dict[str, object]]:
        """The state with a list that holds at its positions, or flagged where they are no longer finite."""
        if self.plan is None:
            total = sum(jnp.sum(jnp.abs(c)) for c in state.x)
            bad = self.layout.largest((~jnp.isfinite(total)).astype(jnp.int32)) > 0
            return state._replace(flag=jnp.where(bad, BLOW_UP, state.flag)), extra
        moved = self.layout.largest(jnp.max(sum((a - b) ** 2 for a, b in zip(state.x, state.at))))
        # An atom that crosses a good part of the box between two forces is lost already. `~(a < b)` is true of NaN.
        periodic = [length for length, p in zip(inputs.lengths, self.potential.geometry.periodic) if p]
        leap = jnp.min(jnp.stack(periodic)) / 4 if periodic else jnp.asarray(jnp.finfo(self.dtype).max ** 0.25, self.dtype)
        bad = ~(moved < leap**2)
        state = state._replace(flag=jnp.where(bad, BLOW_UP, state.flag))
        return lax.cond(
            (moved > (self.skin / 2) ** 2) & ~bad,
            lambda s, e: self.rebuild(s, e, inputs, radius),
            lambda s, e: (s, e),
            state,
            extra,
        )

    def evaluated(self, state: State, inputs: Inputs, known: Globals, outputs: frozenset[str], measures=()) -> Result:
        slots = None if self.plan is None else state.slots
        used = None if self.plan is None else state.used
        return self.potential.evaluate(known, self.atoms(known, inputs, state), slots, outputs, measures, self.layout, used)

    def radius(self, known: Globals):
        return self.potential.cutoff(known.params) + self.skin if self.plan is not None else 0.0

    # -- starting --------------------------------------------------------------------------------------------

    @cached_property
    def start(self):
        """``start(inputs, x, v, images, step) -> State``: tuples of [N] arrays in the user's order."""

        def start(inputs: Inputs, x: tuple, v: tuple, images: tuple, step) -> State:
            known = self.known(inputs, inputs.t)
            zero = jnp.int32(0)
            ids = jnp.arange(self.layout.n_atoms, dtype=jnp.int32)
            rows = self.layout.local({"x": x, "v": v, "images": images, "ids": ids})
            slots = jnp.zeros((0 if self.plan is None else self.plan.slots, self.layout.count), jnp.int32)
            needed = neighbours.Needed(zero, zero, jnp.zeros(self.dim, jnp.int32))
            state = State(rows["x"], rows["v"], rows["v"], rows["images"], rows["ids"], slots, rows["x"], zero, step, zero, zero, zero, needed)
            if self.plan is not None:
                state, _ = self.rebuild(state, {}, inputs, self.radius(known))
            return state._replace(f=self.evaluated(state, inputs, known, frozenset({FORCE})).force)

        return self.layout.program(start, ("all", "all", "all", "all", "all"), STATE)

    @cached_property
    def begin(self):
        """``begin(inputs, state) -> State`` with a list and a force that hold, before a statement of dynamics."""

        def begin(inputs: Inputs, state: State) -> State:
            known = self.known(inputs, inputs.t)
            state, _ = self.with_force(state, {}, (), inputs, known, self.radius(known))
            return state

        return self.layout.program(begin, ("all", STATE), STATE)

    # -- stepping --------------------------------------------------------------------------------------------

    def chunk(self, advance: Advance):
        """``chunk(inputs, state, count) -> State``: ``count`` steps of a statement, or fewer where it is flagged."""

        def chunk(inputs: Inputs, state: State, count) -> State:
            fixed = self.known(inputs, inputs.t)
            radius = self.radius(fixed)
            dt = 0.0 if advance.dt is None else fixed.value(advance.dt) if not _reads_time(advance.dt) else None

            def step(state: State) -> State:
                t = inputs.t if dt is None else inputs.t + (state.step - inputs.origin).astype(self.dtype) * dt
                known = Globals(self.model, fixed.params, inputs.lengths, t, self.layout.n_atoms, self.dof)
                return self.step(advance, state, inputs, known, radius)._replace(step=state.step + 1)

            last = state.step + count
            state = state._replace(builds=jnp.int32(0), evaluations=jnp.int32(0))
            state = lax.while_loop(lambda s: (s.step < last) & (s.flag == FINE), step, state)
            # Whoever looks at the state needs a list that holds; where the force was last read before the atoms
            # moved, that is not so yet.
            state, extra = self.checked(state, {"f": state.f}, inputs, radius)
            return state._replace(f=extra["f"])

        return self.layout.program(chunk, ("all", STATE, "all"), STATE)

    def step(self, advance: Advance, state: State, inputs: Inputs, known: Globals, radius) -> State:
        """One step: the updates and draws of the integrator in order, forces where they are needed."""
        evaluations = force_evaluations(advance.body)
        values: dict[str, object] = {}  # what flows computed or drew, by name
        key = jax.random.fold_in(inputs.key, state.step)
        draws = 0
        for index, statement in enumerate(advance.body):
            if evaluations.before[index]:
                state, values = self.with_force(state, values, advance.body[index:], inputs, known, radius)
            if isinstance(statement, Draw):
                values[statement.target] = self.noise(jax.random.fold_in(key, draws), state.ids)
                draws += 1
                continue
            value = self.value(statement, state, values, inputs, known)
            if statement.target == "x":
                state = state._replace(x=value)
            elif statement.target == "v":
                state = state._replace(v=value)
            else:
                values[statement.target] = value
        return state

    def with_force(self, state: State, values: dict[str, object], rest: tuple, inputs: Inputs, known: Globals, radius):
        """The state with the force at its positions; values that ``rest`` still reads are reordered with the atoms."""
        read = {n.symbol for s in rest if isinstance(s, Update) for n in walk(s.value) if isinstance(n, Read)}
        state, values = self.checked(state, {k: v for k, v in values.items() if k in read}, inputs, radius)
        force = self.evaluated(state, inputs, known, frozenset({FORCE})).force
        return state._replace(f=force, evaluations=state.evaluations + 1), values

    def noise(self, key, ids) -> tuple:
        """Standard normal numbers for each atom and axis, the same whatever the order of the atoms."""
        drawn = jax.random.normal(key, (self.dim, self.layout.n_atoms), self.dtype)
        return tuple(drawn[a][ids] for a in range(self.dim))

    def value(self, update: Update, state: State, values: dict[str, object], inputs: Inputs, known: Globals):
        """The new value of an update's target, for all rows."""
        fields = {**self.atoms(known, inputs, state), "f": state.f, **values}

        def read(expr: Read):
            if expr.indices == (EACH,):
                if expr.symbol in fields:
                    return fields[expr.symbol]
                return known.params[expr.symbol][fields["species"]]
            return known.read(expr)

        value = evaluate(update.value, read, lambda a, b: self.potential.geometry.nearest(inputs.lengths)(tuple(p - q for p, q in zip(a, b))))
        old = fields.get(update.target)
        if update.op == "+=":
            value = tuple(a + b for a, b in zip(old, value))
        return jax.tree.map(lambda a: jnp.broadcast_to(jnp.asarray(a, self.dtype), state.x[0].shape), value)

    # -- observing -------------------------------------------------------------------------------------------

    def observer(self, names: tuple[str, ...]):
        """``observer(inputs, state, t) -> {name: value}`` of energies, observables and built-in quantities."""
        field = self.potential.field
        combinations = [field.combination(n) or Combination(n, "builtin", Read(n)) for n in names]
        reads = {n.symbol for c in combinations for n in walk(c.expr) if isinstance(n, Read)}
        outputs = {ENERGY} if any(f"#{t.number}" in reads for t in field.terms) or "potential" in reads else set()
        if "virial" in reads:
            outputs |= {VIRIAL}
        measures = tuple(m for m in field.measures if f"#{m.number}" in reads)
        potential = tuple(c for c in field.combinations if c.kind == "energy")

        def observe(inputs: Inputs, state: State, t) -> dict[str, object]:
            known = self.known(inputs, t)
            result = self.evaluated(state, inputs, known, frozenset(outputs), measures)
            known.more = {**result.sums, "virial": result.virial}
            if "potential" in reads:
                known.more["potential"] = sum(known.value(c.expr) for c in potential)
            return {c.name: jax.tree.map(jnp.asarray, known.value(c.expr)) for c in combinations}

        return self.layout.program(observe, ("all", STATE, "all"), "all")


def _reads_time(expr) -> bool:
    return any(isinstance(n, Read) and n.symbol == "t" for n in walk(expr))
