"""Magnitudes and signs of what is real are those of its values, however SymPy writes it."""

import pytest
import sympy

from mdsl.symbolic.magnitude import derivative, magnitude, signum

x = sympy.Symbol("x", real=True)
FORMULAS = [x, -x, 1 - x, x - 1, 2 * (1 - x), x**2, x**3, (1 - x) ** 3, -x * (1 - x) ** 2, x**-3, sympy.sqrt(x + 4) - 2]
FORMULAS += [sympy.sin(x) - x / 2, (x + 4) ** sympy.Rational(1, 3) - 1, -sympy.exp(-x), x * (x - 1) * (2 - x)]
PLACES = [sympy.Rational(n, 7) for n in (-20, -9, -2, 1, 5, 9, 16, 25)]


@pytest.mark.parametrize("formula", FORMULAS, ids=str)
def test_they_are_those_of_the_values(formula):
    for e in (formula, -formula, 3 * formula, -formula / 2):
        slope = derivative(magnitude(e), x)
        for at in PLACES:
            value = float(e.subs(x, at))
            sign = (value > 0) - (value < 0)
            assert float(magnitude(e).subs(x, at)) == pytest.approx(abs(value))
            assert float(signum(e).subs(x, at)) == sign
            assert float(slope.subs(x, at)) == pytest.approx(sign * float(e.diff(x).subs(x, at)))
