"""`Atoms` of ASE: bound to programs, and made of what is bound or has been run."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from mdsl.files.atoms import atoms_of, in_ase
from mdsl.grammar.diagnostics import Diagnostic, Rejected
from mdsl.model.dimensions import CHARGE, LENGTH, MASS, VELOCITY
from mdsl.model.nodes import Model
from mdsl.passes.atom_data import columns
from mdsl.start.arrays import given_velocities, with_drawn_velocities
from mdsl.start.atoms import bind_atoms
from mdsl.start.initial import Initial, still

if TYPE_CHECKING:
    from ase import Atoms

    from .system import System


def is_atoms(x: object) -> bool:
    """Whether these are `Atoms`, asked without importing ASE."""
    module = sys.modules.get("ase.atoms")
    return module is not None and isinstance(x, module.Atoms)


def bound(
    model: Model,
    atoms: Atoms,
    box,
    species,
    velocities,
    masses,
    params: Mapping[str, object],
    topologies: Mapping[str, object] | None,
    data: Mapping[str, object] | None,
    seed: int,
) -> Initial:
    """The state of `Atoms`; arguments as of `Program.bind`. Raises Rejected: ``wrong-arguments``, and as
    `bind_atoms`."""
    if box is not None:
        raise Rejected(
            Diagnostic(
                "wrong-arguments",
                "`box` of `bind` is given beside Atoms, which have one",
                help="change `cell` and `pbc` of the Atoms, or bind their positions: `bind(atoms.positions, box=...)`",
            )
        )
    initial, _ = bind_atoms(model, atoms, species, masses, params, topologies, data)
    if velocities is not None:
        return replace(initial, v=given_velocities(model, velocities, initial))
    return initial if atoms.has("momenta") else with_drawn_velocities(model, initial, params, seed)


def shown_atoms(system: System, x, v, cell, data: Mapping[str, object], info: dict | None = None) -> Atoms:
    """`Atoms` of a system in a state in internal units: x, v [N, d], cell [d, d]."""
    model, initial = system.model, system.initial
    mass = in_ase(model.units, MASS)
    own = {n: a for n, a in columns(model, data).items() if n != "q" and n not in model.freezing}
    resting = still(model, initial.species, data) if model.freezing else None
    param = model.param("q")
    if param is not None and param.data is not None and param.per_atom:
        charged = param.type.dimension == CHARGE
        own["q"] = np.asarray(data["q"]) * (in_ase(model.units, CHARGE) if charged else 1 / param.data.size)
    return atoms_of(
        np.asarray(x, float) * in_ase(model.units, LENGTH),
        np.asarray(cell, float) * in_ase(model.units, LENGTH),
        initial.periodic,
        initial.labels,
        np.asarray(initial.masses, float) * mass,
        np.asarray(v, float) * in_ase(model.units, VELOCITY),
        own,
        resting,
        info,
    )
