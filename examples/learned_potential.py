"""A learned potential: a network on symmetry functions learns the energy of bubbles, and takes its place in simulations
(figure 2 of the JAX MD paper).

    python examples/learned_potential.py [--quick] [--figure FILE] [--weights FILE]

States of the raft of bubble_raft.mdsl come from as many short runs, in one batch. behler_parrinello.mdsl is fitted to
their energies alone; on states that were held out its energies and forces are compared with the true ones. Then both
programs run from random positions: at constant energy, which forces that are derivatives conserve, and with noise,
after which the true energy and the pair correlations of what the network made of the rafts tell how good it is.
"""

import sys
import time
from pathlib import Path

import jax
import numpy as np
from figures import arguments, pyplot

import mdsl

try:
    import optax
except ImportError:
    sys.exit("this script fits a network with optax: pip install 'mdsl[learn]'")

FOLDER = Path(__file__).parent
TRUE = mdsl.load(FOLDER / "bubble_raft.mdsl").bind()
LEARNED = mdsl.load(FOLDER / "behler_parrinello.mdsl").bind()  # in the same box


def starts(seed, count):
    """Random positions [count, N, 2]."""
    return np.asarray(jax.random.uniform(jax.random.key(seed), (count, *TRUE.x.shape))) * TRUE.box


def states(count, steps):
    """Positions, energies and forces of rafts after so many steps."""
    x = TRUE.run(jax.random.split(jax.random.key(1), count), x=starts(2, count), steps=steps).x
    return x, energies(TRUE, x), forces(TRUE, x)


def energies(system, x, params=None):
    """[states]"""
    return np.asarray(jax.jit(jax.vmap(lambda x: system.energy(x, params=params)))(x))


def forces(system, x, params=None):
    """[states, N, 2]"""
    return np.asarray(jax.jit(jax.vmap(lambda x: system.forces(x, params=params)))(x))


def fitted(x, true, epochs, batch=16):
    """A fit to energies, whose learning rate falls to zero."""
    part = 0.2
    rate = optax.cosine_decay_schedule(5e-3, epochs * round((1 - part) * len(x) / batch))
    return mdsl.fit(
        LEARNED,
        x,
        true,
        validation=part,
        optimiser=optax.adam(rate),
        epochs=epochs,
        batch=batch,
        progress=sys.stdout.isatty(),
    )


def error(values):
    """The standard error of a mean."""
    return values.std(ddof=1) / np.sqrt(len(values))


def cosine(a, b, axis):
    """Of the angles between arrays, not a number where one of them is zero."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return (a * b).sum(axis) / np.sqrt((a**2).sum(axis) * (b**2).sum(axis))


def pair_correlation(x, edges):
    """g(r) of states [states, N, 2] in a square periodic box, for distances up to half of it."""
    box, (count, atoms, _) = np.asarray(TRUE.box), x.shape
    i, j = np.triu_indices(atoms, 1)
    apart = x[:, i] - x[:, j]
    apart -= box * np.round(apart / box)
    found, _ = np.histogram(np.linalg.norm(apart, axis=-1), edges)
    return found * box.prod() / (count * len(i) * np.pi * np.diff(edges**2))


def main():
    parser = arguments(__doc__, "learned_potential.png", "200 states, 100 epochs, 16 simulations")
    parser.add_argument(
        "--weights", type=Path, help="where the weights go, for `mdsl run behler_parrinello.mdsl --params FILE`"
    )
    options = parser.parse_args()
    plt = None if options.no_figure else pyplot()
    count, epochs, replicas, steps = (200, 100, 16, 100) if options.quick else (800, 300, 256, 1_000)

    begun = time.perf_counter()
    x, true, pulls = states(count, steps=300)
    print(
        f"{count} states of {len(TRUE.x)} bubbles, energy {true.mean():.3f} ± {true.std():.3f}, {TRUE.precision} "
        f"precision, in {time.perf_counter() - begun:.0f} s"
    )

    fitting = time.perf_counter()
    found = fitted(x, true, epochs)
    print(
        f"fitted in {time.perf_counter() - fitting:.0f} s; the least loss of the held-out states "
        f"{found.validation[found.best]:.4f}, in epoch {found.best}"
    )
    if options.weights is not None:
        mdsl.save_params(options.weights, found.params)

    held = found.held_out
    guess, pushes = energies(LEARNED, x[held], found.params), forces(LEARNED, x[held], found.params)
    cosines = cosine(pushes, pulls[held], (1, 2)), cosine(pushes, pulls[held], 2)
    print(
        f"{len(held)} states held out: error of energies {np.sqrt(np.mean((guess - true[held]) ** 2)):.4f}, "
        f"correlation {np.corrcoef(guess, true[held])[0, 1]:.4f}"
    )
    for name, found_cosines in zip(("states", "atoms"), cosines):
        print(
            f"cosine of forces, {name}: mean {np.nanmean(found_cosines):.4f}, median "
            f"{np.nanmedian(found_cosines):.4f}, least {np.nanmin(found_cosines):.4f}"
        )

    simulating = time.perf_counter()
    begin, keys = starts(3, replicas), jax.random.split(jax.random.key(4), replicas)
    learned = LEARNED.run(keys, x=begin, params=found.params, steps=steps)
    exact = TRUE.run(keys, x=begin, steps=steps)
    print(f"{replicas} simulations of each in {time.perf_counter() - simulating:.0f} s")
    U, E = (np.asarray(learned.records[name]) for name in ("U", "E"))
    rows = np.isfinite(E[0])  # of the statement at constant energy, which alone records E
    U, E = U[:, rows], E[:, rows]
    print(f"at constant energy: U spreads by {U.std(1).mean():.3g}, U + K by {E.std(1).mean():.2g}")
    of_learned, of_exact = energies(TRUE, learned.x), energies(TRUE, exact.x)
    print(
        f"true energy at the end: simulated by the network {of_learned.mean():.3f} ± {error(of_learned):.3f}, by the "
        f"true energy {of_exact.mean():.3f} ± {error(of_exact):.3f}"
    )
    print(f"in {time.perf_counter() - begun:.0f} s")
    if plt is not None:
        draw(plt, options.figure, true[held], guess, cosines, (U[0] - U[0, 0], E[0] - E[0, 0]), (learned.x, exact.x))


def draw(plt, file, true, guess, cosines, conserved, ends):
    figure, ((energy, force), (going, structure)) = plt.subplots(2, 2, figsize=(8.2, 6.2))
    limits = [min(true.min(), guess.min()), max(true.max(), guess.max())]
    energy.plot(limits, limits, color="black", lw=0.6)
    energy.plot(true, guess, "o", color="tab:blue", ms=3, alpha=0.7)
    energy.set(xlabel="true energy", ylabel="energy of the network", aspect="equal")
    for values, name, colour in zip(cosines, ("all atoms of a state", "single atoms"), ("tab:blue", "tab:orange")):
        force.hist(
            values[np.isfinite(values)], np.linspace(0, 1, 101), density=True, histtype="step", color=colour, label=name
        )
    force.set(xlabel="cosine between true and learned force", ylabel="density", xlim=(0.5, 1))
    force.legend(frameon=False, loc="upper left")
    steps = 10 * np.arange(len(conserved[0]))
    for values, name, colour in zip(conserved, ("U", "U + kinetic energy"), ("tab:gray", "tab:blue")):
        going.plot(steps, values, color=colour, lw=1, label=name)
    going.set(xlabel="steps at constant energy", ylabel="change")
    going.legend(frameon=False)
    edges = np.linspace(0, float(TRUE.box[0]) / 2, 45)
    for x, name, style in zip(ends, ("by the network", "by the true energy"), ("o", "-")):
        structure.plot(
            (edges[1:] + edges[:-1]) / 2,
            pair_correlation(np.asarray(x), edges),
            style,
            ms=3,
            lw=1,
            color="tab:blue" if style == "o" else "black",
            label=name,
        )
    structure.set(xlabel="r", ylabel="g(r)")
    structure.legend(frameon=False)
    figure.savefig(file)
    print(f"figure in {file}")


if __name__ == "__main__":
    main()
