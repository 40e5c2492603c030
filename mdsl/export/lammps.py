"""LAMMPS: a data file, an in-script that defines the forces, and one that runs.

system.data   the atoms, their box, velocities and tuples
forces.in     units, the data file, styles and coefficients
in.lammps     the above and the statements of dynamics that LAMMPS has
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import sympy

from mdsl.interpret.quantities import least_skew
from mdsl.model.dimensions import ENERGY, LENGTH, MASS, TIME
from mdsl.model.domains import Each, Members, Pairs, Triples
from mdsl.model.nodes import Advance
from mdsl.start.initial import still

from . import lammps_manybody as manybody
from .deck import Deck
from .lammps_run import statements
from .pairs import PairFormula, combined, values_read
from .styles import Recognised, style_of
from .subject import Law, Scale, Subject, scale
from .tuples import Kind, kinds
from .written import Lepton, Unwritable, Variable, number

DATA, FORCES, IN = "system.data", "forces.in", "in.lammps"
AVOGADRO = 6.02214076e23
GRAM = 1e-3 / AVOGADRO
# LAMMPS' name, then length, energy, mass and time in SI
UNITS = {
    "real": (1e-10, 4184 / AVOGADRO, GRAM, 1e-15),
    "metal": (1e-10, 1.602176634e-19, GRAM, 1e-12),
    "si": (1.0, 1.0, 1.0, 1.0),
}
SKIN = {"real": 2.0, "metal": 2.0, "si": 2e-10, "lj": 0.3}
KINDS = {2: ("bond", "r01"), 3: ("angle", "theta012"), 4: ("dihedral", "phi0123")}
SECTIONS = {2: "Bonds", 3: "Angles", 4: "Dihedrals"}
R = sympy.Symbol("r", positive=True)
HEADER = "# written by mdsl from {name}\n"


@dataclass(frozen=True, eq=False)
class World:
    """A subject in LAMMPS' units. ``types``: [N] of each atom from 1; ``species``: of each type."""

    subject: Subject
    units: str
    scale: Scale
    types: np.ndarray
    species: tuple[int, ...]
    masses: tuple[float, ...]
    available: dict[str, frozenset[str]] | None

    def time(self, value: float) -> float:
        """In LAMMPS' unit."""
        return value if self.units == "lj" else value * self.subject.si(TIME) / UNITS[self.units][3]

    def has(self, kind: str) -> Collection[str] | None:
        return None if self.available is None else self.available[kind]


def world(subject: Subject, available: dict[str, frozenset[str]] | None = None) -> World:
    units = subject.model.units
    name, sizes = "lj", (1.0, 1.0, 1.0, 1.0)
    if not units.reduced:
        own = [subject.si(d) for d in (LENGTH, ENERGY, MASS)]
        name = next((n for n, s in UNITS.items() if np.allclose(own, s[:3], rtol=1e-9, atol=0)), "metal")
        sizes = UNITS[name]
    initial = subject.initial
    masses = np.where(np.isfinite(initial.masses), initial.masses, 1.0)
    rows, inverse = np.unique(np.stack([initial.species, masses], axis=1), axis=0, return_inverse=True)
    mass = scale(subject, *sizes[:3]).mass
    return World(
        subject,
        name,
        scale(subject, *sizes[:3]),
        inverse.reshape(-1) + 1,
        tuple(int(k) for k in rows[:, 0]),
        tuple(float(m) * mass for m in rows[:, 1]),
        available,
    )


# -- the forces ------------------------------------------------------------------------------------------


def export(subject: Subject, name: str, available: dict[str, frozenset[str]] | None = None) -> Deck:
    """Raises Rejected: ``cannot-export``."""
    here = world(subject, available)
    laws = subject.laws()
    if None in subject.weights:
        raise subject.refuse("LAMMPS adds energies of atoms, and has no energy that is the same wherever they are")
    styles: dict[str, str] = {}
    pair_lines, cutoff, datum, extra = _pairs(here, laws, styles)
    tuples = {
        width: [k for law in _of(laws, Members, width) for k in kinds(subject, law, here.scale)] for width in KINDS
    }
    for law in laws:
        if isinstance(law.domain, Members) and len(law.binders) not in KINDS:
            raise subject.refuse("LAMMPS is told tuples of two, three or four atoms", law.term.summand)
    tuple_lines = [line for width, found in tuples.items() for line in _tuples(here, width, found, styles)]
    special, bonds = _special(here, laws, tuples)
    fixes = [line for law in _of(laws, Each) if not values_read(subject, law) for line in _external(here, law, styles)]
    style = (
        ("full" if datum else "molecular")
        if any(tuples.values()) or bonds is not None
        else ("charge" if datum else "atomic")
    )
    dim = subject.model.dim
    periodic = [*subject.initial.periodic, *([True] if dim == 2 else [])]
    skin = SKIN[here.units]
    reach = _reach(here, tuples)
    lines = [
        f"units {here.units}",
        f"dimension {dim}",
        "boundary " + " ".join("p" if p else "s" for p in periodic),
        f"atom_style {style}",
        "atom_modify map array",
        "newton on",
        *special,
        f"read_data {DATA}",
        *(pair_lines or [f"pair_style zero {number(max(reach, skin))} nocoeff", "pair_coeff * *"]),
        *tuple_lines,
        f"neighbor {number(skin)} bin",
        "neigh_modify every 1 delay 0 check yes one 20000 page 200000",
        *([f"comm_modify cutoff {number(1.5 * reach + skin)}"] if 1.5 * reach > cutoff else []),
        *(["fix flat all enforce2d"] if dim == 2 else []),
        *fixes,
        "thermo_modify norm no",
    ]
    run_lines, notes = statements(here)
    files: dict[str, str | bytes] = {
        DATA: _data(here, tuples, bonds, style, datum, periodic),
        FORCES: HEADER.format(name=name) + "\n".join(lines) + "\n",
        IN: HEADER.format(name=name) + "\n".join([f"include {FORCES}", *run_lines]) + "\n",
        **extra,
    }
    facts = {"units": here.units, "has_virial": not fixes}
    return Deck(files, tuple(notes), styles, facts)


def _of(laws: list[Law], domain: type, width: int | None = None) -> list[Law]:
    return [w for w in laws if isinstance(w.domain, domain) and (width is None or len(w.binders) == width)]


def _pairs(here: World, laws: list[Law], styles: dict[str, str]):
    """The commands of pairs, the longest cutoff, the datum that stands for charges, and files."""
    subject = here.subject
    pairs, triples = _of(laws, Pairs), _of(laws, Triples)
    if any(values_read(subject, law) for law in laws):
        lines, files, cutoff = manybody.embedded(here, laws, styles)
        return lines, cutoff, None, files
    if triples:
        lines, files, cutoff = manybody.stillinger_weber(here, pairs, triples, styles)
        return lines, cutoff, None, files
    if not pairs:
        return [], 0.0, _datum(here, []), {}
    excluded = {law.domain.excluded for law in pairs}
    if len(excluded) > 1:
        raise subject.refuse(
            "LAMMPS leaves the same pairs out of all pair energies, and these differ in that", pairs[1].term.summand
        )
    count = len(here.species)
    table: dict[tuple[int, int], PairFormula] = {}
    for a in range(count):
        for b in range(a, count):
            table[a, b] = combined(subject, pairs, here.scale, (here.species[a], here.species[b]), R)
    datum = _datum(here, list(table.values()))
    cutoff = max(f.cutoff for f in table.values())
    if cutoff == 0:
        return [], 0.0, datum, {}
    names = ", ".join(law.term.equation for law in pairs)
    found = None if datum else _one_style(here, table)
    if found is not None:
        style, told = found
        styles[names] = f"pair_style {style.style.name}"
        head = " ".join(
            [
                style.style.name,
                *(number(cutoff) if o == "rc" else t for o, t in zip(style.style.options, style.options)),
            ]
        )
        lines = [f"pair_style {head}", *style.style.more]
        coefficients = {pair: r.coefficients for pair, r in told.items()}
        return [*lines, *(f"pair_coeff {a + 1} {b + 1} {c}" for (a, b), c in coefficients.items())], cutoff, datum, {}
    wanted = "lepton/coul" if datum else "lepton"
    _ask(here, "pair", wanted, pairs[0])
    styles[names] = f"pair_style {wanted}"
    lines = [f"pair_style {wanted} {number(cutoff)}"]
    for (a, b), formula in table.items():
        symbols = {R: "r", **{s: ("qi", "qj")[place] for s, (place, _) in formula.data.items()}}
        if datum:
            _same_both_ways(here, formula, pairs[0])
        text = _written(here, Lepton(symbols), formula.expr, pairs)
        lines.append(f'pair_coeff {a + 1} {b + 1} "{text}" {number(formula.cutoff or cutoff)}')
    return lines, cutoff, datum, {}


def _one_style(here: World, table: dict[tuple[int, int], PairFormula]):
    told: dict[tuple[int, int], Recognised] = {}
    for pair, formula in table.items():
        found = style_of("pair", formula.expr, (R,), formula.cutoff, here.has("pair"))
        first = next(iter(told.values()), found)
        if found is None or found.style is not first.style:
            return None
        if any(o != "rc" and found.values[o] != first.values[o] for o in found.style.options):
            return None
        told[pair] = found
    return next(iter(told.values())), told


def _datum(here: World, formulas: list[PairFormula]) -> str | None:
    """The one number of each atom that pairs read: LAMMPS has one, the charge."""
    names = {name for f in formulas for _, name in f.data.values()}
    if len(names) > 1:
        raise here.subject.refuse(
            f"the pairs read {' and '.join(f'`{n}`' for n in sorted(names))} of each atom: LAMMPS' formulas have one "
            "number of an atom, its charge",
        )
    return next(iter(names), None)


def _same_both_ways(here: World, formula: PairFormula, law: Law) -> None:
    """LAMMPS does not say which of two atoms of different types comes first."""
    places = {place: s for s, (place, _) in formula.data.items()}
    first, second = (places.get(k, sympy.Dummy()) for k in (0, 1))
    turned = formula.expr.xreplace({first: second, second: first})
    if sympy.expand(turned - formula.expr) != 0:
        raise here.subject.refuse(
            "this energy of two atoms of different species is another one when their data are exchanged",
            law.term.summand,
        )


def _ask(here: World, kind: str, style: str, law: Law) -> None:
    has = here.has(kind)
    if has is not None and style not in has:
        raise here.subject.refuse(
            f"no style of LAMMPS is this formula, and the LAMMPS that is installed has no `{kind}_style {style}`",
            law.term.summand,
            help="its package LEPTON has it",
        )


def _written(here: World, writer: Lepton, expr: sympy.Expr, laws: list[Law]) -> str:
    try:
        return writer(expr)
    except Unwritable as error:
        raise here.subject.refuse(
            f"LAMMPS' formulas do not have {error.what}", laws[0].term.written or laws[0].term.summand
        ) from None


# -- tuples ----------------------------------------------------------------------------------------------


def _tuples(here: World, width: int, found: list[Kind], styles: dict[str, str]) -> list[str]:
    """The commands of bonds, angles or dihedrals: a style of LAMMPS where all kinds are of one, else formulas."""
    if not found:
        return []
    kind, name = KINDS[width]
    variable = sympy.Symbol(name, positive=True) if width == 2 else sympy.Symbol(name, real=True)
    names = ", ".join(dict.fromkeys(k.law.term.equation for k in found))
    for k in found:
        if k.expr.free_symbols - {variable}:
            raise here.subject.refuse(
                f"LAMMPS' {kind}s are functions of one {'length' if width == 2 else 'angle'}, and this energy is not",
                k.law.term.written,
            )
    told = [style_of(kind, k.expr, (variable,), None, here.has(kind)) for k in found]
    first = told[0]
    if all(t is not None and t.style is first.style for t in told):
        styles[names] = f"{kind}_style {first.style.name}"
        return [
            f"{kind}_style {first.style.name}",
            *(f"{kind}_coeff {n + 1} {t.coefficients}" for n, t in enumerate(told)),
        ]
    _ask(here, kind, "lepton", found[0].law)
    styles[names] = f"{kind}_style lepton"
    letter = {2: "r", 3: "theta", 4: "phi"}[width]
    lines = [f"{kind}_style lepton" + ("" if width == 4 else " no_offset")]
    for n, k in enumerate(found):
        text = _written(here, Lepton({variable: letter}), k.expr, [k.law])
        lines.append(f'{kind}_coeff {n + 1} {"" if width == 4 else "0.0 "}"{text}"')
    return lines


def _reach(here: World, tuples: dict[int, list[Kind]]) -> float:
    """How far apart the atoms of a tuple are: processors must know so much of their neighbours."""
    from mdsl.lowering.planning.on_host import nearest

    initial = here.subject.initial
    longest = 0.0
    for found in tuples.values():
        for k in found:
            chain = sum(
                np.linalg.norm(nearest(initial.x[a] - initial.x[b], initial.cell, initial.periodic), axis=1)
                for a, b in zip(k.members.T, k.members.T[1:])
            )
            longest = max(longest, float(np.max(chain)))
    return longest * here.scale.length


def _special(here: World, laws: list[Law], tuples: dict[int, list[Kind]]):
    """What LAMMPS leaves out of pairs by how many bonds lie between, and bonds that are there for that alone."""
    subject = here.subject
    pairs = _of(laws, Pairs)
    excluded = set().union(*(law.domain.excluded for law in pairs)) if pairs else set()
    bonded = [k.members for k in tuples[2]]
    if not excluded:
        return (["special_bonds lj/coul 1 1 1"] if any(tuples.values()) else []), None
    topologies = {n: np.asarray(subject.initial.topologies[n], int) for n in excluded}
    out = {tuple(sorted(map(int, row[[0, -1]]))) for m in topologies.values() for row in m}
    extra = None
    if not bonded:  # bonds without an energy, so that LAMMPS knows who is bonded
        chosen = [m for n, m in topologies.items() if m.shape[1] == 2]
        extra = chosen[0] if chosen else np.zeros((0, 2), int)
        bonded = [extra]
    from mdsl.interpret.topologies import apart

    every = np.concatenate(bonded)
    shells = [{tuple(map(int, p)) for p in apart(every, subject.initial.atoms, n)} for n in (1, 2, 3)]
    weights = [0 if shell and shell <= out else 1 for shell in shells]
    covered = set().union(*(s for s, w in zip(shells, weights) if w == 0)) if 0 in weights else set()
    if covered != out:
        raise subject.refuse(
            "LAMMPS leaves pairs out by how many bonds lie between them, one, two or three, and these pairs are others",
            pairs[0].term.summand,
        )
    return [f"special_bonds lj/coul {' '.join(map(str, weights))}"], extra


# -- fields ----------------------------------------------------------------------------------------------


def _external(here: World, law: Law, styles: dict[str, str]) -> list[str]:
    """A field as the force on each atom of each type, and its energy, by variables."""
    subject = here.subject
    for read in law.reads.values():
        if subject.of_atoms(read):
            raise subject.refuse(
                f"LAMMPS' variables know no `{read.symbol}` of each atom", law.term.written or law.term.summand
            )
    if subject.initial.tilted and any(subject.initial.periodic):
        raise subject.refuse("fields in a box that is not rectangular are not exported", law.term.summand)
    styles[law.term.equation] = "fix addforce"
    coordinates = {g.places[1]: s for s, g in law.geometry.items() if g.kind == "coordinate"}
    text = {s: nearest_text("xyz"[k], here, k) for k, s in coordinates.items()}
    expr = here.scale.law(law)
    lines = []
    for n, species in enumerate(here.species):
        own = expr.xreplace({s: sympy.Float(float(subject.by_species(r)[species]), 17) for s, r in law.reads.items()})
        tag = f"{law.term.number}_{n + 1}"
        lines.append(f"group type{n + 1} type {n + 1}")
        names = []
        for k in range(3):
            slope = -sympy.diff(own, coordinates[k]) if k in coordinates else sympy.Integer(0)
            lines.append(f'variable f{"xyz"[k]}{tag} atom "{_written(here, Variable(text), slope, [law])}"')
            names.append(f"v_f{'xyz'[k]}{tag}")
        lines.append(f'variable e{tag} atom "{_written(here, Variable(text), own, [law])}"')
        lines.append(f"fix field{tag} type{n + 1} addforce {' '.join(names)} energy v_e{tag}")
        lines.append(f"fix_modify field{tag} energy yes")
    return lines


def nearest_text(letter: str, here: World, axis: int) -> str:
    """A coordinate: of a periodic axis that of the image that is nearest to the origin."""
    initial = here.subject.initial
    if not initial.periodic[axis]:
        return letter
    edge = number(initial.lengths[axis] * here.scale.length)
    return f"({letter}-{edge}*floor({letter}/{edge}+0.5))"


# -- the data file ---------------------------------------------------------------------------------------


def bounds(here: World) -> tuple[np.ndarray, np.ndarray]:
    """[3]: where the box begins, and [3, 3]: its vectors, the least skew of the lattice."""
    initial = here.subject.initial
    d = initial.x.shape[1]
    cell, low = np.zeros((3, 3)), np.zeros(3)
    cell[:d, :d] = least_skew(initial.cell, initial.periodic) * here.scale.length
    for k in range(d):
        if not initial.periodic[k]:
            x = initial.x[:, k] * here.scale.length
            low[k] = x.min() - 1.0
            cell[k, k] = x.max() - x.min() + 2.0
    if d == 2:
        low[2], cell[2, 2] = -0.5, 1.0
    return low, cell


def _data(here: World, tuples, bonds, style: str, datum: str | None, periodic) -> str:
    subject, initial = here.subject, here.subject.initial
    count, (low, cell) = initial.atoms, bounds(here)
    lists = {
        SECTIONS[w]: [(n + 1, row) for n, k in enumerate(found) for row in k.members] for w, found in tuples.items()
    }
    if bonds is not None:
        lists["Bonds"] = [(1, row) for row in bonds]
    lines = [f"mdsl export of {subject.model.source.name}, units = {here.units}", "", f"{count} atoms"]
    lines += [f"{len(rows)} {section.lower()}" for section, rows in lists.items() if rows]
    lines += [f"{len(here.masses)} atom types"]
    lines += [f"{max(n for n, _ in rows)} {s.lower()[:-1]} types" for s, rows in lists.items() if rows]
    lines.append("")
    lines += [f"{number(low[k])} {number(low[k] + cell[k, k])} {a}lo {a}hi" for k, a in enumerate("xyz")]
    if initial.tilted and np.tril(cell, -1).any():
        lines.append(f"{number(cell[1, 0])} {number(cell[2, 0])} {number(cell[2, 1])} xy xz yz")
    lines += ["", "Masses", "", *(f"{n + 1} {number(m)}" for n, m in enumerate(here.masses))]
    x = positions(here, initial.x)
    charge = None if datum is None else subject.of_atom_by_name(datum)
    lines += ["", f"Atoms  # {style}", ""]
    for i in range(count):
        words = [str(i + 1), *(["1"] if style in ("molecular", "full") else []), str(here.types[i])]
        words += [] if charge is None else [number(charge[i])]
        lines.append(" ".join([*words, *map(number, x[i])]))
    v = np.zeros((count, 3))
    v[:, : initial.v.shape[1]] = initial.v * here.scale.length / here.time(1.0)
    lines += ["", "Velocities", "", *(f"{i + 1} {' '.join(map(number, v[i]))}" for i in range(count))]
    for section, rows in lists.items():
        if rows:
            lines += ["", section, ""]
            lines += [f"{k + 1} {n} {' '.join(str(a + 1) for a in row)}" for k, (n, row) in enumerate(rows)]
    return "\n".join(lines) + "\n"


def positions(here: World, x: np.ndarray) -> np.ndarray:
    """[N, 3]: positions [N, d] in LAMMPS' unit, brought back into the box."""
    from mdsl.lowering.planning.on_host import wrap

    initial = here.subject.initial
    cell = least_skew(initial.cell, initial.periodic)
    inside = wrap(np.asarray(x, float), cell, initial.periodic)[0]
    out = np.zeros((len(x), 3))
    out[:, : x.shape[1]] = inside * here.scale.length
    return out


def resting(here: World) -> np.ndarray:
    """[N]: the atoms that never move."""
    return still(here.subject.model, here.subject.initial.species, here.subject.initial.data)


__all__ = ["Advance", "DATA", "FORCES", "IN", "World", "export", "math", "positions", "resting", "world"]
