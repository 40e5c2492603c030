"""The reduced energies by which replicas exchange: exp(-u) is what a replica samples.

An exchange puts the atoms of two replicas, a and b, each under the parameters of the other. Positions are kept, and
velocities scaled so that what u holds of them stays what it is, by s for one replica and 1/s for the other: volumes in
phase space are kept, and nothing else tells the two ways apart but

    u_b(x_a) + u_a(x_b) - u_a(x_a) - u_b(x_b)

without velocities, of which exp(-...), or 1 if that is less, is the probability to exchange (Metropolis et al. 1953;
Sugita and Okamoto 1999; for any parameters Sugita, Kitao and Okamoto 2000). So u is taken apart here: what it is of
atoms at rest, and the factor before its kinetic energy, by whose root velocities are scaled.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import sympy

from mdsl.grammar.diagnostics import Rejected
from mdsl.model.box_dependencies import decided_by
from mdsl.model.dependencies import closure, reads
from mdsl.model.faults import fault
from mdsl.model.nodes import (
    Advance,
    Equation,
    Expr,
    Model,
    Number,
    Op,
    Output,
    Param,
    Read,
    children,
    names_in,
    transform,
)
from mdsl.symbolic.bridge import Leaves, from_sympy, to_sympy
from mdsl.symbolic.components import by_components
from mdsl.symbolic.magnitude import derivative

from .names import AtRest, PerKinetic, SumOf
from .sums import Sums

HISTORY = frozenset({"travelled", "unwrapped", "v_start", "t_start"})


@dataclass(frozen=True)
class Reduced:
    """A reduced energy as an expression of sums and parameters. ``kinetic``: the sum in it that is a square of
    velocities, None where it reads none; ``factor``: what stands before that."""

    rest: Expr
    kinetic: SumOf | None
    factor: Expr


def exchange_of(advance: Advance) -> Output | None:
    """The exchange of a statement of dynamics."""
    return next((o for o in advance.outputs if o.kind == "exchange"), None)


def taken_apart(advance: Advance, sums: Sums) -> Advance:
    """A statement of dynamics that can observe the parts of what it exchanges. Raises Rejected: ``bad-exchange``."""
    output = exchange_of(advance)
    if output is None:
        return advance
    name, model = output.names[0], sums.model
    equation, own = model.equation(name), advance.observe(name)
    if equation is not None:
        body = sums.combine(equation).expr
    elif own is not None:
        body = own.body
    else:  # what every program has
        body = sums.potential() if name == "potential" else Read(name)
    work = _Exchange(model, advance, output, sums)
    work.check_statement()
    found = work.reduced(body)
    parts = ((AtRest(name), found.rest), (PerKinetic(name), found.factor))
    more = tuple(Equation("observe", n, (), e, advance.span) for n, e in parts)
    return replace(advance, observes=(*advance.observes, *more))


@dataclass(frozen=True)
class _Exchange:
    model: Model
    advance: Advance
    output: Output
    sums: Sums

    @property
    def name(self) -> str:
        return self.output.names[0]

    @property
    def number(self) -> Param:
        """What numbers the replicas."""
        found = self.model.replicas
        if found is None:
            raise AssertionError("`resolve` has refused an exchange without replicas")
        return found

    def refused(self, message: str, help: str | None = None, notes: tuple[str, ...] = ()) -> Rejected:
        at = Expr(span=self.output.span)
        return Rejected(fault(self.model.source, "bad-exchange", message, at, help=help, notes=notes))

    # -- what must be the same for all ---------------------------------------------------------------------

    def check_statement(self) -> None:
        number = self.number
        for what, exprs in (
            ("the time step", (self.advance.dt,)),
            ("the number of steps", (self.advance.steps, self.output.every)),
            ("the masses of the atoms", (Read("m") if self.model.param("m") is not None else None,)),
        ):
            if number.name in reads(self.model, tuple(e for e in exprs if e is not None)):
                raise self.refused(f"{what} must be the same for all replicas, but depends on `{number.name}`")
        if number.name in decided_by(self.model):
            help = "let a barostat of another pressure for each replica change the boxes"
            raise self.refused(f"replicas whose boxes depend on `{number.name}` cannot exchange", help)

    # -- the reduced energy --------------------------------------------------------------------------------

    def reduced(self, body: Expr) -> Reduced:
        kind = body.type
        series = self.model.equation(self.name)
        if kind.kind not in ("scalar", "unknown") or series is not None and series.series is not None:
            raise self.refused(f"`{self.name}` is no number, as a reduced energy is")
        if kind.dimension is not None and not kind.dimension.is_one:
            help = f"for example `observe u = {self.name}/(kB*T)`, of which each replica samples exp(-u)"
            raise self.refused(f"`{self.name}` is a number with a unit, and no reduced energy", help)
        self.check_read(body)
        moving = [t for t in self.sums.totals if t.name in self.behind(body) and "v" in names_in(t.reduce.body)]
        if len(moving) > 1:
            raise self.refused(
                f"`{self.name}` reads velocities in more than one sum",
                "write it with `kinetic`, as `(potential + kinetic)/(kB*T)`",
            )
        if not moving:
            return Reduced(body, None, Number(0.0, type=body.type))
        total = moving[0]
        if degree(total.reduce.body) != 2 or total.reduce.op != "sum" or self.parameters(total.reduce.body):
            raise self.refused(
                f"`{self.name}` reads velocities otherwise than by their squares, times the masses",
                "write it with `kinetic`, as `(potential + kinetic)/(kB*T)`",
            )
        leaves = Leaves()
        formula = to_sympy(transform(body, by_components(self.model.dim)), leaves)
        symbol = leaves.symbols[next(e for e in leaves.symbols if isinstance(e, Read) and e.symbol == total.name)]
        slope = derivative(formula, symbol)
        factor = from_sympy(slope, leaves)
        if slope.has(symbol) or self.changing(factor) or slope.is_number and sympy.re(slope) <= 0:
            raise self.refused(
                f"`{self.name}` is no multiple of the kinetic energy, beside what it is of atoms at rest",
                "write it as `(potential + kinetic)/(kB*T)`",
            )

        def resting(node: Expr) -> Expr:
            return replace(_ZERO, type=node.type) if isinstance(node, Read) and node.symbol == total.name else node

        return Reduced(transform(body, resting), total.name, factor)

    def behind(self, body: Expr) -> set[str]:
        """All names that an expression reads, through sums and quantities."""
        inside = {t.name: t.reduce.body for t in self.sums.totals} | {
            w.name: w.summand for w in self.sums.within.values()
        }
        return closure(names_in(body), lambda name: names_in(inside[name]) if name in inside else ())

    def check_read(self, body: Expr) -> None:
        read = self.behind(body)
        states = {s.name for s in self.advance.states} | {p.name for p in self.model.params if p.lifetime == "state"}
        for found, what in (
            (read & states, "a state, which is no matter of where the atoms are"),
            (read & HISTORY, "the way of the atoms until then"),
        ):
            if found:
                raise self.refused(f"`{self.name}` reads `{min(found)}`: {what}")
        for within in self.sums.within.values():
            if within.name in read and "v" in names_in(within.summand):
                raise self.refused(f"`{self.name}` reads velocities in a quantity", "write it with `kinetic`")

    def parameters(self, summand: Expr) -> set[str]:
        """What a summand reads beside atoms that may be another for each replica."""
        number = self.number
        own = names_in(summand) - {"v", "m", "species"}
        return {n for n in own if self.model.param(n) is None or number.name in reads(self.model, (Read(n),))}

    def changing(self, factor: Expr) -> set[str]:
        """What a factor reads that is not known from the parameters and the time alone."""
        known = {p.name for p in self.model.params} | {"t", "dim", "N", "pi", "degrees_of_freedom"}
        return names_in(factor) - known


_ZERO = Number(0.0)


def degree(expr: Expr) -> int | None:
    """The power of the velocities by which a summand grows with them; None where it is no such power."""
    if isinstance(expr, Read):
        return 1 if expr.symbol == "v" else 0
    found = [degree(c) for c in children(expr)]
    parts = [p for p in found if p is not None]
    if len(parts) < len(found):
        return None
    if not any(parts):
        return 0
    match expr:
        case Op(op="mul" | "dot" | "outer"):
            return sum(parts)
        case Op(op="div"):
            return parts[0] - parts[1]
        case Op(op="add" | "sub"):
            return parts[0] if parts[0] == parts[1] else None
        case Op(op="pow", args=(_, Number(value=value))) if value == int(value):
            return parts[0] * int(value)
        case Op(op="choose") if parts[0] == 0:
            return next((p for p in parts[1:] if set(parts[1:]) <= {p}), None)
        case Op(op=op) if op in ("neg", "norm", "abs", "trace") or op.startswith(("component_", "entry_")):
            return parts[0]
    return None
