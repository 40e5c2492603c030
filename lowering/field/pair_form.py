"""The summand of a pair in one form: displacements all the same way round, distances as roots of their squares.

|d| is written sqrt(d·d), so even powers need no square root, and a derivative by d·d gives the force as a factor of the
displacement.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

import sympy

from mdsl.model.dimensions import Dimension
from mdsl.model.nodes import SCALAR, Expr, Op, Read, Type, transform
from mdsl.symbolic.magnitude import magnitude

from . import tuple_form as tuples

COMPONENTS = ("component_x", "component_y", "component_z")


def displacement(binders: tuple[str, ...], length: Dimension) -> Expr:
    """From the second atom to the first, or from the origin to the only one. ``length``: its dimension."""
    i = Read("x", binders[:1])
    other = Read("x", binders[1:2]) if len(binders) > 1 else Read("origin")
    point = Type("point", length)
    return Op("displacement", (replace(i, type=point), replace(other, type=point)), type=Type("vector", length))


def canonical(wanted: Expr, length: Dimension) -> Callable[[Expr], Expr]:
    """A rewrite that gives every displacement of a pair the orientation ``wanted``, and |d| as sqrt(d·d)."""
    flipped = replace(wanted, args=wanted.args[::-1])

    def rule(expr: Expr) -> Expr:
        if not isinstance(expr, Op):
            return expr
        if expr == flipped:
            return Op("neg", (wanted,), type=expr.type, span=expr.span, via=expr.via)
        if expr.op == "norm" and expr.args[0].type.kind == "vector":
            vector = _without_sign(expr.args[0])
            square = Op("dot", (vector, vector), type=SCALAR, span=expr.span, via=expr.via)
            return Op("sqrt", (square,), type=SCALAR, span=expr.span, via=expr.via)
        if (product := tuples.by_components(expr)) is not expr:
            return transform(product, rule)
        if expr.op == "dot" and expr.args[0] == expr.args[1]:
            vector = _without_sign(expr.args[0])
            return replace(expr, args=(vector, vector))
        if expr.op in COMPONENTS and isinstance(expr.args[0], Op) and expr.args[0].op == "neg":
            inner = replace(expr, args=expr.args[0].args)
            return Op("neg", (inner,), type=expr.type, span=expr.span, via=expr.via)
        if expr.op in COMPONENTS and expr.args[0].type.kind == "point":
            origin = Read("origin", type=expr.args[0].type)
            inner = Op("displacement", (expr.args[0], origin), type=Type("vector", length))
            return replace(expr, args=(inner,))
        return expr

    return rule


def _without_sign(vector: Expr) -> Expr:
    while isinstance(vector, Op) and vector.op == "neg":
        vector = vector.args[0]
    return vector


def squared_conditions(kernel: sympy.Expr, squares: Iterable[sympy.Symbol | None]) -> sympy.Expr:
    """``r < b`` as ``r² < b|b|``, which is the same for every b and needs no square root.

    Not where the function may be singular at its end, as exp(1/(r - b)) is: rounded, r² < b² does not mean r < b.
    """
    changed = {}
    for s in squares:
        if s is None or _singular(kernel, s):
            continue
        root = sympy.sqrt(s)
        for relation in kernel.atoms(sympy.core.relational.Relational):
            if relation.lhs == root and s not in relation.rhs.free_symbols:
                changed[relation] = relation.func(s, relation.rhs * magnitude(relation.rhs))
            elif relation.rhs == root and s not in relation.lhs.free_symbols:
                changed[relation] = relation.func(relation.lhs * magnitude(relation.lhs), s)
    return kernel.xreplace(changed)


def _singular(kernel: sympy.Expr, s: sympy.Symbol) -> bool:
    """Whether a function of the squared distance may have singular points beside 0."""

    def product(e: sympy.Expr) -> bool:
        return all(f == s or s not in f.free_symbols for f in sympy.Mul.make_args(e) for f in [f.as_base_exp()[0]])

    powers = (p.base for p in kernel.atoms(sympy.Pow) if not (p.exp.is_Integer and p.exp.is_nonnegative))
    return any(s in e.free_symbols and not product(e) for e in (*powers, *(f.args[0] for f in kernel.atoms(sympy.log))))
