"""Topologies as the file of the atoms gives them."""

from __future__ import annotations

import numpy as np

from mdsl.files.structure import Structure
from mdsl.grammar.diagnostics import Diagnostic, Rejected
from mdsl.interpret.topologies import complete, in_row
from mdsl.model.nodes import Derived, Model


def types_alike(model: Model, structure: Structure) -> tuple[str, ...]:
    """What is to be said of tuples of several types that a program does not tell apart."""
    told = {item.of for item in model.derived if item.label}
    found = (
        (name, sorted(set(structure.topology_types.get(name, ())))) for name, _ in model.topologies if name not in told
    )
    return tuple(
        f"the {name} of types {', '.join(types)} are treated alike: `of_type({name}, {types[0]})` are those of one"
        for name, types in found
        if len(types) > 1
    )


def read(model: Model, structure: Structure) -> dict[str, np.ndarray]:
    """All topologies of a program, name to [M, k]. Raises Rejected: ``missing-topology``, ``bad-topology``."""
    typed = {item.name: item for item in model.derived if item.label}
    derived = {item.name for item in model.derived if not item.label}
    found = {}
    for name, width in model.topologies:
        if name in typed and name not in structure.topology:
            found[name] = _of_type(typed[name], structure)
        elif name not in derived:
            found[name] = _members(name, width, structure)
    return complete(model, found, structure.atoms)


def _of_type(item: Derived, structure: Structure) -> np.ndarray:
    """[M, width]: the tuples of one type. Raises Rejected: ``missing-topology``, ``bad-topology``."""
    members, types = _members(item.of, item.width, structure), structure.topology_types.get(item.of)
    if types is None:
        help = f'`program.bind(x, topologies={{"{item.name}": ...}})` in Python, or a LAMMPS data file'
        raise Rejected(
            Diagnostic(
                "missing-topology",
                f"`{item.name}` is a type of `{item.of}`, but the atoms come without types of these",
                help=help,
            )
        )
    if item.label not in types:
        notes = (f"its types are {', '.join(sorted(set(types)))}",) if types else ()
        raise Rejected(
            Diagnostic(
                "bad-topology", f"no tuple of the topology `{item.of}` is of the type `{item.label}`", notes=notes
            )
        )
    return members[np.array([t == item.label for t in types])]


def _members(name: str, width: int, structure: Structure) -> np.ndarray:
    """[M, width]: the atoms of the tuples of a topology. Raises Rejected: ``missing-topology``, ``bad-topology``."""
    if name not in structure.topology:
        known = ", ".join(structure.topology)
        notes = (f"the atoms come with {known}",) if known else ("the atoms come without any topology",)
        help = (
            f'`program.bind(x, topologies={{"{name}": ...}})` in Python, or a LAMMPS data file with a section '
            f"{name.capitalize()}"
        )
        raise Rejected(
            Diagnostic(
                "missing-topology",
                f"the program declares the topology `{name}`, but the atoms have none",
                notes=notes,
                help=help,
            )
        )
    given = np.asarray(structure.topology[name])
    if given.size == 0:
        return np.zeros((0, width), np.int32)
    if given.ndim != 2 or given.shape[1] != width:
        raise Rejected(Diagnostic("wrong-shape", f"the topology `{name}` has the shape {given.shape}, not M × {width}"))
    if not np.issubdtype(given.dtype, np.integer):
        raise Rejected(
            Diagnostic(
                "bad-topology",
                f"the topology `{name}` holds numbers that are no atoms",
                notes=("atoms are whole numbers, counted from 0",),
            )
        )
    outside = (given < 0) | (given >= structure.atoms)
    if outside.any():
        row = int(np.argmax(outside.any(axis=1)))
        raise Rejected(
            Diagnostic(
                "bad-topology",
                f"the topology `{name}` names atom {given[row][outside[row]][0]}, but there are "
                f"{structure.atoms} atoms",
                notes=in_row(row),
            )
        )
    ordered = np.sort(given, axis=1)
    twice = (ordered[:, 1:] == ordered[:, :-1]).any(axis=1)
    if twice.any():
        row = int(np.argmax(twice))
        raise Rejected(
            Diagnostic(
                "bad-topology",
                f"the topology `{name}` holds an atom twice in one tuple: {tuple(map(int, given[row]))}",
                notes=in_row(row),
            )
        )
    return given.astype(np.int32)
