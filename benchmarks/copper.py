"""`copper`: fcc copper in the embedded-atom method, from the file Cu_u3.eam: LAMMPS's bench/in.eam."""

from __future__ import annotations

from . import with_lammps, with_mdsl
from .protocol import PRECISIONS, Engine, Job, Ready, Size, Workload
from .systems import FCC, System, crystal

FILE, A, MASS, TEMPERATURE, DT, SKIN = "Cu_u3.eam", 3.615, 63.55, 1600.0, 0.005, 1.0
SPEED = (8.617333e-5 * TEMPERATURE / (MASS * 1.0364269e-4)) ** 0.5  # sqrt(kB T/m) in angstrom/ps

PROGRAM = f"""
use units.metal
use integrators (velocity_verlet)
table F[species], g[species], phi[species, species] = funcfl("{FILE}")
param m = {MASS} [g/mol]
quantity rho[i] = sum(j != i) g[j](|x[i] - x[j]|)
energy embedding = sum(i) F[i](rho[i])
energy repulsion = sum(i < j) phi[i, j](|x[i] - x[j]|)
run {{ x = fcc(a = {A} [angstrom], cells = 1, species = Cu)  velocity_verlet(dt = {DT} [ps]) for {{steps}} }}
"""


def start(size: Size) -> System:
    return crystal(FCC, A, (size.number,) * 3, shake=0.05, speed=SPEED)


def mdsl(job: Job, size: Size) -> Ready:
    return with_mdsl.dynamics(job, PROGRAM, start(size), folder=with_lammps.potentials())


def lammps(job: Job, size: Size) -> Ready:
    after = f"""
        pair_style eam
        pair_coeff 1 1 {FILE}
        neighbor {SKIN} bin
        neigh_modify delay 0 every 1 check yes
        fix 1 all nve
        timestep {DT}"""
    return with_lammps.dynamics(job, start(size), "units metal\natom_style atomic", after, MASS)


WORKLOAD = Workload(
    "copper",
    "embedded atoms at constant energy",
    {"tiny": Size(4, 256, 5, 20), "4k": Size(10, 4_000, 100, 500), "32k": Size(20, 32_000, 50, 100)},
    {"mdsl": Engine(mdsl, PRECISIONS), "lammps": Engine(lammps, ("double",))},
    outcome=("energy per atom at the end", 0.005),
    sets=("32k",),
    lacking=with_lammps.without(FILE),
)
