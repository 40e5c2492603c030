"""Energy, forces and stress of a bound program as pure JAX functions with symbolic derivatives.

The energy carries its own derivative rule: the force, the derivative by parameters and by the box are sums of
the same kind as the energy, so no pair is differentiated by JAX and nothing is stored for each pair.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp

from mdsl.lowering.geometry.cell import Cell, volume
from mdsl.lowering.kernels.globals import Globals, complete, masses_of
from mdsl.lowering.kernels.pair_kernel import BOX, ENERGY, FORCE, SLOPES, VIRIAL
from mdsl.lowering.neighbours import lists as neighbours
from mdsl.lowering.neighbours.lists import NeighbourList
from mdsl.lowering.planning.traversal import Traversal
from mdsl.lowering.traversals.configuration import Configuration
from mdsl.lowering.traversals.potential import Potential, marked
from mdsl.lowering.traversals.topologies import IDS, inverse
from mdsl.lowering.traversals.totals import Totals
from mdsl.model import nearest_image

from .evaluation import evaluate

if TYPE_CHECKING:
    from mdsl.lowering.arrays import Flag, Labels, Numbers, Params, PerAtom, Positions, Scalar, Values


@dataclass(frozen=True, eq=False)
class Energies:
    """Masses and species belong to the atoms in the user's order."""

    potential: Potential
    traversal: Traversal
    masses: PerAtom
    species: Labels
    dof: float

    @property
    def model(self):
        return self.potential.model

    def globals(self, params: Params, cell: Cell) -> Globals:
        return Globals(self.model, params, cell, 0.0, len(self.masses), self.dof)

    def listed(self, params: Params, x: Positions, cell: Cell, radius: Scalar) -> NeighbourList:
        """The list of the pairs within ``radius``, less those that every sum leaves out."""
        still = jax.lax.stop_gradient(x).astype(self.potential.dtype)
        cell, radius = jax.lax.stop_gradient((cell, radius))
        found = neighbours.build(self.traversal.plan, tuple(still.T), cell, radius)
        ids = jnp.arange(len(self.masses), dtype=jnp.int32)
        return found._replace(slots=self.potential.without_excluded(found.slots, found.order, ids))

    def result(
        self, params: Params, x: Positions, cell: Cell, outputs: frozenset[str], held: NeighbourList | None = None
    ) -> tuple[Totals, Flag]:
        """All terms at positions ``x`` [N, d], and whether the neighbour list was complete. ``held``: a list that holds
        at these positions; else one is built."""
        known = self.globals(params, cell)
        if x.dtype != self.potential.dtype:  # far from the box, pair kernels of lower precision would round too much
            x = jnp.stack(self.potential.geometry.wrap(tuple(x.T), cell)[0], axis=1)
        species = jnp.asarray(self.species)
        atoms = {
            "x": tuple(x.T),
            "m": masses_of(self.model, params, jnp.asarray(self.masses, x.dtype), species),
            "species": species,
            IDS: jnp.arange(len(self.masses), dtype=jnp.int32),
        }
        good = self.fits(params, cell) & jnp.isfinite(x).all()
        plan, legs = self.traversal.plan, self.traversal.legs
        if plan is None:
            return evaluate(Configuration.of(self.potential, known, atoms, None, legs=legs), outputs), good
        found = self.listed(params, x, cell, self.potential.cutoff(params)) if held is None else held
        order = found.order
        sorted_atoms = {
            "x": tuple(c[order] for c in atoms["x"]),
            "m": atoms["m"][order],
            "species": atoms["species"][order],
            IDS: order,
        }
        result = evaluate(Configuration.of(self.potential, known, sorted_atoms, found.slots, legs=legs), outputs)
        back = inverse(order)
        force = tuple(c[back] for c in result.force)
        return replace(result, force=force), good & ~found.overflow

    def fits(self, params: Params, cell: Cell) -> Flag:
        """Whether nearest images are enough for the cutoff, which is not so in a traced box that is skew the wrong way:
        its edges are NaN."""
        return nearest_image.fits(cell.edges, self.potential.geometry.periodic, self.potential.cutoff(params))

    def total(self, sums: Values, params: Params, cell: Cell) -> Scalar:
        """The potential energy from the values of its sums."""
        known = self.globals(params, cell)
        known.more = sums
        return sum(known.value(c.expr) for c in self.potential.field.combinations if c.kind == "energy")

    @cached_property
    def energy(self) -> Callable[[Params, Positions, Cell], Scalar]:
        """``energy(params, x, cell)``: params are all parameters, x [N, d], cell the box. NaN where a list
        overflowed."""

        @jax.custom_jvp
        def energy(params, x, cell):
            result, good = self.result(params, x, cell, frozenset({ENERGY}))
            return jnp.where(good, jnp.asarray(self.total(result.sums, params, cell), x.dtype), jnp.nan)

        @energy.defjvp
        def _(primals, tangents):
            params, x, cell = primals
            dparams, dx, dcell = tangents
            result, good = self.result(params, x, cell, frozenset({ENERGY, FORCE, SLOPES, BOX}))
            value, explicit = jax.jvp(lambda p, e: self.total(result.sums, p, e), (params, cell), (dparams, dcell))
            force = jnp.stack(result.force, axis=1)
            tangent = explicit - jnp.sum(force * dx)
            stretch = jax.jvp(volume, (cell,), (dcell,))[1]
            for name, slope in result.slopes.items():
                tangent = tangent + jnp.sum(slope * (stretch if name == "volume" else dparams[name]))
            for slope, change in zip(result.box, dcell.leaves):
                tangent = tangent + slope * change
            return marked(jnp.asarray(value, x.dtype), good), marked(jnp.asarray(tangent, x.dtype), good)

        return energy

    def forces(self, params: Params, x: Positions, cell: Cell) -> Positions:
        """[N, d]; NaN where a list overflowed."""
        result, good = self.result(params, x, cell, frozenset({FORCE}))
        return marked(jnp.stack(result.force, axis=1), good)

    def virial(self, params: Params, x: Positions, cell: Cell) -> Numbers:
        """[d, d]: the sum of r f over all interactions, minus the derivative of the energy by a strain."""
        result, good = self.result(params, x, cell, frozenset({FORCE, VIRIAL}))
        return marked(jnp.array(result.tensor), good)

    def complete(self, leaves: Params) -> Params:
        """All parameters from the free ones."""
        return complete(self.model, leaves)
