"""One traversal of pairs: all terms, measures and per-atom values that leave out the same pairs, at once."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from mdsl.lowering.field.field import Measure, PerAtom, Term
from mdsl.lowering.geometry.cell import cast
from mdsl.lowering.traversals.pair_sum import pair_sum
from mdsl.lowering.traversals.schedules import all_pairs_in_blocks, listed_sum

from .configuration import Configuration


def pair_rows(
    now: Configuration,
    outputs: frozenset[str],
    terms: tuple[Term, ...],
    excluded: frozenset[str],
    measures: tuple[Measure, ...] = (),
    values: tuple[PerAtom, ...] = (),
    near: bool = True,
) -> dict[str, object]:
    """The sums over each row of terms, measures and values that leave out ``excluded``; ``near``: within the list.

    By the names of `pair_kernel.PairKernel`, [n]. Every pair is seen from both of its atoms.
    """
    potential, layout = now.potential, now.layout
    dtype, listed = potential.dtype, near and now.slots is not None
    kernel = potential.kernel(outputs, terms, measures, values, not listed and bool(excluded))
    arrays = {name: jax.tree.map(potential.cast, now.atoms[name]) for name in {"x"} | kernel.atom_reads}
    nearest = potential.geometry.nearest(cast(now.known.cell, dtype))
    # An atom with itself is no pair; it is given a distance at which every term is regular.
    reach = potential.reach(now.known.params, (*terms, *values))
    safe = jnp.asarray(
        1.0 if reach is None else jnp.where(jnp.isfinite(reach) & (reach > 0), (2 * reach) ** 2, 1.0), dtype
    )
    body = kernel.body(now.known, nearest, safe)
    zeros = kernel.zeros(arrays["x"][0], now.known.cell)
    others = layout.everywhere(arrays)
    # Values over a range have several numbers for each atom, which only the loops themselves know.
    differentiable = now.differentiable and all(a.ndim == 1 for a in jax.tree.leaves((arrays, zeros)))
    if listed:
        slots = now.slots_without(excluded)
        if differentiable:
            found = pair_sum(body, slots, arrays, zeros)
        else:
            found = listed_sum(body, slots, arrays, others, zeros, rows=layout.rows(), used=now.used)
    else:
        left_out = now.left_out(excluded)
        others = jax.tree.map(lambda a: a[..., : layout.n_atoms], others)
        if differentiable:
            found = pair_sum(body, None, arrays, zeros, excluded=left_out)
        else:
            found = all_pairs_in_blocks(body, arrays, others, zeros, rows=layout.rows(), excluded=left_out)
    return jax.tree.map(lambda v: v.astype(now.dtype), found)
