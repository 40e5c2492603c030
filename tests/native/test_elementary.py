"""Elementary functions of native kernels: within 2 units of the last place, and what they give at their ends."""

import make_coefficients
import mpmath
import numpy as np
import pytest
import scipy.special
from elementary_functions import compiled

from mdsl.lowering.native.elementary import FAR, FUNCTIONS

pytest.importorskip("llvmlite")
RNG = np.random.default_rng(0)
ODD = ("sin", "tan", "asin", "atan", "sinh", "tanh", "log1p", "erf")
RANGES = {  # in double precision; single has less of the exponential ones
    "exp": [(-708, 709.7), (-1, 1)],
    "log": [(0.3, 3), (1e-3, 1e3)],
    "log1p": [(-1, 1), (-0.999, 100)],
    "sin": [(-4, 4), (-FAR, FAR), (-1e9, 1e9)],
    "cos": [(-4, 4), (-FAR, FAR), (-1e9, 1e9)],
    "tan": [(-4, 4), (-FAR, FAR), (-1e9, 1e9)],
    "asin": [(-1, 1), (0.499, 0.501)],
    "acos": [(-1, 1), (0.499, 0.501)],
    "atan": [(-1, 1), (-5, 5), (-1e3, 1e3)],
    "sinh": [(-2, 2), (-710, 710)],
    "cosh": [(-2, 2), (-710, 710)],
    "tanh": [(-1, 1), (-20, 20)],
    "erf": [(-1.5, 1.5), (-6, 6)],
    "erfc": [(-3, 3), (0.5, 1.5), (0, 26.5)],
}
SINGLE = {"exp": (-87, 88.7), "sinh": (-89, 89), "cosh": (-89, 89), "erfc": (-3, 9)}
EXACT = {"pow": mpmath.mp.power}
NUMPY = {"pow": np.power, "asin": np.arcsin, "acos": np.arccos, "atan": np.arctan, "atan2": np.arctan2}
NUMPY |= {"erf": scipy.special.erf, "erfc": scipy.special.erfc}


def samples(name, dtype, count):
    """Arguments: dense in each range, and of all sizes; the same whichever tests are run."""
    rng = np.random.default_rng(count)
    sizes = 37 if dtype == np.float32 else 300
    if name == "pow":
        x = np.concatenate([np.exp(rng.uniform(-3, 3, count)), 10.0 ** rng.uniform(-sizes, sizes, count)])
        near = 1 + rng.uniform(-1, 1, count) * 10.0 ** rng.uniform(-6, -1, count)
        x = np.concatenate([x, near]).astype(dtype)
        return x, (rng.uniform(-sizes, sizes, 3 * count) / np.maximum(np.abs(np.log10(x.astype(float))), 1e-9)).astype(
            dtype
        )
    if name == "atan2":
        return tuple(
            np.concatenate(
                [rng.normal(size=count), rng.normal(size=count) * 10.0 ** rng.uniform(-15, 15, count)]
            ).astype(dtype)
            for _ in range(2)
        )
    low, high = SINGLE.get(name, (-np.inf, np.inf)) if dtype == np.float32 else (-np.inf, np.inf)
    parts = [rng.uniform(max(a, low), min(b, high), count) for a, b in RANGES[name]]
    small = 10.0 ** rng.uniform(-min(sizes, 250), 0, count)
    parts.append(small if name in ("log", "acos") else small * rng.choice([-1, 1], count))
    if name == "log":
        parts += [
            1 + rng.uniform(-1, 1, count) * 10.0 ** rng.uniform(-7, -0.5, count),
            10.0 ** rng.uniform(0, sizes, count),
        ]
    return (np.concatenate(parts).astype(dtype),)


def worst(name, dtype, count):
    """The largest error of a result that is a normal number, in units of the last place of the exact one."""
    args, exact, info = samples(name, dtype, count), EXACT.get(name) or getattr(mpmath.mp, name), np.finfo(dtype)
    found, largest = compiled(name, dtype)(*args), 0.0
    with mpmath.workdps(40):
        for value, *given in zip(found.tolist(), *(a.tolist() for a in args)):
            expected = exact(*given)
            if info.tiny <= abs(expected) <= info.max:
                unit = mpmath.ldexp(1, int(mpmath.frexp(abs(expected))[1]) - info.nmant - 1)
                largest = max(largest, float(abs(value - expected) / unit))
    return largest


@pytest.mark.parametrize("dtype", (np.float32, np.float64))
@pytest.mark.parametrize("name", FUNCTIONS)
def test_two_units_of_the_last_place(name, dtype):
    assert worst(name, dtype, 150) <= 2


@pytest.mark.slow
@pytest.mark.parametrize("dtype", (np.float32, np.float64))
@pytest.mark.parametrize("name", FUNCTIONS)
def test_two_units_of_the_last_place_of_many(name, dtype):
    assert worst(name, dtype, 10_000) <= 2


@pytest.mark.parametrize("dtype", (np.float32, np.float64))
@pytest.mark.parametrize("name", FUNCTIONS)
def test_ends(name, dtype):
    """Zeros with their signs, infinities, what is not a number, subnormal and very large numbers, as NumPy has them."""
    info = np.finfo(dtype)
    x = [0.0, 0.5, 1, 2, 3, 1e-3, np.inf, info.max, info.tiny, info.smallest_subnormal, info.tiny / 8, 30, 88, 709, 1e5]
    x = np.array([*x, *(-np.array(x)), np.nan], dtype)
    args = (x,) if FUNCTIONS[name][1] == 1 else tuple(v.ravel() for v in np.meshgrid(x, x))
    with np.errstate(all="ignore"):
        expected = (NUMPY.get(name) or getattr(np, name))(*args).astype(dtype)
    found = compiled(name, dtype)(*args)
    np.testing.assert_allclose(found, expected, rtol=4 * info.eps, atol=2 * float(info.smallest_subnormal))
    known = ~np.isnan(expected)
    assert (np.signbit(found) == np.signbit(expected))[known].all()


@pytest.mark.parametrize("name", ODD)
def test_odd_functions_are_odd(name):
    x = RNG.uniform(0, 0.99, 100)
    function = compiled(name, np.float64)
    if name != "log1p":
        np.testing.assert_array_equal(function(-x), -function(x))
    assert np.signbit(function(np.full(8, -0.0))).all()


def test_coefficients_are_those_of_the_script():
    assert make_coefficients.PAGE.read_text(encoding="utf-8") == make_coefficients.text()
