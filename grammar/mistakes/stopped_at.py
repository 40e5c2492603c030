"""The place at which the parser stopped: the tokens around it, what was open, what could have followed."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from mdsl.grammar.source import Span
from mdsl.grammar.tokens import END, Terminals, Token

PAIRS = {"(": ")", "[": "]", "{": "}", "|": "|"}
CLOSERS = {close: open for open, close in PAIRS.items() if close != "|"}
STATEMENTS = frozenset(
    "use dim species frozen topology box const param state data table learned extern def energy quantity observe "
    "unit units "
    "flow integrator minimizer run".split()
)
# Statements whose word may also name an axis or an argument.
SOFT = frozenset("species units unit box data table state".split())
# What an expression can end with, so that a bar after it closes and a sign after it joins two operands.
OPERANDS = frozenset(("NAME", "NUMBER", "STRING", "DIM"))

OPERAND_TYPES = ("NAME", "NUMBER", "STRING")
REDUCTIONS = ("sum", "largest", "smallest")
OPERAND_SIGNS = ("(", "{", *REDUCTIONS, "if", "not", "|")


@dataclass(frozen=True)
class Spot:
    """``tokens[at]`` is the first token that does not fit; all before it do."""

    parser: Any
    known: Terminals
    tokens: list[Token]
    at: int

    @property
    def token(self) -> Token:
        return self.tokens[self.at]

    @property
    def text(self) -> str:
        return self.token.text

    def peek(self, distance: int) -> str:
        """The text of the token so far away; empty outside of the text."""
        k = self.at + distance
        return self.tokens[k].text if 0 <= k < len(self.tokens) else ""

    @property
    def before(self) -> Token | None:
        return self.tokens[self.at - 1] if self.at else None

    @property
    def left(self) -> Token:
        """The token before, where there must be one: what stands here follows something."""
        return self.tokens[self.at - 1]

    @property
    def at_end(self) -> bool:
        return self.token.type == END

    @property
    def is_word(self) -> bool:
        return self.text in self.known.words

    @property
    def new_line(self) -> bool:
        return self.at_end or self.token.begins_line()

    @cached_property
    def _run(self):
        run = self.parser.parse_interactive()
        for token in self.tokens[: self.at]:
            run.feed_token(token)
        return run

    @cached_property
    def _accepted(self) -> frozenset[str]:
        return frozenset(self._run.accepts())

    def expects(self, what: str) -> bool:
        """Whether a terminal (``NAME``) or a literal of the language (``=``) could have come here."""
        return self.known.literals.get(what, what) in self._accepted

    @property
    def wants_operand(self) -> bool:
        return self.expects("NUMBER") and self.expects("STRING")

    @property
    def after_operand(self) -> bool:
        """Whether an expression is complete here, and an operator could follow."""
        return self.expects("+")

    def fits_as_name(self) -> bool:
        """Whether the parser would go on past this token if it were a name."""
        from lark.exceptions import UnexpectedToken

        if not self.expects("NAME") or self.at + 1 >= len(self.tokens):
            return False
        run = self._run.copy(deepcopy_values=False)
        try:
            run.feed_token(Token("NAME", self.token.span))
            run.feed_token(self.tokens[self.at + 1])
        except UnexpectedToken:
            return False
        return True

    @cached_property
    def opened(self) -> list[int]:
        """The brackets that are open here, outermost first, by their index."""
        return openers(self.tokens, self.at)

    @property
    def innermost(self) -> str:
        return self.tokens[self.opened[-1]].text if self.opened else ""

    def since(self, k: int) -> list[int]:
        """The indices after ``k`` and before this place that stand in no bracket opened after ``k``."""
        inside, depth = [], 0
        for n in range(k + 1, self.at):
            text = self.tokens[n].text
            depth -= text in CLOSERS
            if depth == 0:
                inside.append(n)
            depth += text in PAIRS and text != "|"
        return inside

    def gap(self) -> Span:
        """The place just after the last token that fits."""
        if self.before is None:
            return self.token.span
        end = self.before.span.end
        return Span(self.token.span.source, end, min(end + 1, len(self.token.span.source.text)))


def openers(tokens: list[Token], at: int) -> list[int]:
    """The indices of the brackets that are open before ``tokens[at]``."""
    stack: list[int] = []
    ended = False  # whether the last token ends an operand, so that a bar closes
    for k, token in enumerate(tokens[:at]):
        text = token.text
        if text == "|" and ended and stack and tokens[stack[-1]].text == "|":
            stack.pop()
        elif text in PAIRS:
            stack.append(k)
            ended = False
        elif text in CLOSERS:
            ended = True
            if stack and tokens[stack[-1]].text == CLOSERS[text]:
                opener = stack.pop()
                ended = opener == 0 or tokens[opener - 1].text not in REDUCTIONS
        else:
            ended = token.type in OPERANDS
    return stack


def begins_statement(tokens: list[Token], k: int) -> bool:
    """Whether a statement begins here, as far as one can tell without the parser."""
    if tokens[k].text not in STATEMENTS or not (k == 0 or tokens[k].begins_line()):
        return False
    following = tokens[k + 1].text if k + 1 < len(tokens) else ""
    return tokens[k].text not in SOFT or following not in ("=", ",", ")", "]", ".")


def block_opener(tokens: list[Token], at: int) -> int | None:
    """The brace of the `run`, `flow`, `integrator` or `minimizer` that is open at ``at``."""
    stack = openers(tokens, at)
    if not stack or tokens[stack[0]].text != "{" or stack[0] == 0:
        return None
    before = tokens[stack[0] - 1].text
    return stack[0] if before in ("run", ")") else None


def show(token: Token) -> str:
    """A token as a message names it."""
    text = token.text
    if not text:
        return "the end of the text"
    return f"`{text}`" if len(text) <= 40 else f"`{text[:37]}...`"


def is_operand(spot: Spot) -> bool:
    """Whether an operand begins here."""
    return spot.token.type in OPERAND_TYPES or spot.text in OPERAND_SIGNS
