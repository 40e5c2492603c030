"""A program for the atoms of a system, in a precision."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np

from mdsl.lowering.field.field import Field
from mdsl.lowering.kernels.globals import complete
from mdsl.lowering.planning.traversal import Facts
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

    def facts(self, leaves: Mapping[str, object], x: np.ndarray, cell: np.ndarray, **more) -> Facts:
        """What decides how pairs are found of atoms at ``x`` [N, d]; ``leaves``: the free parameters, numbers in
        internal units; ``more``: of `Facts`."""
        params, terms = complete(self.model, leaves), self.field.triple_terms
        ends = self.potential.cutoff(params), self.potential.reach(params, terms) if terms else None
        return Facts(len(x), cell, self.periodic, *(None if e is None else float(e) for e in ends), x, **more)
