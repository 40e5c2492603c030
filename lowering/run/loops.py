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
from mdsl.lowering.native.call import api
from mdsl.lowering.native.ir import BITS
from mdsl.lowering.native.kernel import Everyone, Slots, printed
from mdsl.lowering.native.pair import Pair
from mdsl.lowering.planning.policy import DEFAULT, Policy
from mdsl.lowering.potential.evaluation import evaluate
from mdsl.lowering.traversals.pairs import OVER, Visit
from mdsl.start.initial import Initial

from . import members
from .plan import arrange


@dataclass(frozen=True, eq=False)
class Loop:
    """``kernel``: what is summed; ``listed``: over the slots of a list, or over everyone. ``text``: LLVM IR for so many
    rows at once, the ``width``; where it is empty, ``why``: the operation for which there is none."""

    kernel: PairKernel
    listed: bool
    text: str = ""
    width: int = 0
    why: str = ""


def loops(
    field: Field,
    initial: Initial,
    params: Mapping[str, object],
    precision: str,
    vector: int,
    policy: Policy = DEFAULT,
) -> list[Loop]:
    """Those of a force; then those of energies, and of sums of observables, that are others. ``params``: the free
    parameters, in internal units, and data; ``vector``: the bytes of one."""
    alone = members.single(field, initial, params, jax.random.key(0), precision)
    dynamics = arrange(alone, None, policy).dynamics
    start = alone.start()
    atoms = [columns(alone.placed(a), alone.lowered.dtype) for a in (start.x, start.v, start.images)]
    inputs = alone.inputs(0.0, 0, dynamics.skin, np.stack([start.x, start.images, start.v]))
    found: list[Loop] = []

    def seen(visit: Visit):
        found.append(_loop(visit, vector))
        return visit.zeros

    def evaluated(inputs, atoms):
        state = dynamics.start(inputs, *atoms, jnp.int32(0))
        now = dynamics.configuration(state, inputs, dynamics.known(inputs, inputs.t), driven=True)
        now = replace(now, seen=seen)
        if field.terms:
            evaluate(now, frozenset({FORCE}))
        evaluate(
            now,
            frozenset({ENERGY}),
            tuple(m for m in now.field.measures if m.axis is None and isinstance(m.domain, OVER)),
        )

    jax.eval_shape(evaluated, inputs, atoms)
    return list(_different(found))


def _loop(visit: Visit, vector: int) -> Loop:
    listed = visit.slots is not None
    layout = Slots() if listed else Everyone(0 if visit.excluded is None else len(visit.excluded))
    try:
        pair = Pair.of(visit.body, visit.own, visit.others, visit.zeros)
        width = 8 * vector // BITS[pair.wide]
        return Loop(visit.kernel, listed, printed(pair.kernel, layout, *pair.reads, pair.wide, width, api()), width)
    except Unprintable as left:
        return Loop(visit.kernel, listed, why=left.what)


def _different(found: list[Loop]) -> Iterator[Loop]:
    """Each loop once: per-atom values are computed for every evaluation that reads them."""
    known = set()
    for loop in found:
        kernel = loop.kernel
        key = kernel.outputs, kernel.terms, kernel.measures, kernel.values, loop.listed
        if key not in known:
            known.add(key)
            yield loop
