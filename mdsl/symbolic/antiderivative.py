"""Antiderivatives of scalar kernels in closed form, term by term, from a table; SymPy's integrator is not asked.

The integrand is multiplied out into terms ``c * s^p * (a + b*s)^q * exp(a + b*s + c*s^2)`` or with a sine or cosine of
``a + b*s``, where everything but s is constant. What the table does not hold is refused, at once.

A term that is singular at 0 has its antiderivative taken at ``max(s, 0)``: an interval that holds 0 then gives an
infinite result, and one below 0 none, as no closed form is proved there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import sympy

from .magnitude import magnitude

ZERO, ONE = sympy.Integer(0), sympy.Integer(1)
MOST_TERMS = 400
HIGHEST = 24  # of the whole powers that are multiplied out


class NoClosedForm(Exception):
    """The term of the integrand that is not in the table, and why where that is known."""

    def __init__(self, term: sympy.Expr, why: str = ""):
        super().__init__(str(term))
        self.term, self.why = term, why


class Divergent(NoClosedForm):
    """The integral of the term up to infinity is not finite."""


Limit: TypeAlias = sympy.Expr  # a value of s, or plus or minus SymPy's infinity


def definite(f: sympy.Expr, s: sympy.Symbol, lower: Limit, upper: Limit) -> sympy.Expr:
    """The integral of ``f`` by the real symbol ``s``. Raises NoClosedForm."""
    if lower == upper:
        return ZERO
    whole = _antiderivative(_without_magnitudes(f, s), s)
    return sympy.Add(whole(upper), -whole(lower))


Antiderivative = Callable[[Limit], sympy.Expr]


def _antiderivative(f: sympy.Expr, s: sympy.Symbol) -> Antiderivative:
    piece = _first_piece(f, s)
    if piece is None:
        return _smooth(f, s)
    (value, condition), *rest = piece.args
    rest = rest[0][0] if rest[0][1] == sympy.true else sympy.Piecewise(*rest, evaluate=False)
    then, other = (_antiderivative(f.xreplace({piece: part}), s) for part in (value, rest))
    return _joined(condition, then, other, s)


def _joined(condition: sympy.Basic, then: Antiderivative, other: Antiderivative, s: sympy.Symbol) -> Antiderivative:
    """An antiderivative that is continuous where the condition changes, on either side from its own part."""
    if s not in condition.free_symbols:
        return lambda at: _either(condition, lambda: then(at), lambda: other(at))
    if isinstance(condition, sympy.Not):
        return _joined(condition.args[0], other, then, s)
    if isinstance(condition, sympy.And | sympy.Or):
        first, *more = condition.args
        rest = condition.func(*more)
        if isinstance(condition, sympy.And):
            return _joined(first, _joined(rest, then, other, s), other, s)
        return _joined(first, then, _joined(rest, then, other, s), s)
    if not isinstance(condition, sympy.core.relational.Relational) or isinstance(condition, sympy.Eq | sympy.Ne):
        raise NoClosedForm(condition, "only comparisons with `<` and `>` split an interval")
    a, b = _linear(condition.lhs - condition.rhs, s, condition)
    bound = -a / b
    less = isinstance(condition, sympy.StrictLessThan | sympy.LessThan)

    def at(x: Limit) -> sympy.Expr:
        if x in (sympy.oo, -sympy.oo):
            holds = sympy.Lt(b, 0) if less == (x == sympy.oo) else sympy.Gt(b, 0)
        else:
            holds = condition.xreplace({s: x})
        return _either(holds, lambda: then(x) - then(bound), lambda: other(x) - other(bound))

    return at


def _either(condition: sympy.Basic, one: Callable[[], sympy.Expr], two: Callable[[], sympy.Expr]) -> sympy.Expr:
    """One of two values; where it is not known which, one of them may be infinite."""
    if condition in (sympy.true, sympy.false):
        return one() if condition == sympy.true else two()
    values = []
    for value in (one, two):
        try:
            values.append(value())
        except Divergent as divergent:
            values.append(divergent)
    if all(isinstance(v, Divergent) for v in values):
        raise values[0]
    one, two = (sympy.zoo if isinstance(v, Divergent) else v for v in values)
    return one if one == two else sympy.Piecewise((one, condition), (two, True), evaluate=False)


def _first_piece(f: sympy.Expr, s: sympy.Symbol) -> sympy.Piecewise | None:
    """An innermost choice that depends on s."""
    for node in sympy.postorder_traversal(f):
        if isinstance(node, sympy.Piecewise) and s in node.free_symbols:
            return node
    return None


def _without_magnitudes(f: sympy.Expr, s: sympy.Symbol) -> sympy.Expr:
    """|a| as a choice between a and -a, where it depends on s."""
    found = {
        m: sympy.Piecewise((-m.args[0], sympy.Lt(m.args[0], 0)), (m.args[0], True), evaluate=False)
        for m in f.atoms(sympy.Abs, magnitude)
        if s in m.free_symbols
    }
    return f.xreplace(found)


# -- terms ---------------------------------------------------------------------------------------------


@dataclass
class _Term:
    """constant * s^power * (base)^exponent * exp(exponential) * wave(phase)"""

    constant: sympy.Expr = ONE
    power: sympy.Expr = ZERO
    base: sympy.Expr | None = None
    exponent: sympy.Expr = ZERO
    exponential: sympy.Expr = ZERO
    wave: type | None = None
    phase: sympy.Expr = ZERO


def _smooth(f: sympy.Expr, s: sympy.Symbol) -> Antiderivative:
    terms = [_antiderivative_of_term(t, s) for t in _terms(f, s)]
    return lambda at: sympy.Add(*(t(at) for t in terms))


def _terms(f: sympy.Expr, s: sympy.Symbol) -> tuple[sympy.Expr, ...]:
    """A sum multiplied out as far as s is concerned; sums free of s stay as they are."""
    hidden: dict[sympy.Expr, sympy.Symbol] = {}

    def hide(e: sympy.Expr) -> sympy.Expr:
        if s not in e.free_symbols:
            return e if e.is_Atom else hidden.setdefault(e, sympy.Dummy(real=True))
        if isinstance(e, sympy.Add | sympy.Mul):
            constant = e.func(*(a for a in e.args if s not in a.free_symbols))
            return e.func(hide(constant), *(hide(a) for a in e.args if s in a.free_symbols))
        if e.is_Pow and e.exp.is_Integer and e.exp > 0 and isinstance(e.base, sympy.Add):
            return sympy.Pow(hide(e.base), e.exp) if e.exp <= HIGHEST else hidden.setdefault(e, sympy.Dummy(real=True))
        return e

    expanded = sympy.expand(
        hide(f), mul=True, multinomial=True, power_base=False, power_exp=False, log=False, basic=False
    )
    terms = sympy.Add.make_args(expanded)
    if len(terms) > MOST_TERMS:
        raise NoClosedForm(f, f"multiplied out it has more than {MOST_TERMS} terms")
    back = {symbol: e for e, symbol in hidden.items()}
    return tuple(t.xreplace(back) for t in terms)


def _split(term: sympy.Expr, s: sympy.Symbol) -> _Term:
    found = _Term()
    rooted = False
    for factor in sympy.Mul.make_args(term):
        if s not in factor.free_symbols:
            found.constant *= factor
        elif isinstance(factor, sympy.exp):
            found.exponential += factor.args[0]
        elif isinstance(factor, sympy.sin | sympy.cos) and found.wave is None:
            found.wave, found.phase = factor.func, factor.args[0]
        else:
            base, exponent = factor.as_base_exp()
            if s in exponent.free_symbols:
                if s in base.free_symbols:
                    raise NoClosedForm(term)
                found.exponential += exponent * sympy.log(base)
                continue
            outer, power = _monomial(base, s)
            if power is not None:
                # (c s^k)^e is c^e s^(k e) for every s > 0
                found.constant *= sympy.Pow(outer, exponent)
                found.power += power * exponent
                rooted = rooted or power != 0 and exponent.is_integer is False
            elif found.base is None:
                found.base, found.exponent = base, exponent
            else:
                raise NoClosedForm(term)
    if rooted and found.power.is_integer:
        raise NoClosedForm(term, "it is a root for s below 0")
    return found


def _monomial(base: sympy.Expr, s: sympy.Symbol) -> tuple[sympy.Expr, sympy.Expr | None]:
    """c and k of c*s^k; k is None where the base is something else."""
    constant, power = ONE, ZERO
    for factor in sympy.Mul.make_args(base):
        if s not in factor.free_symbols:
            constant *= factor
        elif factor == s:
            power += 1
        elif factor.is_Pow and factor.base == s and s not in factor.exp.free_symbols:
            power += factor.exp
        else:
            return ONE, None
    return constant, power


def _linear(e: sympy.Expr, s: sympy.Symbol, term: sympy.Basic) -> tuple[sympy.Expr, sympy.Expr]:
    """a and b of a + b*s."""
    a, b, c = _quadratic(e, s, term)
    if c != 0 or b == 0:
        raise NoClosedForm(term)
    return a, b


def _quadratic(e: sympy.Expr, s: sympy.Symbol, term: sympy.Basic) -> tuple[sympy.Expr, sympy.Expr, sympy.Expr]:
    """a, b and c of a + b*s + c*s^2."""
    found: dict[sympy.Expr, list[sympy.Expr]] = {ZERO: [], ONE: [], sympy.Integer(2): []}
    for part in sympy.Add.make_args(sympy.expand(e, power_base=False, power_exp=False, log=False)):
        constant, power = _monomial(part, s)
        if power not in found:
            raise NoClosedForm(term)
        found[power].append(constant)
    return tuple(sympy.Add(*parts) for parts in found.values())


def _antiderivative_of_term(term: sympy.Expr, s: sympy.Symbol) -> Antiderivative:
    parts = _split(term, s)
    curved = parts.exponential != 0
    if (parts.base is not None) + curved + (parts.wave is not None) > 1:
        raise NoClosedForm(term)
    if parts.base is None and not curved and parts.wave is None:
        return _scaled(parts.constant, _power(parts.power, term))
    n = parts.power
    if not (n.is_Integer and 0 <= n <= HIGHEST):
        raise NoClosedForm(term)
    if parts.wave is not None:
        return _scaled(parts.constant, _wave(int(n), parts.wave, *_linear(parts.phase, s, term), term))
    if parts.base is not None:
        return _scaled(parts.constant, _power_of_linear(int(n), parts.exponent, *_linear(parts.base, s, term), term))
    a, b, c = _quadratic(parts.exponential, s, term)
    constant = parts.constant * sympy.exp(a)
    if b == c == 0:
        return _scaled(constant, _power(n, term))
    if c == 0:
        return _scaled(constant, _exponential(int(n), b, term))
    if b == 0:
        return _scaled(constant, _gaussian(int(n), -c, term))
    raise NoClosedForm(term)


def _scaled(constant: sympy.Expr, function: Antiderivative) -> Antiderivative:
    return lambda at: constant * function(at)


# -- the table -----------------------------------------------------------------------------------------


def not_negative(e: sympy.Expr) -> sympy.Expr:
    """max(e, 0): itself where that is known."""
    if e.is_nonnegative:
        return e
    return ZERO if e.is_nonpositive else sympy.Piecewise((e, sympy.Gt(e, 0)), (ZERO, True), evaluate=False)


def _vanishing(decay: sympy.Expr) -> sympy.Expr:
    """What a term is at infinity: 0 where it decays, which may turn out only when it is computed; else infinite."""
    if decay.is_positive:
        return ZERO
    return sympy.Piecewise((ZERO, sympy.Gt(decay, 0)), (sympy.Pow(not_negative(decay), -1), True), evaluate=False)


def _power(p: sympy.Expr, term: sympy.Expr) -> Antiderivative:
    """s^p"""
    q = p + 1

    def at(x: Limit) -> sympy.Expr:
        if x in (sympy.oo, -sympy.oo):
            if q.is_nonnegative:
                raise Divergent(term, "it diverges: it does not fall off faster than 1/distance")
            if x == -sympy.oo and q.is_negative:
                raise NoClosedForm(term, "it is singular at 0")
            return _vanishing(-q)
        if q == 0:
            return sympy.log(not_negative(x))
        if q.is_Integer:
            return sympy.Pow(x if q > 0 else not_negative(x), q) / q
        if q.is_number:
            return sympy.Pow(x, q) / q
        return sympy.exp(q * sympy.log(x)) / q  # no value below 0, whatever q is

    return at


def _power_of_linear(n: int, q: sympy.Expr, a: sympy.Expr, b: sympy.Expr, term: sympy.Expr) -> Antiderivative:
    """s^n (a + b*s)^q, with w = a + b*s as the variable"""
    if q.is_Integer and q < 0:
        raise NoClosedForm(term)

    def at(x: Limit) -> sympy.Expr:
        if x in (sympy.oo, -sympy.oo):
            raise Divergent(term, "it is not known to converge")
        w = a + b * x
        terms = (
            sympy.binomial(n, k) * sympy.Pow(-a, n - k) * sympy.Pow(w, q + k + 1) / (q + k + 1) for k in range(n + 1)
        )
        return sympy.Add(*terms) / sympy.Pow(b, n + 1)

    return at


def _exponential(n: int, b: sympy.Expr, term: sympy.Expr) -> Antiderivative:
    """s^n exp(b*s)"""

    def at(x: Limit) -> sympy.Expr:
        if x in (sympy.oo, -sympy.oo):
            decay = -b if x == sympy.oo else b
            if decay.is_nonpositive:
                raise Divergent(term, "it diverges")
            return _vanishing(decay)
        terms = (
            sympy.Integer(-1) ** k * sympy.ff(n, k) * sympy.Pow(x, n - k) / sympy.Pow(b, k + 1) for k in range(n + 1)
        )
        return sympy.Add(*terms) * sympy.exp(b * x)

    return at


def _gaussian(n: int, a: sympy.Expr, term: sympy.Expr) -> Antiderivative:
    """s^n exp(-a*s^2), a > 0; without a value for other a, as the square root has none"""

    def at(x: Limit) -> sympy.Expr:
        infinite = x in (sympy.oo, -sympy.oo)
        if a.is_nonpositive:
            raise Divergent(term, "it diverges") if infinite else NoClosedForm(term)
        if n == 0:
            edge = sympy.sign(x) if infinite else sympy.erf(sympy.sqrt(a) * x)
            return sympy.sqrt(sympy.pi) / (2 * sympy.sqrt(a)) * edge
        own = _vanishing(a) if infinite else -sympy.Pow(x, n - 1) * sympy.exp(-a * x**2) / (2 * a)
        return own if n == 1 else own + sympy.Integer(n - 1) / (2 * a) * _gaussian(n - 2, a, term)(x)

    return at


def _wave(n: int, wave: type, a: sympy.Expr, b: sympy.Expr, term: sympy.Expr) -> Antiderivative:
    """s^n sin(a + b*s) or s^n cos(a + b*s)"""

    def at(x: Limit) -> sympy.Expr:
        if x in (sympy.oo, -sympy.oo):
            raise Divergent(term, "it does not converge")
        phase = a + b * x
        own = sympy.Pow(x, n) / b * (sympy.sin(phase) if wave is sympy.cos else -sympy.cos(phase))
        if n == 0:
            return own
        other = sympy.cos if wave is sympy.sin else sympy.sin
        sign = 1 if wave is sympy.sin else -1
        return own + sign * sympy.Integer(n) / b * _wave(n - 1, other, a, b, term)(x)

    return at
