"""Finding who is to blame: the pair or atom with the strongest interaction, in plain NumPy."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from mdsl.grammar.diagnostics import Diagnostic, Label
from mdsl.grammar.source import Span
from mdsl.interpret.atoms import System
from mdsl.interpret.expressions import Interpreter
from mdsl.interpret.rows import Rows
from mdsl.lowering.field.field import Field, PerAtom, Term
from mdsl.lowering.field.series import at_entry
from mdsl.lowering.planning.on_host import nearest, widths, with_images
from mdsl.lowering.traversals.topologies import Topologies
from mdsl.model.curves import STOP
from mdsl.model.dimensions import ENERGY, LENGTH
from mdsl.model.domains import Members, Triples
from mdsl.model.faults import place
from mdsl.model.nodes import Model, Table, Tabulated, names_in, walk
from mdsl.start.initial import Initial


@dataclass(frozen=True)
class Culprit:
    """A term of the energy and the atoms for which it is largest. ``distance`` is None for a single atom."""

    model: Model
    term: Term | PerAtom
    atoms: tuple[int, ...]
    distance: float | None
    energy: float

    @property
    def finite(self) -> bool:
        return bool(np.isfinite(self.energy))

    def diagnostic(self, id: str, message: str, help: str | None = None, statement: Span | None = None) -> Diagnostic:
        units = self.model.units
        equation = self.model.equation(self.term.equation)
        length = (
            f"{self.distance * units.shown_per_internal(LENGTH):.6g} {units.display(LENGTH).text}".strip()
            if self.distance is not None
            else ""
        )
        energy = (
            f"the energy {self.energy * units.shown_per_internal(ENERGY):.6g} {units.display(ENERGY).text}".strip()
            if self.finite
            else "no finite energy"
        )
        who = (
            " and ".join((", ".join(str(a) for a in self.atoms[:-1]), str(self.atoms[-1])))
            if len(self.atoms) > 1
            else str(self.atoms[0])
        )
        apart = f", {length} apart," if length else ""
        noun = "atoms" if len(self.atoms) > 1 else "atom"
        return Diagnostic(
            id,
            message,
            place(self.model.source, equation.body),
            f"{noun} {who}{apart} {'have' if len(self.atoms) > 1 else 'has'} {energy} here",
            secondary=(Label(statement, "during this statement"),) if statement is not None else (),
            notes=(f"`{equation.name}` is strongest for {noun} {who} (counted from 0){apart.rstrip(',')}",),
            help=help,
        )


@dataclass(frozen=True)
class Edge:
    """A table without values outside of its knots, and the atoms for which a term asks it nearest to its ends, or
    beyond them: at ``value``, in internal units, as are its knots from ``first`` to ``last``."""

    model: Model
    table: str
    term: Term | PerAtom
    atoms: tuple[int, ...]
    value: float

    @property
    def margin(self) -> float:
        """How far the value is inside, in parts of the table; below 0 outside."""
        curves = self.model.param(self.table).table.curves
        return min(self.value - curves.first, curves.last - self.value) / (curves.last - curves.first)

    @property
    def words(self) -> tuple[str, str]:
        """What the table was asked for and by which atoms, and where its knots are."""
        table = self.model.param(self.table).table
        who = f"{'atom' if len(self.atoms) == 1 else 'atoms'} {', '.join(map(str, self.atoms))} (counted from 0)"
        return f"`{self.table}` for {_argument(self.model, table, self.value)}, at {who}", _knots(self.model, table)

    @property
    def place(self) -> Span | None:
        return place(self.model.source, self.model.equation(self.term.equation).body)


def _argument(model: Model, table: Table, value: float) -> str:
    """An argument of a table, in the units of the program."""
    dimension = model.units.dimension(table.argument)
    return f"{value * model.units.shown_per_internal(dimension):.6g} {model.units.display(dimension).text}".strip()


def _knots(model: Model, table: Table) -> str:
    first, last = (_argument(model, table, value) for value in (table.curves.first, table.curves.last))
    return f"the knots of {table.call[1]} go from {first} to {last}"


def ends_out_of_sight(field: Field) -> Iterator[str]:
    """What is to be said of tables without values outside of their knots that `edge` cannot look at: of the time, of a
    density, in a flow."""
    seen = {n.table for term in _candidates(field) for n in walk(term.summand) if isinstance(n, Tabulated)}
    for param in field.model.params:
        if param.table is not None and param.table.curves.beyond == STOP and param.name not in seen:
            yield f"`{param.name}` has no values outside of its table: {_knots(field.model, param.table)}"


def edge(field: Field, initial: Initial, params: Mapping[str, object], x: np.ndarray) -> Edge | None:
    """Where at positions ``x`` [N, d] a table that has no values outside of its knots is nearest to its ends, or
    beyond."""
    interpreter, found = _interpreter(field, initial, params, x), []
    for term, atoms, rows in _rows(field, initial, x):
        for node in {n for n in walk(term.summand) if isinstance(n, Tabulated) and n.curves.beyond == STOP}:
            with np.errstate(all="ignore"):
                values = np.broadcast_to(np.asarray(interpreter.value(node.at, rows), float), (rows.size,))
            curves = node.curves
            k = int(np.argmin(np.minimum(values - curves.first, curves.last - values)))
            who = tuple(int(a[k]) for a in atoms)
            found.append(Edge(field.model, node.table, term, who, float(values[k])))
    return min(found, key=lambda e: e.margin, default=None)


def _interpreter(field: Field, initial: Initial, params: Mapping[str, object], x: np.ndarray) -> Interpreter:
    system = System(
        x,
        cell=initial.cell,
        periodic=initial.periodic,
        species=initial.species,
        masses=initial.masses,
        params={name: np.asarray(v, float) for name, v in params.items()},
        topologies=initial.topologies,
    )
    return Interpreter(field.model, system)


def _rows(
    field: Field, initial: Initial, x: np.ndarray
) -> Iterator[tuple[Term | PerAtom, tuple[np.ndarray, ...], Rows]]:
    """Each sum in which someone could be to blame, with the atoms that could be, as arrays and as rows."""
    topologies = Topologies(initial.topologies, len(x))
    for term in _candidates(field):
        if term.domain.reaches:
            atoms = _close_pairs(x, initial, topologies, frozenset(term.domain.excluded))
        else:
            atoms = (
                tuple(initial.topologies[term.domain.topology].T)
                if isinstance(term.domain, Members)
                else (np.arange(len(x)),)
            )
        if len(atoms[0]):
            yield term, atoms, Rows(len(atoms[0]), dict(zip(term.binders, atoms)))


def culprit(field: Field, initial: Initial, params: Mapping[str, object], x: np.ndarray) -> Culprit | None:
    """The strongest interaction at positions ``x`` [N, d]; one that is not finite comes before all others."""
    model, interpreter = field.model, _interpreter(field, initial, params, x)
    best: Culprit | None = None
    for term, atoms, rows in _rows(field, initial, x):
        with np.errstate(all="ignore"):
            each = [
                np.broadcast_to(np.asarray(interpreter.value(e, rows), float), (rows.size,))
                for e in at_entry(term.summand, term.axis)
            ]
        strengths = np.array([np.where(np.isfinite(energies), np.abs(energies), np.inf) for energies in each])
        entry = int(np.argmax(strengths.max(axis=1)))
        energies, strength = each[entry], strengths[entry]
        k = int(np.argmax(strength))
        if isinstance(term, PerAtom) and np.isfinite(strength[k]):  # it is no energy
            continue
        if best is None or strength[k] > (abs(best.energy) if best.finite else np.inf):
            who = tuple(int(a[k]) for a in atoms)
            distance = None
            if len(who) == 2:
                distance = float(np.linalg.norm(nearest(x[who[0]] - x[who[1]], initial.cell, initial.periodic)))
            best = Culprit(model, term, who, distance, float(energies[k]))
    return best


def _candidates(field: Field) -> list[Term | PerAtom]:
    """What can be told of a few atoms alone: sums of energies that read no per-atom values, and go over no triples."""
    sums = (
        *(t for t in field.terms if not isinstance(t.domain, Triples)),
        *(v for v in field.values if v.pairs and v.adjoint is not None),
    )
    names = {v.name for v in field.values} | {*field.inner}
    return [s for s in sums if names.isdisjoint(names_in(s.summand))]


def _close_pairs(
    x: np.ndarray, initial: Initial, topologies: Topologies, excluded: frozenset[str]
) -> tuple[np.ndarray, np.ndarray]:
    """Pairs among which the strongest interaction is: the nearest neighbour of each atom, and all pairs of few
    atoms."""
    from scipy.spatial import cKDTree

    if len(x) < 2:
        return np.empty(0, int), np.empty(0, int)
    partners = topologies.partners(excluded) if excluded else np.empty((0, len(x)), int)
    if len(x) <= 200:
        first, other = np.triu_indices(len(x), 1)
        kept = (partners[:, first] != other).all(axis=0)
        return first[kept], other[kept]
    if not np.isfinite(x).all():
        return np.empty(0, int), np.empty(0, int)
    # Images within a third of the box of it, in case the nearest neighbour of an atom is one of them.
    points, owner = with_images(x, initial.cell, initial.periodic, float(np.min(widths(initial.cell))) / 3)
    _, near = cKDTree(points).query(points[: len(x)], k=min(2 + len(partners), len(x)))
    first = np.repeat(np.arange(len(x)), near.shape[1])
    other = owner[near.ravel()]
    kept = (first != other) & (partners[:, first] != other).all(axis=0)
    first, other = first[kept], other[kept]
    return np.minimum(first, other), np.maximum(first, other)
