"""Where the rows of a batch of replicas are: each replica whole on one device, as many replicas on each.

One program advances all of them. What decides about steps and lists is one for the batch, by the largest flag of all
replicas: under `vmap` a condition of each replica would become a choice between two results that are both computed, and
every replica would build a list at every step. Without a list there is nothing to decide together, and devices run
independently of each other.
"""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import Mesh, PartitionSpec

from mdsl.lowering import jax_internals as internals
from mdsl.lowering.neighbours import lists as neighbours
from mdsl.lowering.planning import capacity
from mdsl.lowering.traversals.layout import OneDevice

from .chain import DEVICES, REPLICAS
from .state import Inputs


def _anywhere(operands, axes):
    (flags,), (axis,) = operands, axes
    return anywhere(jnp.any(flags, axis=axis)), None


_anywhere_p = internals.operation(
    "anywhere",
    lambda flag: flag,
    lambda flag: flag,
    several=False,
    impl=lambda flag: flag,
    batched=_anywhere,
    jvp=lambda primals, _: (found := anywhere(*primals), internals.zero_tangent(found)),
    transpose=lambda _, flag: [None],
)


def anywhere(flag):
    """Whether a flag is set; of any entry of the axes of `vmap`, so that it is one for all of these, and a condition
    that it decides remains one."""
    return _anywhere_p.bind(flag)


@dataclass(frozen=True)
class Replicas(OneDevice):
    """``replicas`` of ``n_atoms`` each, over as many ``devices`` as divide their number (one: no sharing).

    On the host every array has the replicas along its first axis, but for those inputs that ``inputs`` says are the
    "same". ``staggered``: replicas may end a statement at different steps, so that the step is not one for all.
    ``listed``: there is a neighbour list. ``rows_together``: atoms of all replicas that go through a loop together, at
    most, where there is none. ``chained``: replicas read each other, and so go through it together; ``asked``: how many
    there are, without those that only fill up a device.
    """

    replicas: int
    devices: tuple
    inputs: Inputs
    staggered: bool
    listed: bool
    rows_together: int
    chained: bool = False
    asked: int | None = None

    @property
    def group(self) -> int:
        """How many replicas of a device go through the same loop. Those that do, go through it step by step together,
        so that all they hold has to pass through the cache at every step; where there is no list, and so nothing to
        decide for all, groups that fit in there follow each other."""
        count = self.replicas // len(self.devices)
        most = count if self.listed or self.chained else max(1, self.rows_together // self.n_atoms)
        return max(k for k in range(1, count + 1) if count % k == 0 and k <= most)

    @property
    def _axes(self) -> dict[str, int | None]:
        return {"all": 0, "rows": 0, "slots": 0, "same": None, "one": 0 if self.staggered else None}

    @property
    def chain(self) -> tuple[str, ...]:
        return (DEVICES, REPLICAS) if len(self.devices) > 1 else (REPLICAS,)

    @property
    def _everyone(self) -> tuple[str, ...]:
        return (REPLICAS, DEVICES) if len(self.devices) > 1 else (REPLICAS,)

    def agreed(self, flag):
        return lax.pmax(flag, self._everyone if self.listed or self.chained else REPLICAS)

    def build(self, plan, positions, cell, radius, into=None):
        found = neighbours.build(plan, positions, cell, radius, into=into)
        most = lambda a: lax.pmax(a, self._everyone)  # noqa: E731
        # The capacities that fit all: the narrowest columns allow the fewest along axes that repeat.
        cells = jnp.where(jnp.array(plan.periodic), -most(-found.needed.cells), most(found.needed.cells))
        needed = capacity.Needed(most(found.needed.slots), most(found.needed.window), cells)
        return found._replace(needed=needed, overflow=capacity.overflows(plan, needed))

    def program(self, function, arguments, results, donated=()):
        """The function of one replica, compiled for all of them."""
        arguments = tuple(self.inputs if a == "inputs" else a for a in arguments)
        one = "" if self.staggered else "one"
        axes = lambda specs: jax.tree.map(self._axes.__getitem__, specs)  # noqa: E731
        batched = jax.vmap(function, in_axes=axes(arguments), out_axes=axes(results), axis_name=REPLICAS)

        def first(spec, value):
            return jax.tree.map(lambda a: a[0], value) if spec == one else value

        def together(*values, count: int):
            found = batched(*jax.tree.map(first, arguments, values))
            each = lambda spec, value: (
                jax.tree.map(lambda a: jnp.broadcast_to(a, (count, *a.shape)), value) if spec == one else value
            )  # noqa: E731
            return jax.tree.map(each, results, found)

        def all_of(*values):
            count, group = self.replicas // len(self.devices), self.group
            if group == count:
                return together(*values, count=count)

            def part(spec, value):
                return (
                    None
                    if spec == "same"
                    else jax.tree.map(lambda a: a.reshape(count // group, group, *a.shape[1:]), value)
                )

            def one_after_the_other(parts):
                own = jax.tree.map(lambda spec, a, b: a if spec == "same" else b, arguments, values, parts)
                return together(*own, count=group)

            found = lax.map(one_after_the_other, jax.tree.map(part, arguments, values))
            return jax.tree.map(lambda a: a.reshape(count, *a.shape[2:]), found)

        if len(self.devices) == 1:
            return jax.jit(all_of, donate_argnums=donated)
        places = lambda specs: jax.tree.map(lambda s: PartitionSpec() if s == "same" else PartitionSpec(DEVICES), specs)  # noqa: E731
        mesh = Mesh(np.asarray(self.devices), (DEVICES,))
        return jax.jit(
            jax.shard_map(all_of, mesh=mesh, in_specs=places(arguments), out_specs=places(results), check_vma=False),
            donate_argnums=donated,
        )
