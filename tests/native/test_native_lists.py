"""Neighbour lists by a kernel of our own against those of XLA, on random systems; `tests/neighbours` compares both with
brute force."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import quick
from compiled import HEAD, PAIRS_BY

import mdsl
from mdsl.lowering.geometry.cell import of_matrix
from mdsl.lowering.native import call as native
from mdsl.lowering.native import list_call
from mdsl.lowering.neighbours import lists
from mdsl.lowering.planning import capacity
from mdsl.lowering.traversals import schedules

pytest.importorskip("llvmlite")


@pytest.fixture
def chosen(monkeypatch):
    monkeypatch.setenv("MDSL_KERNELS", "native")


def system(seed):
    """Positions, a box, which axes repeat, and a radius: in two or three dimensions, skew or not, of any width along
    each axis, crowded in places, some atoms out of the box or on each other."""
    rng = np.random.default_rng(seed)
    d, n = int(rng.integers(2, 4)), int(rng.integers(2, 500))
    periodic = tuple(bool(p) for p in rng.random(d) < 0.75)
    cell = np.diag(rng.uniform(2.1, 9.0, d))
    if rng.random() < 0.5:
        cell = cell + np.tril(rng.uniform(-4, 4, (d, d)), -1)
    free = ~np.array(periodic)
    x = rng.random((n, d)) ** rng.uniform(1, 2) @ cell
    x += rng.integers(-1, 2, (n, d)) * np.array(periodic) @ cell
    x[: n // 10] = x[n // 2]
    cell[free], cell[:, free] = 0.0, 0.0
    cell[free, free] = 1.0
    return x, cell, periodic, 1.0


def built(plan, x, cell, radius, dtype):
    build = jax.jit(functools.partial(lists.build, plan), compiler_options=quick.OPTIONS)
    tilted = bool(np.any(cell != np.diag(np.diag(cell))))
    return build(jnp.asarray(x, dtype), of_matrix(jnp.asarray(cell, dtype), tilted), radius)


def pairs(found, x, cell, periodic, radius):
    """Those of a list, by the user's indices, that are not so near the radius that rounding decides."""
    slots, order = np.asarray(found.slots), np.asarray(found.order)
    row = np.broadcast_to(np.arange(slots.shape[1]), slots.shape)
    i, j = order[row[slots != row]], order[slots[slots != row]]
    d = x[i] - x[j]
    for k in reversed(range(len(cell))):
        if periodic[k]:
            d -= np.round(d[:, k] / cell[k, k])[:, None] * cell[k]
    sure = abs(np.linalg.norm(d, axis=1) - radius) > 1e-4
    return np.sort(i[sure].astype(np.int64) * 10**6 + j[sure])


def same_as_xla(seed, monkeypatch):
    x, cell, periodic, radius = system(seed)
    plan = capacity.plan(len(x), cell, periodic, radius, x)
    found = []
    for kernels in ("xla", "native"):
        monkeypatch.setenv("MDSL_KERNELS", kernels)
        found.append(built(plan, x, cell, radius, np.float32))
    theirs, ours = found
    assert not theirs.overflow and not ours.overflow
    np.testing.assert_array_equal(theirs.order, ours.order)
    np.testing.assert_array_equal(*(pairs(f, x, cell, periodic, radius) for f in found))
    np.testing.assert_array_equal(theirs.needed.cells, ours.needed.cells)
    slots, rows = np.asarray(ours.slots), np.arange(len(x))
    place = np.arange(plan.slots)[:, None]
    assert ((slots != rows) == (place < np.asarray(ours.lengths))).all()  # all neighbours come first
    assert ours.needed.slots == ours.lengths.max() and ours.needed.window <= theirs.needed.window


@pytest.mark.parametrize("seed", range(2))
def test_random_systems(seed, monkeypatch):
    same_as_xla(seed, monkeypatch)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2, 24))
def test_more_random_systems(seed, monkeypatch):
    same_as_xla(seed, monkeypatch)


def test_any_processor_fills_the_same_slots(chosen, monkeypatch):
    """Vectors of any width, with and without an operation that brings lanes together."""
    x, cell, periodic, radius = system(5)
    plan = capacity.plan(len(x), cell, periodic, radius, x)
    whole = built(plan, x, cell, radius, np.float32)
    monkeypatch.setattr(list_call, "packs", lambda: False)
    for width in (4, 16):
        monkeypatch.setattr(list_call, "lanes", lambda size, width=width: width)
        jax.tree.map(np.testing.assert_array_equal, built(plan, x, cell, radius, np.float32), whole)


def test_repeats_bit_for_bit_in_the_place_of_the_old_list(chosen):
    x, cell, periodic, radius = system(6)
    cell = np.diag(np.diag(cell))
    plan = capacity.plan(len(x), cell, periodic, radius, x)
    first = built(plan, x, cell, radius, np.float32)

    @functools.partial(jax.jit, donate_argnums=0, compiler_options=quick.OPTIONS)
    def again(into):
        return lists.build(plan, jnp.asarray(x, jnp.float32), jnp.asarray(np.diag(cell)), radius, into=into)

    into = jnp.full((plan.slots, len(x)), -7, jnp.int32)
    where = into.unsafe_buffer_pointer()
    found = again(into)
    assert found.slots.unsafe_buffer_pointer() == where
    jax.tree.map(np.testing.assert_array_equal, found, first)


def test_of_two_axes_of_replicas(chosen):
    """Each with a box of its own."""
    rng = np.random.default_rng(0)
    edges = rng.uniform(5, 6, (2, 3, 3))
    x = rng.random((2, 3, 90, 3)) * edges[:, :, None]
    plan = capacity.plan(90, (6.0,) * 3, (True,) * 3, 2.0)
    plan = capacity.Plan(90, plan.periodic, (2, 2, 20), 90, 60)
    build = functools.partial(lists.build, plan, radius=2.0)
    x, edges = jnp.asarray(x, jnp.float32), jnp.asarray(edges, jnp.float32)
    jit = functools.partial(jax.jit, compiler_options=quick.OPTIONS)
    every, one = jit(jax.vmap(jax.vmap(lambda x, box: build(x, box))))(x, edges), jit(build)
    for k in np.ndindex(2, 3):
        jax.tree.map(lambda a, b, k=k: np.testing.assert_array_equal(a[k], b), every, one(x[k], edges[k]))


def test_what_is_no_number_does_no_harm(chosen):
    """A run that blows up builds a list of it, and is told so afterwards."""
    x, cell, periodic, radius = system(5)
    plan = capacity.plan(len(x), cell, periodic, radius, x)
    for wrong in (np.nan, np.inf, -1e30):
        bad = x.copy()
        bad[3:9] = wrong
        found = built(plan, bad, cell, radius, np.float32)
        slots = np.asarray(found.slots)
        assert ((slots >= 0) & (slots < len(x))).all()
        assert np.array_equal(np.sort(found.order), np.arange(len(x)))


def test_a_list_that_does_not_fit_counts_all_neighbours(chosen):
    x, cell, periodic, radius = system(5)
    plan = capacity.plan(len(x), cell, periodic, radius, x)
    whole = built(plan, x, cell, radius, np.float32)
    assert whole.needed.slots > 19
    for slots in (4, 18, 19):  # that are no multiple of anything
        small = capacity.Plan(plan.n_atoms, periodic, plan.cells, plan.window, slots)
        cut = built(small, x, cell, radius, np.float32)
        assert cut.overflow and cut.needed.slots == whole.needed.slots
        np.testing.assert_array_equal(cut.order, whole.order)
        np.testing.assert_array_equal(cut.lengths, whole.lengths)
        np.testing.assert_array_equal(cut.slots, whole.slots[:slots])
    assert not built(capacity.grow(small, cut.needed), x, cell, radius, np.float32).overflow


@pytest.mark.parametrize("dtype", (jnp.float32, jnp.float64))
def test_sums_end_where_the_rows_of_a_block_do(dtype):
    """Of what stands behind the longest row of a block nothing is added."""
    with jax.enable_x64(True):
        rng = np.random.default_rng(3)
        n, count = 53, 9
        lengths = np.where(np.arange(n) < 32, 0, rng.integers(0, count + 1, n)).astype(np.int32)
        slots = rng.integers(0, n, (count, n)).astype(np.int32)
        listed = np.where(np.arange(count)[:, None] < lengths, slots, np.arange(n)).astype(np.int32)
        given, zeros = jnp.asarray(rng.normal(size=n), dtype), jnp.zeros(n, dtype)
        junk = np.where(np.arange(n) < 32, slots, listed)
        body = lambda own, other, valid: jnp.where(valid, own * other, 0)  # noqa: E731
        found = native.slot_sum(body, jnp.asarray(junk), given, given, zeros, lengths=jnp.asarray(lengths))
        expected = schedules.slot_sum(body, jnp.asarray(listed), given, given, zeros)
        np.testing.assert_allclose(found, expected, rtol=1e-5 if dtype == jnp.float32 else 1e-13, atol=1e-6)
        assert not found[:32].any() and found[32:].any()


TEXT = HEAD + (
    "energy U = sum(i < j) force_shifted(lennard_jones(1.0, 1.0), 1.6)(|x[i] - x[j]|)\n"
    "run { x = fcc(density = 0.8, cells = 4)  v ~ maxwell(2)  velocity_verlet(dt = 0.004) for 60 record U every 20 }"
)


@pytest.mark.slow
def test_a_run_is_the_same_with_either_list(monkeypatch):
    """The skin is short, so that lists are built often."""
    found = []
    for kernels in ("xla", "native"):
        monkeypatch.setenv("MDSL_KERNELS", kernels)
        policy = PAIRS_BY["list"]
        result = mdsl.compile(TEXT).bind(skin=0.1, policy=policy, precision="double").run(jax.random.key(1))
        found.append(np.asarray(result.records["U"]))
    assert len(found[0]) == 4
    np.testing.assert_allclose(found[0], found[1], rtol=1e-9)
