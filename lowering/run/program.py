"""A program for the atoms of a system, in a precision."""

from __future__ import annotations

from dataclasses import dataclass

import jax.numpy as jnp

from mdsl.lowering.field.field import Field
from mdsl.lowering.traversals.potential import Geometry, Potential
from mdsl.lowering.traversals.topologies import Topologies
from mdsl.model.box_dependencies import decided_by
from mdsl.model.box_shape import changes_box
from mdsl.model.nodes import Model
from mdsl.start.initial import Initial

PRECISIONS = {
    "single": (jnp.float32, jnp.float32),
    "mixed": (jnp.float64, jnp.float32),
    "double": (jnp.float64, jnp.float64),
}


@dataclass(frozen=True, eq=False)
class Lowered:
    """A program for some atoms, before anything is planned by where these are.

    ``potential``: which sums the list holds all pairs of is what holds for any parameters. ``dtype``: of positions.
    ``changing``: whether the box may become another.
    """

    potential: Potential
    dtype: object
    dof: float
    changing: bool

    @classmethod
    def of(cls, field: Field, initial: Initial, precision: str) -> Lowered:
        dtype, kernel_dtype = PRECISIONS[precision]
        potential = Potential(
            field,
            Geometry(field.model.dim, initial.periodic),
            kernel_dtype,
            Topologies(initial.topologies, initial.atoms),
        )
        changing = initial.declared and "t" in decided_by(field.model) or changes_box(field.model)
        return cls(potential, dtype, initial.dof, changing)

    @property
    def field(self) -> Field:
        return self.potential.field

    @property
    def model(self) -> Model:
        return self.potential.model

    @property
    def periodic(self) -> tuple[bool, ...]:
        return self.potential.geometry.periodic
