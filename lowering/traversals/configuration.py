"""A configuration: atoms at one moment, what is known of them, and where their pairs are found."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import jax.numpy as jnp

from mdsl.lowering.kernels.globals import Globals, data_of

from .layout import Layout, OneDevice
from .potential import Potential
from .topologies import IDS, inverse

if TYPE_CHECKING:
    from mdsl.lowering.arrays import Count, Labels, Numbers, RowLabels, Scalar, Slots, Values, Vector


@dataclass(frozen=True, eq=False)
class Configuration:
    """What an evaluation of the potential goes by.

    ``atoms``: x and v as tuples of [n] arrays, m, species and `IDS` (the user's index) as [n] arrays, data, and the
    per-atom values that are known so far: the rows of this device in the order of ``slots`` [K, n]; ``slots`` None: all
    pairs. ``used``: how many slots hold neighbours, where that is known to be fewer than K; ``lengths``: [n] how many
    do of each row. ``driven``: no reverse mode goes through, so that loops may have a length that is known only when
    they run; ``differentiable``: it may go through single sums. ``legs``: for how many neighbours of an atom there is
    room in sums over triples (None: for all). ``place``: the sorted position of each atom, where topologies want it.
    ``seen``: what is given each loop over pairs and gives its sums, in place of the schedules: for those who want to
    know what would be computed.
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
    lengths: RowLabels | None = None
    seen: Callable | None = None

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
        lengths: RowLabels | None = None,
    ) -> Configuration:
        layout = layout or OneDevice(atoms["x"][0].shape[0])
        rows = {**atoms, **data_of(potential.model, known.params, atoms[IDS])}
        nearest = potential.geometry.nearest(known.cell)
        place = inverse(layout.everywhere(atoms[IDS])[: layout.n_atoms]) if potential.by_topology else None
        differentiable = not driven and isinstance(layout, OneDevice)
        return cls(potential, known, rows, slots, layout, used, driven, legs, differentiable, nearest, place, lengths)

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

    def here(self, values: Numbers) -> Scalar:
        """The sum of an array [..., n] over the atoms of this device."""
        return jnp.sum(jnp.where(self.layout.rows() < self.layout.n_atoms, values, 0))
