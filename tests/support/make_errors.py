"""Runs the examples of errors.md and writes beneath each what mdsl says of it.

    python tests/support/make_errors.py           # after a message or an example has changed

A section has the identifier of a diagnostic as its heading. In it, in this order and as often as needed:
a block ```` ```text NAME ```` is a file; ```` ```mdsl ```` is the program example.mdsl; a block ```` ```python ```` or
```` ```console ```` with a line `$ mdsl ...` is what is done with them, without it the program is checked. The
block ```` ```text ```` that follows is written by this script, and so is the line `> ...` below the heading.
"""

import contextlib
import io
import os
import re
import sys
import tempfile
from pathlib import Path
from unittest.mock import patch

PAGE = Path(__file__).parents[2] / "docs" / "errors.md"
BLOCK = re.compile(r"^```(\w+)(?: (\S+))?\n(.*?)^```$", re.M | re.S)


def sections(page):
    """The page cut at its headings of identifiers: first what stands before them, then (identifier, text)."""
    parts = re.split(r"^## ([\w-]+)\n", page, flags=re.M)
    return parts[0], list(zip(parts[1::2], parts[2::2]))


def renewed(page):
    """The page with all that is said made new."""
    head, found = sections(page)
    return head + "".join(f"## {id}\n{_section(id, text)}" for id, text in found)


def _section(id, text):
    from mdsl.grammar.catalogue import CATALOGUE

    entry = CATALOGUE[id]
    text = re.sub(r"\A\n(?:> .*\n\n)?", lambda _: f"\n> **{entry.severity}**: {entry.meaning}\n\n", text)
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        told = None

        def block(match):
            nonlocal told
            kind, name, content = match.groups()
            if kind == "text" and not name:
                content = (check() if told is None else told) + "\n"
                told = None
            elif kind in ("mdsl", "text"):
                path = Path(name or "example.mdsl")
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(content)
            elif kind == "console":
                said = (command(line[2:]) for line in content.splitlines() if line.startswith("$ "))
                told = "\n\n".join(filter(None, said))
            elif kind == "python":
                told = python(content)
            return f"```{kind}{' ' + name if name else ''}\n{content}```"

        return BLOCK.sub(block, text)


def check():
    return command("mdsl check example.mdsl")


def command(line):
    """What a command writes to stderr. Its exit status must be that of the errors in it."""
    import shlex

    from mdsl.command import cli

    words = shlex.split(line)
    if words[0] == "printf":  # `printf '...' > FILE`: a file that is no text
        Path(words[3]).write_bytes(words[1].encode().decode("unicode_escape").encode("latin-1"))
        return ""
    said = io.StringIO()
    # A process can set up JAX once.
    with (
        contextlib.redirect_stderr(said),
        contextlib.redirect_stdout(io.StringIO()),
        patch("mdsl.command.run.set_up_jax", lambda *_: None),
        patch.dict(os.environ, {"NO_COLOR": "1"}),
    ):
        status = cli.main(words[1:])
    text = said.getvalue().strip()
    expected = {"error": 2, "failure": 1, "warning": 0}[severity(text)] if text else 0
    assert status == expected, f"{line}: exit status {status}, not {expected}\n{text}"
    return text


def severity(text):
    from mdsl.grammar.catalogue import CATALOGUE

    found = [CATALOGUE[id].severity for id in re.findall(r"^(?:error|warning)\[([\w-]+)\]", text, re.M)]
    return next((s for s in ("error", "failure", "warning") if s in found), "warning")


def python(code):
    import mdsl

    try:
        exec(code, {"__name__": "example"})
    except mdsl.Rejected as rejected:
        return str(rejected)
    return ""


if __name__ == "__main__":
    import jax

    jax.config.update("jax_enable_x64", True)
    old = PAGE.read_text(encoding="utf-8")
    new = renewed(old)
    PAGE.write_text(new, encoding="utf-8")
    print("errors.md is current" if new == old else "errors.md is rewritten", file=sys.stderr)
