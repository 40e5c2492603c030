"""Random numbers of atoms: known answers of the generator, the distribution, and whose numbers they are."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from mdsl.lowering.dynamics.noise import _normal, normals, threefry


@pytest.mark.parametrize(
    ("key", "counter", "found"),
    [  # the file of known answers that comes with Random123: nothing but zeros, nothing but ones, digits of pi
        ((0, 0), (0, 0), (0x6B200159, 0x99BA4EFE)),
        ((0xFFFFFFFF, 0xFFFFFFFF), (0xFFFFFFFF, 0xFFFFFFFF), (0x1CB996FC, 0xBB002BE7)),
        ((0x13198A2E, 0x03707344), (0x243F6A88, 0x85A308D3), (0xC4923A9C, 0x483DF7A0)),
    ],
)
def test_known_answers(key, counter, found):
    words = jax.jit(threefry)(jnp.asarray(key, jnp.uint32), *(jnp.uint32(c) for c in counter))
    assert tuple(int(w) for w in words) == found


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_distribution(dtype):
    with jax.enable_x64(True):
        drawn = jax.jit(lambda key: jnp.stack(normals(key, jnp.arange(100_000), 3, dtype)))(jax.random.key(5))
    drawn = np.asarray(drawn, float)
    assert stats.kstest(drawn.ravel(), "norm").pvalue > 1e-3
    assert np.all(np.abs(np.corrcoef(drawn) - np.eye(3)) < 5 / 100_000**0.5)
    assert abs(np.corrcoef(drawn[0, 1:], drawn[0, :-1])[0, 1]) < 5 / 100_000**0.5


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_the_ends_are_finite(dtype):
    """Compiled: constants that are added up in another order once gave an infinite number every 2**23."""
    with jax.enable_x64(True):
        bits = jnp.asarray([0, 1, 0xFFFFFFFE, 0xFFFFFFFF], jnp.uint32)
        found = np.asarray(jax.jit(lambda b: _normal([b] * (jnp.dtype(dtype).itemsize // 4), dtype))(bits))
    assert np.all(np.isfinite(found)) and np.all(found != 0)
    assert abs(found).max() > 5


def test_numbers_belong_to_atoms():
    ids = jnp.asarray(np.random.default_rng(0).permutation(100), jnp.int32)
    every, some = (np.stack(normals(jax.random.key(1), i, 2, jnp.float32)) for i in (jnp.arange(200), ids))
    assert np.array_equal(some, every[:, np.asarray(ids)])
