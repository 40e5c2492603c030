"""Replicas with lists of their own: each does what it does alone, whichever thread it is done by."""

import subprocess
import sys
from dataclasses import replace

import jax
import numpy as np
import pytest
from compiled import APART

import mdsl

PROGRAM = """use units.lj
use integrators (baoab)
use minimizers
param eps = 5.0
def soft(r) = if r < 1.3 then eps*(1 - r/1.3)^2 else 0
energy U = sum(i < j) soft(|x[i] - x[j]|)
run { x = fcc(density = 1, cells = 3)  v ~ maxwell(1)
  baoab(dt = 0.01, T = 1, gamma = 1) for 40 record U every 10 }
"""


def same(a, b) -> None:
    np.testing.assert_array_equal(a.x, b.x)
    np.testing.assert_array_equal(a.v, b.v)
    for name, values in a.records.items():
        np.testing.assert_array_equal(values, b.records[name])


@pytest.mark.slow
def test_each_is_what_it_is_alone_to_the_last_bit():
    """Lists are renewed when its own no longer holds, with the skin that suits it."""
    system = mdsl.compile(PROGRAM).bind(policy=replace(APART, longer=1.0))
    keys = jax.random.split(jax.random.key(3), 2)
    batch = system.run(keys)
    alone = [system.run(key) for key in keys]
    assert batch.counts.list_builds == max(one.counts.list_builds for one in alone) > 2
    for k, one in enumerate(alone):
        np.testing.assert_array_equal(batch.x[k], one.x)
        np.testing.assert_array_equal(batch.v[k], one.v)
        for name, values in one.records.items():
            np.testing.assert_array_equal(batch.records[name][k], values)


THREADS = """
import sys
sys.path[:0] = sys.argv[1].split(":")
import jax, numpy as np
jax.config.update("jax_num_cpu_devices", 3)
import threading
import mdsl
from compiled import APART
from mdsl.lowering.run.execution import Execution
from test_apart import PROGRAM, same
used, advance = set(), Execution.advance
Execution.advance = lambda *given: used.add(threading.current_thread().name) or advance(*given)
program, keys = mdsl.compile(PROGRAM), jax.random.split(jax.random.key(1), 5)
# Precision is that of the calling thread alone.
with jax.enable_x64(True):
    eps = np.array([1.0, 2.0, 20.0, 5.0, 5.0])
    one, found = (
        program.bind(devices=jax.devices()[:n], policy=APART).run(keys, params={"eps": eps}) for n in (1, 3)
    )
assert len(used) > 2 and one.x.dtype == np.float64
same(found, one)
"""


@pytest.mark.slow
def test_threads_change_nothing():
    done = subprocess.run([sys.executable, "-c", THREADS, ":".join(sys.path)], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("left", (pytest.param(2, marks=pytest.mark.slow), 0))
def test_one_that_blows_up_is_named_and_the_others_do_not_notice(left):
    system = mdsl.compile(PROGRAM).bind(policy=APART)
    keys, eps = jax.random.split(jax.random.key(0), 3), np.array([5.0, 1e7, 5.0])
    if not left:
        with pytest.raises(mdsl.Rejected) as caught:
            system.run(keys, params={"eps": 1e7})
        assert [d.id for d in caught.value.diagnostics] == ["blow-up"] * 3
        return
    with pytest.warns(UserWarning, match="1 of 3 replicas.*of replica 1"):
        batch = system.run(keys, params={"eps": eps})
    whole = system.run(keys, params={"eps": np.where(eps > 10, 6.0, eps)})
    assert list(batch.lost) == [1] and np.isnan(batch.x[1]).all() and batch.step.tolist() == [40, batch.step[1], 40]
    for k in (0, 2):
        np.testing.assert_array_equal(batch.x[k], whole.x[k])


def test_under_vmap_lists_are_not_built_at_every_step():
    """Whether any replica needs one is one condition for all, and no choice between two results."""
    system = mdsl.compile(PROGRAM).bind(policy=APART)
    keys = jax.random.split(jax.random.key(0), 2)
    text = str(jax.make_jaxpr(jax.vmap(lambda key: system.run(key).x))(keys))
    asked = [line.split() for line in text.splitlines() if " anywhere " in line]
    assert asked and all(line[0].endswith(":bool[]") for line in asked)  # and none of each replica


@pytest.mark.slow
def test_lists_under_vmap_change_nothing():
    system = mdsl.compile(PROGRAM).bind(np.random.default_rng(0).uniform(0, 4.7, (90, 3)), box=4.7, policy=APART)
    keys = jax.random.split(jax.random.key(0), 2)
    energy = lambda eps, key: system.run(key, params={"eps": eps}, steps=20).records["U"][-1]  # noqa: E731
    both = jax.jit(jax.value_and_grad(energy))
    found = jax.jit(jax.vmap(jax.value_and_grad(energy), in_axes=(None, 0)))(5.0, keys)
    for k in range(2):
        np.testing.assert_allclose([a[k] for a in found], both(5.0, keys[k]), rtol=1e-8)


@pytest.mark.slow
def test_lists_that_grow():
    """Attraction gathers the atoms of one; those of observables, too, have room for those of each."""
    text = """use units.lj
use integrators (velocity_verlet)
param a = 0.0
energy U = sum(i < j) if r < 1.5 then a*(1 - r/1.5)^2*(r - 0.5) else 0  where r = |x[i] - x[j]|
observe far = sum(i < j) if |x[i] - x[j]| < 1.8 then 1 else 0
run { x ~ uniform(atoms = 400, density = 0.2) velocity_verlet(dt = 0.02) for 60 record U, far every 20 }"""
    system = mdsl.compile(text).bind(policy=replace(APART, most_of_box=1.0))
    keys, a = jax.random.split(jax.random.key(0), 3), np.array([0.0, -40.0, -60.0])
    batch = system.run(keys, params={"a": a})
    assert batch.counts.regrown > 0
    for k in range(3):
        one = system.run(keys[k], params={"a": a[k]})
        np.testing.assert_allclose(batch.records["U"][k], one.records["U"], rtol=1e-7)
        np.testing.assert_allclose(batch.records["far"][k], one.records["far"])
