"""Sums over pairs by kernels of our own, as operations of JAX: schedules as those of `traversals.schedules`.

A kernel is compiled when its sum is traced, and once in a process: its name is made of its text, so that programs
which JAX keeps on the disk find the kernel that they were compiled with. Under `vmap` XLA hands over arrays with
leading axes.
"""

from __future__ import annotations

import ctypes
import re
import threading
from collections.abc import Callable, Sequence
from functools import lru_cache
from hashlib import sha256
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from .body import Unprintable, kind_of, separated
from .compile import Unavailable, address, asked, lanes, processor
from .ir import BITS
from .kernel import Everyone, Slots, printed

TESTED = ((0, 3), (0, 5))  # versions of the API of XLA's foreign functions
_compiled: set[str] = set()


def chosen() -> bool:
    """Whether sums are to be computed by these kernels, and can be."""
    return asked() and not unavailable()


def described() -> str:
    """Which kernels programs are compiled with here, in words."""
    if not asked():
        return "xla"
    return f"xla, since {unavailable()}" if unavailable() else "native"


@lru_cache(maxsize=1)
def unavailable() -> str:
    """Why there are no native kernels on this machine, or nothing where there are: what reads the frames of XLA, and
    LLVM itself, is believed after a small sum has the value that NumPy gives."""
    try:
        processor()
        if api() not in TESTED:
            return f"version {'.'.join(map(str, api()))} of XLA's foreign functions was not tested"
        return _in_a_thread(_differs)
    except (Unavailable, RuntimeError, OSError, AttributeError) as error:
        return str(error).splitlines()[0] if str(error) else type(error).__name__


@lru_cache(maxsize=1)
def api() -> tuple[int, int]:
    """The version of the API of foreign functions, by the header that comes with JAX."""
    text = (Path(jax.ffi.include_dir()) / "xla" / "ffi" / "api" / "c_api.h").read_text()
    return tuple(int(re.search(rf"#define XLA_FFI_API_{part} (\d+)", text)[1]) for part in ("MAJOR", "MINOR"))


def _in_a_thread(function: Callable[[], str]) -> str:
    """Called outside of whatever is traced here."""
    found: list = []

    def call():
        try:
            found.append(function())
        except Exception as error:  # whatever it is, there are no native kernels then
            found.append(f"{type(error).__name__}: {str(error).splitlines()[:1]}")

    thread = threading.Thread(target=call)
    thread.start()
    thread.join()
    return found[0]


def _differs() -> str:
    """What is wrong with a sum over three atoms and two replicas."""
    x = np.asarray([[0.0, 0.5, 1.25], [0.1, -0.5, 1.0]], np.float32)
    slots, width = np.asarray([[1, 0, 2], [2, 1, 1]], np.int32), np.float32(1.5)

    def body(own, other, valid):
        return jnp.where(valid, width * jnp.exp(-jnp.square(own - other)), 0)

    def sums(x):
        return slot_sum(body, jnp.asarray(slots), x, x, jnp.zeros(3, jnp.float32))

    with jax.default_device(jax.devices("cpu")[0]):
        found = np.asarray(jax.jit(jax.vmap(sums))(x))
    terms = 1.5 * np.exp(-((x[:, None] - x[:, slots]) ** 2)).astype(np.float64)
    expected = np.where(slots != np.arange(3), terms, 0).sum(axis=1)
    return "" if np.allclose(found, expected, rtol=1e-5, atol=0) else "a small sum has a wrong value"


# -- schedules -------------------------------------------------------------------------------------------


def slot_sum(body, slots, own, others, zeros, *, rows=None, used=None, lengths=None):
    """As `schedules.listed_sum`; where there are ``lengths``, ``used`` is not looked at. Raises Unprintable, with the
    operation for which there is no text."""
    used = slots.shape[0] if used is None else used
    last = jnp.asarray(used if lengths is None else lengths, jnp.int32)
    return _summed(Slots(by_rows=last.ndim > 0), (slots, last), body, own, others, zeros, rows)


def all_pairs_sum(body, own, others, zeros, *, rows=None, excluded=None):
    """As `schedules.all_pairs_sum`. Raises Unprintable."""
    every = lax.iota(jnp.int32, jax.tree.leaves(others)[0].shape[0])
    lists = (every,) if excluded is None else (every, excluded)
    return _summed(Everyone(0 if excluded is None else excluded.shape[0]), lists, body, own, others, zeros, rows)


def _summed(layout, lists: Sequence, body: Callable, own, others, zeros, rows):
    mine, tree = jax.tree.flatten(own)
    theirs, other_tree = jax.tree.flatten(others)
    sums, result = jax.tree.flatten(zeros)
    if any(v.ndim != 1 for v in (*mine, *theirs, *sums)):
        raise Unprintable("several numbers of each atom")
    n = sums[0].shape[0]

    def pair(*values):
        found = body(
            jax.tree.unflatten(tree, values[: len(mine)]),
            jax.tree.unflatten(other_tree, values[len(mine) : -1]),
            values[-1],
        )
        return [jnp.asarray(f, z.dtype) for f, z in zip(jax.tree.leaves(found), sums, strict=True)]

    types = [jax.ShapeDtypeStruct((), v.dtype) for v in (*mine, *theirs)]
    whole = separated(pair, *types, jax.ShapeDtypeStruct((), bool))
    used = whole.reads[:-1]
    kinds = [kind_of(v.aval) for v in (*whole.invars, *whole.outvars)]
    if "i1" in kinds[len(whole.invars) :]:
        raise Unprintable("a sum of truth values")
    wide = "f64" if "f64" in kinds or "i64" in kinds else "f32"
    text = printed(whole, layout, used[: len(mine)], used[len(mine) :], wide, lanes(BITS[wide] // 8), api())
    rows = lax.iota(jnp.int32, n) if rows is None else rows
    values = [*lists, rows, *(v for v, u in zip((*mine, *theirs), used) if u), *whole.consts]
    values = [v.astype(jnp.int32) if v.dtype == bool else v for v in values]
    outputs = [jax.ShapeDtypeStruct((n,), z.dtype) for z in sums]
    if scratch := layout.scratch(sum(used[len(mine) :])):
        number = jnp.float64 if wide == "f64" else jnp.float32
        outputs += [jax.ShapeDtypeStruct((theirs[0].shape[0], 4), number)] * scratch
    found = jax.ffi.ffi_call(target(text), outputs, vmap_method="expand_dims")(*values)
    return jax.tree.unflatten(result, found[: len(sums)])


def target(text: str) -> str:
    """The name by which XLA knows the kernel."""
    name = f"mdsl_pairs_{sha256(repr((text, processor())).encode()).hexdigest()[:24]}"
    if name not in _compiled:
        where = address(text.replace("%NAME%", name), name)
        jax.ffi.register_ffi_target(name, jax.ffi.pycapsule(ctypes.c_void_p(where)), platform="cpu")
        _compiled.add(name)
    return name
