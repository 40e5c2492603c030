"""Writing trajectories: extended XYZ, DCD and XTC.

Every frame is on the disk when ``write`` returns, so a killed run leaves files that other programs read. A run
that is resumed keeps the first frames of its file, as many as its checkpoint counts, and goes on behind them.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mdsl.grammar.diagnostics import suggest

from .errors import rejected, writing
from .frames import Frame, Scales, Trajectory, too_short
from .structure import padded

# CHARMM's unit of time, in which a DCD file gives its step: sqrt(g/mol angstrom²/(kcal/mol)).
AKMA_FEMTOSECONDS = 48.88821
OLD = ".old"  # behind the name of a file whose frames are being copied


class ExtXYZ(Trajectory):
    """Extended XYZ: text, exact to the given number of digits, with labels, velocities, forces and ``columns`` that
    stay.

    Written here and not by ASE, which refuses labels that are no chemical elements. Lengths in angstrom and
    velocities (column ``velo``) in angstrom/fs, unless the comment line says ``units=reduced``. Forces are in
    the program's units.
    """

    def __init__(
        self,
        path: Path,
        species: Sequence[str] | None,
        scales: Scales,
        periodic: Sequence[bool],
        keep: int | None,
        digits: int,
        columns: Mapping[str, np.ndarray],
    ):
        super().__init__(path, species, scales, periodic)
        self.digits, self.columns = digits, columns
        with writing(path):
            if keep is not None:
                self.frames = keep
                os.truncate(path, self._end(keep))
            self.file = open(path, "w" if keep is None else "a", encoding="utf-8")

    def _end(self, frames: int) -> int:
        """The size in bytes of the first ``frames`` frames."""
        with open(self.path, "rb") as file:
            for k in range(frames):
                first = file.readline().strip()
                count = int(first) if first.isdigit() else -1
                if count < 0 or not all(file.readline().endswith(b"\n") for _ in range(count + 1)):
                    raise too_short(self.path, k, frames)
            return file.tell()

    def _write(self, frame: Frame) -> None:
        vectors = {"pos": padded(frame.positions) * self.scales.length()}
        if frame.velocities is not None:
            vectors["velo"] = padded(frame.velocities) * (self.scales.length() / self.scales.time())
        if frame.forces is not None:
            vectors["forces"] = padded(frame.forces)
        box = self._box(frame.cell)
        periodic = [*self.periodic, False, False][:3]
        lattice = f'Lattice="{" ".join(repr(float(v)) for v in box.ravel())}" ' if box.any() else ""
        properties = "species:S:1:" + ":".join(
            [*(f"{name}:R:3" for name in vectors), *(f"{name}:R:1" for name in self.columns)]
        )
        pbc = " ".join("FT"[p] for p in periodic)
        units = " units=reduced" if self.scales.reduced else ""
        now = frame.time * self.scales.time()
        header = f'{lattice}Properties={properties} pbc="{pbc}" step={frame.step} time={now:.12g}{units}'

        rows = np.hstack([*vectors.values(), *(np.reshape(c, (-1, 1)) for c in self.columns.values())]).tolist()
        pattern = "%s" + f" %.{self.digits}g" * len(rows[0])
        labels = self.species or ["X"] * len(rows)
        body = "\n".join([pattern % (label, *row) for label, row in zip(labels, rows, strict=True)])
        self.file.write(f"{len(rows)}\n{header}\n{body}\n")
        self.file.flush()

    def close(self) -> None:
        self.file.close()


class _MDTraj(Trajectory):
    """What DCD and XTC share: mdtraj writes a file from its start only, so that resuming copies what is kept."""

    def __init__(
        self, path: Path, species: Sequence[str] | None, scales: Scales, periodic: Sequence[bool], keep: int | None
    ):
        super().__init__(path, species, scales, periodic)
        with writing(path):
            if not keep:
                path.write_bytes(b"")  # mdtraj says nothing of a folder that is not there
                self.file = self._open(path, "w")
                return
            old = path.with_name(path.name + OLD)
            if not old.exists():  # it is there where an earlier resumption was killed while it copied
                os.replace(path, old)
            try:
                with self._open(old, "r") as source:
                    if len(source) < keep:
                        raise too_short(path, len(source), keep)
                    self.file = self._open(path, "w")
                    for _ in range(keep):
                        self._copy(source)
                        self.frames += 1
            except BaseException:
                os.replace(old, path)  # whatever went wrong, the user's frames are not lost
                raise
            old.unlink()

    def _open(self, path: Path, mode: str) -> Any:
        raise NotImplementedError

    def _copy(self, source: Any) -> None:
        raise NotImplementedError

    def _put(self, *arrays: Any, **options: Any) -> None:
        try:
            self.file.write(*arrays, **options)
        except Exception as error:  # a full disk is a RuntimeError in mdtraj's XTC, a TypeError in its DCD
            raise OSError(f"the frame was not written, perhaps for want of space ({error})") from error

    def close(self) -> None:
        self.file.close()


class DCD(_MDTraj):
    """DCD, as CHARMM, NAMD, OpenMM and LAMMPS write it: float32, angstrom, box lengths, a constant interval."""

    def __init__(
        self,
        path: Path,
        species: Sequence[str] | None,
        scales: Scales,
        periodic: Sequence[bool],
        keep: int | None,
        interval: int,
        timestep: float,
        first: int,
    ):
        # The header holds when the first frame was taken, the steps between frames, and the length of a step.
        delta = timestep if scales.femtosecond is None else scales.time() * timestep / AKMA_FEMTOSECONDS
        self._header = struct.pack("<ii", first, interval), struct.pack("<f", delta)
        if keep:  # the first frame may be one of another statement, or of long ago
            with writing(path):
                old = path.with_name(path.name + OLD)
                with open(old if old.exists() else path, "rb") as file:
                    head = file.read(48)
            self._header = head[12:20], head[44:48]
        super().__init__(path, species, scales, periodic, keep)
        if self.frames:
            self._time_header()

    def _open(self, path: Path, mode: str) -> Any:
        from mdtraj.formats import DCDTrajectoryFile

        return DCDTrajectoryFile(str(path), mode, force_overwrite=True)

    def _copy(self, source: Any) -> None:
        self._put(*source.read(n_frames=1))

    def _write(self, frame: Frame) -> None:
        coordinates = np.ascontiguousarray(padded(frame.positions) * self.scales.length(), dtype=np.float32)
        lengths, angles = _lengths_and_angles(self._box(frame.cell))
        self._put(coordinates, lengths.astype(np.float32), angles.astype(np.float32))
        if self.frames == 0:
            self._time_header()

    def _time_header(self) -> None:
        # mdtraj writes 0, 1 and 1 there. The integers at byte 8 are NSET, ISTART, NSAVC, ...; the tenth is DELTA. Its
        # two titles hold the hour, and what the memory held before: a run is to write the same bytes each time.
        with open(self.path, "r+b") as file:
            file.seek(12)
            file.write(self._header[0])
            file.seek(44)
            file.write(self._header[1])
            file.seek(100)
            file.write(b"REMARKS written by mdsl".ljust(2 * 80))


class XTC(_MDTraj):
    """XTC, as GROMACS writes it: nanometres kept to 0.001, picoseconds. In reduced units, numbers as they are."""

    def _open(self, path: Path, mode: str) -> Any:
        from mdtraj.formats import XTCTrajectoryFile

        return XTCTrajectoryFile(str(path), mode, force_overwrite=True)

    def _copy(self, source: Any) -> None:
        self._put(*source.read(n_frames=1))

    def _write(self, frame: Frame) -> None:
        coordinates = np.ascontiguousarray(padded(frame.positions) * self.scales.length(0.1), dtype=np.float32)
        box = self._box(frame.cell, 0.1).astype(np.float32)
        self._put(coordinates, time=np.float32(frame.time * self.scales.time(1e-3)), step=frame.step % 2**31, box=box)
        self.file.flush()


def _lengths_and_angles(box: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The lengths of three box vectors, and the angles in degrees between b and c, a and c, a and b."""
    lengths = np.linalg.norm(box, axis=1)
    angles = np.full(3, 90.0)
    for k, (i, j) in enumerate(((1, 2), (0, 2), (0, 1))):
        if box[i] @ box[j]:
            angles[k] = np.degrees(np.arccos(box[i] @ box[j] / (lengths[i] * lengths[j])))
    return lengths, angles


FORMATS = (".extxyz", ".xyz", ".dcd", ".xtc")


def check_format(name: str) -> str:
    """The extension of a trajectory's name; raises ``unknown-format`` where it tells no format."""
    suffix = Path(name).suffix.lower()
    if suffix not in FORMATS:
        help = suggest(suffix, FORMATS) or f"trajectories are written as {', '.join(FORMATS)}"
        raise rejected("unknown-format", f"the name {name} does not tell a trajectory format", help=help)
    return suffix


def open_trajectory(
    path: str | Path,
    species: Sequence[str] | None,
    *,
    periodic: Sequence[bool] = (True, True, True),
    angstrom_per_length: float | None = None,
    femtoseconds_per_time: float | None = None,
    interval: int = 1,
    timestep: float = 1.0,
    first_step: int = 0,
    keep: int | None = None,
    digits: int = 9,
    columns: Mapping[str, np.ndarray] | None = None,
) -> Trajectory:
    """A trajectory in the format that the extension of ``path`` names.

    ``angstrom_per_length`` and ``femtoseconds_per_time`` are the sizes of the program's units, None in reduced
    units. ``interval`` (steps between frames), ``timestep`` (in the program's unit of time) and ``first_step``
    stand in the header of a DCD file. ``keep`` continues a file behind its first ``keep`` frames, dropping what
    follows; None starts anew. ``digits`` are significant digits, in extxyz only: 17 keeps float64 exactly; so are
    ``columns``, further numbers of the atoms [N] by name, the same in each frame.

    Raises ``unknown-format``, ``cannot-write``, and ``malformed-checkpoint`` where fewer frames are there.
    """
    path = Path(path)
    suffix = check_format(path.name)
    scales = Scales(angstrom_per_length, femtoseconds_per_time)
    if keep is not None and not path.exists() and not path.with_name(path.name + OLD).exists():
        if keep:
            raise too_short(path, 0, keep)
        keep = None
    common = path, species, scales, periodic, keep
    if suffix == ".dcd":
        return DCD(*common, interval=interval, timestep=timestep, first=first_step)
    if suffix == ".xtc":
        return XTC(*common)
    return ExtXYZ(*common, digits=digits, columns=columns or {})
