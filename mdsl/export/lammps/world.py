"""A subject in one of LAMMPS' unit systems: its types of atoms, where they are, and what the installed LAMMPS has."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from mdsl.export.subject import Scale, Subject, scale
from mdsl.export.written import number
from mdsl.interpret.quantities import least_skew
from mdsl.lowering.planning.on_host import wrap
from mdsl.model.dimensions import ENERGY, LENGTH, MASS, TIME

AVOGADRO = 6.02214076e23
GRAM = 1e-3 / AVOGADRO
# LAMMPS' name, then length, energy, mass and time in SI
UNITS = {
    "real": (1e-10, 4184 / AVOGADRO, GRAM, 1e-15),
    "metal": (1e-10, 1.602176634e-19, GRAM, 1e-12),
    "si": (1.0, 1.0, 1.0, 1.0),
}
SKIN = {"real": 2.0, "metal": 2.0, "si": 2e-10, "lj": 0.3}


@dataclass(frozen=True, eq=False)
class World:
    """A subject in LAMMPS' units. ``types``: [N] of each atom from 1; ``species``: of each type."""

    subject: Subject
    units: str
    scale: Scale
    types: np.ndarray
    species: tuple[int, ...]
    masses: tuple[float, ...]
    available: dict[str, frozenset[str]] | None

    def time(self, value: float) -> float:
        """In LAMMPS' unit."""
        return value if self.units == "lj" else value * self.subject.si(TIME) / UNITS[self.units][3]

    def has(self, kind: str) -> Collection[str] | None:
        return None if self.available is None else self.available[kind]


def world(subject: Subject, available: dict[str, frozenset[str]] | None = None) -> World:
    units = subject.model.units
    name, sizes = "lj", (1.0, 1.0, 1.0, 1.0)
    if not units.reduced:
        own = [subject.si(d) for d in (LENGTH, ENERGY, MASS)]
        name = next((n for n, s in UNITS.items() if np.allclose(own, s[:3], rtol=1e-9, atol=0)), "metal")
        sizes = UNITS[name]
    initial = subject.initial
    masses = np.where(np.isfinite(initial.masses), initial.masses, 1.0)
    rows, inverse = np.unique(np.stack([initial.species, masses], axis=1), axis=0, return_inverse=True)
    mass = scale(subject, *sizes[:3]).mass
    return World(
        subject,
        name,
        scale(subject, *sizes[:3]),
        inverse.reshape(-1) + 1,
        tuple(int(k) for k in rows[:, 0]),
        tuple(float(m) * mass for m in rows[:, 1]),
        available,
    )


def bounds(here: World) -> tuple[np.ndarray, np.ndarray]:
    """[3]: where the box begins, and [3, 3]: its vectors, the least skew of the lattice."""
    initial = here.subject.initial
    d = initial.x.shape[1]
    cell, low = np.zeros((3, 3)), np.zeros(3)
    cell[:d, :d] = least_skew(initial.cell, initial.periodic) * here.scale.length
    for k in range(d):
        if not initial.periodic[k]:
            x = initial.x[:, k] * here.scale.length
            low[k] = x.min() - 1.0
            cell[k, k] = x.max() - x.min() + 2.0
    if d == 2:
        low[2], cell[2, 2] = -0.5, 1.0
    return low, cell


def positions(here: World, x: np.ndarray) -> np.ndarray:
    """[N, 3]: positions [N, d] in LAMMPS' unit, brought back into the box."""
    initial = here.subject.initial
    cell = least_skew(initial.cell, initial.periodic)
    inside = wrap(np.asarray(x, float), cell, initial.periodic)[0]
    out = np.zeros((len(x), 3))
    out[:, : x.shape[1]] = inside * here.scale.length
    return out


def nearest_text(letter: str, here: World, axis: int) -> str:
    """A coordinate: of a periodic axis that of the image that is nearest to the origin."""
    initial = here.subject.initial
    if not initial.periodic[axis]:
        return letter
    edge = number(initial.lengths[axis] * here.scale.length)
    return f"({letter}-{edge}*floor({letter}/{edge}+0.5))"
