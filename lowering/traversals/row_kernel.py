"""A sum over the neighbours of rows as a kernel of Pallas, which Triton compiles for GPUs.

Each program of the grid has a block of rows, goes through their slots one after the other, gathers what is read of the
neighbours, and adds up in registers: nothing is stored for a pair, where XLA's schedule for GPUs stores `[K, n]` values
for all that several results are made of. What the blocks have beyond the last row is that row once more.

Triton has arrays of powers of two and no gathers from them. So the kernel of a pair is evaluated entry by entry, as
`native.body` prints it: a small array is as many vectors, and what is the same for all pairs stays in memory.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from mdsl.lowering import jax_internals as internals
from mdsl.lowering.jax_internals import JaxprEqn, Literal
from mdsl.lowering.native.body import ELEMENTWISE, MOST, SHAPED, Separated, Unprintable, filled, mapped
from mdsl.lowering.native.pair import Pair
from mdsl.lowering.native.trial import differs, in_a_thread

ROWS = 128  # of a block: four warps, one row for each of their threads
MOST_SLOTS = 2**31 - 1  # of a list, whose places are whole numbers of 32 bits
SAME = {*ELEMENTWISE, "convert_element_type", "bitcast_convert_type", "integer_pow", "select_n", "expm1", "exp2"}
JOINED = {"reduce_sum": lax.add, "reduce_max": lax.max, "reduce_min": lax.min}
JOINED |= {"reduce_and": lax.bitwise_and, "reduce_or": lax.bitwise_or}


def row_kernel_sum(
    body,
    slots,
    own,
    others,
    zeros,
    *,
    rows=None,
    used=None,
    lengths=None,
    platform: str = "cuda",
    interpret: bool = False,
):
    """As `schedules.slot_sum`, for a program that is compiled for ``platform``; ``interpret``: for any, by XLA's
    operations, as tests do. Raises Unprintable where Pallas is missing or does not take the kernel."""
    pair = Pair.of(body, own, others, zeros)
    count, n = slots.shape
    if not count or not n:
        return jax.tree.map(jnp.zeros_like, zeros)
    if count * n > MOST_SLOTS:
        raise Unprintable(f"a list of {count * n:,} slots")
    rows = lax.iota(jnp.int32, n) if rows is None else rows
    used = jnp.minimum(count, jnp.asarray(count if used is None else used, jnp.int32))
    places = [jnp.asarray(v, jnp.int32) for v in (slots.reshape(-1), used.reshape(1), rows)]
    given = [*places, *(v.reshape(-1) for v in pair.read)]
    kernel = _kernel(pair, n, interpret)
    if not interpret:
        _try(kernel, given, platform)
    return pair.summed(kernel(*given))


@cache
def unavailable(device) -> str:
    """Why there are no such kernels on a device, or nothing where there are: they are believed after a small sum has
    the value that NumPy gives."""
    if device.platform not in ("gpu", "cuda", "rocm"):
        return f"they are for GPUs, and this is a {device.platform}"

    def tried():
        platform = "rocm" if "rocm" in device.client.platform_version.lower() else "cuda"
        return differs(partial(row_kernel_sum, platform=platform), device)

    return in_a_thread(tried)


def believed(platform: str) -> bool:
    """Whether programs for a platform are to have these kernels. Where it is not that of this machine, which only
    exports a program, nothing can be tried."""
    try:
        device = jax.devices(platform)[0]
    except RuntimeError:
        return True
    return not unavailable(device)


def _kernel(pair: Pair, n: int, interpret: bool) -> Callable:
    """The kernel as a function of arrays."""
    try:
        from jax.experimental import pallas
        from jax.experimental.pallas import triton
    except ImportError as error:
        raise Unprintable(f"anything: there is no Pallas here ({error})") from None
    size = min(ROWS, 1 << (n - 1).bit_length())
    own, other = pair.reads

    def kernel(slots, used, rows, *refs):
        ends = np.cumsum([sum(own), sum(other), len(pair.kernel.consts)])
        mine, theirs, consts, sums = (refs[i:j] for i, j in zip((0, *ends), (*ends, len(refs))))
        at = jnp.minimum(pallas.program_id(0) * size + lax.iota(jnp.int32, size), n - 1)
        me = triton.load(rows.at[at])
        owned = [triton.load(ref.at[at]) for ref in mine]
        tables = [Table(ref, v.aval.shape, triton.load) for v, ref in zip(pair.kernel.constvars, consts, strict=True)]
        # Numbers are read once, tables for each pair.
        same = {
            v: table if table.shape else table.values(size, v.aval.dtype)
            for v, table in zip(pair.kernel.constvars, tables)
        }
        inputs = [v for v, used in zip(pair.kernel.invars, (*own, *other)) if used]

        def slot(k, totals):
            index = triton.load(slots.at[k * n + at])
            read = [*owned, *(triton.load(ref.at[index]) for ref in theirs)]
            varying = {v: single(_number(r, v.aval.dtype)) for v, r in zip(inputs, read, strict=True)}
            valid = {pair.kernel.invars[-1]: single(Vector(index != me))}
            found = Evaluated(size, same | varying | valid).results(pair.kernel)
            return [total + f for total, f in zip(totals, found, strict=True)]

        start = [jnp.zeros(size, s.dtype) for s in pair.sums]
        for ref, total in zip(sums, lax.fori_loop(jnp.int32(0), used[0], slot, start), strict=True):
            triton.store(ref.at[at], total)

    return pallas.pallas_call(
        kernel,
        out_shape=[jax.ShapeDtypeStruct((n,), s.dtype) for s in pair.sums],
        grid=(pallas.cdiv(n, size),),
        compiler_params=triton.CompilerParams(num_warps=max(1, size // 32)),
        interpret=interpret,
        name="pair_sum",
    )


def _try(kernel: Callable, given: Sequence, platform: str) -> None:
    """Lowers a kernel once more by itself, to see whether Triton takes it. Raises Unprintable."""
    types = [jax.ShapeDtypeStruct(v.shape, v.dtype) for v in given]
    try:
        jax.jit(kernel).trace(*types).lower(lowering_platforms=(platform,))
    except Exception as error:  # whatever Pallas says: XLA's schedule computes the same
        raise Unprintable(f"what Triton has no text for ({type(error).__name__}: {str(error)[:200]})") from error


# -- the kernel of a pair, entry by entry ----------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Vector:
    """One number of each row of a block, [rows]. NumPy, which moves entries about, does not look into it."""

    numbers: jax.Array


def single(value: Vector) -> np.ndarray:
    return filled((), [value])


def _number(values, dtype) -> Vector:
    """What is read, as the type that the kernel has it in: truth values are stored as whole numbers."""
    return Vector(values != 0 if dtype == bool else values)


@dataclass(frozen=True, eq=False)
class Table:
    """An array that is the same for all pairs, in memory, one entry after the other."""

    memory: object
    shape: tuple[int, ...]
    load: Callable

    def values(self, size: int, dtype) -> np.ndarray:
        count = math.prod(self.shape)
        if count > MOST:
            raise Unprintable(f"an array of {count} numbers that is no table")
        found = [jnp.full(size, self.memory[k]) for k in range(count)]
        return filled(self.shape, [_number(v, dtype) for v in found])

    def at(self, index: Sequence, dtype, clip: bool) -> Vector:
        """The entries at indices along each axis."""
        total = jnp.int32(0)
        for k, length in zip(index, self.shape, strict=True):
            total = total * length + (jnp.clip(k, 0, length - 1) if clip else k).astype(jnp.int32)
        return _number(self.load(self.memory.at[total]), dtype)


def _to_even(x):
    """The nearest whole number, halves to the even one: Triton has no operation for it."""
    low = jnp.floor(x)
    above = x - low
    return jnp.where((above > 0.5) | (above == 0.5) & (low != 2 * jnp.floor(low / 2)), low + 1, low)


def _away(x):
    """The nearest whole number, halves away from 0."""
    low = jnp.floor(jnp.abs(x))
    return jnp.where(x < 0, -1, 1).astype(x.dtype) * jnp.where(jnp.abs(x) - low >= 0.5, low + 1, low)


class Evaluated:
    """The operations of a kernel for ``size`` rows. ``known``: what its variables are worth, vectors or tables."""

    def __init__(self, size: int, known: Mapping):
        self.size, self.known = size, dict(known)

    def results(self, kernel: Separated) -> list:
        """[size] each, of a kernel whose results are numbers."""
        for eqn in kernel.eqns:
            if eqn.primitive.name == "split":
                ends = np.cumsum(eqn.params["sizes"])[:-1]
                found = np.split(self.values(eqn.invars[0]), ends, axis=eqn.params["axis"])
            elif eqn.primitive.name == "row_of_four":
                found = self._rows(eqn)
            elif eqn.primitive.name == "unstack":
                found = list(np.moveaxis(self.values(eqn.invars[0]), eqn.params["axis"], 0))
            else:
                found = [self._result(eqn)]
            self.known.update(zip(eqn.outvars, (f if isinstance(f, np.ndarray) else single(f) for f in found)))
        return [self.values(v).item().numbers for v in kernel.outvars]

    def values(self, atom) -> np.ndarray:
        if isinstance(atom, Literal):
            number = np.asarray(atom.val, atom.aval.dtype)
            return filled(number.shape, [Vector(jnp.full(self.size, v)) for v in number.ravel()])
        found = self.known[atom]
        return found.values(self.size, atom.aval.dtype) if isinstance(found, Table) else found

    def _result(self, eqn: JaxprEqn) -> np.ndarray | Vector:
        name, out = eqn.primitive.name, eqn.outvars[0].aval
        if math.prod(out.shape) > MOST:
            raise Unprintable(f"{name}, of {math.prod(out.shape)} numbers")
        if name in ("gather", "dynamic_slice"):
            return self._from_table(eqn)
        given = [self.values(v) for v in eqn.invars]
        if name in JOINED:
            return _joined(JOINED[name], eqn.params["axes"], *given)
        if name in SHAPED:
            return SHAPED[name](eqn, *given)
        if name == "round":
            how = _away if int(eqn.params["rounding_method"]) == 0 else _to_even
            return mapped(lambda v: Vector(how(v.numbers)), *given)
        if name in SAME:
            return mapped(lambda *v: Vector(internals.applied(eqn, [one.numbers for one in v])[0]), *given)
        raise Unprintable(name)

    def _rows(self, eqn: JaxprEqn) -> list[np.ndarray]:
        """The four columns of rows [L, 4] of a table."""
        table, dtype = self.known.get(eqn.invars[0]), eqn.outvars[0].aval.dtype
        if not isinstance(table, Table):
            raise Unprintable("rows of what is no table")
        at = self.values(eqn.invars[1])
        places = [[table.at((k.numbers, jnp.int32(m)), dtype, False) for k in at.ravel()] for m in range(4)]
        return [filled(at.shape, column) for column in places]

    def _from_table(self, eqn: JaxprEqn) -> np.ndarray:
        """One entry of a table at a time, at indices that are those of the pair."""
        name, table = eqn.primitive.name, self.known.get(eqn.invars[0])
        if not isinstance(table, Table) or any(s != 1 for s in eqn.params["slice_sizes"]):
            raise Unprintable(f"{name} of what is no table")
        out = eqn.outvars[0].aval
        if name == "dynamic_slice":
            places, clip = [[self.values(v).item() for v in eqn.invars[1:]]], True
        else:
            numbers, axes = eqn.params["dimension_numbers"], tuple(range(len(table.shape)))
            plain = not numbers.offset_dims and not getattr(numbers, "operand_batching_dims", ())
            if not plain or numbers.collapsed_slice_dims != axes or numbers.start_index_map != axes:
                raise Unprintable("gather of more than numbers")
            if eqn.params["mode"].name not in ("CLIP", "PROMISE_IN_BOUNDS"):
                raise Unprintable(f"gather, {eqn.params['mode'].name}")
            places, clip = self.values(eqn.invars[1]), eqn.params["mode"].name == "CLIP"
            places = places.reshape(-1, places.shape[-1])
        return filled(out.shape, [table.at([p.numbers for p in place], out.dtype, clip) for place in places])


def _joined(function: Callable, axes: Sequence[int], values: np.ndarray) -> np.ndarray:
    """Small arrays added up, or compared, along some axes."""
    kept = [k for k in range(values.ndim) if k not in axes]
    entries = values.transpose(*kept, *axes).reshape(*(values.shape[k] for k in kept), -1)
    if not entries.shape[-1]:
        raise Unprintable("a sum of nothing")
    total = entries[..., :1]
    for k in range(1, entries.shape[-1]):
        total = mapped(lambda a, b: Vector(function(a.numbers, b.numbers)), total, entries[..., k : k + 1])
    return total[..., 0] if kept else total.reshape(())
