"""Sums over pairs that flows read, which are those of the present positions and velocities, whatever changed last."""

import jax
import numpy as np
import pytest
from compiled import running
from interpreted import jumbled

import mdsl
from mdsl.command import cli
from mdsl.interpret import meaning as interpret
from mdsl.lowering.field.schedule import cut
from mdsl.model.nodes import Advance

HEAD = "use units.lj\nuse pair\nuse integrators (A, B)\n"
U = "energy U = sum(i < j) soft_sphere(1.5, 1.0, 2.5)(|x[i] - x[j]|)\n"
PAIRS = "observe Q = sum(i < j) if |x[i] - x[j]| < 1.5 then (v[i] - v[j])·(v[i] - v[j]) else 0\n"
AROUND = "observe Q = sum(i) sqrt(sum(j != i) (if |x[i] - x[j]| < 1.5 then v[j]·v[j] else 0))\n"
DAMP = "flow damp(h) { v = exp(-h*Q)*v }\n"
CASES = {
    "after a kick": PAIRS + DAMP + "integrator s(dt) { B(dt) damp(dt) A(dt) }",
    "twice": PAIRS + DAMP + "integrator s(dt) { damp(dt) damp(dt) A(dt) }",
    "around atoms": AROUND + DAMP + "integrator s(dt) { damp(dt) damp(dt) A(dt) B(dt) }",
    "of the time": "quantity n[i] = sum(j != i) (if |x[i] - x[j]| < 1.5 then 20*t else 0)\nobserve Q = sum(i) n[i]^2\n"
    + DAMP
    + "integrator s(dt) { A(dt) damp(dt) }",
}


@pytest.mark.parametrize("case", CASES)
def test_sums_in_flows_are_those_of_the_present(case):
    compiled, system = running(U + CASES[case], "s(dt = 0.01)", 3, head=HEAD), jumbled(8)
    (advance,) = (s for s in compiled.model.run if isinstance(s, Advance))
    _, end = interpret.run(compiled.model, advance, system, 3)
    found = compiled.bind(system.x, box=system.cell, velocities=system.v).run(jax.random.key(0))
    assert np.abs(end.v - system.v).max() > 1e-3
    assert np.allclose(found.v, end.v, rtol=1e-12, atol=1e-13)


def test_what_reads_no_velocities_is_not_evaluated_again():
    text = U + "flow damp(h) { v = exp(-h*potential)*v }\nintegrator s(dt) { damp(dt) damp(dt) B(dt) damp(dt) A(dt) }"
    field = running(text, "s(dt = 0.01)", head=HEAD).compiled.field
    assert sum(cut(field, field.dynamics[0]).before) == 1


def test_what_a_flow_cannot_read_yet():
    drag = (
        U
        + "quantity drag[i] = sum(j != i) (if |x[i] - x[j]| < 1.5 then v[j] - v[i] else 0*v[i])\nflow friction(h) { v "
        "+= h*drag }\nintegrator s(dt) { A(dt) friction(dt) }"
    )
    with pytest.raises(mdsl.Rejected, match="a flow cannot read `drag`, a quantity of each atom, yet"):
        running(drag, "s(dt = 0.01)", head=HEAD)
    hidden = (
        U + "state w = 1\nquantity n[i] = sum(j != i) (if |x[i] - x[j]| < 1.5 then w else 0)\nobserve Q = sum(i) "
        "n[i]^2\nflow damp(h) { w += h  v = exp(-h*Q)*v }\nintegrator s(dt) { damp(dt) A(dt) }"
    )
    with pytest.raises(mdsl.Rejected, match="cannot read `w`, which flows change"):
        running(hidden, "s(dt = 0.01)", head=HEAD)


def test_a_quantity_of_vectors_that_is_only_observed_does_not_hinder_a_run(tmp_path):
    path = tmp_path / "drag.mdsl"
    path.write_text(
        "use integrators (velocity_verlet)\n"
        + HEAD
        + U
        + "quantity pull[i] = sum(j != i) (x[i] - x[j])\nobserve P = sum(i) |pull[i]|\nrun {\n  x = fcc(density = 0.1, "
        "cells = 2)\n  velocity_verlet(dt = 0.01) for 1 record P\n}"
    )
    assert cli.main(["run", str(path), "--quiet", "--out", str(tmp_path / "out")]) == 0
