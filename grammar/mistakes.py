"""Syntax mistakes, explained (stub)."""
from .diagnostics import Diagnostic
from .spot import Spot


def explain(spot: Spot) -> Diagnostic:
    return Diagnostic("syntax", f"`{spot.text}` is out of place", spot.token.span)
