"""`jax.export`: a file made here runs where mdsl is not, on the platforms it was written for."""

import json
import subprocess
import sys

import jax
import numpy as np
import pytest
from exported import CASES, HEAD, lattice

import mdsl

SPECIES = """species A, B
param s[species, species] = { A-A: 1.0, B-B: 0.88, A-B: 0.80 }
energy U = sum(i < j) force_shifted(lennard_jones(s[i,j], 1.0), 2.5*s[i,j])(|x[i] - x[j]|)
use integrators (velocity_verlet)
run {
  x = read("bound")
  velocity_verlet(dt = 0.002) for 5
}
"""
# Everything in one program, in a process whose path lacks mdsl: only what jax needs is there.
ELSEWHERE = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "mdsl":
            raise ImportError("there is no mdsl here")
sys.meta_path.insert(0, Absent())
import json, pathlib, numpy, jax
from jax import export
jax.config.update("jax_enable_x64", True)
here = pathlib.Path(sys.argv[1])
start = numpy.load(here / "start.npz")
told = json.loads((here / "manifest.json").read_text())
params = {n: start["param:" + n] for n in told["arguments"]["params"]}
read = lambda name: export.deserialize(bytearray((here / name).read_bytes()))
x = start["x"] + 0.01 * numpy.random.default_rng(5).normal(size=start["x"].shape)
found = {w: numpy.asarray(read(r["file"]).call(x, start["box"], params)) for w, r in told["results"].items()}
assert all(list(found[w].shape) == r["shape"] for w, r in told["results"].items())
for name in told["steps"]:
    key = numpy.asarray(jax.random.key_data(jax.random.key(7)))
    found[name + ":x"], found[name + ":v"] = read(name).call(x, start["v"], params, key)
assert not any(m.split(".")[0] == "mdsl" for m in sys.modules)
numpy.savez(here / "found.npz", x=x, **found)
"""


def system(**more):
    rng = np.random.default_rng(2)
    program = mdsl.compile(HEAD + SPECIES)
    x, v = lattice(), rng.normal(size=(64, 3))
    return program.bind(x, box=7.6, species=np.arange(64) % 2, velocities=v, **more)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("export") / "out"
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("MDSL_KERNELS", "native")  # which must not get into the files
        system().energy()
        found = system().export("stablehlo", folder, states=1)
    subprocess.run([sys.executable, "-c", ELSEWHERE, folder], check=True, timeout=300)
    return found


def test_it_is_certified(made):
    assert made.certificate.holds and made.certificate.by == "the interpreter" and made.certificate.worst < 1e-11


def test_it_runs_without_mdsl(made):
    with np.load(made.folder / "found.npz") as found:
        bound = system()
        x = found["x"]
        assert np.allclose(found["energy"], bound.energy(x), rtol=1e-13)
        assert np.allclose(found["forces"], bound.forces(x), rtol=0, atol=1e-11)
        assert np.allclose(found["virial"], bound.virial(x), rtol=0, atol=1e-10)


def test_a_step_is_that_of_a_run(made):
    with np.load(made.folder / "found.npz") as found:
        alone = mdsl.compile(HEAD + SPECIES).bind(found["x"], box=7.6, species=np.arange(64) % 2, velocities=system().v)
        final = alone.run(jax.random.key(0), steps=1)
        apart = found["step-1.stablehlo:x"] - np.asarray(final.x)
        assert np.abs(apart - 7.6 * np.round(apart / 7.6)).max() < 1e-12
        assert np.abs(found["step-1.stablehlo:v"] - np.asarray(final.v)).max() < 1e-11


def test_it_is_lowered_for_all_platforms_without_native_kernels(made):
    from jax import export

    assert "XLA" in json.loads((made.folder / "manifest.json").read_text())["kernels"]
    for name in ("energy", "forces", "virial", "step-1"):
        read = export.deserialize(bytearray((made.folder / f"{name}.stablehlo").read_bytes()))
        assert read.platforms == ("cpu", "cuda", "tpu")
        assert "mdsl_" not in read.mlir_module()  # as the targets of calls of its own begin


def test_the_manifest_says_units(tmp_path):
    text = "use units.real\nparam k = 2 [kcal/mol]\nenergy U = sum(i < j) if r < a then k*(1 - r/a)^2 else 0 [kcal/mol] where "
    text += "r = |x[i] - x[j]|, a = 3 [angstrom]"
    bound = mdsl.compile(text).bind(lattice(), box=7.6, masses=np.full(64, 40.0))
    made = bound.export("stablehlo", tmp_path / "out", states=0)
    told = json.loads((made.folder / "manifest.json").read_text())
    assert told["arguments"]["x"] == {"shape": [64, 3], "dtype": "float64", "unit": "angstrom"}
    assert told["arguments"]["params"]["k"]["unit"] == "kcal/mol"
    assert told["results"]["forces"] == {"file": "forces.stablehlo", "shape": [64, 3], "unit": "kcal/mol/angstrom"}
    assert made.certificate.holds


@pytest.mark.slow
def test_with_a_neighbour_list(tmp_path):
    """The list is built within the call; where it is too small for the positions, the result is NaN, and not wrong."""
    from jax import export

    head = HEAD + "use integrators (baoab, nose_hoover)\n"
    run = 'run { x = read("bound") baoab(dt = 0.002, T = 1.0, gamma = 1.0) for 5\n nose_hoover(dt = 0.002, T = 1, tau = 1) for 5 }'
    program = mdsl.compile(f"{head}{CASES['shifted'].text}\n{run}")
    bound = program.bind(lattice(side=10, edge=16.0), box=16.0)
    made = bound.export("stablehlo", tmp_path / "out", states=1)
    assert made.certificate.holds and any("neighbour list" in note for note in made.notes)
    assert any("`nose_hoover`" in note and "memory" in note for note in made.notes)
    step = export.deserialize(bytearray((made.folder / "step-1.stablehlo").read_bytes()))
    at = [step.call(bound.x, 0 * bound.x, {}, np.asarray(jax.random.key_data(jax.random.key(k)))) for k in (0, 0, 1)]
    assert np.array_equal(at[0][1], at[1][1])  # the same key, the same noise
    assert np.std(at[0][1] - at[2][1]) == pytest.approx(np.sqrt(2 * (1 - np.exp(-2 * 0.002))), rel=0.1)
    energy = export.deserialize(bytearray((made.folder / "energy.stablehlo").read_bytes()))
    assert np.isnan(energy.call(bound.x / 8, np.diag(bound.box), {}))  # all atoms within one corner
