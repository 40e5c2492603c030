"""Pair sums as one operation of JAX: its derivatives of all orders against those of the plain loop."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mdsl.lowering.neighbours.gather import entry
from mdsl.lowering.traversals import schedules as traversal
from mdsl.lowering.traversals.pair_sum import FEW, pair_sum
from mdsl.lowering.traversals.parity import EVEN, MIXED, ODD, Both, both_ways
from mdsl.lowering.traversals.schedules import slot_sum

N, EDGE, REACH = 9, 4.0, 1.95
RNG = np.random.default_rng(0)
SLOTS = jnp.asarray([[j for j in range(N) if j != i] + [i] * 3 for i in range(N)], jnp.int32).T  # three are padding
SPECIES = jnp.asarray(RNG.integers(0, 2, N))
ATOMS = {"x": tuple(jnp.asarray(RNG.random((2, N)) * EDGE)), "q": jnp.asarray(RNG.random(N))}
PARAMS = {
    "table": jnp.array([[1.0, 2.0], [2.0, 0.5]]),
    "a": jnp.asarray(1.3),
    "many": jnp.asarray(RNG.random(FEW + 1)),
    "edge": jnp.asarray(EDGE),
}
ZEROS = {"u": jnp.zeros(N), "f": (jnp.zeros(N),) * 2}
WEIGHTS = jax.tree.map(lambda z: jnp.asarray(RNG.normal(size=N)), ZEROS)


def kernel(params):
    """Not symmetric in the two atoms, with numbers, a table of species and many coefficients closed over."""

    def body(own, other, valid):
        d = tuple(a - b for a, b in zip(own["x"], other["x"]))
        d = tuple(c - params["edge"] * jnp.round(c / params["edge"]) for c in d)
        square = jnp.where(valid, sum(c * c for c in d), 7.0)
        factor = entry(params["table"].reshape(-1), own["s"] * 2 + other["s"])
        series = sum(c * jnp.sin(0.1 * k * square) for k, c in enumerate(params["many"]) if k % 32 == 0)
        f = factor * own["q"] * other["q"] ** 2 * jnp.sin(params["a"] * square) + 0.1 * own["q"] * series
        f = jnp.where(valid & (square < REACH**2), f * (REACH**2 - square) ** 3, 0)
        return {"u": f, "f": tuple(f * c for c in d)}

    return body


def plain(params, atoms, slots=SLOTS):
    atoms = atoms | {"s": SPECIES}
    return slot_sum(kernel(params), slots, atoms, atoms, ZEROS)


def listed(params, atoms):
    return pair_sum(kernel(params), SLOTS, atoms | {"s": SPECIES}, ZEROS)


def unlisted(params, atoms):
    return pair_sum(kernel(params), None, atoms | {"s": SPECIES}, ZEROS)


def number(sums, *args):
    return sum(jnp.vdot(jnp.sin(3 * a), b) for a, b in zip(jax.tree.leaves(sums(*args)), jax.tree.leaves(WEIGHTS)))


def agree(a, b, atol=1e-9):
    jax.tree.map(lambda p, q: np.testing.assert_allclose(p, q, rtol=1e-8, atol=atol), a, b)


TANGENTS = jax.tree.map(lambda v: jnp.asarray(RNG.normal(size=v.shape)), (PARAMS, ATOMS))
TRANSFORMED = {
    "jvp": lambda sums: jax.jvp(sums, (PARAMS, ATOMS), TANGENTS),
    "grad": lambda sums: jax.grad(functools.partial(number, sums), (0, 1))(PARAMS, ATOMS),
    "forward over reverse": lambda sums: jax.jvp(
        jax.grad(functools.partial(number, sums), (0, 1)), (PARAMS, ATOMS), TANGENTS
    )[1],
    "reverse over reverse": lambda sums: jax.grad(
        lambda x: jnp.sum(jnp.sin(jax.grad(lambda x: number(sums, PARAMS, ATOMS | {"x": x}))(x)[0]))
    )(ATOMS["x"]),
}


@pytest.mark.parametrize("order", TRANSFORMED)
def test_derivatives_of_all_orders(order):
    expected = jax.jit(lambda: TRANSFORMED[order](plain))()
    for sums in (listed, unlisted):
        agree(jax.jit(lambda sums=sums: TRANSFORMED[order](sums))(), expected)


def test_vmap_outside_and_inside():
    many = jax.tree.map(lambda a: jnp.stack([a, 1.1 * a]), ATOMS)
    one = jax.jit(jax.grad(functools.partial(number, plain), (0, 1)))
    each = [one(PARAMS, jax.tree.map(lambda a, k=k: a[k], many)) for k in (0, 1)]
    expected = jax.tree.map(lambda *a: jnp.stack(a), *each)
    agree(jax.jit(jax.vmap(jax.grad(functools.partial(number, listed), (0, 1)), (None, 0)))(PARAMS, many), expected)
    total = jax.jit(jax.grad(lambda p, a: jnp.sum(jax.vmap(lambda a: number(listed, p, a))(a)), (0, 1)))(PARAMS, many)
    agree(total, (jax.tree.map(lambda a: jnp.sum(a, axis=0), expected[0]), expected[1]))


def test_pairs_left_out_of_all():
    left_out = jnp.asarray([[1, 0, 2, 3, 4, 5, 6, 7, 8]], jnp.int32)  # the pair of 0 and 1
    slots = jnp.where(left_out[0] == SLOTS, jnp.arange(N, dtype=jnp.int32), SLOTS)

    def unlisted(params, atoms):
        return pair_sum(kernel(params), None, atoms | {"s": SPECIES}, ZEROS, excluded=left_out)

    expected = jax.jit(lambda: TRANSFORMED["grad"](functools.partial(plain, slots=slots)))()
    agree(jax.jit(lambda: TRANSFORMED["grad"](unlisted))(), expected)


def test_all_pairs_at_once(monkeypatch):
    monkeypatch.setenv("MDSL_KERNELS", "xla")  # which has several ways
    jax.clear_caches()
    expected = jax.jit(lambda: TRANSFORMED["grad"](plain))()
    monkeypatch.setattr(traversal, "SMALLEST", 0)
    agree(jax.jit(lambda: TRANSFORMED["grad"](unlisted))(), expected)


@pytest.mark.parametrize("sums", (listed, lambda *given: traversal.listed_sum(*given)), ids=("operation", "loop"))
@pytest.mark.parametrize("kernels, platform, found", (
    ("xla", "cpu", "stablehlo.while"), ("xla", "cuda", "stablehlo.reduce"),
    ("native", "cpu", "@mdsl_pairs_"), ("native", "cuda", "stablehlo.reduce"),
))  # fmt: skip
def test_the_schedule_is_of_what_a_program_is_compiled_for(sums, kernels, platform, found, monkeypatch):
    """And not of the machine on which it is traced."""
    if kernels == "native":
        pytest.importorskip("llvmlite")
    monkeypatch.setenv("MDSL_KERNELS", kernels)
    jax.clear_caches()
    atoms = ATOMS | {"s": SPECIES}
    given = (PARAMS, ATOMS) if sums is listed else (kernel(PARAMS), SLOTS, atoms, atoms, ZEROS)
    text = jax.jit(lambda: sums(*given)).trace().lower(lowering_platforms=(platform,)).as_text()
    for schedule in ("stablehlo.while", "stablehlo.reduce", "@mdsl_pairs_"):
        assert (schedule in text) == (schedule == found)


def test_no_scatter_and_nothing_for_each_pair():
    """In the program of a gradient: neither an operation that scatters nor an array with an entry for each slot."""
    params = PARAMS | {"many": PARAMS["many"][:3]}
    text = (
        jax.jit(jax.grad(lambda p, x: number(listed, p, ATOMS | {"x": x}), (0, 1))).lower(params, ATOMS["x"]).as_text()
    )
    assert "scatter" not in text
    slots = f"tensor<{SLOTS.shape[0]}x{N}xf64>"
    assert slots not in text


def test_what_changes_when_atoms_change_places():
    def body(a, b, c):
        d = a - b
        return d * c, d * d, jnp.where(c > 0, d**3, 0), d + c, a * b, a - c

    jaxpr = jax.make_jaxpr(body)(1.0, 2.0, 3.0).jaxpr
    found = jax.jit(
        lambda a, b, c: [f.other for f in both_ways(jaxpr, [Both(a, MIXED, b), Both(b, MIXED, a), Both(c)])]
    )(1.0, 2.0, 3.0)
    agree(found, list(body(2.0, 1.0, 3.0)))
    a, b, c = jnp.asarray(1.0), jnp.asarray(2.0), jnp.asarray(3.0)
    kinds = [f.parity for f in both_ways(jaxpr, [Both(a, MIXED, b), Both(b, MIXED, a), Both(c)])]
    assert kinds == [ODD, EVEN, ODD, MIXED, EVEN, MIXED]
