"""What is exported: a program, its atoms, and its parameters as numbers; and its energies as sums of *laws*.

A law is the energy of one tuple of atoms as a SymPy expression in internal units. What it is a function of are symbols:
distances, angles and coordinates of the tuple (`Geometry`), and what is read of its atoms (`Read`s: entries of tables
of species, data, masses, species, values of atoms), which differ from tuple to tuple.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import sympy

from mdsl.grammar.diagnostics import Diagnostic, Rejected
from mdsl.interpret import meaning as interpret
from mdsl.lowering.field.field import Field, PerAtom, Term
from mdsl.lowering.field.names import SumOf
from mdsl.lowering.field.tuple_form import oriented
from mdsl.model.dimensions import ENERGY, LENGTH, MASS, Dimension
from mdsl.model.domains import Domain
from mdsl.model.faults import fault
from mdsl.model.nodes import SCALAR, Expr, Label, Model, Number, Op, Read, transform, walk
from mdsl.model.units import UnitValue
from mdsl.start.initial import Initial
from mdsl.symbolic.bridge import Leaves, to_sympy

REAL = {"real": True}


@dataclass(frozen=True, order=True)
class Geometry:
    """``kind``: distance, cosine, angle, dihedral, or coordinate; ``places``: of its atoms in the tuple, the corner of
    an angle and of a cosine in the middle; of a coordinate its atom and the number of its axis."""

    kind: str
    places: tuple[int, ...]

    @property
    def symbol(self) -> sympy.Symbol:
        letter = {"distance": "r", "cosine": "c", "angle": "theta", "dihedral": "phi", "coordinate": "x"}[self.kind]
        name = letter + "".join(map(str, self.places))
        return sympy.Symbol(name, positive=True) if self.kind == "distance" else sympy.Symbol(name, **REAL)


@dataclass(frozen=True, eq=False)
class Law:
    """The energy of one tuple: ``expr`` over the symbols of ``geometry`` and ``reads``; ``term`` is where it stands."""

    term: Term | PerAtom
    expr: sympy.Expr
    geometry: Mapping[sympy.Symbol, Geometry]
    reads: Mapping[sympy.Symbol, Read]

    @property
    def binders(self) -> tuple[str, ...]:
        return self.term.binders

    @property
    def domain(self) -> Domain | None:
        return self.term.domain

    @property
    def formula(self) -> Expr:
        """The formula as it is written in the program, for diagnostics."""
        return self.term.written or self.term.summand if isinstance(self.term, Term) else self.term.summand


@dataclass(frozen=True, eq=False)
class Subject:
    """``params``: all that are free, in internal units; ``folder``: where the files of the program lie; ``meant``: the
    program as it is interpreted, where that of the Field is written out over numbers of ranges."""

    field: Field
    initial: Initial
    params: Mapping[str, object]
    folder: Path
    engine: str = ""
    meant: Model | None = None

    @property
    def model(self) -> Model:
        return self.field.model

    @cached_property
    def values(self) -> dict[str, np.ndarray]:
        """Every parameter that has a value before there are atoms, and the data of the atoms."""
        given = {**self.params, **self.initial.data}
        return {name: np.asarray(v, float) for name, v in interpret.defaults(self.model, given).items()}

    def si(self, dimension: Dimension) -> float:
        """What 1 of an internal unit is, in SI units; 1 in reduced units."""
        return 1 / self.model.units.to_internal(1.0, UnitValue(1.0, dimension))

    def refuse(
        self, message: str, expr: Expr | None = None, help: str | None = None, id: str = "cannot-export"
    ) -> Rejected:
        """The diagnostic of what the engine cannot be told, at its place in the program."""
        if expr is None:
            return Rejected(Diagnostic(id, message, help=help))
        return Rejected(fault(self.model.source, id, message, expr, help=help))

    # -- laws --------------------------------------------------------------------------------------------

    @cached_property
    def weights(self) -> dict[SumOf, sympy.Expr]:
        """The factor of each sum in the potential. Raises Rejected: ``cannot-export`` where it is no sum of sums."""
        leaves, memo = Leaves(), {}
        energies = [c for c in self.field.combinations if c.kind == "energy"]
        sums = {t.name for t in self.field.terms} | {m.name for m in self.field.measures}
        found: dict[SumOf, sympy.Expr] = {}
        for energy in energies:
            value = to_sympy(transform(energy.expr, self.known), leaves, memo)
            own = [s for s, e in leaves.exprs.items() if isinstance(e, Read) and e.symbol in sums]
            of = self.model.equation(energy.name)
            zero = dict.fromkeys(own, sympy.Integer(0))
            for symbol in own:
                if symbol not in value.free_symbols:
                    continue
                factor = sympy.diff(value, symbol)
                if factor.free_symbols:
                    raise self.refuse(
                        f"the energy `{energy.name}` is not a sum of sums with factors that are numbers: "
                        f"{self.engine} adds energies up, and has no functions of their totals",
                        of.body,
                    )
                name = leaves.exprs[symbol].symbol
                found[name] = found.get(name, 0) + factor
            left = value.xreplace(zero)
            if left != 0:
                raise self.refuse(
                    f"the energy `{energy.name}` has a part that is no sum over atoms, {left}: {self.engine} adds up "
                    "energies of atoms",
                    of.body,
                )
        return found

    def known(self, expr: Expr) -> Expr:
        """A rewrite, bottom-up: what is the same number for all tuples as that number."""
        if not isinstance(expr, Read) or isinstance(expr.symbol, SumOf):
            return expr
        value = self.number(expr)
        return expr if value is None else Number(value, type=SCALAR, span=expr.span, via=expr.via)

    def number(self, read: Read) -> float | None:
        param = self.model.param(read.symbol)
        if param is None:
            fixed = {
                "dim": self.model.dim,
                "N": self.initial.atoms,
                "degrees_of_freedom": self.initial.dof,
                "pi": None,
            }
            return None if read.indices else fixed.get(read.symbol)
        if param.learned is not None or param.table is not None or param.per_atom:
            return None
        value = self.values.get(read.symbol)
        if value is None or value.ndim and not all(isinstance(i, int) for i in read.indices):
            if value is None or param.axes and param.axes[0].kind == "species":
                return None
        if value.ndim == 0:
            return float(value)
        if len(read.indices) == value.ndim and all(isinstance(i, int) for i in read.indices):
            axes = (axis.first if axis.kind == "range" else 0 for axis in param.axes)
            return float(value[tuple(i - first for i, first in zip(read.indices, axes))])
        return None

    def laws(self) -> list[Law]:
        """The laws of all sums of the potential, each with its factor. Raises Rejected: ``cannot-export``."""
        found = []
        beside = {m.name for m in self.field.measures} & self.weights.keys()
        for measure in self.field.measures:
            if measure.name in beside:
                raise self.refuse("this sum has a value and no derivative", measure.summand)
        for term in self.field.terms:
            if term.name in self.weights:
                found.append(self.law(term, self.weights[term.name]))
        return found

    def law(self, term: Term | PerAtom, weight: sympy.Expr = sympy.Integer(1)) -> Law:
        """The law of one sum, or of what is added up around an atom. Raises Rejected: ``cannot-export``."""
        if term.axis is not None:
            raise self.refuse(
                f"{self.engine} is not told sums over the numbers of a range: write each out", term.summand
            )
        body = term.summand if isinstance(term, PerAtom) else term.written
        body = transform(transform(body, oriented(term.binders, self.model.dim)), self.known)
        leaves = Leaves()
        value = to_sympy(body, leaves)
        geometry: dict[sympy.Symbol, Geometry] = {}
        reads: dict[sympy.Symbol, Read] = {}
        changed: dict[sympy.Symbol, sympy.Expr] = {}
        place = {name: k for k, name in enumerate(term.binders)}

        def symbol(kind: str, *places: int) -> sympy.Symbol:
            own = Geometry(kind, places)
            geometry[own.symbol] = own
            return own.symbol

        for s, leaf in leaves.exprs.items():
            if s not in value.free_symbols:
                continue
            match leaf:
                case Read(indices=indices) if indices and all(isinstance(i, str) and i in place for i in indices):
                    reads[s] = leaf
                case Label(species=species):
                    changed[s] = sympy.Integer(self.model.species.index(species))
                case _:
                    written = self.geometric(leaf, place, symbol)
                    if written is None:
                        raise self.refuse(self.unsaid(leaf), self.nearest(leaf, body))
                    changed[s] = written
        expr = (value.xreplace(changed) if changed else value) * weight
        kept = {s: g for s, g in geometry.items() if s in expr.free_symbols}
        return Law(term, expr, kept, reads)

    def unsaid(self, leaf: Expr) -> str:
        match leaf:
            case Read(symbol="volume" | "t" | "t_start" as name):
                return f"this energy depends on `{name}`: {self.engine} is told energies of atoms alone"
            case Read(symbol=str() as name) if (p := self.model.param(name)) is not None and p.learned is not None:
                return f"`{name}` is a learned function, which {self.engine} does not have"
            case Read(symbol=str() as name):
                return f"`{name}` is no number that is known before the run"
        return f"{self.engine} is not told this function of positions"

    def nearest(self, leaf: Expr, body: Expr) -> Expr:
        """The leaf, or what of the formula is written in the program."""
        return leaf if leaf.span is not None or leaf.via else next((n for n in walk(body) if n.span is not None), body)

    def geometric(self, leaf: Expr, place: Mapping[str, int], symbol) -> sympy.Expr | None:
        """A leaf that is made of positions, as a function of symbols; None where that is not known."""

        def at(point: Expr) -> int | None:
            if isinstance(point, Read) and point.symbol == "x" and point.indices and point.indices[0] in place:
                return place[point.indices[0]]
            return None

        match leaf:
            case Op(op="angle" | "dihedral" as kind, args=points):
                places = [at(p) for p in points]
                return None if None in places else symbol(kind, *places)
            case Op(op="dot", args=(Op(op="displacement", args=(a, b)), Op(op="displacement", args=(c, d)))):
                if leaf.args[0] == leaf.args[1]:
                    if at(a) is not None and isinstance(b, Read) and b.symbol == "origin":
                        return sympy.Add(*(symbol("coordinate", at(a), k) ** 2 for k in range(self.model.dim)))
                    return None if None in (at(a), at(b)) else symbol("distance", *sorted((at(a), at(b)))) ** 2
                if None in map(at, (a, b, c, d)):
                    return None
                return self._product(at(a), at(b), at(c), at(d), symbol)
            case Op(op="component_x" | "component_y" | "component_z" as name, args=(Op(op="displacement") as d,)):
                a, b = d.args
                if at(a) is not None and isinstance(b, Read) and b.symbol == "origin":
                    return symbol("coordinate", at(a), "xyz".index(name[-1]))
        return None

    def _product(self, a: int, b: int, c: int, d: int, symbol) -> sympy.Expr:
        """(a - b)·(c - d) of the atoms at these places."""

        def distance(p: int, q: int) -> sympy.Symbol:
            return symbol("distance", *sorted((p, q)))

        shared = {a, b} & {c, d}
        if len(shared) == 1:
            (corner,) = shared
            p, q = ({a, b} - shared).pop(), ({c, d} - shared).pop()
            sign = (1 if b == corner else -1) * (1 if d == corner else -1)
            return sign * distance(a, b) * distance(c, d) * symbol("cosine", min(p, q), corner, max(p, q))
        half = sympy.Rational(1, 2)
        return half * (distance(a, d) ** 2 + distance(b, c) ** 2 - distance(a, c) ** 2 - distance(b, d) ** 2)

    # -- numbers of single atoms ---------------------------------------------------------------------------

    def of_atoms(self, read: Read) -> bool:
        """Whether it belongs to an atom itself, and not to its species."""
        return (
            read.symbol != "species"
            and self.model.of_atoms(read.symbol)
            and not (read.symbol == "m" and self.model.param("m") is not None)
        )

    def by_species(self, read: Read) -> np.ndarray:
        """[S] or [S, S]: what is read, for each species of its atoms."""
        count = max(1, len(self.model.species))
        if read.symbol == "species":
            return np.arange(count, dtype=float)
        param = self.model.param(read.symbol)
        if param is None or param.table is not None:
            raise self.refuse(f"`{read.symbol}` is not known before the run", read)
        return np.broadcast_to(self.values[read.symbol], (count,) * len(read.indices))

    def of_atom(self, read: Read) -> np.ndarray:
        """[N]: a number of each atom itself. Raises Rejected: ``cannot-export``."""
        if read.symbol == "m":
            return self.initial.masses
        param = self.model.param(read.symbol)
        if param is None or not param.per_atom or len(read.indices) != 1:
            raise self.refuse(f"`{read.symbol}` is not known before the run", read)
        return np.asarray(self.initial.data[read.symbol], float)

    def of_atom_by_name(self, name: str) -> np.ndarray:
        """[N]: a datum, or the masses."""
        return self.initial.masses if name == "m" else np.asarray(self.initial.data[name], float)

    def numbers(self, read: Read, binders: tuple[str, ...], members: np.ndarray) -> np.ndarray:
        """[M]: what is read, for the tuples of atoms ``members`` [M, k]."""
        atoms = [members[:, binders.index(i)] for i in read.indices]
        if self.of_atoms(read):
            return self.of_atom(read)[atoms[0]]
        return self.by_species(read)[tuple(self.initial.species[a] for a in atoms)]


@dataclass(frozen=True)
class Scale:
    """What 1 of an internal unit is in the units of an engine."""

    length: float
    energy: float
    mass: float

    @property
    def time(self) -> float:
        """In the unit that is coherent with the others."""
        return self.length * (self.mass / self.energy) ** 0.5

    def law(self, law: Law) -> sympy.Expr:
        """The energy in the engine's unit as a function of lengths in the engine's."""
        lengths = [s for s, g in law.geometry.items() if g.kind in ("distance", "coordinate")]
        shrunk = {s: s / sympy.Float(self.length, 17) for s in lengths} if self.length != 1 else {}
        expr = law.expr.xreplace(shrunk) if shrunk else law.expr
        return expr if self.energy == 1 else sympy.Float(self.energy, 17) * expr


def scale(subject: Subject, length: float, energy: float, mass: float) -> Scale:
    """From the SI sizes of an engine's units; those of a program in reduced units are 1 of each."""
    if subject.model.units.reduced:
        return Scale(1.0, 1.0, 1.0)

    def ratio(dimension: Dimension, size: float) -> float:
        found = subject.si(dimension) / size
        return 1.0 if abs(found - 1) < 1e-14 else found

    return Scale(ratio(LENGTH, length), ratio(ENERGY, energy), ratio(MASS, mass))
