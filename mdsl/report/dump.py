"""`mdsl dump`: a program as it is after a pass. Models are printed as programs, the Field as a description."""

from __future__ import annotations

from mdsl.compiler import Compiled
from mdsl.grammar.diagnostics import Diagnostic, Rejected, suggest
from mdsl.lowering.field.field import Combination, Field, Measure, PerAtom, Term
from mdsl.lowering.field.series import ENTRY
from mdsl.model.nodes import SCALAR, Expr, Number, Op, Read, transform
from mdsl.passes.pipeline import PASSES
from mdsl.printing.expressions import text_of
from mdsl.printing.program import print_model

STAGES = ("resolve", *(p.name for p in PASSES), "field")
KERNEL = "kernel"  # what becomes of the Field, by JAX: `mdsl.command.kernels` prints it


def stage_name(name: str | None) -> str:
    """The stage that ``--after`` names; the last Model without it. Raises Rejected: ``bad-option``."""
    if name is None:
        return STAGES[-2]
    if name not in (known := (*STAGES, KERNEL)):
        help = suggest(name, known) or f"the passes are {', '.join(known)}"
        raise Rejected(Diagnostic("bad-option", f"there is no pass `{name}`", help=help))
    return name


def dump(compiled: Compiled, stage: str) -> str:
    if stage == "field":
        return print_field(compiled.field)
    return print_model(compiled.stage(stage))


def print_field(field: Field) -> str:
    """Terms with their derivatives and supports, measures, and how equations are put together from them."""
    blocks = [_value(field, v) for v in field.values]
    blocks += [_term(field, t) for t in field.terms]
    blocks += ["\n".join(_measure(field, m) for m in field.measures)] if field.measures else []
    blocks += ["\n".join(_combination(field, c) for c in field.combinations)]
    return "\n\n".join(blocks) + "\n"


def described(field: Field, part: Term | PerAtom | Measure) -> list[str]:
    """One sum, in lines."""
    if isinstance(part, Measure):
        return _measure(field, part).splitlines()
    return (_term(field, part) if isinstance(part, Term) else _sum(field, part)).splitlines()


def _term(field: Field, term: Term) -> str:
    """A term, in which d is the displacement and r its length."""
    if term.domain.tuples:
        return _tuple_term(field, term)
    gradient = term.gradients[0]

    def text(e: Expr) -> str:
        return _text(field, _in_distance(e, gradient.displacement))

    lines = [f"{_head(term)}, d = {_text(field, gradient.displacement)}, r = |d|"]
    lines.append(f"  summand   {text(term.summand)}")
    if gradient.radial is not None:
        lines.append(f"  by r^2    {text(gradient.radial)}")
    if gradient.direct is not None:
        lines += [f"  by d.{axis}    {text(e)}" for axis, e in zip("xyz", gradient.direct)]
    if term.support.cutoff is not None:
        lines.append(f"  support   below {_text(field, term.support.cutoff)}")
    elif term.domain.reaches:
        lines.append(f"  support   none: {term.support.why}")
    for leaf, slope in (*term.slopes, *term.partials, *term.inner):
        lines.append(f"  by {_text(field, leaf)}: {text(slope)}")
    return "\n".join([*lines, *_networks(term)])


def _head(term: Term) -> str:
    what = (
        f"term {term.name} of {term.equation}" if term.name is not None else f"the derivative through {term.equation}"
    )
    return f"{what}: sum over {term.domain}{_range(term)}"


def _range(item: Term | PerAtom) -> str:
    return (
        ""
        if item.axis is None
        else f", k in {item.axis.first}..{item.axis.last}"
        if isinstance(item, Term)
        else f", for each k in {item.axis.first}..{item.axis.last}"
    )


def _value(field: Field, value: PerAtom) -> str:
    """A per-atom value; then the term that carries derivatives through it."""
    return "\n".join([_sum(field, value), *([_term(field, value.adjoint)] if value.adjoint is not None else [])])


def _sum(field: Field, value: PerAtom) -> str:
    over = "" if value.domain is None else f": sum over {value.domain}"
    lines = [
        f"value {value.name}[{value.centre}] of {value.equation}{over}{_range(value)}",
        f"  summand   {_text(field, value.summand)}",
    ]
    if value.support.cutoff is not None:
        lines.append(f"  support   below {_text(field, value.support.cutoff)}")
    return "\n".join(lines)


def _tuple_term(field: Field, term: Term) -> str:
    lines = [_head(term)]
    lines.append(f"  summand   {_text(field, term.summand)}")
    for gradient in term.gradients:
        lines.append(f"  by d = {_text(field, gradient.displacement)}")
        lines += [f"  by d.{axis}    {_text(field, e)}" for axis, e in zip("xyz", gradient.direct)]
    if term.support.cutoff is not None:
        lines.append(f"  support   legs below {_text(field, term.support.cutoff)}")
    lines += [
        f"  by {_text(field, leaf)}: {_text(field, slope)}"
        for leaf, slope in (*term.slopes, *term.partials, *term.inner)
    ]
    return "\n".join([*lines, *_networks(term)])


def _networks(term: Term) -> list[str]:
    return [f"  by the weights of {leaf.symbol}: by JAX" for leaf in term.networks]


def _in_distance(e: Expr, displacement: Expr) -> Expr:
    """The expression with r for the distance and d for the displacement."""
    r, d = Read("r", type=SCALAR), Read("d", type=displacement.type)

    def rule(node: Expr) -> Expr:
        if node == Op("dot", (d, d)):  # bottom-up: d is already written
            return Op("pow", (r, Number(2.0)))
        if isinstance(node, Op) and node.op == "sqrt" and node.args[0] == Op("pow", (r, Number(2.0))):
            return r
        return d if node == displacement else node

    return transform(e, rule)


def _measure(field: Field, measure: Measure) -> str:
    return (
        f"measure {measure.name} of {measure.equation}: {measure.op} over {measure.domain}  "
        f"{_text(field, measure.summand)}"
    )


def _combination(field: Field, combination: Combination) -> str:
    return f"{combination.kind} {combination.name} = {_text(field, combination.expr)}"


def _text(field: Field, expr: Expr) -> str:
    """An expression; k is the number of a range."""
    return text_of(field.model, transform(expr, lambda e: Read("k", type=SCALAR) if e == Read(ENTRY) else e))
