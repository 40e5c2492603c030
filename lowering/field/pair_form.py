"""The summand of a pair in one form: displacements all the same way round, distances as roots of their squares.

|d| is written sqrt(d·d), so even powers need no square root, and a derivative by d·d gives the force as a factor of the
displacement.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import sympy

from mdsl.model.dimensions import Dimension
from mdsl.model.nodes import Expr, Op, Read, Type
from mdsl.symbolic.magnitude import magnitude


def displacement(binders: tuple[str, ...], length: Dimension) -> Expr:
    """From the second atom to the first, or from the origin to the only one. ``length``: its dimension."""
    i = Read("x", binders[:1])
    other = Read("x", binders[1:2]) if len(binders) > 1 else Read("origin")
    point = Type("point", length)
    return Op("displacement", (replace(i, type=point), replace(other, type=point)), type=Type("vector", length))


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
