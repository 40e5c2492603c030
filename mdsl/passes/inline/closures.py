"""What names stand for while functions are written out by name: expressions, and functions that wait for arguments."""

from __future__ import annotations

from dataclasses import dataclass, field

from mdsl.grammar.source import Span
from mdsl.model.nodes import Expr, Extern, Network


@dataclass(frozen=True, eq=False)
class Closure:
    """A function that waits for its arguments, with the values of the names that its body may use."""

    parameters: tuple[str, ...]
    body: Expr
    env: Env
    span: Span | None

    @property
    def arity(self) -> int:
        return len(self.parameters)


@dataclass(frozen=True, eq=False)
class Slopes:
    """``D(u)``: a function of the one argument of u."""

    function: Closure | Slopes | Opaque
    span: Span | None
    arity = 1


@dataclass(frozen=True, eq=False)
class Opaque:
    """A learned or extern function: what it computes is not for the compiler to see."""

    name: str
    body: Network | Extern
    span: Span | None

    @property
    def arity(self) -> int:
        return self.body.inputs


@dataclass(frozen=True, eq=False)
class Cells:
    """A state with a range: the names of its entries."""

    name: str
    first: int
    names: tuple[str, ...]
    span: Span

    def entry(self, k: int) -> str | None:
        return self.names[k - self.first] if 0 <= k - self.first < len(self.names) else None


Value = Expr | Closure | Slopes | Opaque | Cells


@dataclass(eq=False)
class Env:
    """What names stand for, how binders are renamed, and what was already inlined here."""

    values: dict[str, Value] = field(default_factory=dict)
    binders: dict[str, str] = field(default_factory=dict)
    via: tuple[Span, ...] = ()
    memo: dict[int, tuple[Expr, Value]] = field(default_factory=dict)

    def inside(
        self,
        values: dict[str, Value] | None = None,
        binders: dict[str, str] | None = None,
        via: tuple[Span, ...] | None = None,
    ) -> Env:
        return Env(
            {**self.values, **(values or {})},
            {**self.binders, **(binders or {})},
            self.via if via is None else via,
        )
