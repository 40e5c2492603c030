"""What a file says and mdsl does not use is told; atoms that a file fixes can be frozen."""

import jax
import numpy as np
import pytest

import mdsl
from mdsl.files.reading import read
from mdsl.grammar.diagnostics import Rejected
from mdsl.interpret.meaning import System
from mdsl.report.dump import dump

METAL = """use units.metal
use pair (lennard_jones, shifted)
use minimizers
use integrators
energy U = sum(i < j) shifted(lennard_jones(3.4 [angstrom], 0.0104 [eV]), 5 [angstrom])(|x[i] - x[j]|)
"""
SLAB = """Ar slab, bottom layer fixed by selective dynamics
 1.0
   11.0 0.0 0.0
   0.0 11.0 0.0
   0.0 0.0 24.0
  Ar
  4
Selective dynamics
Cartesian
  2.0  2.0  2.0  F F F
  5.6  2.0  2.0  F F F
  4.0  2.5  5.4  T T T
  6.0  5.5  6.1  T T T
"""
FROZEN = "data fixed[atoms]\nfrozen fixed\n"
RUN = (
    'run { x = read("POSCAR") v ~ maxwell(100 [K]) velocity_verlet(dt = 2 [fs]) for 50 record degrees_of_freedom, '
    "temperature every 1 }\n"
)


def slab(folder, text=SLAB):
    (folder / "POSCAR").write_text(text)
    return folder


def test_selective_dynamics_are_told_of(tmp_path):
    program = mdsl.compile(METAL + RUN, slab(tmp_path))
    with pytest.warns(UserWarning, match="POSCAR marks 2 atoms as fixed, and they move: `data fixed"):
        program.bind()
    assert not mdsl.compile(METAL + FROZEN + RUN, tmp_path).bind().initial.notes


@pytest.mark.parametrize(
    "dynamics",
    ["velocity_verlet(dt = 2 [fs])", "baoab(dt = 2 [fs], T = 100 [K], gamma = 1 [ps^-1])", "fire(dt = 2 [fs])"],
)
def test_frozen_atoms_of_a_file_stay(tmp_path, dynamics):
    run = RUN.replace("velocity_verlet(dt = 2 [fs])", dynamics)
    system = mdsl.compile(METAL + FROZEN + run, slab(tmp_path)).bind()
    result = system.run(jax.random.key(0))
    assert (system.x[:2] == system.initial.x[:2]).all() and system.initial.dof == 6
    np.testing.assert_array_equal(result.x[:2], system.initial.x[:2])
    assert not result.v[:2].any() and np.abs(result.x[2:] - system.initial.x[2:]).min() > 1e-3
    assert (result.records["degrees_of_freedom"] == 6).all()
    if "fire" not in dynamics:
        assert result.records["temperature"][0] == pytest.approx(100)


def test_atoms_frozen_by_data_are_as_those_frozen_by_species(tmp_path):
    """The same run, also in a batch, and the same by the interpreter."""
    data = mdsl.compile(METAL + FROZEN + RUN, slab(tmp_path)).bind()
    (tmp_path / "two.extxyz").write_text(
        '4\nLattice="11 0 0 0 11 0 0 0 24"\nW 2 2 2\nW 5.6 2 2\nAr 4 2.5 5.4\nAr 6 5.5 6.1\n'
    )
    mass = "species Ar, W\nfrozen W\nparam m = 39.95 [g/mol]\n"
    species = mdsl.compile(METAL + mass + RUN.replace("POSCAR", "two.extxyz"), tmp_path).bind(seed=0)
    v = np.zeros((4, 3))
    v[2:] = [[0.5, -0.2, 0.3], [-0.1, 0.4, 0.2]]
    runs = [
        mdsl.compile(METAL + "param m = 39.95 [g/mol]\n" + FROZEN + RUN, tmp_path).bind().run(jax.random.key(0), v=v),
        species.run(jax.random.key(0), v=v),
    ]
    np.testing.assert_allclose(runs[0].x, runs[1].x, rtol=1e-13)
    batch = data.run(jax.random.split(jax.random.key(1), 2), v=v)
    np.testing.assert_array_equal(batch.x[:, :2], np.broadcast_to(data.x[:2], (2, 2, 3)))
    there = System(data.x, np.array([11.0, 11, 24]), params={"fixed": np.array([1.0, 1, 0, 0])})
    assert there.frozen(data.model).tolist() == [True, True, False, False]


def test_which_atoms_are_frozen_is_fixed_by_bind(tmp_path):
    system = mdsl.compile(METAL + FROZEN + RUN, slab(tmp_path)).bind()
    system.run(jax.random.key(0), data={"fixed": [2, 1, 0, 0]}, steps=1)  # any number but 0 says the same
    with pytest.raises(Rejected, match="which `bind` has fixed"):
        system.run(jax.random.key(0), data={"fixed": [1, 1, 1, 0]}, steps=1)
    with pytest.raises(Rejected, match="traced"):
        jax.grad(lambda a: system.run(jax.random.key(0), data={"fixed": a}, steps=1).x.sum())(np.ones(4))


def test_frozen_data_in_python_and_printed(tmp_path):
    program = mdsl.compile(METAL + FROZEN)
    system = program.bind(np.arange(12.0).reshape(4, 3), box=20.0, species=["Ar"] * 4, data={"fixed": [0, 1, 0, 0]})
    assert system.initial.dof == 9
    assert "frozen fixed" in dump(program.compiled, "resolve")
    assert mdsl.compile(dump(program.compiled, "resolve")).model.frozen == ("fixed",)


@pytest.mark.parametrize(
    ("text", "id", "words"),
    [
        ("frozen here\n", "unknown-species", "no data of the atoms"),
        ("param here = 1.0\nfrozen here\n", "unknown-species", "no data of the atoms"),
        ("data here\nfrozen here\n", "wrong-type", "does not say which atoms"),
        ("data here[atoms] in [eV]\nfrozen here\n", "wrong-type", "does not say which atoms"),
    ],
)
def test_what_cannot_freeze(text, id, words):
    with pytest.raises(Rejected) as caught:
        mdsl.compile(METAL + text)
    (found,) = caught.value.diagnostics
    assert found.id == id and words in found.message and found.span.text == "here"


def test_atoms_fixed_along_some_axes_are_refused(tmp_path):
    slab(tmp_path, SLAB.replace("5.4  T T T", "5.4  T T F"))
    with pytest.raises(Rejected, match="atom 2 .counted from 0. along z alone"):
        mdsl.compile(METAL + FROZEN + RUN, tmp_path).bind()
    with pytest.warns(UserWarning, match="marks 3 atoms as fixed"):
        mdsl.compile(METAL + RUN, tmp_path).bind()


def test_constraints_that_ase_writes(tmp_path):
    """`move_mask` of extxyz, for whole atoms and for axes."""
    import ase
    import ase.io
    from ase.constraints import FixAtoms, FixCartesian

    atoms = ase.Atoms("Ar3", [[2, 2, 2], [5.6, 2, 2], [4, 2.5, 5.4]], cell=[11, 11, 24], pbc=True)
    for constraints, fixed in (
        ([FixAtoms([0, 1])], [[1, 1, 1], [1, 1, 1], [0, 0, 0]]),
        ([FixCartesian(2, [False, False, True])], [[0, 0, 0], [0, 0, 0], [0, 0, 1]]),
        ([FixAtoms([0]), FixCartesian([2], [True, True, False])], [[1, 1, 1], [0, 0, 0], [1, 1, 0]]),
    ):
        atoms.set_constraint(constraints)
        ase.io.write(tmp_path / "a.extxyz", atoms)
        assert read(tmp_path / "a.extxyz").fixed.astype(int).tolist() == fixed
    atoms.set_constraint()
    ase.io.write(tmp_path / "a.extxyz", atoms)
    assert read(tmp_path / "a.extxyz").fixed is None


# -- what is left ----------------------------------------------------------------------------------------


def notes(folder, name, text, program="use units.lj\nenergy U = sum(i) |x[i] - origin|^2\n"):
    (folder / name).write_text(text)
    return " ".join(mdsl.compile(program + f'run {{ x = read("{name}") }}', folder).bind().initial.notes)


LAMMPS = """LAMMPS

2 atoms
1 bonds
1 atom types
1 bond types
0 10 xlo xhi
0 10 ylo yhi
0 10 zlo zhi

Masses

1 1.0

Pair Coeffs

1 1.0 1.0

Atoms # full

1 7 1 0.5 1.0 1.0 1.0
2 8 1 -0.5 2.0 1.0 1.0

Bonds

1 1 1 2
"""


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_what_a_lammps_file_holds_is_used_or_told(tmp_path):
    told = notes(tmp_path, "a.data", LAMMPS)
    assert told == "not used of a.data: the sections Pair Coeffs; the data molecule, charges; bonds"
    more = (
        "use units.lj\ndata molecule[atoms]\ndata q[atoms]\ntopology bonds(i, j)\nenergy U = sum(i) |x[i] - origin|^2\n"
    )
    assert notes(tmp_path, "a.data", LAMMPS, more) == "not used of a.data: the sections Pair Coeffs"
    system = mdsl.compile(more + 'run { x = read("a.data") }', tmp_path).bind()
    assert system.initial.data["molecule"].tolist() == [7, 8]
    text = LAMMPS.replace("# full", "# sphere").replace("7 1 0.5 1.0 1.0", "1 0.5 1 1 1").replace("8 1 -0.5", "1 0.5 1")
    assert "the columns diameter, density of Atoms" in notes(tmp_path, "b.data", text)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_what_an_extxyz_file_holds_is_used_or_told(tmp_path):
    header = 'Lattice="9 0 0 0 9 0 0 0 9" Properties=species:S:1:pos:R:3:{} units=reduced'
    told = notes(
        tmp_path, "a.extxyz", f"1\n{header.format('spin:R:1:dipole:R:3:tags:I:1')} phase=gas\nA 1 2 3 0.5 1 2 3 4\n"
    )
    assert told == "not used of a.extxyz: the columns dipole, tags; phase of the comment; the data spin"
    assert notes(tmp_path, "b.extxyz", f"1\n{header.format('velo:R:3')}\nA 1 2 3 1 2 3\n") == ""


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_what_a_pdb_file_holds_is_told(tmp_path):
    text = (
        "CRYST1   30.000   30.000   30.000  90.00  90.00  90.00 P 1           1\n"
        "ATOM      1  CA  ALA     1       1.000   1.000   1.000  1.00  0.00           C\n"
        "ATOM      2  CB  ALA     1       2.450   1.000   1.000  1.00  0.00           C\n"
        "CONECT    1    2\nEND\n"
    )
    assert "1 records CONECT" in notes(tmp_path, "a.pdb", text)
