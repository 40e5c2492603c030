"""What reverse mode keeps of a run: within a step little, and not every step where that is too much.

Within a step it keeps the state and what was summed over pairs; all else is computed again. Of a long run it keeps
the state every √n steps of n, and the steps of one such stretch at a time, so that memory grows with √n, for one more
run forward.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax
from jax.ad_checkpoint import checkpoint_name

from mdsl.lowering.traversals.pair_sum import pair_sum_p

KEPT = "kept"
MOST_KEPT = 64 * 2**20  # bytes up to which the states of all steps are kept


def spacing(steps: int, state) -> int:
    """Every how many of ``steps`` steps the state is kept."""
    size = sum(a.size * a.dtype.itemsize for a in jax.tree.leaves(state))
    return 1 if steps * size <= MOST_KEPT else math.ceil(math.sqrt(steps))


def repeated(function: Callable, state, length: int, every: int):
    """`lax.scan` of `state -> (state, values)`, of which reverse mode keeps the state after every so many turns."""

    def turns(state, length: int):
        return lax.scan(lambda s, _: function(s), state, None, length=length)

    if not 1 < every < length:
        return turns(state, length)
    stretch = jax.checkpoint(lambda s: turns(s, every), prevent_cse=False)
    state, values = lax.scan(lambda s, _: stretch(s), state, None, length=length // every)
    state, rest = turns(state, length % every)
    return state, jax.tree.map(lambda a, b: jnp.concatenate([a.reshape(-1, *a.shape[2:]), b]), values, rest)


def noted(values):
    """Values that `sparing` keeps too: what is costly to compute again."""
    return jax.tree.map(lambda a: checkpoint_name(a, KEPT), values)


def sparing(function: Callable) -> Callable:
    """The function, of which reverse mode keeps arguments, sums over pairs, and what is `noted`."""
    named = jax.checkpoint_policies.save_only_these_names(KEPT)

    def policy(primitive, *avals, **params):
        return primitive is pair_sum_p or named(primitive, *avals, **params)

    return jax.checkpoint(function, policy=policy, prevent_cse=False)
