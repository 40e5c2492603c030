"""What a name can stand for, and the scopes that hold names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from mdsl.grammar import tree
from mdsl.grammar.source import Span


@dataclass(frozen=True)
class Entity:
    """``span`` is where the name was declared; None for what the language has built in."""

    span: Span | None = field(compare=False, repr=False, kw_only=True, default=None)


@dataclass(frozen=True)
class Local(Entity):
    """A parameter of a function, flow or integrator, a value that a flow computed, or a state of its own."""

    symbol: str
    per_atom: bool = False
    state: bool = False
    arity: int = 0  # number of indices of a state


@dataclass(frozen=True)
class Binder(Entity):
    """An atom index bound by a sum or a quantity, or an index of a range."""

    symbol: str
    kind: str = "atoms"  # "atoms" | "range"


@dataclass(frozen=True)
class Bound(Entity):
    """A name given by `where`: resolved anew where it is used, for it may use the indices of the sum there."""

    binding: tree.Binding
    scope: Scope


@dataclass(frozen=True)
class Global(Entity):
    """Something declared at the top level. ``kind``: param, table, function, foreign (learned or extern), scheme,
    equation, species, topology, builtin or operator."""

    kind: str
    symbol: str
    arity: int = 0  # number of indices of an array
    series: bool = False  # an observable over a range of numbers


@dataclass(frozen=True)
class Scope:
    names: Mapping[str, Entity]
    parent: Scope | None = None

    def find(self, name: str) -> Entity | None:
        scope: Scope | None = self
        while scope is not None:
            if name in scope.names:
                return scope.names[name]
            scope = scope.parent
        return None

    def inside(self, names: Mapping[str, Entity]) -> Scope:
        return Scope(names, self)

    def visible(self) -> Iterator[str]:
        scope: Scope | None = self
        while scope is not None:
            yield from scope.names
            scope = scope.parent

    def of_kind(self, kind: str) -> list[str]:
        """The names that stand for such a thing of the top level."""
        found = ((name, self.find(name)) for name in dict.fromkeys(self.visible()))
        return [name for name, entity in found if isinstance(entity, Global) and entity.kind == kind]

    def binders(self) -> dict[str, Binder]:
        """The atom indices in scope, innermost wins."""
        found: dict[str, Binder] = {}
        scope: Scope | None = self
        while scope is not None:
            for name, entity in scope.names.items():
                if isinstance(entity, Binder):
                    found.setdefault(name, entity)
            scope = scope.parent
        return found
