"""The elements of atoms in PDB files that leave the element columns (77 and 78) empty, as many programs do.

Without them the name tells, in columns 13 to 16: a symbol stands right-justified in columns 13 and 14, so that ` CA `
is a carbon and `CA  ` calcium. Names of four characters begin in column 13 all the same if they are hydrogens, and some
programs write every name from there. So the residue has a say, and what cannot be told is refused rather than guessed:
an element is a mass. The format: https://www.wwpdb.org/documentation/file-format-content/format33/sect9.html#ATOM
"""

from __future__ import annotations

import re

from .errors import rejected

# Residues that hold no other elements than these.
_PROTEIN = (
    "ALA ARG ASN ASP CYS GLN GLU GLY HIS ILE LEU LYS MET PHE PRO SER THR TRP TYR VAL ACE NME NH2 NMA FOR SOL HOH WAT "
    "TIP TIP3 SPC "
    "ASH GLH CYX CYM HID HIE HIP HSD HSE HSP LYN NALA CALA A C G U DA DC DG DT RA RC RG RU"
).split()
_IN_PROTEINS = ("H", "C", "N", "O", "S", "P")
# What force fields call ions.
_IONS = {
    "SOD": "Na",
    "POT": "K",
    "CLA": "Cl",
    "CAL": "Ca",
    "CES": "Cs",
    "LIT": "Li",
    "RUB": "Rb",
    "CIO": "Cs",
    "IB": "I",
}


def with_elements(text: str, name: str) -> tuple[str, tuple[str, ...]]:
    """The text of a PDB file with the element of every atom, and a note where names had to tell. Raises
    ``malformed-file``."""
    lines = text.split("\n")
    atoms = [k for k, line in enumerate(lines) if line[:6] in ("ATOM  ", "HETATM")]
    bare = [k for k in atoms if not _is_element(lines[k][76:78].strip().capitalize())]
    if not bare:
        return text, ()
    aligned = not any(re.match(r"[A-Z]\d* ", lines[k][12:16]) for k in bare)
    for k in bare:
        line = lines[k].ljust(78)
        element = _element(line[12:16], line[17:21].strip().upper(), aligned)
        if element is None:
            raise rejected(
                "malformed-file",
                f"{name}, line {k + 1}: the element of the atom `{line[12:16].strip()}` in the residue "
                f"`{line[17:21].strip()}` is not told",
                notes=(
                    "the columns 77 and 78 hold no element"
                    + ("" if aligned else ", and names do not stand in their own"),
                ),
                help="write the file with elements",
            )
        lines[k] = f"{line[:76]}{element:>2}{line[78:]}"
    count = "all atoms" if bare == atoms else f"{len(bare)} atom{'s' * (len(bare) > 1)}"
    note = f"{name}: the elements of {count} are read off the names, since columns 77 and 78 hold none"
    return "\n".join(lines), (note,)


def _element(columns: str, residue: str, aligned: bool) -> str | None:
    """The symbol, from the four columns of the name; None where it cannot be told. ``aligned``: whether the names of
    the file keep to their columns."""
    name = columns.strip()
    letters = re.match(r"[^A-Za-z]*([A-Za-z]*)", name)[1]
    if not letters:
        return None
    one, two = letters[0].upper(), letters[:2].capitalize()
    of_residue = re.match(r"[A-Z]*", residue)[0]
    if letters.upper() == of_residue:  # an ion
        if of_residue in _IONS:
            return _IONS[of_residue]
        if len(letters) <= 2 and _is_element(two):
            return two
    if residue in _PROTEIN:
        return one if one in _IN_PROTEINS else None
    if residue == "MSE" and two == "Se":
        return "Se"
    if len(letters) > 1 and letters[1].islower() and letters[0].isupper() and _is_element(two):  # `Cl1`
        return two
    if columns[0] == " " and columns[1] != " " or columns[0].isdigit():
        return one if _is_element(one) else None
    if len(name) == 4 and one == "H":
        return "H"
    readings = [symbol for symbol in dict.fromkeys((two, one)) if _is_element(symbol)]
    if len(readings) == 1 or readings and aligned and columns[:2].isalpha():
        return readings[0]
    return None


def _is_element(symbol: str) -> bool:
    from ase.data import atomic_numbers

    return symbol in atomic_numbers and symbol != "X"
