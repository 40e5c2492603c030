"""What `bind` makes of arrays and of the run block together."""

import jax
import numpy as np
import pytest
from compiled import program

import mdsl

TEXT = """species A, wall
frozen wall
param T = 1.3
param m[species] = { A: 2.0, wall: 1.0 }
energy U = sum(i < j) soft_sphere(1.0, 1.0, 2.0)(|x[i] - x[j]|)
observe K = kinetic
run {
  x = sc(density = 0.8, cells = 4, species = { A: 0.9, wall: 0.1 })
  v ~ maxwell(T)
  velocity_verlet(dt = 0.01) for 2 record K
}
"""


@pytest.fixture(scope="module")
def compiled():
    return program(TEXT)


@pytest.fixture(scope="module")
def placed(compiled):
    return compiled.bind(seed=4)


def of(system):
    return {"box": system.box, "species": system.initial.species}


def test_declared_velocities_are_drawn_for_positions_that_are_given(compiled, placed):
    """The same as the run block draws with this seed for its own atoms; others for other seeds; a temperature of T."""
    system = compiled.bind(placed.x, **of(placed), seed=4)
    np.testing.assert_array_equal(system.v, placed.v)
    assert not np.allclose(system.v, compiled.bind(placed.x, **of(placed), seed=5).v)
    wall = placed.initial.species == 1
    assert np.all(system.v[wall] == 0) and wall.sum() == 6
    kinetic = (2.0 * system.v[~wall] ** 2).sum() / 2
    assert 2 * kinetic / (3 * (~wall).sum()) == pytest.approx(1.3)


def test_velocities_that_are_given_come_first(compiled, placed):
    """With positions, and with those of the run block; at rest where they are 0, or where nothing draws any."""
    v = np.random.default_rng(1).normal(size=placed.x.shape)
    still = np.where((placed.initial.species == 1)[:, None], 0, v)
    np.testing.assert_allclose(compiled.bind(placed.x, **of(placed), velocities=v).v, still)
    np.testing.assert_allclose(compiled.bind(velocities=v, seed=4).v, still)
    assert not compiled.bind(placed.x, **of(placed), velocities=np.zeros_like(v)).v.any()
    assert not program("energy U = sum(i < j) soft_sphere(1, 1, 2)(|x[i] - x[j]|)").bind(placed.x, box=9.0).v.any()


def test_a_temperature_that_was_drawn_from_is_no_parameter_of_the_run(compiled, placed):
    system = compiled.bind(placed.x, **of(placed))
    with pytest.raises(mdsl.Rejected, match="the velocities at the start"):
        jax.grad(lambda T: system.run(jax.random.key(0), params={"T": T}).records["K"][0])(1.3)
    own = compiled.bind(placed.x, **of(placed), velocities=placed.v)
    assert float(jax.grad(lambda T: own.run(jax.random.key(0), params={"T": T}).records["K"][0])(1.3)) == 0


def test_a_start_that_cannot_be_drawn_is_told_at_its_line(placed):
    bad = program(TEXT.replace("T = 1.3", "T = -1"))
    with pytest.raises(mdsl.Rejected, match="bad-temperature") as caught:
        bad.bind(placed.x, **of(placed))
    assert caught.value.diagnostics[0].span.text == "v ~ maxwell(T)"


@pytest.mark.parametrize("name, value", [("box", 5.0), ("species", [0] * 64), ("masses", np.ones(64))])
def test_what_goes_with_positions(compiled, name, value):
    with pytest.raises(mdsl.Rejected, match="without `x`") as caught:
        compiled.bind(**{name: value})
    assert caught.value.diagnostics[0].id == "wrong-arguments"


METAL = """use units.metal
use minimizers (gradient_descent)
use integrators (velocity_verlet)
energy U = 1 [eV]*sum(i < j) exp(-|x[i] - x[j]|/(1 [angstrom]))
run { x = sc(a = 2 [angstrom], cells = 2)  STATEMENTS }
"""


def test_masses_that_nothing_reads_are_not_asked_for():
    """Of atoms without a name: energy and force exp(-d) of two atoms; and steps downhill, which need no masses."""
    x = np.array([[1.0, 1, 1], [2.5, 1, 1]])
    system = mdsl.compile(METAL.partition("run {")[0]).bind(x, box=9.0)
    assert np.isclose(system.energy(), np.exp(-1.5), rtol=1e-14)
    assert np.allclose(system.forces()[:, 0], [-np.exp(-1.5), np.exp(-1.5)], rtol=1e-14)
    downhill = METAL.replace("STATEMENTS", "gradient_descent(h = 0.001 [angstrom^2/eV]) for 2 record U every 1")
    energies = mdsl.compile(downhill).bind().run(jax.random.key(0)).records["U"]
    assert np.isfinite(energies).all()


@pytest.mark.parametrize(
    "statements",
    [
        "velocity_verlet(dt = 1 [fs]) for 1",
        "v ~ maxwell(300 [K])",
        "gradient_descent(h = 0.001 [angstrom^2/eV]) for 1 record kinetic",
    ],
)
def test_masses_that_a_run_reads_are(statements):
    with pytest.raises(mdsl.Rejected, match="missing-mass"):
        mdsl.compile(METAL.replace("STATEMENTS", statements)).bind()


def test_a_sum_inside_an_energy_that_reads_the_masses_wants_them():
    text = METAL.partition("run {")[0] + "energy V = 1 [eV]*sum(i) m[i]/(sum(j) m[j])*tanh(x[i].x/(1 [angstrom]))\n"
    with pytest.raises(mdsl.Rejected, match="missing-mass"):
        mdsl.compile(text).bind(np.ones((2, 3)), box=9.0)
