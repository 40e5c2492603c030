"""Learned and extern functions as SymPy sees them: applied functions that know their derivatives by name.

An array that such a function takes is one symbol like others. That is right as long as it is differentiated once: the
derivative by it is an array of as many numbers, times numbers.
"""

from __future__ import annotations

import sympy

from mdsl.model.functions import Network
from mdsl.model.nodes import SCALAR, Call, Expr


class Body(sympy.Atom):
    """The function, and the places of the arguments by which it is differentiated."""

    def __new__(cls, name: str, by: tuple[int, ...], body):
        self = super().__new__(cls)
        self.name, self.by, self.body = name, by, body
        return self

    def _hashable_content(self) -> tuple:
        return self.name, self.by, id(self.body)  # another program may have a function of the same name

    def sort_key(self, order=None) -> tuple:
        """By which sums are printed in one order. SymPy goes by what an atom prints as, which is the same of a function
        and its derivatives: these then stood as they had been hashed, in each process in another way."""
        return self.class_key(), (2, (self.name, str(self.by))), sympy.S.One.sort_key(), sympy.S.One

    def _sympystr(self, printer) -> str:
        return self.name


class Applied(sympy.Function):
    """``Applied(body, *args)``: what `Call` says."""

    is_extended_real = True

    @classmethod
    def eval(cls, *args):
        return None

    @property
    def free_symbols(self) -> set[sympy.Symbol]:
        """One of its own among them: even of numbers it has no value in SymPy."""
        return super().free_symbols | {sympy.Symbol(f"·{self.args[0].name}")}

    def _eval_derivative(self, s: sympy.Symbol) -> sympy.Expr:
        function, *args = self.args
        slopes = [(k, a.diff(s)) for k, a in enumerate(args) if s in a.free_symbols]
        return sympy.Add(
            *(
                sympy.Mul(Applied(Body(function.name, (*function.by, k), function.body), *args), slope)
                for k, slope in slopes
            )
        )

    def _sympystr(self, printer) -> str:
        function, *args = self.args
        inputs = args[1:] if isinstance(function.body, Network) else args
        by = (
            ""
            if not function.by
            else "_" + "".join(str(k + (0 if isinstance(function.body, Network) else 1)) for k in function.by)
        )
        return f"{function.name}{by}({', '.join(map(printer._print, inputs))})"


def to_applied(expr: Call, args: list[sympy.Expr]) -> Applied:
    return Applied(Body(expr.function, expr.by, expr.body), *args)


def from_applied(e: Applied, args: tuple[Expr, ...], like: Expr) -> Call:
    function = e.args[0]
    return Call(function.name, args, function.by, body=function.body, type=SCALAR, span=like.span, via=like.via)
