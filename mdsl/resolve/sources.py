"""Reading programs from files, with a diagnostic for whatever can go wrong."""

from __future__ import annotations

import sys
from difflib import get_close_matches
from pathlib import Path

from mdsl.grammar.diagnostics import Diagnostic, Rejected
from mdsl.grammar.source import Source


def read_program(name: str | Path) -> tuple[Source, Path]:
    """The text of a program and the folder in which it looks for files; ``-`` is standard input.

    Raises Rejected: ``missing-file``, ``unreadable-file``, ``malformed-file``.
    """
    text = text_of("<stdin>" if str(name) == "-" else str(name), content_of(name)).replace("\r\n", "\n")
    if str(name) == "-":
        return Source("<stdin>", text), Path.cwd()
    return Source(str(name), text), Path(name).parent


def content_of(name: str | Path) -> bytes:
    """The bytes of a file or of standard input."""
    if str(name) == "-":
        return sys.stdin.buffer.read()
    path = Path(name)
    try:
        return path.read_bytes()
    except FileNotFoundError:
        nearby = {p.stem: p.name for p in path.parent.glob("*.mdsl")} if path.parent.is_dir() else {}
        near = get_close_matches(path.stem, nearby, n=1)
        help = f"did you mean `{nearby[near[0]]}`?" if near else None
        raise Rejected(Diagnostic("missing-file", f"there is no file {path}", help=help)) from None
    except OSError as error:
        message = f"cannot read {path}: {(error.strerror or str(error)).lower()}"
        raise Rejected(Diagnostic("unreadable-file", message)) from None


def text_of(name: str, content: bytes) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        message = f"{name} is not text in UTF-8: byte {error.start} is no part of a character"
        raise Rejected(Diagnostic("malformed-file", message)) from None
