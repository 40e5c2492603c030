"""The sums of a program as OpenMM's custom forces."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import sympy

from mdsl.export.pairs import distance, farthest, only_distances
from mdsl.export.subject import Law, Scale, Subject
from mdsl.export.written import Lepton, Unwritable, number
from mdsl.model.nodes import Read
from mdsl.symbolic.tables import Lookup

POWERS = 4  # coefficients of a cubic


@dataclass(frozen=True, eq=False)
class Terms:
    """``periodic``: whether the box is, on any axis; ``cutoff``: that of all pairs; ``notes``: for the user."""

    subject: Subject
    scale: Scale
    periodic: bool
    cutoff: float
    notes: list[str] = field(default_factory=list)

    def written(self, writer: Lepton, expr: sympy.Expr, law: Law) -> str:
        """An expression as text. Raises Rejected: ``cannot-export``."""
        try:
            return writer(expr)
        except Unwritable as error:
            raise self.subject.refuse(f"OpenMM's formulas do not have {error.what}", law.formula) from None

    # -- pairs -----------------------------------------------------------------------------------------------

    def method(self, force, law: Law, cutoff: float) -> None:
        """How pairs are found."""
        if not math.isfinite(cutoff):
            if self.periodic:
                raise self.subject.refuse(
                    "this function of pairs has no end, which OpenMM is told in a periodic box", law.term.summand
                )
            force.setNonbondedMethod(force.NoCutoff)
            return
        force.setNonbondedMethod(force.CutoffPeriodic if self.periodic else force.CutoffNonPeriodic)
        force.setCutoffDistance(cutoff)

    def pairs(self, law: Law):
        import openmm

        only_distances(self.subject, law)
        atoms = Atoms(self, law)
        symbols = {distance(law): "r", **atoms.symbols()}
        text = self.written(Lepton(symbols, atoms.tabulated), self.scale.law(law), law)
        force = openmm.CustomNonbondedForce(text)
        self.method(force, law, self.cutoff)
        atoms.declare(force)
        for row in atoms.rows():
            force.addParticle(row)
        for i, j in self.excluded(law):
            force.addExclusion(i, j)
        return force

    def excluded(self, law: Law) -> list[tuple[int, int]]:
        found = set()
        for name in law.domain.excluded:
            members = np.asarray(self.subject.initial.topologies[name], int)
            found |= {tuple(sorted(map(int, row[[0, -1]]))) for row in members}
        return sorted(found)

    def embedded(self, law: Law, density: Law, name: str):
        """An energy of each atom as a function of a sum over its neighbours."""
        import openmm

        only_distances(self.subject, density)
        force = openmm.CustomGBForce()
        atoms = Atoms(self, density)
        single = Atoms(self, law, shared=atoms)
        shrunk = {distance(density): distance(density) / sympy.Float(self.scale.length, 17)}
        expr = density.expr.xreplace(shrunk) if self.scale.length != 1 else density.expr
        text = self.written(Lepton({distance(density): "r", **atoms.symbols()}, atoms.tabulated), expr, density)
        total = atoms.named(name)
        own = {s: total for s, r in law.reads.items() if r.symbol == name}
        symbols = {**single.symbols(alone=True), **own}
        energy = self.written(Lepton(symbols, single.tabulated), self.scale.law(law), law)
        self.method(force, density, self.cutoff)
        atoms.declare(force)
        kind = force.ParticlePair if density.domain.excluded else force.ParticlePairNoExclusions
        force.addComputedValue(total, text, kind)
        force.addEnergyTerm(energy, force.SingleParticle)
        for row in atoms.rows():
            force.addParticle(row)
        for i, j in self.excluded(density):
            force.addExclusion(i, j)
        return force

    # -- others ----------------------------------------------------------------------------------------------

    def external(self, law: Law):
        import openmm

        initial = self.subject.initial
        if initial.tilted and any(initial.periodic):
            raise self.subject.refuse("fields in a box that is not rectangular are not exported", law.term.summand)
        symbols = {}
        for s, g in law.geometry.items():
            letter, k = "xyz"[g.places[1]], g.places[1]
            symbols[s] = letter
            if initial.periodic[k]:  # the image that is nearest to the origin
                length = number(initial.lengths[k] * self.scale.length)
                symbols[s] = f"({letter}-{length}*floor({letter}/{length}+0.5))"
        atoms = Atoms(self, law)
        names = {s: f"p{k}" for k, s in enumerate(law.reads)}
        text = self.written(Lepton({**symbols, **names}, atoms.tabulated), self.scale.law(law), law)
        force = openmm.CustomExternalForce(text)
        members = np.arange(initial.atoms)[:, None]
        columns = [self.subject.numbers(r, law.binders, members) for r in law.reads.values()]
        for name in names.values():
            force.addPerParticleParameter(name)
        atoms.add_tables(force)
        for i in range(initial.atoms):
            force.addParticle(i, [float(c[i]) for c in columns])
        return force

    def members(self, law: Law):
        """Tuples, with what they read of their atoms as parameters of each."""
        import openmm

        members = np.asarray(self.subject.initial.topologies[law.domain.topology], int).reshape(-1, len(law.binders))
        names = {s: f"p{k}" for k, s in enumerate(law.reads)}
        kind = {(g.kind, g.places) for g in law.geometry.values()}
        width = len(law.binders)
        plain = {
            2: ({("distance", (0, 1))}, "r", openmm.CustomBondForce),
            3: ({("angle", (0, 1, 2))}, "theta", openmm.CustomAngleForce),
            4: ({("dihedral", (0, 1, 2, 3))}, "theta", openmm.CustomTorsionForce),
        }
        wanted, letter, force_type = plain.get(width, (None, "", None))
        simple = kind == wanted
        symbols = {s: letter if simple else self.geometry(g, law) for s, g in law.geometry.items()}
        atoms = Atoms(self, law)
        text = self.written(Lepton({**symbols, **names}, atoms.tabulated), self.scale.law(law), law)
        force = force_type(text) if simple else openmm.CustomCompoundBondForce(width, text)
        add = {2: "Bond", 3: "Angle", 4: "Torsion"}.get(width, "Bond") if simple else "Bond"
        declare = getattr(force, f"addPer{add}Parameter")
        for name in names.values():
            declare(name)
        if not simple:
            atoms.add_tables(force)
        elif atoms.tables:
            raise self.subject.refuse("OpenMM's simple bonds take no tables", law.formula)
        columns = [self.subject.numbers(r, law.binders, members) for r in law.reads.values()]
        for n, row in enumerate(members):
            values = [float(c[n]) for c in columns]
            group = [int(a) for a in row]
            getattr(force, f"add{add}")(*([*group, values] if simple else [group, values]))
        force.setUsesPeriodicBoundaryConditions(self.periodic)
        return force

    def geometry(self, g, law: Law) -> str:
        points = ",".join(f"p{k + 1}" for k in g.places)
        match g.kind:
            case "distance" | "angle" | "dihedral":
                return f"{g.kind}({points})"
            case "cosine":
                return f"cos(angle({points}))"
        raise self.subject.refuse("OpenMM is told no single coordinates of atoms in a tuple", law.formula)

    def triples(self, law: Law):
        """Around each atom every pair of others within the cutoff."""
        import openmm

        atoms = Atoms(self, law)
        symbols = {s: self.geometry(g, law) for s, g in law.geometry.items()}
        text = self.written(Lepton({**symbols, **atoms.symbols()}, atoms.tabulated), self.scale.law(law), law)
        force = openmm.CustomManyParticleForce(3, text)
        force.setPermutationMode(force.UniqueCentralParticle)
        self.method(force, law, farthest(self.subject, law) * self.scale.length)
        atoms.declare(force)
        for row in atoms.rows():
            force.addParticle(row)
        return force


@dataclass(eq=False)
class Atoms:
    """What a law reads of its atoms: of species a number for each atom (``kind``) and a table by these numbers, of data
    a parameter of each atom. ``shared``: those of a law that the same force has too."""

    terms: Terms
    law: Law
    shared: Atoms | None = None
    tables: dict[str, object] = field(default_factory=dict)
    columns: dict[str, np.ndarray] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.shared is not None:
            self.tables, self.columns = self.shared.tables, self.shared.columns

    def symbols(self, alone: bool = False) -> Mapping[sympy.Symbol, str]:
        """``alone``: of an energy of single atoms, whose parameters have no number behind their names."""
        subject, found = self.terms.subject, {}
        values = {v.name for v in subject.field.values}
        place = {name: "" if alone else str(k + 1) for k, name in enumerate(self.law.binders)}
        for symbol, read in self.law.reads.items():
            if read.symbol in values:
                continue
            own = [place[i] for i in read.indices]
            if subject.of_atoms(read):
                name = self.named(read.symbol)
                self.columns[name] = subject.of_atom(read)
                found[symbol] = name + own[0]
            elif read.symbol == "species":
                found[symbol] = self.kind + own[0]
            elif (p := subject.model.param(read.symbol)) is not None and p.table is not None:
                continue
            else:
                found[symbol] = self.entry(read, [self.kind + k for k in own])
        return found

    @property
    def kind(self) -> str:
        self.columns["kind"] = self.terms.subject.initial.species.astype(float)
        return "kind"

    def named(self, name: str) -> str:
        """A name that OpenMM takes: its parser knows no letters but those of English."""
        plain = "".join(c if c.isascii() and c.isalnum() else f"u{ord(c):x}" for c in name)
        return f"own_{plain}_"

    def entry(self, read: Read, kinds: list[str]) -> str:
        import openmm

        values = self.terms.subject.by_species(read)
        name = f"of_{self.named(read.symbol)}{len(kinds)}"
        if values.size == 1 or np.all(values == values.flat[0]):
            text = number(float(values.flat[0]))
            return f"({text})" if text.startswith("-") else text
        if name not in self.tables:
            if values.ndim == 1:
                self.tables[name] = openmm.Discrete1DFunction(values.tolist())
            else:
                self.tables[name] = openmm.Discrete2DFunction(*values.shape, values.T.ravel().tolist())
        return f"{name}({','.join(kinds)})"

    def declare(self, force) -> None:
        for name in self.columns:
            force.addPerParticleParameter(name)
        self.add_tables(force)

    def add_tables(self, force) -> None:
        for name, table in self.tables.items():
            force.addTabulatedFunction(name, table)

    def rows(self) -> list[list[float]]:
        columns = list(self.columns.values())
        return [[float(c[i]) for c in columns] for i in range(self.terms.subject.initial.atoms)]

    # -- tabulated functions ---------------------------------------------------------------------------------

    def tabulated(self, e: Lookup, writer: Lepton) -> str:
        """A function of a table as the cubics that it is, by their coefficients: no other interpolation."""
        import openmm

        curves = e.curves
        if curves.beyond or curves.first > 0 and curves.end is None:
            raise Unwritable(e, f"what `{e.table}` is beyond its knots")
        values = curves.pieces
        count, knots = values.shape[1:]
        for power in range(POWERS):
            name = f"{self.named(e.table)}c{power}"
            if name not in self.tables:
                self.tables[name] = openmm.Discrete2DFunction(count, knots, values[power].T.ravel().tolist())
        at = writer(e.at)
        which = self.which(e)
        steps = f"(({at}-{number(curves.first)})/{number(curves.step)})"
        piece = f"max(0,min({knots - 1},floor({steps})))"
        rest = f"({steps}-{piece})"
        c = [f"{self.named(e.table)}c{power}({which},{piece})" for power in range(POWERS)]
        text = f"({c[0]}+{rest}*({c[1]}+{rest}*({c[2]}+{rest}*{c[3]})))"
        if curves.divided:
            text = f"({text}/{at})"
        if curves.end is not None:
            text = f"select(step({at}-{number(curves.end)}),0,{text})"
        if e.order:
            raise Unwritable(e, f"the derivative of `{e.table}`")
        return text

    def which(self, e: Lookup) -> str:
        """The number of the curve: by the species of the atoms."""
        import openmm

        if e.which.is_number:
            return number(float(e.which))
        read = self.law.reads[e.which]
        numbers = np.asarray(e.curves.number, float)
        if numbers.size == 1:
            return number(float(numbers.flat[0]))
        name = f"{self.named(e.table)}curve"
        if name not in self.tables:
            if numbers.ndim == 1:
                self.tables[name] = openmm.Discrete1DFunction(numbers.tolist())
            else:
                self.tables[name] = openmm.Discrete2DFunction(*numbers.shape, numbers.T.ravel().tolist())
        single = len(self.law.binders) == 1
        place = {b: "" if single else str(k + 1) for k, b in enumerate(self.law.binders)}
        return f"{name}({','.join(self.kind + place[i] for i in read.indices)})"
