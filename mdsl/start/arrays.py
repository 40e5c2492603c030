"""The state of a program from arrays that Python binds, in the units of the program."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from mdsl.files.structure import Structure
from mdsl.grammar.diagnostics import Diagnostic, Rejected
from mdsl.interpret.constants import array, factor
from mdsl.interpret.topologies import check_names
from mdsl.model.dimensions import LENGTH, MASS, VELOCITY
from mdsl.model.nodes import Model
from mdsl.passes.atom_data import check_data_names

from .box import box_of_array
from .builders import at_statement, drawn_velocities, setups
from .initial import Initial, of_structure, still


def bind(
    model: Model,
    x,
    box=None,
    species: Sequence | None = None,
    velocities=None,
    masses=None,
    params: Mapping[str, object] | None = None,
    topologies: Mapping[str, object] | None = None,
    data: Mapping[str, object] | None = None,
    seed: int = 0,
) -> Initial:
    """The state from a user's arrays, in the units of the program's unit system.

    x, velocities: [N, d]; without velocities they are as the run block draws them, by ``seed``, else 0. box: one
    length, [d], or [d, d] with the box vectors in its rows, the entries above the diagonal 0 (None: as the program
    declares); species: [N] labels, or places in the program's `species`; masses: [N]; topologies: name to [M, k] atoms,
    counted from 0; data: name to an array, in the unit of its declaration. Raises Rejected: ``wrong-shape``,
    ``unknown-species``, ``missing-topology``, ...
    """
    length = factor(model, LENGTH)
    positions = array("x", x, (None, model.dim)) / length
    count = len(positions)
    if count == 0:
        raise Rejected(Diagnostic("no-atoms", "x holds no atoms"))
    cell = np.diag(np.full(model.dim, np.inf))
    periodic = (False,) * model.dim
    if box is not None:
        cell = box_of_array(box, model.dim) / length
        periodic = tuple(bool(np.isfinite(e)) for e in np.diag(cell))
    labels = None if species is None else species_given(model, species, count)
    structure = Structure(
        positions,
        cell,
        periodic,
        labels,
        None if masses is None else array("masses", masses, (count,)) / factor(model, MASS),
        None if velocities is None else array("velocities", velocities, (count, model.dim)) / factor(model, VELOCITY),
        topology=check_names(model, topologies),
        data=check_data_names(model, data),
    )
    bound = of_structure(model, structure, params or {}, boxed=box is not None)
    return bound if velocities is not None else with_drawn_velocities(model, bound, params or {}, seed)


def with_drawn_velocities(model: Model, bound: Initial, params: Mapping[str, object], seed: int) -> Initial:
    """The same with the velocities that the run block draws, where it draws any."""
    for statement, rng in setups(model, seed):
        if statement.target == "v":
            try:
                bound = replace(bound, v=drawn_velocities(model, statement, bound, rng, params))
            except Rejected as rejected:
                raise at_statement(rejected, statement) from None
    return bound


def species_given(model: Model, species: Sequence, atoms: int) -> tuple[str, ...]:
    """The label of each atom, from labels or places in the program's `species`. Raises Rejected: ``wrong-shape``,
    ``unknown-species``."""
    if len(species) != atoms:
        raise Rejected(Diagnostic("wrong-shape", f"species has {len(species)} entries for {atoms} atoms"))
    return tuple(s if isinstance(s, str) else _name(model, int(s)) for s in species)


def _name(model: Model, place: int) -> str:
    if not model.species:
        return str(place)
    if not 0 <= place < len(model.species):
        raise Rejected(
            Diagnostic(
                "unknown-species",
                f"there is no species number {place}",
                notes=(f"species: {', '.join(model.species)}",),
            )
        )
    return model.species[place]


def given_velocities(model: Model, velocities, initial: Initial) -> np.ndarray:
    """Velocities [N, d] from those of a user; atoms that never move are at rest."""
    v = array("velocities", velocities, (initial.atoms, model.dim)) / factor(model, VELOCITY)
    return np.where(still(model, initial.species, initial.data)[:, None], 0.0, v)
