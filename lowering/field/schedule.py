"""When things are computed within one step of dynamics: where the energies must be evaluated anew.

The force `f` is always the force at the current `x`, and so are energies, the virial, and sums over pairs. Evaluating
them at every place where they are read would be right and slow; it is needed only where `x` has changed since the
last evaluation, which may lie in the step before. One evaluation gives all that the scheme reads of it.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from mdsl.model.box_dependencies import explicit_time
from mdsl.model.dependencies import reads as all_reads
from mdsl.model.drift import drift
from mdsl.model.dynamics import FIELDS
from mdsl.model.literals import constant_value
from mdsl.model.nodes import Advance, Draw, Expr, Op, Update, names_in, reads_each
from mdsl.model.traverse import inside

from .field import Field
from .names import Symbol

FORCES = frozenset({"f"})
PLACES = frozenset({"x", "cell"})  # what decides where atoms are
TIME = Symbol("t")  # the time within a step, among values that are kept


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
    return advance.statements if advance.until is None else (*advance.statements, Check(advance.until))


def reads(statement: Statement) -> set[str]:
    """The names of values that a statement reads."""
    found = names_in(statement)
    return found | {statement.target} if isinstance(statement, Update) and statement.op == "+=" else found


def force_evaluations(
    body: Sequence[Statement],
    moved_on: bool = False,
    due: frozenset[str] = FORCES,
    fields: frozenset[str] = PLACES,
) -> ForceEvaluations:
    """Where the steps of a scheme, written out by `inline`, evaluate the energies.

    ``due`` are the names that need it, ``fields`` those with which what it gives changes. With ``moved_on`` it changes
    where a step ends too, since time goes on there.
    """
    # The longest-lived assumption that proves itself: a force that is known when a step begins must be known
    # when it ends. If it is not, no step begins with one.
    known = _fresh_at_end(body, True, due, fields) and not moved_on
    before = _before(body, known, due, fields)
    first_read = next((k for k, s in enumerate(body) if needs(s, due)), None)
    carried = known and first_read is not None and not before[first_read]
    return ForceEvaluations(before, carried)


def needs(statement: Statement, due: frozenset[str]) -> bool:
    """Whether a statement reads what an evaluation gives."""
    return not due.isdisjoint(reads(statement))


def moves(statement: Statement, fields: frozenset[str] = PLACES) -> bool:
    """Whether a statement changes the positions, or the box and them with it, or what else decides an evaluation."""
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
    reads, states, and of ``sums`` what an evaluation gives beside the force. ``force``, ``virial``: what it is asked
    for.
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
    timed: bool  # whether the time goes on within a step, and something in it depends on that


def cut(field: Field, advance: Advance) -> Cut:
    """Where a step is cut; without any evaluation, at its beginning."""
    body = statements(advance)
    read = {name for s in body for name in reads(s)}
    within = names_in(far_sums(field, read))
    by_time = "t" in within or explicit_time(field.model)
    drifts = advance.dt is not None and any(drift(s) is not None for s in advance.statements)
    timed = drifts and (by_time or _reads_time(field, body))
    evaluations = force_evaluations(
        body,
        by_time and not advances_wholly(advance),
        field.due,
        PLACES | ({"v"} & within),
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
        kept=tuple(sorted((made - each) | states | ({TIME} if timed else set()))),
        sums=sums,
        force="f" in read or bool(field.pulled & read),
        virial="virial" in read,
        evaluates=any(before) or evaluations.carried,
        carried=evaluations.carried,
        timed=timed,
    )


def _reads_time(field: Field, body: Sequence[Statement]) -> bool:
    """Whether statements read the time, also in sums."""
    exprs = inside(tuple(body))
    sums = [m.summand for m in field.measures] + [v.summand for v in field.values]
    return "t" in all_reads(field.model, (*exprs, *sums))


def advances_wholly(advance: Advance) -> bool:
    """Whether it is proved that atoms drift for the time `dt` in a step, so that nothing is left to its end."""
    parts = [_share(h, advance.dt) for s in advance.statements if (h := drift(s)) is not None]
    known = [p for p in parts if p is not None]
    return len(known) == len(parts) > 0 and abs(sum(known) - 1) < 1e-12


def _share(expr: Expr, whole: Expr | None) -> float | None:
    """How many times ``whole`` an expression is, for any value of that; None where that is not clear."""
    if whole is None:
        return None
    if expr == whole:
        return 1.0
    part, all_of_it = constant_value(expr), constant_value(whole)
    if part is not None and all_of_it:
        return part / all_of_it
    match expr:
        case Op(op="neg", args=(a,)):
            found = _share(a, whole)
            return None if found is None else -found
        case Op(op="add" | "sub" as op, args=(a, b)):
            one, other = _share(a, whole), _share(b, whole)
            return None if one is None or other is None else one + (other if op == "add" else -other)
        case Op(op="mul", args=(a, b)):
            for factor, rest in ((a, b), (b, a)):
                times, found = constant_value(factor), _share(rest, whole)
                if times is not None and found is not None:
                    return times * found
        case Op(op="div", args=(a, b)):
            found, by = _share(a, whole), constant_value(b)
            return found / by if found is not None and by else None
    return None


def far_sums(field: Field, read: Collection[str]) -> tuple[Expr, ...]:
    """What is summed in the sums of observables among ``read`` that are known only after an evaluation, and the
    per-atom values in them."""
    summands = [m.summand for m in field.measures if m.name in field.far.intersection(read)]
    summands += [field.sum(name).summand for name in field.within(summands)]
    return (*summands, *(v.summand for v in field.needed(summands)))


def per_atom(body: Sequence[Statement]) -> set[str]:
    """The names of values that are another for each atom."""
    found: set[str] = set()
    for statement in body:
        if isinstance(statement, Draw):
            found |= {statement.target} if statement.per_atom else set()
        elif isinstance(statement, Update) and reads_each(statement.value):
            found.add(statement.target)
    return found - {*FIELDS}
