"""The syntax tree: what was written, and where. Nothing here knows what it means.

    expr   = Number(text, unit?) | Text(value) | Name(id) | Index(base, indices) | Call(function, args, named)
           | Member(base, field) | Unary(op, operand) | Binary(op, left, right) | Norm(operand)
           | If(condition, then, otherwise) | Sum(domain, body, op) | Table(entries) | Tuple(items) | Range(first, last)
    domain = Domain(form, parts, conditions)

Spans take no part in comparison, so two trees are equal when they say the same thing.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from .source import Span


@dataclass(frozen=True)
class Node:
    span: Span = field(compare=False, repr=False)


# -- expressions ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Expr(Node):
    pass


@dataclass(frozen=True)
class UnitPower(Node):
    """One factor of a unit: ``angstrom^-2`` is ("angstrom", -2)."""

    name: str
    power: int


@dataclass(frozen=True)
class Unit(Node):
    """A unit literal ``[kcal/mol]``: a product of powers; empty for ``[1]``."""

    factors: tuple[UnitPower, ...]


@dataclass(frozen=True)
class Number(Expr):
    text: str
    unit: Unit | None = None

    @property
    def value(self) -> float:
        """The number as written, in its unit."""
        return float(self.text.replace("_", ""))


@dataclass(frozen=True)
class Text(Expr):
    value: str


@dataclass(frozen=True)
class Name(Expr):
    id: str


@dataclass(frozen=True)
class Index(Expr):
    base: Expr
    indices: tuple[Expr, ...]


@dataclass(frozen=True)
class Named(Node):
    """``dt = 0.005`` in a call."""

    name: str
    value: Expr


@dataclass(frozen=True)
class Call(Expr):
    function: Expr
    args: tuple[Expr, ...]
    named: tuple[Named, ...] = ()


@dataclass(frozen=True)
class Member(Expr):
    """A component of a vector: ``d.x``."""

    base: Expr
    field: str


@dataclass(frozen=True)
class Unary(Expr):
    op: str  # "-" | "not"
    operand: Expr


@dataclass(frozen=True)
class Binary(Expr):
    op: str  # + - * / ^ · == != < <= > >= and or
    left: Expr
    right: Expr


@dataclass(frozen=True)
class Norm(Expr):
    """``|x[i] - x[j]|``: the length of a vector, the magnitude of a number."""

    operand: Expr


@dataclass(frozen=True)
class If(Expr):
    condition: Expr
    then: Expr
    otherwise: Expr


@dataclass(frozen=True)
class Tuple(Expr):
    items: tuple[Expr, ...]


@dataclass(frozen=True)
class Range(Expr):
    """``1..16``, both ends included."""

    first: Expr
    last: Expr


@dataclass(frozen=True)
class Entry(Node):
    """``A-B: 1.5``: the labels of one entry of a table, and its value."""

    labels: tuple[str, ...]
    value: Expr


@dataclass(frozen=True)
class Table(Expr):
    entries: tuple[Entry, ...]


# -- domains of sums -----------------------------------------------------------------------------------


Part = str | tuple[str, ...] | Range
NOT_IN = "({}) not in {}"


@dataclass(frozen=True)
class Domain(Node):
    """What stands in the parentheses of a sum: its form, such as ``{} < {}``, and what is in the blanks of it: a name,
    the names of a tuple, or a range. ``conditions`` are domains as well: ``sum(i < j, (i, j) not in bonds)``."""

    form: str
    parts: tuple[Part, ...]
    conditions: tuple[Domain, ...] = ()

    @property
    def negated(self) -> bool:
        return self.form == NOT_IN


@dataclass(frozen=True)
class Sum(Expr):
    """``sum(i < j) ...``, and what is written like it: ``largest(i) ...``, ``smallest(i) ...``."""

    domain: Domain
    body: Expr
    op: str = "sum"


# -- statements ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Statement(Node):
    pass


@dataclass(frozen=True)
class Identifier(Node):
    """A name where it is declared."""

    id: str


@dataclass(frozen=True)
class Parameter(Identifier):
    """A parameter of a flow, an integrator or a minimizer, with its default."""

    default: Expr | None = None


@dataclass(frozen=True)
class Axis(Node):
    """One index of a declared array: ``species``, ``atoms``, a bare index ``i``, or ``k in 1..16``."""

    name: str
    range: Range | None = None


@dataclass(frozen=True)
class Binding(Node):
    """``u = ...`` or ``g(r) = ...`` after ``where``."""

    name: Identifier
    groups: tuple[tuple[Identifier, ...], ...]
    value: Expr


@dataclass(frozen=True)
class Use(Statement):
    """``use pair (lennard_jones, truncated)``; without names, all that the module declares."""

    module: tuple[str, ...]
    names: tuple[Identifier, ...] | None


@dataclass(frozen=True)
class Dim(Statement):
    value: int


@dataclass(frozen=True)
class SpeciesDecl(Statement):
    names: tuple[Identifier, ...]


@dataclass(frozen=True)
class Replicas(Statement):
    """``replicas r in 1..8``: so many systems that run together, and the name of their number."""

    name: Identifier
    range: Range


@dataclass(frozen=True)
class Frozen(Statement):
    """``frozen wall``: species whose atoms never move."""

    names: tuple[Identifier, ...]


@dataclass(frozen=True)
class TopologyItem(Node):
    """``value`` is what it follows from, as in `apart(bonds, 3)`; None: it comes with the atoms."""

    name: Identifier
    indices: tuple[str, ...]
    value: Expr | None = None


@dataclass(frozen=True)
class Topology(Statement):
    items: tuple[TopologyItem, ...]


@dataclass(frozen=True)
class Box(Statement):
    value: Expr


@dataclass(frozen=True)
class Declaration(Statement):
    """``const``, ``param`` and ``state``: a name, its axes, its value."""

    kind: str  # "const" | "param" | "state"
    name: Identifier
    axes: tuple[Axis, ...]
    value: Expr


@dataclass(frozen=True)
class Data(Statement):
    """``data q[atoms] in [e]``: an array bound at run time, and its unit."""

    name: Identifier
    axes: tuple[Axis, ...]
    unit: Unit | None


@dataclass(frozen=True)
class TableItem(Node):
    name: Identifier
    axes: tuple[Axis, ...]


@dataclass(frozen=True)
class TableDecl(Statement):
    """``table F[species], g[species] = setfl("...")``."""

    items: tuple[TableItem, ...]
    value: Expr


@dataclass(frozen=True)
class Learned(Statement):
    """``learned net = mlp(16, 30, 1)``: a function whose weights are parameters."""

    name: Identifier
    value: Expr


@dataclass(frozen=True)
class Extern(Statement):
    """``extern f(r)``: a function of Python."""

    name: Identifier
    parameters: tuple[Identifier, ...]


@dataclass(frozen=True)
class ExternEnergy(Statement):
    """``extern energy E(x, species, neighbours = 5.0)``: an energy of all atoms by a function of Python."""

    name: Identifier
    inputs: tuple[Parameter, ...]


@dataclass(frozen=True)
class Def(Statement):
    """``def lennard_jones(σ, ε)(r) = ...``: one group of parameters for each pair of parentheses."""

    name: Identifier
    groups: tuple[tuple[Identifier, ...], ...]
    value: Expr
    where: tuple[Binding, ...] = ()


@dataclass(frozen=True)
class Equation(Statement):
    """``energy``, ``quantity`` and ``observe``."""

    kind: str  # "energy" | "quantity" | "observe"
    name: Identifier
    axes: tuple[Axis, ...]
    value: Expr
    where: tuple[Binding, ...] = ()


@dataclass(frozen=True)
class UnitDecl(Statement):
    """``unit kcal = 4184 [J]``, or ``unit m : length`` for a base unit."""

    name: Identifier
    value: Expr | None
    dimension: str | None


@dataclass(frozen=True)
class UnitSystem(Statement):
    """``units { length = [angstrom] ... }``: the unit in which each dimension is read and shown."""

    entries: tuple[tuple[Identifier, Unit], ...]


# -- what has order ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Update(Node):
    """``x += h*v``, ``v = ...``, ``p[k] = ...``."""

    target: Identifier
    op: str  # "=" | "+="
    value: Expr
    index: Expr | None = None


@dataclass(frozen=True)
class Draw(Node):
    """``xi ~ normal``, ``v ~ maxwell(1.0)``."""

    target: Identifier
    distribution: Expr


@dataclass(frozen=True)
class Loop(Node):
    """``for k in 1..n { ... }``, and ``for k in n..1 down { ... }``."""

    variable: Identifier
    range: Range
    down: bool
    body: tuple[Step, ...]


# What stands in the braces of a flow or integrator; the declarations are `state`, the equations `observe`.
Step = Update | Draw | Call | Loop | Declaration | Equation


@dataclass(frozen=True)
class Flow(Statement):
    name: Identifier
    parameters: tuple[Parameter, ...]
    body: tuple[Step, ...]


@dataclass(frozen=True)
class Integrator(Statement):
    """``integrator`` and ``minimizer``: flows in sequence."""

    kind: str
    name: Identifier
    parameters: tuple[Parameter, ...]
    body: tuple[Step, ...]


@dataclass(frozen=True)
class Record(Node):
    """``record T, P every 100``; without ``every``, once at the end of the statement."""

    names: tuple[Identifier, ...]
    every: Expr | None


@dataclass(frozen=True)
class Write(Node):
    """``write "melt.extxyz" every 50``; ``names``: what is written otherwise than by default, such as ``unwrapped``."""

    path: Text
    every: Expr | None
    names: tuple[Identifier, ...] = ()


@dataclass(frozen=True)
class Exchange(Node):
    """``exchange reduced_energy every 100``: replicas exchange their places in what this name tells apart."""

    name: Identifier
    every: Expr


@dataclass(frozen=True)
class Advance(Node):
    """``velocity_verlet(dt = 0.005) for 100 record ... write ...``; with ``until``, ``steps`` are the most."""

    call: Call
    steps: Expr
    outputs: tuple[Record | Write | Exchange, ...]
    until: Expr | None = None


@dataclass(frozen=True)
class Run(Statement):
    body: tuple[Update | Draw | Advance, ...]


@dataclass(frozen=True)
class Program(Node):
    statements: tuple[Statement, ...]
