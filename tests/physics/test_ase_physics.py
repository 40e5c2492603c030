"""What ASE finds with a program as its calculator, beside what the program finds by itself."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ase import units
from ase.build import bulk
from ase.eos import EquationOfState
from ase.filters import FrechetCellFilter
from ase.md.verlet import VelocityVerlet
from ase.mep import NEB
from ase.optimize import BFGS, FIRE
from ase.phonons import Phonons
from reference import REFERENCE, needs_reference

import mdsl
from mdsl.files.atoms import TIMES_IN_FEMTOSECOND

pytestmark = pytest.mark.slow

COPPER = """use units.metal
use integrators (velocity_verlet)
use minimizers (fire)
use barostats (fire_box)
species Cu
{more}
table F[species], g[species], phi[species, species] = funcfl("Cu_u3.eam")
quantity rho[i] = sum(j != i) g[j](|x[i] - x[j]|)
energy embedding = sum(i) F[i](rho[i])
energy repulsion = sum(i < j) phi[i, j](|x[i] - x[j]|)
observe slope = largest(i) |f[i]|
observe pull = max(|virial.xx|, max(|virial.yy|, |virial.zz|))/volume
run {{ x = read("bound in Python")  {run} }}
"""
SILICON = """use units.metal
use manybody
energy U = stillinger_weber
"""


def copper(run, more=""):
    return mdsl.compile(COPPER.format(run=run, more=more), REFERENCE / "potentials")


def strained():
    atoms = bulk("Cu", a=3.615, cubic=True) * (3, 3, 3)
    atoms.set_cell(atoms.cell.lengths() * [1.02, 0.99, 1.01], scale_atoms=True)
    atoms.rattle(0.05, seed=2)
    return atoms


@needs_reference
@pytest.mark.parametrize("optimizer", [FIRE, BFGS])
def test_a_strained_cell_is_relaxed_as_by_fire_box(optimizer):
    program = copper("fire_box(dt = 4 [fs]) until slope < 1e-5 [eV/angstrom] and pull < 0.1 [bar], at most 3000")
    atoms = strained()
    own = program.bind(atoms).run(jax.random.key(0))
    assert own.statements[0].converged
    atoms.calc = program.calculator()
    with optimizer(FrechetCellFilter(atoms, mask=[True] * 3 + [False] * 3), logfile=None) as relaxing:
        assert relaxing.run(fmax=2e-5, steps=1000)
    assert np.ptp(strained().cell.lengths()) > 0.3
    np.testing.assert_allclose(atoms.cell.lengths(), own.box, rtol=1e-5)
    np.testing.assert_allclose(atoms.cell.lengths(), 3 * 3.615, rtol=1e-4)  # the lattice constant it was fitted to


@needs_reference
def test_the_bulk_modulus_of_an_equation_of_state_is_that_of_second_derivatives():
    program = copper("velocity_verlet(dt = 1 [fs]) for 1")
    atoms = bulk("Cu", a=3.615, cubic=True) * (3, 3, 3)
    atoms.calc = program.calculator()
    with FIRE(FrechetCellFilter(atoms, hydrostatic_strain=True), logfile=None) as relaxing:
        relaxing.run(fmax=1e-6)
    volumes, energies = [], []
    for s in np.linspace(0.996, 1.004, 9):
        turn = atoms.copy()
        turn.calc = atoms.calc
        turn.set_cell(atoms.cell * s, scale_atoms=True)
        volumes.append(turn.get_volume())
        energies.append(turn.get_potential_energy())
    volume, _, modulus = EquationOfState(volumes, energies, eos="birchmurnaghan").fit()
    system = atoms.calc.system(atoms)

    def energy(strains):
        """Of three strains along the edges."""
        return system.energy(system.x * (1 + strains), box=system.box * (1 + strains))

    C = jax.hessian(energy)(jnp.zeros(3)) / atoms.get_volume()
    assert volume == pytest.approx(atoms.get_volume(), rel=1e-5)
    assert modulus == pytest.approx(float(C[0, 0] + 2 * C[0, 1]) / 3, rel=1e-3)
    assert modulus / units.GPa == pytest.approx(
        138.4, abs=0.5
    )  # Mishin et al. 2001, table II: 138.3 (experiment 138.3)


def test_phonons_of_silicon_are_those_of_the_hessian(tmp_path):
    program = mdsl.compile(silicon())
    unit = bulk("Si", "diamond", a=5.4309)
    phonons = Phonons(unit, program.calculator(), supercell=(3, 3, 3), delta=1e-3, name=str(tmp_path / "phonons"))
    phonons.run()
    phonons.read(acoustic=False)
    q = np.stack(np.meshgrid(*[np.arange(3) / 3] * 3), -1).reshape(-1, 3)
    theirs = np.sort(np.ravel(phonons.band_structure(q, verbose=False)))
    crystal = unit * (3, 3, 3)
    system = program.calculator().system(crystal)
    hessian = jax.hessian(system.energy)(system.x).reshape(3 * len(crystal), -1)
    squares = np.linalg.eigvalsh(np.asarray(hessian) / unit.get_masses()[0])
    ours = np.sort(np.sign(squares) * np.sqrt(np.abs(squares)) * units._hbar * 1e10 / np.sqrt(units._e * units._amu))
    assert theirs.max() > 0.06  # eV
    np.testing.assert_allclose(theirs[3:], ours[3:], rtol=2e-5)  # three do not move anything
    assert np.abs(theirs[:3]).max() < 1e-4 and np.abs(ours[:3]).max() < 1e-4


def silicon():
    """Stillinger and Weber's silicon, of the examples, without its run."""
    from pathlib import Path

    text = (Path(__file__).parents[2] / "examples" / "silicon.mdsl").read_text()
    return text[: text.index("\nrun")]


@needs_reference
def test_verlet_of_ase_and_of_the_program():
    program = copper("velocity_verlet(dt = 2 [fs]) for 100")
    atoms = strained()
    atoms.set_velocities(np.random.default_rng(0).normal(size=(len(atoms), 3)) * 0.02)
    own = program.bind(atoms).run(jax.random.key(0))
    atoms.calc = program.calculator()
    with VelocityVerlet(atoms, timestep=2 * TIMES_IN_FEMTOSECOND) as moving:
        moving.run(100)
    assert np.abs(atoms.positions - strained().positions).max() > 0.2
    last = own.to_atoms()
    d = (atoms.positions - last.positions) / atoms.cell.lengths()
    assert np.abs((d - np.round(d)) * atoms.cell.lengths()).max() < 1e-9
    np.testing.assert_allclose(atoms.get_velocities(), last.get_velocities(), atol=1e-9)


@needs_reference
def test_the_barrier_of_a_vacancy_in_copper():
    """A band of images by ASE, beside the program's own minimum with the jumping atom held half way, where it is at
    the saddle point by symmetry."""
    crystal = bulk("Cu", a=3.615, cubic=True) * (3, 3, 3)
    gone = 0
    near = int(np.argsort(crystal.get_distances(gone, range(len(crystal)), mic=True))[1])
    hop = crystal.get_distance(near, gone, mic=True, vector=True)
    start = crystal.copy()
    end = crystal.copy()
    end.positions[near] += hop
    for atoms in (start, end):
        del atoms[gone]
    jumping = near - 1
    calc = copper("fire(dt = 4 [fs]) for 1").calculator()
    for atoms in (start, end):
        atoms.calc = calc
        with FIRE(atoms, logfile=None) as relaxing:
            relaxing.run(fmax=2e-3)
    images = [start, *(start.copy() for _ in range(5)), end]
    band = NEB(images, climb=True, method="improvedtangent", allow_shared_calculator=True)
    band.interpolate(mic=True)
    for image in images[1:-1]:
        image.calc = calc
    with FIRE(band, logfile=None) as relaxing:
        assert relaxing.run(fmax=0.01, steps=300)
    energies = [image.get_potential_energy() for image in images]
    barrier = max(energies) - energies[0]
    held = start.copy()
    held.positions = crystal[[k for k in range(len(crystal)) if k != gone]].positions
    held.positions[jumping] += hop / 2
    fixed = np.zeros(len(held))
    fixed[jumping] = 1
    program = copper(
        "fire(dt = 4 [fs]) until slope < 1e-4 [eV/angstrom], at most 3000", "data fixed[atoms]\nfrozen fixed"
    )
    saddle = program.bind(held, data={"fixed": fixed})
    found = saddle.run(jax.random.key(0))
    plain = program.bind(start, data={"fixed": 0 * fixed}).run(jax.random.key(0))
    assert found.statements[0].converged and plain.statements[0].converged
    scan = float(saddle.energy(found.x) - saddle.energy(plain.x))
    assert np.argmax(energies) == 3 and energies[-1] == pytest.approx(energies[0], abs=1e-3)
    assert barrier == pytest.approx(scan, abs=2e-3)
