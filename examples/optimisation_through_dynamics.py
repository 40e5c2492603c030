"""Optimisation through dynamics: the diameter at which a packing of bubbles is most disordered, by a derivative that
goes through the whole minimisation of its energy (figure 3 of the JAX MD paper).

    python examples/optimisation_through_dynamics.py [--quick] [--figure FILE]

jamming.mdsl has bubbles of diameters 1 and D, half of each, at a fixed volume fraction. From random positions the
energy is minimised in 4,000 steps; the outcome U is a function of D, and so is its mean over an ensemble of starts.
dU/dD is computed in forward mode, for there is one parameter and many outcomes. It is compared with finite differences
of the ensemble's mean, which know nothing of derivatives, and then used: D goes uphill to the largest U.
"""

import time
from pathlib import Path

import jax
import numpy as np
from figures import arguments, discs, pyplot

import mdsl

jax.config.update("jax_enable_x64", True)

SYSTEM = mdsl.load(Path(__file__).with_name("jamming.mdsl")).bind()


def starts(seed, count):
    """Random positions [count, N, 2]."""
    return (
        jax.vmap(lambda key: jax.random.uniform(key, SYSTEM.x.shape))(jax.random.split(jax.random.key(seed), count))
        * SYSTEM.box
    )


def minimised(D, x):
    """The energy as the minimisation goes [rows], the positions at its end, and the box."""
    result = SYSTEM.run(jax.random.key(0), x=x, params={"D": D})
    return result.records["U"], (result.x, result.box)


@jax.jit
def ensemble(D, xs):
    """U and dU/dD of each start of an ensemble [replicas, rows], and the packings."""

    def one(x):
        U, slope, packing = jax.jvp(lambda D: minimised(D, x), (D,), (1.0,), has_aux=True)
        return U, slope, packing

    return jax.vmap(one)(xs)


def error(values):
    """The standard error of a mean over the first axis."""
    return values.std(0, ddof=1) / np.sqrt(len(values))


def scan(Ds, xs):
    """U, dU/dD [D, replicas, rows] and the packings at each D."""
    found = []
    for D in Ds:
        begun = time.perf_counter()
        U, slope, packings = jax.tree.map(np.asarray, ensemble(D, xs))
        found.append((U, slope, packings))
        ends, slopes = U[:, -1], slope[:, -1]
        print(
            f"D {D:.3f}  U {ends.mean():.4f} ± {error(ends):.4f}  spread {ends.std():.4f}  dU/dD {slopes.mean():7.3f} "
            f"± {error(slopes):.3f}  {time.perf_counter() - begun:.1f} s"
        )
    return np.stack([f[0] for f in found]), np.stack([f[1] for f in found]), [f[2] for f in found]


def differences(Ds, U):
    """Finite differences of the mean of U [D, replicas] between neighbouring D: where, what, and its standard error."""
    steps = np.diff(U, axis=0) / np.diff(Ds)[:, None]
    return (Ds[1:] + Ds[:-1]) / 2, steps.mean(1), error(steps.T)


def crossing(Ds, slopes):
    """Where a slope goes from + to -, between the D that it is known at."""
    k = int(np.flatnonzero((slopes[:-1] > 0) & (slopes[1:] <= 0))[0])
    return Ds[k] + (Ds[k + 1] - Ds[k]) * slopes[k] / (slopes[k] - slopes[k + 1])


def ascend(D, rounds, replicas, rate=0.05, most=0.05):
    """D after each round of gradient ascent, each with an ensemble of its own."""
    path = [D]
    for number in range(rounds):
        _, slope, _ = ensemble(D, starts(1000 + number, replicas))
        step = rate * float(np.mean(np.asarray(slope)[:, -1]))
        D = D + float(np.clip(step, -most, most))
        path.append(D)
        print(f"ascent, round {number + 1}: D = {D:.4f}")
    return np.array(path)


def main():
    parser = arguments(__doc__, "optimisation_through_dynamics.png", "few replicas, four diameters")
    parser.add_argument("--replicas", type=int, default=16, help="how many starts an ensemble has")
    options = parser.parse_args()
    plt = None if options.no_figure else pyplot()

    begun = time.perf_counter()
    Ds = np.array([0.6, 0.7, 0.8, 0.9]) if options.quick else np.array([0.4, 0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 1.0])
    replicas, rounds = (4, 2) if options.quick else (options.replicas, 6)
    print(f"{len(SYSTEM.x)} bubbles, {replicas} replicas")
    U, slopes, packings = scan(Ds, starts(1, replicas))
    where, quotients, errors = differences(Ds, U[:, :, -1])
    mean, mean_error = slopes[:, :, -1].mean(1), error(slopes[:, :, -1].T)
    between = np.interp(where, Ds, mean)
    for D, quotient, e, slope in zip(where, quotients, errors, between):
        print(f"D {D:.3f}  finite difference {quotient:7.3f} ± {e:.3f}  derivative {slope:7.3f}")
    print(f"dU/dD is 0 at D = {crossing(Ds, mean):.3f}, U largest at {Ds[U[:, :, -1].mean(1).argmax()]:.2f}")
    path = ascend(0.6, rounds, replicas)
    print(f"most disordered at D = {path[-1]:.3f}")
    print(f"in {time.perf_counter() - begun:.0f} s")
    if plt is not None:
        draw(plt, options.figure, Ds, U, mean, mean_error, where, quotients, errors, slopes, packings, path)


def draw(plt, file, Ds, U, mean, mean_error, where, quotients, errors, slopes, packings, path):
    figure, axes = plt.subplots(2, 2, figsize=(8.2, 6.2))
    (energy, slope), (going, packing) = axes
    ends = U[:, :, -1]
    energy.fill_between(Ds, ends.mean(1) - ends.std(1), ends.mean(1) + ends.std(1), color="tab:blue", alpha=0.2, lw=0)
    energy.plot(Ds, ends.mean(1), "o-", color="tab:blue", ms=3)
    heights = np.interp(path, Ds, ends.mean(1))
    energy.plot(path, heights + 0.03, "v-", color="tab:red", ms=4, lw=0.8, label="gradient ascent")
    energy.set(xlabel="D", ylabel="U at the minimum: mean and spread")
    energy.legend(frameon=False)
    slope.axhline(0, color="black", lw=0.6)
    slope.errorbar(Ds, mean, mean_error, fmt="o-", color="tab:blue", ms=3, label="derivative through the minimisation")
    slope.errorbar(where, quotients, errors, fmt="s", color="tab:orange", ms=3, label="finite differences of the mean")
    slope.set(xlabel="D", ylabel="dU/dD")
    slope.legend(frameon=False)
    middle = len(Ds) // 2
    rows = 100 * np.arange(U.shape[-1])
    for k, replica in enumerate(slopes[middle][:6]):
        going.semilogy(rows, np.abs(replica - replica[-1]) + 1e-12, lw=1, label="each replica" if k == 0 else None)
    going.set(xlabel=f"steps of the minimisation, D = {Ds[middle]:.2f}", ylabel="distance of dU/dD from its last value")
    best = int(ends.mean(1).argmax())
    x, box = (a[0] for a in packings[best])
    small = np.asarray(SYSTEM.initial.species) == 0
    discs(packing, x, np.where(small, Ds[best], 1.0), box, np.where(small, "tab:orange", "tab:blue"))
    packing.set_title(f"a packing at D = {Ds[best]:.2f}", fontsize=9)
    figure.savefig(file)
    print(f"figure in {file}")


if __name__ == "__main__":
    main()
