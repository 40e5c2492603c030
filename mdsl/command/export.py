"""`mdsl export`: a program with the atoms of its run block, written for another engine."""

from __future__ import annotations

from pathlib import Path

from mdsl.api.parameter_files import load_params
from mdsl.api.program import Program, compiled_with
from mdsl.export.exporting import ENGINES
from mdsl.grammar.diagnostics import Diagnostic, Rejected, suggest
from mdsl.resolve.sources import read_program

from .export_options import ExportOptions
from .machine import set_up_jax
from .options import RunOptions, bad_option
from .terminal import show


def export_file(path: Path, options: ExportOptions) -> int:
    """0 where the export is written, and certified if the engine is here. Raises Rejected."""
    if options.to not in ENGINES:
        known = ", ".join(ENGINES)
        raise bad_option(f"--to is one of {known}, not {options.to!r}", suggest(options.to, ENGINES))
    source, folder = read_program(path)
    compiled = compiled_with(source, folder, None, tuple(s.declaration for s in options.settings))
    show(compiled.warnings)
    if not compiled.model.run:
        help = "the run block says where the atoms are; from Python, `bind` takes arrays"
        raise Rejected(Diagnostic("empty-program", "the program has no run block", help=help))
    set_up_jax("double", RunOptions())
    program = Program(compiled)
    params = None if options.params is None else load_params(options.params)
    made = program.bind(seed=options.seed).export(
        options.to,
        options.out,
        params=params,
        overwrite=options.overwrite,
        certify=options.certify,
        states=options.states,
        seed=options.seed,
    )
    print("\n".join(made.lines()))
    return 0
