"""Energies, forces, pressures and trajectories against LAMMPS and NIST (shared/reference/README.md)."""

import csv
import functools

import jax
import numpy as np
import pytest
from compiled import TRAVERSALS, apart, bound, everything, program, run, running
from reference import REFERENCE, lammps

PAIRS = {
    "lj_cut_2.5_fcc256": "truncated(lennard_jones(1, 1), 2.5)",
    "lj_cut_shift_2.5_fcc256": "shifted(lennard_jones(1, 1), 2.5)",
    "lj_smooth_linear_2.5_fcc256": "force_shifted(lennard_jones(1, 1), 2.5)",
    "morse_2.5_fcc256": "truncated(morse(1, 5, 1.12), 2.5)",
    "soft_cos_1.5_fcc256": "soft_cosine(10, 1.5)",
    "wca_fcc256": "wca(1, 1)",
    "yukawa_3.0_fcc256": "truncated(yukawa(10, 1), 3)",
}
ORDER = ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2))  # xx yy zz xy xz yz


@functools.cache
def compiled(name):
    text = f"energy U = sum(i < j) {PAIRS[name]}(|x[i] - x[j]|)\nobserve T = temperature\nobserve P = pressure"
    data = lammps(name)
    return running(
        text, f"velocity_verlet(dt = {data['dt']})", data["nsteps"], f"record U, T, P, virial every {data['nsteps']}"
    )


@functools.cache
def all_styles():
    """All styles in one program, each with its weight: one neighbour list to compile."""
    weights = [f"w{k}" for k in range(len(PAIRS))]
    text = [
        f"param {w} = 1.0\nenergy U{w} = {w}*sum(i < j) {u}(|x[i] - x[j]|)" for w, u in zip(weights, PAIRS.values())
    ]
    return program("\n".join(text)), weights


def check_static(name, found, tolerance):
    data = lammps(name)
    energy, forces, virial = found
    assert energy == pytest.approx(data["thermo0"]["pe"], rel=tolerance)
    strongest = np.abs(data["f0"]).max()
    assert np.abs(forces - data["f0"]).max() < (tolerance if tolerance < 1e-6 else 1e-4) * strongest
    pressure = virial / np.prod(data["box"])
    expected = np.array(data["virial_pressure0_xx_yy_zz_xy_xz_yz"])
    assert np.allclose([pressure[k] for k in ORDER], expected, rtol=0, atol=tolerance * np.abs(expected).max())
    assert np.allclose(pressure, pressure.T, rtol=0, atol=tolerance * np.abs(expected).max())


# -- LAMMPS, step 0 ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize("precision, tolerance", [("double", 1e-10), ("single", 1e-5)])
def test_all_pairs(name, precision, tolerance):
    data = lammps(name)
    system = bound(compiled(name), data["x0"], box=data["box"], precision=precision)
    check_static(name, everything(system), tolerance)


@pytest.fixture(
    scope="module",
    params=[("double", 1e-10), pytest.param(("single", 1e-5), marks=pytest.mark.slow)],
    ids=["double", "single"],
)
def listed(request):
    """A system of all styles that keeps a neighbour list; the boxes of all cases are the same."""
    precision, tolerance = request.param
    data = lammps("wca_fcc256")
    return bound(all_styles()[0], data["x0"], "list", box=data["box"], precision=precision), tolerance


@pytest.mark.parametrize("name", PAIRS)
def test_neighbour_list(name, listed):
    system, tolerance = listed
    assert np.allclose(lammps(name)["box"], system.box)
    weights = {k: float(n == name) for k, n in zip(all_styles()[1], PAIRS)}
    check_static(name, everything(system, lammps(name)["x0"], weights), tolerance)


def test_weights_add_up(listed):
    """The sum of all styles is the sum of their energies: terms of one program do not disturb each other."""
    system, tolerance = listed
    x = lammps("wca_fcc256")["x0"]
    parts = [everything(system, x, {k: float(k == one) for k in all_styles()[1]}) for one in all_styles()[1]]
    whole = everything(system, x, dict.fromkeys(all_styles()[1], 1.0))
    for whole, pieces in zip(whole, zip(*parts)):  # noqa: B020
        assert np.allclose(whole, sum(pieces), rtol=tolerance, atol=10 * tolerance * np.abs(whole).max())


# -- LAMMPS, 100 steps ---------------------------------------------------------------------------------

# A list takes long to compile: the others run it with the slow tests.
QUICK = ("all pairs", "wca_fcc256")


@pytest.mark.parametrize(
    "traversal, name",
    [
        pytest.param(t, n, marks=() if t == QUICK[0] or n == QUICK[1] else pytest.mark.slow)
        for t in TRAVERSALS
        for n in PAIRS
    ],
)
def test_trajectory(name, traversal):
    data = lammps(name)
    result = run(compiled(name), data["x0"], traversal=traversal, box=data["box"], velocities=data["v0"])
    assert (result.counts.list_builds > 0) == (traversal == "list")
    assert result.counts.force_evaluations <= data["nsteps"] + 1
    assert apart(result.x, data["x1"], data["box"]) < 1e-8
    assert np.abs(result.v - data["v1"]).max() < 1e-7
    assert result.records["step"].tolist() == [0, data["nsteps"]]
    assert np.allclose(result.records["time"], [0, data["nsteps"] * data["dt"]])
    for row, thermo in enumerate((data["thermo0"], data["thermo1"])):
        rel = 1e-10 if row == 0 else 1e-7
        assert result.records["U"][row] == pytest.approx(thermo["pe"], rel=rel)
        assert result.records["T"][row] == pytest.approx(thermo["temp"], rel=rel)
        assert result.records["P"][row] == pytest.approx(thermo["press"], rel=rel)
        virial = result.records["virial"][row] / np.prod(data["box"])
        expected = data[f"virial_pressure{row}_xx_yy_zz_xy_xz_yz"]
        assert np.allclose([virial[k] for k in ORDER], expected, rtol=rel, atol=rel * np.abs(expected).max())


# -- NIST ----------------------------------------------------------------------------------------------

NIST_TEXT = {
    "LRC": "param rc = 3.0\nenergy U = sum(i < j) truncated(lennard_jones(1, 1), rc)(|x[i] - x[j]|)",
    "LFS": "param rc = 3.0\nenergy U = sum(i < j) force_shifted(lennard_jones(1, 1), rc)(|x[i] - x[j]|)",
}


@functools.cache
def nist(config):
    path = REFERENCE / "nist" / f"lj_sample_config_periodic{config}.txt"
    if not path.exists():
        pytest.skip("no reference data here")
    box = float(path.read_text().split(None, 1)[0])
    return np.loadtxt(path, skiprows=2)[:, 1:], box


@functools.cache
def nist_system(config, scheme, traversal="all pairs"):
    x, box = nist(config)
    return bound(program(NIST_TEXT[scheme]), x, traversal, box=box)


# NIST's table and, to ten digits, LAMMPS and numpy: configuration, scheme, cutoff, energy, sum of r·f
NIST_TABLE = [
    (1, "LRC", 3, -4351.540195, -568.6654653),
    (1, "LRC", 4, -4467.495725, -1263.883372),
    (1, "LFS", 3, -3870.924886, 317.538346),
    (2, "LRC", 3, -690.0040452, -568.4573407),
    (2, "LRC", 4, -704.6033197, -655.9875607),
    (2, "LFS", 3, -620.119861, -445.3310496),
]


@pytest.mark.parametrize("config, scheme, rc, energy, virial", NIST_TABLE)
def test_nist(config, scheme, rc, energy, virial):
    found, _, w = everything(nist_system(config, scheme), params={"rc": float(rc)})
    assert found == pytest.approx(energy, rel=1e-9)
    assert np.trace(w) == pytest.approx(virial, rel=1e-9)


def test_nist_table_is_the_published_one():
    path = REFERENCE / "nist" / "lj_reference_energies.csv"
    if not path.exists():
        pytest.skip("no reference data here")
    rows = list(csv.DictReader(path.open()))
    assert [(int(r["config"]), r["scheme"], int(r["rc"])) for r in rows] == [row[:3] for row in NIST_TABLE]
    for row, (*_, energy, virial) in zip(rows, NIST_TABLE):
        assert float(row["U_pair"]) == pytest.approx(energy, rel=2e-5)  # five digits
        assert float(row["W_pair"]) == pytest.approx(virial, rel=1e-3)


def test_a_list_grows_for_a_longer_cutoff():
    """A list planned for a cutoff of 3 does not hold the neighbours at 4: NaN within a transformation, and
    outside of it the list grows."""
    system = nist_system(1, "LRC", "list")
    assert float(system.energy(params={"rc": 3.0})) == pytest.approx(NIST_TABLE[0][3], rel=1e-9)
    inside = jax.jit(lambda rc: system.energy(params={"rc": rc}))
    assert float(inside(3.0)) == pytest.approx(NIST_TABLE[0][3], rel=1e-9)
    assert np.isnan(inside(4.0))
    assert float(system.energy(params={"rc": 4.0})) == pytest.approx(NIST_TABLE[1][3], rel=1e-9)
