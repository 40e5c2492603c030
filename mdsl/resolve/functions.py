"""`learned` and `extern` statements: functions that are no formulas."""

from __future__ import annotations

from mdsl.grammar import tree
from mdsl.grammar.diagnostics import suggest
from mdsl.model.domains import Whole
from mdsl.model.functions import Extern, Network, Weighted
from mdsl.model.nodes import ONE, Equation, OfAll, Param, Reduce, Type

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


INPUTS = {
    "x": "the positions",
    "species": "the places of the atoms' species in `species`",
    "box": "the box vectors",
    "neighbours": "the pairs within a radius: `neighbours = 5.0`",
}


def extern_energy(
    work: Resolution, resolver: Resolver, statement: tree.ExternEnergy, scope: Scope
) -> tuple[Equation | None, Param | None]:
    """An energy of all atoms by a function of Python, if that is given, and its weights, if it has any."""
    name, inputs = statement.name.id, {}
    for item in statement.inputs:
        if item.id in inputs:
            resolver.error("duplicate-name", f"`{item.id}` stands twice", item)
        inputs[item.id] = item
    radius = inputs.get("neighbours")
    own = [item for item in statement.inputs if item.id not in INPUTS]
    valued = next((i for i in statement.inputs if i.default is not None and i is not radius), None)
    given = work.externs.get(name)
    weights = given.weights if isinstance(given, Weighted) else None
    help = f"it can be given {', '.join(INPUTS)}, and one more, which are weights of its own"
    if radius is not None and radius.default is None:
        resolver.error(
            "wrong-arguments", "neighbours are those within a radius", radius, help="for example `neighbours = 5.0`"
        )
    elif valued is not None:
        resolver.error("wrong-arguments", f"`{valued.id}` takes no value here", valued, help=help)
    elif not inputs.keys() & {"x", "neighbours"}:
        resolver.error("wrong-arguments", f"`{name}` does not depend on where atoms are", statement, help=help)
    elif len(own) > 1:
        resolver.error("unknown-name", f"an extern energy has no input `{own[-1].id}`", own[-1], help=help)
    elif given is not None and not (isinstance(given, Weighted) or callable(given)):
        resolver.error("bad-extern", f"what is given for `{name}` is no function", statement)
    elif given is not None and own and weights is None:
        resolver.error(
            "bad-extern",
            f"the function `{name}` is given without its weights `{own[0].id}`",
            own[0],
            help=suggest(own[0].id, INPUTS) or f'externs={{"{name}": (function, weights)}}',
        )
    elif weights is not None and not own:
        help = f"say where it takes them: `extern energy {name}(weights, {', '.join(inputs)})`"
        resolver.error(
            "bad-extern", f"the function `{name}` is given with weights that it does not take", statement, help=help
        )
    else:
        function = given.function if isinstance(given, Weighted) else given
        within = None if radius is None else radius.default
        body = OfAll(
            name,
            tuple(inputs),
            () if within is None else (resolver.expr(within, scope),),
            own[0].id if own else "",
            body=Extern(name, tuple(inputs), statement.span, function),
            span=statement.span,
        )
        whole = Reduce(Whole((), near=radius is not None), body, span=statement.span)
        param = weights and Param(
            "param", own[0].id, (), None, own[0].span, Type("array", ONE, weights.count), learned=weights
        )
        return Equation("energy", name, (), whole, statement.span), param
    return None, None
