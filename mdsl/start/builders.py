"""The builders of a run block: structures that are read or made, and velocities that are drawn."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from mdsl.files import lattices, reading, velocities
from mdsl.files.structure import Structure
from mdsl.grammar.diagnostics import Diagnostic, Rejected
from mdsl.interpret import meaning as interpret
from mdsl.interpret.constants import factor, value, whole
from mdsl.lowering.planning.on_host import nearest
from mdsl.model.dimensions import LENGTH, MASS, TIME, VELOCITY
from mdsl.model.nodes import Expr, Label, Model, Setup, TableOf
from mdsl.model.units import ANGSTROM, DALTON, FEMTOSECOND, UnitValue

from .box import declared_box, extended
from .initial import Initial, of_structure, still


def start(
    model: Model,
    folder: Path,
    seed: int,
    params: Mapping[str, object],
    topologies: Mapping[str, object] | None = None,
    data: Mapping[str, object] | None = None,
) -> Initial:
    """Carry out the builders of the run block. ``params`` are given values of parameters, internal units;
    ``topologies`` and ``data`` take the place of those of a file.

    Raises Rejected, each diagnostic at the statement of the run block that it concerns.
    """
    structure: Structure | None = None
    v: np.ndarray | None = None
    placed: Initial | None = None
    for statement, rng in setups(model, seed):
        try:
            if statement.target == "x":
                structure = _place(model, statement, folder, rng, params)
                given = topologies or {}
                types = {name: t for name, t in structure.topology_types.items() if name not in given}
                structure = replace(
                    structure,
                    topology={**structure.topology, **given},
                    topology_types=types,
                    data={**structure.data, **(data or {})},
                )
                placed = of_structure(model, structure, params)
            else:
                if placed is None:
                    raise Rejected(
                        Diagnostic("misplaced", "velocities are drawn before there are atoms", help="set up `x` first")
                    )
                v = drawn_velocities(model, statement, placed, rng, params)
        except Rejected as rejected:
            raise at_statement(rejected, statement) from None
    if placed is None:
        raise Rejected(
            Diagnostic(
                "empty-program",
                "the program has no run block that places atoms",
                help="bind arrays in Python, or write a run block",
            )
        )
    return placed if v is None else replace(placed, v=v)


def seeds(seed: int, count: int) -> list[int]:
    """The seeds of replicas: that of the run first, then such as are made of it."""
    made = (np.random.SeedSequence(seed, spawn_key=(k,)).generate_state(1, np.uint64)[0] for k in range(1, count))
    return [seed, *(int(words >> 2) for words in made)]


def setups(model: Model, seed: int) -> list[tuple[Setup, np.random.Generator]]:
    """What the run block sets up, each with random numbers of its own, so that adding one statement does not change
    what another draws."""
    streams = np.random.SeedSequence(seed).spawn(len(model.run))
    return [(s, np.random.default_rng(stream)) for s, stream in zip(model.run, streams) if isinstance(s, Setup)]


def at_statement(rejected: Rejected, statement: Setup) -> Rejected:
    """The same, each diagnostic at the statement of the run block that it concerns."""
    return Rejected(*(replace(d, span=d.span or statement.span) for d in rejected.diagnostics))


def _place(
    model: Model, setup: Setup, folder: Path, rng: np.random.Generator, params: Mapping[str, object]
) -> Structure:
    options = dict(setup.options)
    if setup.builder == "read":
        return internal(
            model,
            reading.read(folder / value(model, options["path"], params), dim=model.dim, need_box=model.box is None),
        )
    if setup.builder == "between":
        ends = (
            reading.read(folder / value(model, options[n], params), dim=model.dim, need_box=model.box is None)
            for n in ("first", "last")
        )
        return _between(model, *(internal(model, s) for s in ends), params)
    species = _species(model, options.get("species"), params)
    if setup.builder == "uniform":
        atoms = whole(model, options["atoms"], params, "`atoms`")
        if "density" in options:
            return lattices.uniform(
                atoms, rng=rng, density=value(model, options["density"], params), species=species, dim=model.dim
            )
        cell, _ = declared_box(model, params, atoms)
        return lattices.uniform(atoms, rng=rng, box=cell, species=species, dim=model.dim)
    cells = [whole(model, v, params, "`cells`") for k, v in sorted(options.items()) if k.startswith("cells")]
    return lattices.crystal(
        setup.builder,
        cells=cells[0] if len(cells) == 1 else cells,
        density=float(value(model, options["density"], params)) if "density" in options else None,
        a=float(value(model, options["a"], params)) if "a" in options else None,
        species=species,
        rng=rng,
        dim=model.dim,
    )


def _between(model: Model, first: Structure, last: Structure, params: Mapping[str, object]) -> Structure:
    """The place of a replica on the straight way between two structures, which have the same atoms in the same box."""
    number = model.replicas
    assert number is not None and number.numbers is not None  # `resolve` has seen to that
    for what, a, b in (
        ("numbers of atoms", first.atoms, last.atoms),
        ("species", first.species, last.species),
        ("boxes", first.cell, last.cell),
    ):
        if not np.array_equal(np.asarray(a), np.asarray(b)):
            message = f"the two structures differ in their {what}"
            raise Rejected(Diagnostic("wrong-shape", message, help="a chain goes between two states of the same atoms"))
    cell, periodic = first.cell, first.periodic
    if model.box is not None:
        cell, periodic = declared_box(model, params, first.atoms)
    place = float(interpret.parameter(model, number.name, params)) - number.numbers.first
    share = place / max(number.numbers.count - 1, 1)
    way = nearest(last.positions - first.positions, extended(cell, periodic), periodic)
    return replace(first, positions=first.positions + share * way, velocities=None)


def _species(model: Model, option: Expr | None, params: Mapping[str, object]):
    if option is None:
        return model.species[0] if len(model.species) == 1 else None
    if isinstance(option, Label):
        return option.species
    assert isinstance(option, TableOf)
    return {labels[0]: float(value(model, v, params)) for labels, v in option.entries}


def internal(model: Model, structure: Structure) -> Structure:
    """A structure whose file fixes its units, in the program's; reduced units take the numbers as they stand."""
    if structure.unit_style not in (None, model.units.name):
        raise Rejected(
            Diagnostic(
                "wrong-unit",
                f"the file is in units {structure.unit_style}, the program in units.{model.units.name}",
                help=f"`use units.{structure.unit_style}`, or convert the file",
            )
        )
    if structure.length_unit is None:
        scales = {d: factor(model, d) for d in (LENGTH, MASS, VELOCITY)}
        length, mass, velocity = (1 / scales[d] for d in (LENGTH, MASS, VELOCITY))
    elif model.units.reduced:
        return replace(structure, masses=None)
    else:
        length = model.units.to_internal(1.0, UnitValue(ANGSTROM, LENGTH))
        mass = model.units.to_internal(1.0, UnitValue(DALTON, MASS))
        velocity = length / model.units.to_internal(1.0, UnitValue(FEMTOSECOND, TIME))
    return replace(
        structure,
        positions=structure.positions * length,
        cell=structure.cell * length,
        masses=None if structure.masses is None else structure.masses * mass,
        velocities=None if structure.velocities is None else structure.velocities * velocity,
    )


def drawn_velocities(
    model: Model, setup: Setup, placed: Initial, rng: np.random.Generator, params: Mapping[str, object]
) -> np.ndarray:
    """[N, d]: velocities drawn for the temperature of a statement `v ~ maxwell(T)`; 0 for atoms that never move."""
    kT = float(value(model, dict(setup.options)["T"], params)) * float(interpret.parameter(model, "kB", params))
    free = ~still(model, placed.species, placed.data)
    v = np.zeros((placed.atoms, model.dim))
    v[free] = velocities.maxwell(placed.masses[free], kT, rng, model.dim)
    # The runtime counts dim*N - dim degrees of freedom; where the program counts another number, its own
    # temperature is what is asked for.
    count = int(free.sum()) * model.dim - model.dim
    return v * np.sqrt(placed.dof / count) if count > 0 else v
