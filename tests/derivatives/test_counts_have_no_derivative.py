"""What counts changes in jumps: asked for its derivative, a run says so. What is recorded beside it has one."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compiled import program

import mdsl

TEXT = """species A, B
param k = 5.0
data q[atoms]
energy U = k*sum(i < j) (if r < 1.3 then (1 - r/1.3)^2 else 0)  where r = |x[i] - x[j]|
observe h[n in 1..4] = (sum(i < j) if floor(|x[i] - x[j]|/0.4) == n then 1 else 0)/volume
observe w[n in 0..1] = sum(i) if floor(|x[i] - origin|) == n then q[i] else 0
observe near = 2/(sum(i) if species[i] == A then 1 else 0)*sum(i < j) if |x[i] - x[j]| < 1.2 then 1 else 0
observe g[n in 1..4] = sum(i < j) radial_bin(n, 0.4)(|x[i] - x[j]|)
observe pull = sum(i < j) if |x[i] - x[j]| < 1.2 then |x[i] - x[j]| else 0
run {
  x ~ uniform(atoms = 8, density = 0.25, species = { A: 0.5, B: 0.5 })
  v ~ maxwell(1.0)
  velocity_verlet(dt = 0.01) for 2 record U, h, w, near, g, pull
}
"""
KEY = jax.random.key(0)


@pytest.fixture(scope="module")
def system():
    return program("use descriptors (radial_bin)\n" + TEXT).bind(data={"q": np.ones(8)})


def records(system, k=5.0, q=None, **more):
    return system.run(KEY, params={"k": k}, data={} if q is None else {"q": q}, **more).records


@pytest.mark.parametrize(
    "name, line, transform, at",
    [
        ("h", "if floor(|x[i] - x[j]|/0.4) == n", jax.grad, 5.0),
        ("near", "< 1.2 then 1", lambda f: jax.vmap(jax.jacrev(jax.jit(f))), jnp.ones(2)),
    ],
)
def test_it_is_told(system, name, line, transform, at):
    with pytest.raises(mdsl.Rejected, match=f"`{name}` has no derivative") as caught:
        transform(lambda k: records(system, k)[name].sum())(at)
    (found,) = caught.value.diagnostics
    assert found.id == "no-derivative" and line in found.span.text and "radial_bin" in found.help


def test_forward_mode_gives_no_number(system):
    slopes = jax.jit(jax.jacfwd(lambda k: records(system, k)))(5.0)
    assert np.isnan(slopes["h"]).all() and np.isnan(slopes["near"]).all()
    for name in ("U", "g", "pull"):
        assert np.isfinite(slopes[name]).all() and np.abs(slopes[name][-1]).max() > 1e-6


def test_what_is_recorded_beside_it(system):
    """By reverse mode through one of many records, in transformations that hand on all of them, in batches."""
    run = jax.jit(lambda k: records(system, k))
    slope = float(jax.grad(lambda k: run(k)["U"][-1])(5.0))
    assert slope == pytest.approx(float((run(5.0 + 1e-4)["U"][-1] - run(5.0 - 1e-4)["U"][-1]) / 2e-4), rel=1e-5)
    by_g = jax.grad(lambda k: run(k)["g"][-1, 1])(5.0)
    assert float(by_g) == pytest.approx(
        float((run(5.0 + 1e-4)["g"][-1, 1] - run(5.0 - 1e-4)["g"][-1, 1]) / 2e-4), rel=1e-4
    )
    np.testing.assert_allclose(jax.grad(lambda k: jax.checkpoint(run)(k)["U"][-1])(5.0), slope, rtol=1e-9)


def test_values_are_those_of_a_run(system):
    plain, traced = records(system), jax.jit(lambda k: records(system, k))(5.0)
    for name in ("h", "w", "near"):
        np.testing.assert_allclose(traced[name], plain[name], rtol=1e-12)


def test_by_what_is_counted(system):
    """The bins do not depend on q, which no energy reads: what they hold has a derivative by it."""
    row = jax.grad(lambda q: records(system, q=q)["w"][-1, 1])(jnp.ones(8))
    x = system.run(KEY).x
    inside = np.floor(np.linalg.norm(x - system.box * np.round(x / system.box), axis=1)) == 1
    assert 0 < inside.sum() < 8
    np.testing.assert_array_equal(np.asarray(row) != 0, inside)
