"""OpenMM as it reads an export: the files themselves, on the Reference platform, in double precision."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np

from mdsl.export.certificate import State
from mdsl.export.subject import Subject

from . import system as writer


def installed() -> bool:
    return importlib.util.find_spec("openmm") is not None


class Evaluation:
    """The System of an export in a context."""

    def __init__(self, subject: Subject, folder: Path):
        import openmm
        from openmm import unit

        self.subject, self.scale = subject, writer.scale_of(subject)
        system = openmm.XmlSerializer.deserialize((folder / writer.SYSTEM).read_text(encoding="utf-8"))
        platform = openmm.Platform.getPlatformByName(writer.PLATFORM)
        self.integrator = openmm.VerletIntegrator(0.001)
        self.context = openmm.Context(system, self.integrator, platform)
        vectors = system.getDefaultPeriodicBoxVectors() if any(subject.initial.periodic) else None
        self.box = None if vectors is None else np.array([v.value_in_unit(unit.nanometer) for v in vectors])

    @property
    def version(self) -> str:
        import openmm

        return str(openmm.__version__)

    def __call__(self, x: np.ndarray, cell: np.ndarray) -> State:
        from openmm import unit

        if self.box is not None:
            self.context.setPeriodicBoxVectors(*self._box(cell))
        self.context.setPositions(writer.positions(self.subject, self.scale, x))
        state = self.context.getState(energy=True, forces=True)
        energy = state.getPotentialEnergy().value_in_unit(unit.kilojoules_per_mole) / self.scale.energy
        forces = state.getForces(asNumpy=True).value_in_unit(unit.kilojoules_per_mole / unit.nanometer)
        return State(energy, np.asarray(forces)[:, : x.shape[1]] * self.scale.length / self.scale.energy)

    def _box(self, cell: np.ndarray) -> np.ndarray:
        """The box that was exported, stretched as this cell is."""
        initial = self.subject.initial
        d = len(cell)
        strain = np.linalg.solve(initial.cell, cell)
        box = np.array(self.box)
        box[:d, :d] = box[:d, :d] @ strain
        return box
