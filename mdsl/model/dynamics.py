"""The part of the Model that has order: what stands in flows, integrators and the run block."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mdsl.grammar.source import Span

from .expr import UNTYPED, Expr, Type

if TYPE_CHECKING:
    from .nodes import Equation


FIELDS = ("x", "v", "cell")  # what every scheme can change
MOST_STEPS = 2**31 - 1  # steps are counted by 32 bits on the device


@dataclass(frozen=True)
class Update:
    """``target op value`` for each atom (fields, and values that hold for each atom) or once. ``op`` is ``=`` or
    ``+=``.

    ``state``: the target is memory of the scheme, or a parameter that stands for such. ``index`` is the entry of a
    state with a range, until `inline`.
    """

    target: str
    op: str
    value: Expr
    span: Span = field(compare=False, repr=False)
    state: bool = False
    index: Expr | None = None


# What can be drawn: fresh random numbers for each atom and axis, or one number; how many arguments it takes.
DISTRIBUTIONS = {"normal": 0, "normal_number": 0, "uniform_number": 0, "chi_squared": 1}


@dataclass(frozen=True)
class Draw:
    """``target ~ distribution``: fresh random numbers."""

    target: str
    distribution: str
    span: Span = field(compare=False, repr=False)
    args: tuple[Expr, ...] = ()

    @property
    def per_atom(self) -> bool:
        return self.distribution == "normal"


@dataclass(frozen=True)
class State:
    """The memory of a scheme: ``value`` is what it starts from. ``axis`` are its index and its range, until `inline`.

    ``param`` is the name of the top-level `state` that it stands for, if any, and its place on the axis of that.
    """

    name: str
    value: Expr
    span: Span = field(compare=False, repr=False)
    axis: tuple[str, Expr, Expr] | None = None
    type: Type = UNTYPED
    param: tuple[str, int | None] | None = None


@dataclass(frozen=True)
class Loop:
    """``body`` for each whole number from ``first`` up to ``last``, or down to it: until `inline`."""

    variable: str
    first: Expr
    last: Expr
    down: bool
    body: tuple[Update | Draw | Invoke | Loop, ...]
    span: Span = field(compare=False, repr=False)


@dataclass(frozen=True)
class Invoke:
    """A flow or integrator inside an integrator: until `inline`."""

    symbol: str
    args: tuple[Expr, ...]
    span: Span = field(compare=False, repr=False)


@dataclass(frozen=True)
class Scheme:
    """A ``flow``, ``integrator`` or ``minimizer``: until `inline`. ``observes`` can be recorded where it runs."""

    kind: str
    symbol: str
    name: str
    parameters: tuple[str, ...]
    body: tuple[Update | Draw | Invoke | Loop, ...]
    span: Span = field(compare=False, repr=False)
    defaults: tuple[Expr | None, ...] = ()
    states: tuple[State, ...] = ()
    observes: tuple[Equation, ...] = ()

    def default(self, parameter: str) -> Expr | None:
        return dict(zip(self.parameters, self.defaults)).get(parameter)

    def statements(self) -> Iterator[Update | Draw | Invoke | Loop]:
        """The statements of the body, and those inside its loops."""
        pending = list(self.body)
        while pending:
            statement = pending.pop(0)
            yield statement
            pending = [*statement.body, *pending] if isinstance(statement, Loop) else pending

    def invoked(self) -> list[str]:
        """The symbols of the flows that it is made of."""
        return [s.symbol for s in self.statements() if isinstance(s, Invoke)]


@dataclass(frozen=True)
class Setup:
    """``x = fcc(...)``, ``x ~ uniform(...)``, ``v ~ maxwell(...)``: a builder of the runtime with its options.

    Options are evaluated to numbers, text, labels or tables when the run starts.
    """

    target: str
    builder: str
    options: tuple[tuple[str, Expr], ...]
    span: Span = field(compare=False, repr=False)


UNWRAPPED = "unwrapped"  # what frames hold in place of positions in the box


@dataclass(frozen=True)
class Output:
    """``record names every n`` (kind record), ``write path every n`` (kind write, the first name is the path, and
    `UNWRAPPED` may follow), or ``exchange name every n`` (kind exchange); every None: at the end."""

    kind: str
    names: tuple[str, ...]
    every: Expr | None
    span: Span = field(compare=False, repr=False)


@dataclass(frozen=True)
class Advance:
    """One statement of dynamics: a scheme with its options, for a number of steps.

    ``body`` is None until `inline` writes the scheme out as updates and draws; ``dt`` is the time by
    which one step advances ``t``; ``states`` are its memory, ``observes`` what can be recorded of it.
    ``until`` is the condition after which it ends before ``steps`` steps are done.
    """

    scheme: str
    options: tuple[tuple[str, Expr], ...]
    steps: Expr
    outputs: tuple[Output, ...]
    span: Span = field(compare=False, repr=False)
    body: tuple[Update | Draw, ...] | None = None
    dt: Expr | None = None
    until: Expr | None = None
    states: tuple[State, ...] = ()
    observes: tuple[Equation, ...] = ()

    @property
    def statements(self) -> tuple[Update | Draw, ...]:
        """What a step does, once the scheme is written out."""
        return self.body or ()

    def observe(self, name: str) -> Equation | None:
        return next((e for e in self.observes if e.name == name), None)
