"""Pass `exchange`: the summand over i < j must not change when the two atoms are exchanged.

A pair has no order: `sum(i < j)` of a summand that depends on the order would depend on how atoms are
numbered. The check evaluates the summand both ways round on random pairs with random parameters, so what it
refuses really differs; the Model is unchanged.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from mdsl.grammar.diagnostics import Diagnostic

from .dimensions import LENGTH
from .faults import fault
from .interpret import parameter
from .evaluate import Interpreter
from .system import System
from .model import Equation, Model, Param, Reduce, walk
from .rows import Rows

PAIRS = 64
TOLERANCE = 1e-8


def check_exchange(model: Model) -> tuple[Model, list[Diagnostic]]:
    """The same Model, and a diagnostic for each summand that is not symmetric."""
    report: list[Diagnostic] = []
    for equation in model.equations:
        for node in walk(equation.body):
            if isinstance(node, Reduce) and node.domain.kind == "ordered" and not symmetric(model, node, _entries(equation)):
                i, j = node.domain.binders
                report.append(
                    fault(
                        model.source,
                        "asymmetric-pair",
                        f"the summand changes when `{i}` and `{j}` are exchanged",
                        node.body,
                        notes=(f"`sum({i} < {j})` visits every pair once, in an order that means nothing",),
                        help=f"make it symmetric, for example with `(q[{i}] + q[{j}])/2`, or write a quantity with `sum({j} != {i})`",
                    )
                )
    return model, report


@np.errstate(all="ignore")
def symmetric(model: Model, reduce: Reduce, entries: Mapping[str, np.ndarray] = {}) -> bool:  # noqa: B006
    """Whether exchanging the atoms leaves the summand as it is, on random pairs."""
    rng = np.random.default_rng(20)
    params = {p.name: _shaken(model, p, rng) for p in model.params if p.lifetime == "param" and p.binder is None}
    scale = np.mean([abs(np.mean(v)) for p in model.params if (v := params.get(p.name)) is not None and _is_length(model, p)] or [1.0])
    # Pairs at distances from a thousandth to a thousand times the lengths of the program, in a box larger still.
    apart = rng.normal(size=(PAIRS, model.dim))
    apart *= (scale * 10 ** rng.uniform(-1.5, 1.5, PAIRS) / np.linalg.norm(apart, axis=1))[:, None]
    first = scale * rng.uniform(0, 1, (PAIRS, model.dim))
    n = 2 * PAIRS
    system = System(
        np.concatenate([first, first + apart]),
        np.full(model.dim, 1e6 * scale),
        v=rng.normal(size=(n, model.dim)),
        species=rng.integers(0, max(1, len(model.species)), n),
        masses=rng.uniform(1, 2, n),
        params=params,
    )
    one, other = np.arange(PAIRS), np.arange(PAIRS, n)
    i, j = reduce.domain.binders

    def values(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return np.asarray(Interpreter(model, system).value(reduce.body, Rows(PAIRS, {i: a, j: b, **entries})), float)

    there, back = values(one, other), values(other, one)
    return bool(np.allclose(there, back, rtol=TOLERANCE, atol=0.0, equal_nan=True))


def _entries(equation: Equation) -> dict[str, np.ndarray]:
    """Numbers for the index of an observable over a range: some of the range, each several times."""
    axis = equation.series
    return {} if axis is None else {equation.binders[0]: axis.first + np.arange(PAIRS) % (axis.last + 1 - axis.first)}


def _is_length(model: Model, param: Param) -> bool:
    return param.type is not None and param.type.dimension == model.units.dimension(LENGTH)


def _shaken(model: Model, param: Param, rng: np.random.Generator) -> np.ndarray:
    """The default of a parameter with each entry changed a little; tables of pairs stay symmetric."""
    value = np.asarray(parameter(model, param.name), float)
    factor = rng.uniform(0.8, 1.2, value.shape)
    return value * (factor + factor.T) / 2 if value.ndim == 2 else value * factor
