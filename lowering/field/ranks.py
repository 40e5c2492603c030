"""How often the values of expressions change: by which they are ordered, hoisted, and known before a run."""

from __future__ import annotations

import sympy

from mdsl.interpret.meaning import constant
from mdsl.model.nodes import Expr, Model, Op, Read, walk
from mdsl.symbolic.bridge import Leaves


def fixed_value(model: Model, expr: Expr) -> float | None:
    """What an expression is worth whatever the parameters; None where that is not known."""
    reads = [n for n in walk(expr) if isinstance(n, Read) and n.symbol != "pi"]
    if any(n.indices or (p := model.param(n.symbol)) is None or p.lifetime != "const" for n in reads):
        return None
    return float(constant(model, expr))


def ranking(leaves: Leaves, model: Model):
    """Orders factors by how often they change: parameters, then species tables, atoms, geometry."""
    ranks = {symbol: rank(leaf, model) for symbol, leaf in leaves.exprs.items()}

    def order(e: sympy.Expr) -> int:
        return max((ranks.get(symbol, 0) for symbol in e.free_symbols), default=0)

    return order


def rank(expr: Expr, model: Model) -> int:
    """0: one value for the program; 1: one for each pair of species; 2: one for each atom; 3: one for each pair."""
    best = 0
    for node in walk(expr):
        if isinstance(node, Read) and any(isinstance(i, str) for i in node.indices):
            param = model.param(node.symbol)
            by_species = param is not None and all(a.kind == "species" for a in param.axes) and param.axes
            best = max(best, 1 if by_species else 2)
        elif isinstance(node, Op) and node.op == "displacement":
            best = 3
    return best
