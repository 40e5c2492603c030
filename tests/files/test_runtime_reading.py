"""Structure files: what ASE and LAMMPS write is read back, and what is broken is refused with a reason."""

import gzip
import re

import numpy as np
import pytest
from reference import REFERENCE

from mdsl.files.reading import read
from mdsl.grammar.diagnostics import Rejected


def write(folder, name, text):
    path = folder / name
    path.write_text(text)
    return path


def ase_atoms(seed=0, n=12):
    import ase

    rng = np.random.default_rng(seed)
    atoms = ase.Atoms(rng.choice(["Ar", "Cu", "O"], n), rng.random((n, 3)) * [5, 6, 7], cell=[5, 6, 7], pbc=True)
    return atoms[np.argsort(atoms.get_chemical_symbols(), kind="stable")]  # POSCAR and CIF group the elements


@pytest.mark.parametrize(
    ("name", "kind", "tolerance"),
    [
        ("a.extxyz", "extxyz", 1e-7),
        ("a.xyz", "extxyz", 1e-7),
        ("a.pdb", "proteindatabank", 1e-3),
        ("a.cif", "cif", 1e-3),
        ("POSCAR", "vasp", 1e-9),
        ("a.vasp", "vasp", 1e-9),
    ],
)
@pytest.mark.parametrize("zipped", [False, True])
def test_files_that_ase_writes(tmp_path, name, kind, tolerance, zipped):
    import ase.io

    atoms = ase_atoms()
    path = tmp_path / name
    ase.io.write(path, atoms, format=kind)
    if zipped:
        path = path.with_name(name + ".gz")
        path.write_bytes(gzip.compress((tmp_path / name).read_bytes()))
    structure = read(path)
    np.testing.assert_allclose(structure.positions, atoms.positions, atol=tolerance)
    np.testing.assert_allclose(structure.lengths, [5, 6, 7])
    assert structure.species == tuple(atoms.get_chemical_symbols())
    assert structure.periodic == (True, True, True)
    assert structure.length_unit == "angstrom"
    assert structure.masses is None and structure.velocities is None and not structure.topology


@pytest.mark.parametrize(("name", "kind"), [("a.extxyz", "extxyz"), ("a.vasp", "vasp")])
def test_velocities_come_in_angstrom_per_femtosecond(tmp_path, name, kind):
    import ase.io
    import ase.units

    atoms = ase_atoms()
    velocities = np.random.default_rng(1).standard_normal((12, 3)) * 0.01
    atoms.set_velocities(velocities / ase.units.fs)
    ase.io.write(tmp_path / name, atoms, format=kind)
    np.testing.assert_allclose(read(tmp_path / name).velocities, velocities, rtol=1e-5, atol=1e-8)


def test_extxyz_with_labels_masses_and_an_origin(tmp_path):
    text = (
        '2\nLattice="5 0 0 0 6 0 0 0 7" Origin="1 1 1" Properties=species:S:1:pos:R:3:velo:R:3:masses:R:1 pbc="T F '
        'T"\nA 1 2 3 4 5 6 7.5\nbead 1 1 1 0 0 0 8.5\n'
    )
    structure = read(write(tmp_path, "a.extxyz", text))
    assert structure.species == ("A", "bead")
    assert structure.positions.tolist() == [[0, 1, 2], [0, 0, 0]]
    assert structure.masses.tolist() == [7.5, 8.5]
    assert structure.velocities[0].tolist() == [4, 5, 6]
    assert structure.periodic == (True, False, True)
    assert read(write(tmp_path, "b.extxyz", text.replace("species:S:1", "kind:S:1"))).species is None


def test_frames_and_free_axes(tmp_path):
    frame = '1\nLattice="{0} 0 0 0 6 0 0 0 0" pbc="T T F"\nAr 1 2 3\n'
    path = write(tmp_path, "a.xyz", frame.format(5) + frame.format(8))
    assert read(path, need_box=False).lengths.tolist() == [8, 6, np.inf]
    assert read(path, need_box=False, frame=0).lengths.tolist() == [5, 6, np.inf]
    assert read(path, dim=2).lengths.tolist() == [8, 6]
    with pytest.raises(Rejected, match="along z"):
        read(path)
    free = read(write(tmp_path, "b.xyz", "2\n\nAr 1 2 3\nAr 3 2 1\n"), need_box=False)
    assert free.periodic == (False,) * 3 and np.isinf(free.lengths).all() and np.isinf(free.volume)


def test_two_dimensions(tmp_path):
    flat = (
        "header\n\n2 atoms\n0 4 xlo xhi\n0 5 ylo yhi\n-0.5 0.5 zlo zhi\n\nAtoms\n\n1 1 1.0 2.0 0.0\n2 1 2.0 3.5 "
        "0.0\n\nVelocities\n\n1 1 2 0\n2 3 4 0\n"
    )
    structure = read(write(tmp_path, "a.data", flat), dim=2)
    assert structure.positions.tolist() == [[1, 2], [2, 3.5]]
    assert structure.velocities.tolist() == [[1, 2], [3, 4]]
    assert structure.lengths.tolist() == [4, 5] and structure.periodic == (True, True)
    for wrong in (flat.replace("3.5 0.0", "3.5 0.1"), flat.replace("2 3 4 0", "2 3 4 1")):
        with pytest.raises(Rejected) as caught:
            read(write(tmp_path, "b.data", wrong), dim=2)
        assert caught.value.diagnostics[0].id == "bad-dimension"


# -- LAMMPS data --------------------------------------------------------------------------------------

DATA = """LAMMPS data file, version 2 Aug 2023, timestep = 0, units = real

3 atoms
2 atom types
2 bonds
1 bond types
1 angles
1 impropers

-1.0 9.0 xlo xhi
-2.0 9.0 ylo yhi
-3.0 9.0 zlo zhi

Masses

1 15.9994 # O
2 1.00794 # H

Pair Coeffs # lj/cut

1 0.1 3.0
2 0.0 1.0

{atoms}

Velocities

12 0 0 3
10 1 0 0
11 0 2 0

Bonds

1 1 10 11
2 2 12 10

Angles

1 1 11 10 12

Impropers

1 1 10 11 12 10
"""
ROWS = {
    "atomic": ["12 2 3 3 3", "10 1 1 1 1", "11 2 2.5 2 2"],
    "charge": ["12 2 0.4 3 3 3", "10 1 -0.8 1 1 1", "11 2 0.4 2.5 2 2"],
    "molecular": ["12 1 2 3 3 3", "10 1 1 1 1 1", "11 1 2 2.5 2 2"],
    "full": ["12 1 2 0.4 3 3 3", "10 1 1 -0.8 1 1 1", "11 1 2 0.4 2.5 2 2"],
    "sphere": ["12 2 1.0 0.5 3 3 3", "10 1 1.0 0.5 1 1 1", "11 2 1.0 0.5 2.5 2 2"],
    "dipole": ["12 2 0.4 3 3 3 .5 0.5 0", "10 1 -0.8 1 1 1 1.5 0 0", "11 2 0.4 2.5 2 2 0 0 0.5"],
}


def data(style="full", comment=True, images=False):
    rows = [row + (" 0 -1 2" if images else "") for row in ROWS[style]]
    return DATA.format(atoms="\n".join([f"Atoms  # {style}" if comment else "Atoms", "", *rows]))


@pytest.mark.parametrize("images", [False, True])
@pytest.mark.parametrize("comment", [False, True])
@pytest.mark.parametrize("style", ROWS)
def test_lammps_styles_are_told_apart(tmp_path, style, comment, images):
    if style == "dipole" and images and not comment:
        pytest.skip("twelve columns without a comment are not guessed")
    structure = read(write(tmp_path, "a.data", data(style, comment, images)))
    assert structure.positions.tolist() == [[2, 3, 4], [3.5, 4, 5], [4, 5, 6]]  # by id, from the lower corner
    assert structure.lengths.tolist() == [10, 11, 12]
    assert structure.species == ("O", "H", "H")
    assert structure.masses.tolist() == [15.9994, 1.00794, 1.00794]
    assert structure.velocities.tolist() == [[1, 0, 0], [0, 2, 0], [0, 0, 3]]
    assert {k: v.tolist() for k, v in structure.topology.items()} == {
        "bonds": [[0, 1], [2, 0]],
        "angles": [[1, 0, 2]],
        "impropers": [[0, 1, 2, 0]],
    }
    assert structure.topology_types["bonds"] == ("1", "2")
    assert structure.length_unit is None and structure.unit_style == "real"
    if style in ("full", "charge"):
        assert structure.charges.tolist() == [-0.8, 0.4, 0.4]


def test_lammps_type_labels(tmp_path):
    labels = "Atom Type Labels\n\n1 OW\n2 HW\n\nBond Type Labels\n\n1 long\n2 short\n\nMasses"
    text = (
        data("molecular", comment=False)
        .replace("Masses", labels)
        .replace("12 1 2 3", "12 1 HW 3")
        .replace("1 15.9994 # O", "OW 15.9994")
    )
    structure = read(write(tmp_path, "a.lmp", text))
    assert structure.species == ("OW", "HW", "HW")
    assert structure.masses.tolist() == [15.9994, 1.00794, 1.00794]
    assert structure.topology_types["bonds"] == ("long", "short")


def test_lammps_types_without_names(tmp_path):
    text = re.sub("# [OH]\n", "\n", data())
    assert read(write(tmp_path, "data.water", text)).species == ("1", "2", "2")


def sections(text):
    """An independent reading of a data file, as the reference's own notes do it."""
    part = re.split(r"\n\s*\n", text)
    return {
        part[k].split("#")[0].strip(): [line.split() for line in part[k + 1].split("\n") if line.strip()]
        for k in range(len(part) - 1)
        if re.match(r"[A-Z][a-zA-Z ]*(#.*)?$", part[k].strip())
    }


@pytest.mark.parametrize(
    ("name", "columns"),
    [
        ("force_styles/data.fourmol", (2, 4)),
        ("force_styles/data.manybody", (1, 2)),
        ("force_styles/data.metal", (1, 2)),
        ("lammps_data/data.chain.gz", (2, 3)),
    ],
)
def test_files_that_lammps_wrote(name, columns):
    path = REFERENCE / name
    if not path.exists():
        pytest.skip("no reference data beside the repository")
    text = (gzip.open(path, "rt") if name.endswith("gz") else open(path)).read()
    part, structure = sections(text), read(path)
    rows = sorted(part["Atoms"], key=lambda row: int(row[0]))
    lower = [float(line.split()[0]) for line in text.split("\n") if re.search("[xyz]lo [xyz]hi", line)]
    kind, x = columns
    np.testing.assert_allclose(
        structure.positions + lower, np.array([row[x : x + 3] for row in rows], float), atol=1e-12
    )
    assert structure.species == tuple(row[kind] for row in rows)
    velocities = {int(row[0]): row[1:] for row in part["Velocities"]}
    np.testing.assert_array_equal(structure.velocities, np.array([velocities[int(row[0])] for row in rows], float))
    place = {int(row[0]): k for k, row in enumerate(rows)}
    for key in ("Bonds", "Angles", "Dihedrals", "Impropers"):
        expected = [[place[int(a)] for a in row[2:]] for row in part.get(key, [])]
        assert structure.topology.get(key.lower(), np.empty(0)).tolist() == expected
    if "chain" in name:
        bonds = structure.topology["bonds"]
        d = structure.positions[bonds[:, 0]] - structure.positions[bonds[:, 1]]
        d -= structure.lengths * np.round(d / structure.lengths)
        assert len(bonds) == 31680 and np.linalg.norm(d, axis=1).max() < 1.5


LAMMPS_ERRORS = {
    "no atoms line": (lambda t: t.replace("3 atoms\n", ""), "malformed-file", "how many atoms"),
    "zero atoms": (lambda t: t.replace("3 atoms\n", "0 atoms\n"), "no-atoms", "no atoms"),
    "count": (lambda t: t.replace("3 atoms\n", "4 atoms\n"), "malformed-file", "announces 4 atoms"),
    "no section": (lambda t: t.replace("Atoms  # full", "Atom"), "malformed-file", "line 24 says `Atom`"),
    "two sections": (lambda t: t + "\nBonds\n\n1 1 10 11\n", "malformed-file", "second section"),
    "no box": (lambda t: t.replace("-2.0 9.0 ylo yhi\n", ""), "missing-box", "ylo yhi"),
    "inverted box": (lambda t: t.replace("-2.0 9.0 ylo", "9.0 -2.0 ylo"), "malformed-file", "line 11"),
    "half a box": (lambda t: t.replace("-2.0 9.0 ylo", "9.0 ylo"), "malformed-file", "2 numbers"),
    "tilts": (lambda t: t.replace("zlo zhi\n", "zlo zhi\n1.0 0 xy xz yz\n"), "malformed-file", "line 13"),
    "flat vectors": (
        lambda t: t.replace("zlo zhi\n", "zlo zhi\n1 0 0 avec\n0 1 0 bvec\n1 1 0 cvec\n"),
        "triclinic-box",
        "c = (1, 1, 0)",
    ),
    "two vectors": (lambda t: t.replace("zlo zhi\n", "zlo zhi\n1 0 0 avec\n0 1 0 bvec\n"), "missing-box", "cvec"),
    "word": (lambda t: t.replace("12 1 2 0.4 3 3 3", "12 1 2 0.4 3 tree 3"), "malformed-file", "line 26: `tree`"),
    "short row": (lambda t: t.replace("10 1 1 -0.8 1 1 1", "10 1 1 -0.8 1 1"), "malformed-file", "line 27"),
    "wrong style": (
        lambda t: t.replace("Atoms  # full", "Atoms  # sphere").replace(" 0.4 3 3 3", " 0.4 3 3 y"),
        "malformed-file",
        "`y`",
    ),
    "strange columns": (
        lambda t: t.replace("Atoms  # full", "Atoms").replace("12 1 2 0.4 3 3 3", "12 1 2 3"),
        "malformed-file",
        "atom style",
    ),
    "twice": (lambda t: t.replace("12 1 2 0.4", "10 1 2 0.4"), "malformed-file", "id 10 occurs twice"),
    "id": (lambda t: t.replace("12 1 2 0.4", "1.5 1 2 0.4"), "malformed-file", "`1.5` stands where a whole number"),
    "bond": (
        lambda t: t.replace("2 2 12 10", "2 2 13 10"),
        "malformed-file",
        "line 39: there is no atom with the id 13",
    ),
    "bond row": (lambda t: t.replace("2 2 12 10", "2 2 12"), "malformed-file", "2 atom ids"),
    "mass": (lambda t: t.replace("2 1.00794 # H\n", ""), "malformed-file", "type 2 has no mass"),
    "velocity": (lambda t: t.replace("11 0 2 0\n", ""), "malformed-file", "atom 11 has no velocity"),
    "nan": (lambda t: t.replace("3 3 3", "3 nan 3"), "not-finite", "positions of atom 3"),
    "infinite velocity": (lambda t: t.replace("12 0 0 3", "12 0 0 inf"), "not-finite", "velocities of atom 3"),
}


@pytest.mark.parametrize("case", LAMMPS_ERRORS)
def test_broken_lammps_files(tmp_path, case):
    change, id, words = LAMMPS_ERRORS[case]
    text = change(data())
    assert text != data()
    with pytest.raises(Rejected) as caught:
        read(write(tmp_path, "a.data", text))
    assert [d.id for d in caught.value.diagnostics] == [id]
    assert words in str(caught.value) and "a.data" in str(caught.value)


# -- broken files of the other formats ----------------------------------------------------------------

XYZ = '3\nLattice="5 0 0 0 5 0 0 0 5" Properties=species:S:1:pos:R:3\nAr 0 0 0\nAr 1 1 1\nAr 2 2 2\n'
CIF = """data_x
_cell_length_a 5
_cell_length_b 5
_cell_length_c 5
_cell_angle_alpha 90
_cell_angle_beta 90
_cell_angle_gamma 90
_symmetry_space_group_name_H-M 'P 1'
loop_
_atom_site_label
_atom_site_type_symbol
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
_atom_site_occupancy
Cu1 Cu 0 0 0 1.0
Cu2 Cu 0.5 0.5 0 1.0
"""
PDB = (
    "CRYST1   10.000   10.000   10.000  90.00  90.00  90.00 P 1           1\nATOM      1  O   HOH A   1      "
    " 1.000  "
    " 2.000   3.000  1.00  0.00           O\n"
)
BROKEN = {
    "empty": ("a.xyz", "", "no-atoms", "empty"),
    "blank": ("a.cif", "\n \n", "no-atoms", "empty"),
    "no atoms": ("a.xyz", '0\nLattice="5 0 0 0 5 0 0 0 5"\n', "no-atoms", "no atoms"),
    "xyz header": ("a.xyz", XYZ.replace("3\n", "three\n", 1), "malformed-file", "line 1"),
    "xyz short": ("a.xyz", XYZ.replace("3\n", "4\n", 1), "malformed-file", "ends after 3"),
    "xyz column": ("a.xyz", XYZ.replace("1 1 1", "1 1"), "malformed-file", "line 4 has 3 columns"),
    "xyz word": ("a.xyz", XYZ.replace("1 1 1", "1 1 one"), "malformed-file", "line 4: `one`"),
    "xyz nan": ("a.xyz", XYZ.replace("1 1 1", "1 nan 1"), "not-finite", "atom 2"),
    "xyz no box": ("a.xyz", XYZ.replace('Lattice="5 0 0 0 5 0 0 0 5" ', ""), "missing-box", "Lattice="),
    "xyz lattice": ("a.xyz", XYZ.replace("5 0 0 0 5 0 0 0 5", "5 0 0"), "malformed-file", "extended XYZ"),
    "xyz left-handed": ("a.xyz", XYZ.replace("5 0 0 0 5 0", "0 5 0 5 0 0"), "triclinic-box", "left-handed"),
    "pdb no box": ("a.pdb", PDB[PDB.index("ATOM") :], "missing-box", "CRYST1"),
    "pdb custom box": ("a.pdb", PDB.replace("10.000", " 1.000"), "missing-box", "CRYST1"),
    "pdb words": ("a.pdb", "this is not a PDB file\n", "no-atoms", "a.pdb"),
    "pdb number": ("a.pdb", PDB.replace("   2.000", "   x.000"), "malformed-file", "PDB"),
    "pdb alternatives": ("a.pdb", PDB.replace("1.00  0.00 ", "0.50  0.00 "), "partial-occupancy", "partly"),
    "cif words": ("a.cif", "hello\n", "malformed-file", "CIF"),
    "cif half": ("a.cif", CIF[: CIF.index("Cu2") + 6], "malformed-file", "CIF"),
    "cif occupancy": ("a.cif", CIF.replace("0.5 0.5 0 1.0", "0.5 0.5 0 0.5"), "partial-occupancy", "partly"),
    "poscar": ("POSCAR", "comment\n1.0\n5 0 0\n0 5 0\n", "malformed-file", "POSCAR"),
    "deck": ("a.data", "nothing\n", "missing-box", "a.data"),
    "extension": ("a.extxys", XYZ, "unknown-format", ".extxyz"),
    "no extension": ("structure", XYZ, "unknown-format", ".pdb"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_broken_files(tmp_path, case):
    name, text, id, words = BROKEN[case]
    with pytest.raises(Rejected) as caught:
        read(write(tmp_path, name, text))
    assert [d.id for d in caught.value.diagnostics] == [id]
    assert words in str(caught.value)


def test_the_unbroken_files_are_read(tmp_path):
    assert read(write(tmp_path, "a.xyz", XYZ)).atoms == 3
    assert read(write(tmp_path, "a.cif", CIF)).positions.tolist() == [[0, 0, 0], [2.5, 2.5, 0]]
    assert read(write(tmp_path, "a.pdb", PDB)).species == ("O",)
    assert read(write(tmp_path, "a.data", data().replace("\n", "\r\n"))).atoms == 3


def test_files_that_cannot_be_opened(tmp_path):
    write(tmp_path, "argon.extxyz", XYZ)
    (tmp_path / "folder.xyz").mkdir()
    (tmp_path / "a.xyz").write_bytes(b"\xff\xfe\x00\x81")
    (tmp_path / "b.xyz.gz").write_bytes(gzip.compress(XYZ.encode())[:30])
    for name, id, words in (
        ("argn.extxyz", "missing-file", "`argon.extxyz`"),
        ("nowhere/a.xyz", "missing-file", "no folder"),
        ("folder.xyz", "unreadable-file", "folder"),
        ("a.xyz", "malformed-file", "not a text file"),
        ("b.xyz.gz", "malformed-file", "damaged"),
    ):
        with pytest.raises(Rejected) as caught:
            read(tmp_path / name)
        assert [d.id for d in caught.value.diagnostics] == [id]
        assert words in str(caught.value)
