"""Energies of a bound system, with a neighbour list that grows when it is called outside of transformations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import jax
import jax.numpy as jnp
import numpy as np

from mdsl.lowering.field.field import Field
from mdsl.lowering.geometry.cell import matrix_of
from mdsl.lowering.kernels.ase_energy import telling
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
    compiled: dict[str, object] = field(default_factory=dict)

    def call(self, name: str, leaves: Mapping[str, object], x, cell):
        """``name``: energy, forces or virial. ``leaves``: the free parameters; all in internal units."""
        if is_traced((leaves, x, cell)):
            return self._function(name)(leaves, x, cell)
        with telling(self.lowered.model):
            return self._call(name, leaves, x, cell)

    def _call(self, name: str, leaves: Mapping[str, object], x, cell):
        value = self._function(name)(leaves, x, cell)
        if not bool(jnp.isfinite(value).all()):
            traversal = planned(self.lowered, leaves, np.asarray(x, float), matrix_of(cell), self.policy)
            if traversal != self.energies.traversal:
                self.energies = replace(self.energies, traversal=traversal)
                self.compiled.clear()
            value = self._function(name)(leaves, x, cell)
        return value

    def _function(self, name: str):
        if name not in self.compiled:
            function = getattr(self.energies, name)
            self.compiled[name] = jax.jit(lambda leaves, x, cell: function(self.energies.complete(leaves), x, cell))
        return self.compiled[name]


def planned(lowered: Lowered, leaves: Mapping[str, object], x: np.ndarray, cell: np.ndarray, policy) -> Traversal:
    """The traversal for these positions and parameters. Raises Rejected: ``no-support``, ``box-too-small``."""
    return plan(lowered.field, lowered.facts(leaves, x, cell, once=True), policy)


def energies(
    fielded: Field, initial: Initial, precision: str, leaves: Mapping[str, object], policy: Policy = DEFAULT
) -> GrowingEnergies:
    """The energies of a bound system. Raises as `planned`."""
    lowered = Lowered.of(fielded, initial, precision)
    traversal = planned(lowered, leaves, initial.x, initial.cell, policy)
    masses, species = jnp.asarray(initial.masses, lowered.dtype), jnp.asarray(initial.species)
    return GrowingEnergies(lowered, policy, Energies(lowered.potential, traversal, masses, species, lowered.dof))
