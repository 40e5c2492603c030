"""Energies of one system called again and again, as its atoms move: the neighbour list is kept from call to call.

A list is built with a skin, and holds until an atom has moved, or the box has been strained, by so much that a pair
within the cutoff may be missing from it. Which program is compiled depends on shapes alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mdsl.lowering.field.by_atom import WEIGHT, by_atom
from mdsl.lowering.field.derive import derive
from mdsl.lowering.field.field import Field
from mdsl.lowering.geometry.cell import Cell, matrix_of
from mdsl.lowering.kernels.ase_energy import telling
from mdsl.lowering.kernels.changing_box import carried, repeating, strain
from mdsl.lowering.kernels.pair_kernel import ENERGY, FORCE, SLOPES, VIRIAL
from mdsl.lowering.neighbours.lists import NeighbourList
from mdsl.lowering.planning.policy import DEFAULT, Policy
from mdsl.lowering.planning.traversal import plan
from mdsl.lowering.potential.energies import Energies
from mdsl.start.initial import Initial

from .program import Lowered


class Held(NamedTuple):
    """A list, and where it was built: x [N, d], the box, and the radius within which it has all pairs."""

    list: NeighbourList
    x: object
    cell: Cell
    radius: object


@dataclass(eq=False)
class HeldEnergies:
    """``builds``: how many lists were built; ``traces``: how many programs were traced."""

    lowered: Lowered
    policy: Policy
    energies: Energies
    held: Held | None = None
    builds: int = 0
    traces: int = 0
    compiled: dict[str, object] = field(default_factory=dict)

    @classmethod
    def of(cls, fielded: Field, initial: Initial, precision: str, leaves: Mapping, policy: Policy = DEFAULT):
        """Of atoms that are bound; ``leaves``: the free parameters and data, internal units. Raises Rejected:
        ``no-support``, ``box-too-small``."""
        lowered = Lowered.of(fielded, initial, precision)
        facts = lowered.facts(leaves, initial.x, initial.cell, changing=True)
        masses, species = jnp.asarray(initial.masses, lowered.dtype), jnp.asarray(initial.species)
        energies = Energies(lowered.potential, plan(fielded, facts, policy), masses, species, lowered.dof)
        return cls(lowered, policy, energies)

    def energy(self, leaves: Mapping[str, object], x: np.ndarray, cell: Cell) -> float:
        """The energy alone."""
        return self._call("energy", leaves, x, cell)

    def all(self, leaves: Mapping[str, object], x: np.ndarray, cell: Cell):
        """The energy, forces [N, d] and virial [d, d]."""
        return self._call("all", leaves, x, cell)

    def of_atoms(self, leaves: Mapping[str, object], x: np.ndarray, cell: Cell):
        """[N]: the energy of each atom; None where the potential is not made of such."""
        if self._divided is None:
            return None
        leaves = {**leaves, WEIGHT: np.ones(len(x))}
        return self._call("of_atoms", leaves, x, cell)

    # -- lists ---------------------------------------------------------------------------------------------------

    def _call(self, name: str, leaves, x, cell: Cell):
        with telling(self.lowered.model):
            return self._found(name, leaves, x, cell)

    def _found(self, name: str, leaves, x, cell: Cell):
        if self.energies.traversal.plan is not None:
            if self.held is None or not bool(self._function("holds")(leaves, x, cell, self.held)):
                self._build(leaves, x, cell)
        values = self._function(name)(leaves, x, cell, self.held)
        if not all(bool(jnp.isfinite(v).all()) for v in jax.tree.leaves(values)) and self._replan(leaves, x, cell):
            return self._found(name, leaves, x, cell)
        return values

    def _build(self, leaves, x, cell: Cell) -> None:
        for _ in range(self.policy.most_growths):
            self.held = self._function("built")(leaves, x, cell)
            self.builds += 1
            if not bool(self.held.list.overflow):
                return
            grown = self.energies.traversal.longer(jax.tree.map(np.asarray, self.held.list.needed), self.policy)
            self._take(replace(self.energies, traversal=grown))

    def _replan(self, leaves, x, cell: Cell) -> bool:
        """Whether there is another way to find the pairs of these positions, which is taken: what is not finite may be
        for want of room, or because the box has become too small, which is said. Raises Rejected: ``box-too-small``."""
        if not np.isfinite(x).all():
            return False
        facts = self.lowered.facts(leaves, np.asarray(x, float), matrix_of(cell), changing=True)
        found = plan(self.lowered.field, facts, self.policy)
        legs = self.energies.traversal.legs
        if legs is None or found.legs is not None and found.legs <= legs:
            return False
        self._take(replace(self.energies, traversal=replace(self.energies.traversal, legs=found.legs)))
        return True

    def _take(self, energies: Energies) -> None:
        self.energies, self.held = energies, None
        self.compiled.clear()

    # -- programs ------------------------------------------------------------------------------------------------

    @cached_property
    def _divided(self) -> Energies | None:
        """The potential with weights of atoms; its pairs are the same."""
        model = by_atom(self.lowered.model)
        if model is None:
            return None
        return replace(self.energies, potential=replace(self.lowered.potential, field=derive(model)))

    def _function(self, name: str):
        if name not in self.compiled:
            function = getattr(self, f"_{name}")

            def traced(*arguments):
                self.traces += 1
                return function(*arguments)

            self.compiled[name] = jax.jit(traced)
        return self.compiled[name]

    def _holds(self, leaves, x, cell: Cell, held: Held):
        potential = self.energies.potential
        nearest = potential.geometry.nearest(cell)
        at = carried(tuple(held.x.T), held.cell, cell)
        moved = nearest(tuple(a - b for a, b in zip(tuple(x.T), at)))
        room = (1 - strain(held.cell, cell)) * held.radius - potential.cutoff(self.energies.complete(leaves))
        return 2 * jnp.sqrt(jnp.max(sum(m**2 for m in moved))) <= room

    def _built(self, leaves, x, cell: Cell) -> Held:
        params = self.energies.complete(leaves)
        radius = self.energies.potential.cutoff(params) + self.energies.traversal.skin
        edges = repeating(cell, self.energies.potential.geometry.periodic)
        radius = jnp.minimum(radius, jnp.min(jnp.stack(edges)) / 2) if edges else radius
        return Held(self.energies.listed(params, x, cell, radius), x, cell, radius)

    def _energy(self, leaves, x, cell: Cell, held: Held | None):
        params = self.energies.complete(leaves)
        result, good = self._result(self.energies, params, x, cell, held, frozenset({ENERGY}))
        return jnp.where(good, self.energies.total(result.sums, params, cell), jnp.nan)

    def _all(self, leaves, x, cell: Cell, held: Held | None):
        params = self.energies.complete(leaves)
        result, good = self._result(self.energies, params, x, cell, held, frozenset({ENERGY, FORCE, VIRIAL}))
        energy = jnp.where(good, self.energies.total(result.sums, params, cell), jnp.nan)
        return energy, jnp.stack(result.force, axis=1), jnp.array(result.tensor)

    def _of_atoms(self, leaves, x, cell: Cell, held: Held | None):
        energies = replace(self._divided, traversal=self.energies.traversal)
        result, _ = self._result(energies, energies.complete(leaves), x, cell, held, frozenset({SLOPES}))
        return result.slopes[WEIGHT]

    def _result(self, energies: Energies, params, x, cell: Cell, held: Held | None, outputs: frozenset[str]):
        return energies.result(params, x, cell, outputs, None if held is None else held.list)
