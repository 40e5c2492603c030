"""jax-md in the benchmarks, as its documentation shows it: the neighbour list is updated at every step."""

from __future__ import annotations

import importlib.metadata
import time

from .protocol import Job, Measured, Ready
from .systems import System

VERSION = importlib.metadata.version


def jax_for(job: Job):
    import jax

    jax.config.update("jax_enable_x64", job.precision == "double")
    return jax


def dtype(job: Job):
    import jax.numpy as jnp

    return jnp.float64 if job.precision == "double" else jnp.float32


def list_format(engine: str):
    """The format that the engine's name ends in."""
    from jax_md import partition

    return {"dense": partition.Dense, "sparse": partition.Sparse, "ordered": partition.OrderedSparse}[
        engine.split()[-1]
    ]


def lennard_jones(start: System, cutoff: float, skin: float, format):
    """jax-md's formula, truncated as a user of its own pair functions would. (`lennard_jones_neighbor_list` switches
    the energy off: in a region so thin that energies agree, rare strong forces would heat the system.)"""
    import jax.numpy as jnp
    from jax_md import energy, partition, smap, space

    displacement, shift = space.periodic(start.edges)

    def truncated(dr, **_):
        return jnp.where(dr < cutoff, energy.lennard_jones(dr), 0.0)

    make = partition.neighbor_list(displacement, start.edges, cutoff, skin, format=format)
    return shift, make, smap.pair_neighbor_list(truncated, space.canonicalize_displacement_or_metric(displacement))


def checked(neighbors) -> None:
    if neighbors.did_buffer_overflow:
        raise RuntimeError("the neighbour list of jax-md overflowed")


def dynamics(job: Job, start: System, parts, dt: float, mass: float = 1.0) -> Ready:
    """At constant energy. ``parts``: gives shift, the functions of the neighbour list, and the energy."""
    jax = jax_for(job)
    import jax.numpy as jnp
    from jax_md import simulate

    x = jnp.asarray(start.x, dtype(job))
    begun = time.perf_counter()
    shift, make, energy_of = parts()
    neighbors = make.allocate(x)
    listed = time.perf_counter() - begun
    final = []

    @jax.jit
    def advance(state, neighbors, steps):
        def step(_, carried):
            state, neighbors = carried
            neighbors = neighbors.update(state.position)
            return apply(state, neighbor=neighbors), neighbors

        return jax.lax.fori_loop(0, steps, step, (state, neighbors))

    init, apply = simulate.nve(energy_of, shift, dt)

    def run() -> Measured:
        begun = time.perf_counter()
        state = init(jax.random.key(0), x, kT=1.0, mass=mass, neighbor=neighbors).set(
            momentum=jnp.asarray(mass * start.v, x.dtype)
        )
        now = jax.block_until_ready(advance(state, neighbors, 1))
        prepare = listed + time.perf_counter() - begun
        if job.warm > 1:
            now = jax.block_until_ready(advance(*now, job.warm - 1))
        begun = time.perf_counter()
        now = jax.block_until_ready(advance(*now, job.steps))
        seconds = time.perf_counter() - begun
        checked(now[1])
        final.append(now)
        return Measured(prepare, seconds, job.steps * len(start.x), VERSION("jax-md"))

    def outcome() -> float:
        state, neighbors = final[-1]
        return float(energy_of(state.position, neighbor=neighbors.update(state.position))) / len(start.x)

    return Ready(lambda: float(energy_of(x, neighbor=neighbors)) / len(start.x), run, outcome)
