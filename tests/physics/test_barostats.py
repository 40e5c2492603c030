"""The box as part of the state: flows that change it, constant pressure, and relaxation."""

from dataclasses import replace

import jax
import numpy as np
import pytest
from compiled import HEAD, PAIRS_BY, killed, running
from killing import contents
from scipy.linalg import expm
from test_cell import fractions

import mdsl
from mdsl.command import run as run_program
from mdsl.command.options import RunOptions
from mdsl.files.reading import read
from mdsl.interpret import meaning as interpret
from mdsl.model.nodes import Advance

SOFT = "energy U = sum(i < j) if r < 1.5 then 20*(1.5 - r)^4 else 0 where r = |x[i] - x[j]|"
NPT = HEAD + "use barostats\n"
SCHEMES = {
    "mtk": "mtk(dt = 0.01, T = 0.8, P = 4.0, tau = 0.3, tau_P = 0.5)",
    "mtk_anisotropic": "mtk_anisotropic(dt = 0.01, T = 0.8, P = 4.0, tau = 0.3, tau_P = 0.5, chain = 2, order = 1)",
    "stochastic_cell_rescaling": "stochastic_cell_rescaling(dt = 0.01, T = 0.8, P = 4.0, tau = 0.2, tau_P = 0.5, "
    "compressibility = 0.1)",
    "berendsen_barostat": "berendsen_barostat(dt = 0.01, T = 0.8, P = 4.0, tau = 0.2, tau_P = 0.2, "
    "compressibility = 0.1)",
    "fire_box": "fire_box(dt = 0.02, P = 4.0)",
    "skew": "shear_flow(dt = 0.01)",
}
SHEAR = (
    "\nflow shear(h) { g = sum(i) m[i]*outer(v[i], v[i])  cell = cell + 0.02*h*(diagonal(g) + "
    "inverse(cell)·cell)·cell }\nintegrator shear_flow(dt) { state s = identity  B(dt/2) s = exp(0.1*dt*s)·s  "
    "shear(dt)  A(dt)  cell = cell·s  B(dt/2) s = identity }\n"
)


def system(n=27, edge=3.3, seed=1):
    x = fractions(n) * edge
    v = np.random.default_rng(seed).normal(0, 0.9, (n, 3))
    return x, v - v.mean(0), edge


# -- what it means -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["mtk", "mtk_anisotropic", "berendsen_barostat", "fire_box", "skew"])
def test_steps_are_those_of_the_interpreter(name):
    prog = running(
        SOFT + SHEAR + "use integrators (A, B)", SCHEMES[name], 4, "record volume, potential, kinetic", head=NPT
    )
    x, v, edge = system()
    result = prog.bind(x, box=edge, velocities=v).run(jax.random.key(0))
    (advance,) = (s for s in prog.model.run if isinstance(s, Advance))
    there = interpret.System(x, [edge] * 3, v=v)
    for _ in range(4):
        there = interpret.step(prog.model, advance, there)
    assert abs(np.linalg.det(there.cell) / edge**3 - 1) > 1e-5
    box = result.box if result.box.ndim == 2 else np.diag(result.box)
    np.testing.assert_allclose(box, there.cell, rtol=1e-10, atol=1e-13)
    np.testing.assert_allclose(result.v, there.v, rtol=1e-8, atol=1e-10)
    for name in ("volume", "potential", "kinetic"):
        assert np.isclose(result.records[name][-1], interpret.observe(prog.model, name, there), rtol=1e-9), name


@pytest.mark.slow
def test_a_list_holds_while_the_volume_changes():
    prog = running(SOFT, SCHEMES["mtk_anisotropic"], 60, "record conserved, volume every 20", head=NPT)
    x, v, edge = system(64, 4.6)
    found = []
    for traversal in ("all pairs", "list"):
        bound = prog.bind(x, box=edge, velocities=v, skin=0.2, policy=PAIRS_BY[traversal])
        found.append(bound.run(jax.random.key(0)))
    assert found[1].counts.list_builds > 2
    for name in ("conserved", "volume"):
        np.testing.assert_allclose(found[0].records[name], found[1].records[name], rtol=1e-9)


@pytest.mark.slow
def test_a_run_with_a_changing_box_can_be_differentiated():
    prog = running("param k = 20.0\n" + SOFT.replace("20", "k"), SCHEMES["mtk"], 10, "record volume", head=NPT)
    x, v, edge = system()
    bound = prog.bind(x, box=edge, velocities=v)
    volume = jax.jit(lambda k: bound.run(jax.random.key(0), params={"k": k}).records["volume"][-1])
    h = 1e-4
    assert np.isclose(jax.grad(volume)(20.0), (volume(20.0 + h) - volume(20.0 - h)) / (2 * h), rtol=1e-6)
    assert np.isclose(volume(20.0), bound.run(jax.random.key(0)).records["volume"][-1], rtol=1e-12)


def test_a_free_axis_has_no_edge():
    prog = running(
        SOFT + "\nbox periodic(4, 4, free)\nintegrator grow(dt) { cell = 1.1*cell }",
        "grow(dt = 1)",
        2,
        "record volume, cell",
    )
    x = fractions(27) * 4
    result = prog.bind(x).run(jax.random.key(0))
    np.testing.assert_allclose(result.box, [4.84, 4.84, 1])
    np.testing.assert_allclose(result.records["cell"][-1], np.diag([4.84, 4.84, 1]))
    np.testing.assert_allclose(result.x[:, 2], x[:, 2])


@pytest.mark.parametrize(
    "flow, id, phrase",
    [
        ("cell = cell·(identity + outer(u, u)) u = (1, 1, 0)", "", ""),
        ("u = (1, 1, 0)  cell = (identity + dt*outer(u, u))·cell", "bad-box", "turn the box"),
        ("cell = transpose(cell)", "bad-box", "turn the box"),
        ("cell = dt*identity", "", ""),
        ("cell = 2", "wrong-type", "`cell =` wants"),
        ("cell = f.x*cell", "wrong-type", "one for all"),
    ],
)
def test_mistakes(flow, id, phrase):
    text = (
        HEAD
        + SOFT
        + f"\nintegrator strange(dt) {{ {flow} }}\nrun {{ x = fcc(density = 0.8, cells = 3)  strange(dt = 0.1) for 1 }}"
    )
    if not id:
        return
    with pytest.raises(mdsl.Rejected) as caught:
        mdsl.compile(text)
    assert any(d.id == id and phrase in d.message for d in caught.value.diagnostics), str(caught.value)


def test_a_box_has_one_master():
    text = NPT + SOFT + f"\nbox periodic(5*(1 + t))\nrun {{ x ~ uniform(atoms = 9)  {SCHEMES['mtk']} for 1 }}"
    with pytest.raises(mdsl.Rejected) as caught:
        mdsl.compile(text)
    assert caught.value.diagnostics[0].id == "bad-box" and "function of time" in str(caught.value)


FOLDER = (
    NPT
    + SOFT
    + """
observe shape = cell.xx
run {
  x = fcc(density = 0.6, cells = 2)
  v ~ maxwell(0.8)
  mtk_anisotropic(dt = 0.005, T = 0.8, P = 2.5, tau = 0.3, tau_P = 0.5) for 60
    record conserved, volume, shape every 10
    write "all.extxyz" every 20
}
"""
)


@pytest.mark.slow
def test_frames_have_their_box_and_a_run_goes_on_with_it(tmp_path):
    path = tmp_path / "npt.mdsl"
    path.write_text(FOLDER)
    options = RunOptions(seed=3, precision="double", quiet=True)
    run_program.run_file(path, replace(options, out=tmp_path / "whole"))
    killed(path, replace(options, out=tmp_path / "parts"), 25)
    run_program.run_file(path, RunOptions(quiet=True, resume=tmp_path / "parts"))
    whole, parts = (
        np.genfromtxt(tmp_path / name / "records.csv", delimiter=",", names=True) for name in ("whole", "parts")
    )
    assert contents(tmp_path / "parts") == contents(tmp_path / "whole")
    assert np.ptp(whole["shape"]) > 0.01
    for frame, step in enumerate((0, 20, 40, 60)):
        found = [read(tmp_path / name / "all.extxyz", frame=frame) for name in ("whole", "parts")]
        assert np.isclose(found[0].cell[0, 0], whole["shape"][step // 10], rtol=1e-8)
        np.testing.assert_allclose(found[0].cell, found[1].cell, rtol=1e-8)


def test_exponentials_of_matrices():
    """Against SciPy, one for all and one for each atom, of any size."""
    text = (
        "param s = 1.0\nobserve E = exp(s*cell)\nobserve P = sum(i) exp(outer(v[i], v[i]) + s*cell)\nobserve D = "
        "diagonal(exp(s*cell))\nenergy U = 0*sum(i) x[i].x"
    )
    prog = running(text, "velocity_verlet(dt = 0.01)", 0, "record E, P, D")
    v = np.random.default_rng(0).normal(0, 1.5, (7, 3))
    cell = np.array([[1.0, 0, 0], [0.4, 2.0, 0], [-0.7, 0.3, 1.5]])
    for s in (1.0, -3.0, 1e-3):
        bound = prog.bind(v, box=cell, velocities=v)
        found = bound.run(jax.random.key(0), params={"s": s}).records
        there = interpret.System(v, cell=cell, v=v, params={"s": s})
        one, each = expm(s * cell), sum(expm(np.outer(a, a) + s * cell) for a in v)
        for name, wanted in {"E": one, "P": each, "D": np.diag(np.diag(one))}.items():
            np.testing.assert_allclose(found[name][-1], wanted, rtol=1e-11, atol=1e-13)
            np.testing.assert_allclose(interpret.observe(prog.model, name, there), wanted, rtol=1e-11, atol=1e-13)


# -- physics -------------------------------------------------------------------------------------------


def invariant(text, cells, density, scheme, steps, dt):
    """Of a system that has come to equilibrium before."""
    schemes = [
        f"{scheme}(dt = {h}, T = {{T}}, P = {{P}}, tau = 0.5, tau_P = 1.0, chain = {{chain}}, order = {{chain}})"
        for h in (0.004, dt)
    ]
    state = {"mtk": {"T": 0.8, "P": 2.0, "chain": 3}, "mtk_anisotropic": {"T": 0.05, "P": 3.0, "chain": 1}}[scheme]
    first, second = (s.format(**state) for s in schemes)
    run = (
        f"run {{ x = fcc(density = {density}, cells = {cells})  v ~ maxwell({state['T']})  {first} for 1_000  "
        f"{second} for {steps} record conserved every 20 }}"
    )
    return mdsl.compile(f"{NPT}{text}\n{run}").bind(seed=2).run(jax.random.key(0)).records["conserved"]


def test_the_invariant_does_not_drift():
    """Less than 1e-6 of itself in a thousand steps."""
    found = invariant(SOFT, 2, 0.58, "mtk", 3000, 0.002)
    assert abs(np.polyfit(20e-3 * np.arange(len(found)), found, 1)[0]) < 1e-6 * found.mean()


@pytest.mark.slow
def test_the_invariant_of_each_edge_is_kept_to_second_order():
    stiff = "energy U = sum(i < j) if r < 1.3 then 60*(1.3 - r)^4 else 0 where r = |x[i] - x[j]|"
    coarse, fine = (invariant(stiff, 2, 0.85, "mtk_anisotropic", 4000, dt) for dt in (0.004, 0.002))
    for found in (coarse, fine):
        assert abs(np.polyfit(20e-3 * np.arange(len(found)), found, 1)[0]) < 1e-6 * found.mean()
    assert 3.4 < np.std(coarse) / np.std(fine) < 5.0


def test_fire_relaxes_the_box_to_the_pressure():
    text = (
        NPT
        + SOFT
        + "\nobserve P = trace(virial)/(3*volume)\nrun { x = fcc(density = 0.7, cells = (2, 2, 3))  fire_box(dt = "
        "0.01, P = 3.0) until |P - 3| < 1e-9 and largest(i) |f[i]| < 1e-9, at most 2_000 record P, virial, volume }"
    )
    result = mdsl.compile(text).bind().run(jax.random.key(0))
    assert np.isclose(result.records["P"][-1], 3.0, rtol=1e-8) and result.step < 2_000
    stress = np.diag(result.records["virial"][-1]) / result.records["volume"][-1]
    np.testing.assert_allclose(stress, 3.0, rtol=1e-7)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mtk", "stochastic_cell_rescaling"])
def test_an_ideal_gas_fluctuates_as_it_must(name):
    """V^N exp(-PV/kT), less one factor V for the centre of mass at rest: mean and variance of a gamma distribution."""
    n, kT, P = 16, 0.8, 0.5
    scheme = (
        SCHEMES[name]
        .replace("P = 4.0", f"P = {P}")
        .replace("compressibility = 0.1", "compressibility = 2")
        .replace("0.01", "0.05")
    )
    text = (
        NPT
        + f"energy U = 0*sum(i < j) if r < 0.1 then 1 else 0 where r = |x[i] - x[j]|\nrun {{ x ~ uniform(atoms = {n}, "
        f"density = 0.6)  v ~ maxwell({kT})  {scheme} for 1_000\n  {scheme} for 60_000 record volume, pressure, "
        f"temperature every 20 }}"
    )
    result = mdsl.compile(text).bind().run(jax.random.key(1))
    volume, pressure = result.records["volume"][50:], result.records["pressure"][50:]
    blocks = volume[: len(volume) // 20 * 20].reshape(20, -1)
    error = blocks.mean(1).std() / np.sqrt(20)
    assert abs(volume.mean() - n * kT / P) < 4 * error + 0.02 * n * kT / P
    assert np.isclose(volume.var(), n * (kT / P) ** 2, rtol=0.2)
    assert np.isclose(pressure.mean(), P, rtol=0.05)


@pytest.mark.slow
def test_the_volume_of_a_fluid_fluctuates_as_its_compressibility_says():
    """The mean pressure is the one asked for, and <δV²> = -kT dV/dP."""
    kT, found = 0.8, {}
    for P in (1.8, 2.2):
        scheme = f"mtk(dt = 0.01, T = {kT}, P = {P}, tau = 0.2, tau_P = 0.5, chain = 2, order = 1)"
        text = (
            NPT
            + SOFT
            + f"\nrun {{ x = fcc(density = 0.55, cells = 2)  v ~ maxwell({kT})  {scheme} for 30_000 record volume, "
            f"pressure every 10 }}"
        )
        records = mdsl.compile(text).bind(seed=1).run(jax.random.key(1)).records
        found[P] = records["volume"][200:]
        assert np.isclose(records["pressure"][200:].mean(), P, rtol=3e-3)
    slope = (found[2.2].mean() - found[1.8].mean()) / 0.4
    assert np.isclose((found[1.8].var() + found[2.2].var()) / 2, -kT * slope, rtol=0.15)
