"""No node of an energy is taken for a constant: every operator, and every other node of the Model, with arguments that
are quantities, parameters, entries of tables, data, distances, sums or the volume, in every domain of sums.

The energy itself is that of the interpreter. Its first derivatives, by positions, box, parameters and data, are
compared with central differences of it, the second derivatives, in forward and in reverse mode, with central
differences of forces.
"""

import functools

import every_operator as cases
import jax
import numpy as np
import pytest

import mdsl
from mdsl.interpret import meaning
from mdsl.interpret.meaning import System
from mdsl.model import nodes
from mdsl.model.nodes import Op, walk
from mdsl.model.operators import NEIGHBOURS, OPERATORS
from mdsl.model.traverse import inside

QUICK = {
    "xla_backend_optimization_level": 0,
    "xla_llvm_disable_expensive_passes": True,
}  # much compiled, little computed
EDGE = 9.0
SPECIES = np.array([0, 1, 0, 0, 1, 1])
CHAINS = [[0, 1, 2, 3], [1, 2, 3, 4], [2, 3, 4, 5]]
STEPS = [[0.7, 0.6, 0.3], [0.9, -0.4, 0.5], [0.2, 0.8, 0.6], [-0.5, 0.7, 0.6], [0.8, 0.4, -0.5], [0.3, -0.8, 0.7]]
FIRST = ("sum(i)", "sum(i < j)")  # by default; those of other domains are slow
# In domains whose programs take long to compile, only some by default, and all among the exhaustive tests.
SOME = (
    "norm",
    "dot",
    "component_y",
    "trace",
    "cross",
    "choose",
    "pow",
    "atan2",
    "angle",
    "dihedral",
    "Tabulated",
    "Call",
)
QUICKLY = {d: None if d in ("sum(i)", "sum(i < j)", "sums") else SOME for d in cases.DOMAINS}
ALL = [(domain, source) for domain, sources in cases.DOMAINS.items() for source in sources]


def place():
    """Positions, parameters, box and data."""
    x = np.cumsum(STEPS, 0)
    x[3] += [EDGE, 0, -EDGE]  # in another image of the box, by which derivatives by its edges are not 0
    return (
        x,
        {"p": 0.43, "q": 0.71, "own": np.array([0.62, 0.37]), "both": np.array([[0.52, 0.81], [0.81, 0.33]])},
        np.full(3, EDGE),
        {"charge": np.linspace(0.31, 0.87, 6)},
    )


@functools.cache
def compiled(folder, domain, source, names=None):
    x, _, box, data = place()
    program = cases.program(folder, domain, source, names)
    return program, program.bind(x, box=box, species=SPECIES, data=data, topologies={"chains": CHAINS})


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("every")


def jitted(function):
    return jax.jit(function, compiler_options=QUICK)


def directions():
    """One for all positions, one for all edges, one for each array of parameters and data; symmetric where they are."""
    rng = np.random.default_rng(3)
    zero = jax.tree.map(np.zeros_like, place())

    def along(k, name=None):
        parts = list(zero)
        if name is None:
            parts[k] = rng.normal(size=np.shape(parts[k])) * (1 if k == 0 else EDGE)
        else:
            step = rng.normal(size=np.shape(parts[k][name]))
            parts[k] = parts[k] | {name: (step + step.T) / 2}
        return tuple(parts)

    found = {"positions": along(0), "box": along(2)}
    return found | {n: along(k, n) for k in (1, 3) for n in zero[k]}


def central(function, step, h=2e-5):
    def moved(h):
        return jax.tree.map(lambda a, d: a + h * d, place(), step)

    return (np.asarray(function(*moved(h))) - np.asarray(function(*moved(-h)))) / (2 * h)


def inner(a, b):
    return sum(float(np.sum(np.asarray(p) * q)) for p, q in zip(jax.tree.leaves(a), jax.tree.leaves(b)))


def first(folder, domain, source, names=None):
    """Each first derivative of an energy, and that which it should be."""
    program, system = compiled(folder, domain, source, names)

    def energy(x, params, box, data):
        return system.energy(x, params=params, box=box, data=data)

    both = jitted(lambda *at: (jax.value_and_grad(energy, (0, 1, 2, 3))(*at), system.virial(*at[:1], params=at[1])))
    (value, slopes), virial = both(*place())
    alone = jitted(energy)
    x, params, box, data = place()
    atoms = System(x, box, species=SPECIES, params={**params, **data}, topologies={"chains": np.array(CHAINS)})
    yield "the energy", float(value), meaning.energy(program.model, atoms)
    for what, step in directions().items():
        yield f"by {what}", inner(slopes, step), float(central(alone, step))
    stretch = np.array([0.3, -0.5, 0.9])
    strained = (x * stretch, jax.tree.map(np.zeros_like, params), box * stretch, {"charge": np.zeros(6)})
    yield "the virial", -float(np.diag(virial) @ stretch), float(central(alone, strained))


def second(folder, domain, source, names=None):
    """Each derivative of the forces along a direction, in both modes, and that which it should be."""
    _, system = compiled(folder, domain, source, names)
    weights = np.random.default_rng(4).normal(size=(6, 3))

    def forces(x, params, box, data):
        return system.forces(x, params=params, box=box, data=data)

    alone = jitted(forces)
    forward = jitted(lambda at, step: jax.jvp(forces, at, step)[1])
    reverse = jitted(jax.grad(lambda at: (weights * forces(*at)).sum()))(place())
    for what, step in directions().items():
        expected = float((weights * central(alone, step)).sum())
        yield f"by {what}, forward mode", float((weights * np.asarray(forward(place(), step))).sum()), expected
        yield f"by {what}, reverse mode", inner(reverse, step), expected


def agree(found, tolerance):
    found = list(found)
    scale = max(abs(expected) for _, _, expected in found)
    wrong = [f for f in found if not abs(f[1] - f[2]) < tolerance * max(abs(f[2]), 0.01 * scale)]
    assert not wrong, wrong


@pytest.mark.parametrize("domain", [d if d in FIRST else pytest.param(d, marks=pytest.mark.slow) for d in QUICKLY])
def test_first_derivatives(folder, domain):
    agree(first(folder, domain, None, QUICKLY[domain]), 1e-6)


@pytest.mark.exhaustive
@pytest.mark.parametrize("domain, source", [(d, None) for d in cases.DOMAINS if QUICKLY[d] is not None] + ALL)
def test_first_derivatives_of_all_kinds_of_arguments(folder, domain, source):
    agree(first(folder, domain, source), 1e-6)


def test_second_derivatives(folder):
    agree(second(folder, "sum(i < j)", None, SOME), 1e-6)


@pytest.mark.exhaustive
@pytest.mark.parametrize("domain", cases.DOMAINS)
def test_second_derivatives_of_all(folder, domain):
    agree(second(folder, domain, None), 1e-6)


def test_every_node_has_a_case(folder):
    """A new operator, or a new kind of node, needs a case. What reads other replicas stands in flows
    (dynamics/test_chains.py), and functions of all atoms have derivatives of their own (api/test_extern_energy.py)."""
    assert cases.OPERATORS.keys() == OPERATORS.keys() - NEIGHBOURS.keys()
    program = cases.program(folder, "sum((i, j, k, l) in chains)", "quantity")
    stages = [model for _, model in program.compiled.stages]
    found = [n for model in stages for e in inside(model) for n in walk(e)]
    assert {n.op for n in found if isinstance(n, Op)} >= cases.OPERATORS.keys() - {"and", "or", "not"}
    kinds = {c for c in vars(nodes).values() if isinstance(c, type) and issubclass(c, nodes.Expr)} - {nodes.Expr}
    # A label stands in the arguments of nodes; a text in those of readers alone.
    seen = {type(n) for n in found} | {type(a) for n in found if isinstance(n, nodes.Read) for a in n.indices}
    assert seen >= kinds - {nodes.Text, nodes.OfAll}, kinds - seen


REFUSED = {  # what cannot be differentiated yet is refused, wherever it reads something
    "the exponential of a matrix": "energy U = sum(i) trace(exp(outer((a, C[i], 0), (1, 0, 0))))",
    "a shifted point": "energy U = sum(i) |x[i] + (C[i], 0, 0) - origin|",
    "a shifted point, by a parameter": "energy U = sum(i < j) |x[i] + (a, 0, 0) - x[i]|*|x[j] + (a, 0, 0) - x[j]|",
    "the corner of an angle": "energy U = sum(i; j < k) angle(x[j], x[i] + (a, 0, 0), x[k])",
    "a vector of each atom": "quantity w[i] = (C[i], 1, 2)\nenergy U = sum(i) |w[i]|",
    "a sum of vectors": "energy U = |sum(i) (C[i], 1, 2)|",
}


@pytest.mark.parametrize("what", REFUSED)
def test_the_rest_is_refused(what):
    with pytest.raises(mdsl.Rejected) as rejected:
        mdsl.compile(f"use units.lj\nparam a = 0.3\nquantity C[i] = sum(j != i) exp(-|x[i] - x[j]|)\n{REFUSED[what]}")
    assert [d.id for d in rejected.value.diagnostics if d.severity == "error"] == ["not-yet"]


READ_BESIDE = """use units.lj
species A, B
param m[species] = { A: 1.0, B: 2.5 }
param e[species, species] = { A-A: 1.0, A-B: 2.0, B-B: 3.0 }
quantity C[i] = sum(j != i) exp(-|x[i] - x[j]|)
quantity thin[i] = 100*C[i]/volume
energy U = sum(i) (m[i]*thin[i]^2 + e[A, i]*e[i, B]*C[i] + e[A, B]*C[i]^2)
energy V = sum(i < j) (m[i]*m[j] + e[i, B]*e[B, j])*exp(-|x[i] - x[j]|)
energy W = sum(i; j < k) m[i]*e[j, A]*e[A, k]*exp(-|x[i] - x[j]| - |x[i] - x[k]|)
"""


def test_masses_volumes_and_entries_of_fixed_species():
    """Masses that are a parameter are that of the call, a quantity may read the volume, an index of a table be a
    species."""
    x, _, box, _ = place()
    program = mdsl.compile(READ_BESIDE)
    system = program.bind(x, box=box, species=SPECIES)
    m, e = (np.asarray(program.params[n]) for n in "me")

    def value(m, e, stretch):
        return system.energy(x * stretch, params={"m": m, "e": e}, box=box * stretch)

    atoms = System(x, box, species=SPECIES, masses=m[SPECIES], params={"m": m, "e": e})
    assert float(value(m, e, 1.0)) == pytest.approx(meaning.energy(program.model, atoms), rel=1e-12)
    atoms = System(x, box, species=SPECIES, masses=2 * m[SPECIES], params={"m": 2 * m, "e": e})
    assert float(value(2 * m, e, 1.0)) == pytest.approx(meaning.energy(program.model, atoms), rel=1e-12)
    slopes = jax.grad(value, (0, 1, 2))(m, e, 1.0)
    h = 1e-5
    for k in range(2):
        step = h * np.eye(2)[k]
        assert float(slopes[0][k]) == pytest.approx(float(value(m + step, e, 1) - value(m - step, e, 1)) / (2 * h))
    for step in (np.diag([1.0, 0]), np.diag([0, 1.0]), np.array([[0, 1.0], [1.0, 0]])):
        expected = float(value(m, e + h * step, 1) - value(m, e - h * step, 1)) / (2 * h)
        assert float((slopes[1] * step).sum()) == pytest.approx(expected)
    stretched = float(value(m, e, 1 + h) - value(m, e, 1 - h)) / (2 * h)
    assert float(slopes[2]) == pytest.approx(stretched)
    assert -float(np.trace(system.virial())) == pytest.approx(stretched)
