"""Kernels of pair sums and atom sums: what the traversals call for each pair or atom."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
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
from mdsl.model.operators import OPERATORS

from .emit import Memo, evaluate
from .globals import Globals, reader
from .ranges import column, keeps, over, pick, several, spread_out
from .staged import Staged

DISPLACEMENT = Symbol("displacement")
RADIAL, DIRECT = Symbol("radial"), Symbol("direct")
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
    def lifted(self) -> tuple[Mapping[Axis | None, Hoisted], tuple[Added | Pull, ...]]:
        """What is hoisted, for terms over each range, and the parts that are added up."""
        axes = dict.fromkeys((None, *(t.axis for t in self.terms), *(v.axis for v in self.values)))
        hoists = {axis: Hoisted(self.model, k) for k, axis in enumerate(axes)}
        parts = [part for n, term in enumerate(self.terms) for part in self._of_term(n, term, hoists[term.axis])]
        for name, binders, summand, axis in (
            *((m.name, m.binders, m.summand, None) for m in self.measures),
            *((v.name, v.binders, v.summand, v.axis) for v in self.values),
        ):
            lifted = _local(hoists[axis].lift(summand, binders), _displacement_of(summand))
            parts.append(Added(name, binders, lifted, axis, axis is not None))
        return hoists, tuple(parts)

    def _of_term(self, n: int, term: Term, hoisted: Hoisted) -> Iterator[Added | Pull]:
        """What the n-th term gives to each output."""
        gradient, binders, axis = term.gradients[0], term.domain.binders, term.axis

        def lift(e: Expr | None) -> Expr | None:
            return None if e is None else _local(hoisted.lift(e, binders), gradient.displacement)

        if self.outputs & {FORCE, VIRIAL, BOX}:
            direct = None if gradient.direct is None else tuple(map(lift, gradient.direct))
            yield Pull(binders, lift(gradient.radial), direct, axis)
        if ENERGY in self.outputs and term.number is not None:
            yield Added(term.name, binders, lift(term.summand), axis)
        for k, (leaf, slope) in enumerate(term.slopes if SLOPES in self.outputs else ()):
            # Kept apart by the species of the other atom, where the parameter is read for that species.
            by_species = len(binders) > 1 and binders[1] in leaf.indices
            groups = max(1, len(self.model.species)) if by_species else 1
            yield Added(SlopeOf(n, k), binders, lift(slope), axis, keeps(leaf, axis), leaf, groups)
        for k, (leaf, partial) in enumerate(term.partials if PARTIALS in self.outputs else ()):
            yield Added(PartialOf(n, k), binders, lift(partial), axis, keeps(leaf, axis), leaf)

    @cached_property
    def atom_reads(self) -> frozenset[str]:
        """The per-atom arrays that the kernel reads beside positions: ``m``, ``v``, ``species``."""
        hoists, parts = self.lifted
        by_species = any(h.tables for h in hoists.values()) or any(isinstance(p, Added) and p.groups > 1 for p in parts)
        found = {"species"} if by_species and len(self.model.species) > 1 else set()
        return frozenset(found.union(*(atom_arrays(expr, self.model) for expr in self._expressions())))

    def _expressions(self) -> Iterator[Expr]:
        return (e for part in self.lifted[1] for e in part.expressions)

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
        work = sum(OPERATORS[n.op].cost if isinstance(n, Op) else MOST_WORK for n in nodes.values())
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
        for part in self.lifted[1]:
            if isinstance(part, Added):
                out[part.name] = part.zeros(zero, self.model.dim)
        return out

    def body(self, known: Globals, nearest: Callable, safe) -> Callable:
        """The kernel for these parameters.

        ``nearest(d)`` brings a displacement (a tuple of arrays) to its nearest image; ``safe`` is a squared
        distance at which all terms are regular, taken by the pairs that are none: an atom with itself.
        """
        bound = BoundKernel.of(self, known, nearest, safe)
        if not self.outputs & {FORCE, BOX, VIRIAL}:
            return bound.factors
        staged = Staged(bound.factors, bound.increments)
        return staged if self.costly else staged.__call__


@dataclass(frozen=True)
class Pull:
    """What pulls at the two atoms of a pair: the gradient of a term, ``2 radial d + direct``."""

    binders: tuple[str, ...]
    radial: Expr | None
    direct: tuple[Expr, ...] | None
    axis: Axis | None

    @property
    def expressions(self) -> tuple[Expr, ...]:
        return tuple(e for e in (self.radial, *(self.direct or ())) if e is not None)


@dataclass(frozen=True)
class Added:
    """What is added up for each row. ``axis``: the range of the term, ``keep``: its numbers are kept apart. ``leaf``:
    by what it is a derivative; ``groups``: into how many it is divided by the species of the other atom; 0: not at all,
    else it is a tuple."""

    name: str
    binders: tuple[str, ...]
    expr: Expr
    axis: Axis | None = None
    keep: bool = False
    leaf: Read | None = None
    groups: int = 0

    @property
    def expressions(self) -> tuple[Expr, ...]:
        return (self.expr,)

    def zeros(self, like, dim: int):
        """Where the sum begins, in its shape: zeros like those of a row [n], or [C, n] of what has several numbers for
        each row."""
        count = several(self.leaf, self.axis) if self.leaf is not None else (size(self.axis),) if self.keep else ()
        zero = jnp.broadcast_to(like, (*count, *like.shape))
        if self.groups:
            return (zero,) * self.groups
        return {"vector": (zero,) * dim, "matrix": ((zero,) * dim,) * dim}.get(self.expr.type.kind, zero)


# -- the pairs of a kernel -------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class BoundKernel:
    """A kernel for some parameters: what is hoisted has its values, numbers as ``scalars``, those of a range as
    ``columns`` [C], those of two species as ``tables`` [S, S]."""

    kernel: PairKernel
    known: Globals
    nearest: Callable
    safe: object
    scalars: Mapping[str, object]
    columns: Mapping[str, object]
    tables: Mapping[str, object]

    @classmethod
    def of(cls, kernel: PairKernel, known: Globals, nearest: Callable, safe) -> BoundKernel:
        dtype = jnp.result_type(safe)
        scalars, columns, tables = {}, {}, {}
        for axis, hoisted in kernel.lifted[0].items():
            here = over(known, axis, 0, dtype)
            for e, r in hoisted.scalars.items():
                into = columns if axis is not None and reads_entry(e) else scalars
                into[r.symbol] = cast_number(here.value(e), dtype)
            tables |= {r.symbol: cast_number(known.table(e, r.indices), dtype) for e, r in hoisted.tables.items()}
        return cls(kernel, known, nearest, safe, scalars, columns, tables)

    @property
    def dtype(self):
        return jnp.result_type(self.safe)

    def displacement(self, own, other, valid) -> tuple[tuple, tuple]:
        """From the other atom to the own one: straight, and by the nearest image."""
        apart = tuple(a - b for a, b in zip(own["x"], other["x"]))
        d = self.nearest(apart)
        return apart, tuple(jnp.where(valid, c, 0) for c in d) if self.kernel.masked else d

    def entries(self, own, other) -> dict[str, object]:
        """The entries of tables for the species of the two atoms."""
        count = len(self.kernel.model.species)
        if count < 2 or not self.tables:
            return {name: t[0, 0] for name, t in self.tables.items()}
        place = own["species"] * count + other["species"]
        return {name: entry(t.reshape(-1), place) for name, t in self.tables.items()}

    def factors(self, own, other, valid) -> dict[str, object]:
        """The terms of sums, and of the gradient what multiplies the displacement and what does not."""
        pair = _Pair(self, own, other, valid)
        out: dict[str, object] = {}
        for part in self.kernel.lifted[1]:
            if isinstance(part, Added):
                out[part.name] = self._term(part, pair)
                continue
            if part.radial is not None:
                slope = 2 * pair.value(part.radial, part)
                out[RADIAL] = out[RADIAL] + slope if RADIAL in out else slope
            if part.direct is not None:
                slopes = tuple(jnp.where(valid, pair.value(c, part), 0) for c in part.direct)
                out[DIRECT] = tuple(map(jnp.add, out[DIRECT], slopes)) if DIRECT in out else slopes
        return out

    def _term(self, part: Added, pair: _Pair):
        """The term of a sum, in the shape of the sum."""
        found, shape = pair.value(part.expr, part, part.keep), pair.square.shape
        if not self.kernel.bounded:
            found = jax.tree.map(lambda a: jnp.where(pair.valid, a, 0), found)
        found = jax.tree.map(lambda a: spread_out(jnp.asarray(a, self.dtype), None, shape, False), found)
        if part.groups > 1:
            return tuple(jnp.where(pair.other["species"] == k, found, 0) for k in range(part.groups))
        return (found,) if part.groups else found

    def increments(self, found: dict[str, object], own, other, valid) -> dict[str, object]:
        """What the pair adds to each output, from its factors."""
        out, outputs, cell = dict(found), self.kernel.outputs, self.known.cell
        radial, direct = out.pop(RADIAL, None), out.pop(DIRECT, (0,) * self.kernel.model.dim)
        apart, d = self.displacement(own, other, valid)
        gradient = tuple(jnp.broadcast_to(b if radial is None else radial * c + b, c.shape) for c, b in zip(d, direct))
        if FORCE in outputs:
            out[FORCE] = tuple(-g for g in gradient)
        if BOX in outputs:
            images = fractions(cast(cell, self.dtype), tuple(image - straight for image, straight in zip(d, apart)))
            out[BOX] = tuple(images[vector] * gradient[axis] for vector, axis in entries_of(cell))
        if VIRIAL in outputs:
            out[VIRIAL] = tuple(-d[a] * gradient[b] for a, b in virial_components(self.kernel.model.dim))
        return out


class _Pair:
    """The own atom of a pair and the other: the values of expressions of the two."""

    def __init__(self, bound: BoundKernel, own, other, valid):
        self.bound, self.own, self.other, self.valid = bound, own, other, valid
        _, self.d = bound.displacement(own, other, valid)
        self.square = jnp.where(valid, sum(c * c for c in self.d), bound.safe)
        self.entries = bound.entries(own, other)
        self.memos: dict[tuple[tuple[str, ...], Axis | None], Memo] = {}

    def value(self, expr: Expr, part: Added | Pull, keep: bool = False):
        """Of a part over a range the sum over its numbers, or, to ``keep``, all of them, [C, ...]."""
        axis, memo = part.axis, self.memos.setdefault((part.binders, part.axis), Memo())
        found = evaluate(expr, lambda node: self.read(node, part), _pair_displacement, memo)
        return found if axis is None else jax.tree.map(lambda a: spread_out(a, axis, self.square.shape, keep), found)

    def read(self, node: Read, part: Added | Pull):
        symbol, bound = node.symbol, self.bound
        if symbol == SQUARE:
            return self.square
        if symbol == DISPLACEMENT:
            return self.d
        if symbol in bound.scalars:
            return bound.scalars[symbol]
        if symbol in bound.columns:
            return column(bound.columns[symbol], self.square.ndim)
        if symbol in self.entries:
            return self.entries[symbol]
        if node.indices and node.indices[0] in part.binders:
            atom = (self.own, self.other)[part.binders.index(node.indices[0])]
            return pick(atom[symbol], node, part.axis, bound.known.more.get(ENTRY))
        return bound.known.read(node)


def atom_arrays(expr: Expr, model: Model) -> set[str]:
    """The per-atom arrays that an expression reads: positions, masses, quantities, ...; not entries of tables."""
    reads = {n.symbol for n in walk(expr) if isinstance(n, Read) and any(isinstance(i, str) for i in n.indices)}
    return {name for name in reads if not isinstance(name, HoistedPart) and model.of_atoms(name)}


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
