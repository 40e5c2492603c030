"""Per-atom values over a range: arrays [C, n] with a row for each number, computed for all of these at once.

In the Field an entry of such a value is read as ``Read("G", ("i", Entry(start, number)))``, ``start`` being the number
of its first entry, and the whole of it as ``Read("G", ("i",))``. Where ``number`` is None it is that of the place: in a
term or value over a range the whole of that range, in an observable over one the entry at hand.
"""

from __future__ import annotations

from dataclasses import replace

import jax.numpy as jnp

from mdsl.lowering.field.field import Term
from mdsl.lowering.field.names import EntryOf
from mdsl.lowering.field.series import ENTRY, Entry, at_entry, size
from mdsl.model.nodes import Axis, Read
from mdsl.model.traverse import mapped


def numbers(axis: Axis, dtype):
    """[C]: the numbers of a range."""
    return jnp.arange(axis.first, axis.last + 1, dtype=dtype)


def column(values, dimensions: int):
    """[C] as [C, 1, ...], with so many dimensions behind the first."""
    return values.reshape(values.shape[0], *(1,) * dimensions)


def entry_of(leaf: Read) -> Entry | None:
    """The entry that a Read of a per-atom value names; None of the whole, and of values without a range."""
    return next((i for i in leaf.indices[1:] if isinstance(i, Entry)), None)


def pick(values, leaf: Read, axis: Axis | None, number=None):
    """What a Read gives of the array of a per-atom value. ``axis``: the range of the term in which it stands, whose
    numbers are all computed at once; else ``number`` is that of the place."""
    entry = entry_of(leaf)
    if entry is None:
        return values
    if entry.number is not None:
        return values[entry.number - entry.start]
    if axis is not None:
        return values[axis.first - entry.start : axis.last + 1 - entry.start]
    return values[jnp.asarray(number, jnp.int32) - entry.start]


def added(total, leaf: Read, axis: Axis | None, values):
    """The array of a per-atom value, or of its adjoint, with ``values`` added where a Read points. ``axis``: that of
    the term from which they come; what it has for each number goes to that entry, or comes together in one."""
    entry = entry_of(leaf)
    if entry is None:
        return total + values
    if entry.number is not None:
        return total.at[entry.number - entry.start].add(values)
    return total.at[axis.first - entry.start : axis.last + 1 - entry.start].add(values)


def keeps(leaf: Read, axis: Axis | None) -> bool:
    """Whether a derivative by ``leaf`` in a term over a range has a value for each number of the range."""
    return axis is not None and any(isinstance(i, Entry) and i.number is None for i in leaf.indices)


def several(leaf: Read, axis: Axis | None) -> tuple[int, ...]:
    """How many numbers for each row a derivative by ``leaf`` has in a term over a range: (), or (C,)."""
    if keeps(leaf, axis):
        return (size(axis),)
    return (leaf.type.size,) if leaf.type.kind == "array" else ()


def spread_out(values, axis: Axis | None, shape: tuple[int, ...], keep: bool):
    """A value of a term in rows of a ``shape``: of one over a range its sum over the range, or, to ``keep``, all of
    it."""
    if axis is None:
        extra = values.shape[: max(0, jnp.ndim(values) - len(shape))]  # of a derivative by all entries of a quantity
        return jnp.broadcast_to(values, (*extra, *shape))
    values = jnp.broadcast_to(values, (size(axis), *shape))
    return values if keep else jnp.sum(values, axis=0)


def one_by_one(term: Term) -> tuple[Term, ...]:
    """A term over a range as one for each of its numbers."""
    if term.axis is None:
        return (term,)

    def at(k: int) -> Term:
        return mapped(replace(term, axis=None), lambda expr: at_entry(expr, Axis("range", k, k))[0])

    return tuple(map(at, range(term.axis.first, term.axis.last + 1)))


def leaf_name(leaf: Read) -> str:
    """A per-atom value, or an entry of one, by name."""
    entry = entry_of(leaf)
    return leaf.symbol if entry is None else EntryOf(leaf.symbol, entry)


def over(known, axis: Axis | None, dimensions: int, dtype):
    """The globals for expressions of a term over a range, in which its number is an array [C, 1, ...]."""
    if axis is None:
        return known
    return replace(known, more={**known.more, ENTRY: column(numbers(axis, dtype), dimensions)})
