"""The command line: `mdsl run | check | fmt | explain | dump | export | compare | plot | list`.

Every command is imported when it is called, so that `check` needs neither JAX nor what others need. The exit
status is 0 when all went well, 1 when a run failed, 2 when the input was wrong, 70 when mdsl itself is at fault.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from mdsl.grammar.diagnostics import Diagnostic, Rejected, suggest
from mdsl.lowering.planning.kernels import KERNELS
from mdsl.resolve.sources import read_program

from .export_options import export_arguments, exporting
from .terminal import coloured, show

PRECISIONS = ("single", "mixed", "double")
FINE, WRONG, BROKEN, INTERRUPTED = 0, 2, 70, 130
EPILOG = "`mdsl COMMAND --help` tells the options of a command."


def main(argv: Sequence[str] | None = None) -> int:
    argv = list(sys.argv[1:] if argv is None else argv)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a terminal without Greek letters is no reason to stop
    try:
        options = _options(argv)
        status = options.action(options)
        sys.stdout.flush()
        return status
    except Rejected as rejected:
        show(rejected.diagnostics)
        return rejected.exit_status
    except BrokenPipeError:  # the reader of `mdsl list | head` has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FINE
    except KeyboardInterrupt:
        print("\nmdsl: interrupted", file=sys.stderr)
        return INTERRUPTED
    except Exception as error:
        if "--traceback" in argv or os.environ.get("MDSL_TRACEBACK"):
            raise
        apologise(error)
        return BROKEN


def apologise(error: Exception) -> None:
    frames = error.__traceback__
    while frames is not None and frames.tb_next is not None:
        frames = frames.tb_next
    where = f" ({Path(frames.tb_frame.f_code.co_filename).name}, line {frames.tb_lineno})" if frames is not None else ""
    first = (str(error).strip().splitlines() or [""])[0]
    print(
        f"mdsl: sorry, this is a fault of mdsl and not of your program.\n"
        f"  {type(error).__name__}: {first}{where}\n"
        f"Please report it with your program and the output of the same command with --traceback{_tracker()}.",
        file=sys.stderr,
    )


def _tracker() -> str:
    """Where faults are reported, as the installed package tells it."""
    from importlib.metadata import PackageNotFoundError, metadata

    try:
        urls = dict(entry.split(", ", 1) for entry in metadata("mdsl").get_all("Project-URL") or ())
    except PackageNotFoundError:
        return ""
    return next((f"\nto {urls[name]}" for name in ("Issues", "Repository", "Homepage") if name in urls), "")


# -- what may be written on the line -------------------------------------------------------------------


class Parser(argparse.ArgumentParser):
    """An argument parser whose complaints are diagnostics."""

    def error(self, message: str) -> NoReturn:
        raise Rejected(Diagnostic("bad-option", message, help=f"`{self.prog} --help` tells what it takes"))


def _options(argv: Sequence[str]) -> argparse.Namespace:
    parser, commands = build()
    words = [word for word in argv if not word.startswith("-")]
    if words and words[0] not in commands:
        raise Rejected(Diagnostic("bad-option", f"mdsl has no command `{words[0]}`", help=_meant(words[0], commands)))
    options, rest = parser.parse_known_args(argv)
    if rest:
        known = (
            sorted({name for action in commands[words[0]]._actions for name in action.option_strings})
            if words
            else ["--version", "--help"]
        )
        name = rest[0].partition("=")[0]
        what = "option" if name.startswith("-") else "argument"
        raise Rejected(
            Diagnostic(
                "bad-option",
                f"`mdsl {words[0] if words else ''}".rstrip() + f"` takes no {what} `{name}`",
                help=suggest(name, known),
            )
        )
    if "action" not in options:
        parser.print_help()
        raise SystemExit(FINE)
    return options


def _meant(word: str, commands: Sequence[str]) -> str:
    if word.endswith(".mdsl"):
        return f"did you mean `mdsl run {word}`?"
    return suggest(word, commands) or f"its commands are {', '.join(commands)}"


def build() -> tuple[Parser, dict[str, Parser]]:
    """The parser, and those of the commands by name."""
    parser = Parser(prog="mdsl", description="A compiler for molecular dynamics.", epilog=EPILOG, allow_abbrev=False)
    parser.add_argument("--version", action=Version, nargs=0, help="tell the versions of mdsl and what it runs on")
    subparsers = parser.add_subparsers(metavar="COMMAND", parser_class=Parser)
    always = argparse.ArgumentParser(add_help=False)
    always.add_argument("--traceback", action="store_true", help="show where mdsl fails, should it be at fault itself")

    def command(name: str, action, help: str) -> Parser:
        sub = subparsers.add_parser(
            name, help=help, description=help[0].upper() + help[1:] + ".", parents=[always], allow_abbrev=False
        )
        sub.set_defaults(action=action)
        return sub

    _run_options(command("run", run, "compile a program and run it"))

    sub = command("check", check, "tell what is wrong with programs, without running them")
    sub.add_argument("files", metavar="FILE", nargs="+", help="a program; - reads standard input")

    sub = command("fmt", fmt, "bring programs into the canonical layout")
    sub.add_argument(
        "files",
        metavar="FILE",
        nargs="+",
        help="a program, rewritten in place where that changes it; - filters standard input",
    )
    sub.add_argument("--check", action="store_true", help="change nothing; exit with 1 if a file would change")
    sub.add_argument("--diff", action="store_true", help="change nothing; show what would change")

    sub = command("explain", explain, "tell what the compiler makes of a program, and why")
    what = sub.add_mutually_exclusive_group(required=True)
    what.add_argument("file", metavar="FILE", nargs="?", help="a program; - reads standard input")
    what.add_argument("--error", metavar="ID", help="tell what an error means, for example unknown-name")

    sub = command("dump", dump, "print a program as it is after a pass of the compiler")
    sub.add_argument("file", metavar="FILE", help="a program; - reads standard input")
    sub.add_argument(
        "--after",
        metavar="PASS",
        help="resolve, inline, infer, ends, differentiate, exchange, field or kernel; by default the last Model",
    )
    sub.add_argument("--precision", choices=PRECISIONS, help="of the arithmetic of a kernel; by default double")

    export_arguments(command("export", export, "write a program for another engine, and compare what that computes"))

    sub = command("compare", compare, "tell whether two runs agree within their errors")
    sub.add_argument("folders", metavar="FOLDER", nargs=2, help="the folder of a run that is finished")
    sub.add_argument(
        "--level",
        metavar="P",
        default="0.01",
        help="how improbable a difference is that is not taken for chance, by default 0.01, of all numbers together",
    )

    sub = command("plot", plot, "draw the records of a run, or the pair functions of a program")
    sub.add_argument("path", metavar="FOLDER|FILE", help="the folder of a run, its records.csv, or a program")
    sub.add_argument("names", metavar="NAME", nargs="*", help="which of the records; by default all")
    sub.add_argument(
        "--out",
        metavar="FILE",
        help="the picture, .png, .svg or .pdf; by default plot.png in the folder of the run, "
        "or the name of the program with .png",
    )

    sub = command("list", list_, "show the standard library: modules, functions, integrators, units, builders")
    sub.add_argument(
        "name",
        metavar="MODULE[.NAME]",
        nargs="?",
        help="pair, pair.morse, units, units.metal, builders, quantities, functions",
    )
    sub.add_argument("--markdown", action="store_true", help="the whole library as a page, docs/stdlib.md")
    return parser, subparsers.choices


def _run_options(sub: Parser) -> None:
    sub.add_argument("file", metavar="FILE", help="a program")
    sub.add_argument(
        "--steps", metavar="N", help="run each statement of dynamics for at most N steps, however many it says"
    )
    sub.add_argument(
        "--seed",
        metavar="S",
        help="the seed of all random numbers of the run; by default another each time, which the run tells",
    )
    sub.add_argument(
        "--set",
        metavar="NAME=VALUE",
        action="append",
        default=[],
        help="another value for a parameter, such as --set 'sigma=3.4 [angstrom]'; may be repeated",
    )
    sub.add_argument("--replicas", metavar="B", help="run B replicas at once, which differ in their random numbers")
    sub.add_argument(
        "--sweep",
        metavar="NAME=START:STOP:COUNT",
        action="append",
        default=[],
        help="run with each of these values of a parameter at once, or with those of a list, NAME=A,B,C; repeated, "
        "with each combination",
    )
    sub.add_argument(
        "--params",
        metavar="FILE",
        help="parameters and weights of learned functions from a safetensors file, as mdsl.save_params writes it; "
        "--set comes on top",
    )
    sub.add_argument(
        "--allow-extern",
        metavar="NAME=MODULE:FUNCTION",
        action="append",
        default=[],
        help="run this function of Python for `extern NAME` of the program; MODULE is looked for beside the "
        "program too",
    )
    sub.add_argument("--out", metavar="DIR", help="the folder to write to; by default the next free one in runs/")
    sub.add_argument("--overwrite", action="store_true", help="replace the run that --out holds already")
    sub.add_argument(
        "--precision",
        choices=PRECISIONS,
        help="of the arithmetic; mixed computes pairs in single and sums in double precision",
    )
    sub.add_argument("--platform", choices=("cpu", "gpu"), help="where to run; by default what JAX finds")
    sub.add_argument(
        "--kernels",
        choices=KERNELS,
        help="how sums over pairs are computed on a CPU: by XLA, or by vector code of mdsl's own (native); on "
        "a GPU by XLA, or by kernels of Pallas, never timed (pallas); by default what MDSL_KERNELS says, else "
        "native on a CPU where that is to be had, and xla on a GPU",
    )
    sub.add_argument("--threads", metavar="N", help="how many processor cores to use")
    sub.add_argument("--quiet", action="store_true", help="show no progress")
    sub.add_argument(
        "--checkpoint",
        metavar="SECONDS",
        help="write a checkpoint, to resume from, as soon as the last one is so old; by default 60",
    )
    sub.add_argument("--resume", metavar="DIR", help="go on with the run in this folder from its last checkpoint")


class Version(argparse.Action):
    """Tells the versions, whether JAX is newer than what was tested, and which kernels there are."""

    def __call__(self, parser, namespace, values, option_string=None) -> NoReturn:
        from importlib.metadata import version
        from platform import python_version

        from mdsl.lowering.jax_version import described

        print(f"mdsl {version('mdsl')} ({described()}, Python {python_version()})", flush=True)
        with contextlib.suppress(ImportError, Rejected):  # there is no JAX, or none that mdsl runs on
            from mdsl.lowering.native.call import described as kernels  # to see whether they compute what they should

            print(f"kernels: {kernels()}")
        raise SystemExit(FINE)


# -- the commands --------------------------------------------------------------------------------------


def run(options: argparse.Namespace) -> int:
    from . import options as given
    from .xla_flags import ask_ahead

    def number(name: str, least: int, most: int | None = None) -> int | None:
        text = getattr(options, name)
        return None if text is None else given.whole(f"--{name}", text, least, most)

    if options.resume and (
        options.seed is not None or options.set or options.params or options.replicas or options.sweep
    ):
        raise given.bad_option(
            "--resume goes on with the seed, the settings and the replicas of the run: it takes no --seed, --set, "
            "--params, --replicas and --sweep"
        )
    if options.resume and (options.out or options.overwrite):
        raise given.bad_option("--resume goes on in the folder of the run: it takes no --out and no --overwrite")
    settings = given.settings(options.set)
    chosen = given.RunOptions(
        steps=number("steps", 0),
        seed=number("seed", 0, 2**63 - 1),
        settings=settings,
        out=Path(options.out) if options.out else None,
        overwrite=options.overwrite,
        precision=options.precision,
        platform=options.platform,
        kernels=options.kernels,
        threads=number("threads", 1),
        quiet=options.quiet,
        checkpoint=given.seconds("--checkpoint", options.checkpoint),
        resume=Path(options.resume) if options.resume else None,
        replicas=number("replicas", 1),
        sweeps=given.sweeps(options.sweep, settings),
        params=Path(options.params) if options.params else None,
        externs=given.externs(options.allow_extern),
    )
    if options.file == "-":
        raise given.bad_option("`mdsl run` runs a file, not standard input")
    read_program(options.file)  # a missing file is told before JAX is imported
    ask_ahead(os.environ.get("XLA_FLAGS", ""), bool(chosen.replicas or chosen.sweeps))
    from .run import run_file

    return run_file(Path(options.file), chosen)


@contextlib.contextmanager
def uncollected():
    """Without the collector of cyclic garbage: an answer in less than a second leaves none worth its time."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


@uncollected()
def check(options: argparse.Namespace) -> int:
    from mdsl.compiler import compile_source

    status = FINE
    for name in options.files:
        try:
            compiled = compile_source(*read_program(name))
        except Rejected as rejected:
            show(rejected.diagnostics)
            found = rejected.diagnostics
            status = WRONG
        else:
            show(compiled.warnings)
            found = compiled.warnings
        sys.stderr.flush()
        print(f"{shown_name(name)}: {summary(found)}", flush=True)
    return status


def shown_name(name: str) -> str:
    return "<stdin>" if name == "-" else name


def summary(diagnostics: Sequence[Diagnostic]) -> str:
    """``fine``, ``fine, 1 warning``, ``2 errors, 1 warning``."""
    warnings = sum(d.severity == "warning" for d in diagnostics)
    errors = len(diagnostics) - warnings
    counts = [f"{n} {word}{'s' * (n > 1)}" for n, word in ((errors, "error"), (warnings, "warning")) if n]
    return ", ".join(counts if errors else ["fine", *counts])


def fmt(options: argparse.Namespace) -> int:
    from .reformat import reformat

    return reformat(options.files, check=options.check, diff=options.diff, colour=coloured(sys.stderr))


def explain(options: argparse.Namespace) -> int:
    if options.error is not None:
        from mdsl.report.errors_page import section

        print(section(options.error))
        return FINE
    from mdsl.compiler import compile_source
    from mdsl.lowering.native.compile import vectors
    from mdsl.report.explain import explain as text

    compiled = compile_source(*read_program(options.file))
    show(compiled.warnings)
    print(text(compiled, vectors=vectors()), end="")
    return FINE


def dump(options: argparse.Namespace) -> int:
    from mdsl.compiler import compile_source
    from mdsl.report.dump import KERNEL, stage_name
    from mdsl.report.dump import dump as text

    stage = stage_name(options.after)
    if stage != KERNEL and options.precision is not None:
        raise Rejected(Diagnostic("bad-option", "`--precision` is that of a kernel", help="add `--after kernel`"))
    compiled = compile_source(*read_program(options.file))
    if stage == KERNEL:
        from mdsl.lowering.native.compile import vectors

        from .kernels import printed

        print(printed(compiled, options.precision or PRECISIONS[-1], vectors()), end="")
    else:
        print(text(compiled, stage), end="")
    return FINE


def export(options: argparse.Namespace) -> int:
    chosen = exporting(options)  # what is wrong with them, or missing, is told before JAX is imported
    from .export import export_file

    return export_file(Path(options.file), chosen)


def compare(options: argparse.Namespace) -> int:
    from .comparing import compare as compared
    from .options import probability

    return compared(*map(Path, options.folders), probability("--level", options.level))


def plot(options: argparse.Namespace) -> int:
    from .plotting import plot as drawn

    return drawn(Path(options.path), options.names, Path(options.out) if options.out else None)


def list_(options: argparse.Namespace) -> int:
    from mdsl.report.library import listing
    from mdsl.report.library_page import markdown

    if options.markdown:
        print(markdown(), end="")
        return FINE
    columns = shutil.get_terminal_size().columns
    print(listing(options.name, colour=coloured(sys.stdout), columns=columns), end="")
    return FINE


if __name__ == "__main__":
    sys.exit(main())
