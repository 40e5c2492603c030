"""Sums over pairs of neighbours around each atom: three-body energies and per-atom values.

The loop runs over pairs of *legs*, the neighbours within the reach of the summand (`legs`). What a triple does to
its ends is added up leg by leg, and scattered to the atoms once, by whoever asked.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

import jax
import jax.numpy as jnp
from jax import lax

from mdsl.model import Expr, Label, Model, Read

from .emit import Memo, evaluate
from .field import ADJOINT, Gradient, Term
from .gather import take
from .kernels import BOX, ENERGY, FORCE, PARTIALS, SLOPES, VIRIAL, slope_name, virial_components
from .legs import Legs
from .values import Globals

ENDS = "ends "
TWIST = "twist"


@dataclass(frozen=True, eq=False)
class TripleSums:
    """What the triples around each atom add up to.

    ``terms`` with their ``outputs`` (of `kernels`); ``sums``: other summands by name, with the atoms that they read.
    ``own``: per-atom values of the rows; ``others``: those of all atoms, in padded tables. ``static``: with loops that
    reverse mode can go through.
    """

    model: Model
    known: Globals
    terms: tuple[Term, ...]
    outputs: frozenset[str]
    sums: tuple[tuple[str, tuple[str, ...], Expr], ...]
    around: Legs
    own: Mapping[str, object]
    others: Mapping[str, object]
    nearest: Callable
    static: bool

    def __call__(self) -> dict[str, object]:
        """By name: "#k" and other sums, [n]; "ends ": what each leg adds to the force on its neighbour, [M, n] by axes,
        and "ends ~name" to the adjoint of its neighbour; "~name": partials at the centre, [n]; "twist": what the
        virial and the derivative by the box have beyond that of the legs; slopes by parameters, in their shape.
        """
        capacity, start = self.around.index.shape[0], self._start()
        if self.static:
            pairs = [(a, b) for a in range(capacity) for b in range(a)]
            if not pairs:
                return start
            first, second = (jnp.array(side, jnp.int32) for side in zip(*pairs))
            return lax.scan(lambda total, ab: (self._add(*ab, total), None), start, (first, second))[0]
        most = jnp.minimum(jnp.max(self.around.count, initial=0), capacity)
        return lax.fori_loop(1, most, lambda a, total: lax.fori_loop(0, a, lambda b, t: self._add(a, b, t), total), start)

    @cached_property
    def _gradients(self) -> bool:
        return bool(self.outputs & {FORCE, VIRIAL, BOX})

    @cached_property
    def _across(self) -> bool:
        """Whether the displacement between two ends, which may be another image than that of the legs, counts."""
        return bool(self.outputs & {VIRIAL, BOX}) and any(0 not in _places(t, g) for t in self.terms for g in t.gradients)

    def _start(self) -> dict[str, object]:
        n, dim, dtype = self.around.index.shape[1], self.model.dim, self.around.d[0].dtype
        zero, many = jnp.zeros(n, dtype), jnp.zeros(self.around.index.shape, dtype)
        start: dict[str, object] = {name: zero for name, _, _ in self.sums}
        if ENERGY in self.outputs:
            start |= {f"#{t.number}": zero for t in self.terms if t.number is not None}
        if self._gradients:
            start[ENDS] = (many,) * dim
        if self._across:
            start[TWIST] = (zero,) * dim**2
        for number, term in enumerate(self.terms):
            for leaf, _ in term.partials if PARTIALS in self.outputs else ():
                start[_partial_name(term, leaf)] = zero if _at_centre(term, leaf) else many
            for k, (leaf, _) in enumerate(term.slopes if SLOPES in self.outputs else ()):
                start[slope_name(number, k)] = jnp.zeros(jnp.shape(self.known.params[leaf.symbol]) if leaf.indices else (), dtype)
        return start

    def _add(self, a, b, total: dict[str, object]) -> dict[str, object]:
        """Add the triples of the legs a and b < a of all atoms."""
        total, triple = dict(total), _Triple(self, a, b)
        for name, binders, summand in self.sums:
            total[name] = total[name] + triple.value(summand, binders)
        # What goes to the ends of legs b and a: for each array of legs and each axis, two values.
        ends = {key: [[0.0, 0.0] for _ in range(self.model.dim if key == ENDS else 1)] for key in total if key.startswith(ENDS)}
        for number, term in enumerate(self.terms):
            binders = term.domain.binders
            if ENERGY in self.outputs and term.number is not None:
                total[f"#{term.number}"] = total[f"#{term.number}"] + triple.value(term.summand, binders)
            for gradient in term.gradients if self._gradients else ():
                self._push(term, gradient, triple, ends[ENDS], total)
            for leaf, partial in term.partials if PARTIALS in self.outputs else ():
                name, value = _partial_name(term, leaf), triple.value(partial, binders)
                if _at_centre(term, leaf):
                    total[name] = total[name] + value
                else:
                    side = binders.index(leaf.indices[0]) - 1
                    ends[name][0][side] = ends[name][0][side] + value
            for k, (leaf, slope) in enumerate(term.slopes if SLOPES in self.outputs else ()):
                name, value = slope_name(number, k), triple.value(slope, binders)
                total[name] = total[name].at[triple.entry(leaf, binders)].add(value) if leaf.indices else total[name] + jnp.sum(value)
        for key, sides in ends.items():
            arrays = total[key] if key == ENDS else (total[key],)
            added = tuple(array.at[b].add(of_b).at[a].add(of_a) for array, (of_b, of_a) in zip(arrays, sides))
            total[key] = added if key == ENDS else added[0]
        return total

    def _push(self, term: Term, gradient: Gradient, triple: _Triple, ends: list, total: dict[str, object]) -> None:
        """Add what a gradient does to the forces on the ends, and to the twist."""
        first, second = _places(term, gradient)
        slope = tuple(triple.value(g, term.domain.binders) for g in gradient.direct)
        for place, sign in ((first, -1), (second, 1)):
            for k in range(self.model.dim if place else 0):
                ends[k][place - 1] = ends[k][place - 1] + sign * slope[k]
        if self._across and first and second:
            straight = zip(triple.displacement(first, second), triple.leg[first], triple.leg[second])
            twist = tuple(d - (b - a) for d, a, b in straight)
            total[TWIST] = tuple(t + twist[p] * slope[q] for t, (p, q) in zip(total[TWIST], virial_components(self.model.dim)))


class _Triple:
    """One pair of legs of all atoms: the values of expressions of the atom in the middle, 0, and of the two ends."""

    def __init__(self, work: TripleSums, a, b):
        around = work.around
        self.work = work
        self.valid = a < around.count  # and so is b, which comes before
        self.at = (None, around.index[b], around.index[a])
        # Legs that are none are where the summand is regular: far away, in different directions.
        sides = [tuple(jnp.where(self.valid, c[leg], around.far * (1 + axis * side)) for axis, c in enumerate(around.d)) for side, leg in ((1, b), (2, a))]
        self.leg = (None, *sides)
        self.gathered: dict[tuple[int, str], object] = {}
        self.memos: dict[tuple[str, ...], Memo] = {}

    def value(self, expr: Expr, binders: tuple[str, ...]):
        """[n], and 0 where there is no such triple."""
        found = evaluate(expr, self._reader(binders), self.displacement, self.memos.setdefault(binders, Memo()))
        dtype = self.leg[1][0].dtype
        return jnp.where(self.valid, jnp.broadcast_to(jnp.asarray(found, dtype), self.valid.shape), 0)

    def displacement(self, first: int, second: int) -> tuple:
        """From the second to the first of two places in the triple."""
        if first > second:
            return tuple(-c for c in self.displacement(second, first))
        return self.leg[second] if first == 0 else self.work.nearest(tuple(k - j for j, k in zip(*self.leg[1:])))

    def entry(self, node: Read, binders: tuple[str, ...]) -> tuple:
        """The indices of a parameter's entry, some of them [n]."""
        model, found = self.work.model, []
        for index, axis in zip(node.indices, model.param(node.symbol).axes):
            if isinstance(index, Label):
                found.append(model.species.index(index.species))
            else:
                found.append(self._atom(binders.index(index), "species") if isinstance(index, str) else index - axis.first)
        return tuple(found)

    def _atom(self, place: int, name: str):
        if (place, name) not in self.gathered:
            work = self.work
            self.gathered[place, name] = work.own[name] if place == 0 else jax.tree.map(lambda v: take(v, self.at[place]), work.others[name])
        return self.gathered[place, name]

    def _reader(self, binders: tuple[str, ...]) -> Callable:
        work = self.work

        def read(node: Read):
            index = next((i for i in node.indices if isinstance(i, str)), None)
            if index is None:
                return work.known.read(node)
            if node.symbol == "x":
                return binders.index(index)  # a point, by its place in the triple
            if node.symbol in work.own and work.model.of_atoms(node.symbol):
                return self._atom(binders.index(index), node.symbol)
            return work.known.params[node.symbol][self.entry(node, binders)]

        return read


def _places(term: Term, gradient: Gradient) -> tuple[int, int]:
    """The places in the triple of the two atoms of a displacement."""
    return tuple(term.domain.binders.index(p.indices[0]) for p in gradient.displacement.args)


def _at_centre(term: Term, leaf: Read) -> bool:
    return leaf.indices == term.domain.binders[:1]


def _partial_name(term: Term, leaf: Read) -> str:
    return (ADJOINT if _at_centre(term, leaf) else ENDS + ADJOINT) + leaf.symbol
