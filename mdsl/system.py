"""The state of a program's atoms, as the interpreter sees it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True, eq=False)
class System:
    """N atoms in d dimensions, and the values of a program's parameters, in its internal units."""

    x: np.ndarray  # [N, d]
    lengths: np.ndarray  # [d], edges of the box; finite also along axes that are not periodic
    v: np.ndarray | None = None  # [N, d]
    periodic: Sequence[bool] | None = None  # for each axis; None: all
    species: np.ndarray | None = None  # [N], positions in Model.species; None: all 0
    masses: np.ndarray | None = None  # [N]; None: 1
    t: float = 0.0
    step: int = 0
    params: Mapping[str, object] = field(default_factory=dict)  # float, or array [axis, ...]
    topologies: Mapping[str, np.ndarray] = field(default_factory=dict)  # int [members, arity]
    degrees_of_freedom: float | None = None  # None: d*N - d

    def __post_init__(self):
        x = np.asarray(self.x, float)
        n, d = x.shape
        defaults = {
            "v": (self.v, np.zeros((n, d)), float),
            "periodic": (self.periodic, np.ones(d), bool),
            "species": (self.species, np.zeros(n), int),
            "masses": (self.masses, np.ones(n), float),
            "degrees_of_freedom": (self.degrees_of_freedom, d * n - d, float),
        }
        object.__setattr__(self, "x", x)
        object.__setattr__(self, "lengths", np.broadcast_to(np.asarray(self.lengths, float), (d,)))
        for name, (given, otherwise, kind) in defaults.items():
            object.__setattr__(self, name, np.asarray(otherwise if given is None else given, kind))


@dataclass(frozen=True, eq=False)
class NoSystem:
    """In place of a System, where an expression may not look at atoms."""

    params: Mapping[str, object]
