"""`mdsl explain`: what the compiler makes of a program, and why. Plain text, with the lines of the program."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from mdsl.compiler import Compiled
from mdsl.grammar.layout.expressions import unit_text
from mdsl.lowering.field.names import SumOf
from mdsl.lowering.field.schedule import Cut, advances_wholly, cut, moves
from mdsl.lowering.planning.kernels import UNKNOWN, Vectors
from mdsl.lowering.planning.policy import DEFAULT, Policy
from mdsl.model.box_dependencies import explicit_time
from mdsl.model.curves import HOLD, REPEAT, STOP
from mdsl.model.dimensions import ENERGY, LENGTH, MASS, TIME
from mdsl.model.functions import Weights
from mdsl.model.nodes import Advance, Draw, Expr, Model, Param, Read, walk
from mdsl.printing.expressions import text_of
from mdsl.printing.program import printed_memory, printed_steps

from .energies import energies, shown
from .exchanges import exchange
from .finding_pairs import finding_pairs
from .kernels import kernels
from .observables import observables

Fact = tuple[str, str]  # a word, and what is said under it; an empty word goes on with the one before


def explain(compiled: Compiled, policy: Policy = DEFAULT, vectors: Vectors = UNKNOWN) -> str:
    """The decisions of the compiler for one program; ``vectors``: of native kernels, if sums over pairs have these."""
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
        sections.append(("finding pairs", list(finding_pairs(compiled, policy))))
    computed = list(kernels(compiled, policy, vectors))
    if computed:
        sections.append(("kernels", computed))
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
        if isinstance(network, Weights):
            yield (
                param.name,
                f"{network.count:,} weights of a function of Python, as they were given (line {param.span.line})",
            )
            continue
        layers = " - ".join(map(str, network.sizes))
        yield (
            param.name,
            f"a network of layers {layers}, tanh between them: {network.count:,} weights and biases (line "
            f"{param.span.line})",
        )
        yield "", "weights to begin with: normal numbers of variance 1/inputs, of the seed 0; biases 0"
    for extern in model.python:
        given = (
            "given" if extern.function is not None else "not given yet: a program runs no Python unless it is told to"
        )
        yield extern.name, f"a function of Python of {', '.join(extern.parameters)}, {given} (line {extern.span.line})"


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
