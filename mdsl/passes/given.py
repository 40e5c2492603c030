"""What is given to a program from outside: other values of its parameters, functions of Python."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

from mdsl.grammar import tree
from mdsl.grammar.diagnostics import Diagnostic, suggest
from mdsl.model.functions import Extern
from mdsl.model.nodes import Call, Expr, Model, walk


def misgiven(model: Model, given: Iterable[tree.Declaration], externs: Mapping[str, Callable]) -> Iterator[Diagnostic]:
    """A diagnostic for each value and each function that a program has no place for."""
    known = [p.name for p in model.params if p.name != "kB" and not (p.data or p.table or p.learned)]
    for name in (d.name for d in given if d.name.id not in known):
        old = None if name.id == "kB" else model.param(name.id)
        if old is None:
            what = f"the program has no parameter `{name.id}`"
            help = suggest(name.id, known) or (f"its parameters are {', '.join(known)}" if known else None)
        elif old.learned:
            what = f"`{name.id}` is a learned function"
            help = "its weights come from a file: --params weights.safetensors"
        elif old.data:
            what, help = f"`{name.id}` is data, which come with the atoms", "a `param` can be set"
        else:
            what = f"`{name.id}` is a function that is read from a file"
            help = "change the file, or name another in the program"
        yield Diagnostic("unknown-parameter", what, name.span, help=help)
    names = [e.name for e in model.python]
    for extern in (n for n in externs if n not in names):
        help = suggest(extern, names) or "declare it: `extern f(r)`"
        yield Diagnostic("missing-extern", f"the program has no extern `{extern}`", help=help)


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
        for e in model.python
        if e.function is None
    ]


def unknown_functions(expr: Expr) -> bool:
    """Whether an expression calls a function of Python that was not given, so that it has no value."""
    return any(isinstance(n, Call) and isinstance(n.body, Extern) and n.body.function is None for n in walk(expr))
