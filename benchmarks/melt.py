"""`melt`: Lennard-Jones atoms at density 0.8442, cutoff 2.5, at constant energy: the state point of LAMMPS's
bench/in.lj."""

from __future__ import annotations

import time

from . import with_jax_md, with_lammps, with_mdsl
from .protocol import PRECISIONS, Engine, Job, Measured, Ready, Size, Workload
from .systems import FCC, System, crystal

DENSITY, CUTOFF, SKIN, DT, TEMPERATURE = 0.8442, 2.5, 0.3, 0.005, 1.44

PROGRAM = f"""
use units.lj
use pair (lennard_jones, truncated)
use integrators (velocity_verlet)
energy lj = sum(i < j) truncated(lennard_jones(1.0, 1.0), {CUTOFF})(|x[i] - x[j]|)
run {{ x = fcc(density = {DENSITY}, cells = 1)  velocity_verlet(dt = {DT}) for {{steps}} }}
"""


def start(size: Size) -> System:
    return crystal(FCC, (4 / DENSITY) ** (1 / 3), (size.number,) * 3, shake=0.02, speed=TEMPERATURE**0.5)


def mdsl(job: Job, size: Size) -> Ready:
    return with_mdsl.dynamics(job, PROGRAM, start(size))


def lammps(job: Job, size: Size) -> Ready:
    after = f"""
        pair_style lj/cut {CUTOFF}
        pair_coeff 1 1 1.0 1.0
        neighbor {SKIN} bin
        neigh_modify delay 0 every 1 check yes
        fix 1 all nve
        timestep {DT}"""
    return with_lammps.dynamics(job, start(size), "units lj\natom_style atomic", after)


def jax_md(job: Job, size: Size) -> Ready:
    system = start(size)
    return with_jax_md.dynamics(
        job, system, lambda: with_jax_md.lennard_jones(system, CUTOFF, SKIN, with_jax_md.list_format(job.engine)), DT
    )


def openmm(job: Job, size: Size) -> Ready:
    """OpenMM's CPU platform. nm, amu, ps and kJ/mol are coherent, so the numbers of reduced units go in as they are."""
    import openmm as mm

    system_start = start(size)
    x, atoms = system_start.x, len(system_start.x)
    begun = time.perf_counter()
    system = mm.System()
    system.setDefaultPeriodicBoxVectors(
        *[[edge * (k == axis) for k in range(3)] for axis, edge in enumerate(system_start.edges)]
    )
    if job.engine == "openmm custom":
        force = mm.CustomNonbondedForce("4*(r^-12 - r^-6)")
        parameters = [[]] * atoms
    else:
        force = mm.NonbondedForce()
        force.setUseDispersionCorrection(False)
        parameters = [[0.0, 1.0, 1.0]] * atoms
    force.setNonbondedMethod(force.CutoffPeriodic)
    force.setCutoffDistance(CUTOFF)
    for values in parameters:
        system.addParticle(1.0)
        force.addParticle(*([values] if job.engine == "openmm custom" else values))
    system.addForce(force)
    integrator = mm.VerletIntegrator(DT)
    context = mm.Context(system, integrator, mm.Platform.getPlatformByName("CPU"), {"Threads": str(job.threads)})
    context.setPositions(x)
    context.setVelocities(system_start.v)

    def energy() -> float:
        return context.getState(getEnergy=True).getPotentialEnergy()._value / atoms

    def run() -> Measured:
        integrator.step(1)
        context.getState(getPositions=True)
        prepare = time.perf_counter() - begun
        integrator.step(max(job.warm - 1, 0))
        context.getState(getEnergy=True)
        clock = time.perf_counter()
        integrator.step(job.steps)
        context.getState(getPositions=True)
        return Measured(prepare, time.perf_counter() - clock, job.steps * atoms, mm.__version__)

    return Ready(energy, run, energy)


WORKLOAD = Workload(
    "melt",
    "Lennard-Jones atoms at constant energy",
    {
        "tiny": Size(5, 500, 5, 20),
        "4k": Size(10, 4_000, 200, 1_000),
        "32k": Size(20, 32_000, 100, 200),
        "256k": Size(40, 256_000, 20, 60),
        "1M": Size(63, 1_000_188, 20, 40),
    },
    {
        "mdsl": Engine(mdsl, PRECISIONS),
        "lammps": Engine(lammps, ("double",)),
        "openmm custom": Engine(openmm, ("single",), largest=300_000),
        "openmm": Engine(openmm, ("single",), largest=300_000),
        "jax-md ordered": Engine(jax_md, ("single", "double"), largest=40_000),
        "jax-md sparse": Engine(jax_md, ("single",), largest=40_000),
        "jax-md dense": Engine(jax_md, ("single",), largest=40_000),
    },
    outcome=("energy per atom at the end", 0.01),
    grows=True,
)
