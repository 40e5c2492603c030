"""The part of `resolve` for what sums run over."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mdsl.grammar import tree
from mdsl.grammar.diagnostics import some_indices, suggest
from mdsl.model import domains

from .scope import Binder, Scope

if TYPE_CHECKING:
    from .expressions import Resolver


def resolve_domain(work: Resolver, node: tree.Domain, scope: Scope) -> domains.Domain | None:
    """What a sum runs over; None where it is wrong, which has been said."""
    found: domains.Domain
    excluded: tuple[str, ...] = ()
    if isinstance(node, tree.Excluding):
        excluded = tuple(c.topology for c in node.conditions)
        for condition in node.conditions:
            if not condition.negated:
                work.error("misplaced", "a condition of a sum leaves pairs out: write `not in`", condition)
            _topology(work, condition)
        node = node.domain
    match node:
        case tree.Each(i=i):
            found = domains.Each((i,))
        case tree.Ordered(i=i, j=j):
            found = domains.Pairs((i, j), excluded)
        case tree.Others(j=j, i=i):
            centre = scope.find(i)
            if not isinstance(centre, Binder):
                work.error(
                    "wrong-index",
                    f"`{i}` is not an index: nothing around this sum binds it",
                    node,
                    help=f"`sum({i} < {j})` sums over all pairs",
                )
                return None
            found = domains.Others((j,), centre.symbol, excluded)
        case tree.Over(k=k, range=range):
            found = domains.Over((k,), (work.expr(range.first, scope), work.expr(range.last, scope)))
        case tree.Triples(i=i, j=j, k=k):
            found, centre = domains.Triples((i, j, k)), scope.find(i)
            if isinstance(centre, Binder) and centre.kind == "atoms":  # around the atom of the quantity
                found = domains.Around((j, k), centre.symbol)
        case tree.Members(indices=indices, topology=topology):
            found = domains.Members(indices, topology)
            if node.negated:
                work.error("misplaced", "a sum needs a domain: `not in` only leaves out some of it", node)
                return None
            if not _topology(work, node, len(indices)):
                return None
    if excluded and not found.excluded:
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
    return found


def _topology(work: Resolver, node: tree.Members, count: int | None = None) -> bool:
    """Whether there is such a topology, of ``count`` atoms; of any that has two ends, where it leaves pairs out."""
    if node.topology not in work.topologies:
        work.error(
            "unknown-name",
            f"there is no topology `{node.topology}`",
            node,
            help=suggest(node.topology, work.topologies) or "declare it: `topology bonds(i, j)`",
        )
        return False
    if count is not None and work.topologies[node.topology] != count:
        work.error(
            "wrong-index", f"`{node.topology}` has {some_indices(work.topologies[node.topology])}, not {count}", node
        )
        return False
    return True
