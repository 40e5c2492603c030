"""The kernel of a pair with what it reads and gives, as numbers of single atoms: what a sum over neighbours is made of,
whichever loop goes around it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp

from .body import Separated, Unprintable, kind_of, separated


@dataclass(frozen=True, eq=False)
class Pair:
    """``kernel``: its inputs are the numbers of the own atom, those of the other, and whether this is a pair. ``own``
    [n], ``others`` [N]: the arrays that these are of, of which ``reads`` says which are read at all; ``sums`` [n]: like
    the results, which are leaves of the ``structure``."""

    kernel: Separated
    own: list
    others: list
    sums: list
    structure: object

    @classmethod
    def of(cls, body: Callable, own, others, zeros) -> Pair:
        """Of what `traversals.schedules` takes. Raises Unprintable."""
        mine, tree = jax.tree.flatten(own)
        theirs, other_tree = jax.tree.flatten(others)
        sums, structure = jax.tree.flatten(zeros)
        if any(v.ndim != 1 for v in (*mine, *theirs, *sums)):
            raise Unprintable("several numbers of each atom")

        def pair(*values):
            found = body(
                jax.tree.unflatten(tree, values[: len(mine)]),
                jax.tree.unflatten(other_tree, values[len(mine) : -1]),
                values[-1],
            )
            return [jnp.asarray(f, z.dtype) for f, z in zip(jax.tree.leaves(found), sums, strict=True)]

        types = [jax.ShapeDtypeStruct((), v.dtype) for v in (*mine, *theirs)]
        kernel = separated(pair, *types, jax.ShapeDtypeStruct((), bool))
        if "i1" in [kind_of(v.aval) for v in kernel.outvars]:
            raise Unprintable("a sum of truth values")
        return cls(kernel, mine, theirs, sums, structure)

    @property
    def reads(self) -> tuple[list[bool], list[bool]]:
        """Which arrays of rows, and of all atoms, the kernel reads."""
        used = self.kernel.reads[:-1]
        return used[: len(self.own)], used[len(self.own) :]

    @property
    def read(self) -> list:
        """What the kernel reads: arrays of rows, of all atoms, and what is the same for all pairs. Truth values are
        handed over as whole numbers."""
        values = [v for v, used in zip((*self.own, *self.others), self.kernel.reads) if used]
        return [v.astype(jnp.int32) if v.dtype == bool else v for v in (*values, *self.kernel.consts)]

    @property
    def wide(self) -> str:
        """The kind of number by which the rows are counted that are computed at once."""
        kinds = [kind_of(v.aval) for v in (*self.kernel.invars, *self.kernel.outvars)]
        return "f64" if "f64" in kinds or "i64" in kinds else "f32"

    def summed(self, found: list):
        """The sums [n] as `traversals.schedules` gives them."""
        return jax.tree.unflatten(self.structure, found[: len(self.sums)])
