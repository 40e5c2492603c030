"""The part of `resolve` for what sums run over."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mdsl.grammar import tree
from mdsl.grammar.diagnostics import suggest
from mdsl.model import nodes as model
from mdsl.model.words import some_indices

from .scope import Binder, Scope

if TYPE_CHECKING:
    from .expressions import Resolver


def resolve_domain(work: Resolver, node: tree.Domain, scope: Scope) -> model.Domain | None:
    """What a sum runs over; None where it is wrong, which has been said."""
    names: tuple[str, ...] = ()
    centre = topology = None
    excluded: tuple[str, ...] = ()
    bounds: tuple[model.Expr, ...] = ()
    if isinstance(node, tree.Excluding):
        excluded = tuple(c.topology for c in node.conditions)
        for condition in node.conditions:
            if not condition.negated:
                work.error("misplaced", "a condition of a sum leaves pairs out: write `not in`", condition)
            _topology(work, condition)
        node = node.domain
    match node:
        case tree.Each(i=i):
            kind, names = "each", (i,)
        case tree.Ordered(i=i, j=j):
            kind, names = "ordered", (i, j)
        case tree.Others(j=j, i=i):
            kind, names, centre = "others", (j,), i
            found = scope.find(i)
            if not isinstance(found, Binder):
                work.error(
                    "wrong-index",
                    f"`{i}` is not an index: nothing around this sum binds it",
                    node,
                    help=f"`sum({i} < {j})` sums over all pairs",
                )
                return None
            centre = found.symbol
        case tree.Over(k=k, range=range):
            kind, names = "over", (k,)
            bounds = work.expr(range.first, scope), work.expr(range.last, scope)
        case tree.Triples(i=i, j=j, k=k):
            kind, names = "triples", (i, j, k)
            found = scope.find(i)
            if isinstance(found, Binder) and found.kind == "atoms":  # around the atom of the quantity
                kind, names, centre = "around", (j, k), found.symbol
        case tree.Members(indices=indices, topology=topology):
            kind, names = "members", indices
            if node.negated:
                work.error("misplaced", "a sum needs a domain: `not in` only leaves out some of it", node)
                return None
            if not _topology(work, node, len(indices)):
                return None
    if excluded and kind not in ("ordered", "others"):
        work.error(
            "misplaced",
            "only sums over pairs leave pairs out",
            node,
            help="write the condition at a sum such as `sum(i < j, (i, j) not in bonds)`",
        )
        return None
    if len(set(names)) < len(names) or (centre in names):
        work.error("duplicate-name", "an index is bound twice in one sum", node)
        return None
    return model.Domain(kind, names, centre, topology, excluded, bounds)


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
