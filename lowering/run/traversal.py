"""Choosing how pairs are found, for one system: all of them, or a neighbour list and its skin."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from mdsl.grammar.diagnostics import Diagnostic, Rejected
from mdsl.lowering.field.costs import ALL_PAIRS, CLOSER, MORE_LEGS, MOST_ALL_PAIRS, best_skin, skin_of
from mdsl.lowering.field.field import Field
from mdsl.lowering.geometry.on_host import most_near
from mdsl.lowering.neighbours import lists as neighbours
from mdsl.lowering.traversals.potential import Potential
from mdsl.model import nearest_image
from mdsl.model.dimensions import LENGTH
from mdsl.model.faults import fault


@dataclass(frozen=True)
class Traversal:
    """``plan`` None: every pair is visited. ``why`` is the reason in words. ``most_skin``: the plan was made for lists
    with skins up to this."""

    plan: neighbours.Plan | None
    cutoff: float | None
    skin: float
    why: str
    most_skin: float = 0.0

    @property
    def radius(self) -> float:
        return (self.cutoff or 0.0) + self.skin


def choose(
    field: Field,
    x: np.ndarray,
    cell: np.ndarray,
    periodic: tuple[bool, ...],
    cutoff: float | None,
    skin: float | None = None,
    changing: bool = False,
    drift: float | None = None,
) -> Traversal:
    """The traversal for these positions [N, d] in a box whose vectors are the rows of ``cell``. ``skin`` None: mdsl's
    choice; ``changing``: the box may change; ``drift``: how far the fastest atom moves in a step, where that is known:
    the plan then has room for the longer skin that this asks for.

    Raises Rejected: ``no-support`` for a large system without cutoffs, ``box-too-small`` where the nearest
    image is not enough.
    """
    count = len(x)
    if not field.reaching:
        return Traversal(None, None, 0.0, "there are no pairs")
    if cutoff is None or not np.isfinite(cutoff):
        if count > MOST_ALL_PAIRS:
            raise Rejected(_no_support(field, count))
        return Traversal(None, None, 0.0, "no cutoff is proved")
    room = nearest_image.half(np.diag(cell), periodic)
    if not nearest_image.fits(np.diag(cell), periodic, cutoff):
        raise Rejected(too_small(field, cutoff, room))
    if count <= ALL_PAIRS:
        return Traversal(None, cutoff, 0.0, f"{count} atoms are few")
    spacing = float(abs(np.linalg.det(cell)) / count) ** (1 / len(cell)) if all(periodic) else None
    given, skin = skin, skin_of(cutoff, spacing) if skin is None else skin
    if cutoff + skin > room:
        skin = room - cutoff
        if skin < 0.02 * cutoff and count <= MOST_ALL_PAIRS:
            return Traversal(None, cutoff, 0.0, "the box leaves no room for a skin")
    most = skin
    if given is None and drift and spacing:
        dim, radius = len(cell), cutoff + skin
        near = (np.pi * radius**2 if dim == 2 else 4 / 3 * np.pi * radius**3) / spacing**dim
        longest = max(skin, min(3 * skin, room - cutoff))
        most = max(skin, best_skin(cutoff, skin, longest, near, skin / (2 * drift), dim))
    plan = neighbours.plan(count, np.asarray(cell), periodic, cutoff + most, x, changing)
    return Traversal(plan, cutoff, skin, f"{count} atoms with a cutoff", most)


def leg_room(potential: Potential, params: Mapping[str, object], x: np.ndarray, cell: np.ndarray) -> int | None:
    """For how many neighbours of an atom to make room in the three-body energies of a potential; None: for all."""
    terms = potential.field.triple_terms
    reach = potential.reach(params, terms) if terms else None
    if reach is None or not np.isfinite(reach):
        return None
    periodic = potential.geometry.periodic
    shells = most_near(x, cell, periodic, CLOSER * float(reach))  # those of a crystal come in and go out all at once
    return max(int(MORE_LEGS * most_near(x, cell, periodic, float(reach))), shells) + 2


def _equation(field: Field, endless: bool):
    term = next((t for t in field.reaching if not endless or t.support.cutoff is None), field.reaching[0])
    return field.model.equation(term.equation)


def _no_support(field: Field, count: int) -> Diagnostic:
    equation = _equation(field, endless=True)
    return fault(
        field.model.source,
        "no-support",
        f"`{equation.name}` is a sum over all pairs of {count} atoms, for it reaches without end",
        equation.body,
        help="end it at a cutoff with `truncated`, `force_shifted` or `switched`",
    )


def too_small(field: Field, cutoff: float, room: float, when: str | None = None) -> Diagnostic:
    """``room``: half of the box; ``when``: at which moment of a run, in words."""
    equation = _equation(field, endless=False)
    units = field.model.units

    def length(value: float) -> str:
        return f"{value * units.shown_per_internal(LENGTH):g} {units.display(LENGTH).text}".rstrip()

    return fault(
        field.model.source,
        "box-collapsed" if when else "box-too-small",
        f"the cutoff {length(cutoff)} is larger than half the box, {length(room)}",
        equation.body,
        notes=(*((when,) if when else ()), "beyond half the box an atom would meet several images of another"),
        help="a gentler change of the box, a larger system or a shorter cutoff"
        if when
        else "use a larger system or a shorter cutoff",
    )
