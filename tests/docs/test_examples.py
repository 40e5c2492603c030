"""Every example runs, in a short form."""

import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mdsl.files.reading import read

EXAMPLES = Path(__file__).parents[2] / "examples"
PROGRAMS = sorted(path.name for path in EXAMPLES.glob("*.mdsl"))


def command(*words: str, folder: Path) -> str:
    environment = {**os.environ, "NO_COLOR": "1"}
    done = subprocess.run(
        [sys.executable, *words], cwd=folder, env=environment, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


LATER = {"fit_structure.mdsl"}
QUICK = {"lj_melt.mdsl", "bubble_raft.mdsl", "polymer.mdsl"}


@pytest.mark.parametrize("name", [n if n in QUICK else pytest.param(n, marks=pytest.mark.slow) for n in PROGRAMS])
def test_program(name, tmp_path):
    """From another folder, as a user would."""
    command(
        "-m",
        "mdsl.command.cli",
        "run",
        str(EXAMPLES / name),
        "--steps",
        "5",
        "--out",
        "run",
        "--seed",
        "7",
        folder=tmp_path,
    )
    run = json.loads((tmp_path / "run" / "run.json").read_text())
    assert run["status"] == "finished"
    lines = (tmp_path / "run" / "records.csv").read_text().splitlines()
    rows = np.array([[float(field or "nan") for field in line.split(",")] for line in lines[1:]])
    if name in LATER:  # what a later statement records every so often has no row within so few steps
        assert rows.size == 0
        return
    # What is recorded every so often is so from the beginning; else there is one row, at the end.
    assert rows[0, 0] == (0 if " every " in (EXAMPLES / name).read_text() else 5) and np.isfinite(rows[0, :3]).all()
    final = read(tmp_path / "run" / "final.extxyz", dim=2 if "dim 2" in (EXAMPLES / name).read_text() else 3)
    assert final.atoms == run["atoms"]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ensembles", "learned_potential", "optimisation_through_dynamics", "fit_structure"])
def test_script(name, tmp_path):
    """In its short form, without a figure where matplotlib is not installed."""
    figure = ["--figure", "figure.png"] if importlib.util.find_spec("matplotlib") else ["--no-figure"]
    text = command(str(EXAMPLES / f"{name}.py"), "--quick", *figure, folder=tmp_path)
    assert (tmp_path / "figure.png").exists() == (figure[0] == "--figure")
    if name == "optimisation_through_dynamics":
        # The derivative through the minimisation is 0 where the energy is largest, near D = 0.8.
        assert float(re.search(r"is 0 at D = ([\d.]+)", text)[1]) == pytest.approx(0.8, abs=0.05)
        quotients = np.array(
            [[float(n) for n in row] for row in re.findall(r"difference +(\S+) ± (\S+)  derivative +(\S+)", text)]
        )
        assert len(quotients) == 3 and (quotients[0, 0] > 0) and (quotients[-1, 0] < 0) and (quotients[-1, 2] < 0)
    if name == "learned_potential":
        # 160 states do not teach much, but better than the mean; whatever was learned is conserved.
        assert float(re.search(r"correlation ([\d.]+)", text)[1]) > 0.7
        assert float(re.search(r"states: mean ([\d.]+)", text)[1]) > 0.8
        spread, conserved = (float(n) for n in re.search(r"U spreads by (\S+), U \+ K by (\S+)", text).groups())
        assert 0 < conserved < 0.01 * spread
    if name == "fit_structure":
        found = {n: (float(a), float(b)) for n, a, b in re.findall(r"(sigma|epsilon) +(\S+) ± (\S+),", text)}
        assert abs(found["sigma"][0] - 1) < 0.02 and found["sigma"][1] < 0.02 and abs(found["epsilon"][0] - 1) < 0.2


@pytest.mark.slow
def test_a_graph_network_learns_and_runs(tmp_path):
    """A dozen states teach it the better part of the forces; whatever it has learned is conserved."""
    text = command(str(EXAMPLES / "message_passing.py"), "--quick", folder=tmp_path)
    assert float(re.search(r"error ([\d.]+) of their size", text)[1]) < 0.3
    spread, conserved = (float(n) for n in re.search(r"spreads by (\S+) eV, E \+ K by (\S+) eV", text).groups())
    assert 0 < conserved < 0.01 * spread


@pytest.mark.slow
def test_the_derivative_through_a_minimisation():
    """Of each packing it is the finite difference, and that of the minimum at fixed fractions of the box."""
    import jax

    import mdsl

    system = mdsl.compile((EXAMPLES / "jamming.mdsl").read_text().replace("atoms = 128", "atoms = 24")).bind()
    xs = jax.random.uniform(jax.random.key(3), (4, *system.x.shape)) * system.box

    def minimised(D, x):
        result = system.run(jax.random.key(0), x=x, params={"D": D})
        return result.records["U"][-1], (result.x, result.box)

    @jax.jit
    def ensemble(D):
        return jax.vmap(lambda x: jax.jvp(lambda D: minimised(D, x), (D,), (1.0,), has_aux=True))(xs)

    D, h = 0.7, 1e-6
    (up, _, _), (_, slope, (x, box)), (down, _, _) = (ensemble(D + k * h) for k in (1, 0, -1))
    assert np.allclose(slope, (up - down) / (2 * h), rtol=1e-4, atol=1e-5)

    def at_rest(D, x, box):
        stretched = box * jax.numpy.sqrt((D**2 + 1) / (0.7**2 + 1))
        return system.energy(x / box * stretched, params={"D": D})

    assert np.allclose(slope, jax.vmap(jax.grad(at_rest), (None, 0, 0))(D, x, box), rtol=1e-6, atol=1e-7)


@pytest.mark.slow
def test_python_tour(tmp_path):
    text = command(str(EXAMPLES / "python_tour.py"), folder=tmp_path)
    assert text.rstrip().endswith("the same energy")
    words = {line[:15].strip(): line[15:].split()[0].rstrip(",") for line in text.splitlines()}
    assert float(words["energy"]) == float(words["from SymPy"])


def test_the_argon_of_the_example():
    """argon.extxyz is liquid argon at the density that make_argon.py gives it."""
    make = imported("make_argon")
    structure = read(EXAMPLES / "argon.extxyz")
    assert structure.atoms == 864
    volume = float(np.prod(structure.lengths))
    assert 864 * make.MASS / 0.602214076 / volume == pytest.approx(make.DENSITY, rel=1e-5)
    # Molten: the structure factor at the first Bragg peak of the crystal is far below one per atom.
    wave = 2 * np.pi / make.EDGE * np.array([1, 1, 1])
    assert abs(np.exp(1j * structure.positions @ wave).mean()) < 0.2


def test_make_argon_compiles():
    import mdsl

    program = mdsl.compile(imported("make_argon").PROGRAM)
    assert len(program.bind().x) == 864


def imported(name: str):
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_script_tells_what_it_needs(tmp_path):
    """Where optax is not installed, learned_potential.py ends with one line that says how to get it."""
    script = EXAMPLES / "learned_potential.py"
    code = (
        f"import runpy, sys; sys.modules['optax'] = None; sys.path.insert(0, {str(EXAMPLES)!r}); "
        f"runpy.run_path({str(script)!r}, run_name='__main__')"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1 and done.stderr.splitlines() == [
        "this script fits a network with optax: pip install 'mdsl[learn]'"
    ]
