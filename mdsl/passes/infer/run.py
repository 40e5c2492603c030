"""The part of `infer` for numbers that must be known before a run: its options, its lengths, where its atoms begin."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from mdsl.model.dimensions import LENGTH, NAMED, ONE, Dimension
from mdsl.model.dynamics import MOST_STEPS
from mdsl.model.literals import constant_value, whole_value
from mdsl.model.nodes import Expr, Read, Reduce, Setup, walk
from mdsl.model.operators import BUILTINS
from mdsl.model.typing_rules import article
from mdsl.resolve.builders import BUILDERS

if TYPE_CHECKING:
    from .expressions import Inference


def want(work: Inference, expr: Expr, dimension: Dimension | None, what: str) -> Expr:
    """A number of the given dimension (None: any)."""
    expr = work.typed(expr)
    if expr.type.kind == "unknown":
        return expr
    if expr.type.kind != "scalar":
        work.fail("wrong-type", f"{what} is a number, not {expr.type}", expr)
    elif dimension is not None and expr.type.dimension not in (None, dimension):
        help = None
        if expr.type.dimension.is_one and not dimension.is_one:
            shown = work.model.units.display(dimension).text
            help = f"give it a unit: `{expr.span.text if expr.span else '...'} [{shown}]`"
        work.fail("wrong-unit", f"{what} is {article(dimension)}, but this is {expr.type}", expr, help=help)
    return expr


def before_run(work: Inference, expr: Expr, what: str, also: tuple[str, ...] = ()) -> None:
    """Only numbers that are known before the run may stand here."""
    for node in walk(expr):
        name = node.symbol if isinstance(node, Read) else None
        atoms = isinstance(node, Reduce) or name is not None and work.model.equation(name) is not None
        param = work.model.param(name) if name is not None else None
        builtin = (
            param is not None
            and param.lifetime == "state"
            or name in BUILTINS
            and param is None
            and name not in ("pi", "dim", "infinity", *also)
        )
        if atoms or builtin:
            shown = f"`{name}`" if name else "a sum over atoms"
            help = (
                "a function of time is a `def`, and stands where a scheme takes it: `def T_bath(t) = 1.5 - 0.01*t`"
                if name == "t"
                else None
            )
            work.fail("nonconstant", f"{what} must be known before the run, but this reads {shown}", node, help=help)
            return


def whole(work: Inference, expr: Expr, what: str, least: int) -> Expr:
    """A whole number, as far as it can be told without the values of parameters."""
    expr = want(work, expr, ONE, what)
    before_run(work, expr, what)
    value = constant_value(expr)
    if value is not None and value > MOST_STEPS:
        work.fail("bad-number", f"{what} is at most {MOST_STEPS:_}", expr)
    elif value is not None and ((count := whole_value(value)) is None or count < least):
        work.fail("bad-number", f"{what} is a whole number{', at least 1' if least else ''}, not {value:.15g}", expr)
    return expr


def infer_setup(work: Inference, step: Setup) -> Setup:
    """A builder, whose options are numbers, texts or species as it wants them."""
    builder = BUILDERS[step.builder]
    options = []
    for name, value in step.options:
        option = builder.option(name.split(".")[0])
        what = f"`{option.name}` of {step.builder}"
        if option.kind in ("number", "count", "counts"):
            dimension = LENGTH**-work.model.dim if option.dimension == "number density" else NAMED[option.dimension]
            value = (
                whole(work, value, what, 0)
                if option.kind in ("count", "counts")
                else want(work, value, work.model.units.dimension(dimension), what)
            )
        else:
            value = work.typed(value)
            wanted = {"text": ("text",), "species": ("label", "scalar", "unknown")}[option.kind]
            if value.type.kind not in wanted:
                work.fail(
                    "wrong-type",
                    f"{what} is {'a text in quotes' if option.kind == 'text' else 'a species'}, not {value.type}",
                    value,
                )
        before_run(work, value, what)
        options.append((name, value))
    return replace(step, options=tuple(options))
