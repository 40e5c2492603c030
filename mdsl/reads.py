"""What expressions read, with all that decides it."""

from __future__ import annotations

from .model import Expr, Model, Read, walk


def reads(model: Model, exprs: tuple[Expr | None, ...]) -> frozenset[str]:
    """All that expressions read, also through the defaults of parameters."""
    names: set[str] = set()
    pending = [e for e in exprs if e is not None]
    while pending:
        for node in walk(pending.pop()):
            if isinstance(node, Read) and node.symbol not in names:
                names.add(node.symbol)
                param = model.param(node.symbol)
                pending += [param.default] if param is not None and param.default is not None else []
    return frozenset(names)
