"""Pass `inline`: functions, flows and integrators are written out where they are used.

Before: Lambda, Apply, Derivative, Invoke, `Model.functions` and `Model.schemes`. After: first-order
expressions only; `D(u)(a)` has become Slope, `integral(u, a, b)` Area, every Advance has its body. Evaluation is by
name, with sharing: an argument used ten times stays one object.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from mdsl.grammar.diagnostics import Diagnostic
from mdsl.grammar.diagnostics import Label as Place
from mdsl.grammar.source import Span
from mdsl.model.domains import Over
from mdsl.model.faults import fault
from mdsl.model.literals import constant_truth, constant_value, whole_value
from mdsl.model.nodes import (
    EACH,
    UNKNOWN,
    UNTYPED,
    Advance,
    Apply,
    Area,
    Call,
    Derivative,
    Equation,
    Expr,
    Function,
    Integral,
    Label,
    Lambda,
    Model,
    Network,
    Number,
    Op,
    Read,
    Reduce,
    Scheme,
    Setup,
    Slope,
    TableOf,
    Text,
    Type,
    children,
    rebuild,
    transform,
)
from mdsl.model.operators import BUILTINS
from mdsl.model.traverse import mapped

from .closures import Cells, Closure, Env, Opaque, Slopes, Value
from .flows import inline_advance

DEEPEST = 50  # calls inside calls, before a definition is taken to be circular
MOST_CALLS = 20_000  # calls that one expression may come to when they are written out


class Inliner:
    """What is known while a Model is written out: its functions and schemes, the names that are taken, how many calls
    were followed. ``report`` takes what is wrong."""

    def __init__(self, model: Model, report: list[Diagnostic]):
        self.model = model
        self.report = report
        self.functions: dict[str, Function] = {f.symbol: f for f in model.functions}
        self.schemes: dict[str, Scheme] = {s.symbol: s for s in model.schemes}
        self.fresh = 0
        self.calls = 0
        self.given_up = False  # with the expression at hand, since it has no end
        self.folding = False  # whether choices between constants are decided here: in schemes
        # Names that already mean something everywhere; what is made here must not be taken for them.
        self.series: set[str] = set()  # what the index of the observable at hand is called
        self.taken = {p.name for p in model.params} | {e.name for e in model.equations} | BUILTINS.keys()
        self._open: set[str] = set()  # constants that are being written out

    # -- expressions -----------------------------------------------------------------------------------

    def first_order(self, expr: Expr, env: Env | None = None) -> Expr:
        """The expression with every call written out; a function left over is reported."""
        self.begin()
        return self.number(self.value(expr, env or Env()), expr)

    def equation(self, equation: Equation) -> Equation:
        if equation.series is None:
            return replace(
                equation, body=self.first_order(equation.body, Env(binders={b: b for b in equation.binders}))
            )
        # Its index stands for a number, and must not catch a value of that name which a function reads.
        *atoms, name = equation.binders
        new = self._fresh(name, self.taken) if name in self.taken else name
        self.series = {new}
        index = Read(new, type=Type("index"))
        body = self.first_order(equation.body, Env({name: index}, {**{a: a for a in atoms}, name: new}))
        self.series = set()
        return replace(equation, binders=(*atoms, new), body=body)

    def begin(self) -> None:
        self.calls, self.given_up = 0, False

    def place(self, values: Mapping[str, Value], via: tuple[Span, ...]) -> Env:
        """Where the expressions of a scheme are evaluated."""
        return Env(dict(values), {EACH: EACH}, via)

    def number(self, value: Value, at: Expr) -> Expr:
        if isinstance(value, Expr):
            return value
        if isinstance(value, Cells):
            return self.fail("wrong-index", f"`{value.name}` is a state with a range: it needs an index", at)
        missing = "one argument" if value.arity == 1 else f"{value.arity} arguments"
        return self.fail(
            "function-as-value",
            f"this is a function that still needs {missing}",
            at,
            help="a pair function ends in its distance: `u(|x[i] - x[j]|)`",
        )

    def fail(self, id: str, message: str, at: Expr, **more) -> Expr:
        self.report.append(fault(self.model.source, id, message, at, **more))
        return Read("?", span=at.span, via=at.via, type=UNKNOWN)

    def nothing(self, expr: Expr) -> bool:
        """Whether this names something whose declaration was wrong, which has been said."""
        if not isinstance(expr, Read) or expr.indices or expr.type is not UNTYPED:
            return False
        name = expr.symbol
        return name not in BUILTINS and self.model.param(name) is None and self.model.equation(name) is None

    def wrong_count(self, callee: Closure | Slopes | Opaque, given: int, at: Expr) -> Expr:
        name = callee.span.text if callee.span is not None else ""
        shown = f"`{name}`" if name.isidentifier() else "this function"
        message = f"{shown} takes {callee.arity} argument{'' if callee.arity == 1 else 's'}, but is given {given}"
        help: str | None = None
        secondary: tuple[Place, ...] = ()
        if isinstance(callee, Closure) and callee.span is not None and name.isidentifier():
            call = f"{name}({', '.join(p.lstrip('·') for p in callee.parameters)})"
            if isinstance(callee.body, Lambda):
                call += f"({', '.join(callee.body.parameters)})"
            help = f"write `{call}`"
            secondary = (Place(callee.span, "declared here"),)
        return self.fail("wrong-arguments", message, at, secondary=secondary, help=help)

    def value(self, expr: Expr, env: Env) -> Value:
        known = env.memo.get(id(expr))
        if known is None:
            known = env.memo[id(expr)] = (expr, self._value(expr, env))
        return known[1]

    def _value(self, expr: Expr, env: Env) -> Value:
        match expr:
            case Read(symbol=symbol, indices=indices):
                if len(indices) <= 1 and symbol in env.values:
                    return self.local(expr, env.values[symbol], env)
                if not indices and symbol in self.functions:
                    return self.value(self.functions[symbol].value, Env(via=env.via))
                if not indices and (foreign := self.model.foreign(symbol)) is not None:
                    return Opaque(symbol, foreign, expr.span)
                return replace(expr, indices=tuple(self.index(i, env) for i in indices), via=env.via)
            case Lambda(parameters=parameters, body=body):
                return Closure(parameters, body, env, expr.span)
            case Derivative(function=function):
                inner = self.value(function, env)
                if isinstance(inner, Expr | Cells):
                    return self.fail(
                        "not-a-function",
                        "D takes a function, not a value",
                        replace(function, via=env.via),
                        help="`D(u)(r)` is du/dr at r",
                    )
                if inner.arity != 1:
                    message = f"D takes a function of one argument, this has {inner.arity}"
                    return self.fail(
                        "wrong-arguments",
                        message,
                        replace(function, via=env.via),
                        help="give it its parameters first: `D(u(sigma, epsilon))(r)`",
                    )
                return Slopes(inner, expr.span)
            case Integral(function=function, lower=lower, upper=upper):
                at = replace(expr, via=env.via)
                inner = self.value(function, env)
                if isinstance(inner, Expr | Cells):
                    return self.fail(
                        "not-a-function",
                        "integral takes a function, not a value",
                        replace(function, via=env.via),
                        help="`integral(u, a, b)` is that of u(s) for s from a to b",
                    )
                variable, body = self.body(inner, at)
                start, end = (self.number(self.value(b, env), replace(b, via=env.via)) for b in (lower, upper))
                return Area(variable, body, start, end, span=at.span, via=at.via)
            case Apply(function=function, args=args):
                callee = self.value(function, env)
                return self.call(callee, tuple(self.value(a, env) for a in args), replace(expr, via=env.via))
            case Reduce(domain=Over() as domain):
                return self._over(expr, domain, env)
            case Reduce():
                return self._reduce(expr, env)
            case Op(op="choose", args=(condition, then, otherwise)) if self.folding:
                test = self.number(self.value(condition, env), replace(condition, via=env.via))
                truth = constant_truth(self.constants(test))
                if truth is not None:
                    return self.value(then if truth else otherwise, env)
                rest = (self.number(self.value(c, env), replace(c, via=env.via)) for c in (then, otherwise))
                return replace(expr, args=(test, *rest), via=env.via)
            case _:
                parts = tuple(self.number(self.value(c, env), replace(c, via=env.via)) for c in children(expr))
                return replace(rebuild(expr, parts), via=env.via)

    # -- indices and ranges ------------------------------------------------------------------------------

    def local(self, expr: Read, value: Value, env: Env) -> Value:
        """What a name that stands for a value is, with its index."""
        if expr.indices in ((), (EACH,)):
            return value
        (index,) = expr.indices
        at = replace(expr, via=env.via)
        if isinstance(value, Cells):
            k = self.index(index, env)
            if not isinstance(k, int):
                return self.fail("wrong-index", f"the index of `{value.name}` is a whole number, not an atom", at)
            name = value.entry(k)
            return Read(name, span=expr.span, via=env.via) if name is not None else self.no_entry(value, k, at)
        if isinstance(value, Read) and value.indices == (EACH,) and isinstance(index, str):
            return replace(value, indices=(env.binders.get(index, index),), span=expr.span, via=env.via)
        return self.fail("wrong-index", f"`{expr.symbol}` has no indices", at)

    def no_entry(self, cells: Cells, k: int, at: Expr) -> Expr:
        entries = (
            f"its entries are {cells.first} to {cells.first + len(cells.names) - 1}"
            if cells.names
            else "it has no entries"
        )
        return self.fail("wrong-index", f"`{cells.name}` has no entry {k}", at, help=entries)

    def index(self, index, env: Env):
        """An index: computed ones, and those of loops, are whole numbers."""
        if isinstance(index, str):
            if index not in env.binders and isinstance(number := env.values.get(index), Number):
                return int(number.value)
            return env.binders.get(index, index)
        if isinstance(index, Expr):
            found = self.whole(index, env, "an index", "wrong-index")
            return index if found is None else found
        return index

    def whole(self, expr: Expr, env: Env, what: str, id: str = "nonconstant") -> int | None:
        """A whole number that is known when the program is compiled; else None, and a diagnostic."""
        number = self.number(self.value(expr, env), expr)
        if number.type.kind == "unknown":
            return None
        value = constant_value(self.constants(number))
        if value is None:
            self.fail(
                id,
                f"{what} is a whole number that is known when the program is compiled",
                replace(expr, via=env.via),
                help="it may be made of numbers, of a `const`, and of options that are such",
            )
        elif (count := whole_value(value)) is None or abs(count) > MOST_CALLS:
            self.fail(
                "bad-number",
                f"{what} is a whole number{'' if count is None else f' up to {MOST_CALLS:_}'}, not {value:.15g}",
                replace(expr, via=env.via),
            )
        else:
            return count
        return None

    def constants(self, expr: Expr) -> Expr:
        """The expression with constants of the program written out."""

        def rule(node: Expr) -> Expr:
            param = self.model.param(node.symbol) if isinstance(node, Read) and not node.indices else None
            if (
                param is None
                or param.lifetime != "const"
                or param.axes
                or param.default is None
                or param.name in self._open
            ):
                return node
            self._open.add(param.name)
            value = self.constants(self.number(self.value(param.default, Env()), param.default))
            self._open.discard(param.name)
            if constant_value(value) is None:
                return node
            return value

        return transform(expr, rule)

    def _over(self, expr: Reduce, domain: Over, env: Env) -> Expr:
        """A sum over whole numbers is written out."""
        (name,) = domain.binders
        first, last = (self.whole(e, env, "a bound of a sum over whole numbers") for e in domain.bounds)
        if first is None or last is None:
            return Read("?", span=expr.span, via=env.via, type=UNKNOWN)
        parts = []
        for k in range(first, last + 1):
            inner = env.inside({name: Number(float(k), span=expr.span, via=env.via)})
            inner.binders.pop(name, None)
            parts.append(self.number(self.value(expr.body, inner), expr.body))
        if not parts and expr.op != "sum":
            return self.fail(
                "bad-axis", f"`{expr.op}` of nothing: the range {first}..{last} is empty", replace(expr, via=env.via)
            )
        total = parts[0] if parts else Number(0.0, span=expr.span, via=env.via)
        for part in parts[1:]:
            total = Op(
                {"sum": "add", "largest": "max", "smallest": "min"}[expr.op], (total, part), span=expr.span, via=env.via
            )
        return total

    def call(self, callee: Value, args: tuple[Value, ...], at: Expr) -> Value:
        if isinstance(callee, Cells):
            return self.number(callee, at)
        if isinstance(callee, Opaque):
            inputs = tuple(self.number(a, at) for a in args)
            weights = (Read(callee.name, span=callee.span, via=at.via),) if isinstance(callee.body, Network) else ()
            return Call(callee.name, (*weights, *inputs), body=callee.body, span=at.span, via=at.via)
        if isinstance(callee, Expr):
            if callee.type.kind == "unknown" or self.nothing(callee):
                return Read("?", span=at.span, via=at.via, type=UNKNOWN)
            return self.fail(
                "not-a-function",
                "this is a value, not a function",
                at,
                help="a product is written with `*`; a function is passed as `u`, not as its value `u(r)`",
            )
        if len(args) != callee.arity:
            return self.wrong_count(callee, len(args), at)
        self.calls += 1
        if self.given_up:
            return Read("?", span=at.span, via=at.via, type=UNKNOWN)
        if len(at.via) > DEEPEST:
            self.given_up = True
            return self.fail("cyclic-definition", "this definition calls itself without end", at)
        if self.calls > MOST_CALLS:
            self.given_up = True
            return self.fail(
                "nesting",
                f"written out, this comes to more than {MOST_CALLS:_} calls of functions",
                replace(at, via=at.via[:1]),
            )
        if isinstance(callee, Slopes):
            variable, body = self.body(callee.function, at)
            return Slope(variable, body, self.number(args[0], at), span=at.span, via=at.via)
        via = (*at.via, at.span) if at.span is not None else at.via
        return self.value(callee.body, callee.env.inside(dict(zip(callee.parameters, args)), via=via))

    def body(self, function: Closure | Slopes | Opaque, at: Expr) -> tuple[str, Expr]:
        """A function of one number written out for a variable of its own."""
        variable = self._fresh("s", self.taken)
        return variable, self.number(self.call(function, (Read(variable, span=at.span, via=at.via),), at), at)

    def _reduce(self, expr: Reduce, env: Env) -> Expr:
        # A sum inside a function must not catch an index of the place that calls it.
        taken = self.taken | self.series | set(env.binders.values())
        renaming = {}
        for name in expr.domain.binders:
            new = name if name not in taken else self._fresh(name, taken)
            renaming[name] = new
            taken.add(new)
        domain = expr.domain.renamed({**env.binders, **renaming})
        body = self.value(expr.body, env.inside(binders=renaming))
        return replace(expr, domain=domain, body=self.number(body, expr.body), via=env.via)

    def _fresh(self, stem: str, taken: set[str]) -> str:
        while True:
            self.fresh += 1
            if f"{stem}{self.fresh}" not in taken:
                return f"{stem}{self.fresh}"


def inline(model: Model) -> tuple[Model, list[Diagnostic]]:
    """The first-order Model, and what is wrong with the calls in it."""
    report: list[Diagnostic] = []
    inliner = Inliner(model, report)

    def setup(step: Setup) -> Setup:
        def option(value: Expr) -> Expr:
            if isinstance(value, Label | Text):
                return value
            if isinstance(value, TableOf):
                return replace(value, entries=tuple((k, inliner.first_order(v)) for k, v in value.entries))
            return inliner.first_order(value)

        return replace(step, options=tuple((name, option(value)) for name, value in step.options))

    equations = tuple(inliner.equation(e) for e in model.equations)
    params = tuple(
        replace(
            p,
            default=p.default and inliner.first_order(p.default),
            declared=p.declared and inliner.first_order(p.declared),
        )
        for p in model.params
    )
    box = mapped(model.box, inliner.first_order)
    run = tuple(inline_advance(inliner, step) if isinstance(step, Advance) else setup(step) for step in model.run)
    model = replace(model, equations=equations, params=params, box=box, run=run, functions=(), schemes=())
    return model, report
