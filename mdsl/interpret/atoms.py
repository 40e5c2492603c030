"""The state of a program's atoms, as the interpreter sees it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True, eq=False)
class System:
    """N atoms in d dimensions, and the values of a program's parameters, in its internal units."""

    x: np.ndarray  # [N, d]
    lengths: np.ndarray | None = None  # [d], finite edges of a rectangular box; None: ``cell``
    v: np.ndarray | None = None  # [N, d]
    periodic: Sequence[bool] | None = None  # for each axis; None: all, where there is a box
    species: np.ndarray | None = None  # [N], positions in Model.species; None: all 0
    masses: np.ndarray | None = None  # [N]; None: 1
    t: float = 0.0
    step: int = 0
    params: Mapping[str, object] = field(default_factory=dict)  # float, or array [axis, ...]
    topologies: Mapping[str, np.ndarray] = field(default_factory=dict)  # int [members, arity]
    degrees_of_freedom: float | None = None  # None: d*N - d
    start: System | None = None  # when the statement of dynamics began; None: now
    cell: np.ndarray | None = None  # [d, d], rows are the box vectors; None: what the program's `box` says
    memory: Mapping[tuple, object] = field(default_factory=dict)  # the states of the statement of dynamics under way

    def __post_init__(self):
        n, d = np.shape(self.x)
        if self.lengths is not None:
            object.__setattr__(self, "cell", np.diag(np.asarray(self.lengths, float)))
        kinds = {"x": float, "cell": float, "v": float, "periodic": bool, "species": int, "masses": float}
        otherwise = {
            "v": np.zeros((n, d)),
            "species": np.zeros(n),
            "masses": np.ones(n),
            "degrees_of_freedom": d * n - d,
        }
        if self.cell is not None:
            otherwise["periodic"] = np.ones(d)
        for name, value in otherwise.items():
            if getattr(self, name) is None:
                object.__setattr__(self, name, value)
        for name, kind in kinds.items():
            if getattr(self, name) is not None:
                object.__setattr__(self, name, np.asarray(getattr(self, name), kind))

    def frozen(self, model) -> np.ndarray:
        """[N]: which atoms never move, by their species or by data."""
        found = np.isin(self.species, [model.species.index(name) for name in model.frozen if name in model.species])
        return np.logical_or.reduce([found, *(np.asarray(self.params[name]) != 0 for name in model.freezing)])


@dataclass(frozen=True, eq=False)
class NoSystem:
    """In place of a System, where an expression may not look at atoms."""

    params: Mapping[str, object]
