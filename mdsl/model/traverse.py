"""Every expression of a Model, and rewriting each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass, replace

from .nodes import Advance, Draw, Expr, Model, Table, Update


def expressions(item: object, place: str = "model") -> Iterator[tuple[str, Expr]]:
    """Every expression that stands somewhere in a Model, with the place: found by type, so that none is forgotten.
    But for what a `table` says of its file, which is kept as it was written."""
    if isinstance(item, Expr):
        yield place, item
    elif isinstance(item, tuple):
        for k, part in enumerate(item):
            yield from expressions(part, f"{place}[{k}]")
    elif is_dataclass(item) and not isinstance(item, Table):
        for part in fields(item):
            yield from expressions(getattr(item, part.name), f"{place}.{part.name}")


def rewrite_model(model: Model, rewrite: Callable[[Expr], Expr]) -> Model:
    def optional(expr: Expr | None) -> Expr | None:
        return None if expr is None else rewrite(expr)

    def step(item):
        if not isinstance(item, Advance):
            return replace(item, options=tuple((n, rewrite(v)) for n, v in item.options))
        body = item.body and tuple(_statement(s, rewrite) for s in item.body)
        options = tuple((n, rewrite(v)) for n, v in item.options)
        outputs = tuple(replace(o, every=optional(o.every)) for o in item.outputs)
        states = tuple(replace(s, value=rewrite(s.value)) for s in item.states)
        observes = tuple(replace(e, body=rewrite(e.body)) for e in item.observes)
        return replace(
            item,
            options=options,
            body=body,
            dt=optional(item.dt),
            steps=rewrite(item.steps),
            outputs=outputs,
            until=optional(item.until),
            states=states,
            observes=observes,
        )

    return replace(
        model,
        params=tuple(replace(p, default=optional(p.default), declared=optional(p.declared)) for p in model.params),
        equations=tuple(replace(e, body=rewrite(e.body)) for e in model.equations),
        box=model.box and model.box.map(rewrite),
        run=tuple(step(s) for s in model.run),
    )


def _statement(statement: Update | Draw, rewrite: Callable[[Expr], Expr]) -> Update | Draw:
    if isinstance(statement, Draw):
        return replace(statement, args=tuple(map(rewrite, statement.args)))
    return replace(statement, value=rewrite(statement.value))
