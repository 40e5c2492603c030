"""Library formulas against numbers of others: published cohesive energies, Madelung's constant, LAMMPS, jax-md."""

import json

import numpy as np
import pytest
from compiled import everything, program
from reference import REFERENCE, cohesive, lammps, needs_reference
from test_force_styles import ORDER, numbers

import mdsl
from mdsl.files.lammps import read_lammps_data

METAL = "use units.metal\nuse pair\nuse manybody\nuse integrators (velocity_verlet)\n"


def at(text, lattice):
    """Energy per atom and pressure [bar], at rest in a lattice."""
    system = mdsl.compile(f"{METAL}{text}\nrun {{ x = {lattice} }}").bind()
    energy, forces, virial = everything(system)
    assert np.abs(forces).max() < 1e-9
    return float(energy) / len(system.x), np.trace(virial) / 3 / np.prod(system.box) * 1.602176634e6


# -- many-body -----------------------------------------------------------------------------------------

SILICON = """param m = 28.0855 [g/mol]
energy two   = sum(i < j) stillinger_weber_pair(2.0951 [angstrom], 2.1683 [eV], 1.80)(|x[i] - x[j]|)
energy three = sum(i; j < k) stillinger_weber_triple(2.0951 [angstrom], 2.1683 [eV], 1.80)(|d|, |b|, d·b/(|d|*|b|))
               where d = x[j] - x[i], b = x[k] - x[i]
"""


def test_silicon_is_bound_as_published():
    """-4.3366 eV at 5.431 A (Stillinger and Weber 1985); the digits are LAMMPS' (cohesive.csv)."""
    energy, pressure = at(SILICON, "diamond(a = 5.431 [angstrom], cells = 2)")
    assert energy == pytest.approx(-4.33659999504, rel=1e-10)
    assert pressure == pytest.approx(-28.1353474, rel=1e-5)


@needs_reference
def test_disordered_silicon():
    """The unit test of LAMMPS, and a configuration of 64 atoms."""
    compiled = mdsl.compile(METAL + SILICON)
    structure = read_lammps_data((REFERENCE / "force_styles/data.manybody").read_text(), "data.manybody")
    system = compiled.bind(structure.positions, box=structure.lengths)
    energy, forces, virial = everything(system)
    stress, f = numbers("manybody-pair-sw", "init_stress").ravel(), numbers("manybody-pair-sw", "init_forces")[:, 1:]
    assert energy == pytest.approx(numbers("manybody-pair-sw", "init_vdwl")[0, 0], rel=1e-10)
    assert np.abs(forces - f).max() < 1e-9 * np.abs(f).max()
    assert np.allclose([virial[k] for k in ORDER], stress, rtol=0, atol=1e-9 * np.abs(stress).max())


def test_silicon_at_random_places():
    """A configuration of 64 atoms computed with LAMMPS."""
    data = lammps("Si_sw_diamond64")
    system = mdsl.compile(METAL + SILICON).bind(np.array(data["x0"]), box=np.array(data["box"]))
    energy, forces, _ = everything(system)
    assert energy == pytest.approx(data["thermo0"]["pe"], rel=1e-10)
    assert np.abs(forces - data["f0"]).max() < 1e-9 * np.abs(data["f0"]).max()


GUPTA = """param m = 1 [g/mol]
quantity moment[i] = sum(j != i) truncated(gupta_moment({xi} [eV], {q}, {r0}), 2.34*{r0})(|x[i] - x[j]|)
energy repulsion = sum(i < j) truncated(gupta_pair({A} [eV], {p}, {r0}), 2.34*{r0})(|x[i] - x[j]|)
energy band      = sum(i) gupta_band(moment[i])
"""


@pytest.mark.parametrize(
    "metal, a, A, xi, p, q, energy_of_cohesion",
    [
        ("Cu", 3.615, 0.0855, 1.224, 10.960, 2.278, 3.544),
        ("Ag", 4.085, 0.1028, 1.178, 10.928, 3.139, 2.960),
        ("Au", 4.079, 0.2061, 1.790, 10.229, 4.036, 3.779),
    ],
)
def test_metals_of_cleri_and_rosato(metal, a, A, xi, p, q, energy_of_cohesion):
    """Cohesive energies to which the published parameters were fitted (Phys. Rev. B 48, 22 (1993)), at zero
    pressure."""
    text = GUPTA.format(A=A, xi=xi, p=p, q=q, r0=f"({a}/sqrt(2)*1 [angstrom])")
    energy, pressure = at(text, f"fcc(a = {a} [angstrom], cells = 4)")
    assert energy == pytest.approx(-energy_of_cohesion, abs=1e-3)
    assert abs(pressure) < 5e3  # the bulk moduli are 1 to 2 million bar


SUTTON_CHEN = """param m = 1 [g/mol]
param a = 3.80 [angstrom]
const rc = 1.95*3.80*1 [angstrom]
def repel(r) = sutton_chen_pair(a, 4.9371e-3 [eV], 12)(r)
def near(r) = sutton_chen_density(a, 6)(r)
def far(r) = r^2*near(r)
quantity rho[i] = 4*pi*N/volume*integral(far, rc, infinity) + sum(j != i) truncated(near, rc)(|x[i] - x[j]|)
energy repulsion = sum(i < j) truncated(repel, rc)(|x[i] - x[j]|)
energy tail = energy_tail(repel, rc)
energy embedding = sum(i) sutton_chen_embedding(4.9371e-3 [eV], 144.41)(rho[i])
"""


def test_rhodium_of_sutton_and_chen():
    """The cohesive energy of rhodium, 5.75 eV (Phil. Mag. Lett. 61, 139 (1990)), from the sums over the fcc lattice."""
    energy, pressure = at(SUTTON_CHEN, "fcc(a = 3.80 [angstrom], cells = 4)")
    nearest = 2**0.5  # lattice constants to distances of neighbours, in the lattice sums of physics.md
    repulsion, density = 12.1318802 * nearest**12, 14.4539210 * nearest**6
    assert energy == pytest.approx(
        4.9371e-3 * (repulsion / 2 - 144.41 * density**0.5), rel=2e-3
    )  # the shells beyond the cutoff are not evenly spread
    assert energy == pytest.approx(-5.75, abs=0.01)
    assert abs(pressure) < 2e4  # of a bulk modulus of 2.7 million bar: the tail is not exact


# -- charges -------------------------------------------------------------------------------------------

SALT = "species Na, Cl\nconst q[species] = { Na: 1.0, Cl: -1.0 }\n"


@pytest.mark.parametrize("law, own", [("wolf", "wolf_self"), ("damped_shifted_force", "damped_shifted_force_self")])
def test_rock_salt(law, own):
    """Madelung's constant of rock salt, 1.7475646 (Evjen 1932)."""
    n = np.array(list(np.ndindex(8, 8, 8)))
    text = (
        f"{SALT}energy U = sum(i < j) {law}(q[i], q[j], 0.8, 3.99)(|x[i] - x[j]|)\nenergy self = sum(i) "
        f"{own}(q[i], "
        f"0.8, 3.99)"
    )
    energy, forces, _ = everything(
        program(text, "use units.lj\nuse coulomb\n").bind(n.astype(float), box=8.0, species=n.sum(axis=1) % 2)
    )
    assert -2 * energy / 512 == pytest.approx(1.7475646, rel=1e-4)
    assert np.abs(forces).max() < 1e-10


def test_charges_of_atoms():
    """Charges that come with the atoms mean what those of species mean."""
    x, charges = np.random.default_rng(3).uniform(0, 6, (12, 3)), np.where(np.arange(12) % 2, -1.0, 1.0)
    law = (
        "energy U = sum(i < j) wolf(q[i], q[j], 0.8, 2.9)(|x[i] - x[j]|)\nenergy self = sum(i) wolf_self(q[i], "
        "0.8, 2.9)"
    )
    head = "use units.lj\nuse coulomb\n"
    by_atom = everything(program("data q[atoms]\n" + law, head).bind(x, box=6.0, data={"q": charges}))
    by_species = everything(program(SALT + law, head).bind(x, box=6.0, species=np.arange(12) % 2))
    for a, b in zip(by_atom, by_species):
        assert np.allclose(a, b, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("unit, expected", [("metal", 14.3996454), ("real", 332.063713)])
def test_the_constant_of_coulomb(unit, expected):
    """e^2/(4 pi epsilon_0 angstrom): 14.3996 eV, 332.0637 kcal/mol."""
    system = mdsl.compile(
        f"use units.{unit}\nuse coulomb\nparam m = 1 [g/mol]\nenergy U = sum(i < j) coulomb(1 [e], -1 [e])(|x[i] "
        f"- x[j]|)"
    ).bind([[0.0, 0, 0], [0, 0, 1.0]], box=np.inf)
    assert -float(system.energy()) == pytest.approx(expected, rel=1e-8)


def test_reaction_fields_end_smoothly_in_a_conductor():
    """In a medium that conducts, the force of a reaction field is 0 at its end; without a medium it is Coulomb's."""
    text = "param k = 1e12\nenergy U = sum(i < j) reaction_field(1, 1, k, 2.0)(|x[i] - x[j]|)"
    system = program(text, "use units.lj\nuse coulomb\n").bind([[0.0, 0, 0], [0, 0, 1.9999]], box=9.0)
    force = lambda r, k: float(system.forces(np.array([[0.0, 0, 0], [0, 0, r]]), params={"k": k})[1, 2])  # noqa: E731
    assert abs(force(1.9999999, 1e12)) < 1e-6
    assert force(1.3, 1.0) == pytest.approx(1 / 1.3**2, rel=1e-12)
    assert abs(float(system.energy(np.array([[0.0, 0, 0], [0, 0, 1.9999999]])))) < 1e-6


SILICA = """use units.real
use pair (truncated)
use coulomb (damped_shifted_force, damped_shifted_force_self)
use silica
param m[species] = { Si: 28.0855 [g/mol], O: 15.9994 [g/mol] }
const rc = 8 [angstrom]
const alpha = 0.25 [1/angstrom]
energy short = sum(i < j) truncated(bks(bks_A[i, j], bks_rho[i, j], bks_C[i, j], bks_D[i, j]), rc)(|x[i] - x[j]|)
energy charges = sum(i < j) damped_shifted_force(bks_q[i], bks_q[j], alpha, rc)(|x[i] - x[j]|)
energy self = sum(i) damped_shifted_force_self(bks_q[i], alpha, rc)
"""


@needs_reference
def test_silica_of_jax_md():
    """3,000 atoms with the parameters of jax-md's test, in double precision."""
    data = json.loads((REFERENCE / "jaxmd/silica_bks.json").read_text())
    x = np.load(REFERENCE / "jaxmd/silica_positions.npy").astype(float)
    table = {
        k: np.array([[data[k]["Si-Si"], data[k]["Si-O"]], [data[k]["Si-O"], data[k]["O-O"]]])
        for k in ("A", "rho", "C", "D")
    }
    scale = (data["K"] / 332.0637130) ** 0.5  # of the constants of Coulomb
    params = {f"bks_{k}": v * (-1 if k == "C" else 1) for k, v in table.items()} | {
        "bks_q": np.array([data["charge"][s] for s in ("Si", "O")]) * scale
    }
    system = mdsl.compile(SILICA).bind(x, box=data["box_L"], species=np.where(np.arange(3000) % 3 == 0, 0, 1))
    assert float(system.energy(x, params=params)) == pytest.approx(data["energy_kcal_mol_double_precision"], rel=1e-9)


# -- external fields -----------------------------------------------------------------------------------


def height(text, z):
    """The energy of one atom at a height."""
    return float(
        program(f"energy U = sum(i) {text}(x[i].z)", "use units.lj\nuse external\n")
        .bind([[0.0, 0, z]], box=np.inf)
        .energy()
    )


def lennard_jones(r):
    return 4 * (r**-12.0 - r**-6.0)


def plane(z):
    """The energy per density of an atom with Lennard-Jones atoms spread over a plane at a distance z."""
    rho = np.geomspace(1e-4, 1e3, 40_001)
    middle = np.sqrt(rho[1:] * rho[:-1])
    return (2 * np.pi * middle * lennard_jones(np.sqrt(middle**2 + z**2)) * np.diff(rho)).sum()


def test_a_wall_is_a_half_space_of_atoms():
    depth = np.geomspace(1e-4, 1e3, 1_001)
    middle = np.sqrt(depth[1:] * depth[:-1])
    whole = sum(plane(1.1 + d) * w for d, w in zip(middle, np.diff(depth)))
    assert height("lennard_jones_wall(1, 1, 0.7)", 1.1) == pytest.approx(
        0.7 * whole, rel=5e-4
    )  # of the sum over planes


def test_a_wall_is_a_crystal_of_planes():
    """Steele's wall is a plane of atoms, and an approximation of those behind it that is good to a hundredth."""
    spacing = 0.8
    planes = sum(plane(1.05 + k * spacing) for k in range(200))
    assert height("steele_wall(1, 1, 0.9, 0.8)", 1.05) == pytest.approx(0.9 * spacing * planes, rel=1e-2)


def test_cohesive_energies_of_the_table():
    row = next(r for r in cohesive() if r["potential"] == "Si.sw")
    energy, pressure = at(SILICON, f"diamond(a = {row['a_relaxed_A']} [angstrom], cells = 2)")
    assert energy == pytest.approx(float(row["E_per_atom_relaxed_eV"]), rel=1e-10) and abs(pressure) < 1e-2
