"""The library of observables against perfect crystals, ideal gases and free motion."""

import functools

import jax
import numpy as np
import pytest
from compiled import program, running
from interpreted import jumbled
from observed import agree

jax.config.update("jax_enable_x64", True)

USE = "use observables\n"
NONE = "energy U = 0*sum(i) (x[i].x)^2\n"  # no forces


def observe(text, x, box, **more):
    """What a program without forces observes of atoms, by name."""
    names = [line.split()[1].split("[")[0] for line in text.splitlines() if line.startswith("observe")]
    system = running(USE + NONE + text, "velocity_verlet(dt = 1)", 0, f"record {', '.join(names)} every 1").bind(
        np.asarray(x), box=box, **more
    )
    records = system.run(jax.random.key(0)).records
    return {name: records[name][0] for name in names}


def lattice(basis, cells, edges=(1.0, 1.0, 1.0)):
    """[N, d] positions and [d] edges of the box of a crystal; the basis in fractions of the cell."""
    d = len(edges)
    corners = np.stack(np.meshgrid(*[np.arange(c) for c in cells], indexing="ij"), -1).reshape(-1, d)
    return (corners[:, None] + np.asarray(basis)).reshape(-1, d) * edges, np.asarray(cells) * edges


FCC = [[0, 0, 0], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]]
BCC = [[0, 0, 0], [0.5, 0.5, 0.5]]
HCP = [[0, 0, 0], [0.5, 0.5, 0], [0.5, 5 / 6, 0.5], [0, 1 / 3, 0.5]]
HEXAGONAL = [[0, 0], [0.5, 0.5]]

EVERYTHING = (
    USE
    + """species A, B
energy U = sum(i < j) wca(1.0, 1.0)(|x[i] - x[j]|)
observe g[k in 1..12] = pair_correlation(k, 0.2)
observe mixed[k in 1..12] = pair_correlation_of(A, B)(k, 0.2)
observe alike[k in 1..12] = pair_correlation_of(B, B)(k, 0.2)
observe near = coordination(1.5)
observe S[n in 1..3] = structure_factor(wave_vector((n, 1, 0)))
observe psi = bond_orientation(6, 1.5)
observe whole = global_bond_orientation(6, 1.5)
observe q4 = steinhardt(legendre_4, 1.6)
observe q2 = steinhardt(legendre_2, 1.3)
observe msd = mean_squared_displacement_of(A) + mean_squared_displacement_without_drift() + non_gaussian_parameter()
observe F = self_intermediate_scattering(wave_vector((1, 0, 0)))*velocity_autocorrelation()
"""
)


def test_the_library_is_what_the_interpreter_says():
    found = agree(EVERYTHING, jumbled(20, edge=4.9, species=np.arange(20) % 3 // 2), "list")
    assert (
        found["F"] == pytest.approx(1, rel=1e-15)
        and found["msd"] == 0
        and found["mixed"].any()
        and found["alike"].any()
    )


def test_shells_of_fcc():
    """12, 6 and 24 neighbours at a/√2, a and a√(3/2); g(r) has them in the right volume."""
    x, box = lattice(FCC, (3, 3, 3))
    text = (
        "observe counts[k in 1..23] = sum(i < j) if floor(|x[i] - x[j]|/0.06) + 1 == k then 1 else 0\nobserve g[k "
        "in 1..23] = pair_correlation(k, 0.06)\nobserve close = coordination(0.8)"
    )
    found = observe(text, x, box)
    per_atom = 2 * found["counts"] / len(x)
    assert {k + 1: n for k, n in enumerate(per_atom) if n} == {12: 12, 17: 6, 21: 24}
    assert found["close"] == 12
    k = np.arange(1, 24)
    expected = per_atom / (4 * np.pi / 3 * 0.06**3 * (k**3 - (k - 1) ** 3)) * box.prod() / (len(x) - 1)
    assert np.allclose(found["g"], expected, rtol=1e-12)


@pytest.mark.parametrize(("dim", "n"), [(3, 1500), (2, 1200)])
def test_an_ideal_gas_has_no_structure(dim, n):
    x = np.random.default_rng(dim).uniform(0, 10, (n, dim))
    waves = "(n, 0, 0)" if dim == 3 else "(n, 1)"
    text = (
        f"observe g[k in 1..40] = pair_correlation(k, 0.1)\nobserve S[n in 1..40] = "
        f"structure_factor(wave_vector({waves}))"
    )
    found = observe(("" if dim == 3 else "dim 2\n") + text, x, 10.0)
    k = np.arange(1, 41)
    shell = 4 * np.pi / 3 * 0.1**3 * (k**3 - (k - 1) ** 3) if dim == 3 else np.pi * 0.01 * (k**2 - (k - 1) ** 2)
    expected = n * (n - 1) / 2 * shell / 10**dim  # Poisson: the variance of each count
    chi = ((found["g"] - 1) ** 2 * expected).sum()
    assert abs(chi - 40) < 4 * np.sqrt(2 * 40)
    assert abs(found["S"].mean() - 1) < 4 / np.sqrt(40)  # each is exponentially distributed


def test_bragg_peaks():
    """The structure factor of a crystal is N where all atoms scatter in phase, and 0 elsewhere."""
    x, box = lattice(BCC, (4, 4, 4))
    text = (
        "observe S[n in 1..8] = structure_factor(wave_vector((n, 0, 0)))\nobserve T[n in 1..8] = "
        "structure_factor(wave_vector((n, n, 0)))"
    )
    found = observe(text, x + 0.1, box)
    assert np.allclose(found["S"], [0, 0, 0, 0, 0, 0, 0, 128], atol=1e-9)  # (1, 0, 0) is extinct
    assert np.allclose(found["T"], [0, 0, 0, 128, 0, 0, 0, 128], atol=1e-9)


@pytest.mark.parametrize(
    ("basis", "cells", "edges", "rc", "q6"),
    [
        (FCC, (2, 2, 2), (1, 1, 1), 0.8, 0.57452),
        (BCC, (3, 3, 3), (1, 1, 1), 1.2, 0.51069),  # 14 neighbours
        (HCP, (3, 2, 2), (1, np.sqrt(3), np.sqrt(8 / 3)), 1.2, 0.48476),
        ([[0, 0, 0]], (3, 3, 3), (1, 1, 1), 1.2, 0.35355),
    ],
    ids=["fcc", "bcc", "hcp", "sc"],
)
def test_bond_order_of_crystals(basis, cells, edges, rc, q6):
    """Steinhardt, Nelson and Ronchetti 1983; Mickel et al. 2013, table I."""
    x, box = lattice(basis, cells, edges)
    found = observe(f"observe q6 = steinhardt(legendre_6, {rc})", x + 0.05, box)
    assert found["q6"] == pytest.approx(q6, abs=6e-6)


def test_hexatic_order():
    x, box = lattice(HEXAGONAL, (4, 3), (1.0, np.sqrt(3)))
    text = (
        "dim 2\nobserve six = bond_orientation(6, 1.2)\nobserve four = bond_orientation(4, 1.2)\nobserve whole = "
        "global_bond_orientation(6, 1.2)"
    )
    found = observe(text, x, box)
    assert (
        found["six"] == pytest.approx(1, abs=1e-12)
        and found["whole"] == pytest.approx(1, abs=1e-12)
        and found["four"] < 1e-12
    )


@functools.cache
def free(scheme, steps, record):
    observed = (
        "observe msd = mean_squared_displacement()\nobserve c = velocity_autocorrelation()\nobserve inner = "
        "mean_squared_displacement_without_drift()\nobserve a2 = non_gaussian_parameter()\n"
    )
    compiled = running(USE + NONE + "param m = 2.0\n" + observed, scheme, steps, record)
    rng = np.random.default_rng(3)
    n = 2000
    return n, compiled.bind(
        rng.uniform(0, 5, (n, 3)), box=5.0, velocities=rng.normal(size=(n, 3)) * np.sqrt(1.5 / 2)
    ).run(jax.random.key(4)).records


def test_free_brownian_motion_diffuses():
    """MSD = 2 d D t with D = kT/(m gamma), through many periods of the box."""
    n, records = free("brownian(dt = 0.01, T = 1.5, gamma = 0.4)", 80, "record msd, inner, a2 every 20")
    expected = 6 * 1.5 / (2 * 0.4) * records["time"]
    assert records["msd"][0] == 0
    assert (np.abs(records["msd"][1:] / expected[1:] - 1) < 4 * np.sqrt(2 / (3 * n))).all()
    assert np.allclose(records["inner"], records["msd"], rtol=0.01)
    assert (np.abs(records["a2"]) < 0.15).all()  # 4 standard errors are about 0.14


def test_free_langevin_motion_forgets_its_velocity():
    """C(t) = exp(-gamma t), exactly for any time step where there is no force."""
    n, records = free("baoab(dt = 0.25, T = 1.5, gamma = 0.5)", 12, "record c every 4")
    expected = np.exp(-0.5 * records["time"])
    error = np.sqrt((1 - expected**2) / (3 * n))
    assert records["c"][0] == 1 and (np.abs(records["c"] - expected) <= 4 * error).all()


def test_units_of_the_library():
    text = (
        "use observables\nenergy U = sum(i < j) wca(3 [angstrom], 0.01 [eV])(|x[i] - x[j]|)\nobserve g[k in "
        "1..9] = "
        "pair_correlation(k, 0.1 [angstrom])\nobserve D = mean_squared_displacement()/(2*dim*(t - "
        "t_start))\nobserve S = structure_factor(wave_vector((1, 0, 0)))\nobserve q = steinhardt(legendre_6, 4 "
        "[angstrom])"
    )
    for dim in ("", "dim 2\n"):
        compiled = program(
            dim + (text if not dim else text.replace("(1, 0, 0)", "(1, 0)")), head="use units.metal\nuse pair\n"
        )
        types = {e.name: e.body.type for e in compiled.model.equations}
        assert str(types["g"]) == str(types["S"]) == str(types["q"]) == "a number"
