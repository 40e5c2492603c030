"""The one form in which mdsl tells a user that something is wrong, and its renderer.

A diagnostic has an identifier from :mod:`mdsl.grammar.catalogue`, which also fixes its severity and so
the exit status: errors in the input end with 2, failures of a run with 1, warnings change nothing.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass

from .catalogue import CATALOGUE
from .source import Span

EXIT_STATUS = {"warning": 0, "failure": 1, "error": 2}


@dataclass(frozen=True)
class Label:
    """A second place in the text that helps to understand the first, and what to say of it."""

    span: Span
    text: str


@dataclass(frozen=True)
class Diagnostic:
    """What is wrong (``message``), where (``span``), and what to do about it (``help``).

    ``label`` is written beside the caret; ``secondary`` points at other places; ``notes`` are facts that
    explain. ``span`` is None where no text is at fault (a missing file, an option of the command line).
    """

    id: str
    message: str
    span: Span | None = None
    label: str = ""
    secondary: tuple[Label, ...] = ()
    notes: tuple[str, ...] = ()
    help: str | None = None

    def __post_init__(self) -> None:
        if self.id not in CATALOGUE:
            raise KeyError(f"diagnostic id {self.id!r} is not in the catalogue")

    @property
    def severity(self) -> str:
        return CATALOGUE[self.id].severity

    def __str__(self) -> str:
        return render(self)


class Rejected(Exception):
    """Raised by a stage that cannot go on: carries every diagnostic found up to there."""

    def __init__(self, *diagnostics: Diagnostic):
        super().__init__("\n\n".join(render(d) for d in diagnostics))
        self.diagnostics = diagnostics

    @property
    def exit_status(self) -> int:
        return max((EXIT_STATUS[d.severity] for d in self.diagnostics), default=2)


def suggest(name: str, known: Iterable[str]) -> str | None:
    """A ``did you mean`` sentence, or None where nothing known is near enough."""
    near = difflib.get_close_matches(name, list(known), n=2, cutoff=0.6)
    return f"did you mean {' or '.join(f'`{n}`' for n in near)}?" if near else None


COLOURS = {
    "error": "1;31",
    "failure": "1;31",
    "warning": "1;33",
    "note": "1;36",
    "help": "1;32",
    "rule": "1;34",
    "bold": "1",
}


def counted(n: int, noun: str, plural: str | None = None) -> str:
    """So many of a thing: "one index", "two indices"."""
    words = {0: "no", 1: "one", 2: "two", 3: "three", 4: "four"}
    return f"{words.get(n, n)} {noun if n == 1 else plural or noun + 's'}"


def some_indices(n: int) -> str:
    return counted(n, "index", "indices")


def render(diagnostic: Diagnostic, colour: bool = False) -> str:
    """The diagnostic as text: a headline, the source line with a caret, then labels, notes and help."""

    def paint(kind: str, text: str) -> str:
        return f"\x1b[{COLOURS[kind]}m{text}\x1b[0m" if colour else text

    word = "error" if diagnostic.severity == "failure" else diagnostic.severity
    out = [paint(diagnostic.severity, f"{word}[{diagnostic.id}]") + paint("bold", f": {diagnostic.message}")]
    labels = [Label(diagnostic.span, diagnostic.label)] if diagnostic.span else []
    labels += diagnostic.secondary
    width = max((len(str(label.span.line)) for label in labels), default=1)
    bar = paint("rule", " " * width + " |")
    for k, label in enumerate(labels):
        line, column = label.span.source.position(label.span.start)
        text = label.span.source.line(line)
        # Tabs would put the caret in the wrong column, whatever the terminal's tab width.
        lead = text[: column - 1].expandtabs(4)
        length = max(1, min(label.span.end - label.span.start, len(text) - column + 1))
        mark = ("^" if k == 0 else "-") * length
        caret = paint(diagnostic.severity if k == 0 else "rule", " ".join(filter(None, (mark, label.text))))
        out += [
            paint("rule", " " * width + ("-->" if k == 0 else ":::")) + f" {label.span}",
            bar,
            paint("rule", f"{line:>{width}} |") + " " + text.expandtabs(4),
            bar + " " + " " * len(lead) + caret,
        ]
    out += [paint("note", " " * width + " = note: ") + note for note in diagnostic.notes]
    if diagnostic.help:
        out.append(paint("help", " " * width + " = help: ") + diagnostic.help)
    return "\n".join(out)
