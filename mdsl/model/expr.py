"""What all expressions have: a place in the text, a type, and a hash that is computed once."""

from __future__ import annotations

from dataclasses import dataclass, field

from mdsl.grammar.source import Span

from .dimensions import Type


def hashed_once(cls):
    """Remember the hash of a node: expressions share their parts, and hashing each part anew in every place
    where it is used takes time exponential in the depth."""
    compute = cls.__hash__

    def __hash__(self) -> int:
        known = self.__dict__.get("_hash")
        if known is None:
            known = compute(self)
            object.__setattr__(self, "_hash", known)
        return known

    cls.__hash__ = __hash__
    return cls


@dataclass(frozen=True)
class Expr:
    """``via`` are the calls through which a library's formula got here, outermost first."""

    span: Span | None = field(compare=False, repr=False, kw_only=True, default=None)
    via: tuple[Span, ...] = field(compare=False, repr=False, kw_only=True, default=())
    type: Type | None = field(compare=False, repr=False, kw_only=True, default=None)
