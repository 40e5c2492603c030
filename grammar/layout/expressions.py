"""Trees as text, without a text that they came from: as few parentheses as the grammar allows.

``expression`` follows the rules of `mdsl.lark`: each kind of expression has a level, and each place takes certain
levels; what does not fit is put in parentheses.
"""

from __future__ import annotations

from mdsl.grammar import tree

# The levels, named after the rules of the grammar. What ends in `if`, whose last branch reaches as far right as
# it can, is open: it fits only where nothing can follow.
OPERAND, POSTFIX, POWER, INNER, SIGN, PRODUCT = range(6)
PREFIX, TOTAL, SUM, COMPARISON, DENIAL, BOTH, EITHER, OPEN_PREFIX, OPEN_TERM, OPEN = range(6, 16)

COMPARISONS = frozenset(("==", "!=", "<", ">", "<=", ">="))
TERM = frozenset(range(PREFIX + 2))
FITS = {
    "operand": frozenset({OPERAND}),
    "postfix": frozenset(range(POSTFIX + 1)),
    "power": frozenset(range(POWER + 1)),
    "inner": frozenset(range(INNER + 1)),
    "sign": frozenset(range(SIGN + 1)),
    "product": frozenset(range(PRODUCT + 1)),
    "minus": frozenset({*range(SIGN + 1), PREFIX, OPEN_PREFIX}),
    "factor": frozenset({*range(INNER + 1), PREFIX, OPEN_PREFIX}),  # the right operand of * and /
    "term": frozenset({*range(INNER + 1), PRODUCT, PREFIX, TOTAL, OPEN_PREFIX, OPEN_TERM}),  # that of + and -
    "body": TERM | {OPEN_PREFIX, OPEN_TERM},
    "sum": frozenset(range(SUM + 1)),
    "denial": frozenset(range(DENIAL + 1)),
    "both": frozenset(range(BOTH + 1)),
    "either": frozenset(range(EITHER + 1)),
    "any": frozenset(range(OPEN + 1)),
}


def expression(node: tree.Expr) -> str:
    """The text of an expression, on one line."""
    return _render(node)[0]


def _fit(node: tree.Expr, place: str) -> tuple[str, int]:
    text, level = _render(node)
    return (text, level) if level in FITS[place] else (f"({text})", OPERAND)


def _render(node: tree.Expr) -> tuple[str, int]:
    match node:
        case tree.Name(id=name):
            return name, OPERAND
        case tree.Number(text=text, unit=unit):
            return (f"{text} {unit_text(unit)}" if unit else text), SIGN if text.startswith("-") else POSTFIX
        case tree.Text(value=value):
            return _quoted(value), POSTFIX
        case tree.Index(base=base, indices=indices):
            return f"{_fit(base, 'operand')[0]}[{_list(indices)}]", OPERAND
        case tree.Call():
            return call(node), OPERAND
        case tree.Member(base=base, field=field):
            return f"{_fit(base, 'operand')[0]}.{field}", OPERAND
        case tree.Norm(operand=operand):
            return f"|{_fit(operand, 'sum')[0]}|", OPERAND
        case tree.Tuple(items=items):
            return f"({_list(items)})", OPERAND
        case tree.Table(entries=entries):
            cells = (f"{'-'.join(e.labels)}: {expression(e.value)}" for e in entries)
            return f"{{ {', '.join(cells)} }}", POSTFIX
        case tree.Range():
            return range_text(node), OPEN
        case tree.If(condition=condition, then=then, otherwise=otherwise):
            return f"if {expression(condition)} then {expression(then)} else {expression(otherwise)}", OPEN_PREFIX
        case tree.Sum(domain=where, body=body, op=op):
            text, level = _fit(body, "body")
            return f"{op}({domain(where)}) {text}", OPEN_PREFIX if level >= OPEN_PREFIX else PREFIX
        case tree.Unary(op="not", operand=operand):
            return f"not {_fit(operand, 'denial')[0]}", DENIAL
        case tree.Unary(operand=operand):
            text, level = _fit(operand, "minus")
            return f"-{text}", max(level, SIGN)
        case tree.Binary():
            return _binary(node)
    raise TypeError(f"no expression: {node!r}")


def _binary(node: tree.Binary) -> tuple[str, int]:
    op = node.op
    if op in ("+", "-"):
        left, (right, level) = _fit(node.left, "sum")[0], _fit(node.right, "term")
        return f"{left} {op} {right}", OPEN if level >= OPEN_PREFIX else SUM
    if op in ("*", "/"):
        left, (right, level) = _fit(node.left, "product")[0], _fit(node.right, "factor")
        return f"{left}{op}{right}", {PREFIX: TOTAL, OPEN_PREFIX: OPEN_TERM}.get(level, PRODUCT)
    if op == "·":
        return f"{_fit(node.left, 'inner')[0]}·{_fit(node.right, 'power')[0]}", INNER
    if op == "^":
        with_unit = isinstance(node.left, tree.Number) and node.left.unit
        base = f"({expression(node.left)})" if with_unit else _fit(node.left, "postfix")[0]
        return f"{base}^{_exponent(node.right)}", POWER
    if op in COMPARISONS:
        return f"{_fit(node.left, 'sum')[0]} {op} {_fit(node.right, 'sum')[0]}", COMPARISON
    if op == "and":
        return f"{_fit(node.left, 'both')[0]} and {_fit(node.right, 'denial')[0]}", BOTH
    return f"{_fit(node.left, 'either')[0]} or {_fit(node.right, 'both')[0]}", EITHER


def _exponent(node: tree.Expr) -> str:
    if isinstance(node, tree.Unary) and node.op == "-":
        return "-" + _exponent(node.operand)
    return _fit(node, "power")[0]


def _list(items) -> str:
    return ", ".join(map(expression, items))


def _quoted(value: str) -> str:
    if '"' in value or "\n" in value:
        raise ValueError(f"a text with a quotation mark or a line break cannot be written: {value!r}")
    return f'"{value}"'


def call(node: tree.Call) -> str:
    arguments = [*map(expression, node.args), *(f"{a.name} = {expression(a.value)}" for a in node.named)]
    return f"{_fit(node.function, 'operand')[0]}({', '.join(arguments)})"


def range_text(node: tree.Range) -> str:
    first, last = _fit(node.first, "sum")[0], _fit(node.last, "sum")[0]
    apart = first.endswith(".") or last.startswith(".")
    return f"{first} .. {last}" if apart else f"{first}..{last}"


def domain(node: tree.Domain) -> str:
    """What stands in the parentheses of a sum."""
    return ", ".join((node.form.format(*map(_part, node.parts)), *map(domain, node.conditions)))


def _part(part: tree.Part) -> str:
    if isinstance(part, tree.Range):
        return range_text(part)
    return part if isinstance(part, str) else ", ".join(part)


def unit_text(unit: tree.Unit) -> str:
    """A unit with its brackets: ``[kcal/mol]``."""
    text = ""
    for factor in unit.factors:
        divided = factor.power < 0
        text += ("/" if text else "1/") if divided else "*" if text else ""
        power = abs(factor.power)
        text += factor.name + (f"^{power}" if power != 1 else "")
    return f"[{text or '1'}]"
