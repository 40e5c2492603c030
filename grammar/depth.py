"""How deep a tree is, found without recursion: what comes after the parser may walk any tree it lets through."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields

from .tree import Node

MAX_DEPTH = 128


def children(node: Node) -> Iterator[Node]:
    """The nodes directly inside a node."""
    pending = [getattr(node, f.name) for f in fields(node) if f.name != "span"]
    while pending:
        value = pending.pop()
        if isinstance(value, Node):
            yield value
        elif isinstance(value, tuple):
            pending.extend(value)


def too_deep(root: Node, limit: int = MAX_DEPTH) -> Node | None:
    """A node more than ``limit`` levels below the root, or None."""
    level = [root]
    for _ in range(limit + 1):
        level = [child for node in level for child in children(node)]
        if not level:
            return None
    return min(level, key=lambda node: node.span.start)
