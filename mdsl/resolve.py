"""The stage from the syntax tree to the Model: modules are read, and every name finds what it stands for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from mdsl.grammar import tree
from mdsl.grammar.diagnostics import Diagnostic, Label, Rejected, suggest
from mdsl.grammar.parse import parse
from mdsl.grammar.source import Source

from . import model, modules, resolve_run
from .collect import Module, Resolution, collect, import_module
from .resolve_data import data_declaration
from .resolve_expr import Resolver
from .resolve_learned import extern_declaration, learned_declaration, range_of, whole_number
from .resolve_flow import resolve_scheme, schemes_mean_the_prelude
from .resolve_tables import read_tables
from .resolve_topologies import derived
from .scope import Binder, Entity, Local, Scope

MOST_ENTRIES = 100_000  # of a range


def resolve(source: Source, folder: Path | None) -> tuple[model.Model, list[Diagnostic]]:
    """The Model of a program, and what is wrong with it. Statements that are wrong are left out of the Model.

    ``folder`` is where the program's own modules and files lie. Raises Rejected where nothing can be
    made of the text at all (syntax errors).
    """
    work = Resolution(folder)
    program = parse(source)
    main = collect(work, "", program)
    assumed = work.units is None
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
        import_module(work, main, tree.Use(program.span, ("units", "lj"), None), {})
    prelude = work.loaded.get("prelude") or collect(work, "prelude", parse(modules.library_source("prelude")))
    shadowed = {n: e for n, e in prelude.declared.items() if n not in main.declared}
    # The program may name its own observable `pressure`; the built-in one then steps back.
    main_names = Scope(main.scope.names, Scope(shadowed, main.scope.parent))
    main.scope = main_names
    work.tables = read_tables(work)
    for name, entity in work.species.items():  # those of a table are not declared
        main.scope.names.setdefault(name, entity)
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
    steps = resolve_run.resolve_run(runs[0], main.scope, _resolver(work), built.schemes, tuple(work.species), dim) if runs else ()
    if not any(e.kind == "energy" for e in built.equations) and not work.report:
        work.report.append(Diagnostic("empty-program", "the program has no energy", tree_start(program), help="for example `energy U = sum(i < j) ...`"))
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
    for item in (*built.params, *built.equations, *built.externs):
        earlier = seen.setdefault(item.name, item)
        if earlier is not item:
            first = Label(earlier.span, "first declared here")
            work.report.append(Diagnostic("duplicate-name", f"two modules declare `{item.name}`", item.span, secondary=(first,), help="choose another name"))
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


def _once(work: Resolution, statements: list[tree.Statement], word: str) -> None:
    for extra in statements[1:]:
        work.report.append(
            Diagnostic("repeated-statement", f"`{word}` stands twice", extra.span, secondary=(Label(statements[0].span, "first here"),))
        )


def _declarations(work: Resolution, module: Module, built: _Built, keep: Mapping[str, Entity] | None) -> None:
    _once(work, [s for s in module.program.statements if isinstance(s, tree.Box)], "box")
    _once(work, [s for s in module.program.statements if isinstance(s, tree.Dim)], "dim")
    for statement in module.program.statements:
        if keep is not None and getattr(statement, "name", None) and statement.name.id not in keep:
            continue
        before = len(work.report)
        item = _declaration(work, module, statement, built)
        broken = any(d.severity == "error" for d in work.report[before:])
        if broken:  # what is wrong may be why a name is not used
            work.report[before:] = [d for d in work.report[before:] if d.severity == "error"]
        elif item is not None and _stands(module, statement):
            target = {
                model.Param: built.params, model.Function: built.functions, model.Equation: built.equations, model.Scheme: built.schemes,
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
                work.report.append(Diagnostic("bad-dimension", f"space has 2 or 3 dimensions, not {value}", statement.span))
            built.dim = value
        case tree.Box():
            built.box = _box(resolver, statement, scope)
        case tree.Declaration():
            return _param(work, resolver, statement, scope)
        case tree.Def(name=name, groups=groups, where=where):
            resolver.parameters(p for group in groups for p in group)
            for group in groups:
                scope = scope.inside({p.id: Local(p.id, span=p.span) for p in group})
            body = resolver.expr(statement.value, resolver.bindings(where, scope))
            resolver.unused(where)
            for group in reversed(groups):
                body = model.Lambda(tuple(p.id for p in group), body, span=name.span)
            return model.Function(module.symbol(name.id), name.id, body, statement.span)
        case tree.Equation(kind=kind, name=name, axes=axes, where=where):
            if axes and kind == "observe":
                return _series(work, resolver, statement, scope)
            if axes and kind != "quantity":
                resolver.error("misplaced", f"an {kind} has no indices", name, help="`quantity` declares one value for each atom")
            if kind == "quantity" and len(axes) > 1:
                return _ranged_quantity(work, resolver, statement, scope)
            if kind == "quantity" and (not axes or axes[0].range is not None):
                resolver.error("misplaced", "a quantity has an index: one value for each atom", name, help=f"write `quantity {name.id}[i] = ...`, or `quantity {name.id}[i, k in 1..4] = ...`")
                return None
            binders = {a.name: Binder(a.name, span=a.span) for a in axes}
            body = resolver.expr(statement.value, resolver.bindings(where, scope.inside(binders)))
            resolver.unused(where)
            return model.Equation(kind, name.id, tuple(binders), body, statement.span)
        case tree.Flow() | tree.Integrator():
            kind = "flow" if isinstance(statement, tree.Flow) else statement.kind
            return resolve_scheme(work, module, _resolver(work, in_flow=True), kind, statement)
        case tree.Frozen(names=names):
            for name in names:
                if name.id not in work.species:
                    near = suggest(name.id, work.species)
                    resolver.error("unknown-species", f"there is no species `{name.id}`", name, help=near or f"declare it: `species {', '.join([*work.species, name.id])}`")
                built.frozen.append(name.id)
        case tree.Data():
            return data_declaration(work, resolver, statement)
        case tree.Learned():
            return learned_declaration(work, resolver, statement, scope)
        case tree.Extern():
            return extern_declaration(resolver, statement)
    return None


def _series(work: Resolution, resolver: Resolver, statement: tree.Equation, scope: Scope) -> model.Equation | None:
    """``observe g[k in 1..100] = ...``: an observable with an entry for each number of a range."""
    first, *more = statement.axes
    if first.range is None:
        help = f"an entry for each number of a range: `observe {statement.name.id}[k in 1..100] = ...`; one value for each atom: `quantity`"
        resolver.error("misplaced", "an observe has no indices of atoms", first, help=help)
        return None
    if more:
        resolver.error("not-yet", "an observe of two ranges is not implemented yet", more[0])
        return None
    axis = _range(work, resolver, first, scope)
    if axis is None:
        return None
    inner = scope.inside({first.name: Binder(first.name, "range", span=first.span)})
    body = resolver.expr(statement.value, resolver.bindings(statement.where, inner))
    resolver.unused(statement.where)
    return model.Equation("observe", statement.name.id, (first.name,), body, statement.span, axis)


def _ranged_quantity(work: Resolution, resolver: Resolver, statement: tree.Equation, scope: Scope) -> model.Equation | None:
    """``quantity G[i, k in 1..16] = ...``: for each atom an entry for each number of a range. Where the statement does not
    say the range, it is that of an array that its value reads with this index."""
    if len(statement.axes) != 2 or statement.axes[0].range is not None:
        help = f"`quantity {statement.name.id}[i, k in 1..16] = ...`"
        resolver.error("misplaced", "a quantity has one index of an atom, and one of a range if it has several values", statement.name, help=help)
        return None
    atom, index = statement.axes
    if index.name == atom.name:
        resolver.error("duplicate-name", f"`{index.name}` is bound twice", index)
        return None
    declared = index if index.range is not None else range_of(work, statement, index.name, scope)
    if declared is None:
        help = f"a range is said, `quantity {statement.name.id}[{atom.name}, {index.name} in 1..16]`, or is that of an array that is read with this index"
        resolver.error("not-yet", f"nothing says the range of `{index.name}`, and a quantity of two atoms is not implemented yet", index, help=help)
        return None
    axis = _range(work, resolver, declared, scope)
    if axis is None:
        return None
    inner = scope.inside({atom.name: Binder(atom.name, span=atom.span), index.name: Binder(index.name, "range", span=index.span)})
    body = resolver.expr(statement.value, resolver.bindings(statement.where, inner))
    resolver.unused(statement.where)
    return model.Equation("quantity", statement.name.id, (atom.name, index.name), body, statement.span, axis)


def _range(work: Resolution, resolver: Resolver, axis: tree.Axis, scope: Scope) -> model.Axis | None:
    """The axis ``k in 1..16``, whose ends are whole numbers or constants."""

    first, last = (whole_number(work, b, scope) for b in (axis.range.first, axis.range.last))
    if first is None or last is None or last < first:
        resolver.error("bad-axis", "a range goes from a whole number up to another", axis.range, help="its ends are written as numbers, or as a `const` that is a number")
        return None
    if last - first >= MOST_ENTRIES:
        resolver.error("bad-axis", f"a range has at most {MOST_ENTRIES:_} numbers", axis.range)
        return None
    return model.Axis("range", first, last)


def _box(resolver: Resolver, statement: tree.Box, scope: Scope) -> model.Box | None:
    value = statement.value
    if isinstance(value, tree.Name) and value.id == "free":
        return model.Box((None,), statement.span)
    if isinstance(value, tree.Call) and isinstance(value.function, tree.Name) and value.function.id == "periodic" and value.args:
        edges = tuple(None if isinstance(a, tree.Name) and a.id == "free" else resolver.expr(a, scope) for a in value.args)
        return model.Box(edges, statement.span)
    if isinstance(value, tree.Call) and isinstance(value.function, tree.Name) and value.function.id == "triclinic":
        return _triclinic(resolver, statement, value.args, scope)
    resolver.error("bad-box", "this is not a box", value, help="write `box free`, `box periodic(L)`, `box periodic(Lx, Ly, free)` or `box triclinic(a, b, c)`")
    return None


def _triclinic(resolver: Resolver, statement: tree.Box, vectors: tuple[tree.Expr, ...], scope: Scope) -> model.Box | None:
    """``triclinic((ax, 0, 0), (bx, by, 0), (cx, cy, cz))``; `free` in the place of a vector that does not repeat."""
    dim, edges, tilts = len(vectors), [], []
    help = "box triclinic((ax, 0), (bx, by))" if dim == 2 else "box triclinic((ax, 0, 0), (bx, by, 0), (cx, cy, cz))"
    for k, vector in enumerate(vectors):
        if isinstance(vector, tree.Name) and vector.id == "free":
            edges.append(None)
            tilts += [model.Number(0.0, span=vector.span)] * k
            continue
        if dim not in (2, 3) or not isinstance(vector, tree.Tuple) or len(vector.items) != dim:
            resolver.error("bad-box", "a triclinic box is given by its vectors, each with as many components as there are vectors", vector, help=help)
            return None
        before, edge, beyond = vector.items[:k], vector.items[k], vector.items[k + 1 :]
        other = next((e for e in beyond if not (isinstance(e, tree.Number) and e.value == 0)), None)
        if other is not None:
            where = "along x" if k == 0 else "in the plane of x and y"
            resolver.error("bad-box", f"vector {k + 1} of a triclinic box lies {where}: here stands 0", other, help=help)
            return None
        edges.append(resolver.expr(edge, scope))
        tilts += [resolver.expr(e, scope) for e in before]
    return model.Box(tuple(edges), statement.span, tuple(tilts))


def _param(work: Resolution, resolver: Resolver, statement: tree.Declaration, scope: Scope) -> model.Param:
    axes, binder, default = [], None, None
    for axis in statement.axes:
        if axis.range is not None:
            found = _range(work, resolver, axis, scope)
            if found is None:
                continue
            axes.append(found)
            binder = axis.name
            scope = scope.inside({axis.name: Binder(axis.name, "range", span=axis.span)})
        elif axis.name in ("species", "atoms"):
            axes.append(model.Axis(axis.name))
        else:
            resolver.error("bad-axis", f"`{axis.name}` is not an axis", axis, help="an axis is `species`, `atoms`, or a range such as `k in 1..16`")
    if len([a for a in axes if a.kind == "species"]) > 2:
        resolver.error("bad-axis", "an array has at most two axes of species", statement.axes[2])
    elif len(axes) < len(statement.axes):
        pass  # an axis is wrong, which has been said
    elif any(a.kind == "atoms" for a in axes) or binder is not None and len(axes) > 1:
        what = "a value for each atom" if binder is None else "a range beside another axis"
        work.report.append(Diagnostic("not-yet", f"{what} is not implemented yet", statement.span, notes=("arrays have axes of species, or one range",)))
    elif isinstance(statement.value, tree.Table):
        default = _table(work, resolver, statement.value, tuple(axes), scope)
    else:
        default = resolver.expr(statement.value, scope)
    return model.Param(statement.kind, statement.name.id, tuple(axes), default, statement.span, binder=binder)


def _table(work: Resolution, resolver: Resolver, table: tree.Table, axes: tuple[model.Axis, ...], scope: Scope) -> model.Expr:
    """A species table; complete (a pair may be given either way round), without contradictions."""
    if not axes or any(a.kind != "species" for a in axes):
        return resolver.error("bad-table", "only arrays over species are given as tables", table, help="for example `param sigma[species] = { A: 1.0, B: 0.8 }`")
    entries: dict[tuple[str, ...], tree.Entry] = {}
    wrong = False
    for entry in table.entries:
        if len(entry.labels) != len(axes):
            labels = "one label" if len(axes) == 1 else "two labels"
            axes_wanted = ", ".join(["species"] * len(entry.labels))
            resolver.error("bad-table", f"an entry of this table has {labels}, not {len(entry.labels)}", entry, help=f"one axis for each label: `[{axes_wanted}]`" if len(entry.labels) < 3 else None)
            return model.TableOf(())
        unknown = [label for label in entry.labels if label not in work.species]
        for label in dict.fromkeys(unknown):
            near = suggest(label, work.species)
            resolver.error("unknown-species", f"there is no species `{label}`", entry, help=near or f"declare it: `species {', '.join([*work.species, label])}`")
            wrong = True
        key = tuple(sorted(entry.labels))
        if key in entries:
            resolver.report.append(
                Diagnostic("bad-table", f"the entry {'-'.join(entry.labels)} is given twice", entry.span, secondary=(Label(entries[key].span, "first here"),))
            )
        entries[key] = entry
    wanted = [(a,) for a in work.species] if len(axes) == 1 else [tuple(sorted((a, b))) for a in work.species for b in work.species]
    missing = sorted({"-".join(key) for key in wanted if key not in entries})
    if missing and not wrong:  # what is missing may be the label that is wrong
        resolver.error(
            "missing-entry",
            f"the table has no entry for {', '.join(missing)}",
            table,
            notes=(f"species: {', '.join(work.species)}",),
            help="give each species" + (" pair an entry; A-B also stands for B-A" if len(axes) == 2 else " an entry"),
        )
    return model.TableOf(tuple((e.labels, resolver.expr(e.value, scope)) for e in entries.values()), span=table.span)
