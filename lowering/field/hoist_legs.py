"""Field pass `hoist_legs`: of a sum over two ends around an atom, what depends on one of them only is computed for each
leg.

Before: expressions of the atoms ``binders``, the centre and two ends. After: their largest parts that depend on one end
are Reads of a `HoistedPart` of that end, the same for both ends where they play the same part. Products are sorted by
what their factors depend on.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from mdsl.model.nodes import Expr, Op, Read, children, rebuild

from .names import HoistedPart, Symbol
from .sums import renamed

CENTRE, END = Symbol("centre"), Symbol("end")  # the binders of parts that have been taken out


@dataclass
class LegValues:
    """``parts``: what was taken out, by name, as expressions of `CENTRE` and `END`."""

    names: dict[Expr, str] = field(default_factory=dict)
    places: dict[tuple, tuple[Expr, frozenset[int]]] = field(default_factory=dict)
    memo: dict[tuple, tuple[Expr, Expr]] = field(default_factory=dict)

    @property
    def parts(self) -> dict[str, Expr]:
        return {name: expr for expr, name in self.names.items()}

    def lift(self, expr: Expr, binders: tuple[str, ...]) -> Expr:
        key = (id(expr), binders)
        if key not in self.memo:
            self.memo[key] = (expr, self._lift(expr, binders))
        return self.memo[key][1]

    def ends(self, expr: Expr, binders: tuple[str, ...]) -> frozenset[int]:
        """Which of the two ends, 1 and 2, an expression depends on."""
        key = (id(expr), binders)
        if key not in self.places:
            found = {binders.index(i) for i in expr.indices if i in binders[1:]} if isinstance(expr, Read) else set()
            self.places[key] = (expr, frozenset(found).union(*(self.ends(c, binders) for c in children(expr))))
        return self.places[key][1]

    def _lift(self, expr: Expr, binders: tuple[str, ...]) -> Expr:
        ends = self.ends(expr, binders)
        if not ends or isinstance(expr, Op) and expr.op == "displacement":
            return expr
        if len(ends) == 1 and expr.type.kind in ("scalar", "bool"):
            (end,) = ends
            part = renamed(expr, {binders[0]: CENTRE, binders[end]: END})
            return Read(self.names.setdefault(part, HoistedPart(len(self.names))), (binders[end],), type=expr.type)
        if isinstance(expr, Op) and expr.op == "mul" and all(f.type.kind == "scalar" for f in _factors(expr)):
            return self._product(expr, binders)
        parts = children(expr)
        new = tuple(self.lift(c, binders) for c in parts)
        return rebuild(expr, new) if any(a is not b for a, b in zip(parts, new)) else expr

    def _product(self, expr: Op, binders: tuple[str, ...]) -> Expr:
        groups: dict[tuple[int, ...], list[Expr]] = {}
        for factor in _factors(expr):
            groups.setdefault(tuple(sorted(self.ends(factor, binders))), []).append(factor)
        found = []
        for ends in sorted(groups):
            factors = groups[ends] if len(ends) < 2 else [self.lift(f, binders) for f in groups[ends]]
            part = factors[0]
            for factor in factors[1:]:
                part = Op("mul", (part, factor), type=expr.type)
            found.append(self.lift(part, binders) if len(ends) == 1 else part)
        total = found[0]
        for part in found[1:]:
            total = Op("mul", (total, part), type=expr.type)
        return total


def _factors(expr: Expr) -> list[Expr]:
    return [f for a in expr.args for f in _factors(a)] if isinstance(expr, Op) and expr.op == "mul" else [expr]
