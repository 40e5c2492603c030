"""Pass `infer`: every expression gets a type and a physical dimension, or a diagnostic.

Before: a first-order Model. After: every `Expr.type` is set, the difference of two points is the operation
`displacement`, a component of a point one of its displacement from `origin`, `dim` is a number, and every parameter
knows its type.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property

from mdsl.grammar.diagnostics import Diagnostic, Label
from mdsl.grammar.source import Source
from mdsl.model.box_dependencies import decided_by
from mdsl.model.dimensions import LENGTH, NAMED, ONE
from mdsl.model.faults import fault, place
from mdsl.model.literals import constant_value
from mdsl.model.nodes import (
    UNKNOWN,
    UNTYPED,
    Advance,
    Area,
    Axis,
    Call,
    Equation,
    Expr,
    Model,
    Number,
    OfAll,
    Op,
    Param,
    Read,
    Reduce,
    Slope,
    TableOf,
    Tabulated,
    Text,
    Type,
    walk,
)
from mdsl.model.nodes import Label as SpeciesLabel
from mdsl.model.operators import BUILTINS
from mdsl.model.signatures import definition
from mdsl.model.traverse import inside, mapped
from mdsl.model.typing_rules import Context, Mismatch, type_of

from .box_shape import check_box
from .declarations import infer_equation, infer_param
from .flows import infer_advance, same_observes
from .functions import infer_area, infer_call, infer_tabulated, infer_whole
from .names import infer_read
from .run import before_run, infer_setup, want


class Inference:
    """What is known so far of the types in a Model; the rules are functions of it. ``report`` takes what is wrong.

    ``params``, ``equations``: those that are typed; ``active``: those that are being typed, to find circles.
    ``locals``: the variables of integrals and derivatives, indices of ranges, values of flows. ``memo``: what
    expressions have become.
    """

    def __init__(self, model: Model, report: list[Diagnostic]):
        self.model = model
        self.report = report
        self.length = model.units.dimension(LENGTH)
        self.locals: dict[str, Type] = {}
        self.ranges: dict[str, Axis] = {}  # of the locals that are an index of a range
        self.params: dict[str, Param] = {}
        self.equations: dict[str, Equation] = {}
        self.active: list[str] = []
        self.memo: dict[int, tuple[Expr, Expr]] = {}

    @cached_property
    def program(self) -> Inference:
        """That of the program as it was written, without what was given from outside."""
        params = (p if p.declared is None else replace(p, default=p.declared, declared=None) for p in self.model.params)
        return Inference(replace(self.model, params=tuple(params)), self.report)

    def builtin(self, name: str) -> Type:
        builtin = BUILTINS[name]
        dimension = LENGTH**self.model.dim if name == "volume" else NAMED[builtin.dimension]
        return Type(builtin.kind, self.model.units.dimension(dimension))

    # -- expressions -----------------------------------------------------------------------------------

    def typed(self, expr: Expr) -> Expr:
        known = self.memo.get(id(expr))
        if known is None:
            known = self.memo[id(expr)] = (expr, self._typed(expr))
        return known[1]

    def _typed(self, expr: Expr) -> Expr:
        match expr:
            case Number(value=value, dimension=dimension):
                # Zero is zero in every unit.
                return replace(expr, type=Type("scalar", None if value == 0 else dimension))
            case Text():
                return replace(expr, type=Type("text"))
            case SpeciesLabel():
                return replace(expr, type=Type("label"))
            case Read(symbol="dim", indices=()):  # so that it can be an exponent
                return Number(float(self.model.dim), span=expr.span, via=expr.via, type=Type("scalar", ONE))
            case Read():
                return replace(expr, type=infer_read(self, expr))
            case Reduce(body=body):
                body = self.typed(body)
                if expr.op != "sum" and body.type.kind not in ("scalar", "unknown"):
                    self.fail(
                        "wrong-type",
                        f"`{expr.op}` compares numbers, not {body.type}",
                        body,
                        help="of a vector take its length `|d|` or a component `d.x`"
                        if body.type.kind == "vector"
                        else None,
                    )
                    return replace(expr, body=body, type=UNKNOWN)
                if body.type.kind not in ("scalar", "vector", "matrix", "unknown"):
                    self.fail("wrong-type", f"a sum adds numbers, vectors or matrices, not {body.type}", body)
                    return replace(expr, body=body, type=UNKNOWN)
                return replace(expr, body=body, type=body.type)
            case Tabulated():
                return infer_tabulated(self, expr)
            case TableOf(entries=entries):
                typed = tuple((labels, self.typed(value)) for labels, value in entries)
                return replace(expr, entries=typed, type=self.common([v for _, v in typed]))
            case Slope(variable=variable, body=body, at=at):
                at = self.typed(at)
                outer, self.memo = self.memo, {}
                self.locals[variable] = at.type
                body = self.typed(body)
                self.memo = outer
                if "unknown" in (at.type.kind, body.type.kind):
                    return replace(expr, body=body, at=at, type=UNKNOWN)
                if at.type.kind != "scalar" or body.type.kind != "scalar":
                    self.fail(
                        "wrong-type", f"D differentiates a number by a number, not {body.type} by {at.type}", expr
                    )
                return replace(expr, body=body, at=at, type=Type("scalar", body.type.over(at.type)))
            case Area():
                return infer_area(self, expr)
            case Call():
                return infer_call(self, expr)
            case OfAll():
                return infer_whole(self, expr)
            case Op(op=op, args=args):
                args = tuple(self.typed(a) for a in args)
                if op == "sub" and all(a.type.kind == "point" for a in args):
                    op = "displacement"
                if (
                    op.startswith("component_") and args[0].type.kind == "point"
                ):  # of where it is, from the corner of the box
                    there = self.typed(Read("origin", span=expr.span, via=expr.via))
                    args = (
                        Op(
                            "displacement",
                            (args[0], there),
                            span=expr.span,
                            via=expr.via,
                            type=Type("vector", self.length),
                        ),
                    )
                exponent = constant_value(args[1], self.model.dim) if op == "pow" else None
                try:
                    kind = type_of(op, tuple(a.type for a in args), Context(self.length, exponent, self.model.dim))
                except Mismatch as mismatch:
                    self.mismatch(mismatch, expr, args)
                    kind = UNKNOWN
                return replace(expr, op=op, args=args, type=kind)
        raise AssertionError(f"{type(expr).__name__} is not first order")

    def mismatch(self, mismatch: Mismatch, expr: Expr, args: tuple[Expr, ...]) -> None:
        found = place(self.model.source, expr)
        source = found.source if found is not None else self.model.source
        if isinstance(expr, Op) and expr.op == "choose":
            args = args[1:] if args[0].type.kind == "bool" else args[:1]
        secondary = tuple(
            Label(a.span, f"this is {a.type}")
            for a in args
            if a.span is not None and a.span.source is source and a.span != expr.span
        )
        notes: tuple[str, ...] = ()
        if expr.span is not None and expr.span.source is not source:
            head = definition(expr.span.source, expr.span.start) if mismatch.id == "wrong-unit" else None
            notes = (*self.given(source, args), *((f"it takes `{head}`",) if head else ()))
        labels = secondary if len(args) > 1 else ()
        self.fail(mismatch.id, mismatch.message, expr, secondary=labels, notes=notes, help=mismatch.help)

    def given(self, source: Source, args: tuple[Expr, ...]) -> tuple[str, ...]:
        """What a formula of the library has been given, since there the mistake is."""
        reads = {
            n.symbol: n.type
            for a in args
            for n in walk(a)
            if isinstance(n, Read) and n.span is not None and n.span.source is source
        }
        said = [
            f"`{name}` is {kind}"
            for name, kind in reads.items()
            if self.model.param(name) is not None and kind is not UNTYPED
        ]
        return (f"here {', '.join(said)}",) if said else ()

    def fail(self, id: str, message: str, at: Expr, **more) -> None:
        self.report.append(fault(self.model.source, id, message, at, **more))

    def common(self, values: list[Expr]) -> Type:
        """The type that all entries of a table share."""
        types = [v.type for v in values]
        first = next((t for t in types if t.dimension is not None), types[0] if types else UNKNOWN)
        for value in values:
            if value.type.kind != first.kind or value.type.dimension not in (None, first.dimension):
                self.fail("wrong-unit", f"this entry is {value.type}, others are {first}", value)
                return UNKNOWN
        return first


def infer(model: Model) -> tuple[Model, list[Diagnostic]]:
    """The typed Model, and every place where types or dimensions do not agree."""
    report: list[Diagnostic] = []
    inference = Inference(model, report)
    params = tuple(infer_param(inference, p) for p in model.params)
    equations = tuple(infer_equation(inference, e) for e in model.equations)
    box = model.box
    if box is not None:
        length = model.units.dimension(LENGTH)
        if len(box.edges) not in ((model.dim,) if box.tilts else (1, model.dim)):
            report.append(
                Diagnostic(
                    "bad-box",
                    f"the box has {len(box.edges)} {'vectors' if box.tilts else 'edges'}, space {model.dim} dimensions",
                    box.span,
                )
            )
        box = mapped(box, lambda e: want(inference, e, length, "an edge of the box"))
        for entry in inside(box):
            before_run(inference, entry, "an edge of the box", also=("N", "t"))
        for param in (p for p in model.params if p.lifetime == "state" and p.name in decided_by(model)):
            report.append(
                Diagnostic(
                    "nonconstant",
                    f"the box reads `{param.name}`, a state",
                    box.span,
                    help="a flow changes the box by `cell = ...`",
                )
            )
    run = tuple(infer_advance(inference, s) if isinstance(s, Advance) else infer_setup(inference, s) for s in model.run)
    same_observes(run, report)
    model = replace(model, params=params, equations=equations, box=box, run=run)
    if not any(d.severity == "error" for d in report):
        report += check_box(model)
    return model, report
