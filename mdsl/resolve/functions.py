"""`learned` and `extern` statements: functions that are no formulas."""

from __future__ import annotations

from mdsl.grammar import tree
from mdsl.grammar.diagnostics import suggest
from mdsl.model.functions import Extern, Network
from mdsl.model.nodes import ONE, Param, Type

from .expressions import Resolver
from .names import Resolution
from .ranges import whole_number
from .scope import Scope

ARCHITECTURES = ("mlp",)
HELP = "`mlp(16, 30, 30, 1)` takes 16 numbers, has two hidden layers of 30 and gives one number"
MOST_WEIGHTS = 10_000_000


def learned_declaration(work: Resolution, resolver: Resolver, statement: tree.Learned, scope: Scope) -> Param | None:
    """A network, whose weights are a parameter."""
    value, name = statement.value, statement.name.id
    if not (isinstance(value, tree.Call) and isinstance(value.function, tree.Name)):
        resolver.error("bad-network", "a learned function is a network", value, help=HELP)
        return None
    kind = value.function.id
    if kind not in ARCHITECTURES:
        resolver.error(
            "unknown-name",
            f"there is no kind of network `{kind}`",
            value.function,
            help=suggest(kind, ARCHITECTURES) or HELP,
        )
        return None
    if value.named:
        resolver.error("unknown-option", f"`{kind}` has no option `{value.named[0].name}`", value.named[0], help=HELP)
        return None
    sizes = []
    for arg in value.args:
        size = whole_number(work, arg, scope)
        if size is None or size < 1:
            resolver.error(
                "bad-network",
                "the size of a layer is a whole number, at least 1",
                arg,
                help="it is written as a number, or a `const` that is a number",
            )
            return None
        sizes.append(size)
    if len(sizes) < 2:
        resolver.error(
            "bad-network", "a network has a number of inputs and a number of outputs, at least", value, help=HELP
        )
        return None
    if sizes[-1] != 1:
        resolver.error(
            "bad-network",
            f"a network gives one number, not {sizes[-1]}",
            value.args[-1],
            help=f"for several numbers declare several networks: `{kind}({', '.join(map(str, sizes[:-1]))}, 1)`",
        )
        return None
    network = Network(name, tuple(sizes), statement.span)
    if network.count > MOST_WEIGHTS:
        resolver.error(
            "bad-network",
            f"{network.count:,} weights are more than the {MOST_WEIGHTS:_} that a network may have",
            value,
        )
        return None
    return Param("param", name, (), None, statement.span, Type("array", ONE, network.count), learned=network)


def extern_declaration(work: Resolution, resolver: Resolver, statement: tree.Extern) -> Extern | None:
    """A function of Python, if it is given."""
    name = statement.name.id
    resolver.parameters(statement.parameters)
    if not statement.parameters:
        resolver.error("wrong-arguments", "a function of no arguments is a `param`", statement)
        return None
    if name in work.externs and not callable(work.externs[name]):
        resolver.error("bad-extern", f"what is given for `{name}` is no function", statement)
    return Extern(name, tuple(p.id for p in statement.parameters), statement.span, work.externs.get(name))
