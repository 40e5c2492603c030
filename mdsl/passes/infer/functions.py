"""The part of `infer` for functions of numbers that are no formulas: tables, learned and extern functions,
integrals."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from mdsl.grammar.diagnostics import Label
from mdsl.model.dimensions import ENERGY, LENGTH, ONE
from mdsl.model.nodes import UNKNOWN, Area, Call, Expr, Network, OfAll, Op, Read, Tabulated, Type
from mdsl.model.typing_rules import article

from .run import before_run, want

if TYPE_CHECKING:
    from .expressions import Inference


def infer_tabulated(work: Inference, expr: Tabulated) -> Expr:
    """A function of a table, at a number of its dimension."""
    at, table = work.typed(expr.at), work.model.table(expr.table)
    expr = replace(expr, which=work.typed(expr.which), at=at)
    argument, result = (work.model.units.dimension(d) for d in (table.argument, table.result))
    if at.type.kind not in ("scalar", "index", "unknown"):
        work.fail(
            "wrong-type",
            f"`{expr.table}` is a function of a number, not of {at.type}",
            at,
            help="of a vector take its length `|d|`" if at.type.kind == "vector" else None,
        )
        return replace(expr, type=UNKNOWN)
    if at.type.kind == "scalar" and at.type.dimension not in (None, argument):
        work.fail("wrong-unit", f"`{expr.table}` is a function of {article(argument)}, but is given {at.type}", at)
        return replace(expr, type=UNKNOWN)
    return replace(expr, type=Type("scalar", result / argument**expr.order))


def infer_call(work: Inference, expr: Call) -> Call:
    """A learned or extern function: of pure numbers, or of the entries of one quantity; a pure number."""
    args = tuple(work.typed(a) for a in expr.args)
    expr = replace(expr, args=args, type=UNKNOWN)
    inputs = args[1:] if isinstance(expr.body, Network) else args
    if any(a.type.kind == "unknown" for a in inputs):
        return expr
    takes = f"`{expr.function}` takes {'one number' if expr.body.inputs == 1 else f'{expr.body.inputs} numbers'}"
    for a in inputs:
        if a.type.kind not in ("scalar", "index", "array"):
            help = (
                "of a vector take its length `|d|`"
                if a.type.kind == "vector"
                else "a species decides between functions: `if species[i] == A then ... else ...`"
                if a.type.kind == "label"
                else None
            )
            work.fail("wrong-type", f"{takes}, not {a.type}", a, help=help)
            return expr
        if a.type.kind != "index" and a.type.dimension not in (None, ONE):
            work.fail(
                "wrong-unit",
                f"`{expr.function}` takes pure numbers, not {_plural(a.type)}",
                a,
                help="divide by a quantity of the same dimension first",
            )
            return expr
    sizes = expr.body.sizes if isinstance(expr.body, Network) else ()
    given, arrays = len(inputs), [a for a in inputs if a.type.kind == "array"]
    if sizes and arrays:
        if given > 1:
            work.fail("wrong-arguments", f"{takes}: the entries of one quantity, or numbers one by one", expr)
            return expr
        given = arrays[0].type.size
    if given != expr.body.inputs:
        help = f"`mlp({', '.join(map(str, (given, *sizes[1:])))})` takes {given}" if sizes and given else None
        work.fail(
            "wrong-arguments",
            f"{takes}, but is given {given}",
            expr,
            secondary=(Label(expr.body.span, "declared here"),),
            help=help,
        )
        return expr
    return replace(expr, type=Type("scalar"))


def infer_whole(work: Inference, expr: OfAll) -> OfAll:
    """An energy of all atoms by a function of Python; its radius is known before the run."""
    length, energy = (work.model.units.dimension(d) for d in (LENGTH, ENERGY))
    for r in expr.radius:
        before_run(work, r, "the radius of `neighbours`")
    radius = tuple(want(work, r, length, "the radius of `neighbours`") for r in expr.radius)
    return replace(expr, radius=radius, type=Type("scalar", energy))


def infer_area(work: Inference, expr: Area) -> Expr:
    """An integral: the variable is what the bounds are; only they may be infinite."""
    lower, upper = (_bound(work, b) for b in (expr.lower, expr.upper))
    kind = upper.type if lower.type.dimension is None or upper.type.kind == "unknown" else lower.type
    strange = next((b for b in (lower, upper) if b.type.kind not in ("scalar", "unknown")), None)
    if strange is not None:
        work.fail("wrong-type", f"the bounds of an integral are numbers, not {strange.type}", strange)
        kind = UNKNOWN
    elif None not in (lower.type.dimension, upper.type.dimension) and lower.type.dimension != upper.type.dimension:
        work.fail("wrong-unit", f"an integral goes from {lower.type} to {upper.type}", expr)
        kind = UNKNOWN
    outer, work.memo = work.memo, {}
    work.locals[expr.variable] = kind
    body = work.typed(expr.body)
    work.memo = outer
    result = Type("scalar", body.type.times(kind))
    if body.type.kind not in ("scalar", "unknown"):
        work.fail("wrong-type", f"integral adds up numbers, not {body.type}", expr)
    if "unknown" in (kind.kind, body.type.kind):
        result = UNKNOWN
    return replace(expr, body=body, lower=lower, upper=upper, type=result)


def _bound(work: Inference, expr: Expr) -> Expr:
    """A bound of an integral; no end is one in any unit."""
    match expr:
        case Read(symbol="infinity"):
            return replace(expr, type=Type("scalar", None))
        case Op(op="neg", args=(Read(symbol="infinity") as end,)):
            return replace(expr, args=(_bound(work, end),), type=Type("scalar", None))
    return work.typed(expr)


def _plural(kind: Type) -> str:
    return str(replace(kind, kind="scalar")) if kind.kind == "array" else str(kind)
