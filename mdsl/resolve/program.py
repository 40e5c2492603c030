"""The stage from the syntax tree to the Model: modules are read, and every name finds what it stands for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mdsl.grammar import tree
from mdsl.grammar.diagnostics import Diagnostic, Label, Rejected, suggest
from mdsl.grammar.parse import parse
from mdsl.grammar.source import Source
from mdsl.model import nodes as model

from . import modules
from . import run as resolve_run
from .box import resolve_box
from .data import data_declaration
from .equations import resolve_equation
from .expressions import Resolver
from .flows import resolve_scheme, schemes_mean_the_prelude
from .functions import extern_declaration, extern_energy, learned_declaration
from .names import Module, Resolution, collect, import_module
from .params import resolve_param, resolve_replicas
from .scope import Entity, Local, Scope
from .tables import read_tables
from .topologies import derived


def resolve(
    source: Source,
    folder: Path | None,
    given: tuple[tree.Declaration, ...] = (),
    externs: Mapping[str, Callable] | None = None,
) -> tuple[model.Model, list[Diagnostic]]:
    """The Model of a program, and what is wrong with it. Statements that are wrong are left out of the Model.

    ``folder`` is where the program's own modules and files lie. ``given`` are declarations whose values stand in the
    place of defaults, ``externs`` functions of Python by name. Raises Rejected where nothing can be made of the text
    at all (syntax errors).
    """
    work = Resolution(folder, {d.name.id: d for d in given if d.name.id != "kB"}, externs or {})
    program = parse(source)
    main = collect(work, "", program)
    assumed = work.system is None
    if assumed:
        if not any(isinstance(s, tree.Use) and s.module[0] == "units" for s in program.statements):
            work.report.append(
                Diagnostic(
                    "missing-units",
                    "the program does not say its unit system",
                    tree_start(program),
                    help="begin with `use units.lj` (reduced units), or units.metal, units.real, units.si",
                )
            )
        import_module(work, tree.Use(program.span, ("units", "lj"), None), {})
    prelude = work.loaded.get("prelude") or collect(work, "prelude", parse(modules.library_source("prelude")))
    shadowed = {n: e for n, e in prelude.declared.items() if n not in main.declared}
    # The program may name its own observable `pressure`; the built-in one then steps back.
    work.tables = read_tables(work)
    # Species of a table are not declared.
    main.scope = Scope({**work.species, **main.scope.names}, Scope(shadowed, main.scope.parent))
    for module in work.order:
        if module is not main and module is not prelude:
            # Modules see the prelude as it is: a program's own `pressure` is not theirs.
            module.scope = Scope(module.scope.names, Scope(prelude.declared, module.scope.parent))
    built = _Built(params=list(work.tables.values()))
    for module in work.order:
        keep = shadowed if module is prelude else None
        _declarations(work, module, built, keep)
    _one_name_space(work, built, prelude, main)
    dim = built.dim or 3
    runs = [s for s in program.statements if isinstance(s, tree.Run)]
    _once(work, runs, "run")
    steps = (
        resolve_run.resolve_run(
            runs[0],
            main.scope,
            _resolver(work),
            built.schemes,
            tuple(work.species),
            dim,
            several=any(p.numbers is not None for p in built.params),
        )
        if runs
        else ()
    )
    if not any(e.kind == "energy" for e in built.equations) and not work.report:
        work.report.append(
            Diagnostic(
                "empty-program",
                "the program has no energy",
                tree_start(program),
                help="for example `energy U = sum(i < j) ...`",
            )
        )
    result = model.Model(
        source=source,
        units=work.units,
        dim=dim,
        species=tuple(work.species),
        topologies=tuple(work.topologies.items()),
        box=built.box,
        params=tuple(built.params),
        functions=tuple(built.functions),
        equations=tuple(built.equations),
        schemes=tuple(built.schemes),
        run=steps,
        derived=_following(work),
        frozen=tuple(dict.fromkeys(built.frozen)),
        externs=tuple(built.externs),
    )
    schemes_mean_the_prelude(work, result, prelude, main)
    if assumed:  # without a unit system, nothing can be said of units
        work.report[:] = [d for d in work.report if d.id not in ("unit-in-reduced", "unknown-unit")]
    return result, work.report


def _following(work: Resolution) -> tuple[model.Derived, ...]:
    """The topologies that follow from bonds."""
    names = {item.name.id for item in work.following}
    found = []
    for item in work.following:
        try:
            found.append(derived(item, work.topologies, names))
        except Rejected as rejected:
            work.report.extend(rejected.diagnostics)
    return tuple(found)


def _one_name_space(work: Resolution, built: _Built, prelude: Module, main: Module) -> None:
    """Values have one name space in all modules: two with one name would be taken for each other."""
    seen: dict[str, model.Param | model.Equation | model.Extern] = {}
    items: list[model.Param | model.Equation | model.Extern] = [*built.params, *built.equations, *built.externs]
    for item in items:
        earlier = seen.setdefault(item.name, item)
        if earlier is not item:
            first = Label(earlier.span, "first declared here")
            work.report.append(
                Diagnostic(
                    "duplicate-name",
                    f"two modules declare `{item.name}`",
                    item.span,
                    secondary=(first,),
                    help="choose another name",
                )
            )
    for equation in built.equations:
        if equation.span.source is prelude.program.span.source:
            for node in model.walk(equation.body):
                if isinstance(node, model.Read) and node.symbol in prelude.declared and node.symbol in main.declared:
                    own = main.declared[node.symbol]
                    message = f"every program has its `{node.symbol}`, of which `{equation.name}` is made"
                    work.report.append(Diagnostic("duplicate-name", message, own.span, help="choose another name"))


def tree_start(program: tree.Program):
    return program.statements[0].span if program.statements else program.span


# -- resolving what a module declares --------------------------------------------------------------------


@dataclass
class _Built:
    params: list[model.Param] = field(default_factory=list)
    functions: list[model.Function] = field(default_factory=list)
    equations: list[model.Equation] = field(default_factory=list)
    schemes: list[model.Scheme] = field(default_factory=list)
    externs: list[model.Extern] = field(default_factory=list)
    box: model.Box | None = None
    dim: int | None = None
    frozen: list[str] = field(default_factory=list)


def _resolver(work: Resolution, in_flow: bool = False) -> Resolver:
    return Resolver(work.units, work.known_units, work.topologies, work.report, in_flow, work.lost, work.tables)


def _once(work: Resolution, statements: Sequence[tree.Statement], word: str) -> None:
    for extra in statements[1:]:
        work.report.append(
            Diagnostic(
                "repeated-statement",
                f"`{word}` stands twice",
                extra.span,
                secondary=(Label(statements[0].span, "first here"),),
            )
        )


def _declarations(work: Resolution, module: Module, built: _Built, keep: Mapping[str, Entity] | None) -> None:
    _once(work, [s for s in module.program.statements if isinstance(s, tree.Box)], "box")
    _once(work, [s for s in module.program.statements if isinstance(s, tree.Dim)], "dim")
    _once(work, [s for s in module.program.statements if isinstance(s, tree.Replicas)], "replicas")
    for statement in module.program.statements:
        name = getattr(statement, "name", None)
        if keep is not None and name is not None and name.id not in keep:
            continue
        before = len(work.report)
        item = _declaration(work, module, statement, built)
        broken = any(d.severity == "error" for d in work.report[before:])
        if broken:  # what is wrong may be why a name is not used
            work.report[before:] = [d for d in work.report[before:] if d.severity == "error"]
        elif item is not None and _stands(module, statement):
            target: dict[type, list] = {
                model.Param: built.params, model.Function: built.functions, model.Equation: built.equations,
                model.Scheme: built.schemes,
                model.Extern: built.externs,
            }  # fmt: skip
            target[type(item)].append(item)


def _stands(module: Module, statement: tree.Statement) -> bool:
    """Whether a statement is what its name stands for, and not a second declaration of that name."""
    name = getattr(statement, "name", None)
    entity = module.declared.get(name.id) if name is not None else None
    return name is None or entity is not None and entity.span is name.span


def _declaration(work: Resolution, module: Module, statement: tree.Statement, built: _Built):
    resolver = _resolver(work)
    scope = module.scope
    match statement:
        case tree.Dim(value=value):
            if value not in (2, 3):
                work.report.append(
                    Diagnostic("bad-dimension", f"space has 2 or 3 dimensions, not {value}", statement.span)
                )
            built.dim = value
        case tree.Box():
            built.box = resolve_box(resolver, statement, scope)
        case tree.Declaration():
            return resolve_param(work, resolver, statement, scope)
        case tree.Replicas():
            return resolve_replicas(work, resolver, statement, scope)
        case tree.Def(name=name, groups=groups, where=where):
            resolver.parameters(p for group in groups for p in group)
            for group in groups:
                scope = scope.inside({p.id: Local(p.id, span=p.span) for p in group})
            body = resolver.expr(statement.value, resolver.bindings(where, scope))
            resolver.unused(where)
            for group in reversed(groups):
                body = model.Lambda(tuple(p.id for p in group), body, span=name.span)
            return model.Function(module.symbol(name.id), name.id, body, statement.span)
        case tree.Equation():
            return resolve_equation(work, resolver, statement, scope)
        case tree.Flow() | tree.Integrator():
            kind = "flow" if isinstance(statement, tree.Flow) else statement.kind
            return resolve_scheme(work, module, _resolver(work, in_flow=True), kind, statement)
        case tree.Frozen(names=names):
            for name in names:
                if name.id not in work.species:
                    _check_freezing(work, resolver, name)
                built.frozen.append(name.id)
        case tree.Data():
            return data_declaration(work, resolver, statement)
        case tree.Learned():
            return learned_declaration(work, resolver, statement, scope)
        case tree.Extern():
            return extern_declaration(work, resolver, statement)
        case tree.ExternEnergy():
            energy, weights = extern_energy(work, resolver, statement, scope)
            built.params += [weights] if weights is not None else []
            return energy
    return None


def _check_freezing(work: Resolution, resolver: Resolver, name: tree.Identifier) -> None:
    """What is frozen and no species is data of the atoms, numbers without a unit: not 0 for those that never move."""
    declaration, _ = work.arrays.get(name.id, (None, None))
    if not isinstance(declaration, tree.Data):
        near = suggest(name.id, work.species)
        resolver.error(
            "unknown-species",
            f"there is no species `{name.id}`, and no data of the atoms",
            name,
            help=near or f"declare it: `species {', '.join([*work.species, name.id])}`, or `data {name.id}[atoms]`",
        )
    elif [a.name for a in declaration.axes] != ["atoms"] or declaration.unit is not None:
        resolver.error(
            "wrong-type",
            f"`{name.id}` does not say which atoms never move",
            name,
            help=f"`data {name.id}[atoms]`, a number without unit for each atom: 0 for those that move",
        )
