"""A program on the device: what is known of it, what its atoms have, and the lists in which they find each other.

What steps do is in `integrate`, how they follow each other in `chunks`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp

from mdsl.lowering.geometry.cell import Cell
from mdsl.lowering.kernels.changing_box import carried, repeating, strain
from mdsl.lowering.kernels.globals import Globals, complete, masses_of
from mdsl.lowering.kernels.pair_kernel import FORCE
from mdsl.lowering.planning import capacity
from mdsl.lowering.potential.evaluation import evaluate
from mdsl.lowering.traversals.bonds import PARTNERS, no_partners
from mdsl.lowering.traversals.configuration import Configuration
from mdsl.lowering.traversals.layout import Layout
from mdsl.lowering.traversals.potential import Potential
from mdsl.lowering.traversals.topologies import IDS
from mdsl.lowering.traversals.totals import Totals
from mdsl.model import nearest_image
from mdsl.model.box_dependencies import decided_by
from mdsl.model.box_shape import becomes_skew

from .chain import talks
from .history import looking_back, reads, unwrapped
from .remat import noted
from .state import BLOW_UP, FINE, NEW, OVERFLOW, STALE, STATE, TOO_SMALL, Inputs, State

if TYPE_CHECKING:
    from jax.typing import DTypeLike

    from mdsl.lowering.arrays import Count, Value


@dataclass(frozen=True, eq=False)
class Dynamics:
    """One traversal of one program. ``plan`` None: all pairs; ``skin`` is what the list holds beyond the cutoff.

    ``changing``: the box may be another than the one for which the traversal was chosen. Positions are carried along
    with it. With A the affine map since the list was built, and u what an atom moved beside it, atoms that were R
    apart are at least (1 - |A - 1|) R - 2 max|u| apart: where that is less than the cutoff the list no longer holds.
    """

    potential: Potential
    layout: Layout
    plan: capacity.Plan | None
    skin: float
    dof: float
    dtype: DTypeLike
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

    # -- the box, and the list in it -------------------------------------------------------------------------

    @cached_property
    def deforming(self) -> bool:
        """Whether the program declares the box as a function of time."""
        return self.changing and "t" in decided_by(self.model)

    @cached_property
    def shearing(self) -> bool:
        """Whether the program may make its box ever more skew."""
        tilted = bool(self.model.box and self.model.box.tilts)
        return self.changing and (self.deforming and tilted or becomes_skew(self.model))

    def now(self, inputs: Inputs, state: State) -> Inputs:
        """The inputs with the box of this moment."""
        return inputs._replace(cell=state.cell) if self.changing else inputs

    def radius(self, inputs: Inputs, cell: Cell):
        """The radius of the list: no more than half of each edge, beyond which there are other images."""
        radius = self.potential.cutoff(complete(self.model, inputs.params)) + self.skin_of(inputs)
        edges = repeating(cell, self.potential.geometry.periodic)
        return jnp.minimum(radius, jnp.min(jnp.stack(edges)) / 2) if self.changing and edges else radius

    def skin_of(self, inputs: Inputs):
        return self.skin if inputs.skin is None else inputs.skin

    def fits(self, inputs: Inputs, cell: Cell):
        """Whether nearest images are enough for the cutoff."""
        cutoff = self.potential.cutoff(complete(self.model, inputs.params))
        return nearest_image.fits(cell.edges, self.potential.geometry.periodic, cutoff)

    # -- atoms -----------------------------------------------------------------------------------------------

    def masses(self, inputs: Inputs):
        """[N] in the user's order."""
        return masses_of(self.model, complete(self.model, inputs.params), inputs.masses, inputs.species)

    def atoms(self, state: State, inputs: Inputs) -> dict[str, Value]:
        """What expressions can read of each atom, in rows."""
        values = {
            "x": state.x,
            "v": state.v,
            "f": state.f,
            "m": state.mass,
            "species": state.species,
            IDS: state.ids,
            PARTNERS: state.partners,
        }
        cell = self.now(inputs, state).cell
        if self.unwraps:
            values["unwrapped"] = unwrapped(state, cell)
        return values | (looking_back(state, inputs, cell) if inputs.began else {})

    @cached_property
    def chained(self) -> bool:
        """Whether a flow reads what is in neighbouring replicas."""
        return talks(self.potential.field)

    @cached_property
    def unwraps(self) -> bool:
        """Whether anything reads positions that are not wrapped."""
        return reads(self.potential.field, ("unwrapped",))

    def evaluated(
        self,
        state: State,
        inputs: Inputs,
        known: Globals,
        outputs: frozenset[str],
        measures=(),
        legs: int | None = None,
    ) -> Totals:
        """The potential and sums over atoms at the positions of a state. There is no force on frozen atoms."""
        result = evaluate(
            self.configuration(state, inputs, known, driven=not self.traced, legs=legs), outputs, measures
        )
        if FORCE in outputs and self.model.frozen:
            return replace(
                result,
                force=self.where_free(state, inputs, result.force, tuple(jnp.zeros_like(c) for c in result.force)),
            )
        return result

    def where_free(self, state: State, inputs: Inputs, new: tuple, old: tuple) -> tuple:
        """Rows of vectors: new ones, and old ones for atoms that never move, by their species or by data."""
        model = self.model
        if not model.frozen:
            return new
        species = [model.species.index(name) for name in model.frozen if name in model.species]
        still = jnp.isin(state.species, jnp.asarray(species, jnp.int32))
        for name in model.freezing:
            still |= inputs.params[name][state.ids] != 0
        return tuple(jnp.where(still, b, a) for a, b in zip(new, old))

    def configuration(
        self, state: State, inputs: Inputs, known: Globals, driven: bool = False, legs: int | None = None
    ) -> Configuration:
        """The atoms of a state and its list, to evaluate the potential by."""
        slots = None if self.plan is None else state.slots
        used, lengths = (None, None) if self.plan is None or self.traced else (state.used, state.lengths)
        return Configuration.of(
            self.potential, known, self.atoms(state, inputs), slots, self.layout, used, driven, legs, lengths
        )

    # -- starting, and building lists ------------------------------------------------------------------------

    @cached_property
    def start(self):
        """``start(inputs, x, v, images, step) -> State``: tuples of [N] arrays in the user's order; no list yet."""

        def start(inputs: Inputs, x: tuple, v: tuple, images: tuple, step) -> State:
            zero = jnp.int32(0)
            ids = jnp.arange(self.layout.n_atoms, dtype=jnp.int32)
            rows = self.layout.local(
                {"x": x, "v": v, "images": images, "ids": ids, "species": inputs.species, "mass": self.masses(inputs)}
            )
            zeros = tuple(jnp.zeros_like(c) for c in rows["x"])
            slots = jnp.zeros((0 if self.plan is None else self.plan.slots, self.layout.count), jnp.int32)
            needed = capacity.Needed(zero, zero, jnp.zeros(self.dim, jnp.int32))
            flag = jnp.int32(FINE if self.plan is None else STALE)
            return State(
                **rows,
                f=zeros,
                held={},
                slots=slots,
                lengths=jnp.zeros_like(rows["ids"]),
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
                partners={}
                if self.plan is None or self.traced
                else no_partners(self.potential.topologies, self.potential.bonds, self.layout.count),
            )

        return self.layout.program(start, ("inputs", "all", "all", "all", "one"), STATE)

    @cached_property
    def rebuild(self):
        """``rebuild(inputs, state) -> State`` with a new list, in the place of the old one, which is gone. Atoms are
        wrapped into the box and reordered in space, with all their values. The flag is OVERFLOW where the list does
        not fit."""

        def rebuild(inputs: Inputs, state: State, slots) -> State:
            inputs = self.now(inputs, state)
            x, moved = self.potential.geometry.wrap(state.x, inputs.cell)
            images = tuple(a + b for a, b in zip(state.images, moved))
            kept = {name: getattr(state, name) for name in ("v", "f", "ids", "species", "mass", "held")}
            rows = {"x": x, "images": images, **kept}
            every = jax.tree.map(lambda a: a[: self.layout.n_atoms], self.layout.everywhere(rows))
            positions = tuple(c.astype(self.potential.dtype) for c in every["x"])
            found = self.layout.build(self.plan, positions, inputs.cell, self.radius(inputs, inputs.cell), slots)
            order = noted(found.order)
            here = self.layout.local(order)
            mine = jax.tree.map(lambda a: a[here], every)
            ids = every["ids"][order]
            return state._replace(
                **mine,
                slots=self.potential.without_excluded(found.slots, ids, self.layout.rows()),
                lengths=found.lengths,
                partners={} if self.traced else self.potential.partners(ids, mine["ids"]),
                at=mine["x"],
                used=found.needed.slots,
                flag=jnp.where(found.overflow, OVERFLOW, FINE),
                needed=found.needed,
                built=state.cell,
            )

        built = self.layout.program(rebuild, ("inputs", STATE._replace(slots=()), "slots"), STATE, donated=(2,))
        return lambda inputs, state: built(inputs, state._replace(slots=()), state.slots)

    def flag(self, state: State, inputs: Inputs, stale: int = STALE, spent: float = 1.0) -> Count:
        """Whether the list still holds at the positions of a state, and whether these are still sound. ``spent``: the
        part of the skin that may be used up."""
        at, inputs = state.at, self.now(inputs, state)
        if self.changing:
            at = carried(at, state.built, state.cell)
        moved = self.layout.largest(jnp.max(sum((a - b) ** 2 for a, b in zip(state.x, at))))
        # An atom that crosses a good part of the box between two forces is lost already. `~(a < b)` is true of NaN.
        edges = repeating(inputs.cell, self.potential.geometry.periodic)
        leap = jnp.min(jnp.stack(edges)) / 4 if edges else jnp.asarray(jnp.finfo(self.dtype).max ** 0.25, self.dtype)
        flag = FINE
        if self.plan is not None and self.changing:
            cutoff = self.potential.cutoff(complete(self.model, inputs.params))
            room = (1 - strain(state.built, state.cell)) * self.radius(inputs, state.built) - cutoff
            flag = jnp.where(2 * jnp.sqrt(moved) > spent * room, stale, FINE)
        elif self.plan is not None:
            flag = jnp.where(moved > (spent * self.skin_of(inputs) / 2) ** 2, stale, FINE)
        flag = jnp.where(moved < leap**2, flag, BLOW_UP)
        if self.changing:
            # A box without edges to speak of is lost with its atoms.
            sound = nearest_image.fits(state.cell.edges, self.potential.geometry.periodic, None)
            flag = jnp.where(self.fits(inputs, state.cell), flag, jnp.where(sound, TOO_SMALL, BLOW_UP))
        return self.layout.agreed(jnp.maximum(state.flag, flag))
