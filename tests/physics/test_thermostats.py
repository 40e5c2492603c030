"""Thermostats: what they conserve, their order, their ensembles; degrees of freedom and frozen atoms."""

import functools

import numpy as np
import pytest
from compiled import program, run, running

HEAD = "use units.lj\nuse pair\nuse integrators\n"
MELT = (
    "energy U = sum(i < j) force_shifted(lennard_jones(1, 1), 1.6)(|x[i] - x[j]|)\nobserve E = potential + "
    "kinetic\nobserve p = sum(i) m[i]*v[i]\n"
)
CELLS, DENSITY = 2, 0.85
EDGE = CELLS * (4 / DENSITY) ** (1 / 3)


@functools.cache
def warm():
    """32 atoms of a Lennard-Jones liquid, at rest as a whole: positions and velocities."""
    basis = np.array([[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]])
    cells = np.stack(np.meshgrid(*[np.arange(CELLS)] * 3), -1).reshape(-1, 1, 3)
    x = (basis + cells).reshape(-1, 3) * EDGE / CELLS
    v = np.random.default_rng(3).normal(size=x.shape)
    v -= v.mean(0)
    v *= np.sqrt(1.2 * (3 * len(x) - 3) / (v**2).sum())
    result = run(
        running(MELT, "baoab(dt = 0.004, T = 1.2, gamma = 2)", steps=400, head=HEAD), x, box=EDGE, velocities=v
    )
    return result.x, result.v - result.v.mean(0)


def melt(scheme, steps, record, text="", key=0):
    x, v = warm()
    return run(
        running(MELT + text, scheme, steps=steps, record=f"record {record}", head=HEAD),
        x,
        box=EDGE,
        velocities=v,
        key=key,
    )


SOFT = (
    "energy U = sum(i < j) gaussian(20, 0.35)(|x[i] - x[j]|)\nobserve E = potential + kinetic\nobserve p = sum(i) "
    "m[i]*v[i]\n"
)


def chains(options, dt, steps, every=10, box=EDGE):
    """Records of soft particles under Nosé-Hoover chains."""
    x, v = warm()
    p = running(
        SOFT,
        f"nose_hoover(dt = {dt}, T = 1.2, tau = 0.2{options})",
        steps=steps,
        record=f"record conserved, E, p every {every}",
        head=HEAD,
    )
    return run(p, x, box=box, velocities=v).records


@pytest.mark.parametrize(
    "options",
    ["", *(pytest.param(o, marks=pytest.mark.slow) for o in (", chain = 1, order = 7", ", chain = 5, order = 5"))],
)
def test_chains_conserve_their_invariant(options):
    """A line through the invariant rises or falls by less than 1e-6 of it in 1,000 steps; momentum stays zero."""
    records = chains(options, 0.001, 7000)
    kept = records["conserved"]
    assert abs(np.polyfit(records["step"][100:], kept[100:], 1)[0]) * 1000 < 1e-6 * abs(kept[0])
    assert np.ptp(kept) < 1e-4 * np.ptp(records["E"])
    assert np.abs(records["p"]).max() < 1e-11


def test_chains_are_of_second_order():
    """The error of the invariant falls by 4 when the step is halved."""
    errors = []
    for dt, steps in ((0.004, 25), (0.002, 50)):
        kept = chains("", dt, steps, every=steps // 5, box=np.inf)["conserved"]
        errors.append(np.abs(kept - kept[0]).max())
    assert errors[0] / errors[1] == pytest.approx(4, rel=0.1)


# -- ensembles -----------------------------------------------------------------------------------------


def kinetic_moments(scheme, steps, every=10):
    """Mean and variance of the kinetic energy, over those of the canonical ensemble, and the blocked errors of both."""
    result = melt(scheme, steps, f"kinetic, degrees_of_freedom every {every}")
    assert result.records["degrees_of_freedom"][0] == (96 if "baoab" in scheme else 93)
    n = result.records["degrees_of_freedom"][0]
    K = result.records["kinetic"][len(result.records["kinetic"]) // 10 :] / (n / 2 * 1.2)
    blocks = K[: len(K) // 20 * 20].reshape(20, -1)
    square = (blocks - K.mean()) ** 2 * n / 2
    return (K.mean(), blocks.mean(1).std() / np.sqrt(19)), (square.mean(), square.mean(1).std() / np.sqrt(19))


@pytest.mark.slow
@pytest.mark.parametrize(
    "scheme",
    [
        "nose_hoover(dt = 0.004, T = 1.2, tau = 0.1)",
        "csvr(dt = 0.004, T = 1.2, tau = 0.05)",
        "baoab(dt = 0.004, T = 1.2, gamma = 3)",
    ],
)
def test_kinetic_energy_is_canonical(scheme):
    """Var K = (N_f/2)(kT)²."""
    (mean, error), (variance, spread) = kinetic_moments(scheme, 40_000)
    assert error < 0.01 and spread < 0.15
    assert abs(mean - 1) < 4 * error + 0.004 and abs(variance - 1) < 4 * spread


def test_stochastic_rescaling_is_canonical_for_free_particles():
    """Without forces the thermostat alone makes K: gamma-distributed, so <K> = N_f kT/2 and Var K = N_f (kT)²/2."""
    text = "box free\nenergy U = 0*(sum(i < j) exp(-|x[i] - x[j]|))\n"
    v = np.random.default_rng(1).normal(size=(3, 3))
    p = running(
        text, "csvr(dt = 0.02, T = 0.7, tau = 0.02)", steps=8_000, record="record kinetic, conserved every 4", head=HEAD
    )
    result = run(p, np.arange(9.0).reshape(3, 3), box=np.inf, velocities=v - v.mean(0))
    K = result.records["kinetic"][50:]  # correlated over a step: exp(-4) between records
    n = len(K)
    assert K.mean() == pytest.approx(3 * 0.7, abs=4 * np.sqrt(3 * 0.49 / n))
    assert K.var() == pytest.approx(3 * 0.49, rel=4 * np.sqrt((2 + 6 / 3) / n))
    assert np.ptp(result.records["conserved"]) < 1e-9 * result.records["kinetic"].max() * n


def test_berendsen_relaxes_exponentially():
    """Free particles: dT/dt = (T0 - T)/tau."""
    text = "box free\nenergy U = 0*(sum(i < j) exp(-|x[i] - x[j]|))\nobserve T = temperature\n"
    v = np.random.default_rng(1).normal(size=(5, 3))
    p = running(text, "berendsen(dt = 0.01, T = 2, tau = 0.3)", steps=60, record="record T, t every 5", head=HEAD)
    records = run(p, np.arange(15.0).reshape(5, 3), box=np.inf, velocities=v - v.mean(0)).records
    T, t = records["T"], records["t"]
    assert np.allclose(T, 2 + (T[0] - 2) * np.exp(-t / 0.3), rtol=1e-12) and abs(T[0] - 2) > 0.3


def test_rescaling_and_drift():
    text = (
        "flow rest() { remove_drift() }\nintegrator still(dt) { velocity_rescaling(dt, 0.5) rest() }\nobserve T = "
        "temperature\n"
    )
    x, v = warm()
    p = running(MELT + text, "still(dt = 0.002)", steps=6, record="record p, T every 1", head=HEAD)
    records = run(p, x, box=EDGE, velocities=v + [1.0, 0, 0]).records
    assert np.abs(records["p"][0]).max() > 30 and np.abs(records["p"][1:]).max() < 1e-12
    x, v = warm()
    assert np.allclose(
        run(
            running(
                MELT + text, "velocity_rescaling(dt = 0.002, T = 0.5)", steps=6, record="record T every 1", head=HEAD
            ),
            x,
            box=EDGE,
            velocities=v,
        ).records["T"][1:],
        0.5,
    )


# -- frozen atoms --------------------------------------------------------------------------------------

WALL = """species atom, wall
param m[species] = { atom: 1.0, wall: 3.0 }
frozen wall
energy U = sum(i < j) wca(0.9, 1.0)(|x[i] - x[j]|)
observe F = largest(i) if species[i] == wall then |f[i]| else 0
observe T = temperature
"""


def walled(scheme, steps, record, **more):
    x, v = warm()
    species = (np.arange(len(x)) % 4 == 0).astype(int)
    return (
        x,
        species,
        run(
            running(WALL, scheme, steps=steps, record=record, head=HEAD),
            x,
            box=EDGE,
            velocities=v,
            species=species,
            **more,
        ),
    )


@pytest.mark.parametrize(
    "scheme",
    ["velocity_verlet(dt = 0.002)", "baoab(dt = 0.002, T = 1, gamma = 5)", "brownian(dt = 0.0001, T = 1, gamma = 1)"],
)
def test_frozen_atoms_stay(scheme):
    x, species, result = walled(scheme, 20, "record T, kinetic, F, degrees_of_freedom every 10")
    moved = np.abs(result.x - x)[species == 1]
    assert (np.minimum(moved, EDGE - moved) < 1e-12).all() and not result.v[species == 1].any()
    assert np.abs(result.v[species == 0]).min() > 0
    free = (species == 0).sum()
    assert (result.records["degrees_of_freedom"] == 3 * free).all()
    assert (
        np.allclose(result.records["T"], 2 * result.records["kinetic"] / (3 * free)) and not result.records["F"].any()
    )


def test_maxwell_with_frozen_atoms():
    text = f"""{WALL}run {{
  x = fcc(density = 0.8, cells = 2, species = {{ atom: 0.75, wall: 0.25 }})
  v ~ maxwell(1.3)
  velocity_verlet(dt = 0.001) for 0 record T }}"""
    result = program(text, HEAD).bind().run(__import__("jax").random.key(0))
    assert result.records["T"][0] == pytest.approx(1.3) and (result.v == 0).all(1).sum() == 8


@pytest.mark.slow
def test_equipartition_beside_frozen_atoms():
    _, species, result = walled("baoab(dt = 0.003, T = 1.1, gamma = 4)", 30_000, "record T every 10")
    assert result.records["T"][300:].mean() == pytest.approx(1.1, rel=0.02)
