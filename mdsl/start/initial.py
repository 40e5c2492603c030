"""The state from which a program starts, of a structure that its run block places, or that Python binds.

All numbers in an `Initial` are in the program's internal units.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from mdsl.files.structure import Structure
from mdsl.grammar.diagnostics import Diagnostic, Rejected, suggest
from mdsl.interpret import meaning as interpret
from mdsl.model.box_dependencies import decided_by
from mdsl.model.box_shape import becomes_skew
from mdsl.model.dependencies import energetic, weighs
from mdsl.model.dimensions import MASS
from mdsl.model.nodes import Advance, Draw, Expr, Model, Op, Read, walk
from mdsl.model.units import DALTON, UnitValue
from mdsl.passes.atom_data import charges, fixed_atoms, internal_data, unused

from .box import check_small, declared_box, extended, other_box
from .topologies import read as read_topologies
from .topologies import types_alike


@dataclass(frozen=True, eq=False)
class Initial:
    """N atoms in d dimensions.

    x, v: [N, d]; cell: [d, d], the box vectors in its rows, triangular, with edge 1 on an axis without extent;
    tilted: whether the box is not rectangular, or need not stay so; declared: whether it is what the program
    declares, and follows parameters and time; periodic: [d]; species: [N]
    places in ``Model.species``; labels: [N] names for files; masses: [N]; dof: degrees of freedom; topologies:
    for each that the program declares, [M, k] atoms of its tuples; data: what the program declares as `data`; images:
    [N, d], how many box vectors lie between the position and one that was never wrapped, 0 if not given.
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
    images: np.ndarray | None = None
    notes: tuple[str, ...] = ()  # what was done to the atoms of a file

    def __post_init__(self) -> None:
        if self.images is None:
            object.__setattr__(self, "images", np.zeros_like(self.x))

    @property
    def lengths(self) -> np.ndarray:
        """[d]: the edges, without tilts."""
        return np.diag(self.cell).copy()

    @property
    def atoms(self) -> int:
        return len(self.x)


def still(model: Model, species: np.ndarray, data: Mapping[str, np.ndarray]) -> np.ndarray:
    """[N]: which atoms never move, by their species or by data of their own."""
    found = np.isin(species, [model.species.index(name) for name in model.frozen if name in model.species])
    return np.logical_or.reduce([found, *(np.asarray(data[name]) != 0 for name in model.freezing)])


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
    return isinstance(expr, Op) and expr.op.startswith("component_") and expr.args[0].type.kind == "point"


def _pushes_by_place(advance: Advance) -> bool:
    """Whether a scheme changes velocities by where atoms are, as a wall does that reflects them."""
    places: set[str] = set()  # values of the step that are made of places
    for step in advance.statements:
        args = step.args if isinstance(step, Draw) else (step.value,)
        looks = any(_of_place(n) or isinstance(n, Read) and n.symbol in places for expr in args for n in walk(expr))
        if looks and step.target == "v":
            return True
        if looks and step.target not in ("x", "cell"):
            places.add(step.target)
    return False


def conserves_momentum(model: Model) -> bool:
    """Whether the momentum of the whole stays what it is: no external field, no flow that pushes atoms by where they
    are, no random force on each atom, and no atom that never moves. What a thermostat does to all velocities alike
    leaves a centre of mass at rest."""
    external = any(_of_place(n) for e in energetic(model) for n in walk(e.body))
    external |= any(_pushes_by_place(a) for a in model.run if isinstance(a, Advance))
    random = any(isinstance(s, Draw) and s.per_atom for a in model.run if isinstance(a, Advance) for s in a.statements)
    return not external and not random and not model.frozen


def of_structure(model: Model, structure: Structure, params: Mapping[str, object], boxed: bool = False) -> Initial:
    """The atoms of a structure in internal units. ``boxed``: they come with a box, which the program's own does not
    replace. Raises Rejected: ``bad-box``, ``missing-box``, ``unknown-species``, ``missing-mass``, ``missing-topology``,
    ``missing-data``."""
    count = structure.atoms
    cell, periodic = structure.cell, structure.periodic
    tilted = bool(np.tril(cell, -1).any())
    if model.box is not None and not boxed:
        declared, repeats = declared_box(model, params, count)
        given = np.isfinite(structure.lengths) & np.array(periodic) & np.isfinite(np.diag(declared))
        if given.any() and not np.allclose(
            declared[given], cell[given], rtol=1e-6, atol=1e-6 * np.min(np.diag(declared)[given])
        ):
            raise Rejected(other_box(model, declared, cell))
        cell, periodic, tilted = declared, repeats, bool(model.box.tilts)
    elif not any(np.isfinite(structure.lengths)) and not boxed:
        raise Rejected(
            Diagnostic(
                "missing-box",
                "there is no box",
                help="give `box=` in Python, or declare `box periodic(L)` or `box free`",
            )
        )
    check_small(model.box, np.diag(cell))
    labels, species = _species_of(model, structure)
    data = internal_data(model, {**charges(model, structure), **fixed_atoms(model, structure), **structure.data}, count)
    resting = still(model, species, data)
    dof = model.dim * int((~resting).sum()) - (model.dim if conserves_momentum(model) and count > 1 else 0)
    moving = (
        np.zeros_like(structure.positions)
        if structure.velocities is None
        else np.where(resting[:, None], 0.0, structure.velocities)
    )
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
        data=data,
        tilted=tilted or becomes_skew(model),
        declared=model.box is not None and not boxed,
        images=None if structure.images is None else structure.images.astype(float),
        notes=(*structure.notes, *types_alike(model, structure), *unused(model, structure)),
    )


def _species_of(model: Model, structure: Structure) -> tuple[tuple[str, ...], np.ndarray]:
    count = structure.atoms
    labels = structure.species
    if labels is None:
        if len(model.species) > 1:
            raise Rejected(
                Diagnostic(
                    "unknown-species",
                    "the atoms have no species, but the program has several",
                    notes=(f"species: {', '.join(model.species)}",),
                    help="for example `species = { A: 0.8, B: 0.2 }` in the builder",
                )
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
            raise Rejected(
                Diagnostic(
                    "unknown-species",
                    f"an atom is of species `{strange}`, which the program does not declare",
                    notes=(f"species: {', '.join(model.species)}",),
                    help=suggest(strange, model.species),
                )
            )
    place = {name: k for k, name in enumerate(model.species)}
    return labels, np.array([place[label] for label in labels], np.int32)


def _masses(
    model: Model, structure: Structure, labels: tuple[str, ...], species: np.ndarray, params: Mapping[str, object]
) -> np.ndarray:
    """From the program's `m`, else from the structure, else from the elements; 1 in reduced units. Where nothing reads
    them they are not asked for, and are NaN."""
    param = model.param("m")
    if param is not None:
        given = np.asarray(interpret.parameter(model, "m", params), float)
        masses = given[species] if param.axes else np.full(structure.atoms, float(given))
    elif structure.masses is not None:
        masses = structure.masses
    elif model.units.reduced:
        masses = np.ones(structure.atoms)
    else:
        return _elements(labels, weighs(model)) * model.units.to_internal(1.0, UnitValue(DALTON, MASS))
    if not (masses > 0).all():
        raise Rejected(
            Diagnostic(
                "missing-mass",
                f"the mass of an atom is {masses.min():g}",
                param.span if param else None,
                help="masses are positive",
            )
        )
    return masses


def _elements(labels: tuple[str, ...], needed: bool) -> np.ndarray:
    """Standard atomic weights in g/mol, by element symbol; of what is no element NaN, unless they are needed."""
    from ase.data import atomic_masses, atomic_numbers

    strange = [label for label in dict.fromkeys(labels) if label not in atomic_numbers or label == "X"]
    if strange and needed:
        raise Rejected(
            Diagnostic(
                "missing-mass",
                f"the mass of `{strange[0]}` is not known",
                help="declare it: `param m = 39.948 [g/mol]` or `param m[species] = { ... }`",
            )
        )
    return np.array([np.nan if label in strange else atomic_masses[atomic_numbers[label]] for label in labels])
