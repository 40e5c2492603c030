"""The folder of a run: where everything that it writes goes."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import numpy as np

from mdsl.grammar.diagnostics import Rejected

from .errors import rejected, writing

PROGRAM, RUN, RECORDS, FINAL, CHECKPOINT = "program.mdsl", "run.json", "records.csv", "final.extxyz", "checkpoint.npz"
PARAMETERS = "parameters.safetensors"  # of runs with learned functions, or whose parameters came from a file
EXCHANGES = "exchanges.csv"  # of replicas that exchange
RESERVED = (PROGRAM, RUN, RECORDS, FINAL, CHECKPOINT, PARAMETERS, EXCHANGES)
_HEADER, _ARRAY = "header", "array:"


@dataclass
class RunFolder:
    """A folder with ``program.mdsl``, ``run.json``, ``records.csv``, trajectories, ``final.extxyz``,
    ``checkpoint.npz``.

    Made by :meth:`create` for a new run and by :meth:`open` for one that is resumed. Files that are replaced while
    a run goes on (run.json, checkpoint.npz) are replaced as a whole: a killed run leaves the old or the new one.
    """

    path: Path
    trajectories: list[str] = field(default_factory=list)

    @classmethod
    def create(
        cls,
        program: str,
        stem: str,
        out: str | Path | None = None,
        *,
        overwrite: bool = False,
        root: str | Path = "runs",
    ) -> RunFolder:
        """A folder for a new run of the source text ``program``.

        Without ``out`` it is ``root/stem-001`` or the next free number; two runs that start at once get two
        folders. A folder named by ``out`` may exist, but hold a run only with ``overwrite``: then the files of that
        run are removed, and other files in the folder stay.

        Raises ``output-exists``, ``cannot-write``.
        """
        if out is None:
            path = next_free(Path(root), stem)
        else:
            path = Path(out)
            if path.exists() and not path.is_dir():
                raise rejected("output-exists", f"{path} is a file, and the output needs a folder")
            with writing(path):
                path.mkdir(parents=True, exist_ok=True)
            if any((path / name).exists() for name in RESERVED):
                if not overwrite:
                    raise rejected(
                        "output-exists",
                        f"the folder {path} holds a run already",
                        help="choose another folder, or pass --overwrite to replace the run",
                    )
                _remove_run(path)
        with writing(path):
            try:
                with open(path / PROGRAM, "x", encoding="utf-8", newline="") as file:  # "x": only one run can have it
                    file.write(program)
            except FileExistsError:
                raise rejected("output-exists", f"another run has just started in {path}") from None
        return cls(path)

    @classmethod
    def open(cls, path: str | Path) -> RunFolder:
        """The folder of a run that is to be resumed; raises ``no-run`` where there is no checkpoint in it."""
        path = Path(path)
        missing = [name for name in (PROGRAM, CHECKPOINT) if not (path / name).is_file()]
        if missing:
            finished = missing == [CHECKPOINT] and (path / FINAL).is_file()
            what = (
                "does not exist"
                if not path.exists()
                else "is finished"
                if finished
                else f"has no {' and no '.join(missing)}"
            )
            raise rejected(
                "no-run",
                f"{path} holds no run that could be resumed: it {what}",
                help=None if finished else "a run can be resumed from its first checkpoint on",
            )
        return cls(path)

    @property
    def program(self) -> str:
        """The source text of the run."""
        return (self.path / PROGRAM).read_text(encoding="utf-8")

    @property
    def records(self) -> Path:
        return self.path / RECORDS

    @property
    def exchanges(self) -> Path:
        return self.path / EXCHANGES

    @property
    def final(self) -> Path:
        return self.path / FINAL

    @property
    def parameters(self) -> Path:
        return self.path / PARAMETERS

    def trajectory(self, name: str) -> Path:
        """The path for an output file that the program names, which may be in a subfolder.

        Raises ``output-name`` for names that are empty, lead out of the folder, belong to the run's own files, or
        were taken before.
        """
        plain = check_name(name)
        if plain.casefold() in map(str.casefold, self.trajectories):
            raise rejected("output-name", f"`{name}` is written twice", help="give each `write` its own file name")
        path = self.path / plain
        if not path.resolve().is_relative_to(self.path.resolve()):
            raise rejected("output-name", f"`{name}` leads out of the folder of the run")
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
        self.trajectories.append(plain)
        return path

    def write_run(self, description: Mapping[str, Any]) -> None:
        """Replaces ``run.json``; the names of the trajectories are added to it as ``trajectories``."""
        content = json.dumps(
            {**description, "trajectories": self.trajectories}, indent=2, ensure_ascii=False, default=_plain
        )
        _replace(self.path / RUN, (content + "\n").encode())

    def read_run(self) -> dict[str, Any]:
        """The content of ``run.json``, empty where there is none. Raises ``malformed-checkpoint``."""
        return _read_json(self.path / RUN)

    def write_checkpoint(self, header: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
        """Replaces ``checkpoint.npz`` by a JSON header and NumPy arrays; keeps all bits."""
        path = self.path / CHECKPOINT
        content = {_ARRAY + name: np.asarray(array) for name, array in arrays.items()}
        if objects := [name for name, array in content.items() if array.dtype.hasobject]:
            raise TypeError(f"arrays of Python objects cannot be checkpointed: {objects}")
        content[_HEADER] = np.frombuffer(json.dumps(dict(header), default=_plain).encode(), dtype=np.uint8)
        with writing(path):
            fresh = path.with_name(CHECKPOINT + ".new")
            with open(fresh, "wb") as file:
                np.savez(file, **content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(fresh, path)

    def read_checkpoint(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Header and arrays of ``checkpoint.npz``. Raises ``no-run``, ``malformed-checkpoint``."""
        path = self.path / CHECKPOINT
        try:
            with np.load(path, allow_pickle=False) as content:
                header = json.loads(content[_HEADER].tobytes())
                arrays = {name.removeprefix(_ARRAY): content[name] for name in content.files if name != _HEADER}
        except FileNotFoundError:
            raise rejected("no-run", f"there is no checkpoint in {self.path}") from None
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            why = str(error) if zipfile.is_zipfile(path) else "it is no archive of arrays"
            raise rejected("malformed-checkpoint", f"{path} is damaged: {why}") from error
        return header, arrays


def check_name(name: str) -> str:
    """The name of an output file, with `/` between folders. Raises ``output-name``."""
    windows, parts = PureWindowsPath(name), PurePosixPath(name.replace("\\", "/")).parts
    if not parts or "\0" in name or windows.drive or windows.root or parts[0] == "/" or ".." in parts:
        raise rejected(
            "output-name",
            f"`{name}` is no name for a file in the folder of the run",
            help='write a name such as "melt.extxyz"; --out chooses the folder',
        )
    plain = "/".join(parts)
    if plain.casefold() in RESERVED:
        raise rejected("output-name", f"`{name}` is a file that each run writes by itself", help="choose another name")
    return plain


def next_free(root: Path, stem: str) -> Path:
    """A new folder ``root/stem-001``, or with the next number that nothing has. Raises ``cannot-write``."""
    with writing(root):
        root.mkdir(parents=True, exist_ok=True)
        numbers = [name.name[len(stem) + 1 :] for name in root.iterdir() if name.name.startswith(stem + "-")]
        number = max((int(n) for n in numbers if n.isdigit()), default=0)
        while True:
            number += 1
            path = root / f"{stem}-{number:03d}"
            try:
                path.mkdir()  # atomic: of two runs that try, one fails here
                return path
            except FileExistsError:
                continue


def _remove_run(path: Path) -> None:
    """Removes the files that a run wrote, and nothing else."""
    try:
        names = list(_read_json(path / RUN).get("trajectories", ()))
    except (Rejected, AttributeError, TypeError):  # a damaged run.json does not keep its run from being replaced
        names = []
    inside = [
        name for name in names if isinstance(name, str) and (path / name).resolve().is_relative_to(path.resolve())
    ]
    with writing(path):
        for name in (*inside, *(f"{name}.old" for name in inside), *RESERVED):
            (path / name).unlink(missing_ok=True)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise rejected("malformed-checkpoint", f"{path} is damaged: {error}") from error


def _replace(path: Path, content: bytes) -> None:
    with writing(path):
        fresh = path.with_name(path.name + ".new")
        fresh.write_bytes(content)
        os.replace(fresh, path)


def _plain(value: object) -> object:
    """NumPy's numbers and arrays, and paths, as JSON knows them."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} does not go into JSON")
