"""Units against pint and CODATA; one physics in every unit system; liquid argon in real units."""

import functools
from pathlib import Path

import jax
import numpy as np
import pint
import pytest
from compiled import bound, running
from scipy import constants as codata

import mdsl
from mdsl.files.trajectories import open_trajectory
from mdsl.grammar.parse import parse
from mdsl.grammar.source import Source
from mdsl.interpret import meaning as interpret
from mdsl.interpret.constants import factor
from mdsl.model.dimensions import BASES
from mdsl.resolve.units import declare

ROOT = Path(__file__).parents[2]
NAMES = (ROOT / "stdlib" / "units" / "names.mdsl").read_text(encoding="utf-8")
MEASURED = 3e-9  # constants of nature differ between CODATA 2018 and 2022 by this much at most


@functools.cache
def units():
    known = {}
    for statement in parse(Source("names", NAMES)).statements:
        known[statement.name.id] = declare(statement, known)
    return known


# -- single units --------------------------------------------------------------------------------------

IN_PINT = {
    "e": "elementary_charge",
    "amu": "unified_atomic_mass_unit",
    "rydberg": "Ry",
    "um": "micrometer",
    "us": "microsecond",
    "cal": "calorie",
    "kcal": "kilocalorie",
    "C": "coulomb",
}
PINT_BASES = {
    "length": "[length]",
    "mass": "[mass]",
    "time": "[time]",
    "temperature": "[temperature]",
    "charge": "[current]*[time]",
}


@functools.cache
def registry():
    return pint.UnitRegistry()


def test_every_unit_is_declared():
    assert len(units()) == sum(line.startswith("unit ") for line in NAMES.splitlines()) > 40


@pytest.mark.parametrize("name", [line.split()[1] for line in NAMES.splitlines() if line.startswith("unit ")])
def test_size_and_dimension(name):
    unit = units()[name]
    if name == "mol":  # a number, so that kcal/mol is an energy
        assert unit.si == codata.Avogadro and unit.dimension.is_one
        return
    theirs = registry()(IN_PINT.get(name, name))
    exact = name not in ("amu", "dalton", "bohr", "hartree", "rydberg")
    assert unit.si == pytest.approx(
        theirs.to_base_units().to(_si(unit.dimension)).magnitude, rel=1e-14 if exact else MEASURED
    )


def _si(dimension):
    """A dimension as pint writes it in SI base units."""
    base = dict(zip(("length", "mass", "time", "temperature", "charge"), ("m", "kg", "s", "K", "C")))
    out = registry().dimensionless
    for name, power in zip(BASES, dimension.powers):
        out = out * registry()(base[name]).units ** int(power)
    return out


def test_codata():
    for name, constant in {"amu": "atomic mass constant", "bohr": "Bohr radius", "hartree": "Hartree energy"}.items():
        assert units()[name].si == pytest.approx(codata.physical_constants[constant][0], rel=MEASURED)
    assert units()["e"].si == codata.elementary_charge
    assert units()["eV"].si == codata.electron_volt
    assert units()["atm"].si == codata.atm


# -- unit systems --------------------------------------------------------------------------------------

ANGSTROM, AMU = codata.angstrom, 1e-3 / codata.Avogadro
KCAL_MOL = 4184 / codata.Avogadro
# length, mass, energy, time, velocity, force, pressure in SI
SYSTEMS = {
    "metal": (ANGSTROM, AMU, codata.e, 1e-12, ANGSTROM / 1e-12, codata.e / ANGSTROM, 1e5),
    "real": (ANGSTROM, AMU, KCAL_MOL, 1e-15, ANGSTROM / 1e-15, KCAL_MOL / ANGSTROM, codata.atm),
    "si": (1, 1, 1, 1, 1, 1, 1),
}
KB = {"lj": 1.0, "metal": 8.617333262e-5, "real": 1.987204259e-3, "si": 1.380649e-23}  # physics.md


@pytest.mark.parametrize("name", KB)
def test_boltzmann(name):
    model = mdsl.compile(f"use units.{name}\nenergy U = kB*0\nobserve k = kB").model
    shown = interpret.parameter(model, "kB") * factor(model, model.param("kB").type.dimension)
    assert shown == pytest.approx(KB[name], rel=3e-10)


def test_natural_times():
    """sqrt(amu Å²/eV) and sqrt(amu Å² mol/kcal), in fs."""
    from mdsl.model.dimensions import TIME

    for name, femtoseconds in (("metal", 10.1805), ("real", 48.8882)):
        model = mdsl.compile(f"use units.{name}\nenergy U = kB*0").model
        assert model.units._internal_si(TIME) * 1e15 == pytest.approx(femtoseconds, rel=1e-5)


# -- argon in every unit system ------------------------------------------------------------------------

SIGMA, EPSILON, MASS = 3.405 * ANGSTROM, 119.8 * codata.k, 39.948 * AMU  # SI
TAU = SIGMA * float(np.sqrt(MASS / EPSILON))
ARGON = """param sigma = {sigma}
param epsilon = {epsilon}
param m = {m}
energy U = sum(i < j) force_shifted(lennard_jones(sigma, epsilon), 2.5*sigma)(|x[i] - x[j]|)
observe T = temperature
observe P = pressure
observe S = stress
"""
LITERALS = {
    "metal": ("3.405 [angstrom]", f"{EPSILON / codata.e!r} [eV]", "39.948 [amu]"),
    "real": ("0.3405 [nm]", f"{EPSILON / KCAL_MOL!r} [kcal/mol]", "39.948 [g/mol]"),
    "si": ("3.405e-10 [m]", f"{EPSILON!r} [J]", f"{MASS!r} [kg]"),
}


def liquid():
    """Reduced units: 125 atoms at density 0.8, positions and velocities."""
    rng = np.random.default_rng(0)
    edge = (125 / 0.8) ** (1 / 3)
    cells = np.stack(np.meshgrid(*[np.arange(5)] * 3), -1).reshape(-1, 3)
    v = rng.normal(size=(125, 3))
    return (cells + rng.uniform(-0.1, 0.1, (125, 3))) * edge / 5, v - v.mean(0), edge


@functools.cache
def reduced():
    return argon("lj", ("1.0", "1.0", "1.0"), "0.004", 1, 1, 1)


def argon(name, literals, dt, length, velocity, mass):
    """Energy, forces and a short run, in a unit system; ``length`` and the others are sizes of its units."""
    x, v, edge = liquid()
    text = ARGON.format(**dict(zip(("sigma", "epsilon", "m"), literals)))
    head = f"use units.{name}\nuse pair\nuse integrators (velocity_verlet)\n"
    compiled = running(text, f"velocity_verlet(dt = {dt})", 40, "record U, T, P, S every 40", head=head)
    system = bound(compiled, x * length, box=edge * length, velocities=v * velocity)
    return system, system.run(jax.random.key(0)), np.asarray(system.forces())


@pytest.mark.parametrize("name", SYSTEMS)
def test_one_physics(name):
    length, mass, energy, time, velocity, force, pressure = SYSTEMS[name]
    step = f"{0.004 * TAU * 1e15!r} [fs]"
    system, run, forces = argon(name, LITERALS[name], step, SIGMA / length, SIGMA / TAU / velocity, MASS / mass)
    reference, plain, plain_forces = reduced()
    assert float(system.energy()) * energy == pytest.approx(float(reference.energy()) * EPSILON, rel=1e-9)
    assert np.allclose(
        forces * force, plain_forces * EPSILON / SIGMA, rtol=0, atol=1e-9 * np.abs(plain_forces).max() * EPSILON / SIGMA
    )
    stress = np.asarray(system.stress()) * pressure
    assert np.allclose(stress / (EPSILON / SIGMA**3), reference.stress(), rtol=0, atol=1e-8)
    for column, size in {
        "U": EPSILON / energy,
        "T": EPSILON / codata.k,
        "P": EPSILON / SIGMA**3 / pressure,
        "time": TAU / time,
    }.items():
        assert np.allclose(run.records[column], plain.records[column] * size, rtol=1e-8, atol=0), column
    assert np.allclose(run.records["S"] * pressure / (EPSILON / SIGMA**3), plain.records["S"], rtol=0, atol=1e-7)
    assert np.allclose(run.x * length / SIGMA, plain.x, rtol=0, atol=1e-8)
    assert np.allclose(run.v * velocity * TAU / SIGMA, plain.v, rtol=0, atol=1e-7)
    assert run.time * time == pytest.approx(plain.time * TAU, rel=1e-10)
    assert system.program.params["sigma"] == pytest.approx(SIGMA / length, rel=1e-10)
    assert system.program.params["epsilon"] == pytest.approx(EPSILON / energy, rel=1e-9)


def test_params_are_given_in_the_units_of_the_program():
    _, _, edge = liquid()
    system, _, _ = reduced()
    x = liquid()[0]
    found = float(system.energy(params={"epsilon": 2.0, "sigma": 0.9}))
    si = bound(
        mdsl.compile("use units.si\nuse pair\n" + ARGON.format(sigma="1 [angstrom]", epsilon="1 [eV]", m="1 [amu]")),
        x * SIGMA,
        box=edge * SIGMA,
    )
    there = float(si.energy(params={"epsilon": 2.0 * EPSILON, "sigma": 0.9 * SIGMA, "m": MASS}))
    assert there == pytest.approx(found * EPSILON, rel=1e-9)
    slope = jax.jit(jax.grad(lambda e: si.energy(params={"epsilon": e, "sigma": 0.9 * SIGMA})))(2.0 * EPSILON)
    assert float(slope) == pytest.approx(found / 2, rel=1e-9)


def test_reduced_argon_numbers():
    """physics.md: tau = 2.1563 ps, epsilon/sigma³ = 41.898 MPa."""
    assert pytest.approx(2.1563, rel=3e-5) == TAU * 1e12
    assert pytest.approx(41.898, rel=2e-5) == EPSILON / SIGMA**3 / 1e6


# -- the argon program ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def rahman(tmp_path_factory):
    """examples/argon.mdsl on 256 atoms at 1.374 g/cm³, read from a file that the runtime wrote."""
    program = ROOT / "examples" / "argon.mdsl"
    if not program.exists():
        pytest.skip("the example is not here")
    folder = tmp_path_factory.mktemp("argon")
    edge = (256 * 39.948 / codata.Avogadro / 1.374) ** (1 / 3) * 1e8  # Å
    cells = np.stack(np.meshgrid(*[np.arange(4)] * 3), -1).reshape(-1, 1, 3)
    corners = np.array([[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]])
    x = (cells + corners).reshape(-1, 3) * edge / 4 + np.random.default_rng(1).normal(0, 0.2, (256, 3))
    trajectory = open_trajectory(
        folder / "argon.extxyz", ("Ar",) * 256, angstrom_per_length=1.0, femtoseconds_per_time=1.0, digits=17
    )
    trajectory.write(x, np.full(3, edge), 0, 0.0)
    trajectory.close()
    compiled = mdsl.compile(program.read_text(encoding="utf-8"), folder)
    system = compiled.bind(seed=2)
    assert np.allclose(system.x % edge, x % edge, rtol=1e-13) and np.allclose(system.box, edge)
    return system, system.run(jax.random.key(1), steps=400)


def test_the_argon_program(rahman):
    system, result = rahman
    records = result.records
    assert result.step == 800 and result.time == pytest.approx(4000)  # fs
    assert records["T"][0] == pytest.approx(94.4, rel=1e-10)
    assert ((records["T"] > 60) & (records["T"] < 130)).all()
    assert (np.abs(records["P"]) < 1500).all()  # atm
    nve = records["E"][np.isfinite(records["E"])]
    assert len(nve) >= 4
    assert np.ptp(nve) < 1e-3 * np.abs(nve.mean())
    # kcal/mol: the liquid's potential energy is near -5.9 kJ/mol for each atom
    assert -2.0 * 256 < float(system.energy(result.x)) < -1.1 * 256


def test_its_pressure_and_temperature_by_hand(rahman):
    system, result = rahman
    kinetic = 0.5 * MASS * ((result.v * ANGSTROM / 1e-15) ** 2).sum()
    count = result.records["T"].shape[0] - 1
    assert result.records["step"][count] == 800
    assert result.records["T"][count] == pytest.approx(2 * kinetic / (system.initial.dof * codata.k), rel=1e-9)
    virial = np.trace(system.virial(result.x)) * KCAL_MOL
    volume = (system.box * ANGSTROM).prod()
    assert result.records["P"][count] == pytest.approx((2 * kinetic + virial) / (3 * volume) / codata.atm, rel=1e-8)
    assert result.records["E"][count] == pytest.approx(float(system.energy(result.x)) + kinetic / KCAL_MOL, rel=1e-9)
