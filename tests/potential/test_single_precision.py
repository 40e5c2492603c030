"""Sums of many numbers in single precision: nothing is lost but the last digit."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compiled import HEAD, program

import mdsl
from mdsl.lowering.kernels.accumulate import BLOCK, Total, scattered

KEY = jax.random.key(0)


def test_scattered_to_few_places():
    """Equal numbers in three places, of which JAX itself would lose a hundredth, and their derivative."""
    rng = np.random.default_rng(1)
    place, values = rng.integers(0, 3, 500_000), np.full(500_000, np.float32(-6.7734))
    found = jax.jit(lambda v: scattered((3,), (place,), v))(values)
    expected = np.bincount(place) * float(values[0])
    np.testing.assert_allclose(found, expected, rtol=2e-5)
    assert abs(float(jnp.zeros(3, jnp.float32).at[place].add(values)[0] / expected[0]) - 1) > 1e-3
    by = jax.grad(lambda v: scattered((3,), (place,), v)[1])(jnp.asarray(values))
    np.testing.assert_array_equal(by, place == 1)
    small = rng.normal(size=BLOCK).astype(np.float32)
    np.testing.assert_array_equal(
        scattered((2, 2), (place[:BLOCK] % 2, 1), jnp.asarray(small)),
        jnp.zeros((2, 2), jnp.float32).at[place[:BLOCK] % 2, 1].add(small),
    )


def test_a_sum_in_many_turns():
    one = jax.jit(
        lambda: (
            jax.lax.fori_loop(
                0, 1_000, lambda k, t: t.plus(jnp.float32(1e5) + k.astype(jnp.float32)), Total.of(jnp.float32(0.0))
            ).value
        )
    )()
    assert float(one) == pytest.approx(1e8 + 999 * 500, rel=1e-7)


@pytest.mark.parametrize("precision", ["single", pytest.param("mixed", marks=pytest.mark.slow)])
def test_a_bin_holds_more_pairs_than_single_precision_counts_to(precision):
    """All pairs of 6,000 atoms are 17,997,000, of which 2^24 = 16,777,216 would be left."""
    n = 6_000
    text = (
        "energy U = sum(i < j) (if |x[i] - x[j]| < 1 then (1 - |x[i] - x[j]|)^2 else 0)\nobserve h[k in 0..1] = "
        "sum(i < j) if floor(|x[i] - x[j]|/40) == k then 1 else 0\n"
    )
    system = program(
        text + "run { x ~ uniform(atoms = 6_000, density = 0.1)  velocity_verlet(dt = 0.001) for 0 record h }"
    ).bind(precision=precision)
    assert float(system.box[0]) * np.sqrt(3) / 2 < 40
    (found,) = system.run(KEY).records["h"]
    assert found[0] == pytest.approx(n * (n - 1) / 2, rel=1e-7) and found[1] == 0


@pytest.mark.slow
def test_totals_of_many_atoms():
    """Energy, virial and kinetic energy of 108,000 atoms in single precision are those in double to the last digits."""
    text = (
        HEAD
        + """energy U = sum(i < j) force_shifted(lennard_jones(1.0, 1.0), 2.5)(|x[i] - x[j]|)
observe K = kinetic
run { x = fcc(density = 0.8442, cells = 30)  v ~ maxwell(1.44)  velocity_verlet(dt = 0.004) for 0 record U, K, pressure }"""
    )
    single, double = (mdsl.compile(text).bind(precision=p).run(KEY).records for p in ("single", "double"))
    for name in ("U", "K", "pressure"):
        assert single[name][0] == pytest.approx(double[name][0], rel=2e-6)
