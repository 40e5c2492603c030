"""The state of a program from `Atoms` of ASE."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from mdsl.files.atoms import Orientation, structure_of
from mdsl.grammar.diagnostics import Diagnostic, Rejected
from mdsl.interpret.constants import array, factor
from mdsl.interpret.topologies import check_names
from mdsl.model.dimensions import MASS
from mdsl.model.nodes import Model
from mdsl.passes.atom_data import check_data_names

from .arrays import species_given
from .builders import internal
from .initial import Initial, of_structure

if TYPE_CHECKING:
    from ase import Atoms


def bind_atoms(
    model: Model,
    atoms: Atoms,
    species: Sequence | None = None,
    masses=None,
    params: Mapping[str, object] | None = None,
    topologies: Mapping[str, object] | None = None,
    data: Mapping[str, object] | None = None,
    boxed: bool = False,
) -> tuple[Initial, Orientation]:
    """The state of `Atoms`, as of a file that holds them, and how their box was turned. What is given beside them takes
    the place of what they say. ``boxed``: their box replaces that of the program, also where nothing repeats; else a
    box that the program declares must be theirs, where they repeat, and without that is taken. Raises as
    `of_structure` and `structure_of`."""
    read, box = structure_of(atoms, model.dim, model.units.reduced)
    structure = internal(model, read)
    count = structure.atoms
    structure = replace(
        structure,
        species=structure.species if species is None else species_given(model, species, count),
        masses=structure.masses if masses is None else array("masses", masses, (count,)) / factor(model, MASS),
        topology=check_names(model, topologies),
        data={**structure.data, **check_data_names(model, data)},
    )
    repeats = any(structure.periodic)
    initial = of_structure(model, structure, params or {}, boxed=boxed or model.box is None)
    if repeats and initial.periodic != structure.periodic:
        raise Rejected(
            Diagnostic(
                "bad-box",
                f"the program declares a box that repeats along {_axes(initial.periodic)}, and the Atoms do so along "
                f"{_axes(structure.periodic)}",
                model.box.span if model.box else None,
                help="leave out the box of the program, or change `pbc` of the Atoms",
            )
        )
    return initial, box


def _axes(periodic: Sequence[bool]) -> str:
    return " and ".join("xyz"[k] for k in np.flatnonzero(periodic)) or "no axis"
