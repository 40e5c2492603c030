"""Gathers whose indices are visibly in bounds.

XLA clamps every index of a gather, and on a CPU that costs more than the load.
If the table is as long as a power of two and the index is masked to its bits,
the compiler sees that the clamp does nothing and drops it: a loop over
neighbours becomes 10 % faster, one that only gathers 40 %.
"""

import jax
import jax.numpy as jnp

from mdsl.lowering import jax_internals as internals


def padded(values):
    """`[n]`, or `[C, n]`, extended to the next power of two; what is there never matters."""
    n = values.shape[-1]
    return jnp.pad(values, (*((0, 0),) * (values.ndim - 1), (0, (1 << max(0, n - 1).bit_length()) - n)))


def take(values, index):
    """values[..., index] from a `padded` table; an index out of range reads anything."""
    index = index & (values.shape[-1] - 1)
    return values.at[..., index].get(mode="promise_in_bounds", wrap_negative_indices=False)


def row_of_four(table, index):
    """The four numbers of the row ``index`` of a table [L, 4], as long as a power of two. Native kernels load a row
    whole, which takes a fraction of the time of four gathers; XLA gathers columns, since rows are no vectors to it."""
    return row_of_four_p.bind(table, jnp.asarray(index) & (table.shape[0] - 1))


def _columns(table, index):
    return [take(table[:, m], index) for m in range(4)]


def _types(table, index):
    return [internals.array_type(index.shape, table.dtype)] * 4


def _batched(operands, axes):
    (table, index), (of_table, of_index) = operands, axes
    if of_table is None:
        return row_of_four_p.bind(table, index), [of_index] * 4
    return jax.vmap(_columns, in_axes=axes)(*operands), [0] * 4


def _jvp(primals, tangents):
    (table, index), change = primals, tangents[0]
    found = row_of_four_p.bind(table, index)
    if internals.is_zero(change):
        return found, [internals.zero_tangent(v) for v in found]
    return found, row_of_four_p.bind(change, index)


def _transpose(cotangents, table, index):
    zero = jnp.zeros(table.aval.shape[0], table.aval.dtype)
    added = [zero if internals.is_zero(ct) else zero.at[index].add(ct) for ct in cotangents]
    return [jnp.stack(added, axis=-1), None]


row_of_four_p = internals.operation(
    "row_of_four",
    _columns,
    _types,
    several=True,
    impl=jax.jit(lambda table, index: row_of_four_p.bind(table, index)),
    batched=_batched,
    jvp=_jvp,
    transpose=_transpose,
)


@jax.custom_jvp
def entry(table, index):
    """table[index] of a short `[n]` table, with a derivative by the table that does not scatter."""
    return jnp.take(table, index, mode="clip")


@entry.defjvp
def _(primals, tangents):
    (table, index), (change, _) = primals, tangents
    chosen = jnp.asarray(index)[..., None] == jnp.arange(table.shape[0])
    return entry(table, index), jnp.sum(jnp.where(chosen, change, 0), axis=-1)
