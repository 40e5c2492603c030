"""Giving numbers their dimension back, for printing.

SymPy sees numbers only. A literal such as `8.5 [angstrom]` that went through a symbolic derivative comes back bare,
perhaps multiplied into others. What its dimension must be follows from what stands around it.
"""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

from mdsl.model.dimensions import LENGTH, ONE, Dimension
from mdsl.model.literals import constant_value
from mdsl.model.nodes import UNTYPED, Call, Expr, Model, Number, Op, Read, Reduce, TableOf, Tabulated, Type, children
from mdsl.model.traverse import mapped
from mdsl.model.typing_rules import Context, Mismatch, type_of

LIKE_ITS_PARTS = ("add", "sub", "neg", "abs", "min", "max", "choose")
COMPARISONS = ("lt", "le", "gt", "ge", "eq", "ne")


def redimension(model: Model) -> Model:
    """A typed Model whose numbers have the dimensions that the types ask for."""
    if model.units.reduced:
        return model
    work = _Redimension(model)
    return mapped(model, lambda e: e if e.type is UNTYPED else work.fit(e, e.type.dimension))


class _Redimension:
    def __init__(self, model: Model):
        self.model, self.length, self.dim = model, model.units.dimension(LENGTH), model.dim
        self.types: dict[int, tuple[Expr, Type | None]] = {}

    def type(self, e: Expr) -> Type | None:
        """The type of an expression from its leaves up; None where its dimensions disagree."""
        if id(e) not in self.types:
            self.types[id(e)] = (e, self._type(e))
        return self.types[id(e)][1]

    def _type(self, e: Expr) -> Type | None:
        match e:
            case Number(value=value, dimension=dimension):
                return Type("scalar", None if value == 0 else dimension)
            case Reduce(body=body):
                return self.type(body)
            case Tabulated(table=table, order=order, at=at):
                known = self.model.table(table)
                found = self.type(at)
                if found is None or found.dimension not in (None, known.argument):
                    return None
                return Type("scalar", known.result / known.argument**order)
            case Call():
                return Type("scalar")
            case Op(op=op, args=args):
                types = tuple(t for a in args if (t := self.type(a)) is not None)
                if len(types) < len(args):
                    return None
                exponent = constant_value(args[1], self.dim) if op == "pow" else None
                try:
                    return type_of(op, types, Context(self.length, exponent, self.dim))
                except Mismatch:
                    return None
        return e.type

    def is_right(self, e: Expr, wanted: Dimension | None) -> bool:
        found = self.type(e)
        return found is not None and (wanted is None or found.dimension in (None, wanted))

    def fit(self, e: Expr, wanted: Dimension | None) -> Expr:
        """The expression with numbers of other dimensions where it would not have the dimension wanted (None: any)."""
        if self.is_right(e, wanted):
            return e
        match e:
            case Number():
                return e if wanted is None else replace(e, dimension=wanted)
            case Reduce(body=body):
                return replace(e, body=self.fit(body, wanted))
            case TableOf(entries=entries):
                return replace(e, entries=tuple((k, self.fit(v, wanted)) for k, v in entries))
            case Tabulated(table=table, at=at):
                return replace(e, at=self.fit(at, self.model.table(table).argument))
            case Call(args=args):
                return replace(e, args=tuple(self.fit(a, ONE) for a in args))
            case Op(op=op, args=args):
                return replace(e, args=self._args(op, args, wanted))
        return e

    def _args(self, op: str, args: tuple[Expr, ...], wanted: Dimension | None) -> tuple[Expr, ...]:
        if op == "choose":
            return (self.fit(args[0], None), *self._alike(args[1:], wanted))
        if op in LIKE_ITS_PARTS:
            return self._alike(args, wanted)
        if op in COMPARISONS:
            return self._alike(args, None)
        if op in ("mul", "div"):
            return self._product(op, args, wanted)
        if op == "pow":
            exponent = constant_value(args[1])
            base = (
                wanted ** (1 / Fraction(exponent).limit_denominator(1000)) if wanted is not None and exponent else None
            )
            return self.fit(args[0], base), args[1]
        if op == "sqrt":
            return (self.fit(args[0], None if wanted is None else wanted**2),)
        if op in ("and", "or", "not"):
            return tuple(self.fit(a, None) for a in args)
        return tuple(self.fit(a, ONE) for a in args)

    def _alike(self, args: tuple[Expr, ...], wanted: Dimension | None) -> tuple[Expr, ...]:
        """Parts of one dimension: that of a part which has variables, if none is wanted."""
        if wanted is None:
            sure = [t for a in sorted(args, key=_variables) if (t := self.type(a)) is not None]
            wanted = sure[-1].dimension if sure else None
        return tuple(self.fit(a, wanted) for a in args)

    def _product(self, op: str, args: tuple[Expr, ...], wanted: Dimension | None) -> tuple[Expr, ...]:
        """One factor gives way: one whose own dimensions disagree, else a number, else the one with the fewest
        variables."""
        args = tuple(a if self.type(a) is not None or wanted is not None else self.fit(a, None) for a in args)
        if wanted is None:
            return args
        order = sorted(
            (0, 1), key=lambda k: (self.type(args[k]) is not None, not _has_number(args[k]), _variables(args[k]))
        )
        for k in order:
            other = self.fit(args[1 - k], None)
            known = self.type(other)
            if known is None or known.dimension is None:
                continue
            rest = (
                wanted / known.dimension
                if op == "mul"
                else wanted * known.dimension
                if k == 0
                else known.dimension / wanted
            )
            new = self.fit(args[k], rest)
            if self.is_right(new, rest):
                return (new, other) if k == 0 else (other, new)
        return args


def _has_number(e: Expr) -> bool:
    return isinstance(e, Number) or any(
        _has_number(c) for c in (children(e)[:1] if isinstance(e, Op) and e.op == "pow" else children(e))
    )


def _variables(e: Expr) -> int:
    return 1 if isinstance(e, Read) else sum(map(_variables, children(e)))
