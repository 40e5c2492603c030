"""Topologies that follow from bonds: `pairs(i, j) = apart(bonds, 3)` and `angles(i, j, k) = path(bonds)`."""

from __future__ import annotations

from collections.abc import Mapping

from mdsl.grammar import tree
from mdsl.grammar.diagnostics import Diagnostic, Rejected, suggest

from .model import Derived
from .topologies import FARTHEST

HELP = "`apart(bonds, 3)` are the pairs three bonds apart, `path(bonds)` the chains of bonded atoms"


def derived(item: tree.TopologyItem, known: Mapping[str, int], following: set[str]) -> Derived:
    """What a topology follows from. ``known``: all topologies and how many atoms they have; ``following``: those
    that follow from others. Raises Rejected."""
    value, width = item.value, len(item.indices)

    def wrong(id: str, message: str, node: tree.Node = value, help: str | None = HELP) -> Rejected:
        return Rejected(Diagnostic(id, message, node.span, help=help))

    if not (isinstance(value, tree.Call) and isinstance(value.function, tree.Name)):
        raise wrong("misplaced", "a topology comes with the atoms or follows from bonds")
    name, args = value.function.id, value.args
    if name not in ("apart", "path"):
        raise wrong("unknown-name", f"no topology follows by `{name}`", value.function, suggest(name, ("apart", "path")) or HELP)
    if value.named or len(args) != (2 if name == "apart" else 1):
        raise wrong("wrong-arguments", f"`{name}` takes {'a topology and a number of bonds' if name == 'apart' else 'a topology'}")
    of = args[0]
    if not isinstance(of, tree.Name) or of.id not in known:
        shown = of.span.text
        raise wrong("unknown-name", f"there is no topology `{shown}`", of, suggest(shown, known) or "declare it: `topology bonds(i, j)`")
    if known[of.id] != 2 or of.id in following:
        raise wrong("bad-topology", f"`{name}` goes along bonds: pairs of atoms that come with the atoms", of, None)
    if name == "path":
        if width < 3:
            raise wrong("bad-topology", "a path has three atoms or more", item, "angles are `angles(i, j, k) = path(bonds)`")
        return Derived(item.name.id, of.id, 0, width)
    if width != 2:
        raise wrong("bad-topology", f"`apart` gives pairs of atoms, not tuples of {width}", item, "chains of bonded atoms are `path(bonds)`")
    count = args[1]
    if not (isinstance(count, tree.Number) and count.unit is None and count.value == int(count.value) and 1 <= count.value <= FARTHEST):
        raise wrong("bad-number", f"the number of bonds is a whole number from 1 to {FARTHEST}", count, None)
    return Derived(item.name.id, of.id, int(count.value), 2)
