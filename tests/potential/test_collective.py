"""Energies of observables: collective variables that have a name, and forces by them."""

import jax
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
    # A branch, a product with 0 and a difference read sums by which the potential has no derivative.
    "of a branch": BELL
    + "observe near = sum(i < j) bell(|x[i] - x[j]|)\nobserve all = sum(i < j) exp(-|x[i] - x[j]|)\nenergy bias = if "
    "near < 1e3 then all^2 else 1",
    "of nothing": BELL
    + "observe near = sum(i < j) bell(|x[i] - x[j]|)\nobserve all = sum(i < j) exp(-|x[i] - x[j]|)\nenergy U = near^2 "
    "+ 0*all\nenergy V = all\nenergy W = -all",
    # Sums over all inside sums.
    "of a centre": "param c = 0.7\nobserve height = (sum(i) x[i].z)/N\nenergy near = sum(i) c/2*(x[i].z - height)^2",
    "of a vector": "observe centre = (sum(i) m[i]*(x[i] - origin))/(sum(i) m[i])\n"
    "observe size = sqrt((sum(i) ((x[i].x - centre.x)^2 + (x[i].y - centre.y)^2))/N)\nenergy bias = (size - 0.7)^2",
    "of a sum in a vector": "energy U = sum(i) |((sum(j) x[j].x), x[i].y, 0.3)|",
    "of pairs inside": BELL
    + "observe near = sum(i < j) bell(|x[i] - x[j]|)\nquantity n[i] = sum(j != i) bell(|x[i] - x[j]|)/(9 + near)\n"
    "observe order = sum(i) n[i]^2\nenergy U = sum(i < j) bell(|x[i] - x[j]|)*n[i]*n[j]*sin(order/5)\n"
    "energy V = sum(i; j < k) bell(|x[i] - x[j]|)*bell(|x[i] - x[k]|)/near",
}
LISTED = ("of pairs", "of pairs inside")


@pytest.mark.slow
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
    for traversal in TRAVERSALS if case in LISTED else ("all pairs",):
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


def test_derivatives_of_sums_inside_sums():
    """By a parameter, and the product of the Hessian and a vector, against differences of the interpreter."""
    text = CASES["of a centre"] + "\nbox free"
    system = moved(jumbled(8), periodic=[False] * 3, lengths=[1.0] * 3)
    compiled = program(text)
    ours = bound(compiled, system.x, box=np.inf)
    slope = jax.grad(lambda p: ours.energy(params=p))(compiled.params)["c"]
    z = system.x[:, 2]
    assert np.isclose(slope, ((z - z.mean()) ** 2).sum() / 2, rtol=1e-12)
    along = np.random.default_rng(3).normal(size=system.x.shape)
    _, turned = jax.jvp(ours.forces, (system.x,), (along,))
    assert np.allclose(turned[:, 2], -0.7 * (along[:, 2] - along[:, 2].mean()), atol=1e-12)


def test_observables_and_flows_read_sums_inside_sums():
    """The variance of velocities, recorded and used by a flow: what a thermostat without drift is made of."""
    text = """observe drift = (sum(i) v[i].x)/N
energy U = sum(i < j) exp(-|x[i] - x[j]|^2)
observe spread = sum(i) (v[i].x - drift)^2
observe entries[k in 1..2] = sum(i) k*(v[i].x - drift)^2
flow slow() { spreading = sum(i) (v[i].x - drift)^2   v = v/(1 + spreading) }
integrator only(h) { slow() }
run { x = read("bound in Python")  only(h = 1) for 1 record spread, entries every 1 }"""
    system = jumbled(8)
    ours = program(text).bind(system.x, box=system.lengths, velocities=system.v)
    result = ours.run(jax.random.key(0))
    spread = 8 * system.v[:, 0].var()
    assert np.isclose(result.records["spread"][0], spread, rtol=1e-12)
    assert np.allclose(result.records["entries"][0], [spread, 2 * spread], rtol=1e-12)
    assert np.allclose(result.v, system.v / (1 + spread), rtol=1e-12)


@pytest.mark.parametrize(
    "energy, words",
    [
        ("sum(i) x[i].x*(sum(j) x[j].x*x[i].x)", "depends on an atom of the outer one"),
        ("sum(i) (sum(j) outer(x[j] - origin, x[j] - origin)).xx*x[i].x", "it is a matrix"),
    ],
)
def test_what_is_not_lowered_is_told(energy, words):
    with pytest.raises(mdsl.Rejected, match=words):
        program(f"energy U = {energy}")
