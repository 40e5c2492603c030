"""A program with atoms: energies, forces and runs as pure functions of JAX, in the units of the program."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from mdsl.interpret.constants import factor
from mdsl.lowering.planning.policy import Policy
from mdsl.lowering.planning.traversal import Traversal
from mdsl.model.dimensions import ENERGY, FORCE, LENGTH, VELOCITY
from mdsl.start.initial import Initial, still

from . import run as runs
from .arguments import arguments, scale
from .fixed_by_bind import fixed_by_bind

if TYPE_CHECKING:
    from ase import Atoms

    from mdsl.export.exporting import Export

    from .program import Program
    from .results import Result


@dataclass(frozen=True, eq=False)
class System:
    """A program with atoms. ``energy``, ``forces`` and ``stress`` are pure: jit, grad and vmap them over anything.
    ``data=`` takes other values than those bound, in the units of their declarations."""

    program: Program
    initial: Initial
    precision: str
    devices: tuple | None
    policy: Policy
    placed: bool = False  # by the run block, not by arrays
    drawn: bool = False  # velocities, by the run block
    starts: tuple[Initial, ...] = ()  # of each replica that the program declares

    def __repr__(self) -> str:
        return f"System({self.program!r}, {self.initial.atoms} atoms, {self.precision} precision)"

    @property
    def model(self):
        """That of the program."""
        return self.program.model

    @property
    def x(self) -> np.ndarray:
        """[N, d]: the positions that were bound."""
        return self.initial.x * factor(self.model, LENGTH)

    @property
    def v(self) -> np.ndarray:
        """[N, d]: the velocities that were bound, or drawn by the run block."""
        return self.initial.v * factor(self.model, self.model.units.dimension(VELOCITY))

    @property
    def box(self) -> np.ndarray:
        """[d]: the edges of the box, or [d, d]: its vectors in rows, where it is not rectangular; inf on an axis
        without end."""
        edges = np.where(self.initial.periodic, self.initial.lengths, np.inf)
        cell = np.tril(self.initial.cell, -1) + np.diag(edges) if self.initial.tilted else edges
        return cell * factor(self.model, LENGTH)

    def to_atoms(self) -> Atoms:
        """What was bound as `Atoms` of ASE, in its units; in reduced units the numbers as they are."""
        from .atoms import shown_atoms

        return shown_atoms(self, self.initial.x, self.initial.v, self.initial.cell, self.initial.data)

    @cached_property
    def fixed(self) -> dict[str, frozenset[str]]:
        """The free parameters that `bind` has made positions (x) and velocities (v) of."""
        return fixed_by_bind(self)

    @cached_property
    def _runners(self) -> dict[str, object]:
        return {}

    @cached_property
    def _energies(self):
        import jax

        from mdsl.lowering.run.growing_energies import energies

        # The first call may come from inside `jit`, but what is planned here are numbers.
        with jax.ensure_compile_time_eval():
            return energies(
                self.program.compiled.field,
                self.initial,
                self.precision,
                {**self.program.internal(None), **self.initial.data},
                self.policy,
            )

    @property
    def traversal(self) -> Traversal:
        """How its energies find pairs: ``listed`` or not, why, and with how much room. A run plans for itself."""
        return self._energies.energies.traversal

    def energy(
        self, x=None, *, params: Mapping[str, object] | None = None, box=None, data: Mapping[str, object] | None = None
    ):
        """The potential energy of positions [N, d]. Inside JAX transformations NaN says that a neighbour list
        overflowed; outside, the list is made larger and the energy is computed again."""
        leaves, x, cell = arguments(self, x, params, box, data)
        return self._energies.call("energy", leaves, x, cell) * scale(self, ENERGY)

    def forces(
        self, x=None, *, params: Mapping[str, object] | None = None, box=None, data: Mapping[str, object] | None = None
    ):
        """[N, d]: minus the gradient of the energy."""
        leaves, x, cell = arguments(self, x, params, box, data)
        return self._energies.call("forces", leaves, x, cell) * scale(self, FORCE)

    def virial(
        self, x=None, *, params: Mapping[str, object] | None = None, box=None, data: Mapping[str, object] | None = None
    ):
        """[d, d]: the sum of r f over interactions, an energy; positive where they push outwards."""
        leaves, x, cell = arguments(self, x, params, box, data)
        return self._energies.call("virial", leaves, x, cell) * scale(self, ENERGY)

    def stress(
        self, x=None, *, params: Mapping[str, object] | None = None, box=None, data: Mapping[str, object] | None = None
    ):
        """[d, d]: the derivative of the energy by strain, over the volume; positive in tension. No kinetic part."""
        leaves, x, cell = arguments(self, x, params, box, data)
        from mdsl.lowering.geometry.cell import volume

        virial = self._energies.call("virial", leaves, x, cell)
        return -virial / volume(cell) * scale(self, ENERGY / LENGTH**self.model.dim)

    def export(
        self,
        to: str,
        out=None,
        *,
        params: Mapping[str, object] | None = None,
        overwrite: bool = False,
        certify: bool = True,
        states: int = 3,
        seed: int = 0,
    ) -> Export:
        """Write the program with these atoms for another engine: ``to`` is lammps, openmm or stablehlo.

        ``out`` is the folder, by default the next free one in exports/. The engine, where it is installed, is then run
        on the start and on ``states`` states near it, drawn by ``seed``, and compared with the program: that is
        ``certificate`` of the result, and in the folder. Raises Rejected: ``cannot-export``, ``export-differs``,
        ``output-exists``, ``missing-package``, ``precision``.
        """
        from mdsl.export.exporting import export

        return export(
            self.program.compiled,
            self.initial,
            self.program.internal(params),
            to,
            out,
            overwrite=overwrite,
            certify=certify,
            states=states,
            seed=seed,
        )

    def relaxed(
        self, x, *, params: Mapping[str, object] | None = None, box=None, data: Mapping[str, object] | None = None
    ):
        """Positions [N, d] of a minimum, such as a minimizer has found, with the derivatives of the minimum.

        The value is ``x``. Its derivatives by ``params``, ``box`` and ``data`` are how the minimum moves with them, by
        the condition that forces stay 0: not those of the way to it, at the cost of one system of linear equations. If
        ``x`` is itself a function of them (positions that are strained with the box) the minimum is that near it, and
        of displacements that cost no energy it keeps those of ``x``. Frozen atoms stay where they are. Forces at ``x``
        are not looked at; derivatives that cannot be found are NaN.
        """
        import jax.numpy as jnp

        from mdsl.lowering.potential.minimum import moved_along

        resting = still(self.model, self.initial.species, self.initial.data)
        free = 1.0 - resting[:, None] if self.model.frozen else 1.0
        x = jnp.asarray(x, self._energies.lowered.dtype)
        return moved_along(lambda x: self.forces(x, params=params, box=box, data=data), x, free)

    def run(
        self,
        key,
        *,
        x=None,
        v=None,
        box=None,
        params: Mapping[str, object] | None = None,
        data: Mapping[str, object] | None = None,
        steps: int | None = None,
        trajectory: bool = False,
    ) -> Result:
        """Carry out the statements of dynamics of the run block; each has at most ``steps`` steps.

        ``key`` is a JAX random key, or an array of B keys: the run of a batch, which gives what B runs would, in less
        time. Then ``params``, ``data``, ``x``, ``v`` and ``box`` may have a value for each replica, along a first axis
        of that length (a box as edges [B, d] or vectors [B, d, d]; where B is d, [d, d] are the vectors of one box).
        Of a program that declares replicas a run is a batch of these: each begins as the run block says, by its own
        parameters and a seed of its own, and has a key that is made of ``key``.
        ``x`` and ``v`` [N, d] start the run in place of what was bound: positions in the box that was bound, which a
        box that the program declares by its parameters carries along with it. ``box`` is another box, as for `energy`,
        in which positions are where they are said to be. Inside JAX transformations (jit, grad, vmap over all of these)
        the run is one pure function, its records are traced arrays, each with its own rows only (outside, NaN fills
        those where something else was recorded), and NaN says that a neighbour list overflowed or that the run blew up.
        Outside, of a batch some replicas may blow up: the others go on, and ``lost`` of the result tells which, as a
        warning does. With ``trajectory`` the frames that the program writes are kept: `Result.trajectory`. Raises
        Rejected: ``blow-up``, ``overlap``, ``neighbour-overflow``, ``wrong-shape``, ``batch-shape``, ``no-derivative``.
        """
        return runs.run(self, key, x, v, box, params, data, steps, trajectory)
