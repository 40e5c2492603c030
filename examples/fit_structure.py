"""The parameters of a Lennard-Jones liquid from its structure: sigma and epsilon fitted to a pair-correlation function.

    python examples/fit_structure.py [--quick] [--figure FILE]

The target is g(r) of a liquid with sigma = 1 and epsilon = 1; the fit begins far from these, and sees the target alone.
Each round is a simulation of fit_structure.mdsl. Its averages <g_k> and their derivatives by the parameters,
-cov(g_k, dU/dp)/(kB T), come from the same frames; a Gauss-Newton step on the squared differences gives the next
parameters. A histogram has no derivative and needs none: what is differentiated is the weight of a configuration.
"""

import time
from pathlib import Path

import jax
import numpy as np
from figures import arguments, pyplot

import mdsl

TARGET = {"sigma": 1.0, "epsilon": 1.0}
START = {"sigma": 0.92, "epsilon": 1.4}
NAMES = tuple(TARGET)
MOST = np.array([0.05, 0.25])  # no step of the fit changes the parameters by more
BLOCKS = 10  # parts of a simulation, for statistical errors


def averages(records, kT):
    """<g> [k], its derivatives by the parameters [k, 2], and <g> of each block [blocks, k]."""
    rows = np.isfinite(records["U"])
    g = records["g"][rows]
    slopes = np.stack([records[f"dU_d{name}"][rows] for name in NAMES], axis=1)
    derivative = -((g - g.mean(0)).T @ (slopes - slopes.mean(0))) / (len(g) * kT)
    return g.mean(0), derivative, np.stack([part.mean(0) for part in np.array_split(g, BLOCKS)])


def fit(system, target, rounds, steps, weights, kT, start=START):
    """Parameters, round by round [rounds + 1, 2], the averages of each round, and the statistical errors [2]: what the
    noise of both pair-correlation functions leaves open."""
    params, state = np.array([start[n] for n in NAMES]), {}
    path, seen, target_g, target_blocks = [params], [], *target
    for number in range(rounds):
        begun = time.perf_counter()
        result = system.run(jax.random.key(100 + number), params=dict(zip(NAMES, params)), steps=steps, **state)
        state = {"x": result.x, "v": result.v}  # the next round goes on from here
        g, derivative, blocks = averages(result.records, kT)
        solve = np.linalg.pinv(derivative * weights[:, None]) * weights
        step = solve @ (target_g - g)
        step /= max(1.0, (np.abs(step) / MOST).max())
        seen.append(g)
        print(
            f"round {number + 1:2}  sigma {params[0]:.4f}  epsilon {params[1]:.4f}  off by "
            f"{np.sqrt(np.average((g - target_g) ** 2, weights=weights**2)):.4f}  {time.perf_counter() - begun:.1f} s"
        )
        params = params + step
        path.append(params)
    noise = (blocks - blocks.mean(0)) @ solve.T, (target_blocks - target_blocks.mean(0)) @ solve.T
    errors = np.sqrt(sum(n.var(0, ddof=1) / BLOCKS for n in noise))
    return np.array(path), seen, errors


def main():
    options = arguments(__doc__, "fit_structure.png", "fewer rounds and steps, larger errors").parse_args()
    plt = None if options.no_figure else pyplot()
    jax.config.update("jax_enable_x64", True)

    begun = time.perf_counter()
    program = mdsl.load(Path(__file__).with_name("fit_structure.mdsl"))
    rounds, steps = (6, 1_000) if options.quick else (9, 4_000)
    target_system, system = program.bind(seed=1), program.bind(seed=2)
    print(f"{len(system.x):,} atoms, {rounds} rounds")
    target = averages(target_system.run(jax.random.key(1), params=TARGET, steps=2 * steps).records, 1.0)
    r = 0.05 * (np.arange(64) + 0.5)
    weights = np.where(r > 0.7, r, 0.0)  # the noise of a bin goes down as 1/r
    path, seen, errors = fit(system, (target[0], target[2]), rounds, steps, weights, kT=1.0)

    # The first rounds are far off, the others scatter around the answer: their mean.
    last = path[-max(2, rounds // 3) :]
    found = last.mean(0)
    for name, value, error in zip(NAMES, found, errors):
        print(f"{name:8} {value:.4f} ± {error:.4f}, the target was made with {TARGET[name]}")
    print(f"in {time.perf_counter() - begun:.0f} s")
    if plt is not None:
        draw(plt, options.figure, r, target[0], seen, path, errors)


def draw(plt, file, r, target, seen, path, errors):
    figure, (left, right) = plt.subplots(1, 2, figsize=(8.2, 3.1))
    left.plot(r, seen[0], color="tab:red", lw=1, label="at the start")
    left.plot(r, seen[-1], color="tab:blue", lw=2, label="fitted")
    left.plot(r, target, "k.", ms=3, label="target")
    left.set(xlabel="r", ylabel="g(r)", xlim=(0.7, 3.2))
    left.legend(frameon=False)
    for k, (name, colour) in enumerate(zip(NAMES, ("tab:blue", "tab:orange"))):
        right.errorbar(
            np.arange(len(path)),
            path[:, k],
            yerr=np.r_[0, np.full(len(path) - 1, errors[k])],
            color=colour,
            marker="o",
            ms=3,
            label={"sigma": "σ", "epsilon": "ε"}[name],
        )
    right.axhline(1.0, color="black", lw=0.6)
    right.set(xlabel="round", ylabel="parameters")
    right.legend(frameon=False)
    figure.savefig(file)
    print(f"figure in {file}")


if __name__ == "__main__":
    main()
