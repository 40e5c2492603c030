"""`minimise`: FIRE on jammed bubbles of two sizes from random positions, until no force is above 1e-10."""

from __future__ import annotations

import time

import numpy as np

from . import with_jax_md, with_mdsl
from .protocol import Engine, Job, Measured, Ready, Size, Workload
from .systems import System, bubbles

FRACTION, DT, DT_MAX, FORCE, MOST = 0.98, 0.1, 0.4, 1e-10, 100_000
DIAMETERS = np.array([0.8, 1.0])
FEW = 400  # bubbles up to which jax-md visits all pairs

PROGRAM = f"""
use units.lj
use minimizers (fire)
dim 2
species small, large
param diameter[species] = {{ small: 0.8, large: 1.0 }}
energy U = sum(i < j) if r < s then (1 - r/s)^2 else 0
           where r = |x[i] - x[j]|, s = (diameter[i] + diameter[j])/2
run {{ x ~ uniform(atoms = 2, density = 1, species = {{ small: 0.5, large: 0.5 }})
      fire(dt = {DT}, dt_max = {DT_MAX}) until largest(i) |f[i]| < {FORCE}, at most {MOST} }}
"""


def start(size: Size) -> System:
    return bubbles(size.number, fraction=FRACTION)


def mdsl(job: Job, size: Size) -> Ready:
    begun = time.perf_counter()
    system = with_mdsl.bound(job, PROGRAM, start(size), species=start(size).species)
    bind = time.perf_counter() - begun
    final = []

    def run() -> Measured:
        import jax

        import mdsl

        key = jax.random.key(0)
        begun = time.perf_counter()
        system.run(key, steps=1)
        prepare = bind + time.perf_counter() - begun
        system.run(key)  # lists may grow, and that compiles anew
        begun = time.perf_counter()
        result = system.run(key)
        seconds = time.perf_counter() - begun
        if not result.statements[0].converged:
            raise RuntimeError("not converged")
        final.append(result.x)
        return Measured(prepare, seconds, 1, mdsl.__version__, {"evaluations": result.counts.force_evaluations})

    return Ready(lambda: float(system.energy()) / size.atoms, run, lambda: float(system.energy(final[-1])) / size.atoms)


def jax_md(job: Job, size: Size) -> Ready:
    jax = with_jax_md.jax_for(job)
    import jax.numpy as jnp
    from jax_md import energy, minimize, partition, space

    system = start(size)
    x = jnp.asarray(system.x, with_jax_md.dtype(job))
    begun = time.perf_counter()
    edge = float(system.edges[0])
    displacement, shift = space.periodic(edge)
    options = dict(
        species=jnp.asarray(system.species),
        sigma=jnp.asarray((DIAMETERS[:, None] + DIAMETERS) / 2),
        epsilon=2.0,
        alpha=2,
    )
    if size.number <= FEW:
        pairs = energy.soft_sphere_pair(displacement, **options)
        energy_of, neighbors = (lambda x, neighbor: pairs(x)), None
    else:
        make, energy_of = energy.soft_sphere_neighbor_list(
            displacement, edge, dr_threshold=0.2, format=partition.Dense, capacity_multiplier=2.0, **options
        )
        neighbors = make.allocate(x)
    init, apply = minimize.fire_descent(energy_of, shift, dt_start=DT, dt_max=DT_MAX)
    listed = time.perf_counter() - begun
    final = []

    @jax.jit
    def descend(x, neighbors):
        def goes_on(carried):
            state, _, steps = carried
            return (jnp.linalg.norm(state.force, axis=1).max() >= FORCE) & (steps < MOST)

        def step(carried):
            state, neighbors, steps = carried
            neighbors = neighbors and neighbors.update(state.position)
            return apply(state, neighbor=neighbors), neighbors, steps + 1

        return jax.lax.while_loop(goes_on, step, (init(x, neighbor=neighbors), neighbors, 0))

    def run() -> Measured:
        begun = time.perf_counter()
        compiled = descend.lower(x, neighbors).compile()
        prepare = listed + time.perf_counter() - begun
        jax.block_until_ready(compiled(x, neighbors))
        begun = time.perf_counter()
        state, list_then, steps = jax.block_until_ready(compiled(x, neighbors))
        seconds = time.perf_counter() - begun
        if list_then is not None:
            with_jax_md.checked(list_then)
        if steps == MOST:
            raise RuntimeError("not converged")
        final.append((state.position, list_then))
        return Measured(prepare, seconds, 1, with_jax_md.VERSION("jax-md"), {"evaluations": int(steps) + 1})

    def outcome() -> float:
        x, neighbors = final[-1]
        return float(energy_of(x, neighbor=neighbors and neighbors.update(x))) / size.atoms

    return Ready(lambda: float(energy_of(x, neighbor=neighbors)) / size.atoms, run, outcome)


WORKLOAD = Workload(
    "minimise",
    "FIRE on jammed bubbles, to forces below 1e-10",
    {"tiny": Size(32, 32, 0, 1), "128": Size(128, 128, 0, 1), "4k": Size(4_096, 4_096, 0, 1)},
    {"mdsl": Engine(mdsl, ("double",)), "jax-md": Engine(jax_md, ("double",))},
    outcome=("energy per atom at the minimum", 0.1),
    unit="seconds to the minimum",
    shown=lambda seconds, work: seconds / work,
)
