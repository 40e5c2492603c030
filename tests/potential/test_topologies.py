"""Bonds, angles, dihedrals and exclusions: against LAMMPS, the interpreter, and finite differences."""

import functools
import itertools
import os
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from compiled import PAIRS_BY, TRAVERSALS, apart, bound, everything, program, run, running
from reference import lammps

import mdsl
from mdsl.interpret import meaning as interpret
from mdsl.interpret.atoms import System
from mdsl.interpret.topologies import apart as apart_along
from mdsl.interpret.topologies import paths

HEAD = "use units.lj\nuse pair\nuse bonded\nuse integrators (velocity_verlet, baoab)\n"
ORDER = ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2))  # xx yy zz xy xz yz

# -- Kremer-Grest chains of LAMMPS ---------------------------------------------------------------------

CHAINS = """topology bonds(i, j), angles(i, j, k)
param k_bond = 30.0
energy beads = sum(i < j, (i, j) not in bonds) wca(1, 1)(|x[i] - x[j]|)
energy bond  = sum((i, j) in bonds) (fene(k_bond, 1.5)(r) + wca(1, 1)(r)) where r = |x[i] - x[j]|
energy bend  = sum((i, j, k) in angles) cosine_angle(1.5)(angle(x[i], x[j], x[k]))
"""


@functools.cache
def chains():
    data = lammps("kg_chains_200")
    return {
        "topologies": {k.split("_")[0]: np.array(v)[:, 1:] - 1 for k, v in data.items() if "_type_" in k and v},
        "box": data["box"],
    }


@functools.cache
def chain_program():
    return running(
        CHAINS, "velocity_verlet(dt = 0.005)", 100, "record beads, bond, bend, potential, pressure every 100", head=HEAD
    )


def check_pressure(virial, expected, rel):
    pressure = np.asarray(virial) / np.prod(lammps("kg_chains_200")["box"])
    assert np.allclose([pressure[k] for k in ORDER], expected, rtol=0, atol=rel * np.abs(expected).max())


@pytest.mark.parametrize("traversal", TRAVERSALS)
def test_chains_at_the_start(traversal):
    data = lammps("kg_chains_200")
    energy, forces, virial = everything(bound(chain_program(), data["x0"], traversal, **chains()))
    assert energy == pytest.approx(data["thermo0"]["pe"], rel=1e-12)
    assert np.abs(forces - data["f0"]).max() < 1e-12 * np.abs(data["f0"]).max()
    check_pressure(virial, data["virial_pressure0_xx_yy_zz_xy_xz_yz"], 1e-10)


def test_chains_in_single_precision():
    data = lammps("kg_chains_200")
    energy, forces, virial = everything(bound(chain_program(), data["x0"], precision="single", **chains()))
    assert energy == pytest.approx(data["thermo0"]["pe"], rel=1e-6)
    assert np.abs(forces - data["f0"]).max() < 1e-4 * np.abs(data["f0"]).max()
    check_pressure(virial, data["virial_pressure0_xx_yy_zz_xy_xz_yz"], 1e-4)


@pytest.mark.parametrize("traversal", TRAVERSALS)
def test_chains_after_a_hundred_steps(traversal):
    data = lammps("kg_chains_200")
    result = run(chain_program(), data["x0"], traversal=traversal, velocities=data["v0"], **chains())
    assert (result.counts.list_builds > 1) == (traversal == "list")
    assert apart(result.x, data["x1"], data["box"]) < 1e-10
    assert np.abs(result.v - data["v1"]).max() < 1e-9
    for row, thermo in enumerate((data["thermo0"], data["thermo1"])):
        found = result.records
        parts = [found[name][row] for name in ("beads", "bond", "bend", "potential", "pressure")]
        assert np.allclose(parts, [thermo[c] for c in ("evdwl", "ebond", "eangle", "pe", "press")], rtol=1e-9)


# -- molecules of LAMMPS: two types of bonds, impropers, half weights of 1-4 pairs -----------------------

MOLECULES = """use units.real
use pair
use bonded
species A, B
param eps[species] = { A: 0.195 [kcal/mol], B: 0.0914 [kcal/mol] }
param sigma[species] = { A: 3.75 [angstrom], B: 3.95 [angstrom] }
const deg = pi/180
topology bonds1(i, j), bonds2(i, j), angles1(i, j, k), angles2(i, j, k), dihedrals(i, j, k, l), impropers(i, j, k, l)
energy pairs = sum(i < j, (i, j) not in bonds1, (i, j) not in bonds2, (i, j) not in angles1, (i, j) not in angles2, (i, j) not in dihedrals)
                 sqrt(eps[i]*eps[j])*truncated(lennard_jones((sigma[i] + sigma[j])/2, 1), 10 [angstrom])(|x[i] - x[j]|)
energy ends  = sum((i, j, k, l) in dihedrals) 0.5*sqrt(eps[i]*eps[l])*lennard_jones((sigma[i] + sigma[l])/2, 1)(|x[i] - x[l]|)
energy bond  = sum((i, j) in bonds1) harmonic_bond(520 [kcal/mol/angstrom^2], 1.526 [angstrom])(|x[i] - x[j]|)
             + sum((i, j) in bonds2) harmonic_bond(620 [kcal/mol/angstrom^2], 1.54 [angstrom])(|x[i] - x[j]|)
energy bend  = sum((i, j, k) in angles1) harmonic_angle(124.2 [kcal/mol], 114*deg)(angle(x[i], x[j], x[k]))
             + sum((i, j, k) in angles2) harmonic_angle(110 [kcal/mol], 118*deg)(angle(x[i], x[j], x[k]))
energy turn  = sum((i, j, k, l) in dihedrals) opls_dihedral(1.411 [kcal/mol], -0.271 [kcal/mol], 3.145 [kcal/mol], 0.2 [kcal/mol])(dihedral(x[i], x[j], x[k], x[l]))
energy keep  = sum((i, j, k, l) in impropers) 12 [kcal/mol]*(abs(dihedral(x[i], x[j], x[k], x[l])) - 35*deg)^2
"""


def test_molecules():
    data = lammps("molecules_140")
    tuples = {}
    for key, rows in data.items():
        if "_type_" in key:
            name, rows = key.split("_")[0], np.array(rows)
            split = (
                {f"{name}{k}": rows[rows[:, 0] == k] for k in (1, 2)} if name in ("bonds", "angles") else {name: rows}
            )
            tuples |= {n: r[:, 1:] - 1 for n, r in split.items()}
    system = mdsl.compile(MOLECULES).bind(
        data["x0"], box=data["box"], species=np.array(data["types"]) - 1, masses=np.ones(140), topologies=tuples
    )
    energy, forces, virial = everything(system)
    assert energy == pytest.approx(data["thermo0"]["pe"], rel=1e-10)
    assert np.abs(forces - data["f0"]).max() < 1e-10 * np.abs(data["f0"]).max()
    pressure = virial * data["constants"]["nktv2p"] / np.prod(data["box"])
    expected = data["virial_pressure0_xx_yy_zz_xy_xz_yz"]
    assert np.allclose([pressure[k] for k in ORDER], expected, rtol=0, atol=1e-9 * np.abs(expected).max())


# -- the interpreter -----------------------------------------------------------------------------------

ATOMS, EDGE = 14, 5.0
RNG = np.random.default_rng(1)
TUPLES = {
    "bonds": np.array([[0, 1], [2, 1], [2, 3], [3, 4], [5, 4], [5, 6], [9, 8]]),
    "angles": np.array([[0, 1, 2], [3, 2, 1], [2, 3, 4], [9, 8, 10]]),
    "dihedrals": np.array([[0, 1, 2, 3], [4, 3, 2, 1], [2, 3, 4, 5], [7, 9, 8, 10]]),
    "triplets": np.array([[12, 13, 11], [6, 7, 5]]),
}
DECLARED = (
    "species A, B\ntopology bonds(i, j), angles(i, j, k), dihedrals(i, j, k, l), triplets(a, b, c), chains(i, "
    "j, k, l) = path(bonds), pairs14(i, j) = apart(bonds, 3)\nparam k[species, species] = { A-A: 1.0, A-B: 1.3, "
    "B-B: 0.7 }\nparam w[species] = { A: 0.9, B: 1.4 }\nparam c = 1.1\n"
)
CASES = {
    "bonds": "energy U = 2*c*sum((i, j) in bonds) k[i, j]*w[j]*harmonic_bond(3.0, c)(|x[i] - x[j]|)",
    "more bonds": "energy U = sum((i, j) in bonds) (morse_bond(c, 2.0, 1.2)(r) + c*(x[j] - x[i]).x*exp(-r) + "
    "w[B]*(x[j] - x[i])·(x[i] - x[j])) where r = |x[j] - x[i]|",
    "cosines": "energy U = sum((i, j, k) in angles) w[j]*(cosine_angle(c)(t) + cosine_squared_angle(2.0, 1.9)(t)) "
    "where t = angle(x[i], x[j], x[k])",
    "angles": "energy U = sum((i, j, m) in angles) (k[i, m]*harmonic_angle(c, 1.9)(t) + sin(t)*|x[i] - x[m]|) where t "
    "= angle(x[i], x[j], x[m])",
    "dihedrals": "energy U = sum((i, j, k, l) in dihedrals) (opls_dihedral(c, -0.3, 1.2, 0.2)(p) + "
    "periodic_dihedral(0.3, 3, c)(p) + 0.1*(p - 0.5)^2) where p = dihedral(x[i], x[j], x[k], x[l])",
    "vectors": "energy U = sum((a, b, c_) in triplets) (|p + 2*q|^2 + c*p·q/(|p|*|q|) + (p/c).y) where p = x[a] - "
    "x[b], q = x[c_] - x[a]",
    "a tether": "energy U = sum((i, j) in bonds) c*|x[i] - origin|^2*(x[j] - origin).z",
    "exclusions": "energy U = sum(i < j, (i, j) not in bonds, (i, j) not in dihedrals) k[i, j]*wca(1.2, 1)(|x[i] "
    "- x[j]|)",
    "mixed exclusions": "energy U = sum(i < j, (i, j) not in bonds, (i, j) not in angles) c*wca(1.3, 1)(|x[i] - "
    "x[j]|)\nenergy V = sum(i < j, (i, j) not in bonds) w[i]*w[j]*soft_sphere(1.5, 1.0, 2.0)(|x[i] "
    "- x[j]|)\nobserve close = sum(i < j) if |x[i] - x[j]| < 1.5 then 1 else 0",
    "what follows from bonds": "energy U = sum((i, j, k, l) in chains) ryckaert_bellemans(c, 0.3, -0.2, 0.5, 0.1, "
    "0.2)(dihedral(x[i], x[j], x[k], x[l]))\n"
    "energy V = sum(i < j, (i, j) not in bonds, (i, j) not in pairs14) c*wca(1.3, 1)(|x[i] - x[j]|)\nenergy W = "
    "0.5*sum((i, j) in pairs14) k[i, j]*wca(1.6, 1)(|x[i] - x[j]|)",
    "nothing but observed": "energy U = sum(i < j) c*wca(1.2, 1)(|x[i] - x[j]|)\nobserve stretch = sum((i, j) in "
    "bonds) w[i]*|x[i] - x[j]|\nobserve way = sum((i, j) in bonds) (x[i] - x[j])",
}
ENDLESS = {"no cutoff": "energy U = sum(i < j, (i, j) not in bonds, (i, j) not in angles) c*exp(-|x[i] - x[j]|^2/w[B])"}


def crowd():
    """Chains that lead through the faces of the box."""
    rng = np.random.default_rng(4)
    steps = rng.normal(size=(ATOMS, 3))
    return np.cumsum(1.1 * steps / np.linalg.norm(steps, axis=1)[:, None], axis=0) % EDGE


def compare(text, traversal):
    compiled = mdsl.compile(HEAD + DECLARED + text)
    x, species = crowd(), np.arange(ATOMS) % 2
    system = bound(compiled, x, traversal, box=EDGE, species=species, topologies=TUPLES)
    model = compiled.compiled.stage("resolve")
    oracle = System(x, [EDGE] * 3, species=species, topologies=TUPLES)
    energy, forces, virial = everything(system)
    assert energy == pytest.approx(interpret.energy(model, oracle), rel=1e-12, abs=1e-12)
    expected = interpret.forces(model, oracle)
    assert np.allclose(forces, expected, rtol=0, atol=1e-10 * max(1, np.abs(expected).max()))
    assert np.allclose(virial, interpret.virial(model, oracle), rtol=0, atol=1e-10 * max(1, np.abs(virial).max()))
    slopes, by_box = jax.jit(jax.grad(lambda p, b: system.energy(x, params=p, box=b), (0, 1)))(
        compiled.params, np.full(3, EDGE)
    )
    for name, value in slopes.items():
        wanted = interpret.param_gradient(model, oracle, name)
        if np.ndim(value) == 2:  # for a pair it is no matter which of the two entries is read
            value, wanted = value + value.T, wanted + wanted.T
        assert np.allclose(value, wanted, rtol=1e-9, atol=1e-9), name
    h = 1e-5
    for axis in range(3):
        boxes = [np.full(3, EDGE) + h * sign * np.eye(3)[axis] for sign in (1, -1)]
        up, down = (interpret.energy(model, System(x, b, species=species, topologies=TUPLES)) for b in boxes)
        assert by_box[axis] == pytest.approx((up - down) / (2 * h), rel=1e-6, abs=1e-6)


@pytest.mark.parametrize("case", [*CASES, *ENDLESS])
def test_interpreted(case):
    compare((CASES | ENDLESS)[case], "all pairs")


@pytest.mark.parametrize("case", ["exclusions", pytest.param("mixed exclusions", marks=pytest.mark.slow)])
def test_interpreted_through_a_list(case):
    compare(CASES[case], "list")


def test_observed_tuples():
    text = (
        HEAD
        + DECLARED
        + CASES["mixed exclusions"]
        + "\nobserve stretch = sum((i, j) in bonds) w[i]*|x[i] - x[j]|\nobserve way = sum((i, j) in bonds) "
        "m[i]*(x[i] - x[j])"
    )
    compiled = mdsl.compile(
        text + '\nrun {\n  x = read("bound in Python")\n  velocity_verlet(dt = 0.001) for 0 record U, V, close, '
        "stretch, way\n}"
    )
    species = np.arange(ATOMS) % 2
    found = run(compiled, crowd(), box=EDGE, species=species, topologies=TUPLES).records
    oracle = System(crowd(), [EDGE] * 3, species=species, topologies=TUPLES)
    for name in ("U", "V", "close", "stretch", "way"):
        assert np.allclose(
            found[name][0], interpret.observe(compiled.compiled.stage("resolve"), name, oracle), rtol=1e-12
        ), name


def test_an_atom_in_very_many_tuples():
    count = 30
    x = np.random.default_rng(0).uniform(1, 8, (count, 3))
    star = np.array([[0, k] if k % 2 else [k, 0] for k in range(1, count)])
    compiled = mdsl.compile(
        HEAD + "topology bonds(i, j)\nenergy U = sum((i, j) in bonds) harmonic_bond(2.0, 1.0)(|x[i] - x[j]|)"
    )
    found = everything(bound(compiled, x, box=20.0, topologies={"bonds": star}))
    expected = interpret.forces(compiled.compiled.stage("resolve"), System(x, [20.0] * 3, topologies={"bonds": star}))
    assert np.allclose(found[1], expected, atol=1e-11)


def test_no_tuples_at_all():
    compiled = mdsl.compile(HEAD + CHAINS)
    x = crowd()
    energy, forces, _ = everything(
        bound(compiled, x, box=EDGE, topologies={"bonds": [], "angles": np.zeros((0, 3), int)})
    )
    plain = everything(bound(mdsl.compile(HEAD + "energy U = sum(i < j) wca(1, 1)(|x[i] - x[j]|)"), x, box=EDGE))
    assert energy == pytest.approx(plain[0], rel=1e-13) and np.allclose(forces, plain[1], atol=1e-9)


# -- singular places -----------------------------------------------------------------------------------

STRAIGHT = np.array([[1.0, 2, 3], [2, 2, 3], [3, 2, 3]])
FOLDED = np.array([[1.0, 2, 3], [2, 2, 3], [1.5, 2, 3]])


@pytest.mark.parametrize("x, energy", [(STRAIGHT, 1.0), (FOLDED, 0.5 * 1.0**2)], ids=["straight", "folded"])
@pytest.mark.parametrize(
    "law",
    ["cosine_angle(1.0)", "harmonic_angle(1.0, pi)", "harmonic_angle(1.0, 2.0)", "cosine_squared_angle(1.0, 2.0)"],
)
def test_straight_angles(x, energy, law):
    """Energy, forces and the derivatives of forces are finite where the three atoms are in a line."""
    compiled = mdsl.compile(
        HEAD + f"topology angles(i, j, k)\nenergy U = sum((i, j, k) in angles) {law}(angle(x[i], x[j], x[k]))"
    )
    system = compiled.bind(x, box=20.0, topologies={"angles": [[0, 1, 2]]})
    for values in (system.energy(x), system.forces(x), jax.jacfwd(system.forces)(x)):
        assert np.isfinite(values).all()
    theta = np.pi if x is STRAIGHT else 0.0
    value = (
        {"c": 1 + np.cos(theta), "h": 0.5 * (theta - (np.pi if "pi" in law else 2.0)) ** 2}[law[0]]
        if "squared" not in law
        else 0.5 * (np.cos(theta) - np.cos(2)) ** 2
    )
    assert float(system.energy(x)) == pytest.approx(value, abs=1e-14)


def test_nearly_straight_angles():
    """Where sin is small the force is still that of the formula, in single precision too."""
    compiled = mdsl.compile(
        HEAD + "topology angles(i, j, k)\nenergy U = sum((i, j, k) in angles) harmonic_angle(1.0, 2.0)(angle(x[i], "
        "x[j], x[k]))"
    )
    for tilt, precision, tolerance in ((1e-3, "single", 1e-3), (1e-6, "double", 1e-8)):
        x = STRAIGHT + np.array([[0, 0, 0], [0, 0, 0], [0, tilt, 0]])
        force = np.asarray(
            compiled.bind(x, box=20.0, precision=precision, topologies={"angles": [[0, 1, 2]]}).forces(x)
        )
        assert force[0, 1] == pytest.approx(-(np.pi - 2 - tilt) * -1, rel=10 * tilt + tolerance)


# -- derivatives through dynamics ----------------------------------------------------------------------


@pytest.mark.parametrize("traversal", ["all pairs", pytest.param("list", marks=pytest.mark.slow)])
def test_derivatives_of_a_run(traversal):
    data = lammps("kg_chains_200")
    more = chains() | {"velocities": data["v0"], "policy": PAIRS_BY[traversal]}
    system = chain_program().bind(data["x0"], **more)

    def outcome(k):
        return system.run(jax.random.key(0), params={"k_bond": k}, steps=4).records["bond"][-1]

    found = float(jax.jit(jax.grad(outcome))(30.0))
    up, down = (float(outcome(30.0 + h)) for h in (1e-3, -1e-3))
    assert float(jax.jit(outcome)(30.0)) == pytest.approx(float(outcome(30.0)), rel=1e-12)
    assert found == pytest.approx((up - down) / 2e-3, rel=1e-6)


# -- several devices -----------------------------------------------------------------------------------

SHARDED = """
import sys
sys.path[:0] = sys.argv[1].split(":")
import jax
jax.config.update("jax_num_cpu_devices", 2)
jax.config.update("jax_enable_x64", True)
import numpy as np
import test_topologies as here
from compiled import PAIRS_BY, apart
data = here.lammps("kg_chains_200")
x, v, more = data["x0"][:199], data["v0"][:199], here.chains()
more["topologies"] = {k: t[(t < 199).all(axis=1)] for k, t in more["topologies"].items()}
found = []
for traversal, devices in (("all pairs", 1), ("list", 2)):
    more |= {"devices": jax.devices()[:devices], "policy": PAIRS_BY[traversal]}
    found.append(here.chain_program().bind(x, velocities=v, **more).run(jax.random.key(0)))
assert found[1].counts.list_builds > 1
print(apart(found[0].x, found[1].x, data["box"]))
for name in found[0].records:
    assert np.allclose(found[0].records[name], found[1].records[name], rtol=1e-10), name
assert apart(found[0].x, found[1].x, data["box"]) < 1e-9
"""


@pytest.mark.slow
def test_several_devices():
    """199 atoms on two devices: one holds padding. In a process of its own, for JAX is set up once."""
    done = subprocess.run(
        [sys.executable, "-c", SHARDED, os.pathsep.join(sys.path)],
        capture_output=True,
        text=True,
        env={**os.environ, "JAX_PLATFORMS": "cpu"},
        timeout=600,
    )
    assert done.returncode == 0, done.stderr[-3000:]


# -- what can be wrong ---------------------------------------------------------------------------------

BOND = "topology bonds(i, j)\nenergy U = sum((i, j) in bonds) harmonic_bond(30, 1)(|x[i] - x[j]|)"
WRONG = [
    (None, "missing-topology", "declares the topology `bonds`"),
    ({"bond": [[0, 1]]}, "unknown-name", "no topology `bond`"),
    ({"bonds": [[0, 1, 2]]}, "wrong-shape", "(1, 3), not M × 2"),
    ({"bonds": [0, 1]}, "wrong-shape", "(2,), not M × 2"),
    ({"bonds": [[0, 1], [2, 5]]}, "bad-topology", "names atom 5, but there are 5 atoms"),
    ({"bonds": [[-1, 1]]}, "bad-topology", "names atom -1"),
    ({"bonds": [[0, 1], [2, 2]]}, "bad-topology", "twice in one tuple: (2, 2)"),
    ({"bonds": [[0.0, 1.0]]}, "bad-topology", "no atoms"),
    (
        {"bonds": [[0, 1], [1, 3]]},
        "bad-topology",
        "atoms 1 and 3, which follow each other in the topology `bonds`, are 6.4",
    ),
    (
        {"bonds": [[0, 1], [0, 4]]},
        "bad-topology",
        "atoms 0 and 4, which follow each other in the topology `bonds`, are at one place",
    ),
    ({"bonds": [[0, 1]], "ends": [[0, 1]]}, "bad-topology", "`ends` follows from `bonds`"),
]
FIVE = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [4.4, 5.2, 2.1], [1, 0, 0]], float)


@pytest.mark.parametrize("given, id, words", WRONG)
def test_refused(given, id, words):
    with pytest.raises(mdsl.Rejected) as caught:
        mdsl.compile(HEAD + BOND + "\ntopology ends(i, j) = apart(bonds, 2)").bind(FIVE, box=9.0, topologies=given)
    (diagnostic,) = caught.value.diagnostics
    assert diagnostic.id == id and words in diagnostic.message


def test_missing_from_a_file_is_said_at_its_line():
    compiled = mdsl.compile(HEAD + BOND + "\nrun { x = fcc(density = 0.5, cells = 2) }")
    with pytest.raises(mdsl.Rejected, match="missing-topology") as caught:
        compiled.bind()
    assert caught.value.diagnostics[0].span.text.startswith("x = fcc")
    assert compiled.bind(topologies={"bonds": [[0, 1]]}).initial.topologies["bonds"].tolist() == [[0, 1]]


BROKEN = "topology bonds(i, j)\nenergy chain = sum((i, j) in bonds) fene(30.0, 1.5)(|x[i] - x[j]|)"


def test_a_chain_that_breaks():
    """A bond beyond its greatest length has no energy, but its formula for the force is finite: it must end the run."""
    x = np.array([[1.0, 1, 1], [2, 1, 1], [3, 1, 1]])
    v = np.array([[0.0, 0, 0], [0, 0, 0], [40.0, 0, 0]])
    compiled = running(BROKEN, "velocity_verlet(dt = 0.02)", 50, head=HEAD)
    with pytest.raises(mdsl.Rejected) as caught:
        run(compiled, x, velocities=v, box=30.0, topologies={"bonds": [[0, 1], [1, 2]]})
    (diagnostic,) = caught.value.diagnostics
    assert diagnostic.id == "blow-up"
    assert (
        "atoms 1 and 2" in str(diagnostic.label)
        and "1.7892 apart" in str(diagnostic.label)
        and "no finite energy" in str(diagnostic.label)
    )
    assert "`chain`" in diagnostic.notes[0]


def test_a_chain_that_is_broken_at_the_start():
    x = np.array([[1.0, 1, 1], [2.6, 1, 1], [3.4, 1, 1]])
    with pytest.raises(mdsl.Rejected, match="overlap") as caught:
        run(
            running(BROKEN, "velocity_verlet(dt = 0.02)", 50, head=HEAD),
            x,
            box=30.0,
            topologies={"bonds": [[0, 1], [1, 2]]},
        )
    assert "atoms 0 and 1" in str(caught.value)


def test_overlaps_that_are_left_out_are_fine():
    """Of many atoms only the closest pairs are looked at; bonded ones are not among them."""
    rng = np.random.default_rng(0)
    first = np.stack(np.meshgrid(*[np.arange(6.0)] * 3, indexing="ij"), -1).reshape(-1, 3) * 1.5
    x = np.concatenate([first, first])
    bonds = np.arange(len(first))[:, None] + [0, len(first)]
    text = (
        "topology bonds(i, j)\nenergy U = sum(i < j, (i, j) not in bonds) shifted(lennard_jones(1, 1), 1.3)(|x[i] "
        "- x[j]|)"
    )
    compiled = running(text, "velocity_verlet(dt = 0.001)", 2, "record U", head=HEAD)
    assert run(compiled, x, box=9.0, topologies={"bonds": bonds}).records["U"][-1] == 0
    with pytest.raises(mdsl.Rejected, match="overlap") as caught:
        run(compiled, x, box=9.0, topologies={"bonds": rng.permutation(bonds)[:-1]})
    assert "two atoms are on top of each other" in str(caught.value)


# -- what is told of them ------------------------------------------------------------------------------


def test_explained():
    text = mdsl.compile(HEAD + CHAINS).explain()
    assert "a bond map over the topology `bonds`" in text and "an angle map over the topology `angles`" in text
    assert "less the pairs of the two ends of each member of `bonds`" in text
    assert "taken off the list when it is built" in text
    assert "opposite on the two atoms of each of x[i] - x[j], x[j] - x[k]" in text


EXAMPLES = Path(__file__).parents[2] / "examples"


def test_the_chains_of_the_example(tmp_path):
    """chain.data is what make_chain.py writes."""
    made = tmp_path / "chain.data"
    subprocess.run([sys.executable, str(EXAMPLES / "make_chain.py"), str(made)], check=True, timeout=60)
    assert made.read_text() == (EXAMPLES / "chain.data").read_text()
    initial = mdsl.load(EXAMPLES / "polymer.mdsl").bind().initial
    assert (
        initial.atoms == 216
        and initial.topologies["bonds"].shape == (18 * 11, 2)
        and initial.topologies["angles"].shape == (18 * 10, 3)
    )


def test_library_angles_by_cosine_are_smooth():
    """Energies of cos(angle) alone have no angle left in them."""
    field = program(DECLARED + CASES["cosines"], head=HEAD).compiled.field
    from mdsl.model.nodes import Op, walk

    exprs = [term.summand for term in field.terms] + [e for t in field.terms for g in t.gradients for e in g.direct]
    assert not any(isinstance(n, Op) and n.op in ("angle", "acos") for e in exprs for n in walk(e))


# -- topologies that follow from bonds -------------------------------------------------------------------


def by_brute_force(bonds, atoms):
    """The number of bonds on the shortest way between any two atoms (inf where there is none)."""
    steps = np.where(np.eye(atoms, dtype=bool), 0.0, np.inf)
    for i, j in bonds:
        steps[i, j] = steps[j, i] = 1
    for k in range(atoms):
        steps = np.minimum(steps, steps[:, k, None] + steps[None, k])
    return steps


@pytest.mark.parametrize("seed", range(4))
def test_apart_and_path(seed):
    rng = np.random.default_rng(seed)
    atoms = 12
    bonds = np.array([pair for pair in itertools.combinations(range(atoms), 2) if rng.uniform() < 0.2])
    bonds = np.where(rng.uniform(size=len(bonds))[:, None] < 0.5, bonds, bonds[:, ::-1])
    steps = by_brute_force(bonds, atoms)
    for count in (1, 2, 3, 4):
        expected = [p for p in itertools.combinations(range(atoms), 2) if steps[p] == count]
        assert apart_along(bonds, atoms, count).tolist() == [list(p) for p in expected]
    for width in (3, 4, 5):
        chains = [
            c
            for c in itertools.permutations(range(atoms), width)
            if c[0] < c[-1] and all(steps[p] == 1 for p in zip(c, c[1:]))
        ]
        assert sorted(map(tuple, paths(bonds, atoms, width).tolist())) == chains
    assert apart_along(np.zeros((0, 2), int), 3, 2).shape == (0, 2) and paths(np.zeros((0, 2), int), 3, 4).shape == (
        0,
        4,
    )


FOLLOWING = [
    ("ends(i, j) = apart(bonds)", "wrong-arguments", "a topology and a number of bonds"),
    ("ends(i, j) = apart(bond, 3)", "unknown-name", "did you mean `bonds`?"),
    ("ends(i, j) = apart(bonds, 0)", "bad-number", "from 1 to 16"),
    ("ends(i, j) = apart(bonds, 1.5)", "bad-number", "from 1 to 16"),
    ("ends(i, j, k) = apart(bonds, 2)", "bad-topology", "pairs of atoms"),
    ("ends(i, j) = path(bonds)", "bad-topology", "three atoms or more"),
    ("angles(i, j, k) = paths(bonds)", "unknown-name", "did you mean `path`"),
    ("angles(i, j, k), ends(i, j) = apart(angles, 2)", "bad-topology", "pairs of atoms that come with the atoms"),
    (
        "ends(i, j) = apart(bonds, 2), more(i, j) = apart(ends, 2)",
        "bad-topology",
        "pairs of atoms that come with the atoms",
    ),
    ("ends(i, j) = 3", "misplaced", "follows from another"),
    ("ends(i, j) = of_type(bonds)", "wrong-arguments", "a topology and a type"),
    ("ends(i, j) = of_type(bonds, 1.5)", "wrong-arguments", "a number, a word"),
    ("angles(i, j, k), ends(i, j) = of_type(angles, 2)", "bad-topology", "has 2 atoms"),
]


@pytest.mark.parametrize("text, id, words", FOLLOWING)
def test_wrong_following(text, id, words):
    with pytest.raises(mdsl.Rejected) as caught:
        mdsl.compile(HEAD + BOND + "\ntopology " + text)
    assert caught.value.diagnostics[0].id == id and words in str(caught.value)


TYPED = """topology bonds(i, j), soft(i, j) = of_type(bonds, 1), stiff(i, j) = of_type(bonds, "2"), pairs13(i, j) = apart(bonds, 2)
energy U = sum((i, j) in soft) harmonic_bond(1, 1)(|x[i] - x[j]|) + 10*sum((i, j) in stiff) harmonic_bond(1, 1)(|x[i] - x[j]|)
energy W = sum((i, j) in pairs13) |x[i] - x[j]|
run { x = read("typed.data") }
"""
FILE = (
    "types\n\n4 atoms\n1 atom types\n3 bonds\n2 bond types\n0 20 xlo xhi\n0 20 ylo yhi\n0 20 zlo zhi\n\nAtoms # "
    "bond\n\n1 1 1 1 1 1\n2 1 1 3 1 1\n3 1 1 3 4 1\n4 1 1 3 4 5\n\nBonds\n\n1 1 1 2\n2 2 2 3\n3 1 3 4\n"
)


def test_types_of_a_file(tmp_path):
    """Lengths 2, 3 and 4; the bond of length 3 is stiff."""
    (tmp_path / "typed.data").write_text(FILE)
    compiled = mdsl.compile(HEAD + TYPED, tmp_path)
    system = compiled.bind()
    assert system.initial.topologies["stiff"].tolist() == [[1, 2]] and system.initial.topologies["soft"].tolist() == [
        [0, 1],
        [2, 3],
    ]
    assert system.energy() == pytest.approx((1 + 9) / 2 + 10 * 4 / 2 + 13**0.5 + 5, rel=1e-14)
    oracle = System(
        system.x, [20.0] * 3, topologies={k: system.initial.topologies[k] for k in ("bonds", "soft", "stiff")}
    )
    assert interpret.energy(compiled.compiled.stage("resolve"), oracle) == pytest.approx(
        float(system.energy()), rel=1e-14
    )
    with pytest.raises(mdsl.Rejected) as caught:
        mdsl.compile(HEAD + TYPED.replace("of_type(bonds, 1)", "of_type(bonds, 7)"), tmp_path).bind()
    assert (
        caught.value.diagnostics[0].id == "bad-topology"
        and "is of the type `7`" in str(caught.value)
        and "1, 2" in str(caught.value)
    )
    assert system.initial.notes == ("not used of typed.data: the data molecule",)
    with pytest.warns(UserWarning, match="are treated alike"):
        alike = mdsl.compile(
            HEAD
            + 'topology bonds(i, j)\nenergy U = sum((i, j) in bonds) |x[i] - x[j]|\nrun { x = read("typed.data") }',
            tmp_path,
        ).bind()
    assert alike.initial.notes[0] == "the bonds of types 1, 2 are treated alike: `of_type(bonds, 1)` are those of one"
    with pytest.raises(mdsl.Rejected, match="without types of these"):
        compiled.bind(topologies={"bonds": [[0, 1], [1, 2]]})
    given = compiled.bind(topologies={"bonds": [[0, 1], [1, 2]], "soft": [[0, 1]], "stiff": [[1, 2]]})
    assert given.energy() == pytest.approx(1 / 2 + 10 * 4 / 2 + 13**0.5, rel=1e-14)


def test_types_are_printed():
    from mdsl.printing.program import print_model

    text = print_model(mdsl.compile(HEAD + TYPED).compiled.stage("resolve"))
    assert (
        'stiff(i, j) = of_type(bonds, "2")' in text
        and mdsl.compile(text).model.derived == mdsl.compile(HEAD + TYPED).model.derived
    )
