"""What each token of a correct text is for, and the white space that belongs before it.

This is the part of the formatter that knows about single lines: :func:`study` finds the role of every token,
:func:`gaps` the space before it, and :func:`break_rank` where a line may be broken.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from mdsl.grammar.mistakes.stopped_at import CLOSERS, OPERANDS, REDUCTIONS
from mdsl.grammar.tokens import SAME, Token

TIGHT = frozenset(("^", "·", ".", ".."))
CHOSEN = frozenset("*/")  # spaced or not, as the author likes
ARRAYS = frozenset("const param state data table energy quantity observe".split())  # what may have axes
BINARY = frozenset("+ - * / == != < > <= >= and or".split())


@dataclass
class Roles:
    """For each token by its index: what it does. ``opener[k]`` is the innermost bracket open before token k."""

    tokens: list[Token]
    opener: list[int] = field(default_factory=list)
    depth: list[int] = field(default_factory=list)
    unary: set[int] = field(default_factory=set)
    label: set[int] = field(default_factory=set)  # the `-` in `A-B: 1.0`
    opening: set[int] = field(default_factory=set)
    closing: dict[int, int] = field(default_factory=dict)  # a closing bracket or bar -> its opener
    kind: dict[int, str] = field(default_factory=dict)  # opener -> sum, unit, index, axes, use, table, block, |, (


def study(tokens: list[Token]) -> Roles:
    """The roles of the tokens of a text that parses."""
    roles = Roles(tokens)
    stack: list[int] = []
    ended = False  # whether the last token ends an operand
    statement = ""  # the word it begins with, as long as its head lasts
    for k, token in enumerate(tokens):
        text = token.text
        roles.opener.append(stack[-1] if stack else -1)
        roles.depth.append(len(stack))
        before = tokens[k - 1].text if k else ""
        inner = roles.kind.get(stack[-1]) if stack else None
        if not stack and text.isalpha() and token.type != "NAME":
            statement = text
        if not stack and text == "=":
            statement = ""
        if text in CLOSERS or text == "|" and ended and inner == "|":
            opener = stack.pop()
            roles.closing[k] = opener
            ended = roles.kind[opener] != "sum"
        elif text in ("(", "[", "{", "|"):
            roles.opening.add(k)
            roles.kind[k] = _kind(text, before, tokens[k - 1].type if k else "", statement, stack, ended)
            stack.append(k)
            ended = False
        else:
            if text == "-" and not ended:
                roles.unary.add(k)
            if text == "-" and inner == "table" and _in_labels(roles, k):
                roles.label.add(k)
            ended = token.type in OPERANDS
    return roles


def _kind(text: str, before: str, type_before: str, statement: str, stack: list[int], ended: bool) -> str:
    if text == "(":
        return "sum" if before in REDUCTIONS else "use" if statement == "use" else "("
    if text == "[":
        unit = type_before == "NUMBER" or before in ("in", "=")
        return "unit" if unit else "axes" if not stack and statement in ARRAYS else "index"
    return text if text == "|" else "block" if ended or before in ("run", "units", "down") else "table"


def _in_labels(roles: Roles, k: int) -> bool:
    while (text := roles.tokens[k].text) not in ("{", ","):
        if text == ":":
            return False
        k -= 1
    return True


def gaps(roles: Roles) -> list[str]:
    """The space before each token, if it stands on the same line as the one before it."""
    return [_gap(roles, k) if k else "" for k in range(len(roles.tokens))]


def _gap(roles: Roles, k: int) -> str:
    tokens = roles.tokens
    token, before = tokens[k], tokens[k - 1]
    text, last = SAME.get(token.text, token.text), SAME.get(before.text, before.text)
    kind = roles.kind.get(roles.opener[k])
    if k in roles.closing:
        return " " if text == "}" else ""
    if k - 1 in roles.opening:
        return " " if last == "{" else ""
    if text in (",", ";"):
        return ""
    if last == "," and kind == "index":
        return " " if _apart(roles, k) else ""
    if kind == "unit" or k in roles.label or k - 1 in roles.label:
        return ""
    if ".." in (text, last) and (last.endswith(".") and last != ".." or text.startswith(".") and text != ".."):
        return " "  # 1. ..2 is no 1...2
    if text in TIGHT or last in TIGHT or k - 1 in roles.unary:
        return ""
    if text in CHOSEN:
        return " " if _spaced(roles, k) else ""
    if last in CHOSEN:
        return " " if _spaced(roles, k - 1) else ""
    if text == ":":
        return "" if kind == "table" else " "
    if text in ("for", "until", "every"):
        return "  "
    if text == "(" and roles.kind[k] != "use":
        follows = before.type == "NAME" or last in REDUCTIONS or _ends_operand(roles, k - 1)
        return "" if follows else " "
    if text == "[" and roles.kind[k] in ("index", "axes"):
        return ""
    return " "


def _ends_operand(roles: Roles, k: int) -> bool:
    return k in roles.closing and roles.kind[roles.closing[k]] != "sum" and roles.tokens[k].text != "}"


def _apart(roles: Roles, k: int) -> bool:
    return roles.tokens[k - 1].span.end < roles.tokens[k].span.start


def _spaced(roles: Roles, k: int) -> bool:
    return _apart(roles, k) and _apart(roles, k + 1)


def break_rank(roles: Roles, k: int, base: int) -> tuple[int, int] | None:
    """How good a place the space before a token is to break a line (less is better); None where none may be."""
    text, last = roles.tokens[k].text, roles.tokens[k - 1].text
    kind = roles.kind.get(roles.opener[k])
    depth = roles.depth[k] - base
    if kind in ("unit", "sum") or k in roles.label or k in roles.unary or k in roles.closing:
        return None
    if text in ("then", "else"):
        return depth, 0
    if text in ("or", "and"):
        return depth, 1
    if text in BINARY:
        return depth, 2 if text in "+-" else 3 if text not in CHOSEN else 4
    if last == ",":
        return None if kind == "index" else (depth, 0 if depth == 0 else 5)
    if k - 1 in roles.closing and roles.kind[roles.closing[k - 1]] == "sum":
        return depth, 3
    return None
