"""What people write out of habit from other languages and from paper: signs, comments, look-alike characters."""

from __future__ import annotations

import unicodedata

from mdsl.grammar.diagnostics import Diagnostic
from mdsl.grammar.tokens import BAD

from .stopped_at import Spot

# sign -> what to write
SIGNS = {
    "**": "a power is written `a^b`",
    "&&": "write `and`",
    "||": "write `or`",
    "->": "a function is declared by `def f(r) = ...`, a step of a run by `x = ...`",
    "=>": "a function is declared by `def f(r) = ...`; the comparison is `>=`",
    "<->": "write `=`",
    ":=": "write `=`",
    "===": "write `==`",
    "=<": "write `<=`",
    "<>": "write `!=`",
    "-=": "write `x += -(...)`",
    "*=": "write `x = x*...`",
    "/=": "write `x = x/...`; the comparison is `!=`",
    ";": "leave it out: statements and steps need no sign between them",
    "!": "write `not`",
}
COMMENTS = ("//", "/*", "*/", "!", "%", "'", "\\")
# character -> what to write
LOOKS = {
    "×": "`*`",
    "÷": "`/`",
    "−": "`-` (this is U+2212, another character)",
    "–": "`-` (this is U+2013, another character)",
    "—": "`-` (this is U+2014, another character)",
    "≤": "`<=`",
    "≥": "`>=`",
    "≠": "`!=`",
    "∑": "`sum(i < j) ...`",
    "√": "`sqrt(...)`",
    "∈": "`in`",
    "∧": "`and`",
    "∨": "`or`",
    "¬": "`not`",
    "←": "`=`",
    "'": '`"` around texts',
    "‘": '`"` around texts',
    "’": '`"` around texts',
    "“": '`"` around texts',
    "”": '`"` around texts',
    "∞": "a large number, or no cutoff at all",
    "&": "`and`",
    "…": "`..`",
}


def bad_token(spot: Spot) -> Diagnostic | None:
    """A token that is none of the language's."""
    token, text = spot.token, spot.text
    if token.type != BAD:
        return None
    if text.startswith('"'):
        help = "a text ends on the line on which it begins"
        return Diagnostic("unclosed", 'this text has no closing `"`', token.span, help=help)
    if text == "!" and not token.begins_line() and not spot.after_operand:
        return _sign(spot, "!")
    if text in COMMENTS and (token.begins_line() or text in ("//", "/*", "*/") or spot.after_operand and text in "!%"):
        help = "a comment begins with `#` and ends with the line"
        if text == "%":
            help += "; there is no operator for remainders"
        return Diagnostic("foreign-syntax", f"`{text}` begins no comment here", token.span, help=help)
    return _sign(spot, text) if text in SIGNS else _character(spot)


def _sign(spot: Spot, text: str) -> Diagnostic:
    return Diagnostic("foreign-syntax", f"`{text}` is no sign of the language", spot.token.span, help=SIGNS[text])


def _character(spot: Spot) -> Diagnostic:
    text = spot.text
    if len(text) > 1:  # a word with a character that no name can have
        return _word(spot)
    help = f"write {LOOKS[text]}" if text in LOOKS else None
    shown = f"`{text}`" if text.isprintable() and not text.isspace() else f"U+{ord(text):04X}"
    name = unicodedata.name(text, "")
    if not text.isascii() and name:
        shown += f" ({name.lower()})"
    return Diagnostic("bad-character", f"the character {shown} has no meaning here", spot.token.span, help=help)


def _word(spot: Spot) -> Diagnostic:
    for k, character in enumerate(spot.text):
        if unicodedata.decomposition(character).startswith("<super>"):
            power = "".join(unicodedata.normalize("NFKC", c) for c in spot.text[k:])
            message = f"`{spot.text}` is not a name: powers are not written as raised digits"
            return Diagnostic("bad-character", message, spot.token.span, help=f"write `{spot.text[:k]}^{power}`")
    help = "a name has letters, digits and `_`"
    return Diagnostic("bad-character", f"`{spot.text}` is not a name", spot.token.span, help=help)


def doubled_bar(spot: Spot) -> Diagnostic | None:
    """`a || b`: two bars without a space where an operator could stand."""
    if spot.text != "|":
        return None
    for k in (spot.at - 1, spot.at):
        if k >= 0 and [t.text for t in spot.tokens[k : k + 2]] == ["|", "|"]:
            first, second = (t.span for t in spot.tokens[k : k + 2])
            if first.end == second.start:
                message = "`||` is no sign of the language"
                return Diagnostic("foreign-syntax", message, first.to(second), help=SIGNS["||"])
    return None


def semicolon(spot: Spot) -> Diagnostic | None:
    return _sign(spot, ";") if spot.text == ";" else None
