"""Extern energies: functions of JAX of all atoms beside the formulas that they are, and calculators of ASE."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.calculator import Calculator
from ase.calculators.emt import EMT
from ase.stress import full_3x3_to_voigt_6_stress
from interpreted import jumbled

import mdsl
from mdsl.interpret import meaning as interpret
from mdsl.lowering.planning.policy import Policy
from mdsl.printing.program import print_model

# -- functions of JAX --------------------------------------------------------------------------------------

GLUE = "use units.lj\nuse integrators (velocity_verlet)\nspecies A, B\nparam c = 0.9\n"
EXTERN = GLUE + "extern energy E(w, x, species, neighbours = 2*c)\nenergy other = 0.5*E\nobserve half = E/2\n"
RUN = 'run { x = read("bound in Python")  velocity_verlet(dt = 0.001) for 10 record half }'
FORMULA = (
    GLUE + "param a[species] = { A: 1.0, B: 1.3 }\nparam b = 0.7\n"
    "quantity rho[i] = sum(j != i) if |x[i] - x[j]| < 2*c then a[i]*a[j]*(2*c - |x[i] - x[j]|)^3 else 0\n"
    "energy E = b*sum(i) sqrt(1 + rho[i])\nenergy other = 0.5*E\nobserve half = E/2\n"
)
WEIGHTS = {"a": np.array([1.0, 1.3]), "more": [np.array(0.7)]}


def glue(w, x, species, near):
    r = jnp.sqrt((near.vector**2).sum(axis=1))
    pair = w["a"][species[near.centre]] * w["a"][species[near.other]] * jnp.maximum(1.8 - r, 0) ** 3
    rho = jax.ops.segment_sum(jnp.where(near.there, pair, 0), jnp.asarray(near.centre), len(x))
    return w["more"][0] * jnp.sqrt(1 + rho).sum()


def atoms(program, **more):
    system = jumbled(40)
    return program.bind(system.x, box=system.cell, species=np.arange(40) % 2, **more)


@pytest.fixture(scope="module")
def given():
    return mdsl.compile(EXTERN + RUN, externs={"E": (glue, WEIGHTS)})


@pytest.fixture(scope="module")
def formula():
    return atoms(mdsl.compile(FORMULA + RUN))


@pytest.mark.parametrize("few", [1, 1000])
def test_a_function_is_the_formula_that_it_is(given, formula, few):
    system = atoms(given, policy=Policy(few=few))
    assert system.traversal.listed == (few == 1)
    for name in ("energy", "forces", "virial"):
        ours, theirs = (np.asarray(getattr(s, name)()) for s in (system, formula))
        np.testing.assert_allclose(ours, theirs, rtol=1e-11, atol=1e-11, err_msg=name)
    slopes = jax.grad(lambda p: system.energy(params=p))(given.params)
    same = jax.grad(lambda p: formula.energy(params=p))(formula.program.params)
    np.testing.assert_allclose(slopes["w"]["a"], same["a"], rtol=1e-10)
    np.testing.assert_allclose(slopes["w"]["more"][0], same["b"], rtol=1e-10)


@pytest.mark.slow
def test_derivatives_of_any_order_batches_and_runs(given, formula):
    system = atoms(given)
    step = np.random.default_rng(0).normal(size=system.x.shape)

    def third(s):
        along = lambda t: s.energy(s.x + t * step)  # noqa: E731
        return jax.grad(jax.grad(jax.grad(along)))(0.0)

    def of_box(s):
        return jax.grad(lambda box: s.energy(box=box))(jnp.asarray(s.box))

    np.testing.assert_allclose(third(system), third(formula), rtol=1e-9)
    np.testing.assert_allclose(of_box(system), of_box(formula), atol=1e-11)
    many = jnp.stack([system.x, system.x + 0.01 * step])
    np.testing.assert_allclose(jax.vmap(system.energy)(many), jax.vmap(formula.energy)(many), rtol=1e-12)
    key = jax.random.key(0)
    np.testing.assert_allclose(system.run(key).records["half"], formula.run(key).records["half"], rtol=1e-10)


def test_a_function_means_what_the_interpreter_says(given):
    model, system = given.model, jumbled(6, species=np.arange(6) % 2)
    bound = given.bind(system.x, box=system.cell, species=np.arange(6) % 2)
    assert interpret.energy(model, system) == pytest.approx(float(bound.energy()), rel=1e-12)
    np.testing.assert_allclose(interpret.forces(model, system), bound.forces(), atol=1e-9)
    np.testing.assert_allclose(interpret.virial(model, system), bound.virial(), atol=1e-9)
    slope = interpret.param_gradient(model, system, "w")
    ours = jax.grad(lambda p: bound.energy(params=p))(given.params)["w"]
    np.testing.assert_allclose(slope, [*ours["a"], ours["more"][0]], rtol=1e-8)


def test_it_is_printed_and_explained(given):
    text = print_model(given.model)
    assert "extern energy E(w, x, species, neighbours = 2*c)\n" in text and "weights" not in text
    again = mdsl.compile(text, externs={"E": (glue, WEIGHTS)})
    assert print_model(again.model) == text
    words = given.explain()
    assert "3 weights of a function of Python" in words and "told of those within 2*c" in words


@pytest.mark.slow
def test_weights_are_learned(given, formula):
    """From energies and forces of another."""
    system = atoms(given, policy=Policy(few=1))
    x = system.x + 0.1 * np.random.default_rng(3).normal(size=(24, *system.x.shape))
    start = {"w": {"a": np.array([0.8, 0.8]), "more": [np.array(1.0)]}}
    energies, forces = jax.vmap(formula.energy)(x), jax.vmap(formula.forces)(x)
    found = mdsl.fit(system, x, energies, forces, params=start, epochs=200, batch=8, learning_rate=0.03, progress=False)
    assert found.validation.min() < 0.03 * found.validation[0]
    with pytest.raises(mdsl.Rejected, match="wrong-shape"):
        system.energy(params={"w": {"a": np.ones(2)}})


@pytest.mark.parametrize(
    "inputs, id",
    [
        ("x, neighbours", "wrong-arguments"),
        ("x = 3", "wrong-arguments"),
        ("species, box", "wrong-arguments"),
        ("x, weights, wieghts", "unknown-name"),
        ("x, x", "duplicate-name"),
        ("x, neighbours = 5 [s]", "wrong-unit"),
        ("x, neighbours = t*(1 [m/s])", "nonconstant"),
    ],
)
def test_what_is_wrong_with_the_inputs_is_said(inputs, id):
    with pytest.raises(mdsl.Rejected) as caught:
        mdsl.compile(f"use units.si\nextern energy E({inputs})")
    assert {d.id for d in caught.value.diagnostics} == {id}, str(caught.value)


@pytest.mark.parametrize(
    "inputs, function, words",
    [
        ("x", 3, "is no function"),
        ("w, x", lambda w, x: 0.0, "without its weights `w`"),
        ("x", (lambda x: 0.0, {"a": np.ones(1)}), "weights that it does not take"),
        ("w, x", (lambda w, x: 0.0, {"a": "no"}), "no tree of arrays"),
        ("x", lambda x: x, "an array of shape (2, 3)"),
        ("x", lambda x: x @ jnp.ones(7), "fails: "),
        ("x, species", EMT(), "takes x, species and box"),
        ("x, species, box", EMT(), "the elements of the atoms"),
    ],
)
def test_what_is_wrong_with_a_function_is_said(inputs, function, words):
    with pytest.raises(mdsl.Rejected) as caught:
        program = mdsl.compile(f"use units.lj\nextern energy E({inputs})", externs={"E": function})
        program.bind(np.eye(3)[:2], box=9.0).energy()
    (diagnostic,) = caught.value.diagnostics
    assert diagnostic.id == "bad-extern" and words in diagnostic.message, str(caught.value)


# -- calculators of ASE ----------------------------------------------------------------------------------------

COPPER = """use units.{}
use integrators (baoab)
species Cu
extern energy E(x, species, box)
energy repulsion = sum(i < j) if |x[i] - x[j]| < 3 [angstrom] then (0.1 [eV])*(1 - |x[i] - x[j]|/(3 [angstrom]))^2 else 0
run {{ x = read("bound in Python")  v ~ maxwell(300 [K])
  baoab(dt = 2 [fs], T = 300 [K], gamma = 1 [1/ps]) for 4 record E every 2 write "a.xyz" every 2 }}
"""


def copper():
    found = bulk("Cu", cubic=True) * (2, 2, 2)
    found.rattle(0.1, seed=1)
    return found


def test_a_calculator_is_an_energy_beside_formulas():
    """In units of their own: forces and stress are ASE's; so is the energy on the way of a Langevin run."""
    crystal = copper()
    program = mdsl.compile(COPPER.format("real"), externs={"E": EMT()})
    alone = mdsl.compile(COPPER.format("real").replace("extern energy E(x, species, box)\n", "energy E = 0 [eV]\n"))
    with_emt, without = program.calculator(), alone.calculator()
    crystal.calc = EMT()
    for name in ("forces", "energy", "stress"):
        difference = with_emt.get_property(name, crystal) - without.get_property(name, crystal)
        np.testing.assert_allclose(difference, crystal.calc.get_property(name, crystal), rtol=1e-10, atol=1e-12)
    system = program.bind(crystal)
    stretched = lambda s: system.energy(system.x * s, box=jnp.asarray(system.box) * s)  # noqa: E731
    stress = full_3x3_to_voigt_6_stress(np.asarray(system.virial()))[:3].sum()
    np.testing.assert_allclose(jax.grad(stretched)(1.0), -stress, rtol=1e-10)
    result = system.run(jax.random.key(0), trajectory=True)
    kcal = 4184 / 6.02214076e23 / 1.602176634e-19
    for frame, energy in zip(result.trajectory, result.records["E"], strict=True):
        assert EMT().get_property("energy", frame) == pytest.approx(energy * kcal, rel=1e-10)
    assert np.ptp(result.records["E"]) > 0.1
    batch = system.run(jax.random.split(jax.random.key(0), 2), steps=2)
    np.testing.assert_allclose(batch.records["E"][:, 0], result.records["E"][0], rtol=1e-12)


def test_what_a_calculator_cannot_do_is_said():
    system = mdsl.compile(COPPER.format("metal"), externs={"E": EMT()}).bind(copper())
    with pytest.raises(mdsl.Rejected, match="no-derivative") as caught:
        jax.hessian(system.energy)(system.x)
    assert "EMT" in str(caught.value)
    slab = copper()
    slab.pbc = (True, True, False)
    program = mdsl.compile(COPPER.format("metal"), externs={"E": EMT()})
    assert np.isfinite(program.bind(slab).forces()).all()
    with pytest.raises(mdsl.Rejected, match="no stress in a box that does not repeat"):
        program.bind(slab).virial()


class Fails(Calculator):
    """Of which a good part of calculations does not end well."""

    implemented_properties = ["energy", "forces"]

    def calculate(self, atoms=None, properties=(), system_changes=()):
        raise RuntimeError("SCF did not converge\nafter 100 cycles")


@pytest.mark.parametrize(
    "ask", ["energy", "run", *(pytest.param(n, marks=pytest.mark.slow) for n in ("forces", "batch", "ase"))]
)
def test_an_exception_of_a_calculator_is_a_diagnostic(ask):
    program = mdsl.compile(COPPER.format("metal"), externs={"E": Fails()})
    system, key = program.bind(copper()), jax.random.key(0)
    asked = {
        "run": lambda: system.run(key),
        "batch": lambda: system.run(jax.random.split(key, 2)),
        "ase": lambda: program.calculator().get_property("forces", copper()),
    }
    with pytest.raises(mdsl.Rejected) as caught:
        asked.get(ask, getattr(system, ask, None))()
    (diagnostic,) = caught.value.diagnostics
    assert diagnostic.id == "bad-extern" and diagnostic.span.line == 4
    assert diagnostic.message == "the calculator Fails of `E` fails: RuntimeError: SCF did not converge"
