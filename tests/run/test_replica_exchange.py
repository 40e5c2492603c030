"""Replicas that exchange their states: each state is sampled as its own distribution says, by a rule that keeps it."""

import json
from dataclasses import replace

import ase.io
import jax
import numpy as np
import pytest
from compiled import PAIRS_BY, killed
from killing import contents

import mdsl
from mdsl.command import cli
from mdsl.command import run as run_program
from mdsl.command.options import RunOptions
from mdsl.grammar.diagnostics import Rejected
from mdsl.lowering.run import exchanges
from mdsl.lowering.run.exchanges import Exchanges, judged, uniform

WELLS = """use units.lj
use integrators (baoab, brownian)
dim 2
replicas r in 1..{count}
{params}
box free
energy well = sum(i) (height*(x[i].x^2 - 1)^2 + 0.05*x[i].x + x[i].y^2/2)
observe X = sum(i) x[i].x
run {{
  x ~ uniform(atoms = 1, density = 1)
  v ~ maxwell(T)
  baoab(dt = 0.1, T = T, gamma = 1) for {steps}
    record X every {every}
    {exchange}
}}
"""
KINDS = {
    "temperature": "param T = 0.05*1.9^(r - 1) param height = 1.0",
    "Hamiltonian": "param T = 0.05 param height = 0.1 + 0.9*((5 - r)/4)^2",
}
FLUID = """use units.lj
use integrators (baoab, nose_hoover, csvr)
use barostats (mtk)
replicas r in 1..4
param T = 0.9 + 0.1*r
param sigma = 1.0 + 0.02*r
param P = 1 + r
def soft(r) = if r < sigma then 20*(1 - r/sigma)^2 else 0
energy U = sum(i < j) soft(|x[i] - x[j]|)
observe K = kinetic
"""
MOVES = {
    "temperature": "nose_hoover(dt = 0.01, T = T, tau = 0.1) for 30",
    "pressure": "mtk(dt = 0.005, T = 1, P = P, tau = 0.1, tau_P = 1) for 30",
}


def fluid(move, cells=3):
    return (
        f"{FLUID} run {{ x = fcc(density = 0.9, cells = {cells}) v ~ maxwell(1) {move} record U, K every 5 "
        'write "a.extxyz" every 10 exchange reduced_energy every 4 }'
    )


def wells(kind, steps, exchange=True, every=20):
    words = f"exchange reduced_energy every {every}" if exchange else ""
    return WELLS.format(count=5, params=KINDS[kind], steps=steps, every=every, exchange=words)


def on_the_left(kind):
    """The part of the time that is spent to the left of 0 in each state, by quadrature."""
    x, r = np.linspace(-4, 4, 40001), np.arange(1, 6)[:, None]
    T, height = (0.05 * 1.9 ** (r - 1), 1.0) if kind == "temperature" else (0.05, 0.1 + 0.9 * ((5 - r) / 4) ** 2)
    weight = np.exp(-(height * (x**2 - 1) ** 2 + 0.05 * x) / T)
    return weight[:, x < 0].sum(axis=1) / weight.sum(axis=1)


def blocked(left, blocks=20):
    """[B]: means, and their standard errors from means of blocks."""
    means = left[:, : left.shape[1] // blocks * blocks].reshape(len(left), blocks, -1).mean(axis=2)
    return means.mean(axis=1), means.std(axis=1, ddof=1) / np.sqrt(blocks)


# -- the distribution ------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_double_well_is_sampled_as_its_distribution_says(kind):
    known = on_the_left(kind)
    result = mdsl.compile(wells(kind, 60_000)).bind(seed=1).run(jax.random.key(3))
    assert (result.exchanges.ratio > 0.2).all() and result.exchanges.trips.min() > 10
    found, error = blocked(result.by_state().records["X"][:, 50:] < 0)
    assert (error < 0.04).all()
    np.testing.assert_array_less(np.abs(found - known), 4 * error)
    # chi squared, of all states together: 5 numbers, of which each has an error of its own; 1 in 10,000 is beyond 25.7.
    assert (((found - known) / error) ** 2).sum() < 25.7
    # Without exchanges the coldest, or that with the highest barrier, stays where it began.
    alone = mdsl.compile(wells(kind, 60_000, exchange=False)).bind(seed=1).run(jax.random.key(3))
    worst = 0
    assert abs((alone.records["X"][worst] < 0).mean() - known[worst]) > 0.1


def test_the_rule_leaves_every_state_its_distribution():
    """Replicas on a few sites, moved by nothing but exchanges and jumps that keep each distribution."""
    u = np.random.default_rng(2).normal(0, 1.5, (4, 6))  # of each state at each site

    def counted(rule, turns=6_000):
        random, so_far = np.random.default_rng(0), Exchanges.none(4)
        sites, counts = np.zeros(4, int), np.zeros((4, 6))
        for _ in range(turns):
            new = random.integers(6, size=4)  # of each replica
            change = u[so_far.states, new] - u[so_far.states, sites]
            sites = np.where(np.log(random.random(4)) < -change, new, sites)
            replica = np.argsort(so_far.states)
            own = u[np.arange(4), sites[replica]]
            other = u[so_far.partner, sites[replica]]
            so_far = so_far.after(rule(own, other, so_far.partner, random.random(4)))
            counts[so_far.states, sites] += 1
        return counts / turns

    known = np.exp(-u) / np.exp(-u).sum(axis=1, keepdims=True)
    assert np.abs(counted(judged) - known).max() < 0.035
    # Rules that forget a half, take the wrong sign, or take every one.
    for wrong in (
        lambda own, other, partner, drawn: judged(own, other, np.arange(4), drawn) | (drawn < 0.5) & (own > other),
        lambda own, other, partner, drawn: judged(other, own, partner, drawn),
        lambda own, other, partner, drawn: partner != np.arange(4),
    ):
        with np.errstate(all="ignore"):
            assert np.abs(counted(_pairwise(wrong)) - known).max() > 0.05


def _pairwise(rule):
    """Of a rule for each state, what the lower state of each pair says."""

    def both(own, other, partner, drawn):
        said = rule(own, other, partner, drawn)
        return said[np.minimum(partner, np.arange(len(own)))] & (partner != np.arange(len(own)))

    return both


@pytest.mark.parametrize("traversal", ["all pairs", pytest.param("list", marks=pytest.mark.slow)])
def test_what_is_judged_is_the_reduced_energy_of_the_same_atoms_elsewhere(traversal, monkeypatch):
    """Temperature, an exponent of the pair function and with it the cutoff are others in each state."""
    seen = []

    def noted(own, other, partner, drawn):
        found = judged(own, other, partner, drawn)
        seen.append((own, other, partner))
        return found

    monkeypatch.setattr(exchanges, "judged", noted)
    text = fluid("baoab(dt = 0.01, T = T, gamma = 1) for 8", cells=2 + (traversal == "list"))
    system = mdsl.compile(text).bind(seed=1, policy=PAIRS_BY[traversal])
    result = system.run(jax.random.key(0))
    assert len(seen) == 2 and result.exchanges.tried.tolist() == [1, 1, 1]
    # The positions of the attempt at step 8 are those of the end; states as they were before it.
    own, other, partner = seen[1]
    replica = np.argsort(result.exchanges.path[1])

    def u(k, state):
        r = state + 1.0
        return float(system.energy(result.x[k], params={"r": r})) / (0.9 + 0.1 * r)

    np.testing.assert_allclose(own, [u(k, s) for s, k in enumerate(replica)], rtol=1e-10)
    np.testing.assert_allclose(other, [u(k, partner[s]) for s, k in enumerate(replica)], rtol=1e-10)


def test_velocities_keep_what_the_reduced_energy_holds_of_them():
    """Steps of no length: nothing but exchanges changes velocities."""
    text = fluid("csvr(dt = 0, T = T, tau = 1e9) for 40").replace("20*(1", "0*(1")
    result = mdsl.compile(text).bind(seed=1).run(jax.random.key(0))
    T = 1.0 + 0.1 * result.records["state"]
    kept = result.records["K"] / T
    assert len(set(result.records["state"][0])) > 1
    np.testing.assert_allclose(kept, np.repeat(kept[:, :1], kept.shape[1], axis=1), rtol=1e-6)


def test_what_schemes_remember_stays_with_the_state(monkeypatch):
    """A state of the scheme that counts steps by the number of the state: it belongs to that, not to the atoms."""
    text = """use units.lj
replicas r in 1..5
param T = 1 + 0.1*r
energy U = sum(i) (x[i] - origin)·(x[i] - origin)
box free
integrator counted(dt) { state n = 100*r  x += 0*dt*v  n += 1  observe count = n }
observe u = U/T
run { x ~ uniform(atoms = 3, density = 1) counted(dt = 1) for 30 record count every 3 exchange u every 3 }"""
    result = mdsl.compile(text).bind().run(jax.random.key(1))
    assert result.exchanges.accepted.sum() > 5
    np.testing.assert_array_equal(result.records["count"], 100 * (result.records["state"] + 1) + result.records["step"])


# -- what is told ----------------------------------------------------------------------------------------


def test_the_book_is_kept():
    so_far = Exchanges.none(3)
    assert so_far.partner.tolist() == [1, 0, 2]
    so_far = so_far.after(np.array([True, True, False]))
    assert so_far.states.tolist() == [1, 0, 2] and so_far.partner.tolist() == [0, 2, 1]
    so_far = so_far.after(np.array([False, True, True]))  # replica 0 goes on to the last
    assert so_far.states.tolist() == [2, 0, 1]
    back = so_far.after(np.array([False, False, False])).after(np.array([False, True, True]))
    back = back.after(np.array([True, True, False]))
    assert back.states.tolist() == [0, 1, 2] and back.trips.tolist() == [1, 0, 0]
    assert back.tried.tolist() == [3, 2] and back.accepted.tolist() == [2, 2] and back.attempts == 5
    assert back.visits.sum(axis=1).tolist() == [5, 5, 5]
    again = Exchanges.read(json.loads(json.dumps(back.told())))
    assert again.told() == back.told() and again.attempts == 5
    assert Exchanges.none(2).after(np.array([False, False])).partner.tolist() == [1, 0]  # of two, always
    assert np.isnan(Exchanges.none(3).ratio).all() and len(Exchanges.none(1).partner) == 1


def test_random_numbers_are_a_function_of_key_and_step():
    a, b = uniform(np.array([1, 2], np.uint32), 7, 5), uniform(np.array([1, 2], np.uint32), 7, 5)
    assert np.array_equal(a, b) and len(set(a)) == 5
    for key, step in (([1, 2], 8), ([1, 3], 7), ([2, 2], 7)):
        assert not np.intersect1d(a, uniform(np.array(key, np.uint32), step, 5)).size


@pytest.mark.parametrize("move", [MOVES["temperature"], pytest.param(MOVES["pressure"], marks=pytest.mark.slow)])
def test_a_killed_run_goes_on_bit_for_bit(move, tmp_path, capsys):
    path = tmp_path / "fluid.mdsl"
    path.write_text(fluid(move, cells=2))
    given = RunOptions(seed=3, precision="double", quiet=True)
    assert cli.main(["run", str(path), "--seed", "3", "--threads", "1", "--out", str(tmp_path / "whole")]) == 0
    said = capsys.readouterr().out
    lists = PAIRS_BY["all pairs"]
    folder = tmp_path / "parts"
    killed(path, replace(given, out=folder, threads=1), 14, lists)
    assert run_program.run_file(path, RunOptions(resume=folder, quiet=True), lists) == 0
    whole = contents(tmp_path / "whole")
    assert contents(folder) == whole and "exchanges.csv" in whole
    told = [json.loads((tmp_path / name / "run.json").read_text())["exchanges"] for name in ("whole", "parts")]
    assert told[0] == told[1] and told[0]["attempts"] == 7
    # The table, the records and the frames tell the same story.
    rows = np.genfromtxt(tmp_path / "whole" / "exchanges.csv", delimiter=",", names=True)
    states = np.array([[row[f"state{k}"] for k in range(4)] for row in rows], int)
    assert (states[-1] == told[0]["states"]).all() and sum(told[0]["accepted"]) > 0
    assert "accepted" in said and f"{told[0]['accepted'][0]:,}" in said
    records = np.genfromtxt(tmp_path / "whole" / "records.csv", delimiter=",", names=True)
    for row in records[records["step"] == 20]:
        assert row["r"] == 1 + states[int(20 // 4) - 2, int(row["replica"])]  # the exchange at step 20 comes after
    for k in range(4):
        of_replica = ase.io.read(tmp_path / "whole" / f"replica-{k:03d}" / "a.extxyz", index=-1)
        of_state = ase.io.read(tmp_path / "whole" / f"state-{states[-1, k]:03d}" / "a.extxyz", index=-1)
        np.testing.assert_array_equal(of_replica.positions, of_state.positions)


@pytest.mark.slow
def test_python_gives_what_the_command_line_writes_in_shape():
    result = mdsl.compile(fluid(MOVES["temperature"], cells=2)).bind(seed=1).run(jax.random.key(0))
    assert result.exchanges.path.shape == (8, 4) and result.exchanges.step.tolist() == list(range(4, 29, 4))
    assert (result.exchanges.path[-1] == result.exchanges.states).all()
    by_state = result.by_state()
    assert (by_state.records["state"] == np.arange(4)[:, None]).all()
    moved = np.flatnonzero(result.exchanges.states != np.arange(4))
    assert len(moved)
    for k, state in enumerate(result.exchanges.states):
        np.testing.assert_array_equal(by_state.x[state], result.x[k])


# -- replicas without exchange, and what cannot be ---------------------------------------------------------

SPRING = """use units.lj
use integrators (baoab, velocity_verlet)
replicas r in 1..3
param k = 1.0
param T = 0.1*r
box free
energy U = sum(i) k*r*(x[i] - origin)·(x[i] - origin)
run { x ~ uniform(atoms = 4, density = 1) v ~ maxwell(T) OUT }
"""


def test_replicas_begin_each_by_its_own_parameters_and_have_derivatives():
    program = mdsl.compile(SPRING.replace("OUT", "velocity_verlet(dt = 0.05) for 10 record U every 5"))
    system = program.bind(seed=2)
    result = system.run(jax.random.key(0))
    assert result.x.shape == (3, 4, 3) and "r" in program.params and result.exchanges is None
    T = [(s.v**2).sum() / 12 for s in system.starts]
    np.testing.assert_allclose(T, [0.1, 0.2, 0.3], rtol=1e-12)
    assert not np.array_equal(system.starts[0].x, system.starts[1].x)

    def total(k):
        return system.run(jax.random.key(0), params={"k": k}).records["U"][:, -1].sum()

    slope, h = jax.grad(total)(1.0), 1e-5
    np.testing.assert_allclose(slope, (total(1 + h) - total(1 - h)) / (2 * h), rtol=1e-6)


def test_exchanges_have_no_derivative():
    text = SPRING.replace("OUT", "baoab(dt = 0.05, T = T, gamma = 1) for 10 exchange reduced_energy every 5")
    system = mdsl.compile(text).bind(seed=2)
    with pytest.raises(Rejected) as found:
        jax.grad(lambda k: system.run(jax.random.key(0), params={"k": k}).x.sum())(1.0)
    assert [d.id for d in found.value.diagnostics] == ["no-derivative"]
    assert "exchange" in found.value.diagnostics[0].message and found.value.diagnostics[0].span.line == 8
    with pytest.raises(Rejected, match="numbers the replicas"):
        system.run(jax.random.key(0), params={"r": 2.0})
    with pytest.raises(Rejected, match="3 replicas"):
        system.run(jax.random.split(jax.random.key(0), 4))


@pytest.mark.slow
def test_a_replica_that_is_lost_ends_a_run_in_which_they_exchange():
    text = SPRING.replace("OUT", "baoab(dt = 0.6*r, T = T, gamma = 0) for 400")
    with pytest.raises(Rejected, match="time step"):
        mdsl.compile(text.replace("for 400", "for 400 exchange reduced_energy every 5"))
    stiff = text.replace("0.6*r", "0.6").replace("k*r*", "k*r^2*").replace("box free", "box periodic(40)")
    stiff = stiff.replace(", density = 1", "")
    with pytest.raises(Rejected) as found:
        mdsl.compile(stiff.replace("for 400", "for 400 exchange reduced_energy every 500")).bind().run(
            jax.random.key(0)
        )
    assert found.value.diagnostics[0].id == "blow-up" and "of replica" in found.value.diagnostics[0].message


def test_options_that_make_replicas_are_refused_beside_them(tmp_path, capsys):
    path = tmp_path / "spring.mdsl"
    path.write_text(SPRING.replace("OUT", "velocity_verlet(dt = 0.05) for 2"))
    for options in (["--replicas", "2"], ["--sweep", "k=1,2"]):
        assert cli.main(["run", str(path), *options, "--out", str(tmp_path / "out")]) == 2
        assert "error[bad-option]: the program declares its replicas itself" in capsys.readouterr().err
    assert cli.main(["run", str(path), "--set", "r=2", "--out", str(tmp_path / "out")]) == 2
    assert "error[unknown-parameter]: `r` numbers the replicas" in capsys.readouterr().err
