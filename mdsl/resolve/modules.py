"""Finding what `use` names: modules of the standard library, and the user's own files beside the program."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from importlib import resources
from pathlib import Path

from mdsl.grammar import tree
from mdsl.grammar.diagnostics import Diagnostic, Rejected, suggest
from mdsl.grammar.parse import parse
from mdsl.grammar.source import Source

from .sources import content_of, text_of


def library_modules() -> tuple[str, ...]:
    """The dotted names of all modules of the standard library."""
    root = resources.files("mdsl.stdlib")
    names = [entry.name for entry in root.iterdir() if entry.name.endswith(".mdsl")]
    names += [f"units/{entry.name}" for entry in (root / "units").iterdir() if entry.name.endswith(".mdsl")]
    return tuple(sorted(name.removesuffix(".mdsl").replace("/", ".") for name in names))


def library_source(module: str) -> Source:
    """The text of a module of the standard library."""
    name = module.replace(".", "/") + ".mdsl"
    return Source(f"stdlib/{name}", resources.files("mdsl.stdlib").joinpath(name).read_text(encoding="utf-8"))


def near(name: str, known: Iterable[str]) -> str | None:
    """A sentence that tells where an unknown name is to be had: in a module of the standard library, or spelt
    otherwise."""
    homes: dict[str, str] = {}
    for module in library_modules():
        if not module.startswith("units."):
            homes |= dict.fromkeys(
                re.findall(
                    r"^(?:def|flow|integrator|minimizer|param) (\w+)", library_source(module).text, re.MULTILINE
                ),
                module,
            )
    if name in homes:
        return f"the library has it: `use {homes[name]} ({name})`"
    if (help := suggest(name, known)) is not None:
        return help
    found = next((home for home in homes if f"`{home}`" in (suggest(name, homes) or "")), None)
    return f"did you mean `{found}` of the library? `use {homes[found]} ({found})`" if found else None


def load(use: tree.Use, folder: Path | None) -> tuple[str, tree.Program]:
    """The module that a `use` statement names, parsed.

    The standard library comes first; a file of the user's with such a name would be hidden, which is an
    error, not a surprise. Raises Rejected: ``unknown-module``, ``ambiguous-module``, syntax of the module.
    """
    module = ".".join(use.module)
    own = folder.joinpath(*use.module).with_suffix(".mdsl") if folder else None
    source = library_source(module) if module in library_modules() else None
    if own is not None and own.is_file():
        if source is not None:
            raise Rejected(
                Diagnostic(
                    "ambiguous-module",
                    f"`{module}` is both a module of the standard library and the file {own}",
                    use.span,
                    help="rename the file",
                )
            )
        try:
            source = Source(str(own), text_of(str(own), content_of(own)).replace("\r\n", "\n"))
        except Rejected as rejected:
            raise Rejected(*(replace(d, span=use.span) for d in rejected.diagnostics)) from None
    if source is None:
        nearby = [p.stem for p in folder.glob("*.mdsl") if p.is_file()] if folder else []
        units = f"did you mean `units.{module}`?" if f"units.{module}" in library_modules() else None
        raise Rejected(
            Diagnostic(
                "unknown-module",
                f"there is no module `{module}`",
                use.span,
                help=units
                or suggest(module, (*library_modules(), *nearby))
                or "`mdsl list` shows the standard library",
            )
        )
    return module, parse(source)
