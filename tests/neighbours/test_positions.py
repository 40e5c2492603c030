"""Where atoms are: far from the box, and at which heights."""

import jax
import numpy as np
import pytest
from compiled import bound, everything, program, run, running
from interpreted import jumbled, skewed

import mdsl
from mdsl.interpret import meaning as interpret
from mdsl.model.nodes import Advance

HARMONIC = "energy U = sum(i < j) soft_sphere(1.5, 1.0, 2)(|x[i] - x[j]|)\n"


def test_atoms_far_from_the_box_are_where_their_images_are():
    system = jumbled(12)
    far = system.x + np.random.default_rng(3).integers(-500, 500, system.x.shape) @ system.cell
    exact = program(HARMONIC).bind(system.x, box=system.cell, precision="double")
    there = program(HARMONIC).bind(far, box=system.cell, precision="mixed")
    assert float(there.energy()) == pytest.approx(float(exact.energy()), rel=1e-6)
    assert np.allclose(np.asarray(there.forces()), np.asarray(exact.forces()), atol=1e-5)


@pytest.mark.parametrize("repeats", [True, False])
def test_a_density_profile_holds_all_atoms(repeats):
    text = HARMONIC + "use observables (density_profile)\nobserve rho[k in -12..12] = density_profile(k, 0.4)"
    system = skewed(jumbled(12), 1.1, -0.6, 0.8) if repeats else jumbled(12)
    box = system.cell if repeats else [*np.diag(system.cell)[:2], np.inf]
    x = system.x if repeats else system.x % np.diag(system.cell)
    rho = run(running(text, "velocity_verlet(dt = 0.001)", 0, "record rho"), x, box=box).records["rho"][0]
    area = system.cell[0, 0] * system.cell[1, 1]
    assert rho.sum() * area * 0.4 == pytest.approx(12)
    z = x[:, 2] - (np.round(x[:, 2] / system.cell[2, 2]) * system.cell[2, 2] if repeats else 0.0)
    assert np.allclose(rho * area * 0.4, np.histogram(z, 0.4 * np.arange(-12, 14))[0])


U = "energy U = sum(i < j) soft_sphere(1.5, 1.0, 2.5)(|x[i] - x[j]|)\n"
BELL = "def g(r) = if r < 1.8 then (1.8 - r)^3 else 0\n"
PLACES = {
    "of an atom": "quantity z[i] = x[i].z\nenergy W = sum(i) exp(-z[i]^2)",
    "in pairs": BELL + "energy W = sum(i < j) g(|x[i] - x[j]|)*x[i].z*x[j].z",
    "of neighbours": BELL + "quantity n[i] = sum(j != i) g(|x[i] - x[j]|)*x[j].y\nenergy W = sum(i) n[i]^2",
    "in triples": BELL + "energy W = sum(i; j < k) g(|x[i] - x[j]|)*g(|x[i] - x[k]|)*x[i].z",
    "that cancels": BELL + "quantity z[i] = x[i].z\nenergy W = sum(i < j) g(|x[i] - x[j]|)*(1 + 0*z[i]*z[j])",
}


@pytest.mark.parametrize("case", PLACES)
def test_energies_of_places_in_a_box_that_repeats(case):
    compiled, system = program(PLACES[case]), jumbled(8)
    for ours, meant in zip(
        everything(bound(compiled, system.x, box=system.cell), box=system.cell),
        (
            interpret.energy(compiled.model, system),
            interpret.forces(compiled.model, system),
            interpret.virial(compiled.model, system),
        ),
    ):
        assert np.abs(meant).max() > 1e-4
        assert np.allclose(ours, meant, rtol=1e-9, atol=1e-9)


def test_a_flow_looks_at_the_nearest_image_of_the_origin():
    text = U + "flow turn() { v = if x.x > 0 then -v else v }\nintegrator s(dt) { A(dt) turn() }"
    compiled, system = (
        running(
            text,
            "s(dt = 0.01)",
            2,
            "record P every 1",
            "use units.lj\nuse pair\nuse integrators (A)\nobserve P = sum(i < j) x[i].z*x[j].z\n",
        ),
        jumbled(8),
    )
    (advance,) = (s for s in compiled.model.run if isinstance(s, Advance))
    records, end = interpret.run(compiled.model, advance, system, 2, observe=["P"])
    found = compiled.bind(system.x, box=system.cell, velocities=system.v).run(jax.random.key(0))
    assert np.allclose(found.v, end.v) and np.allclose(found.records["P"], [r["P"] for r in records])


def test_a_place_as_a_vector_in_pairs_is_refused():
    with pytest.raises(mdsl.Rejected, match="as a vector, in a sum over pairs"):
        program("energy W = sum(i < j) |x[i] - origin|*|x[j] - origin|")
