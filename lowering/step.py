"""When things are computed within one step of dynamics: where the force must be evaluated anew.

The force `f` is always the force at the current `x`. Evaluating it at every place where it is read would be
right and slow; it is needed only where `x` has changed since the last evaluation, which may lie in the step before.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mdsl.box import decided_by
from mdsl.model import Draw, Expr, Model, Read, Update, walk


@dataclass(frozen=True)
class ForceEvaluations:
    """``before[k]``: whether the force is evaluated just before statement k of every step.

    ``carried``: whether a step reads the force that the step before has left, so that it is carried from step
    to step, and evaluated once before the first.
    """

    before: tuple[bool, ...]
    carried: bool

    @property
    def per_step(self) -> int:
        return sum(self.before)


def force_evaluations(body: Sequence[Update | Draw], explicit_time: bool = False) -> ForceEvaluations:
    """Where the steps of a scheme, written out by `inline`, evaluate the force.

    With ``explicit_time`` the energy depends on the time itself, and the force of one step is not that of the next.
    """
    # The longest-lived assumption that proves itself: a force that is known when a step begins must be known
    # when it ends. If it is not, no step begins with one.
    known = _fresh_at_end(body, True) and not explicit_time
    before = _before(body, known)
    first_read = next((k for k, s in enumerate(body) if reads_force(s)), None)
    carried = known and first_read is not None and not before[first_read]
    return ForceEvaluations(before, carried)


def explicit_time(model: Model) -> bool:
    """Whether an energy depends on the time itself, or on a box that does."""
    if "t" in decided_by(model):
        return True
    seen: set[str] = set()
    pending: list[Expr] = [e.body for e in model.of_kind("energy")]
    while pending:
        for node in walk(pending.pop()):
            if isinstance(node, Read) and node.symbol not in seen:
                seen.add(node.symbol)
                other = model.equation(node.symbol)
                pending += [other.body] if other is not None else []
    return "t" in seen and model.param("t") is None


def reads_force(statement: Update | Draw) -> bool:
    return isinstance(statement, Update) and _reads_force(statement.value)


def _reads_force(expr: Expr) -> bool:
    return any(isinstance(node, Read) and node.symbol == "f" and node.indices for node in walk(expr))


def moves(statement: Update | Draw) -> bool:
    """Whether a statement changes the positions."""
    return isinstance(statement, Update) and statement.target == "x"


def _before(body: Sequence[Update | Draw], known: bool) -> tuple[bool, ...]:
    out = []
    for statement in body:
        reads = reads_force(statement)
        out.append(reads and not known)
        known = (known or reads) and not moves(statement)
    return tuple(out)


def _fresh_at_end(body: Sequence[Update | Draw], known: bool) -> bool:
    for statement in body:
        known = (known or reads_force(statement)) and not moves(statement)
    return known
