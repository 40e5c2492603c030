"""When things are computed within one step of dynamics: where the energies must be evaluated anew.

The force `f` is always the force at the current `x`, and so are energies, the virial, and sums over pairs. Evaluating
them at every place where they are read would be right and slow; it is needed only where `x` has changed since the
last evaluation, which may lie in the step before. One evaluation gives all that the scheme reads of it.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from mdsl.model.box_dependencies import decided_by
from mdsl.model.dependencies import energetic
from mdsl.model.dynamics import FIELDS
from mdsl.model.nodes import EACH, Advance, Draw, Expr, Model, Read, Update, walk

from .field import Field

FORCES = frozenset({"f"})
PLACES = frozenset({"x", "cell"})  # what decides where atoms are


@dataclass(frozen=True)
class Check:
    """The last statement of a step of a scheme that runs `until` a condition holds."""

    value: Expr
    target: str = ""


Statement = Update | Draw | Check


@dataclass(frozen=True)
class ForceEvaluations:
    """``before[k]``: whether the energies are evaluated just before statement k of every step.

    ``carried``: whether a step reads what the evaluation of the step before has left, so that it is carried from step
    to step, and evaluated once before the first.
    """

    before: tuple[bool, ...]
    carried: bool


def statements(advance: Advance) -> tuple[Statement, ...]:
    """What a step of a statement of dynamics does, in order."""
    return advance.body if advance.until is None else (*advance.body, Check(advance.until))


def expressions(statement: Statement) -> tuple[Expr, ...]:
    return statement.args if isinstance(statement, Draw) else (statement.value,)


def reads(statement: Statement) -> set[str]:
    """The names of values that a statement reads."""
    found = {n.symbol for e in expressions(statement) for n in walk(e) if isinstance(n, Read)}
    return found | {statement.target} if isinstance(statement, Update) and statement.op == "+=" else found


def force_evaluations(
    body: Sequence[Statement],
    explicit_time: bool = False,
    due: frozenset[str] = FORCES,
    fields: frozenset[str] = PLACES,
) -> ForceEvaluations:
    """Where the steps of a scheme, written out by `inline`, evaluate the energies.

    ``due`` are the names that need it, ``fields`` those with which what it gives changes. With ``explicit_time`` the energy depends on the time itself, and the force of
    one step is not that of the next.
    """
    # The longest-lived assumption that proves itself: a force that is known when a step begins must be known
    # when it ends. If it is not, no step begins with one.
    known = _fresh_at_end(body, True, due, fields) and not explicit_time
    before = _before(body, known, due, fields)
    first_read = next((k for k, s in enumerate(body) if needs(s, due)), None)
    carried = known and first_read is not None and not before[first_read]
    return ForceEvaluations(before, carried)


def explicit_time(model: Model) -> bool:
    """Whether an energy depends on the time itself, or on a box that does."""
    if "t" in decided_by(model):
        return True
    return model.param("t") is None and any(n == Read("t") for e in energetic(model) for n in walk(e.body))


def needs(statement: Statement, due: frozenset[str]) -> bool:
    """Whether a statement reads what an evaluation gives."""
    return not due.isdisjoint(reads(statement))


def moves(statement: Statement, fields: frozenset[str] = PLACES) -> bool:
    """Whether a statement changes the positions, or the box and them with it."""
    return isinstance(statement, Update) and statement.target in fields


def _before(body: Sequence[Statement], known: bool, due: frozenset[str], fields: frozenset[str]) -> tuple[bool, ...]:
    out = []
    for statement in body:
        wanted = needs(statement, due)
        out.append(wanted and not known)
        known = (known or wanted) and not moves(statement, fields)
    return tuple(out)


def _fresh_at_end(body: Sequence[Statement], known: bool, due: frozenset[str], fields: frozenset[str]) -> bool:
    for statement in body:
        known = (known or needs(statement, due)) and not moves(statement, fields)
    return known


# -- where a step is cut -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Cut:
    """The statements of a step, before which of them the energies are evaluated, and the step cut in two there.

    ``again[k]``: the energies are evaluated once more before statement k of the tail. ``held`` and ``kept``: values
    for each atom, and values that are one for all, that outlive a part of the step: what the head computes and the tail
    reads, states, and of ``sums`` what an evaluation gives beside the force. ``force``, ``virial``: what it is asked for.
    """

    body: tuple[Statement, ...]
    before: tuple[bool, ...]
    head: tuple[Statement, ...]
    tail: tuple[Statement, ...]
    again: tuple[bool, ...]
    held: tuple[str, ...]
    kept: tuple[str, ...]
    sums: tuple[str, ...]
    force: bool
    virial: bool
    evaluates: bool  # whether a step evaluates the energies at all
    carried: bool  # whether a step reads what the one before has left


def cut(field: Field, advance: Advance) -> Cut:
    """Where a step is cut; without any evaluation, at its beginning."""
    body = statements(advance)
    read = {name for s in body for name in reads(s)}
    within = {n.symbol for e in far_sums(field, read) for n in walk(e) if isinstance(n, Read)}
    evaluations = force_evaluations(
        body, "t" in within or explicit_time(field.model), field.due, PLACES | ({"v"} & within)
    )
    before = evaluations.before
    k = before.index(True) if any(before) else 0
    head, tail = body[:k], body[k:]
    made = {s.target for s in head} & {name for s in tail for name in reads(s)} - {*FIELDS}
    each = per_atom(body)
    states = {s.name for s in advance.states}
    sums = tuple(sorted(field.far & read)) + (("virial",) if "virial" in read else ())
    return Cut(
        body,
        before,
        head,
        tail,
        (False, *before[k + 1 :]),
        held=tuple(sorted(made & each)),
        kept=tuple(sorted((made - each) | states)),
        sums=sums,
        force="f" in read or bool(field.pulled & read),
        virial="virial" in read,
        evaluates=any(before) or evaluations.carried,
        carried=evaluations.carried,
    )


def far_sums(field: Field, read: Collection[str]) -> tuple[Expr, ...]:
    """What is summed in the sums of observables among ``read`` that are known only after an evaluation, and the per-atom
    values in them."""
    summands = [m.summand for m in field.measures if f"#{m.number}" in field.far.intersection(read)]
    summands += [field.sum(name).summand for name in field.within(summands)]
    return (*summands, *(v.summand for v in field.needed(summands)))


def per_atom(body: Sequence[Statement]) -> set[str]:
    """The names of values that are another for each atom."""
    found: set[str] = set()
    for statement in body:
        if isinstance(statement, Draw):
            found |= {statement.target} if statement.per_atom else set()
        elif isinstance(statement, Update) and any(
            isinstance(n, Read) and EACH in n.indices for n in walk(statement.value)
        ):
            found.add(statement.target)
    return found - {*FIELDS}
