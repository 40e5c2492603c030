"""``mdsl fmt``: a program in canonical layout, with its comments.

Only white space changes: spelling, parentheses, numbers, the order of everything stay as the author wrote them, so
that what comes out says exactly what went in. Choices of the author that are kept: line breaks where a line may be
broken, blank lines between statements (one), spaces around `*` and `/`, the alignment of `=` in a run of
statements (made exact where there is any), and the column of trailing comments.
"""

from __future__ import annotations

from itertools import pairwise

from mdsl.grammar import tree
from mdsl.grammar.diagnostics import Rejected
from mdsl.grammar.parse import parse, tokenize
from mdsl.grammar.source import Source

from .expressions import expression as format_expression
from .lines import INDENT, Chunk, Line, Text, comment_text, lay, text_of
from .spacing import study
from .statements import statement as statement_text

__all__ = ["format_expression", "format_program", "format_statement"]

DECLARATIONS = ("const", "param", "state", "table", "learned")
EQUATIONS = ("energy", "quantity", "observe")
BLOCKS = (tree.Flow, tree.Integrator, tree.Run, tree.UnitSystem)
FARTHEST_COMMENT = 100


def format_program(program: tree.Program, source: Source) -> str:
    """The text of a program in canonical layout; ``source`` is the text that the program was parsed from."""
    text = text_of(study(tokenize(source)), source)
    index = {token.span.start: k for k, token in enumerate(text.tokens)}
    starts = [index[s.span.start] for s in program.statements] + [len(text.tokens)]
    chunks: list[Chunk] = []
    for statement, start, end in zip(program.statements, starts, starts[1:], strict=False):
        chunks += _chunks(text, statement, start, end, index)
    _align(text, chunks)
    lines: list[Line] = []
    for chunk in chunks:
        lines += _before(text, chunk, first=not lines or lines[-1].code.endswith("{"))
        lines += lay(text, chunk)
    lines += _notes(text, len(text.tokens), 0, first=not lines)
    return "".join(line + "\n" for line in _with_comments(lines))


def format_statement(statement: tree.Statement) -> str:
    """A statement in canonical layout, from its tree alone."""
    source = Source("<tree>", statement_text(statement))
    try:
        return format_program(parse(source), source).rstrip("\n")
    except Rejected:  # names that no text could have, or deeper than the parser goes: to be shown all the same
        return source.text


# -- statements as chunks ------------------------------------------------------------------------------


def _chunks(text: Text, statement: tree.Statement, start: int, end: int, index) -> list[Chunk]:
    head = text.tokens[start].text
    depth = text.roles.depth
    if not isinstance(statement, BLOCKS):
        key = "declaration" if head in DECLARATIONS else "equation" if head in EQUATIONS else head
        signs = (k for k in range(start, end) if depth[k] == 0 and text.tokens[k].text in ("=", ":"))
        return [Chunk(start, end, 0, key, next(signs, None))]
    brace = _block(text, start, end)
    key = "flow" if isinstance(statement, tree.Flow | tree.Integrator) else ""
    cell = brace if key else None
    if _inline(text, statement, brace, end):
        return [Chunk(start, end, 0, key, cell)]
    items = _items(text, statement, index)
    chunks = [Chunk(start, brace + 1, 0, key, cell)]
    for (first, indent), (after, _) in pairwise([*items, (end - 1, 0)]):
        signs = (k for k in range(first, after) if depth[k] == depth[first] and text.tokens[k].text in ("=", "+=", "~"))
        word = text.tokens[first].text
        item = word if word in ("state", "observe", "for") else "item"
        chunks.append(Chunk(first, after, indent, item if indent == INDENT else "", next(signs, None)))
    return [*chunks, Chunk(end - 1, end)]


def _block(text: Text, start: int, end: int) -> int:
    """The brace that opens a block."""
    return next(k for k in range(start, end) if text.roles.kind.get(k) == "block")


def _inline(text: Text, statement: tree.Statement, brace: int, end: int) -> bool:
    """Whether a block stays on the line of its brace: flows and integrators that are written so."""
    if brace + 2 == end:
        return not text.notes[brace + 1]
    if isinstance(statement, tree.Run) or any(text.notes[brace + 1 : end]):
        return False
    return "\n" not in text.between(brace + 1)


def _items(
    text: Text, statement: tree.Flow | tree.Integrator | tree.Run | tree.UnitSystem, index
) -> list[tuple[int, int]]:
    """The first tokens of the lines in a block, and their indents."""
    if isinstance(statement, tree.UnitSystem):
        return [(index[name.span.start], INDENT) for name, _ in statement.entries]
    return _steps(text, statement, index, INDENT)


def _steps(
    text: Text, block: tree.Flow | tree.Integrator | tree.Run | tree.Loop, index, indent: int
) -> list[tuple[int, int]]:
    items = []
    alone = True  # whether what came before ends its line
    for step in block.body:
        first = index[step.span.start]
        # Flows of an integrator may share a line.
        if alone or text.notes[first] or "\n" in text.between(first):
            items.append((first, indent))
        alone = isinstance(block, tree.Run)
        if isinstance(step, tree.Advance):
            items += [(index[output.span.start], 2 * INDENT) for output in step.outputs]
        if isinstance(step, tree.Loop):
            last = next(n for n in range(first, len(text.tokens)) if text.tokens[n].span.end == step.span.end)
            brace = _block(text, first, last)
            if any(text.notes[brace + 1 : last + 1]) or step.body and "\n" in text.between(brace + 1):
                items += [*_steps(text, step, index, indent + INDENT), (last, indent)]
                alone = True
    return items


# -- alignment -----------------------------------------------------------------------------------------


def _align(text: Text, chunks: list[Chunk]) -> None:
    """Pad the heads of chunks that follow each other, where the author padded at least one of them."""
    run: list[Chunk] = []
    for chunk in chunks:
        same = run and (chunk.key, chunk.indent) == (run[-1].key, run[-1].indent)
        if not same or _blank_before(text, chunk.start):
            _pad_run(text, run)
            run = []
        if chunk.cell is not None and not _hangs(text, chunk.cell):
            run.append(chunk)
    _pad_run(text, run)
    for chunk in chunks:
        _align_bindings(text, chunk)


def _pad_run(text: Text, run: list[Chunk]) -> None:
    _pad(text, [(c.start, c.cell) for c in run if c.cell is not None])


def _hangs(text: Text, cell: int) -> bool:
    """Whether the value begins on the next line: then its `=` need not stand under others."""
    sign = text.tokens[cell].text
    breaks = "\n" in text.between(cell + 1) if sign in ("=", "+=", "~") else text.notes[cell + 1]
    return sign != "{" and bool(breaks)


def _align_bindings(text: Text, chunk: Chunk) -> None:
    depth = text.roles.depth
    outer = (k for k in range(chunk.start, chunk.end) if depth[k] == depth[chunk.start])
    where = [k for k in outer if text.tokens[k].text == "where"]
    if not where:
        return
    heads = []
    for k in range(where[0] + 1, chunk.end):
        starts = k - 1 == where[0] or text.tokens[k - 1].text == "," and "\n" in text.between(k)
        if starts and depth[k] == depth[chunk.start]:
            heads.append((k, next(n for n in range(k, chunk.end) if text.tokens[n].text == "=")))
    _pad(text, heads)


def _pad(text: Text, heads: list[tuple[int, int]]) -> None:
    if not any(_padded(text, cell) for _, cell in heads):
        return
    widths = [(_width(text, start, cell), cell) for start, cell in heads]
    # A head with a range, `shift[k in 1..16]`, counts without it and sticks out.
    most = max(_width(text, start, _without_range(text, start, cell)) for start, cell in heads)
    text.pads.update({cell: max(0, most - width) for width, cell in widths})


def _padded(text: Text, cell: int) -> bool:
    gap = text.between(cell)
    return len(gap) > 1 and not gap.strip(" ")


def _width(text: Text, start: int, end: int) -> int:
    return sum(len(text.tokens[k].text) + (len(text.gap[k]) if k > start else 0) for k in range(start, end))


def _without_range(text: Text, start: int, cell: int) -> int:
    words = [text.tokens[k].text for k in range(start, cell)]
    return start + words.index("[") if "in" in words and "[" in words else cell


# -- comments and blank lines --------------------------------------------------------------------------


def _blank_before(text: Text, k: int) -> bool:
    """Whether a blank line stands between token ``k`` and the one before it."""
    return any(line.strip() == "" for line in text.between(k).split("\n")[1:-1])


def _before(text: Text, chunk: Chunk, first: bool) -> list[Line]:
    closes = text.tokens[chunk.start].text == "}"
    lines = _notes(text, chunk.start, chunk.indent + INDENT if closes else chunk.indent, first)
    gap = text.between(chunk.start)
    after = gap[gap.rfind("#") :] if lines else gap
    return lines + [Line("")] * (after.count("\n") > 1 and not closes and not (first and not lines))


def _notes(text: Text, k: int, indent: int, first: bool) -> list[Line]:
    """The comments on lines of their own before token ``k``, with blank lines between them (at most one)."""
    lines: list[Line] = []
    end = text.tokens[k - 1].span.end if k else 0
    if k and (trailing := text.trailing(k - 1)):
        end = trailing.end
    for note in text.own_line(k):
        if note.source.text.count("\n", end, note.start) > 1 and (lines or not first):
            lines.append(Line(""))
        lines.append(Line(" " * indent + comment_text(note)))
        end = note.end
    return lines


def _with_comments(lines: list[Line]) -> list[str]:
    """The lines with their trailing comments, those of adjacent lines in one column."""
    out: list[str] = []
    for k, line in enumerate(lines):
        if not line.comment:
            out.append(line.code)
            continue
        low, high = k, k + 1
        while low and lines[low - 1].comment:
            low -= 1
        while high < len(lines) and lines[high].comment:
            high += 1
        group = lines[low:high]
        chosen = [g.column for g in group if g.column <= FARTHEST_COMMENT]
        out.append(line.code.ljust(max(max(len(g.code) + 2 for g in group), max(chosen, default=0))) + line.comment)
    return out
