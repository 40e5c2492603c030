"""The door between the Model's scalar expressions and SymPy.

Only scalars pass: what SymPy need not understand (a parameter, a distance, a sum) becomes a symbol, *a leaf*,
and comes back unchanged. Expressions are built by constructors, never from text, and nothing is simplified
beyond what the constructors do of themselves.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import reduce

import sympy

from mdsl.model.nodes import BOOL, SCALAR, Call, Expr, Number, Op, Read, Tabulated
from mdsl.model.operators import ELEMENTARY, OPERATORS

from .calls import Applied, from_applied, to_applied
from .magnitude import magnitude, signum
from .tables import Lookup, from_lookup, to_lookup


class atan2(sympy.Function):
    """The angle of a direction; SymPy's own has no value at the origin."""

    nargs = 2

    def fdiff(self, argindex: int = 1) -> sympy.Expr:
        y, x = self.args
        return (x if argindex == 1 else -y) / (x**2 + y**2)


class log1p(sympy.Function):
    """log(1 + a), where SymPy would add before it takes the logarithm."""

    nargs = 1

    @classmethod
    def eval(cls, a: sympy.Expr) -> sympy.Expr | None:
        return sympy.log(1 + a) if a.is_Rational else None

    def fdiff(self, argindex: int = 1) -> sympy.Expr:
        return 1 / (1 + self.args[0])


class _Steps(sympy.Function):
    """A function with a derivative of 0 wherever it has one."""

    nargs = 1

    def fdiff(self, argindex: int = 1) -> sympy.Expr:
        return sympy.Integer(0)


class floor(_Steps):
    pass


class nearest(_Steps):
    pass


_OWN = {"log1p": log1p, "atan2": atan2, "floor": floor, "round": nearest, "abs": magnitude}
FUNCTIONS = _OWN | {name: getattr(sympy, name) for name in ELEMENTARY if name not in _OWN}
_RELATIONS = {"lt": sympy.Lt, "le": sympy.Le, "gt": sympy.Gt, "ge": sympy.Ge, "eq": sympy.Eq, "ne": sympy.Ne}
_HOLDS = {
    "lt": operator.lt,
    "le": operator.le,
    "gt": operator.gt,
    "ge": operator.ge,
    "eq": operator.eq,
    "ne": operator.ne,
}
_RELATION_NAMES = {
    sympy.StrictLessThan: "lt", sympy.LessThan: "le", sympy.StrictGreaterThan: "gt", sympy.GreaterThan: "ge",
    sympy.Equality: "eq", sympy.Unequality: "ne",
}  # fmt: skip
_FUNCTION_NAMES = {function: name for name, function in FUNCTIONS.items()}


def number(value: float) -> sympy.Expr:
    """A float as SymPy's number: whole numbers and simple fractions exactly, so that powers combine."""
    if math.isinf(value) or math.isnan(value):
        return sympy.Float(value)
    if value == int(value) and abs(value) < 2**53:
        return sympy.Integer(int(value))
    for denominator in (2, 3, 4, 6, 8, 12):
        if value * denominator == int(value * denominator) and abs(value) < 1000:
            return sympy.Rational(int(value * denominator), denominator)
    return sympy.Float(value, 17)


def _power(base: sympy.Expr, exponent: sympy.Expr) -> sympy.Expr:
    """A power; of two numbers as a float where the exact value would have more digits than memory holds."""
    if base.is_Number and exponent.is_Number and abs(exponent) > 100 and (base > 0 or base < 0 and exponent.is_Integer):
        try:
            return number(float(base) ** float(exponent))
        except OverflowError:
            return number(math.inf)
    if exponent.is_positive and not exponent.is_integer:
        factor, choice = base.as_independent(sympy.Piecewise, as_Add=False) if base.is_Mul else (sympy.Integer(1), base)
        if isinstance(choice, sympy.Piecewise) and len(choice.args) == 2:
            return _power_of_choice(factor, choice, exponent)
    return sympy.Pow(base, exponent)


def _power_of_choice(factor: sympy.Expr, choice: sympy.Piecewise, exponent: sympy.Expr) -> sympy.Expr:
    """A broken power of a factor times a choice between 0 and something, as of max(0, 1 - r): 0 where that is 0, and
    also where the other is 0 itself, at which its power may have no derivatives."""
    (value, condition), (rest, _) = choice.args
    if rest == 0:
        return _piecewise(sympy.Pow(factor * value, exponent), condition, rest)
    if value == 0:
        equal = {sympy.StrictGreaterThan: sympy.Ge, sympy.StrictLessThan: sympy.Le}.get(type(condition))
        if equal is not None and {condition.lhs, condition.rhs} == {value, rest}:
            condition = equal(condition.lhs, condition.rhs, evaluate=False)
        return _piecewise(value, condition, sympy.Pow(factor * rest, exponent))
    return sympy.Pow(factor * choice, exponent)


@dataclass
class Leaves:
    """The symbols that stand for what SymPy does not look into, each for one expression of the Model."""

    symbols: dict[Expr, sympy.Symbol] = field(default_factory=dict)
    exprs: dict[sympy.Symbol, Expr] = field(default_factory=dict)

    def symbol(self, expr: Expr) -> sympy.Symbol:
        known = self.symbols.get(expr)
        if known is None:
            stem = _stem(expr)
            name = stem if all(s.name != stem for s in self.exprs) else f"{stem}_{len(self.exprs)}"
            positive = isinstance(expr, Op) and (expr.op == "norm" or expr.op == "dot" and expr.args[0] == expr.args[1])
            known = sympy.Symbol(name, positive=True) if positive else sympy.Symbol(name, real=True)
            self.add(expr, known)
        return known

    def add(self, expr: Expr, symbol: sympy.Symbol) -> None:
        self.symbols[expr] = symbol
        self.exprs[symbol] = expr


def _stem(expr: Expr) -> str:
    match expr:
        case Read(symbol=symbol, indices=indices):
            return "_".join([symbol, *(str(i) for i in indices)])
        case Op(op="norm"):
            return "r"
    return "q"


def to_sympy(expr: Expr, leaves: Leaves, memo: dict[int, sympy.Expr] | None = None) -> sympy.Expr:
    """A scalar (or condition) of the Model as a SymPy expression over leaves."""
    memo = {} if memo is None else memo
    known = memo.get(id(expr))
    if known is None:
        known = memo[id(expr)] = _to_sympy(expr, leaves, memo)
    return known


def _to_sympy(expr: Expr, leaves: Leaves, memo: dict[int, sympy.Expr]) -> sympy.Expr:
    if expr in leaves.symbols:
        return leaves.symbols[expr]
    match expr:
        case Number(value=value):
            return number(value)
        case Read(symbol="pi", indices=()):
            return sympy.pi
        case Op(op=op, args=args) if all(a.type.kind in ("scalar", "bool", "index", "label", "untyped") for a in args):
            parts = [to_sympy(a, leaves, memo) for a in args]
            value = _operation(op, parts, expr, leaves)
            # What has no value that is real stays as it is: SymPy's complex numbers do not compare.
            return leaves.symbol(expr) if value.is_number and value.is_extended_real is False else value
        case Tabulated(which=which, at=at):
            return to_lookup(expr, to_sympy(which, leaves, memo), to_sympy(at, leaves, memo))
        case Call(args=args):
            return to_applied(expr, [to_sympy(a, leaves, memo) for a in args])
    return leaves.symbol(expr)


def _operation(op: str, parts: list[sympy.Expr], expr: Op, leaves: Leaves) -> sympy.Expr:
    if op == "div" and parts[1] == 0 or op == "pow" and parts[0] == 0 and parts[1].is_negative:
        # SymPy's infinity has no sign, and does not compare.
        above, zero = (Number(value, type=SCALAR) for value in (float(parts[0] != 0 or op == "pow"), 0.0))
        infinity = leaves.symbol(Op("div", (above, zero), type=SCALAR, span=expr.span, via=expr.via))
        return infinity if op == "pow" or parts[0] == 0 else sympy.Mul(parts[0], infinity)
    match op:
        case "add":
            return sympy.Add(*parts)
        case "sub":
            return sympy.Add(parts[0], sympy.Mul(sympy.Integer(-1), parts[1]))
        case "neg":
            return sympy.Mul(sympy.Integer(-1), parts[0])
        case "mul":
            return sympy.Mul(*parts)
        case "div":
            return sympy.Mul(parts[0], sympy.Pow(parts[1], sympy.Integer(-1)))
        case "pow":
            return _power(*parts)
        case "sqrt":
            return _power(parts[0], sympy.Rational(1, 2))
        case "next" | "previous":
            return parts[0]
        case "norm" | "abs":
            return magnitude(parts[0])
        case "min":
            return _piecewise(parts[0], _compared("lt", parts[0], parts[1], evaluate=False), parts[1])
        case "max":
            return _piecewise(parts[0], _compared("gt", parts[0], parts[1], evaluate=False), parts[1])
        case "choose":
            return _piecewise(parts[1], parts[0], parts[2])
        case "and":
            return sympy.And(*parts)
        case "or":
            return sympy.Or(*parts)
        case "not":
            return sympy.Not(parts[0])
    if op in _RELATIONS:
        return _compared(op, *parts)
    if op in FUNCTIONS:
        return FUNCTIONS[op](*parts)
    return leaves.symbol(expr)


def _compared(op: str, a: sympy.Expr, b: sympy.Expr, evaluate: bool = True) -> sympy.Basic:
    """A comparison. That of two numbers is decided here: SymPy would meet it within others and divide by the slope of
    their difference, which is 0."""
    if a.is_extended_real is False or b.is_extended_real is False:
        return sympy.true if op == "ne" else sympy.false  # no number at all
    left, right = (_real(a), _real(b)) if a.is_number and b.is_number else (_real(a - b), 0.0)
    if left is not None and right is not None:
        return sympy.true if _HOLDS[op](left, right) else sympy.false
    return _RELATIONS[op](a, b, evaluate=evaluate)


def _piecewise(then: sympy.Expr, condition: sympy.Basic, otherwise: sympy.Expr) -> sympy.Expr:
    """Unevaluated: SymPy would otherwise try to solve the conditions."""
    if condition in (sympy.true, sympy.false):
        return then if condition == sympy.true else otherwise
    return sympy.Piecewise((then, condition), (otherwise, True), evaluate=False)


# -- and back --------------------------------------------------------------------------------------------


def from_sympy(
    expr: sympy.Basic, leaves: Leaves, order: Callable[[sympy.Expr], int] | None = None, like: Expr | None = None
) -> Expr:
    """A SymPy expression as an expression of the Model.

    ``order`` ranks factors: those of one rank are multiplied with each other first, so that later passes find
    what does not depend on the pair in one piece. ``like`` lends its source span.
    """
    return _Writer(leaves, order or (lambda e: 0), like or Expr()).expr(expr)


def _real(e: sympy.Expr) -> float | None:
    """The value of a constant; None where it has none that is real and finite."""
    try:
        value = float(e)
    except (TypeError, NotImplementedError, ValueError, OverflowError):
        return None
    return value if math.isfinite(value) or e.is_Atom else None


class _Writer:
    def __init__(self, leaves: Leaves, order: Callable[[sympy.Expr], int], like: Expr):
        self.leaves, self.order, self.like = leaves, order, like
        self.memo: dict[sympy.Basic, Expr] = {}

    def op(self, name: str, *args: Expr) -> Expr:
        # Dimensions were checked before SymPy saw the expression; from here on only the kind matters.
        kind = BOOL if OPERATORS[name].typing in ("comparison", "logic") else SCALAR
        return Op(name, args, type=kind, span=self.like.span, via=self.like.via)

    def chain(self, name: str, parts: Iterable[Expr]) -> Expr:
        """Several joined by an operation of two, from the first on."""
        return reduce(lambda a, b: self.op(name, a, b), parts)

    def number(self, value: float) -> Expr:
        return Number(value, type=SCALAR, span=self.like.span, via=self.like.via)

    def expr(self, e: sympy.Basic) -> Expr:
        known = self.memo.get(e)
        if known is None:
            known = self.memo[e] = self._expr(e)
        return known

    def _expr(self, e: sympy.Basic) -> Expr:
        if e in self.leaves.exprs:
            return self.leaves.exprs[e]
        if isinstance(e, Applied):
            return from_applied(e, tuple(self.expr(a) for a in e.args[1:]), self.like)
        if isinstance(e, Lookup):
            return from_lookup(e, self.expr(e.which), self.expr(e.at), self.like)
        if e in (sympy.zoo, sympy.oo, -sympy.oo, sympy.nan, sympy.I):  # what a branch that is not taken may hold
            above = {sympy.nan: 0.0, sympy.I: 0.0, -sympy.oo: -1.0}.get(e, 1.0)
            return self.op("div", self.number(above), self.number(0.0))
        if not e.free_symbols and isinstance(e, sympy.Expr):
            constant = _real(e)
            if constant is not None:
                return self.number(constant)
        if e.is_Add:
            terms = sorted(e.args, key=lambda a: (self.order(a), a.could_extract_minus_sign()))
            total = self.expr(terms[0])
            for term in terms[1:]:
                if term.could_extract_minus_sign():
                    total = self.op("sub", total, self.expr(-term))
                else:
                    total = self.op("add", total, self.expr(term))
            return total
        if e.is_Mul:
            return self.product(e)
        if e.is_Pow:
            return self.power(e.base, e.exp)
        if isinstance(e, sympy.exp):
            return self.op("exp", self.expr(e.args[0]))
        if isinstance(e, sympy.Piecewise):
            *pieces, (last, condition) = e.args
            result = (
                self.expr(last)
                if condition == sympy.true
                else self.op("choose", self.expr(condition), self.expr(last), self.number(0.0))
            )
            for value, condition in reversed(pieces):
                result = self.op("choose", self.expr(condition), self.expr(value), result)
            return result
        if isinstance(e, sympy.And | sympy.Or):
            return self.chain("and" if isinstance(e, sympy.And) else "or", map(self.expr, e.args))
        if isinstance(e, signum | sympy.sign):
            value, zero = self.expr(e.args[0]), self.number(0.0)
            negative = self.op("choose", self.op("lt", value, zero), self.number(-1.0), zero)
            return self.op("choose", self.op("gt", value, zero), self.number(1.0), negative)
        if isinstance(e, sympy.ITE):
            condition, then, otherwise = (self.expr(a) for a in e.args)
            return self.op("or", self.op("and", condition, then), self.op("and", self.op("not", condition), otherwise))
        if e in (sympy.true, sympy.false):
            return self.op("eq" if e == sympy.true else "ne", self.number(0.0), self.number(0.0))
        if isinstance(e, sympy.Not):
            return self.op("not", self.expr(e.args[0]))
        if type(e) in _RELATION_NAMES:
            return self.op(_RELATION_NAMES[type(e)], self.expr(e.lhs), self.expr(e.rhs))
        if isinstance(e, magnitude | sympy.Abs):
            return self.op("abs", self.expr(e.args[0]))
        if isinstance(e, sympy.Max | sympy.Min):
            return self.chain("max" if isinstance(e, sympy.Max) else "min", map(self.expr, e.args))
        if e.func in _FUNCTION_NAMES:
            return self.op(_FUNCTION_NAMES[e.func], *map(self.expr, e.args))
        raise NotImplementedError(f"SymPy made {e.func.__name__}, which the language has no operation for")

    def product(self, e: sympy.Expr) -> Expr:
        ranks: dict[int, list[sympy.Expr]] = {}
        for factor in sympy.Mul.make_args(e):
            ranks.setdefault(self.order(factor), []).append(factor)
        groups = (sorted(ranks[rank], key=lambda f: not f.is_Number) for rank in sorted(ranks))
        return self.chain("mul", (self.chain("mul", map(self.expr, group)) for group in groups))

    def power(self, base: sympy.Expr, exponent: sympy.Expr) -> Expr:
        """Whole and half powers by products of the base, its root and their inverse, which others share."""
        value = self.expr(base)
        if exponent == 1:
            return value
        if exponent.is_Rational and exponent < 0:
            inverse = self.op("div", self.number(1.0), self.root(value, exponent.q))
            return (
                self.whole(inverse, int(-exponent.p))
                if exponent.q in (1, 2)
                else self.op("pow", value, self.number(float(exponent)))
            )
        if exponent.is_Rational and exponent.q in (1, 2):
            return self.whole(self.root(value, exponent.q), int(exponent.p))
        return self.op("pow", value, self.expr(exponent))

    def root(self, value: Expr, q: int) -> Expr:
        return self.op("sqrt", value) if q == 2 else value

    def whole(self, value: Expr, power: int) -> Expr:
        return value if power == 1 else self.op("pow", value, self.number(float(power)))
