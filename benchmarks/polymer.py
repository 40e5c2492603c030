"""`polymer`: Kremer-Grest chains of 100 beads in a Langevin thermostat: the physics of LAMMPS's bench/in.chain.

The start is our own. mdsl uses BAOAB, LAMMPS its `fix langevin` with `fix nve`: two discretisations of the same
equation.
"""

from __future__ import annotations

from . import with_lammps, with_mdsl
from .protocol import PRECISIONS, Engine, Job, Ready, Size, Workload
from .systems import System, chains

DENSITY, CUTOFF, SKIN, DT, TEMPERATURE, DAMPING = 0.8442, 1.12, 0.4, 0.012, 1.0, 10.0
BLOCKS = {16: (2, 2, 4), 40: (4, 5, 2), 320: (8, 8, 5)}  # how so many chains are laid out

PROGRAM = f"""
use units.lj
use pair (lennard_jones, shifted, wca)
use bonded (fene)
use integrators (baoab)
topology bonds(i, j)
energy beads = sum(i < j, (i, j) not in bonds) shifted(lennard_jones(1.0, 1.0), {CUTOFF})(|x[i] - x[j]|)
energy links = sum((i, j) in bonds) (fene(30.0, 1.5)(r) + wca(1.0, 1.0)(r))  where r = |x[i] - x[j]|
run {{ x = sc(density = {DENSITY}, cells = 1)
  baoab(dt = {DT}, T = {TEMPERATURE}, gamma = {1 / DAMPING}) for {{steps}} }}
"""


def start(size: Size) -> System:
    return chains(BLOCKS[size.number], DENSITY)


def mdsl(job: Job, size: Size) -> Ready:
    system = start(size)
    return with_mdsl.dynamics(job, PROGRAM, system, topologies={"bonds": system.bonds})


def lammps(job: Job, size: Size) -> Ready:
    before = "units lj\natom_style bond\nspecial_bonds fene"
    after = f"""
        bond_style fene
        bond_coeff 1 30.0 1.5 1.0 1.0
        pair_style lj/cut {CUTOFF}
        pair_modify shift yes
        pair_coeff 1 1 1.0 1.0
        neighbor {SKIN} bin
        neigh_modify delay 0 every 1 check yes
        fix 1 all nve
        fix 2 all langevin {TEMPERATURE} {TEMPERATURE} {DAMPING} 904297
        timestep {DT}"""
    return with_lammps.dynamics(job, start(size), before, after)


WORKLOAD = Workload(
    "polymer",
    "bead-spring chains in a Langevin thermostat",
    {"tiny": Size(16, 1_600, 50, 50), "4k": Size(40, 4_000, 500, 2_000), "32k": Size(320, 32_000, 500, 500)},
    {"mdsl": Engine(mdsl, PRECISIONS), "lammps": Engine(lammps, ("double",))},
    outcome=("energy per atom at the end", 0.02),
    sets=("32k",),
)
