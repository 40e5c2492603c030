"""Elementary functions of vectors, from the operations that processors have: within 2 units of the last place.

An argument is reduced to a small interval, with constants in two or three parts so that nothing is lost (W. J. Cody and
W. Waite, Software Manual for the Elementary Functions, 1980; J.-M. Muller, Elementary Functions, 3rd ed., 2016); there
a polynomial of `coefficients` does. What would be lost by a rounding that counts is carried along as a second number
(T. J. Dekker, Numer. Math. 18, 224 (1971)). All but exp and log of single precision are computed in double, with
shorter polynomials. Sines of numbers beyond a million are those of the C library.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from .coefficients import ASIN, ATAN, COS, ERF, ERFC, EXP, LOG, LOG_REST, SIN, SINH
from .ir import NAMES, Code, Value, copysign, sqrt, where

MANTISSA = {"f32": 23, "f64": 52}
BIAS = {"f32": 127, "f64": 1023}
MAGIC = {kind: 1.5 * 2.0**m for kind, m in MANTISSA.items()}  # added to a small number it rounds it to a whole one
# ln 2, the first part with zeros at its end so that it times an exponent is exact.
LN2 = {
    "f32": (float.fromhex("0x1.62e4p-1"), 1.4286068203094173e-06),
    "f64": (float.fromhex("0x1.62e42fefa3800p-1"), 5.497923018708371e-14),
}
HALF_PI = (float.fromhex("0x1.921fb54400000p+0"), 6.077100506506192e-11, 3.5215598651832e-27)
PI = (math.pi, 1.2246467991473532e-16)
TWO_THIRDS = (2 / 3, 3.700743415417188e-17)
FAR = 1e6  # beyond it HALF_PI has not enough digits
MIDDLE = 3.75  # of the variable of ERFC


def bits(value: float, kind: str) -> int:
    return int(np.float32(value).view(np.int32) if kind == "f32" else np.float64(value).view(np.int64))


def polynomial(coefficients: Sequence[float], x: Value) -> Value:
    total = x.number(coefficients[-1])
    for c in reversed(coefficients[:-1]):
        total = total.fma(x, c)
    return total


def two_sum(a: Value, b: Value) -> tuple[Value, Value]:
    """The sum, and what its rounding lost."""
    total = a + b
    part = total - a
    return total, (a - (total - part)) + (b - part)


def quick_sum(a: Value, b: Value) -> tuple[Value, Value]:
    """As `two_sum`, where |a| is at least |b|, or 0."""
    total = a + b
    return total, (a - total) + b


def product(a: Value, b: Value) -> tuple[Value, Value]:
    """The product, and what its rounding lost."""
    whole = a * b
    return whole, a.fma(b, -whole)


def negative(x: Value) -> Value:
    """Whether the sign is that of a negative number, of zeros too."""
    return x.bits() < 0


# -- exponentials ----------------------------------------------------------------------------------------


def _power_of_two(k: Value, kind: str) -> Value:
    return ((k + BIAS[kind]) << MANTISSA[kind]).as_float(kind)


def _scaled(x: Value, k: Value) -> Value:
    """x times 2^k, in two steps, of which the last may leave the range of normal numbers."""
    half = k >> 1
    return x * _power_of_two(half, x.kind) * _power_of_two(k - half, x.kind)


def _exponential(x: Value, short: bool = False) -> tuple[Value, Value, Value]:
    """k, r, q with e^x = 2^k (1 + r + q), where q is small, for |x| up to 800 (100)."""
    kind = x.kind
    shifted = x.fma(math.log2(math.e), MAGIC[kind])
    n, k = shifted - MAGIC[kind], shifted.bits() - bits(MAGIC[kind], kind)
    # The multiple of ln 2 nearest to x is subtracted exactly: with fma its first part may be as long as a number is.
    first = float(np.float32(math.log(2))) if kind == "f32" else math.log(2)
    rest = {"f32": -1.904654299957768e-09, "f64": 2.3190468138462996e-17}[kind]
    r, lost = quick_sum(n.fma(-first, x), n * -rest)
    return k, r, (r * r).fma(polynomial(EXP["f32" if short else kind], r), lost)


def _clipped(x: Value, low: float, high: float) -> Value:
    x = where(x > high, high, x)
    return where(x < low, low, x)


def exp(x: Value, short: bool = False) -> Value:
    low, high = {"f32": (-105.0, 89.0), "f64": (-746.0, 710.0)}[x.kind]
    k, r, q = _exponential(_clipped(x, low, high), short)
    return _scaled((r + q) + 1.0, k)


def sinh(x: Value, short: bool) -> Value:
    size = abs(x)
    half = _half_exp(size, short)
    z = size * size
    small = (size * z).fma(polynomial(SINH["f32" if short else "f64"], z), size)
    return _odd(x, where(size < 1.0, small, half - half.number(0.25) / half))


def cosh(x: Value, short: bool) -> Value:
    half = _half_exp(abs(x), short)
    return half + half.number(0.25) / half


def _half_exp(size: Value, short: bool) -> Value:
    k, r, q = _exponential(where(size > 712.0, 712.0, size), short)
    return _scaled((r + q) + 1.0, k - 1)


def tanh(x: Value, short: bool) -> Value:
    """m/(m + 2) of m = e^(2|x|) - 1, in two numbers."""
    size = abs(x)
    double = size + size
    k, r, q = _exponential(where(double > 60.0, 60.0, double), short)
    two = _power_of_two(k, x.kind)
    m, rest = quick_sum(two - 1.0, two * r)
    m, rest = quick_sum(m, rest + two * q)
    below, lost = quick_sum(m.number(2.0), m)
    below, lost = where(m > 2.0, m + 2.0, below), where(m > 2.0, (m - (m + 2.0)) + 2.0, lost)
    ratio, more = _ratio(m, rest, below, lost + rest)
    return _odd(x, ratio + more)


def _ratio(a: Value, a_rest: Value, b: Value, b_rest: Value) -> tuple[Value, Value]:
    """a/b of numbers with rests, in two numbers, with one division."""
    one = b.number(1.0) / b
    ratio = a * one
    return ratio, ((-ratio).fma(b, a) + a_rest - ratio * b_rest) * one


def _odd(x: Value, size: Value) -> Value:
    return copysign(size, x)


# -- logarithms and powers -------------------------------------------------------------------------------


def _mantissa(x: Value) -> tuple[Value, Value]:
    """k and m with x = 2^k m, m between the roots of 1/2 and of 2, of a positive x that may be subnormal."""
    kind = x.kind
    tiny = x < 2.0 ** (1 - BIAS[kind])
    at = where(tiny, x * 2.0**54, x).bits()
    k = (at - bits(math.sqrt(0.5), kind)) >> MANTISSA[kind]
    m = (at - (k << MANTISSA[kind])).as_float(kind)
    whole = (k + bits(MAGIC[kind], kind)).as_float(kind) - MAGIC[kind]
    return where(tiny, whole - 54.0, whole), m


def log(x: Value) -> Value:
    k, m = _mantissa(x)
    found = _log(k, m)
    found = where(x < math.inf, found, x)
    return where(x.compared("eq", 0.0), -math.inf, where(x < 0.0, math.nan, found))


def _log(k: Value, m: Value, rest: Value | None = None) -> Value:
    """As in fdlibm (Sun Microsystems, 1993): log(1 + f) by s = f/(2 + f), f - f²/2 apart from what is smaller; ``rest``
    is added at last."""
    f = m - 1.0
    s = f / (f + 2.0)
    z, half = s * s, f * f * 0.5
    first, last = LN2[m.kind]
    last = k * last if rest is None else k.fma(last, rest)
    small = s.fma(z.fma(polynomial(LOG[m.kind], z), half), last)
    return k.fma(first, f - (half - small))


def log1p(x: Value, short: bool) -> Value:
    """The logarithm of the rounded 1 + x, and what the rounding lost over it."""
    one = x.number(1.0)
    total, lost = two_sum(one, x)
    found = _log(*_mantissa(total), lost / total)
    found = where(abs(x) < 2.0**-54, x, where(x < math.inf, found, x))
    return where(x.compared("eq", -1.0), -math.inf, where(x < -1.0, math.nan, found))


def _log_in_two(k: Value, m: Value) -> tuple[Value, Value]:
    """The logarithm of 2^k m, to 2^-64 of itself."""
    f = m - 1.0
    d, d_rest = quick_sum(f.number(2.0), f)
    s, s_rest = _ratio(f, f.number(0.0), d, d_rest)
    z, z_rest = product(s, s)
    z_rest = z_rest + (s + s) * s_rest
    cube, cube_rest = product(s, z)
    cube_rest = cube_rest + s * z_rest + s_rest * z
    third, third_rest = product(cube, cube.number(TWO_THIRDS[0]))
    third_rest = third_rest + cube_rest * TWO_THIRDS[0] + cube * TWO_THIRDS[1]
    rest = cube * z * polynomial(LOG_REST["f64"], z)
    high, low = quick_sum(s + s, third)
    low = low + (s_rest + s_rest + third_rest + rest)
    total, lost = quick_sum(k * LN2["f64"][0], high)
    return quick_sum(total, lost + (k * LN2["f64"][1] + low))


def power(x: Value, y: Value, short: bool) -> Value:
    size = abs(x)
    k, m = _mantissa(size)
    log_of, rest = (_log(k, m), None) if short else _log_in_two(k, m)
    whole, lost = product(y, log_of)
    if rest is not None:
        lost = y.fma(rest, lost)
    n, r, q = _exponential(_clipped(whole, -800.0, 800.0))
    lost = where(abs(whole) < 750.0, lost, 0.0)
    found = _scaled((r + (q + lost.fma(r + q, lost))) + 1.0, n)
    rises = (y > 0.0) ^ (size < 1.0)
    ends = size.compared("eq", 0.0) | size.compared("eq", math.inf) | abs(y).compared("eq", math.inf)
    found = where(ends, where(rises, math.inf, found.number(0.0)), found)
    whole_number = y.code.intrinsic("floor", y).compared("eq", y)
    halves = y * 0.5
    odd = whole_number & halves.code.intrinsic("floor", halves).compared("ne", halves)
    found = where((x < 0.0) & (x > -math.inf) & ~whole_number, math.nan, found)
    found = where(odd & negative(x), -found, found)
    found = where(x.compared("ne", x) | y.compared("ne", y), math.nan, found)
    one = x.compared("eq", 1.0) | y.compared("eq", 0.0)
    one = one | (size.compared("eq", 1.0) & abs(y).compared("eq", math.inf))
    return where(one, 1.0, found)


# -- circles ---------------------------------------------------------------------------------------------


def _turned(x: Value, short: bool) -> tuple[Value, tuple[Value, Value], tuple[Value, Value]]:
    """By how many quarters of a circle x is more than what is near 0, and sine and cosine of that in two numbers;
    |x| < FAR."""
    which = "f32" if short else "f64"
    shifted = x.fma(2 / math.pi, MAGIC["f64"])
    n, quarters = shifted - MAGIC["f64"], shifted.bits()
    second, rest = product(n, n.number(-HALF_PI[1]))
    r, lost = two_sum(n.fma(-HALF_PI[0], x), second)
    lost = lost + n.fma(-HALF_PI[2], rest)
    z = r * r
    sine = quick_sum(r, (r * z).fma(polynomial(SIN[which], z), lost))
    half = z * 0.5
    one, left = quick_sum(z.number(1.0), -half)
    cosine = quick_sum(one, left + ((z * z) * polynomial(COS[which], z) - r * lost))
    return quarters, sine, cosine


def _bit(k: Value, which: int) -> Value:
    return (k & which).compared("ne", 0)


def sin(x: Value, short: bool) -> Value:
    k, (sine, _), (cosine, _) = _turned(x, short)
    found = where(_bit(k, 1), cosine, sine)
    return where(x.compared("eq", 0.0), x, where(_bit(k, 2), -found, found))


def cos(x: Value, short: bool) -> Value:
    k, (sine, _), (cosine, _) = _turned(x, short)
    found = where(_bit(k, 1), sine, cosine)
    return where(_bit(k + 1, 2), -found, found)


def tan(x: Value, short: bool) -> Value:
    k, sine, cosine = _turned(x, short)
    odd = _bit(k, 1)
    found, rest = _ratio(
        *(where(odd, -c, s) for c, s in zip(cosine, sine)), *(where(odd, s, c) for c, s in zip(cosine, sine))
    )
    return where(x.compared("eq", 0.0), x, found + rest)


def atan2(y: Value, x: Value, short: bool) -> Value:
    """The ratio is reduced as that of y cos a - x sin a and x cos a + y sin a, by a of 0, an eighth, or a quarter of a
    circle."""
    high, across = abs(y), abs(x)
    largest = where(high > across, high, across)
    scale = where(largest > 2.0**500, 2.0**-600, where(largest < 2.0**-400, 2.0**500, high.number(1.0)))
    high, across = high * scale, across * scale
    endless = across.compared("eq", math.inf)
    up = high.compared("eq", math.inf)
    high, across = (
        where(up, 1.0, where(endless, 0.0, high)),
        where(endless, 1.0, where(up, 0.0, across)),
    )
    across = where(high.compared("eq", 0.0) & across.compared("eq", 0.0), 1.0, across)
    steep, middle = high > across * math.tan(3 * math.pi / 8), high > across * math.tan(math.pi / 8)
    (less, less_lost), (more, more_lost) = two_sum(high, -across), two_sum(high, across)
    none = high.number(0.0)
    above = where(steep, -across, where(middle, less, high))
    below = where(steep, high, where(middle, more, across))
    between = middle & ~steep
    t, rest = _ratio(above, where(between, less_lost, none), below, where(between, more_lost, none))
    z = t * t
    small = (t * z).fma(polynomial(ATAN["f32" if short else "f64"], z), rest - rest * z)
    turned = where(steep, 0.5, where(middle, 0.25, none))  # of half a circle
    back = negative(x)
    turned = where(back, -turned + 1.0, turned)
    sign = where(back, high.number(-1.0), 1.0)
    found = turned.fma(PI[0], sign * t) if short else None
    if not short:
        first, lost = quick_sum(turned * PI[0], sign * t)
        first, lost = where(turned > 0.0, first, sign * t), where(turned > 0.0, lost, none)
        found = first + (lost + turned.fma(PI[1], sign * small))
    else:
        found = found + sign * small
    found = copysign(found, y)
    return where(x.compared("ne", x) | y.compared("ne", y), math.nan, found)


def atan(x: Value, short: bool) -> Value:
    return atan2(x, x.number(1.0), short)


def _arc(x: Value, short: bool) -> tuple[Value, Value, Value]:
    """Whether |x| is more than a half; u, of which the sine is |x|, or else the root of (1 - |x|)/2; and what the arc
    of u is more than u."""
    size = abs(x)
    far = size > 0.5
    z = where(far, (-size + 1.0) * 0.5, size * size)
    root = sqrt(z)
    u = where(far, root, size)
    lost = where(far & (root > 0.0), (-root).fma(root, z) / (root + root), 0.0)
    return far, u, (u * z).fma(polynomial(ASIN["f32" if short else "f64"], z), lost)


def asin(x: Value, short: bool) -> Value:
    far, u, more = _arc(x, short)
    beyond = -((u + u) + ((more + more) - PI[1] / 2)) + PI[0] / 2
    return _odd(x, where(far, beyond, u + more))


def acos(x: Value, short: bool) -> Value:
    far, u, more = _arc(x, short)
    back = x < 0.0
    twice, rest = u + u, more + more
    end = where(back, -(twice + (rest - PI[1])) + PI[0], twice + rest)
    u, more = copysign(u, x), where(back, -more, more)
    return where(far, end, -(u + (more - PI[1] / 2)) + PI[0] / 2)


# -- errors ----------------------------------------------------------------------------------------------


def _erfc(size: Value, short: bool) -> Value:
    """Of positive numbers: exp(-x²) times a polynomial over 1 + 2x."""
    x = where(size > 28.0, 28.0, size)
    t = (x - MIDDLE) / (x + MIDDLE)
    # Of the rounding of a first coefficient nothing is left in the sum of an exact one and what is small.
    top, top_rest = quick_sum(t.number(1.25), polynomial(ERFC["f32" if short else "f64"], t))
    below, lost = two_sum(x + x, x.number(1.0))
    ratio, rest = _ratio(top, top_rest, below, lost)
    square, square_rest = product(x, x)
    k, r, q = _exponential(-square, short)
    q = q - square_rest.fma(r + q, square_rest)
    return _scaled(ratio + ratio.fma(r, ratio.fma(q, rest)), k)


def _erf(size: Value, short: bool) -> Value:
    """Of numbers up to 1."""
    z = size * size
    return size.fma(polynomial(ERF["f32" if short else "f64"], z), size)


def erfc(x: Value, short: bool) -> Value:
    size = abs(x)
    found = where(size < 0.6, -_erf(size, short) + 1.0, _erfc(size, short))
    return where(x < 0.0, -found + 2.0, found)


def erf(x: Value, short: bool) -> Value:
    size = abs(x)
    return _odd(x, where(size < 1.0, _erf(size, short), -_erfc(size, short) + 1.0))


# -- as functions of a module ----------------------------------------------------------------------------

TURNS = ("sin", "cos", "tan")
FUNCTIONS: dict[str, tuple[Callable, int]] = {
    "exp": (exp, 1), "log": (log, 1), "pow": (power, 2), "sin": (sin, 1), "cos": (cos, 1), "tan": (tan, 1),
    "asin": (asin, 1), "acos": (acos, 1), "atan": (atan, 1), "atan2": (atan2, 2), "sinh": (sinh, 1), "cosh": (cosh, 1),
    "tanh": (tanh, 1), "log1p": (log1p, 1), "erf": (erf, 1), "erfc": (erfc, 1),
}  # fmt: skip


def defined(name: str, kind: str, width: int) -> tuple[str, set[str]]:
    """The definition of an elementary function of vectors, and what it declares."""
    function, count = FUNCTIONS[name]
    code = Code(width)
    args = [Value(code, f"%x{k}", kind) for k in range(count)]
    if name in ("exp", "log"):
        found = function(*args)
    else:
        wide = [a.to("f64") for a in args]
        if name in TURNS:
            found = _near_or_far(code, name, wide[0], kind == "f32").to(kind)
        else:
            found = function(*wide, kind == "f32").to(kind)
    given = ", ".join(f"{a.type} {a.name}" for a in args)
    head = f"define internal {found.type} @mdsl.{name}.{kind}({given}) alwaysinline nounwind {{"
    return "\n".join([head, "entry:", *code.lines, f"  ret {found.type} {found.name}", "}"]), code.needs


def _near_or_far(code: Code, name: str, x: Value, short: bool) -> Value:
    """Where a number is too large for `_turned`, the functions of the C library for all."""
    far = ~(abs(x) < FAR)
    code.needs.add(f"declare i1 @llvm.vector.reduce.or.v{code.width}i1({far.type})")
    code.needs.add(f"declare double @{name}(double)")
    some = code(f"call i1 @llvm.vector.reduce.or.v{code.width}i1({far.type} {far.name})")
    code.raw(f"br i1 {some}, label %far, label %near", "far:")
    total = "poison"
    for k in range(code.width):
        one = code(f"extractelement {x.type} {x.name}, i32 {k}")
        value = code(f"call double @{name}({NAMES['f64']} {one})")
        total = code(f"insertelement {x.type} {total}, double {value}, i32 {k}")
    code.raw("br label %end", "near:")
    near = FUNCTIONS[name][0](x, short)
    code.raw("br label %end", "end:")
    return Value(code, code(f"phi {x.type} [ {total}, %far ], [ {near.name}, %near ]"), "f64")
