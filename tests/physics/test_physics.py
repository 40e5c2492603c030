"""What is known of integrators, ensembles and crystals (shared/reference/physics.md), through the compiler.

Bounds on statistics are five standard errors, for the seeds that are given here.
"""

import functools
import json
import os
import subprocess
import sys

import jax
import numpy as np
import pytest
from compiled import HEAD, PAIRS_BY, apart, bound, everything, program, run, running
from scipy import stats

import mdsl
from mdsl.lowering.planning.policy import DEFAULT

MELT = (
    "energy U = sum(i < j) force_shifted(lennard_jones(1, 1), 2.5)(|x[i] - x[j]|)\nobserve E = potential + "
    "kinetic\nobserve p = sum(i) m[i]*v[i]\n"
)
SMOOTH = "box free\nparam h = 0.02\nenergy U = sum(i < j) gaussian(5, 0.7)(|x[i] - x[j]|)\n"
OSCILLATOR = "box free\nparam k = 1.7\nparam m = 0.6\nenergy U = sum(i) k/2*|x[i] - origin|^2\n"
K, M = 1.7, 0.6
OMEGA = np.sqrt(K / M)


def cluster(n=8, seed=2):
    rng = np.random.default_rng(seed)
    v = rng.normal(size=(n, 3))
    return rng.uniform(0, 1.9, (n, 3)), v - v.mean(0)


@functools.cache
def crystal(cells=4, T=1.0, seed=0, policy=DEFAULT):
    """A perfect fcc crystal with velocities, from the builders."""
    text = (
        f"{MELT}run {{\n  x = fcc(density = 0.8442, cells = {cells})\n  v ~ maxwell({T})\n  velocity_verlet(dt = "
        f"0.004) for 200 record E, p, U every 10\n}}"
    )
    return program(text).bind(seed=seed, policy=policy)


@functools.cache
def melt():
    return crystal(policy=PAIRS_BY["all pairs"]).run(jax.random.key(0))


# -- velocity Verlet -----------------------------------------------------------------------------------


def test_second_order_in_the_time_step():
    """Halving the step divides the distance to the exact path by four."""
    x, v = cluster()
    smooth = running(SMOOTH, "velocity_verlet(dt = h)", 1000)
    ends = [run(smooth, x, velocities=v, params={"h": 0.04 / 2**k}, steps=10 * 2**k) for k in range(4)]
    assert all(e.time == pytest.approx(0.4) for e in ends)
    steps = [np.abs(a.x - b.x).max() for a, b in zip(ends, ends[1:])]
    assert np.allclose(np.log2(np.array(steps[:-1]) / steps[1:]), 2, atol=0.03)


def test_time_can_be_turned_back():
    there, start = melt(), crystal()
    back = run(running(MELT, "velocity_verlet(dt = 0.004)", 200), there.x, velocities=-there.v, box=start.box)
    assert apart(there.x, start.x, start.box) > 0.05
    assert apart(back.x, start.x, start.box) < 1e-10
    assert np.abs(back.v + start.v).max() < 1e-10


def test_momentum_and_energy_are_conserved():
    records = melt().records
    assert np.abs(records["p"]).max() < 1e-11
    assert np.ptp(records["U"]) > 10  # it melts
    assert np.abs(records["E"] / records["E"][0] - 1).max() < 3e-4
    # No drift beyond the ripple of the step: the two halves have the same mean.
    first, second = np.array_split(records["E"][1:], 2)
    assert abs(first.mean() - second.mean()) < 5 * (first.std() + second.std()) / np.sqrt(len(first))


@pytest.mark.parametrize("h", [0.4, 1.0])
def test_an_oscillator_turns_by_the_discrete_angle(h):
    """Invariant v² + ω²(1 - q) x², angle 2 asin(ω h/2) for each step, with q = ω²h²/4."""
    rng = np.random.default_rng(1)
    x, v = rng.normal(size=(2, 8, 3))
    end = run(running(OSCILLATOR, f"velocity_verlet(dt = {h})", 7), x, velocities=v)
    q = (OMEGA * h) ** 2 / 4
    kept = [v**2 + OMEGA**2 * (1 - q) * x**2 for x, v in ((x, v), (end.x, end.v))]
    assert np.allclose(kept[0], kept[1], rtol=1e-12)
    turn = 7 * 2 * np.arcsin(OMEGA * h / 2)
    speed = v / (OMEGA * np.sqrt(1 - q))
    assert np.allclose(end.x, x * np.cos(turn) + speed * np.sin(turn), rtol=0, atol=1e-12)


# -- random dynamics -----------------------------------------------------------------------------------


def within(values, expected):
    """The mean of independent values is what it should be, within five standard errors."""
    values = np.ravel(values)
    error = np.std(values) / np.sqrt(len(values))
    assert abs(values.mean() - expected) < 5 * error, (values.mean(), expected, error)
    return error


@functools.cache
def langevin(h=0.7, T=0.8, atoms=20_000):
    scheme = f"baoab(dt = {h}, T = {T}, gamma = 1.3)"
    return run(running(OSCILLATOR, scheme, 120), np.zeros((atoms, 3)), velocities=np.zeros((atoms, 3)))


def test_baoab_samples_positions_exactly_at_a_large_step():
    h, T, end = 0.7, 0.8, langevin()
    q = (OMEGA * h) ** 2 / 4
    assert q > 0.3  # a scheme with an error of this order is told apart by far
    error = within(end.x**2, T / K)
    assert error < 0.01 * T / K
    within(end.x**4, 3 * (T / K) ** 2)
    within(end.v**2, T / M * (1 - q))
    within(end.x, 0)
    within(end.v * end.x, 0)
    assert stats.kstest(np.ravel(end.x)[::3] / np.sqrt(T / K), "norm").pvalue > 1e-4


def test_atoms_and_axes_draw_independent_numbers():
    x = langevin().x
    correlation = np.corrcoef(np.concatenate([x.T, np.roll(x, 1, axis=0).T]))
    off = correlation[~np.eye(6, dtype=bool)]
    assert np.abs(off).max() < 5 / np.sqrt(len(x))


def test_brownian_motion_spreads_as_2dDt():
    atoms, h, T, gamma, steps = 20_000, 0.3, 0.7, 2.5, 20
    free = "box free\nparam m = 0.6\nenergy U = sum(i) 0*|x[i] - origin|^2\n"
    end = run(running(free, f"brownian(dt = {h}, T = {T}, gamma = {gamma})", steps), np.zeros((atoms, 3)))
    D = T / (0.6 * gamma)
    within((end.x**2).sum(1), 2 * 3 * D * h * steps)
    within(end.x**4, 3 * (2 * D * h * steps) ** 2)


def test_free_langevin_motion():
    """The mean square displacement of BAOAB from Maxwell's velocities, which is known at every step."""
    atoms, h, T, gamma, steps = 20_000, 0.5, 0.7, 1.5, 12
    free = "box free\nparam m = 0.6\nenergy U = sum(i) 0*|x[i] - origin|^2\n"
    v = np.random.default_rng(5).normal(size=(atoms, 3)) * np.sqrt(T / 0.6)
    end = run(running(free, f"baoab(dt = {h}, T = {T}, gamma = {gamma})", steps), np.zeros((atoms, 3)), velocities=v)
    c = np.exp(-gamma * h)
    # x is h times the velocities after each O, the first and last counted half.
    weights = h * np.r_[0.5, np.ones(steps - 1), 0.5]
    k = np.arange(steps + 1)
    within(end.x**2, T / 0.6 * weights @ c ** np.abs(k[:, None] - k) @ weights)
    within(end.v**2, T / 0.6)
    within(end.v * v, T / 0.6 * c**steps)


def test_seeds():
    x, v = cluster()
    scheme = running(SMOOTH, "baoab(dt = 0.02, T = 0.5, gamma = 1.0)", 10)
    one, same, other = (run(scheme, x, key=key, velocities=v) for key in (3, 3, 4))
    assert (one.x == same.x).all() and (one.v == same.v).all()
    assert (np.abs(one.v - other.v) > 1e-6).all()


# -- velocities, temperature, degrees of freedom -------------------------------------------------------


def test_maxwell_velocities():
    T = 0.7
    text = (
        f"species A, B\nparam m[species] = {{ A: 1.0, B: 5.0 }}\n{MELT}run {{ x = fcc(density = 0.8, cells = 16, "
        f"species = {{ A: 0.5, B: 0.5 }})\n v ~ maxwell({T}) }}"
    )
    system = program(text).bind(seed=4)
    species, v = system.initial.species, system.v
    mass = np.where(species == 0, 1.0, 5.0)[:, None]
    assert np.abs((mass * v).sum(0)).max() < 1e-9
    assert (mass * v**2).sum() / (3 * len(v) - 3) == pytest.approx(T, rel=1e-12)
    for k, m in enumerate((1.0, 5.0)):
        mine = v[species == k]
        within(mine**2, T / m)
        within(mine**4, 3 * (T / m) ** 2)
        within(np.linalg.norm(mine, axis=1), np.sqrt(8 * T / (np.pi * m)))


DEGREES = {
    "pairs": (MELT, "velocity_verlet(dt = 0.001)", 3 * 32 - 3),
    "field": (MELT + "energy W = sum(i) 0.1*(x[i] - origin).x^2\n", "velocity_verlet(dt = 0.001)", 3 * 32),
    "noise": (MELT, "baoab(dt = 0.001, T = 1.0, gamma = 1.0)", 3 * 32),
}


@pytest.mark.parametrize("case", DEGREES)
def test_degrees_of_freedom(case):
    """Momentum is conserved by pair forces alone; the drawn temperature is what is asked for, to the last digit."""
    text, scheme, expected = DEGREES[case]
    system = program(
        text + f"run {{\n  x = fcc(density = 0.8, cells = 2)\n  v ~ maxwell(1.44)\n  {scheme} for 1\n}}"
    ).bind()
    assert system.initial.dof == expected
    assert (system.v**2).sum() / expected == pytest.approx(1.44, rel=1e-12)


# -- crystals and clusters -----------------------------------------------------------------------------

LJ_MELT = """param sigma = 1.0
param epsilon = 1.0
const rc = 2.5
energy lj = sum(i < j) u(|x[i] - x[j]|) where u = truncated(lennard_jones(sigma, epsilon), rc*sigma)
observe T = temperature
observe P = pressure
observe E = potential + kinetic
observe H = kinetic + sum(i < j) shifted(lennard_jones(sigma, epsilon), rc*sigma)(|x[i] - x[j]|)
"""


def lj_melt(cells, steps, record):
    run = (
        f"run {{\n  x = fcc(density = 0.8442, cells = {cells})\n  v ~ maxwell(1.44)\n  velocity_verlet(dt = 0.005) "
        f"for {steps} {record}\n}}"
    )
    return program(LJ_MELT + run)


def test_the_first_step_of_the_melt():
    """LAMMPS' bench/in.lj: a small crystal has the same energy for each atom."""
    system = lj_melt(4, 1, "record lj, T, P every 1").bind()
    result = system.run(jax.random.key(0))
    count = len(system.x)
    assert count == 256
    assert result.records["lj"][0] / count == pytest.approx(-6.7733680533, rel=1e-10)
    assert result.records["T"][0] == pytest.approx(1.44, rel=1e-13)
    assert result.records["P"][0] == pytest.approx(-6.2353172701 + 0.8442 * 1.44 * (1 - 1 / count), rel=1e-10)
    energy, forces, virial = everything(system)
    assert energy / count == pytest.approx(-6.7733680533, rel=1e-10)
    assert np.abs(forces).max() < 1e-11
    pressure = virial / system.box.prod()
    assert np.allclose(pressure, -6.2353172701 * np.eye(3), rtol=0, atol=1e-9)
    assert np.allclose(np.asarray(system.stress()), -pressure, rtol=1e-12, atol=1e-10)


def test_the_pressure_of_an_energy_that_depends_on_the_volume():
    """A tail correction N² c/V adds N² c/V² to the pressure, in a run and in the stress of a system."""
    tail = "param c = -5.3\nenergy tail = c*N^2/volume\n"
    dynamics = "run { x = fcc(density = 0.8442, cells = 4)\n velocity_verlet(dt = 0.001) for 1 record P every 1 }"
    system = program(LJ_MELT + tail + dynamics).bind()
    assert system.run(jax.random.key(0)).records["P"][0] == pytest.approx(-6.2353172701 - 5.3 * 0.8442**2, rel=1e-10)
    assert -np.trace(system.stress()) / 3 == pytest.approx(-6.2353172701 - 5.3 * 0.8442**2, rel=1e-10)


# atoms, energy: Wales and Doye 1997
LJ_CLUSTERS = [
    (np.array([[0, 0, 0], [1, 0, 0], [0.5, np.sqrt(0.75), 0]]), -3),
    (np.array([[0, 0, 0], [1, 1, 0], [1, 0, 1], [0, 1, 1]]) / np.sqrt(2), -6),
]


@pytest.mark.parametrize("shape, energy", LJ_CLUSTERS, ids=["triangle", "tetrahedron"])
def test_clusters(shape, energy):
    free = program("box free\nparam sigma = 1.0\nenergy U = sum(i < j) lennard_jones(sigma, 1.0)(|x[i] - x[j]|)")
    system = bound(free, shape * 2 ** (1 / 6))
    found, forces, virial = everything(system)
    assert found == pytest.approx(energy, rel=1e-13)
    assert np.abs(forces).max() < 1e-12 and np.abs(virial).max() < 1e-12


def test_hexagonal_crystal_of_bubbles():
    """Compressed discs: 3 u(r) for each, and P D² = 2 sqrt(3) (1 - r)/r with u = (1 - r)²."""
    r, side = 0.9, 6
    cell = np.array([[0, 0], [0.5, np.sqrt(0.75)]]) * r
    x = np.concatenate([cell + np.array([a, b * np.sqrt(3)]) * r for a in range(side) for b in range(side)])
    text = "dim 2\ndef bubble(r) = if r < 1 then (1 - r)^2 else 0\nenergy U = sum(i < j) bubble(|x[i] - x[j]|)"
    system = bound(program(text), x, box=[side * r, side * r * np.sqrt(3)])
    energy, forces, virial = everything(system)
    assert energy / len(x) == pytest.approx(3 * 0.1**2, rel=1e-12)
    assert np.abs(forces).max() < 1e-13
    assert np.allclose(virial / np.prod(system.box), np.eye(2) * 2 * np.sqrt(3) * 0.1 / 0.9, rtol=1e-11, atol=1e-13)


# -- neighbour lists -----------------------------------------------------------------------------------

# A gas that a field pulls together: lists that fit the start do not fit the end. Two dimensions, for speed.
COLLAPSE = """dim 2
box free
energy W = sum(i) 0.52*|x[i] - origin|^2
energy U = sum(i < j) soft_sphere(1.2, 4.0, 2.5)(|x[i] - x[j]|)
"""


def test_a_list_that_overflows_grows():
    side = 16
    x = 1.15 * (np.stack(np.meshgrid(*[np.arange(side)] * 2), -1).reshape(-1, 2) - (side - 1) / 2)
    x = x + np.random.default_rng(0).uniform(-0.05, 0.05, x.shape)
    collapse = running(
        COLLAPSE + "observe E = potential + kinetic\n", "velocity_verlet(dt = 0.02)", 50, "record E, U every 50"
    )
    tight = run(collapse, x, traversal="list", skin=0.1)
    whole = run(collapse, x)
    assert tight.counts.regrown > 0 and tight.counts.list_builds > 5
    assert whole.counts.regrown == whole.counts.list_builds == 0
    assert np.abs(x).max() > 1.1 * np.abs(whole.x).max()
    assert np.abs(tight.x - whole.x).max() < 1e-9 and np.abs(tight.v - whole.v).max() < 1e-9
    assert np.allclose(tight.records["E"], whole.records["E"], rtol=1e-10)
    assert tight.records["E"][1] == pytest.approx(tight.records["E"][0], rel=1e-2)


TWO_DEVICES = """
import json, sys
import jax
jax.config.update("jax_enable_x64", True)
jax.config.update("jax_num_cpu_devices", 2)
import numpy as np
import mdsl
from compiled import PAIRS_BY
program = mdsl.compile(sys.argv[1])
ends = []
for traversal, devices in (("all pairs", 1), ("list", 2)):
    system = program.bind(seed=3, devices=jax.devices()[:devices], skin=0.15, policy=PAIRS_BY[traversal])
    result = system.run(jax.random.key(7))
    ends.append([result.x.tolist(), result.v.tolist(), result.records["U"].tolist(), result.records["P"].tolist(), result.counts.list_builds])
print(json.dumps(ends))
"""


def test_results_do_not_depend_on_traversal_and_devices():
    """All pairs, and a list on two devices; 99 atoms, so that one of them has padding. Noise included."""
    text = (
        "dim 2\nspecies A, B\nparam m[species] = { A: 1.0, B: 2.0 }\nparam s[species, species] = { A-A: 1.0, A-B: 0.9, "
        "B-B: 0.7 }\n"
        "energy U = sum(i < j) soft_sphere(s[i,j], 10.0, 2.5)(|x[i] - x[j]|)\nobserve P = pressure\n"
        "run {\n  x ~ uniform(atoms = 99, density = 1.0, species = { A: 0.5, B: 0.5 })\n  v ~ maxwell(1.0)\n"
        "  baoab(dt = 0.01, T = 1.0, gamma = 1.0) for 40 record U, P every 20\n}"
    )
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", TWO_DEVICES, HEAD + text], env=env, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-2000:]
    one, two = json.loads(done.stdout.splitlines()[-1])
    assert one[4] == 0 and two[4] > 3
    box = mdsl.compile(HEAD + text).bind(seed=3).box
    assert apart(one[0], two[0], box) < 1e-11
    assert np.allclose(one[1], two[1], rtol=0, atol=1e-10)
    assert np.allclose(one[2], two[2], rtol=1e-10) and np.allclose(one[3], two[3], rtol=1e-10)


# -- the whole melt ------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_whole_melt():
    """programs/lj_melt.mdsl, 32,000 atoms, against the log of LAMMPS' bench/in.lj; then 900 more steps."""
    system = lj_melt(20, 1000, "record T, lj, P, E, H every 50").bind()
    result = system.run(jax.random.key(0))
    count, records = len(system.x), result.records
    assert count == 32_000
    assert records["lj"][0] / count == pytest.approx(-6.7733681, abs=5e-8)
    assert records["T"][0] == pytest.approx(1.44, rel=1e-12)
    assert records["P"][0] == pytest.approx(-5.0197073, abs=5e-8)
    assert records["step"][2] == 100
    # Over seeds T scatters by 0.005 (U = E - 1.5 T with it, P by 0.04); E, which the jump at the cutoff lowers, by
    # 1e-4.
    assert records["E"][2] / count == pytest.approx(-4.6223613, abs=5e-4)
    assert records["T"][2] == pytest.approx(0.757, abs=0.025)
    assert records["lj"][2] / count == pytest.approx(-5.7585, abs=0.04)
    assert records["P"][2] == pytest.approx(0.207, abs=0.2)
    # The forces are those of the shifted energy, so that one is conserved, while E follows the number of pairs.
    assert np.abs(records["H"] / records["H"][0] - 1).max() < 3e-4  # a ripple of dt² as the crystal melts
    liquid = records["step"] >= 100
    drift = np.polyfit(records["time"][liquid], records["H"][liquid] / records["H"][0], 1)[0]
    assert abs(drift) * 5.0 < 1e-4  # over 1,000 steps
