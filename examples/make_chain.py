"""Makes chain.data, the structure that polymer.mdsl reads: 18 chains of 12 beads at the density 0.85.

    python examples/make_chain.py [FILE]

The beads stand on a cubic lattice, through which the chains wind one after the other; the first steps of a run
disorder them. The file is a LAMMPS data file with bonds and angles.
"""

import sys
from pathlib import Path

DENSITY = 0.85
SIDE = 6  # beads along each edge of the box
LENGTH = 12  # beads of a chain


def places() -> list[tuple[int, int, int]]:
    """All sites of the lattice, each beside the one before."""
    path = []
    for z in range(SIDE):
        rows = range(SIDE) if z % 2 == 0 else reversed(range(SIDE))
        for y in rows:
            row = [(x, y, z) for x in range(SIDE)]
            path += row if (y + z * SIDE + z) % 2 == 0 else row[::-1]
    return path


def text() -> str:
    spacing = DENSITY ** (-1 / 3)
    edge = SIDE * spacing
    beads = places()
    chains = [range(first, first + LENGTH) for first in range(1, len(beads) + 1, LENGTH)]
    bonds = [pair for chain in chains for pair in zip(chain, chain[1:])]
    angles = [triple for chain in chains for triple in zip(chain, chain[1:], chain[2:])]
    lines = ["bead-spring chains, units = lj", ""]
    lines += [
        f"{len(beads)} atoms",
        f"{len(bonds)} bonds",
        f"{len(angles)} angles",
        "1 atom types",
        "1 bond types",
        "1 angle types",
        "",
    ]
    lines += [f"0 {edge:.6f} {axis}lo {axis}hi" for axis in "xyz"]
    lines += ["", "Masses", "", "1 1", "", "Atoms # bond", ""]
    for number, place in enumerate(beads, 1):
        lines.append(
            f"{number} {(number - 1) // LENGTH + 1} 1 " + " ".join(f"{(c + 0.5) * spacing:.6f}" for c in place)
        )
    for name, tuples in (("Bonds", bonds), ("Angles", angles)):
        lines += ["", name, ""] + [f"{number} 1 " + " ".join(map(str, atoms)) for number, atoms in enumerate(tuples, 1)]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    (Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).with_name("chain.data")).write_text(text())
