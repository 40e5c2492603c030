"""Functions of a distance that have a limit at 0, where they are written as 0/0.

The force of a pair is 2 du/d(r²) times its displacement, and du/d(r²) is u'(r)/(2 r): sin(r)/r where u is a cosine.
Where such a quotient is an even function of r without a pole, as of `1 + cos(pi*r/rc)` and `erf(r)/r`, or a polynomial
once it is multiplied out, as of `(1 - r)^3*(1 + 3*r)`, its value at r = 0 is its limit, with the next terms of its
series for derivatives.
"""

from __future__ import annotations

from collections.abc import Iterable

import sympy

from mdsl.symbolic.bridge import atan2, floor, nearest
from mdsl.symbolic.calls import Applied
from mdsl.symbolic.tables import Lookup

ORDER = 4  # of the terms of a series that are left out
UNKNOWN = (Applied, Lookup, atan2, floor, nearest, sympy.Abs, sympy.sign, sympy.log)  # functions without a series at 0


def regular(e: sympy.Expr, squares: Iterable[sympy.Symbol | None]) -> sympy.Expr:
    """The expression with its limits where one of the squared distances is 0, as far as there are such limits."""
    for s in squares:
        if s is not None and _singular(e, s):
            e = _regular(e, s)
    return e


def _singular(e: sympy.Basic, s: sympy.Symbol) -> bool:
    """Whether there are negative powers of a distance, and sums or functions that could make up for them."""
    if not any(p.base == s and p.exp.is_negative for p in e.atoms(sympy.Pow)):
        return False
    return any(s in f.free_symbols for f in e.atoms(sympy.Function, sympy.Add) if not isinstance(f, sympy.Piecewise))


def _regular(e: sympy.Expr, s: sympy.Symbol) -> sympy.Expr:
    if not _singular(e, s):
        return e
    if isinstance(e, sympy.Piecewise):
        return sympy.Piecewise(*((_regular(v, s), c) for v, c in e.args), evaluate=False)
    if e.has(sympy.Piecewise):
        if not (e.is_Add or e.is_Mul):
            return e
        simple = e.func(*(a for a in e.args if not a.has(sympy.Piecewise)))
        return e.func(_regular(simple, s), *(_regular(a, s) for a in e.args if a.has(sympy.Piecewise)))
    limit = _limit(e, s)
    return e if limit is None else sympy.Piecewise((limit, sympy.Eq(s, 0, evaluate=False)), (e, True), evaluate=False)


def _limit(e: sympy.Expr, s: sympy.Symbol) -> sympy.Expr | None:
    """The beginning of the series about r = 0, where s = r²; None where there is none that is looked for."""
    if e.has(*UNKNOWN):
        return None
    r = sympy.Symbol("r", real=True)
    plain = e.replace(lambda p: p.is_Pow and p.base == s, lambda p: r ** (2 * p.exp)).xreplace({s: r**2})
    if any(r in f.free_symbols for f in plain.atoms(sympy.Function)):
        series = _series(plain, r) if plain.xreplace({r: -r}) == plain else None
    else:
        series = sympy.expand(plain)
    if series is None or not series.is_polynomial(r) or series.has(sympy.oo, sympy.zoo, sympy.nan):
        return None
    return sympy.Add(*(c * s ** sympy.Rational(n, 2) for (n,), c in sympy.Poly(series, r).terms() if n < ORDER))


def _series(e: sympy.Expr, r: sympy.Symbol) -> sympy.Expr | None:
    try:
        return sympy.series(e, r, 0, ORDER).removeO()
    except (NotImplementedError, ValueError, TypeError, AttributeError, sympy.PoleError):
        return None
