"""What importing mdsl does not do, and the releases of JAX on which it refuses to run."""

import ast
import importlib.metadata
import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import mdsl
from mdsl.lowering import jax_version

ROOT = Path(__file__).parents[2]
PROGRAM = "use units.lj energy U = sum(i < j) 1/|x[i] - x[j]|"


def fresh(code: str, *options: str):
    """What a new interpreter prints, from JSON."""
    done = subprocess.run(
        [sys.executable, *options, "-c", f"import json\n{code}"], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_importing_is_light():
    code = "import sys, mdsl; print(json.dumps(sorted({m.partition('.')[0] for m in sys.modules})))"
    imported = set(fresh(code))
    assert not imported & {"jax", "jaxlib", "sympy", "numpy", "lark", "rich", "ase", "mdtraj"}


def test_compiling_needs_no_jax():
    code = f"import sys, mdsl; mdsl.compile({PROGRAM!r}).explain(); print(json.dumps('jax' in sys.modules))"
    assert fresh(code) is False


def test_no_setting_of_jax_changes():
    code = (
        "import jax\nbefore = dict(jax.config.values)\n"
        f"import mdsl, mdsl.api.program\nmdsl.compile({PROGRAM!r}).bind([[0., 0, 0], [1, 0, 0]], box=9.0).energy()\n"
        "after = dict(jax.config.values)\n"
        "print(json.dumps([k for k in after if after[k] is not before.get(k, after[k]) and after[k] != before.get(k)]))"
    )
    assert fresh(code) == []


def test_no_environment_variable_changes():
    code = (
        f"import os\nbefore = dict(os.environ)\nimport mdsl; mdsl.compile({PROGRAM!r}); "
        f"print(json.dumps(dict(os.environ) == before))"
    )
    assert fresh(code) is True


def test_every_public_name_is_there():
    for name in mdsl.__all__:
        assert getattr(mdsl, name) is not None
    assert set(mdsl.__all__) <= set(dir(mdsl))
    with pytest.raises(AttributeError):
        mdsl.no_such_name  # noqa: B018


def test_version_is_that_of_the_project():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert mdsl.__version__ == project["version"]


@pytest.mark.parametrize("package", ["jax", "jaxlib"])
@pytest.mark.parametrize("release", ["0.10.2", "0.11.0", "0.11.1"])
def test_releases_that_are_refused(monkeypatch, package, release):
    real = importlib.metadata.version
    monkeypatch.setattr(jax_version, "version", lambda name: release if name == package else real(name))
    with pytest.raises(mdsl.Rejected) as caught:
        jax_version.check()
    (diagnostic,) = caught.value.diagnostics
    assert diagnostic.id == "unsupported-jax" and release in diagnostic.message and package in diagnostic.message


def test_a_missing_jax_is_told(monkeypatch):
    def version(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(jax_version, "version", version)
    with pytest.raises(mdsl.Rejected) as caught:
        jax_version.check()
    assert caught.value.diagnostics[0].id == "unsupported-jax"


def test_the_command_line_tells_it_too(tmp_path):
    """With a release that is refused, `mdsl run` says so and does not break; `mdsl check` computes nothing, and does
    its work."""
    program = tmp_path / "a.mdsl"
    program.write_text(f"{PROGRAM} run {{ x = sc(a = 2, cells = 2) }}")
    code = (
        "import importlib.metadata as m, sys, io, contextlib\n"
        "real = m.version\nm.version = lambda name: '0.11.0' if name == 'jax' else real(name)\n"
        "from mdsl.command.cli import main\nerr = io.StringIO()\n"
        "with contextlib.redirect_stderr(err), contextlib.redirect_stdout(io.StringIO()):\n"
        f"    found = [main([command, {str(program)!r}]) for command in ('check', 'run')]\n"
        "print(json.dumps([found, err.getvalue()]))"
    )
    status, err = fresh(code)
    assert status == [0, 2] and "error[unsupported-jax]" in err and "0.11.0" in err


# Where JAX is not installed.
HIDDEN = """
import contextlib, importlib.metadata as metadata, io, sys

class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("jax", "jaxlib"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

real = metadata.version

def version(name):
    if name in ("jax", "jaxlib"):
        raise metadata.PackageNotFoundError(name)
    return real(name)

sys.meta_path.insert(0, Hidden())
metadata.version = version

def mdsl_(*words):
    from mdsl.command.cli import main

    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            status = main(words)
        except SystemExit as end:
            status = end.code
    return status, out.getvalue(), err.getvalue()

def told(function):
    try:
        function()
    except Exception as error:
        return [d.id for d in error.diagnostics] if hasattr(error, "diagnostics") else repr(error)
"""
# One of each kind: pairs of species, chains from a file, many bodies, three bodies, a learned energy, a changing box.
EXAMPLES = ("kob_andersen", "polymer", "rhodium", "silicon", "behler_parrinello", "argon_npt")


def test_all_but_runs_goes_without_jax():
    names = [str(path) for path in sorted((ROOT / "examples").glob("*.mdsl")) if path.stem in EXAMPLES]
    assert len(names) == len(EXAMPLES)
    words = [["check", *names], ["fmt", "--check", *names], ["list"], ["list", "pair.morse"], ["list", "--markdown"]]
    words += [["--version"], ["explain", "--error", "unknown-name"]]
    words += [["dump", names[0], "--after", stage] for stage in ("resolve", "infer", "differentiate", "field")]
    words += [["explain", name] for name in names[::2]]
    code = f"{HIDDEN}\nprint(json.dumps([[*mdsl_(*words), 'jax' in sys.modules] for words in {words!r}]))"
    for given, (status, out, err, imported) in zip(words, fresh(code), strict=True):
        assert status == 0 and (out or given[0] == "fmt") and "error[" not in err and not imported, (given, err)
        if given == ["--version"]:
            assert "no JAX" in out


def test_what_needs_jax_says_so(tmp_path):
    """Each way into what computes."""
    program = tmp_path / "a.mdsl"
    program.write_text(f"{PROGRAM} run {{ x = sc(a = 2, cells = 2) }}")
    code = f"""{HIDDEN}
import mdsl
program = mdsl.load({str(program)!r})
x = [[0., 0, 0], [1, 0, 0]]
ways = [
    lambda: program.bind(),
    lambda: program.bind(x, box=9.0),
    lambda: program.params,
    lambda: program.initial_params(1),
    lambda: program.internal({{}}),
    lambda: mdsl.space.periodic(1.0),
    lambda: mdsl.space.periodic_general(x),
    lambda: mdsl.space.free(),
    lambda: mdsl.save_params({str(tmp_path / "p")!r}, program.params),
    lambda: mdsl.compile("use units.lj extern soft(r) energy U = sum(i < j) soft(|x[i] - x[j]|)", externs={{"soft": abs}}),
]
print(json.dumps([[told(way) for way in ways], mdsl_("run", {str(program)!r})]))"""
    found, (status, _, err) = fresh(code)
    assert found == [["unsupported-jax"]] * len(found)
    assert status == 2 and "error[unsupported-jax]: jax is not installed" in err


@pytest.mark.parametrize(
    "release, newer",
    [(r, False) for r in ("0.9.0", *jax_version.TESTED)]
    + [(r, True) for r in ("0.12.0.2", "0.12.1", "0.13.0rc1", "0.13.0.dev20261129", "1.0")],
)
def test_a_release_newer_than_what_was_tested_is_told_and_not_refused(release, newer, monkeypatch, capsys):
    from mdsl.command.cli import main

    real = importlib.metadata.version
    monkeypatch.setattr(jax_version, "version", lambda name: release if name in ("jax", "jaxlib") else real(name))
    jax_version.check()
    with pytest.raises(SystemExit) as end:
        main(["--version"])
    out = capsys.readouterr().out
    assert end.value.code == 0 and f"JAX {release}" in out
    assert (f"newer than {jax_version.TESTED[-1]}" in out) == newer


def test_what_was_tested_is_in_order_and_not_refused():
    numbers = [jax_version._numbers(release) for release in jax_version.TESTED]
    assert numbers == sorted(numbers) and not set(jax_version.TESTED) & set(jax_version.REFUSED)


@pytest.mark.parametrize("folder", ["grammar", "mdsl", "lowering", "stdlib"])
def test_packages_hold_docstrings_only(folder):
    """What runs when a package is imported runs for all of it. `mdsl` itself has its public names."""
    for path in sorted((ROOT / folder).rglob("__init__.py")):
        if path != ROOT / "mdsl" / "__init__.py":
            body = ast.parse(path.read_text()).body
            assert not body or (len(body) == 1 and ast.get_docstring(ast.parse(path.read_text()))), path


def test_the_releases_are_those_that_the_project_excludes():
    requirements = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    for package in ("jax", "jaxlib"):
        (requirement,) = [r for r in requirements if r.split(">")[0] == package]
        excluded = {part.strip()[2:] for part in requirement.split(",") if part.strip().startswith("!=")}
        assert excluded == set(jax_version.REFUSED)
