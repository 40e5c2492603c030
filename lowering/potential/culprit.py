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
from mdsl.lowering.planning.on_host import nearest
from mdsl.lowering.traversals.domains import over
from mdsl.model.curves import STOP
from mdsl.model.dimensions import ENERGY, LENGTH
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
    for term in _candidates(field):
        atoms = over(term).suspects(term.domain, initial, x)
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
    """What can be told of a few atoms alone: sums of energies that read no per-atom values."""
    sums = (*field.terms, *(v for v in field.values if v.domain is not None and v.adjoint is not None))
    names = {v.name for v in field.values} | {*field.inner}
    return [s for s in sums if over(s).suspects is not None and names.isdisjoint(names_in(s.summand))]
