"""The part of `infer` that has order: the types of what flows compute, remember and draw."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from mdsl.grammar.diagnostics import Diagnostic
from mdsl.model import dimensions
from mdsl.model.dimensions import ONE
from mdsl.model.domains import Each
from mdsl.model.literals import constant_value
from mdsl.model.nodes import (
    EACH,
    UNKNOWN,
    Advance,
    Draw,
    Equation,
    Expr,
    Op,
    Read,
    Reduce,
    State,
    Type,
    Update,
    reads_each,
    walk,
)
from mdsl.model.operators import NEIGHBOURS

from .run import before_run, want, whole

if TYPE_CHECKING:
    from .expressions import Inference

KEPT = ("scalar", "vector", "matrix", "unknown")  # what a state can be


def infer_advance(work: Inference, step: Advance) -> Advance:
    """A statement of dynamics with types everywhere.

    A state that begins as 0 has the dimension that its first update gives it; so all is typed again whenever one
    has become known.
    """
    flow = _Flow(work, step)
    before = len(work.report)
    while True:
        known = dict(flow.dimensions)
        result = flow.typed()
        if known == flow.dimensions:
            return result
        del work.report[before:]


def same_observes(model_run: tuple, report: list[Diagnostic]) -> None:
    """Observables of one name share a column of the records, whichever statements they belong to."""
    seen: dict[str, Equation] = {}
    for equation in (e for a in model_run if isinstance(a, Advance) for e in a.observes):
        first = seen.setdefault(equation.name, equation)
        if equation.body.type != first.body.type and "unknown" not in (equation.body.type.kind, first.body.type.kind):
            message = (
                f"two schemes of the run observe `{equation.name}`: one as {first.body.type}, one as "
                f"{equation.body.type}"
            )
            report.append(Diagnostic("wrong-type", message, equation.span, help="give them different names"))


@dataclass
class _Flow:
    work: Inference
    step: Advance
    dimensions: dict[str, Type] = field(default_factory=dict)  # of states that begin as 0

    def typed(self) -> Advance:
        work, step = self.work, self.step
        work.locals, work.memo = {}, {}
        before = len(work.report)
        time = work.model.units.dimension(dimensions.TIME)
        options = tuple((n, want(work, v, time, "`dt`") if n == "dt" else self.option(n, v)) for n, v in step.options)
        for name, option in options:
            if name == "T" and (value := constant_value(option)) is not None and value < 0:
                work.fail(
                    "bad-temperature",
                    f"`{name}` is the temperature {value:g}",
                    option,
                    help="a temperature is zero or positive",
                )
            elif name in ("tau", "tau_P") and (value := constant_value(option)) is not None and value <= 0:
                work.fail(
                    "bad-number",
                    f"`{name}` is the time {value:g}",
                    option,
                    help="the time in which a thermostat or barostat answers is positive",
                )
            elif name == "gamma" and (value := constant_value(option)) is not None and value < 0:
                work.fail(
                    "bad-number", f"`{name}` is the friction {value:g}", option, help="a friction is zero or positive"
                )
        outputs = tuple(
            replace(o, every=None if o.every is None else whole(work, o.every, "`every`", 1)) for o in step.outputs
        )
        steps = whole(work, step.steps, "the number of steps", 0)
        dt = dict(options).get("dt") if step.dt is not None else None
        if dt is not None:
            before_run(work, dt, "`dt`")
        until = None if step.until is None else self.condition(step.until)
        body: list[Update | Draw] = []
        states: tuple[State, ...] = ()
        observes: tuple[Equation, ...] = ()
        # A wrong time step has been said once; the flows would only say it again.
        if len(work.report) == before:
            states = tuple(map(self.state, step.states))
            body = [self.draw(s) if isinstance(s, Draw) else self.update(s) for s in step.statements]
            states = tuple(replace(s, type=self.known(s.type)) for s in states)
            observes = tuple(replace(e, body=self.observed(e.body)) for e in step.observes)
        work.locals, work.memo = {}, {}
        return replace(
            step,
            options=options,
            steps=steps,
            outputs=outputs,
            body=tuple(body),
            dt=dt,
            until=until,
            states=states,
            observes=observes,
        )

    def option(self, name: str, expr: Expr) -> Expr:
        expr = self.work.typed(expr)
        if expr.type.kind not in KEPT:
            self.work.fail("wrong-type", f"`{name}` is a number, a vector or a matrix, not {expr.type}", expr)
        return expr

    def condition(self, expr: Expr) -> Expr:
        expr = self.work.typed(expr)
        if expr.type.kind not in ("bool", "unknown"):
            self.work.fail(
                "wrong-type",
                f"`until` wants a condition, not {expr.type}",
                expr,
                help="for example `until largest(i) |f[i]| < 1e-6, at most 10_000`",
            )
        return expr

    def observed(self, expr: Expr) -> Expr:
        expr = self.work.typed(expr)
        if expr.type.kind not in KEPT:
            self.work.fail("wrong-type", f"an observable is a number, a vector or a matrix, not {expr.type}", expr)
        return expr

    # -- memory ----------------------------------------------------------------------------------------

    def state(self, state: State) -> State:
        value = self.work.typed(state.value)
        kind = value.type
        if kind.kind not in KEPT:
            self.work.fail("wrong-type", f"a state is a number, a vector or a matrix, not {kind}", value)
            kind = UNKNOWN
        for node in walk(value):
            match node:
                case Reduce(domain=domain) if not isinstance(domain, Each):
                    what = "a sum over pairs"
                case Read(symbol="f" | "potential" | "virial" as name) if self.work.model.param(name) is None:
                    what = f"`{name}`"
                case _:
                    continue
            self.work.fail(
                "not-yet",
                f"`{state.name}` cannot begin with {what} yet",
                node,
                notes=("a state begins before forces are computed",),
            )
            break
        if kind.dimension is None and kind.kind != "unknown":
            kind = self.dimensions.get(state.name, kind)
        self.work.locals[state.name] = kind
        return replace(state, value=value, type=kind)

    def known(self, kind: Type) -> Type:
        """Zero, whatever it is multiplied by, is a pure number in the end."""
        return replace(kind, dimension=ONE) if kind.dimension is None and kind.kind != "unknown" else kind

    # -- what is done ----------------------------------------------------------------------------------

    def draw(self, draw: Draw) -> Draw:
        self.work.locals[draw.target] = Type("vector" if draw.per_atom else "scalar", ONE)
        args = tuple(want(self.work, a, ONE, f"the argument of `{draw.distribution}`") for a in draw.args)
        return replace(draw, args=args)

    def update(self, update: Update) -> Update:
        value = self.work.typed(update.value)
        if self.work.model.replicas is None:
            for node in walk(value):
                if isinstance(node, Op) and node.op in NEIGHBOURS:
                    what = f"`{node.op}` is of a neighbouring replica, and the program declares none"
                    self.work.fail("misplaced", what, node, help="declare them: `replicas r in 0..10`")
                    break
        inside = next(
            (
                n
                for r in walk(value)
                if isinstance(r, Reduce)
                for n in walk(r)
                if isinstance(n, Read) and EACH in n.indices
            ),
            None,
        )
        if inside is not None:
            self.work.fail(
                "wrong-index",
                f"inside a sum `{inside.symbol}` needs an index",
                inside,
                help=f"write `{inside.symbol}[i]` in `sum(i)`",
            )
        target = update.target
        if update.state:
            self.remember(update, value)
        elif target == "cell":
            if reads_each(value):
                self.work.fail("wrong-type", "`cell` is one for all atoms, but this is one for each", value)
            else:
                self.want(update, value, Type("matrix", self.work.builtin("cell").dimension))
        elif target in ("x", "v"):
            wanted = self.work.builtin(target)
            self.want(update, value, Type("vector", wanted.dimension) if update.op == "+=" else wanted)
        else:
            self.assign(update, value)
        return replace(update, value=value)

    def remember(self, update: Update, value: Expr) -> None:
        name, kind = update.target, self.work.locals[update.target]
        if reads_each(value):
            self.work.fail(
                "wrong-type",
                f"`{name}` is one for all atoms, but this is one for each",
                value,
                help="add it up: `sum(i) m[i]*v[i]`",
            )
        elif kind.dimension is None and value.type.dimension is not None and value.type.kind == kind.kind:
            self.dimensions[name] = self.work.locals[name] = value.type
        else:
            self.want(update, value, kind)

    def assign(self, update: Update, value: Expr) -> None:
        """A value of the flow's own keeps its type."""
        name = update.target
        old = self.work.locals.get(name)
        if value.type.kind not in (*KEPT, "bool", "point"):
            self.work.fail(
                "wrong-type",
                f"a value of a flow is a number, a vector, a matrix or a condition, not {value.type}",
                value,
            )
        elif old is None or old.dimension is None and old.kind == value.type.kind:
            self.work.locals[name] = value.type
        else:
            self.want(update, value, old)

    def want(self, update: Update, value: Expr, wanted: Type) -> None:
        if "unknown" in (value.type.kind, wanted.kind):
            return
        if (
            value.type.kind != wanted.kind
            or None not in (value.type.dimension, wanted.dimension)
            and value.type.dimension != wanted.dimension
        ):
            id = "wrong-type" if value.type.kind != wanted.kind else "wrong-unit"
            self.work.fail(id, f"`{update.target} {update.op}` wants {wanted}, but this is {value.type}", value)
