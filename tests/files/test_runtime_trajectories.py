"""Trajectories: what is written is what other programs read, also after a kill and a resumption."""

import os
import subprocess
import sys

import numpy as np
import pytest

from mdsl.files.reading import read
from mdsl.files.trajectories import AKMA_FEMTOSECONDS, check_format, open_trajectory
from mdsl.grammar.diagnostics import Rejected

N, FRAMES = 30, 5
LENGTHS = np.array([11.0, 12.0, 13.0])
FORMATS = ["extxyz", "xyz", "dcd", "xtc"]
UNITS = {"real": (1.0, 1.0), "nm": (10.0, 1000.0), "lj": (None, None)}  # angstrom and fs per the program's units


def positions(frame, dim=3):
    return np.random.default_rng(frame).random((N, dim)) * LENGTHS[:dim]


def trajectory(path, units="real", **options):
    angstrom, femtosecond = UNITS[units]
    return open_trajectory(
        path,
        ["A", "B"] * (N // 2),
        angstrom_per_length=angstrom,
        femtoseconds_per_time=femtosecond,
        interval=20,
        timestep=0.5,
        first_step=100,
        **options,
    )


def write(file, first=0, frames=FRAMES):
    for k in range(first, frames):
        file.write(positions(k), LENGTHS + k, step=100 + 20 * k, time=50 + 10.0 * k)


def frames_of(path, kind):
    """Positions [F, N, 3] and lengths [F, 3] in the file's numbers, by a program other than the one that wrote."""
    if kind in ("extxyz", "xyz"):
        blocks = path.read_text().split("\n")[:-1]
        size = N + 2
        rows = [[line.split() for line in blocks[k + 2 : k + size]] for k in range(0, len(blocks), size)]
        lengths = [np.array(blocks[k + 1].split('"')[1].split(), float)[::4] for k in range(0, len(blocks), size)]
        return np.array([[row[1:4] for row in frame] for frame in rows], float), np.array(lengths)
    chemfiles = pytest.importorskip("chemfiles")
    with chemfiles.Trajectory(str(path)) as file:
        frames = [file.read() for _ in range(file.nsteps)]
        scale = 0.1 if kind == "xtc" else 1.0  # chemfiles gives everything in angstrom
        return np.array([f.positions.copy() for f in frames]) * scale, np.array(
            [f.cell.lengths for f in frames]
        ) * scale


def tolerance(kind):
    return {"xtc": 0.0005 + 1e-6, "dcd": 2e-6}.get(kind, 2e-8)


@pytest.mark.parametrize("units", UNITS)
@pytest.mark.parametrize("kind", FORMATS)
def test_other_programs_read_what_is_written(tmp_path, kind, units):
    path = tmp_path / f"a.{kind}"
    with trajectory(path, units) as file:
        write(file)
        assert file.frames == FRAMES
    angstrom = UNITS[units][0]
    scale = 1.0 if angstrom is None else angstrom * (0.1 if kind == "xtc" else 1.0)
    read_positions, read_lengths = frames_of(path, kind)
    expected = np.array([positions(k) for k in range(FRAMES)])
    np.testing.assert_allclose(read_positions, expected * scale, atol=tolerance(kind) * max(scale, 1))
    np.testing.assert_allclose(read_lengths, (LENGTHS + np.arange(FRAMES)[:, None]) * scale, rtol=1e-6)


def test_times_and_steps_of_xtc(tmp_path):
    mdtraj = pytest.importorskip("mdtraj.formats")
    for units, scale in (("real", 1e-3), ("nm", 1.0), ("lj", 1.0)):
        with trajectory(tmp_path / f"{units}.xtc", units) as file:
            write(file)
        with mdtraj.XTCTrajectoryFile(str(tmp_path / f"{units}.xtc")) as file:
            _, time, step, _ = file.read()
        np.testing.assert_allclose(time, (50 + 10.0 * np.arange(FRAMES)) * scale, rtol=1e-6)
        assert step.tolist() == [100, 120, 140, 160, 180]


@pytest.mark.parametrize(
    ("units", "delta"), [("real", 0.5 / AKMA_FEMTOSECONDS), ("nm", 500 / AKMA_FEMTOSECONDS), ("lj", 0.5)]
)
def test_header_of_dcd(tmp_path, units, delta):
    path = tmp_path / "a.dcd"
    with trajectory(path, units) as file:
        write(file, frames=3)
    with trajectory(path, units, keep=2) as file:
        write(file, 2)
    header = path.read_bytes()[8:88]
    count, first, interval = np.frombuffer(header, "<i4")[:3]
    assert (count, first, interval) == (FRAMES, 100, 20)
    assert np.frombuffer(header, "<f4")[9] == pytest.approx(delta)


def test_extxyz_carries_everything(tmp_path):
    path = tmp_path / "final.extxyz"
    v, f = positions(7) / 1000, positions(8)
    with trajectory(path, "nm", digits=17) as file:
        file.write(positions(0), LENGTHS, 3, 0.25, velocities=v, forces=f)
    structure = read(path)
    assert structure.species == ("A", "B") * (N // 2)
    np.testing.assert_array_equal(structure.positions, positions(0) * 10)
    np.testing.assert_allclose(structure.velocities, v / 100, rtol=1e-15)  # nm/ps to angstrom/fs
    assert structure.length_unit == "angstrom" and structure.unit_style is None
    second = path.read_text().split("\n")[1]
    assert "step=3" in second and "time=250" in second and "forces:R:3" in second


def test_reduced_units_come_back_as_they_were(tmp_path):
    path = tmp_path / "final.extxyz"
    with trajectory(path, "lj", digits=17, periodic=(True, False, True)) as file:
        file.write(positions(0), LENGTHS, 0, 0.0, velocities=positions(1))
    structure = read(path)
    np.testing.assert_array_equal(structure.positions, positions(0))
    np.testing.assert_array_equal(structure.velocities, positions(1))
    np.testing.assert_array_equal(structure.lengths, LENGTHS)
    assert structure.length_unit is None and structure.periodic == (True, False, True)


@pytest.mark.parametrize("kind", ["extxyz", "dcd", "xtc"])
def test_two_dimensions_and_free_boxes(tmp_path, kind):
    path = tmp_path / f"flat.{kind}"
    with trajectory(path, "lj", periodic=(True, True)) as file:
        file.write(positions(0, 2), LENGTHS[:2], 0, 0.0)
    x, lengths = frames_of(path, kind)
    np.testing.assert_allclose(x[0, :, :2], positions(0, 2), atol=tolerance(kind))
    assert not x[0, :, 2].any()
    np.testing.assert_allclose(lengths[0, :2], LENGTHS[:2], rtol=1e-6)
    if kind == "extxyz":
        flat = read(path, dim=2)
        assert flat.periodic == (True, True) and flat.lengths.tolist() == [11.0, 12.0]
    free = tmp_path / f"free.{kind}"
    with trajectory(free, "lj", periodic=(False,) * 3) as file:
        file.write(positions(0), np.full(3, np.inf), 0, 0.0)
    if kind == "extxyz":
        assert not any(read(free, need_box=False).periodic)
    else:
        np.testing.assert_allclose(frames_of(free, kind)[0][0], positions(0), atol=tolerance(kind))


@pytest.mark.parametrize("atoms", [1, 5, 9, 10])
def test_few_atoms(tmp_path, atoms):
    for kind in ("dcd", "xtc"):
        path = tmp_path / f"a.{kind}"
        with open_trajectory(path, None) as file:
            file.write(np.ones((atoms, 3)), LENGTHS, 0, 0.0)
            file.write(np.full((atoms, 3), 2.0), LENGTHS, 1, 1.0)
        assert frames_of(path, kind)[0][:, :, 0].tolist() == [[1.0] * atoms, [2.0] * atoms]


@pytest.mark.parametrize("keep", [0, 1, 3, FRAMES])
@pytest.mark.parametrize("kind", FORMATS)
def test_resuming_gives_the_file_of_an_uninterrupted_run(tmp_path, kind, keep):
    whole, broken = tmp_path / f"whole.{kind}", tmp_path / f"broken.{kind}"
    with trajectory(whole) as file:
        write(file)
    with trajectory(broken) as file:
        write(file)
    with trajectory(broken, keep=keep) as file:
        assert file.frames == keep
        write(file, keep)
    if kind == "dcd":  # mdtraj leaves what was in memory in the title, which holds the date as well
        assert whole.read_bytes()[276:] == broken.read_bytes()[276:]
    else:
        assert whole.read_bytes() == broken.read_bytes()
    assert os.listdir(tmp_path) and not list(tmp_path.glob("*.old"))


@pytest.mark.parametrize("kind", FORMATS)
def test_resuming_without_the_frames(tmp_path, kind):
    path = tmp_path / f"a.{kind}"
    with pytest.raises(Rejected, match="holds 0 whole frames"):
        trajectory(path, keep=1)
    with trajectory(path, keep=0) as file:
        write(file, frames=2)
    before = path.read_bytes()
    with pytest.raises(Rejected) as caught:
        trajectory(path, keep=3)
    assert caught.value.diagnostics[0].id == "malformed-checkpoint" and "2 whole frames" in str(caught.value)
    assert path.read_bytes() == before


KILLED = """
import os, signal, sys
import numpy as np
from mdsl.files.trajectories import open_trajectory
for path in sys.argv[1:]:
    file = open_trajectory(path, None)
    for k in range(3):
        file.write(np.full((30, 3), float(k)), np.array([11.0, 12.0, 13.0]), k, float(k))
    globals()[path] = file  # so that nothing is closed
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_run_leaves_readable_files(tmp_path):
    paths = {kind: tmp_path / f"a.{kind}" for kind in ("extxyz", "dcd", "xtc")}
    assert subprocess.run([sys.executable, "-c", KILLED, *map(str, paths.values())], check=False).returncode == -9
    for kind, path in paths.items():
        assert frames_of(path, kind)[0][:, 0, 0].tolist() == [0.0, 1.0, 2.0]
        with open(path, "ab") as file:  # a frame that was cut off while it was written
            file.write(path.read_bytes()[-200:])
        with open_trajectory(path, None, keep=2) as file:
            file.write(np.full((N, 3), 5.0), LENGTHS, 5, 5.0)
        assert frames_of(path, kind)[0][:, 0, 0].tolist() == [0.0, 1.0, 5.0]


def test_names_and_places(tmp_path):
    assert check_format("a/b.DCD") == ".dcd"
    for name in ("melt.dcx", "melt", "melt.trr"):
        with pytest.raises(Rejected, match="trajectory format"):
            open_trajectory(tmp_path / name, None)
    for kind in FORMATS:
        with pytest.raises(Rejected) as caught:
            open_trajectory(tmp_path / f"nowhere/a.{kind}", None)
        assert caught.value.diagnostics[0].id == "cannot-write"


@pytest.mark.parametrize("kind", FORMATS)
def test_a_full_disk_is_said_to_be_one(tmp_path, kind):
    class Full:
        def write(self, *arrays, **options):
            raise {"dcd": TypeError, "xtc": RuntimeError}.get(kind, OSError)("no space")  # as mdtraj does

        def close(self):
            pass

    with trajectory(tmp_path / f"a.{kind}") as file:
        file.file.close()
        file.file = Full()
        with pytest.raises(Rejected) as caught:
            write(file)
        assert caught.value.diagnostics[0].id == "cannot-write" and "space" in str(caught.value)
        assert file.frames == 0
