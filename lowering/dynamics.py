"""Dynamics: the updates of an integrator, compiled to chunks of steps that run without the host.

A step is cut where it needs the force: what comes before is its *head*, what comes after its *tail*. The loop
runs force, tail, and the head of the next step, so it can stop exactly where a force is due and the neighbour
list no longer holds. The host then builds the list, which is a program of its own, and goes on: the list is
compiled once, the force once for each statement, and every force is computed with a list that holds.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import jax
import jax.numpy as jnp
from jax import lax

from mdsl.box import decided_by
from mdsl.model import EACH, Advance, Draw, Read, State as Memory, Type, Update, walk

from . import neighbours
from .bonds import PARTNERS, no_partners
from .box import carried, declared, strain
from .cell import Cell, combination, entries_of, of_matrix
from .emit import evaluate
from .evaluation import each_sum
from .kernels import ENERGY, FORCE, VIRIAL
from .kept import noted
from .layout import Layout
from .noise import normals
from .potential import Potential, Result
from .state import BETWEEN, BLOW_UP, FINE, NEW, OVERFLOW, STALE, STALE_INSIDE, STATE, TOO_SMALL, WAITING, Began, Inputs, State
from .step import Check, Cut, cut, expressions, per_atom, statements
from .topologies import IDS, inverse
from .values import Globals, complete, data_of



@dataclass(frozen=True, eq=False)
class Dynamics:
    """One traversal of one program. ``plan`` None: all pairs; ``skin`` is what the list holds beyond the cutoff.

    ``changing``: the box may be another than the one for which the traversal was chosen. Positions are carried along
    with it. With A the affine map since the list was built, and u what an atom moved beside it, atoms that were R
    apart are at least (1 - |A - 1|) R - 2 max|u| apart: where that is less than the cutoff the list no longer holds.
    """

    potential: Potential
    layout: Layout
    plan: neighbours.Plan | None
    skin: float
    dof: float
    dtype: object
    legs: int | None = None  # room for neighbours in sums over triples; None: for all
    traced: bool = False  # inside transformations: no loop may have a length that is known only when it runs
    changing: bool = False

    @property
    def model(self):
        return self.potential.model

    @property
    def dim(self) -> int:
        return self.model.dim

    def known(self, inputs: Inputs, t, params=None) -> Globals:
        params = complete(self.model, inputs.params) if params is None else params
        more = {"t_start": inputs.began.t} if inputs.began else {}
        return Globals(self.model, params, inputs.cell, t, self.layout.n_atoms, self.dof, more)

    # -- a box that changes ----------------------------------------------------------------------------------

    @cached_property
    def deforming(self) -> bool:
        """Whether the program declares the box as a function of time."""
        return self.changing and "t" in decided_by(self.model)

    def now(self, inputs: Inputs, state: State) -> Inputs:
        """The inputs with the box of this moment."""
        return inputs._replace(cell=state.cell) if self.changing else inputs

    def deformed(self, state: State, inputs: Inputs, known: Globals) -> State:
        """The state in the box of the time ``known.t``, all positions carried along."""
        return self.resized(state, declared(self.model, known.params, known.t, self.layout.n_atoms, self.dtype))

    def box(self, cell: Cell) -> Cell:
        """A new box, as it was along axes that do not repeat."""
        periodic, one = self.potential.geometry.periodic, jnp.ones((), self.dtype)
        fixed = [one if k == j else jnp.zeros_like(one) for k, j in entries_of(cell)]
        kept = [v if periodic[k] else f for (k, _), v, f in zip(entries_of(cell), cell.leaves, fixed)]
        return Cell(tuple(kept[: self.dim]), tuple(kept[self.dim :]))

    def resized(self, state: State, cell: Cell) -> State:
        """The state in another box, all positions carried along."""
        return state._replace(x=carried(state.x, state.cell, cell), cell=cell)

    def radius(self, inputs: Inputs, cell: Cell):
        """The radius of the list: no more than half of each edge, beyond which there are other images."""
        radius = self.potential.cutoff(complete(self.model, inputs.params)) + self.skin_of(inputs)
        edges = self.repeating(cell)
        return jnp.minimum(radius, jnp.min(jnp.stack(edges)) / 2) if self.changing and edges else radius

    def skin_of(self, inputs: Inputs):
        return self.skin if inputs.skin is None else inputs.skin

    def repeating(self, cell: Cell) -> list:
        return [edge for edge, p in zip(cell.edges, self.potential.geometry.periodic) if p]

    def fits(self, inputs: Inputs, cell: Cell):
        """Whether the cutoff is at most half of each edge."""
        cutoff, edges = self.potential.cutoff(complete(self.model, inputs.params)), self.repeating(cell)
        return jnp.bool_(True) if cutoff is None or not edges else ~(jnp.min(jnp.stack(edges)) < 2 * cutoff) | ~jnp.isfinite(cutoff)

    def masses(self, inputs: Inputs):
        """[N] in the user's order: from the parameter `m`, so that they are differentiable, else as given."""
        param = self.model.param("m")
        if param is None:
            return inputs.masses
        value = complete(self.model, inputs.params)["m"].astype(self.dtype)
        return value[inputs.species] if param.axes else jnp.broadcast_to(value, inputs.masses.shape)

    @cached_property
    def looks_back(self) -> bool:
        """Whether anything reads how the statement of dynamics began."""
        field = self.potential.field
        exprs = [*(c.expr for c in field.combinations), *(m.summand for m in field.measures), *(m.bin for m in field.measures if m.bin)]
        exprs += [e for a in field.dynamics for s in statements(a) for e in expressions(s)]
        exprs += [e for a in field.dynamics for e in (*(s.value for s in a.states), *(o.body for o in a.observes))]
        return any(isinstance(n, Read) and n.symbol in ("travelled", "v_start", "t_start") for e in exprs for n in walk(e))

    def began(self, state: State, inputs: Inputs, t) -> Began:
        """How a statement begins, from the state of one device."""
        back = inverse(state.ids)
        return Began(*(tuple(c[back] for c in rows) for rows in (state.x, state.images, state.v)), t)

    def looking_back(self, state: State, inputs: Inputs) -> dict[str, object]:
        """How far atoms have come since the statement began, exactly 0 at its beginning; and how they began."""
        began = jax.tree.map(lambda a: a[state.ids], inputs.began._replace(t=state.ids))
        way = combination(self.now(inputs, state).cell, tuple(a - b for a, b in zip(state.images, began.images)))
        return {"travelled": tuple(a - b + c for a, b, c in zip(state.x, began.x, way)), "v_start": began.v}

    def atoms(self, state: State, inputs: Inputs) -> dict[str, object]:
        values = {"x": state.x, "v": state.v, "f": state.f, "m": state.mass, "species": state.species, IDS: state.ids, PARTNERS: state.partners}
        return values | (self.looking_back(state, inputs) if inputs.began else {})

    def evaluated(self, state: State, inputs: Inputs, known: Globals, outputs: frozenset[str], measures=(), legs: int | None = None) -> Result:
        slots, used = self.list_of(state)
        result = self.potential.evaluate(known, self.atoms(state, inputs), slots, outputs, measures, self.layout, used, driven=not self.traced, legs=legs)
        if FORCE in outputs and self.model.frozen:
            return replace(result, force=self.where_free(state, result.force, tuple(jnp.zeros_like(c) for c in result.force)))
        return result

    def where_free(self, state: State, new: tuple, old: tuple) -> tuple:
        """Rows of vectors: new ones, and old ones for atoms of species that never move."""
        if not self.model.frozen:
            return new
        still = jnp.isin(state.species, jnp.asarray([self.model.species.index(name) for name in self.model.frozen]))
        return tuple(jnp.where(still, b, a) for a, b in zip(new, old))

    def list_of(self, state: State) -> tuple:
        """The slots of the list and how many are used; None where all pairs are visited, or how many is not to be known."""
        return None if self.plan is None else state.slots, None if self.plan is None or self.traced else state.used

    # -- starting, and building lists ------------------------------------------------------------------------

    @cached_property
    def start(self):
        """``start(inputs, x, v, images, step) -> State``: tuples of [N] arrays in the user's order; no list yet."""

        def start(inputs: Inputs, x: tuple, v: tuple, images: tuple, step) -> State:
            zero = jnp.int32(0)
            ids = jnp.arange(self.layout.n_atoms, dtype=jnp.int32)
            rows = self.layout.local({"x": x, "v": v, "images": images, "ids": ids, "species": inputs.species, "mass": self.masses(inputs)})
            zeros = tuple(jnp.zeros_like(c) for c in rows["x"])
            slots = jnp.zeros((0 if self.plan is None else self.plan.slots, self.layout.count), jnp.int32)
            needed = neighbours.Needed(zero, zero, jnp.zeros(self.dim, jnp.int32))
            flag = jnp.int32(FINE if self.plan is None else STALE)
            return State(
                **rows,
                f=zeros,
                held={},
                slots=slots,
                at=rows["x"],
                kept={},
                used=zero,
                step=step,
                phase=jnp.int32(NEW),
                flag=flag,
                evaluations=zero,
                needed=needed,
                met=jnp.bool_(False),
                **({"cell": inputs.cell, "built": inputs.cell} if self.changing else {}),
                partners={} if self.plan is None or self.traced else no_partners(self.potential.topologies, self.potential.bonds, self.layout.count),
            )

        return self.layout.program(start, ("inputs", "all", "all", "all", "one"), STATE)

    @cached_property
    def rebuild(self):
        """``rebuild(inputs, state) -> State`` with a new list. Atoms are wrapped into the box and reordered in
        space, with all their values. The flag is OVERFLOW where the list does not fit."""

        def rebuild(inputs: Inputs, state: State) -> State:
            inputs = self.now(inputs, state)
            x, moved = self.potential.geometry.wrap(state.x, inputs.cell)
            images = tuple(a + b for a, b in zip(state.images, moved))
            kept = {name: getattr(state, name) for name in ("v", "f", "ids", "species", "mass", "held")}
            rows = {"x": x, "images": images, **kept}
            every = jax.tree.map(lambda a: a[: self.layout.n_atoms], self.layout.everywhere(rows))
            positions = tuple(c.astype(self.potential.dtype) for c in every["x"])
            found = self.layout.build(self.plan, positions, inputs.cell, self.radius(inputs, inputs.cell))
            order = noted(found.order)
            here = self.layout.local(order)
            mine = jax.tree.map(lambda a: a[here], every)
            ids = every["ids"][order]
            return state._replace(
                **mine,
                slots=self.potential.without_excluded(found.slots, ids, self.layout.rows()),
                partners={} if self.traced else self.potential.partners(ids, mine["ids"]),
                at=mine["x"],
                used=found.needed.slots,
                flag=jnp.where(found.overflow, OVERFLOW, FINE),
                needed=found.needed,
                built=state.cell,
            )

        return self.layout.program(rebuild, ("inputs", STATE), STATE)

    def flag(self, state: State, inputs: Inputs, stale: int = STALE) -> object:
        """Whether the list still holds at the positions of a state, and whether these are still sound."""
        at, inputs = state.at, self.now(inputs, state)
        if self.changing:
            at = carried(at, state.built, state.cell)
        moved = self.layout.largest(jnp.max(sum((a - b) ** 2 for a, b in zip(state.x, at))))
        # An atom that crosses a good part of the box between two forces is lost already. `~(a < b)` is true of NaN.
        periodic = self.repeating(inputs.cell)
        leap = jnp.min(jnp.stack(periodic)) / 4 if periodic else jnp.asarray(jnp.finfo(self.dtype).max ** 0.25, self.dtype)
        flag = FINE
        if self.plan is not None and self.changing:
            cutoff = self.potential.cutoff(complete(self.model, inputs.params))
            room = (1 - strain(state.built, state.cell)) * self.radius(inputs, state.built) - cutoff
            flag = jnp.where(2 * jnp.sqrt(moved) > room, stale, FINE)
        elif self.plan is not None:
            flag = jnp.where(moved > (self.skin_of(inputs) / 2) ** 2, stale, FINE)
        flag = jnp.where(moved < leap**2, flag, BLOW_UP)
        if self.changing:
            flag = jnp.where(self.fits(inputs, state.cell), flag, TOO_SMALL)
        return self.layout.agreed(jnp.maximum(state.flag, flag))

    # -- stepping --------------------------------------------------------------------------------------------

    def cut(self, advance: Advance) -> Cut:
        return cut(self.potential.field, advance)

    def enter(self, advance: Advance, state: State, memory: Mapping[str, object]) -> State:
        """A state that stands between steps, made ready for a statement of dynamics whose states are ``memory``."""
        parts = self.cut(advance)
        types = {s.target: Type("vector") if s.per_atom else Type("scalar") for s in advance.body if isinstance(s, Draw)}
        types |= {s.target: s.value.type for s in advance.body if isinstance(s, Update)}
        held = {name: self.zero(types[name], jnp.zeros_like(state.v[0])) for name in parts.held}
        one = jnp.full_like(state.step, 0, self.dtype)  # like what chunks return, on all devices: they are compiled once
        kept = {name: memory[name] if name in memory else self.zero(types[name], one) for name in parts.kept}
        kept |= {name: self.zero(Type("matrix" if name == "virial" else "scalar"), one) for name in parts.sums}
        # What the statement before left in `f` may be older than its last positions.
        return state._replace(held=held, kept=kept, phase=jnp.full_like(state.phase, NEW if parts.carried else BETWEEN), met=jnp.full_like(state.met, False))

    def zero(self, kind: Type, like):
        if kind.kind == "matrix":
            return ((like,) * self.dim,) * self.dim
        return like.astype(bool) if kind.kind == "bool" else (like,) * self.dim if kind.kind in ("vector", "point") else like

    def begin(self, advance: Advance):
        """``begin(inputs, state) -> memory``: what the states of a statement start from."""

        def begin(inputs: Inputs, state: State) -> dict[str, object]:
            known = self.known(self.now(inputs, state), inputs.t)
            return {s.name: self.value(s, s.value, state, {}, {}, inputs, known, advance.states) for s in advance.states}

        return self.layout.program(begin, ("inputs", STATE), "all")

    def chunk(self, advance: Advance):
        """``chunk(inputs, state, last) -> State``: steps of a statement up to step ``last``, or until flagged, or until
        its condition holds."""
        parts = self.cut(advance)

        def chunk(inputs: Inputs, state: State, last) -> State:
            fixed = self.known(inputs, inputs.t)
            dt = fixed.value(advance.dt) if advance.dt is not None else 0.0

            def at(state: State) -> Globals:
                return self.known(self.now(inputs, state), inputs.t + (state.step - inputs.origin).astype(self.dtype) * dt, fixed.params)

            def head(state: State, wanted) -> State:
                moved = self.carry_out(advance, parts, parts.head, (False,) * len(parts.head), state, inputs, at(state))
                state = _pick(wanted, moved, state)
                return state._replace(phase=jnp.where(wanted, WAITING, state.phase))

            def body(state: State) -> State:
                known, before, box = at(state), state.x, state.cell
                if parts.evaluates or not parts.tail:
                    state = self.refreshed(parts, state, inputs, known, advance.states)
                waiting = state.phase == WAITING
                done = self.carry_out(advance, parts, parts.tail, parts.again, state, inputs, known)
                state = _pick(waiting, done, state)
                state = state._replace(step=state.step + waiting.astype(jnp.int32), phase=jnp.int32(BETWEEN), flag=jnp.where(waiting, done.flag, state.flag))
                if self.plan is None:  # no list: how far atoms move is counted from force to force
                    state = state._replace(at=before, built=box)
                if self.deforming:
                    state = _pick(waiting, self.deformed(state, inputs, at(state)), state)
                state = head(state, (state.step < last) & ~state.met)
                return state._replace(flag=self.flag(state, inputs))

            # A chunk that goes on after a new list has its head behind it.
            first = (state.phase == BETWEEN) & (state.step < last) & ~state.met
            state = lax.cond(first, lambda s: head(s, jnp.bool_(True)), lambda s: s, state)
            state = state._replace(flag=self.flag(state, inputs))
            state = lax.while_loop(lambda s: (s.phase != BETWEEN) & (s.flag == FINE), body, state)
            return state._replace(slots=())

        # The list stays as it is, and is not copied.
        stepped = self.layout.program(chunk, ("inputs", STATE, "one"), STATE._replace(slots="all"))
        return lambda inputs, state, last: stepped(inputs, state, last)._replace(slots=state.slots)

    def refreshed(self, parts: Cut, state: State, inputs: Inputs, known: Globals, states: tuple[Memory, ...]) -> State:
        """The state with what an evaluation at its positions gives."""
        field = self.potential.field
        measures = tuple(m for m in field.measures if f"#{m.number}" in parts.sums and m.axis is None)
        energies = any(f"#{t.number}" in parts.sums for t in field.terms)
        outputs = frozenset(name for name, wanted in ((FORCE, parts.force), (VIRIAL, parts.virial), (ENERGY, energies)) if wanted)
        result = self.evaluated(state, inputs, self.with_memory(known, state.kept, states), outputs, measures, legs=self.legs)
        found = {**result.sums, "virial": result.virial}
        kept = state.kept | {name: jax.tree.map(lambda a: jnp.asarray(a, self.dtype), found[name]) for name in parts.sums}
        return state._replace(f=result.force if FORCE in outputs else state.f, kept=kept, evaluations=state.evaluations + 1)

    def evaluations(self, advance: Advance, times: int):
        """``evaluations(inputs, state) -> State``: what the steps of a statement evaluate, so many times, and nothing
        else: a program to be timed."""
        parts = self.cut(advance)

        def again(inputs: Inputs, state: State) -> State:
            known = self.known(self.now(inputs, state), inputs.t)

            def once(_, state: State) -> State:
                new = self.refreshed(parts, state, inputs, known, advance.states)
                return new._replace(x=tuple(a + 0 * b for a, b in zip(state.x, new.f)))  # the next one has to wait

            return lax.fori_loop(0, times, once, state)._replace(slots=())

        return self.layout.program(again, ("inputs", STATE), STATE._replace(slots="all"))

    def carry_out(self, advance: Advance, parts: Cut, statements: tuple, again: tuple[bool, ...], state: State, inputs: Inputs, known: Globals, listed=None) -> State:
        """Statements in order, each for all atoms at once. ``again``: those with an evaluation before them.

        ``listed`` gives a state a list that holds, before each such evaluation; without it a list that does not
        hold is flagged.
        """
        held, kept = tuple(state.held), tuple(state.kept)
        values, memory = dict(state.held), dict(state.kept)
        each = per_atom(parts.body)
        key = jax.random.fold_in(inputs.key, state.step)
        for statement, evaluates in zip(statements, again):
            if evaluates and listed is not None:
                state = listed(state._replace(held=values))
                values = dict(state.held)
            elif evaluates:
                state = state._replace(flag=self.flag(state, inputs, STALE_INSIDE))
            if evaluates:
                state = self.refreshed(parts, state._replace(kept=memory), inputs, known, advance.states)
                memory = dict(state.kept)

            at = self.ended(advance, known) if isinstance(statement, Check) else known

            def value(expr, to=statement, state=state, at=at):
                return self.value(to, expr, state, values, memory, inputs, at, advance.states)

            target = statement.target
            if isinstance(statement, Check):
                state = state._replace(met=value(statement.value))
            elif isinstance(statement, Draw) and statement.per_atom:
                values[target] = self.noise(key, target, state.ids)
            elif isinstance(statement, Draw):
                memory[target] = self.number(key, statement, tuple(map(value, statement.args)))
            elif target == "cell":
                cell = self.box(of_matrix(self.sum_of(statement, value(statement.value), known.read(Read("cell"))), bool(state.cell.tilts)))
                state, known = self.resized(state, cell), replace(known, cell=cell)
            elif target in ("x", "v"):
                new = jax.tree.map(lambda a: jnp.broadcast_to(a, state.ids.shape), self.sum_of(statement, value(statement.value), getattr(state, target)))
                state = state._replace(**{target: self.where_free(state, new, getattr(state, target))})
            elif target in each:
                new = self.sum_of(statement, value(statement.value), values.get(target))
                values[target] = jax.tree.map(lambda a: jnp.broadcast_to(a, state.ids.shape), new)
            else:
                memory[target] = self.sum_of(statement, value(statement.value), memory.get(target))
        return state._replace(held={name: values[name] for name in held}, kept={name: memory[name] for name in kept})

    def ended(self, advance: Advance, known: Globals) -> Globals:
        """What is known at the end of a step, where a condition is checked: the time has gone on, and a box with it."""
        end = replace(known, t=known.t + (0.0 if advance.dt is None else known.value(advance.dt)))
        return replace(end, cell=declared(self.model, end.params, end.t, self.layout.n_atoms, self.dtype)) if self.deforming else end

    def sum_of(self, update: Update, value, old):
        return value if update.op == "=" else jax.tree.map(jnp.add, old, value)

    def noise(self, key, name: str, ids) -> tuple:
        """Standard normal numbers for each atom and axis, the same whatever the order of the atoms, in the precision
        of pairs.

        Each draw of a step has a name of its own, which makes its stream.
        """
        drawn = normals(jax.random.fold_in(key, zlib.crc32(name.encode())), ids, self.dim, self.potential.dtype)
        return tuple(values.astype(self.dtype) for values in drawn)

    def number(self, key, draw: Draw, args: tuple):
        """One random number, the same on every device."""
        key = jax.random.fold_in(key, zlib.crc32(draw.target.encode()))
        match draw.distribution:
            case "normal_number":
                return jax.random.normal(key, (), self.dtype)
            case "uniform_number":
                return jax.random.uniform(key, (), self.dtype)
        # The squares of n normal numbers, added up; of none, nothing. n need not be whole.
        n = jnp.asarray(args[0], self.dtype)
        return jnp.where(n > 0, 2 * jax.random.gamma(key, jnp.where(n > 0, n, 1.0) / 2, dtype=self.dtype), 0.0)

    def with_memory(self, known: Globals, memory: Mapping[str, object], states: tuple[Memory, ...]) -> Globals:
        """What expressions without atoms can read within a step: states too."""
        params = dict(known.params)
        for state in states:
            if state.param is not None and state.name in memory:
                name, k = state.param
                axis = self.model.param(name).axes
                params[name] = memory[state.name] if k is None else params[name].at[k - axis[0].first].set(memory[state.name])
        return replace(known, params=params, more={**known.more, **memory})

    def value(self, item, expr, state: State, values: Mapping[str, object], memory: Mapping[str, object], inputs: Inputs, known: Globals, states: tuple[Memory, ...]):
        """The value of an expression of ``item`` at this moment: rows where it is another for each atom."""
        fields = {**self.atoms(state, inputs), **data_of(self.model, known.params, state.ids), **values}
        now = self.with_memory(known, memory, states)
        nearest = self.potential.geometry.nearest(known.cell)
        sums = self.potential.field.on_the_spot
        found: dict[str, object] = {}

        def read(expr: Read):
            if expr.indices == (EACH,):
                if expr.symbol in fields:
                    return fields[expr.symbol]
                return now.params[expr.symbol][fields["species"]]
            if expr.symbol in sums:
                if expr.symbol not in found:
                    found[expr.symbol] = each_sum(sums[expr.symbol], now, fields, nearest, self.layout)
                return found[expr.symbol]
            return (0.0,) * self.dim if expr.symbol == "origin" else now.read(expr)

        result = evaluate(expr, read, lambda a, b: nearest(tuple(p - q for p, q in zip(a, b))))
        return jax.tree.map(lambda a: a if jnp.asarray(a).dtype == bool else jnp.asarray(a, self.dtype), result)


def _pick(wanted, new: State, old: State) -> State:
    """The positions, velocities, held values and box of one state or the other."""
    choose = lambda a, b: jnp.where(wanted, a, b)  # noqa: E731
    return old._replace(
        x=jax.tree.map(choose, new.x, old.x),
        v=jax.tree.map(choose, new.v, old.v),
        f=new.f,
        held=jax.tree.map(choose, new.held, old.held),
        cell=jax.tree.map(choose, new.cell, old.cell),
        kept=jax.tree.map(choose, new.kept, old.kept),
        met=choose(new.met, old.met),
        evaluations=new.evaluations,
    )
