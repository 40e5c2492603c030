"""Pass `ends`: what a table is outside of its knots, where its statement does not say it.

A function that is somewhere applied to the distance of a pair, in a sum over pairs or triples, is a pair function: it
is 0 beyond its last knot, which is its support, wherever else it stands. Any other function (of the length of a bond,
an angle, the time, a density) has no value there: its table is asked for what it does not hold, and the run is stopped.
Before this pass all of them are 0 there; where tables hold values the meaning is the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from mdsl.grammar.diagnostics import Diagnostic
from mdsl.model.curves import REPEAT, STOP
from mdsl.model.faults import fault
from mdsl.model.nodes import Expr, Model, Op, Read, Reduce, Slope, Table, Tabulated, transform, walk
from mdsl.model.traverse import mapped

SAID = ("beyond", "period")


def settle_ends(model: Model) -> tuple[Model, list[Diagnostic]]:
    """The Model with tables that say what they are outside of their knots."""
    report = list(_without_period(model))
    open_ends = {p.name: p.table for p in model.params if p.table is not None and _open(p.table)}
    if not open_ends:
        return model, report
    of_pairs = {name for e in model.equations for name in _of_pairs(e.body)}
    stopped = {
        name: replace(table, curves=replace(table.curves, end=None, beyond=STOP))
        for name, table in open_ends.items()
        if name not in of_pairs
    }

    def rule(expr: Expr) -> Expr:
        if isinstance(expr, Tabulated) and expr.table in stopped:
            return replace(expr, curves=stopped[expr.table].curves)
        return expr

    model = mapped(model, lambda expr: transform(expr, rule))
    params = tuple(replace(p, table=stopped.get(p.name, p.table)) for p in model.params)
    return replace(model, params=params), report


def _without_period(model: Model) -> Iterator[Diagnostic]:
    """A warning for each table of a dihedral angle that does not repeat."""
    for equation in model.equations:
        for node in walk(equation.body):
            if not isinstance(node, Tabulated) or node.curves.beyond == REPEAT:
                continue
            if any(isinstance(n, Op) and n.op == "dihedral" for n in walk(node.at)):
                yield fault(
                    model.source,
                    "no-period",
                    f"`{node.table}` is a function of a dihedral angle, and its table does not repeat",
                    node,
                    notes=("at the trans angle its slope is that of one side",),
                    help="`tabulated(..., period = 360)` for a table over degrees",
                )


def _open(table: Table) -> bool:
    """Whether the statement of a table leaves open what comes behind the last knot."""
    reader, _, options = table.call
    return reader == "tabulated" and not any(name in SAID for name, _ in options)


def _of_pairs(body: Expr) -> Iterator[str]:
    """The tables that are applied to the distance of two atoms in sums over pairs."""
    slopes: dict[str, list[Expr]] = {}
    for node in walk(body):
        if isinstance(node, Slope):
            slopes.setdefault(node.variable, []).append(node.at)
    for reduce in walk(body):
        if isinstance(reduce, Reduce) and reduce.domain.reaches:
            for node in walk(reduce.body):
                if isinstance(node, Tabulated) and _is_distance(node.at, slopes):
                    yield node.table


def _is_distance(argument: Expr, slopes: dict[str, list[Expr]]) -> bool:
    """Whether an argument is made of the distance of two atoms, and of no other positions."""
    nodes = [m for n in walk(argument) for m in _seen_through(n, slopes)]
    atoms = {n.indices for n in nodes if isinstance(n, Read) and n.symbol == "x"}
    return len(atoms) == 2 and any(isinstance(n, Op) and n.op in ("norm", "dot") for n in nodes)


def _seen_through(node: Expr, slopes: dict[str, list[Expr]]) -> Iterator[Expr]:
    """A node; for the variable of a derivative, what that is taken at."""
    yield node
    if isinstance(node, Read) and node.symbol in slopes:
        for at in slopes[node.symbol]:
            yield from walk(at)
