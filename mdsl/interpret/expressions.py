"""The value of an expression, in the rows where it is asked for. See `meaning` for what it all means."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, reduce

import numpy as np

from mdsl.model.domains import Over
from mdsl.model.functions import Extern, Network
from mdsl.model.nodes import (
    EACH,
    Apply,
    Area,
    Axis,
    Call,
    Derivative,
    Equation,
    Expr,
    Integral,
    Label,
    Lambda,
    Model,
    OfAll,
    Op,
    Param,
    Read,
    Reduce,
    Slope,
    Species,
    TableOf,
    Tabulated,
    Text,
)
from mdsl.model.nodes import Number as Literal
from mdsl.model.operators import BUILTINS

from . import dual, topologies
from . import functions as foreign
from .atoms import NoSystem, System
from .dual import Number, linear, primal
from .quadrature import integral
from .quantities import BUILTIN_VALUES, box_of, displacement
from .rows import Cells, Closure, Rows, Whole, entries, expand, take
from .values import GEOMETRY, OPERATIONS, Point, extreme, plus, spread, total

Indices = tuple[str | int | Species, ...]


@dataclass(frozen=True, eq=False)
class Foreign:
    """A learned or extern function; ``derived``: how often it is differentiated."""

    name: str
    body: Network | Extern
    derived: int = 0


class Interpreter:
    """Evaluates expressions of one model for one system, in which any number may be dual."""

    def __init__(self, model: Model, system: System | NoSystem, *, x=None, cell=None, params=None):
        self.model, self.system = model, system
        self.params = dict(system.params if params is None else params)
        for name in self.params:
            if model.param(name) is None and name not in BUILTINS:
                raise NameError(f"the program has no param `{name}`")
        self._functions = {f.symbol: f for f in model.functions}
        self._cache: dict[object, object] = {}
        if isinstance(system, System):
            if system.x.shape[1] != model.dim:
                raise ValueError(f"the program has {model.dim} dimensions, the system {system.x.shape[1]}")
            self.x = system.x if x is None else x
            self.cell = box_of(self) if cell is None else cell  # [1, d, d], rows are edges

    @cached_property
    def topologies(self) -> dict[str, np.ndarray]:
        """Those that come with the atoms, and those that follow from them."""
        return topologies.complete(self.model, self.system.topologies, len(self.system.x))

    def changed(self, **changes) -> Interpreter:
        now = {"x": self.x, "cell": self.cell, "params": self.params}
        return Interpreter(self.model, self.system, **(now | changes))

    def assume(self, name: str, values: np.ndarray) -> None:
        """Take the values [N] of a quantity as known."""
        self._cache[name] = values

    def _once(self, key: object, compute: Callable[[], object]) -> object:
        if key not in self._cache:
            self._cache[key] = compute()
        return self._cache[key]

    # -- expressions -----------------------------------------------------------------------------------

    def value(self, expr: Expr, rows: Rows) -> object:
        """What an expression stands for in each of the rows."""
        known = rows.recall(expr)
        return rows.keep(expr, self._value(expr, rows)) if known is None else known

    def _value(self, expr: Expr, rows: Rows) -> object:
        match expr:
            case Literal(value=value):
                return np.array([float(value)])
            case Text(value=value):
                return value
            case Label(species=species):
                return species
            case Read(symbol=symbol, indices=indices):
                return self._read(symbol, indices, rows)
            case Op(op="choose", args=args):
                return self._choose(args, rows)
            case Op(op=op, args=args):
                return self._operate(op, [self.value(a, rows) for a in args])
            case Reduce(domain=Over(binders=(k,), bounds=bounds), body=body, op=op):
                first, last = (int(round(float(primal(self.value(b, rows))[0]))) for b in bounds)
                parts = [self.value(body, rows.bind({k: np.array([n])})) for n in range(first, last + 1)]
                combine = {"sum": plus, "largest": OPERATIONS["max"], "smallest": OPERATIONS["min"]}[op]
                return reduce(combine, parts) if parts else np.zeros(1)
            case Reduce(body=OfAll() as body):
                return foreign.of_all(self, body)
            case Reduce(domain=domain, body=body, op=op):
                owner, inner = expand(domain, rows, len(self.system.x), self.topologies)
                values = self.value(body, inner)
                return total(values, owner, rows.size) if op == "sum" else extreme(values, owner, rows.size, op)
            case Lambda(parameters=parameters, body=body):
                return Closure(parameters, body, rows)
            case Apply(function=function, args=args):
                return self.apply(self.value(function, rows), [self.value(a, rows) for a in args])
            case Derivative(function=function):
                closure = self.value(function, rows)
                return replace(closure, derived=closure.derived + 1)
            case Slope(variable=variable, body=body, at=at):
                return self._slope(lambda a: self.value(body, rows.bind({variable: a})), self.value(at, rows))
            case Tabulated(which=which, at=at):
                return tabulated(expr, primal(self.value(which, rows)), self.value(at, rows))
            case Call(function=function, args=args, by=by, body=body):
                return foreign.value(body, self._arguments(function, body, args, rows), by)
            case Integral(function=function, lower=lower, upper=upper):
                closure = self.value(function, rows)
                return integral(lambda a: self.apply(closure, [a]), self.value(lower, rows), self.value(upper, rows))
            case Area(variable=variable, body=body, lower=lower, upper=upper):
                return integral(
                    lambda a: self.value(body, rows.bind({variable: a})),
                    self.value(lower, rows),
                    self.value(upper, rows),
                )
            case TableOf():
                axes = max(len(labels) for labels, _ in expr.entries)
                return linear(lambda a: np.expand_dims(a, a.ndim - axes), self._table(expr, axes))
        raise TypeError(f"no meaning for {expr}")

    def _operate(self, op: str, args: list) -> object:
        args = [np.array([self.model.species.index(a)]) if isinstance(a, str) else a for a in args]
        if op in GEOMETRY:
            return GEOMETRY[op](lambda a, b: displacement(self, a, b), *args)
        if op.startswith("component_") and isinstance(args[0], Point):  # of the displacement from the origin
            args = [displacement(self, args[0], self.builtin("origin"))]
        if op != "add" and any(isinstance(a, Point) for a in args):
            raise TypeError(f"`{op}` of a point")
        return OPERATIONS[op](*args)

    def _choose(self, args: Sequence[Expr], rows: Rows) -> object:
        """Each branch in the rows that take it; the rows put together again."""
        condition, then, otherwise = args
        condition = np.broadcast_to(primal(self.value(condition, rows)), (rows.size,))
        if condition.all():
            return self.value(then, rows)
        if not condition.any():
            return self.value(otherwise, rows)
        parts = []
        for branch, taken in ((then, np.flatnonzero(condition)), (otherwise, np.flatnonzero(~condition))):
            parts.append(spread(self.value(branch, rows.select(taken)), taken, rows.size))
        if isinstance(parts[0], Point):
            return Point(dual.add(*(p.coordinates for p in parts)))
        return plus(*parts)

    def apply(self, function: Closure, args: Sequence[object]) -> object:
        """A function of its arguments, in the rows where the function is known."""
        if not isinstance(function, Closure | Foreign):
            raise TypeError("only functions can be applied")
        if function.derived:
            (at,) = args
            less = replace(function, derived=function.derived - 1)
            return self._slope(lambda a: self.apply(less, [a]), at)
        if isinstance(function, Foreign):
            weights = (self.param(function.name),) if isinstance(function.body, Network) else ()
            return foreign.value(function.body, (*weights, *args))
        if len(args) != len(function.parameters):
            raise TypeError(f"a function of {len(function.parameters)} arguments is given {len(args)}")
        return self.value(function.body, function.rows.bind(dict(zip(function.parameters, args))))

    def _arguments(self, name: str, body: Network | Extern, args: Sequence[Expr], rows: Rows) -> list[Number]:
        """Those of a learned or extern function; the weights of a network are the whole of a param."""
        learned = isinstance(body, Network)
        return [self.param(name) if learned and k == 0 else self.value(a, rows) for k, a in enumerate(args)]

    def _slope(self, function: Callable[[Number], Number], at: Number) -> Number:
        return dual.derivative(function, at, np.ones(1))

    # -- names -----------------------------------------------------------------------------------------

    def _read(self, symbol: str, indices: Indices, rows: Rows) -> object:
        whole = rows.find(entries(symbol)) if indices not in ((), (EACH,)) else None
        if isinstance(whole, Whole):
            return self._of_name(whole.value, indices, rows)
        bound = rows.find(symbol) if indices in ((), (EACH,)) else None
        if bound is not None:
            is_index = isinstance(bound, np.ndarray) and bound.dtype.kind == "i"
            return bound.astype(float) if is_index else bound
        if (body := self.model.foreign(symbol)) is not None:
            return Foreign(symbol, body)
        param = self.model.param(symbol)
        if param is not None or symbol in self.params:
            return self._entry(symbol, param, indices, rows)
        if symbol in self._functions:
            return self.value(self._functions[symbol].value, Rows(rows.size))
        equation = self.model.equation(symbol)
        if equation is not None:
            return self._equation(equation, indices, rows)
        if symbol in BUILTIN_VALUES:
            return self._of_atom(self.builtin(symbol), indices, rows)
        raise NameError(f"nothing is called `{symbol}`")

    def _of_name(self, value: object, indices: Indices, rows: Rows) -> object:
        """The entry of a state, or of a value that a flow computed for each atom."""
        (places,) = (self._index(i, rows) for i in indices)
        if not isinstance(value, Cells):
            return take(value, places)
        (place,) = set(places.tolist())
        if not value.first <= place < value.first + len(value.values):
            raise IndexError(f"a state has no entry {place}")
        return value.values[place - value.first]

    def _index(self, index: str | int | Expr, rows: Rows) -> np.ndarray:
        """An index as whole numbers, one for each row."""
        if isinstance(index, int):
            return np.array([index])
        if isinstance(index, Expr):
            return np.round(primal(self.value(index, rows))).astype(int)
        found = rows.find(index)
        if found is None:
            raise NameError(f"no index is called `{index}` here")
        return found

    def _of_atom(self, values: object, indices: Indices, rows: Rows) -> object:
        return take(values, self._index(indices[0], rows)) if indices else values

    def _entry(self, symbol: str, param: Param | None, indices: Indices, rows: Rows) -> Number:
        """An entry of a param. Where it has no axes, an index changes nothing: one mass for all is that of each."""
        array = self.param(symbol)
        axes = param.axes if param else ()
        if len(indices) < len(axes) or primal(array).ndim != len(axes):
            raise TypeError(f"`{symbol}` has {len(axes)} axes")
        places = [self._place(index, axis, rows) for index, axis in zip(indices, axes)]
        return linear(lambda a: a[(..., *places)] if places else a[..., None], array)

    def _place(self, index: str | int | Species, axis: Axis, rows: Rows) -> np.ndarray:
        """Where an index stands on an axis; on one of species an atom stands for its species."""
        if isinstance(index, Species):
            return np.array([self.model.species.index(index.name)])
        places = self._index(index, rows)
        if axis.kind == "species" and isinstance(index, str):
            return self.system.species[places]
        return places - axis.first if axis.kind == "range" else places

    def _equation(self, equation: Equation, indices: Indices, rows: Rows) -> object:
        if equation.series is not None and equation.kind == "quantity":
            values = self._once(equation.name, lambda: self._for_each_entry(equation))
            return self._of_range(values, indices, equation.series, rows)
        if equation.series is not None:  # for all its numbers, once
            axis, (binder,) = equation.series, equation.binders
            every = np.arange(axis.first, axis.last + 1)
            values = self._once(equation.name, lambda: self.value(equation.body, Rows(len(every), {binder: every})))
            return take(values, self._index(indices[0], rows) - axis.first) if indices else values
        if len(equation.binders) == 1:  # a quantity of one atom: for all atoms, once
            every = Rows(len(self.system.x), {equation.binders[0]: np.arange(len(self.system.x))})
            values = self._once(equation.name, lambda: self.value(equation.body, every))
            return self._of_atom(values, indices, rows)
        if equation.binders:
            bound = {b: self._index(i, rows) for b, i in zip(equation.binders, indices)}
            return self.value(equation.body, Rows(rows.size, bound))
        return self._once(equation.name, lambda: self.value(equation.body, Rows(1)))

    def _for_each_entry(self, equation: Equation) -> Number:
        """[N, entries]: a quantity over a range, for all atoms and all its numbers."""
        atom, index = equation.binders
        shape = (len(self.system.x), equation.series.count)
        atoms, entries = (a.ravel() for a in np.indices(shape))
        every = Rows(len(atoms), {atom: atoms, index: entries + equation.series.first})
        full = dual.add(
            self.value(equation.body, every), np.zeros(len(atoms))
        )  # also of a number that is the same in all
        return linear(lambda a: a.reshape(*a.shape[:-1], *shape), full)

    def _of_range(self, values: Number, indices: Indices, axis: Axis, rows: Rows) -> Number:
        """Of an atom the entries [rows, entries] of a quantity over a range, or one of them [rows]."""
        atoms = self._index(indices[0], rows)
        if len(indices) == 1:
            return take(values, atoms)
        entry = self._index(indices[1], rows) - axis.first
        return linear(lambda a: a[..., atoms, entry], values)

    def builtin(self, name: str) -> object:
        """What every program has; of fields the values of all atoms."""
        return self._once(("builtin", name), lambda: BUILTIN_VALUES[name](self))

    def potential(self) -> Number:
        """The sum of all energies."""
        energies = [self._equation(e, (), Rows(1)) for e in self.model.of_kind("energy")]
        return reduce(dual.add, energies, np.zeros(1))

    # -- params ----------------------------------------------------------------------------------------

    def param(self, name: str) -> Number:
        """The value of a param: an array with an axis for each of its axes."""
        if name in self.params:
            given = self.params[name]
            return given if isinstance(given, dual.Dual) else np.asarray(given, float)
        return self._once(("param", name), lambda: self._default(self.model.param(name)))

    def _default(self, param: Param) -> Number:
        if param.table is not None:
            return param.table.curves.number.astype(float)
        if param.learned is not None:
            return param.learned.initial()
        if param.default is None:
            raise NameError(f"`{param.name}` has no value")
        if isinstance(param.default, TableOf):
            return self._table(param.default, len(param.axes))
        if param.binder is not None:
            (axis,) = param.axes
            every = np.arange(axis.first, axis.last + 1)
            shape, value = (len(every),), self.value(param.default, Rows(len(every), {param.binder: every}))
        else:
            shape = tuple(self._length(axis) for axis in param.axes)
            value = linear(lambda a: a.reshape((*a.shape[:-1], *(1,) * len(shape))), self.value(param.default, Rows(1)))
        return linear(lambda a: np.broadcast_to(a, (*a.shape[: a.ndim - len(shape)], *shape)), value)

    def _length(self, axis: Axis) -> int:
        lengths = {"species": lambda: len(self.model.species), "atoms": lambda: len(self.system.x)}
        return lengths.get(axis.kind, lambda: axis.count)()

    def _table(self, table: TableOf, axes: int) -> Number:
        """A table over species, [S] or [S, S]: entry A-B is also B-A, unless that has its own. The rest is NaN."""
        entries = {tuple(map(self.model.species.index, labels)): value for labels, value in table.entries}
        entries = {labels[::-1]: value for labels, value in entries.items()} | entries
        shape = (len(self.model.species),) * axes
        result = np.full(shape, np.nan)
        for labels in entries:
            result[labels] = 0.0
        for labels, value in entries.items():
            result = dual.add(result, _placed(self.value(value, Rows(1)), labels, shape))
        return result


def tabulated(expr: Tabulated, which: np.ndarray, at: Number) -> Number:
    """A tabulated function, whose derivative is the next of its table."""

    def derivative(order: int) -> Callable[[Number], Number]:
        return dual.elementwise(
            lambda x: expr.curves.value(which, order, x, expr.extended), lambda x: derivative(order + 1)(x)
        )

    return derivative(expr.order)(at)


def _placed(number: Number, labels: tuple[int, ...], shape: tuple[int, ...]) -> Number:
    """An array that is 0 but for one entry."""

    def place(a: np.ndarray) -> np.ndarray:
        out = np.zeros((*a.shape[:-1], *shape))
        out[(..., *labels)] = a[..., 0]
        return out

    return linear(place, number)


def recorded(now: Interpreter, name: str) -> object:
    """What a record holds of an energy, observable or builtin: of a series [entries, ...]."""
    equation = now.model.equation(name)
    entries = None if equation is None or equation.series is None else equation.series.count
    return plain(now.value(Read(name), Rows(entries or 1)), now, entries)


def plain(value: object, now: Interpreter, rows: int | None = None) -> object:
    """A value for the outside: an array with ``rows`` rows, or without the row axis; a function of numbers."""
    if isinstance(value, str):
        return value
    if isinstance(value, Closure):

        def function(*args: float) -> object:
            with np.errstate(all="ignore"):
                return plain(now.apply(value, [np.array([float(a)]) for a in args]), now, rows)

        return function
    array = primal(value.coordinates if isinstance(value, Point) else value)
    if rows is not None:
        return np.broadcast_to(array, (rows, *array.shape[1:])).copy()
    return array[0].copy() if array.ndim > 1 else array[0].item()
