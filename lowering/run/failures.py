"""What is said of a run that cannot start or cannot go on: which interaction, of which replica, is to blame."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mdsl.grammar.diagnostics import Diagnostic, Label, Rejected
from mdsl.grammar.source import Span
from mdsl.lowering.dynamics.state import STALE_INSIDE, TOO_SMALL, WAITING, State
from mdsl.lowering.planning.traversal import too_small
from mdsl.lowering.potential.culprit import Culprit, Edge, culprit, edge, ends_out_of_sight
from mdsl.model import nearest_image
from mdsl.model.nodes import Advance

from .losses import Loss, fallen
from .members import Members
from .snapshot import Snapshot

NEAR = 0.02  # of a table: so near to its end before a run is no longer finite, the next step may have left it


def strongest(members: Members, k: int, snapshot: Snapshot) -> Culprit | None:
    """The strongest interaction of a member."""
    member, own = members.asked[k], snapshot.of(k)
    return culprit(members.lowered.field, replace(member.initial, cell=own.cell), member.params, own.x)


def check_start(members: Members, snapshot: Snapshot) -> None:
    """Refuse positions at which a pair has no finite force. Raises Rejected: ``overlap``."""
    alike = not members.varying and not members.atoms_differ and not (snapshot.x != snapshot.x[:1]).any()
    for k in (k for k in range(1 if alike else members.count) if k not in members.lost):
        found, who = strongest(members, k, snapshot), members.who(k)
        if found is not None and not found.finite:
            asked = at_edge(members, k, snapshot)
            raise Rejected(overlap(found, who) if asked is None else outside(asked, f"at the start{who}"))


def at_edge(members: Members, k: int, snapshot: Snapshot, margin: float = 0.0) -> Edge | None:
    """The table that a member asks for what it does not hold, or nearer to its ends than a ``margin``."""
    member, own = members.asked[k], snapshot.of(k)
    found = edge(members.lowered.field, replace(member.initial, cell=own.cell), member.params, own.x)
    return found if found is not None and found.margin <= margin else None


def outside(asked: Edge, when: str, statement: Span | None = None) -> Diagnostic:
    """What is said of a run that asks a table for what it does not hold."""
    what, knots = asked.words
    return Diagnostic(
        "outside-table",
        f"{when} an energy needs a table where it has no values",
        asked.place,
        secondary=(Label(statement, "during this statement"),) if statement is not None else (),
        notes=(f"the energy asks {what}", knots),
        help="a longer table, or `beyond = 0`, `hold` or `continue` where the table is read, if that is what is meant",
    )


def overlap(found: Culprit, who: str = "") -> Diagnostic:
    """What is said of positions at which an interaction has no finite energy."""
    if found.distance == 0:
        return found.diagnostic(
            "overlap",
            f"two atoms{who} are on top of each other",
            help="move them apart: check the file, or place the atoms on a lattice",
        )
    return found.diagnostic(
        "overlap",
        f"an energy{who} is not finite at the start",
        help="check the file: atoms may be too close, or a bond longer than its formula allows",
    )


def losses_of(
    members: Members, advance: Advance, flag: int, after: State, cells: np.ndarray, last: Snapshot | None, t, origin, dt
) -> dict[int, Loss]:
    """The replicas that went wrong, at least one. ``after``: the state in which the batch stopped, in boxes ``cells``;
    ``last``: the last positions that were fine, where the trouble is with these; ``t``, ``origin``, ``dt``: of the
    statement."""
    lowered = members.lowered
    cutoffs = members.spread(np.array([np.inf if c is None else c for c in members.cutoffs]))
    which = fallen(
        flag, *(map(members.gathered, rows) for rows in (after.x, after.at)), cells, lowered.periodic, cutoffs
    )
    step = members.gathered(step_of(flag, after))
    sound = step - 1 if flag == TOO_SMALL else step  # of which the box was still large enough
    done, t = np.broadcast_to(sound - origin, step.shape), np.broadcast_to(t, step.shape)
    statement = next(k for k, a in enumerate(lowered.field.dynamics) if a is advance)
    lost = {}
    for k in sorted({min(members.source[k], members.count - 1) for k in which}):  # whoever they are copies of
        what = failure(members, k, advance, flag, int(step[k]), cells[k], last, float(dt[k]))
        lost[k] = Loss(int(sound[k]), float(t[k] + done[k] * dt[k]), statement, int(done[k]), what)
    return lost


def endless(what: str) -> Rejected:
    """What is said of a list that has grown too often."""
    notes = ("atoms gather without bound in one place",)
    return Rejected(Diagnostic("neighbour-overflow", f"{what} does not stop growing", notes=notes))


def step_of(flag: int, after: State) -> np.ndarray:
    """The last step that was done; where the box has become too small, that in which it did, which may be under way."""
    step = np.asarray(after.step)
    return step + (np.asarray(after.phase) == WAITING) if flag == TOO_SMALL else step


def failure(
    members: Members, k: int, advance: Advance, flag: int, step: int, cell: np.ndarray, last: Snapshot | None, dt: float
) -> Diagnostic:
    """What is said of a member that ended after ``step``, in the box ``cell`` [d, d]."""
    field, who = members.lowered.field, members.who(k)
    if flag == TOO_SMALL:
        when = f"at step {step}, of {advance.scheme.rpartition('.')[2]}, the box{who} has become so small"
        return too_small(field, members.cutoffs[k], nearest_image.half(np.diag(cell), members.lowered.periodic), when)
    if flag == STALE_INSIDE:
        words = f"within step {step}{who} atoms move farther than half the skin of the neighbour list"
        return Diagnostic("blow-up", words, advance.span, help="use a shorter time step")
    words, units = f"the run blew up at step {step + 1}{who}", field.model.units
    shown = units.display(advance.dt.type.dimension) if advance.dt is not None else None
    size = f"{dt * units.shown_per_internal(advance.dt.type.dimension):g} {shown.text}".strip() if shown else ""
    help = (
        f"the time step {size} may be too long for these forces, or atoms start too close"
        if size
        else "the forces are too strong for this scheme"
    )
    asked = None if last is None else at_edge(members, k, last, NEAR)
    if asked is not None:
        return outside(asked, f"at step {step + 1}{who}", advance.span)
    found = None if last is None else strongest(members, k, last)
    told = (
        Diagnostic("blow-up", words, advance.span, help=help)
        if found is None
        else found.diagnostic("blow-up", words, help=help, statement=advance.span)
    )
    return replace(told, notes=(*told.notes, *ends_out_of_sight(field)))
