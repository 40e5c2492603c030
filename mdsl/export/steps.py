"""The statements of dynamics as steps of each coordinate, and whether they are an engine's own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import sympy

from mdsl.interpret import constants
from mdsl.interpret import meaning as interpret
from mdsl.model.drift import drift
from mdsl.model.dynamics import Advance, Draw, Update
from mdsl.model.nodes import EACH, SCALAR, Expr, Read, transform, walk
from mdsl.symbolic.bridge import Leaves, to_sympy

from .subject import Subject

X, V, F, M = (sympy.Symbol(name, real=True) for name in "xvfm")
FIELDS = {"x": X, "v": V, "f": F, "m": M}


@dataclass(frozen=True)
class Stage:
    """``target`` becomes ``expr``, of the same coordinate; ``expr`` is None where it becomes a normal number. One for
    all (``alone``) or one for each coordinate. The time goes on by ``drift`` with it."""

    target: str
    expr: sympy.Expr | None
    alone: bool = False
    drift: float = 0.0


@dataclass(frozen=True, eq=False)
class Scheme:
    """A statement of dynamics; ``dt``: in internal units; ``reads_time``: whether it reads `t`."""

    advance: Advance
    dt: float
    steps: int
    stages: tuple[Stage, ...]
    reads_time: bool


class Unsaid(Exception):
    """What of a statement cannot be said coordinate by coordinate."""


def scheme(subject: Subject, advance: Advance) -> Scheme:
    """Raises Unsaid."""
    model = subject.model
    steps = constants.whole(model, advance.steps, subject.params, "the number of steps")
    if advance.until is not None:
        raise Unsaid("it ends by a condition")
    if advance.states:
        raise Unsaid("it has a memory from step to step")
    if advance.dt is None:
        raise Unsaid("its steps have no time")
    dt = float(interpret.constant(model, advance.dt, subject.params))
    symbols: dict[str, sympy.Symbol] = {"t": sympy.Symbol("t", real=True)}
    alone: set[str] = set()
    stages, timed = [], False
    for statement in advance.statements:
        if statement.target == "cell":
            raise Unsaid("it changes the box")
        if isinstance(statement, Draw):
            if statement.distribution != "normal":
                raise Unsaid(f"it draws `{statement.distribution}`")
            symbols[statement.target] = sympy.Symbol(statement.target, real=True)
            stages.append(Stage(statement.target, None))
            continue
        if statement.state:
            raise Unsaid("it has a memory from step to step")
        expr, single, reads_t = _expression(subject, statement.value, symbols, alone)
        timed |= reads_t
        if statement.target in FIELDS:
            own = FIELDS[statement.target]
            expr = own + expr if statement.op == "+=" else expr
            single = False
        else:
            own = symbols.setdefault(statement.target, sympy.Symbol(statement.target, real=True))
            expr = own + expr if statement.op == "+=" else expr
            if single:
                alone.add(statement.target)
        stages.append(Stage(statement.target, expr, single, _drift(subject, statement)))
    return Scheme(advance, dt, steps, tuple(stages), timed)


def _drift(subject: Subject, statement: Update) -> float:
    """The time for which the atoms move in a statement."""
    h = drift(statement)
    if h is None:
        return 0.0
    try:
        return float(interpret.constant(subject.model, h, subject.params))
    except (NameError, AttributeError, TypeError, KeyError):
        raise Unsaid("how far it moves the atoms is not known before the run") from None


def _expression(
    subject: Subject, value: Expr, symbols: Mapping[str, sympy.Symbol], alone: set[str]
) -> tuple[sympy.Expr, bool, bool]:
    """One coordinate of what is assigned, whether it is the same for all, and whether it reads the time."""

    def single(expr: Expr) -> Expr:
        return replace(expr, type=SCALAR) if expr.type.kind in ("vector", "point") else expr

    for node in walk(value):
        if getattr(node, "op", "") in ("dot", "cross", "norm", "outer", "displacement") or getattr(
            node, "op", ""
        ).startswith("component_"):
            raise Unsaid("it is no formula of each coordinate by itself")

    def known(expr: Expr) -> Expr:
        return expr if isinstance(expr, Read) and expr.symbol in FIELDS else subject.known(expr)

    leaves = Leaves()
    expr = to_sympy(transform(transform(value, known), single), leaves)
    changed, each, timed = {}, False, False
    for symbol, leaf in leaves.exprs.items():
        if symbol not in expr.free_symbols:
            continue
        match leaf:
            case Read(symbol=name, indices=indices) if name in FIELDS and indices == (EACH,):
                changed[symbol], each = FIELDS[name], True
            case Read(symbol="t", indices=()):
                changed[symbol], timed = symbols["t"], True
            case Read(symbol=name) if name in symbols:
                changed[symbol] = symbols[name]
                each |= name not in alone
            case Read(symbol=name):
                raise Unsaid(f"it reads `{name}`")
            case _:
                raise Unsaid("it reads more than the engine's integrators can")
    return expr.xreplace(changed), not each, timed


def is_velocity_verlet(found: Scheme) -> bool:
    """Half a kick, a drift, half a kick (Swope et al. 1982): the same formulas, whatever they are called."""
    h = sympy.Float(found.dt, 17)
    wanted = [("v", V + h / 2 * F / M), ("x", X + h * V), ("v", V + h / 2 * F / M)]
    if len(found.stages) != len(wanted):
        return False
    return all(
        stage.target == target and stage.expr is not None and _equal(stage.expr, expr)
        for stage, (target, expr) in zip(found.stages, wanted)
    )


def _equal(a: sympy.Expr, b: sympy.Expr) -> bool:
    difference = sympy.expand(a - b)
    parts = sympy.Add.make_args(difference)
    return all(abs(float(p.as_coeff_Mul()[0])) < 1e-14 for p in parts if p != 0)


def every(subject: Subject, advance: Advance, kind: str) -> list[tuple[tuple[str, ...], int]]:
    """The names that are recorded, or written, and how often; 0 where that is at the end."""
    found = []
    for output in advance.outputs:
        if output.kind == kind:
            count = 0
            if output.every is not None:
                count = constants.whole(subject.model, output.every, subject.params, "`every`", 1)
            found.append((output.names, count))
    return found
