"""The run block: builders and schemes with their options, records and trajectories."""

from __future__ import annotations

from dataclasses import replace

from mdsl.files.folder import check_name
from mdsl.files.trajectories import check_format
from mdsl.grammar import tree
from mdsl.grammar.diagnostics import Diagnostic, Label, Rejected, suggest
from mdsl.model import nodes as model
from mdsl.model.dynamics import UNWRAPPED

from .builders import BUILDERS, Builder
from .expressions import Resolver
from .flows import observes
from .modules import near
from .scope import Entity, Global, Local, Scope


def resolve_run(
    run: tree.Run,
    scope: Scope,
    resolver: Resolver,
    schemes: list[model.Scheme],
    species: tuple[str, ...],
    dim: int,
    several: bool,
) -> tuple[model.Setup | model.Advance, ...]:
    """The statements of the run block in order; those that are wrong are reported and left out. ``several``: the
    program declares replicas."""
    steps: list[model.Setup | model.Advance] = []
    paths: dict[str, tree.Node] = {}
    set_up: dict[str, tree.Node] = {}
    places = any(isinstance(s, tree.Update | tree.Draw) and s.target.id == "x" for s in run.body)
    for statement in run.body:
        before = len(resolver.report)
        _in_order(resolver, statement, set_up, places)
        match statement:
            case tree.Update(target=target, op=op, value=value):
                step = _setup(resolver, scope, statement, target, op, value, species, dim, several)
            case tree.Draw(target=target, distribution=value):
                step = _setup(resolver, scope, statement, target, "~", value, species, dim, several)
            case tree.Advance():
                _exchanges(resolver, statement, several)
                step = _advance(resolver, scope, statement, {s.symbol: s for s in schemes}, paths)
        if step is not None and not any(d.severity == "error" for d in resolver.report[before:]):
            steps.append(step)
    if not places:
        resolver.error(
            "empty-program",
            "the run block places no atoms",
            run,
            help='for example `x = fcc(density = 0.8, cells = 6)` or `x = read("file")`',
        )
    return tuple(steps)


def _in_order(
    resolver: Resolver, statement: tree.Update | tree.Draw | tree.Advance, set_up: dict[str, tree.Node], places: bool
) -> None:
    """First x, once; then v, once; then dynamics. ``set_up`` is what stands before the statement, ``places``
    whether any statement sets up x."""
    if isinstance(statement, tree.Advance):
        set_up.setdefault("", statement)
        return
    name = statement.target.id
    if "" in set_up:
        moves = Label(set_up[""].span, "the atoms move from here on")
        resolver.report.append(
            Diagnostic(
                "misplaced",
                f"`{name}` is set up after the dynamics began",
                statement.span,
                secondary=(moves,),
                help="set up x and v before the first integrator",
            )
        )
    elif name in set_up:
        first = Label(set_up[name].span, "first here")
        resolver.report.append(
            Diagnostic("repeated-statement", f"`{name}` is set up twice", statement.span, secondary=(first,))
        )
    elif name == "v" and places and "x" not in set_up:
        resolver.error("misplaced", "velocities are drawn before there are atoms", statement, help="set up `x` first")
    set_up.setdefault(name, statement)


# -- setting up ------------------------------------------------------------------------------------------


def _setup(
    resolver: Resolver,
    scope: Scope,
    node: tree.Node,
    target: tree.Identifier,
    op: str,
    value: tree.Expr,
    species: tuple[str, ...],
    dim: int,
    several: bool,
):
    if target.id not in ("x", "v"):
        resolver.error("misplaced", f"a run sets up x and v, not `{target.id}`", target)
        return None
    known = {name: b for name, b in BUILDERS.items() if b.target == target.id}
    if not (isinstance(value, tree.Call) and isinstance(value.function, tree.Name)):
        resolver.error("misplaced", f"`{target.id}` is set up by one of {', '.join(known)}", value)
        return None
    name = value.function.id
    if name == "between" and not several:
        help = "declare them: `replicas r in 0..10`"
        resolver.error("misplaced", "`between` places replicas, and the program declares none", value, help=help)
        return None
    if name not in known:
        resolver.error(
            "unknown-name",
            f"nothing called `{name}` can set up `{target.id}`",
            value.function,
            help=suggest(name, known) or f"there are {', '.join(known)}",
        )
        return None
    builder = known[name]
    if builder.op != op:
        resolver.error(
            "misplaced",
            f"`{name}` is {'drawn at random' if builder.op == '~' else 'not random'}: write `{target.id} {builder.op} "
            f"{name}(...)`",
            node,
        )
        return None
    if builder.dim not in (None, dim):
        resolver.error("bad-dimension", f"a {builder.meaning} has {builder.dim} dimensions, the program {dim}", value)
        return None
    options: list[tuple[str, model.Expr]] = []
    for name_, node_ in _bind(resolver, name, value, tuple(o.name for o in builder.options)):
        kind = builder.option(name_).kind
        if kind == "species":
            options.append((name_, _species(resolver, scope, node_, species)))
        elif kind == "counts" and isinstance(node_, tree.Tuple):
            options += [(f"{name_}.{k}", resolver.expr(item, scope)) for k, item in enumerate(node_.items)]
        else:
            options.append((name_, resolver.expr(node_, scope)))
    given = {n.split(".")[0] for n, _ in options}
    missing = [o.name for o in builder.options if o.required and o.name not in given]
    if missing and not _strange(value, tuple(o.name for o in builder.options)):
        resolver.error(
            "missing-option",
            f"`{name}` needs {' and '.join(f'`{m}`' for m in missing)}",
            value,
            help=_usage(name, builder),
        )
    return model.Setup(target.id, name, tuple(options), node.span)


def _usage(name: str, builder: Builder) -> str:
    return f"{name}({', '.join(o.name if o.required else f'[{o.name}]' for o in builder.options)})"


def _bind(resolver: Resolver, function: str, call: tree.Call, names: tuple[str, ...]) -> list[tuple[str, tree.Expr]]:
    """The options of a call by name; arguments without a name take the names in order."""
    bound: dict[str, tree.Expr] = {}
    if len(call.args) > len(names):
        resolver.error(
            "wrong-arguments",
            f"`{function}` takes at most {len(names)} option{'' if len(names) == 1 else 's'}, but is given "
            f"{len(call.args)}",
            call,
            help=f"`{function}({', '.join(names)})`",
        )
    for name, value in zip(names, call.args):
        bound[name] = value
    for named in call.named:
        if named.name not in names:
            resolver.error(
                "unknown-option",
                f"`{function}` has no option `{named.name}`",
                named,
                help=suggest(named.name, names) or f"its options are {', '.join(names)}",
            )
        elif named.name in bound:
            resolver.error("wrong-arguments", f"`{named.name}` is given twice", named)
        else:
            bound[named.name] = named.value
    return list(bound.items())


def _strange(call: tree.Call, names: tuple[str, ...]) -> bool:
    """Whether an option has a name that is not known: it may be the one that is missing."""
    return any(named.name not in names for named in call.named)


def _species(resolver: Resolver, scope: Scope, node: tree.Expr, species: tuple[str, ...]) -> model.Expr:
    """``Cu``, or ``{ A: 0.8, B: 0.2 }``. Without a `species` statement any label will do."""

    def label(name: str, at: tree.Node) -> None:
        if species and name not in species:
            resolver.error(
                "unknown-species",
                f"there is no species `{name}`",
                at,
                help=suggest(name, species) or f"the species are {', '.join(species)}",
            )

    if isinstance(node, tree.Name):
        label(node.id, node)
        return model.Label(node.id, span=node.span)
    if isinstance(node, tree.Table) and all(len(e.labels) == 1 for e in node.entries):
        for entry in node.entries:
            label(entry.labels[0], entry)
        return model.TableOf(tuple((e.labels, resolver.expr(e.value, scope)) for e in node.entries), span=node.span)
    return resolver.error(
        "wrong-type",
        "species are given as a label or as fractions",
        node,
        help="`species = Cu` or `species = { A: 0.8, B: 0.2 }`",
    )


# -- dynamics --------------------------------------------------------------------------------------------


def _advance(
    resolver: Resolver, scope: Scope, node: tree.Advance, schemes: dict[str, model.Scheme], paths: dict[str, tree.Node]
):
    name = node.call.function.id if isinstance(node.call.function, tree.Name) else ""
    entity = scope.find(name)
    scheme = schemes.get(entity.symbol) if isinstance(entity, Global) else None
    own = observes(scheme, schemes) if scheme is not None else {}
    outputs = tuple(_output(resolver, scope, o, paths, own) for o in node.outputs)
    # A condition may read what the scheme observes, which steps back behind what the program declares.
    observed = scope.inside({n: Local(n, span=e.span) for n, e in own.items() if scope.find(n) is None})
    until = None if node.until is None else resolver.expr(node.until, observed)
    if resolver.is_lost(name, entity):
        return None
    if not (isinstance(entity, Global) and entity.kind == "scheme"):
        resolver.error(
            "unknown-name",
            f"there is no integrator `{name}` here",
            node.call.function,
            help=near(name, scope.of_kind("scheme"))
            or "take one from the library, such as `use integrators (velocity_verlet)`; `mdsl list integrators` "
            "shows all",
        )
        return None
    if scheme is None:  # its declaration was wrong, which has been said
        return None
    if scheme.kind == "flow":
        resolver.error(
            "misplaced",
            f"`{name}` is a flow: a part of an integrator",
            node.call.function,
            help=f"integrator my_scheme(dt) {{ {name}(dt) }}",
        )
        return None
    options = tuple((n, resolver.expr(v, scope)) for n, v in _bind(resolver, name, node.call, scheme.parameters))
    missing = [p for p in scheme.parameters if p not in dict(options) and scheme.default(p) is None]
    if missing and not _strange(node.call, scheme.parameters):
        resolver.error(
            "missing-option",
            f"`{name}` needs {' and '.join(f'`{m}`' for m in missing)}",
            node.call,
            help=f"{name}({', '.join(scheme.parameters)})",
        )
    return model.Advance(entity.symbol, options, resolver.expr(node.steps, scope), outputs, node.span, until=until)


def _exchanges(resolver: Resolver, node: tree.Advance, several: bool) -> None:
    """Say what is wrong with the exchanges of a statement, whatever they exchange."""
    found = [o for o in node.outputs if isinstance(o, tree.Exchange)]
    if not found:
        return
    if not several:
        help = "declare them: `replicas r in 1..8`, and what is another for each, `param T = 1.0 + 0.1*r`"
        resolver.error("bad-exchange", "there are no replicas to exchange", found[0], help=help)
    if len(found) > 1:
        first = Label(found[0].span, "first here")
        message = "a statement of dynamics exchanges once"
        resolver.report.append(Diagnostic("repeated-statement", message, found[1].span, secondary=(first,)))
    if node.until is not None:
        help = "run it `for` a number of steps"
        message = "replicas that end at different steps, each when its condition holds, cannot exchange"
        resolver.error("bad-exchange", message, found[0], help=help)


# Names that are usual for what every program can record.
USUAL = {
    "T": "`temperature` can be recorded; or declare `observe T = temperature`",
    "P": "`pressure` can be recorded; or declare `observe P = pressure`",
    "K": "`kinetic` can be recorded; or declare `observe K = kinetic`",
    "E": "declare it: `observe E = potential + kinetic`",
    "step": "the step and the time are always recorded",
    "time": "the step and the time are always recorded",
}
OBSERVABLE = ("t", "potential", "volume", "cell", "virial", "degrees_of_freedom", "N")


def _output(
    resolver: Resolver,
    scope: Scope,
    node: tree.Record | tree.Write | tree.Exchange,
    paths: dict[str, tree.Node],
    own: dict[str, model.Equation],
) -> model.Output:
    """``own`` are the observables of the scheme, which step back behind those of the program."""
    every = resolver.expr(node.every, scope) if node.every is not None else None
    if isinstance(node, tree.Write):
        try:
            check_name(node.path.value)
            check_format(node.path.value)
        except Rejected as rejected:
            resolver.report += [replace(d, span=node.path.span) for d in rejected.diagnostics]
        earlier = paths.setdefault(node.path.value, node)
        if earlier is not node:
            resolver.report.append(
                Diagnostic(
                    "repeated-statement",
                    f"two statements write {node.path.value!r}",
                    node.path.span,
                    secondary=(Label(earlier.span, "first here"),),
                )
            )
        for name in node.names:
            if name.id != UNWRAPPED:
                resolver.error(
                    "unknown-option", f"frames do not hold `{name.id}`", name, help=f'`write "a.extxyz", {UNWRAPPED}`'
                )
        return model.Output("write", (node.path.value, *dict.fromkeys(n.id for n in node.names)), every, node.span)
    names = []
    for identifier in (node.name,) if isinstance(node, tree.Exchange) else node.names:
        entity: Entity | None = scope.find(identifier.id)
        if isinstance(entity, Global) and (
            entity.kind == "equation"
            and (entity.arity == 0 or entity.series)
            or entity.kind == "builtin"
            and identifier.id in OBSERVABLE
        ):
            names.append(entity.symbol)
        elif identifier.id in own:
            names.append(identifier.id)
        elif resolver.is_lost(identifier.id, entity):
            continue
        elif entity is None:
            known = [*own, *scope.of_kind("equation"), *(n for n in scope.of_kind("builtin") if n in OBSERVABLE)]
            help = (
                USUAL.get(identifier.id)
                or suggest(identifier.id, known)
                or f"declare it: `observe {identifier.id} = ...`"
            )
            resolver.error(
                "unknown-name", f"there is nothing called `{identifier.id}` to record", identifier, help=help
            )
        else:
            secondary = (
                (Label(entity.span, "declared here"),)
                if entity.span and entity.span.source is identifier.span.source
                else ()
            )
            kind = entity.kind if isinstance(entity, Global) else "local"
            resolver.report.append(_not_recordable(identifier, kind, secondary))
    return model.Output("exchange" if isinstance(node, tree.Exchange) else "record", tuple(names), every, node.span)


def _not_recordable(identifier: tree.Identifier, kind: str, secondary: tuple[Label, ...]):
    what = {
        "param": "a parameter",
        "equation": "a quantity of each atom",
        "builtin": "not one number",
        "operator": "a function",
    }.get(kind, f"a {kind}")
    help = (
        f"declare `observe my_{identifier.id} = {identifier.id}`" if kind == "param" else "declare an `observe` of it"
    )
    return Diagnostic(
        "misplaced",
        f"`{identifier.id}` is {what}: records hold energies and observables",
        identifier.span,
        secondary=secondary,
        help=help,
    )
