"""Sums over pairs that know their derivatives: one operation of JAX for each sum over the neighbours of atoms.

    out[i] = sum over the neighbours j of i of body(values of i, values of j; constants)

*Forward*: the tangent of a sum is the sum, over the same pairs, of the tangent of the body. *Reverse*: j is a
neighbour of i where i is one of j, so what the values of atom i do as another atom's neighbour can be collected at i:

    ct[i] = sum over j of (d body(i, j)/d values of i)^T ct_out[i] + (d body(j, i)/d values of i)^T ct_out[j]

which is a sum over the same pairs again: it gathers and never scatters, and stores nothing for each pair. Both are
the same operation with another body, so derivatives of any order, in either mode, are loops of this kind. The body both
ways round costs little more than one (`parity`). A constant's cotangent is one reduction over rows, half of the sum
over both ways.

Under `vmap` the operation stays what it is, with leading axes of its operands, so all transformations compose.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial

import jax
import jax.numpy as jnp
from jax import lax

from mdsl.lowering import jax_internals as internals
from mdsl.lowering.jax_internals import Jaxpr
from mdsl.lowering.neighbours.gather import padded, take

from .parity import MIXED, Both, both_ways
from .schedules import ELSEWHERE, LISTED, all_pairs_in_blocks

CONSTANT, OWN, OTHER = "constant", "own", "other"
SWAPPED = {CONSTANT: CONSTANT, OWN: OTHER, OTHER: OWN}
FEW = 64  # entries of a constant whose cotangent is accumulated for each row


@dataclass(frozen=True, eq=False)
class PairSum:
    """``body``: the results of one pair, numbers, from its inputs and, last, whether it is a pair. ``reads``: what each
    input is: a constant, or the value of the own or of the other atom, and which of the ``arrays`` arrays. These are
    the last operands; those before, ``lists`` of them, say which pairs there are: a neighbour list [K, N] if
    ``listed``, else atoms [E, N] that are no neighbours. ``batch``: for each axis of `vmap`, the outermost
    first, whether each operand has it.
    """

    body: Jaxpr
    reads: tuple[tuple[str, int], ...]
    arrays: int
    listed: bool
    lists: int
    batch: tuple[tuple[bool, ...], ...] = ()
    consts: tuple = ()  # arrays that the body itself holds, its `constvars`

    @property
    def avals(self) -> list:
        return [v.aval for v in self.body.invars[:-1]]

    def derived(
        self, body: Callable, inputs: Sequence[tuple], kept: Sequence[int], added: Sequence[int | None]
    ) -> PairSum:
        """Another sum over the same pairs. ``inputs``: what the body reads: a side, an array, the type of its entries;
        arrays: those that are ``kept``, and others with the axes of `vmap` of those ``added`` (None: all of them)."""
        whole, consts = internals.traced(body, *(aval for *_, aval in inputs), jax.ShapeDtypeStruct((), bool))
        jaxpr, used = internals.pruned(whole, [False] * len(inputs) + [True])
        if not any(u for (side, *_), u in zip(inputs, used) if side != CONSTANT):
            # What is the same for all pairs reads no atom, but how many there are is read off the arrays.
            first = next(p for p, (side, *_) in enumerate(inputs) if side != CONSTANT)
            jaxpr, used = internals.pruned(whole, [p == first for p in range(len(inputs))] + [True])
        batch = tuple(
            (*flags[: self.lists], *(k is None or flags[self.lists + k] for k in (*kept, *added)))
            for flags in self.batch
        )
        reads = tuple((side, k) for (side, k, _), u in zip(inputs, used) if u)
        return replace(self, body=jaxpr, consts=tuple(consts), reads=reads, arrays=len(kept) + len(added), batch=batch)


def pair_sum(body: Callable, slots, atoms, zeros, *, excluded=None):
    """Sums of `body(own, other, valid)` over the neighbours of each atom, as in `schedules.slot_sum`.

    ``atoms``: a pytree of [N] arrays, values of all atoms, which are the rows; ``slots``: [K, N], or None: all pairs
    but those ``excluded`` [E, N], as in `schedules.all_pairs_sum`. Every pair must be there both ways round.
    ``zeros``: the structure and types of the sums.
    """
    leaves, tree = jax.tree.flatten(atoms)
    sums, result = jax.tree.flatten(zeros)
    numbers = [jax.ShapeDtypeStruct((), leaf.dtype) for leaf in leaves]

    def pair(*values):
        own, other = (jax.tree.unflatten(tree, part) for part in (values[: len(leaves)], values[len(leaves) : -1]))
        return [
            jnp.asarray(f, z.dtype) for f, z in zip(jax.tree.leaves(body(own, other, values[-1])), sums, strict=True)
        ]

    jaxpr, consts = internals.traced(pair, *numbers, *numbers, jax.ShapeDtypeStruct((), bool))
    constants = [jnp.asarray(c) for c in consts]
    inputs = [(CONSTANT, k, jax.ShapeDtypeStruct(c.shape, c.dtype)) for k, c in enumerate(constants, len(leaves))]
    inputs += [(side, k, aval) for side in (OWN, OTHER) for k, aval in enumerate(numbers)]

    def explicit(*values):
        return internals.evaluated(jaxpr, values[: len(constants)], *values[len(constants) :])

    lists = [v for v in (slots, excluded) if v is not None]
    arrays = [*leaves, *constants]
    pairs = PairSum(jaxpr, (), len(arrays), slots is not None, len(lists))
    what = pairs.derived(explicit, inputs, range(len(arrays)), ())
    return jax.tree.unflatten(result, pair_sum_p.bind(*lists, *arrays, what=what))


# -- the operation ---------------------------------------------------------------------------------------


def _evaluate(*operands, what: PairSum, platform: str = "") -> list:
    """The sums by the schedule of a platform."""
    return _over_axes(partial(_sums, what=what, schedule=LISTED.get(platform, ELSEWHERE)), what.batch)(*operands)


def _over_axes(function: Callable, batch: tuple[tuple[bool, ...], ...]) -> Callable:
    for flags in reversed(batch):
        function = jax.vmap(function, in_axes=[0 if flag else None for flag in flags])
    return function


def _sums(*operands, what: PairSum, schedule: Callable) -> list:
    lists, arrays = operands[: what.lists], operands[what.lists :]
    own, other = ({k: arrays[k] for s, k in what.reads if s == side} for side in (OWN, OTHER))
    n = next(iter((own | other).values())).shape[0]

    def body(own, other, valid):
        def pair(valid, *values):
            return internals.evaluated(what.body, what.consts, *values, valid)

        values = [{CONSTANT: arrays, OWN: own, OTHER: other}[side][k] for side, k in what.reads]
        if valid.ndim == 1 or what.listed:  # the values of a slot, or all slots at once
            pair = jax.vmap(pair, in_axes=(0, *(None if side == CONSTANT else 0 for side, _ in what.reads)))
            if valid.ndim > 1:
                pair = jax.vmap(pair, in_axes=(0, *(0 if side == OTHER else None for side, _ in what.reads)))
            return pair(valid, *values)
        values = [v[:, 0] if side == OTHER else v for v, (side, _) in zip(values, what.reads)]
        for here in (OWN, OTHER):
            pair = jax.vmap(pair, in_axes=(0, *(0 if side == here else None for side, _ in what.reads)))
        return pair(valid, *values)

    zeros = [jnp.zeros(n, v.aval.dtype) for v in what.body.outvars]
    if what.listed:
        return schedule(body, lists[0], own, other, zeros)
    everyone = other or {0: jnp.zeros(n)}  # how many atoms there are is read off them
    return all_pairs_in_blocks(body, own, everyone, zeros, excluded=lists[0] if lists else None)


def _types(*avals, what: PairSum):
    n = next(avals[what.lists + k].shape[-1] for side, k in what.reads if side != CONSTANT)
    sizes = []
    for level, flags in enumerate(what.batch):
        k = flags.index(True)
        sizes.append(avals[k].shape[sum(outer[k] for outer in what.batch[:level])])
    return [internals.array_type((*sizes, n), v.aval.dtype) for v in what.body.outvars]


def _batched(operands, axes, *, what: PairSum):
    flags = tuple(axis is not None for axis in axes)
    operands = [jnp.moveaxis(v, axis, 0) if flag else v for v, axis, flag in zip(operands, axes, flags)]
    found = pair_sum_p.bind(*operands, what=replace(what, batch=(flags, *what.batch)))
    return found, [0] * len(found)


# -- forward mode ----------------------------------------------------------------------------------------


def _jvp(primals, tangents, *, what: PairSum):
    found = pair_sum_p.bind(*primals, what=what)
    read = {k for _, k in what.reads}
    moving = tuple(
        k
        for k, t in enumerate(tangents[what.lists :])
        if k in read and not internals.is_zero(t) and t.dtype != jax.dtypes.float0
    )
    smooth = [jnp.issubdtype(v.aval.dtype, jnp.floating) for v in what.body.outvars]
    changes = [internals.zero_tangent(v) for v in found]
    if moving and any(smooth):
        new = iter(pair_sum_p.bind(*primals, *(tangents[what.lists + k] for k in moving), what=_tangent(what, moving)))
        changes = [next(new) if s else c for s, c in zip(smooth, changes)]
    return found, changes


@lru_cache(maxsize=256)
def _tangent(what: PairSum, moving: tuple[int, ...]) -> PairSum:
    """The tangent of the sum. Operands: those of the sum, and the tangents of the arrays ``moving``."""
    places = [p for p, (_, k) in enumerate(what.reads) if k in moving]
    inputs = [(side, k, aval) for (side, k), aval in zip(what.reads, what.avals)]
    changes = [(side, what.arrays + moving.index(k), aval) for side, k, aval in (inputs[p] for p in places)]

    def body(*values):
        at, given, valid = list(values[: len(inputs)]), values[len(inputs) : -1], values[-1]

        def smooth(*moved):
            for p, value in zip(places, moved):
                at[p] = value
            return [
                v
                for v in internals.evaluated(what.body, what.consts, *at, valid)
                if jnp.issubdtype(v.dtype, jnp.floating)
            ]

        return jax.jvp(smooth, [at[p] for p in places], list(given))[1]

    return what.derived(body, inputs + changes, range(what.arrays), moving)


# -- reverse mode ----------------------------------------------------------------------------------------


def _transpose(cotangents, *operands, what: PairSum):
    lists, arrays = operands[: what.lists], operands[what.lists :]
    linear = tuple(k for k, v in enumerate(arrays) if internals.is_linear(v))
    known = tuple(k for k in range(what.arrays) if k not in linear)
    live = tuple(m for m, ct in enumerate(cotangents) if not internals.is_zero(ct))
    constants = {k: aval.shape for (side, k), aval in zip(what.reads, what.avals) if side == CONSTANT}
    read = [k for k in linear if any(k == other for _, other in what.reads)]
    many = tuple(k for k in read if math.prod(constants.get(k, ())) > FEW)
    few = tuple(k for k in read if k not in many)
    given = [*lists, *(arrays[k] for k in known), *(cotangents[m] for m in live)]
    found: dict[int, object] = {}
    if live and few:
        rows = iter(pair_sum_p.bind(*given, what=_transposed(what, linear, few, live)))
        for k in few:
            if k in constants:  # every pair counts both ways
                entries = [jnp.sum(next(rows), axis=-1) / 2 for _ in range(math.prod(constants[k]))]
                found[k] = jnp.stack(entries, axis=-1).reshape(*entries[0].shape, *constants[k])
            else:
                found[k] = next(rows)
    if live and many:
        found |= zip(many, _transposed_by_constants(what, linear, many, live)(*given))
    for k in found:  # what is the same for all of an axis of `vmap` adds up along it
        found[k] = jnp.sum(
            found[k], axis=[level for level, flags in enumerate(what.batch) if not flags[what.lists + k]]
        )
    return [None] * what.lists + [
        None if k in known else found.get(k, internals.zero(v.aval)) for k, v in enumerate(arrays)
    ]


@lru_cache(maxsize=256)
def _transposed(what: PairSum, linear: tuple[int, ...], wanted: tuple[int, ...], live: tuple[int, ...]) -> PairSum:
    """The cotangents of the arrays ``wanted`` among the ``linear``, from those of the results ``live``. Operands: the
    other arrays, and cotangents. Results: rows for each array, and for each entry of a constant."""
    place = {k: n for n, k in enumerate(k for k in range(what.arrays) if k not in linear)}
    types = {k: aval for (_, k), aval in zip(what.reads, what.avals)}
    inputs = {(s, place[k]): types[k] for side, k in what.reads if k in place for s in (side, SWAPPED[side])}
    count = len(inputs)
    inputs |= {(side, len(place) + n): what.body.outvars[m].aval for n, m in enumerate(live) for side in (OWN, OTHER)}

    def body(*values):
        at, cotangents, valid = dict(zip(inputs, values[:count])), values[count:-1], values[-1]
        zeros = {k: jnp.zeros(types[k].shape, types[k].dtype) for k in linear if k in types}

        def results(*numbers):
            """Those of the pair, and of the pair the other way round, where linear values of the other atom are 0."""
            own = zeros | dict(zip(wanted, numbers))

            def both(side: str, k: int) -> Both:
                if side == CONSTANT:
                    return Both(own[k] if k in own else at[side, place[k]])
                here, there = (own[k], zeros[k]) if k in own else (at[OWN, place[k]], at[OTHER, place[k]])
                return Both(here, MIXED, there) if side == OWN else Both(there, MIXED, here)

            found = both_ways(
                what.body, [*map(Both, what.consts), *(both(side, k) for side, k in what.reads), Both(valid)]
            )
            return [
                jnp.asarray(v, what.body.outvars[m].aval.dtype) for m in live for v in (found[m].value, found[m].other)
            ]

        transposed = jax.linear_transpose(results, *(types[k] for k in wanted))(list(cotangents))
        return [entry for ct in transposed for entry in jnp.ravel(ct)]

    return what.derived(body, [(*read, aval) for read, aval in inputs.items()], tuple(place), (None,) * len(live))


def _transposed_by_constants(
    what: PairSum, linear: tuple[int, ...], wanted: tuple[int, ...], live: tuple[int, ...]
) -> Callable:
    """The cotangents of constants of many entries, from the operands of `_transposed`: added up over the rows at each
    step of the loop."""
    known = [k for k in range(what.arrays) if k not in linear]
    types = {k: aval for (_, k), aval in zip(what.reads, what.avals)}
    sides = [None if side == CONSTANT else 0 for side, _ in what.reads]

    def cotangents(*given):
        lists, arrays, cts = (
            given[: what.lists],
            given[what.lists : what.lists + len(known)],
            given[what.lists + len(known) :],
        )
        n = cts[0].shape[0]
        rows = lax.iota(jnp.int32, n)
        slots = lists[0] if what.listed else (rows + 1 + lax.iota(jnp.int32, n - 1)[:, None]) % n

        def sums(*constants):
            still = {
                k: jnp.zeros(types[k].shape if side == CONSTANT else n, types[k].dtype)
                for side, k in what.reads
                if k in linear
            }
            every = dict(zip(known, arrays)) | still | dict(zip(wanted, constants))
            others = {k: padded(every[k]) for side, k in what.reads if side == OTHER}

            @jax.checkpoint
            def step(index):
                valid = index != rows
                if lists and not what.listed:
                    valid &= (index != lists[0]).all(0)
                values = [take(others[k], index) if side == OTHER else every[k] for side, k in what.reads]
                found = jax.vmap(lambda *v: internals.evaluated(what.body, what.consts, *v), in_axes=(*sides, 0))(
                    *values, valid
                )
                return [found[m] for m in live]

            start = [jnp.zeros(n, what.body.outvars[m].aval.dtype) for m in live]
            return lax.scan(lambda total, index: (jax.tree.map(jnp.add, total, step(index)), None), start, slots)[0]

        return jax.linear_transpose(sums, *(types[k] for k in wanted))(list(cts))

    batch = tuple(
        (*flags[: what.lists], *(flags[what.lists + k] for k in known), *(True,) * len(live)) for flags in what.batch
    )
    return _over_axes(cotangents, batch)


pair_sum_p = internals.operation(
    "pair_sum",
    _evaluate,
    _types,
    several=True,
    impl=jax.jit(lambda *operands, what: pair_sum_p.bind(*operands, what=what), static_argnames="what"),
    batched=_batched,
    jvp=_jvp,
    transpose=_transpose,
    platforms={name: partial(_evaluate, platform=name) for name in LISTED},
)
