"""Numbers of others. Those that were computed for mdsl are in tests/data and always there; those of LAMMPS's
distribution, NIST and JAX MD lie beside the repository where they are, and tests that need them are skipped
elsewhere."""

import csv
import gzip
import json
from functools import cache
from pathlib import Path

import pytest

DATA = Path(__file__).parents[1] / "data"
BESIDE = Path(__file__).parents[3] / "shared"
REFERENCE = BESIDE / "reference"
PROGRAMS = BESIDE / "programs"
needs_reference = pytest.mark.skipif(not REFERENCE.exists(), reason="needs the reference data")


@cache
def lammps(name):
    """A system computed with LAMMPS: positions, velocities, forces and energies at the first step and after some."""
    packed = DATA / f"{name}.json.gz"
    text = gzip.decompress(packed.read_bytes()) if packed.exists() else (DATA / f"{name}.json").read_bytes()
    return json.loads(text)


@cache
def cohesive():
    """Rows of cohesive energies computed with LAMMPS, each for a potential file."""
    with open(DATA / "cohesive.csv") as file:
        return tuple(csv.DictReader(file))
