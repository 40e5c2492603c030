"""Reading structures from files."""

from __future__ import annotations

import gzip
import warnings
import zlib
from pathlib import Path

import numpy as np

from mdsl.grammar.diagnostics import suggest

from .atoms import KNOWN_COLUMNS, TIMES_IN_FEMTOSECOND, columns_of, fixed_of
from .errors import rejected
from .lammps import read_lammps_data
from .pdb import with_elements
from .structure import Structure, standard, turned

# Format by the end of the file's name (without .gz), or by the whole name. Values other than "lammps" are ASE's.
FORMATS = {
    ".extxyz": "extxyz",
    ".xyz": "extxyz",
    ".pdb": "proteindatabank",
    ".ent": "proteindatabank",
    ".data": "lammps",
    ".lmp": "lammps",
    ".lammps": "lammps",
    ".cif": "cif",
    ".vasp": "vasp",
    ".poscar": "vasp",
    "poscar": "vasp",
    "contcar": "vasp",
}


def read(path: str | Path, *, dim: int = 3, need_box: bool = True, frame: int = -1) -> Structure:
    """The structure in an extxyz, PDB, LAMMPS data, CIF or POSCAR file, which may be gzipped.

    ``dim`` is the dimension of the program: with 2, all atoms must lie in a plane, and z is dropped. Unless
    ``need_box`` is False, each axis must have a length. Of a file with several frames, ``frame`` chooses one.

    Raises ``missing-file``, ``unreadable-file``, ``unknown-format``, ``malformed-file``, ``no-atoms``,
    ``not-finite``, ``missing-box``, ``triclinic-box``, ``partial-occupancy``, ``bad-dimension``.
    """
    path = Path(path)
    kind = _format(path)
    text = text_of(path)
    if not text.strip():
        raise rejected("no-atoms", f"{path.name} is empty")
    structure = read_lammps_data(text, path.name) if kind == "lammps" else _read_ase(text, path, kind, frame)
    for what in ("positions", "velocities", "masses", "charges"):
        values = getattr(structure, what)
        if values is not None and not np.isfinite(values).all():
            atom = int(np.argmin(np.isfinite(values).reshape(structure.atoms, -1).all(axis=1)))
            raise rejected(
                "not-finite",
                f"{path.name}: the {what} of atom {atom + 1} hold a number that is not finite: {values[atom]}",
            )
    if dim == 2:
        structure = structure.flattened()
    if need_box and not np.isfinite(structure.lengths).all():
        axis = "xyz"[int(np.argmin(np.isfinite(structure.lengths)))]
        help = {
            "extxyz": 'the second line of an extxyz file gives it: Lattice="10 0 0 0 10 0 0 0 10"',
            "proteindatabank": "a PDB file gives it in a CRYST1 record",
        }.get(kind)
        raise rejected("missing-box", f"{path.name} gives the box no length along {axis}", help=help)
    return structure


def _format(path: Path) -> str:
    name = path.name.lower().removesuffix(".gz")
    suffix = Path(name).suffix
    for key in (name, suffix, name.split(".")[0]):
        if key in FORMATS:
            return FORMATS[key]
    if name.startswith("data."):  # the custom of LAMMPS: data.chain
        return "lammps"
    help = (
        suggest(suffix, FORMATS)
        or f"mdsl reads files that end with {', '.join(k for k in FORMATS if k[0] == '.')}, and POSCAR"
    )
    raise rejected("unknown-format", f"the name {path.name} does not tell the format of the file", help=help)


def text_of(path: Path) -> str:
    """The text of a file, which may be gzipped. Raises ``missing-file``, ``unreadable-file``, ``malformed-file``."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        folder = path.parent
        others = [p.name for p in folder.iterdir()] if folder.is_dir() else []
        help = suggest(path.name, others) or (None if folder.is_dir() else f"there is no folder {folder}")
        raise rejected("missing-file", f"there is no file {path}", help=help) from None
    except IsADirectoryError:
        raise rejected("unreadable-file", f"{path} is a folder") from None
    except OSError as error:
        raise rejected("unreadable-file", f"cannot read {path}: {error.strerror or error}") from None
    try:
        if content[:2] == b"\x1f\x8b":
            content = gzip.decompress(content)
        text = content.decode()
    except (OSError, EOFError, zlib.error) as error:
        raise rejected("malformed-file", f"{path.name}: the compressed data are damaged ({error})") from None
    except UnicodeDecodeError:
        raise rejected("malformed-file", f"{path.name} is not a text file") from None
    return text.replace("\r\n", "\n")


def _read_ase(text: str, path: Path, kind: str, frame: int) -> Structure:
    """The structure in a file of a format that ASE reads."""
    import io

    import ase.io
    from ase.io.extxyz import key_val_str_to_dict

    def comment(line: str) -> dict:
        # ASE wants chemical elements for `species`; labels may be anything, so they go by another name.
        info = key_val_str_to_dict(line)
        info["Properties"] = info.get("Properties", "species:S:1:pos:R:3").replace("species:S:1", "label:S:1")
        return info

    told: tuple[str, ...] = ()
    if kind == "proteindatabank":
        text, told = with_elements(text, path.name)
    options = {"properties_parser": comment} if kind == "extxyz" else {}
    stream: io.IOBase = io.BytesIO(text.encode()) if kind == "cif" else io.StringIO(text)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            atoms = ase.io.read(stream, index=frame, format=kind, **options)
    except Exception as error:  # each of ASE's readers fails in its own ways, down to IndexError
        raise rejected(
            "malformed-file",
            f"{path.name} cannot be read as {_title(kind)}",
            notes=(f"the reader says: {type(error).__name__}: {error}",) + _place(text, kind),
        ) from error
    if len(atoms) == 0:
        raise rejected("no-atoms", f"{path.name} holds no atoms")
    _refuse_alternatives(atoms, path)

    cell, rotation, notes = standard(np.array(atoms.cell), path.name)
    # Formats that give lengths and angles leave entries behind that are zero but for rounding.
    cell = np.where(np.abs(cell) < 1e-9 * np.abs(cell).max(initial=0.0), 0.0, cell)
    if kind == "proteindatabank" and np.allclose(cell, np.eye(3)):
        cell = np.zeros((3, 3))  # `CRYST1 1 1 1` is the custom for structures that have no crystal
    known = np.diag(cell) > 0
    velocities = _velocities(atoms, TIMES_IN_FEMTOSECOND)
    reduced = atoms.info.get("units") == "reduced"
    labels = atoms.arrays.get("label", atoms.symbols if kind != "extxyz" or atoms.numbers.any() else None)
    return Structure(
        positions=turned(np.array(atoms.positions) - np.reshape(atoms.info.get("Origin", np.zeros(3)), 3), rotation),
        cell=np.where(known[:, None], cell, np.diag(np.full(3, np.inf))) if not known.all() else cell,
        periodic=tuple(bool(p) for p in atoms.pbc & known),
        species=None if labels is None else tuple(str(s) for s in labels),
        masses=np.array(atoms.arrays["masses"]) if atoms.has("masses") else None,
        velocities=None if velocities is None else turned(velocities, rotation),
        charges=np.array(atoms.arrays["initial_charges"]) if atoms.has("initial_charges") else None,
        data=columns_of(atoms, {} if atoms.calc is None else atoms.calc.results),
        length_unit=None if reduced else "angstrom",
        unit_style="lj" if reduced else None,
        fixed=fixed_of(atoms)[0],
        source=path.name,
        unread=_unread(atoms, kind, text),
        notes=(*notes, *told),
    )


# What the comment of an extxyz file says of the whole, and what ASE makes of it: nothing that a run could use.
_OF_THE_WHOLE = {"units", "Origin", "occupancy", "spacegroup", "unit_cell", "step", "time", "Time", "Step"}


def _unread(atoms: object, kind: str, text: str) -> tuple[str, ...]:
    """What the file holds of the atoms that is nowhere in a `Structure`."""
    results = {} if atoms.calc is None else atoms.calc.results
    shape = (len(atoms),)
    columns = [
        name
        for name, v in {**results, **atoms.arrays}.items()
        if np.shape(v)[:1] == shape
        and (name in ("forces", "tags", "momenta") or name not in KNOWN_COLUMNS)
        and not (np.shape(v) == shape and np.asarray(v).dtype.kind in "fi" and name not in KNOWN_COLUMNS)
    ]
    if "momenta" in columns and _velocities(atoms, 1.0) is not None:
        columns.remove("momenta")
    found = [f"the columns {', '.join(columns)}"] if columns else []
    if kind == "extxyz" and (keys := [k for k in atoms.info if k not in _OF_THE_WHOLE]):
        found.append(f"{', '.join(keys)} of the comment")
    if kind == "proteindatabank" and (bonds := sum(line.startswith("CONECT") for line in text.split("\n"))):
        found.append(f"{bonds} records CONECT")
    return tuple(found)


def _velocities(atoms: object, fs: float) -> np.ndarray | None:
    """[N, 3] in angstrom/fs (or as they stand in a file in reduced units)."""
    for name in ("velo", "vel", "velocities"):
        if name in atoms.arrays:
            return np.array(atoms.arrays[name], dtype=np.float64)
    labels = atoms.arrays.get("label")
    if not atoms.has("momenta"):
        return None
    if labels is not None and not atoms.has("masses"):
        # The momenta that ASE writes mean the masses of the elements; of other labels the mass is not known.
        from ase.data import atomic_numbers

        if not set(labels) <= set(atomic_numbers):
            return None
        atoms.numbers = [atomic_numbers[label] for label in labels]
    return atoms.get_velocities() * fs


def _refuse_alternatives(atoms: object, path: Path) -> None:
    shares = [occupancy for site in atoms.info.get("occupancy", {}).values() for occupancy in site.values()]
    shares += list(atoms.arrays.get("occupancy", ()))
    if any(0 < float(share or 0) < 0.9999 for share in shares):
        raise rejected(
            "partial-occupancy",
            f"{path.name} holds sites that are only partly occupied, so it is no single arrangement of atoms",
            help="choose one of the alternatives with the program that made the file",
        )


def _title(kind: str) -> str:
    return {"extxyz": "extended XYZ", "proteindatabank": "PDB", "cif": "CIF", "vasp": "POSCAR"}[kind]


def _place(text: str, kind: str) -> tuple[str, ...]:
    """Where an XYZ file first breaks its own rules, as ASE's reader does not tell the line."""
    if kind != "extxyz":
        return ()
    lines = text.rstrip().split("\n")
    k = 0
    while k < len(lines) and lines[k].strip():
        if not lines[k].strip().isdigit():
            return (f"line {k + 1} should be a number of atoms: `{lines[k][:60]}`",)
        count = int(lines[k])
        rows = [line.split() for line in lines[k + 2 : k + 2 + count]]
        width = max((len(row) for row in rows), default=0)
        for j, row in enumerate(rows):
            if len(row) < width:
                return (f"line {k + 3 + j} has {len(row)} columns, others have {width}",)
        if len(rows) < count:
            return (f"line {k + 1} announces {count} atoms, and the file ends after {len(rows)}",)
        if bad := [(j, word) for j, row in enumerate(rows) for word in row[1:4] if not _is_number(word)]:
            return (f"line {k + 3 + bad[0][0]}: `{bad[0][1]}` is not a number",)
        k += 2 + count
    return ()


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True
