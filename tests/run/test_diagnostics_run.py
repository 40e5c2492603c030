"""What mdsl says where a program is right but its atoms, files, arguments or dynamics are not."""

import importlib.metadata
import re
from pathlib import Path
from unittest.mock import patch

import jax
import numpy as np
import pytest
from wrong_programs import each, wrong

import mdsl
from mdsl.command import cli
from mdsl.grammar.catalogue import CATALOGUE
from mdsl.grammar.diagnostics import EXIT_STATUS, Rejected
from mdsl.lowering.planning.policy import Policy

LJ = """use units.lj
use pair (lennard_jones, force_shifted)
use integrators (velocity_verlet)
param sigma = 1.0
energy U = sum(i < j) force_shifted(lennard_jones(sigma, 1.0), 2.5)(|x[i] - x[j]|)
"""
SOFT = "energy U = sum(i < j) if r < 1.0 then (1 - r)^2 else 0 where r = |x[i] - x[j]|\n"
TWO = "use units.lj\nspecies A, B\n" + SOFT
FLAT = "use units.lj\ndim 2\n" + SOFT
REAL = """use units.real
energy U = sum(i < j) if r < 1 [angstrom] then 1 [kcal/mol]*(1 - r/(1 [angstrom]))^2 else 0 [kcal/mol]
           where r = |x[i] - x[j]|
"""
LEARNED = "use units.lj\nlearned net = mlp(1, 1)\nenergy U = sum(i) net(0.0)\n"
EXTERN = "use units.lj\nextern u(r)\nenergy U = sum(i < j) u(|x[i] - x[j]|)\n"
HEADER = 'Lattice="10 0 0 0 10 0 0 0 10"'
FILES = {
    "good.extxyz": f"2\n{HEADER}\nAr 0 0 0\nAr 5 5 5\n",
    "deep.extxyz": f"2\n{HEADER}\nAr 0 0 0\nAr 5 5 5\n",
    "letters.extxyz": f"2\n{HEADER}\nAr 0 O 0\nAr 5 5 5\n",
    "short.extxyz": f"3\n{HEADER}\nAr 0 0 0\nAr 5 5 5\n",
    "none.extxyz": f"0\n{HEADER}\n",
    "empty.extxyz": "",
    "nan.extxyz": f"1\n{HEADER}\nAr 0 nan 0\n",
    "nobox.extxyz": "1\n\nAr 0 0 0\n",
    "mirror.extxyz": '1\nLattice="0 10 0 10 0 0 0 0 10"\nAr 0 0 0\n',
    "atoms.foo": "1\n\nAr 0 0 0\n",
    "chain.data": "LAMMPS\n\n1 atoms\n1 atom types\n\n0 10 xlo xhi\n0 10 ylo yhi\n0 10 zlo zhi\n\nAtoms # atomic\n\n1 "
    "1 0.0 0.0 zero\n",
    "alloy.cif": (
        "data_alloy\n_cell_length_a 4\n_cell_length_b 4\n_cell_length_c 4\n_cell_angle_alpha 90\n_cell_angle_beta "
        "90\n_cell_angle_gamma 90\n"
        "_symmetry_space_group_name_H-M 'P "
        "1'\nloop_\n_atom_site_label\n_atom_site_type_symbol\n_atom_site_fract_x\n_atom_site_fract_y\n"
        "_atom_site_fract_z\n_atom_site_occupancy\nCu1 Cu 0 0 0 0.5\nAu1 Au 0 0 0 0.5\n"
    ),
}


def placed(x):
    return f"run {{ {x} }}"


def files(folder):
    for name, text in FILES.items():
        (folder / name).write_text(text)
    (folder / "folder.extxyz").mkdir()
    (folder / "binary.extxyz").write_bytes(b"2\n\xff\xfe\n")


@each("starts")
def test_wrong_start(case, tmp_path):
    files(tmp_path)
    program = mdsl.compile(case.text, tmp_path)
    with pytest.raises(Rejected) as caught:
        program.bind().energy()
    (found,) = caught.value.diagnostics
    assert found.id == case.id, str(found)
    assert found.span.text == case.marks, str(found)
    assert case.says in f"{found.message} {found.notes} {found.help}", str(found)
    assert caught.value.exit_status == EXIT_STATUS[CATALOGUE[case.id].severity]


# -- in Python -------------------------------------------------------------------------------------------

X = np.array([[1.0, 1.0, 1.0], [2.5, 1.0, 1.0], [1.0, 2.5, 1.0]])


def lj(text=LJ):
    return mdsl.compile(text)


BINDINGS = [
    (lambda: lj().bind(X[:, :2], box=8.0), "wrong-shape", 2, "not N × 3"),
    (lambda: lj().bind(X[0], box=8.0), "wrong-shape", 2, "(3,)"),
    (lambda: lj().bind(X, box=[8.0, 8.0]), "wrong-shape", 2, "each of 3 axes"),
    (lambda: lj().bind(X, box=-8.0), "bad-box", 2, "positive length"),
    (lambda: lj().bind(X, box=8.0, velocities=X[:2]), "wrong-shape", 2, "velocities"),
    (lambda: lj().bind(X, box=8.0, masses=[1.0, 2.0]), "wrong-shape", 2, "masses"),
    (lambda: lj(TWO).bind(X, box=8.0, species=["A", "B"]), "wrong-shape", 2, "2 entries for 3 atoms"),
    (lambda: lj().bind(X, box=8.0).energy(X[:2]), "wrong-shape", 2, "(2, 3)"),
    (lambda: lj().bind(X, box=8.0).energy(params={"sigma": np.ones(3)}), "wrong-shape", 2, "`sigma`"),
    (lambda: lj().bind(X, box=8.0).energy(params={"sigm": 1.0}), "unknown-parameter", 2, "`sigma`"),
    (lambda: lj(TWO).bind(X, box=8.0, species=["A", "B", "C"]), "unknown-species", 2, "`C`"),
    (lambda: lj(TWO).bind(X, box=8.0, species=[0, 1, 2]), "unknown-species", 2, "number 2"),
    (lambda: lj(TWO).bind(X, box=8.0), "unknown-species", 2, "no species"),
    (lambda: lj().bind(X), "missing-box", 2, "`box=`"),
    (lambda: lj().bind(X[:0], box=8.0), "no-atoms", 2, "no atoms"),
    (lambda: lj().bind(X * np.nan, box=8.0), "not-finite", 2, "not finite"),
    (lambda: lj().bind(X, box=8.0, masses=[1.0, 2.0, -1.0]), "missing-mass", 2, "positive"),
    (lambda: lj().bind(X, box=4.0).energy(), "box-too-small", 2, "half the box"),
    (lambda: lj().bind(), "empty-program", 2, "no run block"),
    (lambda: lj().bind(X, box=8.0).run(jax.random.key(0), steps=10), "empty-program", 2, "nothing to run"),
    (
        lambda: lj(LJ + "run { x = sc(density = 0.8, cells = 8) }").bind().run(jax.random.key(0)),
        "empty-program",
        2,
        "no statement of dynamics",
    ),
    (lambda: lj().bind(X, box=8.0, precision="quadruple"), "precision", 2, "single, mixed or double"),
    (lambda: lj().bind("argon.xyz"), "wrong-type", 2, 'x = read("argon.xyz")'),
    (lambda: lj().bind(X * 1j, box=8.0), "wrong-type", 2, "no array of numbers"),
    (lambda: lj().bind(X, box=8.0, skin=-0.3), "bad-number", 2, "at least 0, not -0.3"),
    (lambda: lj().bind(X, box=8.0, seed="a"), "bad-number", 2, "`seed` is a whole number"),
    (lambda: mdsl.load("nowhere.mdsl"), "missing-file", 2, "nowhere.mdsl"),
    (lambda: mdsl.compile(LEARNED).bind(X, box=8.0).energy(params={"net": 1.0}), "wrong-shape", 2, "`program.params"),
    (
        lambda: (
            mdsl.compile(LEARNED)
            .bind(X, box=8.0)
            .energy(params={"net": {"weights_1": np.ones((2, 1)), "biases_1": np.ones(1)}})
        ),
        "wrong-shape",
        2,
        "not (1, 1)",
    ),
    (lambda: mdsl.compile(EXTERN).bind(X, box=8.0), "missing-extern", 2, "externs="),
    (lambda: mdsl.compile(EXTERN, externs={"g": abs}), "missing-extern", 2, "no extern `g`"),
    (lambda: mdsl.compile(EXTERN, externs={"u": 3.0}), "bad-extern", 2, "no function"),
    (lambda: mdsl.compile(EXTERN, externs={"u": lambda r: (r, r)}).bind(X, box=8.0), "bad-extern", 2, "a tuple"),
    (
        lambda: mdsl.compile(EXTERN, externs={"u": lambda r: float(r)}).bind(X, box=8.0),
        "bad-extern",
        2,
        "traced by JAX",
    ),
]


@pytest.mark.parametrize("call, id, status, phrase", BINDINGS)
def test_wrong_call(call, id, status, phrase, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(Rejected) as caught:
        call()
    (found,) = caught.value.diagnostics
    assert found.id == id and phrase in f"{found.message} {found.help}", str(found)
    assert caught.value.exit_status == status


def test_double_precision_needs_64_bit_numbers():
    jax.config.update("jax_enable_x64", False)
    try:
        with pytest.raises(Rejected) as caught:
            lj().bind(X, box=8.0, precision="double")
    finally:
        jax.config.update("jax_enable_x64", True)
    assert caught.value.diagnostics[0].id == "precision" and "jax_enable_x64" in caught.value.diagnostics[0].help


# -- on the command line ---------------------------------------------------------------------------------

RUN = "run { x = fcc(density = 0.8, cells = 5) velocity_verlet(dt = 0.001) for 4 record U every 2 }\n"

COMMANDS = [
    (["rum", "lj.mdsl"], "bad-option", 2, "`run`"),
    (["lj.mdsl"], "bad-option", 2, "`mdsl run lj.mdsl`"),
    (["run", "lj.mdsl", "--step", "3"], "bad-option", 2, "`--steps`"),
    (["run", "lj.mdsl", "--steps", "-3"], "bad-option", 2, "at least 0"),
    (["run", "lj.mdsl", "--steps", "some"], "bad-option", 2, "whole number"),
    (["run", "lj.mdsl", "--threads", "0"], "bad-option", 2, "at least 1"),
    (["run", "lj.mdsl", "--precision", "quadruple"], "bad-option", 2, "quadruple"),
    (["run", "lj.mdsl", "--set", "sigma"], "bad-option", 2, "NAME=VALUE"),
    (["run", "lj.mdsl", "--set", "sigma=1", "--set", "sigma=2"], "bad-option", 2, "twice"),
    (["run", "-"], "bad-option", 2, "standard input"),
    (["explain", "--error", "unknown-nam"], "bad-option", 2, "`unknown-name`"),
    (["dump", "lj.mdsl", "--after", "infr"], "bad-option", 2, "infer"),
    (["list", "pairs"], "bad-option", 2, "pair"),
    (["run", "lj.mdsl", "--set", "sigm=1"], "unknown-parameter", 2, "`sigma`"),
    (["run", "lj.mdsl", "--set", "kB=2"], "unknown-parameter", 2, "`kB`"),
    (["run", "lj.mdsl", "--set", "sigma=1+"], "missing-expression", 2, "after `+`"),
    (["run", "lj.mdsl", "--set", "sigma=tau"], "unknown-name", 2, "`tau`"),
    (["run", "lj.mdsl", "--set", "sigma=1 [angstrom]"], "unit-in-reduced", 2, "pure number"),
    (["run", "lj.mdsl", "--set", "sigma=1/0"], "bad-number", 2, "infinite"),
    (["run", "real.mdsl", "--set", "depth=1"], "wrong-unit", 2, "[kcal/mol]"),
    (["run", "norun.mdsl"], "empty-program", 2, "no run block"),
    (["check", "lj.mdsI"], "missing-file", 2, "`lj.mdsl`"),
    (["check", "folder"], "unreadable-file", 2, "folder"),
    (["check", "binary.mdsl"], "malformed-file", 2, "UTF-8"),
    (["run", "lj.mdsl", "--out", "old"], "output-exists", 2, "--overwrite"),
    (["run", "lj.mdsl", "--out", "lj.mdsl"], "output-exists", 2, "is a file"),
    (["run", "lj.mdsl", "--out", "lj.mdsl/new"], "cannot-write", 1, "--out"),
    (["run", "lj.mdsl", "--resume", "nowhere"], "no-run", 2, "does not exist"),
    (["run", "lj.mdsl", "--resume", "old"], "no-run", 2, "checkpoint"),
    (["compare", "old", "nowhere"], "no-run", 2, "compared"),
    (["plot", "old"], "no-run", 2, "drawn"),
    (["plot", "field.mdsl"], "nothing-to-draw", 2, "explain"),
    (["compare", "few", "few"], "nothing-to-compare", 2, "8 times"),
    (["run", "lj.mdsl", "--resume", "damaged"], "malformed-checkpoint", 1, "damaged"),
    (["run", "lj.mdsl", "--resume", "other"], "other-program", 2, "other/program.mdsl"),
]  # fmt: skip


def command(capsys, *argv):
    """Exit status and stderr of a command."""
    with patch("mdsl.command.run.set_up_jax", lambda *_: None):  # a process can do that once
        status = cli.main(argv)
    return status, capsys.readouterr().err


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("lj.mdsl").write_text(LJ + RUN)
    Path("norun.mdsl").write_text(LJ)
    Path("real.mdsl").write_text("use units.real\nparam depth = 1 [kcal/mol]\n" + REAL.split("\n", 1)[1])
    Path("binary.mdsl").write_bytes(b"use \xff")
    for name in ("folder", "old", "damaged", "other"):
        Path(name).mkdir()
    Path("old/program.mdsl").write_text(LJ + RUN)
    Path("damaged/program.mdsl").write_text(LJ + RUN)
    Path("damaged/checkpoint.npz").write_text("no archive")
    Path("other/program.mdsl").write_text(LJ.replace("1.0", "1.1") + RUN)
    np.savez("other/checkpoint.npz", header=np.frombuffer(b"{}", np.uint8))
    Path("field.mdsl").write_text("use units.lj\nenergy U = sum(i) |x[i] - origin|^2\n")
    Path("few").mkdir()
    column = '{"mean": 1.0, "error": null, "degrees": null}'
    Path("few/run.json").write_text(f'{{"statistics": [{{"index": 0, "columns": {{"U": {column}}}}}]}}')
    return tmp_path


@pytest.mark.parametrize("argv, id, status, phrase", COMMANDS)
def test_wrong_command(argv, id, status, phrase, folder, capsys):
    found, said = command(capsys, *argv)
    assert re.findall(r"^(?:error|warning)\[([\w-]+)\]", said, re.M) == [id], said
    assert phrase in said
    assert found == status == EXIT_STATUS[CATALOGUE[id].severity]


def test_what_is_set_is_marked(folder, capsys):
    _, said = command(capsys, "run", "lj.mdsl", "--set", "sigm=1")
    assert "1 | param sigm = 1\n  |       ^^^^" in said


# -- while running ---------------------------------------------------------------------------------------

# The last two by their sections of the page.
SPECIAL = {
    "overlap",
    "box-collapsed",
    "blow-up",
    "neighbour-overflow",
    "unsupported-jax",
    "ambiguous-module",
    "fit-failed",
    "missing-package",
}


def rejected(call):
    with pytest.raises(Rejected) as caught:
        call()
    (found,) = caught.value.diagnostics
    return found, caught.value.exit_status


def test_atoms_on_top_of_each_other_are_named():
    x = np.array([[1.0, 1.0, 1.0], [4.0, 4.0, 4.0], [6.0, 1.0, 1.0], [4.0, 4.0, 4.0]])
    system = lj(LJ + 'run { x = read("bound") velocity_verlet(dt = 0.001) for 10 }').bind(x, box=8.0)
    found, status = rejected(lambda: system.run(jax.random.key(0)))
    assert (found.id, status) == ("overlap", 1)
    assert found.span.text.startswith("sum(i < j)") and found.span.line == 5
    assert "atoms 1 and 3, 0 apart, have no finite energy" in found.label


@pytest.mark.parametrize("cells", [5, 8])  # all pairs, and a neighbour list
def test_a_run_that_blows_up_names_the_term_its_line_and_the_pair(cells):
    text = LJ + f"run {{ x = sc(a = 1.1, cells = {cells}) v ~ maxwell(1.0) velocity_verlet(dt = 0.2) for 200 }}"
    found, status = rejected(lambda: lj(text).bind().run(jax.random.key(0)))
    assert (found.id, status) == ("blow-up", 1)
    assert found.span.line == 5 and found.span.text.startswith("sum(i < j)"), str(found)
    assert re.search(r"atoms \d+ and \d+, \S+ apart", found.label)
    assert "step" in found.message and "0.2" in found.help
    assert any(label.span.text.startswith("velocity_verlet") for label in found.secondary)


def test_a_list_that_does_not_stop_growing_is_given_up():
    """An attraction without a core pulls all atoms into one place; here mdsl may enlarge its list once."""
    text = """use units.lj
use integrators (velocity_verlet)
energy U = sum(i < j) if r < 1.5 then -200*(1.5 - r)^2 else 0 where r = |x[i] - x[j]|
run { x ~ uniform(atoms = 600, density = 1.0) velocity_verlet(dt = 0.005) for 2000 }
"""
    found, status = rejected(lambda: lj(text).bind(policy=Policy(most_growths=1)).run(jax.random.key(0)))
    assert (found.id, status) == ("neighbour-overflow", 1)


def test_a_box_that_collapses_ends_the_run():
    text = (
        LJ + "box periodic(5.5*(1 - t))\nrun { x = sc(a = 1.1, cells = 5) v ~ maxwell(1.0) velocity_verlet(dt = 0.005) "
        "for 100 }"
    )
    found, status = rejected(lambda: lj(text).bind().run(jax.random.key(0)))
    assert (found.id, status) == ("box-collapsed", 1)
    assert any("at step 19" in note for note in found.notes)


@pytest.mark.parametrize("release", ["0.10.2", "0.11.0", "0.11.1"])
def test_releases_of_jax_that_compute_wrong_numbers_are_refused(release, monkeypatch):
    from mdsl.lowering.jax_version import check

    monkeypatch.setattr("mdsl.lowering.jax_version.version", lambda package: release)
    found, status = rejected(check)
    assert (found.id, status) == ("unsupported-jax", 2)
    assert release in found.message and "pip install" in found.help


def test_a_missing_jax_is_told(monkeypatch):
    from mdsl.lowering.jax_version import check

    def missing(package):
        raise importlib.metadata.PackageNotFoundError(package)

    monkeypatch.setattr("mdsl.lowering.jax_version.version", missing)
    assert rejected(check)[0].id == "unsupported-jax"


# -- all of them -----------------------------------------------------------------------------------------

ELSEWHERE = {  # diagnostics that have tests of their own
    "cannot-export": "test_export_refusals.py",
    "export-differs": "test_export_command.py",
    "missing-topology": "test_topologies.py",
    "bad-topology": "test_topologies.py",
    "missing-data": "test_data.py",
    "batch-shape": "test_batches.py",
    "no-derivative": "test_no_derivative.py",
    "no-period": "test_table_ends.py",
    "outside-table": "test_table_ends.py",
    "not-nearest": "test_coordinates.py",
    "other-conditions": "test_resume.py",
}


def test_every_diagnostic_has_a_test():
    tables = (
        (case.id for name in ("programs", "starts", "syntax") for case in wrong(name)),
        (row[-3] for row in (*BINDINGS, *COMMANDS)),
        SPECIAL,
    )
    tested = {id for table in tables for id in table} | ELSEWHERE.keys()
    for id, name in ELSEWHERE.items():
        (path,) = Path(__file__).parents[1].rglob(name)
        assert id in path.read_text(), id
    assert set(CATALOGUE) - tested == set()
    assert tested - set(CATALOGUE) == set()
