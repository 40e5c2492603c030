"""Tables in native kernels: rows of coefficients, lookups of any order and beyond any end, and programs with tables under
all derivatives; and numbers that no whole number can hold."""

import eam_files
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compiled import bound

import mdsl
from mdsl.lowering.kernels.tables import lookup
from mdsl.lowering.native import call as native
from mdsl.lowering.native import compile
from mdsl.lowering.native.compile import processor
from mdsl.lowering.neighbours.gather import row_of_four
from mdsl.lowering.traversals import schedules
from mdsl.model.curves import CONTINUE, HOLD, REPEAT, STOP, Curves

pytest.importorskip("llvmlite")
RNG = np.random.default_rng(4)
FLOATS = (jnp.float32, jnp.float64)

ALLOY = """
use units.metal
species Au, Cu
table F[species], g[species], phi[species, species] = setfl("alloy.setfl")
param lambda = 1.1
quantity rho[i] = sum(j != i) g[j](|x[i] - x[j]|)
energy embedding = sum(i) F[i](rho[i])
energy pairs = lambda*sum(i < j) phi[i, j](lambda*|x[i] - x[j]|)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return eam_files.write(tmp_path_factory.mktemp("tables"))


def by_pairs(function, own, others, count, kernels):
    """Sums of a function of two numbers over ``count`` others of each row, [n]."""
    slots = jnp.asarray(np.arange(1, count + 1)[:, None] + np.arange(len(own)), jnp.int32)

    def pair(a, b, valid):
        return jnp.where(valid, function(a, b), 0)

    schedule = native.slot_sum if kernels == "native" else schedules.slot_sum
    zeros = jnp.zeros(len(own), own.dtype)
    return jax.jit(lambda own, others: schedule(pair, slots, own, others, zeros))(own, others)


# -- rows ------------------------------------------------------------------------------------------------


def test_rows_of_a_table_under_all_transformations():
    table, index = jnp.asarray(RNG.normal(size=(3, 16, 4))), jnp.asarray(RNG.integers(0, 16, (3, 5)))
    for axes, given in (
        ((None, 1), (table[0], index.T)),
        ((0, None), (table, index[0])),
        ((2, 0), (jnp.moveaxis(table, 0, 2), index)),
    ):
        found = jax.vmap(row_of_four, axes)(*given)
        one = jnp.broadcast_to(table[0] if axes[0] is None else table, table.shape)
        rows = jnp.broadcast_to(index[0] if axes[1] is None else index, index.shape)
        expected = jnp.moveaxis(jnp.take_along_axis(one, rows[..., None], 1), -1, 0)
        np.testing.assert_array_equal(jnp.stack(found), expected)
    weights = jnp.asarray(RNG.normal(size=(4, 5)))

    def total(table):
        return sum(jnp.sum(w * c**2) for w, c in zip(weights, row_of_four(table, index[0])))

    slope = np.zeros((16, 4))
    for k, row in enumerate(index[0]):
        slope[row] += 2 * weights[:, k] * table[0, row]
    np.testing.assert_allclose(jax.grad(total)(table[0]), slope, rtol=1e-12)
    np.testing.assert_allclose(jax.jvp(total, (table[0],), (table[1],))[1], np.sum(slope * table[1]), rtol=1e-12)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("count, size", ((1, 64), (16, 64), (17, 64), (40, 64), (17, 32), (17, 16)))
def test_as_many_slots_as_there_are(count, size, dtype, monkeypatch):
    """They are gone through some at a time, with vectors of so many bytes."""
    if size < processor()[2]:
        monkeypatch.setattr(compile, "LONGEST", size)
        processor.cache_clear()
    table = jnp.asarray(RNG.normal(size=(64, 4)), dtype)
    other = jnp.asarray(RNG.normal(size=(16, 4)), dtype)

    def value(a, b):
        less = a < b  # a truth value that the second stage reads
        k = jnp.asarray(40 * jnp.abs(a - b), jnp.int32)
        (p, q, r, s), (t, *_), (*_, u) = row_of_four(table, k), row_of_four(table, k + 3), row_of_four(other, k // 4)
        return jnp.where(less, b * (p + q * a + r * s), t * u)

    own, others = (jnp.asarray(RNG.normal(size=n), dtype) for n in (37, 80))
    found, expected = (by_pairs(value, own, others, count, kernels) for kernels in ("native", "xla"))
    processor.cache_clear()
    np.testing.assert_allclose(found, expected, rtol=1e-5 if dtype == jnp.float32 else 1e-13, atol=1e-5)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("kind", ("int32", "int64"))
def test_whole_numbers_of_what_has_none(kind, dtype):
    """As XLA has them: the nearest there is, 0 of what is not a number."""
    hard = [np.nan, np.inf, -np.inf, 1e30, -1e30, 2.0**31, -(2.0**31), 2.0**63, -(2.0**63), -0.7, 2.5, 2147483520.0]
    values = jnp.asarray([*hard, 0.0], dtype)

    def pair(a, b, valid):
        return jnp.where(valid, b.astype(kind), 0)

    n, zeros = len(hard), jnp.zeros(len(hard), kind)
    slots, rows = jnp.arange(n, dtype=jnp.int32)[None], jnp.full(n, n, jnp.int32)
    found, expected = (
        jax.jit(lambda s=s: s.slot_sum(pair, slots, values[:n], values, zeros, rows=rows))()
        for s in (native, schedules)
    )
    np.testing.assert_array_equal(found, expected)
    assert list(np.asarray(found[:3])) == [0, np.iinfo(kind).max, np.iinfo(kind).min]


# -- lookups ---------------------------------------------------------------------------------------------

TABLES = {
    "ends": {"end": 1.8},
    "its last knot": {"end": 1.9},
    "begins": {"first": 0.35},
    "hold": {"beyond": HOLD},
    "continue": {"beyond": CONTINUE},
    "stop": {"beyond": STOP},
    "repeat": {"beyond": REPEAT},
    "divided": {"divided": True, "end": 1.85},
}


@pytest.mark.parametrize("order", range(5))
@pytest.mark.parametrize("name", TABLES)
def test_lookups(name, order):
    """Of one curve and of several, inside and outside of the knots, beside the interpreter."""
    more = {"first": 0.0, **TABLES[name]}
    for count in (1, 3):
        curves = Curves(values=RNG.normal(size=(count, 20)), step=0.1, number=np.arange(count), **more)
        at = np.concatenate([RNG.uniform(curves.first, curves.last, 60), [-0.33, 1e-3, 1.86, 1.96, 2.7, 9.0, np.nan]])
        which = RNG.integers(0, count, at.size)
        expected = curves.value(which, order, at)
        for dtype in FLOATS:

            def pair(own, other, valid):
                return jnp.where(valid, lookup(curves, order, False, other["which"], other["at"]), 0)

            others = {"at": jnp.asarray(at, dtype), "which": jnp.asarray(which, jnp.int32)}
            n = at.size
            slots, rows = jnp.arange(n, dtype=jnp.int32)[None], jnp.full(n, n, jnp.int32)
            own = {"at": others["at"]}
            found = jax.jit(lambda: native.slot_sum(pair, slots, own, others, jnp.zeros(n, dtype), rows=rows))()  # noqa: B023
            rounding = 1e-9 if dtype == jnp.float64 else 2e-3
            np.testing.assert_allclose(
                found, expected, rtol=rounding, atol=rounding * np.nanmax(np.abs(expected), initial=1)
            )


# -- programs --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "precision, traversal",
    [
        ("double", "all pairs"),
        *(pytest.param(p, "list", marks=pytest.mark.slow) for p in ("single", "mixed", "double")),
    ],
)
def test_derivatives_of_an_alloy(precision, traversal, folder, monkeypatch):
    """Energy, its gradient by positions, a parameter and the box, and in double precision how that changes along a
    direction, beside XLA's lowering, which other tests hold against the interpreter."""
    program = mdsl.compile(ALLOY, folder)
    rng = np.random.default_rng(5)
    cells = np.stack(np.meshgrid(*[np.arange(4)] * 3), -1).reshape(-1, 3)
    x, edge = 3.3 * (cells + rng.uniform(0.2, 0.8, cells.shape)), 13.2
    species = ["Au", "Cu"] * 32
    found = {}
    for kernels in ("xla", "native"):
        monkeypatch.setenv("MDSL_KERNELS", kernels)
        jax.clear_caches()
        made = len(native._compiled)
        system = bound(program, x, traversal, box=edge, species=species, precision=precision)
        at = ({"lambda": jnp.asarray(1.1)}, jnp.asarray(x), jnp.asarray([edge] * 3))
        along = jax.tree.map(lambda v: jnp.asarray(np.random.default_rng(6).normal(size=v.shape)), at)

        def gradient(a):
            return jax.value_and_grad(lambda a: system.energy(a[1], params=a[0], box=a[2]))(a)  # noqa: B023

        twice = jax.jit(lambda a, d: jax.jvp(gradient, (a,), (d,)))
        found[kernels] = twice(at, along) if precision == "double" else jax.jit(gradient)(at)
        found[kernels] = jax.tree.map(np.asarray, (found[kernels], system.forces(x)))
        assert (len(native._compiled) > made) == (kernels == "native")
    rounding = 1e-10 if precision == "double" else 3e-4
    for a, b in zip(*map(jax.tree.leaves, (found["native"], found["xla"]))):
        np.testing.assert_allclose(a, b, rtol=rounding, atol=rounding * np.abs(b).max())


@pytest.mark.parametrize("traversal, atoms", (("all pairs", 0), ("list", 1)))
def test_a_piece_is_read_once_for_a_pair(traversal, atoms, folder, monkeypatch):
    """A row for a function, its derivative, and both atoms where they are of one species, beside the row of an atom."""
    texts = []
    monkeypatch.setenv("MDSL_KERNELS", "native")
    assert native.chosen()  # which makes a kernel of its own
    monkeypatch.setattr(native, "printed", lambda *a, old=native.printed: texts.append(old(*a)) or texts[-1])
    pure = ALLOY.replace("species Au, Cu\n", "").replace("alloy", "Cu").replace("phi[i, j](lambda*", "phi[i, j](")
    system = bound(mdsl.compile(pure, folder), RNG.uniform(0, 14, (40, 3)), traversal, box=14.0)
    jax.jit(system.forces)(system.x)
    rows = sorted(text.count("store volatile") - atoms for text in texts)
    assert rows == [1, 2]
