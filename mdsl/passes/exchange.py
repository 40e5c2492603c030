"""Pass `exchange`: the summand over i < j, or over j < k around i, must not change when the two are exchanged.

A pair has no order: `sum(i < j)` of a summand that depends on the order would depend on how atoms are
numbered. The check evaluates the summand both ways round on random atoms with random parameters, so what it
refuses really differs; the Model is unchanged.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from mdsl.grammar.diagnostics import Diagnostic
from mdsl.interpret.atoms import System
from mdsl.interpret.expressions import Interpreter
from mdsl.interpret.meaning import parameter
from mdsl.interpret.rows import Rows
from mdsl.model.dimensions import LENGTH
from mdsl.model.domains import Pairs
from mdsl.model.dynamics import FIELDS
from mdsl.model.faults import fault
from mdsl.model.nodes import Advance, Equation, Expr, Model, Param, Reduce, free_atoms, names_in, walk
from mdsl.model.traverse import inside

from .atom_data import shape_of
from .finite import known
from .given import unknown_functions

PAIRS = 64
TOLERANCE = 1e-8


def check_exchange(model: Model) -> tuple[Model, list[Diagnostic]]:
    """The same Model, and a diagnostic for each summand that is not symmetric."""
    report: list[Diagnostic] = []
    for body, names in (*((e.body, _entries(e)) for e in model.equations), *_in_flows(model)):
        for node in walk(body):
            if isinstance(node, Reduce) and node.domain.symmetric and not symmetric(model, node, names):
                i, j = node.domain.binders[-2:]
                report.append(
                    fault(
                        model.source,
                        "asymmetric-pair",
                        f"the summand changes when `{i}` and `{j}` are exchanged",
                        node.body,
                        notes=(f"`sum({node.domain})` visits every pair once, in an order that means nothing",),
                        help=(PAIR if isinstance(node.domain, Pairs) else ENDS).format(i=i, j=j),
                    )
                )
    return model, report


PAIR = "make it symmetric, for example with `(q[{i}] + q[{j}])/2`, or write a quantity with `sum({j} != {i})`"
ENDS = "the two ends play the same part: make it symmetric in them"


@np.errstate(all="ignore")
def symmetric(model: Model, reduce: Reduce, entries: Mapping[str, np.ndarray] = {}) -> bool:  # noqa: B006
    """Whether exchanging the last two atoms of a domain leaves the summand as it is, at random places."""
    names = reduce.domain.atoms
    if free_atoms(reduce.body) - {*names, *entries}:
        return True  # it depends on atoms further out, which is refused later
    if unknown_functions(reduce.body):
        return True  # what is not known cannot be tried
    rng = np.random.default_rng(20)
    params = {
        p.name: _shaken(model, p, rng)
        for p in model.params
        if p.lifetime == "param" and p.binder is None and known(model, p)
    }
    scale = np.mean(
        [abs(np.mean(v)) for p in model.params if (v := params.get(p.name)) is not None and _is_length(model, p)]
        or [1.0]
    )
    # The first atom anywhere, the others at distances from a thousandth to a thousand times the lengths of the
    # program, in a box larger still.
    places = [scale * rng.uniform(0, 1, (PAIRS, model.dim))]
    for _ in names[1:]:
        apart = rng.normal(size=(PAIRS, model.dim))
        places.append(
            places[0] + apart * (scale * 10 ** rng.uniform(-1.5, 1.5, PAIRS) / np.linalg.norm(apart, axis=1))[:, None]
        )
    n = len(names) * PAIRS
    params |= sample_data(model, n, scale, rng)
    system = System(
        np.concatenate(places),
        np.full(model.dim, 1e6 * scale),
        v=rng.normal(size=(n, model.dim)),
        species=rng.integers(0, max(1, len(model.species)), n),
        masses=rng.uniform(1, 2, n),
        params=params,
        topologies={name: _tuples(n, count) for name, count in model.topologies},
    )
    shapes = {"vector": (model.dim,), "matrix": (model.dim, model.dim)}
    quantities = {
        e.name: rng.uniform(0.5, 2, (n, *_entry_count(e), *shapes.get(e.body.type.kind, ())))
        for e in model.of_kind("quantity")
    }
    atoms = dict(zip(names, np.arange(n).reshape(len(names), PAIRS)))

    def values(atoms: dict[str, np.ndarray]) -> np.ndarray:
        now = Interpreter(model, system)
        for name, assumed in quantities.items():  # what they are is no matter here
            now.assume(name, assumed)
        return np.asarray(now.value(reduce.body, Rows(PAIRS, {**atoms, **entries})), float)

    i, j = names[-2:]
    there, back = values(atoms), values({**atoms, i: atoms[j], j: atoms[i]})
    return bool(np.allclose(there, back, rtol=TOLERANCE, atol=0.0, equal_nan=True))


def _tuples(atoms: int, count: int) -> np.ndarray:
    """[atoms, count]: tuples of different atoms, each atom as often as any."""
    order = np.random.default_rng(21).permutation(atoms)
    return np.stack([np.roll(order, k) for k in range(count)], axis=1)


def _in_flows(model: Model) -> Iterator[tuple[Expr, dict[str, np.ndarray]]]:
    """The sums in statements of dynamics, and numbers for the states that they read."""
    for advance in (s for s in model.run if isinstance(s, Advance)):
        exprs = inside((advance.body, advance.observes, advance.until))
        states = {s.name: np.array([1.3]) for s in advance.states if s.type.kind == "scalar"}
        computed = {s.target for s in advance.statements} | {s.name for s in advance.states}
        computed -= {*states, *FIELDS}
        for reduce in (n for e in exprs for n in walk(e) if isinstance(n, Reduce)):
            # Sums over pairs of what flows compute are refused later.
            if computed.isdisjoint(names_in(reduce)):
                yield reduce, states


def _entries(equation: Equation) -> dict[str, np.ndarray]:
    """Numbers for the index of an observable or quantity over a range: some of the range, each several times."""
    axis = equation.series
    return {} if axis is None else {equation.binders[-1]: axis.first + np.arange(PAIRS) % axis.count}


def _entry_count(equation: Equation) -> tuple[int, ...]:
    return () if equation.series is None else (equation.series.count,)


def _is_length(model: Model, param: Param) -> bool:
    return param.type.dimension == model.units.dimension(LENGTH)


def sample_data(model: Model, atoms: int, scale: float, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """What data might be: positive numbers, of the size of the program's lengths, ``scale``, where they are lengths."""

    def sample(param: Param) -> np.ndarray:
        value = rng.uniform(0.5, 1.5, shape_of(model, param, atoms)) * (scale if _is_length(model, param) else 1.0)
        return (value + value.T) / 2 if value.ndim == 2 else value

    return {p.name: sample(p) for p in model.data}


def _shaken(model: Model, param: Param, rng: np.random.Generator) -> np.ndarray:
    """The default of a parameter with each entry changed a little; tables of pairs stay symmetric."""
    value = np.asarray(parameter(model, param.name), float)
    factor = rng.uniform(0.8, 1.2, value.shape)
    return value * (factor + factor.T) / 2 if value.ndim == 2 else value * factor
