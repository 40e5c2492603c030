"""Text to syntax tree: ``parse(source)``.

After a mistake the parser goes on at the next line that begins a statement, or a step of the block that the
mistake is in, so that one run tells all mistakes of a file.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

from mdsl.grammar.mistakes.explain import explain
from mdsl.grammar.mistakes.stopped_at import Spot, begins_statement, block_opener, openers

from . import tree
from .build import Builder
from .depth import MAX_DEPTH, too_deep
from .diagnostics import Diagnostic, Rejected
from .source import Source, Span
from .tokens import END, Terminals, Token, scan, terminals

MOST_DIAGNOSTICS = 20


def parse(source: Source) -> tree.Program:
    """The syntax tree of a text. Raises :class:`Rejected` with a diagnostic for every syntax error in it."""
    parser, known = _parser()
    end = len(source.text)
    tokens = [*scan(source, known), Token(END, Span(source, end, end))]
    found = [d for token in tokens if token.type == "NUMBER" and (d := _number(token))]
    rest: list[Token] | None = tokens
    statements: tuple[tree.Statement, ...] = ()
    while rest and len(found) < MOST_DIAGNOSTICS:
        statements, at, mistake = _attempt(parser, known, rest)
        if mistake is None:
            break
        found.append(mistake)
        rest = _resume(rest, at)
    if not found:
        found = [d for statement in statements if (d := _depth(statement))]
    if found:
        raise Rejected(*sorted(found, key=lambda d: d.span.start if d.span else 0))
    return tree.Program(Span(source, 0, end), statements)


def tokenize(source: Source) -> list[Token]:
    """The tokens of a text, for who needs more than its tree: the formatter, an editor."""
    return list(scan(source, _parser()[1]))


def _attempt(parser, known: Terminals, tokens: list[Token]):
    """Statements, or the index of the token at which the parser stops and what is wrong there."""
    from lark.exceptions import UnexpectedToken

    run = parser.parse_interactive()
    for at, token in enumerate(tokens):
        try:
            result = run.feed_token(token)
        except Rejected as rejected:
            return (), at, rejected.diagnostics[0]
        except UnexpectedToken:
            return (), at, explain(Spot(parser, known, tokens, at))
    return result, at, None


def _resume(tokens: list[Token], at: int) -> list[Token] | None:
    """The tokens with which to go on after a mistake at ``at``, or None where nothing is left to read.

    Inside a block these are the head of the block, whose mistakes are already told, and its next step.
    """
    block = block_opener(tokens, at)
    head = 0 if block is None else next(k for k in range(block, -1, -1) if k == 0 or begins_statement(tokens, k))
    for k in range(max(at, 1 if block is None else block + 2), len(tokens)):
        if begins_statement(tokens, k):
            return tokens[k:]
        if block is not None and _begins_step(tokens, k) and openers(tokens, k) == [block]:
            return [*tokens[head : block + 1], *tokens[k:]]
    return None


def _begins_step(tokens: list[Token], k: int) -> bool:
    return tokens[k].type == "NAME" and tokens[k].begins_line() and tokens[k + 1].text in ("=", "+=", "~", "(")


def _number(token: Token) -> Diagnostic | None:
    """A number must be representable: `1e999` is not infinity, `1e-999` not zero."""
    digits = token.text.replace("_", "").lower()
    value = float(digits)
    if value == float("inf"):
        return Diagnostic("bad-number", "this number is too large for a floating-point number", token.span)
    if value == 0 and any(d in "123456789" for d in digits.partition("e")[0]):
        return Diagnostic("bad-number", "this number is too small for a floating-point number", token.span)
    return None


def _depth(statement: tree.Statement) -> Diagnostic | None:
    node = too_deep(statement)
    if node is None:
        return None
    message = f"this is nested more than {MAX_DEPTH} levels deep"
    help = "name parts of it in `where` or with `def` (a long sum or product counts one level for each operator)"
    return Diagnostic("nesting", message, node.span, help=help)


@cache
def _parser() -> tuple[object, Terminals]:
    """The LALR(1) parser of the grammar beside this file, built at the first use."""
    from lark import Lark
    from lark.lexer import Lexer

    class Unused(Lexer):
        """The tokens come from :func:`scan`."""

        def __init__(self, conf):
            pass

        def lex(self, state, parser_state):
            raise NotImplementedError

    grammar = Path(__file__).with_name("mdsl.lark").read_text(encoding="utf-8")
    options = {"parser": "lalr", "start": "program", "keep_all_tokens": True, "maybe_placeholders": False}
    parser = Lark(grammar, lexer=Unused, transformer=Builder(), **options)
    return parser, terminals(parser.terminals)
