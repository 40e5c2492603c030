"""`mdsl plot`: the records of a run, or the pair functions of a program, as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mdsl.files.folder import RECORDS, RunFolder
from mdsl.files.records import load_rows
from mdsl.grammar.diagnostics import Diagnostic, Rejected, suggest
from mdsl.model.dimensions import ENERGY, LENGTH
from mdsl.resolve.sources import read_program

from .terminal import show

SUFFIX = ".png"


def plot(path: Path, names: Sequence[str], out: Path | None) -> int:
    """Draws a folder or file of records, or a program, and tells where to. Raises Rejected."""
    records = path / RECORDS if path.is_dir() else path
    made = _program(path, out) if records.suffix != ".csv" else _records(records, names, out)
    print(made)
    return 0


def free(path: Path) -> Path:
    """The path, or where there is something the next with a number."""
    names = (path.with_name(f"{path.stem}-{k}{path.suffix}") for k in range(2, 10**6))
    return path if not path.exists() else next(p for p in names if not p.exists())


def chosen(out: Path | None, otherwise: Path) -> Path:
    """Where a picture goes. Raises Rejected: ``output-exists``."""
    if out is not None and out.exists():
        raise Rejected(
            Diagnostic("output-exists", f"{out} is there already", help="choose another name for the picture")
        )
    return out or free(otherwise)


def _records(path: Path, names: Sequence[str], out: Path | None) -> Path:
    from mdsl.plots.figures import draw_records
    from mdsl.plots.record_panels import Table, panels

    if not path.is_file():
        raise Rejected(Diagnostic("no-run", f"{path.parent} holds no run that could be drawn: there is no {RECORDS}"))
    titles, rows = load_rows(path)
    numbers = np.array([[float(v) if v else np.nan for v in row] for row in rows]).reshape(-1, len(titles))
    if "step" not in titles or not len(rows):
        raise Rejected(Diagnostic("no-run", f"{path} has no records of a run"))
    table = Table(tuple(titles), numbers, RunFolder(path.parent).read_run().get("statistics", ()))
    known = [t.partition(" [")[0] for t in table.recorded]
    for name in names:
        if next(panels(table, [name]), None) is None:
            message = f"{path} has no column `{name}`"
            raise Rejected(Diagnostic("bad-option", message, help=suggest(name, known) or f"it has {', '.join(known)}"))
    found = list(panels(table, names))
    if not found:
        raise Rejected(Diagnostic("no-run", f"{path} has steps and times, and nothing else"))
    made = chosen(out, path.parent / f"plot{SUFFIX}")
    draw_records(found, table.time.partition(" [")[2].rstrip("]"), made)
    return made


def _program(path: Path, out: Path | None) -> Path:
    from mdsl.compiler import compile_source
    from mdsl.plots.figures import draw_pairs
    from mdsl.plots.pair_curves import pair_curves

    compiled = compile_source(*read_program(str(path)))
    show(compiled.warnings)
    curves, left = pair_curves(compiled.field)
    for what in left:
        print(f"not drawn: {what}")
    if not curves:
        message = f"{path} has no pair function of a distance that could be drawn"
        raise Rejected(Diagnostic("nothing-to-draw", message, help="`mdsl explain` tells what it is made of"))
    units, made = compiled.model.units, chosen(out, Path(path.stem + SUFFIX))
    draw_pairs(curves, *(units.display(d).text for d in (LENGTH, ENERGY)), made)
    return made
