"""Systems to start from, the same for all engines: positions and velocities [N, d], edges of the box [d]."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.spatial import cKDTree

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


def chains(count: int, length: int, density: float, bond: float = 0.97, core: float = 0.92) -> System:
    """A melt of bead-spring chains. They are grown as random walks that do not fold back, through each other; then
    beads nearer than ``core`` are pushed apart and bonds drawn to their length."""
    rng = np.random.default_rng(SEED)
    beads = count * length
    edge = (beads / density) ** (1 / 3)
    steps = rng.normal(size=(count, length, 3))
    steps /= np.linalg.norm(steps, axis=-1, keepdims=True)
    for k in range(1, length):  # about 75 degrees from bond to bond
        steps[:, k] += 1.1 * steps[:, k - 1]
        steps[:, k] /= np.linalg.norm(steps[:, k], axis=-1, keepdims=True)
    x = (edge * rng.random((count, 1, 3)) + bond * np.cumsum(steps, axis=1)).reshape(beads, 3)
    first = np.arange(beads).reshape(count, length)[:, :-1].ravel()
    bonds = np.stack([first, first + 1], axis=1)
    x = pushed(x, edge, bonds, bond, core)
    return System(x % edge, velocities(rng, x.shape, 1.0), np.full(3, edge), bonds)


def pushed(x: np.ndarray, edge: float, bonds: np.ndarray, bond: float, core: float) -> np.ndarray:
    """Positions in which no two beads are nearer than 0.9 of ``core`` and bonds are 0.7 to 1.3 of their length."""
    bonded = bonds[:, 0] * len(x) + bonds[:, 1]
    slack = 0.15
    at = None
    for k in range(2000):
        grown = min(core, 0.4 + 0.005 * k)  # chains slip through each other first
        if at is None or np.abs(x - at).max() > slack / 2 / 3**0.5:
            near = cKDTree(x % edge, boxsize=edge).query_pairs(core + slack, output_type="ndarray")
            near, at = near[~np.isin(near.min(axis=1) * len(x) + near.max(axis=1), bonded)], x.copy()
        moves = np.zeros_like(x)
        worst = []
        for pairs, wanted, pulls in ((near, grown, False), (bonds, bond, True)):
            d = x[pairs[:, 0]] - x[pairs[:, 1]]
            d -= edge * np.round(d / edge)
            r = np.maximum(np.linalg.norm(d, axis=1), 1e-6)
            off = np.where(pulls | (r < wanted), wanted - r, 0.0)
            worst.append(np.abs(off).max(initial=0) / wanted)
            step = (0.25 * off / r)[:, None] * d
            for axis in range(3):
                moves[:, axis] += np.bincount(pairs[:, 0], step[:, axis], len(x)) - np.bincount(pairs[:, 1], step[:, axis], len(x))
        if grown == core and worst[0] < 0.1 and worst[1] < 0.3:
            return x
        x = x + np.clip(moves, -0.1, 0.1)
    raise RuntimeError(f"the chains could not be packed: overlaps of {worst[0]:.0%} are left, bonds off by {worst[1]:.0%}")


def bubbles(count: int, density: float | None = None, fraction: float | None = None) -> System:
    """Bubbles in two dimensions at random positions, in a square, at rest: of diameter 1 at this number density, or half
    of diameter 0.8 (species 0) and half of 1 (species 1) that fill this fraction of the square."""
    rng = np.random.default_rng(SEED)
    species = np.arange(count) % 2
    area = count / density if density else np.pi / 4 * (np.array([0.8, 1.0])[species] ** 2).sum() / fraction
    x = area**0.5 * rng.random((count, 2))
    return System(x, np.zeros_like(x), np.full(2, area**0.5), species=species)


def kept(name: str, make) -> System:
    """What ``make`` gives, made once for all processes of one run of the benchmarks."""
    folder = os.environ.get("MDSL_BENCHMARK_FOLDER")
    if folder is None:
        return make()
    path = Path(folder, f"{name}.npz")
    if not path.exists():
        made = make()
        np.savez(path, **{k: value for k, value in vars(made).items() if value is not None})
    with np.load(path) as arrays:
        return System(**arrays)
