"""A Model as a program: `print_model` writes any stage in the language itself, and it compiles to the same again.

Library functions and flows that are still used are written out under their own names. Once `inline` has written
a scheme out as updates, it is printed as an integrator of these updates.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import PurePath

from mdsl.grammar import tree
from mdsl.grammar.layout.format import format_expression, format_statement
from mdsl.grammar.layout.statements import step as step_text
from mdsl.model.dependencies import used
from mdsl.model.nodes import (
    EACH,
    Advance,
    Axis,
    Box,
    Derived,
    Equation,
    Expr,
    Function,
    Invoke,
    Lambda,
    Loop,
    Model,
    Network,
    OfAll,
    Output,
    Param,
    Reduce,
    Setup,
    Table,
    Weights,
    bound,
    names_in,
    walk,
)
from mdsl.model.traverse import inside
from mdsl.resolve.builders import BUILDERS

from .dimensions import redimension
from .expressions import NOWHERE, Expressions, Names, Place, call, identifier, name_of, shared
from .flows import Schemes

INDICES = "ijklmnopqrst"
PRELUDE = "stdlib/prelude.mdsl"


def print_model(model: Model) -> str:
    """The program that means what a Model means."""
    blocks = _Printer(redimension(model)).blocks()
    return "\n".join("".join(format_statement(s).rstrip("\n") + "\n" for s in block) for block in blocks if block)


def print_params(model: Model) -> list[str]:
    """The declarations of parameters and constants that have values of their own: no data, no tables."""
    printer = _Printer(redimension(model))
    return [
        format_statement(printer.param(p))
        for p in printer.model.params
        if not (p.data or p.table or isinstance(p.learned, Weights) or printer._ambient(p))
    ]


def printed_steps(model: Model, advance: Advance) -> list[str]:
    """The updates and draws of a statement of dynamics, each as it stands in an integrator; options by name."""
    at_top = {s.name: s.param for s in advance.states if s.param is not None}
    steps = _Printer(model).schemes.steps(advance.statements, _by_option(advance), at_top)
    return [step_text(step) for step in steps]


def printed_memory(model: Model, advance: Advance) -> tuple[list[str], list[str]]:
    """The states of a statement of dynamics with what they begin from, and what can be recorded of it."""
    printer = _Printer(model)
    states = [
        f"{s.name} = {format_expression(printer.exprs.expr(s.value, _by_option(advance)))}" for s in advance.states
    ]
    return states, [
        f"{e.name} = {format_expression(printer.exprs.expr(e.body, _by_option(advance)))}" for e in advance.observes
    ]


def _by_option(advance: Advance) -> Place:
    return Place(known={id(value): name for name, value in advance.options})


class _Printer:
    def __init__(self, model: Model):
        self.model = model
        self.functions = {f.symbol: f for f in model.functions}
        symbols = {s.symbol for s in model.schemes}
        self.used = _used(model)
        self.names = Names(model, {*self.functions, *symbols} & self.used, _locals(model, self.used))
        self.exprs = Expressions(model, self.names)
        self.schemes = Schemes(self.exprs)

    def blocks(self) -> list[list[tree.Statement]]:
        model = self.model
        run = [self.run()] if model.run else []
        functions = [self.definition(f) for f in model.functions if f.symbol in self.used]
        equations: list[list[tree.Statement]] = [[]]
        for equation in model.equations:
            if equation.span.source.name == PRELUDE:  # every program has these anyway
                continue
            written = self.equation(equation)
            if isinstance(written, tree.ExternEnergy) or written.where or equation.kind != "observe":
                equations += [[written], []]
            else:
                equations[-1].append(written)
        box = [self.box(model.box)] if model.box else []
        externs = [
            tree.Extern(NOWHERE, identifier(e.name), tuple(map(identifier, e.parameters))) for e in model.externs
        ]
        params = [
            *self.tables(),
            *externs,
            *(
                self.param(p)
                for p in model.params
                if p.table is None and not isinstance(p.learned, Weights) and not self._ambient(p)
            ),
        ]
        schemes = [self.schemes.scheme(s) for s in model.schemes if s.symbol in self.used] + self.schemes.written
        return [
            [*self.head(), *self.labels()],
            params,
            box,
            self.exprs.definitions,
            functions,
            *equations,
            schemes,
            run,
        ]

    # -- what a program begins with --------------------------------------------------------------------

    def _ambient(self, param: Param) -> bool:
        """Whether a constant comes with the module of the unit system."""
        parts = PurePath(param.span.source.name).parts
        return param.span.source is not self.model.source and parts[-2:] == ("units", f"{self.model.units.name}.mdsl")

    def head(self) -> list[tree.Statement]:
        out: list[tree.Statement] = [tree.Use(NOWHERE, ("units", *self.model.units.name.split(".")), None)]
        if self.model.dim != 3:
            out.append(tree.Dim(NOWHERE, self.model.dim))
        return out

    def labels(self) -> list[tree.Statement]:
        model = self.model
        out: list[tree.Statement] = []
        if model.species:
            out.append(tree.SpeciesDecl(NOWHERE, tuple(map(identifier, model.species))))
        if model.frozen:
            out.append(tree.Frozen(NOWHERE, tuple(map(identifier, model.frozen))))
        if model.topologies:
            follows = {d.name: self.following(d) for d in model.derived}
            items = (
                tree.TopologyItem(NOWHERE, identifier(name), tuple(INDICES[:arity]), follows.get(name))
                for name, arity in model.topologies
            )
            out.append(tree.Topology(NOWHERE, tuple(items)))
        return out

    def following(self, topology: Derived) -> tree.Expr:
        of = name_of(topology.of)
        if topology.label:
            return call(name_of("of_type"), of, tree.Text(NOWHERE, topology.label))
        return (
            call(name_of("apart"), of, tree.Number(NOWHERE, str(topology.count)))
            if topology.count
            else call(name_of("path"), of)
        )

    # -- declarations ----------------------------------------------------------------------------------

    def param(self, param: Param) -> tree.Statement:
        if isinstance(param.learned, Network):
            sizes = (tree.Number(NOWHERE, str(size)) for size in param.learned.sizes)
            return tree.Learned(NOWHERE, identifier(param.name), call(name_of("mlp"), *sizes))
        if param.data is not None:
            return tree.Data(
                NOWHERE, identifier(param.name), tuple(_axis(a, None) for a in param.axes), param.data.unit
            )
        if param.numbers is not None:
            return tree.Replicas(NOWHERE, identifier(param.name), _range(param.numbers))
        if param.default is None:
            raise AssertionError(f"{param.name} has no value")
        locals_ = frozenset({param.binder} if param.binder else ())
        value = self.exprs.expr(param.default, Place(locals=locals_))
        axes = tuple(_axis(a, param.binder) for a in param.axes)
        return tree.Declaration(NOWHERE, param.lifetime, identifier(param.name), axes, value)

    def tables(self) -> list[tree.Statement]:
        """A statement for each file that is read."""
        statements: dict[int, tuple[Table, list[Param]]] = {}
        for param in self.model.params:
            if param.table is not None:
                statements.setdefault(id(param.table.call), (param.table, []))[1].append(param)
        out: list[tree.Statement] = []
        for table, params in statements.values():
            reader, path, options = table.call
            items = tuple(
                tree.TableItem(NOWHERE, identifier(p.name), tuple(_axis(a, None) for a in p.axes)) for p in params
            )
            named = tuple(tree.Named(NOWHERE, name, self.exprs.expr(value, Place())) for name, value in options)
            out.append(
                tree.TableDecl(NOWHERE, items, tree.Call(NOWHERE, name_of(reader), (tree.Text(NOWHERE, path),), named))
            )
        return out

    def box(self, box: Box) -> tree.Statement:
        if box.edges == (None,):
            return tree.Box(NOWHERE, name_of("free"))
        edges = [name_of("free") if e is None else self.exprs.expr(e, Place()) for e in box.edges]
        if not box.tilts:
            return tree.Box(NOWHERE, call(name_of("periodic"), *edges))
        tilts, dim, vectors = iter(box.tilts), len(edges), []
        for k, edge in enumerate(edges):
            before = tuple(self.exprs.expr(next(tilts), Place()) for _ in range(k))
            zeros = (tree.Number(NOWHERE, "0"),) * (dim - k - 1)
            vectors.append(edge if box.edges[k] is None else tree.Tuple(NOWHERE, (*before, edge, *zeros)))
        return tree.Box(NOWHERE, call(name_of("triclinic"), *vectors))

    def definition(self, function: Function) -> tree.Statement:
        groups, body = [], function.value
        while isinstance(body, Lambda):
            groups.append(tuple(map(identifier, body.parameters)))
            body = body.body
        helpers: list[tree.Binding] = []
        value = self.exprs.expr(body, Place(helpers=helpers, shared=shared(body)))
        return tree.Def(NOWHERE, identifier(self.names.symbol(function.symbol)), tuple(groups), value, tuple(helpers))

    def equation(self, equation: Equation) -> tree.Equation | tree.ExternEnergy:
        match equation.body:
            case Reduce(body=OfAll(inputs=inputs, radius=radius)):
                within = self.exprs.expr(radius[0], Place()) if radius else None
                parameters = tuple(
                    tree.Parameter(NOWHERE, name, within if name == "neighbours" else None) for name in inputs
                )
                return tree.ExternEnergy(NOWHERE, identifier(equation.name), parameters)
        helpers: list[tree.Binding] = []
        series = equation.series
        own = frozenset(equation.binders[-1:] if series is not None else ())
        place = Place(own, helpers, shared=shared(equation.body))
        value = self.exprs.expr(equation.body, place)
        axes = tuple(
            _axis(series, b) if series is not None and b in own else tree.Axis(NOWHERE, self.names.index(b))
            for b in equation.binders
        )
        return tree.Equation(NOWHERE, equation.kind, identifier(equation.name), axes, value, tuple(helpers))

    # -- the run ---------------------------------------------------------------------------------------

    def run(self) -> tree.Statement:
        return tree.Run(
            NOWHERE, tuple(self.setup(s) if isinstance(s, Setup) else self.advance(s) for s in self.model.run)
        )

    def setup(self, setup: Setup) -> tree.Update | tree.Draw:
        options: dict[str, list[tree.Expr]] = {}
        for name, value in setup.options:
            options.setdefault(name.partition(".")[0], []).append(self.exprs.expr(value, Place()))
        named = tuple(
            tree.Named(NOWHERE, n, v[0] if len(v) == 1 else tree.Tuple(NOWHERE, tuple(v))) for n, v in options.items()
        )
        builder = tree.Call(NOWHERE, name_of(setup.builder), (), named)
        if BUILDERS[setup.builder].op == "~":
            return tree.Draw(NOWHERE, identifier(setup.target), builder)
        return tree.Update(NOWHERE, identifier(setup.target), "=", builder)

    def advance(self, advance: Advance) -> tree.Advance:
        if advance.body is None:
            name, parameters = self.names.symbol(advance.scheme), {n: n for n, _ in advance.options}
        else:
            name, parameters = self.schemes.advance(advance)
        named = tuple(tree.Named(NOWHERE, parameters[n], self.exprs.expr(v, Place())) for n, v in advance.options)
        outputs = tuple(self.output(o) for o in advance.outputs)
        until = None if advance.until is None else self.exprs.expr(advance.until, Place())
        return tree.Advance(
            NOWHERE,
            tree.Call(NOWHERE, name_of(name), (), named),
            self.exprs.expr(advance.steps, Place()),
            outputs,
            until,
        )

    def output(self, output: Output) -> tree.Record | tree.Write | tree.Exchange:
        every = None if output.every is None else self.exprs.expr(output.every, Place())
        if output.kind == "write":
            path, *names = output.names
            return tree.Write(NOWHERE, tree.Text(NOWHERE, path), every, tuple(map(identifier, names)))
        if output.kind == "exchange" and every is not None:
            return tree.Exchange(NOWHERE, identifier(output.names[0]), every)
        return tree.Record(NOWHERE, tuple(map(identifier, output.names)), every)


def _axis(axis: Axis, binder: str | None) -> tree.Axis:
    if binder is None or axis.kind != "range":
        return tree.Axis(NOWHERE, axis.kind)
    return tree.Axis(NOWHERE, binder, _range(axis))


def _range(axis: Axis) -> tree.Range:
    return tree.Range(NOWHERE, tree.Number(NOWHERE, str(axis.first)), tree.Number(NOWHERE, str(axis.last)))


# -- what is named in a Model --------------------------------------------------------------------------


def _expressions(model: Model) -> list[Expr]:
    """The expressions outside functions and schemes."""
    return inside(replace(model, functions=(), schemes=()))


def _used(model: Model) -> set[str]:
    """The functions and schemes that a program declares, and those of modules that it uses in the end."""
    start = names_in(tuple(_expressions(model))).union(s.scheme for s in model.run if isinstance(s, Advance))
    symbols = [*(f.symbol for f in model.functions), *(s.symbol for s in model.schemes)]
    return {*used(model, start.union(s for s in symbols if "." not in s))}


def _locals(model: Model, used: set[str]) -> set[str]:
    """Every name that is bound somewhere inside: parameters, indices, values of flows."""
    found: set[str] = {p.binder for p in model.params if p.binder}
    for equation in model.equations:
        found |= set(equation.binders)
    for scheme in (s for s in model.schemes if s.symbol in used):
        found |= {*scheme.parameters, *(s.name for s in scheme.states), *(e.name for e in scheme.observes)}
        found |= {
            s.variable if isinstance(s, Loop) else s.target for s in scheme.statements() if not isinstance(s, Invoke)
        }
    for step in model.run:
        if isinstance(step, Advance):
            found |= {n for n, _ in step.options} | {s.target for s in step.statements}
            found |= {s.name for s in step.states} | {e.name for e in step.observes}
    for e in (*_expressions(model), *(f.value for f in model.functions if f.symbol in used)):
        for node in walk(e):
            found |= {*bound(node)}
    return found - {EACH}
