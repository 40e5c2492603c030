"""Collecting names: each module is read once, and every top-level name gets the entity that it stands for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from mdsl.grammar import tree
from mdsl.grammar.diagnostics import Diagnostic, Label, Rejected, suggest
from mdsl.grammar.source import Span
from mdsl.model.nodes import Param
from mdsl.model.operators import BUILTINS, CALLABLE, FUNCTIONALS, NEIGHBOURS
from mdsl.model.units import UnitSystem, UnitValue

from . import modules
from . import units as unit_library
from .scope import Entity, Global, Scope

SHADOWED = ("D", *NEIGHBOURS)
BUILT_IN: Mapping[str, Global] = {
    **{name: Global("builtin", name) for name in BUILTINS},
    **{name: Global("operator", name) for name in (*CALLABLE, *FUNCTIONALS)},
}


@dataclass
class Module:
    """One file: its statements, the names it can see, and those it declares itself."""

    name: str  # "" for the program
    program: tree.Program
    scope: Scope
    declared: dict[str, Global] = field(default_factory=dict)

    def symbol(self, name: str) -> str:
        return f"{self.name}.{name}" if self.name else name


Array = tree.Declaration | tree.Data | tree.Equation


@dataclass
class Resolution:
    """The work in progress: modules in the order in which they were finished, and what is wrong."""

    folder: Path | None
    given: Mapping[str, tree.Declaration] = field(default_factory=dict)  # what stands in the place of defaults
    externs: Mapping[str, Callable] = field(default_factory=dict)  # functions of Python
    report: list[Diagnostic] = field(default_factory=list)
    loaded: dict[str, Module] = field(default_factory=dict)
    order: list[Module] = field(default_factory=list)
    loading: list[str] = field(default_factory=list)
    known_units: dict[str, UnitValue] = field(default_factory=dict)
    system: UnitSystem | None = None  # of units
    ambient: dict[str, Global] = field(default_factory=dict)  # the constants of the unit system
    topologies: dict[str, int] = field(default_factory=dict)
    following: list[tree.TopologyItem] = field(default_factory=list)  # topologies that follow from others
    species: dict[str, Global] = field(default_factory=dict)
    tables: dict[str, Param] = field(default_factory=dict)
    numbers: dict[str, float] = field(default_factory=dict)  # constants that are written as a number
    arrays: dict[str, tuple[Array, Scope]] = field(default_factory=dict)  # with the index of a range
    states: set[str] = field(default_factory=set)  # at the top level: what flows may change
    lost: set[str] = field(default_factory=set)  # names that a wrong `use` would have brought; "*module": any

    @property
    def units(self) -> UnitSystem:
        if self.system is None:
            raise AssertionError("the unit system is not known yet")
        return self.system

    def outside(self) -> Scope:
        """What can be read by what is given: all that the program sees, and the parameters of all modules."""
        main = next(module for module in self.order if not module.name)
        declared = (item for module in self.order for item in module.declared.items())
        return main.scope.inside({n: e for n, e in declared if isinstance(e, Global) and e.kind == "param"})


def collect(work: Resolution, name: str, program: tree.Program) -> Module:
    """Read a module and those it uses; give every top-level name its entity."""
    names: dict[str, Entity] = {}
    ambient = Scope(work.ambient, Scope(BUILT_IN))
    module = Module(name, program, Scope(names, ambient))
    work.loading.append(name)
    imported: dict[str, Global] = {}
    for statement in program.statements:
        try:
            if isinstance(statement, tree.Use):
                _lose(work, statement)
                import_module(work, statement, imported)
                _lose(work, statement, found=set(imported))
            else:
                _declare(work, module, statement)
        except Rejected as rejected:
            work.report.extend(rejected.diagnostics)
    work.loading.pop()
    names.update(imported)
    for key, entity in module.declared.items():
        other = imported.get(key, entity)
        if other != entity:
            work.report.append(
                Diagnostic(
                    "duplicate-name",
                    f"`{key}` is both declared here and taken from a module",
                    entity.span,
                    secondary=(Label(other.span, "declared in the module"),) if other.span else (),
                    help="name what the `use` statement takes: `use module (name, ...)`",
                )
            )
    names.update(module.declared)
    work.order.append(module)
    return module


def _lose(work: Resolution, use: tree.Use, found: set[str] | None = None) -> None:
    """What a `use` names is lost until it is ``found``, so that only the `use` is told to be wrong."""
    names = {"*" + ".".join(use.module)} if use.names is None else {n.id for n in use.names}
    if found is None:
        work.lost |= names
    else:
        work.lost -= names if use.names is None else names & found


def import_module(work: Resolution, use: tree.Use, imported: dict[str, Global]) -> None:
    name = ".".join(use.module)
    if name in work.loading:
        raise Rejected(Diagnostic("cyclic-definition", f"module `{name}` uses itself", use.span))
    if name not in work.loaded:
        if use.module[0] == "units" and len(use.module) > 1 and name != "units.names" and work.system is not None:
            raise Rejected(
                Diagnostic(
                    "repeated-statement",
                    f"the program already uses units.{work.units.name}",
                    use.span,
                    help="a program has one unit system",
                )
            )
        found, program = modules.load(use, work.folder)
        work.loaded[found] = collect(work, found, program)
    if work.system is not None and name == f"units.{work.units.name}" and "kB" not in work.ambient:
        work.lost.add("kB")
        raise Rejected(
            Diagnostic(
                "bad-unit",
                f"{name} does not give the Boltzmann constant",
                use.span,
                help="declare it there: `const kB = 1`, or `const kB = 1.380649e-23 [J/K]`",
            )
        )
    used = work.loaded[name]
    exported = {k: e for k, e in used.declared.items()}
    if use.names is None:
        wanted = exported
    else:
        wanted = {}
        for identifier in use.names:
            if identifier.id not in exported:
                work.report.append(
                    Diagnostic(
                        "unknown-name",
                        f"module `{name}` has no `{identifier.id}`",
                        identifier.span,
                        help=suggest(identifier.id, exported) or f"`mdsl list {name}` shows what it has",
                    )
                )
            else:
                wanted[identifier.id] = exported[identifier.id]
    for key, entity in wanted.items():
        if key in imported and imported[key] != entity:
            work.report.append(
                Diagnostic(
                    "duplicate-name", f"two modules declare `{key}`", use.span, help="name what each `use` takes"
                )
            )
        imported[key] = entity


def _declare(work: Resolution, module: Module, statement: tree.Statement) -> None:
    def add(identifier: tree.Identifier, entity: Global) -> None:
        name = identifier.id
        earlier = module.declared.get(name) or BUILT_IN.get(name)
        # The masses are the user's to give, and these names are too good to keep from others.
        may_shadow = earlier is BUILT_IN.get(name) and (name in SHADOWED or name == "m" and entity.kind == "param")
        if earlier is not None and not may_shadow:
            work.report.append(duplicate(identifier, earlier.span))
            # A function of a taken name is still a function where it is called; else the earlier meaning stays.
            if earlier.span is not None or entity.kind != "function":
                return
        module.declared[name] = entity

    def declared(kind: str, identifier: tree.Identifier, arity: int = 0, series: bool = False) -> None:
        # Values live in one name space for the whole program; functions and schemes under their module.
        symbol = module.symbol(identifier.id) if kind in ("function", "scheme") else identifier.id
        add(identifier, Global(kind, symbol, arity, series, span=identifier.span))

    match statement:
        case tree.UnitDecl(name=name):
            if name.id in work.known_units:
                work.report.append(
                    Diagnostic(
                        "duplicate-name", f"there is a unit `{name.id}` already", name.span, help="choose another name"
                    )
                )
                return
            work.known_units[name.id] = unit_library.declare(statement, work.known_units)
        case tree.UnitSystem():
            if not module.name.startswith("units."):
                help = "declare it in the file units/NAME.mdsl beside the program, and `use units.NAME`"
                raise Rejected(
                    Diagnostic("misplaced", "a unit system has a module of its own", statement.span, help=help)
                )
            work.system = unit_library.system(module.name.removeprefix("units."), statement, work.known_units)
        case tree.SpeciesDecl(names=names):
            for identifier in names:
                if identifier.id in work.species:
                    add(identifier, work.species[identifier.id])
                work.species[identifier.id] = Global("species", identifier.id, span=identifier.span)
                declared("species", identifier)
        case tree.Topology(items=items):
            for item in items:
                if len(set(item.indices)) < len(item.indices):
                    work.report.append(
                        Diagnostic("duplicate-name", "the indices of a topology have different names", item.span)
                    )
                work.topologies[item.name.id] = len(item.indices)
                work.following += [item] if item.value is not None else []
                declared("topology", item.name)
        case tree.Data(name=name, axes=axes):
            declared("param", name, len(axes))
            work.arrays[name.id] = statement, module.scope
        case tree.Declaration(kind=kind, name=name, axes=axes):
            declared("param", name, len(axes))
            work.arrays[name.id] = statement, module.scope
            if kind == "const" and isinstance(value := work.given.get(name.id, statement).value, tree.Number):
                work.numbers[name.id] = value.value
            if kind == "state":
                work.states.add(name.id)
            if kind == "const" and any(isinstance(s, tree.UnitSystem) for s in module.program.statements):
                work.ambient[name.id] = module.declared[name.id]
        case tree.Replicas(name=name):
            declared("param", name)
        case tree.TableDecl(items=items):
            for table in items:
                declared("table", table.name, len(table.axes))
        case tree.Def():
            declared("function", statement.name)
        case tree.Equation():
            work.arrays[statement.name.id] = statement, module.scope
            declared("equation", statement.name, len(statement.axes), series=statement.kind == "observe")
        case tree.Flow() | tree.Integrator():
            declared("scheme", statement.name)
        case tree.ExternEnergy():
            declared("equation", statement.name)
        case tree.Learned() | tree.Extern():
            declared("foreign", statement.name)


def duplicate(name: tree.Identifier, earlier: Span | None) -> Diagnostic:
    """Two declarations of a name; ``earlier`` is None where the language declares it."""
    if earlier is None:
        return Diagnostic(
            "duplicate-name",
            f"`{name.id}` is built into the language",
            name.span,
            help=f"choose another name, such as `{name.id}_`",
        )
    return Diagnostic(
        "duplicate-name",
        f"`{name.id}` is declared twice",
        name.span,
        secondary=(Label(earlier, "first declared here"),),
    )
