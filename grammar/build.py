"""From rules to nodes: one method for each rule of the grammar that makes a node.

The parser calls a method with all children of a rule, tokens included, bottom up and without recursion.
Both tokens and nodes have a span, so the span of a node is that from its first child to its last.
"""

from __future__ import annotations

from dataclasses import replace

from . import tree
from .diagnostics import Diagnostic, Rejected
from .source import Span
from .tokens import Token, canonical

DOT = "DOT_PRODUCT"
SPACED = {"<": " < ", "!=": " != ", ";": "; ", "in": " in "}  # between names of a domain


class Sequence(list):
    """A rule that makes no node of its own (the names between parentheses): its members and its span."""

    def __init__(self, members, span: Span):
        super().__init__(members)
        self.span = span


def _span(children) -> Span:
    return children[0].span.to(children[-1].span)


def _text(token: Token) -> str:
    return canonical(token.text) or token.text


def _identifier(token: Token) -> tree.Identifier:
    return tree.Identifier(token.span, _text(token))


def _names(children) -> list[Token]:
    return [c for c in children if isinstance(c, Token) and (c.type == "NAME" or c.text.isalpha())]


def _nodes(children, kind=tree.Node) -> tuple:
    return tuple(c for c in children if isinstance(c, kind))


def _is(child, text: str) -> bool:
    return isinstance(child, Token) and child.text == text


def _sequence(children) -> Sequence:
    return Sequence(_nodes(children), _span(children))


def _integer(token: Token, what: str) -> int:
    digits = token.text.replace("_", "")
    if not digits.isdigit() or len(digits) > 9:
        raise Rejected(Diagnostic("bad-number", f"{what} must be a whole number", token.span))
    return int(digits)


class Builder:
    """The callbacks of the parser."""

    def program(self, c):
        return tuple(c)

    # -- statements --------------------------------------------------------------------------------

    def use(self, c):
        names = tuple(c[-1]) if isinstance(c[-1], Sequence) else None
        return tree.Use(_span(c), tuple(_text(t) for t in _names(c[1:])), names)

    def dim(self, c):
        return tree.Dim(_span(c), _integer(c[1], "the number of dimensions"))

    def species(self, c):
        return tree.SpeciesDecl(_span(c), tuple(map(_identifier, _names(c[1:]))))

    def frozen(self, c):
        return tree.Frozen(_span(c), tuple(map(_identifier, _names(c[1:]))))

    def replicas(self, c):
        return tree.Replicas(_span(c), _identifier(c[1]), c[3])

    def topologies(self, c):
        return tree.Topology(_span(c), _nodes(c))

    def topology(self, c):
        value = c[-1] if isinstance(c[-1], tree.Expr) else None
        return tree.TopologyItem(
            _span(c), _identifier(c[0]), tuple(map(_text, _names(c[1:] if value is None else c[1:-1]))), value
        )

    def box(self, c):
        return tree.Box(_span(c), c[1])

    def declaration(self, c):
        return tree.Declaration(_span(c), c[0].text, _identifier(c[1]), _axes(c), c[-1])

    def data(self, c):
        unit = c[-1] if isinstance(c[-1], tree.Unit) else None
        return tree.Data(_span(c), _identifier(c[1]), _axes(c), unit)

    def tables(self, c):
        return tree.TableDecl(_span(c), _nodes(c, tree.TableItem), c[-1])

    def table_item(self, c):
        return tree.TableItem(_span(c), _identifier(c[0]), _axes(c))

    def learned(self, c):
        return tree.Learned(_span(c), _identifier(c[1]), c[3])

    def extern(self, c):
        return tree.Extern(_span(c), _identifier(c[1]), tuple(c[2]))

    def extern_energy(self, c):
        return tree.ExternEnergy(_span(c), _identifier(c[2]), tuple(c[3]))

    def definition(self, c):
        equals = next(k for k, child in enumerate(c) if _is(child, "="))
        return tree.Def(_span(c), _identifier(c[1]), _groups(c[:equals]), c[equals + 1], _where(c))

    def equation(self, c):
        value = c[-2] if isinstance(c[-1], Sequence) else c[-1]
        return tree.Equation(_span(c), c[0].text, _identifier(c[1]), _axes(c), value, _where(c))

    def derived_unit(self, c):
        return tree.UnitDecl(_span(c), _identifier(c[1]), c[3], None)

    def base_unit(self, c):
        return tree.UnitDecl(_span(c), _identifier(c[1]), None, _text(c[3]))

    def unit_system(self, c):
        return tree.UnitSystem(_span(c), tuple((e[0], e[1]) for e in c[2:-1]))

    def unit_entry(self, c):
        return Sequence((_identifier(c[0]), c[2]), _span(c))

    def flow(self, c):
        return tree.Flow(_span(c), _identifier(c[1]), tuple(c[2]), tuple(c[4:-1]))

    def integrator(self, c):
        return tree.Integrator(_span(c), c[0].text, _identifier(c[1]), tuple(c[2]), tuple(c[4:-1]))

    def run(self, c):
        return tree.Run(_span(c), tuple(c[2:-1]))

    def axis(self, c):
        return tree.Axis(_span(c), _text(c[0]), c[2] if len(c) > 1 else None)

    def names(self, c):
        return Sequence(map(_identifier, _names(c)), _span(c))

    group = names

    def parameters(self, c):
        return Sequence(_nodes(c), _span(c))

    def parameter(self, c):
        return tree.Parameter(_span(c), _text(c[0]), c[2] if len(c) > 1 else None)

    inputs, input = parameters, parameter

    def axes(self, c):
        return _sequence(c)

    where = axes

    def binding(self, c):
        return tree.Binding(_span(c), _identifier(c[0]), _groups(c), c[-1])

    # -- what has order ----------------------------------------------------------------------------

    def update(self, c):
        return tree.Update(_span(c), _identifier(c[0]), c[-2].text, c[-1], c[2] if len(c) > 3 else None)

    def draw(self, c):
        return tree.Draw(_span(c), _identifier(c[0]), c[2])

    def apply(self, c):
        return self.call([self.name(c[:1]), c[1]])

    def advance(self, c):
        outputs = _nodes(c, tree.Record | tree.Write | tree.Exchange)
        steps = c[-1 - len(outputs)]
        return tree.Advance(_span(c), self.apply(c[:2]), steps, outputs, c[3] if c[2].text == "until" else None)

    def loop(self, c):
        down = isinstance(c[4], Token) and c[4].type == "DOWN"
        return tree.Loop(_span(c), _identifier(c[1]), c[3], down, tuple(c[6 if down else 5 : -1]))

    def record(self, c):
        every = c[-1] if _is(c[-2], "every") else None
        names = c[1:-2] if every else c[1:]
        return tree.Record(_span(c), tuple(map(_identifier, _names(names))), every)

    def write(self, c):
        every = c[-1] if len(c) > 2 and _is(c[-2], "every") else None
        names = c[2:-2] if every else c[2:]
        return tree.Write(_span(c), self.text(c[1:2]), every, tuple(map(_identifier, _names(names))))

    def exchange(self, c):
        return tree.Exchange(_span(c), _identifier(c[1]), c[3])

    # -- expressions -------------------------------------------------------------------------------

    def binary(self, c):
        op = "·" if c[1].type == DOT else c[1].text
        return tree.Binary(_span(c), op, c[0], c[2])

    def unary(self, c):
        return tree.Unary(_span(c), c[0].text, c[1])

    def if_(self, c):
        return tree.If(_span(c), c[1], c[3], c[5])

    def sum(self, c):
        domain, word = c[0]
        return tree.Sum(_span(c), domain, c[1], word)

    def number(self, c):
        return tree.Number(_span(c), c[0].text, c[1] if len(c) > 1 else None)

    def text(self, c):
        return tree.Text(_span(c), c[0].text[1:-1])

    def table(self, c):
        return tree.Table(_span(c), _nodes(c))

    def entry(self, c):
        return tree.Entry(_span(c), tuple(map(_text, _names(c[:-1]))), c[-1])

    def name(self, c):
        return tree.Name(_span(c), _text(c[0]))

    def grouped(self, c):
        """An expression in parentheses is the expression; its span takes the parentheses in."""
        return replace(c[1], span=_span(c))

    def tuple(self, c):
        return tree.Tuple(_span(c), _nodes(c))

    def norm(self, c):
        return tree.Norm(_span(c), c[1])

    def index(self, c):
        return tree.Index(_span(c), c[0], _nodes(c[1:]))

    def call(self, c):
        named = _nodes(c[1], tree.Named)
        return tree.Call(_span(c), c[0], tuple(a for a in c[1] if not isinstance(a, tree.Named)), named)

    def member(self, c):
        return tree.Member(_span(c), c[0], _text(c[2]))

    def arguments(self, c):
        seen = None
        for argument in _nodes(c):
            if seen and not isinstance(argument, tree.Named):
                help = f"move it before `{seen.name} = ...`"
                message = "an argument without a name follows one with a name"
                raise Rejected(Diagnostic("syntax", message, argument.span, help=help))
            seen = argument if isinstance(argument, tree.Named) else seen
        return _sequence(c)

    def named(self, c):
        return tree.Named(_span(c), _text(c[0]), c[2])

    def range(self, c):
        return tree.Range(_span(c), c[0], c[2])

    # -- domains -----------------------------------------------------------------------------------

    def sigma(self, c):
        domain, *conditions = _nodes(c)
        return Sequence([replace(domain, conditions=tuple(conditions)), c[0].text], _span(c))

    def domain(self, c):
        """The words between names are the form, whatever they are."""
        blank = [isinstance(part, tree.Node) or part.type == "NAME" for part in c]
        form = "".join("{}" if b else SPACED.get(part.text, part.text) for b, part in zip(blank, c))
        parts = (part if isinstance(part, tree.Node) else _text(part) for b, part in zip(blank, c) if b)
        return tree.Domain(_span(c), form, tuple(parts))

    def partners(self, c):
        match c[-1]:
            case tree.Index(base=tree.Name(id=topology), indices=(tree.Name(id=atom),)):
                return tree.Domain(_span(c), "{} in {}[{}]", (_text(c[0]), topology, atom))
        message = "a sum runs over a range, or over the partners of one atom along a topology"
        raise Rejected(Diagnostic("bad-domain", message, c[-1].span, help="`sum(j in bonds[i])` in a quantity of `i`"))

    def membership(self, c):
        close = next(k for k, child in enumerate(c) if _is(child, ")"))
        form = tree.NOT_IN if _is(c[close + 1], "not") else "({}) in {}"
        return tree.Domain(_span(c), form, (tuple(map(_text, _names(c[:close]))), _text(c[-1])))

    # -- units -------------------------------------------------------------------------------------

    def unit(self, c):
        return tree.Unit(_span(c), tuple(c[1]))

    def unit_binary(self, c):
        right = c[2]
        if _is(c[1], "/"):
            right = [replace(f, power=-f.power) for f in right]
        return Sequence([*c[0], *right], _span(c))

    def unit_power(self, c):
        power = _integer(c[-1], "the exponent of a unit") if len(c) > 1 else 1
        sign = -1 if len(c) == 4 else 1
        return Sequence([tree.UnitPower(_span(c), _text(c[0]), sign * power)], _span(c))

    def unit_one(self, c):
        if c[0].text != "1":
            message = "a number other than 1 in a unit"
            raise Rejected(Diagnostic("bad-number", message, c[0].span, help="write it before the bracket"))
        return Sequence([], _span(c))


def _axes(children) -> tuple[tree.Axis, ...]:
    return next((tuple(c) for c in children if isinstance(c, Sequence) and c and isinstance(c[0], tree.Axis)), ())


def _where(children) -> tuple[tree.Binding, ...]:
    return tuple(children[-1]) if isinstance(children[-1], Sequence) else ()


def _groups(children) -> tuple[tuple[tree.Identifier, ...], ...]:
    return tuple(tuple(c) for c in children if isinstance(c, Sequence))
