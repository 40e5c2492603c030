"""A configuration: atoms at one moment, what is known of them, and where their pairs are found."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp

from mdsl.lowering.field.field import Measure
from mdsl.lowering.kernels.globals import Globals, data_of
from mdsl.lowering.kernels.pair_kernel import atom_values, total
from mdsl.lowering.kernels.ranges import spread_out
from mdsl.lowering.traversals.layout import Layout, OneDevice
from mdsl.lowering.traversals.topologies import IDS, TupleSums, inverse, reads
from mdsl.model.nodes import Axis, Expr

from .potential import Potential

if TYPE_CHECKING:
    from mdsl.lowering.arrays import Count, Labels, Slots, Values, Vector


@dataclass(frozen=True, eq=False)
class Configuration:
    """What an evaluation of the potential goes by.

    ``atoms``: x and v as tuples of [n] arrays, m, species and `IDS` (the user's index) as [n] arrays, data, and the
    per-atom values that are known so far: the rows of this device in the order of ``slots`` [K, n]; ``slots`` None: all
    pairs. ``used``: how many slots hold neighbours, where that is known to be fewer than K. ``driven``: no reverse mode
    goes through, so that loops may have a length that is known only when they run; ``differentiable``: it may go
    through single sums. ``legs``: for how many neighbours of an atom there is room in sums over triples (None: for
    all). ``place``: the sorted position of each atom, where topologies want it.
    """

    potential: Potential
    known: Globals
    atoms: Values
    slots: Slots | None
    layout: Layout
    used: Count | None
    driven: bool
    legs: int | None
    differentiable: bool
    nearest: Callable[[Vector], Vector]
    place: Labels | None

    @classmethod
    def of(
        cls,
        potential: Potential,
        known: Globals,
        atoms: Values,
        slots: Slots | None,
        layout: Layout | None = None,
        used: Count | None = None,
        driven: bool = False,
        legs: int | None = None,
    ) -> Configuration:
        layout = layout or OneDevice(atoms["x"][0].shape[0])
        rows = {**atoms, **data_of(potential.model, known.params, atoms[IDS])}
        nearest = potential.geometry.nearest(known.cell)
        place = inverse(layout.everywhere(atoms[IDS])[: layout.n_atoms]) if potential.by_topology else None
        return cls(
            potential,
            known,
            rows,
            slots,
            layout,
            used,
            driven,
            legs,
            not driven and isinstance(layout, OneDevice),
            nearest,
            place,
        )

    @property
    def field(self):
        return self.potential.field

    @property
    def model(self):
        return self.potential.model

    @property
    def dim(self) -> int:
        return self.potential.geometry.dim

    @property
    def dtype(self):
        """In which sums are added up: that of the positions."""
        return self.atoms["x"][0].dtype

    def with_rows(self, rows: Values) -> Configuration:
        """The same with more values of each atom."""
        return replace(self, atoms={**self.atoms, **rows})

    def holds(self, near: bool) -> bool:
        """Whether pairs are found here so that a sum has all of its own: a list holds those of sums that are
        ``near``."""
        return near or self.slots is None

    # -- single atoms ----------------------------------------------------------------------------------------

    def each(self, expr: Expr, binder: str, axis: Axis | None = None, keep: bool = False):
        """The value of an expression for each row, [n]; of one over a range the sum over its numbers, or, to ``keep``,
        all of them, [C, n]. A derivative by an array is one itself."""
        like = self.atoms["x"][0]
        found = atom_values(expr, binder, self.known, self.atoms, self.nearest, axis)
        return jax.tree.map(lambda v: spread_out(jnp.asarray(v, like.dtype), axis, like.shape, keep), found)

    # -- pairs -----------------------------------------------------------------------------------------------

    def left_out(self, excluded: frozenset[str]):
        """[E, n]: the atoms that a visit of all pairs leaves out; None for none."""
        return self.potential.topologies.excluded(excluded, self.place, self.atoms[IDS]) if excluded else None

    def slots_without(self, excluded: frozenset[str]):
        """The list less those pairs that it still holds."""
        still_in = excluded - self.potential.always_excluded
        if not still_in:
            return self.slots
        return self.potential.topologies.without(self.slots, still_in, self.place, self.atoms[IDS], self.layout.rows())

    # -- topologies ------------------------------------------------------------------------------------------

    def tuples(self, exprs) -> TupleSums:
        """The tuples of topologies, with what these expressions read of their atoms."""
        wanted = {"x", "species"}.union(*(reads(e) for e in exprs))
        everyone = self.layout.everywhere({name: values for name, values in self.atoms.items() if name in wanted})
        everyone = jax.tree.map(lambda a: a[..., : self.layout.n_atoms], everyone)
        return TupleSums(self.model, self.potential.topologies, self.known, everyone, self.place, self.nearest)


def each_sum(measure: Measure, known: Globals, atoms: Mapping[str, object], nearest: Callable, layout: Layout):
    """A sum over atoms, or the largest or smallest of its values. ``atoms``: all that its summand reads of them."""
    values = _filled(atom_values(measure.summand, measure.domain.binders[0], known, atoms, nearest), atoms["x"][0])
    return total(values, layout.add) if measure.op == "sum" else layout.extreme(values, measure.op)


def _filled(values, like):
    if isinstance(values, tuple):
        return tuple(_filled(v, like) for v in values)
    return jnp.broadcast_to(jnp.asarray(values, like.dtype), like.shape)
