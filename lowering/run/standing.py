"""All that decides the next bits of a run, to and from arrays and plain numbers.

Positions, velocities and states are not enough to go on with the same bits: sums depend in their last digits on the
order of the atoms and on their neighbour list, whose end depends on where atoms were when it was built; forces that the
next step begins with were summed then; and capacities that have grown decide the columns of the next list. So a
checkpoint holds the state as it is on the devices, list and all, beside the atoms in the user's order, which any other
run can go on from.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass

import jax
import jax.numpy as jnp
import numpy as np

from mdsl.grammar.diagnostics import Diagnostic, Rejected
from mdsl.lowering.dynamics.state import State
from mdsl.lowering.planning.capacity import Plan


@dataclass(frozen=True)
class Capacities:
    """What a run has made room for since it was planned, and how its lists are built.

    ``plan``, ``legs``: of the list (None: all pairs), and of sums over triples. ``skin``: of the present list, None
    where it is still that of the plan; ``built``: the step at which it was built. ``beyond``: the plans of the lists
    that observables have of their own, by the names that are recorded together; None where they have none.
    """

    plan: Plan | None
    legs: int | None
    skin: float | None
    built: int | None
    beyond: tuple[tuple[tuple[str, ...], Plan | None], ...]

    def told(self) -> dict[str, object]:
        """As JSON can hold it; floats keep all their bits there."""
        return asdict(self)

    @classmethod
    def read(cls, told: Mapping) -> Capacities:
        beyond = tuple((tuple(names), _plan(plan)) for names, plan in told["beyond"])
        return cls(_plan(told["plan"]), told["legs"], told["skin"], told["built"], beyond)


@dataclass(frozen=True, eq=False)
class Standing:
    """``arrays``: the leaves of the state on the devices, by their paths."""

    capacities: Capacities
    arrays: Mapping[str, np.ndarray]

    @classmethod
    def of(cls, state: State, capacities: Capacities) -> Standing:
        return cls(capacities, {name: np.asarray(leaf) for name, leaf in _leaves(state)})

    def state(self, like: State) -> State:
        """The state, of the structure of another one. Raises Rejected: ``malformed-checkpoint``."""
        found = []
        for name, leaf in _leaves(like):
            array = self.arrays.get(name)
            if array is None or array.shape != leaf.shape or array.dtype != leaf.dtype:
                raise Rejected(Diagnostic("malformed-checkpoint", f"the checkpoint does not hold what `{name}` was"))
            found.append(jnp.asarray(array))
        return jax.tree.unflatten(jax.tree.structure(like), found)


@dataclass(frozen=True, eq=False)
class Standings:
    """Of replicas that go their ways apart, by their numbers."""

    each: Mapping[int, Standing]

    @property
    def capacities(self) -> Standings:
        return self

    def told(self) -> dict[str, object]:
        return {"each": {str(k): one.capacities.told() for k, one in self.each.items()}}

    @property
    def arrays(self) -> dict[str, np.ndarray]:
        return {f"{k}/{name}": array for k, one in self.each.items() for name, array in one.arrays.items()}


def read(told: Mapping, arrays: Mapping[str, np.ndarray]) -> Standing | Standings:
    """From what `told` gave, and the arrays."""
    if "each" not in told:
        return Standing(Capacities.read(told), arrays)
    own: dict[str, dict[str, np.ndarray]] = {k: {} for k in told["each"]}
    for path, array in arrays.items():
        k, _, name = path.partition("/")
        own[k][name] = array
    return Standings({int(k): Standing(Capacities.read(one), own[k]) for k, one in told["each"].items()})


def _leaves(state: State) -> list[tuple[str, object]]:
    paths, _ = jax.tree_util.tree_flatten_with_path(state)
    return [(jax.tree_util.keystr(path, simple=True, separator="/"), leaf) for path, leaf in paths]


def _plan(told: Mapping | None) -> Plan | None:
    if told is None:
        return None
    return Plan(**{name: tuple(value) if isinstance(value, list) else value for name, value in told.items()})
