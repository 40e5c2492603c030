"""The semantics of the language: a slow, obvious interpreter of the Model, in float64 NumPy.

What a program means is what this interpreter computes; every pass and the whole compiler are tested against it.

*Values* are numbers, vectors, matrices, points of the box, conditions, texts and functions (`algebra`).
*Positions* are points: ``x[i] - x[j]`` is the displacement to the nearest image along the periodic axes.
*Sums* add up their body over the tuples of atoms in their domain; a pair is two different atoms (`rows`).
*Choices* evaluate a branch only where it is taken.
*Derivatives* are exact, by dual numbers (`dual`): ``D(u)`` of a function of one number; the force, minus the
gradient of the potential; the virial, minus the derivative of the potential by an affine strain of positions
and box (`physics`).
*Names* mean, in this order: what the place binds (sum indices, parameters of functions); param, const, data and
state; functions; energies, quantities and observes, evaluated on demand; `operators.BUILTINS`. So the mass of
an atom is the param ``m`` where a program declares one, otherwise the system's.
*The box* is the system's, or the one that the program declares, in terms of its params.
*Params* have their value in ``System.params``, otherwise their default in terms of the other params' values. On
an axis of species an atom stands for its species. An entry A-B of a table is also B-A.
*Dynamics* carry out statements in order, each for all atoms at once; states are remembered from step to step, and
begin with the statement of dynamics (`dynamics`).

This module is the way in; `evaluate` holds the interpreter itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mdsl.model.nodes import Expr, Model, Read

from . import dual
from . import quantities as physics
from .atoms import NoSystem, System
from .dual import primal
from .dynamics import run, step
from .expressions import Interpreter, plain, recorded
from .rows import Rows

__all__ = [
    "System", "constant", "defaults", "energy", "evaluate", "forces", "observe", "param_gradient", "parameter",
    "quantity", "run", "step", "virial",
]  # fmt: skip

_quiet = np.errstate(all="ignore")  # infinities and NaN mean what IEEE 754 says


@_quiet
def evaluate(model: Model, expr: Expr, system: System, **binders: int | np.ndarray) -> Any:
    """What an expression is worth. ``binders`` give a meaning to its free indices: an atom, or an array of M atoms
    (then the result has a leading axis of length M). Points come back as coordinates, functions as functions."""
    arrays = {name: np.asarray(index) for name, index in binders.items()}
    rows = next((len(a) for a in arrays.values() if a.ndim), None)
    place = Rows(1 if rows is None else rows, {name: np.atleast_1d(a) for name, a in arrays.items()})
    now = Interpreter(model, system)
    return plain(now.value(expr, place), now, rows)


def energy(model: Model, system: System, name: str = "potential") -> float:
    """The potential energy, or one of the energies."""
    return observe(model, name, system)


@_quiet
def forces(model: Model, system: System, atoms: Sequence[int] | None = None) -> np.ndarray:
    """[N, d]: the force on each atom; only on some, the rest 0, where ``atoms`` lists them (to save time)."""
    return physics.forces(Interpreter(model, system), atoms)


def virial(model: Model, system: System) -> np.ndarray:
    """[d, d]"""
    return observe(model, "virial", system)


@_quiet
def observe(model: Model, name: str, system: System) -> Any:
    """The value of an observe, an energy, or a builtin; of an observe over a range [entries, ...]."""
    return recorded(Interpreter(model, system), name)


def quantity(model: Model, name: str, system: System, *atoms: int | np.ndarray) -> np.ndarray:
    """[N, ...]: the value of a quantity for every atom; or for the given ones, one for each of its indices."""
    atoms = atoms or (np.arange(len(system.x)),)
    names = tuple(f"index {k}" for k in range(len(atoms)))
    return evaluate(model, Read(name, names), system, **dict(zip(names, atoms)))


@_quiet
def param_gradient(model: Model, system: System, name: str, of: str = "potential") -> float | np.ndarray:
    """The derivative of the potential, or of an observe or energy, by a param; by each entry of an array on its own
    (of a table, A-B and B-A each). Defaults that are written in terms of the param follow it."""
    start = Interpreter(model, system).param(name)
    result = np.zeros(primal(start).shape)
    for entry in np.ndindex(result.shape):
        direction = np.zeros(result.shape)
        direction[entry] = 1.0

        def value(param: dual.Number) -> dual.Number:
            now = Interpreter(model, system, params={**system.params, name: param})
            return now.value(Read(of), Rows(1))

        result[entry] = dual.derivative(value, start, direction)[0]
    return result if result.ndim else result.item()


# -- without atoms -------------------------------------------------------------------------------------


@_quiet
def constant(model: Model, expr: Expr, values: Mapping[str, object] | None = None) -> Any:
    """A float, array, text (also of a label) or function: what an expression is worth that looks at no atoms.

    ``values`` are those of params that differ from their default, and of builtins that are known (``N``). A table
    is an array over its species, NaN where it has no entry.
    """
    now = Interpreter(model, NoSystem(values or {}))
    return plain(now.value(expr, Rows(1)), now)


@_quiet
def parameter(model: Model, name: str, values: Mapping[str, object] | None = None) -> float | np.ndarray:
    """The value of a param, in all its entries: given in ``values``, or its default."""
    value = primal(Interpreter(model, NoSystem(values or {})).param(name))
    return value.copy() if value.ndim else value.item()


def defaults(model: Model, values: Mapping[str, object] | None = None) -> dict[str, float | np.ndarray]:
    """The values of all params that have one, those in ``values`` included."""
    known = values or {}
    return {
        p.name: parameter(model, p.name, known)
        for p in model.params
        if p.name in known or p.default is not None or p.learned is not None
    }
