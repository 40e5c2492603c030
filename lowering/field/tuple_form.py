"""Derivatives of sums over a topology: bonds, angles, dihedrals, or whatever else its tuples of atoms are.

The summand becomes a function of scalars of the geometry, *leaves*: scalar products of displacements, components
of displacements, angles and dihedral angles. SymPy differentiates by the leaves; what a leaf does when a
displacement changes is written down here. An energy that depends on cos(angle) alone is written with scalar
products, which are smooth where the angle is 0 or π.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import sympy

from mdsl.model.nodes import Expr, Number, Op, Read, Type, transform, walk
from mdsl.symbolic.bridge import Leaves, to_sympy
from mdsl.symbolic.components import COMPONENTS, SCALAR, by_components, op

from .field import Gradient

VECTOR = Type("vector", None)
TINY = 1e-36  # squared lengths below it have no direction

Part = tuple[Expr | None, Op]  # a factor (None: 1) and a displacement


# -- vectors as sums of displacements --------------------------------------------------------------------


def oriented(binders: Sequence[str], dim: int) -> Callable[[Expr], Expr]:
    """A rewrite: lengths, scalar products and components by those of displacements that run from a later atom of
    the tuple to an earlier one, or from the origin. Those of vectors that are no sums of displacements, and all that
    is made of matrices, by the components of what they are made of."""
    place = {name: k for k, name in enumerate(binders)}
    written = by_components(dim)

    def order(point: Expr) -> int:
        match point:
            case Read(indices=(str() as atom, *_)):
                return place[atom]
        return len(place)

    def rule(expr: Expr) -> Expr:
        if not isinstance(expr, Op):
            return expr
        if (
            expr.op == "displacement"
            and all(isinstance(a, Read) for a in expr.args)
            and order(expr.args[0]) > order(expr.args[1])
        ):
            return op("neg", Op("displacement", expr.args[::-1], type=expr.type), type=expr.type)
        if expr.op == "norm" and expr.args[0].type.kind == "vector":
            parts = linear(expr.args[0])
            return written(expr) if parts is None else op("sqrt", _dot(parts, parts, order))
        if expr.op == "dot" and expr.type.kind == "scalar":
            a, b = map(linear, expr.args)
            return written(expr) if a is None or b is None else _dot(a, b, order)
        if expr.op in COMPONENTS:
            vector = expr.args[0]
            if vector.type.kind == "point":
                vector = Op("displacement", (vector, Read("origin", type=vector.type)), type=VECTOR)
            parts = linear(vector)
            return written(op(expr.op, vector)) if parts is None else _sum([(c, op(expr.op, d)) for c, d in parts])
        return written(expr)

    return rule


def linear(vector: Expr) -> Sequence[Part] | None:
    """A vector as displacements with factors; None where it is something else."""
    match vector:
        case Op(op="displacement", args=(Read(), Read())):
            return [(None, vector)]
        case Op(op="neg", args=(a,)):
            return _scaled(linear(a), Number(-1.0, type=SCALAR))
        case Op(op="add" | "sub", args=(a, b)):
            first, second = linear(a), linear(b)
            if vector.op == "sub":
                second = _scaled(second, Number(-1.0, type=SCALAR))
            return None if first is None or second is None else [*first, *second]
        case Op(op="mul", args=(a, b)):
            return _scaled(linear(b), a) if b.type.kind == "vector" else _scaled(linear(a), b)
        case Op(op="div", args=(a, b)):
            return _scaled(linear(a), op("div", Number(1.0, type=SCALAR), b))
    return None


def _scaled(parts: Sequence[Part] | None, by: Expr) -> list[tuple[Expr, Op]] | None:
    return None if parts is None else [(by if factor is None else op("mul", factor, by), d) for factor, d in parts]


def _dot(a: Sequence[Part], b: Sequence[Part], order: Callable[[Expr], int]) -> Expr:
    def rank(displacement: Op) -> tuple[int, ...]:
        return tuple(order(point) for point in displacement.args)

    terms = []
    for first, d in a:
        for second, e in b:
            factor = second if first is None else first if second is None else op("mul", first, second)
            terms.append((factor, op("dot", *sorted((d, e), key=rank))))
    return _sum(terms)


def _sum(terms: Sequence[tuple[Expr | None, Expr]]) -> Expr:
    values = [value if factor is None else op("mul", factor, value) for factor, value in terms]
    total = values[0]
    for value in values[1:]:
        total = op("add", total, value)
    return total


# -- leaves ----------------------------------------------------------------------------------------------


def by_cosine(kernel: sympy.Expr, leaves: Leaves, rewrite: Callable[[Expr], Expr]) -> sympy.Expr:
    """The kernel with cos(angle) as a ratio of scalar products, where nothing else of an angle is in it."""
    for symbol, leaf in list(leaves.exprs.items()):
        if not (isinstance(leaf, Op) and leaf.op == "angle" and symbol in kernel.free_symbols):
            continue
        cosine = sympy.Symbol("cosine", real=True)
        written = kernel.xreplace({symbol: sympy.acos(cosine)})
        rough = written.has(sympy.acos) or any(
            cosine in p.base.free_symbols and not p.exp.is_Integer for p in written.atoms(sympy.Pow)
        )
        if not rough:
            p, q = sides(leaf)
            pq, pp, qq = (to_sympy(transform(op("dot", a, b), rewrite), leaves) for a, b in ((p, q), (p, p), (q, q)))
            kernel = written.xreplace({cosine: pq / (sympy.sqrt(pp) * sympy.sqrt(qq))})
    return kernel


def between(a: Expr, b: Expr) -> Op:
    return Op("displacement", (a, b), type=VECTOR)


def sides(angle: Op) -> tuple[Expr, Expr]:
    """The displacements from the corner of an angle to its ends."""
    a, b, c = angle.args
    return between(a, b), between(c, b)


def slopes(leaf: Expr) -> list[tuple[Expr, Expr]] | None:
    """By which vector a leaf changes with each of its displacements; None where that is not known."""
    match leaf:
        case Op(op="dot", args=(d, e)) if linear(d) and linear(e):
            if d == e:
                return [(d, op("mul", Number(2.0, type=SCALAR), d, type=VECTOR))]
            return [(d, e), (e, d)]
        case Op(op="angle"):
            return _angle(leaf)
        case Op(op="dihedral"):
            return _dihedral(leaf)
    return None


def _length(v: Expr) -> Expr:
    """|v|, with a derivative also where v is 0."""
    return op("sqrt", op("max", op("dot", v, v), Number(TINY, type=SCALAR)))


def _vector(name: str, a: Expr, b: Expr) -> Expr:
    return op(name, a, b, type=VECTOR)


def _angle(leaf: Op) -> list[tuple[Expr, Expr]]:
    """At the end p of an angle: minus the unit vector towards the other side, at right angles to p, over |p|. Where
    the sides are parallel it has no direction, and is 0."""
    p, q = sides(leaf)
    unit = {d: _vector("div", d, _length(d)) for d in (p, q)}
    cosine = op("dot", unit[p], unit[q])
    found = []
    for d, e in ((p, q), (q, p)):
        across = _vector("sub", unit[e], _vector("mul", cosine, unit[d]))
        found.append((d, _vector("div", op("neg", across, type=VECTOR), op("mul", _length(across), _length(d)))))
    return found


def _dihedral(leaf: Op) -> list[tuple[Expr, Expr]]:
    """Blondel and Karplus 1996: no singularity but where three atoms are in a line."""
    a, b, c, d = leaf.args
    f, g, h = between(a, b), between(b, c), between(d, c)
    before, after = _vector("cross", f, g), _vector("cross", h, g)
    length = _length(g)

    def along(normal: Expr) -> Expr:
        return _vector("div", normal, op("max", op("dot", normal, normal), Number(TINY, type=SCALAR)))

    first, last = along(before), along(after)
    middle = _vector(
        "sub",
        _vector("mul", op("div", op("dot", f, g), length), first),
        _vector("mul", op("div", op("dot", h, g), length), last),
    )
    return [(f, op("neg", _vector("mul", length, first), type=VECTOR)), (g, middle), (h, _vector("mul", length, last))]


class Slopes:
    """The derivative of a summand by each displacement, put together from its leaves."""

    def __init__(self, dim: int):
        self.dim = dim
        self.parts: dict[Expr, list[tuple[Expr, ...]]] = {}  # for each displacement vectors, by their components
        self.along: dict[Expr, list[tuple[Expr, Op]] | None] = {}  # the same, where they are sums of displacements

    def add(self, leaf: Expr, slope: Expr) -> bool:
        """Add what a leaf contributes, ``slope`` being the derivative by it; False where it cannot be said."""
        if isinstance(leaf, Op) and leaf.op in COMPONENTS and linear(leaf.args[0]):
            axis, zero = COMPONENTS.index(leaf.op), Number(0.0, type=SCALAR)
            self._put(leaf.args[0], tuple(slope if k == axis else zero for k in range(self.dim)), None)
            return True
        found = slopes(leaf)
        for displacement, vector in found or ():
            part = _vector("mul", slope, vector)
            self._put(displacement, tuple(op(c, part) for c in COMPONENTS[: self.dim]), _scaled(linear(vector), slope))
        return found is not None

    def _put(self, displacement: Expr, components: tuple[Expr, ...], parts: list[tuple[Expr, Op]] | None) -> None:
        self.parts.setdefault(displacement, []).append(components)
        before = self.along.setdefault(displacement, [])
        self.along[displacement] = None if before is None or parts is None else before + parts

    def gradients(self) -> tuple[Gradient, ...]:
        return tuple(
            Gradient(
                displacement,
                None,
                tuple(_sum([(None, part[k]) for part in parts]) for k in range(self.dim)),
                self._along(displacement),
            )
            for displacement, parts in self.parts.items()
        )

    def _along(self, displacement: Expr) -> tuple[tuple[Expr, Expr], ...] | None:
        parts = self.along[displacement]
        return None if parts is None else tuple(parts)


def moves(leaf: Expr) -> bool:
    """Whether a leaf depends on positions."""
    return any(isinstance(n, Read) and n.symbol == "x" and n.indices != () for n in walk(leaf))


def is_geometry(leaf: Expr) -> bool:
    """Whether a leaf is made of displacements or angles between atoms, whose derivatives are known, or is a
    constant."""
    match leaf:
        case Op(op="dot", args=args) | Op(op="component_x" | "component_y" | "component_z", args=args):
            return all(isinstance(d, Op) and d.op == "displacement" and _between_atoms(d) for d in args)
        case Op(op="angle" | "dihedral"):
            return _between_atoms(leaf)
    return not any(isinstance(n, Read) for n in walk(leaf))


def _between_atoms(expr: Op) -> bool:
    return all(isinstance(point, Read) for point in expr.args)
