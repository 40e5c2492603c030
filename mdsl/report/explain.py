"""`mdsl explain`: what the compiler makes of a program, and why. Plain text, with the lines of the program."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping

import numpy as np

from mdsl.compiler import Compiled
from mdsl.grammar.diagnostics import Rejected
from mdsl.grammar.layout.expressions import unit_text
from mdsl.interpret.species_pairs import pair_constant
from mdsl.lowering.field.costs import DOUBLE, GEOMETRY, LONGEST, OPERATION, VISIT
from mdsl.lowering.field.field import Field
from mdsl.lowering.field.names import SumOf
from mdsl.lowering.field.schedule import Cut, advances_wholly, cut, moves
from mdsl.lowering.planning.policy import DEFAULT, Policy
from mdsl.lowering.planning.traversal import Facts, plan
from mdsl.model.box_dependencies import decided_by, explicit_time
from mdsl.model.box_shape import changes_box
from mdsl.model.curves import HOLD, REPEAT, STOP
from mdsl.model.dimensions import ENERGY, LENGTH, MASS, TIME
from mdsl.model.nodes import Advance, Draw, Expr, Model, Op, Param, Read, Setup, walk
from mdsl.passes.finite import knows
from mdsl.printing.expressions import text_of
from mdsl.printing.program import printed_memory, printed_steps

from .energies import by_species, energies, shown
from .exchanges import exchange
from .observables import observables

Fact = tuple[str, str]  # a word, and what is said under it; an empty word goes on with the one before


def explain(compiled: Compiled, policy: Policy = DEFAULT) -> str:
    """The decisions of the compiler for one program."""
    model = compiled.model
    tables, foreign = list(_tables(model)), list(_foreign(model))
    sections = [
        ("units", list(_units(model))),
        *([("tables", tables)] if tables else []),
        *([("functions", foreign)] if foreign else []),
        *energies(compiled),
    ]
    observed = list(observables(compiled, policy))
    if observed:
        sections.append(("observables", observed))
    if compiled.field.reaching:
        sections.append(("finding pairs", list(_pairs(compiled, policy))))
    sections += [_advance(compiled, step) for step in model.run if isinstance(step, Advance)]
    sections.append(("derivatives", list(_derivatives(model))))
    return f"{compiled.source.name}\n\n" + "\n".join(_section(title, facts) for title, facts in sections)


def _section(title: str, facts: Iterable[Fact]) -> str:
    facts = list(facts)
    width = max((len(word) for word, _ in facts), default=0)
    lines = [f"  {word:{width}}  {text}" if width else f"  {text}" for word, text in facts]
    return "\n".join([title, *lines]) + "\n"


# -- units ---------------------------------------------------------------------------------------------


def _units(model: Model) -> Iterator[Fact]:
    units = model.units
    if units.reduced:
        yield "", f"units.{units.name}: reduced, every quantity is a pure number"
        return
    names = [("length", LENGTH), ("mass", MASS), ("energy", ENERGY), ("time", TIME)]
    yield "", f"units.{units.name}: numbers are read and shown in " + ", ".join(units.display(d).text for _, d in names)
    internal = ", ".join(f"{_amount(units.shown_per_internal(d))} {units.display(d).text}" for _, d in names)
    yield "", f"the program computes in units of {internal}: the time follows from the others,"
    yield "", "so that no constant stands between force and acceleration"


def _amount(value: float) -> str:
    return f"{value:.6g}"


# -- tables --------------------------------------------------------------------------------------------


def _tables(model: Model) -> Iterator[Fact]:
    calls: dict[int, str] = {}
    for param in (p for p in model.params if p.table is not None):
        reader, path, _ = param.table.call
        curves, argument = param.table.curves, model.units.dimension(param.table.argument)
        knots = curves.values.shape[-1]
        last = curves.last
        many = len(curves.values) > 1
        if curves.beyond in (HOLD, STOP, REPEAT):
            end = {HOLD: "held at its ends", STOP: "without values outside", REPEAT: "repeated"}[curves.beyond]
        elif curves.end is None:
            end = "going on as straight lines" if many else "going on as a straight line"
        else:
            end = f"0 from {shown(model, curves.end, argument)} on"
        yield (
            param.name,
            f"{f'{len(curves.values)} functions' if many else 'one function'} of {knots:,} knots from "
            f"{shown(model, curves.first, argument)} to {shown(model, last, argument)}, {end}",
        )
        calls[id(param.table.call)] = f'{reader}("{path}"), line {param.span.line}'
    yield from (("from", text) for text in calls.values())


# -- functions that are no formulas --------------------------------------------------------------------


def _foreign(model: Model) -> Iterator[Fact]:
    for param in (p for p in model.params if p.learned is not None):
        network = param.learned
        layers = " - ".join(map(str, network.sizes))
        yield (
            param.name,
            f"a network of layers {layers}, tanh between them: {network.count:,} weights and biases (line "
            f"{param.span.line})",
        )
        yield "", "weights to begin with: normal numbers of variance 1/inputs, of the seed 0; biases 0"
    for extern in model.externs:
        given = (
            "given" if extern.function is not None else "not given yet: a program runs no Python unless it is told to"
        )
        yield extern.name, f"a function of Python of {', '.join(extern.parameters)}, {given} (line {extern.span.line})"


# -- how pairs are found -------------------------------------------------------------------------------


def _pairs(compiled: Compiled, policy: Policy) -> Iterator[Fact]:
    field, model = compiled.field, compiled.model
    length = model.units.dimension(LENGTH)
    unknown = [t for t in field.reaching if t.support.cutoff is not None and not knows(model, t.support.cutoff)]
    reaches = [
        None
        if t.support.cutoff is None
        else np.nan
        if t in unknown
        else pair_constant(model, t.support.cutoff, t.domain.binders)
        for t in field.reaching
    ]
    atoms, lengths = atoms_of_run(compiled)
    cell = None if lengths is None else np.diag(lengths)
    endless = any(r is None for r in reaches)
    cutoff = None if endless else max(float(np.max(r)) for r in reaches)
    facts = None if atoms is None else Facts(atoms, cell, (True,) * model.dim, cutoff)
    if endless:
        yield (
            "rule",
            f"some pair energy has no cutoff: all pairs are visited, up to {policy.most_all_pairs:,} atoms; above that "
            f"it is an error",
        )
        yield from _here(compiled, facts, policy)
        return
    if unknown:
        yield (
            "rule",
            f"up to {policy.all_pairs} atoms all pairs are visited; above, neighbour lists whose radius is known with "
            f"the data of the atoms",
        )
        return
    radius = cutoff + policy.first_skin(cutoff, facts and facts.spacing)
    yield (
        "rule",
        f"up to {policy.all_pairs} atoms all pairs are visited; above, neighbour lists of radius cutoff + skin = "
        + shown(model, radius, length),
    )
    if len(reaches) > 1:
        ends = ", ".join(f"{t.equation} {by_species(model, r, length)}" for t, r in zip(field.reaching, reaches))
        yield "", f"one traversal serves all pair energies, as far as the farthest reaches: {ends}"
    changing = changes_box(model) or "t" in decided_by(model)
    yield (
        "",
        "a list is rebuilt when "
        + (
            "the box and the atoms in it have changed so far that it might lack a pair"
            if changing
            else "an atom has moved by half the skin"
        ),
    )
    yield (
        "",
        "the skin is adapted to how long lists hold, by counting pairs and steps: no clock is read, so that "
        "runs repeat",
    )
    if field.triple_terms:
        yield "", "three-body sums pick the neighbours within their own cutoff from it, and go through pairs of these"
    exclusions = {frozenset(t.domain.excluded) for t in field.pair_terms}
    if len(exclusions) > 1:
        yield (
            "",
            f"sums that leave out different pairs go through the list one after the other: {len(exclusions)} times",
        )
    elif any(exclusions):
        yield "", "pairs that are left out are taken off the list when it is built: the force loop does not meet them"
    yield from _here(compiled, facts, policy)


def _here(compiled: Compiled, facts: Facts | None, policy: Policy) -> Iterator[Fact]:
    """What a run will do, as far as is known of its atoms."""
    field, length = compiled.field, compiled.model.units.dimension(LENGTH)
    if facts is None:
        yield "here", "the number of atoms is known when the run starts"
        return
    try:
        found = plan(field, facts, policy)
    except Rejected:
        yield (
            "here",
            f"{facts.atoms:,} atoms: too many, the run will be refused"
            if facts.cutoff is None
            else f"half the box is {shown(compiled.model, facts.half, length)}, less than the cutoff: the run will be "
            f"refused",
        )
        return
    if not found.listed:
        tight = facts.cutoff is not None and facts.atoms > policy.all_pairs
        why = f", for {found.why}" if tight else ""
        yield "here", f"{facts.atoms:,} atoms: all {facts.atoms * (facts.atoms - 1) // 2:,} pairs{why}"
        return
    yield "here", f"{facts.atoms:,} atoms: neighbour lists"
    if found.radius < facts.cutoff + policy.first_skin(facts.cutoff, facts.spacing):
        yield "", f"the box leaves room for a radius of {shown(compiled.model, found.radius, length)} only"
    if facts.cell is not None:
        dim = compiled.model.dim
        near = facts.atoms / float(np.prod(np.diag(facts.cell))) * _ball(found.radius, dim)
        yield (
            "",
            f"about {near:.0f} neighbours in the list of an atom, "
            f"{near * (facts.cutoff / found.radius) ** dim:.0f} of them within the cutoff",
        )
        yield from _cost(field, facts.atoms, near, policy)


def _cost(field: Field, atoms: int, near: float, policy: Policy) -> Iterator[tuple[str, str]]:
    """What one evaluation of the pair energies by a list is expected to cost."""
    exprs = [e for t in field.pair_terms for g in t.gradients for e in (g.radial, *(g.direct or ())) if e is not None]
    operations = GEOMETRY + len({id(n) for e in exprs for n in walk(e) if isinstance(n, Op)})
    seconds = atoms * near * LONGEST * (VISIT + operations * OPERATION)
    yield (
        "cost",
        f"each atom visits its neighbours one by one: about {near * LONGEST:.0f} visits with those of the longest row, "
        f"each of about {operations} operations",
    )
    yield (
        "",
        f"expected on one core: {1e3 * seconds:.2g} ms for each force in single or mixed precision, "
        f"{1e3 * DOUBLE * seconds:.2g} ms in double (rates of one machine, in `lowering/field/costs.py`)",
    )
    yield "", f"the list takes about {4 * policy.slots * near:.0f} bytes for each atom"


def _ball(radius: float, dim: int) -> float:
    return math.pi * radius**2 if dim == 2 else 4 / 3 * math.pi * radius**3


def atoms_of_run(compiled: Compiled) -> tuple[int | None, tuple[float, ...] | None]:
    """How many atoms the run block places, and the edges of their box; None where that is not known yet."""
    from mdsl.files.lattices import LATTICES
    from mdsl.interpret.constants import value, whole
    from mdsl.start.box import declared_box

    model = compiled.model
    setup = next((s for s in model.run if isinstance(s, Setup) and s.target == "x"), None)
    if setup is None:
        return None, None
    options = dict(setup.options)
    try:
        if setup.builder in LATTICES:
            lattice = LATTICES[setup.builder]
            cells = [whole(model, v, {}, "`cells`") for k, v in sorted(options.items()) if k.startswith("cells")]
            cells = cells * model.dim if len(cells) == 1 else cells
            atoms = len(lattice.basis) * math.prod(cells)
            a = (
                float(value(model, options["a"], {}))
                if "a" in options
                else lattice.constant(float(value(model, options["density"], {})))
            )
            lengths = tuple(a * side * n for side, n in zip(lattice.sides, cells))
        elif setup.builder == "uniform":
            atoms = whole(model, options["atoms"], {}, "`atoms`")
            lengths = (
                ((atoms / float(value(model, options["density"], {}))) ** (1 / model.dim),) * model.dim
                if "density" in options
                else None
            )
        else:
            return _read(compiled)
        if model.box is not None:
            cell, periodic = declared_box(model, {}, atoms)
            lengths = tuple(map(float, cell.diagonal())) if all(periodic) else None
    except (Rejected, KeyError, ArithmeticError):
        return None, None
    return atoms, lengths


def _read(compiled: Compiled) -> tuple[int | None, tuple[float, ...] | None]:
    """The same for a structure that is read from a file, where the file is there."""
    from mdsl.start.builders import start

    try:
        initial = start(compiled.model, compiled.folder, 0, {})
    except (Rejected, OSError):
        return None, None
    return initial.atoms, tuple(map(float, initial.lengths)) if all(initial.periodic) else None


# -- dynamics ------------------------------------------------------------------------------------------


def _advance(compiled: Compiled, advance: Advance) -> tuple[str, list[Fact]]:
    model = compiled.model
    scheme = advance.scheme.rpartition(".")[2]
    # A default is written by the options that it is made of.
    options = ", ".join(
        f"{name} = {_written(model, v, {id(w): n for n, w in advance.options if w is not v})}"
        for name, v in advance.options
    )
    most = "" if advance.until is None else "at most "
    facts: list[Fact] = [
        ("steps", f"{most}{_written(model, advance.steps)}" + (f", with {options}" if options else ""))
    ]
    if advance.until is not None:
        facts.append(("until", f"{_written(model, advance.until)}, checked after every step"))
    states, observes = printed_memory(model, advance)
    facts += [("" if k else "states", f"{text} to begin with") for k, text in enumerate(states)]
    facts += [("" if k else "observes", text) for k, text in enumerate(observes)]
    lowered = next(a for a in compiled.field.dynamics if a.span is advance.span)
    parts = cut(compiled.field, lowered)
    lines: list[str] = []
    printed = [*printed_steps(model, advance), *(["until the condition holds"] if advance.until is not None else [])]
    what = _evaluated(parts)
    for k, line in enumerate(printed):
        if parts.before[k]:
            lines.append(f"({what} at the new x)" if any(map(moves, parts.body[:k])) else f"({what})")
        lines.append(line)
    facts += [("" if k else "a step", line) for k, line in enumerate(lines)]
    of = f" of {what.removeprefix('the ')}" * (what != "the force")
    facts.append(("forces", _evaluations(sum(parts.before), parts.carried, of)))
    facts += [("time", told)] if (told := _time(model, lowered, parts)) else []
    facts.append(("random", _random(advance)))
    for output in advance.outputs:
        every = "at the end" if output.every is None else f"every {_written(model, output.every)} steps"
        facts.append((output.kind, f"{', '.join(output.names)} {every}"))
        facts += [("", line) for line in exchange(lowered, output, lambda e: _written(model, e))]
    return f"{scheme}, line {advance.span.line}", facts


def _time(model: Model, advance: Advance, parts: Cut) -> str | None:
    """When within a step the time goes on, where that matters."""
    if parts.timed:
        rest = "" if advances_wholly(advance) else ", what is left of dt where a step ends"
        return f"goes on where atoms drift, `x += h*v`, by h: half before, half after{rest}"
    if explicit_time(model) and advance.dt is not None:
        return "goes on where a step ends, for no flow is a drift `x += h*v`: such a scheme is of first order in dt"
    return None


def _evaluated(parts: Cut) -> str:
    """What one evaluation of the energies gives to a scheme."""
    named = [
        ("the force", parts.force),
        ("the virial", parts.virial),
        ("sums", any(isinstance(s, SumOf) for s in parts.sums)),
    ]
    words = [word for word, wanted in named if wanted]
    return " and ".join(words) or "the force"


def _random(advance: Advance) -> str:
    draws = [s for s in advance.body if isinstance(s, Draw)]
    vectors = sum(d.per_atom for d in draws)
    if not draws:
        return "none"
    said = [f"{_times(vectors, 'normal vector')} for each atom and step"] if vectors else []
    said += [f"{_times(len(draws) - vectors, 'number')} for each step"] if len(draws) > vectors else []
    return f"{' and '.join(said)}, a function of the seed, the step and the {'atom' if vectors else 'draw'}"


def _evaluations(count: int, carried: bool, of: str = "") -> str:
    text = f"{_times(count, 'evaluation')}{of} per step"
    if carried:
        text += ", carried over to the next step" + (" and needed once before the first" if count else "")
    return text


def _times(count: int, noun: str) -> str:
    return f"{'no' if count == 0 else count} {noun}{'' if count == 1 else 's'}"


# -- derivatives ---------------------------------------------------------------------------------------


def _derivatives(model: Model) -> Iterator[Fact]:
    params = [p for p in model.params if p.lifetime == "param" and p.learned is None]
    free = [p for p in params if not _made_of(p, params)]
    networks = [p for p in model.params if p.learned is not None]
    yield "by", "positions x, the box, and the free parameters:" + ("" if free or networks else " there are none")
    yield from (("", _declared(model, p)) for p in free)
    yield from (("", f"{p.name}, {p.learned.count:,} weights (line {p.span.line})") for p in networks)
    if model.data:
        yield "data", "that come with the atoms, and by which energies are differentiable too:"
        yield from (("", _data(p)) for p in model.data)
    yield "orders", "any, in forward and reverse mode: sums over pairs are differentiated as sums over the same pairs"
    advances = [step for step in model.run if isinstance(step, Advance)]
    if advances:
        yield (
            "runs",
            "reverse mode keeps the state of each step, or of every √n-th of n where that is too much, and repeats the "
            "steps between",
        )
    if any(a.until is not None for a in advances):
        yield "minima", "through the iterations; `relaxed` gives the derivatives of a minimum itself, without them"
    made = [p for p in params if p not in free]
    if made:
        yield "made of", "parameters whose default follows from others:"
        yield from (("", _declared(model, p)) for p in made)
    consts = [p for p in model.params if p.lifetime == "const" and p.span.source is model.source]
    if consts:
        yield "folded", "constants, written into the program:"
        yield from (("", _declared(model, p)) for p in consts)


def _made_of(param: Param, params: list[Param]) -> bool:
    names = {p.name for p in params}
    return any(isinstance(n, Read) and n.symbol in names for n in walk(param.default))


def _written(model: Model, e: Expr, known: Mapping[int, str] = {}) -> str:  # noqa: B006
    """An expression as the author wrote it, where it is in the program's own text."""
    span = e.span if not e.via else None
    if span is not None and span.source is model.source and "#" not in span.text:
        return " ".join(span.text.split())
    return text_of(model, e, known)


def _data(param: Param) -> str:
    axes = f"[{', '.join(a.kind for a in param.axes)}]" if param.axes else ""
    return (
        f"{param.name}{axes}{f' in {unit_text(param.data.unit)}' if param.data.unit else ''} (line {param.span.line})"
    )


def _declared(model: Model, param: Param) -> str:
    axes = (
        f"[{', '.join(a.kind if a.kind != 'range' else f'{a.first}..{a.last}' for a in param.axes)}]"
        if param.axes
        else ""
    )
    return f"{param.name}{axes} = {_written(model, param.default)} (line {param.span.line})"
