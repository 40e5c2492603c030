"""What the statements of dynamics do.

One step carries out the body of a scheme in order. An update computes its right-hand side for all atoms, then
replaces the field; a value that is made of no atom's values is one for all. ``f`` is the force at the current x at
every moment, and so is all else that flows read: sums, energies, observables. A draw gives fresh random numbers: for
each atom and axis, or one. ``t`` goes on where atoms drift, half before them and half after (`mdsl.model.drift`), and
at the end of the step is ``dt`` later than at its beginning, whatever flows did; a box that is a function of time
changes with it, carrying the positions along.

A *state* starts from its value when the statement of dynamics begins, and is remembered from step to step. There is
one for the statement, in however many places its flow stands. A flow that changes its parameter is given a state, and
changes that.

A scheme is carried out as written (``Advance.body`` is None: flows are invoked with their arguments, options bind
its parameters by name), or as `inline` wrote it out. An option stands for its value at the moment at which it is
read; where it is a function of one number, for the value of that at the time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from mdsl.model.box_dependencies import decided_by
from mdsl.model.box_shape import becomes_skew
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
    Model,
    Number,
    Read,
    Scheme,
    State,
    Update,
    walk,
)

from .atoms import System
from .dual import primal
from .expressions import Interpreter, plain, recorded
from .quantities import BUILTIN_VALUES, least_skew, periodic
from .rows import Cells, Closure, Rows, Whole, entries
from .values import Point, plus

Noise = Callable[[int, int], np.ndarray]  # (step, number of the draw in the step) -> [N, d], or one number
Names = dict[str, object]  # what names of a scheme stand for: values, functions, Cells of its states


@dataclass(frozen=True)
class _Option:
    """What an option stands for, whenever it is read."""

    expr: Expr
    names: Names


@dataclass
class _Step:
    """One step under way. ``cells`` are the states, each by its scheme, its name and its place on its range."""

    model: Model
    system: System
    noise: Noise
    timed: bool = True  # what lowers the energy has no time
    cells: dict[tuple, Cells] = field(default_factory=dict)
    observed: dict[str, tuple[Equation, Names]] = field(default_factory=dict)
    begun: dict[tuple, list] = field(default_factory=dict)  # the values of the states when the step began
    draws: int = 0

    def __post_init__(self):
        self.begin = self.system
        for key, cells in self.system.memory.items():
            self.keep(key, cells.first, cells.values)

    def keep(self, key: tuple, first: int | None, values: Sequence[object]) -> Cells:
        self.begun[key] = list(values)
        self.cells[key] = Cells(first, list(values))
        return self.cells[key]

    def take_back(self) -> None:
        """Back to where the step began; what it told of the scheme's observables is kept."""
        self.system = self.begin
        for key, cells in self.cells.items():
            cells.values[:] = self.begun[key]

    # -- values ----------------------------------------------------------------------------------------

    def value(self, expr: Expr, names: Names, system: System | None = None) -> object:
        """The value of an expression at this moment: for each atom, or one where it is made of no atom's values."""
        system = system or self.system
        names = {n: self.argument(v.expr, v.names, system) if isinstance(v, _Option) else v for n, v in names.items()}
        every = np.arange(len(system.x)) if self.each(expr, names) else np.zeros(1, int)
        values = {name: v.values[0] if isinstance(v, Cells) and v.first is None else v for name, v in names.items()}
        whole = {entries(name): Whole(v) for name, v in values.items()}
        single = {name: v for name, v in values.items() if not isinstance(v, Cells)}
        return Interpreter(self.model, system, params=self.params()).value(
            expr, Rows(len(every), {EACH: every, **whole, **single})
        )

    def each(self, expr: Expr, names: Names) -> bool:
        """Whether an expression has another value for each atom."""
        for node in walk(expr):
            if isinstance(node, Read):
                known = names.get(node.symbol)
                if (
                    EACH in node.indices
                    and known is None
                    or known is not None
                    and not isinstance(known, Closure | Cells)
                    and len(_array(known)) > 1
                ):
                    return True
        return False

    def params(self) -> Mapping[str, object]:
        """Values of parameters, and of the states at the top level that a scheme has changed."""
        changed = dict(self.system.params)
        for (scheme, name), cells in self.cells.items():
            if scheme == "":
                changed[name] = (
                    np.array([v[0] for v in cells.values]) if cells.first is not None else cells.values[0][0]
                )
        return changed

    def argument(self, expr: Expr, names: Names, system: System | None = None) -> object:
        """An option or argument: a value, a state, or a function of time at the present time."""
        if isinstance(expr, Read) and not expr.indices and isinstance(names.get(expr.symbol), Cells):
            return names[expr.symbol]
        system = system or self.system
        value = self.value(expr, names, system)
        if isinstance(value, Closure):
            return Interpreter(self.model, system).apply(value, [np.array([float(system.t)])])
        return value

    def whole(self, expr: Expr, names: Names) -> int:
        return int(round(float(primal(self.value(expr, names))[0])))

    # -- what is done ----------------------------------------------------------------------------------

    def carry_out(self, body: Sequence[Update | Draw | Invoke | Loop], names: Names) -> None:
        """The statements of a body; ``names`` grow by what they compute."""
        for statement in body:
            match statement:
                case Invoke(symbol=symbol, args=args):
                    self.invoke(self.scheme(symbol), [self.argument(a, names) for a in args])
                case Loop(variable=variable, first=first, last=last, down=down):
                    a, b = self.whole(first, names), self.whole(last, names)
                    for k in range(a, b - 1, -1) if down else range(a, b + 1):
                        inner = {**names, variable: np.array([k])}
                        self.carry_out(statement.body, inner)
                        names.update({n: v for n, v in inner.items() if n != variable})
                case Draw(target=target, distribution=distribution, args=args):
                    drawn = np.asarray(self.noise(self.system.step, self.draws), float)
                    names[target] = drawn if distribution == "normal" else drawn.reshape(1)
                    self.draws += 1
                case Update(state=True):
                    self.remember(statement, names)
                case Update(target=target, op="=", value=value):
                    self.assign(target, self.value(value, names), names)
                case Update(target="x", op="+=", value=value) if self.timed and (h := drift(statement)) is not None:
                    half, moved = float(primal(self.value(h, names))[0]) / 2, self.value(value, names)
                    self.system = _at_time(self.model, self.system, self.system.t + half)
                    self.assign("x", plus(self.value(Read("x", (EACH,)), names), moved), names)
                    self.system = _at_time(self.model, self.system, self.system.t + half)
                case Update(target=target, op="+=", value=value):
                    before = (
                        names[target]
                        if target in names
                        else self.value(Read(target, () if target == "cell" else (EACH,)), names)
                    )
                    self.assign(target, plus(before, self.value(value, names)), names)
                case _:
                    raise TypeError(f"no meaning for {statement}")

    def invoke(self, scheme: Scheme, given: Sequence[object]) -> None:
        """A scheme with its first arguments; the others have their defaults, which may read those before them."""
        names: Names = dict(zip(scheme.parameters, given))
        for name in scheme.parameters[len(given) :]:
            names[name] = self.argument(scheme.default(name), names)
        self.enter(scheme, names)

    def enter(self, scheme: Scheme, names: Names) -> None:
        """A scheme whose parameters have these values."""
        for state in scheme.states:
            names[state.name] = self.memory(scheme.symbol, state, names)
        for equation in scheme.observes:
            self.observed.setdefault(equation.name, (equation, dict(names)))
        self.carry_out(scheme.body, names)

    def scheme(self, symbol: str) -> Scheme:
        return next(s for s in self.model.schemes if s.symbol == symbol)

    def assign(self, target: str, value: object, names: Names) -> None:
        """A new value of x, of v, of the box, or of a name of the flow's own. Atoms of frozen species stay as they
        are."""
        if target not in FIELDS:
            names[target] = value
            return
        if target == "cell":
            self.system = resized(self.system, Interpreter(self.model, self.system), _array(value)[0])
            return
        old = getattr(self.system, target)
        array = np.where(self.system.frozen(self.model)[:, None], old, np.broadcast_to(_array(value), old.shape))
        self.system = replace(self.system, **{target: array})

    # -- memory ----------------------------------------------------------------------------------------

    def memory(self, scheme: str, state: State, names: Names) -> Cells:
        """The cells of a state. Their first values are those at the beginning of the statement."""
        key = (scheme, state.name)
        if key not in self.cells:
            if state.axis is None:
                self.keep(key, None, [self.value(state.value, names, self.begin)])
            else:
                variable, first, last = state.axis
                first, last = self.whole(first, names), self.whole(last, names)
                values = [
                    self.value(state.value, {**names, variable: np.array([k])}, self.begin)
                    for k in range(first, last + 1)
                ]
                self.keep(key, first, values)
        return self.cells[key]

    def top(self, target: str) -> Cells:
        """The cells of a state at the top level, which begin with its value as a parameter."""
        key = ("", target)
        if key not in self.cells:
            start = np.asarray(primal(Interpreter(self.model, self.begin).param(target)), float)
            axes = self.model.param(target).axes
            self.keep(key, axes[0].first if axes else None, [np.array([v]) for v in start.ravel()])
        return self.cells[key]

    def remember(self, update: Update, names: Names) -> None:
        value = self.value(update.value, names)
        cells = names.get(update.target) if update.target in names else self.top(update.target)
        k = 0 if update.index is None else self.whole(update.index, names) - cells.first
        if not isinstance(cells, Cells) or not 0 <= k < len(cells.values):
            raise TypeError(f"`{update.target}` is no state, or has no such entry")
        cells.values[k] = plus(cells.values[k], value) if update.op == "+=" else value


def _array(value: object) -> np.ndarray:
    return primal(value.coordinates if isinstance(value, Point) else value)


def _no_noise(step: int, draw: int) -> np.ndarray:
    raise TypeError("this scheme draws random numbers: give it `noise`")


def _carry_out(model: Model, advance: Advance, system: System, noise: Noise) -> tuple[_Step, float]:
    """One step, and the time by which it advances."""
    during = _Step(model, system, noise)
    if advance.body is not None:
        names: Names = {s.name: during.memory(advance.scheme, s, {}) for s in advance.states if s.param is None}
        aliases = {s.name: s.param for s in advance.states if s.param is not None}
        body = [_at_top(s, aliases) for s in advance.body]
        for equation in advance.observes:
            during.observed[equation.name] = (equation, names)
        during.timed = advance.dt is not None
        dt = np.zeros(1) if advance.dt is None else during.argument(advance.dt, {})
        during.carry_out(body, dict(names))
        return during, float(primal(dt)[0])
    scheme = during.scheme(advance.scheme)
    during.timed = scheme.kind == "integrator"
    names = {name: _Option(expr, {}) for name, expr in advance.options}
    for name in scheme.parameters:
        if name not in names:
            names[name] = _Option(scheme.default(name), dict(names))
    dt = during.argument(Read("dt"), names) if during.timed and "dt" in names else np.zeros(1)
    during.enter(scheme, names)
    return during, float(primal(dt)[0])


def _at_top(statement: Update | Draw, aliases: Mapping[str, tuple[str, int | None]]) -> Update | Draw:
    """An update of a state at the top level, by the name that it has there."""
    if not isinstance(statement, Update) or statement.target not in aliases:
        return statement
    name, k = aliases[statement.target]
    return replace(statement, target=name, index=None if k is None else Number(float(k)))


@np.errstate(all="ignore")
def step(model: Model, advance: Advance, system: System, noise: Noise = _no_noise) -> System:
    """The system one step of a statement later."""
    during, dt = _carry_out(model, advance, system, noise)
    after = _at_time(model, during.system, system.t + dt)
    after = replace(after, step=system.step + 1, memory=during.cells)
    if after.cell is not None and becomes_skew(model):
        after = replace(after, cell=least_skew(after.cell, after.periodic))
    return after


def _at_time(model: Model, before: System, t: float) -> System:
    """The system at another time. Where the program declares the box as a function of time, positions keep their
    fractions of it."""
    after = replace(before, t=t)
    if before.cell is not None or "t" not in decided_by(model):
        return after
    old, new = (primal(Interpreter(model, system).cell)[0] for system in (before, after))
    return replace(after, x=after.x @ np.linalg.inv(old) @ new)


def resized(system: System, now: Interpreter, cell: np.ndarray) -> System:
    """The system in another box, all positions carried along. Along an axis that does not repeat the box has no edge,
    and nothing changes."""
    repeats = periodic(now)
    old, new = primal(now.cell)[0], np.where(repeats[:, None], cell, np.eye(len(cell)))
    return replace(system, x=system.x @ np.linalg.inv(old) @ new, cell=new, lengths=None, periodic=repeats)


@np.errstate(all="ignore")
def observed(model: Model, advance: Advance, system: System, name: str, noise: Noise = _no_noise) -> object:
    """What can be recorded of a statement of dynamics between steps: an observable of its scheme, or of the program."""
    if model.equation(name) is not None or name in BUILTIN_VALUES:
        return recorded(Interpreter(model, system, params=_Step(model, system, noise).params()), name)
    # What an observable of the scheme reads is known once a step is entered; the step itself is taken back.
    now, _ = _carry_out(model, advance, system, noise)
    now.take_back()
    equation, names = now.observed[name]
    return plain(now.value(equation.body, names), Interpreter(model, system))


@np.errstate(all="ignore")
def run(
    model: Model,
    advance: Advance,
    system: System,
    steps: int,
    noise: Noise = _no_noise,
    observe: Sequence[str] = (),
) -> tuple[list[dict[str, object]], System]:
    """So many steps, or fewer where the statement ends when its condition holds after a step.

    The records are of the start and of the end of every step, with ``step``, ``t`` and the observables ``observe``.
    """

    def record() -> dict[str, object]:
        return {"step": system.step, "t": system.t} | {n: observed(model, advance, system, n, noise) for n in observe}

    system = replace(system, start=replace(system, start=None), memory={})
    records = [record()]
    for _ in range(steps):
        system = step(model, advance, system, noise)
        records.append(record())
        if advance.until is not None and bool(np.all(_Step(model, system, noise).value(advance.until, {}))):
            break
    return records, system
