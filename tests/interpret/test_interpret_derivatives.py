"""The derivatives of the interpreter, against finite differences."""

import numpy as np
import pytest
from interpreted import jumbled, moved, program

from mdsl.interpret import dual
from mdsl.interpret import meaning as interpret
from mdsl.interpret.meaning import System
from mdsl.model.nodes import Derivative, Lambda, Number, Op, Read, Slope

LJ = program(
    "param sigma = 1.0  param epsilon = 1.0\nenergy U = sum(i < j) lennard_jones(sigma, epsilon)(|x[i] - x[j]|)"
)


def slope_by_differences(function, h=1e-5):
    """Of fourth order, at 0."""
    return (8 * (function(h) - function(-h)) - function(2 * h) + function(-2 * h)) / (12 * h)


def forces_by_differences(model, system):
    forces = np.zeros_like(system.x)
    for entry in np.ndindex(forces.shape):

        def energy(h, entry=entry):
            x = system.x.copy()
            x[entry] += h
            return interpret.energy(model, moved(system, x=x))

        forces[entry] = -slope_by_differences(energy)
    return forces


MOLECULE = """topology bonds(i, j), angles(i, j, k), dihedrals(i, j, k, l)
energy bond = sum((i, j) in bonds) (|x[i] - x[j]| - 1)^2
energy bend = sum((i, j, k) in angles) (angle(x[i], x[j], x[k]) - 1.9)^2
energy turn = sum((i, j, k, l) in dihedrals) (1 + cos(3*phi - 0.4)) where phi = dihedral(x[i], x[j], x[k], x[l])"""
TOPOLOGY = {
    "bonds": np.array([[0, 1], [1, 2], [2, 3]]),
    "angles": np.array([[0, 1, 2], [1, 2, 3]]),
    "dihedrals": np.array([[0, 1, 2, 3]]),
}
MANY_BODY = """param a = 1.3
quantity rho[i] = sum(j != i) if r < 2 then exp(-a*r)*(1 - r/2)^2 else 0 where r = |x[i] - x[j]|
energy F = -(sum(i) sqrt(rho[i]))   energy G = sum(i < j) (rho[i] - rho[j])^2"""
TRIPLES = "param a = 1.0\nenergy U = sum(i; j < k) (p·q)^2*exp(-a*(p·p + q·q)) where p = x[j] - x[i], q = x[k] - x[i]"
CURVED = """param a = 0.9
def u(r) = a*r^3 - sin(r)
energy U = sum(i < j) if r < 2 then D(D(u))(r)*(r - 2)^2 + D(u)(1.5)*r else 0 where r = |x[i] - x[j]|"""
SPECIES = """species A, B
param s[species, species] = { A-A: 1.0, A-B: 0.8, B-B: 0.88 }
energy U = sum(i < j) force_shifted(lennard_jones(s[i, j], 1.0), 1.9*s[i, j])(|x[i] - x[j]|)"""
FIELD = "param k = 0.7\nenergy U = sum(i) k*(x[i] - origin).x^2*cos((x[i] - origin).y)"
CASES = {
    "pairs": (SPECIES, jumbled(12, species=np.arange(12) % 2), "s"),
    "flat": ("dim 2\nparam k = 3.0\nenergy U = sum(i < j) soft_sphere(1.5, k, 2.5)(|x[i] - x[j]|)", jumbled(9, 2), "k"),
    "molecule": (MOLECULE, jumbled(4, topologies=TOPOLOGY), None),
    "many": (MANY_BODY, jumbled(8), "a"),
    "triples": (TRIPLES, jumbled(6), "a"),
    "curved": (CURVED, jumbled(6), "a"),
    "field": (FIELD, System(np.random.default_rng(1).uniform(-1, 1, (3, 3)), [9.0] * 3), "k"),
    "volume": ("param a = 1.0\nenergy U = sum(i < j) exp(-a*|x[i] - x[j]|^2)/volume", jumbled(5), "a"),
}


@pytest.mark.parametrize("case", CASES)
def test_forces_are_the_slope_of_the_energy(case):
    text, system, _ = CASES[case]
    model = program(text)
    forces = interpret.forces(model, system)
    largest = np.abs(forces).max()
    assert largest > 1e-3
    assert np.allclose(forces, forces_by_differences(model, system), rtol=1e-8, atol=1e-8 * max(1, largest))
    if case != "field":
        assert np.abs(forces.sum(0)).max() < 1e-13 * max(1, largest)


@pytest.mark.parametrize("case", [c for c in CASES if c != "field"])
def test_virial_is_the_slope_by_strain(case):
    text, system, _ = CASES[case]
    model = program(text)
    virial = interpret.virial(model, system)
    assert np.allclose(virial, virial.T, atol=1e-11 * np.abs(virial).max())
    for axis in range(model.dim):

        def energy(h, axis=axis):
            stretch = np.ones(model.dim)
            stretch[axis] += h
            return interpret.energy(model, moved(system, x=system.x * stretch, lengths=system.lengths * stretch))

        assert virial[axis, axis] == pytest.approx(-slope_by_differences(energy), rel=1e-7, abs=1e-7)


def test_virial_of_shear_is_the_sum_of_r_f():
    text, system, _ = CASES["pairs"]
    open_box = moved(system, periodic=[False] * 3)
    model = program(text)
    assert np.allclose(interpret.virial(model, open_box), open_box.x.T @ interpret.forces(model, open_box), atol=1e-9)


@pytest.mark.parametrize("case", [c for c in CASES if CASES[c][2]])
def test_param_gradients(case):
    text, system, name = CASES[case]
    model = program(text)
    start = np.asarray(interpret.parameter(model, name), float)
    gradient = np.asarray(interpret.param_gradient(model, system, name))
    assert gradient.shape == start.shape
    for entry in np.ndindex(start.shape):

        def energy(h, entry=entry):
            value = start.copy()
            value[entry] += h
            return interpret.energy(model, moved(system, params={name: value}))

        assert gradient[entry] == pytest.approx(slope_by_differences(energy), rel=1e-7, abs=1e-9)


def test_scaling_identities():
    system = jumbled(20)
    u, dr = interpret.energy(LJ, system), np.trace(interpret.virial(LJ, system))
    assert interpret.param_gradient(LJ, system, "epsilon") == pytest.approx(u, rel=1e-12)
    assert interpret.param_gradient(LJ, system, "sigma") == pytest.approx(dr, rel=1e-12)


def test_gradient_of_an_observable_that_reads_forces():
    model = program(
        "param s = 1.0\nenergy U = sum(i < j) inverse_power(s, 1, 4)(|x[i] - x[j]|)\nobserve push = sum(i) f[i]·f[i]"
    )
    system = jumbled(5)
    value = interpret.observe(model, "push", system)
    assert value == pytest.approx((interpret.forces(model, system) ** 2).sum(), rel=1e-13)
    assert interpret.param_gradient(model, system, "s", of="push") == pytest.approx(8 * value, rel=1e-12)


def test_defaults_follow_the_params_they_are_written_in():
    model = program(
        "species small, large\nparam D = 0.8\nparam size[species] = { small: D, large: 1.0 }\nenergy U = sum(i) "
        "size[i]^2"
    )
    system = System(np.zeros((3, 3)), [9.0] * 3, species=[0, 0, 1])
    assert interpret.energy(model, system) == pytest.approx(2 * 0.64 + 1)
    assert interpret.param_gradient(model, system, "D") == pytest.approx(2 * 2 * 0.8)
    assert np.allclose(interpret.param_gradient(model, system, "size"), [3.2, 2.0])
    assert interpret.defaults(model, {"D": 0.5})["size"].tolist() == [0.5, 1.0]


ELEMENTARY = (
    "exp",
    "log",
    "sqrt",
    "sin",
    "cos",
    "tan",
    "asin",
    "acos",
    "atan",
    "sinh",
    "cosh",
    "tanh",
    "erf",
    "erfc",
    "floor",
    "round",
    "abs",
    "neg",
    "norm",
)


@pytest.mark.parametrize("op", ELEMENTARY)
def test_slopes_of_elementary_functions(op):
    model = program("energy U = sum(i) 0")
    u = Lambda(("a",), Op(op, (Read("a"),)))
    f, df, ddf = (interpret.constant(model, e) for e in (u, Derivative(u), Derivative(Derivative(u))))
    for at in (0.3, 0.71):
        assert df(at) == pytest.approx(slope_by_differences(lambda h: f(at + h)), rel=1e-8)  # noqa: B023
        assert ddf(at) == pytest.approx(slope_by_differences(lambda h: df(at + h)), rel=1e-8, abs=1e-9)  # noqa: B023
        slope = Slope("b", Op(op, (Read("b"),)), Number(at))
        assert interpret.constant(model, slope) == df(at)


@pytest.mark.parametrize("op", ["add", "sub", "mul", "div", "pow", "atan2", "min", "max"])
def test_slopes_of_two_arguments(op):
    model = program("energy U = sum(i) 0")
    a, b = Op("mul", (Read("a"), Read("a"))), Op("exp", (Read("a"),))
    f = interpret.constant(model, Lambda(("a",), Op(op, (a, b))))
    df = interpret.constant(model, Derivative(Lambda(("a",), Op(op, (a, b)))))
    for at in (0.4, 1.7):
        assert df(at) == pytest.approx(slope_by_differences(lambda h: f(at + h)), rel=1e-8)  # noqa: B023


def test_powers_at_zero():
    zero, one = np.zeros(1), np.ones(1)
    for exponent, slope in [(0.0, 0.0), (1.0, 1.0), (2.0, 0.0), (2.5, 0.0)]:
        with np.errstate(all="ignore"):
            assert dual.derivative(lambda a: dual.power(a, np.array([exponent])), zero, one) == slope  # noqa: B023
    assert dual.derivative(lambda b: dual.power(zero, b), np.array([2.0]), one) == 0


def test_derivatives_do_not_mix():
    """d/dx (x d/dy (x + y)) is 1, not 2: the classic confusion of nested dual numbers."""
    model = program("def inner(a)(b) = a + b\ndef around(a) = a*D(inner(a))(a)\nenergy U = sum(i) D(around)(3.0)")
    assert interpret.energy(model, System(np.zeros((1, 3)), [9.0] * 3)) == 1


def test_the_branch_not_taken_is_never_seen():
    text = (
        "param c = 1.5\nenergy U = sum(i < j) if r < c then log(c - r) + sqrt(c - r) else 1/(r - c)^2 where r = "
        "|x[i] - x[j]|"
    )
    model, system = program(text), jumbled(10)
    for value in (interpret.energy(model, system), interpret.forces(model, system), interpret.virial(model, system)):
        assert np.isfinite(value).all()
    assert np.isfinite(interpret.param_gradient(model, system, "c"))
    assert np.allclose(interpret.forces(model, system), forces_by_differences(model, system), rtol=1e-6)


def test_what_has_no_value_is_not_hidden():
    model = program("energy U = sum(i < j) log(|x[i] - x[j]| - 100)")
    assert np.isnan(interpret.energy(model, jumbled(3)))


def test_a_box_that_depends_on_a_param():
    model = program(
        "param L = 5.0\nbox periodic(L, 2*L, free)\nenergy U = sum(i < j) 1/|x[i] - x[j]|\nobserve V = volume"
    )
    system = System([[0.0, 0, 0], [4, 0, 0], [4, 9, 9]])
    assert interpret.observe(model, "V", system) == 50
    r = np.array([1, np.sqrt(1 + 81), np.sqrt(1 + 1 + 81)])  # 4 - L, 9 - 2L, free
    assert interpret.energy(model, system) == pytest.approx((1 / r).sum(), rel=1e-14)

    def energy(h):
        return interpret.energy(model, moved(system, params={"L": 5 + h}))

    assert interpret.param_gradient(model, system, "L") == pytest.approx(slope_by_differences(energy), rel=1e-8)
    assert (
        interpret.param_gradient(model, moved(system, lengths=[5.0, 10.0, 1.0], periodic=[True, True, False]), "L") == 0
    )
