"""Where the rows of per-atom arrays are: all on one device, or a contiguous part of the sorted order on each."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import jax
import jax.numpy as jnp
from jax import lax

from mdsl.lowering.neighbours import lists as neighbours

from .schedules import ATOMS, Shards


@dataclass(frozen=True)
class OneDevice:
    """All atoms here. ``chain``: the axes along which replicas lie, the outermost first, where these read each other;
    ``asked``: how many there are, None: as many as the axes are long."""

    n_atoms: int

    @property
    def chain(self) -> tuple[str, ...]:
        return ("replicas",)

    @property
    def asked(self) -> int | None:
        return None

    @property
    def count(self) -> int:
        return self.n_atoms

    def rows(self):
        return jnp.arange(self.n_atoms, dtype=jnp.int32)

    def local(self, values):
        return values

    def everywhere(self, values):
        return values

    def add(self, values):
        """The sum of an array, [N] or [..., N], over all atoms."""
        return jnp.sum(values, axis=-1)

    def gather(self, contributions):
        """[N]: contributions to all atoms, from the rows here; what comes together on the rows here."""
        return contributions

    @property
    def total(self) -> int:
        """How many rows there are on all devices, padding included."""
        return self.n_atoms

    def plus(self, value):
        """The sum of a value over all devices."""
        return value

    def largest(self, value):
        """The largest of a scalar over all devices."""
        return value

    def across(self, values):
        """The sum of values of each device over all devices."""
        return values

    def agreed(self, flag):
        """The largest flag of all replicas."""
        return flag

    def extreme(self, values, op):
        """The largest or smallest of an [N] array over all atoms."""
        return jnp.max(values) if op == "largest" else jnp.min(values)

    def build(self, plan, positions, cell, radius, into=None):
        return neighbours.build(plan, positions, cell, radius, into=into)

    def program(self, function, arguments, results, donated=()):
        """The function compiled; ``arguments`` and ``results`` say which of its values hold rows (`state.STATE`). The
        memory of the arguments ``donated`` is used for results."""
        return jax.jit(function, donate_argnums=donated)


@dataclass(frozen=True)
class ManyDevices:
    """A part of the atoms on each device; the last may hold padding, which takes no part in sums."""

    n_atoms: int
    devices: tuple

    @cached_property
    def shards(self) -> Shards:
        return Shards(self.n_atoms, len(self.devices))

    @property
    def count(self) -> int:
        return self.shards.count

    def rows(self):
        return self.shards.rows()

    def local(self, values):
        return self.shards.local(values)

    def everywhere(self, values):
        return self.shards.everywhere(values)

    def add(self, values):
        if self.shards.total > self.n_atoms:
            values = jnp.where(self.rows() < self.n_atoms, values, 0)
        return lax.psum(jnp.sum(values, axis=-1), ATOMS)

    def gather(self, contributions):
        return lax.psum_scatter(contributions, ATOMS, scatter_dimension=contributions.ndim - 1, tiled=True)

    @property
    def total(self) -> int:
        return self.shards.total

    def plus(self, value):
        return lax.psum(value, ATOMS)

    def largest(self, value):
        return lax.pmax(value, ATOMS)

    def across(self, values):
        return lax.psum(values, ATOMS)

    def agreed(self, flag):
        return flag

    def extreme(self, values, op):
        pick, over, none = (jnp.max, lax.pmax, -jnp.inf) if op == "largest" else (jnp.min, lax.pmin, jnp.inf)
        return over(pick(jnp.where(self.rows() < self.n_atoms, values, none)), ATOMS)

    def build(self, plan, positions, cell, radius, into=None):
        return self.shards.build(plan, positions, cell, radius, into)

    def program(self, function, arguments, results, donated=()):
        mesh = self.shards.mesh(self.devices)
        return jax.jit(self.shards.over(mesh, function, arguments, results), donate_argnums=donated)


Layout = OneDevice | ManyDevices
