"""Atoms for random programs: few, near each other, on no site of symmetry, and away from the thresholds of a
program."""

from __future__ import annotations

import numpy as np

from mdsl.interpret import meaning as interpret
from mdsl.interpret.meaning import System

EDGES = (4.6, 4.8, 5.0)


def atoms(rng, dim: int, shape: str, species: int, bonded: bool, data: list[str]) -> System:
    """Eight atoms on some of the sites of a lattice, moved about."""
    count, side = 8, 3 if dim == 3 else 4
    edges = np.array(EDGES[:dim])
    sites = np.stack(np.meshgrid(*[np.arange(side)] * dim, indexing="ij"), -1).reshape(-1, dim)
    fractions = (rng.permutation(sites)[:count] + rng.uniform(0.25, 0.75, (count, dim))) / side
    cell = np.diag(edges)
    if shape == "skew":
        cell[np.tril_indices(dim, -1)] = rng.uniform(-0.8, 0.8, dim * (dim - 1) // 2)
    if shape != "free":
        fractions += rng.integers(-1, 2, fractions.shape)
    x = fractions @ cell
    near = _near(x, cell, shape != "free")
    bonds = [(i, j) for i in range(count) for j in range(i) if near[i, j] < 0.42 * EDGES[0]][:7]
    angles = [(i, j, k) for i, j in bonds for k in range(count) if k not in (i, j) and near[j, k] < 0.42 * EDGES[0]][:6]
    four = [(*a, n) for a in angles for n in range(count) if n not in a and near[a[2], n] < 0.42 * EDGES[0]][:5]
    given = {"bonds": (bonds, 2), "angles": (angles, 3), "dihedrals": (four, 4)} if bonded else {}
    return System(
        x,
        v=rng.normal(size=x.shape),
        periodic=[shape != "free"] * dim,
        species=rng.permutation(np.arange(count) % species) if species else None,
        masses=rng.uniform(0.8, 1.5, count),
        cell=np.eye(dim) if shape == "free" else cell,
        params={name: rng.uniform(0.5, 1.3, count) for name in data},
        topologies={n: np.array(t, int).reshape(-1, width) for n, (t, width) in given.items()},
    )


def _near(x, cell, repeats: bool):
    """[n, n]: distances of nearest images."""
    d = x[:, None] - x[None, :]
    if repeats:
        for k in reversed(range(len(cell))):
            d = d - np.round(d[..., k, None] / cell[k, k]) * cell[k]
    return np.linalg.norm(d, axis=-1)


def near_a_threshold(model, system: System, forces: np.ndarray, along: np.ndarray, h: float = 1e-7) -> bool:
    """Whether the energy is no smooth function between here and a step ``h`` ``along``, as far as the interpreter
    tells."""

    def energy(step: float) -> float:
        moved = {f: getattr(system, f) for f in system.__dataclass_fields__} | {
            "x": system.x + step * along,
            "lengths": None,
        }
        return interpret.energy(model, System(**moved))

    slope = (energy(h) - energy(-h)) / (2 * h)
    return not abs(slope + np.sum(forces * along)) <= 1e-4 * max(1.0, np.abs(forces).max())
