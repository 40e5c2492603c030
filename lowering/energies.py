"""Energy, forces and stress of a bound program as pure JAX functions with symbolic derivatives.

The energy carries its own derivative rule: the force, the derivative by parameters and by the box are sums of
the same kind as the energy, so no pair is differentiated by JAX and nothing is stored for each pair.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import jax
import jax.numpy as jnp

from . import neighbours
from .kernels import BOX, ENERGY, FORCE, SLOPES, VIRIAL
from .potential import Potential, Result
from .topologies import IDS, inverse
from .values import Globals, complete


@dataclass(frozen=True, eq=False)
class Energies:
    """``plan`` None: all pairs. Masses and species belong to the atoms in the user's order."""

    potential: Potential
    plan: neighbours.Plan | None
    masses: object
    species: object
    dof: float

    @property
    def model(self):
        return self.potential.model

    def globals(self, params, lengths) -> Globals:
        return Globals(self.model, params, lengths, 0.0, len(self.masses), self.dof)

    def result(self, params, x, lengths, outputs: frozenset[str]) -> tuple[Result, object]:
        """All terms at positions ``x`` [N, d], and whether the neighbour list was complete."""
        known = self.globals(params, tuple(lengths))
        atoms = {"x": tuple(x.T), "m": jnp.asarray(self.masses, x.dtype), "species": jnp.asarray(self.species), IDS: jnp.arange(len(self.masses), dtype=jnp.int32)}
        if self.plan is None:
            return self.potential.evaluate(known, atoms, None, outputs), self.fits(params, lengths)
        still = jax.lax.stop_gradient(x).astype(self.potential.dtype)
        radius = jax.lax.stop_gradient(self.potential.cutoff(params))
        found = neighbours.build(self.plan, tuple(still.T), tuple(jax.lax.stop_gradient(length) for length in lengths), radius)
        order = found.order
        sorted_atoms = {"x": tuple(c[order] for c in atoms["x"]), "m": atoms["m"][order], "species": atoms["species"][order], IDS: order}
        slots = self.potential.without_excluded(found.slots, order, atoms[IDS])
        result = self.potential.evaluate(known, sorted_atoms, slots, outputs)
        back = inverse(order)
        force = tuple(c[back] for c in result.force)
        return Result(force, result.sums, result.virial, result.box, result.slopes), self.fits(params, lengths) & ~found.overflow

    def fits(self, params, lengths):
        """Whether nearest images are enough: the cutoff is at most half of each periodic edge."""
        cutoff = self.potential.cutoff(params)
        good = jnp.bool_(True)
        for length, repeats in zip(lengths, self.potential.geometry.periodic):
            if repeats and cutoff is not None:
                good &= (length >= 2 * cutoff) | ~jnp.isfinite(cutoff)
        return good

    def total(self, sums, params, lengths):
        """The potential energy from the values of its sums."""
        known = self.globals(params, tuple(lengths))
        known.more = sums
        return sum(known.value(c.expr) for c in self.potential.field.combinations if c.kind == "energy")

    @cached_property
    def energy(self):
        """``energy(params, x, lengths)``: params are all parameters, x [N, d], lengths [d]. NaN where a list overflowed."""

        @jax.custom_jvp
        def energy(params, x, lengths):
            result, good = self.result(params, x, lengths, frozenset({ENERGY}))
            return jnp.where(good, jnp.asarray(self.total(result.sums, params, lengths), x.dtype), jnp.nan)

        @energy.defjvp
        def _(primals, tangents):
            params, x, lengths = primals
            dparams, dx, dlengths = tangents
            result, good = self.result(params, x, lengths, frozenset({ENERGY, FORCE, SLOPES, BOX}))
            value, explicit = jax.jvp(lambda p, e: self.total(result.sums, p, e), (params, lengths), (dparams, dlengths))
            force = jnp.stack(result.force, axis=1)
            tangent = explicit - jnp.sum(force * dx)
            stretch = jax.jvp(jnp.prod, (lengths,), (dlengths,))[1]
            for name, slope in result.slopes.items():
                tangent = tangent + jnp.sum(slope * (stretch if name == "volume" else dparams[name]))
            for slope, dlength in zip(result.box, dlengths):
                tangent = tangent + slope * dlength
            bad = jnp.where(good, 0.0, jnp.nan)
            return (value + bad).astype(x.dtype), (tangent + bad).astype(x.dtype)

        return energy

    def forces(self, params, x, lengths):
        """[N, d]; NaN where a list overflowed."""
        result, good = self.result(params, x, lengths, frozenset({FORCE}))
        return jnp.where(good, jnp.stack(result.force, axis=1), jnp.nan)

    def virial(self, params, x, lengths):
        """[d, d]: the sum of r f over all interactions, minus the derivative of the energy by a strain."""
        result, good = self.result(params, x, lengths, frozenset({FORCE, VIRIAL}))
        return jnp.where(good, jnp.array(result.virial), jnp.nan)

    def complete(self, leaves):
        """All parameters from the free ones."""
        return complete(self.model, leaves)
