"""One arrangement of atoms in a box: what lattices build and what files hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from .errors import rejected


@dataclass(frozen=True, eq=False)
class Structure:
    """Atoms in a box whose lower corner is the origin.

    positions   [N, d] float64; not wrapped, so they may lie outside the box
    cell        [d, d] float64, lower triangular; its rows are the box vectors, so x = s @ cell with s in
                [0, 1). An axis without extent has ``inf`` on the diagonal and is not periodic.
    periodic    one bool per axis; an axis may have a length and yet not be periodic
    species     a label per atom, or None where the source tells no atoms apart
    masses      [N] or None
    velocities  [N, d] or None
    charges     [N] or None
    data        name to the numbers of a further column [N], as they stand in the file
    topology    name ("bonds", "angles", "dihedrals", "impropers") to indices [M, k], counted from 0
    topology_types  the same names to a label per row (the bond type of a LAMMPS file), where there are any
    length_unit "angstrom" where the format fixes its unit: then masses are in g/mol and velocities in
                angstrom/fs. None where the numbers are in the program's own unit system.
    unit_style  the unit system that the file itself names ("lj", "real", "metal"), or None
    fixed       [N, d]: along which axes the file says that an atom does not move, or None where it says nothing of it
    images      [N, d] whole numbers: box vectors to add for the way without jumps, or None
    source      the name of the file, or ""
    unread      what else the file holds of the atoms, and is nowhere here
    notes       what was done to the atoms of the file, for the user to know
    """

    positions: np.ndarray
    cell: np.ndarray
    periodic: tuple[bool, ...]
    species: tuple[str, ...] | None = None
    masses: np.ndarray | None = None
    velocities: np.ndarray | None = None
    charges: np.ndarray | None = None
    topology: Mapping[str, np.ndarray] = field(default_factory=dict)
    topology_types: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    data: Mapping[str, np.ndarray] = field(default_factory=dict)
    length_unit: str | None = None
    unit_style: str | None = None
    fixed: np.ndarray | None = None
    images: np.ndarray | None = None
    source: str = ""
    unread: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        n, d = self.positions.shape
        shapes = {
            "cell": (self.cell, (d, d)),
            "masses": (self.masses, (n,)),
            "velocities": (self.velocities, (n, d)),
            "charges": (self.charges, (n,)),
            "fixed": (self.fixed, (n, d)),
            "images": (self.images, (n, d)),
        }
        for name, (array, shape) in shapes.items():
            if array is not None and array.shape != shape:
                raise ValueError(f"{name} has the shape {array.shape}, not {shape}")
        if len(self.periodic) != d or (self.species is not None and len(self.species) != n):
            raise ValueError("periodic needs one value per axis, species one label per atom")

    @property
    def atoms(self) -> int:
        return len(self.positions)

    @property
    def dim(self) -> int:
        return self.positions.shape[1]

    @property
    def lengths(self) -> np.ndarray:
        """[d] edges of the box, without tilts; ``inf`` on an axis without extent."""
        return np.diag(self.cell).copy()

    @property
    def volume(self) -> float:
        """Volume of the box (area in two dimensions); ``inf`` where an axis has no extent."""
        return float(np.prod(self.lengths))

    @property
    def density(self) -> float:
        """Atoms per volume."""
        return self.atoms / self.volume

    def flattened(self) -> Structure:
        """The structure in the plane: z is dropped.

        Raises ``bad-dimension`` where the atoms do not lie in one plane z = constant.
        """
        z = self.positions[:, 2]
        moving = self.velocities is not None and np.any(self.velocities[:, 2] != 0)
        if np.ptp(z) > 1e-9 * max(1.0, float(np.abs(z).max())) or moving:
            raise rejected(
                "bad-dimension",
                f"the program has two dimensions, but the atoms of the structure do not lie in a plane (z from "
                f"{z.min():g} to {z.max():g})",
                help="give all atoms the same z and no velocity along z, or remove `dim 2`",
            )
        return replace(
            self,
            positions=np.ascontiguousarray(self.positions[:, :2]),
            cell=self.cell[:2, :2].copy(),
            periodic=self.periodic[:2],
            velocities=None if self.velocities is None else np.ascontiguousarray(self.velocities[:, :2]),
            fixed=None if self.fixed is None else self.fixed[:, :2],
            images=None if self.images is None else self.images[:, :2],
        )


def standard(cell: np.ndarray, name: str) -> tuple[np.ndarray, np.ndarray | None, tuple[str, ...]]:
    """The box vectors in the rows of ``cell`` [d, d], rotated so that a lies along x and b in the plane of x and y.

    Returns the triangular matrix, the rotation (for `turned`; None where there is nothing to do) and a note of it for
    the user. An axis without extent (a row of zeros) is left to itself. Raises ``triclinic-box`` where the vectors lie
    in a plane or are left-handed.
    """
    d = len(cell)
    size = np.abs(cell).max()
    if np.abs(np.triu(cell, 1)).max(initial=0.0) <= 1e-9 * size:
        # As it should be, but for rounding; a row of zeros is an axis without extent.
        if (np.diag(cell) >= 0).all() and not any(cell[k, k] == 0 and cell[k].any() for k in range(d)):
            return np.tril(cell), None, ()
    vectors = tuple(f"{axis} = ({', '.join(f'{v:g}' for v in row)})" for axis, row in zip("abc", cell))
    if not abs(np.linalg.det(cell)) > 1e-9 * np.prod(np.linalg.norm(cell, axis=1)):
        raise rejected("triclinic-box", f"{name}: the box vectors lie in a plane", notes=vectors)
    q, r = np.linalg.qr(cell.T)  # cell = r.T @ q.T
    signs = np.sign(np.diag(r))
    rotation, triangular = q * signs, (r.T * signs)
    if np.linalg.det(rotation) < 0:
        raise rejected(
            "triclinic-box",
            f"{name}: the box vectors are left-handed",
            notes=vectors,
            help="exchange two of them, which leaves the crystal as it is",
        )
    note = f"{name}: box, positions and velocities are rotated so that a lies along x and b in the plane of x and y"
    return np.tril(triangular), rotation, (note,)


def turned(vectors: np.ndarray, rotation: np.ndarray | None) -> np.ndarray:
    return vectors if rotation is None else vectors @ rotation


def padded(vectors: np.ndarray) -> np.ndarray:
    """[N, d] as [N, 3], with zeros on the axes that are not there: file formats know three dimensions only."""
    vectors = np.asarray(vectors)
    return np.pad(vectors, ((0, 0), (0, 3 - vectors.shape[1]))) if vectors.shape[1] < 3 else vectors
