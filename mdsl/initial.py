"""The state from which a program starts: what its run block sets up, or arrays that Python binds.

All numbers in an `Initial` are in the program's internal units.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from mdsl.grammar.diagnostics import Diagnostic, Rejected, suggest

from . import interpret
from .atom_data import charges, check_data_names, internal_data
from .before_run import array, factor, value, whole
from .box import decided_by
from .box_shape import becomes_skew
from .dimensions import LENGTH, MASS, TIME, VELOCITY
from .initial_box import box_of_array, check_small, declared_box, extended, other_box
from .model import Advance, Draw, Expr, Label, Model, Op, Read, Setup, TableOf, walk
from .reads import energetic
from .runtime import lattices, reading, velocities
from .runtime.structure import Structure
from .topologies import check_names, read as read_topologies, types_alike
from .units import UnitValue

ANGSTROM, DALTON, FEMTOSECOND = 1e-10, 1.66053906660e-27, 1e-15


@dataclass(frozen=True, eq=False)
class Initial:
    """N atoms in d dimensions.

    x, v: [N, d]; cell: [d, d], the box vectors in its rows, triangular, with edge 1 on an axis without extent;
    tilted: whether the box is not rectangular, or need not stay so; declared: whether it is what the program
    declares, and follows parameters and time; periodic: [d]; species: [N]
    places in ``Model.species``; labels: [N] names for files; masses: [N]; dof: degrees of freedom; topologies:
    for each that the program declares, [M, k] atoms of its tuples; data: what the program declares as `data`.
    """

    x: np.ndarray
    v: np.ndarray
    cell: np.ndarray
    periodic: tuple[bool, ...]
    species: np.ndarray
    labels: tuple[str, ...]
    masses: np.ndarray
    dof: float
    topologies: Mapping[str, np.ndarray] = field(default_factory=dict)
    data: Mapping[str, np.ndarray] = field(default_factory=dict)
    tilted: bool = False
    declared: bool = False
    notes: tuple[str, ...] = ()  # what was done to the atoms of a file

    @property
    def lengths(self) -> np.ndarray:
        """[d]: the edges, without tilts."""
        return np.diag(self.cell).copy()

    @property
    def atoms(self) -> int:
        return len(self.x)


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
    for statement, rng in _setups(model, seed):
        try:
            if statement.target == "x":
                structure = _place(model, statement, folder, rng, params)
                given = topologies or {}
                types = {name: t for name, t in structure.topology_types.items() if name not in given}
                structure = replace(structure, topology={**structure.topology, **given}, topology_types=types, data={**structure.data, **(data or {})})
                placed = _initial(model, structure, params)
            else:
                if placed is None:
                    raise Rejected(Diagnostic("misplaced", "velocities are drawn before there are atoms", help="set up `x` first"))
                v = _velocities(model, statement, placed, rng, params)
        except Rejected as rejected:
            raise _at(rejected, statement) from None
    if placed is None:
        raise Rejected(Diagnostic("empty-program", "the program has no run block that places atoms", help="bind arrays in Python, or write a run block"))
    return placed if v is None else replace(placed, v=v)


def _setups(model: Model, seed: int) -> list[tuple[Setup, np.random.Generator]]:
    """What the run block sets up, each with random numbers of its own, so that adding one statement does not change what
    another draws."""
    streams = np.random.SeedSequence(seed).spawn(len(model.run))
    return [(s, np.random.default_rng(stream)) for s, stream in zip(model.run, streams) if isinstance(s, Setup)]


def _at(rejected: Rejected, statement: Setup) -> Rejected:
    """The same, each diagnostic at the statement of the run block that it concerns."""
    return Rejected(*(replace(d, span=d.span or statement.span) for d in rejected.diagnostics))


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

    x, velocities: [N, d], where there are none as the run block draws them, by ``seed``, else 0; box: one length, [d], or [d, d] with the box vectors in its rows, the entries above the
    diagonal 0 (None: as the program declares); species: [N] labels, or
    places in the program's `species`; masses: [N]; topologies: name to [M, k] atoms, counted from 0; data: name to
    an array, in the unit of its declaration. Raises Rejected: ``wrong-shape``, ``unknown-species``, ``missing-topology``, ...
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
    labels = None
    if species is not None:
        if len(species) != count:
            raise Rejected(Diagnostic("wrong-shape", f"species has {len(species)} entries for {count} atoms"))
        labels = tuple(s if isinstance(s, str) else _name(model, int(s)) for s in species)
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
    bound = _initial(model, structure, params or {}, boxed=box is not None)
    for statement, rng in _setups(model, seed) if velocities is None else ():
        if statement.target == "v":
            try:
                bound = replace(bound, v=_velocities(model, statement, bound, rng, params or {}))
            except Rejected as rejected:
                raise _at(rejected, statement) from None
    return bound


def _name(model: Model, place: int) -> str:
    if not model.species:
        return str(place)
    if not 0 <= place < len(model.species):
        raise Rejected(Diagnostic("unknown-species", f"there is no species number {place}", notes=(f"species: {', '.join(model.species)}",)))
    return model.species[place]


# -- the builders of the run block -----------------------------------------------------------------------


def _place(model: Model, setup: Setup, folder: Path, rng: np.random.Generator, params: Mapping[str, object]) -> Structure:
    options = dict(setup.options)
    if setup.builder == "read":
        return _internal(model, reading.read(folder / value(model, options["path"], params), dim=model.dim, need_box=model.box is None))
    species = _species(model, options.get("species"), params)
    if setup.builder == "uniform":
        atoms = whole(model, options["atoms"], params, "`atoms`")
        if "density" in options:
            return lattices.uniform(atoms, rng=rng, density=value(model, options["density"], params), species=species, dim=model.dim)
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


def _species(model: Model, option: Expr | None, params: Mapping[str, object]):
    if option is None:
        return model.species[0] if len(model.species) == 1 else None
    if isinstance(option, Label):
        return option.species
    assert isinstance(option, TableOf)
    return {labels[0]: float(value(model, v, params)) for labels, v in option.entries}


def _internal(model: Model, structure: Structure) -> Structure:
    """A structure whose file fixes its units, in the program's; reduced units take the numbers as they stand."""
    if structure.unit_style not in (None, model.units.name):
        raise Rejected(Diagnostic("wrong-unit", f"the file is in units {structure.unit_style}, the program in units.{model.units.name}", help=f"`use units.{structure.unit_style}`, or convert the file"))
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


def _velocities(model: Model, setup: Setup, placed: Initial, rng: np.random.Generator, params: Mapping[str, object]) -> np.ndarray:
    kT = float(value(model, dict(setup.options)["T"], params)) * float(interpret.parameter(model, "kB", params))
    free = ~still(model, placed.species)
    v = np.zeros((placed.atoms, model.dim))
    v[free] = velocities.maxwell(placed.masses[free], kT, rng, model.dim)
    # The runtime counts dim*N - dim degrees of freedom; where the program counts another number, its own
    # temperature is what is asked for.
    count = int(free.sum()) * model.dim - model.dim
    return v * np.sqrt(placed.dof / count) if count > 0 else v


def given_velocities(model: Model, velocities, species: np.ndarray) -> np.ndarray:
    """Velocities [N, d] from those of a user; atoms of species that never move are at rest."""
    v = array("velocities", velocities, (len(species), model.dim)) / factor(model, VELOCITY)
    return np.where(still(model, species)[:, None], 0.0, v)


def still(model: Model, species: np.ndarray) -> np.ndarray:
    """[N]: which atoms are of species that never move."""
    return np.isin(species, [model.species.index(name) for name in model.frozen])


# -- the box, species and masses -------------------------------------------------------------------------


def following(model: Model, initial: Initial, params: Mapping[str, object]) -> Initial:
    """The state in the box that the program declares for these parameters, its positions carried along."""
    if not initial.declared or not decided_by(model) & params.keys():
        return initial
    cell, periodic = declared_box(model, {k: np.asarray(v) for k, v in params.items()}, initial.atoms)
    cell = extended(cell, periodic)
    return replace(initial, cell=cell, x=initial.x @ np.linalg.inv(initial.cell) @ cell)


def _of_place(expr: Expr) -> bool:
    """Whether an expression looks at where a point is, and not only at displacements between atoms."""
    if isinstance(expr, Read) and expr.symbol == "origin":
        return True
    return isinstance(expr, Op) and expr.op.startswith("component_") and expr.args[0].type is not None and expr.args[0].type.kind == "point"


def conserves_momentum(model: Model) -> bool:
    """Whether the momentum of the whole stays what it is: no external field, no random force on each atom, and no
    atom that never moves. What a thermostat does to all velocities alike leaves a centre of mass at rest."""
    external = any(_of_place(n) for e in energetic(model) for n in walk(e.body))
    random = any(isinstance(s, Draw) and s.per_atom for a in model.run if isinstance(a, Advance) for s in a.body or ())
    return not external and not random and not model.frozen


def _initial(model: Model, structure: Structure, params: Mapping[str, object], boxed: bool = False) -> Initial:
    count = structure.atoms
    cell, periodic = structure.cell, structure.periodic
    tilted = bool(np.tril(cell, -1).any())
    if model.box is not None and not boxed:
        declared, repeats = declared_box(model, params, count)
        given = np.isfinite(structure.lengths) & np.array(periodic) & np.isfinite(np.diag(declared))
        if given.any() and not np.allclose(declared[given], cell[given], rtol=1e-6, atol=1e-6 * np.min(np.diag(declared)[given])):
            raise Rejected(other_box(model, declared, cell))
        cell, periodic, tilted = declared, repeats, bool(model.box.tilts)
    elif not any(np.isfinite(structure.lengths)) and not boxed:
        raise Rejected(Diagnostic("missing-box", "there is no box", help="give `box=` in Python, or declare `box periodic(L)` or `box free`"))
    check_small(model.box, np.diag(cell))
    labels, species = _species_of(model, structure)
    resting = still(model, species)
    dof = model.dim * int((~resting).sum()) - (model.dim if conserves_momentum(model) and count > 1 else 0)
    moving = np.zeros_like(structure.positions) if structure.velocities is None else np.where(resting[:, None], 0.0, structure.velocities)
    return Initial(
        x=np.ascontiguousarray(structure.positions),
        v=moving,
        cell=extended(cell, periodic),
        periodic=tuple(bool(p) for p in periodic),
        species=species,
        labels=labels,
        masses=_masses(model, structure, labels, species, params),
        dof=float(dof),
        topologies=read_topologies(model, structure),
        data=internal_data(model, {**charges(model, structure), **structure.data}, count),
        tilted=tilted or becomes_skew(model),
        declared=model.box is not None and not boxed,
        notes=(*structure.notes, *types_alike(model, structure)),
    )


def _species_of(model: Model, structure: Structure) -> tuple[tuple[str, ...], np.ndarray]:
    count = structure.atoms
    labels = structure.species
    if labels is None:
        if len(model.species) > 1:
            raise Rejected(
                Diagnostic("unknown-species", "the atoms have no species, but the program has several", notes=(f"species: {', '.join(model.species)}",), help="for example `species = { A: 0.8, B: 0.2 }` in the builder")
            )
        labels = ((model.species[0] if model.species else "X"),) * count
    if not model.species:
        return labels, np.zeros(count, np.int32)
    if any(label not in model.species for label in labels):
        numbers = {str(k + 1): name for k, name in enumerate(model.species)}
        if set(labels) <= numbers.keys():  # the types of a LAMMPS file, in the order of `species`
            labels = tuple(numbers[label] for label in labels)
        else:
            strange = next(label for label in labels if label not in model.species)
            raise Rejected(Diagnostic("unknown-species", f"an atom is of species `{strange}`, which the program does not declare", notes=(f"species: {', '.join(model.species)}",), help=suggest(strange, model.species)))
    place = {name: k for k, name in enumerate(model.species)}
    return labels, np.array([place[label] for label in labels], np.int32)


def _masses(model: Model, structure: Structure, labels: tuple[str, ...], species: np.ndarray, params: Mapping[str, object]) -> np.ndarray:
    """From the program's `m`, else from the structure, else from the elements; 1 in reduced units."""
    param = model.param("m")
    if param is not None:
        given = np.asarray(interpret.parameter(model, "m", params), float)
        masses = given[species] if param.axes else np.full(structure.atoms, float(given))
    elif structure.masses is not None:
        masses = structure.masses
    elif model.units.reduced:
        masses = np.ones(structure.atoms)
    else:
        masses = _elements(labels) * model.units.to_internal(1.0, UnitValue(DALTON, MASS))
    if not (masses > 0).all():
        raise Rejected(Diagnostic("missing-mass", f"the mass of an atom is {masses.min():g}", param.span if param else None, help="masses are positive"))
    return masses


def _elements(labels: tuple[str, ...]) -> np.ndarray:
    """Standard atomic weights in g/mol, by element symbol."""
    from ase.data import atomic_masses, atomic_numbers

    strange = [label for label in dict.fromkeys(labels) if label not in atomic_numbers or label == "X"]
    if strange:
        raise Rejected(Diagnostic("missing-mass", f"the mass of `{strange[0]}` is not known", help="declare it: `param m = 39.948 [g/mol]` or `param m[species] = { ... }`"))
    return np.array([atomic_masses[atomic_numbers[label]] for label in labels])
