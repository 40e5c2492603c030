"""What the statements of dynamics do.

One step carries out the body of a scheme in order. An update computes its right-hand side for all atoms, then
replaces the field. ``f`` is the force at the current x at every moment. A draw gives
fresh random numbers for each atom and axis. At the end of the step ``t`` advances by ``dt``, and a box
that is a function of time changes, carrying the positions along.

A scheme is carried out as written (``Advance.body`` is None: flows are invoked with their arguments, options bind
its parameters by name), or as `inline` wrote it out. Where an option is a function of one number, the parameter
stands for its value at the current time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from .algebra import Point, plus
from .box import decided_by
from .dual import primal
from .evaluate import Interpreter, recorded
from .model import EACH, Advance, Draw, Expr, Invoke, Model, Read, Scheme, Update
from .rows import Closure, Rows, local
from .system import System

Noise = Callable[[int, int], np.ndarray]  # (step, number of the draw in the step) -> [N, d]


@dataclass
class _Step:
    """One step under way."""

    model: Model
    system: System
    noise: Noise
    draws: int = 0

    def value(self, expr: Expr, names: Mapping[str, object]) -> object:
        """The value of an expression at this moment, for each atom."""
        every = np.arange(len(self.system.x))
        return Interpreter(self.model, self.system).value(expr, Rows(len(every), {EACH: every, **names}))

    def argument(self, expr: Expr, names: Mapping[str, object]) -> object:
        """An option or argument: a value, or a function of time at the present time."""
        value = self.value(expr, names)
        if isinstance(value, Closure):
            return Interpreter(self.model, self.system).apply(value, [np.array([float(self.system.t)])])
        return value

    def carry_out(self, body: Sequence[Update | Draw | Invoke], names: Mapping[str, object]) -> None:
        """The statements of a body, where ``names`` are its parameters."""
        names = dict(names)
        for statement in body:
            match statement:
                case Invoke(symbol=symbol, args=args):
                    scheme = self.scheme(symbol)
                    given = [self.argument(a, names) for a in args]
                    self.carry_out(scheme.body, dict(zip(scheme.parameters, given, strict=True)))
                case Draw(target=target, distribution="normal"):
                    self.assign(target, self.noise(self.system.step, self.draws), names)
                    self.draws += 1
                case Update(target=target, op="=", value=value):
                    self.assign(target, self.value(value, names), names)
                case Update(target=target, op="+=", value=value):
                    before = self.value(Read(target, (EACH,)), names)
                    self.assign(target, plus(before, self.value(value, names)), names)
                case _:
                    raise TypeError(f"no meaning for {statement}")

    def scheme(self, symbol: str) -> Scheme:
        return next(s for s in self.model.schemes if s.symbol == symbol)

    def assign(self, target: str, value: object, names: dict[str, object]) -> None:
        """A new value of x, of v, or of a name of the flow's own: one for each atom."""
        if target in ("x", "v"):
            array = primal(value.coordinates if isinstance(value, Point) else value)
            self.system = replace(self.system, **{target: np.broadcast_to(array, self.system.x.shape).copy()})
        else:
            names[local(target)] = value


def _no_noise(step: int, draw: int) -> np.ndarray:
    raise TypeError("this scheme draws random numbers: give it `noise`")


@np.errstate(all="ignore")
def step(model: Model, advance: Advance, system: System, noise: Noise = _no_noise) -> System:
    """The system one step of a statement later."""
    during = _Step(model, system, noise)
    options = {name: during.argument(expr, {}) for name, expr in advance.options}
    dt = options.get("dt", np.zeros(1)) if advance.dt is None else during.argument(advance.dt, {})
    if advance.body is None:
        scheme = during.scheme(advance.scheme)
        during.carry_out(scheme.body, {name: options[name] for name in scheme.parameters})
    else:
        during.carry_out(advance.body, {})
    return _carried(model, replace(during.system, t=system.t + float(primal(dt)[0]), step=system.step + 1), during.system)


def _carried(model: Model, after: System, before: System) -> System:
    """Where the program declares the box as a function of time, positions keep their fractions of it."""
    if before.cell is not None or "t" not in decided_by(model):
        return after
    old, new = (primal(Interpreter(model, system).cell)[0] for system in (before, after))
    return replace(after, x=after.x @ np.linalg.inv(old) @ new)


@np.errstate(all="ignore")
def run(
    model: Model,
    advance: Advance,
    system: System,
    steps: int,
    noise: Noise = _no_noise,
    observe: Sequence[str] = (),
) -> tuple[list[dict[str, object]], System]:
    """So many steps. The records are of the start and of the end of every step: ``steps + 1`` in all, with ``step``,
    ``t`` and the names to observe."""

    def record() -> dict[str, object]:
        now = Interpreter(model, system)
        return {"step": system.step, "t": system.t} | {n: recorded(now, n) for n in observe}

    system = replace(system, start=replace(system, start=None))
    records = [record()]
    for _ in range(steps):
        system = step(model, advance, system, noise)
        records.append(record())
    return records, system
