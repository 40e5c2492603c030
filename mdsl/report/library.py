"""`mdsl list`: what the standard library and the language have, with formulas and sources."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from mdsl.grammar import tree
from mdsl.grammar.diagnostics import Diagnostic, Rejected, suggest
from mdsl.grammar.layout.format import format_expression
from mdsl.grammar.parse import parse
from mdsl.grammar.source import Source
from mdsl.model.operators import BUILTINS, CALLABLE, FUNCTIONALS, OPERATORS
from mdsl.model.signatures import Signature, signature
from mdsl.resolve.builders import BUILDERS, Builder
from mdsl.resolve.modules import library_modules, library_source

WIDTH = 50  # of the first column, at most
LONGEST = 120  # of the steps of a scheme in a table


@dataclass(frozen=True)
class Entry:
    """A line of a table: how a thing is written, what it is, what is said of it, and of which dimensions it is made.
    ``text`` is the whole of a flow or integrator, as it is written."""

    name: str
    usage: str
    formula: str = ""
    comment: str = ""
    signature: Signature | None = None
    text: str = ""


@dataclass(frozen=True)
class Page:
    name: str
    about: str
    entries: tuple[Entry, ...]


def listing(name: str | None = None, colour: bool = False, columns: int | None = None) -> str:
    """The table of a module, one entry of it, or everything, in lines of at most so many ``columns`` (None: however
    long). Raises Rejected: ``bad-option``."""
    pages = {p.name: p for p in all_pages()}
    if name is None:
        return _overview(list(pages.values()), colour, columns)
    if name in pages:
        return _table(pages[name], colour, columns)
    if name == "units":
        return "\n".join(_table(p, colour, columns) for n, p in pages.items() if n.startswith("units."))
    module, _, entry = name.rpartition(".")
    found = [(p, e) for p in pages.values() for e in p.entries if e.name == entry and module in (p.name, "")]
    if not found:
        known = [
            *pages,
            *(f"{p.name}.{e.name}" for p in pages.values() for e in p.entries),
            *(e.name for p in pages.values() for e in p.entries),
        ]
        help = suggest(name, known) or f"there are {', '.join(pages)}"
        raise Rejected(Diagnostic("bad-option", f"the library has no `{name}`", help=help))
    return "\n".join(_table(Page(p.name, "", (e,)), colour, columns) for p, e in found)


def all_pages() -> list[Page]:
    pages = [_module(name) for name in library_modules() if name != "prelude"]
    return [*pages, _builders(), _quantities(), _functions()]


# -- modules -------------------------------------------------------------------------------------------


def _module(name: str) -> Page:
    source = library_source(name)
    program = parse(source)
    entries = [e for s in program.statements for e in _entries(s, source)]
    return Page(name, _about(source), tuple(entries))


def _about(source: Source) -> str:
    """The comment with which a module begins."""
    lines = []
    for line in source.text.splitlines():
        if not line.startswith("#"):
            break
        lines.append(line.removeprefix("#").strip())
    return " ".join(lines)


def _entries(statement: tree.Statement, source: Source) -> list[Entry]:
    comment, kinds = comment_of(source, statement)
    match statement:
        case tree.Def(name=name, groups=groups, value=value, where=where):
            return [
                Entry(name.id, name.id + _parameters(*groups), format_expression(value) + _where(where), comment, kinds)
            ]
        case tree.Flow(name=name, parameters=parameters) | tree.Integrator(name=name, parameters=parameters):
            kind = statement.kind if isinstance(statement, tree.Integrator) else "flow"
            given = ", ".join(
                p.id if p.default is None else f"{p.id} = {format_expression(p.default)}" for p in parameters
            )
            return [
                Entry(
                    name.id, f"{kind} {name.id}({given})", _steps(statement.body), comment, kinds, statement.span.text
                )
            ]
        case tree.Declaration(kind=kind, name=name, axes=axes, value=value):
            index = f"[{', '.join(a.name for a in axes)}]" if axes else ""
            return [Entry(name.id, f"{kind} {name.id}{index}", format_expression(value), comment, kinds)]
        case tree.Equation(kind=kind, name=name, axes=axes, value=value, where=where):
            index = f"[{', '.join(a.name for a in axes)}]" if axes else ""
            return [Entry(name.id, name.id + index, format_expression(value) + _where(where), comment)]
        case tree.UnitDecl(name=name, value=value, dimension=dimension):
            return [
                Entry(name.id, name.id, dimension or format_expression(value))
            ]  # comments head whole groups of units
        case tree.UnitSystem(entries=entries):
            return [Entry(n.id, n.id, " ".join(u.span.text.split())) for n, u in entries]
    return []


def _parameters(*groups: Sequence[tree.Identifier]) -> str:
    return "".join(f"({', '.join(p.id for p in group)})" for group in groups)


def _where(where: Sequence[tree.Binding]) -> str:
    bindings = (f"{b.name.id}{_parameters(*b.groups)} = {format_expression(b.value)}" for b in where)
    return f" where {', '.join(bindings)}" if where else ""


def _steps(body: Sequence[tree.Node]) -> str:
    """The first steps, or all where these are few."""
    steps = [" ".join(step.span.text.split()) for step in body]
    kept = [s for k, s in enumerate(steps) if len("; ".join(steps[: k + 1])) <= LONGEST]
    return "; ".join(kept if len(kept) == len(steps) else [*kept, "..."])


def comment_of(source: Source, node: tree.Node) -> tuple[str, Signature | None]:
    """The comment on the lines above a statement and those beside it, and the signature with which the former ends."""
    first, last = node.span.line, source.position(node.span.end)[0]
    above = []
    for number in range(first - 1, 0, -1):
        line = source.line(number).strip()
        if not line.startswith("#") or line.startswith("# --"):
            break
        above.append(line.removeprefix("#").strip())
    kinds = signature(above[0]) if above else None
    if kinds is not None:
        del above[0]
    lines = range(first, last + 1) if not isinstance(node, tree.Flow | tree.Integrator) else (first,)
    beside = [source.line(n).partition("#")[2].strip() for n in lines]
    parts = [" ".join(reversed(above)), *beside]
    return "; ".join(p for p in parts if p), kinds


# -- what the language has of its own ------------------------------------------------------------------


def _builders() -> Page:
    entries = tuple(
        Entry(name, f"{b.target} {b.op} {name}({_options(b)})", "", b.meaning + _space(b))
        for name, b in BUILDERS.items()
    )
    return Page("builders", "What a run block can set up; options in brackets may be left out", entries)


def _options(builder: Builder) -> str:
    return ", ".join(o.name if o.required else f"[{o.name}]" for o in builder.options)


def _space(builder: Builder) -> str:
    return f", in {builder.dim} dimensions" if builder.dim else ""


def _quantities() -> Page:
    entries = [
        Entry(
            n,
            n + ("[i]" if b.per_atom else ""),
            "",
            f"{b.meaning} ({b.kind}{'' if b.dimension == 'a pure number' else ', ' + b.dimension})",
        )
        for n, b in BUILTINS.items()
    ]
    return Page("quantities", "What every program can read", (*entries, *_module("prelude").entries))


def _functions() -> Page:
    entries = [
        Entry(
            n,
            f"{n}({', '.join('abcd'[: OPERATORS[n].arity])})",
            "",
            "" if OPERATORS[n].meaning == f"{n}(a)" else OPERATORS[n].meaning,
        )
        for n in CALLABLE
    ]
    takers = [
        Entry(n, usage, "", meaning.strip())
        for n, text in FUNCTIONALS.items()
        for usage, _, meaning in [text.partition(":")]
    ]
    return Page("functions", "What every program can call", (*entries, *takers))


# -- text ----------------------------------------------------------------------------------------------


def _painter(colour: bool) -> Callable[[str, str], str]:
    return lambda code, text: f"\x1b[{code}m{text}\x1b[0m" if colour else text


def _folded(text: str, columns: int | None, before: int = 0, then: int = 0, mark: str = "") -> list[str]:
    """A text in lines that end before so many ``columns``, of which the first begins behind ``before`` others and those
    that follow behind ``then``, which stand there as spaces; each begins with ``mark``. None: one line."""
    if columns is None:
        return [mark + text]
    room = max(columns, before + len(mark) + 20)
    first, more = " " * before + mark, " " * then + mark
    lines = textwrap.wrap(
        text, room, initial_indent=first, subsequent_indent=more, break_long_words=False, break_on_hyphens=False
    )
    return [line[before:] if k == 0 else line for k, line in enumerate(lines)] or [""]


def _under(text: str, columns: int, indent: int) -> list[tuple[str, str]]:
    """The lines of a text, each with the spaces before it, which are four more from the second on."""
    lines = _folded(text, columns, indent, indent + 4)
    return [(" " * (indent if k == 0 else indent + 4), line.strip()) for k, line in enumerate(lines) if line]


def _overview(pages: list[Page], colour: bool, columns: int | None) -> str:
    paint = _painter(colour)
    width = max(len(p.name) for p in pages)
    out = []
    for page in pages:
        about, *more = _folded(page.about, columns, width + 2, width + 2)
        out += [f"{paint('1', page.name)}{' ' * (width - len(page.name))}  {about}".rstrip(), *more]
        names = ", ".join(e.name for e in page.entries)
        if page.name != "units.names" and not (page.name.startswith("units.") and page.name != "units"):
            first, *more = _folded(names, columns, width + 2, width + 2)
            out += [" " * (width + 2) + first, *more]
    last = "`mdsl list pair` shows a module with its formulas, `mdsl list pair.morse` one of its functions."
    return "\n".join([*out, "", *_folded(last, columns)]) + "\n"


def _table(page: Page, colour: bool, columns: int | None) -> str:
    paint = _painter(colour)
    first, *more = _folded(page.about, columns, len(page.name) + 2) if page.about else [""]
    out = [paint("1", page.name) + (f": {first}" if first else ""), *more]
    width = max((len(e.usage) for e in page.entries if len(e.usage) <= WIDTH), default=0)
    width = width if columns is None else min(width, 2 * columns // 5)
    indent = " " * (width + 4 if columns is None else 6)
    for entry in page.entries:
        beside, below = (entry.formula, entry.comment) if entry.formula else (entry.comment, "")
        line = f"  {entry.usage}{' ' * (width - len(entry.usage))}  {beside}".rstrip()
        if columns is None or len(line) <= columns:
            out.append(f"  {paint('36', entry.usage)}{line[2 + len(entry.usage) :]}")
        else:  # under it instead of beside it
            out += [f"{lead}{paint('36', u)}" for lead, u in _under(entry.usage, columns, 2)]
            out += [lead + text for lead, text in _under(beside, columns, 6)]
        said = [below] if below else []
        said += [str(entry.signature)] if entry.signature is not None and str(entry.signature) else []
        for text in said:
            lines = _folded(text, columns, len(indent), len(indent), "# ")
            out += [indent + paint("2", line.strip()) for line in lines]
        if entry.formula.endswith("...") and len(page.entries) == 1:
            out += ["", *(f"    {line}" for line in entry.text.splitlines())]
    return "\n".join(out) + "\n"
