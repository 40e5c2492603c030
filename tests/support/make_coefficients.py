"""Writes lowering/native/coefficients.py: `python tests/support/make_coefficients.py`.

Each polynomial interpolates its function at Chebyshev points of the interval where it is used, in 60 digits, which is
within a small factor of the best there is (L. N. Trefethen, Approximation Theory and Approximation Practice, chapter
16), so a degree more makes up for it. It then is written in powers, and rounded to double.
"""

from pathlib import Path

import mpmath
from mpmath import mp, mpf

mp.dps = 60
PAGE = Path(__file__).parents[2] / "lowering" / "native" / "coefficients.py"
HEAD = '''"""Coefficients of the polynomials of `elementary`, the lowest power first: of double precision, and of single.

Written by tests/support/make_coefficients.py, which says how they are found.
"""

'''


def interpolated(function, first, last, degree):
    """Coefficients of powers, lowest first."""
    first, last = mpf(first), mpf(last)
    points = [mp.cos(mp.pi * (2 * k + 1) / (2 * degree + 2)) for k in range(degree + 1)]
    points = [(first + last) / 2 + (last - first) / 2 * p for p in points]
    matrix = mpmath.matrix(degree + 1, degree + 1)
    for k, p in enumerate(points):
        for n in range(degree + 1):
            matrix[k, n] = p**n
    return [float(c) for c in mpmath.lu_solve(matrix, mpmath.matrix([function(p) for p in points]))]


def scaled_erfc(t, middle=mpf("3.75")):
    """(1 + 2x) exp(x²) erfc(x), less the number near it that has few digits, at x of t = (x - 3.75)/(x + 3.75);
    M. M. Shepherd and J. G. Laframboise, Math. Comp. 36, 249 (1981)."""
    x = middle * (1 + t) / (1 - t)
    return (1 + 2 * x) * mp.exp(x * x) * mp.erfc(x) - mpf("1.25")


def of_square(function):
    """As a function of z = x², of even or odd ones."""
    return lambda z: function(mp.sqrt(z))


LN2, TAN = mp.log(2), mp.tan(mp.pi / 8)
S = (mp.sqrt(2) - 1) / (mp.sqrt(2) + 1)  # log(1 + f) is a function of s = f/(2 + f)
EPS = mpf("1e-20")  # 0 itself is 0/0
# What is interpolated, where, and the degrees in double and in single precision.
POLYNOMIALS = {
    "EXP": (lambda r: (mp.exp(r) - 1 - r) / r**2, -LN2 / 2 * 1.001, LN2 / 2 * 1.001, 11, 5),
    "LOG": (of_square(lambda s: (mp.log((1 + s) / (1 - s)) / s - 2) / s**2), EPS, S**2 * 1.01, 7, 3),
    "LOG_REST": (
        of_square(lambda s: (mp.log((1 + s) / (1 - s)) / s - 2 - 2 * s**2 / 3) / s**4),
        EPS,
        S**2 * 1.01,
        8,
        3,
    ),
    "SIN": (of_square(lambda x: (mp.sin(x) / x - 1) / x**2), EPS, (mp.pi / 4) ** 2 * 1.01, 6, 3),
    "COS": (of_square(lambda x: (mp.cos(x) - 1 + x**2 / 2) / x**4), EPS, (mp.pi / 4) ** 2 * 1.01, 6, 3),
    "ATAN": (of_square(lambda x: (mp.atan(x) / x - 1) / x**2), EPS, TAN**2 * 1.01, 12, 5),
    "ASIN": (of_square(lambda x: (mp.asin(x) / x - 1) / x**2), EPS, mpf("0.2501"), 14, 6),
    "SINH": (of_square(lambda x: (mp.sinh(x) / x - 1) / x**2), EPS, mpf(1), 8, 4),
    "ERF": (of_square(lambda x: mp.erf(x) / x - 1), EPS, mpf(1), 14, 7),
    "ERFC": (scaled_erfc, mpf(-1), mpf("0.78"), 24, 11),
}


def text():
    out = HEAD
    for name, (function, first, last, *degrees) in POLYNOMIALS.items():
        out += f"{name} = {{\n"
        for kind, degree in zip(("f64", "f32"), degrees):
            out += f'    "{kind}": (\n'
            out += "".join(f"        {c!r},\n" for c in interpolated(function, first, last, degree))
            out += "    ),\n"
        out += "}\n"
    return out


if __name__ == "__main__":
    PAGE.write_text(text())
