"""The part of `resolve` for what sums run over."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from mdsl.grammar import tree
from mdsl.grammar.diagnostics import some_indices, suggest
from mdsl.model.domains import Centred, Domain, Listed, Others, Pairs, written

from .scope import Binder, Scope

if TYPE_CHECKING:
    from .expressions import Resolver


def resolve_domain(work: Resolver, node: tree.Domain, scope: Scope) -> Domain | None:
    """What a sum runs over; None where it is wrong, which has been said."""
    excluded = tuple(str(condition.parts[-1]) for condition in node.conditions)
    for condition, name in zip(node.conditions, excluded):
        if not condition.negated:
            work.error("misplaced", "a condition of a sum leaves pairs out: write `not in`", condition)
        _topology(work, condition, name)
    if node.negated:
        work.error("misplaced", "a sum needs a domain: `not in` only leaves out some of it", node)
        return None
    found = _domain(work, node, scope)
    if found is None or isinstance(found, Listed) and not _topology(work, node, found.topology, len(found.atoms)):
        return None
    if excluded and not isinstance(found, Pairs | Others):
        work.error(
            "misplaced",
            "only sums over pairs leave pairs out",
            node,
            help="write the condition at a sum such as `sum(i < j, (i, j) not in bonds)`",
        )
        return None
    if len(set(found.atoms)) < len(found.atoms):
        work.error("duplicate-name", "an index is bound twice in one sum", node)
        return None
    return replace(found, excluded=excluded) if isinstance(found, Pairs | Others) else found


def _domain(work: Resolver, node: tree.Domain, scope: Scope) -> Domain | None:
    """The domain of this form. Of two, the one around an atom where its centre is bound outside."""
    domain = None
    kinds = written(node.form)
    for kind in sorted(kinds, key=lambda kind: issubclass(kind, Centred)):
        found = kind.of([_part(work, part, scope) for part in node.parts])
        if not isinstance(found, Centred):
            domain = found
            continue
        centre = scope.find(found.centre)
        if isinstance(centre, Binder) and centre.kind == "atoms":
            return replace(found, centre=centre.symbol)
        if domain is None:
            work.error(
                "wrong-index",
                f"`{found.centre}` is a number, not an atom"
                if isinstance(centre, Binder)
                else f"`{found.centre}` is not an index: nothing around this sum binds it",
                node,
                help=f"`sum({found.everywhere})` sums over all pairs",
            )
    return domain


def _part(work: Resolver, part: tree.Part, scope: Scope) -> object:
    return (work.expr(part.first, scope), work.expr(part.last, scope)) if isinstance(part, tree.Range) else part


def _topology(work: Resolver, node: tree.Domain, name: str, count: int | None = None) -> bool:
    """Whether there is such a topology, of ``count`` atoms; of any that has two ends, where it leaves pairs out."""
    if name not in work.topologies:
        work.error(
            "unknown-name",
            f"there is no topology `{name}`",
            node,
            help=suggest(name, work.topologies) or "declare it: `topology bonds(i, j)`",
        )
        return False
    if count is not None and work.topologies[name] != count:
        work.error("wrong-index", f"`{name}` has {some_indices(work.topologies[name])}, not {count}", node)
        return False
    return True
