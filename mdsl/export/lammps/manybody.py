"""Energies of more than two atoms that LAMMPS has: embedded atoms from a file, and those of Stillinger and Weber."""

from __future__ import annotations

from pathlib import Path

import sympy

from mdsl.export.forms import CLOSE
from mdsl.export.pairs import combined
from mdsl.export.subject import Law, Subject
from mdsl.export.written import number
from mdsl.model.domains import Each, Others, Pairs
from mdsl.model.nodes import Read, Tabulated

from .styles import Recognised, style_of
from .world import World

STYLES = {"setfl": "eam/alloy", "finnis_sinclair": "eam/fs", "funcfl": "eam"}
TITLE = "# DATE: written by mdsl UNITS: {units}\n"


def embedded(here: World, laws: list[Law], styles: dict[str, str]):
    """The commands, the file and the cutoff of an embedded-atom energy whose three functions are those of one file.
    Raises Rejected: ``cannot-export``."""
    subject = here.subject
    by = {kind: [w for w in laws if isinstance(w.domain, kind)] for kind in (Each, Pairs)}
    reader = next((w for w in laws if any(v.name == r.symbol for v in subject.field.values for r in w.reads.values())))
    refused = subject.refuse(
        "this energy is a function of a sum around each atom: LAMMPS has those of embedded atoms whose functions come "
        "from one file (`setfl`, `finnis_sinclair`, `funcfl`), and formulas only as tables, which approximate them",
        reader.term.summand,
        help="`--to openmm` writes such formulas as they are",
    )
    values = [v for v in subject.field.values if any(v.name == r.symbol for r in reader.reads.values())]
    if len(laws) != 2 or len(by[Each]) != 1 or len(by[Pairs]) != 1 or len(values) != 1:
        raise refused
    density, repulsion = values[0], by[Pairs][0]
    parts = (reader.term.written, density.summand, repulsion.term.written)
    if not all(isinstance(p, Tabulated) and p.order == 0 for p in parts) or not isinstance(density.domain, Others):
        raise refused
    if not isinstance(parts[0].at, Read) or parts[0].at.symbol != density.name or density.domain.excluded:
        raise refused
    if any(subject.weights[w.term.name] != 1 for w in laws) or repulsion.domain.excluded:
        raise refused
    # The order of a statement's names is that of the file: embedding, densities, repulsion.
    names = [p.name for p in subject.model.params if p.table is not None and p.table.call == _call(subject, parts[0])]
    if [p.table for p in parts] != names or _call(subject, parts[0])[0] not in STYLES:
        raise refused
    kind, path, options = _call(subject, parts[0])
    if options or not _distances_alone(parts):
        raise refused
    file = subject.folder / path
    if here.units != "metal":
        raise subject.refuse("LAMMPS reads files of embedded atoms in `units metal`", reader.term.summand)
    if kind == "funcfl" and len(subject.model.species) > 1:
        raise refused
    style = STYLES[kind]
    styles[", ".join(w.term.equation for w in laws)] = f"pair_style {style}"
    labels = [subject.model.species[k] if subject.model.species else subject.initial.labels[0] for k in here.species]
    copy = Path(path).name
    if kind == "funcfl":
        told = [f"pair_coeff {a + 1} {a + 1} {copy}" for a in range(len(here.species))]
    else:
        told = [f"pair_coeff * * {copy} {' '.join(labels)}"]
    cutoff = float(parts[1].curves.end or parts[1].curves.last)
    return [f"pair_style {style}", *told], {copy: file.read_bytes()}, cutoff * here.scale.length


def _call(subject: Subject, table: Tabulated):
    return subject.model.table(table.table).call


def _distances_alone(parts) -> bool:
    """Whether the two functions of pairs are of the distance itself."""
    return all(getattr(p.at, "op", "") in ("norm", "sqrt") for p in parts[1:])


def stillinger_weber(here: World, pairs: list[Law], triples: list[Law], styles: dict[str, str]):
    """The commands, the file and the cutoff. Raises Rejected: ``cannot-export``."""
    subject = here.subject
    refused = subject.refuse(
        "LAMMPS has no style for this energy of three atoms: of those around an atom it is told Stillinger and "
        "Weber's, with the pair energy that goes with it and one species",
        triples[0].formula,
        help="`--to openmm` writes such formulas as they are",
    )
    if len(triples) != 1 or len(pairs) != 1 or len(here.species) != 1 or pairs[0].domain.excluded:
        raise refused
    r, s = sympy.Symbol("r", positive=True), sympy.Symbol("s", positive=True)
    c = sympy.Symbol("c", real=True)
    pair = combined(subject, pairs, here.scale, here.species * 2, r)
    two = style_of("sw_pair", pair.expr, (r,))
    three = _three(here, triples[0], (r, s, c))
    if two is None or three is None:
        raise refused
    if not (_same(two.values["b"], three.values["b"]) and _same(two.values["b"], pair.cutoff)):
        raise refused
    sigma, b = two.values["sigma"], two.values["b"]
    label = subject.model.species[here.species[0]] if subject.model.species else subject.initial.labels[0]
    told = {
        "epsilon": 1.0, "sigma": sigma, "a": b / sigma, "lambda": three.values["lambda"],
        "gamma": three.values["g"] / sigma, "costheta0": three.values["c0"], "A": two.values["A"],
        "B": two.values["B"], "p": 4.0, "q": 0.0, "tol": 0.0,
    }  # fmt: skip
    text = f"{TITLE.format(units=here.units)}# {' '.join(told)}\n{label} {label} {label} "
    text += " ".join(map(number, told.values())) + "\n"
    styles[", ".join(w.term.equation for w in (*pairs, *triples))] = "pair_style sw"
    return ["pair_style sw", f"pair_coeff * * system.sw {label}"], {"system.sw": text}, b


def _same(a: float, b: float) -> bool:
    return abs(a - b) <= CLOSE * abs(b)


def _three(here: World, law: Law, variables) -> Recognised | None:
    """The energy of a triple as the form of Stillinger and Weber; both legs end where it does."""
    kinds = {g.kind + "".join(map(str, g.places)): s for s, g in law.geometry.items()}
    legs = [kinds.get(name) for name in ("distance01", "distance02", "cosine102")]
    if None in legs or len(law.geometry) != 3 or law.reads:
        return None
    expr = here.scale.law(law).xreplace(dict(zip(legs, variables)))
    if not (isinstance(expr, sympy.Piecewise) and len(expr.args) == 2 and expr.args[1][0] == 0):
        return None
    value, condition = expr.args[0]
    found = style_of("sw_triple", value, variables)
    if found is None or not isinstance(condition, sympy.And) or len(condition.args) != 2:
        return None
    for part in condition.args:
        if not isinstance(part, sympy.StrictLessThan) or not _same(float(part.rhs), found.values["b"]):
            return None
    return found if {p.lhs for p in condition.args} == set(variables[:2]) else None
