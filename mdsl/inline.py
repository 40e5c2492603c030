"""Pass `inline`: functions, flows and integrators are written out where they are used.

Before: Lambda, Apply, Derivative, Invoke, `Model.functions` and `Model.schemes`. After: first-order
expressions only; `D(u)(a)` has become Slope, `integral(u, a, b)` Area, every Advance has its body. Evaluation is by name, with
sharing: an argument used ten times stays one object.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from mdsl.grammar.diagnostics import Diagnostic, Label as Place
from mdsl.grammar.source import Span

from .faults import fault
from .model import (
    EACH,
    Advance,
    Apply,
    Area,
    Derivative,
    Draw,
    Equation,
    Expr,
    Function,
    Integral,
    Invoke,
    Label,
    Lambda,
    Model,
    Number,
    Read,
    Reduce,
    Scheme,
    Setup,
    Slope,
    TableOf,
    Text,
    Type,
    Update,
    children,
    rebuild,
    walk,
)
from .operators import BUILTINS

DEEPEST = 50  # calls inside calls, before a definition is taken to be circular
MOST_CALLS = 20_000  # calls that one expression may come to when they are written out


@dataclass(frozen=True, eq=False)
class Closure:
    """A function that waits for its arguments, with the values of the names that its body may use."""

    parameters: tuple[str, ...]
    body: Expr
    env: Env
    span: Span | None

    @property
    def arity(self) -> int:
        return len(self.parameters)


@dataclass(frozen=True, eq=False)
class Slopes:
    """``D(u)``: a function of the one argument of u."""

    function: Closure | Slopes
    span: Span | None
    arity = 1


Value = Expr | Closure | Slopes


@dataclass(eq=False)
class Env:
    """What names stand for, how binders are renamed, and what was already inlined here."""

    values: dict[str, Value] = field(default_factory=dict)
    binders: dict[str, str] = field(default_factory=dict)
    via: tuple[Span, ...] = ()
    memo: dict[int, tuple[Expr, Value]] = field(default_factory=dict)

    def inside(self, values: dict[str, Value] | None = None, binders: dict[str, str] | None = None, via: tuple[Span, ...] | None = None) -> Env:
        return Env(
            {**self.values, **(values or {})},
            {**self.binders, **(binders or {})},
            self.via if via is None else via,
        )


class Inliner:
    def __init__(self, model: Model, report: list[Diagnostic]):
        self.model = model
        self.report = report
        self.functions: dict[str, Function] = {f.symbol: f for f in model.functions}
        self.schemes: dict[str, Scheme] = {s.symbol: s for s in model.schemes}
        self.fresh = 0
        self.calls = 0
        self.given_up = False  # with the expression at hand, since it has no end
        # Names that already mean something everywhere; what is made here must not be taken for them.
        self.series: set[str] = set()  # what the index of the observable at hand is called
        self.taken = {p.name for p in model.params} | {e.name for e in model.equations} | BUILTINS.keys()

    # -- expressions -----------------------------------------------------------------------------------

    def first_order(self, expr: Expr, env: Env | None = None, call: Span | None = None) -> Expr:
        """The expression with every call written out; a function left over is reported."""
        self.begin()
        return self.number(self.value(expr, env or Env()), expr)

    def equation(self, equation: Equation) -> Equation:
        if equation.series is None:
            return replace(equation, body=self.first_order(equation.body, Env(binders={b: b for b in equation.binders})))
        # Its index stands for a number, and must not catch a value of that name which a function reads.
        (name,) = equation.binders
        new = self._fresh(name, self.taken) if name in self.taken else name
        self.series = {new}
        index = Read(new, type=Type("index"))
        body = self.first_order(equation.body, Env({name: index}, {name: new}))
        self.series = set()
        return replace(equation, binders=(new,), body=body)

    def begin(self) -> None:
        self.calls, self.given_up = 0, False

    def number(self, value: Value, at: Expr) -> Expr:
        if isinstance(value, Expr):
            return value
        missing = "one argument" if value.arity == 1 else f"{value.arity} arguments"
        return self.fail("function-as-value", f"this is a function that still needs {missing}", at, help="a pair function ends in its distance: `u(|x[i] - x[j]|)`")

    def fail(self, id: str, message: str, at: Expr, **more) -> Expr:
        self.report.append(fault(self.model.source, id, message, at, **more))
        return Read("?", span=at.span, via=at.via, type=Type("unknown", None))

    def nothing(self, expr: Expr) -> bool:
        """Whether this names something whose declaration was wrong, which has been said."""
        if not isinstance(expr, Read) or expr.indices or expr.type is not None:
            return False
        name = expr.symbol
        return name not in BUILTINS and self.model.param(name) is None and self.model.equation(name) is None

    def wrong_count(self, callee: Closure | Slopes, given: int, at: Expr) -> Expr:
        name = callee.span.text if callee.span is not None else ""
        shown = f"`{name}`" if name.isidentifier() else "this function"
        message = f"{shown} takes {callee.arity} argument{'' if callee.arity == 1 else 's'}, but is given {given}"
        help, secondary = None, ()
        if isinstance(callee, Closure) and name.isidentifier():
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
                if indices in ((), (EACH,)) and symbol in env.values:
                    return env.values[symbol]
                if not indices and symbol in self.functions:
                    return self.value(self.functions[symbol].value, Env(via=env.via))
                renamed = tuple(env.binders.get(i, i) if isinstance(i, str) else i for i in indices)
                return replace(expr, indices=renamed, via=env.via)
            case Lambda(parameters=parameters, body=body):
                return Closure(parameters, body, env, expr.span)
            case Derivative(function=function):
                inner = self.value(function, env)
                if isinstance(inner, Expr):
                    return self.fail("not-a-function", "D takes a function, not a value", replace(function, via=env.via), help="`D(u)(r)` is du/dr at r")
                if inner.arity != 1:
                    message = f"D takes a function of one argument, this has {inner.arity}"
                    return self.fail("wrong-arguments", message, replace(function, via=env.via), help="give it its parameters first: `D(u(sigma, epsilon))(r)`")
                return Slopes(inner, expr.span)
            case Integral(function=function, lower=lower, upper=upper):
                at = replace(expr, via=env.via)
                inner = self.value(function, env)
                if isinstance(inner, Expr):
                    return self.fail("not-a-function", "integral takes a function, not a value", replace(function, via=env.via), help="`integral(u, a, b)` is that of u(s) for s from a to b")
                bounds = (self.number(self.value(bound, env), replace(bound, via=env.via)) for bound in (lower, upper))
                variable, body = self.body(inner, at)
                return Area(variable, body, *bounds, span=at.span, via=at.via)
            case Apply(function=function, args=args):
                callee = self.value(function, env)
                return self.call(callee, tuple(self.value(a, env) for a in args), replace(expr, via=env.via))
            case Reduce():
                return self._reduce(expr, env)
            case _:
                parts = tuple(self.number(self.value(c, env), replace(c, via=env.via)) for c in children(expr))
                return replace(rebuild(expr, parts), via=env.via)

    def call(self, callee: Value, args: tuple[Value, ...], at: Expr) -> Value:
        if isinstance(callee, Expr):
            if callee.type is not None and callee.type.kind == "unknown" or self.nothing(callee):
                return Read("?", span=at.span, via=at.via, type=Type("unknown", None))
            return self.fail("not-a-function", "this is a value, not a function", at, help="a product is written with `*`; a function is passed as `u`, not as its value `u(r)`")
        if len(args) != callee.arity:
            return self.wrong_count(callee, len(args), at)
        self.calls += 1
        if self.given_up:
            return Read("?", span=at.span, via=at.via, type=Type("unknown", None))
        if len(at.via) > DEEPEST:
            self.given_up = True
            return self.fail("cyclic-definition", "this definition calls itself without end", at)
        if self.calls > MOST_CALLS:
            self.given_up = True
            return self.fail("nesting", f"written out, this comes to more than {MOST_CALLS:_} calls of functions", replace(at, via=at.via[:1]))
        if isinstance(callee, Slopes):
            variable, body = self.body(callee.function, at)
            return Slope(variable, body, self.number(args[0], at), span=at.span, via=at.via)
        via = (*at.via, at.span) if at.span is not None else at.via
        return self.value(callee.body, callee.env.inside(dict(zip(callee.parameters, args)), via=via))

    def body(self, function: Closure | Slopes, at: Expr) -> tuple[str, Expr]:
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
        domain = replace(
            expr.domain,
            binders=tuple(renaming[b] for b in expr.domain.binders),
            centre=env.binders.get(expr.domain.centre, expr.domain.centre),
        )
        body = self.value(expr.body, env.inside(binders=renaming))
        return replace(expr, domain=domain, body=self.number(body, expr.body), via=env.via)

    def _fresh(self, stem: str, taken: set[str]) -> str:
        while True:
            self.fresh += 1
            if f"{stem}{self.fresh}" not in taken:
                return f"{stem}{self.fresh}"

    # -- dynamics --------------------------------------------------------------------------------------

    def advance(self, advance: Advance) -> Advance:
        scheme = self.schemes[advance.scheme]
        self.begin()
        values: dict[str, Value] = {}
        for name, option in advance.options:
            value = self.value(option, Env())
            if not isinstance(value, Expr) and value.arity == 1:
                # A schedule: a function of time, taken at the time of the step.
                value = self.call(value, (Read("t", span=option.span),), option)
            values[name] = self.number(value, option)
        counts: dict[str, int] = {}
        body = self.steps(scheme, values, (advance.span,), counts)
        return replace(
            advance,
            options=tuple((name, values[name]) for name, _ in advance.options),
            steps=self.first_order(advance.steps),
            outputs=tuple(replace(o, every=None if o.every is None else self.first_order(o.every)) for o in advance.outputs),
            body=tuple(body),
            dt=values.get("dt"),
        )

    def steps(self, scheme: Scheme, values: dict[str, Value], via: tuple[Span, ...], counts: dict[str, int]) -> list[Update | Draw]:
        """The updates and draws of a scheme whose parameters have these values."""
        if self.given_up:
            return []
        if len(via) > DEEPEST:
            self.given_up = True
            self.fail("cyclic-definition", f"`{scheme.name}` calls itself", Number(0.0, span=scheme.span, via=via))
            return []
        values = dict(values)
        out: list[Update | Draw] = []
        for step in scheme.body:
            env = Env(values, {EACH: EACH}, via)
            match step:
                case Invoke(symbol=symbol, args=args):
                    inner = self.schemes.get(symbol)
                    if inner is None:
                        continue  # its declaration was wrong, which has been said
                    if len(args) != len(inner.parameters):
                        self.fail("wrong-arguments", f"`{inner.name}` takes {len(inner.parameters)} argument{'' if len(inner.parameters) == 1 else 's'}, but is given {len(args)}", Number(0.0, span=step.span, via=via))
                        continue
                    bound = {}
                    for name, arg in zip(inner.parameters, args):
                        bound[name] = self.value(arg, env)
                        if isinstance(bound[name], Expr) and _changes(bound[name]):
                            # An argument has the value that it had at the call, whatever the flow then changes.
                            local = self._local(name, counts, step.span)
                            out.append(Update(local.symbol, "=", bound[name], step.span))
                            bound[name] = local
                    out += self.steps(inner, bound, (*via, step.span), counts)
                case Draw(target=target):
                    values = {**values, target: self._local(target, counts, step.span)}
                    out.append(replace(step, target=values[target].symbol))
                case Update(target=target, value=value):
                    new = self.number(self.value(value, env), value)
                    if target not in ("x", "v") and target not in values:
                        values = {**values, target: self._local(target, counts, step.span)}
                    name = values[target].symbol if target in values else target
                    out.append(replace(step, target=name, value=new))
        return out

    def _local(self, name: str, counts: dict[str, int], span: Span) -> Read:
        """A name of its own for a value of a flow, since a flow may be used twice in a step."""
        while True:
            counts[name] = counts.get(name, 0) + 1
            unique = name if counts[name] == 1 else f"{name}_{counts[name]}"
            if unique not in self.taken:
                break
        return Read(unique, (EACH,), span=span)


def _changes(expr: Expr) -> bool:
    """Whether a value may change within a step: it reads positions, velocities, forces or what a flow computed."""
    return any(isinstance(n, Read) and n.indices == (EACH,) and n.symbol != "m" for n in walk(expr))


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
    params = tuple(replace(p, default=None if p.default is None else inliner.first_order(p.default)) for p in model.params)
    box = model.box and model.box.map(inliner.first_order)
    run = tuple(inliner.advance(step) if isinstance(step, Advance) else setup(step) for step in model.run)
    return replace(model, equations=equations, params=params, box=box, run=run, functions=(), schemes=()), report
