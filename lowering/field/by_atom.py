"""A potential divided among atoms, by the Model alone.

Each summand of an energy is given in equal parts to the atoms of its tuple: with a weight w of each atom, a summand of
i and j becomes (w_i + w_j)/2 times itself, and the energy of an atom is the derivative by its weight. What energies add
that is no sum over atoms belongs to all alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from mdsl.grammar.source import Span
from mdsl.model.domains import Each, Over, Whole
from mdsl.model.nodes import SCALAR, Axis, Data, Expr, Model, Number, Op, Param, Read, Reduce, transform, walk

WEIGHT = "·weight"  # no program can call anything so


def by_atom(model: Model) -> Model | None:
    """The Model with the data `WEIGHT`, of which energies are linear functions; None where an energy is no linear
    function of its sums, or a function of Python of all atoms, so that no part of it belongs to an atom."""
    bodies = {e.name: e.body for e in model.equations if e.kind != "quantity" and e.series is None}

    def written_out(expr: Expr) -> Expr:
        def body(node: Expr) -> Expr:
            if isinstance(node, Read) and not node.indices and node.symbol in bodies:
                return written_out(bodies[node.symbol])
            return node

        return transform(expr, body)

    energies: dict[str, Expr] = {}
    for energy in model.of_kind("energy"):
        weighted = _weighted(written_out(energy.body))
        if weighted is None:
            return None
        energies[energy.name] = weighted
    weight = Param("data", WEIGHT, (Axis("atoms"),), None, Span(model.source, 0, 0), SCALAR, data=Data(None, 1.0))
    return replace(
        model,
        params=(*model.params, weight),
        equations=tuple(
            replace(e, body=energies[e.name]) if e.kind == "energy" else e
            for e in model.equations
            if e.kind in ("energy", "quantity")
        ),
        run=(),
    )


def _weighted(expr: Expr) -> Expr | None:
    """An energy with weights in its sums; None where it is no linear function of them."""
    if not any(isinstance(n, Reduce) for n in walk(expr)):
        share = Op("div", (Read(WEIGHT, ("i",), type=SCALAR), Read("N", type=SCALAR)), type=SCALAR)
        return _op("mul", expr, (Reduce(Each(("i",)), share, type=SCALAR), expr))
    match expr:
        case Reduce(domain=Over(), op="sum"):
            inner = _weighted(expr.body)
            return None if inner is None else replace(expr, body=inner)
        case Reduce(op="sum", domain=domain) if not isinstance(domain, Whole):
            return replace(expr, body=_op("mul", expr.body, (_mean(expr.domain.binders), expr.body)))
        case Op(op="add" | "sub" | "neg"):
            return _each(expr, range(len(expr.args)))
        case Op(op="mul"):
            summing = [k for k, a in enumerate(expr.args) if any(isinstance(n, Reduce) for n in walk(a))]
            return _each(expr, summing) if len(summing) == 1 else None
        case Op(op="div") if not any(isinstance(n, Reduce) for n in walk(expr.args[1])):
            return _each(expr, (0,))
        case Op(op="choose") if not any(isinstance(n, Reduce) for n in walk(expr.args[0])):
            return _each(expr, (1, 2))
    return None


def _each(expr: Op, places: Sequence[int]) -> Expr | None:
    found = [_weighted(a) if k in places else a for k, a in enumerate(expr.args)]
    args = tuple(a for a in found if a is not None)
    return replace(expr, args=args) if len(args) == len(found) else None


def _mean(atoms: Sequence[str]) -> Expr:
    total: Expr = Read(WEIGHT, (atoms[0],), type=SCALAR)
    for atom in atoms[1:]:
        total = Op("add", (total, Read(WEIGHT, (atom,), type=SCALAR)), type=SCALAR)
    return Op("div", (total, Number(float(len(atoms)), type=SCALAR)), type=SCALAR)


def _op(name: str, like: Expr, args: tuple[Expr, ...]) -> Op:
    return Op(name, args, type=like.type, span=like.span, via=like.via)
