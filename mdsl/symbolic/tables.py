"""Tabulated functions as SymPy sees them: applied functions that know their derivatives."""

from __future__ import annotations

import sympy

from mdsl.model.curves import Curves
from mdsl.model.nodes import SCALAR, Expr, Tabulated


class Functions(sympy.Atom):
    """The functions of a table, by its name."""

    def __new__(cls, name: str, curves: Curves):
        self = super().__new__(cls)
        self.name, self.curves = name, curves
        return self

    def _hashable_content(self) -> tuple:
        return self.name, id(self.curves)

    def _sympystr(self, printer) -> str:
        return self.name


class Lookup(sympy.Function):
    """``Lookup(table, order, which, end, extended, at)``: what `Tabulated` says; ``end`` is oo where there is none."""

    is_extended_real = True

    @classmethod
    def eval(cls, *args):
        return None

    table = property(lambda self: self.args[0].name)
    curves = property(lambda self: self.args[0].curves)
    order = property(lambda self: int(self.args[1]))
    which = property(lambda self: self.args[2])
    end = property(lambda self: self.args[3])
    at = property(lambda self: self.args[5])

    @property
    def free_symbols(self) -> set[sympy.Symbol]:
        """One of its own among them: even at a number it has no value in SymPy."""
        return super().free_symbols | {sympy.Symbol(f"·{self.table}")}

    def _eval_derivative(self, s: sympy.Symbol) -> sympy.Expr:
        table, order, *rest = self.args
        inner = self.at.diff(s)
        return sympy.Mul(Lookup(table, order + 1, *rest), inner) if inner != 0 else sympy.Integer(0)

    def _sympystr(self, printer) -> str:
        name = self.table if self.which.is_Number else printer._print(self.which)
        return f"{name}{chr(39) * self.order}({printer._print(self.at)})"

    def before_end(self) -> Lookup:
        """The function without its end."""
        *rest, _, at = self.args
        return Lookup(*rest, sympy.Integer(1), at)


def to_lookup(expr: Tabulated, which: sympy.Expr, at: sympy.Expr) -> Lookup:
    end = expr.curves.end
    return Lookup(
        Functions(expr.table, expr.curves),
        sympy.Integer(expr.order),
        which,
        sympy.oo if end is None else sympy.Float(end, 17),
        sympy.Integer(expr.extended),
        at,
    )


def from_lookup(e: Lookup, which: Expr, at: Expr, like: Expr) -> Tabulated:
    extended = bool(e.args[4])
    return Tabulated(e.table, which, e.order, at, extended, curves=e.curves, type=SCALAR, span=like.span, via=like.via)
