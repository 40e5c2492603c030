"""Topologies that follow from others: `pairs(i, j) = apart(bonds, 3)`, `angles(i, j, k) = path(bonds)`, `stiff(i, j) =
of_type(bonds, 2)`."""

from __future__ import annotations

from collections.abc import Mapping

from mdsl.grammar import tree
from mdsl.grammar.diagnostics import Diagnostic, Rejected, suggest
from mdsl.interpret.topologies import FARTHEST
from mdsl.model.nodes import Derived

HELP = (
    "`apart(bonds, 3)` are the pairs three bonds apart, `path(bonds)` the chains of bonded atoms, `of_type(bonds, "
    "2)` the bonds of a type"
)
TAKES = {"apart": "a topology and a number of bonds", "path": "a topology", "of_type": "a topology and a type"}


def derived(item: tree.TopologyItem, known: Mapping[str, int], following: set[str]) -> Derived:
    """What a topology follows from. ``known``: all topologies and how many atoms they have; ``following``: those
    that follow from others. Raises Rejected."""
    value, width = item.value, len(item.indices)

    def wrong(id: str, message: str, node: tree.Node = value or item, help: str | None = HELP) -> Rejected:
        return Rejected(Diagnostic(id, message, node.span, help=help))

    if not (isinstance(value, tree.Call) and isinstance(value.function, tree.Name)):
        raise wrong("misplaced", "a topology comes with the atoms or follows from another")
    name, args = value.function.id, value.args
    if name not in TAKES:
        raise wrong("unknown-name", f"no topology follows by `{name}`", value.function, suggest(name, TAKES) or HELP)
    if value.named or len(args) != (1 if name == "path" else 2):
        raise wrong("wrong-arguments", f"`{name}` takes {TAKES[name]}")
    of = args[0]
    if not isinstance(of, tree.Name) or of.id not in known:
        shown = of.span.text
        raise wrong(
            "unknown-name",
            f"there is no topology `{shown}`",
            of,
            suggest(shown, known) or "declare it: `topology bonds(i, j)`",
        )
    if name == "of_type":
        if of.id in following or known[of.id] != width:
            raise wrong(
                "bad-topology",
                f"`{item.name.id}` has {width} atoms, and is of a topology of as many that comes with the atoms",
                of,
                None,
            )
        return Derived(item.name.id, of.id, 0, width, _label(args[1], wrong))
    if known[of.id] != 2 or of.id in following:
        raise wrong("bad-topology", f"`{name}` goes along bonds: pairs of atoms that come with the atoms", of, None)
    if name == "path":
        if width < 3:
            raise wrong(
                "bad-topology", "a path has three atoms or more", item, "angles are `angles(i, j, k) = path(bonds)`"
            )
        return Derived(item.name.id, of.id, 0, width)
    if width != 2:
        raise wrong(
            "bad-topology",
            f"`apart` gives pairs of atoms, not tuples of {width}",
            item,
            "chains of bonded atoms are `path(bonds)`",
        )
    count = args[1]
    if not (
        isinstance(count, tree.Number)
        and count.unit is None
        and count.value == int(count.value)
        and 1 <= count.value <= FARTHEST
    ):
        raise wrong("bad-number", f"the number of bonds is a whole number from 1 to {FARTHEST}", count, None)
    return Derived(item.name.id, of.id, int(count.value), 2)


def _label(node: tree.Expr, wrong) -> str:
    """The type that an argument names: a number, a word, or a text."""
    match node:
        case tree.Name(id=id):
            return id
        case tree.Text(value=value) if value:
            return value
        case tree.Number(value=value, unit=None) if value == int(value):
            return str(int(value))
    raise wrong("wrong-arguments", "a type is a number, a word, or a text in quotes, as in the file", node, None)
