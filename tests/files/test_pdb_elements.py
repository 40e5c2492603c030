"""Elements of PDB files without element columns: by the columns of the names and the residue, or refused."""

import pytest

from mdsl.files.reading import read
from mdsl.grammar.diagnostics import Rejected

# Columns 13-16, residue, element. By the PDB format and, for ions, by the names that GROMACS and CHARMM give them.
ATOMS = [
    (" N  ", "ALA", "N"), (" CA ", "ALA", "C"), (" HA ", "ALA", "H"), ("HB1 ", "ALA", "H"), ("1HB ", "ALA", "H"),
    (" CD1", "LEU", "C"), (" CE ", "LYS", "C"), (" NE ", "ARG", "N"), (" HG ", "LEU", "H"), ("HG11", "VAL", "H"),
    (" HE2", "HIS", "H"), (" NZ ", "LYS", "N"), (" SD ", "MET", "S"), ("SE  ", "MSE", "Se"), (" OXT", "ALA", "O"),
    (" OW ", "SOL", "O"), (" HW1", "SOL", "H"), (" P  ", "DA ", "P"), (" C1'", "G  ", "C"), ("H5''", "DA ", "H"),
    (" NA ", "NA ", "Na"), ("CL  ", "CL ", "Cl"), ("CA  ", " CA", "Ca"), ("HG  ", " HG", "Hg"), ("ZN  ", "ZN2", "Zn"),
    ("SOD ", "SOD", "Na"), ("CLA ", "CLA", "Cl"), (" K  ", "K  ", "K"), ("FE  ", "HEM", "Fe"), (" CHA", "HEM", "C"),
    (" C1 ", "LIG", "C"), ("CL1 ", "LIG", "Cl"), ("BR2 ", "LIG", "Br"), ("HN11", "LIG", "H"), (" N1 ", "LIG", "N"),
]  # fmt: skip


def pdb(atoms, element=False):
    """A PDB file of atoms, 3 angstrom from each other."""
    rows = ["CRYST1   60.000   60.000   60.000  90.00  90.00  90.00 P 1           1"]
    for k, (name, residue, symbol) in enumerate(atoms, 1):
        x, y = 3 * (k % 10), 3 * (k // 10)
        number = [r for _, r, _ in atoms].index(residue) + 1
        row = f"HETATM{k:5d} {name} {residue:<3} A{number:4d}    {x:8.3f}{y:8.3f}{0:8.3f}  1.00  0.00"
        rows.append(row + (f"          {symbol:>2}" if element else ""))
    return "\n".join([*rows, "END", ""])


@pytest.mark.parametrize("element", [False, True])
def test_elements(tmp_path, element):
    (tmp_path / "a.pdb").write_text(pdb(ATOMS, element))
    structure = read(tmp_path / "a.pdb")
    assert structure.species == tuple(symbol for *_, symbol in ATOMS)
    assert any("read off the names" in note for note in structure.notes) != element
    assert structure.positions[11].tolist() == [6, 3, 0]


def test_openmm_reads_the_same_elements(tmp_path):
    app = pytest.importorskip("openmm.app")
    # It looks at first letters, and knows the metals of biology alone; what it takes for no element is left out below.
    here = [a for a in ATOMS if a[0] not in ("SOD ", "CLA ", "HG  ", "BR2 ", "SE  ", "FE  ")]
    (tmp_path / "a.pdb").write_text(pdb(here))
    atoms = app.PDBFile(str(tmp_path / "a.pdb")).topology.atoms()
    theirs = [None if a.element is None else a.element.symbol for a in atoms]
    agreed = [(t, s) for t, s in zip(theirs, read(tmp_path / "a.pdb").species) if t is not None]
    assert len(agreed) > 20 and all(t == s for t, s in agreed)


@pytest.mark.parametrize(
    ("name", "residue", "others"),
    [
        ("CA1 ", "LIG", [("C1  ", "LIG", "C")]),  # names from column 13 on: carbon or calcium
        (" MW ", "SOL", []),  # a site without mass
        (" D1 ", "LIG", []),  # deuterium has another mass
        (" LP1", "LIG", []),
        (" 12 ", "LIG", []),
    ],
)
def test_what_cannot_be_told_is_refused(tmp_path, name, residue, others):
    (tmp_path / "a.pdb").write_text(pdb([*others, (name, residue, "")]))
    with pytest.raises(Rejected) as caught:
        read(tmp_path / "a.pdb")
    (found,) = caught.value.diagnostics
    assert found.id == "malformed-file" and f"line {2 + len(others)}" in found.message and name.strip() in found.message


def test_names_that_ase_writes(tmp_path):
    """Right-justified, in both cases of letters."""
    rows = pdb([("  Ar", "MOL", ""), ("  Cl", "MOL", ""), ("   C", "MOL", ""), ("  Cu", "MOL", "")])
    (tmp_path / "a.pdb").write_text(rows)
    assert read(tmp_path / "a.pdb").species == ("Ar", "Cl", "C", "Cu")
