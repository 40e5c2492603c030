"""The folder of a run and its records: nothing is lost, nothing is overwritten, nothing leaves the folder."""

import csv
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from mdsl.files.folder import RunFolder
from mdsl.files.records import Column, Records
from mdsl.grammar.diagnostics import Rejected


def refused(id, make, *words):
    with pytest.raises(Rejected) as caught:
        make()
    assert [d.id for d in caught.value.diagnostics] == [id]
    assert all(word in str(caught.value) for word in words)


# -- folders ------------------------------------------------------------------------------------------


def test_numbered_folders(tmp_path):
    make = lambda stem="melt": RunFolder.create("use units.lj\n", stem, root=tmp_path / "runs").path.name  # noqa: E731
    assert [make(), make(), make("argon")] == ["melt-001", "melt-002", "argon-001"]
    (tmp_path / "runs/melt-041").mkdir()
    (tmp_path / "runs/melt-old").mkdir()
    assert make() == "melt-042"
    assert (tmp_path / "runs/melt-001/program.mdsl").read_text() == "use units.lj\n"


def test_runs_that_start_at_once_do_not_meet(tmp_path):
    made, errors = [], []
    start = threading.Barrier(8)

    def work():
        start.wait()
        for _ in range(10):
            made.append(RunFolder.create("", "a", root=tmp_path).path)

    def claim():
        start2.wait()
        try:
            made.append(RunFolder.create("", "a", out=tmp_path / "one").path)
        except Rejected as error:
            errors.append(error.diagnostics[0].id)

    threads = [threading.Thread(target=work) for _ in range(8)]
    [t.start() for t in threads], [t.join() for t in threads]
    assert len(set(made)) == len(made) == 80
    made.clear()
    start2 = threading.Barrier(8)
    threads = [threading.Thread(target=claim) for _ in range(8)]
    [t.start() for t in threads], [t.join() for t in threads]
    assert len(made) == 1 and errors == ["output-exists"] * 7


def test_a_chosen_folder(tmp_path):
    out = tmp_path / "deep/here"
    out.mkdir(parents=True)
    (out / "notes.txt").write_text("mine")
    folder = RunFolder.create("first", "a", out=out)
    folder.trajectory("a.xtc").write_text("frames")
    folder.trajectory("sub/B.xtc").write_text("frames")
    folder.write_run({"seed": 1})
    refused("output-exists", lambda: RunFolder.create("second", "a", out=out), "--overwrite")
    assert folder.program == "first"
    again = RunFolder.create("second", "a", out=out, overwrite=True)
    assert again.program == "second"
    left = sorted(str(p.relative_to(out)) for p in out.rglob("*") if p.is_file())
    assert left == ["notes.txt", "program.mdsl"]
    (tmp_path / "file").write_text("")
    refused("output-exists", lambda: RunFolder.create("", "a", out=tmp_path / "file"), "is a file")
    refused("cannot-write", lambda: RunFolder.create("", "a", out=tmp_path / "file/below"))
    refused("cannot-write", lambda: RunFolder.create("", "a", root=tmp_path / "file"))


def test_overwriting_removes_nothing_outside(tmp_path):
    (tmp_path / "precious").write_text("keep")
    out = tmp_path / "out"
    RunFolder.create("", "a", out=out)
    for names in (["../precious", str(tmp_path / "precious"), 3], None, "x"):
        (out / "run.json").write_text(json.dumps({"trajectories": names}))
        RunFolder.create("", "a", out=out, overwrite=True)
    (out / "run.json").write_text("{broken")
    RunFolder.create("", "a", out=out, overwrite=True)
    assert (tmp_path / "precious").read_text() == "keep"


def test_names_of_trajectories(tmp_path):
    folder = RunFolder.create("", "a", root=tmp_path)
    assert folder.trajectory("melt.extxyz") == folder.path / "melt.extxyz"
    assert folder.trajectory("sub/melt.extxyz").parent.is_dir()
    for name in (
        "../x.dcd",
        "a/../../x.dcd",
        "/tmp/x.dcd",
        "C:\\x.dcd",
        "C:x.dcd",
        "..\\x.dcd",
        "\\x.dcd",
        "",
        ".",
        "a\0.dcd",
    ):
        refused("output-name", lambda name=name: folder.trajectory(name), "no name for a file")
    refused("output-name", lambda: folder.trajectory("melt.extxyz"), "twice")
    refused("output-name", lambda: folder.trajectory("./MELT.extxyz"), "twice")
    refused("output-name", lambda: folder.trajectory("final.extxyz"), "by itself")
    if hasattr(os, "symlink"):
        (folder.path / "link").symlink_to(tmp_path)
        refused("output-name", lambda: folder.trajectory("link/x.dcd"), "out of the folder")


def test_description(tmp_path):
    folder = RunFolder.create("", "a", root=tmp_path)
    assert folder.read_run() == {}
    folder.trajectory("ä.xtc")
    folder.write_run({"seed": np.int64(3), "T": np.array([1.5]), "path": Path("x"), "unit": "Å"})
    assert folder.read_run() == {"seed": 3, "T": [1.5], "path": "x", "unit": "Å", "trajectories": ["ä.xtc"]}
    folder.write_run({"seed": 4})
    assert json.loads((folder.path / "run.json").read_text(encoding="utf-8"))["seed"] == 4
    with pytest.raises(TypeError):
        folder.write_run({"seed": object()})
    assert folder.read_run()["seed"] == 4


def test_checkpoint_keeps_all_bits(tmp_path):
    folder = RunFolder.create("", "a", root=tmp_path)
    refused("no-run", lambda: RunFolder.open(folder.path), "checkpoint")
    refused("no-run", lambda: RunFolder.open(tmp_path / "nowhere"), "does not exist")
    folder.final.write_text("")
    refused("no-run", lambda: RunFolder.open(folder.path), "is finished")
    refused("no-run", folder.read_checkpoint)
    arrays = {
        "x": np.random.default_rng(0).random((5, 3)),
        "key": np.array([1, 2**32 - 1], np.uint32),
        "file": np.array(np.nan),
        "state/η": np.zeros((0, 2), np.float32),
    }
    folder.write_checkpoint({"step": 1}, {})
    folder.write_checkpoint({"step": 1000, "frames": {"a.xtc": 3}, "time": 0.1}, arrays)
    header, back = RunFolder.open(folder.path).read_checkpoint()
    assert header == {"step": 1000, "frames": {"a.xtc": 3}, "time": 0.1}
    assert set(back) == set(arrays)
    for name, array in arrays.items():
        assert (
            back[name].dtype == array.dtype
            and back[name].tobytes() == array.tobytes()
            and back[name].shape == array.shape
        )
    with pytest.raises(TypeError):
        folder.write_checkpoint({}, {"x": np.array([object()])})
    assert not list(folder.path.glob("*.new"))
    path = folder.path / "checkpoint.npz"
    whole = path.read_bytes()
    for damage in (whole[:100], b"", b"nonsense", whole[:400] + bytes(50) + whole[450:]):
        path.write_bytes(damage)
        refused("malformed-checkpoint", folder.read_checkpoint, "checkpoint.npz")


# -- records ------------------------------------------------------------------------------------------

COLUMNS = [Column("T", "K"), Column("stress", "bar", (2, 2)), Column("p", "", (3,)), Column("h", "", (4,))]
HEADER = (
    "step,time [fs],T [K],stress_xx [bar],stress_xy [bar],stress_yx [bar],stress_yy [bar],p_x,p_y,p_z,h_1,h_2,h_3,h_4"
)


def values(k):
    rng = np.random.default_rng(k)
    return {"T": rng.random() * 1e-30, "stress": rng.random((2, 2)), "p": rng.random(3) * 1e20, "h": rng.random(4)}


def test_names_of_components():
    assert Column("c", "", (12, 2)).components[:3] == ("c_1_x", "c_1_y", "c_2_x")
    assert Column("s", "", (3, 3)).components == tuple(f"s_{a}{b}" for a in "xyz" for b in "xyz")
    assert Column("T").titles == ("T",)
    assert Column("g", "K", (3,), (-1, 1)).titles == ("g[-1] [K]", "g[0] [K]", "g[1] [K]")
    assert Column("c", "", (2, 2), (5, 6)).components == ("c[5]_x", "c[5]_y", "c[6]_x", "c[6]_y")


def test_records_in_memory_and_on_disk(tmp_path):
    path = tmp_path / "records.csv"
    with Records(COLUMNS, path, "fs") as records:
        for k in range(4):
            records.append(10 * k, np.float32(0.1) * k, values(k))
            assert len(path.read_text().splitlines()) == k + 2  # on the disk at once
        lines = list(csv.reader(path.open()))
    assert ",".join(lines[0]) == HEADER
    assert records.steps.tolist() == [0, 10, 20, 30] and len(records) == 4
    assert records["stress"].shape == (4, 2, 2) and records["T"].shape == (4,)
    table = np.array(lines[1:], float)
    for name, columns in (("T", [2]), ("stress", [3, 4, 5, 6]), ("p", [7, 8, 9]), ("h", [10, 11, 12, 13])):
        np.testing.assert_array_equal(records[name].reshape(4, -1), table[:, columns])  # every bit
        np.testing.assert_array_equal(records[name][2], values(2)[name])
    np.testing.assert_array_equal(records.times, table[:, 1])
    assert set(records.arrays()) == {"T", "stress", "p", "h"}


def test_rows_without_some_columns(tmp_path):
    records = Records([Column("T"), Column("P")], tmp_path / "a.csv")
    records.append(0, 0.0, {"T": 1.0})
    records.append(1, 0.5, {"P": np.nan, "T": np.inf})
    assert (tmp_path / "a.csv").read_text() == "step,time,T,P\n0,0.0,1.0,\n1,0.5,inf,nan\n"
    assert np.isnan(records["P"]).all()
    with pytest.raises(KeyError):
        records.append(2, 1.0, {"V": 1.0})
    with pytest.raises(ValueError, match="reshape"):
        records.append(2, 1.0, {"T": [1.0, 2.0]})
    assert Records([]).arrays() == {} and Records([Column("T")])["T"].shape == (0,)
    refused("cannot-write", lambda: Records([], tmp_path / "nowhere/a.csv"))


def test_resumed_records(tmp_path):
    path = tmp_path / "records.csv"
    with Records(COLUMNS, path, "fs") as records:
        for k in range(6):
            records.append(10 * k, 1.0 * k, values(k) if k % 2 else {"T": 1.5})
    whole = path.read_text()
    path.write_text(whole + "60,6.0,1.0,2")  # killed while it wrote a row
    with Records.resume(COLUMNS, path, 30, "fs") as records:
        assert records.steps.tolist() == [0, 10, 20, 30]
        np.testing.assert_array_equal(records["stress"][3], values(3)["stress"])
        assert np.isnan(records["stress"][2]).all()
        for k in range(4, 6):
            records.append(10 * k, 1.0 * k, values(k) if k % 2 else {"T": 1.5})
    assert path.read_text() == whole
    refused("malformed-checkpoint", lambda: Records.resume(COLUMNS[:2], path, 30, "fs"), "other columns")
    refused("malformed-checkpoint", lambda: Records.resume(COLUMNS, path, 30, "ps"), "time [ps]")
    for broken in ("", "step\n", whole + "a,b\n", whole.replace("1.5", "x"), whole + "60,6.0\n"):
        path.write_text(broken)
        refused("malformed-checkpoint", lambda: Records.resume(COLUMNS, path, 30, "fs"))
    refused("malformed-checkpoint", lambda: Records.resume(COLUMNS, tmp_path / "none.csv", 30, "fs"))


def test_importing_is_cheap():
    files = [f"mdsl.files.{name}" for name in ("folder", "lattices", "reading", "trajectories")]
    modules = ", ".join([*files, "mdsl.command.display"])
    code = (
        f"import sys; import {modules}; print(sorted({{'ase', 'mdtraj', 'rich', 'scipy', 'jax'}} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
