"""`raft`: ensembles of rafts of 32 bubbles jostled by water, the warm-up of the JAX MD paper: `jax.vmap` over random
keys.

All replicas start from the same positions. No two engines draw the same random numbers, so their outcomes agree only
as averages do.
"""

from __future__ import annotations

import time

from . import with_jax_md, with_mdsl
from .protocol import Engine, Job, Measured, Ready, Size, Workload
from .systems import System, bubbles

ATOMS, DT, TEMPERATURE, GAMMA = 32, 0.1, 0.1, 1.0
EVERY = 20  # steps between samples of the energy

PROGRAM = f"""
use units.lj
use integrators (brownian)
dim 2
def bubble(r) = if r < 1 then (1 - r)^2 else 0
energy U = sum(i < j) bubble(|x[i] - x[j]|)
run {{ x ~ uniform(atoms = {ATOMS}, density = 1)
  brownian(dt = {DT}, T = {TEMPERATURE}, gamma = {GAMMA}) for {{steps}} record U every {EVERY} }}
"""


def start(size: Size) -> System:
    return bubbles(ATOMS, density=1.0)


def ensemble(job: Job, size: Size, version: str, energies, first) -> Ready:
    """``energies``: a random key to the energies of one replica, in time; the outcome is the mean of their later
    half."""
    import jax

    outcomes = []

    def run() -> Measured:
        begun = time.perf_counter()
        keys = jax.random.split(jax.random.key(1), size.number)
        compiled = jax.jit(jax.vmap(energies)).lower(keys).compile()
        prepare = time.perf_counter() - begun
        jax.block_until_ready(compiled(keys))
        begun = time.perf_counter()
        found = jax.block_until_ready(compiled(keys))
        seconds = time.perf_counter() - begun
        outcomes.append(float(found[:, found.shape[1] // 2 :].mean()) / ATOMS)
        return Measured(prepare, seconds, size.number * ATOMS * job.steps, version)

    return Ready(first, run, lambda: outcomes[-1])


def mdsl(job: Job, size: Size) -> Ready:
    import mdsl

    system = with_mdsl.bound(job, PROGRAM.replace("{steps}", str(job.steps)), start(size), shared=False)
    return ensemble(
        job,
        size,
        mdsl.__version__,
        lambda key: system.run(key).records["U"][1:],
        lambda: float(system.energy()) / ATOMS,
    )


def jax_md(job: Job, size: Size) -> Ready:
    jax = with_jax_md.jax_for(job)
    import jax.numpy as jnp
    from jax_md import energy, simulate, space

    system = start(size)
    x = jnp.asarray(system.x, with_jax_md.dtype(job))
    displacement, shift = space.periodic(float(system.edges[0]))
    energy_of = energy.soft_sphere_pair(displacement, sigma=1.0, epsilon=2.0, alpha=2)
    init, apply = simulate.brownian(energy_of, shift, dt=DT, kT=TEMPERATURE, gamma=GAMMA)

    def energies(key):
        def sample(state, _):
            state = jax.lax.fori_loop(0, EVERY, lambda _, s: apply(s), state)
            return state, energy_of(state.position)

        return jax.lax.scan(sample, init(key, x), None, length=job.steps // EVERY)[1]

    return ensemble(job, size, with_jax_md.VERSION("jax-md"), energies, lambda: float(energy_of(x)) / ATOMS)


WORKLOAD = Workload(
    "raft",
    "replicas of 32 bubbles in Brownian motion",
    {"tiny": Size(8, 8 * ATOMS, 0, 400), **{str(n): Size(n, n * ATOMS, 0, 1_000) for n in (1, 4, 16, 64, 256)}},
    {"mdsl": Engine(mdsl, ("single", "double")), "jax-md": Engine(jax_md, ("single", "double"))},
    outcome=("mean energy per atom later on", 0.15),
)
