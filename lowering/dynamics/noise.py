"""Random numbers that belong to atoms: a function of a key and of the atom as the user numbered it.

Threefry-2x32 in 20 rounds (Salmon, Moraes, Dror and Shaw 2011, "Parallel random numbers: as easy as 1, 2, 3") with the
atom as its counter. Each device draws for its own rows alone, whatever their order.
"""

from __future__ import annotations

import zlib

import jax
import jax.numpy as jnp
from jax import lax

from mdsl.model.nodes import Draw

ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
PARITY = 0x1BD11BDA


def normals(key, ids, count: int, dtype) -> tuple:
    """``count`` arrays of standard normal numbers, one for each of ``ids`` [n]. In single precision a number is made
    of 24 random bits, and is never beyond 5.4; in double precision of 53."""
    each = 2 if dtype == jnp.float64 else 1
    words: list = []
    while len(words) < count * each:
        words += threefry(jax.random.bits(key, (2,), jnp.uint32), ids.astype(jnp.uint32), jnp.uint32(len(words) // 2))
    return tuple(_normal(words[k * each : (k + 1) * each], dtype) for k in range(count))


def threefry(key, first, second) -> tuple:
    """Two words of 32 random bits for each pair of counters; ``key``: two words."""
    keys = (key[0], key[1], key[0] ^ key[1] ^ jnp.uint32(PARITY))
    a, b = first + keys[0], second + keys[1]
    for group in range(5):
        for turn in ROTATIONS[group % 2]:
            a = a + b
            b = (b << turn | b >> (32 - turn)) ^ a
        a = a + keys[(group + 1) % 3]
        b = b + keys[(group + 2) % 3] + jnp.uint32(group + 1)
    return a, b


def _normal(words, dtype):
    """From random bits, by the inverse of the distribution function."""
    if len(words) == 2:
        bits = words[1].astype(jnp.uint64) << 32 | words[0].astype(jnp.uint64)
        mantissa, exponent, whole = bits >> 12, jnp.uint64(1023 << 52), jnp.float64
    else:
        mantissa, exponent, whole = words[0] >> 9, jnp.uint32(127 << 23), jnp.float32
    # In [1, 2), and from there to the middles of 2**23 or 2**52 steps between 0 and 1, which it never meets; exact in
    # whatever order the constants are added.
    uniform = lax.bitcast_convert_type(mantissa | exponent, whole)
    size = lax.erf_inv(uniform - 1 + jnp.finfo(whole).eps / 2) * 2**0.5
    return jnp.where(words[0] & 1, size, -size).astype(dtype)


# -- the draws of a step ---------------------------------------------------------------------------------
# Each draw of a step has a name of its own, which makes its stream of the key of the step.


def drawn_for_each(key, name: str, ids, count: int, dtype) -> tuple:
    """Standard normal numbers for each atom and axis: ``count`` arrays [n], the same whatever the order of the
    atoms."""
    return normals(jax.random.fold_in(key, zlib.crc32(name.encode())), ids, count, dtype)


def drawn_for_all(key, draw: Draw, args: tuple, dtype):
    """One random number, the same on every device."""
    key = jax.random.fold_in(key, zlib.crc32(draw.target.encode()))
    match draw.distribution:
        case "normal_number":
            return jax.random.normal(key, (), dtype)
        case "uniform_number":
            return jax.random.uniform(key, (), dtype)
    # The squares of n normal numbers, added up; of none, nothing. n need not be whole.
    n = jnp.asarray(args[0], dtype)
    return jnp.where(n > 0, 2 * jax.random.gamma(key, jnp.where(n > 0, n, 1.0) / 2, dtype=dtype), 0.0)
