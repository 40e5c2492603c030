"""Velocities to start from."""

from __future__ import annotations

import math

import numpy as np

from .errors import rejected


def maxwell(masses: np.ndarray, kT: float, rng: np.random.Generator, dim: int = 3) -> np.ndarray:
    """Maxwell-Boltzmann velocities [N, dim] with the centre of mass at rest, at exactly the temperature asked for.

    Each component is normal with variance kT/m (J. C. Maxwell, Phil. Mag. 19, 19 (1860); e.g. Frenkel and Smit,
    *Understanding Molecular Simulation*, section 4.1). The momentum of the whole is then removed, and all
    velocities are scaled by one factor so that 2K = (dim N - dim) kT, as `velocity create` of LAMMPS does.
    One atom alone has no motion left beside its centre of mass: it keeps its draw, which is not scaled.

    ``masses`` [N], positive, and ``kT`` (an energy) are in coherent units; velocities come out in the same.
    Raises ``bad-temperature`` where kT is negative or not finite.
    """
    if not math.isfinite(kT) or kT < 0:
        raise rejected(
            "bad-temperature",
            f"velocities cannot be drawn at the temperature {kT:g}",
            help="a temperature is zero or positive",
        )
    masses = np.asarray(masses, dtype=np.float64)
    n = len(masses)
    velocities = rng.standard_normal((n, dim)) * np.sqrt(kT / masses)[:, None]
    if n < 2:
        return velocities
    velocities -= masses @ velocities / masses.sum()
    twice_kinetic = float(masses @ (velocities**2).sum(axis=1))
    if twice_kinetic > 0:
        velocities *= math.sqrt((dim * n - dim) * kT / twice_kinetic)
    return velocities
