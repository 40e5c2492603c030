"""Derivatives that do not exist are a diagnostic, in every transformation: not 0, and no error of JAX's own."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compiled import program

import mdsl

TEXT = """species A, B
param sigma = 1.0
param wide  = 1.5*sigma
param rho   = 0.8
param hot   = 1.2
param count = 2
const rc    = 1.4
topology bonds(i, j)
energy U = sum(i < j) soft_sphere(sigma, 1.0, 2.5)(|x[i] - x[j]|)
energy V = sum((i, j) in bonds) (|x[i] - x[j]| - wide)^2*rc
run {
  x = sc(density = rho, cells = 3, species = { A: 0.5, B: 0.5 })
  v ~ maxwell(hot)
  velocity_verlet(dt = 0.01) for 2*count record U, V every count
}
"""
KEY = jax.random.key(0)


@pytest.fixture(scope="module")
def compiled():
    return program(TEXT)


@pytest.fixture(scope="module")
def system(compiled):
    return compiled.bind(topologies={"bonds": [[0, 1]]})


def refused(ask, *names):
    """That `jax.grad`, `jax.vmap` and `jax.jit` of a function of a number say so, with the names in the message."""
    for transform in (jax.grad, lambda f: jax.vmap(f), jax.jit):
        with pytest.raises(mdsl.Rejected) as caught:
            transform(ask)(jnp.ones(2) if transform not in (jax.grad, jax.jit) else 1.0)
        (found,) = caught.value.diagnostics
        assert found.id == "no-derivative" and found.help
        for name in names:
            assert name in found.message or name in found.help, (name, found)


def test_of_params(system):
    refused(lambda a: system.energy(params={"rc": a}), "`rc` is a const", "`param rc")
    refused(lambda a: system.energy(params={"wide": a}), "`wide` is made of other", "`sigma`")
    refused(lambda a: system.energy(params={"rho": a}), "`rho` decides where the atoms start")
    refused(lambda a: system.run(KEY, params={"rho": a}).records["U"][-1], "`rho`", "x=...")
    refused(lambda a: system.run(KEY, params={"hot": a}).records["U"][-1], "`hot` decides the velocities", "v=...")
    refused(lambda a: system.run(KEY, params={"count": a}).records["U"][-1], "`count` decides how many steps")
    refused(lambda a: system.run(KEY, steps=a).records["U"][-1], "`steps`")


def test_of_what_is_bound(compiled):
    x = np.arange(6.0).reshape(2, 3)
    bonds = {"bonds": [[0, 1]]}
    refused(
        lambda a: compiled.bind(a * jnp.asarray(x), box=9.0, species=["A", "B"], topologies=bonds).energy(),
        "`x` of `bind`",
        "energy(x)",
    )
    refused(lambda a: compiled.bind(x, box=9.0 * a, species=["A", "B"], topologies=bonds).energy(), "`box` of `bind`")
    refused(
        lambda a: compiled.bind(x, box=9.0, species=["A", "B"], masses=a * jnp.ones(2), topologies=bonds).energy(),
        "`param m[species]",
    )
    refused(lambda a: compiled.bind(x, box=9.0, species=[0, a], topologies=bonds).energy(), "label")
    refused(
        lambda a: compiled.bind(
            x, box=9.0, species=["A", "B"], topologies={"bonds": a * jnp.asarray([[0.0, 1.0]])}
        ).energy(),
        "bonded",
    )
    refused(lambda a: compiled.bind(seed=a, topologies=bonds).energy(), "seed")


def test_what_exists_beside_it(system):
    """With the start given, or the values as numbers, the same functions have derivatives."""
    params = dict(system.program.params)
    numbers = {n: float(params[n]) for n in ("rho", "hot", "count")}
    start = {"x": np.asarray(system.x) + 0.1, "v": system.v, "box": system.box}

    def outcome(params, **start):
        return system.run(KEY, params=params, steps=1, **start).records["V"][-1]

    both = jax.jit(
        lambda s, p: (
            jax.jvp(lambda s: outcome({**numbers, "sigma": s}), (s,), (1.0,))[1],
            jax.jvp(lambda rho: outcome({**p, "rho": rho, "count": 1.0}, **start), (p["rho"],), (1.0,))[1],
        )
    )
    slope, none = both(1.0, params)
    assert np.isfinite(slope) and abs(slope) > 1e-6 and none == 0


def test_numbers_for_what_is_no_parameter(system):
    for name, said in (("rc", "`param rc"), ("wide", "`sigma`"), ("sigm", "`sigma`")):
        with pytest.raises(mdsl.Rejected) as caught:
            system.energy(params={name: 1.0})
        (found,) = caught.value.diagnostics
        assert found.id == "unknown-parameter" and said in found.help
