"""What `explain` and `dump --after kernel` say of the kernels of sums: it is what runs compile, and says the same each
time."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from compiled import PAIRS_BY, program
from varied import cases

from mdsl.command import cli
from mdsl.compiler import compile_source
from mdsl.grammar.source import Source
from mdsl.lowering.native import call as native
from mdsl.lowering.native import compile as llvm
from mdsl.lowering.planning.kernels import UNKNOWN, Vectors
from mdsl.lowering.planning.loops import MAYBE, NATIVE, XLA, computed_by, pair_loops
from mdsl.report.explain import explain
from mdsl.resolve.sources import read_program

ROOT = Path(__file__).parents[2]
MELT, COPPER = (str(ROOT / "examples" / f"{name}.mdsl") for name in ("lj_melt", "copper_gupta"))
FEW = ("a density", "ranges of ranges")
VARIED = [n if n in FEW else pytest.param(n, marks=pytest.mark.slow) for n in cases()]


def told(path, vectors):
    """The lines under `kernels`."""
    text = explain(compile_source(*read_program(path)), vectors=vectors)
    return text.partition("\nkernels\n")[2].partition("\n\n")[0].splitlines()


def dumped(capsys, *words):
    assert cli.main(["dump", *words, "--after", "kernel"]) == 0
    return capsys.readouterr().out


# -- what is summed together -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", VARIED)
def test_loops_are_those_of_a_force(name):
    """As they are known without JAX, and as they are traced; and whether a kernel can be printed."""
    from mdsl.lowering.run.loops import loops

    case = cases()[name]
    made, system = program(case.text, case.head), case.system
    box = np.array(system.cell, float)
    box[np.diag_indices(len(box))] = np.where(system.periodic, np.diag(box), np.inf)
    box = box if np.tril(box, -1).any() else np.diag(box)
    policy = PAIRS_BY["list" if case.cut else "all pairs"]
    bound = made.bind(system.x, box=box, species=system.species if made.model.species else None, policy=policy)
    params = {**made.internal(None), **bound.initial.data}
    field = made.compiled.field
    expected = pair_loops(field)
    found = loops(field, bound.initial, params, "double", 64, policy)
    for loop, traced in zip(expected, found):  # those of energies and records come after
        assert traced.kernel.outputs == {loop.gives} - {"values"}
        summed = (*traced.kernel.terms, *traced.kernel.values)
        assert [p.equation for p in summed] == [p.equation for p in loop.of]
        assert bool(traced.text) == (computed_by(field, loop)[0] == NATIVE), (traced.why, computed_by(field, loop))
    assert len(found) >= len(expected)


def test_functions_of_python_and_networks():
    """Of these it is not known before they are traced, or it is known that there are no kernels."""
    text = (
        "dim 2\nextern well(r)\nlearned net = mlp(1, 2, 1)\ndef near(r) = if r < 1.9 then (1.9 - r)^3 else 0\n"
        "energy U = sum(i < j) {}(|x[i] - x[j]|)*near(|x[i] - x[j]|)"
    )
    for function, kernel, why in (("well", MAYBE, "function of Python (line 4)"), ("net", XLA, "matrices (line 4)")):
        field = compile_source(Source("p.mdsl", "use units.lj\n" + text.format(function)), ROOT).field
        [loop] = pair_loops(field)
        found = computed_by(field, loop)
        assert found[0] == kernel and why.replace("4", "6") in found[1], found


# -- explain ---------------------------------------------------------------------------------------------


def test_the_kernels_of_this_processor():
    assert told(MELT, Vectors(64))[0].endswith("here for 16 rows at once in single and mixed precision, 8 in double")
    assert told(MELT, Vectors(16))[0].endswith("here for 4 rows at once in single and mixed precision, 2 in double")
    for vectors in (Vectors(64), UNKNOWN):
        assert told(MELT, vectors)[-1] == "  lj   forces, each row goes through its slots of the list: native"
    assert (
        told(MELT, Vectors(why="llvmlite is not installed"))[0]
        == "  CPU  all sums are XLA's: llvmlite is not installed"
    )
    assert told(MELT, Vectors(why="MDSL_KERNELS says so"))[-1].endswith(": XLA's")


def test_why_sums_are_not_native():
    network = told(str(ROOT / "examples" / "behler_parrinello.mdsl"), Vectors(32))
    assert sum("XLA's, for `G` has several numbers of each atom (line 14)" in line for line in network) == 2
    bonds = told(str(ROOT / "examples" / "polymer.mdsl"), Vectors(32))
    assert "  bond   the members of `bonds`: XLA's" in bonds


SEEDED = """
import sys
sys.path[:0] = sys.argv[1].split(":")
from pathlib import Path
from varied import cases
from mdsl.compiler import compile_source
from mdsl.grammar.source import Source
from mdsl.report.dump import STAGES, dump
from mdsl.report.explain import explain
for name in sys.argv[2:] or cases():
    compiled = compile_source(Source("p.mdsl", cases()[name].head + cases()[name].text), Path("."))
    print(explain(compiled), *(dump(compiled, stage) for stage in STAGES))
"""


@pytest.mark.parametrize(
    "names", (["ranges of ranges"], pytest.param([], marks=pytest.mark.slow)), ids=("networks", "all")
)
def test_the_same_in_every_process(names):
    """Whatever Python hashes strings by."""
    path = os.pathsep.join(p for p in sys.path if "support" in p or p == str(ROOT))
    found = [
        subprocess.run(
            [sys.executable, "-c", SEEDED, path, *names],
            env=os.environ | {"PYTHONHASHSEED": seed, "MDSL_KERNELS": "xla"},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("0", "1")
    ]
    assert len(found[0]) > 1000 and found[0] == found[1]


# -- dump --after kernel ---------------------------------------------------------------------------------


def test_without_llvm(capsys, monkeypatch):
    """For vectors of a width that is said; and for each precision."""
    monkeypatch.setattr(llvm, "vectors", lambda: Vectors(why="llvmlite is not installed"))
    text = dumped(capsys, MELT)
    assert "; for vectors of 64 bytes: llvmlite is not installed" in text and "; 8 rows at once" in text
    assert "; line 11: energy lj = sum(i < j) u(|x[i] - x[j]|)" in text and "summand   if r^2 <" in text
    assert text == dumped(capsys, MELT)
    assert "; 16 rows at once" in dumped(capsys, MELT, "--precision", "mixed")


def test_llvm_takes_what_is_dumped(capsys):
    binding = pytest.importorskip("llvmlite.binding")
    for module in dumped(capsys, COPPER).split("\n\n; ---")[1:]:
        binding.parse_assembly(module.partition("\n")[2]).verify()


def test_it_is_what_a_run_compiles(capsys, monkeypatch):
    pytest.importorskip("llvmlite")
    import jax

    monkeypatch.setenv("MDSL_KERNELS", "native")
    assert native.chosen()
    compiled, texts, target = set(), dumped(capsys, COPPER), native.target

    def noted(text):
        compiled.add(text.replace("%NAME%", "pairs").strip())
        return target(text)

    monkeypatch.setattr(native, "target", noted)
    jax.clear_caches()
    system = program(Path(COPPER).read_text(), head="").bind(precision="double")
    system.run(jax.random.key(0), steps=1)
    modules = [m.rpartition("rows at once\n")[2].partition("\n")[2].strip() for m in texts.split("\n\n; ---")[1:]]
    assert len(modules) >= 2 and set(modules[:2]) <= compiled  # values of atoms, then forces


@pytest.mark.parametrize(
    "words, said",
    [
        (["--precision", "mixed"], "`--precision` is that of a kernel"),
        (["--after", "field", "--precision", "mixed"], "`--precision` is that of a kernel"),
        (["--after", "kernels"], "did you mean `kernel`?"),
    ],
)
def test_wrong_options(words, said, capsys):
    assert cli.main(["dump", MELT, *words]) == 2 and said in capsys.readouterr().err


def test_no_atoms_and_no_pairs(tmp_path, capsys):
    file = tmp_path / "p.mdsl"
    file.write_text("use units.lj\nenergy U = sum(i < j) 1/|x[i] - x[j]|\n")
    assert cli.main(["dump", str(file), "--after", "kernel"]) == 2
    assert "no run block" in capsys.readouterr().err
    file.write_text(
        "use units.lj\nbox free\nenergy U = sum(i) |x[i] - origin|^2\nrun { x ~ uniform(atoms = 3, density = 1) }\n"
    )
    text = file.read_text().replace("box free\n", "")
    file.write_text(text)
    assert "no sums over pairs" in dumped(capsys, str(file))
