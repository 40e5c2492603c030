"""The interpreter against formulas by hand and other people's programs."""

import numpy as np
import pytest
from interpreted import jumbled, moved, program
from reference import lammps

from mdsl.interpret import meaning as interpret
from mdsl.interpret.meaning import System
from mdsl.interpret.quantities import BUILTIN_VALUES
from mdsl.interpret.values import GEOMETRY, OPERATIONS
from mdsl.model.nodes import Label, Number, Op, Read, Text
from mdsl.model.operators import BUILTINS, OPERATORS

# -- by hand -------------------------------------------------------------------------------------------

LJ = program(
    "param sigma = 1.0  param epsilon = 1.0\nenergy U = sum(i < j) lennard_jones(sigma, epsilon)(|x[i] - x[j]|)"
)


def lj(r, sigma=1.0, epsilon=1.0):
    return 4 * epsilon * ((sigma / r) ** 12 - (sigma / r) ** 6)


def slope_of_lj(r, sigma=1.0, epsilon=1.0):
    return -24 * epsilon / r * (2 * (sigma / r) ** 12 - (sigma / r) ** 6)


def test_dimer():
    system = System([[0.0, 0, 0], [1.2, 0, 0]], [50.0] * 3)
    assert interpret.energy(LJ, system) == pytest.approx(lj(1.2), rel=1e-14)
    pull = slope_of_lj(1.2)
    assert np.allclose(interpret.forces(LJ, system), [[pull, 0, 0], [-pull, 0, 0]], rtol=1e-14)
    assert np.allclose(interpret.virial(LJ, system), np.diag([-1.2 * pull, 0, 0]), rtol=1e-14)


def test_trimer_with_other_parameters_across_the_edge():
    x = np.array([[0.1, 0, 0], [9.2, 0, 0], [0.1, 1.3, 0]])
    system = System(x, [10.0] * 3, params={"sigma": 0.9, "epsilon": 1.5})
    r = [0.9, 1.3, np.hypot(0.9, 1.3)]
    assert interpret.energy(LJ, system) == pytest.approx(sum(lj(a, 0.9, 1.5) for a in r), rel=1e-14)
    assert interpret.energy(LJ, moved(system, periodic=[False, True, True])) == pytest.approx(
        sum(lj(a, 0.9, 1.5) for a in (9.1, 1.3, np.hypot(9.1, 1.3))), rel=1e-14
    )


def test_minimum_of_lennard_jones():
    system = System([[0.0, 0, 0], [2 ** (1 / 6), 0, 0]], [50.0] * 3)
    assert interpret.energy(LJ, system) == pytest.approx(-1)
    assert np.abs(interpret.forces(LJ, system)).max() < 1e-13


def test_one_atom_and_none_in_reach():
    assert interpret.energy(LJ, System([[0.0, 0, 0]], [5.0] * 3)) == 0
    cut = program("energy U = sum(i < j) truncated(lennard_jones(1, 1), 2.5)(|x[i] - x[j]|)")
    apart = System([[0.0, 0, 0], [4, 0, 0]], [9.0] * 3)
    assert interpret.energy(cut, apart) == 0
    assert not interpret.forces(cut, apart).any()


def test_species_tables():
    model = program(
        "species A, B\nparam s[species, species] = { A-A: 1.0, B-A: 0.8, B-B: 0.9 }\nparam e[species] = { A: 1.0, "
        "B: 2.0 }\n"
        "energy U = sum(i < j) (e[i] + e[j])*inverse_power(s[i, j], 1, 2)(|x[i] - x[j]|)\nobserve first = s[A, B]"
    )
    system = System([[0.0, 0, 0], [1, 0, 0], [0, 2, 0]], [50.0] * 3, species=[0, 1, 1])
    by_hand = 3 * 0.8**2 / 1 + 3 * 0.8**2 / 4 + 4 * 0.9**2 / 5
    assert interpret.energy(model, system) == pytest.approx(by_hand, rel=1e-14)
    assert interpret.observe(model, "first", system) == 0.8
    assert np.allclose(interpret.parameter(model, "s"), [[1, 0.8], [0.8, 0.9]])
    other = moved(system, params={"s": np.ones((2, 2))})
    assert interpret.energy(model, other) == pytest.approx(3 + 3 / 4 + 4 / 5, rel=1e-14)


def test_domains():
    text = """topology bonds(i, j), angles(i, j, k)
    energy pairs = sum(i < j) 1        energy apart = sum(i < j, (i, j) not in bonds) 1
    energy triple = sum(i; j < k) 1    energy bonded = sum((i, j) in bonds) 1
    energy bent = sum((i, j, k) in angles) 1
    quantity near[i] = sum(j != i) 1   quantity unbound[i] = sum(j != i, (i, j) not in bonds) 1
    energy around = sum(i) near[i]     energy nested = sum(i) sum(j < k) 1"""
    system = jumbled(5, topologies={"bonds": np.array([[1, 0], [1, 2]]), "angles": np.zeros((0, 3), int)})
    model = program(text)
    expected = {"pairs": 10, "apart": 8, "triple": 30, "bonded": 2, "bent": 0, "around": 20, "nested": 50}
    assert {e.name: interpret.energy(model, system, e.name) for e in model.of_kind("energy")} == expected
    assert interpret.energy(model, system) == sum(expected.values())
    assert (interpret.quantity(model, "near", system) == 4).all()
    assert (interpret.quantity(model, "unbound", system) == [3, 2, 3, 4, 4]).all()
    assert (interpret.quantity(model, "unbound", system, np.array([1, 4])) == [2, 4]).all()


def test_points():
    model = program("dim 2\nenergy U = sum(i < j) |x[i] - x[j]|")
    i, j = Read("x", ("i",)), Read("x", ("j",))
    system = System([[0.5, 1.0], [3.75, 1.0]], [4.0, 4.0])
    apart = interpret.evaluate(model, Op("sub", (i, j)), system, i=0, j=np.array([1, 0]))
    assert (apart == [[0.75, 0], [0, 0]]).all()
    step = Op("sub", (i, Read("origin")))
    assert (interpret.evaluate(model, Op("add", (j, step)), system, i=0, j=1) == [4.25, 2.0]).all()
    for op, args in [("add", (i, j)), ("mul", (Number(2.0), i)), ("sub", (step, i))]:
        with pytest.raises(TypeError):
            interpret.evaluate(model, Op(op, args), system, i=0, j=1)


def test_angles():
    model = program("energy U = sum(i < j) |x[i] - x[j]|")
    points = tuple(Read("x", (n,)) for n in "abcd")
    rng = np.random.default_rng(3)
    for turn in rng.uniform(-np.pi, np.pi, 5):
        # a is at x; b is the origin; c above it on z: looking from b to c, x turns to y clockwise.
        x = [[1.0, 0, 0.3], [0, 0, 0], [0, 0, 1], [np.cos(turn), np.sin(turn), 0.5], [np.cos(turn), np.sin(turn), 0]]
        system = System(x, [50.0] * 3)
        found = interpret.evaluate(model, Op("dihedral", points), system, a=0, b=1, c=2, d=3)
        assert found == pytest.approx(turn, abs=1e-14)
        bend = interpret.evaluate(model, Op("angle", points[:3]), moved(system, x=[[1.0, 0, 0], *x[1:]]), a=0, b=1, c=4)
        assert bend == pytest.approx(abs(turn), abs=1e-14)
    trans = System([[1.0, 0, 0], [0, 0, 0], [0, 0, 1], [-1, 0, 1]], [50.0] * 3)
    assert abs(interpret.evaluate(model, Op("dihedral", points), trans, a=0, b=1, c=2, d=3)) == np.pi
    straight = System([[1.0, 0, 0], [0, 0, 0], [-1, 0, 0]], [50.0] * 3)
    assert interpret.evaluate(model, Op("angle", points[:3]), straight, a=0, b=1, c=2) == np.pi


def test_kinetic_temperature_pressure_stress():
    model = program("param m = 2.0\nenergy U = sum(i < j) lennard_jones(1, 1)(|x[i] - x[j]|)")
    system = jumbled(9)
    kinetic = (system.v**2).sum()
    assert interpret.observe(model, "kinetic", system) == pytest.approx(kinetic, rel=1e-13)
    assert interpret.observe(model, "temperature", system) == pytest.approx(2 * kinetic / 24, rel=1e-13)
    assert interpret.observe(model, "temperature", moved(system, degrees_of_freedom=27)) == pytest.approx(
        2 * kinetic / 27
    )
    stress = interpret.observe(model, "stress", system)
    assert stress.shape == (3, 3)
    assert interpret.observe(model, "pressure", system) == pytest.approx(-np.trace(stress) / 3, rel=1e-12)


# -- other people's programs ---------------------------------------------------------------------------

PAIRS = {
    "lj_cut_2.5_fcc256": "truncated(lennard_jones(1, 1), 2.5)",
    "lj_cut_shift_2.5_fcc256": "shifted(lennard_jones(1, 1), 2.5)",
    "lj_smooth_linear_2.5_fcc256": "force_shifted(lennard_jones(1, 1), 2.5)",
    "morse_2.5_fcc256": "truncated(morse(1, 5, 1.12), 2.5)",
    "soft_cos_1.5_fcc256": "soft_cosine(10, 1.5)",
    "wca_fcc256": "wca(1, 1)",
    "yukawa_3.0_fcc256": "truncated(yukawa(10, 1), 3)",
}
CHAINS = """topology bonds(i, j), angles(i, j, k)
energy beads = sum(i < j, (i, j) not in bonds) wca(1, 1)(|x[i] - x[j]|)
energy bond = sum((i, j) in bonds) (-30*1.5^2/2*log(1 - (r/1.5)^2) + wca(1, 1)(r)) where r = |x[i] - x[j]|
energy bend = sum((i, j, k) in angles) 1.5*(1 + cos(angle(x[i], x[j], x[k])))"""
SILICON = """const a = 1.8*2.0951
def soft(r) = if r < a then exp(1.2*2.0951/(r - a)) else 0
energy two = sum(i < j) if r < a then 2.1683*7.049556277*(0.6022245584*(2.0951/r)^4 - 1)*exp(2.0951/(r - a)) else 0
             where r = |x[i] - x[j]|
energy three = sum(i; j < k) 2.1683*21*(p·q/(|p|*|q|) + 0.333333333333)^2*soft(|p|)*soft(|q|)
               where p = x[j] - x[i], q = x[k] - x[i]"""


def oracle(name):
    data = lammps(name)
    tops = {k.split("_")[0]: np.array(v)[:, 1:] - 1 for k, v in data.items() if "_type_" in k and len(v)}
    return data, System(data["x0"], data["box"], v=data["v0"], topologies=tops)


@pytest.mark.parametrize(
    "name, text",
    [(n, f"energy U = sum(i < j) {u}(|x[i] - x[j]|)") for n, u in PAIRS.items()]
    + [("kg_chains_200", CHAINS), ("Si_sw_diamond64", SILICON)],
)
def test_lammps(name, text):
    data, system = oracle(name)
    model = program(text)
    thermo, constants = data["thermo0"], data["constants"]
    assert interpret.energy(model, system) == pytest.approx(thermo["pe"], rel=1e-12)
    for term, column in {"beads": "evdwl", "bond": "ebond", "bend": "eangle"}.items() if name.startswith("kg") else ():
        total = thermo[column] if term != "beads" else thermo["evdwl"]
        assert interpret.energy(model, system, term) == pytest.approx(total, rel=1e-12)
    few = [0, 17]
    assert np.allclose(
        interpret.forces(model, system, few)[few],
        np.array(data["f0"])[few],
        rtol=0,
        atol=1e-11 * np.abs(data["f0"]).max(),
    )
    w = interpret.virial(model, system) * constants["nktv2p"] / np.prod(system.lengths)
    found = [w[0, 0], w[1, 1], w[2, 2], w[0, 1], w[0, 2], w[1, 2]]
    assert np.allclose(found, data["virial_pressure0_xx_yy_zz_xy_xz_yz"], rtol=1e-10, atol=1e-9 * np.abs(found).max())
    if constants["boltz"] == 1:
        assert interpret.observe(model, "pressure", system) == pytest.approx(thermo["press"], rel=1e-11)


# -- without atoms -------------------------------------------------------------------------------------


def test_constants():
    model = program(
        "const shift[k in 1..4] = 0.1*k\nparam T = 2.0\nparam W = T\ndef ramp(t) = if t < 10 then T - 0.1*t else "
        "0\nenergy U = sum(i) shift[3]*W"
    )
    assert np.allclose(interpret.parameter(model, "shift"), [0.1, 0.2, 0.3, 0.4])
    assert interpret.energy(model, System(np.zeros((2, 3)), [9.0] * 3)) == pytest.approx(1.2)
    assert interpret.energy(model, System(np.zeros((2, 3)), [9.0] * 3, params={"W": 1.5})) == pytest.approx(0.9)
    assert interpret.constant(model, Op("mul", (Read("T"), Read("pi")))) == pytest.approx(2 * np.pi)
    assert interpret.constant(model, Read("N"), {"N": 7}) == 7
    assert interpret.constant(model, Text("melt.xyz")) == "melt.xyz"
    assert interpret.constant(model, Label("Cu")) == "Cu"
    ramp = interpret.constant(model, Read("ramp"), {"T": 3.0})
    assert (ramp(0), ramp(5), ramp(11)) == (3.0, 2.5, 0.0)
    pair = interpret.constant(LJ, Read("pair.lennard_jones"))
    assert pair(1.0, 1.0)(1.5) == lj(1.5)


def test_every_operation_and_every_builtin_has_a_meaning():
    assert {*OPERATIONS, *GEOMETRY, "choose"} == set(OPERATORS)
    assert set(BUILTIN_VALUES) == set(BUILTINS)
