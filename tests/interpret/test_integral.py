"""`integral(u, a, b)`: its closed form against quadrature in the interpreter, what is refused, and tail corrections."""

import csv

import numpy as np
import pytest
from compiled import HEAD, program
from interpreted import jumbled
from interpreted import program as resolved
from reference import REFERENCE

from mdsl import Rejected
from mdsl.interpret import meaning as interpret
from mdsl.passes.pipeline import PASSES, verify

SYSTEM = jumbled(6)

# The integrand over s, its bounds. `k` is 1.3, `p` 2.5, `z` -0.7: parameters, whose signs the compiler does not know.
INTEGRALS = {
    "powers": ("3*s^2 - k/s^4 + s + 2", "0.5", "k"),
    "powers to infinity": ("4*((k/s)^12 - (k/s)^6)*s^2", "2", "infinity"),
    "powers from infinity": ("s^-4", "infinity", "k"),
    "the logarithm": ("k/s", "0.5", "2"),
    "powers that are not whole": ("sqrt(s) + s^-1.5 + s^(1/3)", "0.5", "k"),
    "a power that is a parameter": ("(k/s)^(3*p)*s^2", "2", "infinity"),
    "a power that is a parameter, finite": ("s^p", "0.5", "k"),
    "a polynomial below 0": ("s^3 + (s - k)^4", "z", "k"),
    "backwards": ("s^2*exp(s)", "k", "z"),
    "exponential": ("exp(-k*s)*(1 + k*s)", "z", "p"),
    "exponential to infinity": ("s^2*(exp(-2*k*(s - p)) - 2*exp(-k*(s - p)))", "p", "infinity"),
    "exponential from minus infinity": ("s*exp(k*s)", "-infinity", "z"),
    "a base that is a parameter": ("s*k^s", "0", "2"),
    "hidden in an exponent": ("exp(s - 1)/exp(3*s)", "0", "3"),
    "a Gaussian": ("s^2*exp(-s^2/(2*k^2)) + s^3*exp(-k*s^2) + exp(-k*s^2)", "z", "p"),
    "a Gaussian to infinity": ("(s^2 + s^3)*exp(-k*s^2)", "0", "infinity"),
    "a whole Gaussian": ("(1 + s)^2*exp(-k*s^2)", "-infinity", "infinity"),
    "waves": ("s*(1 + cos(pi*s/k)) + s^2*sin(2*s + p)", "0", "k"),
    "a power of a line": ("s^2*(1 - s/p)^2.5 + sqrt(s + k)", "0.5", "1.2"),
    "a long polynomial": ("s^2*(p^2 - s^2)^2*(p^2 + 2*s^2 - 3*k^2)/(p^2 - k^2)^3/s^7", "k", "p"),
    "a choice": ("if s < k then s^2 else 1/s^2", "0.5", "3"),
    "a choice to infinity": ("if s/k < 1.2 then s^2 else 1/s^4", "0.5", "infinity"),
    "a choice beyond the bounds": ("if s > 5 then s^2 else s", "0.5", "k"),
    "choices in choices": ("s*(if s < 1 then 1 + s else if s < k and k < 2 then s^2 else exp(-s))", "0.5", "infinity"),
    "a root of a square": ("sqrt(k*s^2)*s", "z", "k"),
    "a magnitude": ("|s - k|*s + min(s, k) + max(s, 1)", "z", "p"),
    "a condition without the variable": ("if k > 1 then s else s^2", "0", "1"),
    "a derivative inside": ("s^3*D(g)(s)", "k", "infinity"),
    "an integral inside": ("integral(h, 0, s)", "0", "k"),
}
HELPERS = "param k = 1.3\nparam p = 2.5\nparam z = -0.7\ndef g(s) = exp(-s)/s - 1/s^6\ndef h(s) = s^2*exp(-k*s)\n"


def stages(text):
    """The model as resolved, and after all passes."""
    model = resolved(text)
    yield model
    for step in PASSES:
        model, report = step.run(model)
        assert not report, [d.message for d in report]
        verify(model, step)
    yield model


@pytest.mark.parametrize("name", INTEGRALS)
def test_the_closed_form_is_the_integral(name):
    body, lower, upper = INTEGRALS[name]
    before, after = stages(f"{HELPERS}def u(s) = {body}\nenergy U = integral(u, {lower}, {upper})\n")
    assert interpret.energy(after, SYSTEM) == pytest.approx(interpret.energy(before, SYSTEM), rel=1e-9)
    for param in ("k", "p", "z"):
        slopes = [interpret.param_gradient(model, SYSTEM, param) for model in (before, after)]
        # A jump that moves with a parameter has no derivative in the quadrature.
        if name not in ("a choice", "a choice to infinity", "choices in choices"):
            assert slopes[1] == pytest.approx(slopes[0], rel=1e-7, abs=1e-9)


@pytest.mark.parametrize(
    "body, lower, upper",
    [
        ("s^-2", "-1", "1"),
        ("s^-2", "0", "1"),
        ("s^-1", "0", "1"),
        ("s^z", "2", "infinity"),
        ("exp(-z*s)", "0", "infinity"),
        ("if s < 0/0 then s else 1/0", "0", "1"),
    ],
)
def test_what_diverges_is_not_finite(body, lower, upper):
    *_, after = stages(f"{HELPERS}def u(s) = {body}\nenergy U = integral(u, {lower}, {upper})\n")
    assert not np.isfinite(interpret.energy(after, SYSTEM))


REFUSED = [
    ("exp(-s)/s", "1", "infinity", "no-integral", "exp"),
    ("1/(1 + s^2)", "0", "1", "no-integral", "no closed form"),
    ("tanh(s)*s", "0", "1", "no-integral", "tanh"),
    ("s^2", "0", "infinity", "no-integral", "diverges"),
    ("1/s", "1", "infinity", "no-integral", "diverges"),
    ("exp(s)", "1", "infinity", "no-integral", "diverges"),
    ("(2/s^3)^(1/3)", "1", "2", "no-integral", "a root"),
    ("if s^2 < 4 then s else 0", "1", "3", "no-integral", "s^2"),
    ("s*(sum(i) x[i].x^s)", "1", "2", "not-yet", "inside a sum"),
]


@pytest.mark.parametrize("body, lower, upper, id, words", REFUSED)
def test_what_is_refused(body, lower, upper, id, words):
    with pytest.raises(Rejected) as caught:
        program(f"def u(s) = {body}\nenergy U = integral(u, {lower}, {upper})\n")
    (found,) = caught.value.diagnostics
    assert found.id == id and words in str(caught.value)


MISTAKES = [
    ("energy U = integral(2, 0, 1)", "not-a-function", "not a value"),
    ("energy U = integral(exp, 0)", "wrong-arguments", "a function and two bounds"),
    ("energy U = integral(max, 0, 1)", "wrong-arguments", "takes 2 arguments"),
    ("energy U = integral", "function-as-value", "integral needs the function"),
    ("param a = 2*infinity\nenergy U = a*sum(i) x[i].x^2", "misplaced", "bound of an integral"),
    ("energy U = sum(i) integral(exp, 0, x[i])", "wrong-type", "a point"),
    ("def D2(l)(s) = |l*(x[1] - x[2])|\nenergy U = 0", "not-yet", "by its number"),
    ("energy U = sum(i < j) D(g)(1) where g(l) = |l*(x[i] - x[j])|", "not-yet", "inside a sum or a vector"),
]


@pytest.mark.parametrize("text, id, words", MISTAKES)
def test_mistakes(text, id, words):
    with pytest.raises(Rejected) as caught:
        program(text)
    assert caught.value.diagnostics[0].id == id and words in str(caught.value)


def test_units_of_an_integral():
    head = HEAD.replace("units.lj", "units.real")
    lj = "def u(r) = lennard_jones(3.4 [angstrom], 0.2 [kcal/mol])(r)\n"
    program(
        f"{lj}energy U = energy_tail(u, 10 [angstrom])\nobserve P = pressure + pressure_tail(u, 10 [angstrom])", head
    )
    with pytest.raises(Rejected) as caught:
        program(f"{lj}energy U = integral(u, 10 [angstrom], infinity)", head)
    assert caught.value.diagnostics[0].id == "wrong-unit"


# -- tail corrections ----------------------------------------------------------------------------------

NIST = REFERENCE / "nist"


@pytest.mark.skipif(not NIST.exists(), reason="needs the reference configurations of NIST")
@pytest.mark.parametrize("configuration", (1, 2))
def test_nist_energies_with_tail(configuration):
    """Energy, virial and tail correction of the sample configurations, to all digits that NIST prints."""
    x = np.loadtxt(NIST / f"lj_sample_config_periodic{configuration}.txt", skiprows=2)[:, 1:]
    box = float((NIST / f"lj_sample_config_periodic{configuration}.txt").read_text().split()[0])
    with open(NIST / "lj_reference_energies.csv") as file:
        rows = [r for r in csv.DictReader(file) if r["config"] == str(configuration) and r["scheme"] == "LRC"]
    assert len(rows) == 2
    text = "param rc = 4.0\ndef u(r) = lennard_jones(1, 1)(r)\nenergy U = sum(i < j) truncated(u, rc)(|x[i] - x[j]|)\n"
    plain, tailed = (program(text + more).bind(x, box=box) for more in ("", "energy tail = energy_tail(u, rc)"))
    for row in rows:
        rc = {"rc": float(row["rc"])}
        energy = float(plain.energy(x, params=rc))
        assert energy == pytest.approx(float(row["U_pair_lammps_10digits"]), rel=1e-9)
        assert np.trace(plain.virial(x, params=rc)) == pytest.approx(float(row["W_pair_lammps_10digits"]), rel=1e-9)
        assert f"{float(tailed.energy(x, params=rc)) - energy:.4E}" == row["U_LRC"]


@pytest.mark.parametrize("dim, space", [(3, 4 * np.pi), (2, 2 * np.pi)])
def test_tails_against_their_definition(dim, space):
    """The sum over shells of pairs beyond the cutoff, and the pressure of it by the virial theorem."""
    system = jumbled(9, dim)
    text = (
        f"dim {dim}\nparam s = 1.1\ndef u(r) = lennard_jones(s, 1)(r)\nenergy E = energy_tail(u, 1.9)\nobserve P = "
        f"pressure_tail(u, 1.9)"
    )
    *_, model = stages(text)
    energy, pressure = (interpret.observe(model, name, system) for name in ("E", "P"))
    rho = 9 / np.prod(system.lengths)
    r = np.exp(np.linspace(np.log(1.9), np.log(1900), 400_001))
    middle, width = np.sqrt(r[1:] * r[:-1]), np.diff(r)
    u, slope = (
        4 * (1.1**12 / middle**12 - 1.1**6 / middle**6),
        4 * (-12 * 1.1**12 / middle**13 + 6 * 1.1**6 / middle**7),
    )
    assert energy == pytest.approx(9 * rho / 2 * space * (u * middle ** (dim - 1) * width).sum(), rel=1e-6)
    assert pressure == pytest.approx(-(rho**2) / (2 * dim) * space * (slope * middle**dim * width).sum(), rel=1e-6)


def test_a_tail_is_an_energy():
    """It goes with the volume, by its parameters, and leaves forces as they are."""
    text = (
        "param s = 1.1\ndef u(r) = lennard_jones(s, 1)(r)\nenergy pair = sum(i < j) truncated(u, 1.9)(|x[i] - x[j]|)\n"
    )
    x = jumbled(9).x
    plain, tailed = (program(text + more).bind(x, box=4.0) for more in ("", "energy tail = energy_tail(u, 1.9)"))
    assert np.allclose(plain.forces(x), tailed.forces(x), rtol=1e-14)
    added = float(tailed.energy(x) - plain.energy(x))
    assert np.trace(tailed.virial(x) - plain.virial(x)) == pytest.approx(3 * added, rel=1e-9)
