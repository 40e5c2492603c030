"""Kernels of pair sums and atom sums: what the traversals call for each pair or atom."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

import jax
import jax.numpy as jnp

from mdsl.lowering.field.field import Measure, PerAtom, Term
from mdsl.lowering.field.hoist import Hoisted
from mdsl.lowering.field.names import HoistedPart, PartialOf, SlopeOf, Symbol
from mdsl.lowering.field.series import ENTRY, reads_entry, size
from mdsl.lowering.field.singularities import SQUARE
from mdsl.lowering.geometry.cell import Cell, cast, entries_of, fractions
from mdsl.lowering.neighbours.gather import entry
from mdsl.model.nodes import SCALAR, Axis, Expr, Model, Op, Read, Tabulated, transform, walk

from .emit import Memo, evaluate
from .globals import Globals, reader
from .ranges import column, keeps, over, pick, several, spread_out
from .staged import Staged

DISPLACEMENT = Symbol("displacement")
RADIAL, DIRECT = Symbol("radial"), Symbol("direct")
COSTS = dict.fromkeys(
    ("exp", "log", "sin", "cos", "tan", "sinh", "cosh", "tanh", "erf", "erfc", "asin", "acos", "atan", "atan2"), 10
)
MOST_WORK = 50  # operations of a pair up to which it is computed together with all that is made of it
FORCE, ENERGY, VIRIAL, BOX, SLOPES, PARTIALS = "force", "energy", "virial", "box", "slopes", "partials"
NOTHING: frozenset[str] = frozenset()


def virial_components(dim: int) -> tuple[tuple[int, int], ...]:
    return tuple((a, b) for a in range(dim) for b in range(dim))


@dataclass(frozen=True, eq=False)
class PairKernel:
    """The fused kernel of all pair terms of a program, for one choice of outputs.

    ``outputs`` are among force, energy, virial, box (the derivative by the cell at fixed positions), slopes
    (the derivatives by parameters) and partials (those by per-atom values); ``measures`` are pair sums of
    observables, ``values`` sums over the neighbours of each atom.
    """

    model: Model
    terms: tuple[Term, ...]
    measures: tuple[Measure, ...]
    values: tuple[PerAtom, ...]
    outputs: frozenset[str]
    masked: bool = False  # whether pairs that are not valid may be apart: those that a sum excludes

    @cached_property
    def _lifted(self) -> tuple[Mapping[Axis | None, Hoisted], list[tuple[str, object]]]:
        """What is hoisted, for terms over each range, and the parts that are added up."""
        axes = dict.fromkeys((None, *(t.axis for t in self.terms), *(v.axis for v in self.values)))
        hoists = {axis: Hoisted(self.model, k) for k, axis in enumerate(axes)}
        parts: list[tuple[str, object]] = []
        for n, term in enumerate(self.terms):
            gradient, binders, hoisted = term.gradients[0], term.domain.binders, hoists[term.axis]
            lift = lambda e: None if e is None else _local(hoisted.lift(e, binders), gradient.displacement)  # noqa: B023, E731
            if self.outputs & {FORCE, VIRIAL, BOX}:
                direct = None if gradient.direct is None else tuple(lift(c) for c in gradient.direct)
                parts.append(("gradient", (term, lift(gradient.radial), direct)))
            if ENERGY in self.outputs and term.number is not None:
                parts.append(("sum", Added(term.name, binders, lift(term.summand), term.axis)))
            if SLOPES in self.outputs:
                for k, (leaf, slope) in enumerate(term.slopes):
                    parts.append(
                        (
                            "slope",
                            Added(SlopeOf(n, k), binders, lift(slope), term.axis, keeps(leaf, term.axis), leaf),
                        )
                    )
            if PARTIALS in self.outputs:
                parts += [
                    ("sum", Added(PartialOf(n, k), binders, lift(partial), term.axis, keeps(leaf, term.axis), leaf))
                    for k, (leaf, partial) in enumerate(term.partials)
                ]
        for name, binders, summand, axis in (
            *((m.name, m.binders, m.summand, None) for m in self.measures),
            *((v.name, v.binders, v.summand, v.axis) for v in self.values),
        ):
            parts.append(
                (
                    "sum",
                    Added(
                        name,
                        binders,
                        _local(hoists[axis].lift(summand, binders), _displacement_of(summand)),
                        axis,
                        axis is not None,
                    ),
                )
            )
        return hoists, parts

    @cached_property
    def atom_reads(self) -> frozenset[str]:
        """The per-atom arrays that the kernel reads beside positions: ``m``, ``v``, ``species``."""
        hoists, parts = self._lifted
        by_species = any(h.tables for h in hoists.values()) or any(
            self._grouped(part.leaf, part.binders) for kind, part in parts if kind == "slope"
        )
        found = {"species"} if by_species and len(self.model.species) > 1 else set()
        for expr in self._expressions():
            found |= atom_arrays(expr, self.model)
        return frozenset(found)

    def _grouped(self, leaf: Read, binders: tuple[str, ...]) -> bool:
        """Whether a slope is kept apart by the species of the other atom: its parameter is read for that species."""
        return len(self.model.species) > 1 and len(binders) > 1 and binders[1] in leaf.indices

    def _expressions(self):
        for kind, part in self._lifted[1]:
            if kind in ("sum", "slope"):
                yield part.expr
            else:
                yield from (e for e in (part[1], *(part[2] or ())) if e is not None)

    @property
    def bounded(self) -> bool:
        """Whether every term is zero beyond its cutoff, for all parameters."""
        proved = all(
            t.support.cutoff is not None and not _conditional(t.support.cutoff) for t in (*self.terms, *self.values)
        )
        return proved and not self.measures

    @property
    def costly(self) -> bool:
        """Whether a pair costs more than visiting it once again, as a loop in two stages does."""
        nodes = {id(n): n for e in self._expressions() for n in walk(e) if isinstance(n, Op | Tabulated)}
        work = sum(COSTS.get(n.op, 1) if isinstance(n, Op) else MOST_WORK for n in nodes.values())
        return self.outputs != {FORCE} or work > MOST_WORK

    def zeros(self, like, cell: Cell) -> dict[str, object]:
        """Where the sums over each row begin: ``like`` is an array with one entry for each row."""
        zero = jnp.zeros_like(like)
        out: dict[str, object] = {}
        if FORCE in self.outputs:
            out[FORCE] = (zero,) * self.model.dim
        if VIRIAL in self.outputs:
            out[VIRIAL] = (zero,) * self.model.dim**2
        if BOX in self.outputs:
            out[BOX] = (zero,) * len(cell.leaves)
        for kind, part in self._lifted[1]:
            if kind == "sum":
                out[part.name] = _zeros(part.zero(zero), part.expr, self.model.dim)
            elif kind == "slope":
                out[part.name] = (part.zero(zero),) * (
                    len(self.model.species) if self._grouped(part.leaf, part.binders) else 1
                )
        return out

    def body(self, known: Globals, nearest: Callable, safe) -> Callable:
        """The kernel for these parameters.

        ``nearest(d)`` brings a displacement (a tuple of arrays) to its nearest image; ``safe`` is a squared
        distance at which all terms are regular, taken by the pairs that are none: an atom with itself.
        """
        hoists, parts = self._lifted
        dtype = jnp.result_type(safe)
        scalars, columns, tables = {}, {}, {}
        for axis, hoisted in hoists.items():
            here = over(known, axis, 0, dtype)
            for e, r in hoisted.scalars.items():
                (columns if axis is not None and reads_entry(e) else scalars)[r.symbol] = cast_number(
                    here.value(e), dtype
                )
            tables |= {r.symbol: cast_number(known.table(e, r.indices), dtype) for e, r in hoisted.tables.items()}
        count = max(1, len(self.model.species))
        dim = self.model.dim

        def geometry(own, other, valid) -> tuple[tuple, tuple]:
            apart = tuple(a - b for a, b in zip(own["x"], other["x"]))
            d = nearest(apart)
            return apart, tuple(jnp.where(valid, c, 0) for c in d) if self.masked else d

        def factors(own, other, valid) -> dict[str, object]:
            """The terms of sums, and of the gradient what multiplies the displacement and what does not."""
            _, d = geometry(own, other, valid)
            square = jnp.where(valid, sum(c * c for c in d), safe)
            if tables and count > 1:
                place = own["species"] * count + other["species"]
                entries = {name: entry(t.reshape(-1), place) for name, t in tables.items()}
            else:
                entries = {name: t[0, 0] for name, t in tables.items()}

            def reader(binders, axis):
                def read(expr: Read):
                    symbol = expr.symbol
                    if symbol == SQUARE:
                        return square
                    if symbol == DISPLACEMENT:
                        return d
                    if symbol in scalars:
                        return scalars[symbol]
                    if symbol in columns:
                        return column(columns[symbol], square.ndim)
                    if symbol in entries:
                        return entries[symbol]
                    if expr.indices and expr.indices[0] in binders:
                        return pick(
                            (own, other)[binders.index(expr.indices[0])][symbol], expr, axis, known.more.get(ENTRY)
                        )
                    return known.read(expr)

                return read

            out: dict[str, object] = {}
            memos: dict[tuple[tuple[str, ...], Axis | None], Memo] = {}

            def value(expr, binders, axis, keep=False):
                found = evaluate(
                    expr, reader(binders, axis), _pair_displacement, memos.setdefault((binders, axis), Memo())
                )
                return found if axis is None else jax.tree.map(lambda a: spread_out(a, axis, square.shape, keep), found)

            for kind, part in parts:
                if kind in ("sum", "slope"):
                    name, found = part.name, value(part.expr, part.binders, part.axis, part.keep)
                    if not self.bounded:
                        found = jax.tree.map(lambda a: jnp.where(valid, a, 0), found)
                    found = jax.tree.map(lambda a: spread_out(jnp.asarray(a, dtype), None, square.shape, False), found)
                    if kind == "sum":
                        out[name] = found
                    elif self._grouped(part.leaf, part.binders):
                        out[name] = tuple(jnp.where(other["species"] == k, found, 0) for k in range(count))
                    else:
                        out[name] = (found,)
                    continue
                term, radial, direct = part
                if radial is not None:
                    slope = 2 * value(radial, term.domain.binders, term.axis)
                    out[RADIAL] = out[RADIAL] + slope if RADIAL in out else slope
                if direct is not None:
                    slopes = tuple(jnp.where(valid, value(c, term.domain.binders, term.axis), 0) for c in direct)
                    out[DIRECT] = tuple(map(jnp.add, out[DIRECT], slopes)) if DIRECT in out else slopes
            return out

        def increments(found: dict[str, object], own, other, valid) -> dict[str, object]:
            out = dict(found)
            radial, direct = out.pop(RADIAL, None), out.pop(DIRECT, (0,) * dim)
            apart, d = geometry(own, other, valid)
            gradient = tuple(
                jnp.broadcast_to(b if radial is None else radial * c + b, c.shape) for c, b in zip(d, direct)
            )
            if FORCE in self.outputs:
                out[FORCE] = tuple(-g for g in gradient)
            if BOX in self.outputs:
                images = fractions(
                    cast(known.cell, dtype), tuple(image - straight for image, straight in zip(d, apart))
                )
                out[BOX] = tuple(images[vector] * gradient[axis] for vector, axis in entries_of(known.cell))
            if VIRIAL in self.outputs:
                out[VIRIAL] = tuple(-d[a] * gradient[b] for a, b in virial_components(dim))
            return out

        if not self.outputs & {FORCE, BOX, VIRIAL}:
            return factors
        staged = Staged(factors, increments)
        return staged if self.costly else lambda own, other, valid: staged(own, other, valid)


@dataclass(frozen=True)
class Added:
    """What is added up for each row. ``axis``: the range of the term, ``keep``: its numbers are kept apart. ``leaf``:
    by what it is a derivative."""

    name: str
    binders: tuple[str, ...]
    expr: Expr
    axis: Axis | None = None
    keep: bool = False
    leaf: Read | None = None

    def zero(self, like):
        """[n], or an array [C, n] of what has several numbers for each row: zeros like those of a row [n]."""
        count = several(self.leaf, self.axis) if self.leaf is not None else (size(self.axis),) if self.keep else ()
        return jnp.broadcast_to(like, (*count, *like.shape))


def atom_arrays(expr: Expr, model: Model) -> set[str]:
    """The per-atom arrays that an expression reads: positions, masses, quantities, ...; not entries of tables."""
    reads = {n.symbol for n in walk(expr) if isinstance(n, Read) and any(isinstance(i, str) for i in n.indices)}
    return {name for name in reads if not isinstance(name, HoistedPart) and model.of_atoms(name)}


def _zeros(zero, expr: Expr, dim: int):
    """Where the sum of an expression begins, in its shape."""
    return {"vector": (zero,) * dim, "matrix": ((zero,) * dim,) * dim}.get(expr.type.kind, zero)


def _conditional(cutoff: Expr) -> bool:
    """Whether a cutoff holds only for parameters of some sign."""
    return any(isinstance(n, Op) and n.op == "choose" for n in walk(cutoff))


def _pair_displacement(a, b):
    raise AssertionError("a displacement of other atoms than the pair's")


def cast_number(value, dtype):
    """Numbers in the precision of a kernel; whole numbers and truth values stay such."""
    array = jnp.asarray(value)
    return array.astype(dtype) if jnp.issubdtype(array.dtype, jnp.floating) else array


def _displacement_of(expr: Expr) -> Expr | None:
    return next((n for n in walk(expr) if isinstance(n, Op) and n.op == "displacement"), None)


def _local(expr: Expr, displacement: Expr | None) -> Expr:
    """The pair's displacement and its square as leaves, which the kernel computes once."""
    if displacement is None:
        return expr

    def rule(node: Expr) -> Expr:
        if isinstance(node, Op) and node.op == "dot" and node.args[0] == node.args[1] == Read(DISPLACEMENT):
            return Read(SQUARE, type=SCALAR)
        if node == displacement:
            return Read(DISPLACEMENT, type=displacement.type)
        return node

    return transform(expr, rule)


# -- sums over atoms -------------------------------------------------------------------------------------


def atom_values(
    expr: Expr, binder: str, known: Globals, atoms: dict[str, object], nearest: Callable, axis: Axis | None = None
):
    """The summand of a sum over atoms, for all atoms at once; of one over the numbers of a range too, for all of these,
    [C, n]. ``atoms`` holds x, v, m, species, ..."""
    known = over(known, axis, 1, atoms["x"][0].dtype)
    read = reader(known, atoms, lambda _, name: atoms[name], axis)
    return evaluate(expr, read, lambda a, b: nearest(tuple(p - q for p, q in zip(a, b))))


def total(values, add: Callable):
    """Add up the values of a sum over atoms: numbers, vectors or matrices."""
    return tuple(total(v, add) for v in values) if isinstance(values, tuple) else add(values)
