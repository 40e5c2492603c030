"""Which form the box keeps when flows change it: proved for every `cell = ...`, from the parts of the formula.

Of every matrix and vector it is known which entries may be other than 0. Sums, products and transposes have the entries
of their parts; an inverse or an exponential is a series of powers, and so has those that chains of entries lead to. A
matrix is diagonal, lower triangular, or neither. A rectangular box whose flows keep it diagonal stays rectangular, and
costs what such a box costs.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product

from .nodes import Advance, Expr, Model, Number, Op, Read, Update

DIAGONAL, LOWER, FULL = range(3)

Entries = frozenset[tuple[int, ...]]  # (row, column) of a matrix, (axis,) of a vector


def changes_box(model: Model) -> bool:
    """Whether a statement of dynamics changes the box."""
    return any(_changes(a) for a in model.run if isinstance(a, Advance))


def becomes_skew(model: Model) -> bool:
    """Whether a rectangular box may become another."""
    return any(
        form > DIAGONAL for a in model.run if isinstance(a, Advance) for _, form in forms(a, DIAGONAL, model.dim)
    )


def forms(advance: Advance, cell: int, dim: int) -> list[tuple[Update, int]]:
    """The form of each new value of the box, where it has the form ``cell`` before."""
    if not _changes(advance):
        return []
    diagonal = frozenset((k, k) for k in range(dim))
    lower = frozenset((k, j) for k in range(dim) for j in range(k + 1))
    known: dict[str, Entries] = {"cell": (diagonal, lower)[cell], "identity": diagonal}
    for state in advance.states:
        known[state.name] = entries(state.value, known, dim)
    while True:
        before, found = dict(known), []
        for statement in advance.statements:
            if isinstance(statement, Update):
                new = entries(statement.value, known, dim)
                if statement.op == "+=" or statement.target in before:
                    new = new | known.get(statement.target, frozenset())
                if statement.target == "cell":
                    found.append((statement, DIAGONAL if new <= diagonal else LOWER if new <= lower else FULL))
                known[statement.target] = new
        if known == before:
            return found


def _changes(advance: Advance) -> bool:
    return any(isinstance(s, Update) and s.target == "cell" for s in advance.statements)


def entries(expr: Expr, known: Mapping[str, Entries], dim: int) -> Entries:
    """Which entries of a matrix or vector may be other than 0; none of a number, which has none."""
    kind = expr.type.kind
    if isinstance(expr, Number) or kind not in ("untyped", "matrix", "vector"):
        return frozenset()
    every = frozenset(product(range(dim), repeat=1 if kind == "vector" else 2))
    match expr:
        case Read(symbol=symbol, indices=()):
            return known.get(symbol, every)
        case Op(op="vector", args=args):
            return frozenset((k,) for k, a in enumerate(args) if not (isinstance(a, Number) and a.value == 0))
    if not isinstance(expr, Op):
        return every
    parts = [entries(a, known, dim) for a in expr.args]
    match expr.op:
        case "add" | "sub" | "neg" | "mul" | "div":
            return frozenset().union(*parts)
        case "choose":
            return parts[1] | parts[2]
        case "diagonal":
            return frozenset((k, k) for k in range(dim) if (k, k) in parts[0])
        case "transpose":
            return frozenset((k, j) for j, k in parts[0])
        case "outer":
            return frozenset(a + b for a in parts[0] for b in parts[1])
        case "dot":
            return frozenset(a[:-1] + b[1:] for a in parts[0] for b in parts[1] if a[-1] == b[0])
        case "inverse" | "exp":
            return _chains(parts[0], dim)
    return every


def _chains(found: Entries, dim: int) -> Entries:
    """The entries of all powers of a matrix, the identity among them."""
    found = found | {(k, k) for k in range(dim)}
    while True:
        more = found | {(i, k) for i, j in found for h, k in found if j == h}
        if more == found:
            return found
        found = more
