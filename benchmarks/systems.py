"""Systems to start from, the same for all engines: positions and velocities [N, d], edges of the box [d]."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

FCC = np.array([[0, 0, 0], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]])
DIAMOND = np.concatenate([FCC, FCC + 0.25])
SEED = 2718


@dataclass(frozen=True)
class System:
    """bonds: [M, 2] atoms counted from 0. species: [N], where there are several."""

    x: np.ndarray
    v: np.ndarray
    edges: np.ndarray
    bonds: np.ndarray | None = None
    species: np.ndarray | None = None


def crystal(sites: np.ndarray, a: float, cells: tuple[int, int, int], shake: float, speed: float) -> System:
    """A crystal whose atoms are off their sites by normal numbers times ``shake``, with velocities times ``speed``."""
    rng = np.random.default_rng(SEED)
    grid = np.stack(np.meshgrid(*map(np.arange, cells), indexing="ij"), -1).reshape(-1, 1, 3)
    x = a * (grid + sites).reshape(-1, 3)
    x = x + shake * rng.normal(size=x.shape)
    edges = a * np.array(cells, float)
    return System(x % edges, velocities(rng, x.shape, speed), edges)


def velocities(rng: np.random.Generator, shape: tuple[int, int], speed: float) -> np.ndarray:
    v = speed * rng.normal(size=shape)
    return v - v.mean(axis=0)


def chains(blocks: tuple[int, int, int], density: float) -> System:
    """A melt of bead-spring chains of 100, without overlaps: each is folded, boustrophedon, into a block of 5 x 5 x 4
    sites of a simple cubic lattice, from which beads are a little off. That lattice is unstable and melts within a few
    hundred steps, to the density and the distances of a melt; chains remain more compact than at rest."""
    rng = np.random.default_rng(SEED)
    fold = np.array(
        [
            (i, j if i % 2 == 0 else 4 - j, k if (i * 5 + j) % 2 == 0 else 3 - k)
            for i in range(5)
            for j in range(5)
            for k in range(4)
        ]
    )
    corners = np.array([5, 5, 4]) * np.stack(np.meshgrid(*map(np.arange, blocks), indexing="ij"), -1).reshape(-1, 1, 3)
    a = density ** (-1 / 3)
    x = a * (corners + fold).reshape(-1, 3)
    x = x + 0.02 * rng.normal(size=x.shape)
    edges = a * np.array(blocks) * (5, 5, 4)
    first = np.arange(len(x)).reshape(-1, 100)[:, :-1].ravel()
    return System(x % edges, velocities(rng, x.shape, 1.0), edges, np.stack([first, first + 1], axis=1))


def bubbles(count: int, density: float | None = None, fraction: float | None = None) -> System:
    """Bubbles in two dimensions at random positions, in a square, at rest: of diameter 1 at this number density, or
    half of diameter 0.8 (species 0) and half of 1 (species 1) that fill this fraction of the square."""
    rng = np.random.default_rng(SEED)
    species = np.arange(count) % 2
    area = count / density if density else np.pi / 4 * (np.array([0.8, 1.0])[species] ** 2).sum() / fraction
    x = area**0.5 * rng.random((count, 2))
    return System(x, np.zeros_like(x), np.full(2, area**0.5), species=species)
