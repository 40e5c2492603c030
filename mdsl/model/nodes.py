"""The Model: what a program means. Names are resolved; every stage before the Field works on this.

    expr = Number(value)                       a number, in the program's internal units
         | Read(symbol, indices)               a parameter, field, quantity, observable, binder or local
         | Op(op, args)                        arithmetic, elementary functions, choice, vectors (see `operators`)
         | Reduce(domain, body, op)            a sum over a domain, or the largest or smallest of its values
         | Label(species) | TableOf(entries)   species labels and tables, in declarations only
         | Lambda(parameters, body) | Apply(function, args)                           until `inline`
         | Derivative(function) | Integral(function, lower, upper)                    until `inline`
         | Slope(variable, body, at)           d body/d variable at a point; until `differentiate`
         | Tabulated(table, which, order, at)  a tabulated function or one of its derivatives at a point
         | Area(variable, body, lower, upper)  the integral of body over variable; until `differentiate`
         | Call(function, args, by)            a learned or extern function, or its derivative by some of its arguments
         | OfAll(name, inputs, radius)         an extern energy: a function of Python of all atoms at once

Sums bind *atom indices*; `Read("x", (i,))` is a position (a point), `Read("sigma", (i, j))` the entry of a
species table for the species of atoms i and j, `Read("G", ("i", "k"))` an entry of a quantity over a range, and
`Read("G", ("i",))` all its entries: an array, which only learned and extern functions take. In flows a field, and a
value made of fields, has the index `EACH`: the statement holds for each atom; a value that is one for all has no index.
Expressions are shared, not copied: passes remember nodes by identity.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from mdsl.grammar.source import Source, Span
from mdsl.grammar.tree import Unit

from .curves import Curves
from .dimensions import ONE, Dimension
from .domains import Domain
from .dynamics import DISTRIBUTIONS, Advance, Draw, Invoke, Loop, Output, Scheme, Setup, State, Update  # noqa: F401
from .expr import BOOL, SCALAR, UNKNOWN, UNTYPED, Expr, Type, hashed_once  # noqa: F401
from .functions import Extern, Network, Weights
from .traverse import children, inside, rebuild, transform, walk  # noqa: F401
from .units import UnitSystem

EACH = "·"  # the implicit atom of a flow


@dataclass(frozen=True)
class Number(Expr):
    value: float
    dimension: Dimension = ONE


@dataclass(frozen=True)
class Text(Expr):
    value: str


@dataclass(frozen=True)
class Species:
    """A fixed species as an index."""

    name: str

    def __str__(self) -> str:
        return self.name


@hashed_once
@dataclass(frozen=True)
class Read(Expr):
    symbol: str
    # A binder, a whole number, or a fixed species; until `inline` also what a whole number is computed from; in the
    # Field also the number of a range.
    indices: tuple[Index, ...] = ()


@hashed_once
@dataclass(frozen=True)
class Op(Expr):
    op: str
    args: tuple[Expr, ...]


@hashed_once
@dataclass(frozen=True)
class Reduce(Expr):
    domain: Domain
    body: Expr
    op: str = "sum"  # or "largest", "smallest"


@dataclass(frozen=True)
class Label(Expr):
    species: str


@dataclass(frozen=True)
class Entry:
    """The number of the range as the index of an array; of a per-atom value over a range that begins with ``start``,
    perhaps a fixed ``number`` of it."""

    start: int = 0
    number: int | None = None

    def __str__(self) -> str:
        return "k" if self.number is None else str(self.number)


Index = str | int | Species | Entry | Expr


@hashed_once
@dataclass(frozen=True)
class TableOf(Expr):
    entries: tuple[tuple[tuple[str, ...], Expr], ...]


@hashed_once
@dataclass(frozen=True)
class Lambda(Expr):
    parameters: tuple[str, ...]
    body: Expr


@hashed_once
@dataclass(frozen=True)
class Apply(Expr):
    function: Expr
    args: tuple[Expr, ...]


@hashed_once
@dataclass(frozen=True)
class Derivative(Expr):
    function: Expr


@hashed_once
@dataclass(frozen=True)
class Integral(Expr):
    function: Expr
    lower: Expr
    upper: Expr


@hashed_once
@dataclass(frozen=True)
class Slope(Expr):
    variable: str
    body: Expr
    at: Expr


@hashed_once
@dataclass(frozen=True)
class Tabulated(Expr):
    """The ``order``-th derivative of a function of the table ``table``. ``which`` is the number of its curve: the Read
    of the table's entry, 0 of a table without axes. ``extended``: without the end of the function, for what is just
    before it."""

    table: str
    which: Expr
    order: int
    at: Expr
    extended: bool = False
    curves: Curves = field(compare=False, repr=False, kw_only=True)


@hashed_once
@dataclass(frozen=True)
class Call(Expr):
    """A learned or extern function of numbers, or of one array, differentiated by its arguments at the places ``by``.
    The first argument of a learned function are its weights. ``body`` says what it computes."""

    function: str
    args: tuple[Expr, ...]
    by: tuple[int, ...] = ()
    body: Network | Extern = field(compare=False, repr=False, kw_only=True)


@hashed_once
@dataclass(frozen=True)
class OfAll(Expr):
    """A function of Python of all atoms at once, of its ``inputs`` by name; the one summand of a sum over `Whole`.
    ``radius``: within which it is told of pairs, () where it is not. ``weights``: the input that is its own parameter,
    empty where there is none."""

    name: str
    inputs: tuple[str, ...]
    radius: tuple[Expr, ...] = ()
    weights: str = ""
    body: Extern = field(compare=False, repr=False, kw_only=True)


@hashed_once
@dataclass(frozen=True)
class Area(Expr):
    variable: str
    body: Expr
    lower: Expr
    upper: Expr


# -- declarations --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Axis:
    """An axis of an array: ``species``, ``atoms``, or a range ``first..last`` of whole numbers."""

    kind: str
    first: int = 0
    last: int = -1

    @property
    def count(self) -> int:
        """How many whole numbers a range has."""
        return self.last + 1 - self.first


@dataclass(frozen=True, eq=False)
class Table:
    """What a ``table`` statement gives one of its names. ``call``: the reader, the path and the options as written;
    ``argument`` and ``result``: the dimensions of the functions. Names of one statement share their ``call``."""

    curves: Curves
    argument: Dimension
    result: Dimension
    call: tuple[str, str, tuple[tuple[str, Number], ...]]


@dataclass(frozen=True)
class Derived:
    """A topology of ``width`` atoms that follows from another, ``of``: its tuples of the type ``label``; where that is
    empty, of bonds, the pairs ``count`` bonds apart, or, where that is 0, the paths along bonds."""

    name: str
    of: str
    count: int
    width: int
    label: str = ""


@dataclass(frozen=True)
class Data:
    """The unit in which the numbers of a ``data`` are given, and what 1 of it is in internal units."""

    unit: Unit | None
    size: float


@dataclass(frozen=True)
class Param:
    """A ``param``, ``const``, ``data``, ``state`` or ``table``: ``default`` has one entry for each label of each axis,
    and is None where the values come from elsewhere: of ``data`` with the atoms, of a ``table`` with its file. The
    value of a table is the number of its curve, that of a ``learned`` function its weights, one after the other.
    ``declared``: until `infer`, what the program says where ``default`` was given from outside in its place.
    ``numbers``: of what `replicas` declares, the numbers that the replicas have."""

    lifetime: str
    name: str
    axes: tuple[Axis, ...]
    default: Expr | None
    span: Span = field(compare=False, repr=False)
    type: Type = UNTYPED
    binder: str | None = None  # `const shift[k in 1..16] = 0.1*k`: the index its value may use
    table: Table | None = None
    data: Data | None = None
    learned: Network | Weights | None = None
    declared: Expr | None = None
    numbers: Axis | None = None

    @property
    def per_atom(self) -> bool:
        return any(axis.kind == "atoms" for axis in self.axes)


@dataclass(frozen=True)
class Function:
    """A ``def``: ``value`` is a Lambda for each group of parameters."""

    symbol: str
    name: str
    value: Expr
    span: Span = field(compare=False, repr=False)


@dataclass(frozen=True)
class Equation:
    """``energy``, ``quantity`` (of the atom that its first binder stands for) or ``observe``; with ``series``, an
    observe or a quantity with an entry for each whole number of a range, which its last binder stands for."""

    kind: str
    name: str
    binders: tuple[str, ...]
    body: Expr
    span: Span = field(compare=False, repr=False)
    series: Axis | None = None


@dataclass(frozen=True)
class Box:
    """``box periodic(Lx, Ly, Lz)`` or ``box free``: one edge for all axes, or one each; None where free.

    ``tilts``: of ``box triclinic(a, b, c)`` what stands before the edge in each vector, (bx, cx, cy).
    """

    edges: tuple[Expr | None, ...]
    span: Span = field(compare=False, repr=False)
    tilts: tuple[Expr, ...] = ()


@dataclass(frozen=True)
class Model:
    source: Source
    units: UnitSystem
    dim: int
    species: tuple[str, ...]
    topologies: tuple[tuple[str, int], ...]
    box: Box | None
    params: tuple[Param, ...]
    functions: tuple[Function, ...]
    equations: tuple[Equation, ...]
    schemes: tuple[Scheme, ...]
    run: tuple[Setup | Advance, ...]
    derived: tuple[Derived, ...] = ()
    frozen: tuple[str, ...] = ()  # species whose atoms never move, and data that are not 0 for atoms that do not
    externs: tuple[Extern, ...] = ()

    def of_kind(self, kind: str) -> tuple[Equation, ...]:
        return tuple(e for e in self.equations if e.kind == kind)

    def equation(self, name: str) -> Equation | None:
        return next((e for e in self.equations if e.name == name), None)

    def param(self, name: str) -> Param | None:
        return next((p for p in self.params if p.name == name), None)

    def declaration(self, name: str) -> Param:
        """What declares this parameter."""
        return next(p for p in self.params if p.name == name)

    def table(self, name: str) -> Table:
        """What the `table` statement of this name gives it."""
        return next(p.table for p in self.params if p.name == name and p.table is not None)

    @property
    def replicas(self) -> Param | None:
        """What numbers the replicas that the program declares."""
        return next((p for p in self.params if p.numbers is not None), None)

    def foreign(self, name: str) -> Network | Extern | None:
        """What a learned or extern function computes."""
        param = self.param(name)
        if param is not None:
            return param.learned if isinstance(param.learned, Network) else None
        return next((e for e in self.externs if e.name == name), None)

    @property
    def python(self) -> tuple[Extern, ...]:
        """All functions of Python: extern functions, and those of extern energies."""
        whole = (n.body for e in self.of_kind("energy") for n in walk(e.body) if isinstance(n, OfAll))
        return (*self.externs, *whole)

    def of_atoms(self, name: str) -> bool:
        """Whether what is read with the index of an atom belongs to it alone, and not to its species."""
        param = self.param(name)
        return name == "m" or param is None or param.per_atom

    @property
    def freezing(self) -> tuple[str, ...]:
        """The data of atoms that say which never move."""
        return tuple(name for name in self.frozen if name not in self.species)

    @property
    def data(self) -> tuple[Param, ...]:
        """What comes with the atoms."""
        return tuple(p for p in self.params if p.data is not None)


def names_in(item: object) -> set[str]:
    """The names that are read in an item, a Model or any part of one."""
    return {node.symbol for expr in inside(item) for node in walk(expr) if isinstance(node, Read)}


def reads_each(expr: Expr) -> bool:
    """Whether an expression of a flow is another for each atom."""
    return any(isinstance(node, Read) and EACH in node.indices for node in walk(expr))


def bound(expr: Expr) -> tuple[str, ...]:
    """The names that a node gives to what is inside it."""
    match expr:
        case Reduce(domain=domain):
            return domain.binders
        case Lambda(parameters=parameters):
            return parameters
        case Slope(variable=variable) | Area(variable=variable):
            return (variable,)
    return ()


def free_atoms(expr: Expr, memo: dict[int, frozenset[str]] | None = None) -> frozenset[str]:
    """The atoms that an expression reads and does not bind itself."""
    memo = {} if memo is None else memo
    if id(expr) not in memo:
        inner = frozenset(i for c in children(expr) for i in free_atoms(c, memo))
        if isinstance(expr, Reduce):
            inner = (inner | {*expr.domain.atoms}) - {*expr.domain.binders}
        elif isinstance(expr, Read):
            inner |= {i for i in expr.indices if isinstance(i, str)}
        memo[id(expr)] = inner
    return memo[id(expr)]
