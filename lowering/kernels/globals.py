"""Parameters and global quantities as JAX values."""

from __future__ import annotations

import math
from collections.abc import Callable, Container
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import jax.numpy as jnp
import numpy as np

from mdsl.lowering.field.cutoff_bounds import Interval, interval, varies
from mdsl.lowering.field.series import ENTRY, Entry
from mdsl.lowering.geometry.cell import Cell, volume
from mdsl.model.nodes import Axis, Expr, Model, Param, Read, Species, TableOf, names_in

from .emit import evaluate
from .ranges import pick

if TYPE_CHECKING:
    from mdsl.lowering.arrays import Integers, Labels, Numbers, Params, PerAtom, RowLabels, Rows, Scalar, Value, Values


@dataclass
class Globals:
    """What expressions without atoms can read."""

    model: Model
    params: Params
    cell: Cell | None = None
    t: Scalar = 0.0
    n_atoms: int = 0
    degrees_of_freedom: float = 0.0
    more: Values = field(default_factory=dict)  # sums, `virial`, memory

    def read(self, expr: Read) -> Value:
        symbol = expr.symbol
        if symbol in self.more:
            return self.more[symbol]
        param = self.model.param(symbol)
        if param is not None:
            value = self.params[symbol]
            for index, axis in zip(expr.indices, param.axes):
                if isinstance(index, Entry):
                    value = value[jnp.asarray(self.more[ENTRY], jnp.int32) - axis.first]
                elif isinstance(index, Species):
                    value = value[self.model.species.index(index.name)]
                elif isinstance(index, int):
                    value = value[index - axis.first]
            return value
        match symbol:
            case "pi":
                return math.pi
            case "t":
                return self.t
            case "cell":
                dim = self.model.dim
                return tuple((*self.cell.row(k), *(0.0,) * (dim - 1 - k)) for k in range(dim))
            case "identity":
                return tuple(tuple(float(a == b) for b in range(self.model.dim)) for a in range(self.model.dim))
            case "N":
                return float(self.n_atoms)
            case "dim":
                return float(self.model.dim)
            case "degrees_of_freedom":
                return self.degrees_of_freedom
            case "volume":
                return volume(self.cell)
        raise AssertionError(f"{symbol} is not a global quantity")

    def value(self, expr: Expr) -> Value:
        return evaluate(expr, self.read, no_displacement)

    def table(self, expr: Expr, indices: tuple[str, ...]) -> Numbers:
        """The values of an expression for every pair of species: an array [S, S] over (first, second atom)."""
        count = max(1, len(self.model.species))
        species = (jnp.arange(count)[:, None], jnp.arange(count)[None, :])
        read = reader(self, (), lambda atom, _: species[indices.index(atom)])
        return jnp.broadcast_to(evaluate(expr, read, no_displacement), (count, count))


def reader(
    known: Globals, names: Container[str], row: Callable[[str, str], Value], axis: Axis | None = None
) -> Callable[[Read], Value]:
    """What Reads of atoms are worth: of ``names`` the values ``row(atom, name)`` of the atoms for which an index
    stands, or the entry that is read; else the entry of a parameter for their ``species``; and what is one for all.
    ``axis``: the range of the term at hand, see `ranges.pick`."""

    def read(node: Read) -> Value:
        atom = next((i for i in node.indices if isinstance(i, str)), None)
        if atom is None:
            return (0.0,) * known.model.dim if node.symbol == "origin" else known.read(node)
        if node.symbol in names:
            return pick(row(atom, node.symbol), node, axis, known.more.get(ENTRY))
        return known.params[node.symbol][entry(known.model, node, lambda atom: row(atom, "species"))]

    return read


def entry(model: Model, node: Read, species: Callable[[str], Integers]) -> tuple[Integers, ...]:
    """The indices of the entry of a parameter that is read, one for each of its axes: numbers, or arrays where
    ``species`` gives them for an atom."""
    found = []
    for index, axis in zip(node.indices, model.param(node.symbol).axes):
        if isinstance(index, Species):
            found.append(model.species.index(index.name))
        else:
            found.append(species(index) if isinstance(index, str) else index - axis.first)
    return tuple(found)


def no_displacement(a, b):
    raise AssertionError("a global quantity has no displacement")


# -- parameters ------------------------------------------------------------------------------------------


def depends(param: Param, model: Model) -> frozenset[str]:
    """The parameters that the default of a parameter is made of."""
    return frozenset(n for n in names_in(param.default) if model.param(n) is not None)


def leaves(model: Model) -> tuple[Param, ...]:
    """The free parameters: `param`s whose default is not made of other parameters."""
    fixed = {p.name for p in model.params if p.lifetime == "const"}
    return tuple(p for p in model.params if p.lifetime == "param" and depends(p, model) <= fixed)


def defaults(model: Model) -> dict[str, Numbers]:
    """The default of every free parameter: a scalar, or an array with one entry for each label of each axis."""
    everything = complete(model, {})
    return {p.name: everything[p.name] for p in leaves(model)}


def weights(model: Model, seed: int) -> dict[str, Numbers]:
    """The weights that learned functions begin with, by a seed."""
    return {p.name: jnp.asarray(p.learned.initial(seed), float) for p in model.params if p.learned is not None}


def initial_params(model: Model, given: Params | None = None) -> dict[str, Numbers | float]:
    """The free parameters: defaults, with those given in their place."""
    return {**defaults(model), **(given or {})}


def complete(model: Model, given: Params) -> dict[str, Numbers]:
    """Values of all parameters, constants and data, from those given and from defaults that may build on them. Data
    of single atoms are in the user's order."""
    values: dict[str, Numbers] = {}
    pending = [p for p in model.params if p.data is None or p.name in given]
    while pending:
        ready = [p for p in pending if depends(p, model) <= values.keys()]
        if not ready:  # the rest is made of data that are not known yet; circles have been reported by `infer`
            return values
        for param in ready:
            value = given[param.name] if param.name in given else default(model, param, values)
            values[param.name] = jnp.asarray(value)
        pending = [p for p in pending if p.name not in values]
    return values


def data_of(model: Model, params: Params, ids: RowLabels) -> dict[str, Rows]:
    """The data of the rows with these ``ids``, by name."""
    return {p.name: params[p.name][ids] for p in model.data if p.per_atom}


def masses_of(model: Model, params: Params, masses: PerAtom, species: Labels) -> PerAtom:
    """[N]: the masses of atoms, from the parameter ``m`` where there is one, so that they are differentiable, else as
    ``masses`` has them. ``params``: all parameters."""
    param = model.param("m")
    if param is None:
        return masses
    value = params["m"].astype(masses.dtype)
    return value[species] if param.axes else jnp.broadcast_to(value, masses.shape)


def default(model: Model, param: Param, values: Params) -> Numbers:
    if param.learned is not None:
        return jnp.asarray(param.learned.initial(), float)
    if param.table is not None:
        return jnp.asarray(param.table.curves.number, float)
    known = Globals(model, values)
    if isinstance(param.default, TableOf):
        count = len(model.species)
        entries = {labels: known.value(value) for labels, value in param.default.entries}
        places = {name: k for k, name in enumerate(model.species)}
        if len(param.axes) == 1:
            return jnp.stack([jnp.asarray(entries[(name,)], float) for name in model.species])
        table = [[None] * count for _ in range(count)]
        for (a, b), value in entries.items():
            table[places[a]][places[b]] = table[places[b]][places[a]] = jnp.asarray(value, float)
        return jnp.stack([jnp.stack(row) for row in table])
    if param.binder is not None:
        axis = param.axes[0]
        return jnp.stack(
            [
                jnp.asarray(Globals(model, values, more={param.binder: float(k)}).value(param.default), float)
                for k in range(axis.first, axis.last + 1)
            ]
        )
    value = jnp.asarray(known.value(param.default), float)
    shape = tuple(len(model.species) for a in param.axes if a.kind == "species")
    return jnp.broadcast_to(value, shape)


def farthest(model: Model, params: Params, cutoff: Expr, binders: tuple[str, ...]) -> Scalar:
    """The largest value of a cutoff over all pairs of atoms. ``params``: all parameters and data, internal units."""
    if not varies(cutoff, model):
        return jnp.max(Globals(model, params).table(cutoff, binders))

    def read(node: Read) -> Interval:
        if node.symbol == "pi":
            return np.pi, np.pi
        value = jnp.asarray(params[node.symbol])
        return jnp.min(value), jnp.max(value)

    return interval(cutoff, read, jnp)[1]
