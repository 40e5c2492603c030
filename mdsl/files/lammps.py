"""Reading LAMMPS data files, with what simulations need of them: topology, types, velocities, masses.

Written here because no library reads them whole: ASE drops impropers and type labels, turns types into chemical
elements and does not know the files without a style comment; chemfiles makes its own angles from the bonds;
MDAnalysis must be told the columns. The format: https://docs.lammps.org/read_data.html
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from .errors import rejected
from .structure import Structure, standard, turned

# What stands in a row of `Atoms`, per atom style. Three image flags may follow.
STYLES: dict[str, tuple[str, ...]] = {
    "atomic": ("id", "type", "x", "y", "z"),
    "charge": ("id", "type", "q", "x", "y", "z"),
    "bond": ("id", "molecule", "type", "x", "y", "z"),
    "angle": ("id", "molecule", "type", "x", "y", "z"),
    "molecular": ("id", "molecule", "type", "x", "y", "z"),
    "full": ("id", "molecule", "type", "q", "x", "y", "z"),
    "sphere": ("id", "type", "diameter", "density", "x", "y", "z"),
    "ellipsoid": ("id", "type", "flag", "density", "x", "y", "z"),
    "dipole": ("id", "type", "q", "x", "y", "z", "mux", "muy", "muz"),
    "bpm/sphere": ("id", "molecule", "type", "diameter", "density", "x", "y", "z"),
}
TOPOLOGY = {"Bonds": 2, "Angles": 3, "Dihedrals": 4, "Impropers": 4}
LABELS = {
    "Bonds": "Bond Type Labels",
    "Angles": "Angle Type Labels",
    "Dihedrals": "Dihedral Type Labels",
    "Impropers": "Improper Type Labels",
}
READ = ("Masses", "Atoms", "Velocities", "Atom Type Labels", *TOPOLOGY, *LABELS.values())

NUMBER = re.compile(r"[-+]?(\d|\.\d)")
INTEGER = re.compile(r"[-+]?\d+$")
HEADER = re.compile(
    r"(.*?)\s+(atoms|bonds|angles|dihedrals|impropers|atom types|xlo xhi|ylo yhi|zlo zhi|xy xz yz|[abc]vec|abc origin)$"
)


@dataclass
class Section:
    """One part of the file: the comment beside its heading, and its rows as (line number, words, comment)."""

    line: int
    comment: str = ""
    rows: list[tuple[int, list[str], str]] = field(default_factory=list)


def read_lammps_data(text: str, name: str) -> Structure:
    """The structure in a LAMMPS data file's ``text``; ``name`` is what diagnostics call the file.

    Atoms are put in the order of their ids. Species are the type labels where the file has them, else the words
    commented beside the masses where each type has its own, else the type numbers as text. The box is taken as
    periodic on all axes, since a data file does not tell. Positions stay as they are, whatever the image flags.

    Raises ``malformed-file``, ``no-atoms``, ``missing-box``, ``triclinic-box``.
    """
    parser = _Parser(name)
    header, sections = parser.split(text)
    lower, cell, rotation, notes = parser.box(header)
    if "atoms" not in header:
        raise parser.wrong(
            1, "the header does not say how many atoms there are", "a LAMMPS data file has a line such as `32000 atoms`"
        )
    count = int(parser.numbers(*header["atoms"], 1)[0])
    if count == 0:
        raise rejected("no-atoms", f"{name} holds no atoms")
    if "Atoms" not in sections:
        near = difflib.get_close_matches("Atoms", sections, n=1)
        raise parser.wrong(
            1, "there is no `Atoms` section", f"line {sections[near[0]].line} says `{near[0]}`" if near else None
        )

    atoms = parser.atoms(sections["Atoms"], sections, count)
    ids = parser.integers(atoms, "id")
    order = np.argsort(ids, kind="stable")
    ids = ids[order]
    if (twice := np.flatnonzero(ids[1:] == ids[:-1])).size:
        raise parser.wrong(sections["Atoms"].rows[order[twice[0] + 1]][0], f"the atom id {ids[twice[0]]} occurs twice")

    types = [atoms["type"][k] for k in order]
    labels, masses = parser.species(sections, types)
    topology, topology_types = {}, {}
    for heading, size in TOPOLOGY.items():
        if heading in sections and sections[heading].rows:
            key = heading.lower()
            topology[key], topology_types[key] = parser.topology(sections, heading, size, ids)
    style = re.search(r"units\s*=\s*(\w+)", text[: text.find("\n")])
    return Structure(
        positions=turned(np.stack([parser.floats(atoms, axis) for axis in "xyz"], axis=1)[order] - lower, rotation),
        cell=cell,
        periodic=(True, True, True),
        species=labels,
        masses=masses,
        velocities=turned(parser.velocities(sections["Velocities"], ids), rotation)
        if "Velocities" in sections
        else None,
        charges=parser.floats(atoms, "q")[order] if "q" in atoms else None,
        topology=topology,
        topology_types=topology_types,
        data={"molecule": parser.integers(atoms, "molecule")[order].astype(float)} if "molecule" in atoms else {},
        images=None if parser.images is None else parser.images[order],
        source=name,
        unread=parser.unread(sections, atoms),
        unit_style=style[1] if style else None,
        notes=notes,
    )


class _Parser:
    """The steps of the reader, which share the name of the file for their diagnostics."""

    def __init__(self, name: str):
        self.name = name
        self.images: np.ndarray | None = None  # [N, 3], in the order of the rows
        self.others: list[str] = []  # what is not read

    def wrong(self, line: int, what: str, help: str | None = None) -> Exception:
        return rejected("malformed-file", f"{self.name}, line {line}: {what}", help=help)

    def split(self, text: str) -> tuple[dict[str, tuple[int, list[str]]], dict[str, Section]]:
        """Header entries as name to (line number, words before it), and the sections by heading."""
        header: dict[str, tuple[int, list[str]]] = {}
        sections: dict[str, Section] = {}
        current: Section | None = None
        lines = [line.partition("#") for line in text.split("\n")]
        for number, (content, _, comment) in enumerate(lines[1:], start=2):
            content = content.strip()
            if not content:
                continue
            blank_after = number >= len(lines) or not lines[number][0].strip()
            heading = content in READ or (
                not NUMBER.match(content) and blank_after and not lines[number - 2][0].strip() and content[0].isalpha()
            )
            if heading:
                if content in sections:
                    raise self.wrong(
                        number, f"a second section `{content}`; the first is at line {sections[content].line}"
                    )
                current = sections[content] = Section(number, comment.strip())
            elif current is not None:
                current.rows.append((number, content.split(), comment.strip()))
            elif match := HEADER.match(content):
                header[match[2]] = (number, match[1].split())
        return header, sections

    def numbers(self, line: int, words: Sequence[str], count: int) -> np.ndarray:
        try:
            values = np.array([float(w) for w in words])
        except ValueError:
            raise self.wrong(line, f"`{' '.join(words)}` should be {count} number{'s' if count > 1 else ''}") from None
        if len(values) != count:
            raise self.wrong(line, f"{count} numbers were expected here, and there are {len(values)}")
        return values

    def box(
        self, header: dict[str, tuple[int, list[str]]]
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray | None, tuple[str, ...]]:
        """Lower corner [3], box vectors [3, 3], and the rotation that brings atoms into it, with a note of it."""
        if "avec" in header:  # LAMMPS's general triclinic boxes, since 2024
            vectors = [self.numbers(*self.entry(header, key), 3) for key in ("avec", "bvec", "cvec")]
            return self.numbers(*header["abc origin"], 3) if "abc origin" in header else np.zeros(3), *standard(
                np.array(vectors), self.name
            )
        bounds = []
        for key in ("xlo xhi", "ylo yhi", "zlo zhi"):
            if key not in header:
                raise rejected("missing-box", f"{self.name} does not give the box: there is no line `... {key}`")
            low, high = self.numbers(*header[key], 2)
            if not high > low:
                raise self.wrong(
                    header[key][0], f"the upper bound of the box, {high:g}, is not above the lower, {low:g}"
                )
            bounds.append((low, high))
        lower, upper = np.array(bounds).T
        cell = np.diag(upper - lower)
        if "xy xz yz" in header:
            cell[1, 0], cell[2, 0], cell[2, 1] = self.numbers(*header["xy xz yz"], 3)
        return lower, cell, None, ()

    def entry(self, header: dict[str, tuple[int, list[str]]], key: str) -> tuple[int, list[str]]:
        if key not in header:
            raise rejected("missing-box", f"{self.name} does not give the box: there is no line `... {key}`")
        return header[key]

    def atoms(self, section: Section, sections: dict[str, Section], count: int) -> dict[str, list[str]]:
        """The columns of the Atoms section as words."""
        if len(section.rows) != count:
            line = section.rows[-1][0] if section.rows else section.line
            raise self.wrong(line, f"the header announces {count} atoms, the section `Atoms` holds {len(section.rows)}")
        width = len(section.rows[0][1])
        style = section.comment.split()[0] if section.comment else None
        if style in STYLES:
            columns = STYLES[style]
        elif style is not None and style.startswith("hybrid"):
            columns = ("id", "type", "x", "y", "z")
        else:
            columns = self.guess(section, sections)
        for line, words, _ in section.rows:
            if len(words) != width or len(words) < len(columns):
                wanted = (
                    f"{width}, as the first row has"
                    if len(words) != width
                    else f"at least {len(columns)} ({' '.join(columns)})"
                )
                raise self.wrong(
                    line,
                    f"this row of `Atoms` has {len(words)} columns instead of {wanted}",
                    "name the atom style beside the heading: `Atoms # full`",
                )
        flags = [words[len(columns) :] for _, words, _ in section.rows]
        if width == len(columns) + 3 and all(INTEGER.match(w) for row in flags for w in row):
            self.images = np.array(flags).astype(int)
        elif width > len(columns):
            self.others.append(f"the last {width - len(columns)} columns of Atoms")
        values = list(zip(*(words for _, words, _ in section.rows), strict=True))
        self.lines = [line for line, _, _ in section.rows]
        return {name: list(values[k]) for k, name in enumerate(columns)}

    def unread(self, sections: dict[str, Section], atoms: dict[str, list[str]]) -> tuple[str, ...]:
        """The sections and the columns of atoms that are not read."""
        other = [heading for heading in sections if heading not in READ]
        columns = [c for c in atoms if c not in ("id", "molecule", "type", "q", "x", "y", "z")]
        return (
            *([f"the sections {', '.join(other)}"] if other else []),
            *([f"the columns {', '.join(columns)} of Atoms"] if columns else []),
            *self.others,
        )

    def guess(self, section: Section, sections: dict[str, Section]) -> tuple[str, ...]:
        """The columns, from their number and from which of them hold whole numbers."""
        rows = [words for _, words, _ in section.rows]
        width = len(rows[0])

        def whole(k: int) -> bool:
            return all(len(row) > k and INTEGER.match(row[k]) for row in rows)

        if width >= 8 and all(whole(k) for k in range(width - 3, width)):
            width -= 3
        # The type is a whole number: where the third column is not, it holds a charge or a diameter.
        labels = set(self.type_names(sections, "Atom Type Labels").values())
        third = all(len(row) > 2 and (INTEGER.match(row[2]) or row[2] in labels) for row in rows)
        style = {5: "atomic", 6: "molecular" if third else "charge", 7: "full" if third else "sphere", 9: "dipole"}.get(
            width
        )
        if style is None:
            raise self.wrong(
                section.rows[0][0],
                f"rows of {width} columns belong to no atom style that mdsl knows",
                "name the atom style beside the heading: `Atoms # full`",
            )
        return STYLES[style]

    def floats(self, atoms: dict[str, list[str]], column: str) -> np.ndarray:
        return self._convert(atoms, column, float, "a number")

    def integers(self, atoms: dict[str, list[str]], column: str) -> np.ndarray:
        return self._convert(atoms, column, int, "a whole number")

    def _convert(self, atoms: dict[str, list[str]], column: str, to: type, what: str) -> np.ndarray:
        words, values = atoms[column], []
        for line, word in zip(self.lines, words, strict=True):
            try:
                values.append(to(word))
            except ValueError:
                help = "name the atom style beside the heading if the columns are mistaken: `Atoms # full`"
                raise self.wrong(line, f"`{word}` stands where {what} ({column}) is expected", help) from None
        return np.array(values)

    def type_names(self, sections: dict[str, Section], heading: str) -> dict[str, str]:
        """Type number (as text) to label, where a section gives labels."""
        if heading not in sections:
            return {}
        for line, words, _ in sections[heading].rows:
            if len(words) != 2:
                raise self.wrong(line, f"a row of `{heading}` is a number and a label")
        return {words[0]: words[1] for _, words, _ in sections[heading].rows}

    def species(self, sections: dict[str, Section], types: list[str]) -> tuple[tuple[str, ...], np.ndarray | None]:
        """A label per atom, and the masses [N] where the file has them."""
        names = self.type_names(sections, "Atom Type Labels")
        numbers = {label: number for number, label in names.items()}
        types = [numbers.get(t, t) for t in types]
        masses = None
        if "Masses" in sections:
            rows = sections["Masses"].rows
            by_type = {numbers.get(words[0], words[0]): self.numbers(line, words[1:], 1)[0] for line, words, _ in rows}
            if missing := sorted(set(types) - set(by_type)):
                raise self.wrong(sections["Masses"].line, f"the atom type {missing[0]} has no mass")
            masses = np.array([by_type[t] for t in types])
            comments = {numbers.get(words[0], words[0]): comment for _, words, comment in rows}
            if (
                not names
                and len(set(comments.values())) == len(comments)
                and all(c.isidentifier() for c in comments.values())
            ):
                names = comments
        return tuple(names.get(t, t) for t in types), masses

    def velocities(self, section: Section, ids: np.ndarray) -> np.ndarray:
        """[N, 3], in the order of the ids."""
        rows = np.array([self.numbers(line, words[:4], 4) for line, words, _ in section.rows]).reshape(-1, 4)
        place = self.places(rows[:, 0].astype(int), ids, [line for line, _, _ in section.rows])
        velocities = np.full((len(ids), 3), np.nan)
        velocities[place] = rows[:, 1:]
        if np.isnan(velocities).any():
            raise self.wrong(section.line, f"the atom {ids[np.isnan(velocities).any(axis=1)][0]} has no velocity")
        return velocities

    def topology(
        self, sections: dict[str, Section], heading: str, size: int, ids: np.ndarray
    ) -> tuple[np.ndarray, tuple[str, ...]]:
        """Indices [M, size] into the atoms in the order of their ids, and the type of each row."""
        section, names = sections[heading], self.type_names(sections, LABELS[heading])
        for line, words, _ in section.rows:
            if len(words) < size + 2 or not all(INTEGER.match(w) for w in words[2 : size + 2]):
                raise self.wrong(line, f"a row of `{heading}` is a number, a type and {size} atom ids")
        members = np.array([words[2 : size + 2] for _, words, _ in section.rows]).astype(int)
        lines = [line for line, _, _ in section.rows for _ in range(size)]
        return self.places(members.ravel(), ids, lines).reshape(-1, size), tuple(
            names.get(words[1], words[1]) for _, words, _ in section.rows
        )

    def places(self, wanted: np.ndarray, ids: np.ndarray, lines: list[int]) -> np.ndarray:
        """The index of each wanted id among the sorted ids."""
        place = np.minimum(np.searchsorted(ids, wanted), len(ids) - 1)
        if (absent := np.flatnonzero(ids[place] != wanted)).size:
            raise self.wrong(lines[absent[0]], f"there is no atom with the id {wanted[absent[0]]}")
        return place
