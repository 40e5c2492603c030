"""What importing mdsl does not do, and the releases of JAX on which it refuses to run."""

import importlib.metadata
import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from mdsl.lowering import jax_version

import mdsl

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
    code = f"import os\nbefore = dict(os.environ)\nimport mdsl; mdsl.compile({PROGRAM!r}); print(json.dumps(dict(os.environ) == before))"
    assert fresh(code) is True


def test_every_public_name_is_there():
    for name in mdsl.__all__:
        assert getattr(mdsl, name) is not None
    assert set(mdsl.__all__) <= set(dir(mdsl))
    with pytest.raises(AttributeError):
        mdsl.no_such_name


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
    """With a release that is refused, `mdsl check` says so and does not break."""
    program = tmp_path / "a.mdsl"
    program.write_text(PROGRAM)
    code = (
        "import importlib.metadata as m, sys, io, contextlib\n"
        "real = m.version\nm.version = lambda name: '0.11.0' if name == 'jax' else real(name)\n"
        "from mdsl.command.cli import main\nerr = io.StringIO()\n"
        f"with contextlib.redirect_stderr(err), contextlib.redirect_stdout(io.StringIO()):\n    status = main(['check', {str(program)!r}])\n"
        "print(json.dumps([status, err.getvalue()]))"
    )
    status, err = fresh(code)
    assert status == 2 and "error[unsupported-jax]" in err and "0.11.0" in err


def test_the_releases_are_those_that_the_project_excludes():
    requirements = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    for package in ("jax", "jaxlib"):
        (requirement,) = [r for r in requirements if r.split(">")[0] == package]
        excluded = {part.strip()[2:] for part in requirement.split(",") if part.strip().startswith("!=")}
        assert excluded == set(jax_version.REFUSED)
