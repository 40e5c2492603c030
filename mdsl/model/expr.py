"""What all expressions have: a place in the text, a type, and a hash that is computed once."""

from __future__ import annotations

from dataclasses import dataclass, field

from mdsl.grammar.source import Span

from .dimensions import ONE, Dimension


@dataclass(frozen=True)
class Type:
    """``kind`` is scalar, vector, point, matrix, array (of ``size`` numbers), bool, text, label, index or function;
    untyped before `infer`, unknown of what is wrong.

    ``dimension`` is None where any will do: the literal 0.
    """

    kind: str
    dimension: Dimension | None = ONE
    size: int = 0

    def times(self, other: Type) -> Dimension | None:
        """The dimension of a product."""
        return None if self.dimension is None or other.dimension is None else self.dimension * other.dimension

    def over(self, other: Type) -> Dimension | None:
        """The dimension of a quotient."""
        return None if self.dimension is None or other.dimension is None else self.dimension / other.dimension

    def __str__(self) -> str:
        if self.kind == "scalar":
            return "a number" if self.dimension is None or self.dimension.is_one else str(self.dimension)
        if self.kind in ("vector", "matrix") and self.dimension is not None and not self.dimension.is_one:
            return f"a {self.kind} of {self.dimension}"
        if self.kind == "array":
            return f"an array of {self.size} numbers"
        return {"bool": "a condition", "index": "an atom"}.get(self.kind, f"a {self.kind}")


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


SCALAR = Type("scalar")
UNKNOWN = Type("unknown", None)  # of what is wrong, which has been said
UNTYPED = Type("untyped", None)  # before `infer`
BOOL = Type("bool")


@dataclass(frozen=True)
class Expr:
    """``via`` are the calls through which a library's formula got here, outermost first."""

    span: Span | None = field(compare=False, repr=False, kw_only=True, default=None)
    via: tuple[Span, ...] = field(compare=False, repr=False, kw_only=True, default=())
    type: Type = field(compare=False, repr=False, kw_only=True, default=UNTYPED)
