"""Sums over the partners of an atom along a topology of pairs: `sum(j in bonds[i])`."""

import jax
import numpy as np
import pytest
from compiled import PAIRS_BY, TRAVERSALS, running
from random_atoms import atoms
from random_checks import TOLERANCE, expected, found, same
from random_programs import Grown

import mdsl
from mdsl.interpret import meaning as interpret

PARAMS = "param p = 0.7\nparam w[species, species] = { A-A: 0.9, A-B: 1.2, B-B: 0.6 }\n"
HEAD = (
    f"use units.lj\nspecies A, B\ntopology bonds(i, j), angles(i, j, k), dihedrals(i, j, k, l)\ndata q[atoms]\n{PARAMS}"
)
ENERGIES = {
    "a function of each": (
        "quantity n[i] = sum(j in bonds[i]) exp(-p*|x[i] - x[j]|)\nenergy U = sum(i) sqrt(0.4 + n[i])"
    ),
    "one end is not as the other": (
        "quantity n[i] = q[i] + (sum(j in bonds[i]) q[j]^2*w[i, j]*exp(p*(x[i] - x[j]).x))\nenergy U = sum(i) n[i]^2"
    ),
    "of each other": (
        "quantity n[i] = sum(j in bonds[i]) exp(-|x[i] - x[j]|^2)\n"
        "quantity c[i] = 1 + p*n[i]^2 + (sum(j in bonds[i]) n[i]*n[j]*|x[i] - x[j]|)\n"
        "energy U = sum(i < j) c[i]*c[j]*exp(-2*|x[i] - x[j]|)"
    ),
    "over a range": (
        "quantity g[i, k in 1..3] = sum(j in bonds[i]) exp(-0.2*k*p*|x[i] - x[j]|)\n"
        "energy U = sum(i) g[i, 1]*g[i, 3]^2 + (sum(i < j) g[i, 2]*g[j, 2]*exp(-|x[i] - x[j]|))"
    ),
    "beside tuples": (
        "quantity n[i] = sum(j in bonds[i]) q[j]*log(1 + p*|x[i] - x[j]|)\n"
        "energy U = sum((i, j, k) in angles) n[j]*cos(angle(x[i], x[j], x[k])) + (sum((i, j) in bonds) n[i]*n[j])"
    ),
    "of both ends of a pair": (
        "energy U = sum(i < j) (sum(k in bonds[i]) |x[i] - x[k]|)*(sum(k in bonds[j]) |x[j] - x[k]|)*p*exp(-|x[i] - x[j]|)"
    ),
    "within a sum": "energy U = sum(i) (sum(j in bonds[i]) p*q[j]*|x[i] - x[j]|^2)*(sum(j != i) exp(-|x[i] - x[j]|))",
}


def place(shape="skew"):
    return atoms(np.random.default_rng(5), 3, shape, 2, True, ["q"])


@pytest.mark.parametrize("traversal", TRAVERSALS)
@pytest.mark.parametrize("name", ENERGIES)
def test_energies(name, traversal):
    """Energy, forces, virial, derivatives by parameters and the product of the Hessian and a vector."""
    program, system = mdsl.compile(HEAD + ENERGIES[name]), place()
    grown, along = Grown(0, "", system, system.cell, system.params, ()), np.random.default_rng(6).normal(size=(8, 3))
    bound = program.bind(
        system.x,
        box=system.cell,
        species=system.species,
        masses=system.masses,
        data=system.params,
        topologies=system.topologies,
        policy=PAIRS_BY[traversal],
    )
    right = expected(program.model, grown, program, along)
    assert right.keys() >= {"Hessian", "virial", "d/dp", "d/dw"} and abs(right["d/dp"]) > 1e-3
    same(right, found(bound, program, along))
    # Forces alone are added up by rows; those that come with an energy are scattered.
    assert np.allclose(np.asarray(bound.forces(bound.x)), right["forces"], rtol=TOLERANCE, atol=TOLERANCE)
    by_data = jax.grad(lambda q: bound.energy(bound.x, data={"q": q}))(np.asarray(system.params["q"]))
    assert np.allclose(by_data, interpret.param_gradient(program.model, system, "q"), rtol=TOLERANCE, atol=TOLERANCE)


BONDS = np.array([[0, 1], [2, 1], [1, 3], [3, 4], [4, 0]])
COUNTED = """topology bonds(i, j)
quantity n[i] = sum(j in bonds[i]) 1
quantity s[i] = sum(j in bonds[i]) |x[i] - x[j]|^2
quantity d[i] = sum(j in bonds[i]) (x[j] - x[i])
energy U = sum(i) s[i]^2/n[i]
observe most = largest(i) n[i]
observe bent = sum(i) |d[i]|^2
observe curve[k in 0..3] = sum(i) if n[i] == k then s[i] else 0
"""


def by_hand(x):
    """U, its forces, and what is observed, of atoms far from all edges."""
    d = [[] for _ in x]
    for a, b in BONDS:
        d[a].append(x[b] - x[a])
        d[b].append(x[a] - x[b])
    n, s = np.array([len(e) for e in d]), np.array([sum(e @ e for e in ends) for ends in d])
    slope, forces = 2 * s / n, np.zeros_like(x)
    for a, b in BONDS:
        pull = 2 * (slope[a] + slope[b]) * (x[b] - x[a])
        forces[a] += pull
        forces[b] -= pull
    bent = sum(np.sum(np.sum(ends, axis=0) ** 2) for ends in d)
    return (s**2 / n).sum(), forces, n.max(), bent, [s[n == k].sum() for k in range(4)]


def test_numbers_by_hand():
    program = running(COUNTED, "velocity_verlet(dt = 0.001)", 1, "record U, most, bent, curve every 1")
    many = 5 + np.random.default_rng(2).uniform(-1, 1, (2, 5, 3))
    ensemble = program.bind(many[0], box=[10.0] * 3, topologies={"bonds": BONDS})
    for x in many:
        energy, forces, most, bent, curve = by_hand(x)
        assert ensemble.energy(x) == pytest.approx(energy, rel=1e-12)
        assert np.allclose(ensemble.forces(x), forces, rtol=1e-12)
        run = program.bind(x, box=[10.0] * 3, topologies={"bonds": BONDS}).run(jax.random.key(0))
        records = {name: np.asarray(run.records[name])[0] for name in ("U", "most", "bent", "curve")}
        assert records["U"] == pytest.approx(energy, rel=1e-12) and records["most"] == most
        assert records["bent"] == pytest.approx(bent, rel=1e-12) and records["curve"] == pytest.approx(curve, rel=1e-12)


def test_batches():
    program = running(COUNTED, "velocity_verlet(dt = 0.001)", 20, "record U, bent every 10")
    many = 5 + np.random.default_rng(2).uniform(-1, 1, (3, 5, 3))
    system = program.bind(many[0], box=[10.0] * 3, topologies={"bonds": BONDS})
    together = system.run(jax.random.split(jax.random.key(0), 3), x=many)
    for k, x in enumerate(many):
        alone = program.bind(x, box=[10.0] * 3, topologies={"bonds": BONDS}).run(jax.random.key(0))
        for name in ("U", "bent"):
            assert np.allclose(together.records[name][k], alone.records[name], rtol=1e-11), name


def test_a_bond_that_is_listed_twice_counts_twice():
    program, x = mdsl.compile("use units.lj\n" + COUNTED), 5 + np.random.default_rng(2).uniform(-1, 1, (5, 3))
    once, twice, turned = (
        float(program.bind(x, box=[10.0] * 3, topologies={"bonds": bonds}).energy(x))
        for bonds in (BONDS, np.concatenate([BONDS, BONDS]), BONDS[:, ::-1])
    )
    assert twice == pytest.approx(2 * once, rel=1e-12) and turned == pytest.approx(once, rel=1e-12)


def test_without_bonds_it_is_nothing():
    program = mdsl.compile(
        "use units.lj\ntopology bonds(i, j)\nquantity n[i] = sum(j in bonds[i]) 1\nenergy U = sum(i) n[i]^2"
    )
    x = 5 + np.random.default_rng(2).uniform(-1, 1, (4, 3))
    system = program.bind(x, box=[10.0] * 3, topologies={"bonds": np.zeros((0, 2), int)})
    assert system.energy(x) == 0 and not np.asarray(system.forces(x)).any()
