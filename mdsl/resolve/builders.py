"""What a run block can set up: lattices, files, random placements, velocities, and their options.

This table is what `check` knows of them; `mdsl.files` does the work.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Option:
    """``kind`` is number, count (a whole number), counts (one, or one for each axis), species or text.

    ``dimension`` names the dimension of a number; ``{dim}`` in it is the dimension of space.
    """

    name: str
    kind: str
    dimension: str = "a pure number"
    required: bool = False


@dataclass(frozen=True)
class Builder:
    target: str
    op: str  # "=" for what is determined, "~" for what is drawn at random
    options: tuple[Option, ...]
    meaning: str
    dim: int | None = None  # the dimension of space it needs

    def option(self, name: str) -> Option:
        return next(o for o in self.options if o.name == name)


_LATTICE = (
    Option("density", "number", "number density"),
    Option("a", "number", "length"),
    Option("cells", "counts", required=True),
    Option("species", "species"),
)

BUILDERS: dict[str, Builder] = {
    "fcc": Builder("x", "=", _LATTICE, "face-centred cubic lattice", 3),
    "bcc": Builder("x", "=", _LATTICE, "body-centred cubic lattice", 3),
    "sc": Builder("x", "=", _LATTICE, "simple cubic lattice", 3),
    "diamond": Builder("x", "=", _LATTICE, "diamond lattice", 3),
    "hexagonal": Builder("x", "=", _LATTICE, "hexagonal lattice in rectangular cells of two atoms", 2),
    "square": Builder("x", "=", _LATTICE, "square lattice", 2),
    "read": Builder(
        "x",
        "=",
        (Option("path", "text", required=True),),
        "positions, species, box and topology from a file: extxyz, PDB, LAMMPS data, CIF, POSCAR",
    ),
    "between": Builder(
        "x",
        "=",
        (Option("first", "text", required=True), Option("last", "text", required=True)),
        "replicas at equal distances on the straight way from one file to another, each atom by its nearest image",
    ),
    "uniform": Builder(
        "x",
        "~",
        (
            Option("atoms", "count", required=True),
            Option("density", "number", "number density"),
            Option("species", "species"),
        ),
        "independent uniform positions in the box",
    ),
    "maxwell": Builder(
        "v",
        "~",
        (Option("T", "number", "temperature", required=True),),
        "Maxwell-Boltzmann velocities with the centre of mass at rest and exactly this temperature",
    ),
}
