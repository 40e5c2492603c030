"""How a program is computed for its atoms: in which precision, how pairs are found, on which devices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from mdsl.lowering.dynamics.device import Dynamics
from mdsl.lowering.dynamics.observing import within
from mdsl.lowering.dynamics.replicas import Replicas
from mdsl.lowering.field.costs import ATOMS_EACH
from mdsl.lowering.kernels.globals import complete
from mdsl.lowering.neighbours import lists as neighbours
from mdsl.lowering.traversals.layout import Layout, ManyDevices, OneDevice
from mdsl.lowering.traversals.potential import Potential

from .members import Members
from .traversal import Traversal, choose, leg_room


@dataclass(frozen=True, eq=False)
class Arrangement:
    """A program as it is computed. ``potential``: with what is known of where sums end, at the parameters of this run.

    ``cutoff``, ``ends``: of the energies, and of sums for observables; the largest of all replicas. ``legs``: for how
    many neighbours there is room in sums over triples (None: for all).
    """

    potential: Potential
    cutoff: float | None
    ends: Mapping[str, float]
    traversal: Traversal
    legs: int | None
    layout: Layout
    dof: float
    dtype: object
    changing: bool

    @property
    def dynamics(self) -> Dynamics:
        return Dynamics(
            self.potential,
            self.layout,
            self.traversal.plan,
            self.traversal.skin,
            self.dof,
            self.dtype,
            legs=self.legs,
            changing=self.changing,
        )

    def longer(self, needed: neighbours.Needed) -> Arrangement:
        """With room for a longer list."""
        return replace(self, traversal=replace(self.traversal, plan=neighbours.grow(self.traversal.plan, needed)))

    def roomier(self) -> Arrangement:
        """With more room in sums over triples."""
        return replace(self, legs=2 * self.legs if 2 * self.legs < self.layout.n_atoms else None)


def arrange(members: Members, devices: Sequence | None = None, skin: float | None = None) -> Arrangement:
    """How to compute a run. ``devices`` share its work; ``skin``: what a list holds beyond the cutoff, None: mdsl's
    choice.

    Raises Rejected: ``no-support``, ``box-too-small``.
    """
    lowered, asked = members.lowered, members.asked
    field, cutoffs = lowered.field, members.cutoffs
    # A sum is near where it is for every replica.
    alike = all(e.keys() == members.ends[0].keys() for e in members.ends)
    ends = {name: max(e[name] for e in members.ends) for name in members.ends[0]} if alike else {}
    potential = replace(lowered.potential, field=within(field, ends, 0.0 if None in cutoffs else min(cutoffs)))
    drift = None if members.batch else _drift(members)
    traversal = _for_all(
        [
            choose(field, m.initial.x, m.initial.cell, lowered.periodic, c, skin, lowered.changing, drift)
            for m, c in zip(asked, cutoffs)
        ]
    )
    rooms = [leg_room(potential, complete(lowered.model, m.params), m.initial.x, m.initial.cell) for m in asked]
    return Arrangement(
        potential,
        None if None in cutoffs else max(cutoffs),
        ends,
        traversal,
        None if None in rooms else max(rooms),
        _layout(members, devices, traversal.plan is not None),
        lowered.dof,
        lowered.dtype,
        lowered.changing,
    )


def _drift(members: Members) -> float:
    """How far the fastest atom moves in a step at the beginning."""
    speed = float(np.sqrt((members.first.initial.v**2).sum(axis=1).max(initial=0.0)))
    return speed * max((members.dt(a) for a in members.lowered.field.dynamics), default=0.0)


def _for_all(found: list[Traversal]) -> Traversal:
    """One way for all replicas to find pairs, with the skin that suits each."""
    without = next((t for t in found if t.plan is None), None)
    if without is not None or len(found) == 1:
        return without or found[0]
    widest = max(found, key=lambda t: t.cutoff)
    plan = replace(
        widest.plan,
        window=max(t.plan.window for t in found),
        slots=max(t.plan.slots for t in found),
        cells=tuple(map(min, zip(*(t.plan.cells for t in found)))),
    )
    return replace(widest, plan=plan, skin=min(t.skin for t in found))


def _layout(members: Members, devices: Sequence | None, listed: bool) -> Layout:
    atoms = members.first.initial.atoms
    if members.batch:
        staggered = any(a.until is not None for a in members.lowered.field.dynamics)
        return Replicas(atoms, len(members.all), members.devices, members.shared, staggered, listed)
    some = tuple(devices or ())[: atoms // ATOMS_EACH]
    return ManyDevices(atoms, some) if len(some) > 1 and listed else OneDevice(atoms)
