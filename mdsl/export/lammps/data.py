"""The data file of a deck: box, atoms, velocities and tuples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from mdsl.export.tuples import Kind
from mdsl.export.written import number

from .world import World, bounds, positions

DATA = "system.data"
SECTIONS = {2: "Bonds", 3: "Angles", 4: "Dihedrals"}


def written(
    here: World, tuples: Mapping[int, Sequence[Kind]], bonds: np.ndarray | None, style: str, datum: str | None
) -> str:
    """``bonds``: some without an energy; ``style``: of atoms; ``datum``: what stands for their charges."""
    subject, initial = here.subject, here.subject.initial
    count, (low, cell) = initial.atoms, bounds(here)
    lists = {
        SECTIONS[w]: [(n + 1, row) for n, k in enumerate(found) for row in k.members] for w, found in tuples.items()
    }
    if bonds is not None:
        lists["Bonds"] = [(1, row) for row in bonds]
    lines = [f"mdsl export of {subject.model.source.name}, units = {here.units}", "", f"{count} atoms"]
    lines += [f"{len(rows)} {section.lower()}" for section, rows in lists.items() if rows]
    lines += [f"{len(here.masses)} atom types"]
    lines += [f"{max(n for n, _ in rows)} {s.lower()[:-1]} types" for s, rows in lists.items() if rows]
    lines.append("")
    lines += [f"{number(low[k])} {number(low[k] + cell[k, k])} {a}lo {a}hi" for k, a in enumerate("xyz")]
    if initial.tilted and np.tril(cell, -1).any():
        lines.append(f"{number(cell[1, 0])} {number(cell[2, 0])} {number(cell[2, 1])} xy xz yz")
    lines += ["", "Masses", "", *(f"{n + 1} {number(m)}" for n, m in enumerate(here.masses))]
    x = positions(here, initial.x)
    charge = None if datum is None else subject.of_atom_by_name(datum)
    lines += ["", f"Atoms  # {style}", ""]
    for i in range(count):
        words = [str(i + 1), *(["1"] if style in ("molecular", "full") else []), str(here.types[i])]
        words += [] if charge is None else [number(charge[i])]
        lines.append(" ".join([*words, *map(number, x[i])]))
    v = np.zeros((count, 3))
    v[:, : initial.v.shape[1]] = initial.v * here.scale.length / here.time(1.0)
    lines += ["", "Velocities", "", *(f"{i + 1} {' '.join(map(number, v[i]))}" for i in range(count))]
    for section, rows in lists.items():
        if rows:
            lines += ["", section, ""]
            lines += [f"{k + 1} {n} {' '.join(str(a + 1) for a in row)}" for k, (n, row) in enumerate(rows)]
    return "\n".join(lines) + "\n"
