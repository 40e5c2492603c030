"""How the pairs of a system are found: all of them, or by neighbour lists; with which skin, and with room for how much.

`plan` is asked by runs, by energies of a bound system and by `mdsl explain`, `beyond` for lists of observables.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from mdsl.grammar.diagnostics import Diagnostic, Rejected
from mdsl.lowering.field.field import Field
from mdsl.model import nearest_image
from mdsl.model.dimensions import LENGTH
from mdsl.model.faults import fault

from . import capacity
from .on_host import most_near
from .policy import DEFAULT, Policy

# Rough costs of lists on a CPU, in visits of a pair (about 1.5 ns of one core in single precision): building one, for
# each atom, beside a visit of each of its slots.
BUILD = 300


@dataclass(frozen=True, eq=False)
class Facts:
    """What is known of a system when its pairs are planned.

    ``cell``: [d, d], the box vectors in rows; None where the box is not known. ``cutoff``: of the energies, ``reach``:
    of their sums over triples; None: without end. ``x``: [N, d]; None where positions are not known: then nothing has
    room. ``changing``: the box may change. ``drift``: how far the fastest atom moves in a step, None where that is not
    known. ``devices``: how many may share the atoms. ``once``: a list is built anew for each configuration, also inside
    transformations, where it cannot grow.
    """

    atoms: int
    cell: np.ndarray | None
    periodic: tuple[bool, ...]
    cutoff: float | None
    reach: float | None = None
    x: np.ndarray | None = None
    changing: bool = False
    drift: float | None = None
    devices: int = 1
    once: bool = False

    @property
    def half(self) -> float:
        """Half of the smallest edge that repeats."""
        return np.inf if self.cell is None else nearest_image.half(np.diag(self.cell), self.periodic)

    @property
    def fits(self) -> bool:
        """Whether nearest images are enough for the cutoff."""
        return self.cell is None or bool(nearest_image.fits(np.diag(self.cell), self.periodic, self.cutoff))

    @property
    def spacing(self) -> float | None:
        """The edge of the cube (square) that an atom has for itself; None where that is not known."""
        if self.cell is None or not all(self.periodic):
            return None
        return float(abs(np.linalg.det(self.cell)) / self.atoms) ** (1 / len(self.cell))


@dataclass(frozen=True)
class Traversal:
    """How pairs are found: by lists if ``listed``, else every pair is visited; ``why``: the reason in words. ``plan``:
    for how much a list has room. ``most_skin``: it was made for skins up to this. ``legs``: for how many neighbours
    there is room in sums over triples, None: for all. ``devices``: how many share the atoms."""

    cutoff: float | None
    why: str
    listed: bool = False
    skin: float = 0.0
    plan: capacity.Plan | None = None
    most_skin: float = 0.0
    legs: int | None = None
    devices: int = 1

    @property
    def radius(self) -> float:
        return (self.cutoff or 0.0) + self.skin

    def longer(self, needed, policy: Policy) -> Traversal:
        """With room for a list with the capacities ``needed``."""
        return replace(self, plan=capacity.grow(self.plan, needed, policy))

    def roomier(self, atoms: int, policy: Policy) -> Traversal:
        """With more room in sums over triples."""
        legs = policy.more_legs * self.legs
        return replace(self, legs=legs if legs < atoms else None)

    def next_skin(self, skin: float, neighbours: float, period: int) -> float:
        """The skin of the next list, after one with ``skin`` of so many ``neighbours`` of an atom has held for
        ``period`` steps: half the way to what would cost least."""
        best = best_skin(self.cutoff, skin, self.most_skin, neighbours, period, len(self.plan.periodic))
        return max(skin + 0.5 * (best - skin), 0.5 * self.skin)


def plan(field: Field, facts: Facts, policy: Policy = DEFAULT) -> Traversal:
    """How the pairs of a system are found.

    Raises Rejected: ``no-support`` for a large system without cutoffs, ``box-too-small`` where the nearest
    image is not enough.
    """
    found = _way(field, facts, policy)
    legs = _leg_room(facts, policy)
    if not found.listed or facts.x is None:
        return replace(found, legs=legs)
    most = _most_skin(found, facts, policy)
    room = capacity.plan(facts.atoms, facts.cell, facts.periodic, found.cutoff + most, facts.x, facts.changing, policy)
    if facts.once:  # positions will be others
        times, beside = policy.later
        room = replace(room, slots=int(room.slots * times) + beside, window=int(room.window * times) + beside)
    devices = max(1, min(facts.devices, facts.atoms // policy.atoms_each))
    return replace(found, plan=room, most_skin=most, legs=legs, devices=devices)


def _way(field: Field, facts: Facts, policy: Policy) -> Traversal:
    """All pairs or lists, and the first skin of these."""
    count, cutoff = facts.atoms, facts.cutoff
    if not field.reaching:
        return Traversal(None, "there are no pairs")
    if cutoff is None or not np.isfinite(cutoff):
        if count > policy.most_all_pairs:
            raise Rejected(_no_support(field, count))
        return Traversal(None, "no cutoff is proved")
    if not facts.fits:
        raise Rejected(too_small(field, cutoff, facts.half))
    if count <= policy.all_pairs:
        return Traversal(cutoff, f"{count} atoms are few")
    skin = policy.first_skin(cutoff, facts.spacing) if policy.skin is None else policy.skin
    skin = 0.0 if facts.once else skin
    if cutoff + skin > facts.half:
        skin = facts.half - cutoff
        if skin < policy.least_skin * cutoff and count <= policy.most_all_pairs:
            return Traversal(cutoff, "the box leaves no room for a skin")
    return Traversal(cutoff, f"{count} atoms with a cutoff", True, skin)


def _most_skin(found: Traversal, facts: Facts, policy: Policy) -> float:
    """The skin up to which there is to be room: where atoms are fast a longer one than the first will be asked for."""
    skin, spacing = found.skin, facts.spacing
    if policy.skin is not None or facts.once or not facts.drift or not spacing:
        return skin
    dim = len(facts.cell)
    near = (np.pi * found.radius**2 if dim == 2 else 4 / 3 * np.pi * found.radius**3) / spacing**dim
    longest = max(skin, min(policy.longer * skin, facts.half - found.cutoff))
    return max(skin, best_skin(found.cutoff, skin, longest, near, skin / (2 * facts.drift), dim))


def best_skin(cutoff: float, skin: float, most: float, neighbours: float, period: float, dim: int) -> float:
    """The skin, up to ``most``, with which steps and lists together cost least, where a list of ``neighbours`` with
    this ``skin`` held for ``period`` steps: atoms are taken to move evenly. No clock is read, so that runs repeat."""
    candidates = [skin * (0.5 + 0.05 * k) for k in range(200)]
    candidates = [s for s in candidates if s < most] + [most]

    def cost(s: float) -> float:
        visits = neighbours * ((cutoff + s) / (cutoff + skin)) ** dim
        return visits + (BUILD + visits) * skin / (period * s)

    return min(candidates, key=cost)


def _leg_room(facts: Facts, policy: Policy) -> int | None:
    """For how many neighbours of an atom to make room in three-body sums; None: for all."""
    if facts.reach is None or not np.isfinite(facts.reach) or facts.x is None:
        return None
    near = lambda reach: most_near(facts.x, facts.cell, facts.periodic, reach)  # noqa: E731
    shells = near(policy.closer * facts.reach)  # those of a crystal come in and go out all at once
    return max(int(policy.legs * near(facts.reach)), shells) + 2


def for_all(found: Sequence[Traversal]) -> Traversal:
    """One way for all replicas to find pairs, with the skin that suits each, and room for the most of any."""
    legs = [t.legs for t in found]
    first = next((t for t in found if not t.listed), None) or max(found, key=lambda t: t.cutoff)
    first = replace(first, legs=None if None in legs else max(legs))
    if not first.listed:
        return first
    room = replace(
        first.plan,
        window=max(t.plan.window for t in found),
        slots=max(t.plan.slots for t in found),
        cells=tuple(map(min, zip(*(t.plan.cells for t in found)))),
    )
    skin, most = (min(getattr(t, name) for t in found) for name in ("skin", "most_skin"))
    return replace(first, plan=room, skin=skin, most_skin=most)


def beyond(facts: Facts, radius: float, policy: Policy = DEFAULT) -> capacity.Plan | None:
    """Room for a list of their own for sums that end at ``radius``, farther than the energies; None where it would be
    of no use, or the box is too short for it."""
    if facts.atoms <= policy.all_pairs or facts.changing or not np.isfinite(radius) or radius == 0:
        return None
    ball = (4 * np.pi / 3 if len(facts.cell) == 3 else np.pi) * radius ** len(facts.cell)
    if ball > policy.most_of_box * abs(np.linalg.det(facts.cell)):
        return None
    if not nearest_image.fits(np.diag(facts.cell), facts.periodic, radius):
        return None
    return capacity.plan(facts.atoms, facts.cell, facts.periodic, radius, facts.x, policy=policy)


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
