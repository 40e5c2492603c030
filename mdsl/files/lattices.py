"""Crystals and random placements: the arrangements that a program can start from without a file."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mdsl.grammar.diagnostics import suggest

from .errors import rejected
from .structure import Structure

MOST_ATOMS = 10**9
Species = str | Mapping[str, float] | None


@dataclass(frozen=True)
class Lattice:
    """A rectangular unit cell: its sides in units of the lattice constant, and its atoms in fractions of it."""

    sides: tuple[float, ...]
    basis: tuple[tuple[float, ...], ...]

    @property
    def dim(self) -> int:
        return len(self.sides)

    def constant(self, density: float) -> float:
        """The lattice constant at a number density."""
        return (len(self.basis) / (density * math.prod(self.sides))) ** (1 / self.dim)


CUBE, SQUARE = (1.0, 1.0, 1.0), (1.0, 1.0)
_FACES = ((0.0, 0.0, 0.0), (0.5, 0.5, 0.0), (0.5, 0.0, 0.5), (0.0, 0.5, 0.5))

# The conventional cells of any textbook of solid-state physics, e.g. Kittel, chapter 1, and of LAMMPS's `lattice`.
LATTICES: dict[str, Lattice] = {
    "sc": Lattice(CUBE, ((0.0, 0.0, 0.0),)),
    "bcc": Lattice(CUBE, ((0.0, 0.0, 0.0), (0.5, 0.5, 0.5))),
    "fcc": Lattice(CUBE, _FACES),
    "diamond": Lattice(CUBE, _FACES + tuple((x + 0.25, y + 0.25, z + 0.25) for x, y, z in _FACES)),
    "square": Lattice(SQUARE, ((0.0, 0.0),)),
    "hexagonal": Lattice((1.0, math.sqrt(3.0)), ((0.0, 0.0), (0.5, 0.5))),
}


def crystal(
    name: str,
    *,
    cells: int | Sequence[int],
    density: float | None = None,
    a: float | None = None,
    species: Species = None,
    rng: np.random.Generator | None = None,
    dim: int | None = None,
) -> Structure:
    """``cells`` unit cells (one number, or one per axis) of a lattice of the table, periodic on all axes.

    Either the number density (atoms per volume) or the lattice constant ``a`` fixes the size. ``species`` is a
    label for all atoms, or fractions ``{label: fraction}`` placed at random by ``rng`` with exact counts.
    ``dim`` is the dimension of the program, checked against the lattice's where given.

    Raises ``unknown-name``, ``bad-dimension``, ``bad-lattice``, ``bad-fractions``.
    """
    if name not in LATTICES:
        raise rejected(
            "unknown-name",
            f"there is no lattice called `{name}`",
            suggest(name, LATTICES) or f"lattices: {', '.join(LATTICES)}",
        )
    lattice = LATTICES[name]
    if dim is not None and dim != lattice.dim:
        fitting = ", ".join(k for k, v in LATTICES.items() if v.dim == dim)
        raise rejected(
            "bad-dimension",
            f"`{name}` is a lattice in {lattice.dim} dimensions, the program has {dim}",
            help=f"lattices in {dim} dimensions: {fitting}" if fitting else None,
        )
    if (density is None) == (a is None):
        given = "neither" if a is None else "both"
        raise rejected(
            "bad-lattice",
            f"`{name}` needs either `density` or `a`, and has {given}",
            help=f"write {name}(density = ..., cells = ...)",
        )
    size = _positive(name, "density", density) if a is None else _positive(name, "a", a)
    constant = lattice.constant(size) if a is None else size
    counts = _cells(name, cells, lattice.dim)

    _few(name, math.prod(counts) * len(lattice.basis))
    sides = constant * np.array(lattice.sides)
    corners = np.stack(np.meshgrid(*map(np.arange, counts), indexing="ij"), axis=-1).reshape(-1, 1, lattice.dim)
    positions = ((corners + np.array(lattice.basis)) * sides).reshape(-1, lattice.dim)
    return Structure(
        positions=positions,
        cell=np.diag(np.array(counts) * sides),
        periodic=(True,) * lattice.dim,
        species=_labels(species, len(positions), rng),
    )


def uniform(
    atoms: int,
    *,
    rng: np.random.Generator,
    density: float | None = None,
    box: float | Sequence[float] | np.ndarray | None = None,
    species: Species = None,
    dim: int = 3,
) -> Structure:
    """``atoms`` independent points, uniform in a periodic box.

    The box is a cube (square) at the given number density, or the given ``box``: one edge, one per axis, or
    its vectors in the rows of [d, d], where the program declares its own. ``species`` as in :func:`crystal`.

    Raises ``bad-lattice``, ``bad-fractions``.
    """
    if atoms != int(atoms) or atoms < 1:
        raise rejected("bad-lattice", f"`uniform` needs a whole number of atoms, at least one, not {atoms}")
    atoms = int(atoms)
    _few("uniform", atoms)
    if (density is None) == (box is None):
        what = "a density, as the program declares no box" if box is None else "no density: the program's box fixes it"
        raise rejected(
            "bad-lattice",
            f"`uniform` needs {what}",
            help="write uniform(atoms = ..., density = ...), or declare `box periodic(...)`",
        )
    if box is None:
        box = (atoms / _positive("uniform", "density", density)) ** (1 / dim)
    cell = np.asarray(box, dtype=np.float64)
    cell = cell if cell.ndim == 2 else np.diag(np.broadcast_to(cell, (dim,)))
    for side in np.diag(cell):
        _positive("uniform", "the length of the box", side)
    return Structure(
        positions=rng.random((atoms, dim)) @ cell,
        cell=cell,
        periodic=(True,) * dim,
        species=_labels(species, atoms, rng),
    )


def shares(fractions: Mapping[str, float], total: int) -> dict[str, int]:
    """Whole numbers that add up to ``total`` and are nearest to the fractions, by the largest remainder.

    Equal remainders go to the label that is written first. Raises ``bad-fractions``.
    """
    values = {label: float(fraction) for label, fraction in fractions.items()}
    if not values or any(not math.isfinite(f) or f < 0 for f in values.values()):
        raise rejected(
            "bad-fractions",
            "the fractions of the species must not be negative",
            help="write species = { A: 0.8, B: 0.2 }",
        )
    if abs(sum(values.values()) - 1) > 1e-9:
        raise rejected("bad-fractions", f"the fractions of the species add up to {sum(values.values()):.10g}, not to 1")
    counts = {label: math.floor(f * total + 1e-9) for label, f in values.items()}
    by_remainder = sorted(values, key=lambda label: counts[label] - values[label] * total)
    for label in by_remainder[: total - sum(counts.values())]:
        counts[label] += 1
    return counts


def _labels(species: Species, total: int, rng: np.random.Generator | None) -> tuple[str, ...] | None:
    if species is None:
        return None
    if isinstance(species, str):
        return (species,) * total
    counts = shares(species, total)
    labels = [label for label, count in counts.items() for _ in range(count)]
    if len(counts) == 1:
        return tuple(labels)
    if rng is None:
        raise ValueError("a mixture is placed at random: pass rng")
    return tuple(labels[k] for k in rng.permutation(total))


def _few(name: str, atoms: int) -> None:
    if atoms > MOST_ATOMS:
        raise rejected("bad-lattice", f"`{name}` is to place {atoms:.4g} atoms, more than memory can hold")


def _positive(name: str, what: str, value: float | None) -> float:
    if not (math.isfinite(value) and value > 0):
        raise rejected("bad-lattice", f"`{name}` needs a positive number for {what}, not {value:g}")
    return float(value)


def _cells(name: str, cells: int | Sequence[int], dim: int) -> tuple[int, ...]:
    values = (cells,) * dim if np.ndim(cells) == 0 else tuple(cells)
    if len(values) != dim:
        raise rejected("bad-lattice", f"`{name}` has {dim} axes, but `cells` has {len(values)} numbers")
    if any(c != int(c) or c < 1 for c in values):
        raise rejected("bad-lattice", f"`{name}` needs whole numbers of cells, at least one, not {cells}")
    return tuple(int(c) for c in values)
