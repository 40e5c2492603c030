"""`data` of a program: numbers that come with the atoms, checked and brought to internal units."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from mdsl.files.structure import Structure
from mdsl.grammar.diagnostics import Diagnostic, Rejected, suggest
from mdsl.model.dimensions import CHARGE
from mdsl.model.nodes import Model, Param
from mdsl.model.units import ELEMENTARY_CHARGE, UnitValue

ELEMENTARY = UnitValue(ELEMENTARY_CHARGE, CHARGE)


def check_data_names(model: Model, data: Mapping[str, object] | None) -> Mapping[str, object]:
    """Data that a user gives must be those of the program."""
    names = [p.name for p in model.data]
    for name in data or ():
        if name not in names:
            param = model.param(name)
            help = (
                f'`{name}` is a parameter: `params={{"{name}": ...}}`'
                if param is not None and param.lifetime == "param"
                else suggest(name, names)
            )
            raise Rejected(
                Diagnostic(
                    "unknown-name",
                    f"the program declares no data `{name}`",
                    help=help or "the program declares " + (", ".join(names) or "none"),
                )
            )
    return data or {}


def internal_data(model: Model, given: Mapping[str, object], atoms: int) -> dict[str, np.ndarray]:
    """The data of a program in internal units, from numbers in the units in which they are declared. What is given
    beyond them (further columns of a file) does not matter. Raises Rejected: ``missing-data``, ``wrong-shape``,
    ``not-finite``."""
    return {p.name: _values(model, p, given, atoms) * p.data.size for p in model.params if p.data is not None}


def _values(model: Model, param: Param, given: Mapping[str, object], atoms: int) -> np.ndarray:
    name = param.name
    if name not in given:
        known = ", ".join(given)
        notes = (f"the atoms come with {known}",) if known else ()
        column = f", or a column `{name}` of an extxyz file" if param.per_atom else ""
        raise Rejected(
            Diagnostic(
                "missing-data",
                f"the program declares the data `{name}`, which the atoms do not have",
                param.span,
                notes=notes,
                help=f'`program.bind(..., data={{"{name}": ...}})` in Python{column}',
            )
        )
    try:
        values = np.asarray(given[name], float)
    except (TypeError, ValueError):
        raise Rejected(Diagnostic("wrong-type", f"the data `{name}` are no numbers", param.span)) from None
    shape = shape_of(model, param, atoms)
    if values.shape != shape:
        axes = (
            " × ".join({"atoms": "the number of atoms", "species": "the number of species"}[a.kind] for a in param.axes)
            or "one number"
        )
        raise Rejected(
            Diagnostic(
                "wrong-shape",
                f"the data `{name}` have the shape {values.shape}, not {shape}",
                param.span,
                notes=(f"that is {axes}",),
            )
        )
    if not np.isfinite(values).all():
        place = f" of atom {int(np.argmin(np.isfinite(values)))}, counted from 0," if param.per_atom else ""
        raise Rejected(
            Diagnostic("not-finite", f"the data `{name}`{place} hold a number that is not finite", param.span)
        )
    return symmetric(param, values)


def symmetric(param: Param, values):
    """Values given for a parameter or for data; of pairs of species an array that is the same with the two exchanged.
    Raises Rejected: ``bad-table``."""
    if not over_pairs(param):
        return values
    if not np.allclose(
        values, np.asarray(values).T, rtol=1e-6 if getattr(values, "dtype", None) == np.float32 else 1e-12
    ):
        what = "the data" if param.data is not None else "the values of"
        raise Rejected(
            Diagnostic(
                "bad-table",
                f"{what} `{param.name}` differ for a pair of species and the pair exchanged",
                param.span,
                help="an array over pairs of species is symmetric",
            )
        )
    return values


def over_pairs(param: Param) -> bool:
    """Whether a parameter has a value for each pair of species."""
    return [a.kind for a in param.axes] == ["species", "species"]


def charges(model: Model, structure: Structure) -> dict[str, np.ndarray]:
    """The charges of a file as the data `q`, in the unit of its declaration."""
    param = model.param("q")
    if structure.charges is None or param is None or param.data is None:
        return {}
    if model.units.reduced or param.type.dimension != CHARGE:
        return {"q": structure.charges}
    unit = ELEMENTARY if structure.length_unit == "angstrom" else model.units.display(CHARGE).unit
    return {"q": structure.charges * (model.units.to_internal(1.0, unit) / param.data.size)}


FIXED = "fixed"  # the data that a file's marks of atoms that do not move stand for


def fixed_atoms(model: Model, structure: Structure) -> dict[str, np.ndarray]:
    """The atoms that a file marks as fixed, as data: 1 for these. Raises Rejected: ``not-yet`` where the program
    freezes by them, and an atom is fixed along some axes alone."""
    if structure.fixed is None:
        return {}
    whole = structure.fixed.all(axis=1)
    partly = np.flatnonzero(structure.fixed.any(axis=1) & ~whole)
    if FIXED in model.freezing and partly.size:
        axes = ", ".join("xyz"[k] for k in np.flatnonzero(structure.fixed[partly[0]]))
        raise Rejected(
            Diagnostic(
                "not-yet",
                f"the file fixes atom {partly[0]} (counted from 0) along {axes} alone, which is not implemented yet",
                help="fix it along all axes or none, or hold it by an energy",
            )
        )
    return {FIXED: whole.astype(float)}


def unused(model: Model, structure: Structure) -> tuple[str, ...]:
    """What is to be said of that which a file says and the program does not ask for."""
    declared = {p.name for p in model.data} | {"q" if model.param("q") else "charges"}
    topologies = {name for name, _ in model.topologies} | {item.of for item in model.derived}
    columns = [name for name in structure.data if name not in declared]
    if structure.charges is not None and "q" not in declared:
        columns.append("charges")
    if structure.masses is not None and model.param("m") is not None:
        columns.append("masses, since the program has its own")
    left = [
        *structure.unread,
        *([f"the data {', '.join(columns)}"] if columns else []),
        *(name for name in structure.topology if name not in topologies and len(structure.topology[name])),
    ]
    notes = [f"not used of {structure.source or 'the structure'}: {'; '.join(left)}"] if left else []
    if structure.fixed is not None and structure.fixed.any() and FIXED not in declared:
        marked = int(structure.fixed.any(axis=1).sum())
        notes.append(
            f"{structure.source} marks {marked} atom{'s' * (marked > 1)} as fixed, and they move: "
            f"`data {FIXED}[atoms]` and `frozen {FIXED}` keep them where they are"
        )
    return tuple(notes)


def shape_of(model: Model, param: Param, atoms: int) -> tuple[int, ...]:
    return tuple(atoms if a.kind == "atoms" else max(1, len(model.species)) for a in param.axes)


def columns(model: Model, data: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The data of single atoms, [N] each, in the units in which they are declared: for files."""
    declared = {p.name: p.data for p in model.params if p.data is not None and p.per_atom}
    return {name: np.asarray(data[name]) / its.size for name, its in declared.items()}
