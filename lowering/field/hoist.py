"""Field pass `hoist`: what does not depend on the pair is computed once.

Before: summands and gradients as `derive` left them. After: their largest parts that depend on parameters
alone are Reads of a `HoistedPart`, computed once for each evaluation; those that depend on the species of the two
atoms are such with the indices of the atoms, entries of a table with one row and column for each species.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from mdsl.model.nodes import Expr, Model, Number, Op, Read, children, rebuild

from .names import HoistedPart
from .ranks import rank
from .series import reads_entry


@dataclass
class Hoisted:
    """Shared by all kernels of a traversal: equal parts are computed once."""

    model: Model
    group: int = 0
    scalars: dict[Expr, Read] = field(default_factory=dict)
    tables: dict[Expr, Read] = field(default_factory=dict)
    ranks: dict[int, tuple[Expr, int]] = field(default_factory=dict)
    memo: dict[int, tuple[Expr, Expr]] = field(default_factory=dict)

    def rank(self, expr: Expr) -> int:
        known = self.ranks.get(id(expr))
        if known is None:
            parts = [self.rank(c) for c in children(expr)]
            known = self.ranks[id(expr)] = (expr, max(parts) if parts else rank(expr, self.model))
            if isinstance(expr, Op) and expr.op == "displacement":
                known = self.ranks[id(expr)] = (expr, 3)
        return known[1]

    def lift(self, expr: Expr, indices: tuple[str, ...]) -> Expr:
        """The expression with its parts of rank 0 and 1 replaced; ``indices`` are the atoms of the domain."""
        known = self.memo.get(id(expr))
        if known is None:
            known = self.memo[id(expr)] = (expr, self._lift(expr, indices))
        return known[1]

    def _lift(self, expr: Expr, indices: tuple[str, ...]) -> Expr:
        if isinstance(expr, Number):
            return expr
        level = self.rank(expr)
        if level == 0:
            return self.scalars.setdefault(expr, Read(self._next(), type=expr.type))
        if level == 1 and not reads_entry(expr):
            return self.tables.setdefault(expr, Read(self._next(), indices, type=expr.type))
        if isinstance(expr, Op) and expr.op == "pow":
            # A constant exponent must stay in sight: whole powers are products.
            return rebuild(
                expr,
                (
                    self.lift(expr.args[0], indices),
                    expr.args[1] if isinstance(expr.args[1], Number) else self.lift(expr.args[1], indices),
                ),
            )
        parts = children(expr)
        new = tuple(self.lift(c, indices) for c in parts)
        return rebuild(expr, new) if any(a is not b for a, b in zip(parts, new)) else expr

    def _next(self) -> HoistedPart:
        return HoistedPart(self.group, len(self.scalars) + len(self.tables))
