"""Where atoms are: far from the box, and at which heights."""

import numpy as np
import pytest
from compiled import program, run, running
from interpreted import jumbled, skewed

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
