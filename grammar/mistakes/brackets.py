"""Mistakes with brackets and in the parenthesis of a sum."""

from __future__ import annotations

from mdsl.grammar.diagnostics import Diagnostic, Label

from .stopped_at import (
    CLOSERS,
    OPERAND_TYPES,
    PAIRS,
    REDUCTIONS,
    Spot,
    begins_statement,
    block_opener,
    is_operand,
    show,
)

BREAKS = frozenset("then else where for until every record write".split())
DOMAINS = (
    "a sum runs over `sum(i)`, `sum(i < j)`, `sum(j != i)`, `sum(i; j < k)`, `sum((i, j) in bonds)`, "
    "`sum(j in bonds[i])` or `sum(k in 1..3)`"
)

# -- sums ----------------------------------------------------------------------------------------------


def domain(spot: Spot) -> Diagnostic | None:
    """What stands between the parentheses of a sum."""
    if spot.peek(-1) in REDUCTIONS and spot.token.type in OPERAND_TYPES:
        message = "the domain of a sum stands in parentheses"
        return Diagnostic("bad-domain", message, spot.token.span, help=DOMAINS)
    if spot.peek(-1) == "sum_" and spot.text == "{":
        return Diagnostic("bad-domain", "the domain of a sum stands in parentheses", spot.token.span, help=DOMAINS)
    outer = [k for k in spot.opened[-2:] if k and spot.tokens[k].text == "(" and spot.tokens[k - 1].text in REDUCTIONS]
    if not outer or spot.token.text in CLOSERS and spot.innermost != CLOSERS[spot.text]:
        return None
    if spot.peek(-2) == "in" and spot.expects(".."):
        word = spot.tokens[spot.at - 2]
        return Diagnostic(
            "bad-domain", "`in` wants the indices of a topology before it, or a range after it", word.span, help=DOMAINS
        )
    short = spot.peek(1) == ")" and not spot.new_line  # `sum(i j)`: closed, but no domain
    if spot.expects(")") and not short and (spot.new_line or is_operand(spot) and spot.text != "("):
        return unclosed(spot)
    message = f"{show(spot.token)} does not fit in the domain of a sum"
    help = DOMAINS
    if spot.peek(-1) == ",":
        help = "the body of a sum stands after its parenthesis: `sum(i < j) u(...)`; " + DOMAINS
    return Diagnostic("bad-domain", message, spot.token.span, help=help)


# -- brackets ------------------------------------------------------------------------------------------


def unclosed(spot: Spot, message: str = "") -> Diagnostic:
    opener = spot.tokens[spot.opened[-1]]
    message = message or f"`{opener.text}` is not closed"
    where = "the end of the text" if spot.at_end else f"{show(spot.token)}"
    here = Label(spot.gap(), f"`{PAIRS[opener.text]}` is missing before {where}")
    return Diagnostic("unclosed", message, opener.span, "opened here", (here,))


def closer(spot: Spot) -> Diagnostic | None:
    """A bracket that closes nothing, or not the one that is open."""
    if spot.text not in CLOSERS or spot.innermost == CLOSERS[spot.text]:
        return None
    open_now = [spot.tokens[k].text for k in spot.opened]
    block = block_opener(spot.tokens, spot.at)
    if CLOSERS[spot.text] in open_now or open_now and spot.opened[-1] != block:
        return unclosed(spot, f"`{spot.innermost}` is not closed before `{spot.text}`")
    return Diagnostic("unopened", f"`{spot.text}` closes nothing", spot.token.span, help="remove it, or open it before")


def opener(spot: Spot) -> Diagnostic | None:
    """A bracket still open where something begins that cannot stand in it."""
    if not spot.opened or not spot.expects(PAIRS[spot.innermost]):
        return None
    stops = spot.at_end or begins_statement(spot.tokens, spot.at)
    in_block = spot.opened[-1] == block_opener(spot.tokens, spot.at)
    if not in_block:
        starts_step = spot.token.type == "NAME" and spot.new_line and spot.peek(1) in ("=", "+=", "~", "(")
        # A named argument or a binding on a new line rather lacks a comma.
        lacks_comma = spot.innermost == "(" and spot.expects(",") and spot.peek(1) == "=" and len(spot.opened) == 1
        stops = stops or spot.text in BREAKS or starts_step and not lacks_comma
    return unclosed(spot) if stops else None
