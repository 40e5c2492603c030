"""From the Model to the Field: sums are taken out of equations, and energies are differentiated.

The summand of an energy becomes a function of squared distances, whose symbolic derivative is the force (`derivation`).
"""

from __future__ import annotations

from dataclasses import replace

import sympy

from mdsl.grammar.diagnostics import Rejected
from mdsl.model.dependencies import closure
from mdsl.model.dynamics import FIELDS
from mdsl.model.faults import fault, not_yet
from mdsl.model.nodes import EACH, SCALAR, Advance, Expr, Model, Read, names_in, transform, walk
from mdsl.symbolic.bridge import Leaves, to_sympy
from mdsl.symbolic.components import by_components
from mdsl.symbolic.magnitude import derivative

from . import series
from .field import Field
from .names import AdjointOf
from .reduced import taken_apart
from .schedule import far_sums, reads, statements
from .sums import Sums
from .terms import Derivation, Summand


def derive(model: Model) -> Field:
    """The Field of a typed Model without functions. Raises Rejected: ``not-yet``."""
    model = series.written_out(model)
    sums = Sums(model)
    for equation in model.equations:
        if equation.kind == "quantity":
            sums.quantity(equation)
        else:
            sums.combine(equation)
    dynamics = tuple(taken_apart(sums.dynamics(a), sums) for a in model.run if isinstance(a, Advance))
    inner = _inner(sums)
    work = Derivation(model, frozenset(sums.within), frozenset(inner))
    leaves = Leaves()
    potential = to_sympy(transform(sums.potential(), by_components(model.dim)), leaves)
    terms, measures = [], []
    hidden = names_in(tuple(leaf for leaf in leaves.exprs.values() if not isinstance(leaf, Read)))
    for total in sums.totals:
        if total.name in hidden:
            raise not_yet(
                model.source,
                "an energy of a sum of vectors or matrices is not lowered yet",
                total.reduce,
                help="an energy may be any function of sums of numbers, such as `|(sum(i) ..., sum(i) ..., 0)|`",
            )
    weights = _weights(sums, inner, potential, leaves)
    for total in sums.totals:
        weight = weights[total.number]
        if weight == 0:
            measure, of = work.measure(total.number, total.equation, total.reduce), model.equation(total.equation)
            measures.append(measure if of is None else series.with_axis(measure, of))
            continue
        domain = total.reduce.domain
        terms.append(
            work.term(total.number, Summand(total.equation, domain, domain.binders, total.reduce.body, weight, leaves))
        )
    needed = _needed(sums, [t.summand for t in terms])
    values = [work.value(w, w.name in needed) for w in sums.within.values()]
    reaching = [t for t in (*terms, *(v.adjoint for v in values if v.adjoint)) if t.domain.reaches]
    ends = {m.number: work.end(m.domain, series.bounded(m)) for m in measures if m.domain.reaches}
    measures = [
        replace(m, support=ends[m.number], near=work.near(ends[m.number], reaching)) if m.number in ends else m
        for m in measures
    ]
    values = [replace(v, near=v.adjoint is not None or v.reaches and work.near(v.support, reaching)) for v in values]
    for equation in model.equations:
        if equation.kind != "quantity":
            _no_atoms_left(model, equation, sums.combine(equation).expr)
    field = Field(
        model, tuple(terms), tuple(values), tuple(measures), tuple(sums.combinations.values()), inner, dynamics
    )
    for advance in dynamics:
        _nothing_computed(field, advance)
    return field


def _inner(sums: Sums) -> tuple[str, ...]:
    """The sums that summands read, each after those that it reads itself."""
    summands = [*(t.reduce.body for t in sums.totals), *(w.summand for w in sums.within.values())]
    read = {n.symbol for e in summands for n in walk(e) if isinstance(n, Read) and not n.indices}
    return tuple(t.name for t in sums.totals if t.name in read)


def _weights(sums: Sums, inner: tuple[str, ...], potential: sympy.Expr, leaves: Leaves) -> dict[int, sympy.Expr]:
    """The derivative of the potential by each sum: as the potential is written, and through the sums that read it."""
    weights = {}
    read: set[str] = set()  # by the sums that the potential changes with
    for total in reversed(sums.totals):
        symbol = leaves.symbols.get(Read(total.name))
        weight = sympy.Integer(0) if symbol is None else derivative(potential, symbol)
        if total.name in read:
            weight += leaves.symbol(Read(AdjointOf(total.name), type=SCALAR))
        weights[total.number] = weight
        if weight != 0:
            within = (sums.within[w].summand for w in _needed(sums, [total.reduce.body]))
            read |= names_in((total.reduce.body, *within)).intersection(inner)
    return weights


def _nothing_computed(field: Field, advance: Advance) -> None:
    """Sums that flows read, and that are known after an evaluation of the energies, must not depend on what flows
    compute or remember, which changes in between."""
    read = {name for statement in statements(advance) for name in reads(statement)}
    changing = (
        {s.target for s in advance.statements}
        | {s.name for s in advance.states}
        | {p.name for p in field.model.params if p.lifetime == "state"}
    )
    for summand in far_sums(field, read):
        found = next((n for n in walk(summand) if isinstance(n, Read) and n.symbol in changing - {*FIELDS}), None)
        if found is not None:
            notes = (
                "sums over atoms may: `sum(i) ...`",
                "a factor that does not depend on the pair may stand before the sum",
            )
            raise not_yet(
                field.model.source,
                f"a sum over pairs in a flow cannot read `{found.symbol}`, which flows change, yet",
                found,
                notes=notes,
            )


def _needed(sums: Sums, summands: list[Expr]) -> set[str]:
    """The per-atom values that these summands depend on."""
    within = sums.within
    read = names_in(tuple(summands)) & within.keys()
    return closure(read, lambda name: names_in(within[name].summand) & within.keys())


def _no_atoms_left(model: Model, equation, expr: Expr) -> None:
    for node in walk(expr):
        if (
            isinstance(node, Read)
            and node.indices
            and node.indices != (EACH,)
            and any(isinstance(i, str) for i in node.indices)
        ):
            raise Rejected(
                fault(
                    model.source,
                    "wrong-index",
                    f"`{node.symbol}` is one for each atom; an {equation.kind} is one number",
                    node,
                )
            )
