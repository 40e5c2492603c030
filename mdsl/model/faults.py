"""Diagnostics about the Model: pointing at the user's own text, also where the fault shows in a library formula."""

from __future__ import annotations

from mdsl.grammar.diagnostics import Diagnostic, Label, Rejected
from mdsl.grammar.source import Source, Span

from .nodes import Expr


def place(source: Source, expr: Expr) -> Span | None:
    """Where in the user's program an expression comes from: its own text, or the call that brought it in; of what was
    given from outside, there."""
    if expr.span is not None and expr.span.source is source:
        return expr.span
    return next((span for span in reversed(expr.via) if span.source is source), (*expr.via, expr.span)[0])


def fault(source: Source, id: str, message: str, expr: Expr, secondary: tuple[Label, ...] = (), **more) -> Diagnostic:
    """A diagnostic at an expression; a formula of the library is shown as a second place."""
    span = place(source, expr)
    if span is not expr.span and expr.span is not None:
        secondary = (Label(expr.span, "in this formula"), *secondary)
    return Diagnostic(id, message, span, secondary=secondary, **more)


def not_yet(source: Source, message: str, expr: Expr, **more) -> Rejected:
    """What is raised of what means something and is not lowered."""
    return Rejected(fault(source, "not-yet", message, expr, **more))
