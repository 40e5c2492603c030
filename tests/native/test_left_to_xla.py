"""Which sums `mdsl explain` says that XLA computes, beside those for which no kernel was printed; what runs say of it."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compiled import HEAD, PAIRS_BY

import mdsl
from mdsl.command.cli import main
from mdsl.lowering.native import call as native
from mdsl.lowering.planning.loops import NATIVE, XLA, computed_by, pair_loops

pytest.importorskip("llvmlite")
RANGE = """quantity G[i, k in 1..3] = sum(j != i) force_shifted(lennard_jones(k/3, 1.0), 1.2)(|x[i] - x[j]|)
energy U = sum(i) (G[i, 1] + G[i, 2]*G[i, 3])"""
SIMPLE = "energy V = sum(i < j) force_shifted(lennard_jones(1.0, 1.0), 1.2)(|x[i] - x[j]|)"
FOREIGN = "extern u(r)\nenergy U = sum(i < j) (if r < 1.2 then u(r) else 0) where r = |x[i] - x[j]|"
PROGRAMS = {
    "plain": (SIMPLE, {}, set()),
    "of a quantity": (
        "quantity rho[i] = sum(j != i) force_shifted(lennard_jones(1.0, 1.0), 1.2)(|x[i] - x[j]|)\nenergy U = sum(i) rho[i]^2",
        {},
        set(),
    ),
    "over a range": (RANGE, {}, {"several numbers of each atom"}),
    "a network": (
        "learned net = mlp(1, 4, 1)\nenergy U = sum(i < j) (if r < 1.2 then net(r) else 0) where r = |x[i] - x[j]|",
        {},
        {"dot_general"},
    ),
    "foreign, arithmetic": (FOREIGN, {"u": lambda r: jnp.exp(-r)}, set()),
    "foreign, with a loop": (
        FOREIGN,
        {"u": lambda r: jax.lax.fori_loop(0, 3, lambda k, v: v * r, 1.0)},
        {"while", "scan"},
    ),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_what_explain_foretells(name):
    """Energies and their forces, by a list."""
    text, externs, reasons = PROGRAMS[name]
    program = mdsl.compile(HEAD + text, externs=externs)
    x = np.random.default_rng(0).uniform(0, 4, (30, 3))
    system = program.bind(x, box=4.0, policy=PAIRS_BY["list"])
    native.left.clear()
    made = len(native._compiled)
    jax.clear_caches()
    jax.jit(lambda x, p: (system.energy(x, params=p), system.forces(x, params=p))).lower(x, program.params)
    field, told = program.compiled.field, program.explain()
    foretold = [found for loop in pair_loops(field) if (found := computed_by(field, loop))[0] != NATIVE]
    assert any(kernel == XLA for kernel, _ in foretold) <= bool(native.left) == bool(reasons)
    assert bool(native.left) <= bool(foretold) and set(native.left) <= reasons
    assert all(f"{kernel}, for {why}" in told for kernel, why in foretold)
    assert (len(native._compiled) > made) or reasons


def test_a_run_tells(tmp_path, monkeypatch):
    """The kernels of a run, and what was left to XLA and why."""
    path = tmp_path / "range.mdsl"
    dynamics = (
        "run { x = fcc(density = 0.8, cells = 3)  v ~ maxwell(1)  velocity_verlet(dt = 0.001) for 2 record U every 1 }"
    )
    path.write_text(f"{HEAD}{RANGE}\n{dynamics}")
    for kernels, wanted in (("native", "native"), ("xla", "xla")):
        out = tmp_path / kernels
        with monkeypatch.context() as patched:
            patched.setenv("MDSL_KERNELS", "native")  # which the option changes, for the process
            assert main(["run", str(path), "--out", str(out), "--quiet", "--threads", "1", "--kernels", kernels]) == 0
        told = json.loads((out / "run.json").read_text())
        assert told["machine"]["kernels"].partition(",")[0] == wanted
        assert ("several numbers of each atom" in told.get("left_to_xla", {})) == (kernels == "native")
