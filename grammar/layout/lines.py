"""A part of the text as lines: where they break, and how far they are indented."""

from __future__ import annotations

from dataclasses import dataclass, field

from mdsl.grammar.source import Span
from mdsl.grammar.tokens import SAME, comments

from .spacing import BINARY, Roles, break_rank, gaps

WIDTH = 120
INDENT = 2


@dataclass
class Line:
    code: str
    comment: str = ""
    column: int = 0  # at which the author wrote the comment, if two spaces or more stood before it


@dataclass(frozen=True)
class Chunk:
    """The tokens ``start`` up to ``end`` of a statement, a step or the head of a block.

    ``cell`` is the token before which chunks of one ``key`` that follow each other may be aligned.
    """

    start: int
    end: int
    indent: int = 0
    key: str = ""
    cell: int | None = None


@dataclass
class Text:
    """The tokens of a text, what they are for, and the comments between them (``notes[k]``: before token k)."""

    roles: Roles
    gap: list[str]
    notes: list[list[Span]]
    pads: dict[int, int] = field(default_factory=dict)

    @property
    def tokens(self):
        return self.roles.tokens

    def between(self, k: int) -> str:
        """The characters before token ``k`` and after the one before it."""
        start = self.tokens[k - 1].span.end if k else 0
        span = self.tokens[k].span if k < len(self.tokens) else None
        source = (span or self.tokens[-1].span).source if self.tokens else None
        return source.text[start : span.start if span else len(source.text)] if source else ""

    def trailing(self, k: int) -> Span | None:
        """The comment on the line on which token ``k`` ends."""
        notes = self.notes[k + 1]
        if notes and "\n" not in notes[0].source.text[self.tokens[k].span.end : notes[0].start]:
            return notes[0]
        return None

    def own_line(self, k: int) -> list[Span]:
        """The comments on lines of their own before token ``k``."""
        return [n for n in self.notes[k] if not (k and n is self.trailing(k - 1))]


def text_of(roles: Roles, source) -> Text:
    tokens = roles.tokens
    edges = [0, *(t.span.end for t in tokens)], [*(t.span.start for t in tokens), len(source.text)]
    return Text(roles, gaps(roles), [comments(source, a, b) for a, b in zip(*edges, strict=True)])


def lay(text: Text, chunk: Chunk) -> list[Line]:
    """The lines of a chunk; lines that are too long are broken before an operator or after a comma."""
    breaks = _breaks(text, chunk)
    while True:
        lines, places = _build(text, chunk, breaks)
        long = {n for n, line in enumerate(lines) if len(line.code) > WIDTH}
        best = None
        for k, (n, column, indent) in places.items():
            rank = break_rank(text.roles, k, text.roles.depth[chunk.start])
            if n in long and rank is not None and k not in breaks and indent < column <= WIDTH:
                score = (n, rank, -column)
                best = min(best, (score, k)) if best else (score, k)
        if best is None:
            return lines
        breaks.add(best[1])


def _breaks(text: Text, chunk: Chunk) -> set[int]:
    """Where the author broke lines, as far as lines may be broken there, and where a comment breaks them."""
    tokens, roles = text.tokens, text.roles
    base = roles.depth[chunk.start]
    found = set()
    for k in range(chunk.start + 1, chunk.end):
        if text.notes[k] or tokens[k].text == "where" and roles.depth[k] == base:
            found.add(k)
        elif "\n" in text.between(k):
            at = k - 1 if tokens[k - 1].text in BINARY and k - 1 not in roles.unary and k - 1 > chunk.start else k
            if _may_break(roles, at, chunk, found):
                found.add(at)
    return found


def _may_break(roles: Roles, k: int, chunk: Chunk, found: set[int]) -> bool:
    if k in roles.closing:
        return roles.closing[k] + 1 in found
    last = roles.tokens[k - 1].text
    if k - 1 in roles.opening:
        return roles.kind[k - 1] in ("(", "use", "table")
    starts_value = last in ("=", "+=", "~") and k - 1 == chunk.cell
    in_block = roles.kind.get(roles.opener[k]) == "block" and roles.tokens[k].type == "NAME"
    starts_step = in_block and last not in ("=", "+=", "~", *BINARY)
    return starts_value or starts_step or last in ("then", "else") or break_rank(roles, k, 0) is not None


@dataclass
class _Frame:
    """An open bracket: where lines inside it begin, and the line of the bracket itself."""

    column: int
    base: int
    hanging: bool = False


def _build(text: Text, chunk: Chunk, breaks: set[int]):
    """The lines for a set of breaks, and for each token its line, its column, and the indent a break would give."""
    roles = text.roles
    lines: list[Line] = []
    places: dict[int, tuple[int, int, int]] = {}
    first = text.tokens[chunk.start]
    start = INDENT if first.type == "NAME" else len(first.text) + 1
    frames = [_Frame(chunk.indent + start, chunk.indent)]
    current = base = " " * chunk.indent
    for k in range(chunk.start, chunk.end):
        token = text.tokens[k]
        frame = frames[-1]
        indent = frame.base if k in roles.closing and frame.hanging else frame.column
        if k in breaks:
            if current.strip():
                lines.append(Line(current))
            lines += [Line(" " * indent + comment_text(note)) for note in text.own_line(k)]
            current = base = " " * indent
        elif k > chunk.start:
            current += text.gap[k] + " " * text.pads.get(k, 0)
        places[k] = len(lines), len(current), indent
        current += SAME.get(token.text, token.text)
        hanging = k + 1 in breaks
        if k in roles.opening and token.text != "|":
            column = len(base) + INDENT if hanging else len(current) + (token.text == "{")
            frames.append(_Frame(column, len(base), hanging))
        elif k in roles.closing and token.text != "|":
            frames.pop()
        elif token.text == "where":
            frames[0].column = len(current) + 1
        elif k == chunk.cell and token.text != "{":
            frames[0].column = chunk.indent + INDENT if hanging else len(current) + 1
        if note := text.trailing(k):
            lines.append(Line(current, comment_text(note), _column(note)))
            current = ""
    if current.strip():
        lines.append(Line(current))
    return lines, places


def comment_text(span: Span) -> str:
    return span.text.rstrip()


def _column(span: Span) -> int:
    line, column = span.source.position(span.start)
    before = span.source.line(line)[: column - 1].expandtabs(4)
    return len(before) if before.endswith("  ") else 0
