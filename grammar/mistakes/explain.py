"""Syntax mistakes, explained in plain words.

``RULES`` is the whole of it: functions from the place at which the parser stopped to a diagnostic, or to None
where the rule does not apply. The first that answers is right, so the specific ones stand first.
"""

from __future__ import annotations

from mdsl.grammar.diagnostics import Diagnostic, Label, suggest
from mdsl.grammar.tokens import Token

from . import brackets
from . import habits as foreign
from .expected import expected
from .stopped_at import (
    CLOSERS,
    OPERAND_TYPES,
    PAIRS,
    REDUCTIONS,
    STATEMENTS,
    Spot,
    begins_statement,
    block_opener,
    is_operand,
    show,
)

COMPARISONS = frozenset(("==", "!=", "<", ">", "<=", ">="))
# Words that begin such statements elsewhere.
USUAL = {
    "import": "use",
    "from": "use",
    "include": "use",
    "let": "const",
    "var": "param",
    "function": "def",
    "fn": "def",
    "potential": "energy",
}
OPERATORS = frozenset("+ - * / ^ · = += ~ : == != < > <= >= and or not if then else , ( [ { ..".split())


def explain(spot: Spot) -> Diagnostic:
    """What is wrong at the place where the parser stopped."""
    return next(d for rule in RULES if (d := rule(spot)))


# -- conditions ----------------------------------------------------------------------------------------


def _open_if(spot: Spot) -> bool:
    """Whether this stands between an `if` and its `then`."""
    done = depth = 0
    for token in reversed(spot.tokens[: spot.at]):
        depth += (token.text in CLOSERS) - (token.text in PAIRS and token.text != "|")
        if depth > 0:
            continue
        depth = min(depth, 0)
        if token.text == "then":
            done += 1
        elif token.text == "if":
            if not done:
                return True
            done -= 1
        elif begins_statement([token], 0) and token.begins_line():
            return False
    return False


def equals(spot: Spot) -> Diagnostic | None:
    """`=` and `==` in each other's place."""
    if spot.text == "==" and spot.expects("="):
        return Diagnostic("syntax", "`==` compares; a value is given with `=`", spot.token.span, help="write `=`")
    if spot.text != "=" or not spot.before:
        return None
    if spot.before.text in spot.known.words and spot.peek(-2) in ("(", ","):
        return _reserved(spot.before)
    if _open_if(spot):
        return Diagnostic("assignment-in-condition", "`=` does not compare", spot.token.span, help="write `==`")
    if not spot.after_operand:
        return None
    help = "a comparison is written `==`; a new value is declared with `param`, `const` or in `where`"
    inside: tuple[Label, ...] = ()
    if spot.opened and spot.opened[-1] != block_opener(spot.tokens, spot.at):
        inside = (Label(spot.tokens[spot.opened[-1]].span, f"inside this `{spot.innermost}`"),)
    message = "`=` cannot stand inside an expression"
    return Diagnostic("syntax", message, spot.token.span, secondary=inside, help=help)


def begun(spot: Spot) -> Diagnostic | None:
    """`x =` and on the next line `v = ...`: the name of the next step was taken for the value of this one."""
    if not spot.before or not spot.after_operand:
        return None
    dim = spot.before.text == "dim" and spot.token.type == "NUMBER"  # which may be a value too
    step = spot.before.type == "NAME" and spot.text in ("=", "+=", "~")
    begins_step = (dim or step) and spot.before.begins_line()
    return _missing_after(spot, spot.at - 1) if begins_step and spot.peek(-2) in (*OPERATORS, "for", "every") else None


def limit(spot: Spot) -> Diagnostic | None:
    """`until` and a condition without the most steps."""
    block = block_opener(spot.tokens, spot.at)
    inside = [spot.tokens[k].text for k in spot.since(-1 if block is None else block)]
    if not spot.after_operand or not spot.expects(",") or "until" not in inside:
        return None
    if not {"at", "for", "record", "write"}.isdisjoint(inside[len(inside) - inside[::-1].index("until") :]):
        return None
    help = "a statement that runs until a condition holds has a limit: `fire(...) until U < 0, at most 1_000`"
    return Diagnostic(
        "syntax", f"expected `, at most` and a number of steps before {show(spot.token)}", spot.gap(), help=help
    )


def loop(spot: Spot) -> Diagnostic | None:
    """`for k in 1..3` without its range or its brace, or in a run block."""
    block = block_opener(spot.tokens, spot.at)
    if spot.text == "for" and spot.new_line and block and spot.tokens[block - 1].text == "run":
        help = (
            "statements of dynamics follow one another, `velocity_verlet(dt = 0.005) for 100`; what changes "
            "in time "
            "is a function of it, such as `T = ramp`"
        )
        return Diagnostic("syntax", "a run block has no loops", spot.token.span, help=help)
    words = [t.text for t in spot.tokens[: spot.at]]
    start = len(words) - 1 - words[::-1].index("for") if "for" in words else None
    if start is None or words[start + 2 : start + 3] != ["in"] or "{" in words[start:] or not spot.after_operand:
        return None
    help = "a loop is written `for k in 1..3 { ... }`, or `for k in 3..1 down { ... }`"
    if ".." not in words[start:] and spot.expects(".."):
        return Diagnostic(
            "syntax", f"expected `..` and the end of the range before {show(spot.token)}", spot.gap(), help=help
        )
    if ".." in words[start:] and spot.expects("{"):
        return Diagnostic("syntax", f"expected `{{` before {show(spot.token)}", spot.gap(), help=help)
    return None


def chain(spot: Spot) -> Diagnostic | None:
    """`a < b < c`."""
    if spot.text not in COMPARISONS or not spot.before:
        return None
    inside = [spot.tokens[k] for k in spot.since(spot.opened[-1] if spot.opened else -1)]
    marks = [t for t in inside if t.text in COMPARISONS or t.text in ("and", "or", "=", ",", "if", "then", "else")]
    if not marks or marks[-1].text not in COMPARISONS:
        return None
    help = "write `a < b and b < c`"
    first = Label(marks[-1].span, "the first comparison")
    return Diagnostic("chained-comparison", "comparisons do not chain", spot.token.span, "", (first,), help=help)


def _then_follows(spot: Spot) -> bool:
    """Whether the `then` of the open `if` is there after all, so that something else is missing before it."""
    ahead = (t.text for t in spot.tokens[spot.at :])
    return next((text for text in ahead if text in ("if", "then", "else") or text in STATEMENTS), "") == "then"


def branches(spot: Spot) -> Diagnostic | None:
    """`if` without `then` or `else`."""
    if spot.expects("then") and is_operand(spot) and _then_follows(spot):
        return None
    if spot.expects("then"):
        message = f"expected `then` before {show(spot.token)}"
        return Diagnostic("syntax", message, spot.gap(), help="write `if condition then value else value`")
    if spot.expects("else") and (spot.new_line or not is_operand(spot)):
        message = f"expected `else` before {show(spot.token)}"
        return Diagnostic("syntax", message, spot.gap(), help="every `if` has an `else`: `if r < rc then u(r) else 0`")
    return None


# -- names ---------------------------------------------------------------------------------------------


def _reserved(token: Token) -> Diagnostic:
    message = f"`{token.text}` is a word of the language and cannot be a name"
    potential = "; the potential energy is `potential`" if token.text == "energy" else ""
    return Diagnostic(
        "reserved-name", message, token.span, help=f"choose another name, such as `{token.text}_`{potential}"
    )


def reserved(spot: Spot) -> Diagnostic | None:
    """A word of the language as a name."""
    if spot.is_word and spot.fits_as_name() and not begins_statement(spot.tokens, spot.at):
        return _reserved(spot.token)
    if spot.before and spot.before.text in spot.known.words:
        if spot.before.text in REDUCTIONS and not is_operand(spot):
            return _reserved(spot.before)
        if spot.expects("=") and spot.innermost == "(":  # `species` may name an argument
            return _reserved(spot.before)
    return None


def statement(spot: Spot) -> Diagnostic | None:
    """A statement that begins with what begins none."""
    if not spot.expects("param") or block_opener(spot.tokens, spot.at) is not None:
        return None
    if spot.token.type == "NAME":
        near = suggest(spot.text, STATEMENTS)
        if not spot.new_line and not spot.after_operand and spot.expects(","):
            return None
        if not spot.new_line and not spot.after_operand and spot.expects("("):
            way_out = f"write `use {spot.left.text} ({spot.text})`"
            return Diagnostic("syntax", "the names to use stand in parentheses", spot.token.span, help=way_out)
        line_start = spot.token.span.source.position(spot.token.span.start)[1] == 1
        if spot.after_operand and not (spot.new_line and (near or line_start or spot.peek(1) in ("=", "~"))):
            return None
        help = near if spot.text not in USUAL else f"did you mean `{USUAL[spot.text]}`?"
        if not help and spot.peek(1) == "=":
            help = f"declare it: `param {spot.text} = ...` or `const {spot.text} = ...`"
        elif not help and spot.peek(1) in ("~", "+=", "("):
            help = "steps stand in a block: `run { ... }`"
        return Diagnostic("unknown-statement", f"no statement begins with `{spot.text}`", spot.token.span, help=help)
    if spot.text in ("record", "write", "for", "every"):
        message = f"`{spot.text}` stands outside of a `run` block, or before its integrator"
        help = "write `run { ... baoab(...) for 1_000 record T every 10 }`"
        return Diagnostic("syntax", message, spot.token.span, help=help)
    if spot.text == "where":
        message = "`where` follows the value of a `def`, `energy`, `quantity` or `observe`, once"
        return Diagnostic("syntax", message, spot.token.span)
    if spot.at == 0 or not (spot.after_operand or spot.expects("in")):
        return Diagnostic("unknown-statement", f"no statement begins with {show(spot.token)}", spot.token.span)
    return None


# -- what is missing -----------------------------------------------------------------------------------


def _missing_after(spot: Spot, at: int) -> Diagnostic:
    """An expression is missing before ``tokens[at]``."""
    before, token = spot.tokens[at - 1], spot.tokens[at]
    sigma = before.text == ")" and not spot.after_operand
    words = {"every": "a number of steps", "for": "a number of steps", "if": "a condition"}
    what = words.get(before.text, "an expression")
    message = f"expected {what} after `{before.text}`"
    help = None
    if sigma:
        message = "expected the body of the sum after its domain"
    if before.text == "," and token.text in CLOSERS:
        message, help = f"nothing stands between `,` and `{token.text}`", "remove the comma"
    elif before.text in PAIRS and token.text == PAIRS[before.text]:
        message = f"nothing stands between `{before.text}` and `{token.text}`"
    elif token.text == "+":
        help = "a number has no sign `+`"
    elif token.text in OPERATORS and token.text not in PAIRS and not token.text.isalpha():
        message = f"expected {what} between `{before.text}` and `{token.text}`"
    elif token.text in spot.known.words and not begins_statement(spot.tokens, at):
        message += f", before `{token.text}`"
    end = before.span.end
    source = before.span.source
    gap = type(before.span)(source, end, min(end + 1, len(source.text)))
    span = token.span if token.text in OPERATORS or token.text in CLOSERS else gap
    return Diagnostic("missing-expression", message, span, help=help)


def binding(spot: Spot) -> Diagnostic | None:
    """A binding on a new line, before which the comma is missing."""
    column = spot.token.span.source.position(spot.token.span.start)[1]
    return comma(spot) if _in_where(spot) and spot.after_operand and not spot.opened and column > 1 else None


def missing_expression(spot: Spot) -> Diagnostic | None:
    """Nothing where an expression should be."""
    if not spot.wants_operand or not spot.before:
        return None
    if spot.text == "[":
        help = f"write `1 [{spot.peek(1) or 'fs'}]`; an axis stands after the name"
        return Diagnostic("bad-unit", "a unit follows a number", spot.token.span, help=help)
    return _missing_after(spot, spot.at)


def comma(spot: Spot) -> Diagnostic | None:
    """Members of a list without a comma."""
    if not spot.expects(",") or not spot.before:
        return None
    follows = spot.peek(1)
    if spot.after_operand:
        named = spot.token.type == "NAME" and (
            follows == "="
            and (spot.innermost == "(" or _in_where(spot))
            or spot.innermost == "{"
            and follows in (":", "-")
        )
        if not named:
            return None
    else:
        name = spot.token.type == "NAME" or spot.is_word and spot.innermost == "["
        value = spot.expects("=") and follows not in (",", "=", "[")  # rather `=` is missing than a comma
        if not name or value or spot.new_line:
            return None
    message = f"a comma is missing between {show(spot.before)} and {show(spot.token)}"
    return Diagnostic("missing-comma", message, spot.gap(), help="the members of a list are separated by `,`")


def _in_where(spot: Spot) -> bool:
    for k in range(spot.at - 1, -1, -1):
        if spot.tokens[k].text == "where":
            return True
        if begins_statement(spot.tokens, k):
            return False
    return False


def missing_operator(spot: Spot) -> Diagnostic | None:
    """Two operands side by side."""
    if not spot.after_operand or not (is_operand(spot) or spot.text == "["):
        return None
    left, right = spot.left, spot.token
    message = f"an operator is missing between {show(left)} and {show(right)}"
    both = left.type in OPERAND_TYPES and right.type in OPERAND_TYPES
    help = f"a product is written `{left.text}*{right.text}`" if both else "a product is written with `*`"
    if left.type == "NUMBER" and right.type == "NAME":
        help += f"; a number with a unit `{left.text} [{right.text}]`"
    elif spot.expects(",") and spot.innermost in ("(", "["):
        named = left.type == "NAME" and right.type == "NUMBER" and spot.peek(-2) in ("(", ",")
        named_argument = f"; an argument with a name `{left.text} = {right.text}`"
        help += named_argument if named else "; the members of a list are separated by `,`"
    return Diagnostic("missing-operator", message, left.span.to(right.span), help=help)


def bar(spot: Spot) -> Diagnostic | None:
    """A bar after an operand, where none is open: a norm without an operator before it, or half a norm."""
    if spot.text != "|" or not spot.after_operand or spot.innermost == "|":
        return None
    ahead = [t for t in spot.tokens[spot.at + 1 :] if t.span.line == spot.token.span.line]
    if sum(t.text == "|" for t in ahead) % 2:
        return missing_operator(spot)
    return Diagnostic("unopened", "`|` closes nothing", spot.token.span, help="a length is written `|x|`")


def anything(spot: Spot) -> Diagnostic:
    if spot.at_end:
        return Diagnostic("syntax", "the text ends in the middle of a statement", spot.gap())
    message = f"{show(spot.token)} cannot stand here"
    after = f"after {show(spot.before)}" if spot.before else ""
    help = None
    if spot.text == "," and spot.before and spot.before.type == "NUMBER":
        following = spot.tokens[spot.at + 1]
        if following.type == "NUMBER":
            help = f"a decimal point is a point: `{spot.before.text}.{following.text}`"
    return Diagnostic("syntax", message, spot.token.span, after, help=help)


RULES = (
    foreign.bad_token,
    foreign.doubled_bar,
    brackets.domain,
    foreign.semicolon,
    brackets.closer,
    bar,
    brackets.opener,
    begun,
    equals,
    chain,
    limit,
    loop,
    reserved,
    binding,
    statement,
    branches,
    missing_expression,
    comma,
    expected,
    missing_operator,
    anything,
)
