"""What sums add up to: each domain adds what it gives to the same totals."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import jax.numpy as jnp

from mdsl.lowering.field.field import Measure, PerAtom, Term
from mdsl.lowering.field.names import Symbol
from mdsl.lowering.kernels.globals import entry
from mdsl.lowering.kernels.pair_kernel import virial_components
from mdsl.lowering.kernels.ranges import keeps
from mdsl.model.nodes import Read

from .configuration import Configuration

if TYPE_CHECKING:
    from mdsl.lowering.arrays import Matrix, Numbers, Rows, Scalar, Values

Outputs = frozenset[str]  # of `pair_kernel`
Terms, Measures, Quantities = tuple[Term, ...], tuple[Measure, ...], tuple[PerAtom, ...]


@dataclass(frozen=True)
class Totals:
    """``force`` by axes, [n]; ``virial`` by components; ``box``: the derivative of the potential by each entry of the
    cell, at fixed positions; ``sums`` by name; ``slopes``: the derivatives by parameters, in their shape."""

    force: tuple[Rows, ...]
    virial: tuple[Scalar, ...]
    box: tuple[Scalar, ...]
    sums: Values
    slopes: Mapping[str, Numbers]

    @classmethod
    def none(cls, now: Configuration) -> Totals:
        zero = jnp.zeros((), now.dtype)
        force = tuple(map(jnp.zeros_like, now.atoms["x"]))
        return cls(force, (zero,) * len(virial_components(now.dim)), (zero,) * len(now.known.cell.leaves), {}, {})

    @property
    def tensor(self) -> Matrix:
        """The virial as rows of a matrix."""
        dim = len(self.force)
        return tuple(self.virial[a * dim : (a + 1) * dim] for a in range(dim))

    def plus(
        self,
        force: Iterable[Rows] = (),
        virial: Iterable[Scalar] = (),
        box: Iterable[Scalar] = (),
        sums: Values | None = None,
        slopes: Iterable[tuple[str, Numbers]] = (),
    ) -> Totals:
        """With more; what is left out adds nothing."""
        every = dict(self.slopes)
        for name, value in slopes:
            every[name] = every[name] + value if name in every else value
        force, virial, box = (
            tuple(a + b for a, b in zip(old, new)) or old
            for old, new in ((self.force, force), (self.virial, virial), (self.box, box))
        )
        return Totals(force, virial, box, {**self.sums, **(sums or {})}, every)


def by_parameter(now: Configuration, leaf: Read, term: Term, rows: tuple[Numbers, ...]) -> Numbers:
    """Slopes of single rows as the derivative by a parameter, in its shape.

    ``rows``: one [N] array, or one for each species of the other atom where the parameter is read for it; [C, N]
    where it is read for each number of a range.
    """
    model, add = now.model, now.layout.add
    binders = term.domain.binders
    if not leaf.indices:
        return add(rows[0])
    shape = jnp.shape(now.known.params[leaf.symbol])
    if keeps(leaf, term.axis):
        (axis,) = model.param(leaf.symbol).axes
        return jnp.zeros(shape).at[term.axis.first - axis.first : term.axis.last + 1 - axis.first].add(add(rows[0]))
    if not model.param(leaf.symbol).axes:
        return sum(map(add, rows))
    # [own, other]: the sum over each species of the own atoms, where the entry depends on it, and of the others.
    own = now.atoms["species"]
    kinds = jnp.arange(max(1, len(model.species))) if binders[0] in leaf.indices else None
    table = jnp.stack(
        [
            add(values)[None] if kinds is None else jnp.stack([add(jnp.where(own == k, values, 0)) for k in kinds])
            for values in rows
        ],
        axis=1,
    )
    species = (jnp.arange(table.shape[0])[:, None], jnp.arange(table.shape[1])[None, :])
    places = entry(model, leaf, lambda atom: species[binders.index(atom)])
    table = table.reshape(jnp.broadcast_shapes(*map(jnp.shape, places)))  # a single number of entries that are fixed
    return jnp.zeros(shape, table.dtype).at[places].add(table)


def weight_of_each(term: Term) -> PerAtom:
    """What a term over pairs or triples adds up to around each atom, times its weight."""
    domain, name = term.domain.around, Symbol("weighted")
    return PerAtom(name, term.equation, domain.centre, domain, term.weighted, term.support, 0, None, True, term.axis)
