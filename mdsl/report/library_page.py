"""`mdsl list --markdown`: the standard library as a page, docs/stdlib.md."""

from __future__ import annotations

from .library import Entry, Page, all_pages

HEAD = """# The standard library

Written by `mdsl list --markdown` from the comments and formulas of `stdlib/`; do not edit. Each entry has its formula,
its parameters with their dimensions, and its source. Functions have no dimensions of their own: they take what gives
the result shown, in any unit system. `mdsl list pair.morse` shows one on the command line.
"""


def markdown() -> str:
    """The whole library as Markdown."""
    pages = [p for p in all_pages() if p.name not in ("builders", "quantities", "functions")]
    modules = [p for p in pages if not p.name.startswith("units.")]
    units = [p for p in pages if p.name.startswith("units.")]
    index = " · ".join(f"[{p.name}](#{p.name})" for p in modules) + " · [units](#units)"
    parts = [HEAD, f"{index}\n", *map(_module, modules), "## units\n", *map(_units, units)]
    return "\n".join(parts).rstrip() + "\n"


def _module(page: Page) -> str:
    return "\n".join([f"## {page.name}\n", f"{_sentence(page.about)} `use {page.name}`\n", *map(_entry, page.entries)])


def _entry(entry: Entry) -> str:
    lines = [f"### {entry.name}\n"]
    if entry.comment:
        lines.append(f"{_escaped(_sentence(entry.comment))}\n")
    lines += ["```text", entry.text or f"{entry.usage} = {entry.formula}", "```\n"]
    if entry.signature is not None:
        given = [
            f"`{name}`: {kind}" if kind else f"`{name}`" for group in entry.signature.groups for name, kind in group
        ]
        gives = [f"gives {entry.signature.result}"] if entry.signature.result else []
        lines += [f"{'; '.join([', '.join(given), *gives] if given else gives)}\n"] if given or gives else []
    return "\n".join(lines)


def _units(page: Page) -> str:
    shown = ", ".join(f"`{e.name}`" for e in page.entries)
    return f"**{page.name}**: {_sentence(page.about)} {shown}\n"


def _sentence(text: str) -> str:
    return text.rstrip(".") + "."


def _escaped(text: str) -> str:
    """Stars and bars outside of code are not Markdown's."""
    parts = text.split("`")
    return "`".join(p.replace("*", "\\*").replace("|", "\\|") if k % 2 == 0 else p for k, p in enumerate(parts))
