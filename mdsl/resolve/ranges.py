"""Ranges of whole numbers: of arrays, series and quantities over a range."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields

from mdsl.grammar import tree
from mdsl.model import nodes as model

from .expressions import Resolver
from .names import Resolution
from .scope import Global, Scope

MOST_ENTRIES = 100_000  # of a range


def resolve_range(work: Resolution, resolver: Resolver, range: tree.Range, scope: Scope) -> model.Axis | None:
    """The axis of ``k in 1..16``, whose ends are whole numbers or constants."""
    first, last = (whole_number(work, b, scope) for b in (range.first, range.last))
    if first is None or last is None or last < first:
        resolver.error(
            "bad-axis",
            "a range goes from a whole number up to another",
            range,
            help="its ends are written as numbers, or as a `const` that is a number",
        )
        return None
    if last - first >= MOST_ENTRIES:
        resolver.error("bad-axis", f"a range has at most {MOST_ENTRIES:_} numbers", range)
        return None
    return model.Axis("range", first, last)


def whole_number(work: Resolution, node: tree.Expr, scope: Scope) -> int | None:
    """A whole number as a declaration wants it: written as a number, or a `const` that is one; else None."""
    entity = scope.find(node.id) if isinstance(node, tree.Name) else None
    value = node.value if isinstance(node, tree.Number) and node.unit is None else None
    if isinstance(entity, Global) and entity.kind == "param":
        value = work.numbers.get(entity.symbol)
    elif isinstance(node, tree.Unary) and isinstance(node.operand, tree.Number):
        value = -node.operand.value
    return int(value) if value is not None and value == int(value) else None


def range_of(
    work: Resolution, statement: tree.Equation, index: str, scope: Scope, seen: frozenset[str] = frozenset()
) -> tree.Range | None:
    """The range of the first array that a statement reads with an index."""
    for node in _nodes(statement):
        if not (isinstance(node, tree.Index) and isinstance(node.base, tree.Name)):
            continue
        entity = scope.find(node.base.id)
        if not isinstance(entity, Global) or entity.symbol not in work.arrays or entity.symbol in seen:
            continue
        array, home = work.arrays[entity.symbol]
        for place, axis in zip(node.indices, array.axes):
            if isinstance(place, tree.Name) and place.id == index:
                if axis.range is not None:
                    return axis.range
                if isinstance(array, tree.Equation) and array is not statement and axis is not array.axes[0]:
                    return range_of(work, array, axis.name, home, seen | {entity.symbol})
    return None


def _nodes(node: tree.Node) -> Iterator[tree.Node]:
    """The nodes of a syntax tree, in the order of the text."""
    yield node
    for part in fields(node):
        value = getattr(node, part.name)
        for item in value if isinstance(value, tuple) else (value,):
            if isinstance(item, tree.Node):
                yield from _nodes(item)
