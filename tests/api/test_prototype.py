"""`mdsl.pair`: a SymPy expression gives the same program as the same formula in the language."""

import jax
import numpy as np
import pytest
import sympy

import mdsl

jax.config.update("jax_enable_x64", True)

r, sigma, epsilon = mdsl.symbols("r sigma epsilon")
LJ = 4 * epsilon * ((sigma / r) ** 12 - (sigma / r) ** 6)
ONE = {sigma: 1.0, epsilon: 1.0}
BOX = 9.0
TEXT = """
use units.lj
use pair (lennard_jones, {smoothing})
param sigma = 1.0
param epsilon = 1.0
energy U = sum(i < j) {smoothing}(lennard_jones(sigma, epsilon), {ends})(|x[i] - x[j]|)
"""


def positions(atoms: int = 64, seed: int = 1) -> np.ndarray:
    """[N, 3]: a lattice shaken at random, without close pairs."""
    side = int(np.ceil(atoms ** (1 / 3)))
    grid = np.stack(np.meshgrid(*[np.arange(side)] * 3, indexing="ij"), -1).reshape(-1, 3)[:atoms]
    rng = np.random.default_rng(seed)
    return (grid + 0.5) * BOX / side + rng.uniform(-0.5, 0.5, (atoms, 3))


def same(one: mdsl.Program, other: mdsl.Program, **bound) -> None:
    """Energy, forces and parameter gradients agree to 1e-12."""
    x = positions()
    systems = [p.bind(x, box=BOX, **bound) for p in (one, other)]
    values = [
        jax.value_and_grad(lambda x, p, s=s: s.energy(x, params=p), argnums=(0, 1))(x, s.program.params)
        for s in systems
    ]
    assert abs(float(values[1][0])) > 0.1
    assert values[0][1][1].keys() == values[1][1][1].keys()
    for got, wanted in zip(jax.tree.leaves(values[0]), jax.tree.leaves(values[1]), strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-12, atol=1e-12 * np.abs(wanted).max())


@pytest.mark.parametrize("smoothing", ["truncated", "shifted", "force_shifted"])
def test_as_in_the_language(smoothing):
    program = mdsl.pair(LJ, r, cutoff=2.5 * sigma, smoothing=smoothing, params=ONE)
    same(program, mdsl.compile(TEXT.format(smoothing=smoothing, ends="2.5*sigma")))


def test_switched():
    program = mdsl.pair(LJ, r, onset=2 * sigma, cutoff=2.5 * sigma, smoothing="switched", params=ONE)
    same(program, mdsl.compile(TEXT.format(smoothing="switched", ends="2*sigma, 2.5*sigma")))


def test_cutoff_that_is_a_number():
    program = mdsl.pair(LJ, r, cutoff=2.5, smoothing="shifted", params=ONE)
    same(program, mdsl.compile(TEXT.format(smoothing="shifted", ends="2.5")))


def test_without_a_cutoff():
    program = mdsl.pair(epsilon * sympy.exp(-r / sigma) / r, r, params=ONE)
    text = (
        "use units.lj param sigma = 1.0 param epsilon = 1.0 energy U = sum(i < j) epsilon*exp(-r/sigma)/r "
        "where r = "
        "|x[i] - x[j]|"
    )
    same(program, mdsl.compile(text))


def test_piecewise_ends_by_itself():
    soft = sympy.Piecewise((epsilon * (1 - r / sigma) ** sympy.Rational(5, 2), r < sigma), (0, True))
    program = mdsl.pair(soft, r, params={sigma: 2.2, epsilon: 1.5})
    text = """use units.lj use pair (soft_sphere)
    param sigma = 2.2 param epsilon = 1.5
    energy U = sum(i < j) soft_sphere(sigma, 2.5*epsilon, 2.5)(|x[i] - x[j]|)"""
    same(program, mdsl.compile(text))
    assert "0 for r >= 2.2" in program.explain()


@pytest.mark.parametrize(
    "formula, text",
    [
        (epsilon * sympy.Min(1, r / sigma), "epsilon*min(1, r/sigma)"),
        (epsilon * sympy.Abs(r - sigma), "epsilon*abs(r - sigma)"),
        (epsilon * sympy.erfc(r / sigma) / r, "epsilon*erfc(r/sigma)/r"),
        (epsilon * sympy.tanh(r - sigma) * sympy.pi, "epsilon*tanh(r - sigma)*pi"),
        (epsilon * sympy.sqrt(r) / sympy.cbrt(sigma), "epsilon*sqrt(r)/sigma^(1/3)"),
        (epsilon * sympy.log(r / sigma) ** 3, "epsilon*log(r/sigma)^3"),
        (sympy.Piecewise((epsilon, (r > sigma) & (r < 2 * sigma)), (epsilon * r, sympy.Or(r >= 3 * sigma, r < sigma / 2)), (0, True)),
         "if r > sigma and r < 2*sigma then epsilon else if r >= 3*sigma or r < sigma/2 then epsilon*r else 0"),
    ],
)  # fmt: skip
def test_functions(formula, text):
    program = mdsl.pair(formula, r, params={sigma: 1.3, epsilon: 0.7})
    text = f"use units.lj param sigma = 1.3 param epsilon = 0.7 energy U = sum(i < j) {text} where r = |x[i] - x[j]|"
    same(program, mdsl.compile(text))


def test_species():
    table = {"A-A": 1.0, "A-B": 0.8, "B-B": 0.88}
    program = mdsl.pair(
        LJ, r, cutoff=2.5 * sigma, smoothing="force_shifted", params={sigma: table, epsilon: 1.2}, species=("A", "B")
    )
    text = """use units.lj use pair (lennard_jones, force_shifted) species A, B
    param sigma[species, species] = { A-A: 1.0, A-B: 0.8, B-B: 0.88 }
    param epsilon = 1.2
    energy U = sum(i < j) force_shifted(lennard_jones(sigma[i, j], epsilon), 2.5*sigma[i, j])(|x[i] - x[j]|)"""
    same(program, mdsl.compile(text), species=np.arange(64) % 2)
    assert program.params["sigma"].shape == (2, 2)


def test_units():
    program = mdsl.pair(
        LJ,
        r,
        cutoff="8.5 [angstrom]",
        smoothing="truncated",
        params={sigma: "3.4 [angstrom]", epsilon: "0.24 [kcal/mol]"},
        units="real",
    )
    assert float(program.params["sigma"]) == 3.4
    assert "8.5 angstrom" in program.explain()


def test_default_that_follows_from_another():
    rc = mdsl.symbols("r_c")
    program = mdsl.pair(LJ, r, cutoff=rc, smoothing="truncated", params={**ONE, rc: 2.5 * sigma})
    same(program, mdsl.compile(TEXT.format(smoothing="truncated", ends="r_c") + "param r_c = 2.5*sigma"))


def test_two_dimensions():
    program = mdsl.pair(LJ, r, cutoff=2.5 * sigma, smoothing="truncated", params=ONE, dim=2)
    x = positions()[:9, :2]
    assert program.bind(x, box=BOX).forces().shape == (9, 2)


def test_names_of_its_own_text_step_aside():
    i, U, u, x = mdsl.symbols("i U u r_ij")
    text = (
        "use units.lj param i = 1.0 param U = 2.0 param u = 3.0 energy V = sum(k < l) (i*exp(-r*U) + u/r) "
        "where r = "
        "|x[k] - x[l]|"
    )
    same(mdsl.pair(i * sympy.exp(-x * U) + u / x, x, params={i: 1.0, U: 2.0, u: 3.0}), mdsl.compile(text))


def test_symbols():
    assert mdsl.symbols("σ, ε") == mdsl.symbols("sigma epsilon")
    assert sympy.sqrt(sigma**2) == sigma
    q = mdsl.symbols("q", positive=False)
    assert q.is_real and q.is_positive is None


@pytest.mark.parametrize(
    "name, id",
    [
        ("1a", "bad-character"),
        ("r²", "bad-character"),
        ("a-b", "bad-character"),
        ("energy", "reserved-name"),
        ("", "wrong-arguments"),
    ],
)
def test_names_that_are_none(name, id):
    assert id in ids(lambda: mdsl.symbols(name))


def ids(action) -> list[str]:
    with pytest.raises(mdsl.Rejected) as caught:
        action()
    return [d.id for d in caught.value.diagnostics]


k = mdsl.symbols("k")
END = {"cutoff": 2.5 * sigma, "smoothing": "truncated"}


@pytest.mark.parametrize(
    "id, action",
    [
        ("wrong-type", lambda: mdsl.pair("1/r", r, params={})),
        ("wrong-type", lambda: mdsl.pair(1.0, r, params={})),
        ("wrong-type", lambda: mdsl.pair(LJ, "r", params=ONE)),
        ("wrong-type", lambda: mdsl.pair(LJ, r, params={"sigma": 1.0})),
        ("wrong-type", lambda: mdsl.pair(LJ, r, params={sigma: [1.0], epsilon: 1.0})),
        ("wrong-type", lambda: mdsl.pair(LJ, r, params={sigma: True, epsilon: 1.0})),
        ("wrong-arguments", lambda: mdsl.pair(sigma, r, params={sigma: 1.0})),
        ("wrong-arguments", lambda: mdsl.pair(sympy.Symbol("r") * sigma, r, params={sigma: 1.0})),
        ("wrong-arguments", lambda: mdsl.pair(LJ, r, cutoff=2 * r, smoothing="truncated", params=ONE)),
        ("wrong-arguments", lambda: mdsl.pair(sympy.Piecewise((1 / r, r < sigma)), r, params={sigma: 1.0})),
        ("wrong-arguments", lambda: mdsl.pair(LJ, r, params={sigma: "1 param b = 2", epsilon: 1.0})),
        ("unknown-name", lambda: mdsl.pair(LJ, r, params={sigma: 1.0})),
        ("unknown-name", lambda: mdsl.pair(LJ, r, params={sympy.Symbol("sigma"): 1.0, epsilon: 1.0})),
        ("unknown-name", lambda: mdsl.pair(sympy.floor(r / sigma), r, params={sigma: 1.0})),
        ("unknown-name", lambda: mdsl.pair(sympy.Heaviside(r - sigma), r, params={sigma: 1.0})),
        ("unknown-name", lambda: mdsl.pair(sympy.Function("g")(r), r)),
        ("unknown-name", lambda: mdsl.pair(sympy.Derivative(sympy.Function("g")(r), r), r)),
        ("unknown-parameter", lambda: mdsl.pair(LJ, r, params={**ONE, k: 1.0})),
        ("unknown-parameter", lambda: mdsl.pair(LJ, r, params={**ONE, r: 1.0})),
        ("unknown-option", lambda: mdsl.pair(LJ, r, cutoff=2.5, smoothing="smooth", params=ONE)),
        ("unknown-option", lambda: mdsl.pair(LJ, r, onset=2.0, params=ONE, **END)),
        ("missing-option", lambda: mdsl.pair(LJ, r, cutoff=2.5, params=ONE)),
        ("missing-option", lambda: mdsl.pair(LJ, r, smoothing="shifted", params=ONE)),
        ("missing-option", lambda: mdsl.pair(LJ, r, cutoff=2.5, smoothing="switched", params=ONE)),
        ("bad-number", lambda: mdsl.pair(sympy.I * r, r)),
        ("bad-number", lambda: mdsl.pair(LJ, r, params={sigma: float("nan"), epsilon: 1.0})),
        ("duplicate-name", lambda: mdsl.pair(r * sympy.Symbol("k") + k, r, params={k: 1.0, sympy.Symbol("k"): 1.0})),
        ("duplicate-name", lambda: mdsl.pair(mdsl.symbols("m") * r, r, params={mdsl.symbols("m"): 1.0})),
        ("duplicate-name", lambda: mdsl.pair(mdsl.symbols("N") * r, r, params={mdsl.symbols("N"): 1.0})),
        ("bad-character", lambda: mdsl.pair(sympy.Symbol("k_{ij}") * r, r, params={sympy.Symbol("k_{ij}"): 1.0})),
        ("bad-table", lambda: mdsl.pair(LJ, r, params={sigma: {"A": 1.0}, epsilon: 1.0}, species=("A",))),
        ("missing-entry", lambda: mdsl.pair(LJ, r, params={sigma: {"A-A": 1.0}, epsilon: 1.0}, species=("A", "B"))),
        ("unknown-species", lambda: mdsl.pair(LJ, r, params={sigma: {"A-A": 1.0, "A-C": 1.0}, epsilon: 1.0}, species=("A",))),
        ("wrong-index", lambda: mdsl.pair(k * LJ, r, params={sigma: {"A-A": 1.0}, epsilon: 1.0, k: sigma}, species=("A",))),
        ("wrong-unit", lambda: mdsl.pair(LJ, r, params={sigma: 3.4, epsilon: "0.24 [kcal/mol]"}, units="real", **END)),
        ("unknown-module", lambda: mdsl.pair(LJ, r, params=ONE, units="imperial")),
    ],
)  # fmt: skip
def test_what_is_refused(id, action):
    assert id in ids(action)
