"""The loops over pairs of a program, as a run computes them: what is summed together, and by which kernel. Traced only:
nothing is computed, and nothing compiled."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
import numpy as np

from mdsl.lowering.dynamics.transfer import columns
from mdsl.lowering.field.field import Field
from mdsl.lowering.kernels.pair_kernel import ENERGY, FORCE, PairKernel
from mdsl.lowering.native.body import Unprintable
from mdsl.lowering.native.kernel import Everyone, Slots
from mdsl.lowering.native.pair import Pair
from mdsl.lowering.planning.policy import DEFAULT, Policy
from mdsl.lowering.potential.evaluation import evaluate
from mdsl.lowering.traversals.pairs import OVER, Visit
from mdsl.start.initial import Initial

from . import members
from .plan import arrange


@dataclass(frozen=True, eq=False)
class Loop:
    """``kernel``: what is summed; ``pair``: the kernel of a pair as it is printed, or None, and ``why``: the operation
    for which there is no text."""

    kernel: PairKernel
    layout: Slots | Everyone
    pair: Pair | None
    why: str = ""

    @property
    def reached(self) -> str:
        return "list" if isinstance(self.layout, Slots) else "everyone"


def loops(
    field: Field, initial: Initial, params: Mapping[str, object], precision: str, policy: Policy = DEFAULT
) -> list[Loop]:
    """Those of a force; then those of energies, and of sums of observables, that are others. ``params``: the free
    parameters, in internal units, and data."""
    alone = members.single(field, initial, params, jax.random.key(0), precision)
    dynamics = arrange(alone, None, policy).dynamics
    start = alone.start()
    atoms = [columns(alone.placed(a), alone.lowered.dtype) for a in (start.x, start.v, start.images)]
    inputs = alone.inputs(0.0, 0, dynamics.skin, np.stack([start.x, start.images, start.v]))
    found: list[Loop] = []

    def seen(visit: Visit):
        found.append(_loop(visit))
        return visit.zeros

    def evaluated(inputs, atoms):
        state = dynamics.start(inputs, *atoms, jnp.int32(0))
        now = dynamics.configuration(state, inputs, dynamics.known(inputs, inputs.t), driven=True)
        now = replace(now, seen=seen)
        if field.terms:
            evaluate(now, frozenset({FORCE}))
        evaluate(now, frozenset({ENERGY}), tuple(m for m in now.field.measures if m.axis is None and isinstance(m.domain, OVER)))

    jax.eval_shape(evaluated, inputs, atoms)
    return list(_different(found))


def _loop(visit: Visit) -> Loop:
    layout = Slots() if visit.slots is not None else Everyone(0 if visit.excluded is None else len(visit.excluded))
    try:
        return Loop(visit.kernel, layout, Pair.of(visit.body, visit.own, visit.others, visit.zeros))
    except Unprintable as left:
        return Loop(visit.kernel, layout, None, left.what)


def _different(found: list[Loop]) -> Iterator[Loop]:
    """Each loop once: per-atom values are computed for every evaluation that reads them."""
    known = set()
    for loop in found:
        kernel = loop.kernel
        key = kernel.outputs, kernel.terms, kernel.measures, kernel.values, loop.layout
        if key not in known:
            known.add(key)
            yield loop
