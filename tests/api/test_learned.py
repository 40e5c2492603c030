"""Learned functions, functions of Python, and fits: derivatives against differences, files, the command line."""

import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compiled import PAIRS_BY, killed, program
from interpreted import jumbled
from reference import PROGRAMS

import mdsl
from mdsl.api.given import joined
from mdsl.command import cli
from mdsl.command.options import RunOptions
from mdsl.interpret import meaning as interpret

NET = """dim 2
use descriptors (g2, cosine_cutoff)
const shift[k in 1..6] = 0.25*k
learned net = mlp(6, 8, 1)
quantity G[i, k] = sum(j != i) g2(4.0, shift[k], 1.9)(|x[i] - x[j]|)
energy U = sum(i) net(G[i])
"""
BUBBLES = "use units.lj\ndim 2\nenergy U = sum(i < j) if r < 1 then (1 - r)^2 else 0 where r = |x[i] - x[j]|\n"
RUN = (
    "run {\n  x ~ uniform(atoms = 12, density = 0.5)\n  brownian(dt = 0.01, T = 0.1, gamma = 1.0) for 40\n   "
    " record "
    "U every 10\n}\n"
)
L = 4.0


def states(count, atoms=9, seed=0):
    """Positions at random, and some distance from each other, as a grid that is shaken."""
    rng = np.random.default_rng(seed)
    grid = np.stack(np.meshgrid(*[np.arange(3)] * 2), -1).reshape(-1, 2)[:atoms] * L / 3
    return (grid + rng.uniform(-0.45, 0.45, (count, atoms, 2))) % L


# -- derivatives -----------------------------------------------------------------------------------------


def test_the_loss_of_forces_is_differentiable_by_weights():
    x, compiled = states(2), program(NET)
    system = compiled.bind(x[0], box=L)

    @jax.jit
    def loss(params):
        return sum(jnp.mean(system.forces(s, params=params) ** 2) for s in x)

    slopes, h = jax.jit(jax.grad(loss))(compiled.params), 1e-5
    for name, entry in (("weights_1", (2, 3)), ("biases_1", (4,)), ("weights_2", (5, 0))):

        def moved(d, name=name, entry=entry):
            net = compiled.params["net"]
            return loss({"net": {**net, name: net[name].at[entry].add(d)}})

        assert (moved(h) - moved(-h)) / (2 * h) == pytest.approx(float(slopes["net"][name][entry]), rel=1e-6, abs=1e-10)


def test_weights_are_drawn_by_the_seed_and_ensembles_are_batches():
    x, compiled = states(1)[0], program(NET)
    system = compiled.bind(x, box=L)
    members = [compiled.initial_params(seed) for seed in (0, 1, 2)]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *members)
    together = jax.vmap(lambda p: system.energy(params=p))(stacked)
    np.testing.assert_allclose(together, [float(system.energy(params=p)) for p in members], rtol=1e-12)
    assert (
        float(together[0]) == pytest.approx(float(system.energy()))
        and len(set(np.round(np.asarray(together), 9).tolist())) == 3
    )
    first = np.asarray(program(NET.replace("8, 1", "400, 1")).params["net"]["weights_1"])
    assert first.std() == pytest.approx(1 / np.sqrt(6), rel=0.05)


def test_a_learned_energy_is_conserved():
    text = (
        NET
        + 'run {\n  x = read("bound in Python")\n  v ~ maxwell(0.2)\n  velocity_verlet(dt = 0.005) for 100 record E '
        "every 10\n}\nobserve E = potential + kinetic"
    )
    v = np.random.default_rng(1).normal(size=(9, 2))
    system = program(text).bind(states(1)[0], box=L, velocities=v, policy=PAIRS_BY["list"])
    result = system.run(jax.random.key(0))
    assert np.ptp(result.records["E"]) < 2e-4


# -- functions of Python ---------------------------------------------------------------------------------

EXTERN = """dim 2
use pair (switched)
use descriptors (g2)
extern u(r)
extern w(a, G)
const shift[k in 1..3] = 0.4*k
quantity G[i, k] = sum(j != i) g2(4.0, shift[k], 1.9)(|x[i] - x[j]|)
energy P = sum(i < j) switched(u, 1.2, 1.9)(|x[i] - x[j]|)
energy W = sum(i) w(G[i, 2], G[i])
observe slope = D(u)(1.3)
"""


def test_functions_of_python_mean_what_they_compute():
    functions = {
        "u": lambda r: jnp.exp(-r) * jnp.sin(3 * r),
        "w": lambda a, g: jnp.tanh(a) * jnp.sum(g**2) + g[0] * g[2],
    }
    compiled, s = mdsl.compile("use units.lj\n" + EXTERN, externs=functions), jumbled(6, 2)
    system = compiled.bind(s.x, box=np.diag(s.cell))
    assert float(system.energy()) == pytest.approx(interpret.energy(compiled.model, s), rel=1e-9)
    np.testing.assert_allclose(system.forces(), interpret.forces(compiled.model, s), rtol=1e-7, atol=1e-8)
    assert interpret.observe(compiled.model, "slope", s) == pytest.approx(
        float(jax.grad(functions["u"])(1.3)), rel=1e-8
    )
    again = jax.grad(lambda x: jnp.sum(system.forces(x)[:, 0] ** 2))(s.x)
    assert np.isfinite(again).all() and np.abs(again).max() > 0


def test_modules_of_flax_and_equinox():
    flax, equinox = pytest.importorskip("flax.linen"), pytest.importorskip("equinox")
    dense = flax.Dense(1)
    weights = dense.init(jax.random.key(0), jnp.zeros(3))
    perceptron = equinox.nn.MLP(3, "scalar", 5, 1, key=jax.random.key(1))
    x = states(1)[0]
    energies = []
    for w in (lambda a, g: dense.apply(weights, g)[0], lambda a, g: perceptron(g)):
        system = mdsl.compile("use units.lj\n" + EXTERN, externs={"u": lambda r: r, "w": w}).bind(x, box=L)
        energies.append(float(system.energy()))
        h, step = 1e-5, np.eye(18)[3].reshape(9, 2)
        change = float(system.energy(x + h * step) - system.energy(x - h * step)) / (2 * h)
        assert float(system.forces()[1, 1]) == pytest.approx(-change, abs=1e-6)
    assert energies[0] != energies[1]


def test_a_program_runs_no_python_unless_it_may(tmp_path, capsys, monkeypatch):
    text = (
        "use units.lj\nuse integrators (velocity_verlet)\ndim 2\nextern u(r)\nenergy U = sum(i < j) u(|x[i] - x[j]|)\n"
    )
    text += "run {\n  x ~ uniform(atoms = 4, density = 0.5)\n  velocity_verlet(dt = 0.001) for 2 record U every 2\n}\n"
    (tmp_path / "p.mdsl").write_text(text)
    (tmp_path / "springs.py").write_text("def spring(r):\n    return 0.5*r**2\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    assert cli.main(["check", "p.mdsl"]) == 0 and cli.main(["explain", "p.mdsl"]) == 0
    assert "a program runs no Python unless it is told to" in capsys.readouterr().out
    assert cli.main(["run", "p.mdsl", "--quiet", "--out", "a"]) == 2
    said = capsys.readouterr().err
    assert "missing-extern" in said and "--allow-extern u=MODULE:FUNCTION" in said
    assert (
        cli.main(["run", "p.mdsl", "--quiet", "--out", "a", "--allow-extern", "u=springs:spring", "--seed", "3"]) == 0
    )
    assert (tmp_path / "a" / "records.csv").exists()
    for wrong in ("u=springs", "u=springs:no-name"):
        assert cli.main(["run", "p.mdsl", "--quiet", "--out", "b", "--allow-extern", wrong]) == 2
        assert "bad-option" in capsys.readouterr().err
    assert cli.main(["run", "p.mdsl", "--quiet", "--out", "b", "--allow-extern", "u=springs:sprung"]) == 2
    assert "missing-extern" in capsys.readouterr().err


# -- files -----------------------------------------------------------------------------------------------


def test_parameters_survive_a_file(tmp_path):
    compiled = program(NET + "param k = 2.0\nenergy V = k*sum(i) net(G[i])")
    path = tmp_path / "weights.safetensors"
    params = compiled.initial_params(5) | {"k": 3.0}
    mdsl.save_params(path, params)
    found = mdsl.load_params(path)
    assert found.keys() == params.keys() and float(found["k"]) == 3.0
    np.testing.assert_array_equal(
        joined(compiled.model.param("net").learned, found["net"]),
        joined(compiled.model.param("net").learned, params["net"]),
    )
    with pytest.raises(mdsl.Rejected, match="missing-file"):
        mdsl.load_params(tmp_path / "none.safetensors")
    (tmp_path / "bad.safetensors").write_text("no weights")
    with pytest.raises(mdsl.Rejected, match="malformed-file"):
        mdsl.load_params(tmp_path / "bad.safetensors")


def test_a_run_with_weights_from_a_file(tmp_path, capsys):
    text = "use units.lj\nuse integrators (brownian)\n" + NET + RUN
    path, weights = tmp_path / "p.mdsl", tmp_path / "w.safetensors"
    path.write_text(text)
    compiled = mdsl.compile(text)
    params = jax.tree.map(lambda a: 0.3 * a, compiled.initial_params(7))
    mdsl.save_params(weights, params)

    def run(out, *more):
        status = cli.main(["run", str(path), "--quiet", "--seed", "4", "--out", str(tmp_path / out), *more])
        return status, (tmp_path / out / "records.csv").read_text() if status == 0 else None

    given, default = run("given", "--params", str(weights))[1], run("default")[1]
    assert given != default
    mine = compiled.bind(seed=4).energy(params=params)
    assert float(given.splitlines()[1].split(",")[-1]) == pytest.approx(float(mine), rel=1e-6)
    kept = mdsl.load_params(tmp_path / "default" / "parameters.safetensors")
    np.testing.assert_allclose(kept["net"]["weights_1"], compiled.initial_params(4)["net"]["weights_1"])
    # A file that does not fit.
    mdsl.save_params(weights, {"net": {"weights_1": np.ones((2, 1)), "biases_1": np.ones(1)}})
    assert run("wrong", "--params", str(weights))[0] == 2 and "wrong-shape" in capsys.readouterr().err
    mdsl.save_params(weights, {"nett": 1.0})
    assert run("wrong", "--params", str(weights))[0] == 2 and "unknown-parameter" in capsys.readouterr().err
    assert cli.main(["run", str(path), "--quiet", "--set", "net=1", "--out", str(tmp_path / "wrong")]) == 2
    assert "--params" in capsys.readouterr().err


def test_a_resumed_run_has_its_weights(tmp_path):
    text = "use units.lj\nuse integrators (brownian)\n" + NET + RUN.replace("for 40", "for 60")
    path, weights = tmp_path / "p.mdsl", tmp_path / "w.safetensors"
    path.write_text(text)
    mdsl.save_params(weights, mdsl.compile(text).initial_params(7))
    options = {"seed": 4, "quiet": True}
    cli.main(["run", str(path), "--quiet", "--seed", "4", "--params", str(weights), "--out", str(tmp_path / "whole")])
    killed(path, RunOptions(**options, params=weights, out=tmp_path / "cut"))
    assert cli.main(["run", str(path), "--quiet", "--resume", str(tmp_path / "cut")]) == 0
    whole, cut = (np.loadtxt(tmp_path / name / "records.csv", delimiter=",", skiprows=1) for name in ("whole", "cut"))
    np.testing.assert_allclose(cut, whole, rtol=1e-12)


# -- fits ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def bubbles():
    x = states(160)
    system = mdsl.compile(BUBBLES).bind(x[0], box=L)
    return x, np.asarray(jax.vmap(system.energy)(x)), np.asarray(jax.vmap(system.forces)(x))


def test_a_fit_learns(bubbles):
    """Energies of states that it has not seen, and forces."""
    x, energies, forces = bubbles
    system = program(NET).bind(x[0], box=L)
    found = mdsl.fit(system, x, energies, forces, learning_rate=1e-2, epochs=60, progress=False)
    assert len(found.held_out) == 32 and len(found.training) == 60
    assert found.validation[found.best] == found.validation.min() < 0.2 * found.validation[0]
    predicted = np.asarray(jax.vmap(lambda s: system.forces(s, params=found.params))(x[found.held_out]))
    cosine = np.sum(predicted * forces[found.held_out], (1, 2)) / np.sqrt(
        np.sum(predicted**2, (1, 2)) * np.sum(forces[found.held_out] ** 2, (1, 2))
    )
    assert np.median(cosine) > 0.9 and cosine.mean() > 0.8


def test_a_fit_finds_parameters(bubbles):
    """Without a network all free parameters are fitted, here by another optimiser, until it no longer helps."""
    optax = pytest.importorskip("optax")
    x, energies, _ = bubbles
    system = mdsl.compile(
        "use units.lj\ndim 2\nparam D = 0.9\nparam k = 0.5\nparam idle = 1.0\nenergy U = k*sum(i < j) if r < D then (1 "
        "- r/D)^2 else 0 where r = |x[i] - x[j]|"
    ).bind(x[0], box=L)
    found = mdsl.fit(
        system, x, energies, names=("D", "k"), optimiser=optax.adam(0.02), epochs=150, patience=30, progress=False
    )
    assert float(found.params["D"]) == pytest.approx(1.0, abs=1e-3) and float(found.params["k"]) == pytest.approx(
        1.0, abs=1e-2
    )
    assert float(found.params["idle"]) == 1.0


@pytest.mark.parametrize(
    "arguments, id",
    [
        ({}, "wrong-arguments"),
        ({"energies": np.ones(3)}, "wrong-shape"),
        ({"energies": np.full(160, np.nan)}, "not-finite"),
        ({"energies": np.ones(160), "names": ["nett"]}, "unknown-parameter"),
        ({"energies": np.ones(160), "boxes": [1.0]}, "wrong-shape"),
    ],
)
def test_what_is_wrong_with_a_fit_is_said(bubbles, arguments, id):
    with pytest.raises(mdsl.Rejected) as caught:
        mdsl.fit(program(NET).bind(bubbles[0][0], box=L), bubbles[0], **arguments, progress=False)
    assert [d.id for d in caught.value.diagnostics] == [id]


# -- the north star --------------------------------------------------------------------------------------


@pytest.mark.skipif(not PROGRAMS.exists(), reason="needs the programs of the design")
def test_behler_and_parrinello_as_written():
    compiled = mdsl.load(PROGRAMS / "behler_parrinello.mdsl")
    assert "a network of layers 16 - 30 - 30 - 1" in compiled.explain()
    x = states(1)[0] * 1.5
    system = compiled.bind(x, box=6.0)
    energy, forces = system.energy(), np.asarray(system.forces())
    r = x[:, None] - x[None]
    r = np.linalg.norm(r - 6.0 * np.round(r / 6.0), axis=-1)
    np.fill_diagonal(r, 9.0)
    g = [
        (np.exp(-4.0 * (r - 0.1 * k) ** 2) * np.where(r < 2.0, (1 + np.cos(np.pi * r / 2.0)) / 2, 0)).sum(1)
        for k in range(1, 17)
    ]
    net, h = compiled.params["net"], np.stack(g, axis=1)
    for k in (1, 2):
        h = np.tanh(h @ np.asarray(net[f"weights_{k}"]) + np.asarray(net[f"biases_{k}"]))
    assert float(energy) == pytest.approx(
        float((h @ np.asarray(net["weights_3"]) + np.asarray(net["biases_3"])).sum()), rel=1e-10
    )
    step = np.eye(18)[5].reshape(9, 2)
    change = float(system.energy(x + 1e-5 * step) - system.energy(x - 1e-5 * step)) / 2e-5
    assert forces[2, 1] == pytest.approx(-change, rel=1e-6, abs=1e-9)
