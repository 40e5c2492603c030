"""What all trajectory files share: frames in the program's units, and the units of files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from .errors import rejected, writing


@dataclass(frozen=True)
class Scales:
    """What the program's numbers are in the units of files: None for both in reduced units.

    Then numbers are written as they are, whatever unit the format has by custom.
    """

    angstrom: float | None = None  # per unit of length
    femtosecond: float | None = None  # per unit of time

    @property
    def reduced(self) -> bool:
        return self.angstrom is None

    def length(self, per_angstrom: float = 1.0) -> float:
        return 1.0 if self.angstrom is None else self.angstrom * per_angstrom

    def time(self, per_femtosecond: float = 1.0) -> float:
        return 1.0 if self.femtosecond is None else self.femtosecond * per_femtosecond


@dataclass(frozen=True)
class Frame:
    """One frame in the program's units: positions [N, d], the box vectors in the rows of cell [d, d] (inf on the
    diagonal where there is no extent), and perhaps velocities and forces [N, d]."""

    positions: np.ndarray
    cell: np.ndarray
    step: int
    time: float
    velocities: np.ndarray | None = None
    forces: np.ndarray | None = None


class Trajectory:
    """A file to which frames are appended; use it as a context manager, from :func:`open_trajectory`."""

    frames: int  # in the file

    def __init__(self, path: Path, species: Sequence[str] | None, scales: Scales, periodic: Sequence[bool]):
        self.path, self.species, self.scales, self.periodic = path, species, scales, tuple(periodic)
        self.frames = 0

    def write(
        self,
        positions: np.ndarray,
        box: np.ndarray,
        step: int,
        time: float,
        velocities: np.ndarray | None = None,
        forces: np.ndarray | None = None,
    ) -> None:
        """One frame: positions [N, d] and the box, edges [d] or vectors [d, d], in the program's units, and when it
        was taken.

        ``velocities`` and ``forces`` [N, d] go into extxyz only. Raises ``cannot-write``.
        """
        with writing(self.path):
            cell = np.asarray(box, dtype=np.float64)
            cell = np.diag(cell) if cell.ndim == 1 else cell
            self._write(Frame(np.asarray(positions), cell, int(step), float(time), velocities, forces))
        self.frames += 1

    def _write(self, frame: Frame) -> None:
        raise NotImplementedError

    def close(self) -> None:
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _box(self, cell: np.ndarray, per_angstrom: float = 1.0) -> np.ndarray:
        """[3, 3] box vectors in the file's unit, 0 where there is no extent; 1 along z in two dimensions."""
        box, dim = np.zeros((3, 3)), len(cell)
        box[:dim, :dim] = np.where(np.isfinite(np.diag(cell))[:, None], cell, 0) * self.scales.length(per_angstrom)
        if dim < 3 and box.any():
            box[2, 2] = 1.0  # readers take a box of no thickness for no box
        return box


def too_short(path: Path, there: int, wanted: int) -> Exception:
    return rejected(
        "malformed-checkpoint",
        f"{path} holds {there} whole frames, and the checkpoint counts {wanted}",
        help="put the file back as the run left it, or start the run again",
    )
