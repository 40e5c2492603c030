"""The compiler as one sequence: text, tree, Model, passes, Field. Nothing here imports JAX."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from mdsl.grammar import tree
from mdsl.grammar.diagnostics import Diagnostic, Rejected
from mdsl.grammar.source import Source, Span
from mdsl.lowering.field.derive import derive
from mdsl.lowering.field.field import Field
from mdsl.lowering.field.smoothness import cutoff_warnings
from mdsl.model.nodes import Model
from mdsl.passes.coordinates import jumping_differences
from mdsl.passes.finite import check_finite
from mdsl.passes.given import misgiven
from mdsl.passes.pipeline import PASSES, verify
from mdsl.resolve.program import resolve


@dataclass(frozen=True)
class Compiled:
    """A program that compiles. ``stages`` are the Models after `resolve` and after each pass.

    ``folder`` is where the files that the program names are looked for.
    """

    source: Source
    folder: Path
    stages: tuple[tuple[str, Model], ...]
    field: Field
    warnings: tuple[Diagnostic, ...]

    @property
    def model(self) -> Model:
        return self.stages[-1][1]

    def stage(self, name: str) -> Model | None:
        return dict(self.stages).get(name)


def compile_source(
    source: Source,
    folder: Path | None = None,
    externs: Mapping[str, Callable] | None = None,
    bad_externs: Callable[[Model], list[Diagnostic]] | None = None,
    given: tuple[tree.Declaration, ...] = (),
) -> Compiled:
    """Compile a program. ``externs``: functions of Python by name, for the program's `extern` statements;
    ``bad_externs`` says what is wrong with them where a typed Model calls them. ``given``: declarations from outside,
    whose values stand in the place of the program's own.

    Raises Rejected with every error found, in the order of the text.
    """
    try:
        return _compile(source, folder, externs or {}, bad_externs, given)
    except RecursionError:
        raise Rejected(
            Diagnostic("nesting", "the program is nested too deeply to compile", Span(source, 0, 0))
        ) from None


def _compile(
    source: Source,
    folder: Path | None,
    externs: Mapping[str, Callable],
    bad_externs: Callable[[Model], list[Diagnostic]] | None,
    given: tuple[tree.Declaration, ...],
) -> Compiled:
    model, report = resolve(source, folder, given, externs)
    if not _errors(report):  # else what is missing may be what is wrong
        report += misgiven(model, given, externs)
    stages = [("resolve", model)]
    for step in PASSES:
        model, found = step.run(model)
        report += found
        if step.name == "infer" and bad_externs is not None and not _errors(report):
            report += bad_externs(model)
        # Later passes build on what earlier ones promise; `infer` still profits from what `resolve` left whole.
        if step.typed and _errors(report):
            break
        if not _errors(report):
            verify(model, step)
        stages.append((step.name, model))
    _stop(report)
    report += check_finite(model)
    report += jumping_differences(model)
    _stop(report)
    field = derive(model)
    report += cutoff_warnings(field)
    _stop(report)
    return Compiled(source, folder or Path.cwd(), tuple(stages), field, _ordered(report))


def _errors(report: list[Diagnostic]) -> list[Diagnostic]:
    return [d for d in report if d.severity == "error"]


def _stop(report: list[Diagnostic]) -> None:
    if _errors(report):
        raise Rejected(*_ordered(report))


def _ordered(report: list[Diagnostic]) -> tuple[Diagnostic, ...]:
    """In the order of the text, each thing said once."""
    unique: dict[object, Diagnostic] = {}
    for d in report:
        # Of several errors at one place the first is the cause of the others.
        message = d.message if d.severity == "warning" or d.span is None else ""
        unique.setdefault((d.severity, message, d.span), d)
    return tuple(sorted(unique.values(), key=lambda d: d.span.start if d.span else -1))
