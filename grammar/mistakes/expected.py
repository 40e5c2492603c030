"""Places where only one thing can follow, and what to say when it does not."""

from __future__ import annotations

from mdsl.grammar.diagnostics import Diagnostic
from mdsl.grammar.source import Span

from .stopped_at import Spot, block_opener


def expected(spot: Spot) -> Diagnostic | None:
    """A place that is not inside an expression and asks for one particular thing."""
    if not spot.left or spot.after_operand:
        return None
    return next((d for rule in (_unit, _block, _value, _name, _literal, _step) if (d := rule(spot))), None)


def _say(spot: Spot, message: str, help: str | None = None, id: str = "syntax") -> Diagnostic:
    span = spot.gap() if spot.new_line else spot.token.span
    return Diagnostic(id, message, span, help=help)


def _unit(spot: Spot) -> Diagnostic | None:
    """Inside the brackets of a unit, or where one is asked for."""
    if spot.innermost == "[":
        opener = spot.opened[-1]
        before = spot.tokens[opener - 1] if opener else None
        entry = before and before.text == "=" or opener > 1 and spot.tokens[opener - 1].text == "in"
        if before and (before.type == "NUMBER" or entry):
            message = "a unit is a product of powers of units"
            return _say(spot, message, "such as `[kcal/mol]`, `[angstrom^-2]` or `[g/cm^3]`", "bad-unit")
    if spot.expects("[") and not spot.expects("=") and spot.left.text in ("in", "="):
        return _say(spot, f"expected a unit in brackets after `{spot.left.text}`", "such as `[kcal/mol]`", "bad-unit")
    if spot.text == "[" and spot.expects("in"):
        return _say(spot, "expected `in` before the unit", "write `data q[atoms] in [e]`", "bad-unit")
    return None


def _block(spot: Spot) -> Diagnostic | None:
    if not spot.expects("{") or spot.expects("NAME"):
        return None
    head = next((t.text for t in reversed(spot.tokens[: spot.at]) if t.text in HEADS), "run")
    named = "" if head in ("run", "units") else " ..."
    help = f"{HEADS[head]} stand in braces: `{head}{named} {{ ... }}`"
    return _say(spot, f"expected `{{` before {_show(spot)}", help)


HEADS = {
    "run": "the steps of a run",
    "units": "the units of a unit system",
    "flow": "the updates of a flow",
    "integrator": "the flows of an integrator",
    "minimizer": "the steps of a minimizer",
}


def _value(spot: Spot) -> Diagnostic | None:
    """`=` and a value after the name that is declared."""
    block = block_opener(spot.tokens, spot.at) is not None
    if not spot.expects("=") or spot.expects("~") or block:
        return None
    head = next((t.text for t in reversed(spot.tokens[: spot.at]) if t.text in spot.known.words and t.text != "in"), "")
    help = None
    if spot.text == "(" and head in ("energy", "quantity", "observe", "param", "const", "learned"):
        help = "a function is declared by `def f(r) = ...`, a value for each atom by `quantity q[i] = ...`"
    elif head == "unit":
        help = "write `unit kcal = 4184 [J]`, or `unit m : length` for a base unit"
    elif head == "data":
        return None
    return _say(spot, f"expected `=` and a value before {_show(spot)}", help)


def _name(spot: Spot) -> Diagnostic | None:
    """A name, and nothing else, can follow."""
    if not spot.expects("NAME") or spot.expects("NUMBER"):
        return None
    if block_opener(spot.tokens, spot.at) is not None and spot.expects("}"):
        return None
    if spot.token.type == "NUMBER":
        return _say(spot, f"expected a name after {_before(spot)}", "a name begins with a letter")
    if spot.left.text == ",":
        last = spot.text in (")", "]", "}") or spot.new_line
        return _say(spot, "expected a name after `,`", "remove the comma" if last else None)
    return _say(spot, f"expected a name after {_before(spot)}")


LITERALS = {
    "for": (
        "expected `for` and a number of steps",
        "an integrator runs for a number of steps: `baoab(...) for 1_000`, or `until` a condition holds, `at "
        "most` so many",
    ),
    ":": ("expected `:` and a value", "a table is written `{ A: 1.0, B: 0.5 }`, for pairs `{ A-A: 1.0, A-B: 0.8 }`"),
    "STRING": ('expected the name of a file in `"`', 'write `write "melt.extxyz" every 100`'),
    "(": ("expected `(`", None),
    "AT": ("expected `at most` and a number of steps", "`fire(...) until U < 0, at most 1_000`"),
    "in": ("expected `in`", "write `(i, j) in bonds`, or `k in 1..3`"),
    "<": ("expected `<`", None),
    "..": ("expected `..`", "a range is written `1..16`"),
    "=": ("expected `=`", None),
    "NUMBER": ("expected a whole number", None),
    ")": ("expected `)`", None),
    "]": ("expected `]`", None),
}


def _literal(spot: Spot) -> Diagnostic | None:
    if spot.expects("~") or spot.expects("param"):
        return None
    for what, (message, help) in LITERALS.items():
        if spot.expects(what):
            if what == "in" and spot.expects("]"):
                continue
            if what == "(" and spot.tokens[spot.at - 2].text == "def":
                message = "expected the parameters in parentheses"
                help = "write `def f(r) = ...`; a plain value is a `const`"
            elif what == "NUMBER" and not spot.expects("-"):
                message += " after " + _before(spot)
                return _say(spot, message, help)
            return _say(spot, f"{message} after {_before(spot)}", help)
    return None


STEPS = "a step is `x = ...`, `v ~ maxwell(T)` or `baoab(...) for 100`"


def _step(spot: Spot) -> Diagnostic | None:
    """Inside a block: what begins no step, or half a step."""
    block = block_opener(spot.tokens, spot.at)
    if block is None:
        return None
    if spot.expects("~"):
        if not spot.left.begins_line() and spot.at > 2 and (told := _after_output(spot)):
            return told
        return _say(spot, f"expected `=`, `+=`, `~` or `(` after {_before(spot)}", STEPS)
    if spot.expects("}"):
        help = STEPS
        if spot.text in ("record", "write", "for", "every"):
            help = "outputs follow an integrator and its steps: `baoab(...) for 1_000 record T every 10`"
        return _say(spot, f"no step begins with {_show(spot)}", help)
    return None


def _after_output(spot: Spot) -> Diagnostic | None:
    """A name that was taken for the next step, but stands on the line of `for`, `every` or `record`."""
    word, previous = spot.left, spot.tokens[spot.at - 2]
    near = [t.text for t in spot.tokens[max(0, spot.at - 4) : spot.at - 1]]
    if previous.type == "NAME" and ("record" in near or "," in near):
        gap = Span(word.span.source, previous.span.end, word.span.start)
        message = f"a comma is missing between `{previous.text}` and `{word.text}`"
        return Diagnostic("missing-comma", message, gap, help="the members of a list are separated by `,`")
    if "for" in near or "every" in near:
        message = f"`{word.text}` is not written after a number of steps"
        return Diagnostic("syntax", message, word.span, help=f"remove `{word.text}`")
    return None


def _before(spot: Spot) -> str:
    return f"`{spot.left.text}`"


def _show(spot: Spot) -> str:
    return f"`{spot.text}`" if spot.text else "the end of the text"
