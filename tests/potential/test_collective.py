"""Energies of observables: collective variables that have a name, and forces by them."""

import numpy as np
import pytest
from compiled import TRAVERSALS, bound, everything, program
from interpreted import jumbled, moved, skewed

import mdsl
from mdsl.interpret import meaning as interpret

BELL = "def bell(r) = if r < 1.9 then (1.9 - r)^3 else 0\n"
CASES = {
    "of pairs": BELL
    + "param c = 0.7\nobserve near = sum(i < j) bell(|x[i] - x[j]|)\nobserve far = near - 3\nenergy bias = c/2*far^2",
    "of atoms": "param c = 0.7\nobserve height = (sum(i) x[i].z)/N\nenergy bias = c*(height - 1)^2",
    "of quantities": BELL
    + "quantity n[i] = sum(j != i) bell(|x[i] - x[j]|)\nobserve order = sum(i) n[i]^2\nenergy bias = sqrt(1 + order)",
    "of one and all": BELL
    + "observe near = sum(i < j) bell(|x[i] - x[j]|)\nenergy U = near\nenergy bias = near^2 - 0.1*near*sum(i) x[i].x^2",
}


@pytest.mark.parametrize("case", CASES)
def test_forces_of_observables(case):
    text = CASES[case]
    system = jumbled(8) if "x[i].x" in text or "x[i].z" in text else skewed(jumbled(8), 1.1, -0.6, 0.8)
    if "x[i].x" in text or "x[i].z" in text:  # a place in the box has a meaning where it does not repeat
        text += "\nbox free"
        system = moved(system, periodic=[False] * 3, lengths=[1.0] * 3)
    compiled = program(text)
    expected = (
        interpret.energy(compiled.model, system),
        interpret.forces(compiled.model, system),
        interpret.virial(compiled.model, system),
    )
    assert np.abs(expected[1]).max() > 0.1
    box = system.cell if system.periodic.any() else np.inf
    for traversal in TRAVERSALS if case == "of pairs" else ("all pairs",):
        for ours, meant in zip(everything(bound(compiled, system.x, traversal, box=box), box=system.cell), expected):
            assert np.allclose(ours, meant, rtol=1e-9, atol=1e-9)


def test_what_an_observable_looks_at_counts_for_an_energy_of_it():
    where = "box free\nobserve height = sum(i) x[i].z\nenergy U = sum(i < j) exp(-|x[i] - x[j]|)\n"
    assert program(where + "energy bias = height^2").bind(np.eye(3)).initial.dof == 9
    assert program(where).bind(np.eye(3)).initial.dof == 6
    assert program(where + "quantity z[i] = x[i].z\nobserve most = largest(i) z[i]").bind(np.eye(3)).initial.dof == 6


def test_a_broken_bond_of_an_observable_of_an_energy_is_refused():
    text = "topology bonds(i, j)\nobserve stretch = sum((i, j) in bonds) |x[i] - x[j]|\nenergy bias = (stretch - 1)^2"
    with pytest.raises(mdsl.Rejected, match="bad-topology"):
        program(text).bind(np.zeros((2, 3)), box=4.0, topologies={"bonds": [[0, 1]]})


def test_explain_tells_of_it():
    told = program(CASES["of pairs"]).explain()
    assert "energy bias" in told and "observe near" in told and "0 for r >= 1.9" in told
