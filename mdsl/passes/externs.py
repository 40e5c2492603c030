"""What learned and extern functions are given from outside: weights, seeds, functions of Python."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from mdsl.grammar.diagnostics import Diagnostic, suggest
from mdsl.model.functions import Extern, Network
from mdsl.model.nodes import Call, Expr, Model, walk


def with_networks(model: Model, change: Callable[[Network], Network]) -> Model:
    """The Model with other networks of the same sizes."""
    params = tuple(p if p.learned is None else replace(p, learned=change(p.learned)) for p in model.params)
    return replace(model, params=params)


def with_externs(model: Model, given: Mapping[str, Callable]) -> tuple[Model, list[Diagnostic]]:
    """The Model with its functions of Python, and what is wrong with these."""
    names = [e.name for e in model.externs]
    report = [
        Diagnostic(
            "missing-extern",
            f"the program has no extern `{name}`",
            help=suggest(name, names) or "declare it: `extern f(r)`",
        )
        for name in given
        if name not in names
    ]
    report += [
        Diagnostic("bad-extern", f"what is given for `{e.name}` is no function", e.span)
        for e in model.externs
        if e.name in given and not callable(given[e.name])
    ]
    return replace(model, externs=tuple(replace(e, function=given.get(e.name)) for e in model.externs)), report


def missing_externs(model: Model) -> list[Diagnostic]:
    """A diagnostic for each function of Python that was not given."""
    note = "a program runs no Python unless it is told to"
    return [
        Diagnostic(
            "missing-extern",
            f"the function `{e.name}` was not given",
            e.span,
            help=f'`mdsl.load(..., externs={{"{e.name}": function}})`',
            notes=(note,),
        )
        for e in model.externs
        if e.function is None
    ]


def unknown_functions(expr: Expr) -> bool:
    """Whether an expression calls a function of Python that was not given, so that it has no value."""
    return any(isinstance(n, Call) and isinstance(n.body, Extern) and n.body.function is None for n in walk(expr))
