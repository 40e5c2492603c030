"""What decides the box that a program declares."""

from __future__ import annotations

from .model import Model, Read, walk


def decided_by(model: Model) -> frozenset[str]:
    """The names that the declared box reads, also through the defaults of parameters; `t` is the time."""
    names: set[str] = set()
    pending = list(model.box.exprs if model.box is not None else ())
    while pending:
        for node in walk(pending.pop()):
            if isinstance(node, Read) and node.symbol not in names:
                names.add(node.symbol)
                param = model.param(node.symbol)
                pending += [param.default] if param is not None and param.default is not None else []
    return frozenset(names)
