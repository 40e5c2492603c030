"""The part of `inline` that has order: schemes are written out as updates and draws, loops with them.

A flow is a template: what it is given stands for its parameters. A value that may change within the step is
computed at the call; a parameter that the flow changes must be given a state, and is that state.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from mdsl.grammar.source import Span
from mdsl.model.drift import drift
from mdsl.model.dynamics import FIELDS
from mdsl.model.nodes import (
    EACH,
    Advance,
    Draw,
    Equation,
    Expr,
    Invoke,
    Loop,
    Number,
    Op,
    Read,
    Reduce,
    Scheme,
    State,
    Update,
    reads_each,
    transform,
    walk,
)

from .closures import Cells, Value

if TYPE_CHECKING:
    from .expressions import Inliner

DEEPEST = 50  # flows inside flows, before a scheme is taken to be circular
MOST_UPDATES = 10_000  # updates and draws that one step may come to

Body = tuple[Update | Draw | Invoke | Loop, ...]


def inline_advance(work: Inliner, advance: Advance) -> Advance:
    """A statement of dynamics with its scheme written out."""
    scheme = work.schemes[advance.scheme]
    work.begin()
    work.folding = True
    given = dict(advance.options)
    values: dict[str, Expr] = {}
    for name in scheme.parameters:
        option = given.get(name, scheme.default(name))
        if option is None:
            continue  # that it is missing has been said
        env = work.place({}, ()) if name in given else work.place(values, (advance.span,))
        value = work.value(option, env)
        if not isinstance(value, Expr | Cells) and value.arity == 1:
            # A schedule: a function of time, taken at the time of the step.
            value = work.call(value, (Read("t", span=option.span),), option)
        values[name] = work.number(value, option)
    statement = _Statement(work)
    statement.body(scheme, values, (advance.span,))
    work.folding = False
    return replace(
        advance,
        options=tuple((name, values[name]) for name in scheme.parameters if name in values),
        steps=work.first_order(advance.steps),
        until=None if advance.until is None else statement.told(work.first_order(advance.until)),
        outputs=tuple(
            replace(o, every=None if o.every is None else work.first_order(o.every)) for o in advance.outputs
        ),
        body=tuple(statement.out),
        # What lowers the energy has no time.
        dt=values.get("dt") if scheme.kind == "integrator" else None,
        states=tuple(statement.states.values()),
        observes=tuple(e for e in statement.observes.values() if work.model.equation(e.name) is None),
    )


@dataclass
class _Statement:
    """One statement of dynamics: all flows in it share its names, its memory and its observables."""

    work: Inliner
    out: list[Update | Draw] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    computed: set[str] = field(default_factory=set)  # names of the values that flows compute
    states: dict[str, State] = field(default_factory=dict)
    owned: dict[tuple[str, str], Read] = field(default_factory=dict)  # the state of each scheme, by its name
    ranges: dict[tuple[str, str], Cells] = field(default_factory=dict)  # the same of states with a range
    observes: dict[str, Equation] = field(default_factory=dict)

    def body(self, scheme: Scheme, values: Mapping[str, Value], via: tuple[Span, ...]) -> None:
        """Write out a scheme whose parameters have these values."""
        if self.work.given_up:
            return
        if len(via) > DEEPEST:
            self.work.given_up = True
            self.fail("cyclic-definition", f"`{scheme.name}` calls itself", scheme.span, via)
            return
        values = dict(values)
        for state in scheme.states:
            values[state.name] = self.state(scheme, state, values, via)
        for equation in scheme.observes:
            if equation.name not in self.observes:
                body = self.work.number(self.work.value(equation.body, self.work.place(values, via)), equation.body)
                self.unchanging(body, f"`{equation.name}` is observed between steps", via)
                self.observes[equation.name] = replace(equation, body=body)
        self.steps(scheme.body, values, via)

    def told(self, condition: Expr) -> Expr:
        """A condition with what it reads of the scheme's observables written out."""

        def rule(node: Expr) -> Expr:
            if not isinstance(node, Read) or node.indices or self.work.model.equation(node.symbol) is not None:
                return node
            return self.observes[node.symbol].body if node.symbol in self.observes else node

        return transform(condition, rule)

    def steps(self, body: Body, values: dict[str, Value], via: tuple[Span, ...]) -> None:
        """Statements in order; ``values`` grows by what they compute."""
        for step in body:
            if len(self.out) > MOST_UPDATES and not self.work.given_up:
                self.work.given_up = True
                self.fail(
                    "nesting", f"written out, one step comes to more than {MOST_UPDATES:_} updates", step.span, via
                )
            if self.work.given_up:
                return
            env = self.work.place(values, via)
            match step:
                case Loop(variable=variable):
                    hidden = values.get(variable)
                    for k in self.numbers(step, env):
                        values[variable] = Number(float(k), span=step.span)
                        self.steps(step.body, values, via)
                    values.pop(variable, None)
                    if hidden is not None:
                        values[variable] = hidden
                case Invoke():
                    self.invoke(step, values, via)
                case Draw(target=target, args=args):
                    given = tuple(self.work.number(self.work.value(a, env), a) for a in args)
                    values[target] = drawn = self.local(target, step.per_atom, step.span)
                    self.out.append(replace(step, target=drawn.symbol, args=given))
                case Update(target=target, value=value):
                    new = self.work.number(self.work.value(value, env), value)
                    if step.state:
                        name = self.remembered(step, values, env)
                        self.out += [] if name is None else [replace(step, target=name, value=new, index=None)]
                    elif target in FIELDS:
                        self.out.append(replace(step, value=new))
                    else:
                        self.assign(step, new, values)

    def numbers(self, loop: Loop, env) -> Iterable[int]:
        """The whole numbers of a loop; none where the range is empty."""
        first, last = (self.work.whole(e, env, "a bound of a loop") for e in (loop.first, loop.last))
        if first is None or last is None:
            return ()
        return range(first, last - 1, -1) if loop.down else range(first, last + 1)

    # -- values ----------------------------------------------------------------------------------------

    def assign(self, step: Update, value: Expr, values: dict[str, Value]) -> None:
        """A value of the flow's own: for each atom where it is made of such, else one for all."""
        old = values.get(step.target)
        each = reads_each(value)
        if isinstance(old, Read) and (reads_each(old) or not each):
            self.out.append(replace(step, target=old.symbol, value=value))
            return
        if step.op == "+=" and isinstance(old, Expr):
            value = Op("add", (old, value), span=value.span, via=value.via)
        values[step.target] = new = self.local(step.target, each, step.span)
        self.out.append(replace(step, target=new.symbol, op="=", value=value))

    def local(self, name: str, each: bool, span: Span) -> Read:
        """A name of its own for a value of a flow, since a flow may be used twice in a step."""
        unique = self.unique(name)
        self.computed.add(unique)
        return Read(unique, (EACH,) if each else (), span=span)

    def unique(self, name: str) -> str:
        while True:
            self.counts[name] = self.counts.get(name, 0) + 1
            unique = name if self.counts[name] == 1 else f"{name}_{self.counts[name]}"
            if unique not in self.work.taken and unique not in self.computed and unique not in self.states:
                return unique

    # -- memory ----------------------------------------------------------------------------------------

    def state(self, scheme: Scheme, state: State, values: Mapping[str, Value], via: tuple[Span, ...]) -> Read | Cells:
        """The state of a scheme: one for the statement, in however many places the scheme stands."""
        env = self.work.place(values, via)
        key = (scheme.symbol, state.name)
        if state.axis is None:
            if key not in self.owned:
                self.owned[key] = Read(self.remember(state, state.name, state.value, env), span=state.span)
            return self.owned[key]
        variable, *bounds = state.axis
        first, last = (self.work.whole(b, env, f"the range of `{state.name}`") for b in bounds)
        if first is None or last is None:
            return Cells(state.name, 1, (), state.span)
        known = self.ranges.get(key)
        if known is None:
            entries = range(first, last + 1)
            names = tuple(
                self.remember(
                    state,
                    f"{state.name}_{k}",
                    state.value,
                    self.work.place({**values, variable: Number(float(k), span=state.span)}, via),
                )
                for k in entries
            )
            known = self.ranges[key] = Cells(state.name, first, names, state.span)
        elif (known.first, len(known.names)) != (first, max(0, last + 1 - first)):
            self.fail(
                "wrong-index",
                f"`{scheme.name}` stands twice here, with two lengths of its state `{state.name}`",
                state.span,
                via,
            )
        return known

    def remember(self, state: State, name: str, value: Expr, env) -> str:
        start = self.work.number(self.work.value(value, env), value)
        self.unchanging(start, f"`{state.name}` begins before the first step", env.via)
        unique = self.unique(name)
        self.states[unique] = State(unique, start, state.span)
        return unique

    def remembered(self, step: Update, values: Mapping[str, Value], env) -> str | None:
        """The name of the state that an update changes."""
        found = values.get(step.target)
        if found is None:
            return self.at_top(step, env)
        if isinstance(found, Cells):
            if step.index is None:
                self.fail(
                    "wrong-index", f"`{found.name}` is a state with a range: it needs an index", step.span, env.via
                )
                return None
            k = self.work.whole(step.index, env, "an index", "wrong-index")
            name = None if k is None else found.entry(k)
            if k is not None and name is None:
                self.work.no_entry(found, k, step.index)
            return name
        if isinstance(found, Read) and found.symbol in self.states and step.index is None:
            return found.symbol
        what = f"`{step.target}` is changed here, and so must be given a state"
        self.fail(
            "misplaced",
            what,
            step.span,
            env.via,
            help="a flow that changes its parameter is called with the name of a state: `state p = 0`, then "
            "`my_flow(p)`",
        )
        return None

    def at_top(self, step: Update, env) -> str | None:
        """The state at the top level that an update changes, which then belongs to this statement too."""
        param = self.work.model.param(step.target)
        k = None
        if param is None or (step.index is None) != (not param.axes):
            if param is not None:
                self.fail(
                    "wrong-index",
                    f"`{step.target}` has {'one index' if param.axes else 'no index'}",
                    step.span,
                    env.via,
                )
            return None
        if step.index is not None:
            k = self.work.whole(step.index, env, "an index", "wrong-index")
            (axis,) = param.axes
            if k is None or not axis.first <= k <= axis.last:
                if k is not None:
                    self.fail("wrong-index", f"`{step.target}` has no entry {k}", step.span, env.via)
                return None
        place = (step.target, k)
        for state in self.states.values():
            if state.param == place:
                return state.name
        name = step.target if k is None else self.unique(f"{step.target}_{k}")
        start = Read(step.target, () if k is None else (k,), span=step.span, via=env.via)
        self.states[name] = State(name, start, param.span, param=place)
        return name

    def unchanging(self, expr: Expr, why: str, via: tuple[Span, ...]) -> None:
        """What is known before the first step reads nothing that a flow computes."""
        for node in walk(expr):
            if isinstance(node, Read) and node.symbol in self.computed:
                self.work.fail(
                    "misplaced",
                    f"{why}, but this reads what a flow computes",
                    node if node.span else replace(node, via=via),
                )
                return

    # -- calls -----------------------------------------------------------------------------------------

    def invoke(self, step: Invoke, values: Mapping[str, Value], via: tuple[Span, ...]) -> None:
        scheme = self.work.schemes.get(step.symbol)
        if scheme is None:
            return  # its declaration was wrong, which has been said
        defaults = [d for d in scheme.defaults if d is not None]  # of the last parameters
        least = len(scheme.parameters) - len(defaults)
        if not least <= len(step.args) <= len(scheme.parameters):
            count = len(scheme.parameters)
            takes = (
                f"{count} argument{'' if count == 1 else 's'}" if least == count else f"{least} to {count} arguments"
            )
            self.fail(
                "wrong-arguments", f"`{scheme.name}` takes {takes}, but is given {len(step.args)}", step.span, via
            )
            return
        changed, drifts = changes(scheme, self.work.schemes), moves_time(scheme, self.work.schemes)
        env = self.work.place(values, via)
        bound: dict[str, Value] = {}
        exprs = (*step.args, *defaults[len(step.args) - least :])
        for k, (name, expr) in enumerate(zip(scheme.parameters, exprs)):
            value = self.work.value(expr, env if k < len(step.args) else self.work.place(bound, (*via, step.span)))
            if name not in changed and isinstance(value, Expr) and self.may_change(value, drifts):
                # An argument has the value that it had at the call, whatever the flow then changes.
                local = self.local(name, reads_each(value), step.span)
                self.out.append(Update(local.symbol, "=", value, step.span))
                value = local
            bound[name] = value
        self.body(scheme, bound, (*via, step.span))

    def may_change(self, expr: Expr, drifts: bool) -> bool:
        """Whether a value may change within a flow: it reads atoms, what a flow computed, a state or an observable, or
        the time, which goes on where the flow ``drifts``."""
        for node in walk(expr):
            if isinstance(node, Reduce):
                return True
            if isinstance(node, Read):
                if (
                    node.indices == (EACH,)
                    and node.symbol != "m"
                    or node.symbol in self.computed
                    or node.symbol in self.states
                ):
                    return True
                param = self.work.model.param(node.symbol)
                changing = param is not None and param.lifetime == "state"
                if (
                    changing
                    or drifts
                    and node.symbol == "t"
                    or self.work.model.equation(node.symbol) is not None
                    or node.symbol in ("potential", "virial", "volume")
                ):
                    return True
        return False

    def fail(self, id: str, message: str, span: Span, via: tuple[Span, ...], **more) -> None:
        self.work.fail(id, message, Number(0.0, span=span, via=via), **more)


def changes(scheme: Scheme, schemes: Mapping[str, Scheme], seen: frozenset[str] = frozenset()) -> frozenset[str]:
    """The parameters of a scheme that it changes, itself or by giving them to a flow that does."""
    found: set[str] = set()

    def look(body: Body) -> None:
        for step in body:
            match step:
                case Update(target=target, state=True):
                    found.add(target)
                case Loop(body=repeated):
                    look(repeated)
                case Invoke(symbol=symbol, args=args) if symbol in schemes and symbol not in seen:
                    inner = changes(schemes[symbol], schemes, seen | {scheme.symbol})
                    found.update(
                        a.symbol for a, p in zip(args, schemes[symbol].parameters) if p in inner and isinstance(a, Read)
                    )

    look(scheme.body)
    return frozenset(found & set(scheme.parameters))


def moves_time(scheme: Scheme, schemes: Mapping[str, Scheme], seen: frozenset[str] = frozenset()) -> bool:
    """Whether the time goes on in a scheme: atoms drift in it, or in a flow of it."""
    if any(drift(s) is not None for s in scheme.statements()):
        return True
    inner = (symbol for symbol in scheme.invoked() if symbol in schemes and symbol not in seen)
    return any(moves_time(schemes[symbol], schemes, seen | {scheme.symbol}) for symbol in inner)
