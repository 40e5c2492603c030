"""LAMMPS: a data file, an in-script that defines the forces, and one that runs.

system.data   the atoms, their box, velocities and tuples
forces.in     units, the data file, styles and coefficients
in.lammps     the above and the statements of dynamics that LAMMPS has
"""

from __future__ import annotations

import numpy as np
import sympy

from mdsl.export.deck import Deck
from mdsl.export.pairs import PairFormula, combined, values_read
from mdsl.export.subject import Law, Subject
from mdsl.export.tuples import Kind, kinds
from mdsl.export.written import Lepton, Unwritable, Variable, number
from mdsl.interpret.topologies import apart
from mdsl.lowering.planning.on_host import nearest
from mdsl.model.domains import Each, Members, Pairs, Triples

from . import manybody
from .data import DATA, written
from .statements import statements
from .styles import Recognised, style_of
from .world import SKIN, World, nearest_text, world

FORCES, IN = "forces.in", "in.lammps"
KINDS = {2: ("bond", "r01"), 3: ("angle", "theta012"), 4: ("dihedral", "phi0123")}
R = sympy.Symbol("r", positive=True)
HEADER = "# written by mdsl from {name}\n"


# -- the forces ------------------------------------------------------------------------------------------


def export(subject: Subject, name: str, available: dict[str, frozenset[str]] | None = None) -> Deck:
    """Raises Rejected: ``cannot-export``."""
    here = world(subject, available)
    laws = subject.laws()
    styles: dict[str, str] = {}
    notes: list[str] = []
    pair_lines, cutoff, datum, extra = _pairs(here, laws, styles)
    tuples = {
        width: [k for law in _of(laws, Members, width) for k in kinds(subject, law, here.scale)] for width in KINDS
    }
    for law in laws:
        if isinstance(law.domain, Members) and len(law.binders) not in KINDS:
            raise subject.refuse("LAMMPS is told tuples of two, three or four atoms", law.term.summand)
    tuple_lines = [line for width, found in tuples.items() for line in _tuples(here, width, found, styles, notes)]
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
    run_lines, left_out = statements(here)
    files: dict[str, str | bytes] = {
        DATA: written(here, tuples, bonds, style, datum),
        FORCES: HEADER.format(name=name) + "\n".join(lines) + "\n",
        IN: HEADER.format(name=name) + "\n".join([f"include {FORCES}", *run_lines]) + "\n",
        **extra,
    }
    facts = {"units": here.units, "has_virial": not fixes}
    return Deck(files, (*notes, *left_out), styles, facts)


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
        return [], 0.0, None, {}
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
    datum = _datum(here, list(table.values()), pairs[0])
    cutoff = max(f.cutoff for f in table.values())
    if cutoff == 0:
        return [], 0.0, datum, {}
    names = ", ".join(law.term.equation for law in pairs)
    found = None if datum else _one_style(here, table)
    if found is not None:
        style, told = found
        styles[names] = f"pair_style {style.style.name}"
        options = (number(cutoff) if o == "rc" else t for o, t in zip(style.style.options, style.options))
        lines = [f"pair_style {' '.join([style.style.name, *options])}", *style.style.commands]
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


def _datum(here: World, formulas: list[PairFormula], law: Law) -> str | None:
    """The one number of each atom that pairs read: LAMMPS has one, the charge."""
    names = {name for f in formulas for _, name in f.data.values()}
    if len(names) > 1:
        raise here.subject.refuse(
            f"the pairs read {' and '.join(f'`{n}`' for n in sorted(names))} of each atom: LAMMPS' formulas have one "
            "number of an atom, its charge",
            law.formula,
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
        raise here.subject.refuse(f"LAMMPS' formulas do not have {error.what}", laws[0].formula) from None


# -- tuples ----------------------------------------------------------------------------------------------


def _tuples(here: World, width: int, found: list[Kind], styles: dict[str, str], notes: list[str]) -> list[str]:
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
                k.law.formula,
            )
    told: list[Recognised] = []
    for k in found:
        same = style_of(kind, k.expr, (variable,), None, here.has(kind))
        if same is None or told and same.style is not told[0].style:
            break
        told.append(same)
    else:
        style = told[0].style
        styles[names] = f"{kind}_style {style.name}"
        notes += style.notes
        return [
            f"{kind}_style {style.name}",
            *style.commands,
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
    topologies = {n: np.asarray(subject.initial.topologies[n], int) for n in sorted(excluded)}
    out = {tuple(sorted(map(int, row[[0, -1]]))) for m in topologies.values() for row in m}
    # Without bonds that have an energy, some without one tell LAMMPS who is bonded.
    extra = [] if bonded else [m for m in topologies.values() if m.shape[1] == 2]
    for bonds in [np.concatenate(bonded)] if bonded else extra:
        shells = [{tuple(map(int, p)) for p in apart(bonds, subject.initial.atoms, n)} for n in (1, 2, 3)]
        weights = [0 if shell and shell <= out else 1 for shell in shells]
        if set().union(*(s for s, w in zip(shells, weights) if w == 0)) == out:
            return [f"special_bonds lj/coul {' '.join(map(str, weights))}"], bonds if extra else None
    raise subject.refuse(
        "LAMMPS leaves pairs out by how many bonds lie between them, one, two or three, and these pairs are others",
        pairs[0].term.summand,
    )


# -- fields ----------------------------------------------------------------------------------------------


def _external(here: World, law: Law, styles: dict[str, str]) -> list[str]:
    """A field as the force on each atom of each type, and its energy, by variables."""
    subject = here.subject
    for read in law.reads.values():
        if subject.of_atoms(read):
            raise subject.refuse(f"LAMMPS' variables know no `{read.symbol}` of each atom", law.formula)
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
