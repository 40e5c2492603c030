"""Observables with an entry for each number of a range: histograms, correlation functions, structure factors.

Before sums are taken out, the index of every range becomes ``Read(ENTRY)``, and an entry of one observable inside
another is written out. A sum whose summand is 0 in all entries but one, `if b == k then w else 0`, is a histogram:
what it sums over is visited once, and w is added to the entry b. Any other sum is evaluated entry by entry, by one
program in a loop.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from mdsl.model.nodes import BOOL, SCALAR, Axis, Entry, Equation, Expr, Label, Model, Number, Op, Read, transform, walk
from mdsl.model.traverse import mapped

from .field import Measure
from .names import Symbol

ENTRY = Symbol("entry")  # the number of the range, as sums and combinations read it


# -- references to entries -------------------------------------------------------------------------------


def written_out(model: Model) -> Model:
    """The Model in which no observable reads an entry of another, every index of a range is ENTRY, and a species that
    an expression names is its number. Entries of quantities are still read."""
    bodies: dict[str, Expr] = {}

    def body(equation: Equation) -> Expr:
        if equation.name not in bodies:
            bodies[equation.name] = references(_at(equation.body, equation.binders[-1], Read(ENTRY, type=SCALAR)))
        return bodies[equation.name]

    def references(expr: Expr) -> Expr:
        return transform(expr, reference)

    def reference(node: Expr) -> Expr:
        if isinstance(node, Op) and any(isinstance(a, Label) for a in node.args):
            return replace(node, args=tuple(_number(a, model) for a in node.args))
        if not isinstance(node, Read) or not node.indices:
            return node
        other = model.equation(node.symbol)
        if other is None or other.series is None or other.kind == "quantity":
            return node
        (index,) = node.indices
        return _at(body(other), None, Number(float(index), type=SCALAR)) if isinstance(index, int) else body(other)

    plain = mapped(model, references)
    return replace(
        plain,
        equations=tuple(replace(e, body=body(e)) if e.series else p for e, p in zip(model.equations, plain.equations)),
    )


def _number(label: Expr, model: Model) -> Expr:
    return Number(float(model.species.index(label.species)), type=SCALAR) if isinstance(label, Label) else label


def _at(expr: Expr, binder: str | None, entry: Expr) -> Expr:
    """An expression with a number in the place of an index of a range: of that name, or ENTRY. The entries of per-atom
    values stay such."""
    symbol, old = (binder, binder) if binder is not None else (ENTRY, Entry())
    number = int(entry.value) if isinstance(entry, Number) else None
    fixed, new = number if binder is None else None, Entry() if number is None else number

    def rule(node: Expr) -> Expr:
        match node:
            case Read(symbol=name, indices=()) if name == symbol:
                return replace(entry, span=node.span, via=node.via)
            case Read(indices=(atom, Entry(number=None) as own)) if fixed is not None:
                return replace(node, indices=(atom, replace(own, number=fixed)))
            case Read(indices=indices) if old in indices:
                return replace(node, indices=tuple(new if i == old else i for i in indices))
        return node

    return transform(expr, rule)


# -- histograms ------------------------------------------------------------------------------------------


def with_axis(measure: Measure, equation: Equation) -> Measure:
    """A measure with the range whose entries it has, and as a histogram where it is one."""
    if not reads_entry(measure.summand):
        return measure
    measure = replace(measure, axis=equation.series)
    found = _delta(measure.summand) if measure.op == "sum" and measure.domain.counted else None
    if found is None or reads_entry(found.bin):
        return measure
    # In the one entry to which it belongs, the number of the entry is the bin.
    value = transform(found.value, lambda n: found.bin if isinstance(n, Read) and n.symbol == ENTRY else n)
    return measure if reads_entry(value) else replace(measure, summand=value, bin=found.bin)


def bounded(measure: Measure) -> Expr:
    """The summand of a histogram as it is in any of its entries at all: what goes beyond the last is left out."""
    if measure.bin is None or measure.axis is None:
        return measure.summand
    inside = Op("le", (measure.bin, Number(float(measure.axis.last), type=SCALAR)), type=BOOL)
    return Op("choose", (inside, measure.summand, Number(0.0, type=SCALAR)), type=measure.summand.type)


def reads_entry(expr: Expr) -> bool:
    return any(
        isinstance(n, Read) and (n.symbol == ENTRY or any(isinstance(i, Entry) and i.number is None for i in n.indices))
        for n in walk(expr)
    )


def size(axis: Axis) -> int:
    return axis.count


def at_entry(expr: Expr, axis: Axis | None):
    """The expression at each number of a range, its own number ENTRY written out."""
    return (
        [expr]
        if axis is None
        else [_at(expr, None, Number(float(k), type=SCALAR)) for k in range(axis.first, axis.last + 1)]
    )


@dataclass(frozen=True)
class _Delta:
    """``value`` where ``bin`` is the number of the entry, else 0."""

    bin: Expr
    value: Expr


def _delta(expr: Expr) -> _Delta | None:
    if not isinstance(expr, Op):
        return None
    match expr.op, expr.args:
        case "choose", (condition, value, Number(value=0)):
            return _condition(condition, value)
        case "mul", (a, b):
            for k, part in enumerate((a, b)):
                if (found := _delta(part)) is not None:
                    return replace(found, value=replace(expr, args=(found.value, b) if k == 0 else (a, found.value)))
        case ("div", (a, _)) | ("neg", (a,)):
            if (found := _delta(a)) is not None:
                return replace(found, value=replace(expr, args=(found.value, *expr.args[1:])))
    return None


def _condition(condition: Expr, value: Expr) -> _Delta | None:
    """Of ``if condition then value else 0``."""
    zero = Number(0.0, type=SCALAR)

    def unless(other: Expr, kept: Expr) -> Expr:
        return Op("choose", (other, kept, zero), type=value.type, span=value.span)

    match condition:
        case Op(op="eq", args=(a, b)):
            bin = _solved(a, b) or _solved(b, a)
            return None if bin is None else _Delta(bin, value)
        case Op(op="and", args=(a, b)):
            for first, other in ((a, b), (b, a)):
                if (found := _condition(first, value)) is not None:
                    return replace(found, value=unless(other, found.value))
    inner = _delta(value)  # a condition outside, the entry inside
    return inner and replace(inner, value=unless(condition, inner.value))


def _solved(side: Expr, other: Expr) -> Expr | None:
    """The entry at which ``side == other``, where ``side`` is the number of the entry, shifted or not."""
    if reads_entry(other):
        return None
    match side:
        case Read(symbol=name, indices=()) if name == ENTRY:
            return other
        case Op(op="add", args=(a, b)) | Op(op="sub", args=(a, b)):
            back = "sub" if side.op == "add" else "add"
            if not reads_entry(b):
                return _solved(a, Op(back, (other, b), type=SCALAR))
            if side.op == "add" and not reads_entry(a):
                return _solved(b, Op("sub", (other, a), type=SCALAR))
    return None
