"""Pass `differentiate`: `D(u)(a)` becomes the derivative, by SymPy, and `integral(u, a, b)` its closed form.

Before: Slope and Area nodes. After: none.
"""

from __future__ import annotations

from dataclasses import replace

import sympy

from mdsl.grammar.diagnostics import Diagnostic
from mdsl.model.faults import fault
from mdsl.model.nodes import Area, Expr, Model, Op, Read, Slope, transform, walk
from mdsl.model.traverse import mapped
from mdsl.printing.expressions import text_of
from mdsl.symbolic.antiderivative import NoClosedForm, definite
from mdsl.symbolic.bridge import Leaves, from_sympy, to_sympy
from mdsl.symbolic.magnitude import derivative
from mdsl.symbolic.tables import Lookup


class Hidden(Exception):
    """A variable is read where SymPy does not look: inside a sum, or the length of a vector."""

    def __init__(self, where: Expr):
        super().__init__(where)
        self.where = where


def _open(variable: str, body: Expr) -> tuple[sympy.Expr, sympy.Symbol, Leaves]:
    """The body as a SymPy expression of its variable. Raises Hidden."""
    leaves = Leaves()
    symbol = sympy.Symbol(variable, real=True)
    leaves.add(Read(variable), symbol)
    kernel = to_sympy(body, leaves)
    for leaf in leaves.exprs.values():
        if leaf != Read(variable) and any(n == Read(variable) for n in walk(leaf)):
            raise Hidden(leaf)
    return kernel, symbol, leaves


def _slope(expr: Slope) -> Expr:
    kernel, symbol, leaves = _open(expr.variable, expr.body)
    slope = derivative(kernel, symbol)
    leaves.exprs[symbol] = expr.at
    return replace(from_sympy(slope, leaves, like=expr), type=expr.type)


def _area(expr: Area) -> Expr:
    try:
        kernel, symbol, leaves = _open(expr.variable, expr.body)
        lower, upper = (_bound(b, leaves) for b in (expr.lower, expr.upper))
        return replace(from_sympy(definite(kernel, symbol, lower, upper), leaves, like=expr), type=expr.type)
    except TypeError as error:  # SymPy cannot compare what is infinite or complex
        raise NoClosedForm(sympy.Symbol(expr.variable, real=True), f"in a part of it {str(error).lower()}") from error


def _bound(expr: Expr, leaves: Leaves) -> sympy.Expr:
    match expr:
        case Read(symbol="infinity"):
            return sympy.oo
        case Op(op="neg", args=(Read(symbol="infinity"),)):
            return -sympy.oo
    return to_sympy(expr, leaves)


def differentiate(model: Model) -> tuple[Model, list[Diagnostic]]:
    """The Model without Slope and Area, and what has no closed form."""
    report: list[Diagnostic] = []

    def rule(expr: Expr) -> Expr:
        if not isinstance(expr, Slope | Area):
            return expr
        try:
            return _slope(expr) if isinstance(expr, Slope) else _area(expr)
        except Hidden:
            what = "D" if isinstance(expr, Slope) else "integral"
            notes = ("its variable is read inside a sum or a vector",)
            report.append(
                fault(model.source, "not-yet", f"{what} of this function is not implemented yet", expr, notes=notes)
            )
        except NoClosedForm as none:
            variable = sympy.Symbol(expr.variable, real=True)
            term = none.term.xreplace({variable: sympy.Symbol("s", real=True)})
            why = f": {none.why}" if none.why else ""
            report.append(
                fault(
                    model.source,
                    "no-integral",
                    f"the integral of {_text(model, term, expr)} has no closed form here{why}",
                    expr,
                    help="powers, exponentials, Gaussians, sines and cosines times powers are integrated; a longer "
                    "formula term by term",
                )
            )
        return replace(expr.body, type=expr.type)

    return mapped(model, lambda expr: transform(expr, rule)), report


def _text(model: Model, term: sympy.Basic, expr: Expr) -> str:
    """A term in the language, over the names of its leaves."""
    if term.has(Lookup):
        return "a tabulated function"
    leaves = Leaves()
    for symbol in term.free_symbols:
        leaves.add(Read(symbol.name), symbol)
    return f"`{text_of(model, from_sympy(term, leaves, like=expr))}`"
