"""Ensembles: many rafts of bubbles at once, and what one simulation then costs (figure 1 of the JAX MD paper).

    python examples/ensembles.py [--quick] [--figure FILE]

One call of `jax.vmap` makes of the run of bubble_raft.mdsl a run of a whole ensemble, each with starting positions and
random forces of its own.
"""

import time
from pathlib import Path

import jax
import numpy as np
from figures import arguments, discs, pyplot

import mdsl

SYSTEM = mdsl.load(Path(__file__).with_name("bubble_raft.mdsl")).bind()


def simulate(key, steps):
    """One raft from random positions: U as it goes, and the final positions."""
    placing, jostling = jax.random.split(key)
    x = jax.random.uniform(placing, SYSTEM.x.shape) * SYSTEM.box
    result = SYSTEM.run(jostling, x=x, steps=steps)
    return result.records["U"], result.x


def measure(batch, steps, seed=0):
    """Seconds for one simulation in a batch, compiled before; U [batch, rows] and final positions [batch, N, 2]."""
    run = jax.jit(jax.vmap(lambda key: simulate(key, steps)))
    keys = jax.random.split(jax.random.key(seed), batch)
    compiled = run.lower(keys).compile()
    jax.block_until_ready(compiled(keys))
    begun = time.perf_counter()
    U, x = jax.block_until_ready(compiled(keys))
    return (time.perf_counter() - begun) / batch, np.asarray(U), np.asarray(x)


def main():
    options = arguments(__doc__, "ensembles.png", "100 steps, batches of 1, 4 and 16").parse_args()
    plt = None if options.no_figure else pyplot()

    batches, steps = ((1, 4, 16), 100) if options.quick else ((1, 4, 16, 64, 256, 1024), 1_000)
    print(f"{len(SYSTEM.x)} bubbles, {steps:,} steps, {SYSTEM.precision} precision")
    times = []
    for batch in batches:
        seconds, U, x = measure(batch, steps)
        times.append(seconds)
        ends = U[:, -1]
        print(
            f"batch {batch:5}  {1e3 * seconds:8.3f} ms for each simulation  U at the end {ends.mean():.3f} ± "
            f"{ends.std() / np.sqrt(batch):.3f}"
        )
    if plt is not None:
        draw(plt, options.figure, batches, times, x)


def draw(plt, file, batches, times, x):
    figure = plt.figure(figsize=(8.2, 3.4))
    left, right = figure.subfigures(1, 2, width_ratios=(1.15, 1))
    for axes, positions in zip(left.subplots(3, 3).flat, x):
        discs(axes, positions, np.ones(len(positions)), SYSTEM.box, "tab:blue")
    axes = right.subplots()
    axes.loglog(batches, 1e3 * np.array(times), "o-", color="tab:blue", ms=3)
    axes.set(xlabel="batch size", ylabel="ms for each simulation")
    figure.savefig(file)
    print(f"figure in {file}")


if __name__ == "__main__":
    main()
