"""Expressions of the Model as trees of the language, for `printing`.

What the Model shares is written once: an expression with several uses gets a name in `where`. Functions without
a name (a Lambda, the body of a Slope or an Area) become functions in `where`, or at the top level where there is no
`where`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache

from mdsl.grammar import tree
from mdsl.grammar.layout.format import format_expression
from mdsl.grammar.parse import _parser
from mdsl.model.domains import Domain, Over, blank
from mdsl.model.nodes import (
    EACH,
    Apply,
    Area,
    Call,
    Derivative,
    Expr,
    Index,
    Integral,
    Label,
    Lambda,
    Model,
    Network,
    Number,
    OfAll,
    Op,
    Read,
    Reduce,
    Slope,
    Species,
    TableOf,
    Tabulated,
    Text,
    children,
    walk,
)
from mdsl.model.operators import BINARY, BUILTINS, CALLABLE, FUNCTIONALS, MEMBERS

from .numbers import NOWHERE, number

SIGNS = {op: sign for sign, op in BINARY.items()} | {"displacement": "-"}
FIELDS = {op: member for member, op in MEMBERS.items()}
WORTH_A_NAME = 3  # leaves saved


def identifier(name: str) -> tree.Identifier:
    return tree.Identifier(NOWHERE, name)


def name_of(id: str) -> tree.Name:
    return tree.Name(NOWHERE, id)


def call(function: tree.Expr, *args: tree.Expr) -> tree.Call:
    return tree.Call(NOWHERE, function, args)


# -- names ---------------------------------------------------------------------------------------------


class Names:
    """Identifiers for everything that a Model names, without two things of one name."""

    def __init__(self, model: Model, symbols: set[str], locals_: set[str]):
        values = {p.name for p in model.params} | {e.name for e in model.equations}
        self.globals = (
            values | set(model.species) | {t for t, _ in model.topologies} | set(BUILTINS) | {*CALLABLE, *FUNCTIONALS}
        )
        # The program's own functions and schemes keep their names; those of modules take what is left.
        self.symbols: dict[str, str] = {s: s for s in symbols if "." not in s}
        self.globals |= self.symbols.keys()
        self.taken = self.globals | locals_ | _words()
        for symbol in sorted(symbols):
            self.symbol(symbol)

    def symbol(self, symbol: str) -> str:
        """The name of a function or scheme: its own without the module where that is free."""
        if symbol not in self.symbols:
            module, _, name = symbol.rpartition(".")
            free = not module or name not in self.taken
            self.symbols[symbol] = self.fresh(name if free else symbol.replace(".", "_"))
        return self.symbols[symbol]

    def fresh(self, stem: str) -> str:
        name, count = stem, 1
        while name in self.taken:
            count += 1
            name = f"{stem}_{count}"
        self.taken.add(name)
        return name

    def index(self, name: str) -> str:
        """An index of a sum, which must not hide a value that the sum reads."""
        if name not in self.globals:
            return name
        key = f"index {name}"
        if key not in self.symbols:
            self.symbols[key] = self.fresh(name)
        return self.symbols[key]


@cache
def _words() -> frozenset[str]:
    return _parser()[1].words


# -- expressions ---------------------------------------------------------------------------------------


@dataclass
class Place:
    """Where an expression is written: what it can read, and where its helpers go.

    ``locals`` are the names that helpers at ``where`` do not see; ``helpers`` are the bindings of that `where`,
    None where there is none; ``known`` are expressions (by identity) that have a name here, ``shared`` those that
    are to get one; ``renamed`` gives local values another name.
    """

    locals: frozenset[str] = frozenset()
    helpers: list[tree.Binding] | None = None
    known: dict[int, str] = field(default_factory=dict)
    shared: frozenset[int] = frozenset()
    renamed: Mapping[str, str] = field(default_factory=dict)

    def inside(self, names: tuple[str, ...]) -> Place:
        return Place(self.locals | set(names), self.helpers, self.known, self.shared, self.renamed)


class Expressions:
    def __init__(self, model: Model, names: Names):
        self.model = model
        self.names = names
        self.definitions: list[tree.Statement] = []  # helpers of places without a `where`
        self.free: dict[int, tuple[Expr, frozenset[str]]] = {}

    def expr(self, e: Expr, place: Place) -> tree.Expr:
        if id(e) in place.known:
            return name_of(place.known[id(e)])
        if place.helpers is not None and id(e) in place.shared and not (self.free_names(e) & place.locals):
            name = self.names.fresh(_stem(e))
            place.helpers.append(tree.Binding(NOWHERE, identifier(name), (), self._expr(e, place)))
            place.known[id(e)] = name
            return name_of(name)
        return self._expr(e, place)

    def _expr(self, e: Expr, place: Place) -> tree.Expr:
        match e:
            case Number(value=value, dimension=dimension):
                return number(value, dimension, self.model.units)
            case Text(value=value):
                return tree.Text(NOWHERE, value)
            case Label(species=species):
                return name_of(species)
            case Read():
                return self._read(e, place)
            case TableOf(entries=entries):
                return tree.Table(
                    NOWHERE, tuple(tree.Entry(NOWHERE, labels, self.expr(v, place)) for labels, v in entries)
                )
            case Reduce(domain=Over(binders=(k,), bounds=bounds), body=body, op=op):
                ends = tree.Range(NOWHERE, *(self.expr(b, place) for b in bounds))
                numbers = tree.Domain(NOWHERE, blank(Over.form), (k, ends))
                return tree.Sum(NOWHERE, numbers, self.expr(body, place.inside((k,))), op)
            case Reduce(domain=domain, body=body, op=op):
                return tree.Sum(NOWHERE, self.domain(domain), self.expr(body, place), op)
            case Op(op=op, args=args):
                return self._op(op, tuple(self.expr(a, place) for a in args))
            case Apply(function=function, args=args):
                return call(self.expr(function, place), *(self.expr(a, place) for a in args))
            case Derivative(function=function):
                return call(name_of("D"), self.expr(function, place))
            case Integral(function=function, lower=lower, upper=upper):
                return call(name_of("integral"), *(self.expr(part, place) for part in (function, lower, upper)))
            case Lambda(parameters=parameters, body=Op(op=op, args=args)) if op in CALLABLE and args == tuple(
                map(Read, parameters)
            ):
                return name_of(op)
            case Lambda(parameters=(name,), body=Tabulated(order=0, at=Read(symbol=symbol, indices=())) as table) if (
                symbol == name
            ):
                return self._table(table)
            case Lambda():
                return self.function(e, place, "g")
            case Call():
                return self._foreign(e, place)
            case OfAll(name=name, inputs=inputs):
                return call(name_of(name), *map(name_of, inputs))
            case Tabulated(order=order, at=at):
                curve = self._table(e)
                for _ in range(order):
                    curve = call(name_of("D"), curve)
                return call(curve, self.expr(at, place))
            case Slope(variable=variable, body=body, at=at):
                slope = call(name_of("D"), self._expr(Lambda((variable,), body), place))
                return call(slope, self.expr(at, place))
            case Area(variable=variable, body=body, lower=lower, upper=upper):
                limits = (self.expr(bound, place) for bound in (lower, upper))
                return call(name_of("integral"), self._expr(Lambda((variable,), body), place), *limits)
        raise TypeError(f"no text for {e!r}")

    def _read(self, e: Read, place: Place) -> tree.Expr:
        if e.indices in ((), (EACH,)):
            if e.symbol in place.renamed and (e.indices or e.symbol in place.locals):
                return name_of(place.renamed[e.symbol])
            is_symbol = "." in e.symbol or e.symbol in self.names.symbols
            return name_of(self.names.symbol(e.symbol) if is_symbol and e.symbol not in place.locals else e.symbol)
        name = place.renamed.get(e.symbol, e.symbol) if e.symbol in place.locals else e.symbol
        return tree.Index(NOWHERE, name_of(name), tuple(self._place(i, place) for i in e.indices))

    def _place(self, index: Index, place: Place) -> tree.Expr:
        """An index; that of a loop, or one that is computed, is an expression."""
        if isinstance(index, Expr):
            return self.expr(index, place)
        return name_of(index) if isinstance(index, str) and index in place.locals else self._index(index)

    def _foreign(self, e: Call, place: Place) -> tree.Expr:
        """A call of a learned or extern function. A derivative by one of several arguments is that of the function of
        this argument."""
        inputs = e.args[1:] if isinstance(e.body, Network) else e.args
        if not e.by:
            return call(name_of(e.function), *(self.expr(a, place) for a in inputs))
        if len(inputs) == 1:
            function: tree.Expr = name_of(e.function)
            for _ in e.by:
                function = call(name_of("D"), function)
            return call(function, self.expr(inputs[0], place))
        at, variable = e.by[-1], self.names.fresh("s")
        inside = replace(e, args=tuple(Read(variable) if k == at else a for k, a in enumerate(e.args)), by=e.by[:-1])
        slope = call(name_of("D"), self._expr(Lambda((variable,), inside), place))
        return call(slope, self.expr(e.args[at], place))

    def _table(self, e: Tabulated) -> tree.Expr:
        """The function of a table, without its argument."""
        indices = e.which.indices if isinstance(e.which, Read) else ()
        return (
            tree.Index(NOWHERE, name_of(e.table), tuple(map(self._index, indices)))
            if indices not in ((), (EACH,))
            else name_of(e.table)
        )

    def _index(self, index: Index) -> tree.Expr:
        match index:
            case int():
                return tree.Number(NOWHERE, str(index))
            case Species(name=name):
                return name_of(name)
        return name_of(self.names.index(str(index)))

    def _op(self, op: str, args: tuple[tree.Expr, ...]) -> tree.Expr:
        if op in SIGNS:
            return tree.Binary(NOWHERE, SIGNS[op], *args)
        if op in FIELDS:
            return tree.Member(NOWHERE, args[0], FIELDS[op])
        match op:
            case "neg":
                return tree.Unary(NOWHERE, "-", *args)
            case "not":
                return tree.Unary(NOWHERE, "not", *args)
            case "vector":
                return tree.Tuple(NOWHERE, args)
            case "norm":
                return tree.Norm(NOWHERE, *args)
            case "choose":
                return tree.If(NOWHERE, *args)
        return call(name_of(op), *args)

    def domain(self, domain: Domain) -> tree.Domain:
        shown = domain.renamed({atom: self.names.index(atom) for atom in domain.atoms})
        left_out = (tree.Domain(NOWHERE, tree.NOT_IN, (shown.parts, t)) for t in domain.excluded)
        return tree.Domain(NOWHERE, blank(shown.form), shown.parts, tuple(left_out))

    # -- functions without a name ----------------------------------------------------------------------

    def function(self, e: Expr, place: Place, stem: str) -> tree.Expr:
        """A Lambda by the name of a helper, applied to the local values that it uses."""
        groups = []
        body, inner = e, place
        while isinstance(body, Lambda):
            groups.append(body.parameters)
            inner = inner.inside(body.parameters)
            body = body.body
        captured = self._captured(e, place)
        names = tuple(place.renamed.get(n, n) for n in captured)
        if names:
            groups.insert(0, names)
        value = self.expr(body, inner)
        name = self.names.fresh(stem)
        parameters = tuple(tuple(map(identifier, group)) for group in groups)
        if place.helpers is not None:
            place.helpers.append(tree.Binding(NOWHERE, identifier(name), parameters, value))
        else:
            self.definitions.append(tree.Def(NOWHERE, identifier(name), parameters, value))
        return call(name_of(name), *map(name_of, names)) if names else name_of(name)

    def _captured(self, e: Expr, place: Place) -> tuple[str, ...]:
        found = self.free_names(e) & place.locals
        if place.helpers is None:  # a definition at the top level sees no field of a flow either
            found |= {n.symbol for n in walk(e) if isinstance(n, Read) and n.indices == (EACH,)}
        return tuple(sorted(found))

    def free_names(self, e: Expr) -> frozenset[str]:
        """The names without index that an expression reads and does not bind."""
        known = self.free.get(id(e))
        if known is None:
            known = self.free[id(e)] = (e, self._free_names(e))
        return known[1]

    def _free_names(self, e: Expr) -> frozenset[str]:
        match e:
            case Read(symbol=symbol, indices=indices):
                return frozenset({symbol}) if indices in ((), (EACH,)) else frozenset()
            case Lambda(parameters=parameters, body=body):
                return self.free_names(body) - set(parameters)
            case Reduce(domain=Over(binders=binders, bounds=bounds), body=body):
                return (self.free_names(body) - set(binders)).union(*map(self.free_names, bounds))
            case Slope(variable=variable, body=body, at=at):
                return (self.free_names(body) - {variable}) | self.free_names(at)
            case Area(variable=variable, body=body, lower=lower, upper=upper):
                return (self.free_names(body) - {variable}) | self.free_names(lower) | self.free_names(upper)
        return frozenset().union(*map(self.free_names, children(e)))


def shared(e: Expr) -> frozenset[int]:
    """The expressions inside another (by identity) with several uses that are worth a name."""
    uses: dict[int, int] = {}
    for node in walk(e):
        for part in children(node):
            uses[id(part)] = uses.get(id(part), 0) + 1
    sizes: dict[int, int] = {}
    again = ((n, uses.get(id(n), 0) - 1) for n in walk(e) if isinstance(n, Op | Reduce))
    return frozenset(
        id(n) for n, more in again if more > 0 and (_is_distance(n) or more * (_size(n, sizes) - 1) >= WORTH_A_NAME - 1)
    )


def _is_distance(e: Expr) -> bool:
    return isinstance(e, Op) and e.op == "norm"


def _size(e: Expr, sizes: dict[int, int]) -> int:
    """The number of leaves, up to enough."""
    if id(e) not in sizes:
        sizes[id(e)] = min(WORTH_A_NAME, sum(_size(c, sizes) for c in children(e)) or 1)
    return sizes[id(e)]


def _stem(e: Expr) -> str:
    if isinstance(e, Op):
        return {"norm": "r", "displacement": "d", "sub": "d"}.get(e.op, "q") if e.type.kind != "bool" else "c"
    return "total"


# -- single expressions --------------------------------------------------------------------------------


def text_of(model: Model, e: Expr, known: Mapping[int, str] = {}) -> str:  # noqa: B006
    """One expression of a Model as text, without helpers; ``known`` are expressions (by identity) that have a name."""
    return format_expression(Expressions(model, Names(model, set(), set())).expr(e, Place(known=dict(known))))
