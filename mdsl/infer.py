"""Pass `infer`: every expression gets a type and a physical dimension, or a diagnostic.

Before: a first-order Model. After: every `Expr.type` is set, the difference of two points is the operation
`displacement`, `dim` is a number, and every parameter knows its type.
"""

from __future__ import annotations

from dataclasses import replace

from mdsl.grammar.diagnostics import Diagnostic, Label

from . import dimensions
from .builders import BUILDERS
from .constants import constant_value
from .dimensions import LENGTH, NAMED, ONE, Dimension
from .faults import fault
from .box import decided_by
from .box_shape import check_box
from .infer_flow import infer_advance, same_observes
from .model import (
    Advance,
    Axis,
    Area,
    Call,
    Equation,
    Expr,
    Label as SpeciesLabel,
    Model,
    Network,
    Number,
    Op,
    Param,
    Read,
    Reduce,
    Setup,
    Slope,
    Tabulated,
    TableOf,
    Text,
    Type,
    walk,
)
from .operators import BUILTINS
from .typing_rules import Context, Mismatch, type_of

MOST_STEPS = 2**31 - 1  # steps are counted by 32 bits on the device
BEYOND_POSITIONS = {
    "v": "velocities", "f": "forces", "potential": "the potential", "virial": "the virial",
    "cell": "the box", "travelled": "the way of the atoms", "v_start": "velocities", "t_start": "the time of the run",
}  # fmt: skip
UNKNOWN = Type("unknown", None)


class Inference:
    def __init__(self, model: Model, report: list[Diagnostic]):
        self.model = model
        self.report = report
        self.length = model.units.dimension(LENGTH)
        self.locals: dict[str, Type] = {}
        self.ranges: dict[str, Axis] = {}  # of the locals that are an index of a range
        self.params: dict[str, Param] = {}
        self.equations: dict[str, Equation] = {}
        self.active: list[str] = []
        self.memo: dict[int, tuple[Expr, Expr]] = {}

    def builtin(self, name: str) -> Type:
        builtin = BUILTINS[name]
        dimension = LENGTH**self.model.dim if name == "volume" else NAMED[builtin.dimension]
        return Type(builtin.kind, self.model.units.dimension(dimension))

    # -- expressions -----------------------------------------------------------------------------------

    def typed(self, expr: Expr) -> Expr:
        known = self.memo.get(id(expr))
        if known is None:
            known = self.memo[id(expr)] = (expr, self._typed(expr))
        return known[1]

    def _typed(self, expr: Expr) -> Expr:
        match expr:
            case Number(value=value, dimension=dimension):
                # Zero is zero in every unit.
                return replace(expr, type=Type("scalar", None if value == 0 else dimension))
            case Text():
                return replace(expr, type=Type("text"))
            case SpeciesLabel():
                return replace(expr, type=Type("label"))
            case Read(symbol="dim", indices=()):  # so that it can be an exponent
                return Number(float(self.model.dim), span=expr.span, via=expr.via, type=Type("scalar", ONE))
            case Read():
                return replace(expr, type=self.read(expr))
            case Reduce(body=body):
                body = self.typed(body)
                if expr.op != "sum" and body.type.kind not in ("scalar", "unknown"):
                    self.fail("wrong-type", f"`{expr.op}` compares numbers, not {body.type}", body, help="of a vector take its length `|d|` or a component `d.x`" if body.type.kind == "vector" else None)
                    return replace(expr, body=body, type=UNKNOWN)
                if body.type.kind not in ("scalar", "vector", "matrix", "unknown"):
                    self.fail("wrong-type", f"a sum adds numbers, vectors or matrices, not {body.type}", body)
                    return replace(expr, body=body, type=UNKNOWN)
                return replace(expr, body=body, type=body.type)
            case Tabulated():
                return self.tabulated(expr)
            case TableOf(entries=entries):
                typed = tuple((labels, self.typed(value)) for labels, value in entries)
                return replace(expr, entries=typed, type=self.common([v for _, v in typed]))
            case Slope(variable=variable, body=body, at=at):
                at = self.typed(at)
                outer, self.memo = self.memo, {}
                self.locals[variable] = at.type
                body = self.typed(body)
                self.memo = outer
                if "unknown" in (at.type.kind, body.type.kind):
                    return replace(expr, body=body, at=at, type=UNKNOWN)
                if at.type.kind != "scalar" or body.type.kind != "scalar":
                    self.fail("wrong-type", f"D differentiates a number by a number, not {body.type} by {at.type}", expr)
                dimension = None if None in (at.type.dimension, body.type.dimension) else body.type.dimension / at.type.dimension
                return replace(expr, body=body, at=at, type=Type("scalar", dimension))
            case Area():
                return self.area(expr)
            case Call():
                return self.call(expr)
            case Op(op=op, args=args):
                args = tuple(self.typed(a) for a in args)
                if op == "sub" and all(a.type.kind == "point" for a in args):
                    op = "displacement"
                exponent = constant_value(args[1], self.model.dim) if op == "pow" else None
                try:
                    kind = type_of(op, tuple(a.type for a in args), Context(self.length, exponent, self.model.dim))
                except Mismatch as mismatch:
                    self.mismatch(mismatch, expr, args)
                    kind = UNKNOWN
                return replace(expr, op=op, args=args, type=kind)
        raise AssertionError(f"{type(expr).__name__} is not first order")

    def tabulated(self, expr: Tabulated) -> Expr:
        at, table = self.typed(expr.at), self.model.param(expr.table).table
        expr = replace(expr, which=self.typed(expr.which), at=at)
        argument, result = (self.model.units.dimension(d) for d in (table.argument, table.result))
        if at.type.kind not in ("scalar", "index", "unknown"):
            self.fail("wrong-type", f"`{expr.table}` is a function of a number, not of {at.type}", at, help="of a vector take its length `|d|`" if at.type.kind == "vector" else None)
            return replace(expr, type=UNKNOWN)
        if at.type.kind == "scalar" and at.type.dimension not in (None, argument):
            self.fail("wrong-unit", f"`{expr.table}` is a function of {_article(argument)}, but is given {at.type}", at)
            return replace(expr, type=UNKNOWN)
        return replace(expr, type=Type("scalar", result / argument**expr.order))

    def call(self, expr: Call) -> Call:
        """A learned or extern function: of pure numbers, or of the entries of one quantity; a pure number."""
        args = tuple(self.typed(a) for a in expr.args)
        expr = replace(expr, args=args, type=UNKNOWN)
        inputs = args[1:] if isinstance(expr.body, Network) else args
        if any(a.type.kind == "unknown" for a in inputs):
            return expr
        takes = f"`{expr.function}` takes {'one number' if expr.body.inputs == 1 else f'{expr.body.inputs} numbers'}"
        for a in inputs:
            if a.type.kind not in ("scalar", "index", "array"):
                help = "of a vector take its length `|d|`" if a.type.kind == "vector" else "a species decides between functions: `if species[i] == A then ... else ...`" if a.type.kind == "label" else None
                self.fail("wrong-type", f"{takes}, not {a.type}", a, help=help)
                return expr
            if a.type.kind != "index" and a.type.dimension not in (None, ONE):
                self.fail("wrong-unit", f"`{expr.function}` takes pure numbers, not {_plural(a.type)}", a, help="divide by a quantity of the same dimension first")
                return expr
        learned = isinstance(expr.body, Network)
        given, arrays = len(inputs), [a for a in inputs if a.type.kind == "array"]
        if learned and arrays:
            if given > 1:
                self.fail("wrong-arguments", f"{takes}: the entries of one quantity, or numbers one by one", expr)
                return expr
            given = arrays[0].type.size
        if given != expr.body.inputs:
            span = self.model.param(expr.function).span if learned else expr.body.span
            help = f"`mlp({', '.join(map(str, (given, *expr.body.sizes[1:])))})` takes {given}" if learned and given else None
            self.fail("wrong-arguments", f"{takes}, but is given {given}", expr, secondary=(Label(span, "declared here"),), help=help)
            return expr
        return replace(expr, type=Type("scalar"))

    def area(self, expr: Area) -> Expr:
        """An integral: the variable is what the bounds are; only they may be infinite."""
        lower, upper = (self.bound(b) for b in (expr.lower, expr.upper))
        kind = upper.type if lower.type.dimension is None or upper.type.kind == "unknown" else lower.type
        strange = next((b for b in (lower, upper) if b.type.kind not in ("scalar", "unknown")), None)
        if strange is not None:
            self.fail("wrong-type", f"the bounds of an integral are numbers, not {strange.type}", strange)
            kind = UNKNOWN
        elif None not in (lower.type.dimension, upper.type.dimension) and lower.type.dimension != upper.type.dimension:
            self.fail("wrong-unit", f"an integral goes from {lower.type} to {upper.type}", expr)
            kind = UNKNOWN
        outer, self.memo = self.memo, {}
        self.locals[expr.variable] = kind
        body = self.typed(expr.body)
        self.memo = outer
        result = Type("scalar", None if None in (kind.dimension, body.type.dimension) else body.type.dimension * kind.dimension)
        if body.type.kind not in ("scalar", "unknown"):
            self.fail("wrong-type", f"integral adds up numbers, not {body.type}", expr)
        if "unknown" in (kind.kind, body.type.kind):
            result = UNKNOWN
        return replace(expr, body=body, lower=lower, upper=upper, type=result)

    def bound(self, expr: Expr) -> Expr:
        """A bound of an integral; no end is one in any unit."""
        match expr:
            case Read(symbol="infinity"):
                return replace(expr, type=Type("scalar", None))
            case Op(op="neg", args=(Read(symbol="infinity") as end,)):
                return replace(expr, args=(self.bound(end),), type=Type("scalar", None))
        return self.typed(expr)

    def mismatch(self, mismatch: Mismatch, expr: Expr, args: tuple[Expr, ...]) -> None:
        source = self.model.source
        if isinstance(expr, Op) and expr.op == "choose":
            args = args[1:] if args[0].type.kind == "bool" else args[:1]
        secondary = tuple(
            Label(a.span, f"this is {a.type}")
            for a in args
            if a.span is not None and a.span.source is source and not (a.span.start == expr.span.start and a.span.end == expr.span.end)
        )
        notes = self.given(expr, args) if expr.span is not None and expr.span.source is not source else ()
        self.report.append(fault(source, mismatch.id, mismatch.message, expr, secondary if len(args) > 1 else (), notes=notes, help=mismatch.help))

    def given(self, expr: Expr, args: tuple[Expr, ...]) -> tuple[str, ...]:
        """What a formula of the library has been given, since there the mistake is."""
        reads = {n.symbol: n.type for a in args for n in walk(a) if isinstance(n, Read) and n.span is not None and n.span.source is self.model.source}
        said = [f"`{name}` is {kind}" for name, kind in reads.items() if self.model.param(name) is not None and kind is not None]
        return (f"here {', '.join(said)}",) if said else ()

    def fail(self, id: str, message: str, at: Expr, **more) -> None:
        self.report.append(fault(self.model.source, id, message, at, **more))

    def common(self, values: list[Expr]) -> Type:
        """The type that all entries of a table share."""
        types = [v.type for v in values]
        first = next((t for t in types if t.dimension is not None), types[0] if types else UNKNOWN)
        for value in values:
            if value.type.kind != first.kind or value.type.dimension not in (None, first.dimension):
                self.fail("wrong-unit", f"this entry is {value.type}, others are {first}", value)
                return UNKNOWN
        return first

    def read(self, expr: Read) -> Type:
        symbol, indices = expr.symbol, expr.indices
        if expr.type is not None:
            return expr.type
        if symbol in self.locals and len(indices) <= 1:
            return self.locals[symbol]
        if symbol == "m" and len(indices) == 1:
            return self.builtin("m")
        declared = self.model.param(symbol)
        if declared is not None:
            param = self.param(declared)
            for index, axis in zip(indices, param.axes):
                counts = isinstance(index, int) or index in self.locals  # a whole number, or an index of a range
                if isinstance(index, int) and axis.kind != "range":
                    self.fail("wrong-index", f"`{symbol}` has no entry {index}", expr)
                elif counts and axis.kind == "range":
                    self.entry(expr, index, axis)
                elif counts != (axis.kind == "range") or isinstance(index, SpeciesLabel) and axis.kind == "atoms":
                    kind = f"whole numbers from {axis.first} to {axis.last}" if axis.kind == "range" else axis.kind
                    shown = index.species if isinstance(index, SpeciesLabel) else index
                    self.fail("wrong-index", f"the indices of `{symbol}` are {kind}, which `{shown}` is not", expr)
            return param.type
        equation = self.model.equation(symbol)
        if equation is not None:
            if equation.series is not None and len(indices) == len(equation.binders):
                self.entry(expr, indices[-1], equation.series)
            if equation.kind == "quantity" and any(i in self.locals for i in indices[:1]):
                self.fail("wrong-index", f"`{symbol}` is one for each atom, and `{indices[0]}` is a number", expr)
            kind = self.equation(equation, expr).body.type
            if len(indices) < len(equation.binders) and equation.kind == "quantity" and kind.kind != "unknown":
                return Type("array", kind.dimension, equation.series.last + 1 - equation.series.first)
            return kind
        if symbol == "infinity":
            self.fail("misplaced", "`infinity` is no number: it is only a bound of an integral", expr, help="a function without a cutoff needs none")
            return UNKNOWN
        if symbol in BUILTINS:
            if any(i in self.ranges for i in indices):
                self.fail("wrong-index", f"`{symbol}` is one for each atom, and `{indices[0]}` is a number", expr)
            return self.builtin(symbol)
        return UNKNOWN  # its declaration was wrong, which has been said

    def entry(self, expr: Read, index, axis: Axis) -> None:
        """The index of a series is a number of its range, or an index of a range that has no others."""
        numbers = Axis("range", index, index) if isinstance(index, int) else self.ranges.get(index)
        if numbers is not None:
            wrong = next((n for n in (numbers.first, numbers.last) if not axis.first <= n <= axis.last), None)
            if wrong is not None:
                self.fail("wrong-index", f"`{expr.symbol}` has no entry {wrong}", expr, help=f"its entries are {axis.first} to {axis.last}")
        elif not isinstance(index, str) or index not in self.locals:
            shown = index.species if isinstance(index, SpeciesLabel) else index
            self.fail("wrong-index", f"the indices of `{expr.symbol}` are whole numbers from {axis.first} to {axis.last}, which `{shown}` is not", expr)

    # -- declarations ----------------------------------------------------------------------------------

    def param(self, param: Param) -> Param:
        known = self.params.get(param.name)
        if param.table is not None:
            return replace(param, type=Type("scalar"))
        if param.data is not None or param.learned is not None:
            return param
        if known is None:
            if param.name in self.active:
                self.report.append(Diagnostic("cyclic-definition", f"`{param.name}` is defined by itself", param.span, notes=self.circle(param.name)))
                return replace(param, type=UNKNOWN)
            self.active.append(param.name)
            if param.binder is not None:
                self.locals[param.binder] = Type("scalar")
                self.ranges[param.binder] = param.axes[0]
            default = self.typed(param.default)
            if param.binder is not None:
                del self.locals[param.binder], self.ranges[param.binder]
                self.memo = {}
            self.active.pop()
            kind = default.type
            if kind.kind == "index":  # `const shift[k in 1..16] = k`
                kind = Type("scalar")
            self.before_run(default, f"`{param.name}`")
            if kind.kind not in ("scalar", "unknown"):
                self.fail("wrong-type", f"a {param.lifetime} is a number or a table of numbers, not {kind}", default)
                kind = UNKNOWN
            if param.name == "m" and (len(param.axes) > 1 or param.binder is not None):
                self.report.append(Diagnostic("bad-axis", "`m` is the mass of the atoms: one for all, or one for each species", param.span, help="`param m = 1.0` or `param m[species] = { A: 1.0, B: 2.0 }`"))
            if param.name == "m" and kind.dimension not in (None, self.builtin("m").dimension):
                self.fail("wrong-unit", f"`m` is the mass of the atoms, but this is {kind}", default)
            if kind.dimension is None and kind.kind == "scalar":
                # A parameter that is 0 by default is what its unit says, without one a pure number.
                zeros = [v for _, v in default.entries] if isinstance(default, TableOf) else [default]
                kind = Type("scalar", next((z.dimension for z in zeros if isinstance(z, Number)), ONE))
            known = self.params[param.name] = replace(param, default=default, type=kind)
        return known

    def equation(self, equation: Equation, at: Expr | None = None) -> Equation:
        known = self.equations.get(equation.name)
        if known is None:
            if equation.name in self.active:
                self.report.append(Diagnostic("cyclic-definition", f"`{equation.name}` is defined by itself", equation.span, notes=self.circle(equation.name)))
                return replace(equation, body=Read("?", span=equation.span, type=UNKNOWN))
            self.active.append(equation.name)
            outside = self.locals, self.ranges, self.memo
            if equation.series is not None or self.locals:
                series = {equation.binders[-1]: equation.series} if equation.series else {}
                self.locals, self.ranges, self.memo = {b: Type("scalar") for b in series}, series, {}
            body = self.typed(equation.body)
            self.locals, self.ranges, self.memo = outside
            self.active.pop()
            if equation.series is not None and body.type.kind == "index":  # `observe bin[k in 1..9] = k`
                body = Op("add", (body, Number(0.0, type=Type("scalar", None))), span=body.span, type=Type("scalar"))
            if equation.kind == "observe" and body.type.kind not in ("scalar", "vector", "matrix", "unknown"):
                help = "the vector from the corner of the box is `x[i] - origin`" if body.type.kind == "point" else None
                self.fail("wrong-type", f"an observable is a number, a vector or a matrix, not {body.type}", body, help=help)
            if equation.kind == "quantity" and equation.series is not None and body.type.kind not in ("scalar", "unknown"):
                self.fail("wrong-type", f"a quantity over a range is a number for each atom and entry, not {body.type}", body)
            elif equation.kind == "quantity" and body.type.kind not in ("scalar", "vector", "matrix", "unknown"):
                self.fail("wrong-type", f"a quantity is a number, a vector or a matrix for each atom, not {body.type}", body)
            if equation.kind == "energy":
                wanted = self.model.units.dimension(dimensions.ENERGY)
                if body.type.kind not in ("scalar", "unknown"):
                    vector = body.type.kind == "vector"
                    self.fail("wrong-type", f"an energy is a number, not {body.type}", body, help="of a vector take its length `|d|` or a component `d.x`" if vector else None)
                elif body.type.kind == "scalar" and (found := self.beyond_positions(body, {equation.name})):
                    self.fail("misplaced", f"an energy depends on positions, but this reads {found[1]}", found[0], help="forces are its derivative by positions; what is only to be recorded is an `observe`")
                elif body.type.dimension not in (None, wanted) and body.type.kind == "scalar":
                    self.fail("wrong-unit", f"`{equation.name}` should be an energy, but is {body.type}", body)
            known = self.equations[equation.name] = replace(equation, body=body)
        return known

    def circle(self, name: str) -> tuple[str, ...]:
        """How a definition comes back to itself."""
        names = [*self.active[self.active.index(name) :], name]
        return (" needs ".join(f"`{n}`" for n in names),) if len(names) > 2 else ()

    def beyond_positions(self, body: Expr, seen: set[str]) -> tuple[Expr, str] | None:
        """Where an energy reads, also through observables, what follows from forces or motion, or has none; None if
        nowhere."""
        for node in walk(body):
            if isinstance(node, Reduce) and node.op != "sum":
                return node, f"`{node.op}`, which has no force"
            if not isinstance(node, Read):
                continue
            param = self.model.param(node.symbol)
            if param is not None and param.lifetime == "state":
                return node, f"the state `{node.symbol}`"
            if node.symbol in BEYOND_POSITIONS and param is None:
                return node, BEYOND_POSITIONS[node.symbol]
            other = self.model.equation(node.symbol)
            if other is not None and other.name not in seen:
                found = self.beyond_positions(other.body, seen | {other.name})
                if found is not None:
                    return node, found[1]
        return None

    def before_run(self, expr: Expr, what: str, also: tuple[str, ...] = ()) -> None:
        """Only numbers that are known before the run may stand here."""
        for node in walk(expr):
            name = node.symbol if isinstance(node, Read) else None
            atoms = isinstance(node, Reduce) or name is not None and self.model.equation(name) is not None
            param = self.model.param(name) if name is not None else None
            builtin = param is not None and param.lifetime == "state" or name in BUILTINS and param is None and name not in ("pi", "dim", "infinity", *also)
            if atoms or builtin:
                shown = f"`{name}`" if name else "a sum over atoms"
                help = "a function of time is a `def`, and stands where a scheme takes it: `def T_bath(t) = 1.5 - 0.01*t`" if name == "t" else None
                self.fail("nonconstant", f"{what} must be known before the run, but this reads {shown}", node, help=help)
                return

    def whole(self, expr: Expr, what: str, least: int) -> Expr:
        """A whole number, as far as it can be told without the values of parameters."""
        expr = self.want(expr, ONE, what)
        self.before_run(expr, what)
        value = constant_value(expr)
        if value is not None and value > MOST_STEPS:
            self.fail("bad-number", f"{what} is at most {MOST_STEPS:_}", expr)
        elif value is not None and (value != int(value) or value < least):
            self.fail("bad-number", f"{what} is a whole number{', at least 1' if least else ''}, not {value:g}", expr)
        return expr

    # -- the run ---------------------------------------------------------------------------------------

    def want(self, expr: Expr, dimension: Dimension | None, what: str) -> Expr:
        """A number of the given dimension (None: any)."""
        expr = self.typed(expr)
        if expr.type.kind == "unknown":
            return expr
        if expr.type.kind != "scalar":
            self.fail("wrong-type", f"{what} is a number, not {expr.type}", expr)
        elif dimension is not None and expr.type.dimension not in (None, dimension):
            help = None
            if expr.type.dimension.is_one and not dimension.is_one:
                shown = self.model.units.display(dimension).text
                help = f"give it a unit: `{expr.span.text if expr.span else '...'} [{shown}]`"
            self.fail("wrong-unit", f"{what} is {_article(dimension)}, but this is {expr.type}", expr, help=help)
        return expr

    def setup(self, step: Setup) -> Setup:
        builder = BUILDERS[step.builder]
        options = []
        for name, value in step.options:
            option = builder.option(name.split(".")[0])
            what = f"`{option.name}` of {step.builder}"
            if option.kind in ("number", "count", "counts"):
                dimension = LENGTH**-self.model.dim if option.dimension == "number density" else NAMED[option.dimension]
                value = self.whole(value, what, 0) if option.kind in ("count", "counts") else self.want(value, self.model.units.dimension(dimension), what)
            else:
                value = self.typed(value)
                wanted = {"text": ("text",), "species": ("label", "scalar", "unknown")}[option.kind]
                if value.type.kind not in wanted:
                    self.fail("wrong-type", f"{what} is {'a text in quotes' if option.kind == 'text' else 'a species'}, not {value.type}", value)
            self.before_run(value, what)
            options.append((name, value))
        return replace(step, options=tuple(options))


def _plural(kind: Type) -> str:
    return str(replace(kind, kind="scalar")) if kind.kind == "array" else str(kind)


def _article(dimension: Dimension) -> str:
    name = str(Type("scalar", dimension))
    return name if name.startswith("a ") else f"{'an' if name[0] in 'aeiou' else 'a'} {name}"


def infer(model: Model) -> tuple[Model, list[Diagnostic]]:
    """The typed Model, and every place where types or dimensions do not agree."""
    report: list[Diagnostic] = []
    inference = Inference(model, report)
    params = tuple(inference.param(p) for p in model.params)
    equations = tuple(inference.equation(e) for e in model.equations)
    box = model.box
    if box is not None:
        length = model.units.dimension(LENGTH)
        if len(box.edges) not in ((model.dim,) if box.tilts else (1, model.dim)):
            report.append(Diagnostic("bad-box", f"the box has {len(box.edges)} {'vectors' if box.tilts else 'edges'}, space {model.dim} dimensions", box.span))
        box = box.map(lambda e: inference.want(e, length, "an edge of the box"))
        for entry in box.exprs:
            inference.before_run(entry, "an edge of the box", also=("N", "t"))
        for param in (p for p in model.params if p.lifetime == "state" and p.name in decided_by(model)):
            report.append(Diagnostic("nonconstant", f"the box reads `{param.name}`, a state", box.span, help="a flow changes the box by `cell = ...`"))
    run = tuple(infer_advance(inference, s) if isinstance(s, Advance) else inference.setup(s) for s in model.run)
    same_observes(run, report)
    model = replace(model, params=params, equations=equations, box=box, run=run)
    if not any(d.severity == "error" for d in report):
        report += check_box(model)
    return model, report


