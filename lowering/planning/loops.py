"""Which sums over pairs are computed in one loop, and what computes them, as far as that is known before JAX is.

A force visits pairs for per-atom values first, those that need no others before those that do; for energies, where it
is no linear function of these; then for the derivatives by values; then for all that pulls at atoms, at once. Sums that
leave out different pairs are loops of their own. `lowering/potential/evaluation.py` does so, and a test holds this list
to it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from mdsl.lowering.field.field import Field, PerAtom, Term
from mdsl.lowering.field.names import AdjointOf
from mdsl.model.domains import Others, Pairs
from mdsl.model.functions import Network
from mdsl.model.nodes import Call, Expr, walk

VALUES, ENERGY, PARTIALS, FORCE = "values", "energy", "partials", "force"
NATIVE, XLA, MAYBE = "native", "XLA's", "native, if all is printable"


@dataclass(frozen=True)
class PairLoop:
    """``gives``: per-atom values, energies, derivatives by values, or the force; ``of``: the sums."""

    gives: str
    of: tuple[Term | PerAtom, ...]

    @property
    def reads(self) -> Iterator[Expr]:
        """What is computed for each pair."""
        for part in self.of:
            if self.gives in (VALUES, ENERGY):
                yield part.summand
            elif self.gives == PARTIALS:
                yield from (slope for _, slope in part.partials)
            else:
                yield from (e for g in part.gradients for e in (g.radial, *(g.direct or ())) if e is not None)


def pair_loops(field: Field) -> list[PairLoop]:
    """Those of one force."""
    differentiated = bool(field.carriers)
    needed = field.needed([t.summand for t in field.terms])
    values = [v for v in field.values if v.pairs and (v in needed or differentiated and v.adjoint is not None)]
    found = [
        PairLoop(VALUES, some)
        for depth in sorted({v.depth for v in values})
        for some in _apart(field, [v for v in values if v.depth == depth])
    ]
    if not field.linear:
        found += [PairLoop(ENERGY, some) for some in _apart(field, field.terms)]
    if differentiated:
        terms = [t for t in field.terms if isinstance(t.domain, Pairs)]
        carriers = [v.adjoint for v in reversed(field.values) if v.adjoint is not None]
        for group in ([t for t in terms if t.partials], *([c] for c in carriers if c.partials)):
            found += [PairLoop(PARTIALS, some) for some in _apart(field, group)]
    found += [PairLoop(FORCE, some) for some in _apart(field, field.pair_terms)]
    return found


def _apart(field: Field, parts: Sequence[Term | PerAtom]) -> Iterator[tuple[Term | PerAtom, ...]]:
    """Those over pairs, by which pairs they leave out."""
    parts = [p for p in parts if isinstance(p.domain, Pairs | Others)]
    for excluded in sorted({frozenset(p.domain.excluded) for p in parts}, key=sorted):
        yield tuple(p for p in parts if frozenset(p.domain.excluded) == excluded)


def computed_by(field: Field, loop: PairLoop) -> tuple[str, str]:
    """NATIVE, XLA or MAYBE, and why it is not the first, with the line."""
    several = {v.name: v for v in field.values if v.axis is not None}
    several |= {AdjointOf(name): v for name, v in several.items()}
    for part in loop.of:
        if isinstance(part, PerAtom) and part.axis is not None:
            return XLA, f"`{_name(field, part)}` has several numbers of each atom ({_line(field, part)})"
    for expr in loop.reads:
        for node in walk(expr):
            value = several.get(getattr(node, "symbol", None)) if getattr(node, "indices", ()) else None
            if value is not None:
                return XLA, f"`{_name(field, value)}` has several numbers of each atom ({_line(field, value)})"
    for node in (n for e in loop.reads for n in walk(e) if isinstance(n, Call)):
        own = node.span is not None and node.span.source is field.model.source
        where = f"line {node.span.line}" if own else _line(field, loop.of[0])
        if isinstance(node.body, Network):
            return XLA, f"`{node.function}` is a network, made of products of matrices ({where})"
        return MAYBE, f"`{node.function}` is a function of Python ({where})"
    return NATIVE, ""


def _name(field: Field, value: PerAtom) -> str:
    return value.name if field.model.equation(value.equation).name == value.name else value.equation


def _line(field: Field, part: Term | PerAtom) -> str:
    return f"line {field.model.equation(part.equation).span.line}"
