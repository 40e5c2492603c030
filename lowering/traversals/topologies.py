"""Sums over topologies: tuples of atoms that stay the same through a run, while the rows of the atoms do not.

Every device computes all tuples, and keeps the forces on its own rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache

import jax
import jax.numpy as jnp
import numpy as np

from mdsl.lowering.field.field import Measure, Term
from mdsl.lowering.field.names import Symbol
from mdsl.lowering.geometry.cell import entries_of, fractions
from mdsl.lowering.kernels.accumulate import scattered
from mdsl.lowering.kernels.emit import Memo, evaluate
from mdsl.lowering.kernels.globals import Globals, entry, reader
from mdsl.lowering.kernels.pair_kernel import BOX, VIRIAL, virial_components
from mdsl.lowering.neighbours.gather import padded, take
from mdsl.model.nodes import Expr, Model, Number, Op, Read, Type, transform, walk

IDS = Symbol("ids")  # among the values of atoms: the user's index of each row


@dataclass(frozen=True, eq=False)
class Topologies:
    """``members``: name to the user's indices of the atoms of each tuple, [M, k]."""

    members: Mapping[str, np.ndarray] = field(default_factory=dict)
    n_atoms: int = 0

    @cached_property
    def partners(self):
        @lru_cache(maxsize=None)
        def partners(names: frozenset[str]) -> np.ndarray:
            """[E, N]: the atoms whose pairs with each atom are left out, the two ends of each tuple; padded with
            the atom itself."""
            ends = [np.asarray(self.members[name], np.int32)[:, [0, -1]] for name in sorted(names)]
            pairs = np.unique(np.concatenate([e for ends_ in ends for e in (ends_, ends_[:, ::-1])]), axis=0)
            return _table(pairs[:, 0], pairs[:, 1], np.arange(self.n_atoms, dtype=np.int32))

        return partners

    @cached_property
    def ends(self):
        @lru_cache(maxsize=None)
        def ends(name: str) -> tuple[np.ndarray, np.ndarray]:
            """[E, N] twice, of pairs: the second atoms of the pairs in which each atom is the first, and the other way
            round; padded with the atom itself."""
            pairs, own = np.asarray(self.members[name], np.int32), np.arange(self.n_atoms, dtype=np.int32)
            return _table(pairs[:, 0], pairs[:, 1], own), _table(pairs[:, 1], pairs[:, 0], own)

        return ends

    def excluded(self, names: frozenset[str], place, ids):
        """[E, rows]: the sorted positions of the atoms that rows with these ``ids`` leave out."""
        return place[jnp.asarray(self.partners(names))[:, ids]]

    def without(self, slots, names: frozenset[str], place, ids, rows):
        """A neighbour list with its excluded pairs overwritten by each row's own index, as unused slots are."""
        for k in range(len(partners := self.excluded(names, place, ids))):
            slots = jnp.where(slots == partners[k], rows, slots)
        return slots


def inverse(ids):
    """The sorted position of each atom, from the user's index of each sorted position."""
    return jnp.zeros_like(ids).at[ids].set(jnp.arange(ids.shape[0], dtype=ids.dtype))


def _table(keys: np.ndarray, values: np.ndarray, filling: np.ndarray) -> np.ndarray:
    """[R, N]: the values of each key, one below the other, and ``filling`` [N] below."""
    order = np.argsort(keys, kind="stable")
    keys, values = keys[order], values[order]
    rank = np.arange(len(keys)) - np.searchsorted(keys, keys)
    table = np.tile(filling, (rank.max() + 1 if len(keys) else 0, 1))
    table[rank, keys] = values
    return table


class TupleSums:
    """The values of all tuples of a program's topologies, at one set of positions.

    ``everyone``: x and what else is read of atoms, [N] in sorted order; ``place``: the sorted position of each atom.
    """

    def __init__(
        self, model: Model, topologies: Topologies, known: Globals, everyone: Mapping[str, object], place, nearest
    ):
        self.model, self.topologies, self.known = model, topologies, known
        self.everyone = jax.tree.map(padded, dict(everyone))
        self.place, self.nearest = place, nearest
        self.dtype = everyone["x"][0].dtype
        self.forces: dict[str, list[list[object]]] = {}  # topology, atom of the tuple, axis: [M]
        self.gathered: dict[tuple[str, int], dict[str, object]] = {}
        self.memos: dict[tuple[str, ...], Memo] = {}

    def value(self, domain, expr: Expr):
        """The value of an expression for each tuple of a domain, [M] (or tuples of [M])."""
        read = reader(self.known, self.everyone, lambda atom, name: self.atoms(domain, atom)[name])
        memo = self.memos.setdefault((domain.topology, *domain.binders), Memo())
        return evaluate(expr, read, lambda a, b: self.nearest(_apart(a, b)), memo)

    def atoms(self, domain, name: str) -> dict[str, object]:
        """What is known of the atoms that an index of the domain stands for."""
        key = (domain.topology, domain.binders.index(name))
        if key not in self.gathered:
            rows = self.place[jnp.asarray(self.topologies.members[key[0]][:, key[1]], jnp.int32)]
            self.gathered[key] = jax.tree.map(lambda values: take(values, rows), self.everyone)
        return self.gathered[key]

    def entry(self, domain, node: Read) -> tuple:
        """The indices of a parameter's entry, some of them [M]."""
        return entry(self.model, node, lambda atom: self.atoms(domain, atom)["species"])

    def filled(self, domain, values):
        """One value for each tuple."""
        return jax.tree.map(lambda v: self.filled_by(domain.topology, v), values)

    def filled_by(self, topology: str, values):
        values = jnp.asarray(values, self.dtype)
        return jnp.broadcast_to(
            values, (*values.shape[: max(0, values.ndim - 1)], len(self.topologies.members[topology]))
        )

    def sum(self, term: Term | Measure):
        return jax.tree.map(jnp.sum, self.filled(term.domain, self.value(term.domain, term.summand)))

    def add(self, term: Term, outputs: frozenset[str], virial: list, box: list) -> None:
        """Add the forces of one term to those of its tuples, and to the virial and the derivative by the box."""
        domain, dim = term.domain, self.model.dim
        forces = self.forces.setdefault(domain.topology, [[0.0] * dim for _ in domain.binders])
        sound = 1.0
        if _may_be_undefined(term.summand):
            # The derivative of a logarithm is finite also where the logarithm has no value.
            sound = jnp.where(
                jnp.isfinite(self.value(domain, transform(term.summand, _where_defined))), 1.0, jnp.nan
            ).astype(self.dtype)
        for gradient in term.gradients:
            first, second = gradient.displacement.args
            straight = _apart(self.value(domain, first), self.value(domain, second))
            d = self.value(domain, gradient.displacement)
            slope = [self.filled(domain, self.value(domain, g) * sound) for g in gradient.direct]
            for point, sign in ((first, -1), (second, 1)):
                if point.indices:
                    own = forces[domain.binders.index(point.indices[0])]
                    for k in range(dim):
                        own[k] = own[k] + sign * slope[k]
            if VIRIAL in outputs:
                for n, (a, b) in enumerate(virial_components(dim)):
                    virial[n] = virial[n] - jnp.sum(d[a] * slope[b])
            if BOX in outputs:
                images = fractions(self.known.cell, tuple(near - c for near, c in zip(d, straight)))
                for n, (vector, axis) in enumerate(entries_of(self.known.cell)):
                    box[n] = box[n] + jnp.sum(images[vector] * slope[axis])

    def on_rows(self, ids) -> tuple:
        """The forces on the rows with these ids, [rows] for each axis."""
        atoms = np.concatenate([self.topologies.members[name].T.ravel() for name in self.forces])
        totals = []
        for k in range(self.model.dim):
            parts = [self.filled_by(name, own[k]) for name, forces in self.forces.items() for own in forces]
            totals.append(jnp.zeros(self.topologies.n_atoms, self.dtype).at[atoms].add(jnp.concatenate(parts))[ids])
        return tuple(totals)

    def at(self, domain, atom: str, expr: Expr, ids):
        """What an expression adds up to over the tuples in which each atom is ``atom``, on the rows with these ids."""
        atoms = self.topologies.members[domain.topology][:, domain.binders.index(atom)]

        def gathered(values):
            shape = (*values.shape[:-1], self.topologies.n_atoms)
            return jnp.zeros(shape, self.dtype).at[..., atoms].add(values)[..., ids]

        return jax.tree.map(gathered, self.filled(domain, self.value(domain, expr)))

    def slope(self, term: Term, leaf: Read, expr: Expr):
        """The derivative by a parameter, in its shape."""
        values = self.filled(term.domain, self.value(term.domain, expr))
        if not leaf.indices:
            return jnp.sum(values)
        places = self.entry(term.domain, leaf)
        return scattered(
            jnp.shape(self.known.params[leaf.symbol]),
            places,
            (values if any(jnp.ndim(e) for e in places) else jnp.sum(values)).astype(self.dtype),
        )


def _apart(a, b) -> tuple:
    return tuple(p - q for p, q in zip(a, b))


def _may_be_undefined(summand: Expr) -> bool:
    return any(isinstance(n, Op) and n.op == "log" for n in walk(summand))


def _where_defined(expr: Expr) -> Expr:
    """A rewrite: something finite or not, as a logarithm is, and cheaper."""
    if not (isinstance(expr, Op) and expr.op == "log"):
        return expr
    zero, nothing = (Number(value, type=expr.type) for value in (0.0, float("nan")))
    return Op("choose", (Op("gt", (expr.args[0], zero), type=Type("bool")), zero, nothing), type=expr.type)


def reads(expr: Expr) -> set[str]:
    """The per-atom values that an expression reads."""
    return {n.symbol for n in walk(expr) if isinstance(n, Read) and n.indices}
