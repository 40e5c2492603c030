"""All values are real: magnitudes, roots and comparisons of what SymPy would take for complex numbers."""

import jax
import numpy as np
import pytest
from compiled import bound, everything, program
from interpreted import jumbled, moved

import mdsl
from mdsl.interpret import meaning as interpret

FORMULAS = [
    "|sqrt(z + 7) - 2|",
    "|(1.5 + cos(z))^sin(z)| - 0.1*|z^0.7*(z - 1)|",
    "|acos(z/9) - 1.2|^3",
    "|asin(0.9*cos(sqrt(z)))*tanh(|z - 1.1|)|",
    "|max(z^0.7, y)|",
    "|exp(-sin(z))^-3 - log(z)|",
    "abs(abs(z^1.3 - y)*erf(z) - 0.2)",
    "sqrt((z^0.3 - y)^2)",
    "D(w)(z + 7) + D(D(w))(z + 7)",
    "if |sqrt(z) - 0.4| < 0.5 then |z^1.5 - 1|^2 else -z",
    "(if z < 0 then log(-|z|) + sqrt(-1 - z^2)*z else z^2)",
    "max(min(dim, 3.8), z)*z + min(max(dim, z), 1.5*pi)",
    "max(if dim < 2.5 then y else 2, min(z, z)) + (if y < y then 1 else z)",
    "if sqrt(2) < 3^0.3 and 1/3 < 0.4 then z^3 else z",
    "if (0 - 2)^0.5 < 1 then z else z^2",
    "if dim/0 > 1 then z else z^2",
]


@pytest.mark.parametrize("formula", FORMULAS)
def test_energies_of_real_values(formula):
    """Energy, forces and virial of a formula of coordinates, by the compiler and by the interpreter."""
    compiled = program(
        f"box free\ndef w(s) = |sqrt(s) - 2|^2.5\nenergy U = sum(i) ({formula}) where y = x[i].y, z = x[i].z"
    )
    system = moved(jumbled(6), periodic=[False] * 3, lengths=[1.0] * 3)
    system = moved(system, x=np.abs(system.x) / 4 + 0.05)
    expected = (
        interpret.energy(compiled.model, system),
        interpret.forces(compiled.model, system),
        interpret.virial(compiled.model, system),
    )
    assert np.abs(expected[1]).max() > 1e-2
    for ours, meant in zip(everything(bound(compiled, system.x, box=np.inf), box=system.cell), expected):
        assert np.allclose(ours, meant, rtol=1e-11, atol=1e-12)


def test_the_force_of_a_root_in_a_magnitude():
    """-sign(u) du/dx of u = sqrt(x + 7) - 2, by hand."""
    x = np.array([[-4.0, 0, 0], [-2.5, 0, 0], [1.0, 0, 0]])
    system = program("box free\nenergy U = sum(i) |sqrt(x[i].x + 7) - 2|").bind(x)
    root = np.sqrt(x[:, 0] + 7)
    assert np.isclose(system.energy(), np.abs(root - 2).sum(), rtol=1e-14)
    assert np.allclose(system.forces()[:, 0], -np.sign(root - 2) / (2 * root), rtol=1e-14)


def test_choices_of_numbers_in_a_pair_sum():
    """max(3, r)*(1 - r/1.4)^2, where 3 is min(dim, 3.8)."""
    x = np.array([[0.0, 0, 0], [0.9, 0, 0], [0.9, 1.1, 0]])
    system = program(
        "energy U = sum(i < j) (if r < 1.4 then max(min(dim, 3.8), r)*(1 - r/1.4)^2 else 0) where r = |x[i] - x[j]|"
    ).bind(x, box=9.0)
    r = np.array([0.9, 1.1])
    assert np.isclose(system.energy(), (3 * (1 - r / 1.4) ** 2).sum(), rtol=1e-14)
    assert np.isclose(jax.grad(system.energy)(x)[0, 0], 3 * 2 * (1 - 0.9 / 1.4) / 1.4, rtol=1e-13)


def test_a_magnitude_ends_where_what_is_in_it_does():
    explained = program(
        "energy U = sum(i < j) |(if r < 1.5 then 1 - r/1.5 else 0)*tanh(r)|^3 where r = |x[i] - x[j]|"
    ).explain()
    assert "0 for r >= 1.5" in explained


def test_explain_takes_energies_and_observables_of_several_species():
    """The ends of energies are one for each pair of species; one that is not known yet stands among them."""
    program = mdsl.compile("""use units.lj
use pair
species A, B
data z[atoms]
param s[species, species] = { A-A: 1.0, A-B: 1.2, B-B: 1.4 }
energy U = sum(i < j) max(0, s[i, j] - r)^3 where r = |x[i] - x[j]|
energy V = sum(i < j) max(0, z[i]*z[j] - r)^3 where r = |x[i] - x[j]|
observe S = sum(i < j) max(0, 1.3*s[i, j] - r)^2 where r = |x[i] - x[j]|
""")
    assert "which list holds them is known when the run starts" in program.explain()
