"""Sums over pairs by kernels of our own, as operations of JAX: schedules as those of `traversals.schedules`.

A kernel is compiled when its sum is traced, and once in a process: its name is made of its text, so that programs
which JAX keeps on the disk find the kernel that they were compiled with, and another text is another program. Where JAX
keeps programs, kernels are kept too. Under `vmap` XLA hands over arrays with leading axes.
"""

from __future__ import annotations

import ctypes
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path

import jax
import jax.numpy as jnp
from jax import lax

from mdsl.lowering.planning.kernels import asked

from .body import Unprintable
from .compile import Unavailable, address, lanes, processor, release
from .ir import BITS
from .kept import kept
from .kernel import Everyone, Slots, printed
from .pair import Pair
from .trial import differs, in_a_thread

TESTED = ((0, 3), (0, 5))  # versions of the API of XLA's foreign functions
RIGHT = b"a small sum had the value that NumPy gives"
MOST = 2**27  # atoms: rows of four numbers of theirs fill the 4 GiB that offsets of 32 bits reach
_compiled: set[str] = set()
left: Counter[str] = Counter()  # the operations for which sums were left to XLA in this process, and how many sums


class _Differs(Exception):
    """What is wrong with a small sum."""


def chosen() -> bool:
    """Whether sums are to be computed by these kernels, and can be."""
    return asked() and not unavailable()


def described(platform: str = "cpu") -> str:
    """Which kernels sums over pairs are compiled with here for a platform, in words."""
    if platform != "cpu" or not asked():
        return "xla"
    return f"xla, since {unavailable()}" if unavailable() else f"native, llvmlite {release()}"


@lru_cache(maxsize=1)
def unavailable() -> str:
    """Why there are no native kernels on this machine, or nothing where there are: what reads the frames of XLA, and
    LLVM itself, is believed after a small sum has the value that NumPy gives; where kernels are kept, once for these
    releases, this processor and this text of ours."""
    try:
        processor()
        if api() not in TESTED:
            return f"version {'.'.join(map(str, api()))} of XLA's foreign functions was not tested"
        kept(folder(), f"checked_{_circumstances()}", _checked)
        return ""
    except (Unavailable, _Differs, ImportError, RuntimeError, OSError, AttributeError) as error:
        return str(error).splitlines()[0] if str(error) else type(error).__name__


@lru_cache(maxsize=1)
def _circumstances() -> str:
    """A digest of all on which machine code depends beside the text of its kernel, and whether it is right."""
    ours = [path.read_bytes() for path in sorted(Path(__file__).parent.glob("*.py"))]
    releases = [version(package) for package in ("jax", "jaxlib")]
    return sha256(repr((ours, releases, processor(), release())).encode()).hexdigest()[:24]


def _checked() -> bytes:
    if wrong := in_a_thread(lambda: differs(slot_sum, jax.devices("cpu")[0])):
        raise _Differs(wrong)
    return RIGHT


@lru_cache(maxsize=1)
def api() -> tuple[int, int]:
    """The version of the API of foreign functions, by the header that comes with JAX."""
    text = (Path(jax.ffi.include_dir()) / "xla" / "ffi" / "api" / "c_api.h").read_text()
    return tuple(int(re.search(rf"#define XLA_FFI_API_{part} (\d+)", text)[1]) for part in ("MAJOR", "MINOR"))


@contextmanager
def or_else() -> Iterator[None]:
    """What cannot be printed is left to what follows, and is remembered."""
    try:
        yield
    except Unprintable as error:
        left[error.what] += 1


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
    count = 0 if excluded is None else excluded.shape[0]  # 0, too, of a topology without members
    return _summed(Everyone(count), (every, excluded) if count else (every,), body, own, others, zeros, rows)


def _summed(layout, lists: Sequence, body: Callable, own, others, zeros, rows):
    pair = Pair.of(body, own, others, zeros)
    if any(v.shape[0] > MOST for v in pair.others):
        raise Unprintable("so many atoms")
    n, reads, wide = pair.sums[0].shape[0], pair.reads, pair.wide
    text = printed(pair.kernel, layout, *reads, wide, lanes(BITS[wide] // 8), api())
    rows = lax.iota(jnp.int32, n) if rows is None else rows
    outputs = [jax.ShapeDtypeStruct((n,), z.dtype) for z in pair.sums]
    if scratch := layout.scratch(sum(reads[1])):
        number = jnp.float64 if wide == "f64" else jnp.float32
        outputs += [jax.ShapeDtypeStruct((pair.others[0].shape[0], 4), number)] * scratch
    places = [jnp.asarray(v, jnp.int32) for v in (*lists, rows)]  # as the kernel reads them
    return pair.summed(jax.ffi.ffi_call(target(text), outputs, vmap_method="expand_dims")(*places, *pair.read))


def target(text: str) -> str:
    """The name by which XLA knows the kernel."""
    name = f"mdsl_pairs_{sha256(repr((text, _circumstances())).encode()).hexdigest()[:24]}"
    if name not in _compiled:
        where = address(text.replace("%NAME%", name), name, folder())
        jax.ffi.register_ffi_target(name, jax.ffi.pycapsule(ctypes.c_void_p(where)), platform="cpu")
        _compiled.add(name)
    return name


def folder() -> Path | None:
    """Where kernels are kept: beside the programs that JAX keeps; None where it keeps none."""
    place = jax.config.jax_compilation_cache_dir
    if not place or "://" in place or not jax.config.jax_enable_compilation_cache:
        return None
    return Path(place) / "kernels"
