"""SymPy expressions as text: for Lepton, which OpenMM and LAMMPS' package LEPTON read, and for LAMMPS' variables."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import sympy

from mdsl.symbolic.bridge import atan2, floor, log1p
from mdsl.symbolic.calls import Applied
from mdsl.symbolic.magnitude import magnitude, signum
from mdsl.symbolic.tables import Lookup


class Unwritable(Exception):
    """A function that the engine's language does not have; ``part`` is where it is applied."""

    def __init__(self, part: sympy.Basic, what: str):
        super().__init__(what)
        self.part, self.what = part, what


NAMES: dict[type, str] = {
    sympy.exp: "exp", sympy.log: "log", sympy.sin: "sin", sympy.cos: "cos", sympy.tan: "tan", sympy.asin: "asin",
    sympy.acos: "acos", sympy.atan: "atan", sympy.sinh: "sinh", sympy.cosh: "cosh", sympy.tanh: "tanh",
    sympy.erf: "erf", sympy.erfc: "erfc", magnitude: "abs", floor: "floor", atan2: "atan2",
}  # fmt: skip


def number(value: float) -> str:
    """A number with all its digits."""
    value = float(value)
    if value == int(value) and abs(value) < 1e15:
        return str(int(value))
    return repr(value)


class Lepton:
    """The text of an expression; ``symbols``: what stands for each symbol; ``lookup``: what writes a tabulated
    function."""

    names = NAMES

    def __init__(self, symbols: Mapping[sympy.Symbol, str], lookup: Callable[[Lookup, Lepton], str] | None = None):
        self.symbols, self.lookup = symbols, lookup

    def __call__(self, e: sympy.Basic) -> str:
        """Raises Unwritable."""
        if e in self.symbols:
            return self.symbols[e]
        if e.is_Number or isinstance(e, sympy.Expr) and e.is_number:
            try:
                value = float(e)
            except TypeError:
                raise Unwritable(e, "a number that is not real") from None
            if value != value or value in (float("inf"), -float("inf")):
                raise Unwritable(e, "a number that is not finite")
            return f"({number(value)})" if value < 0 else number(value)
        if e.is_Add:
            return "(" + "+".join(self(a) for a in e.args) + ")"
        if e.is_Mul:
            return self.product(e)
        if e.is_Pow:
            return self.power(e.base, e.exp)
        if isinstance(e, sympy.Piecewise):
            return self.choice(e)
        if isinstance(e, signum):
            positive, negative = (self.condition(sympy.Gt(s * e.args[0], 0, evaluate=False)) for s in (1, -1))
            return f"({positive}-{negative})"
        if isinstance(e, log1p):
            return f"{self.names[sympy.log]}(1+{self(e.args[0])})"
        if isinstance(e, Lookup):
            if self.lookup is None:
                raise Unwritable(e, f"the tabulated function `{e.table}`")
            return self.lookup(e, self)
        if isinstance(e, Applied):
            raise Unwritable(e, f"the function `{e.args[0].name}`, which is learned or of Python")
        if type(e) in self.names:
            return f"{self.names[type(e)]}({','.join(map(self, e.args))})"
        raise Unwritable(e, f"`{e}`" if e.is_Symbol else f"the function `{type(e).__name__}`")

    def product(self, e: sympy.Mul) -> str:
        above = [f for f in e.args if not (f.is_Pow and f.exp.could_extract_minus_sign())]
        below = [f for f in e.args if f not in above]
        text = "*".join(map(self, above)) or "1"
        for f in below:
            text += f"/{self.power(f.base, -f.exp)}"
        return f"({text})"

    def power(self, base: sympy.Expr, exponent: sympy.Expr) -> str:
        if exponent == 1:
            return self(base)
        if exponent == sympy.Rational(1, 2):
            return f"sqrt({self(base)})"
        if exponent == sympy.Rational(-1, 2):
            return f"(1/sqrt({self(base)}))"
        if exponent.is_Number and exponent < 0:
            return f"(1/{self.power(base, -exponent)})"
        return f"({self(base)}^{self(exponent)})"

    def choice(self, e: sympy.Piecewise) -> str:
        *pieces, (last, condition) = e.args
        text = self(last)
        if condition != sympy.true:
            pieces, text = e.args, "0"
        for value, condition in reversed(pieces):
            text = self.select(self.condition(condition), self(value), text)
        return text

    def select(self, condition: str, then: str, otherwise: str) -> str:
        return f"select({condition},{then},{otherwise})"

    def condition(self, c: sympy.Basic) -> str:
        """1 where it holds, else 0."""
        match c:
            case sympy.StrictLessThan():
                return f"(1-step({self(c.lhs)}-({self(c.rhs)})))"
            case sympy.LessThan():
                return f"step({self(c.rhs)}-({self(c.lhs)}))"
            case sympy.StrictGreaterThan():
                return f"(1-step({self(c.rhs)}-({self(c.lhs)})))"
            case sympy.GreaterThan():
                return f"step({self(c.lhs)}-({self(c.rhs)}))"
            case sympy.Equality():
                return f"delta({self(c.lhs)}-({self(c.rhs)}))"
            case sympy.Unequality():
                return f"(1-delta({self(c.lhs)}-({self(c.rhs)})))"
            case sympy.And():
                return "(" + "*".join(map(self.condition, c.args)) + ")"
            case sympy.Or():
                return "(1-" + "*".join(f"(1-{self.condition(a)})" for a in c.args) + ")"
            case sympy.Not():
                return f"(1-{self.condition(c.args[0])})"
        if c in (sympy.true, sympy.false):
            return "1" if c == sympy.true else "0"
        raise Unwritable(c, f"the condition `{c}`")


class Variable(Lepton):
    """For the variables of LAMMPS, whose `log` is that of base 10, and which know no error function."""

    names = {f: n for f, n in NAMES.items() if n not in ("erf", "erfc", "sinh", "cosh", "tanh")} | {sympy.log: "ln"}

    def select(self, condition: str, then: str, otherwise: str) -> str:
        return f"ternary({condition},{then},{otherwise})"

    def condition(self, c: sympy.Basic) -> str:
        signs = {
            sympy.StrictLessThan: "<", sympy.LessThan: "<=", sympy.StrictGreaterThan: ">", sympy.GreaterThan: ">=",
            sympy.Equality: "==", sympy.Unequality: "!=",
        }  # fmt: skip
        if type(c) in signs:
            return f"({self(c.lhs)}{signs[type(c)]}{self(c.rhs)})"
        return super().condition(c)
