"""The command line: exit status, streams, and that it is quick. Most tests call `main`; a few start Python."""

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest
from compiled import killed

from mdsl.command import cli
from mdsl.grammar.catalogue import CATALOGUE
from mdsl.report.errors_page import _find
from mdsl.report.library import all_pages, listing

PROGRAM = """use units.lj
use pair (lennard_jones, truncated)
use integrators (velocity_verlet)

param sigma = 1.0

energy lj = sum(i < j) truncated(lennard_jones(sigma, 1.0), 2.5*sigma)(|x[i] - x[j]|)

run {
  x = fcc(density = 0.8, cells = 5)
  v ~ maxwell(1.0)
  velocity_verlet(dt = 0.005)  for 10
}
"""
WRONG = PROGRAM.replace("param sigma", "param sigmo")


@pytest.fixture
def program(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, text in {
        "lj.mdsl": PROGRAM,
        "wrong.mdsl": WRONG,
        "ugly.mdsl": PROGRAM.replace("sigma = 1.0", "sigma=1.0"),
    }.items():
        Path(name).write_text(text)
    return tmp_path


def call(capsys, *argv):
    """Exit status, stdout and stderr of a command."""
    try:
        status = cli.main(argv)
    except SystemExit as stop:
        status = stop.code
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def start(*argv, **more):
    return subprocess.run([sys.executable, "-m", "mdsl.command.cli", *argv], capture_output=True, text=True, **more)


# -- check -----------------------------------------------------------------------------------------------


def test_check_says_one_line_for_each_file(program, capsys):
    status, out, err = call(capsys, "check", "lj.mdsl", "wrong.mdsl", "missing.mdsl")
    assert status == 2
    assert out.splitlines() == ["lj.mdsl: fine, 1 warning", "wrong.mdsl: 2 errors", "missing.mdsl: 1 error"]
    assert "warning[energy-jump]" in err and "error[unknown-name]" in err and "error[missing-file]" in err
    assert "did you mean `sigmo`?" in err


def test_check_imports_no_jax(program):
    code = (
        "import sys\nfrom mdsl.command import cli\nstatus = cli.main(['check', 'lj.mdsl'])\nprint([m for m in "
        "sys.modules if m.split('.')[0] in ('jax', 'jaxlib', 'ase', 'mdtraj')])\nsys.exit(status)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=program)
    assert done.returncode == 0 and done.stdout.splitlines() == ["lj.mdsl: fine, 1 warning", "[]"]


def test_check_reads_standard_input(program):
    done = start("check", "-", input=WRONG, cwd=program)
    assert done.returncode == 2
    assert done.stdout == "<stdin>: 2 errors\n" and "--> <stdin>:7" in done.stderr
    assert "\x1b" not in done.stderr


# -- what is wrong on the line ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("argv", "message", "help"),
    [
        (["chek", "lj.mdsl"], "no command `chek`", "did you mean `check`?"),
        (["lj.mdsl"], "no command `lj.mdsl`", "mdsl run lj.mdsl"),
        (["run", "lj.mdsl", "--stepss", "3"], "no option `--stepss`", "`--steps`"),
        (["run", "lj.mdsl", "--steps=-3"], "--steps is at least 0, not -3", None),
        (["run", "lj.mdsl", "--steps", "many"], "--steps is a whole number, not 'many'", None),
        (["run", "lj.mdsl", "--threads", "0"], "--threads is at least 1", None),
        (["run", "lj.mdsl", "--set", "sigma"], "does not give a value", "--set NAME=VALUE"),
        (["run", "lj.mdsl", "--set", "2=3"], "not the name of a parameter", None),
        (["run", "lj.mdsl", "--set", "sigma=1 param epsilon = 2"], "is not one value", None),
        (["run", "lj.mdsl", "--set", "sigma=1", "--set", "σ=2"], "gives `sigma` twice", None),
        (["run", "lj.mdsl", "--precision", "half"], "invalid choice: 'half'", None),
        (["run", "lj.mdsl", "--resume", "a", "--out", "b"], "takes no --out", None),
        (["run", "-"], "runs a file", None),
        (["run"], "required: FILE", "mdsl run --help"),
        (["dump", "lj.mdsl", "--after", "inlin"], "no pass `inlin`", "did you mean `inline`?"),
        (["list", "pair.mors"], "no `pair.mors`", "`pair.morse`"),
        (["explain", "--error", "unknown-nam"], "no error `unknown-nam`", "`unknown-name`"),
        (["explain"], "FILE --error is required", None),
    ],
)
def test_a_wrong_command_line_is_a_diagnostic(program, capsys, argv, message, help):
    status, out, err = call(capsys, *argv)
    assert (status, out) == (2, "")
    assert err.startswith("error[bad-option]: ") and message in err
    assert help is None or help in err


def test_a_wrong_value_is_shown_with_its_place(program, capsys):
    status, _, err = call(capsys, "run", "lj.mdsl", "--set", "sigma=1 +")
    assert status == 2 and "error[missing-expression]" in err and "--> --set:1" in err


def test_files_that_cannot_be_read(program, capsys):
    Path("latin.mdsl").write_bytes(b"# caf\xe9\n")
    assert "error[malformed-file]" in call(capsys, "check", "latin.mdsl")[2]
    assert "error[unreadable-file]" in call(capsys, "check", ".")[2]


# -- run -------------------------------------------------------------------------------------------------


def test_run_hands_its_options_over(program, capsys, monkeypatch):
    given = []
    fake = type(sys)("mdsl.command.run")
    fake.run_file = lambda path, options: given.append((path, options)) or 1
    monkeypatch.setitem(sys.modules, "mdsl.command.run", fake)
    argv = (
        "run lj.mdsl --steps 1_000 --seed 7 --set σ=1.5 --set T=300*2 --out there --overwrite --precision mixed "
        "--platform cpu --threads 2 --quiet"
    )
    assert call(capsys, *argv.split())[0] == 1
    [(path, options)] = given
    assert path == Path("lj.mdsl")
    assert (options.steps, options.seed, options.threads) == (1000, 7, 2)
    assert [(s.name, s.text) for s in options.settings] == [("sigma", "1.5"), ("T", "300*2")]
    assert options.settings[1].declaration.value.op == "*"
    assert (options.out, options.overwrite, options.precision, options.platform, options.quiet) == (
        Path("there"),
        True,
        "mixed",
        "cpu",
        True,
    )
    call(capsys, "run", "lj.mdsl")
    assert given[1][1] == type(options)()


# -- faults of mdsl itself -------------------------------------------------------------------------------


def test_a_fault_of_mdsl_is_an_apology_without_traceback(program, capsys, monkeypatch):
    from mdsl import compiler

    def broken(*_):
        raise KeyError("oops")

    monkeypatch.setattr(compiler, "compile_source", broken)
    monkeypatch.delenv("MDSL_TRACEBACK", raising=False)
    status, _, err = call(capsys, "check", "lj.mdsl")
    assert status == 70
    assert "sorry" in err and "KeyError: 'oops'" in err and "--traceback" in err and "Traceback" not in err
    with pytest.raises(KeyError):
        cli.main(["check", "lj.mdsl", "--traceback"])
    monkeypatch.setenv("MDSL_TRACEBACK", "1")
    with pytest.raises(KeyError):
        cli.main(["check", "lj.mdsl"])


def test_interrupt(program, capsys, monkeypatch):
    from mdsl import compiler

    def slow(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(compiler, "compile_source", slow)
    status, _, err = call(capsys, "check", "lj.mdsl")
    assert status == 130 and "interrupted" in err


def test_a_reader_that_stops_is_no_fault(program):
    command = f"{sys.executable} -m mdsl.command.cli list pair | head -1; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True)
    assert done.returncode == 0 and done.stderr == ""


# -- colour ----------------------------------------------------------------------------------------------


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_colour_only_on_a_terminal_that_wants_it(monkeypatch):
    for name in ("NO_COLOR", "TERM"):
        monkeypatch.delenv(name, raising=False)
    assert cli.coloured(Terminal()) and not cli.coloured(io.StringIO())
    monkeypatch.setenv("NO_COLOR", "1")
    assert not cli.coloured(Terminal())
    monkeypatch.delenv("NO_COLOR")
    monkeypatch.setenv("TERM", "dumb")
    assert not cli.coloured(Terminal())


# -- fmt -------------------------------------------------------------------------------------------------


def test_fmt_rewrites_only_what_changes(program, capsys):
    before = os.stat("lj.mdsl").st_mtime_ns
    status, out, _ = call(capsys, "fmt", "lj.mdsl", "ugly.mdsl")
    assert (status, out) == (0, "ugly.mdsl: rewritten\n")
    assert Path("ugly.mdsl").read_text() == PROGRAM and os.stat("lj.mdsl").st_mtime_ns == before
    assert sorted(p.name for p in program.iterdir()) == ["lj.mdsl", "ugly.mdsl", "wrong.mdsl"]


def test_fmt_check_and_diff_change_nothing(program, capsys):
    ugly = Path("ugly.mdsl").read_text()
    assert call(capsys, "fmt", "--check", "lj.mdsl", "ugly.mdsl") == (1, "ugly.mdsl: would change\n", "")
    status, out, _ = call(capsys, "fmt", "--diff", "ugly.mdsl")
    assert status == 1 and "-param sigma=1.0\n+param sigma = 1.0\n" in out
    assert Path("ugly.mdsl").read_text() == ugly
    assert call(capsys, "fmt", "--check", "lj.mdsl")[0] == 0


def test_fmt_goes_on_after_a_file_that_does_not_parse(program, capsys):
    Path("broken.mdsl").write_text("energy U = \n")
    status, out, err = call(capsys, "fmt", "broken.mdsl", "ugly.mdsl")
    assert status == 2 and "ugly.mdsl: rewritten" in out and "error[" in err
    assert Path("broken.mdsl").read_text() == "energy U = \n"


def test_fmt_keeps_the_line_ends_of_windows(program, capsys):
    Path("ugly.mdsl").write_bytes(Path("ugly.mdsl").read_bytes().replace(b"\n", b"\r\n"))
    assert call(capsys, "fmt", "ugly.mdsl")[0] == 0
    assert Path("ugly.mdsl").read_bytes() == PROGRAM.replace("\n", "\r\n").encode()


def test_fmt_filters_standard_input(capsys, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"param  a=1")))
    assert call(capsys, "fmt", "-") == (0, "param a = 1\n", "")


# -- explain, dump, list -----------------------------------------------------------------------------------


def test_explain_and_dump(program, capsys):
    status, out, err = call(capsys, "explain", "lj.mdsl")
    assert status == 0 and "1 evaluation per step" in out and "warning[energy-jump]" in err
    assert "def truncated" in call(capsys, "dump", "lj.mdsl", "--after", "resolve")[1]
    assert "integrator velocity_verlet(dt)" in call(capsys, "dump", "lj.mdsl")[1]
    assert "term #0" in call(capsys, "dump", "lj.mdsl", "--after", "field")[1]
    assert call(capsys, "explain", "wrong.mdsl")[0] == 2


@pytest.mark.parametrize("id", ["unknown-name", "error[unknown-name]"])
def test_explain_an_error(capsys, id):
    status, out, _ = call(capsys, "explain", "--error", id)
    assert status == 0 and "unknown-name" in out


def test_every_error_is_explained(capsys):
    for id in CATALOGUE:
        assert id in call(capsys, "explain", "--error", id)[1]


def test_a_section_of_a_page():
    page = "# Errors\n\n## `a`\n\nOne.\n\n```\n# a comment\n```\n\n### more\n\n## `b`\n\nTwo.\n"
    assert _find(page, "a") == "## `a`\n\nOne.\n\n```\n# a comment\n```\n\n### more"
    assert _find(page, "b") == "## `b`\n\nTwo."
    assert _find(page, "c") == ""


def test_list(capsys):
    status, out, _ = call(capsys, "list")
    assert status == 0 and "lennard_jones" in out and "builders" in out and "velocity_verlet" in out
    assert "\x1b" not in out
    text = listing("pair")
    assert (
        "lennard_jones(sigma, epsilon)(r)" in text
        and "4*epsilon*((sigma/r)^12 - (sigma/r)^6)" in text
        and "Lennard-Jones 1931" in text
    )
    assert "Morse 1929" in listing("pair.morse") and "yukawa" not in listing("pair.morse")
    assert listing("morse") == listing("pair.morse")
    assert "where c = n/(n - m)" in listing("pair.mie")
    assert (
        "flow B(h)" in listing("integrators") and "Kick" in listing("integrators") and "gamma: rate" in listing("baoab")
    )
    assert "angstrom" in listing("units") and "reduced" in listing("units.lj").lower()
    assert "v ~ maxwell(T)" in listing("builders")
    status, out, _ = call(capsys, "list", "--markdown")
    assert status == 0 and out.startswith("# The standard library") and "### lennard_jones" in out
    assert "temperature" in listing("quantities") and "dihedral" in listing("functions")


@pytest.mark.parametrize("columns", (60, 80))
def test_lists_fit_the_terminal(columns, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(columns))
    words = lambda text: [w for w in text.split() if w != "#"]  # noqa: E731
    for name in ("", "observables", "pair", "barostats", "builders", "units", "quantities", "functions", "pair.morse"):
        status, out, _ = call(capsys, "list", *filter(None, [name]))
        assert status == 0 and max(map(len, out.splitlines())) <= columns
        assert words(out) == words(listing(name or None))


def test_every_function_of_the_library_is_described():
    """The comment above a definition is its description."""
    bare = [
        e.usage for p in all_pages() for e in p.entries if p.name in ("pair", "bonded", "manybody") and not e.comment
    ]
    assert bare == []


# -- versions, help ----------------------------------------------------------------------------------------


def test_version_and_help(capsys):
    status, out, _ = call(capsys, "--version")
    assert status == 0 and out.startswith("mdsl ") and "JAX" in out
    for argv in ([], ["--help"], ["run", "--help"]):
        status, out, _ = call(capsys, *argv)
        assert status == 0 and out.startswith("usage: mdsl")


def test_a_run_goes_on_from_its_own_copy_of_the_program(tmp_path, monkeypatch):
    """The copy in the folder of the run reads the files that lie beside the original."""
    from mdsl.command.options import RunOptions

    (tmp_path / "pair.txt").write_text("".join(f"{r:.2f} {(2 - r) ** 3:.6f}\n" for r in [0.05 * k for k in range(41)]))
    path = tmp_path / "tabled.mdsl"
    path.write_text(
        'use units.lj\nuse integrators (velocity_verlet)\ntable u = tabulated("pair.txt")\nenergy U = sum(i < j) '
        "u(|x[i] - x[j]|)\n"
        "run { x = fcc(density = 0.5, cells = 2)\n v ~ maxwell(1.0)\n velocity_verlet(dt = 0.01) for 40 record U "
        "every 10 }\n"
    )
    killed(path, RunOptions(seed=3, precision="double", quiet=True, out=tmp_path / "out"))
    monkeypatch.chdir(tmp_path.parent)
    assert cli.main(["run", str(tmp_path / "out" / "program.mdsl"), "--resume", str(tmp_path / "out"), "--quiet"]) == 0
    steps = [line.split(",")[0] for line in (tmp_path / "out" / "records.csv").read_text().splitlines()]
    assert steps == ["step", "0", "10", "20", "30", "40"]
