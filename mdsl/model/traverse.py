"""Going through expressions, and through all that holds some: they are found, and rewritten, by the types of fields.

A *place* of an item is a field, or a part of one, in which an expression stands that is inside no other there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass, replace
from functools import cache
from typing import Any, TypeVar, get_args, get_type_hints, overload

from .expr import Expr

T = TypeVar("T")
Rewrite = Callable[[Expr], Expr]


def places(item: object, name: str = "model") -> Iterator[tuple[str, Expr]]:
    """Every place of a Model, or of a part of one, by a name, and the expression there."""
    if isinstance(item, Expr):
        yield name, item
    elif isinstance(item, tuple):
        for k, part in enumerate(item):
            yield from places(part, f"{name}[{k}]")
    else:
        for field in _holding(type(item)):
            yield from places(getattr(item, field), f"{name}.{field}")


def inside(item: object) -> list[Expr]:
    """The expressions in all places of an item."""
    return [expr for _, expr in places(item)]


@overload
def mapped(item: Expr, rewrite: Rewrite) -> Expr: ...
@overload
def mapped(item: T, rewrite: Rewrite) -> T: ...
def mapped(item: Any, rewrite: Rewrite) -> Any:
    """The item with the expression in each of its places rewritten; itself where all stay as they are."""
    if isinstance(item, Expr):
        return rewrite(item)
    if not isinstance(item, tuple):
        return _refilled(item, rewrite)
    parts = tuple(mapped(part, rewrite) for part in item)
    return parts if any(a is not b for a, b in zip(parts, item)) else item


def _refilled(item: Any, rewrite: Rewrite) -> Any:
    old = {name: getattr(item, name) for name in _holding(type(item))}
    new = {name: mapped(value, rewrite) for name, value in old.items()}
    return replace(item, **new) if any(new[name] is not value for name, value in old.items()) else item


def _found(kind: type) -> tuple[str, ...]:
    """The fields of a class in which expressions can stand."""
    return tuple(name for name, hint in _hints(kind).items() if _can_hold(hint, frozenset({kind})))


_holding: Callable[[type], tuple[str, ...]] = cache(_found)


def _can_hold(hint: object, seen: frozenset[type]) -> bool:
    if not isinstance(hint, type):  # a union, or a tuple
        return any(_can_hold(part, seen) for part in get_args(hint))
    if hint in seen:
        return False
    parts = (*_hints(hint).values(), *hint.__subclasses__())
    return issubclass(hint, Expr) or any(_can_hold(part, seen | {hint}) for part in parts)


def _hints(kind: type) -> dict[str, object]:
    """The types of the fields of a class; not of a table, whose call is kept as it was written."""
    from . import nodes

    if not is_dataclass(kind) or kind is nodes.Table:
        return {}
    hints = get_type_hints(kind, localns=vars(nodes))
    return {f.name: hints[f.name] for f in fields(kind)}


# -- single expressions --------------------------------------------------------------------------------


def children(expr: Expr) -> tuple[Expr, ...]:
    """The expressions directly inside an expression."""
    found: list[Expr] = []
    for name in _holding(type(expr)):
        _collect(getattr(expr, name), found)
    return tuple(found)


def _collect(value: object, found: list[Expr]) -> None:
    if isinstance(value, Expr):
        found.append(value)
    elif isinstance(value, tuple):
        for part in value:
            _collect(part, found)
    elif not isinstance(value, str):
        for name in _holding(type(value)):
            _collect(getattr(value, name), found)


def rebuild(expr: Expr, parts: tuple[Expr, ...]) -> Expr:
    """The same node with other children, in the order of :func:`children`."""
    rest = iter(parts)
    return _refilled(expr, lambda _: next(rest))


def walk(expr: Expr) -> Iterator[Expr]:
    """Every node of an expression once, parents first."""
    seen: set[int] = set()
    stack = [expr]
    while stack:
        node = stack.pop()
        if id(node) not in seen:
            seen.add(id(node))
            yield node
            stack.extend(reversed(children(node)))


def transform(expr: Expr, rule: Rewrite, memo: dict[int, Expr] | None = None) -> Expr:
    """Rewrite bottom-up: ``rule(node)`` sees each node after its children, once."""
    memo = {} if memo is None else memo
    known = memo.get(id(expr))
    if known is None:
        parts = children(expr)
        new = tuple(transform(part, rule, memo) for part in parts)
        changed = any(a is not b for a, b in zip(parts, new))
        known = memo[id(expr)] = rule(rebuild(expr, new) if changed else expr)
    return known
