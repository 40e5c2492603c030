"""Programs as calculators of ASE, beside a calculator of ASE itself; and `Atoms` bound and given back."""

import warnings

import jax
import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk, molecule
from ase.calculators import calculator as base
from ase.calculators.lj import LennardJones
from ase.constraints import FixAtoms, FixBondLength, FixCartesian
from compiled import PAIRS_BY, program

import mdsl

SIGMA, EPSILON, RC = 2.4, 0.0103, 4.8  # angstrom, eV
LJ = "energy U = sum(i < j) shifted(lennard_jones({sigma}, {epsilon}), {rc})(|x[i] - x[j]|)"
KCAL_MOL = 4184 / 6.02214076e23 / 1.602176634e-19  # eV
IN_UNITS = {
    "lj": (f"{SIGMA}", f"{EPSILON}", f"{RC}"),
    "metal": (f"{SIGMA} [angstrom]", f"{EPSILON} [eV]", f"{RC} [angstrom]"),
    "real": (f"{SIGMA} [angstrom]", f"{EPSILON / KCAL_MOL!r} [kcal/mol]", f"{RC} [angstrom]"),
    "si": (f"{SIGMA}e-10 [m]", f"{EPSILON * 1.602176634e-19!r} [J]", f"{RC}e-10 [m]"),
}


def lj(system="metal", more="", traversal="all pairs", **options):
    sigma, epsilon, rc = IN_UNITS[system]
    head = f"use units.{system}\nuse pair\nparam sigma = {sigma}\nparam epsilon = {epsilon}\n"
    text = LJ.format(sigma="sigma", epsilon="epsilon", rc=rc)
    return program(f"{text}\n{more}", head).calculator(policy=PAIRS_BY[traversal], **options)


def gas(cell=(10.5, 10.2, 11.0), pbc=True, seed=3):
    """Argon in a box of any shape; what does not repeat is filled in the same way."""
    atoms = bulk("Ar", "sc", a=3.0, cubic=True) * (3, 3, 3)
    if np.any(pbc):
        atoms.set_cell(cell, scale_atoms=True)
    atoms.pbc = pbc
    atoms.rattle(0.15, seed=seed)
    return atoms


def calculated(atoms, calc):
    atoms = atoms.copy()
    atoms.calc = calc
    names = ("forces", "energy", "free_energy", "energies") + ("stress",) * int(atoms.cell.rank == 3)
    return {name: calc.get_property(name, atoms) for name in names}


def same_as_ase(atoms, calc):
    ours, theirs = calculated(atoms, calc), calculated(atoms, LennardJones(sigma=SIGMA, epsilon=EPSILON, rc=RC))
    assert np.abs(theirs["forces"]).max() > 1e-3
    for name, value in theirs.items():
        np.testing.assert_allclose(ours[name], value, rtol=1e-10, atol=1e-12, err_msg=name)


@pytest.mark.parametrize("system", ["lj", "real", *(pytest.param(n, marks=pytest.mark.slow) for n in ("metal", "si"))])
def test_every_unit_system(system):
    same_as_ase(gas(), lj(system))


SKEW = [[10.4, 0.0, 0.0], [3.0, 10.1, 0.0], [-2.0, 4.0, 10.9]]
ANYHOW = np.array(SKEW) @ np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]  # turned, perhaps mirrored
BOXES = {
    "triangular": (SKEW, True),
    "turned": (ANYHOW, True),
    "left-handed": (ANYHOW[[1, 0, 2]], True),
    "right-handed": (-ANYHOW, True),
    "a slab": (SKEW, (True, True, False)),
    "a slab across x": (ANYHOW, (False, True, True)),
    "a slab across y": (SKEW, (True, False, True)),
    "a wire": (ANYHOW, (False, True, False)),
    "free": (SKEW, False),
}


@pytest.fixture(scope="module")
def listed():
    return lj(traversal="list")


QUICK = ("turned", "left-handed", "a slab across y")


@pytest.mark.parametrize("name", [n if n in QUICK else pytest.param(n, marks=pytest.mark.slow) for n in BOXES])
def test_every_box(name, listed):
    same_as_ase(gas(*BOXES[name]), listed)


def test_atoms_without_a_box_have_no_stress(listed):
    atoms = gas(pbc=False)
    atoms.cell = None
    atoms.calc = listed
    assert np.isfinite(atoms.get_forces()).all()
    with pytest.raises(base.PropertyNotImplementedError):
        atoms.get_stress()


def test_lists_are_kept_and_nothing_is_compiled_anew():
    calc = lj(traversal="list")
    atoms = gas((11.4, 11.4, 11.4))
    atoms.calc = calc
    for _ in range(2):
        atoms.rattle(0.001)
        atoms.get_forces()
    traces = calc._bound.energies.traces
    for k in range(5):
        atoms.rattle(0.005, seed=k)
        atoms.get_forces()
    assert calc.lists == 1 and calc._bound.energies.traces == traces
    atoms.positions += 0.4 * np.random.default_rng(0).normal(size=atoms.positions.shape)
    same_as_ase(atoms, calc)
    assert calc.lists == 2
    atoms.set_cell(atoms.cell * 0.88, scale_atoms=True)  # atoms come within the cutoff by the strain alone
    same_as_ase(atoms, calc)
    assert calc.lists == 3
    atoms.wrap()  # through the end of the box, and no nearer to any other
    same_as_ase(atoms, calc)
    assert calc.lists == 3


@pytest.mark.slow
def test_a_list_grows_with_what_it_has_to_hold():
    calc = lj(traversal="list")
    same_as_ase(gas((15.0, 15.0, 15.0)), calc)
    same_as_ase(gas((9.7, 9.7, 9.7), seed=5), calc)


def test_parameters_are_set():
    calc, atoms = lj(), gas()
    before = calculated(atoms, calc)["energy"]
    calc.set(params={"epsilon": 2 * EPSILON})
    assert calculated(atoms, calc)["energy"] == pytest.approx(2 * before, rel=1e-12)
    calc.set(params=None)
    assert calculated(atoms, calc)["energy"] == pytest.approx(before, rel=1e-12)
    with pytest.raises(mdsl.Rejected, match="unknown-parameter"):
        calc.set(params={"eps": 1.0})
    with pytest.raises(mdsl.Rejected, match="wrong-arguments"):
        calc.set(epsilon=1.0)


@pytest.mark.slow
def test_energies_of_atoms():
    """Pairs by halves, quantities at their atom, tuples in equal parts, and what is no sum at all alike."""
    head = "use units.metal\nuse pair\nuse bonded\n"
    calc = program(
        "topology angles(i, j, k)\nquantity rho[i] = sum(j != i) switched(near, 3 [angstrom], 4.5 [angstrom])(|x[i] - x[j]|)\n"
        "def near(r) = exp(-r/(1 [angstrom]))\nenergy many = 0.3 [eV]*(sum(i) sqrt(rho[i]) + N)\n"
        "energy bend = sum((i, j, k) in angles) (2 [eV])*angle(x[i], x[j], x[k])^2/2\n"
        "energy more = many - bend/4",
        head,
    ).calculator(topologies={"angles": [[0, 1, 2]]})
    atoms = gas()
    found = calculated(atoms, calc)
    assert found["energies"].sum() == pytest.approx(found["energy"], rel=1e-12)
    d = atoms.get_all_distances(mic=True)
    smooth = (4.5**2 - d**2) ** 2 * (4.5**2 + 2 * d**2 - 3 * 3**2) / (4.5**2 - 3**2) ** 3
    smooth = np.where(d < 3, 1, np.where(d < 4.5, smooth, 0))
    near = np.where(np.eye(len(d), dtype=bool), 0, np.exp(-d) * smooth)
    expected = 2 * 0.3 * (np.sqrt(near.sum(axis=1)) + 1)
    expected[:3] += 0.75 * np.radians(atoms.get_angle(0, 1, 2, mic=True)) ** 2 / 3
    np.testing.assert_allclose(found["energies"], expected, rtol=1e-9)
    whole = lj(more="energy bias = (1 [eV])*((sum(i) exp(-x[i].z/(1 [angstrom])))/N)^2")
    with pytest.raises(base.PropertyNotImplementedError, match="nonlinear"):
        calculated(gas(), whole)


def test_directions_in_space_are_not_turned():
    """A field along z is that of the Atoms, in a box that need not be turned; else it is refused."""
    calc = lj(more="energy field = sum(i) (0.1 [eV/angstrom])*x[i].z")
    atoms, ours = gas(), calculated(gas(), calc)["forces"] - calculated(gas(), lj())["forces"]
    np.testing.assert_allclose(ours, np.tile([0, 0, -0.1], (len(atoms), 1)), atol=1e-12)
    with pytest.raises(mdsl.Rejected) as caught:
        calculated(gas(ANYHOW), calc)
    assert caught.value.diagnostics[0].id == "triclinic-box" and caught.value.diagnostics[0].span.line == 6


@pytest.mark.slow
def test_species_and_data_of_atoms():
    """Elements are species, under other names if one wants; charges are `q`, columns are data, and both may change."""
    head = "use units.metal\nuse coulomb\nspecies Na, Cl\ndata q[atoms] in [e]\ndata depth[atoms] in [eV]\n"
    text = (
        "param A[species] = { Na: 1 [eV], Cl: 2 [eV] }\n"
        "energy U = sum(i < j) damped_shifted_force(q[i], q[j], 0.2 [1/angstrom], 5 [angstrom])(|x[i] - x[j]|)\n"
        "energy V = sum(i) (A[i] + depth[i])"
    )
    compiled = program(text, head)
    atoms = bulk("NaCl", "rocksalt", a=5.6, cubic=True) * (2, 2, 2)
    atoms.set_initial_charges([1.0, -1.0] * (len(atoms) // 2))
    atoms.set_array("depth", np.full(len(atoms), 0.5))
    calc = compiled.calculator()
    first = calculated(atoms, calc)["energy"]
    atoms.arrays["depth"][0] += 3
    assert calculated(atoms, calc)["energy"] == pytest.approx(first + 3, rel=1e-12)
    atoms.set_initial_charges(np.zeros(len(atoms)))
    assert calculated(atoms, calc)["energy"] == pytest.approx(2 * len(atoms) * 1.0 + 3, rel=1e-12)
    atoms.symbols = ["Li", "F"] * (len(atoms) // 2)
    with pytest.raises(mdsl.Rejected, match="unknown-species"):
        calculated(atoms, calc)
    calc.set(species={"Li": "Na", "F": "Cl"})
    assert calculated(atoms, calc)["energy"] == pytest.approx(2 * len(atoms) * 1.0 + 3, rel=1e-12)


def test_what_a_program_does_not_use_is_told():
    atoms = gas()
    atoms.set_initial_charges([0.1] * len(atoms))
    atoms.set_initial_magnetic_moments([1.0] * len(atoms))
    calc = lj()
    with pytest.warns(UserWarning, match="not used of the Atoms: charges, magnetic moments"):
        calculated(atoms, calc)
    atoms.pop(0)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)  # once is enough
        calculated(atoms, calc)


def test_energies_that_are_not_finite():
    atoms = gas()
    atoms.positions[1] = atoms.positions[0]
    atoms.calc = lj()
    with pytest.raises(base.CalculationFailed):
        atoms.get_potential_energy()


def test_two_dimensions():
    compiled = program(LJ.format(sigma=SIGMA, epsilon=EPSILON, rc=RC), "use units.lj\nuse pair\ndim 2\n")
    atoms = bulk("Ar", "sc", a=3.4, cubic=True) * (4, 4, 1)
    atoms.pbc = (True, True, False)
    atoms.rattle(0.1, seed=1)
    atoms.positions[:, 2] = 1.7
    same_as_ase(atoms, compiled.calculator())
    atoms.positions[3, 2] = 2.0
    with pytest.raises(mdsl.Rejected, match="bad-dimension"):
        calculated(atoms, compiled.calculator())


# -- bind, to_atoms ------------------------------------------------------------------------------------------

RUN = """use units.{}
use pair
use integrators (velocity_verlet)
data fixed[atoms]
frozen fixed
energy U = sum(i < j) shifted(lennard_jones(2.4 [angstrom], 0.0103 [eV]), 4.8 [angstrom])(|x[i] - x[j]|)
observe K = kinetic
run {{ x = read("atoms")  velocity_verlet(dt = 2 [fs]) for 6 record K every 3 write "a.extxyz" every 3 }}
"""


def moving():
    atoms = gas(ANYHOW)
    atoms.set_velocities(np.random.default_rng(1).normal(size=(len(atoms), 3)) * 1e-3)
    atoms.arrays["momenta"][[0, 4]] = 0
    atoms.set_constraint(FixAtoms([0, 4]))
    return atoms


@pytest.mark.filterwarnings("ignore:the box of the Atoms is turned")
@pytest.mark.parametrize("system", ["metal", "real", "si"])
def test_atoms_are_bound_and_given_back(system):
    atoms = moving()
    bound = program(RUN.format(system), "").bind(atoms)
    back = bound.to_atoms()
    np.testing.assert_allclose(back.get_all_distances(mic=True), atoms.get_all_distances(mic=True), atol=1e-9)
    assert back.get_kinetic_energy() == pytest.approx(atoms.get_kinetic_energy(), rel=1e-12)
    assert back.get_volume() == pytest.approx(atoms.get_volume(), rel=1e-12)
    assert back.pbc.all() and (back.numbers == 18).all()
    assert [c.index.tolist() for c in back.constraints] == [[0, 4]]
    np.testing.assert_allclose(back.get_masses(), atoms.get_masses(), rtol=1e-12)
    result = bound.run(jax.random.key(0), trajectory=True)
    frames = result.trajectory
    assert [f.info["step"] for f in frames] == [0, 3, 6]
    joule = {"metal": 1.0, "real": KCAL_MOL, "si": 1 / 1.602176634e-19}[system]
    kinetic = [f.get_kinetic_energy() for f in frames]
    np.testing.assert_allclose(kinetic, result.records["K"] * joule, rtol=1e-10)
    last = result.to_atoms()
    assert last.get_kinetic_energy() == pytest.approx(kinetic[-1], rel=1e-12)
    np.testing.assert_allclose(last.positions[[0, 4]], back.positions[[0, 4]] + shift(last, back, [0, 4]), atol=1e-9)
    again = program(RUN.format(system), "").bind(last)
    np.testing.assert_allclose(again.v, result.v, rtol=1e-10, atol=1e-14)


def shift(a, b, which):
    """By whole box vectors, for frames hold positions in the box."""
    return np.round((a.positions[which] - b.positions[which]) @ np.linalg.inv(a.cell)) @ a.cell


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:the box of the Atoms is turned")
def test_batches_keep_a_trajectory_each():
    bound = program(RUN.format("metal"), "").bind(moving())
    result = bound.run(jax.random.split(jax.random.key(0), 2), steps=3, trajectory=True)
    with pytest.raises(mdsl.Rejected, match="wrong-arguments"):
        result.to_atoms()
    assert [len(result.of(k).trajectory) for k in range(2)] == [2, 2]
    with pytest.raises(mdsl.Rejected, match="trajectory=True"):
        bound.run(jax.random.key(0), steps=1).trajectory  # noqa: B018


def test_what_atoms_say_and_bind_does_not_use_is_told():
    atoms = molecule("H2O")
    atoms.set_constraint([FixBondLength(0, 1), FixCartesian(2, (True, False, False))])
    atoms.set_tags([0, 1, 2])
    atoms.info["colour"] = "blue"
    with pytest.warns(UserWarning) as told:
        bound = program("energy U = sum(i < j) (1 [eV])*exp(-|x[i] - x[j]|/(1 [angstrom]))", "use units.metal\n").bind(
            atoms
        )
    words = " ".join(str(w.message) for w in told)
    assert all(w in words for w in ("FixBondLength", "tags", "colour", "1 atom as fixed"))
    assert not any(bound.initial.periodic) and bound.initial.labels == ("O", "H", "H")


def test_a_box_of_the_program_and_one_of_the_atoms():
    text = "box periodic(12)\nenergy U = sum(i < j) shifted(lennard_jones(2.4, 0.01), 4.8)(|x[i] - x[j]|)"
    compiled = program(text, "use units.lj\nuse pair\n")
    for atoms, box, id in (
        (gas((12, 12, 12)), None, None),
        (gas(pbc=False), None, None),
        (gas((12, 12, 13)), None, "bad-box"),
        (gas((12, 12, 12), (True, True, False)), None, "bad-box"),
        (gas((12, 12, 12)), 12.0, "wrong-arguments"),
    ):
        if id is None:
            assert np.all(compiled.bind(atoms).box == 12)
        else:
            with pytest.raises(mdsl.Rejected, match=id):
                compiled.bind(atoms, box=box)


def test_the_constants_of_ase_are_older():
    """And differ by less than one would notice; kinetic energies in eV are the same all the same."""
    from mdsl.files.atoms import TIMES_IN_FEMTOSECOND

    assert pytest.approx(units.fs, rel=1e-8) == TIMES_IN_FEMTOSECOND


def test_labels_that_are_no_elements_come_back():
    compiled = program(
        "species A, B\nenergy U = sum(i < j) shifted(lennard_jones(1, 1), 2.5)(|x[i] - x[j]|)",
        "use units.lj\nuse pair\n",
    )
    x = np.random.default_rng(0).uniform(0, 6, (4, 3))
    atoms = compiled.bind(x, box=6.0, species=["A", "B", "B", "A"]).to_atoms()
    assert isinstance(atoms, Atoms) and list(compiled.bind(atoms).initial.species) == [0, 1, 1, 0]
    other = program(LJ.format(sigma=1, epsilon=1, rc=2.5), "use units.lj\nuse pair\n")
    assert calculated(atoms, other.calculator())["energy"] == pytest.approx(float(compiled.bind(atoms).energy()))
