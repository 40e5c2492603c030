"""The mean of a series of correlated numbers, and how far it is to be trusted.

The standard error follows from the correlations of the series, summed up to a window that balances what is cut off
against noise (U. Wolff, Comput. Phys. Commun. 156, 143 (2004), sections 3.1 to 3.3), pooled over replicas. What comes
before a run has come to rest is left out: of several beginnings that one is taken from which on there are the most
numbers that have forgotten each other (J. D. Chodera, J. Chem. Theory Comput. 12, 1799 (2016)).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np

FEWEST = 8  # numbers of which an error is told
LONG = 50  # a series should have more numbers that have forgotten each other: a shorter one hardly shows its memory
STRETCH = 1.5  # Wolff's S: the time by which correlations decay, over their summed one
BEGINNINGS = 24  # that are tried, in the first half
BLOCKS = 4096  # of a longer series, whose means tell where it has come to rest


@dataclass(frozen=True)
class Estimate:
    """Of a series, or of one for each entry of an array, all fields in its shape.

    ``mean`` and its standard ``error``, in the unit of the series (NaN of fewer than 8 numbers); the
    ``correlation_time`` τ in records, ½ of independent ones; how many ``independent`` numbers the series is worth,
    n/2τ; its ``memory`` in records, as τ but of the sizes of correlations, which do not cancel where it oscillates;
    the ``degrees`` of freedom of the error, as of Student's t; ``first``: the record from which on it was taken;
    ``count``, the records from there on, of all replicas."""

    mean: np.ndarray
    error: np.ndarray
    correlation_time: np.ndarray
    independent: np.ndarray
    memory: np.ndarray
    degrees: np.ndarray
    first: np.ndarray
    count: np.ndarray

    @property
    def doubtful(self) -> np.ndarray:
        """Whether the series is too short for its error to be believed: it has forgotten itself less than 50 times."""
        return ~(self.count > LONG * 2 * self.memory)

    def interval(self, level: float = 0.95) -> np.ndarray:
        """[2, ...] where the mean of an endless series is with a probability of ``level``."""
        from scipy.special import stdtrit

        half = stdtrit(self.degrees, 0.5 + level / 2) * self.error
        return np.stack([self.mean - half, self.mean + half])


def estimate(values: np.ndarray, replicas: bool = False, settled: bool = False) -> Estimate:
    """The mean of ``values`` [n, ...] along their first axis, of ``replicas`` [B, n, ...] along the first two, taken
    together; NaN stands for what was not recorded. ``settled``: all of it counts, from the first number on."""
    values = np.asarray(values, np.float64)
    values = values if replicas else values[None]
    shape = values.shape[2:]
    found = [_estimate(columns, settled) for columns in np.moveaxis(values.reshape(*values.shape[:2], -1), 2, 0)]
    return Estimate(*(np.array([getattr(f, n.name) for f in found]).reshape(shape) for n in fields(Estimate)))


def each(values: np.ndarray) -> Estimate:
    """Of ``values`` [B, n, ...] for every replica by itself: all fields are [B, ...]."""
    found = [estimate(v) for v in values]
    return Estimate(*(np.stack([getattr(f, n.name) for f in found]) for n in fields(Estimate)))


def _estimate(rows: np.ndarray, settled: bool) -> Estimate:
    """Of numbers [B, n]."""
    series = [row[~np.isnan(row)] for row in rows]
    first = 0 if settled else _rest(series)
    return _of_all([s[first:] for s in series if len(s) > first], first)


def _rest(series: Sequence[np.ndarray]) -> int:
    """From which number on most have forgotten each other."""
    longest = max(map(len, series), default=0)
    if longest < 4 * FEWEST:
        return 0
    size = max(1, longest // BLOCKS)
    blocks = [s[: len(s) // size * size].reshape(-1, size).mean(axis=1) for s in series]
    half = longest // size / 2
    best, most = 0, -1.0
    for start in sorted({int(half * k / BEGINNINGS) for k in range(BEGINNINGS)}):
        found = _of_all([b[start:] for b in blocks if len(b) > start])
        # By sizes: the smallest of several sums in which numbers cancel is so by chance.
        if found.count / found.memory > most:
            best, most = start * size, found.count / found.memory
    return best


def _of_all(series: Sequence[np.ndarray], first: int = 0) -> Estimate:
    count = sum(map(len, series))
    mean = sum(s.sum() for s in series) / count if count else np.nan
    if count < FEWEST:
        return Estimate(mean, np.nan, np.nan, 0.0, np.inf, np.nan, first, count)
    gamma = correlations([s - mean for s in series])
    if not gamma[0] > 0:
        return Estimate(mean, 0.0, 0.5, float(count), 0.5, float(count), first, count)
    rho = gamma / gamma[0]
    tau, memory, window, decayed = correlation_time(rho, count)
    if not decayed and len(series) >= FEWEST:  # too short to see how they forget: then each replica is one number
        means = [s.mean() for s in series]
        error = float(np.std(means, ddof=1) / np.sqrt(len(means)))
        n = float(len(means))
        return Estimate(mean, error, count / (2 * n), n, count / (2 * n), n - 1, first, count)
    variance = gamma[0] / (1 - min(2 * tau / count, 0.9))  # the mean was taken from the same numbers
    error, degrees = float(np.sqrt(2 * tau * variance / count)), degrees_of_freedom(rho[: window + 1], count)
    return Estimate(mean, error, tau, count / (2 * tau), memory, degrees, first, count)


def correlations(series: Sequence[np.ndarray]) -> np.ndarray:
    """[n // 2 + 1] the mean product of numbers that far apart, of series whose mean is 0."""
    most = max(map(len, series)) // 2 + 1
    total, terms = np.zeros(most), np.zeros(most)
    for s in series:
        padded, lags = np.fft.rfft(s, 1 << (2 * len(s) - 1).bit_length()), min(len(s), most)
        total[:lags] += np.fft.irfft(np.abs(padded) ** 2)[:lags]
        terms[:lags] += len(s) - np.arange(lags)
    return total / np.maximum(terms, 1)


def correlation_time(rho: np.ndarray, count: int) -> tuple[float, float, int, bool]:
    """The sum of correlations, ½ and those of all distances from 1 to a window, that of their sizes, the window, and
    whether they have decayed there. It is chosen by the sizes: what oscillates has correlations that cancel before."""
    if len(rho) == 1:
        return 0.5, 0.5, 0, False
    at, sizes = np.arange(1, len(rho)), 0.5 + np.cumsum(np.abs(rho[1:]))
    decay = STRETCH / np.log1p(2 / np.maximum(2 * sizes - 1, 1e-12))  # eq. 51, its logarithm of (2τ + 1)/(2τ - 1)
    ends = np.exp(-at / decay) < decay / np.sqrt(at * count)  # eq. 52
    window = int(at[np.argmax(ends)]) if ends.any() else int(at[-1])
    tau = (0.5 + float(rho[1 : window + 1].sum())) * (1 + (2 * window + 1) / count)  # eq. 49
    return max(tau, 0.5 / count), float(sizes[window - 1]), window, bool(ends.any())


def degrees_of_freedom(rho: np.ndarray, count: int) -> float:
    """Of the sum of correlations ``rho`` up to a window: 2 over its relative variance, by the variance of a smoothed
    periodogram (M. B. Priestley, Spectral Analysis and Time Series, 1981, section 6.2). Where the spectrum is even that
    is ``count`` over the width of the window; where it is much larger than at frequency 0, as of what oscillates, less.
    """
    size = 1 << (4 * (2 * len(rho) - 1)).bit_length()
    both = np.zeros((2, size))
    both[:, : len(rho)] = rho, np.ones_like(rho)
    both[:, size - len(rho) + 1 :] = both[:, len(rho) - 1 : 0 : -1]
    spectrum, kernel = np.fft.fft(both).real
    return max(count * spectrum[0] ** 2 / np.mean((spectrum * kernel) ** 2), 1.0)
