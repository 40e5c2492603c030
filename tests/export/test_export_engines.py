"""Twenty programs and more in LAMMPS and in OpenMM: each export is certified, and every energy became what it is."""

import importlib.util
import json

import pytest
from exported import CASES

from mdsl.grammar.diagnostics import Rejected

QUICK = {"two species", "charges", "strange bonds", "trap"}  # the others with the slow tests
IN_LAMMPS = [n for n, c in CASES.items() if c.lammps is not None]


def needed(package):
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed")


def certified(made):
    assert made.certificate.checked and made.certificate.by == "the interpreter"
    assert made.certificate.worst < 1e-9, made.certificate.lines()
    told = json.loads((made.folder / "certificate.json").read_text())
    assert told["holds"] and told["worst"] == made.certificate.worst and set(told["files"]) == set(made.files)


def each(names):
    return [n if n in QUICK else pytest.param(n, marks=pytest.mark.slow) for n in names]


@pytest.mark.parametrize("name", each(IN_LAMMPS))
def test_lammps(name, tmp_path):
    needed("lammps")
    case = CASES[name]
    made = case.system().export("lammps", tmp_path / "out", states=2)
    assert dict(made.styles) == case.lammps
    certified(made)
    assert all(s.virial is not None for s in made.certificate.states) or name == "trap"


@pytest.mark.parametrize("name", each(CASES))
def test_openmm(name, tmp_path):
    needed("openmm")
    made = CASES[name].system().export("openmm", tmp_path / "out", states=2)
    certified(made)
    assert any(s.strained is not None for s in made.certificate.states) or name == "cluster"


@pytest.mark.parametrize("name", [n for n, c in CASES.items() if c.lammps is None])
def test_what_lammps_cannot_be_told_is_refused(name, tmp_path):
    with pytest.raises(Rejected) as caught:
        CASES[name].system().export("lammps", tmp_path / "out")
    (found,) = caught.value.diagnostics
    assert found.id == "cannot-export" and found.span is not None and "openmm" in found.help
    assert not (tmp_path / "out").exists()


def test_there_are_enough():
    assert len(IN_LAMMPS) >= 20 and sum(CASES[n].novel for n in IN_LAMMPS) >= 8


# -- embedded atoms from a file ------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    ("file", "species", "style"),
    [("NiAlH_jea.eam.alloy", "Ni, Al", "pair_style eam/alloy"), ("Cu_u3.eam", "Cu", "pair_style eam")],
)
def test_embedded_atoms(file, species, style, tmp_path):
    """LAMMPS is given the file; OpenMM, whose own splines are others, the cubics themselves."""
    needed("lammps")
    needed("openmm")
    import numpy as np
    from test_eam import fcc, potential, text

    import mdsl

    x = fcc(3.6, 4) + np.random.default_rng(0).uniform(-0.1, 0.1, (256, 3))
    program = mdsl.compile(text(file, species), potential(file).parent)
    bound = program.bind(x, box=14.4, species=np.arange(256) % len(species.split(",")))
    made = bound.export("lammps", tmp_path / "lammps", states=1)
    assert dict(made.styles) == {"embedding, repulsion": style}
    assert made.certificate.worst < 1e-9
    made = bound.export("openmm", tmp_path / "openmm", states=1)
    assert dict(made.styles) == {"embedding": "CustomGBForce", "repulsion": "CustomNonbondedForce"}
    assert made.certificate.worst < 1e-9
