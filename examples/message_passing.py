"""A graph network as an energy: two rounds of messages between neighbours, trained on copper, and then run.

    python examples/message_passing.py [--quick]

The network is a function of JAX that the program declares as an extern energy: the compiler's list tells it of the
pairs within a radius, and its weights are a parameter of the program. States of the crystal of copper_gupta.mdsl are
what it learns from. Its continuous filters are those of SchNet (Schuett et al. 2018), in a small size.
"""

import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

import mdsl

try:
    import optax
except ImportError:
    sys.exit("this script fits a network with optax: pip install 'mdsl[learn]'")

jax.config.update("jax_enable_x64", True)

RADIUS, FEATURES, BASIS, ROUNDS = 4.3, 8, 8, 2  # angstrom; three shells of neighbours
PROGRAM = f"""
use units.metal
use integrators (velocity_verlet)
extern energy E(weights, x, neighbours = {RADIUS} [angstrom])
observe total = E + kinetic
param m = 63.546 [g/mol]
run {{
  x = fcc(a = 3.615 [angstrom], cells = 4)
  v ~ maxwell(600 [K])
  velocity_verlet(dt = 2 [fs])  for 200
    record E, total  every 20
}}
"""


def drawn(key):
    """Weights to begin with: those of the filter and of the update in each round, and of the energy."""

    def layer(key, inputs, outputs):
        return jax.random.normal(key, (inputs, outputs)) / np.sqrt(inputs)

    keys = jax.random.split(key, 2 * ROUNDS + 1)
    rounds = [
        {"filter": layer(keys[2 * k], BASIS, FEATURES), "update": layer(keys[2 * k + 1], FEATURES, FEATURES)}
        for k in range(ROUNDS)
    ]
    last = 0.1 * layer(keys[-1], FEATURES, 1)  # so that it begins with little more than the mean
    return {"rounds": rounds, "energy": last, "first": jnp.ones(FEATURES)}


def network(weights, x, near):
    """The energy in eV. ``near``: pairs from one atom to another by a vector, in places of which some are empty."""
    r = jnp.linalg.norm(near.vector, axis=1)
    ends = jnp.where(near.there, (1 - (r / RADIUS) ** 2) ** 3, 0)[:, None]  # smooth at the radius
    centres = jnp.linspace(2.0, RADIUS, BASIS)
    basis = ends * jnp.exp(-8 * (r[:, None] - centres) ** 2)
    h = jnp.broadcast_to(weights["first"], (len(x), FEATURES))
    for own in weights["rounds"]:
        messages = h[near.other] * (basis @ own["filter"])
        received = jax.ops.segment_sum(messages, near.centre, len(x)) / 16  # of so many or more neighbours
        h = h + jax.nn.silu(received @ own["update"])
    return jnp.sum(h @ weights["energy"])


def states(count, steps):
    """Positions and forces [count, N, 3] of a crystal at some hundred kelvin."""
    true = mdsl.load(Path(__file__).parent / "copper_gupta.mdsl").bind()
    x = true.run(jax.random.split(jax.random.key(1), count), steps=steps).x
    x = np.asarray(x) + 0.03 * np.random.default_rng(2).normal(size=x.shape)
    return x, np.asarray(jax.jit(jax.vmap(true.forces))(x))


def main(quick):
    count, epochs = (12, 40) if quick else (48, 120)
    x, forces = states(count, 60)
    start = drawn(jax.random.key(0))
    system = mdsl.compile(PROGRAM, externs={"E": (network, start)}).bind()
    print(f"{count} states of {x.shape[1]} atoms; {len(jax.tree.leaves(start))} arrays of weights")
    rate = optax.cosine_decay_schedule(2e-2, epochs * count // 5)
    found = mdsl.fit(
        system, x, forces=forces, optimiser=optax.adam(rate), epochs=epochs, batch=4, progress=sys.stdout.isatty()
    )
    held = x[found.held_out]
    learned = np.asarray(jax.jit(jax.vmap(lambda x: system.forces(x, params=found.params)))(held))
    true = forces[found.held_out]
    error = np.sqrt(((learned - true) ** 2).mean() / (true**2).mean())
    print(f"forces on states that were held out: error {error:.3f} of their size")
    result = system.run(jax.random.key(3), params=found.params)
    E, total = result.records["E"], result.records["total"]
    print(f"a run by the network: E spreads by {np.ptp(E):.3g} eV, E + K by {np.ptp(total):.3g} eV")


if __name__ == "__main__":
    main("--quick" in sys.argv[1:])
