"""Every energy of the standard library, with all its derivatives: native kernels beside XLA's. And random programs by
XLA's, which are those of all tests where there is no llvmlite, and of none where there is."""

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
# An energy or two of each group, and each precision. Derivatives of all are tested against differences elsewhere, by the
# kernels that there are.
FEW = (("pair", ("switched",), "double"), ("manybody", ("gupta",), "mixed"))
SOME = (
    ("bonded", ("fene", "cosine_angle"), "single"),
    ("coulomb", ("wolf", "reaction_field"), "single"),
    ("external and own", ("harmonic_trap", "energy_tail"), "double"),
    ("silica", ("bks",), "mixed"),
)


def everything(group, precision, turned):
    """Energy, its gradient by parameters, positions and box, and, to be ``turned``, how that changes along a
    direction."""
    made = program(text_of(group), head="")
    more = {"topologies": {"bonds": BONDS}} if group == "bonded" else {}
    system = bound(made, atoms(), "list", box=EDGE, species=SPECIES, precision=precision, **more)
    at, rng = arguments(made, next(iter(GROUPS[group]))), np.random.default_rng(3)
    at[0].update({f"w_{name}": rng.uniform(0.5, 1.5) for name in GROUPS[group]})
    at = jax.tree.map(lambda v: jax.numpy.asarray(v, float), at)
    along = jax.tree.map(lambda v: jax.numpy.asarray(rng.normal(size=v.shape)), at)

    def gradient(a):
        return jax.value_and_grad(lambda a: system.energy(a[1], params=a[0], box=a[2]))(a)

    if not turned:
        return jax.tree.map(np.asarray, jax.jit(gradient)(at))
    return jax.tree.map(np.asarray, jax.jit(lambda a, d: jax.jvp(gradient, (a,), (d,)))(at, along))


def compare(group, precision, turned, monkeypatch):
    found = {}
    for kernels in ("xla", "native"):
        monkeypatch.setenv("MDSL_KERNELS", kernels)
        jax.clear_caches()
        native.left.clear()
        made = len(native._compiled)
        found[kernels] = everything(group, precision, turned)
        assert kernels == "native" or len(native._compiled) == made
        assert not native.left
    scale = max(np.abs(v).max() for v in jax.tree.leaves(found["xla"]))
    for a, b in zip(*map(jax.tree.leaves, (found["native"], found["xla"]))):
        np.testing.assert_allclose(a, b, rtol=SMALL[precision], atol=SMALL[precision] * min(scale, np.abs(b).max() + 1))


@pytest.mark.parametrize(
    "group, names, precision", [*FEW, *(pytest.param(*given, marks=pytest.mark.slow) for given in SOME)]
)
def test_some_of_the_library(group, names, precision, monkeypatch):
    monkeypatch.setitem(GROUPS, group, {name: GROUPS[group][name] for name in names})
    compare(group, precision, False, monkeypatch)


@pytest.mark.exhaustive
@pytest.mark.parametrize("precision", SMALL)
@pytest.mark.parametrize("group", GROUPS)
def test_the_library(group, precision, monkeypatch):
    compare(group, precision, precision == "double", monkeypatch)


@pytest.mark.exhaustive
@pytest.mark.parametrize("seed", range(20))
def test_random_programs_with_kernels_of_xla(seed, tmp_path, monkeypatch):
    """They mean what the interpreter says."""
    (tmp_path / random.TABLE).write_text(random.table())
    monkeypatch.setenv("MDSL_KERNELS", "xla")
    jax.clear_caches()
    check(random.grown(seed), tmp_path)
