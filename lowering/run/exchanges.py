"""Replicas that exchange their parameters: who tries with whom, who has, and what became of it.

A *state* is a set of parameters, numbered from 0 as the replicas are that begin with it; a replica keeps its atoms,
its random numbers and its place in memory, and goes from state to state. Neighbouring states try in turn, (0, 1),
(2, 3), ... and (1, 2), (3, 4), ..., each by the rule of `lowering/field/reduced.py`. Random numbers are a function of
the key of the run, the step and the pair: a run that goes on draws what it would have drawn.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np

from mdsl.lowering.dynamics.state import NEW, State
from mdsl.lowering.field.names import AtRest, PerKinetic
from mdsl.lowering.field.reduced import exchange_of
from mdsl.model.nodes import Advance

if TYPE_CHECKING:
    from .execution import Execution

STREAM = 0x65786368  # of random numbers, beside those of atoms


def acceptance(tried: np.ndarray, accepted: np.ndarray) -> np.ndarray:
    """The part of attempts that was accepted; NaN where none was made."""
    return np.where(tried > 0, accepted / np.maximum(tried, 1), np.nan)


@dataclass(frozen=True, eq=False)
class Exchanges:
    """What became of the exchanges of B replicas so far.

    states: [B], the state in which each replica is. attempts: how often states were to exchange. tried, accepted:
    [B - 1], how often each state and the next have tried, and have exchanged. visits: [B, B], after how many attempts
    each replica was in each state. end: [B], at which end of the states each replica was last: the first (-1), the
    last (1), or none yet (0). trips: [B], how often it came back to the first from the last.
    """

    states: np.ndarray
    attempts: int
    tried: np.ndarray
    accepted: np.ndarray
    visits: np.ndarray
    end: np.ndarray
    trips: np.ndarray

    @classmethod
    def none(cls, count: int) -> Exchanges:
        """Before the first one: every replica in the state of its number."""
        zeros, states = np.zeros(count, int), np.arange(count)
        between, visits = np.zeros(max(count - 1, 0), int), np.zeros((count, count), int)
        return cls(states, 0, between, between, visits, _ends(states, zeros), zeros)

    @property
    def ratio(self) -> np.ndarray:
        """[B - 1]: the part of the attempts of each state and the next that was accepted; NaN where none was made."""
        return acceptance(self.tried, self.accepted)

    @property
    def partner(self) -> np.ndarray:
        """[B]: the state with which each tries next; its own where it does not. Of two states it is always the
        other."""
        count = len(self.states)
        found = np.arange(count)
        first = self.attempts % 2 if count > 2 else 0
        for k in range(first, count - 1, 2):
            found[k], found[k + 1] = k + 1, k
        return found

    def after(self, accepted: np.ndarray) -> Exchanges:
        """When the states for which ``accepted`` [B] says so have exchanged their replicas with their partners."""
        partner = self.partner
        pairs = [k for k, other in enumerate(partner) if other > k]
        tried, taken = self.tried.copy(), self.accepted.copy()
        tried[pairs] += 1
        taken[pairs] += accepted[pairs]
        states = np.where(accepted[self.states], partner[self.states], self.states)
        visits = self.visits.copy()
        visits[np.arange(len(states)), states] += 1
        end = _ends(states, self.end)
        trips = self.trips + ((self.end == 1) & (end == -1))
        return Exchanges(states, self.attempts + 1, tried, taken, visits, end, trips)

    # -- as JSON can hold it -----------------------------------------------------------------------------------

    def told(self) -> dict[str, object]:
        return {f.name: np.asarray(getattr(self, f.name)).tolist() for f in fields(self)}

    @classmethod
    def read(cls, told: Mapping[str, object]) -> Exchanges:
        found = cls(**{name: np.asarray(value, int) for name, value in told.items()})
        return replace(found, attempts=int(found.attempts))


def _ends(states: np.ndarray, before: np.ndarray) -> np.ndarray:
    last = len(states) - 1
    return np.where(states == 0, -1, np.where(states == last, 1, before))


@dataclass(frozen=True, eq=False)
class Attempt:
    """States that tried to exchange at a ``step``. partner, accepted: [B], of each state. exchanges: after it."""

    step: int
    partner: np.ndarray
    accepted: np.ndarray
    exchanges: Exchanges


def judged(own: np.ndarray, other: np.ndarray, partner: np.ndarray, uniform: np.ndarray) -> np.ndarray:
    """[B]: which states exchange with their partners.

    ``own``: [B], the reduced energy of the atoms in each state; ``other``: of the same atoms under the parameters of
    the partner; ``uniform``: [B], random numbers in [0, 1), of which the one of the lower state counts. What is no
    number, as where atoms overlap in the other state, is not accepted.
    """
    change = other + other[partner] - own - own[partner]
    with np.errstate(all="ignore"):
        accepted = np.log(uniform[np.minimum(partner, np.arange(len(own)))]) < -change
    return accepted & (partner != np.arange(len(own)))


def uniform(key: np.ndarray, step: int, count: int) -> np.ndarray:
    """[count]: random numbers that are a function of the words of a key and of the step (Philox: Salmon, Moraes, Dror
    and Shaw 2011)."""
    words = [int(w) for w in np.ravel(key)]
    bits = np.random.Philox(key=np.array([words[0] << 32 | words[-1], STREAM], np.uint64), counter=[0, 0, 0, step])
    return np.random.Generator(bits).random(count)


# -- on the devices --------------------------------------------------------------------------------------


def exchange(execution: Execution, advance: Advance, state: State, t) -> tuple[State, Attempt]:
    """The state when replicas have tried to exchange theirs. Raises Rejected where a list cannot grow enough."""
    members, before = execution.members, execution.exchanges
    output = exchange_of(advance)
    if output is None or before is None:
        raise AssertionError("nothing is exchanged here")
    rest, factor = names = AtRest(output.names[0]), PerKinetic(output.names[0])
    partner, replica = before.partner, np.argsort(before.states)
    tried = partner[before.states]
    farther = len(set(members.cutoffs)) > 1  # a list holds the pairs of one state, which need not be those of another

    own = {n: members.cut(a) for n, a in execution.observed(advance, names, state, t).items()}
    if farther:
        state = execution.listed(state, execution.inputs(t, 0, tried))
    other = {n: members.cut(a) for n, a in execution.observed(advance, names, state, t, tried).items()}
    step = int(members.gathered(state.step)[0])
    drawn = uniform(np.asarray(jax.random.key_data(members.first.key)), step, len(replica))
    accepted = judged(own[rest][replica], other[rest][replica], partner, drawn)

    after = before.after(accepted)
    execution.go_on_with(after)
    moved = after.states != before.states
    if moved.any():
        hot = moved & (own[factor] > 0) & (other[factor] > 0)
        scale = np.sqrt(np.where(hot, own[factor], 1) / np.where(hot, other[factor], 1))
        state = _in_other_states(execution, advance, state, scale, replica[after.states])
    if farther:
        state = execution.listed(state, execution.inputs(t, 0))
    return state, Attempt(step, partner, accepted, after)


def _in_other_states(execution: Execution, advance: Advance, state: State, scale: np.ndarray, source: np.ndarray):
    """The state with velocities times ``scale`` [B], and what the scheme remembers, which belongs to states and not to
    atoms, from the replicas ``source`` [B]. Forces of other parameters are not known yet."""
    members = execution.members
    before = state.v, {s.name: state.kept[s.name] for s in advance.states}, state.phase
    factors = np.asarray(members.spread(scale), members.lowered.dtype)
    # Arrays stay where they are and as they came, for which steps are compiled.
    placed = lambda new, old: new if new.sharding == old.sharding else jax.device_put(new, old.sharding)  # noqa: E731
    v, memory, new = jax.tree.map(placed, _moved(*before, factors, members.spread(source)), before)
    # Schemes that carry the force of a step over to the next begin anew.
    return state._replace(v=v, kept={**state.kept, **memory}, phase=new if execution.carries(advance) else state.phase)


@jax.jit
def _moved(v: tuple, memory, phase, factors, source):
    return tuple(a * factors[:, None] for a in v), jax.tree.map(lambda a: a[source], memory), jnp.full_like(phase, NEW)
