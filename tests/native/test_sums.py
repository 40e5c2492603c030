"""Sums over pairs by kernels of our own, against those of XLA: any number of rows, any operation, under all
transformations; and what is left to XLA."""

import json
import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.scipy.special import erf, erfc

from mdsl.lowering.native import call as native
from mdsl.lowering.native import elementary
from mdsl.lowering.native.body import Unprintable
from mdsl.lowering.neighbours.gather import entry, padded, take
from mdsl.lowering.traversals import schedules
from mdsl.lowering.traversals.pair_sum import pair_sum
from mdsl.lowering.traversals.row_kernel import row_kernel_sum

pytest.importorskip("llvmlite")
ROOT = Path(__file__).parents[2]
RNG = np.random.default_rng(1)
TABLE = jnp.asarray(RNG.normal(size=(3, 3)))
CURVE = padded(jnp.asarray(RNG.normal(size=100)))


@pytest.fixture
def chosen(monkeypatch):
    monkeypatch.delenv("MDSL_KERNELS", raising=False)  # they are what there is without being asked for
    assert native.unavailable() == "" and native.chosen()
    native.unavailable.cache_clear()
    yield
    native.unavailable.cache_clear()


def lists(n, count):
    """Slots [K, n], of which some hold the row itself."""
    return jnp.asarray(RNG.integers(0, n, (count, n)), jnp.int32)


def atoms(n, dtype):
    return {
        "x": tuple(jnp.asarray(RNG.normal(size=n), dtype) for _ in range(3)),
        "q": jnp.asarray(RNG.uniform(0.5, 2, n), dtype),
        "s": jnp.asarray(RNG.integers(0, 3, n), jnp.int32),
        "far": jnp.asarray(RNG.random(n) < 0.5),
    }


def body(own, other, valid):
    d = tuple(a - b for a, b in zip(own["x"], other["x"]))
    square = jnp.where(valid, sum(c * c for c in d), 1.0)
    charge = own["q"] * other["q"] * entry(TABLE.reshape(-1).astype(square.dtype), own["s"] * 3 + other["s"])
    u = jnp.where(valid & ~other["far"], charge * jnp.exp(-square), 0)
    return {"u": u, "f": tuple(u * c for c in d)}


def zeros(n, dtype):
    return {"u": jnp.zeros(n, dtype), "f": (jnp.zeros(n, dtype),) * 3}


def agree(found, expected, dtype):
    rtol = 2e-5 if dtype == jnp.float32 else 1e-13
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol), found, expected)


@pytest.mark.parametrize("dtype", (jnp.float32, jnp.float64))
@pytest.mark.parametrize("n, count", ((1, 3), (7, 0), (16, 5), (33, 4)))
def test_any_number_of_rows(n, count, dtype):
    given, slots = atoms(n, dtype), lists(n, count)

    def sums(schedule, used=None):
        return jax.jit(lambda: schedule(body, slots, given, given, zeros(n, dtype), used=used))()

    expected = sums(schedules.slot_sum) if count else zeros(n, dtype)
    agree(sums(native.slot_sum), expected, dtype)
    assert not any(v.any() for v in jax.tree.leaves(sums(native.slot_sum, 0)))
    every = jax.jit(lambda: native.all_pairs_sum(body, given, given, zeros(n, dtype)))()
    agree(every, jax.jit(lambda: schedules.all_pairs_sum(body, given, given, zeros(n, dtype)))(), dtype)


def test_places_of_another_type():
    """A caller's own list may have whole numbers of 64 bits."""
    x, slots = jnp.asarray(RNG.random(9)), lists(9, 3)

    def found(schedule, slots):
        return jax.jit(lambda: schedule(lambda a, b, valid: jnp.where(valid, a * b, 0), slots, x, x, jnp.zeros(9)))()

    for schedule in (native.slot_sum, partial(row_kernel_sum, interpret=True)):
        agree(found(schedule, slots.astype(jnp.int64)), found(schedules.slot_sum, slots), jnp.float64)


def test_rows_of_a_part_and_pairs_left_out():
    """As with several devices: rows are some of the atoms."""
    given, rows, slots = atoms(40, jnp.float64), jnp.arange(13, 24, dtype=jnp.int32), lists(40, 6)[:, 13:24]
    own, excluded = jax.tree.map(lambda v: v[13:24], given), lists(40, 2)[:, 13:24]
    many = {"zeros": zeros(11, jnp.float64), "rows": rows}
    for ours, theirs, lead, more in (
        (native.slot_sum, schedules.slot_sum, (slots,), {"used": 4}),
        (native.all_pairs_sum, schedules.all_pairs_sum, (), {"excluded": excluded}),
        (native.all_pairs_sum, schedules.all_pairs_sum, (), {"excluded": excluded[:0]}),
    ):
        found, expected = (jax.jit(lambda f=f: f(body, *lead, own, given, **many, **more))() for f in (ours, theirs))
        agree(found, expected, jnp.float64)


def test_whole_numbers():
    """Counts, with what is read of atoms as whole numbers and truth values alone."""
    s, far = jnp.asarray(RNG.integers(0, 3, 20), jnp.int32), jnp.asarray(RNG.random(20) < 0.5)

    def count(own, other, valid):
        return jnp.where(valid & other["far"] & (own["s"] == other["s"]), 1, 0)

    given = {"s": s, "far": far}
    slots, zero = lists(20, 9), jnp.zeros(20, jnp.int32)
    found = jax.jit(lambda: native.slot_sum(count, slots, given, given, zero))()
    np.testing.assert_array_equal(found, schedules.slot_sum(count, slots, given, given, zero))


def _several(a, b):
    values = jnp.stack([a, b, a * b])
    table = jnp.where(jnp.arange(3) == 1, values[::-1], values * 2.0)
    return jnp.sum(table) + jnp.max(values) * jnp.concatenate([values, table])[4] + jnp.pad(values, (1, 0))[1]


OPERATIONS = {
    "rational": lambda a, b: (a - b) / (1 + a * a) + a**-3 - jnp.sqrt(a) * lax.rsqrt(b),
    "order": lambda a, b: jnp.maximum(a, b) * jnp.minimum(a, 1.1) + jnp.sign(a - b) * jnp.clip(a, 0.7, b),
    "truth": lambda a, b: jnp.where((a < b) ^ (a > 1) | ~(b >= 1.5) & (a != b), a, b) + jnp.isfinite(a),
    "whole": lambda a, b: (
        jnp.round(3 * a) + jnp.floor(b) - jnp.ceil(a) + jnp.asarray(5 * a, jnp.int32) % 3 + (5 * b) % 2
    ),
    "exp": lambda a, b: jnp.exp(-a) * jnp.log(b) + a**2.3 + b**a + jnp.log1p(a) + jax.nn.sigmoid(a),
    "circle": lambda a, b: jnp.sin(a) + jnp.cos(9 * b) + jnp.tan(a) + jnp.arctan(b) + jnp.arctan2(a - 1, b - 1),
    "arc": lambda a, b: jnp.arcsin(a / 3) - jnp.arccos(b / 3),
    "hyperbola": lambda a, b: jnp.sinh(a) + jnp.cosh(b) * jnp.tanh(a - b),
    "error": lambda a, b: erf(a) * erfc(b),
    "several": _several,
    "table": lambda a, b: take(CURVE.astype(a.dtype), (40 * a).astype(jnp.int32)) * b,
    "two axes": lambda a, b: TABLE.astype(a.dtype)[jnp.where(a > b, 1, 0), jnp.where(b > 1, 2, 1)],
    "of a table": jax.grad(lambda a, b: entry(a * TABLE[0].astype(a.dtype), jnp.where(b > 1, 2, 0))),
}


@pytest.mark.parametrize("dtype", (jnp.float32, jnp.float64))
@pytest.mark.parametrize("name", OPERATIONS)
def test_operations(name, dtype):
    """What bodies are made of, and their derivatives."""
    x, slots = jnp.asarray(RNG.uniform(0.5, 2, 21), dtype), lists(21, 4)
    slope = jax.grad(OPERATIONS[name], (0, 1)) if name not in ("whole", "of a table") else lambda a, b: (a, b)

    def pair(own, other, valid):
        return [jnp.where(valid, v, 0) for v in (OPERATIONS[name](own, other), *slope(own, other))]

    def scalar(own, other, valid):  # XLA's own loop has rows of numbers
        return jax.vmap(pair)(own, other, valid)

    zero = [jnp.zeros(21, dtype)] * 3
    found = jax.jit(lambda: native.slot_sum(pair, slots, x, x, zero))()
    agree(found, jax.jit(lambda: schedules.slot_sum(scalar, slots, x, x, zero))(), dtype)


def test_replicas():
    """Axes of `vmap` around a sum: those that all operands have, and those that some have."""
    n = 19
    given, slots = atoms(n, jnp.float64), jnp.stack([lists(n, 4), lists(n, 4)])
    moved = jnp.asarray(RNG.normal(size=(3, 2)))

    def sums(schedule):
        def one(slots, shift):
            here = given | {"x": tuple(c + shift * given["q"] for c in given["x"])}
            return schedule(body, slots, here, here, zeros(n, jnp.float64))

        inner = jax.vmap(one)
        return jax.jit(jax.vmap(lambda shifts: inner(slots, shifts)))(moved)

    agree(sums(native.slot_sum), sums(schedules.slot_sum), jnp.float64)


@pytest.mark.parametrize("excluded", (None, lists(12, 1)), ids=("list", "all pairs"))
def test_derivatives(excluded, chosen, monkeypatch):
    """Forward over reverse, by positions and by a constant: kernels of other bodies."""
    given = atoms(12, jnp.float64) | {"far": jnp.zeros(12)}
    slots = jnp.asarray([[j for j in range(12) if j != i] for i in range(12)], jnp.int32).T

    def energy(x, a):
        def pair(own, other, valid):
            square = jnp.where(valid, sum((p - q) ** 2 for p, q in zip(own["x"], other["x"])), 1.0)
            return jnp.where(valid, own["q"] * other["q"] * jnp.exp(-a * square) / jnp.sqrt(1 + square), 0)

        here = {"x": x, "q": given["q"]}
        return jnp.sum(pair_sum(pair, None if excluded is not None else slots, here, jnp.zeros(12)))

    def along(x, a):
        return jax.jvp(jax.grad(energy, (0, 1)), (x, a), (tuple(map(jnp.sin, x)), jnp.ones(())))

    made = len(native._compiled)
    found = jax.jit(along)(given["x"], jnp.asarray(0.7))
    assert len(native._compiled) > made
    monkeypatch.setenv("MDSL_KERNELS", "xla")
    jax.clear_caches()
    agree(found, jax.jit(lambda x, a: along(x, a))(given["x"], jnp.asarray(0.7)), jnp.float64)


def test_what_cannot_be_printed_is_left_to_xla(chosen):
    """With its name."""
    x, slots = jnp.asarray(RNG.random(9)), lists(9, 3)

    def pair(own, other, valid):
        return jnp.where(valid, lax.while_loop(lambda v: v < 3, lambda v: 2 * v, own + other), 0)

    with pytest.raises(Unprintable, match="while"):
        jax.jit(lambda: native.slot_sum(pair, slots, x, x, jnp.zeros(9)))()

    def sums(schedule):
        return jax.jit(lambda: schedule(jnp.vectorize(pair), slots, x, x, jnp.zeros(9)))()

    agree(sums(schedules.LISTED["cpu"]), sums(schedules.slot_sum), jnp.float64)


def test_runs_repeat():
    given, slots = atoms(50, jnp.float32), lists(50, 20)
    once = jax.jit(lambda: native.slot_sum(body, slots, given, given, zeros(50, jnp.float32)))
    for a, b in zip(jax.tree.leaves(once()), jax.tree.leaves(once())):
        np.testing.assert_array_equal(a, b)


# -- where there are none --------------------------------------------------------------------------------


@pytest.fixture
def asked_anew(monkeypatch):
    monkeypatch.delenv("MDSL_KERNELS", raising=False)
    monkeypatch.setattr(native, "folder", lambda: None)  # what is remembered there would be believed
    native.unavailable.cache_clear()
    native.api.cache_clear()
    yield
    monkeypatch.undo()
    native.unavailable.cache_clear()
    native.api.cache_clear()


def test_another_api(asked_anew, monkeypatch):
    monkeypatch.setattr(native, "api", lambda: (1, 0))
    assert (
        not native.chosen() and native.described() == "xla, since version 1.0 of XLA's foreign functions was not tested"
    )


def test_wrong_numbers(asked_anew, monkeypatch):
    monkeypatch.setitem(elementary.FUNCTIONS, "exp", (lambda x: x, 1))
    assert native.described() == "xla, since a small sum has a wrong value"


def test_no_llvmlite(tmp_path):
    """Sums are XLA's, which commands and the description of a run say; a run that is to have native kernels is
    refused."""
    text = "import sys; sys.modules['llvmlite'] = None; from mdsl.command.cli import main; sys.exit(main(sys.argv[1:]))"
    # JAX, which is imported here, has set how much XLA logs.
    environment = {k: v for k, v in os.environ.items() if k not in ("MDSL_KERNELS", "TF_CPP_MIN_LOG_LEVEL")}
    raft = str(ROOT / "examples" / "bubble_raft.mdsl")

    def command(*words):
        return subprocess.run([sys.executable, "-c", text, *words], env=environment, capture_output=True, text=True)

    done = command("--version")
    assert "kernels: xla, since llvmlite is not installed" in done.stdout, done.stderr
    done = command("explain", raft)
    assert "all sums are XLA's: llvmlite is not installed" in done.stdout, done.stderr
    done = command("run", raft, "--steps", "2", "--quiet", "--out", str(tmp_path / "out"))
    assert done.returncode == 0, done.stderr
    told = json.loads((tmp_path / "out" / "run.json").read_text())
    assert told["machine"]["kernels"] == "xla, since llvmlite is not installed"
    done = command("run", raft, "--kernels", "native")
    assert done.returncode == 2 and "no native kernels here: llvmlite is not installed" in done.stderr, done.stderr


SHARDED = """
import jax
jax.config.update("jax_num_cpu_devices", 2)
import sys
sys.path[:0] = sys.argv[1].split(":")
from compiled import HEAD, PAIRS_BY
import mdsl, numpy as np
text = HEAD + "energy U = sum(i < j) force_shifted(lennard_jones(1.0, 1.0), 1.5)(|x[i] - x[j]|)"
text += "run { x = fcc(density = 0.8, cells = 3)  v ~ maxwell(1)  velocity_verlet(dt = 0.004) for 40 record U every 10 }"
ends = {}
from mdsl.lowering.native import call
for kernels in ("xla", "native"):
    import os
    os.environ["MDSL_KERNELS"] = kernels
    jax.clear_caches()
    for devices in (jax.devices(), None):
        made = len(call._compiled)
        system = mdsl.compile(text).bind(devices=devices, policy=PAIRS_BY["list"])
        ends[kernels, devices is None] = np.asarray(system.run(jax.random.key(0)).x)
        assert (len(call._compiled) > made) == (kernels == "native" and devices is not None), (kernels, devices)
first = ends["xla", True]
for end in ends.values():
    np.testing.assert_allclose(end, first, rtol=0, atol=1e-8)
"""


@pytest.mark.slow
def test_two_devices():
    kept = {k: v for k, v in os.environ.items() if k not in ("XLA_FLAGS", "JAX_NUM_CPU_DEVICES")}
    done = subprocess.run(
        [sys.executable, "-c", SHARDED, os.pathsep.join(sys.path)],
        env=kept | {"JAX_ENABLE_X64": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
