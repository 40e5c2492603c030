"""Sums over pairs by kernels of Pallas, against those of XLA: interpreted, under all transformations, and lowered for a
GPU, of which there is none here."""

import contextlib
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import test_sums as sums
from compiled import bound, program
from jax import lax

from mdsl.lowering.native.body import Unprintable
from mdsl.lowering.traversals import row_kernel, schedules
from mdsl.lowering.traversals.pair_sum import pair_sum
from mdsl.lowering.traversals.row_kernel import row_kernel_sum

pytestmark = pytest.mark.filterwarnings("ignore:The Pallas Triton backend is deprecated")
TRITON = "__gpu$xla.gpu.triton"
interpreted = partial(row_kernel_sum, interpret=True)


@pytest.fixture
def on_cpu(monkeypatch):
    """Programs for this processor have these kernels."""
    monkeypatch.setitem(schedules.LISTED, "cpu", interpreted)
    jax.clear_caches()
    yield
    jax.clear_caches()


@pytest.fixture
def asked(monkeypatch):
    monkeypatch.setenv("MDSL_KERNELS", "pallas")


def gpu():
    """As if there were one, which newer releases of JAX ask for."""
    device = jax.sharding.AbstractDevice(device_kind="NVIDIA H100", num_cores=None, platform="gpu")
    return jax.sharding.use_abstract_mesh(jax.sharding.AbstractMesh((), (), abstract_device=device))


def exported(function, *args, platform="cuda"):
    """The module of a program for a GPU."""
    checks = [jax.export.DisabledSafetyCheck.custom_call(TRITON)]
    with gpu():
        return jax.export.export(jax.jit(function), platforms=[platform], disabled_checks=checks)(*args).mlir_module()


@pytest.mark.parametrize("n, count, dtype", ((1, 3, jnp.float32), (7, 0, jnp.float32), (300, 5, jnp.float64)))
def test_any_number_of_rows(n, count, dtype):
    given, slots, zero = sums.atoms(n, dtype), sums.lists(n, count), sums.zeros(n, dtype)

    def found(schedule, **more):
        return jax.jit(lambda: schedule(sums.body, slots, given, given, zero, **more))()

    expected = found(schedules.slot_sum) if count else zero
    sums.agree(found(interpreted), expected, dtype)
    assert not any(v.any() for v in jax.tree.leaves(found(interpreted, used=0)))


def test_rows_of_a_part():
    given, rows, slots = sums.atoms(40, jnp.float64), jnp.arange(13, 24, dtype=jnp.int32), sums.lists(40, 6)[:, 13:24]
    own, more = jax.tree.map(lambda v: v[13:24], given), {"rows": rows, "used": 4}
    found, expected = (
        jax.jit(lambda f=f: f(sums.body, slots, own, given, sums.zeros(11, jnp.float64), **more))()
        for f in (interpreted, schedules.slot_sum)
    )
    sums.agree(found, expected, jnp.float64)


OPERATIONS = [  # of all those that move entries about in another way, in one precision
    (name, dtype)
    if dtype == jnp.float32 and name in ("whole", "error", "several", "table")
    else pytest.param(name, dtype, marks=pytest.mark.slow)
    for name in sums.OPERATIONS
    for dtype in (jnp.float32, jnp.float64)
]


@pytest.mark.parametrize("name, dtype", OPERATIONS)
def test_operations(name, dtype):
    """What bodies are made of, and their derivatives: they have the values of XLA's, and Triton takes all but error
    functions."""
    x, slots, zero = jnp.asarray(sums.RNG.uniform(0.5, 2, 21), dtype), sums.lists(21, 4), [jnp.zeros(21, dtype)] * 3
    operation = sums.OPERATIONS[name]
    slope = jax.grad(operation, (0, 1)) if name not in ("whole", "of a table") else lambda a, b: (a, b)

    def pair(own, other, valid):
        return [jnp.where(valid, v, 0) for v in (operation(own, other), *slope(own, other))]

    found = jax.jit(lambda: interpreted(pair, slots, x, x, zero))()
    sums.agree(found, jax.jit(lambda: schedules.slot_sum(jax.vmap(pair), slots, x, x, zero))(), dtype)
    refused = pytest.raises(Unprintable, match="erf") if name == "error" else contextlib.nullcontext()
    with refused:
        assert TRITON in exported(lambda x: row_kernel_sum(pair, slots, x, x, zero), x)


@pytest.mark.parametrize("dtype", (jnp.float32, jnp.float64))
def test_halves_are_rounded_as_elsewhere(dtype):
    x = np.array([0.5, 1.5, 2.5, -0.5, -1.5, -2.5, 0.49999997, 8388609.0, 1e30, -1e30, np.inf, -np.inf, np.nan], dtype)
    x = np.concatenate([x, np.nextafter(x, np.inf), np.nextafter(x, -np.inf)])
    np.testing.assert_array_equal(row_kernel._to_even(jnp.asarray(x)), lax.round(x, lax.RoundingMethod.TO_NEAREST_EVEN))
    np.testing.assert_array_equal(row_kernel._away(jnp.asarray(x)), lax.round(x, lax.RoundingMethod.AWAY_FROM_ZERO))


def test_derivatives_and_replicas(on_cpu, monkeypatch):
    """Forward over reverse, by positions and by a constant, of several replicas: the same operation with other bodies."""
    given = sums.atoms(12, jnp.float64)
    slots = jnp.asarray([[j for j in range(12) if j != i] for i in range(12)], jnp.int32).T

    def energy(x, a):
        def pair(own, other, valid):
            square = jnp.where(valid, sum((p - q) ** 2 for p, q in zip(own["x"], other["x"])), 1.0)
            return jnp.where(valid, own["q"] * other["q"] * jnp.exp(-a * square) / jnp.sqrt(1 + square), 0)

        return jnp.sum(pair_sum(pair, slots, {"x": x, "q": given["q"]}, jnp.zeros(12)))

    def along(x, a):
        return jax.jvp(jax.grad(energy, (0, 1)), (x, a), (tuple(map(jnp.sin, x)), jnp.ones(())))

    def several():  # a function of its own each time: JAX keeps what it has compiled
        return jax.jit(jax.vmap(lambda x, a: along(x, a), in_axes=(0, None)))

    x, calls = tuple(jnp.stack([c, 2 * c, c - 0.3]) for c in given["x"]), []
    monkeypatch.setitem(schedules.LISTED, "cpu", lambda *a, **k: calls.append(1) or interpreted(*a, **k))
    found = several()(x, 0.7)
    assert len(calls) >= 2
    monkeypatch.setitem(schedules.LISTED, "cpu", schedules.slot_sum)
    jax.clear_caches()
    sums.agree(found, several()(x, 0.7), jnp.float64)


# Many-body, a table of species, exclusions and a box that is not upright: kernels as programs have them.
TEXT = """
species A, B
param s[species, species] = { A-A: 1.0, A-B: 0.9, B-B: 0.8 }
param c = 0.8
def bell(r) = if r < 1.6 then (1.6 - r)^3 else 0
quantity rho[i] = sum(j != i) s[i,j]*bell(|x[i] - x[j]|)
energy E = -c*sum(i) sqrt(rho[i])
energy U = sum(i < j) force_shifted(lennard_jones(s[i,j], 1.0), 1.7)(|x[i] - x[j]|)
"""


def system(precision):
    x = np.random.default_rng(5).uniform(0, 4.2, (30, 3)) + 4.2 * np.arange(3)
    return bound(program(TEXT), x, "list", box=4.2, species=["A"] * 18 + ["B"] * 12, precision=precision)


@pytest.mark.slow
@pytest.mark.parametrize("precision", ("mixed", "double"))
def test_a_system(precision, on_cpu, monkeypatch):
    """Energy, and its gradient by positions and parameters."""

    def gradient():
        here = system(precision)
        return jax.value_and_grad(lambda x, p: here.energy(x, params=p), (0, 1))(here.x, here.program.params)

    found = gradient()
    monkeypatch.setitem(schedules.LISTED, "cpu", schedules.slot_sum)
    jax.clear_caches()
    sums.agree(found, gradient(), jnp.float64 if precision == "double" else jnp.float32)


def test_lowered_for_a_gpu(asked, monkeypatch):
    """Per-atom values and forces have these kernels where they are asked for, and XLA's where not."""
    here = system("mixed")
    assert exported(here.forces, here.x).count(f"@{TRITON}(") == 2
    monkeypatch.setenv("MDSL_KERNELS", "xla")
    jax.clear_caches()
    assert TRITON not in exported(here.forces, here.x)


@pytest.mark.slow
@pytest.mark.parametrize("platform", ("cuda", "rocm"))
@pytest.mark.parametrize("precision", ("mixed", "double"))
def test_derivatives_lowered_for_a_gpu(precision, platform, asked):
    """How the gradient of the energy, by positions and parameters, changes along a direction: kernels of other bodies
    beside the two of a gradient."""
    here = system(precision)

    def along(x, p):
        return jax.jvp(jax.grad(lambda x, p: here.energy(x, params=p), (0, 1)), (x, p), (x, p))

    assert exported(along, here.x, here.program.params, platform=platform).count(f"@{TRITON}(") > 2


def test_what_is_refused_is_left_to_xla(asked, monkeypatch):
    """Error functions, for which Triton has none, and everything where there is no Pallas."""
    x, slots, zero = jnp.asarray(sums.RNG.uniform(0.5, 2, 9), jnp.float32), sums.lists(9, 3), jnp.zeros(9, jnp.float32)

    def module(function):
        def pair(own, other, valid):
            return jnp.where(valid, function(own - other), 0)

        return exported(lambda x: schedules.listed_sum(pair, slots, x, x, zero), x)

    assert TRITON in module(jnp.exp)
    assert TRITON not in module(jax.scipy.special.erf)
    with monkeypatch.context() as patched:
        patched.setitem(sys.modules, "jax.experimental.pallas", None)
        assert TRITON not in module(jnp.exp)
    # On a GPU a small sum is tried first: here it has no value at all, since there is none.
    monkeypatch.setattr(jax, "devices", lambda platform: [Gpu()])
    assert TRITON not in module(jnp.exp) and "RuntimeError" in row_kernel.unavailable(Gpu())


@dataclass(frozen=True)
class Gpu:
    platform: str = "gpu"

    @property
    def client(self):
        raise RuntimeError("no GPU")


def test_on_a_processor_there_are_none(capsys, monkeypatch):
    """A run that is to have them is refused."""
    from mdsl.command import cli

    monkeypatch.setenv("MDSL_KERNELS", "native")  # which the option changes, for the process
    example = str(Path(__file__).parents[2] / "examples" / "bubble_raft.mdsl")
    assert cli.main(["run", example, "--kernels", "pallas"]) == 2
    assert "no kernels of Pallas here: they are for GPUs, and this is a cpu" in capsys.readouterr().err
