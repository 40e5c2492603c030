"""Energies of a bound system, with a neighbour list that grows when it is called outside of transformations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import jax
import jax.numpy as jnp
import numpy as np

from mdsl.lowering.field.field import Field
from mdsl.lowering.geometry.cell import matrix_of
from mdsl.lowering.planning.policy import DEFAULT, Policy
from mdsl.lowering.planning.traversal import Traversal, plan
from mdsl.lowering.potential.energies import Energies
from mdsl.lowering.tracing import is_traced
from mdsl.start.initial import Initial

from .program import Lowered


@dataclass(eq=False)
class GrowingEnergies:
    """The functions of `Energies`, compiled. A list that overflows is grown and the call repeated, unless the
    arguments are being traced: then the result is NaN."""

    lowered: Lowered
    policy: Policy
    energies: Energies
    traversal: Traversal | None = None
    compiled: dict[str, object] = field(default_factory=dict)

    def call(self, name: str, leaves: Mapping[str, object], x, cell):
        """``name``: energy, forces or virial. ``leaves``: the free parameters; all in internal units."""
        value = self._function(name)(leaves, x, cell)
        if is_traced((leaves, x, cell)):
            return value
        if not bool(jnp.isfinite(value).all()):
            self.plan(leaves, np.asarray(x, float), matrix_of(cell))
            value = self._function(name)(leaves, x, cell)
        return value

    def _function(self, name: str):
        if name not in self.compiled:
            function = getattr(self.energies, name)
            self.compiled[name] = jax.jit(lambda leaves, x, cell: function(self.energies.complete(leaves), x, cell))
        return self.compiled[name]

    def plan(self, leaves: Mapping[str, object], x: np.ndarray, cell: np.ndarray) -> None:
        """Plan the list for these positions and parameters. Raises Rejected: ``no-support``, ``box-too-small``."""
        found = plan(self.lowered.field, self.lowered.facts(leaves, x, cell, once=True), self.policy)
        if found != self.traversal:
            self.traversal, self.energies = found, replace(self.energies, plan=found.plan, legs=found.legs)
            self.compiled.clear()


def energies(
    fielded: Field, initial: Initial, precision: str, leaves: Mapping[str, object], policy: Policy = DEFAULT
) -> GrowingEnergies:
    """The energies of a bound system. Raises Rejected: ``no-support``, ``box-too-small``."""
    lowered = Lowered.of(fielded, initial, precision)
    masses, species = jnp.asarray(initial.masses, lowered.dtype), jnp.asarray(initial.species)
    found = GrowingEnergies(lowered, policy, Energies(lowered.potential, None, masses, species, initial.dof))
    found.plan(leaves, initial.x, initial.cell)
    return found
