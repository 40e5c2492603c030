"""The text as a sequence of tokens, by the terminals of the grammar and without regard to the parser's state.

Besides the tokens of the language the scanner makes tokens of what people write by mistake (`**`, `&&`, `//`,
a string without an end, a character of no meaning), so that :mod:`.mistakes` can say what is wrong.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from .source import Source, Span

END = "$END"
BAD = "BAD"  # no terminal of the grammar has this name
SAME = {"⋅": "·", "∙": "·"}
# Signs that the language does not have, and that are no two signs of it in any place either; longest first.
FOREIGN = ("<->", "===", "**", "&&", "//", "/*", "*/", "->", "=>", "=<", "<>", ":=", "-=", "*=", "/=")
_BROKEN_STRING = r'"[^"\n]*'
_NOTHING = re.compile(r"(?:[\s\ufeff]+|#[^\n]*)+")


@dataclass(frozen=True, slots=True)
class Token:
    """A token: the name of its terminal, and its place. ``type`` is the name under which the parser knows it."""

    type: str
    span: Span

    @property
    def text(self) -> str:
        return self.span.source.text[self.span.start : self.span.end]

    def begins_line(self) -> bool:
        """Whether nothing but white space stands before it on its line."""
        text = self.span.source.text
        return not text[text.rfind("\n", 0, self.span.start) + 1 : self.span.start].strip()


@dataclass(frozen=True)
class Terminals:
    """The terminals of a grammar: literals by their text, the others as patterns in one expression."""

    literals: dict[str, str]
    pattern: re.Pattern[str]

    @property
    def words(self) -> frozenset[str]:
        return frozenset(text for text in self.literals if text.isalpha())


def terminals(definitions) -> Terminals:
    """Read the terminals off a Lark grammar (``definitions``: its list of terminal definitions)."""
    literals = {t.pattern.value: t.name for t in definitions if t.pattern.type == "str"}
    # Words that are words only where something follows go before names.
    regular = sorted(
        ((t.name, t.pattern.to_regexp()) for t in definitions if t.pattern.type == "re"), key=lambda r: r[0] == "NAME"
    )
    signs = sorted((text for text in literals if not text.isalpha()), key=len, reverse=True)
    signs = [s for s in signs if len(s) == 2] + list(SAME) + [s for s in signs if len(s) == 1]
    alternatives = ["(?P<FOREIGN>" + "|".join(map(re.escape, FOREIGN)) + ")"]
    alternatives += [f"(?P<{name}>{expression})" for name, expression in regular]
    alternatives.append(f"(?P<BROKEN>{_BROKEN_STRING})")
    alternatives.append("(?P<SIGN>" + "|".join(map(re.escape, signs)) + ")")
    return Terminals(literals, re.compile("|".join(alternatives)))


def scan(source: Source, known: Terminals) -> Iterator[Token]:
    """The tokens of a text, without an end token. Never fails: what is no token is of type BAD."""
    text, at = source.text, 0
    literals, match = known.literals, known.pattern.match
    while True:
        if blank := _NOTHING.match(text, at):
            at = blank.end()
        if at == len(text):
            return
        found = match(text, at)
        if found is None:
            yield Token(BAD, Span(source, at, at + 1))
            at += 1
            continue
        kind, word = str(found.lastgroup), found.group()
        if kind == "SIGN":
            kind = literals[SAME.get(word, word)]
        elif kind == "NAME":
            name = canonical(word)
            kind = literals.get(word) or (BAD if name is None or name in literals else "NAME")
        elif kind in ("BROKEN", "FOREIGN"):
            kind = BAD
        yield Token(kind, Span(source, at, found.end()))
        at = found.end()


def comments(source: Source, start: int, end: int) -> list[Span]:
    """The comments in a part of the text that holds no token."""
    return [Span(source, start + m.start(), start + m.end()) for m in re.finditer(r"#[^\n]*", source.text[start:end])]


@cache
def canonical(word: str) -> str | None:
    """The identifier that a word spells: NFKC, with the ASCII name for every Greek letter; None if it spells none."""
    if word.isascii():
        return word
    if any(unicodedata.decomposition(c).startswith(("<super>", "<fraction>")) for c in word):
        return None  # r² is not a name
    name = "".join(_greek(c) or c for c in unicodedata.normalize("NFKC", word))
    return name if re.fullmatch(r"[^\W\d]\w*", name) else None


def _greek(character: str) -> str | None:
    words = unicodedata.name(character, "").split()
    if words[:1] != ["GREEK"] or words[2:3] != ["LETTER"] or len(words) not in (4, 5):
        return None
    if len(words) == 5 and words[3] != "FINAL":
        return None
    name = "lambda" if words[-1] == "LAMDA" else words[-1].lower()
    return name.capitalize() if words[1] == "CAPITAL" else name
