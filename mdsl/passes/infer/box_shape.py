"""Which form the box keeps when flows change it: proved for every `cell = ...`, from the parts of the formula.

A matrix is diagonal, lower triangular, or neither; products, sums, inverses and exponentials of matrices of one form
have that form. A rectangular box whose flows keep it diagonal stays rectangular, and costs what such a box costs.
"""

from __future__ import annotations

from collections.abc import Mapping

from mdsl.grammar.diagnostics import Diagnostic
from mdsl.model.box_dependencies import decided_by
from mdsl.model.nodes import Advance, Expr, Model, Number, Op, Read, Update

DIAGONAL, LOWER, FULL = range(3)


def changes_box(model: Model) -> bool:
    """Whether a statement of dynamics changes the box."""
    return any(_changes(a) for a in model.run if isinstance(a, Advance))


def becomes_skew(model: Model) -> bool:
    """Whether a rectangular box may become another."""
    return any(form > DIAGONAL for a in model.run if isinstance(a, Advance) for _, form in _forms(a, DIAGONAL))


def check_box(model: Model) -> list[Diagnostic]:
    """Every change of the box that may not keep its form: a along x, b in the plane of x and y."""
    found = []
    if changes_box(model) and "t" in decided_by(model):
        found.append(
            Diagnostic("bad-box", "the box is a function of time, and so no flow can change it", model.box.span)
        )
    for advance in (s for s in model.run if isinstance(s, Advance)):
        for update, form in _forms(advance, LOWER):
            if form == FULL:
                notes = ("the box vectors are the rows of a triangular matrix, and it is not proved that this is one",)
                help = "`cell = cell·exp(h*diagonal(M))` changes the edges only"
                span = update.value.via[0] if update.value.via else update.value.span or update.span
                found.append(Diagnostic("bad-box", "this may turn the box", span, notes=notes, help=help))
    return found


def _changes(advance: Advance) -> bool:
    return any(isinstance(s, Update) and s.target == "cell" for s in advance.body or ())


def _forms(advance: Advance, cell: int) -> list[tuple[Update, int]]:
    """The form of each new value of the box, where it has the form ``cell`` before."""
    if not _changes(advance):
        return []
    known: dict[str, int] = {"cell": cell, "identity": DIAGONAL}
    for state in advance.states:
        known[state.name] = form(state.value, known)
    while True:
        before, found = dict(known), []
        for statement in advance.body:
            if isinstance(statement, Update):
                new = form(statement.value, known)
                if statement.target == "cell":
                    found.append((statement, new))
                elif statement.op == "+=" or statement.target in before:
                    new = max(new, known.get(statement.target, DIAGONAL))
                known[statement.target] = max(new, known["cell"]) if statement.target == "cell" else new
        if known == before:
            return found


def form(expr: Expr, known: Mapping[str, int]) -> int:
    """The form of a matrix; of anything else DIAGONAL."""
    if expr.type is not None and expr.type.kind != "matrix" or isinstance(expr, Number):
        return DIAGONAL
    match expr:
        case Read(symbol=symbol):
            return known.get(symbol, FULL)
        case Op(op="diagonal"):
            return DIAGONAL
        case Op(op="transpose", args=(a,)):
            return DIAGONAL if form(a, known) == DIAGONAL else FULL
        case Op(op="add" | "sub" | "neg" | "mul" | "div" | "dot" | "inverse" | "exp", args=args):
            return max(form(a, known) for a in args)
        case Op(op="choose", args=(_, a, b)):
            return max(form(a, known), form(b, known))
    return FULL
