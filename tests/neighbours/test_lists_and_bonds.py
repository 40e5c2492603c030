"""Bonds by rows, and skins that follow how long lists hold: neither changes what a run computes."""

from dataclasses import replace

import jax
import numpy as np
from compiled import PAIRS_BY, TRAVERSALS, program, run, running

from mdsl.lowering.planning.traversal import best_skin
from mdsl.lowering.run.driver import Runner
from mdsl.lowering.run.members import single
from mdsl.lowering.traversals.bonds import by_rows
from mdsl.lowering.traversals.topologies import Topologies

HEAD = "use units.lj\nuse pair (lennard_jones, shifted)\nuse bonded (fene)\nuse integrators (velocity_verlet, baoab)\n"
BRANCHED = """
topology bonds(i, j)
data q[atoms]
energy core  = sum(i < j, (i, j) not in bonds) shifted(lennard_jones(1.0, 1.0), 1.12)(|x[i] - x[j]|)
energy links = sum((i, j) in bonds) (q[i]*fene(30.0, 1.5)(r) + 40*(r - 0.9)^2*q[j]^2)  where r = |x[i] - x[j]|
"""


def lattice(n=64, a=1.0, seed=0):
    rng = np.random.default_rng(seed)
    side = round(n ** (1 / 3))
    grid = np.stack(np.meshgrid(*[np.arange(side)] * 3, indexing="ij"), -1).reshape(-1, 3)
    v = rng.normal(size=(n, 3))
    return a * (grid + 0.5) + 0.03 * rng.normal(size=(n, 3)), v - v.mean(0), side * a


def test_bonds_by_rows():
    """Rows with several partners and with none, either end of a bond, a formula that tells the ends apart."""
    x, v, box = lattice()
    chains = np.array([(i, i + 1) if i % 7 else (i + 1, i) for i in range(60) if i % 16 < 15])
    bonds = np.concatenate([chains, [(1, 5), (62, 63)]])
    text = program(
        BRANCHED + 'run {\n  x = read("bound in Python")\n  baoab(dt = 0.002, T = 1.0, gamma = 1.0) for 12\n}', HEAD
    )
    assert by_rows(Topologies({"bonds": bonds}, len(x)), ["bonds"]) == ("bonds",)
    found = []
    for traversal in TRAVERSALS:
        with jax.enable_x64(True):
            found.append(
                run(
                    text,
                    x,
                    traversal=traversal,
                    box=box,
                    velocities=v,
                    topologies={"bonds": bonds},
                    data={"q": np.linspace(0.5, 1.5, len(x))},
                    precision="double",
                )
            )
    assert np.abs(found[0].x - x).max() > 0.01
    assert np.allclose(found[0].x, found[1].x, atol=1e-10) and np.allclose(found[0].v, found[1].v, atol=1e-9)


def test_bonds_are_scattered_where_rows_differ_much():
    star = np.array([(0, k) for k in range(1, 30)])
    pairs, triples = np.array([(0, 1), (2, 3)]), np.array([(0, 1, 2)])
    assert (
        by_rows(Topologies({"star": star, "pairs": pairs, "triples": triples}, 30), ["star", "pairs", "triples"]) == ()
    )


def test_the_skin_that_costs_least():
    slow, fast = (best_skin(1.12, 0.26, 0.8, 8.0, period, 3) for period in (300, 2))
    assert slow < 0.26 < fast <= 0.8
    assert best_skin(2.5, 0.3, 2.0, 75.0, 7, 3) < best_skin(
        1.12, 0.3, 2.0, 8.0, 7, 3
    )  # pairs are dearer the more there are


def test_a_skin_that_is_adapted_changes_no_result():
    x, v, box = lattice(216, 1.06)
    text = running(
        "energy core = sum(i < j) shifted(lennard_jones(1.0, 1.0), 1.12)(|x[i] - x[j]|)",
        "velocity_verlet(dt = 0.01)",
        60,
        head=HEAD,
    )
    ends, builds = [], []
    with jax.enable_x64(True):
        system = text.bind(x, box=box, velocities=v, precision="double")
        members = single(
            system.program.compiled.field, system.initial, system.program.internal(None), jax.random.key(3), "double"
        )
        first = Runner(members, policy=PAIRS_BY["list"]).arrangement.traversal.skin
        for skin in (None, first):
            runner = Runner(members, policy=replace(PAIRS_BY["list"], skin=skin))
            ends.append(runner.run(Silent()).x)
            builds.append(runner.counts.list_builds)
    difference = ends[0] - ends[1]
    assert 0 < np.abs(difference - box * np.round(difference / box)).max() < 1e-7
    assert builds[0] < builds[1] / 1.3


class Silent:
    """Listens to a run and keeps nothing."""

    def __getattr__(self, name):
        return lambda *what: None
