"""The magnitude and the sign of numbers that are real.

SymPy's own go by what it can prove to be real, which a root, a power or an arcus cosine is not: |sqrt(z + 7) - 2| has
for it the derivative of a complex number, with `re`, `im` and `atan2`. All values of the language are real, or none at
all.
"""

from __future__ import annotations

import sympy


class magnitude(sympy.Function):
    """|a|. A product is that of magnitudes, so that a factor that ends somewhere is still found in it."""

    nargs = 1
    is_extended_real = True
    is_extended_negative = False
    is_extended_nonnegative = True

    @classmethod
    def eval(cls, a: sympy.Expr) -> sympy.Expr | None:
        if a.is_extended_nonnegative:
            return a
        if a.is_extended_nonpositive:
            return -a
        if a.is_Mul:
            return sympy.Mul(*map(cls, a.args))
        if a.is_Pow and a.exp.is_Rational:
            if not a.exp.is_Integer or a.exp.is_even:
                return a  # a root is never negative
            return sympy.Pow(cls(a.base), a.exp)
        return cls(-a) if a.could_extract_minus_sign() else None

    def fdiff(self, argindex: int = 1) -> sympy.Expr:
        return signum(self.args[0])

    def _eval_power(self, exponent: sympy.Expr) -> sympy.Expr | None:
        return sympy.Pow(self.args[0], exponent) if exponent.is_Integer and exponent.is_even else None

    def _sympystr(self, printer) -> str:
        return f"|{printer._print(self.args[0])}|"


class signum(sympy.Function):
    """-1, 0 or 1; its derivative is 0 wherever it has one."""

    nargs = 1
    is_extended_real = True

    @classmethod
    def eval(cls, a: sympy.Expr) -> sympy.Expr | None:
        for sign, holds in ((1, a.is_extended_positive), (-1, a.is_extended_negative), (0, a.is_zero)):
            if holds:
                return sympy.Integer(sign)
        if a.is_Mul:
            return sympy.Mul(*map(cls, a.args))
        return -cls(-a) if a.could_extract_minus_sign() else None

    def fdiff(self, argindex: int = 1) -> sympy.Expr:
        return sympy.Integer(0)

    def _sympystr(self, printer) -> str:
        return f"sign({printer._print(self.args[0])})"


def of_reals(e: sympy.Basic) -> sympy.Basic:
    """The expression with these in place of SymPy's own, which its constructors make, as of sqrt(a^2)."""
    if not e.has(sympy.Abs, sympy.sign):
        return e
    return e.replace(sympy.Abs, magnitude).replace(sympy.sign, signum)


def derivative(e: sympy.Expr, variable: sympy.Symbol) -> sympy.Expr:
    """The derivative of what is real by a real number."""
    return of_reals(sympy.diff(of_reals(e), variable))
