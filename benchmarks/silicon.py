"""`silicon`: the diamond crystal in the Stillinger-Weber potential, three bodies: LAMMPS's bench/in.sw."""

from __future__ import annotations

from . import with_jax_md, with_lammps, with_mdsl
from .protocol import PRECISIONS, Engine, Job, Ready, Size, Workload
from .systems import DIAMOND, System, crystal

A, MASS, TEMPERATURE, DT, SKIN = 5.431, 28.06, 1000.0, 0.001, 1.0
SIGMA, EPSILON, END = 2.0951, 2.1683, 1.80
SPEED = (8.617333e-5 * TEMPERATURE / (MASS * 1.0364269e-4)) ** 0.5  # sqrt(kB T/m) in angstrom/ps

PROGRAM = f"""
use units.metal
use manybody (stillinger_weber_pair, stillinger_weber_triple)
use integrators (velocity_verlet)
param sigma   = {SIGMA} [angstrom]
param epsilon = {EPSILON} [eV]
param m       = {MASS} [g/mol]
energy two   = sum(i < j) stillinger_weber_pair(sigma, epsilon, {END})(|x[i] - x[j]|)
energy three = sum(i; j < k) stillinger_weber_triple(sigma, epsilon, {END})(r_ij, r_ik, cosθ)
               where d_ij = x[j] - x[i], r_ij = |d_ij|, d_ik = x[k] - x[i], r_ik = |d_ik|,
                     cosθ = d_ij·d_ik/(r_ij*r_ik)
run {{ x = diamond(a = {A} [angstrom], cells = 1)  velocity_verlet(dt = {DT} [ps]) for {{steps}} }}
"""


def start(size: Size) -> System:
    flat = (size.number, size.number, max(2, size.number // 2)) if size.atoms > 1_000 else (size.number,) * 3
    return crystal(DIAMOND, A, flat, shake=0.05, speed=SPEED)


def mdsl(job: Job, size: Size) -> Ready:
    return with_mdsl.dynamics(job, PROGRAM, start(size))


def lammps(job: Job, size: Size) -> Ready:
    after = f"""
        pair_style sw
        pair_coeff * * Si.sw Si
        neighbor {SKIN} bin
        neigh_modify delay 0 every 1 check yes
        fix 1 all nve
        timestep {DT}"""
    return with_lammps.dynamics(job, start(size), "units metal\natom_style atomic", after, MASS)


def jax_md(job: Job, size: Size) -> Ready:
    system = start(size)

    def parts():
        from jax_md import energy, space

        displacement, shift = space.periodic(system.edges)
        make, energy_of = energy.stillinger_weber_neighbor_list(
            displacement, system.edges, sigma=SIGMA, epsilon=EPSILON, cutoff=END * SIGMA, dr_threshold=SKIN
        )
        return shift, make, energy_of

    unit = (
        1.0364269e-4
    ) ** 0.5  # jax-md knows no units: time in sqrt(g/mol angstrom^2/eV), of which this is one ps inverse
    timed = System(system.x, system.v * unit, system.edges)
    return with_jax_md.dynamics(job, timed, parts, DT / unit, MASS)


WORKLOAD = Workload(
    "silicon",
    "Stillinger-Weber silicon at constant energy",
    {"tiny": Size(3, 216, 5, 20), "4k": Size(10, 4_000, 100, 500), "32k": Size(20, 32_000, 50, 100)},
    {
        "mdsl": Engine(mdsl, PRECISIONS),
        "lammps": Engine(lammps, ("double",)),
        "jax-md dense": Engine(jax_md, ("single",), largest=40_000),
    },
    outcome=("energy per atom at the end", 0.005),
    sets=("32k",),
    lacking=with_lammps.without("Si.sw"),
)
