"""Every energy of the standard library, with all its derivatives, and random programs: native kernels beside XLA's."""

import jax
import numpy as np
import pytest
import random_programs as random
from compiled import bound, program
from random_checks import check
from test_library_gradients import BONDS, EDGE, GROUPS, SPECIES, arguments, atoms, text_of

from mdsl.lowering.native import call as native

pytest.importorskip("llvmlite")
SMALL = {"single": 2e-4, "mixed": 2e-4, "double": 1e-9}
SEEDS = range(20)


def everything(group, precision):
    """Energy, its gradient by parameters, positions and box, and how that changes along a direction."""
    made = program(text_of(group), head="")
    more = {"topologies": {"bonds": BONDS}} if group == "bonded" else {}
    system = bound(made, atoms(), "list", box=EDGE, species=SPECIES, precision=precision, **more)
    at, rng = arguments(made, next(iter(GROUPS[group]))), np.random.default_rng(3)
    at[0].update({f"w_{name}": rng.uniform(0.5, 1.5) for name in GROUPS[group]})
    at = jax.tree.map(lambda v: jax.numpy.asarray(v, float), at)
    along = jax.tree.map(lambda v: jax.numpy.asarray(rng.normal(size=v.shape)), at)

    def gradient(a):
        return jax.value_and_grad(lambda a: system.energy(a[1], params=a[0], box=a[2]))(a)

    if precision != "double":
        return jax.tree.map(np.asarray, jax.jit(gradient)(at))
    return jax.tree.map(np.asarray, jax.jit(lambda a, d: jax.jvp(gradient, (a,), (d,)))(at, along))


@pytest.mark.exhaustive
@pytest.mark.parametrize("precision", SMALL)
@pytest.mark.parametrize("group", GROUPS)
def test_the_library(group, precision, monkeypatch):
    found = {}
    for kernels in ("xla", "native"):
        monkeypatch.setenv("MDSL_KERNELS", kernels)
        jax.clear_caches()
        made = len(native._compiled)
        found[kernels] = everything(group, precision)
        assert (len(native._compiled) > made) <= (kernels == "native")
    scale = max(np.abs(v).max() for v in jax.tree.leaves(found["xla"]))
    for a, b in zip(*map(jax.tree.leaves, (found["native"], found["xla"]))):
        np.testing.assert_allclose(a, b, rtol=SMALL[precision], atol=SMALL[precision] * min(scale, np.abs(b).max() + 1))


@pytest.mark.exhaustive
@pytest.mark.parametrize("seed", SEEDS)
def test_random_programs_with_native_kernels(seed, tmp_path, monkeypatch):
    """They mean what the interpreter says."""
    (tmp_path / random.TABLE).write_text(random.table())
    monkeypatch.setenv("MDSL_KERNELS", "native")
    jax.clear_caches()
    check(random.grown(seed), tmp_path)
