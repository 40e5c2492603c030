"""Sums over pairs of neighbours around each atom: three-body energies and per-atom values.

From the neighbours of an atom those within the reach of the summand are picked, its *legs*; the loop then runs
over pairs of legs only. What a triple does to its ends is added up leg by leg, and scattered to the atoms once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from mdsl.model import Expr, Label, Model, Read

from .emit import evaluate
from .field import ADJOINT, Term
from .gather import take
from .kernels import BOX, ENERGY, FORCE, PARTIALS, SLOPES, VIRIAL, slope_name, virial_components
from .values import Globals


ENDS = "ends "


class Legs(NamedTuple):
    """index: [M, n] neighbours as sorted positions; apart, d: tuples of [M, n], from the neighbour to the atom,
    straight and by the nearest image; count: [n] legs of each atom, which may be more than M; far: a length at
    which a leg adds nothing."""

    index: object
    apart: tuple
    d: tuple
    count: object
    far: object


def legs(slots, own: tuple, others: tuple, rows, nearest: Callable, reach, capacity: int | None, static: bool) -> Legs:
    """The neighbours within ``reach`` (None: all) of atoms at ``own`` [n].

    slots: [K, n], a row's own index where there is no neighbour; others: tables of all positions, padded.
    ``static``: with loops that reverse mode can go through.
    """
    total, n = slots.shape
    capacity = max(1, total if capacity is None else min(capacity, total))

    # Which atoms are near is no matter of derivatives.
    here, there = lax.stop_gradient((own, others))

    def pick(k, carry):
        index, count = carry
        j = slots[k]
        near = j != rows
        if reach is not None:
            d = nearest(tuple(a - take(b, j) for a, b in zip(here, there)))
            near &= sum(c * c for c in d) < reach**2

        def put(m, index):
            return index.at[m].set(jnp.where(near & (count == m), j, index[m]))

        bound = capacity if static else jnp.minimum(jnp.max(count) + 1, capacity)
        return lax.fori_loop(0, bound, put, index), count + near

    start = jnp.broadcast_to(rows, (capacity, n)), jnp.zeros(n, jnp.int32)
    index, count = lax.fori_loop(0, total, pick, start)
    apart = tuple(a - take(b, index) for a, b in zip(own, others))
    return Legs(index, apart, nearest(apart), count, 1.0 if reach is None else 2 * reach)


class Wanted(NamedTuple):
    """What to add up: for the terms ``outputs`` of `kernels`; ``sums``: other summands by name, with their atoms."""

    terms: tuple[Term, ...]
    outputs: frozenset[str]
    sums: tuple[tuple[str, tuple[str, ...], Expr], ...] = ()


def triple_sums(model: Model, known: Globals, wanted: Wanted, around: Legs, own: Mapping[str, object], others: Mapping[str, object], nearest: Callable, static: bool) -> dict[str, object]:
    """What the triples around each atom add up to.

    ``own``: per-atom values of the rows; ``others``: those of all atoms, in padded tables. Returns by name: "#k" and
    other sums [n]; "ends ": what each leg adds to the force on its neighbour, [M, n] by axes, and "ends ~name" to
    the adjoint of its neighbour; "twist": what the virial and the derivative by the box have beyond that of
    the legs; "~name" [n]: partials at the centre; slopes by parameters, in their shape.
    """
    capacity, n = around.index.shape
    dim, dtype = model.dim, around.d[0].dtype
    zero, many = jnp.zeros(n, dtype), jnp.zeros((capacity, n), dtype)
    gradients = bool(wanted.outputs & {FORCE, VIRIAL, BOX})
    across = gradients and bool(wanted.outputs & {VIRIAL, BOX}) and any(0 not in _ends(t, g) for t in wanted.terms for g in t.gradients)
    most = jnp.minimum(jnp.max(around.count, initial=0), capacity)

    start: dict[str, object] = {name: zero for name, _, _ in wanted.sums}
    if ENERGY in wanted.outputs:
        start |= {f"#{t.number}": zero for t in wanted.terms if t.number is not None}
    if gradients:
        start[ENDS] = (many,) * dim
    if across:
        start["twist"] = (zero,) * dim**2
    for number, term in enumerate(wanted.terms):
        if PARTIALS in wanted.outputs:
            for leaf, _ in term.partials:
                centre = leaf.indices == term.domain.binders[:1]
                start[ADJOINT + leaf.symbol if centre else ENDS + ADJOINT + leaf.symbol] = zero if centre else many
        if SLOPES in wanted.outputs:
            for k, (leaf, _) in enumerate(term.slopes):
                start[slope_name(number, k)] = jnp.zeros(jnp.shape(known.params[leaf.symbol]) if leaf.indices else (), dtype)

    def triple(a, b, total):
        """Add the triples of legs a and b of all atoms."""
        valid = a < around.count  # and so is b, which comes before
        at = (None, around.index[b], around.index[a])
        leg = (None, tuple(c[b] for c in around.d), tuple(c[a] for c in around.d))
        # Legs that are none are where the summand is regular: far away, in different directions.
        leg = (None, *(tuple(jnp.where(valid, c, around.far * (1 + axis * side)) for axis, c in enumerate(d)) for side, d in enumerate(leg[1:], 1)))
        cache: dict[tuple[int, str], object] = {}

        def atom(position: int, name: str):
            if (position, name) not in cache:
                cache[position, name] = own[name] if position == 0 else jax.tree.map(lambda v: take(v, at[position]), others[name])
            return cache[position, name]

        def reader(binders):
            def read(node: Read):
                index = next((i for i in node.indices if isinstance(i, str)), None)
                if index is None:
                    return known.read(node)
                if node.symbol == "x":
                    return binders.index(index)  # a point, by its place in the triple
                if node.symbol in own and model.of_atoms(node.symbol):
                    return atom(binders.index(index), node.symbol)
                return known.params[node.symbol][entry(node, binders)]

            return read

        def entry(node: Read, binders) -> tuple:
            axes = model.param(node.symbol).axes
            found = []
            for index, axis in zip(node.indices, axes):
                if isinstance(index, Label):
                    found.append(model.species.index(index.species))
                else:
                    found.append(atom(binders.index(index), "species") if isinstance(index, str) else index - axis.first)
            return tuple(found)

        def displacement(first: int, second: int):
            if first > second:
                return tuple(-c for c in displacement(second, first))
            if first == 0:
                return leg[second]
            return nearest(tuple(k - j for j, k in zip(leg[1], leg[2])))

        memos: dict[tuple[str, ...], dict] = {}

        def value(expr: Expr, binders):
            found = evaluate(expr, reader(binders), displacement, memos.setdefault(binders, {}))
            return jnp.where(valid, jnp.broadcast_to(jnp.asarray(found, dtype), (n,)), 0)

        total = dict(total)
        for name, binders, summand in wanted.sums:
            total[name] = total[name] + value(summand, binders)
        ends = {key: [[0.0, 0.0] for _ in range(dim if key == ENDS else 1)] for key in total if key.startswith(ENDS)}
        for number, term in enumerate(wanted.terms):
            binders = term.domain.binders
            if ENERGY in wanted.outputs and term.number is not None:
                total[f"#{term.number}"] = total[f"#{term.number}"] + value(term.summand, binders)
            for gradient in term.gradients if gradients else ():
                first, second = _ends(term, gradient)
                slope = tuple(value(g, binders) for g in gradient.direct)
                for place, sign in ((first, -1), (second, 1)):
                    for k in range(dim if place else 0):
                        ends[ENDS][k][place - 1] = ends[ENDS][k][place - 1] + sign * slope[k]
                if across and first and second:
                    twist = tuple(d - (b - a) for d, a, b in zip(displacement(first, second), leg[first], leg[second]))
                    total["twist"] = tuple(t + twist[p] * slope[q] for t, (p, q) in zip(total["twist"], virial_components(dim)))
            for leaf, partial in term.partials if PARTIALS in wanted.outputs else ():
                place = binders.index(leaf.indices[0])
                name = ADJOINT + leaf.symbol
                if place == 0:
                    total[name] = total[name] + value(partial, binders)
                else:
                    ends[ENDS + name][0][place - 1] = ends[ENDS + name][0][place - 1] + value(partial, binders)
            for k, (leaf, slope) in enumerate(term.slopes if SLOPES in wanted.outputs else ()):
                name = slope_name(number, k)
                if leaf.indices:
                    total[name] = total[name].at[entry(leaf, binders)].add(value(slope, binders))
                else:
                    total[name] = total[name] + jnp.sum(value(slope, binders))
        for key, sides in ends.items():
            arrays = total[key] if key == ENDS else (total[key],)
            added = tuple(array.at[b].add(of_b).at[a].add(of_a) for array, (of_b, of_a) in zip(arrays, sides))
            total[key] = added if key == ENDS else added[0]
        return total

    if static:
        pairs = [(a, b) for a in range(capacity) for b in range(a)]
        if not pairs:
            return start
        first, second = (jnp.array(side, jnp.int32) for side in zip(*pairs))
        return lax.scan(lambda total, ab: (triple(*ab, total), None), start, (first, second))[0]
    return lax.fori_loop(1, most, lambda a, total: lax.fori_loop(0, a, lambda b, t: triple(a, b, t), total), start)


def _ends(term: Term, gradient) -> tuple[int, int]:
    """The places in the triple of the two atoms of a displacement."""
    return tuple(term.domain.binders.index(p.indices[0]) for p in gradient.displacement.args)
