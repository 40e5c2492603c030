"""Sums over pairs of neighbours around each atom: three-body energies and per-atom values.

The loops run over ordered pairs of *legs*, the neighbours within the reach of the summand (`legs`), for the two ends
play the same part: what a triple does to its first end is added up leg by leg, and scattered to the atoms once, by
whoever asked; what is added up for all triples is counted twice and halved.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

import jax
import jax.numpy as jnp
from jax import lax

from mdsl.lowering.field.field import Gradient, Term
from mdsl.lowering.field.hoist_legs import CENTRE, END, LegValues
from mdsl.lowering.field.names import AdjointOf, EndsOf, SlopeOf, Symbol
from mdsl.lowering.neighbours.gather import take
from mdsl.lowering.neighbours.legs import Legs
from mdsl.model.nodes import Expr, Model, Read

from .accumulate import scattered
from .emit import Memo, evaluate
from .globals import Globals, entry, reader
from .pair_kernel import BOX, ENERGY, FORCE, PARTIALS, SLOPES, VIRIAL, cast_number, virial_components
from .ranges import leaf_name

ENDS, TWIST = Symbol("ends"), Symbol("twist")
UNROLL = 2  # triples of each atom that are added at a time
# Factors of displacements of the first end, and the rest of the force on it.
ALONG, ACROSS = Symbol("along"), Symbol("across")


@dataclass(frozen=True, eq=False)
class TripleSums:
    """What the triples around atoms add up to.

    ``terms`` with their ``outputs`` (of `pair_kernel`); ``sums``: other summands by name, with the atoms that they
    read. ``static``: with loops that reverse mode can go through.
    """

    model: Model
    known: Globals
    terms: tuple[Term, ...]
    outputs: frozenset[str]
    sums: tuple[tuple[str, tuple[str, ...], Expr], ...]
    nearest: Callable
    static: bool

    def __call__(
        self, around: Legs, own: Mapping[str, object], others: Mapping[str, object], most=None
    ) -> dict[str, object]:
        """The sums of some atoms with their legs ``around``, of which there are ``most`` at most.

        own: per-atom values of these atoms; others: those of all atoms, in padded tables. By name: sums,
        [n]; `ENDS`: what each leg adds to the force on its neighbour, [M, n] by axes, and `EndsOf` an adjoint what to
        that of its neighbour; `AdjointOf` a value: partials at the centre, [n]; `TWIST`: what the virial and the
        derivative by the box have beyond that of the legs; slopes by parameters, in their shape.
        """
        legs = _Around(self, around, own, others, {})
        capacity, n = around.index.shape
        dtype = around.d[0].dtype
        if self.static:
            every = jnp.arange(capacity, dtype=jnp.int32)

            # Reverse mode computes each turn again, and stores nothing for triples.
            def leg(centre, a):
                add = lambda carry, b: (self._add(legs, b, *carry, self._factors(legs, a, b), a), None)  # noqa: E731
                (centre, ends), _ = lax.scan(
                    jax.checkpoint(add, prevent_cse=False), (centre, self._ends(n, dtype)), every
                )
                return centre, self._finished(legs, a, ends)

            centre, ends = lax.scan(leg, self._centre(n, dtype), every)
            return self._halved(centre) | ends
        legs = self._with_values(legs, most)

        def leg(a, carry):
            centre, found = carry

            def factors(turn):
                return [self._factors(legs, a, turn * UNROLL + u) for u in range(UNROLL)]

            def spread(turn, centre, ends, found):
                for u in range(UNROLL):
                    centre, ends = self._add(legs, turn * UNROLL + u, centre, ends, found[u], a)
                return centre, ends

            # The factors of some triples are spread when those of the next are computed: see `kernels.staged`.
            turns = ((most if self._ended else a) + UNROLL - 1) // UNROLL
            sums = (centre, self._ends(n, dtype), factors(jnp.int32(0)))
            sums = lax.fori_loop(1, turns, lambda turn, sums: (*spread(turn - 1, *sums), factors(turn)), sums)
            centre, ends = spread(jnp.maximum(turns, 1) - 1, *sums)
            put = lambda all, one: lax.dynamic_update_index_in_dim(all, one, a, 0)  # noqa: E731
            return centre, jax.tree.map(put, found, self._finished(legs, a, ends))

        empty = jax.tree.map(
            lambda zero: jnp.zeros((capacity, n), zero.dtype),
            jax.eval_shape(lambda: self._finished(legs, 0, self._ends(n, dtype))),
        )
        centre, ends = lax.fori_loop(jnp.int32(0), most, leg, (self._centre(n, dtype), empty))
        return self._halved(centre) | ends

    @property
    def of_rows(self) -> tuple[str, ...]:
        """The results that are one value for each atom in the middle."""
        return (
            *(name for name, _, _ in self._totals),
            *dict.fromkeys(_partial_name(t, leaf) for t, leaf, _ in self._partials if _at_centre(t, leaf)),
        )

    @property
    def of_ends(self) -> tuple[str, ...]:
        """The results that are one value for each leg, beside forces, without `EndsOf`."""
        leaves = (leaf for t, leaf, _ in self._partials if not _at_centre(t, leaf))
        return tuple(dict.fromkeys(AdjointOf(leaf_name(leaf)) for leaf in leaves))

    @property
    def of_parameters(self) -> dict[str, tuple[int, ...]]:
        """The results that are slopes by parameters, with their shapes."""
        return {
            name: jnp.shape(self.known.params[leaf.symbol]) if leaf.indices else () for name, _, leaf, _ in self._slopes
        }

    # -- what is computed ----------------------------------------------------------------------------------

    @cached_property
    def _gradients(self) -> tuple[tuple[Term, Gradient], ...]:
        """The gradients that act on the first end, each with its term."""
        if not self.outputs & {FORCE, VIRIAL, BOX}:
            return ()
        return tuple((t, g) for t in self.terms for g in t.gradients if 1 in _places(t, g.displacement))

    @cached_property
    def _partials(self) -> tuple[tuple[Term, Read, Expr], ...]:
        """The derivatives by per-atom values of the centre or of the first end."""
        wanted = self.terms if PARTIALS in self.outputs else ()
        return tuple((t, leaf, e) for t in wanted for leaf, e in t.partials if leaf.indices[0] in t.domain.binders[:2])

    @cached_property
    def _slopes(self) -> tuple[tuple[str, Term, Read, Expr], ...]:
        wanted = self.terms if SLOPES in self.outputs else ()
        return tuple((SlopeOf(n, k), t, leaf, e) for n, t in enumerate(wanted) for k, (leaf, e) in enumerate(t.slopes))

    @cached_property
    def _totals(self) -> tuple[tuple[str, tuple[str, ...], Expr], ...]:
        """The sums over all triples, with the atoms that they read."""
        energies = [
            (t.name, t.domain.binders, t.summand) for t in self.terms if ENERGY in self.outputs and t.number is not None
        ]
        return (*self.sums, *energies)

    @cached_property
    def _ended(self) -> bool:
        """Whether anything is added up for single legs; else half of the pairs are enough."""
        return self.static or bool(self._gradients) or any(not _at_centre(t, leaf) for t, leaf, _ in self._partials)

    @cached_property
    def _across(self) -> bool:
        """Whether the displacement between two ends, which may be another image than that of the legs, counts."""
        return bool(self.outputs & {VIRIAL, BOX}) and any(
            0 not in _places(t, g.displacement) for t, g in self._gradients
        )

    @cached_property
    def _values(self) -> LegValues:
        """What depends on one leg only; where reverse mode goes through, choices must stay around what they guard."""
        return LegValues()

    def _lifted(self, expr: Expr, binders: tuple[str, ...]) -> Expr:
        return expr if self.static else self._values.lift(expr, binders)

    @cached_property
    def _work(self) -> dict[str, object]:
        """All expressions, lifted."""
        lift = self._lifted
        gradients = []
        for term, gradient in self._gradients:
            binders = term.domain.binders
            sign = -1 if _places(term, gradient.displacement)[0] == 1 else 1
            twisted = self._across and 0 not in _places(term, gradient.displacement)
            if gradient.along is None or twisted:
                gradients.append(
                    (
                        binders,
                        _places(term, gradient.displacement),
                        sign,
                        tuple(lift(c, binders) for c in gradient.direct),
                        None,
                    )
                )
            else:
                along = tuple((_places(term, d), lift(factor, binders)) for factor, d in gradient.along)
                gradients.append((binders, _places(term, gradient.displacement), sign, None, along))
        return {
            "totals": [(name, binders, lift(e, binders)) for name, binders, e in self._totals],
            "gradients": gradients,
            "partials": [
                (_partial_name(t, leaf), t.domain.binders, lift(e, t.domain.binders)) for t, leaf, e in self._partials
            ],
            "slopes": [(name, t.domain.binders, leaf, lift(e, t.domain.binders)) for name, t, leaf, e in self._slopes],
        }

    # -- legs ------------------------------------------------------------------------------------------------

    def _with_values(self, legs: _Around, most) -> _Around:
        """The same legs with what depends on one of them only."""
        parts = self._work and self._values.parts  # which are found when the work is looked through
        if not parts:
            return legs

        def one(m):
            triple, memo = _Triple(legs, m, m, legs.around.count > m), Memo()
            found = {
                name: evaluate(e, triple.reader((CENTRE, END)), triple.displacement, memo) for name, e in parts.items()
            }
            return {name: jnp.broadcast_to(v, legs.around.count.shape) for name, v in found.items()}

        shapes = jax.eval_shape(one, jnp.int32(0))
        empty = {name: jnp.zeros((legs.around.index.shape[0], *s.shape), s.dtype) for name, s in shapes.items()}
        put = lambda m, found: {k: lax.dynamic_update_index_in_dim(found[k], v, m, 0) for k, v in one(m).items()}  # noqa: E731
        return _Around(self, legs.around, legs.own, legs.others, lax.fori_loop(jnp.int32(0), most, put, empty))

    # -- adding up -------------------------------------------------------------------------------------------

    def _centre(self, n: int, dtype) -> dict[str, object]:
        """Where the sums over all triples of an atom begin."""
        zero = jnp.zeros(n, dtype)
        start: dict[str, object] = {name: zero for name, _, _ in self._totals}
        start |= {_partial_name(t, leaf): zero for t, leaf, _ in self._partials if _at_centre(t, leaf)}
        start |= {name: jnp.zeros(shape, dtype) for name, shape in self.of_parameters.items()}
        if self._across:
            start[TWIST] = (zero,) * self.model.dim**2
        return start

    def _ends(self, n: int, dtype) -> dict[str, object]:
        """Where the sums over all triples of a leg begin."""
        zero = jnp.zeros(n, dtype)
        start: dict[str, object] = {
            _partial_name(t, leaf): zero for t, leaf, _ in self._partials if not _at_centre(t, leaf)
        }
        if self._gradients:
            start |= {ALONG: zero, ACROSS: (zero,) * self.model.dim}
        elif self.outputs & {FORCE, VIRIAL, BOX}:
            start |= {ACROSS: (zero,) * self.model.dim}
        return start

    def _halved(self, centre: dict[str, object]) -> dict[str, object]:
        return jax.tree.map(lambda v: v / 2, centre) if self._ended else centre

    def _finished(self, legs: _Around, a, ends: dict[str, object]) -> dict[str, object]:
        """The sums of leg ``a``, with its force put together."""
        out = dict(ends)
        if ACROSS in out:
            own, force = out.pop(ALONG, None), out.pop(ACROSS)
            out[ENDS] = force if own is None else tuple(f + own * _at(c, a) for f, c in zip(force, legs.around.d))
        return out

    def _factors(self, legs: _Around, a, b) -> dict[str, dict]:
        """What the triples of the legs ``a`` and ``b`` add: to sums by name, to forces by axis and as factors of
        displacements by their places."""
        count = legs.around.count
        other = a != b if self._ended else b < a
        triple = _Triple(legs, a, b, (a < count) & (b < count) & other)
        sums: dict[str, object] = {}
        across: dict[int, object] = {}
        along: dict[tuple[int, int], object] = {}
        twist = (0.0,) * self.model.dim**2

        def add(found: dict, key, value) -> None:
            found[key] = found[key] + value if key in found else value

        for name, binders, summand in (*self._work["totals"], *self._work["partials"]):
            add(sums, name, triple.value(summand, binders))
        for binders, places, sign, direct, parts in self._work["gradients"]:
            slope = tuple(triple.value(c, binders) for c in direct or ())
            for k, c in enumerate(slope):
                add(across, k, sign * c)
            for displacement, factor in parts or ():
                add(along, displacement, sign * triple.value(factor, binders))
            if self._across and 0 not in places:
                twist = tuple(t + w for t, w in zip(twist, triple.twist(places, slope)))
                sums[TWIST] = twist
        for name, binders, leaf, slope in self._work["slopes"]:
            value = triple.value(slope, binders)
            add(sums, name, triple.spread(value, leaf, binders) if leaf.indices else jnp.sum(value))
        return {"sums": sums, "across": across, "along": along}

    def _add(
        self, legs: _Around, b, centre: dict[str, object], ends: dict[str, object], found: dict[str, dict], a
    ) -> tuple:
        """The sums of atoms and of their leg ``a`` with the factors of a triple."""
        centre, ends = dict(centre), dict(ends)
        for name, value in found["sums"].items():
            into = centre if name in centre else ends
            into[name] = jax.tree.map(jnp.add, into[name], value)
        for k, value in found["across"].items():
            ends[ACROSS] = tuple(f + value if k == axis else f for axis, f in enumerate(ends[ACROSS]))
        for places, value in found["along"].items():
            if places == (0, 1):  # the same for all triples of the leg
                ends[ALONG] = ends[ALONG] + value
            else:
                ends[ACROSS] = tuple(f + value * c for f, c in zip(ends[ACROSS], legs.between(a, b, places)))
        return centre, ends


@dataclass(frozen=True, eq=False)
class _Around:
    """Some atoms and their legs, with ``values`` of each leg by name, [M, n]."""

    work: TripleSums
    around: Legs
    own: Mapping[str, object]
    others: Mapping[str, object]
    values: Mapping[str, object]

    def between(self, a, b, places: tuple[int, int]) -> tuple:
        """From the second to the first of two places in the triples of the legs ``a`` and ``b``."""
        first, second = (None if p == 0 else tuple(_at(c, (None, a, b)[p]) for c in self.around.d) for p in places)
        if first is None:
            return second
        if second is None:
            return tuple(-c for c in first)
        return self.work.nearest(tuple(k - j for j, k in zip(first, second)))


class _Triple:
    """The legs a and b of some atoms: the values of expressions of the atom in the middle, 0, and of the two ends."""

    def __init__(self, legs: _Around, a, b, valid):
        self.legs, self.work, self.valid = legs, legs.work, valid
        around = legs.around
        self.place = (None, a, b)
        sides = [tuple(_at(c, leg) for c in around.d) for leg in (a, b)]
        if legs.work.static:
            # Legs that are none are where the summand is regular: far away, in different directions.
            sides = [
                tuple(jnp.where(valid, c, around.far * (1 + axis * k)) for axis, c in enumerate(side))
                for k, side in enumerate(sides, 1)
            ]
        self.leg = (None, *sides)
        self.gathered: dict[tuple[int, str], object] = {}
        self.memos: dict[tuple[str, ...], Memo] = {}

    def value(self, expr: Expr, binders: tuple[str, ...]):
        """[n], and 0 where there is no such triple."""
        found = evaluate(expr, self.reader(binders), self.displacement, self.memos.setdefault(binders, Memo()))
        dtype = self.leg[1][0].dtype
        return jnp.where(self.valid, jnp.broadcast_to(jnp.asarray(found, dtype), self.valid.shape), 0)

    def displacement(self, first: int, second: int) -> tuple:
        """From the second to the first of two places in the triple."""
        if first > second:
            return tuple(-c for c in self.displacement(second, first))
        return self.leg[second] if first == 0 else self.work.nearest(tuple(k - j for j, k in zip(*self.leg[1:])))

    def twist(self, places: tuple[int, int], slope: tuple) -> tuple:
        """What the virial has beyond that of the legs, where the ends are at ``places`` and pull by ``slope``."""
        straight = zip(self.displacement(*places), *(self.leg[p] for p in places))
        beyond = tuple(d - (b - a) for d, a, b in straight)
        return tuple(beyond[p] * slope[q] for p, q in virial_components(len(slope)))

    def spread(self, value, leaf: Read, binders: tuple[str, ...]):
        """A slope by a parameter with indices, in its shape."""
        places = self.entry(leaf, binders)
        value = value if any(jnp.ndim(e) for e in places) else jnp.sum(value)
        return scattered(jnp.shape(self.work.known.params[leaf.symbol]), places, value)

    def entry(self, node: Read, binders: tuple[str, ...]) -> tuple:
        """The indices of a parameter's entry, some of them [n]."""
        return entry(self.work.model, node, lambda atom: self._atom(binders.index(atom), "species"))

    def _atom(self, place: int, name: str):
        if (place, name) not in self.gathered:
            own, others = self.legs.own, self.legs.others
            at = None if place == 0 else _at(self.legs.around.index, self.place[place])
            self.gathered[place, name] = own[name] if place == 0 else jax.tree.map(lambda v: take(v, at), others[name])
        return self.gathered[place, name]

    def reader(self, binders: tuple[str, ...]) -> Callable:
        legs, dtype = self.legs, self.leg[1][0].dtype
        of_atoms = reader(self.work.known, legs.own, lambda atom, name: self._atom(binders.index(atom), name))

        def read(node: Read):
            if node.symbol == "x":
                return binders.index(node.indices[0])  # a point, by its place in the triple
            if node.symbol in legs.values:
                return _at(legs.values[node.symbol], self.place[binders.index(node.indices[0])])
            return jax.tree.map(lambda v: cast_number(v, dtype) if hasattr(v, "dtype") else v, of_atoms(node))

        return read


def _at(array, k):
    return lax.dynamic_index_in_dim(array, k, 0, keepdims=False)


def _places(term: Term, displacement: Expr) -> tuple[int, int]:
    """The places in the triple of the two atoms of a displacement."""
    return tuple(term.domain.binders.index(p.indices[0]) for p in displacement.args)


def _at_centre(term: Term, leaf: Read) -> bool:
    return leaf.indices[:1] == term.domain.binders[:1]


def _partial_name(term: Term, leaf: Read) -> str:
    name = AdjointOf(leaf_name(leaf))
    return name if _at_centre(term, leaf) else EndsOf(name)
