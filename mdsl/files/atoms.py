"""`Atoms` of ASE as structures, and structures as `Atoms`.

ASE counts in angstrom, electron volts and atomic masses, and so in times of angstrom*sqrt(u/eV). Its box vectors may
lie anywhere, and any of them may repeat; here they are the rows of a triangular matrix.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mdsl.model.dimensions import CHARGE, ENERGY, LENGTH, MASS, VELOCITY, Dimension
from mdsl.model.units import (
    ANGSTROM,
    DALTON,
    ELECTRONVOLT,
    ELEMENTARY_CHARGE,
    FEMTOSECOND,
    UnitSystem,
    UnitValue,
)

from .errors import rejected
from .structure import Structure, padded

if TYPE_CHECKING:
    from ase import Atoms

# ASE's times in a femtosecond. Its own `ase.units.fs` has older constants, by which kinetic energies would be others.
TIMES_IN_FEMTOSECOND = FEMTOSECOND / (ANGSTROM * math.sqrt(DALTON / ELECTRONVOLT))

# ASE's units in SI units; that of velocities makes of its unit of mass that of energies.
SIZES = {
    LENGTH: ANGSTROM,
    ENERGY: ELECTRONVOLT,
    MASS: DALTON,
    VELOCITY: math.sqrt(ELECTRONVOLT / DALTON),
    CHARGE: ELEMENTARY_CHARGE,
}


def in_ase(units: UnitSystem, dimension: Dimension) -> float:
    """ASE's number per internal number of a length, energy, mass, velocity or charge. In reduced units it is 1: ASE's
    angstrom, eV and atomic mass stand for the program's units of length, energy and mass."""
    if units.reduced:
        return 1.0
    found = 1.0 / units.to_internal(1.0, UnitValue(SIZES[dimension], dimension))
    return 1.0 if abs(found - 1.0) < 1e-14 else found


# Columns that mean something to ASE or to mdsl; all other numbers are data of the program.
KNOWN_COLUMNS = (
    "numbers",
    "positions",
    "pos",
    "masses",
    "momenta",
    "initial_charges",
    "velo",
    "vel",
    "velocities",
    "forces",
    "label",
    "occupancy",
    "tags",
    "spacegroup_kinds",
)


# -- from ASE ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Orientation:
    """How the box of some `Atoms` becomes a triangular one.

    cell: [d, d], inf on the diagonal of an axis that does not repeat; periodic: [d]; rotation: [3, 3], orthogonal, with
    x @ rotation what becomes of a vector; None where everything stays where it is.
    """

    cell: np.ndarray
    periodic: tuple[bool, ...]
    rotation: np.ndarray | None = None

    def turned(self, vectors: np.ndarray) -> np.ndarray:
        """Vectors [N, 3] of ASE in the axes of the box."""
        return vectors if self.rotation is None else vectors @ self.rotation

    def back(self, vectors: np.ndarray) -> np.ndarray:
        """Vectors [N, d] in the axes of the box as those of ASE, [N, 3]."""
        vectors = padded(vectors)
        return vectors if self.rotation is None else vectors @ self.rotation.T

    def back_tensor(self, tensor: np.ndarray) -> np.ndarray:
        """A tensor [d, d] in the axes of the box as that of ASE, [3, 3]."""
        missing = 3 - len(tensor)
        tensor = np.pad(tensor, ((0, missing), (0, missing)))
        return tensor if self.rotation is None else self.rotation @ tensor @ self.rotation.T


def orientation(atoms: Atoms, dim: int = 3) -> Orientation:
    """The box of `Atoms` for a program of ``dim`` dimensions, in angstrom. What does not repeat has no length, and its
    vector is not looked at. A box that is not triangular is turned, with what repeats first; where it is left-handed
    its last vector is taken the other way round, which is the same lattice. Raises ``triclinic-box``,
    ``bad-dimension``."""
    vectors = np.array(atoms.cell, float)[:dim]
    periodic = tuple(bool(p) for p in atoms.pbc[:dim])
    size = np.abs(vectors).max(initial=0.0)
    kept = vectors[list(periodic)]
    if dim == 2 and np.abs(kept[:, 2]).max(initial=0.0) > 1e-9 * size:
        raise rejected(
            "bad-dimension", "the program has two dimensions, and the box vectors leave the plane of x and y"
        )
    flat = [0.0 if p else 1.0 for p in periodic]  # along what does not repeat a box has no tilts
    strange = np.abs(np.triu(vectors[:, :dim], 1)) + np.abs(vectors[:, :dim]) * (np.array(flat) * (1 - np.eye(dim)))
    strange = strange[list(periodic)]
    if strange.max(initial=0.0) <= 1e-9 * size and all(vectors[k, k] > 0 for k in range(dim) if periodic[k]):
        return Orientation(_closed(np.tril(vectors[:, :dim]), periodic), periodic)
    if dim == 3 and len(kept) == 3 and np.linalg.det(kept) < 0 or dim == 2 and len(kept) == 2 and _left(kept):
        kept = np.vstack([kept[:-1], -kept[-1:]])
    q, r = np.linalg.qr(kept[:, :dim].T, mode="complete")
    lengths = np.abs(np.diag(r))
    if not (lengths > 1e-9 * np.linalg.norm(kept, axis=1)).all():
        told = tuple(f"({', '.join(f'{v:g}' for v in row)})" for row in kept)
        raise rejected("triclinic-box", "box vectors of the Atoms that repeat are 0, or lie along others", notes=told)
    signs = np.ones(dim)
    signs[: len(kept)] = np.sign(np.diag(r))
    q = q * signs
    if np.linalg.det(q) < 0:  # an axis that does not repeat may point either way
        q[:, -1] *= -1
    rotation = np.eye(3)
    rotation[:dim, :dim] = q
    first = tuple(k < len(kept) for k in range(dim))
    cell = np.zeros((dim, dim))
    cell[: len(kept)] = np.tril(kept[:, :dim] @ q)
    return Orientation(_closed(cell, first), first, rotation)


def _left(plane: np.ndarray) -> bool:
    return bool(np.linalg.det(plane[:, :2]) < 0)


def _closed(cell: np.ndarray, periodic: Sequence[bool]) -> np.ndarray:
    return np.where(np.array(periodic)[:, None], cell, np.diag(np.full(len(cell), np.inf)))


def structure_of(atoms: Atoms, dim: int = 3, reduced: bool = False) -> tuple[Structure, Orientation]:
    """`Atoms` as a structure of ``dim`` dimensions, and how their box was turned. ``reduced``: for a program in reduced
    units, which takes all numbers as they stand, with ASE's times. Raises ``no-atoms``, ``not-finite``,
    ``bad-dimension``, ``triclinic-box``."""
    if len(atoms) == 0:
        raise rejected("no-atoms", "the Atoms are none")
    box = orientation(atoms, dim)
    velocities = atoms.get_velocities() if atoms.has("momenta") else None
    for what, values in (("positions", atoms.positions), ("velocities", velocities), ("cell", np.array(atoms.cell))):
        if values is not None and not np.isfinite(values).all():
            raise rejected("not-finite", f"the {what} of the Atoms hold a number that is not finite")
    fixed, held = fixed_of(atoms)
    if fixed is not None and box.rotation is not None and (fixed.any(axis=1) != fixed.all(axis=1)).any():
        held = (*held, "constraints along single axes, in a box that is turned")
        fixed = np.repeat(fixed.all(axis=1)[:, None], 3, axis=1)
    turned = () if box.rotation is None else ("the box of the Atoms is turned to a triangular one, and they with it",)
    across = ("that z repeats",) if dim == 2 and atoms.pbc[2] else ()
    structure = Structure(
        positions=box.turned(atoms.positions),
        cell=np.pad(box.cell, ((0, 3 - dim), (0, 3 - dim))) + np.diag([0.0] * dim + [np.inf] * (3 - dim)),
        periodic=(*box.periodic, False)[:3],
        species=labels_of(atoms),
        masses=np.array(atoms.arrays["masses"]) if atoms.has("masses") else None,
        velocities=None if velocities is None else box.turned(velocities) * (1.0 if reduced else TIMES_IN_FEMTOSECOND),
        charges=np.array(atoms.arrays["initial_charges"]) if atoms.has("initial_charges") else None,
        data=columns_of(atoms, {}),
        length_unit=None if reduced else "angstrom",
        fixed=fixed,
        source="the Atoms",
        unread=(*unread_of(atoms), *held, *across),
        notes=turned,
    )
    return (structure.flattened() if dim == 2 else structure), box


def labels_of(atoms: Atoms) -> tuple[str, ...]:
    """The label of each atom: its element, unless the column ``label`` says another."""
    return tuple(str(s) for s in atoms.arrays.get("label", atoms.symbols))


def columns_of(atoms: Atoms, results: Mapping[str, object]) -> dict[str, np.ndarray]:
    """Further numbers of the atoms, [N] each; ``results``: what ASE takes for those of a calculation in a file."""
    every = {**{name: np.asarray(v) for name, v in results.items()}, **atoms.arrays}
    found = {name: v for name, v in every.items() if name not in KNOWN_COLUMNS}
    return {name: v.astype(float) for name, v in found.items() if v.shape == (len(atoms),) and v.dtype.kind in "fi"}


def fixed_of(atoms: Atoms) -> tuple[np.ndarray | None, tuple[str, ...]]:
    """[N, 3]: the axes along which constraints keep atoms in place, None where there are none; and what other
    constraints there are, in words."""
    fixed, others = np.zeros((len(atoms), 3), bool), []
    for constraint in atoms.constraints:
        kind = type(constraint).__name__
        if kind in ("FixAtoms", "FixCartesian", "FixScaled"):
            mask = getattr(constraint, "mask", None)  # of single axes; True where the atom is held
            fixed[constraint.index] |= True if mask is None else np.asarray(mask, bool)
        else:
            others.append(f"the constraint {kind}")
    return fixed if fixed.any() else None, tuple(dict.fromkeys(others))


def unread_of(atoms: Atoms) -> tuple[str, ...]:
    """What `Atoms` say beyond positions, box, elements, masses, charges and momenta."""
    columns = [
        name
        for name, v in atoms.arrays.items()
        if name == "tags"
        and v.any()
        or name not in KNOWN_COLUMNS
        and not (v.shape == (len(atoms),) and v.dtype.kind in "fi")
    ]
    found = [f"the columns {', '.join(columns)}"] if columns else []
    if np.any(atoms.get_celldisp()):
        found.append("the place of the box, celldisp")
    if told := [key for key in atoms.info if key not in ("step", "time")]:
        found.append(f"{', '.join(map(str, told))} of info")
    return tuple(found)


# -- to ASE ------------------------------------------------------------------------------------------------


def atoms_of(
    positions: np.ndarray,
    cell: np.ndarray,
    periodic: Sequence[bool],
    labels: Sequence[str],
    masses: np.ndarray | None,
    velocities: np.ndarray | None = None,
    columns: Mapping[str, np.ndarray] | None = None,
    fixed: np.ndarray | None = None,
    info: dict | None = None,
) -> Atoms:
    """`Atoms` from arrays [N, d] in ASE's units, with the box vectors in the rows of ``cell`` [d, d]; ``columns`` [N]
    by name, of which ``q`` are charges; ``fixed`` [N]: who never moves. Labels that are no chemical elements are in the
    column ``label``, and these atoms are X to ASE."""
    from ase import Atoms
    from ase.constraints import FixAtoms
    from ase.data import atomic_numbers

    vectors = np.zeros((3, 3))
    dim = len(cell)
    vectors[:dim, :dim] = np.where(np.array(periodic)[:, None], cell, 0.0)
    numbers = [atomic_numbers.get(label, 0) for label in labels]
    atoms = Atoms(numbers, padded(positions), cell=vectors, pbc=[*periodic, False, False][:3], info=info)
    if not all(numbers):
        atoms.set_array("label", np.array(labels, dtype=str))
    if masses is not None and np.isfinite(masses).all():
        atoms.set_masses(masses)
        if velocities is not None:
            atoms.set_velocities(padded(velocities))
    for name, values in (columns or {}).items():
        if name == "q":
            atoms.set_initial_charges(values)
        else:
            atoms.set_array(name, np.asarray(values))
    if fixed is not None:
        atoms.set_constraint(FixAtoms(mask=fixed))
    return atoms
