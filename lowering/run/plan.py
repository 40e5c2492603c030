"""How a program is computed for its atoms: in which precision, how pairs are found, on which devices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from mdsl.lowering.dynamics.chain import talks
from mdsl.lowering.dynamics.device import Dynamics
from mdsl.lowering.dynamics.observing import within
from mdsl.lowering.dynamics.replicas import Replicas
from mdsl.lowering.field.reduced import exchange_of
from mdsl.lowering.planning.policy import DEFAULT, Policy
from mdsl.lowering.planning.traversal import Traversal, for_all, plan
from mdsl.lowering.traversals.layout import Layout, ManyDevices, OneDevice

from .members import Members
from .program import Lowered


@dataclass(frozen=True, eq=False)
class Arrangement:
    """A program as it is computed. ``lowered``: with what is known of where sums end, at the parameters of this run.
    ``ends``: of sums for observables, the largest of all replicas."""

    lowered: Lowered
    ends: Mapping[str, float]
    traversal: Traversal
    layout: Layout

    @property
    def dynamics(self) -> Dynamics:
        found, own = self.traversal, self.lowered
        return Dynamics(
            own.potential, self.layout, found.plan, found.skin, own.dof, own.dtype, found.legs, changing=own.changing
        )


def arrange(members: Members, devices: Sequence | None = None, policy: Policy = DEFAULT) -> Arrangement:
    """How to compute a run. ``devices`` share its work. Raises Rejected: ``no-support``, ``box-too-small``."""
    lowered, cutoffs = members.lowered, members.cutoffs
    # A sum is near where it is for every replica.
    alike = all(e.keys() == members.ends[0].keys() for e in members.ends)
    ends = {name: max(e[name] for e in members.ends) for name in members.ends[0]} if alike else {}
    near = within(lowered.field, ends, 0.0 if None in cutoffs else min(cutoffs))
    devices = tuple(devices or ())
    shared = len(devices) if members.alone else 1
    facts = [replace(f, devices=shared, drift=f.drift if apart(members, policy) else None) for f in members.facts]
    traversal = for_all([plan(lowered.field, f, policy) for f in facts])
    layout = _layout(members, devices[: traversal.devices], traversal.listed, policy)
    known = replace(lowered, potential=replace(lowered.potential, field=near))
    return Arrangement(known, ends, traversal, layout)


def apart(members: Members, policy: Policy) -> bool:
    """Whether those that have a list go their ways apart, each with a skin and lists of its own: not where there are so
    few atoms that what the host does for each takes longer than lists for all, nor but on a processor, where threads
    run programs side by side, nor where they exchange or read each other."""
    field = members.lowered.field
    large = members.first.initial.atoms >= policy.apart
    large &= not talks(field) and all(exchange_of(a) is None for a in field.dynamics)
    return members.alone or large and all(d.platform == "cpu" for d in members.devices)


def _layout(members: Members, devices: tuple, listed: bool, policy: Policy) -> Layout:
    atoms = members.first.initial.atoms
    if not members.alone:
        staggered = any(a.until is not None for a in members.lowered.field.dynamics)
        count, rows = len(members.all), policy.rows_together
        chained = talks(members.lowered.field)
        return Replicas(atoms, count, members.devices, members.shared, staggered, listed, rows, chained, members.count)
    return ManyDevices(atoms, devices) if len(devices) > 1 else OneDevice(atoms)
