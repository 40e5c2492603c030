"""Taking sums out of equations: what is summed over all atoms or pairs, and what is one value for each atom.

An equation becomes an expression over `Read(SumOf(k))`, the value of its k-th sum. Inside a summand, a sum over the
neighbours of an atom becomes a per-atom value, `Read(SumOf(k), (i,))`, computed before; so does a quantity.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from mdsl.model.domains import Centred, Domain
from mdsl.model.faults import not_yet
from mdsl.model.nodes import (
    EACH,
    SCALAR,
    Advance,
    Axis,
    Call,
    Equation,
    Expr,
    Model,
    Number,
    Op,
    Read,
    Reduce,
    children,
    free_atoms,
    names_in,
    rebuild,
    transform,
    walk,
)
from mdsl.model.traverse import mapped

from .field import Combination
from .names import SumOf
from .series import Entry, reads_entry


@dataclass(frozen=True)
class Total:
    """Sum number ``number``, one value for the whole; what it read of neighbours is taken out of ``reduce``."""

    number: int
    equation: str
    reduce: Reduce

    @property
    def name(self) -> SumOf:
        return SumOf(self.number)


@dataclass(frozen=True)
class Within:
    """One value for each atom ``centre``: the sum of ``summand`` over a domain around it, or, without a domain, the
    summand itself. ``axis``: it has an entry for each number of a range, which the summand reads as `series.ENTRY`."""

    name: str
    equation: str
    centre: str
    domain: Centred | None
    summand: Expr
    depth: int
    axis: Axis | None = None


class Sums:
    """The sums of a program, as they are found."""

    def __init__(self, model: Model):
        self.model = model
        self.count = 0
        self.totals: list[Total] = []
        self.within: dict[str, Within] = {}  # by name, in an order in which each needs only those before it
        self.combinations: dict[str, Combination] = {}
        self._anonymous: dict[tuple[Reduce, Axis | None], str] = {}
        self._pairs = False  # within a sum over pairs or triples
        self._places: dict[Expr, str] = {}
        self._seen: dict[tuple[int, Axis | None], tuple[Expr, Expr]] = {}
        self._range: Axis | None = None  # of the observable at hand: a sum has as many entries
        self._axis: Axis | None = None  # of the quantity at hand

    def combine(self, equation: Equation) -> Combination:
        """The equation with its sums replaced and other equations written out."""
        known = self.combinations.get(equation.name)
        if known is None:
            outside, self._range = self._range, equation.series
            known = Combination(equation.name, equation.kind, self._outside(equation.body, equation.name))
            self._range = outside
            self.combinations[equation.name] = known
        return known

    def dynamics(self, advance: Advance) -> Advance:
        """A statement of dynamics with its sums replaced and equations written out."""
        name = advance.scheme

        def outside(expr: Expr) -> Expr:
            return self._outside(expr, name)

        changed = ("body", "until", "states", "observes")
        return replace(advance, **{part: mapped(getattr(advance, part), outside) for part in changed})

    def potential(self) -> Expr:
        energies = [self.combine(e).expr for e in self.model.of_kind("energy")]
        total = energies[0] if energies else Number(0.0, type=SCALAR)
        for energy in energies[1:]:
            total = Op("add", (total, energy), type=energy.type)
        return total

    def quantity(self, equation: Equation) -> str:
        """The name of a quantity, which is taken apart when it is first met."""
        if equation.name not in self.within:
            centre, body = equation.binders[0], equation.body
            outside, self._axis = self._axis, equation.series
            domain: Centred | None = None
            if isinstance(body, Reduce) and isinstance(body.domain, Centred) and body.domain.centre == centre:
                domain, summand = body.domain, self._summand(body, equation.name)
            else:
                summand = self._inside(body, equation.name, {centre})
            self._axis = outside
            if equation.series is not None and (
                call := next((n for n in walk(summand) if isinstance(n, Call) and any(_whole(a) for a in n.args)), None)
            ):
                help = "call it in a quantity without a range, and read that"
                raise not_yet(
                    self.model.source,
                    "a quantity over a range that calls a function of an array is not lowered yet",
                    call,
                    help=help,
                )
            self.within[equation.name] = Within(
                equation.name, equation.name, centre, domain, summand, self._depth(summand, domain), equation.series
            )
        return equation.name

    # -- outside of all sums -----------------------------------------------------------------------------

    def _outside(self, expr: Expr, name: str) -> Expr:
        """The expression with its sums replaced; what it shares stays shared."""
        key = id(expr), self._range
        if key not in self._seen:
            self._seen[key] = (expr, self._taken_out(expr, name))
        return self._seen[key][1]

    def _taken_out(self, expr: Expr, name: str) -> Expr:
        match expr:
            case Reduce(domain=domain):
                if isinstance(domain, Centred):
                    raise AssertionError(f"a sum over {domain} outside of all sums")
                number = self._number()
                body = self._summand(expr, name)
                self.totals.append(total := Total(number, name, replace(expr, body=body)))
                return Read(total.name, span=expr.span, via=expr.via, type=expr.type)
            case Read(symbol=symbol, indices=()):
                other = self.model.equation(symbol)
                if other is not None:
                    return self.combine(other).expr
                return self.potential() if symbol == "potential" else expr
            case Read(symbol=symbol) if (
                (other := self.model.equation(symbol)) is not None and other.kind == "quantity" and EACH in expr.indices
            ):
                help = "a flow may read sums over atoms and pairs, and of quantities, that are one number for all"
                raise not_yet(
                    self.model.source, f"a flow cannot read `{symbol}`, a quantity of each atom, yet", expr, help=help
                )
        return rebuild(expr, tuple(self._outside(c, name) for c in children(expr)))

    # -- inside a sum or a quantity ------------------------------------------------------------------------

    def _summand(self, reduce: Reduce, name: str) -> Expr:
        outside, self._pairs = self._pairs, reduce.domain.reaches
        found = self._inside(reduce.body, name, {*reduce.domain.atoms})
        self._pairs = outside
        return found

    def _inside(self, expr: Expr, name: str, bound: set[str], memo: dict[int, tuple[Expr, Expr]] | None = None) -> Expr:
        """The expression of the atoms ``bound`` with its sums and quantities read as per-atom values."""
        memo = {} if memo is None else memo
        if id(expr) not in memo:
            memo[id(expr)] = (expr, self._read(expr, name, bound, memo))
        return memo[id(expr)][1]

    def _read(self, expr: Expr, name: str, bound: set[str], memo) -> Expr:
        match expr:
            case Reduce(domain=domain):
                if not isinstance(domain, Centred):
                    return self._collective(expr, name)
                body = self._summand(expr, name)
                axis = self._axis if reads_entry(body) else None
                if reads_entry(body) and axis is None:
                    raise not_yet(
                        self.model.source,
                        "a sum around an atom that depends on the entry of a series is not lowered yet",
                        expr,
                    )
                further = free_atoms(body) - {*domain.atoms}
                if further:
                    named = ", ".join(f"`{i}`" for i in sorted(further))
                    raise not_yet(
                        self.model.source,
                        f"a sum around one atom that depends on another atom, {named}, is not lowered yet",
                        expr,
                    )
                value = self._value(replace(expr, body=body), domain, name, axis)
                return Read(
                    value,
                    (domain.centre, *(() if axis is None else (Entry(axis.first),))),
                    span=expr.span,
                    via=expr.via,
                    type=expr.type,
                )
            case Op(
                args=(Op(op="displacement", args=(Read(symbol="x", indices=(str() as atom,)), Read(symbol="origin"))),)
            ) if expr.op.startswith("component_") and self._pairs:
                return Read(
                    self._place(renamed(expr, {atom: "i"}), name), (atom,), span=expr.span, via=expr.via, type=expr.type
                )
            case Read(symbol="origin") if self._pairs:
                help = "take it by its components, such as `x[i].x`"
                raise not_yet(
                    self.model.source,
                    "where an atom is, as a vector, in a sum over pairs or triples is not lowered yet",
                    expr,
                    help=help,
                )
            case Read(symbol=symbol, indices=indices):
                other = self.model.equation(symbol)
                if other is not None and indices:
                    start = 0 if other.series is None else other.series.first
                    entries = (Entry(start, i if isinstance(i, int) else None) for i in indices[1:])
                    return replace(expr, symbol=self.quantity(other), indices=(indices[0], *entries))
                if other is not None and other.series is None or symbol == "potential":
                    return self._collective(expr, name)
                if other is not None:
                    raise not_yet(self.model.source, f"`{symbol}` inside a sum is not lowered yet", expr)
                return expr
        parts = tuple(self._inside(c, name, bound, memo) for c in children(expr))
        if isinstance(expr, Op) and expr.op.startswith("component_") and parts[0] is not expr.args[0]:
            vector = parts[0]
            if isinstance(vector, Op) and vector.op == "vector":
                return vector.args["xyz".index(expr.op[-1])]
        return expr if all(a is b for a, b in zip(children(expr), parts)) else rebuild(expr, parts)

    def _collective(self, expr: Expr, name: str) -> Expr:
        """What is one for all, inside a sum: a sum over all that stands by itself, or what is made of such."""
        further = free_atoms(expr)
        if further:
            named = ", ".join(f"`{i}`" for i in sorted(further))
            help = "it must be one number for all; a sum around an atom is `sum(j != i)`"
            raise not_yet(
                self.model.source,
                f"a sum over all inside a sum that depends on an atom of the outer one, {named}, is not lowered yet",
                expr,
                help=help,
            )
        if expr.type.kind == "vector":
            parts = tuple(self._collective(_component(a, expr, self.model), name) for a in "xyz"[: self.model.dim])
            return Op("vector", parts, type=expr.type, span=expr.span, via=expr.via)
        outside = self._axis, self._range, self._pairs
        self._axis = self._range = None
        self._pairs = False
        found = self._outside(expr, name)
        self._axis, self._range, self._pairs = outside
        if found.type.kind == "matrix" or any(map(reads_entry, self._new_sums(found))):
            help = "an energy or observable may be any function of sums: multiply out what stands in the outer sum"
            raise not_yet(
                self.model.source,
                "this sum inside a sum is not lowered yet: it is a matrix, or another for each entry of a series",
                expr,
                help=help,
            )
        return found

    def _new_sums(self, expr: Expr) -> list[Expr]:
        """The summands of the sums that an expression reads."""
        names = names_in(expr)
        return [t.reduce.body for t in self.totals if t.name in names]

    def _value(self, reduce: Reduce, domain: Centred, equation: str, axis: Axis | None) -> str:
        """The name of a sum around an atom; two that differ by the names of their indices are one."""
        names = dict(zip(domain.atoms, "ijk"))
        domain = domain.renamed(names)
        usual = Reduce(
            domain,
            renamed(reduce.body, names),
            span=reduce.span,
            via=reduce.via,
            type=reduce.type,
        )
        if (usual, axis) not in self._anonymous:
            name = self._anonymous[usual, axis] = SumOf(self._number())
            self.within[name] = Within(name, equation, "i", domain, usual.body, self._depth(usual.body, domain), axis)
        return self._anonymous[usual, axis]

    def _place(self, component: Expr, equation: str) -> str:
        """The name of the value that says where each atom "i" is along an axis."""
        if component not in self._places:
            name = self._places[component] = SumOf(self._number())
            self.within[name] = Within(name, equation, "i", None, component, 0)
        return self._places[component]

    def _depth(self, summand: Expr, domain: Domain | None) -> int:
        read = [self.within[n.symbol].depth for n in walk(summand) if isinstance(n, Read) and n.symbol in self.within]
        return max(read, default=0) + (domain is not None)

    def _number(self) -> int:
        self.count += 1
        return self.count - 1


def _whole(expr: Expr) -> bool:
    """Whether this is a quantity over a range, all of it."""
    return isinstance(expr, Read) and bool(expr.indices) and expr.type.kind == "array"


def _component(axis: str, vector: Expr, model: Model) -> Expr:
    """A component of a vector that is made of sums, as what is made of sums of components."""
    type = replace(vector.type, kind="scalar")

    def of(part: Expr) -> Expr:
        return _component(axis, part, model)

    match vector:
        case Read(symbol=symbol, indices=()) if (other := model.equation(symbol)) is not None:
            return of(other.body)
        case Reduce(body=body):
            return replace(vector, body=of(body), type=type)
        case Op(op="add" | "sub" | "neg", args=args):
            return replace(vector, args=tuple(map(of, args)), type=type)
        case Op(op="mul" | "div", args=args):
            return replace(vector, args=tuple(of(a) if a.type.kind == "vector" else a for a in args), type=type)
        case Op(op="vector", args=args):
            return args["xyz".index(axis)]
    return Op(f"component_{axis}", (vector,), type=type, span=vector.span, via=vector.via)


def renamed(expr: Expr, names: dict[str, str]) -> Expr:
    """The expression with other names for atoms."""

    def rule(node: Expr) -> Expr:
        if isinstance(node, Read) and node.indices:
            return replace(node, indices=tuple(names.get(i, i) if isinstance(i, str) else i for i in node.indices))
        return node

    return transform(expr, rule)
