"""`adjoint`: the derivative of the potential energy after some steps at constant energy by epsilon, in reverse mode.

It goes through all positions on the way. jax-md runs without and with `jax.checkpoint` around each step (`remat`).
"""

from __future__ import annotations

import time

from . import with_jax_md, with_mdsl
from .melt import CUTOFF, DENSITY, DT, SKIN, TEMPERATURE
from .protocol import Engine, Job, Measured, Ready, Size, Workload
from .systems import FCC, System, crystal

PROGRAM = f"""
use units.lj
use pair (lennard_jones, truncated)
use integrators (velocity_verlet)
param epsilon = 1.0
energy lj = sum(i < j) truncated(lennard_jones(1.0, epsilon), {CUTOFF})(|x[i] - x[j]|)
run {{ x = fcc(density = {DENSITY}, cells = 1)  velocity_verlet(dt = {DT}) for {{steps}} record lj }}
"""


def start(size: Size) -> System:
    return crystal(FCC, (4 / DENSITY) ** (1 / 3), (size.number,) * 3, shake=0.02, speed=TEMPERATURE**0.5)


def derivative(job: Job, size: Size, version: str, outcome_of, at, first) -> Ready:
    """``outcome_of``: the energy per atom at the end as a function of epsilon, of which ``at`` is the value."""
    import jax

    found = []

    def run() -> Measured:
        begun = time.perf_counter()
        compiled = jax.jit(jax.grad(outcome_of)).lower(at).compile()
        prepare = time.perf_counter() - begun
        jax.block_until_ready(compiled(at))
        repeats = 3
        begun = time.perf_counter()
        for _ in range(repeats):
            slope = jax.block_until_ready(compiled(at))
        seconds = time.perf_counter() - begun
        found.append(float(slope))
        temporaries = compiled.memory_analysis().temp_size_in_bytes / 2**20
        return Measured(prepare, seconds, repeats, version, {"MB of temporaries": round(temporaries)})

    return Ready(first, run, lambda: found[-1])


def mdsl(job: Job, size: Size) -> Ready:
    jax = with_mdsl.jax_for(job)
    import mdsl

    system = with_mdsl.bound(job, PROGRAM.replace("{steps}", str(job.steps)), start(size), shared=False)
    key = jax.random.key(0)

    def outcome_of(epsilon):
        return system.run(key, params={"epsilon": epsilon}).records["lj"][-1] / size.atoms

    return derivative(
        job,
        size,
        mdsl.__version__,
        outcome_of,
        system.program.params["epsilon"],
        lambda: float(system.energy()) / size.atoms,
    )


def jax_md(job: Job, size: Size) -> Ready:
    jax = with_jax_md.jax_for(job)
    import jax.numpy as jnp
    from jax_md import partition, simulate

    system, dtype = start(size), with_jax_md.dtype(job)
    x, v = jnp.asarray(system.x, dtype), jnp.asarray(system.v, dtype)
    shift, make, unit_energy = with_jax_md.lennard_jones(system, CUTOFF, SKIN, partition.OrderedSparse)
    neighbors = make.allocate(x)

    def outcome_of(epsilon):
        def energy_of(x, neighbor, **_):
            return epsilon * unit_energy(x, neighbor=neighbor)

        init, apply = simulate.nve(energy_of, shift, DT)

        def step(carried, _):
            state, neighbors = carried
            neighbors = neighbors.update(jax.lax.stop_gradient(state.position))
            return (apply(state, neighbor=neighbors), neighbors), None

        state = init(jax.random.key(0), x, kT=TEMPERATURE, mass=1.0, neighbor=neighbors).set(momentum=v)
        step = jax.checkpoint(step) if job.engine == "jax-md remat" else step
        (state, last), _ = jax.lax.scan(step, (state, neighbors), None, length=job.steps)
        last = last.update(jax.lax.stop_gradient(state.position))
        energy = energy_of(state.position, last) / size.atoms
        return jnp.where(last.did_buffer_overflow, jnp.nan, energy)

    return derivative(
        job,
        size,
        with_jax_md.VERSION("jax-md"),
        outcome_of,
        jnp.asarray(1.0, dtype),
        lambda: float(unit_energy(x, neighbor=neighbors)) / size.atoms,
    )


WORKLOAD = Workload(
    "adjoint",
    "derivative of the energy at the end of a trajectory, reverse mode",
    {
        "tiny": Size(5, 500, 0, 4),
        "10": Size(12, 6_912, 0, 10),
        "100": Size(12, 6_912, 0, 100),
        "1000": Size(12, 6_912, 0, 1000),
    },
    {
        "mdsl": Engine(mdsl, ("single", "double")),
        "jax-md": Engine(jax_md, ("single", "double")),
        "jax-md remat": Engine(jax_md, ("single", "double")),
    },
    outcome=("derivative per atom", 0.01),
    unit="seconds for one gradient",
    shown=lambda seconds, work: seconds / work,
)
