"""Energies of a bound system, with a neighbour list that grows when it is called outside of transformations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import jax
import jax.numpy as jnp
import numpy as np

from mdsl.lowering.field.field import Field
from mdsl.lowering.geometry.cell import matrix_of
from mdsl.lowering.potential.energies import Energies
from mdsl.lowering.tracing import is_traced
from mdsl.start.initial import Initial

from .program import Lowered
from .traversal import choose, leg_room

ROOM = 1.3  # spare capacity of the neighbour list


@dataclass(eq=False)
class GrowingEnergies:
    """The functions of `Energies`, compiled. A list that overflows is grown and the call repeated, unless the
    arguments are being traced: then the result is NaN."""

    energies: Energies
    positions_dtype: object
    compiled: dict[str, object] = field(default_factory=dict)

    def call(self, name: str, leaves: Mapping[str, object], x, cell):
        """``name``: energy, forces or virial. ``leaves``: the free parameters; all in internal units."""
        value = self._function(name)(leaves, x, cell)
        if is_traced((leaves, x, cell)):
            return value
        if not bool(jnp.isfinite(value).all()):
            self._grow(leaves, x, cell)
            value = self._function(name)(leaves, x, cell)
        return value

    def _function(self, name: str):
        if name not in self.compiled:
            function = getattr(self.energies, name)
            self.compiled[name] = jax.jit(lambda leaves, x, cell: function(self.energies.complete(leaves), x, cell))
        return self.compiled[name]

    def _grow(self, leaves, x, cell) -> None:
        """Plan the list anew for these positions and parameters; also says what cannot be (``box-too-small``)."""
        potential = self.energies.potential
        cutoff = potential.cutoff(self.energies.complete(leaves))
        cutoff = None if cutoff is None else float(cutoff)
        x, matrix, periodic = np.asarray(x, float), matrix_of(cell), potential.geometry.periodic
        traversal = choose(potential.field, x, matrix, periodic, cutoff, skin=0.0)
        legs = leg_room(potential, self.energies.complete(leaves), x, matrix)
        if (traversal.plan, legs) != (self.energies.plan, self.energies.legs):
            self.energies = replace(self.energies, plan=traversal.plan, legs=legs)
            self.compiled.clear()


def energies(fielded: Field, initial: Initial, precision: str, leaves: Mapping[str, object]) -> GrowingEnergies:
    """The energies of a bound system. Raises Rejected: ``no-support``, ``box-too-small``."""
    lowered = Lowered.of(fielded, initial, precision)
    potential, dtype = lowered.potential, lowered.dtype
    unplanned = Energies(potential, None, jnp.asarray(initial.masses, dtype), jnp.asarray(initial.species), initial.dof)
    cutoff = potential.cutoff(unplanned.complete(leaves))
    reach = None if cutoff is None else float(cutoff)
    plan = choose(fielded, initial.x, initial.cell, initial.periodic, reach, skin=0.0).plan
    if plan is not None:
        # Room for what positions do later: a list inside a transformation cannot grow.
        plan = replace(plan, slots=int(plan.slots * ROOM) + 8, window=int(plan.window * ROOM) + 8)
    legs = leg_room(potential, unplanned.complete(leaves), initial.x, initial.cell)
    return GrowingEnergies(replace(unplanned, plan=plan, legs=legs), dtype)
