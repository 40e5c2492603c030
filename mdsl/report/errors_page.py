"""`mdsl explain --error ID`: the section of docs/errors.md about a diagnostic, or at least its meaning."""

from __future__ import annotations

import re
from importlib import resources
from pathlib import Path

from mdsl.grammar.catalogue import CATALOGUE
from mdsl.grammar.diagnostics import Diagnostic, Rejected, suggest

HEADING = re.compile(r"^(#+)\s+`?([\w-]+)`?")


def section(id: str) -> str:
    """What is known of a diagnostic. Raises Rejected: ``bad-option``."""
    id = re.sub(r"^(?:error|warning|failure)?\[(.*)\]$", r"\1", id.strip())
    if id not in CATALOGUE:
        help = suggest(id, CATALOGUE) or "the identifier stands in brackets, as in error[unknown-name]"
        raise Rejected(Diagnostic("bad-option", f"mdsl has no error `{id}`", help=help))
    entry = CATALOGUE[id]
    return _find(_page(), id) or f"{id} ({entry.severity})\n\n{entry.meaning}"


def _page() -> str:
    """docs/errors.md, beside the package in a checkout or inside it in a wheel; empty where there is none."""
    root = resources.files("mdsl")
    for path in (root / "docs" / "errors.md", Path(__file__).parents[2] / "docs" / "errors.md"):
        if path.is_file():
            return path.read_text(encoding="utf-8")
    return ""


def _find(page: str, id: str) -> str:
    """The section under the heading of an id, down to the next heading of its level or above."""
    lines: list[str] = []
    level = 0
    in_code = False
    for line in page.splitlines():
        in_code ^= line.startswith("```")
        heading = None if in_code else HEADING.match(line)
        if heading and level and len(heading[1]) <= level:
            break
        if heading and not level and heading[2] == id:
            level = len(heading[1])
        if level:
            lines.append(line)
    return "\n".join(lines).strip()
