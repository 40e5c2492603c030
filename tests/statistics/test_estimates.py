"""Means and errors of series whose correlations are known, of an oscillator in a heat bath, and of runs."""

import jax
import numpy as np
import pytest

import mdsl
from mdsl.statistics.estimates import estimate
from mdsl.statistics.tables import with_error

RUNS = 400


def autoregressive(coefficients, n, runs=RUNS, seed=0, settling=500):
    """[runs, n] x_k = Σ a_m x_(k-m) + noise of variance 1."""
    noise = np.random.default_rng(seed).normal(size=(n + settling, runs))
    for k in range(len(coefficients), len(noise)):
        for m, a in enumerate(coefficients, 1):
            noise[k] += a * noise[k - m]
    return noise[settling:].T


def held(estimates, mean):
    """How many intervals of 95 % hold."""
    return np.mean([low < mean < high for low, high in (e.interval() for e in estimates)])


@pytest.mark.parametrize("coefficients", [(0.8,), (-0.5,), (2 * 0.9 * np.cos(1), -(0.9**2))], ids=str)
def test_intervals_of_autoregressive_series_hold(coefficients):
    """Of 400 runs, of which 93 to 97 % is what chance leaves of 95; the third oscillates."""
    found = [estimate(x) for x in autoregressive(coefficients, 3000)]
    assert 0.93 <= held(found, 0.0) <= 0.975
    exact = 1 / (1 - sum(coefficients)) / np.sqrt(3000)
    assert np.mean([e.error for e in found]) == pytest.approx(exact, rel=0.06)
    assert not np.mean([e.doubtful for e in found]) > 0.05


def test_the_correlation_time_is_that_of_the_process():
    found = [estimate(x) for x in autoregressive((0.9,), 20_000, runs=40)]
    assert np.mean([e.correlation_time for e in found]) == pytest.approx(1.9 / 0.1 / 2, rel=0.03)
    assert np.mean([e.independent for e in found]) == pytest.approx(20_000 / 19, rel=0.05)


def test_what_comes_before_rest_is_left_out():
    n = 2000
    x = autoregressive((0.7,), n, runs=60) + 40 * np.exp(-np.arange(n) / 60)
    found = [estimate(row) for row in x]
    assert all(150 <= e.first <= n / 2 for e in found)
    assert held(found, 0.0) > 0.9
    assert abs(np.mean([e.mean for e in found])) < 0.1 < 1 < np.mean([estimate(row, settled=True).mean for row in x])


def test_replicas_are_taken_together():
    x = autoregressive((0.8,), 500, runs=1600).reshape(100, 16, 500)
    found = [estimate(batch, replicas=True) for batch in x]
    assert all(e.count >= 8000 // 2 for e in found)
    assert 0.88 <= held(found, 0.0) <= 1.0
    assert np.mean([e.error for e in found]) == pytest.approx(5 / np.sqrt(8000), rel=0.1)
    # Much shorter than they take to forget: each replica is one number.
    x = autoregressive((0.98,), 10, runs=1600).reshape(100, 16, 10)
    short = [estimate(batch, replicas=True, settled=True) for batch in x]
    assert {float(e.independent) for e in short} == {16.0}
    assert 0.88 <= held(short, 0.0) <= 1.0


def test_what_is_constant_short_or_missing():
    assert estimate(np.full(50, 3.0)).error == 0
    few = estimate(np.arange(7.0))
    assert few.mean == 3 and np.isnan(few.error) and few.doubtful
    assert np.isnan(estimate(np.full(20, np.nan)).mean)
    x = autoregressive((0.5,), 400, runs=6).T.reshape(400, 2, 3)
    assert estimate(x).mean.shape == (2, 3)
    assert estimate(x).error[1, 2] == estimate(x[:, 1, 2]).error
    holes = np.full(800, np.nan)
    holes[::2] = x[:, 0, 0]
    assert estimate(holes).error == estimate(x[:, 0, 0]).error


def test_long_series_are_searched_by_their_blocks():
    x = autoregressive((0.5,), 20_000, runs=1)[0] + 30 * np.exp(-np.arange(20_000) / 500)
    assert 1000 <= estimate(x).first <= 10_000


@pytest.mark.parametrize(
    "mean, error, text",
    [
        (-4889.4348, 0.3217, "-4889.43 ± 0.32"),
        (301.22, 14.2, "301 ± 14"),
        (1.23456e-7, 3.1e-9, "(1.235 ± 0.031)e-07"),
        (5.0, 0.0, "5 ± 0"),
        (5.0, np.nan, "5"),
        (1.0, 2e-16, "1 ± 2.0e-16"),
    ],
)
def test_digits_are_those_that_the_error_leaves(mean, error, text):
    assert with_error(mean, error) == text


OSCILLATOR = """use units.lj
use integrators (baoab)
box free
param k = 2.0
param m = 1.0
energy U = sum(i) k/2 * |x[i] - origin|^2
run {
  x = read("atom.xyz")
  baoab(dt = 0.2, T = 1.5, gamma = 0.7) for 5_000 record U every 10
}
"""


def test_a_langevin_oscillator(tmp_path):
    """⟨U⟩ = 3/2 kT, which BAOAB has exactly for a harmonic force (B. Leimkuhler and C. Matthews, Appl. Math. Res. Express
    2013, 34)."""
    (tmp_path / "atom.xyz").write_text("1\n\nAr 0 0 0\n")
    (tmp_path / "trap.mdsl").write_text(OSCILLATOR)
    result = mdsl.load(tmp_path / "trap.mdsl").bind().run(jax.random.split(jax.random.key(1), RUNS))
    found = result.statistics["U"]
    low, high = found.interval()
    assert 0.93 <= np.mean((low < 2.25) & (high > 2.25)) <= 0.975
    together = estimate(result.records["U"], replicas=True)
    assert abs(together.mean - 2.25) < 4 * together.error
    assert together.error == pytest.approx(found.error.mean() / np.sqrt(RUNS), rel=0.1)
