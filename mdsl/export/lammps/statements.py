"""The statements of dynamics as LAMMPS has them: velocity Verlet is `fix nve`; others are said not to be."""

from __future__ import annotations

import numpy as np

from mdsl.export.steps import Unsaid, every, is_velocity_verlet, scheme
from mdsl.export.written import number
from mdsl.model.nodes import Advance
from mdsl.start.initial import still

from .world import World

EVERY = 100


def statements(here: World) -> tuple[list[str], list[str]]:
    """The commands of the run block up to the first statement that is not LAMMPS', and what there is to say."""
    subject = here.subject
    advances = [a for a in subject.model.run if isinstance(a, Advance)]
    lines, notes = ["thermo_style custom step time temp pe ke press", "thermo_modify norm no"], []
    rests = still(subject.model, subject.initial.species, subject.initial.data)
    group = "all"
    if rests.any():
        ids = np.flatnonzero(rests) + 1
        lines += [f"group rests id {' '.join(map(str, ids[k : k + 100]))}" for k in range(0, len(ids), 100)]
        lines.append("group moving subtract all rests")
        group = "moving"
    for advance in advances:
        name = advance.scheme.rpartition(".")[2]
        try:
            found = scheme(subject, advance)
            if not is_velocity_verlet(found):
                raise Unsaid("it is not velocity Verlet, and LAMMPS has no fix that takes the same steps")
        except Unsaid as why:
            notes.append(f"`{name}` is not exported to LAMMPS: {why}; the deck ends before it")
            lines.append(f"# {name}: {why}")
            break
        records = [n for _, n in every(subject, advance, "record") if n]
        lines += [
            f"timestep {number(here.time(found.dt))}",
            f"fix integrate {group} nve",
            f"thermo {min(records, default=EVERY)}",
        ]
        dumps = []
        for k, (names, count) in enumerate(every(subject, advance, "write")):
            stem = str(names[0]).rpartition(".")[0] or str(names[0])
            dumps.append(f"frames{k}")
            lines.append(f"dump frames{k} all custom {count or found.steps} {stem}.lammpstrj id type xu yu zu vx vy vz")
            lines.append(f"dump_modify frames{k} sort id format float %.17g")
            notes.append(f"`{names[0]}` is written by LAMMPS as {stem}.lammpstrj")
        lines += [f"run {found.steps}", "unfix integrate", *(f"undump {d}" for d in dumps)]
    else:
        if advances:
            return lines, notes
    lines.append("run 0")
    return lines, notes
