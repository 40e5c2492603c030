"""`mdsl fmt`: files brought into the canonical layout."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Sequence
from difflib import unified_diff
from pathlib import Path

from mdsl.grammar.diagnostics import Diagnostic, Rejected, render
from mdsl.grammar.layout.format import format_program
from mdsl.grammar.parse import parse
from mdsl.grammar.source import Source
from mdsl.resolve.sources import content_of, text_of

FINE, CHANGED, WRONG = 0, 1, 2


def reformat(names: Sequence[str], check: bool = False, diff: bool = False, colour: bool = False) -> int:
    """Rewrite the files that are not in canonical layout; with ``check`` or ``diff`` only tell which.

    The exit status: 1 if ``check`` or ``diff`` found a file to change, 2 if one cannot be read or parsed.
    """
    status = FINE
    for name in names:
        try:
            changed = _reformat(name, check, diff)
        except Rejected as rejected:
            for diagnostic in rejected.diagnostics:
                print(render(diagnostic, colour), end="\n\n", file=sys.stderr)
            status = WRONG
        else:
            status = max(status, CHANGED if changed and (check or diff) else FINE)
    return status


def formatted(text: str, name: str = "<string>") -> str:
    """The text in canonical layout. Raises Rejected with its syntax errors."""
    source = Source(name, text)
    return format_program(parse(source), source)


def _reformat(name: str, check: bool, diff: bool) -> bool:
    shown = "<stdin>" if name == "-" else name
    old = text_of(shown, content_of(name))
    # Windows' line ends are the file's, not the layout's.
    windows = "\r\n" in old
    new = formatted(old.replace("\r\n", "\n"), shown)
    new = new.replace("\n", "\r\n") if windows else new
    if diff:
        lines = unified_diff(old.splitlines(True), new.splitlines(True), shown, f"{shown} (formatted)")
        sys.stdout.writelines(line if line.endswith("\n") else line + "\n" for line in lines)
    elif check:
        if old != new:
            print(f"{shown}: would change")
    elif name == "-":
        sys.stdout.write(new)
    elif old != new:
        _replace(Path(name), new)
        print(f"{shown}: rewritten")
    return old != new


def _replace(path: Path, text: str) -> None:
    """The whole new text or, if anything fails, the old one."""
    path = path.resolve()
    try:
        with tempfile.NamedTemporaryFile("wb", dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
            file.write(text.encode("utf-8"))
        try:
            os.chmod(file.name, path.stat().st_mode)
            os.replace(file.name, path)
        except OSError:
            os.unlink(file.name)
            raise
    except OSError as error:
        raise Rejected(Diagnostic("cannot-write", f"cannot write {path}: {error.strerror or error}")) from None
