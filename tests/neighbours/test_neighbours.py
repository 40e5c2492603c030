"""Neighbour lists, by XLA and by kernels of our own, and traversals against brute force."""

import dataclasses
import functools
import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import quick

from mdsl.lowering.kernels.staged import Staged
from mdsl.lowering.neighbours import columns
from mdsl.lowering.neighbours import lists as neighbours
from mdsl.lowering.planning import capacity
from mdsl.lowering.traversals.schedules import all_pairs_sum, each_other_sum, row_sum, slot_sum


@pytest.fixture(params=("xla", "native"), autouse=True)
def kernels(request, monkeypatch):
    """By which programs are compiled."""
    if request.param == "native":
        pytest.importorskip("llvmlite")
    monkeypatch.setenv("MDSL_KERNELS", request.param)
    return request.param


by_xla = pytest.mark.parametrize("kernels", ("xla",), indirect=True)


def gas(n, lengths, seed=0):
    return np.random.default_rng(seed).random((n, len(lengths))) * np.asarray(lengths)


def distances(x, lengths, periodic):
    d = x[:, None] - x[None]
    image = np.asarray(lengths) * np.round(d / lengths)
    return np.linalg.norm(np.where(periodic, d - image, d), axis=-1)


def pairs(slots, first=0):
    """The pairs of a list as a sorted array; duplicates stay."""
    row = np.arange(first, first + slots.shape[1])
    real = slots != row
    return np.sort(np.broadcast_to(row, slots.shape)[real] * 10**6 + np.asarray(slots)[real])


def compiled(plan):
    return _compiled(plan, os.environ["MDSL_KERNELS"])


@functools.lru_cache
def _compiled(plan, kernels):
    """The builder, compiled in a hurry (a fifth of the time)."""
    return jax.jit(functools.partial(neighbours.build, plan), compiler_options=quick.OPTIONS)


def check(x, lengths, periodic, radius, dtype=np.float32, plan=None):
    plan = plan or capacity.plan(len(x), lengths, periodic, radius, x)
    found = compiled(plan)(jnp.asarray(x, dtype), jnp.asarray(lengths, dtype), radius)
    assert not found.overflow
    order = np.asarray(found.order)
    assert np.array_equal(np.sort(order), np.arange(len(x)))
    x = np.asarray(x, dtype).astype(float)
    r = distances(x[order], lengths, periodic)
    np.fill_diagonal(r, np.inf)
    got = pairs(np.asarray(found.slots))
    assert len(np.unique(got)) == len(got)
    present = np.zeros(r.shape, bool)
    present[got // 10**6, got % 10**6] = True
    assert present[r < radius].all()  # rounding loses none
    blur = 2e-6 * (radius + np.where(periodic, lengths, np.ptp(x, axis=0)).sum())
    assert (r[present] < radius + blur).all()
    count = present.sum(axis=1)
    assert found.needed.slots == count.max()
    assert (found.lengths == (count.max() if os.environ["MDSL_KERNELS"] == "xla" else count)).all()
    return plan, found


SYSTEMS = {
    "liquid": (1500, (12.0, 13.0, 12.5), (True, True, True), 2.8),
    "two columns": (600, (5.0, 5.1, 5.2), (True, True, True), 2.5),
    "three columns": (700, (7.0, 7.6, 5.3), (True, True, True), 2.5),
    "dilute": (300, (60.0, 50.0, 70.0), (True, True, True), 2.8),
    "slab": (800, (9.0, 9.0, 30.0), (True, True, False), 2.5),
    "wire": (800, (9.0, 9.0, 12.0), (False, False, True), 2.5),
    "flat, small": (200, (5.2, 5.0), (True, True), 2.5),
    "flat, mixed": (600, (25.0, 20.0), (False, True), 2.5),
    "one": (1, (6.0, 6.0, 6.0), (True, True, True), 2.9),
}


@pytest.mark.parametrize("name", SYSTEMS)
def test_list_is_complete(name):
    n, lengths, periodic, radius = SYSTEMS[name]
    check(gas(n, lengths), lengths, periodic, radius)


def test_double_precision():
    with jax.enable_x64(True):
        check(gas(1200, (11.0, 12.0, 13.0)), (11.0, 12.0, 13.0), (True, True, True), 2.8, np.float64)


def test_awkward_positions():
    lengths = (9.0, 9.0, 9.0)
    x = gas(600, lengths)
    x[:40] = np.round(x[:40] / 3) * 3  # on the edges of columns and of the box, and on each other
    x[40:60] = x[40]
    x[60:200] += 9.0 * np.random.default_rng(1).integers(-3, 4, (140, 3))  # not wrapped
    r = distances(x, lengths, (True,) * 3)
    check(x, lengths, (True,) * 3, 2.9)
    assert (r[40, 41:60] < 1e-6).all()


def test_stray_atom_and_moved_cluster():
    x = gas(500, (8.0, 8.0, 8.0)) - 400.0  # no box to be in
    plan, _ = check(x, (1.0, 1.0, 1.0), (False,) * 3, 2.5)
    x[0] += 150.0
    check(x, (1.0, 1.0, 1.0), (False,) * 3, 2.5, plan=capacity.plan(500, (1.0,) * 3, (False,) * 3, 2.5, x))


def test_planned_without_positions():
    lengths = (12.0, 12.0, 12.0)
    plan = capacity.plan(1500, lengths, (True,) * 3, 2.5)
    x = gas(1500, lengths)
    for _ in range(3):
        found = compiled(plan)(jnp.asarray(x, jnp.float32), jnp.asarray(lengths), 2.5)
        if not found.overflow:
            break
        plan = capacity.grow(plan, found.needed)
    check(x, lengths, (True,) * 3, 2.5, plan=plan)


def test_overflow_is_told_and_cured():
    lengths, periodic = (10.0, 10.0, 10.0), (True,) * 3
    x = gas(900, lengths)
    plan = capacity.plan(900, lengths, periodic, 2.5, x)
    small = dataclasses.replace(plan, slots=8)
    found = compiled(small)(jnp.asarray(x, jnp.float32), jnp.asarray(lengths), 2.5)
    assert found.overflow
    assert capacity.grow(small, found.needed).window == plan.window
    small = dataclasses.replace(small, window=20)
    found = compiled(small)(jnp.asarray(x, jnp.float32), jnp.asarray(lengths), 2.5)
    assert found.overflow
    grown = capacity.grow(small, found.needed)  # the slots that a cut window shows may be too few
    found = compiled(grown)(jnp.asarray(x, jnp.float32), jnp.asarray(lengths), 2.5)
    check(x, lengths, periodic, 2.5, plan=capacity.grow(grown, found.needed))


def test_shrunken_box_is_told_and_cured():
    lengths, periodic = np.array((10.1, 10.1, 10.1)), (True,) * 3
    x = gas(900, lengths)
    plan = capacity.plan(900, lengths, periodic, 2.5, x)
    found = compiled(plan)(jnp.asarray(x * 0.95, jnp.float32), jnp.asarray(lengths * 0.95), 2.5)
    assert found.overflow
    grown = capacity.grow(plan, found.needed)
    while True:
        found = compiled(grown)(jnp.asarray(x * 0.95, jnp.float32), jnp.asarray(lengths * 0.95), 2.5)
        if not found.overflow:
            break
        grown = capacity.grow(grown, found.needed)
    check(x * 0.95, lengths * 0.95, periodic, 2.5, plan=grown)


@by_xla
def test_short_box_is_refused():
    with pytest.raises(ValueError, match="twice the list radius"):
        capacity.plan(10, (4.0, 9.0, 9.0), (True,) * 3, 2.5)


def test_ranges_of_rows():
    lengths = (12.0, 12.0, 12.0)
    x = jnp.asarray(gas(1001, lengths), jnp.float32)
    plan, whole = check(np.asarray(x, float), lengths, (True,) * 3, 2.5)

    @functools.partial(jax.jit, static_argnums=1, compiler_options=quick.OPTIONS)
    def part(start, count):
        return neighbours.build(plan, x, jnp.asarray(lengths), 2.5, rows=(start, count)).slots

    for start, count in ((0, 501), (501, 501), (990, 30)):
        rows = np.arange(start, start + count)
        slots = np.asarray(part(start, count))
        inside = rows < 1001
        assert np.array_equal(slots[:, inside], np.asarray(whole.slots)[:, rows[inside]])
        assert (slots[:, ~inside] == rows[~inside]).all()


def test_under_cond_and_vmap():
    lengths = jnp.asarray((8.0, 8.0, 8.0))
    x = jnp.stack([jnp.asarray(gas(300, (8.0,) * 3, seed), jnp.float32) for seed in range(2)])
    plan = capacity.plan(300, (8.0,) * 3, (True,) * 3, 2.5)
    plan = dataclasses.replace(plan, slots=80, window=150)
    old = compiled(plan)(x[0], lengths, 2.5)

    @functools.partial(jax.jit, compiler_options=quick.OPTIONS)
    def both(x, go):
        build = functools.partial(neighbours.build, plan, box=lengths, radius=2.5)
        return jax.lax.cond(go, lambda: build(x[1]), lambda: old), jax.vmap(build)(x)

    new, batch = both(x, True)
    assert not batch.overflow.any()
    assert np.array_equal(batch.slots, np.stack([old.slots, new.slots]))


ORDERS = {"one sort": (20, 20, 30), "by ranks": (30, 30, 40), "by digits": (200, 200, 4)}


@by_xla
@pytest.mark.parametrize("cells", ORDERS.values(), ids=ORDERS)
def test_ways_to_order_atoms(cells):
    """Which way is taken depends on the numbers of atoms, columns and bins; ranks need columns that are not too
    full."""
    n, rng = 70_000, np.random.default_rng(0)
    plan = capacity.Plan(n, (True,) * 3, cells, window=1, slots=4)
    sort = jax.jit(functools.partial(columns._order, plan), compiler_options=quick.OPTIONS)
    along = rng.integers(0, cells[-1], n)
    for crowded in (0.0, 0.9, 1.0):
        column = np.where(rng.random(n) < crowded, plan.columns - 1, rng.integers(0, plan.columns, n))
        order = sort(jnp.asarray(column, jnp.int32), jnp.asarray(along, jnp.int32))
        key = column * cells[-1] + along
        assert np.array_equal(np.sort(order), np.arange(n)) and (np.diff(key[np.asarray(order)]) >= 0).all()


@pytest.mark.parametrize("n, parts, lengths", [(5, 4, (6.0, 6.0, 6.0)), (6128, 3, (1.0, 1.0, 700.0))])
def test_what_stood_in_the_place_of_a_list_does_not_matter(n, parts, lengths):
    """Rows are filled in several blocks, of which the last is cut. Some are padding; in the wire the last block that
    has atoms is full, so that it does not reach the padding."""
    rng = np.random.default_rng(0)
    x = jnp.asarray(gas(n, lengths), jnp.float32)
    plan = capacity.plan(n, lengths, (False,) * 3, 2.5, x)
    whole, count = compiled(plan)(x, jnp.asarray(lengths), 2.5), -(-n // parts)

    @functools.partial(jax.jit, donate_argnums=1, compiler_options=quick.OPTIONS)
    def part(start, into):
        return neighbours.build(plan, x, jnp.asarray(lengths), 2.5, rows=(start, count), into=into).slots

    for start in range(0, parts * count, count):
        rows = np.arange(start, start + count)
        expected = np.where(rows < n, np.asarray(whole.slots)[:, np.minimum(rows, n - 1)], rows)
        garbage = rng.integers(-(2**31), 2**31 - 1, (plan.slots, count)).astype(np.int32)
        assert np.array_equal(part(start, jnp.asarray(garbage)), expected)


# --- traversals ---------------------------------------------------------------


def repulsion(lengths, radius):
    def body(own, other, valid):
        d = [a - b - box * jnp.round((a - b) / box) for a, b, box in zip(own["x"], other["x"], lengths)]
        r2 = sum(a * a for a in d)
        u = jnp.where(valid & (r2 < radius**2), (radius**2 - r2) ** 2 * own["q"] * other["q"], 0)
        return {"u": u, "n": valid & (r2 < radius**2), "f": tuple(u * a for a in d)}

    def counted(own, other, valid):
        terms = body(own, other, valid)
        return {**terms, "n": terms["n"].astype(jnp.int32)}

    return counted


@by_xla
@pytest.mark.parametrize("n", [1, 700])
def test_schedules_agree(n):
    lengths = (9.0, 9.0, 9.0)
    x = gas(n, lengths)
    x[: n // 20] = x[0]  # atoms that coincide are pairs
    plan = capacity.plan(n, lengths, (True,) * 3, 2.6, x)
    found = compiled(plan)(jnp.asarray(x, jnp.float32), jnp.asarray(lengths), 2.6)
    x = x[np.asarray(found.order)]
    q = np.linspace(1.0, 2.0, n)
    r2 = distances(x, lengths, True) ** 2
    weight = np.where((r2 < 2.5**2) & ~np.eye(n, dtype=bool), (2.5**2 - r2) ** 2 * q[:, None] * q, 0)
    atoms = {"x": tuple(jnp.asarray(x.T, jnp.float32)), "q": jnp.asarray(q, jnp.float32)}
    f = jnp.zeros(n)
    zeros = {"u": f, "n": jnp.zeros(n, jnp.int32), "f": (f, f, f)}
    body = repulsion(lengths, 2.5)
    factors = lambda own, other, valid: {"whole": body(own, other, valid), "u": body(own, other, valid)["u"]}  # noqa: E731
    staged = Staged(factors, lambda found, own, other, valid: found["whole"] | {"u": found["u"] * valid})

    @functools.partial(jax.jit, compiler_options=quick.OPTIONS)
    def schedules(atoms, slots, used):
        return (
            slot_sum(body, slots, atoms, atoms, zeros),
            slot_sum(body, slots, atoms, atoms, zeros, unroll=3, used=used),
            slot_sum(staged, slots, atoms, atoms, zeros, unroll=3, used=used),
            slot_sum(staged, slots, atoms, atoms, zeros),
            row_sum(body, slots, atoms, atoms, zeros),
            all_pairs_sum(body, atoms, atoms, zeros),
            each_other_sum(body, atoms, atoms, zeros),
            each_other_sum(staged, atoms, atoms, zeros),
        )

    for result in schedules(atoms, found.slots, found.needed.slots):
        np.testing.assert_allclose(result["u"], weight.sum(axis=1), rtol=1e-4, atol=1e-3)
        np.testing.assert_array_equal(result["n"], (weight > 0).sum(axis=1))
        assert np.abs(np.sum(result["f"], axis=1)).max() < 0.05  # action and reaction


SHARDED = (
    f"OPTIONS = {quick.OPTIONS}"
    + """
import jax, jax.numpy as jnp, numpy as np
jax.config.update("jax_num_cpu_devices", 3)
from mdsl.lowering.neighbours import columns, lists as neighbours
from mdsl.lowering.planning import capacity
from mdsl.lowering.traversals.schedules import Shards, slot_sum
n, lengths = 1000, jnp.full(3, 11.0)
x = jnp.asarray(np.random.default_rng(0).random((n, 3)) * 11, jnp.float32)
plan = capacity.plan(n, (11.0,) * 3, (True,) * 3, 2.5, x)
jit = lambda f: jax.jit(f, compiler_options=OPTIONS)
whole = jit(lambda x: neighbours.build(plan, x, lengths, 2.5))(x)

def body(own, other, valid):
    d = [a - b - 11 * jnp.round((a - b) / 11) for a, b in zip(own, other)]
    r2 = sum(a * a for a in d)
    return (jnp.where(valid & (r2 < 2.4**2), r2, 0),)

shards = Shards(n, 3)
def part(x):
    found = shards.build(plan, x, lengths, 2.5)
    sorted = shards.local(tuple(x[found.order].T))
    total = slot_sum(body, found.slots, sorted, shards.everywhere(sorted), (jnp.zeros(shards.count),), rows=shards.rows())
    return total[0], found.slots, found.needed, found.overflow
total, slots, needed, overflow = jit(shards.over(shards.mesh(), part, "all", ("rows", "slots", "all", "all")))(x)
assert not overflow and needed.slots == whole.needed.slots
assert np.array_equal(slots[:, :n], whole.slots) and total.shape == (shards.total,)
atoms = tuple(x[whole.order].T)
expected = jit(lambda: slot_sum(body, whole.slots, atoms, atoms, (jnp.zeros(n),)))()[0]
np.testing.assert_allclose(total[:n], expected, rtol=1e-5)
assert not total[n:].any()
"""
)


@pytest.mark.parametrize("kernels", ("xla", pytest.param("native", marks=pytest.mark.slow)), indirect=True)
def test_sharded():
    environment = {k: v for k, v in os.environ.items() if k not in ("XLA_FLAGS", "JAX_NUM_CPU_DEVICES")}
    done = subprocess.run([sys.executable, "-c", SHARDED], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


BLOWN_UP = """
import sys
sys.path[:0] = sys.argv[1].split(":")
import jax
jax.config.update("jax_num_cpu_devices", 2)
import mdsl
from compiled import HEAD, PAIRS_BY
from mdsl.lowering.run.execution import Execution
calls, listed, advance = [], Execution.listed, Execution.advance
Execution.listed = lambda *given: calls.append("list") or listed(*given)
Execution.advance = lambda *given: calls.append("chunk") or advance(*given)
text = HEAD + "energy U = sum(i < j) force_shifted(lennard_jones(1.0, 1.0), 1.5)(|x[i] - x[j]|)"
text += "run { x = fcc(density = 0.8, cells = 3)  v ~ maxwell(2)  velocity_verlet(dt = 0.04) for 1000 }"
try:
    mdsl.compile(text).bind(devices=jax.devices(), skin=0.1, policy=PAIRS_BY["list"]).run(jax.random.key(0))
except mdsl.Rejected as error:
    assert [d.id for d in error.diagnostics] == ["blow-up"]
    assert calls[::-1].index("chunk") > 3  # lists since the last state that is known to be sound
    print("told")
"""


@by_xla
@pytest.mark.slow
def test_a_blow_up_on_two_devices_after_several_lists():
    """The chunk is replayed from its beginning, whose list is gone."""
    environment = {k: v for k, v in os.environ.items() if k not in ("XLA_FLAGS", "JAX_NUM_CPU_DEVICES")}
    done = subprocess.run(
        [sys.executable, "-c", BLOWN_UP, os.pathsep.join(sys.path)],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout.strip()) == (0, "told"), done.stderr
