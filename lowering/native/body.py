"""The kernel of a pair in vectors: each operation of its jaxpr as LLVM IR, one lane for each row.

A value of the kernel that is an array is as many vectors; what moves entries about is done here, by NumPy, and costs
nothing. What is the same for all pairs is computed by JAX before (`separated`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
import numpy as np

from mdsl.lowering import jax_internals as internals
from mdsl.lowering.jax_internals import Jaxpr, JaxprEqn, Literal

from .elementary import FUNCTIONS
from .ir import BITS, NAMES, WHOLE, Code, Value, copysign, sqrt, where
from .memory import gathered, rows_of_four

KINDS = {"float32": "f32", "float64": "f64", "int32": "i32", "int64": "i64", "bool": "i1"}
KINDS |= {"uint32": "i32", "uint64": "i64"}  # of which there are only bits
OF_BITS = {"and", "or", "xor", "not", "eq", "ne", "select_n", "bitcast_convert_type", "broadcast_in_dim", "reshape"}
MOST = 64  # entries of an array that are vectors of their own
LONG = {"row_of_four", "logistic", *FUNCTIONS}  # that begin a stage of their own
CALLS = ("jaxpr", "call_jaxpr", "fun_jaxpr")  # parameters of operations that are others, one after the other
CALLED = {"pjit", "jit", "closed_call", "core_call", "eval_jaxpr", "custom_jvp_call", "custom_vjp_call", "checkpoint"}
CALLED |= {"remat", "remat2", "custom_vjp_call_jaxpr"}


class Unprintable(Exception):
    """A kernel that is left to XLA. ``what``: the operation, or the type, for which there is no text."""

    def __init__(self, what: str):
        super().__init__(what)
        self.what = what


def kind_of(aval) -> str:
    if str(aval.dtype) not in KINDS:
        raise Unprintable(f"numbers of the type {aval.dtype}")
    return KINDS[str(aval.dtype)]


# -- before it is printed --------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Separated:
    """A kernel without calls of others. Of what is the same for all pairs it has only the values, ``consts`` of
    ``constvars``."""

    constvars: list
    consts: list
    invars: list
    eqns: list[JaxprEqn]
    outvars: list

    @property
    def reads(self) -> list[bool]:
        """Which of its inputs it reads."""
        read = set(variables([*self.outvars, *(v for eqn in self.eqns for v in eqn.invars)]))
        return [v in read for v in self.invars]

    @property
    def stages(self) -> tuple[list[JaxprEqn], list[JaxprEqn]]:
        """What is done before the first operation that takes long, and the rest."""
        cut = next((k for k, eqn in enumerate(self.eqns) if k and eqn.primitive.name in LONG), len(self.eqns))
        return self.eqns[:cut], self.eqns[cut:]


def variables(atoms: Sequence) -> list:
    return [v for v in atoms if not isinstance(v, Literal)]


def separated(function: Callable, *types) -> Separated:
    """Of a function of numbers of one pair, of these types."""
    jaxpr, consts = internals.traced(function, *types)

    def flat(*values):
        return _evaluated(jaxpr, consts, values)

    whole, known = _traced(flat, types)
    varying, first, rest = set(whole.invars[-len(types) :]), [], []
    for eqn in whole.eqns:
        if varying.isdisjoint(variables(eqn.invars)):
            first.append(eqn)
        else:
            varying.update(eqn.outvars)
            rest.append(eqn)
    for eqn in first:
        values = [v.val if isinstance(v, Literal) else known[v] for v in eqn.invars]
        known.update(zip(eqn.outvars, internals.applied(eqn, values)))
    eqns, outvars = _once(rest, whole.outvars, known)
    read = variables([*(v for eqn in eqns for v in eqn.invars), *outvars])
    needed = [v for v in dict.fromkeys(read) if v in known]
    consts = [jnp.asarray(known[v]) for v in needed]
    return Separated(needed, consts, list(whole.invars[-len(types) :]), eqns, outvars)


def _once(eqns: Sequence[JaxprEqn], outvars: Sequence, known: Mapping) -> tuple[list[JaxprEqn], list]:
    """Operations without those that another has done before, and the results. LLVM finds these itself but for what is
    read from memory. ``known``: values of variables, of which those that are one array are one."""
    first: dict[int, object] = {}
    same = {v: first.setdefault(id(value), v) for v, value in known.items()}
    done: dict[tuple, list] = {}
    left = []

    def name(atom):
        if isinstance(atom, Literal):
            number = np.asarray(atom.val)
            return number.dtype.str, number.shape, number.tobytes()
        return same.get(atom, atom)

    for eqn in eqns:
        names = [name(atom) for atom in eqn.invars]
        key = (eqn.primitive.name, str(eqn.params), *(v.aval.str_short() for v in eqn.outvars), *names)
        if key in done:
            same.update(zip(eqn.outvars, done[key]))
        else:
            done[key] = eqn.outvars
            inputs = [a if isinstance(a, Literal) else n for a, n in zip(eqn.invars, names)]
            left.append(eqn.replace(invars=inputs))
    return left, [v if isinstance(v, Literal) else same.get(v, v) for v in outvars]


def _traced(function: Callable, types: Sequence) -> tuple[Jaxpr, dict]:
    """A kernel, without what no result needs, whose last inputs are those of the function; and what its other variables
    are worth from the start: arrays that it holds, those too that newer releases of JAX write into it as numbers."""
    jaxpr, consts = internals.traced(function, *types)
    written = {id(v): v for eqn in jaxpr.eqns for v in eqn.invars if isinstance(v, Literal) and np.ndim(v.val)}

    def explicit(*values):
        return _evaluated(jaxpr, consts, values[len(written) :], dict(zip(written, values)))

    arrays = [jnp.asarray(v.val) for v in written.values()]
    if written:
        jaxpr, consts = internals.traced(explicit, *(jax.ShapeDtypeStruct(a.shape, a.dtype) for a in arrays), *types)
    jaxpr, _ = internals.pruned(jaxpr, [True] * (len(written) + len(types)))
    return jaxpr, dict(zip((*jaxpr.constvars, *jaxpr.invars[: len(written)]), (*consts, *arrays)))


def _evaluated(jaxpr: Jaxpr, consts: Sequence, values: Sequence, written: Mapping = {}) -> list:  # noqa: B006
    """The results of a kernel; those that it calls are computed operation by operation. ``written``: values of arrays
    that are written into it, by the identity of these."""
    known = dict(zip((*jaxpr.constvars, *jaxpr.invars), (*consts, *values), strict=True))

    def read(atom):
        return written.get(id(atom), atom.val) if isinstance(atom, Literal) else known[atom]

    for eqn in jaxpr.eqns:
        given = [read(atom) for atom in eqn.invars]
        inner = next((eqn.params[name] for name in CALLS if name in eqn.params), None)
        if eqn.primitive.name in CALLED and inner is not None:
            found = _evaluated(*(internals.opened(inner) if hasattr(inner, "consts") else (inner, ())), given)
        else:
            found = internals.applied(eqn, given)
        known.update(zip(eqn.outvars, found, strict=True))
    return [read(atom) for atom in jaxpr.outvars]


# -- values ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Table:
    """An array that is the same for all pairs, in memory from ``pointer`` on; truth values are stored as i32."""

    pointer: str
    kind: str
    shape: tuple[int, ...]
    read: np.ndarray | None = None

    @property
    def stored(self) -> str:
        return "i32" if self.kind == "i1" else self.kind

    def values(self, code: Code) -> np.ndarray:
        """All its entries as vectors."""
        if self.read is None:
            raise Unprintable(f"an array of {math.prod(self.shape)} numbers that is no table")
        return self.read

    def before(self, code: Code) -> Table:
        """With its entries read here, before the loop over pairs, if they are few. LLVM drops those without a use."""
        if (size := math.prod(self.shape)) > MOST:
            return self
        return replace(self, read=filled(self.shape, [self._entry(code, k) for k in range(size)]))

    def _entry(self, code: Code, k: int) -> Value:
        word = NAMES[self.stored]
        at = code(f"getelementptr {word}, ptr {self.pointer}, i64 {k}")
        return code.splat(code(f"load {word}, ptr {at}"), self.stored).to(self.kind)

    def at(self, index: Sequence[Value], clip: bool) -> Value:
        """The entries at indices along each axis."""
        total = None
        for k, size in zip(index, self.shape):
            k = where(k < 0, 0, where(k > size - 1, size - 1, k)) if clip else k
            total = k if total is None else total * size + k
        return gathered(self.pointer, total, self.stored).to(self.kind)


def filled(shape: Sequence[int], values: Sequence[Value]) -> np.ndarray:
    out = np.empty(len(values), object)
    out[:] = values
    return out.reshape(tuple(shape))


def single(value: Value) -> np.ndarray:
    return filled((), [value])


# -- operations ------------------------------------------------------------------------------------------


def _by_products(x: Value, power: int) -> Value:
    base, total, left = x, None, abs(power)
    while left:
        if left & 1:
            total = base if total is None else total * base
        left >>= 1
        if left:
            base = base * base
    total = x.number(1) if total is None else total
    return x.number(1) / total if power < 0 else total


def _rounded(x: Value, how: int) -> Value:
    return x.code.intrinsic("round" if how == 0 else "roundeven", x)


def _larger(name: str, a: Value, b: Value) -> Value:
    if a.floating:
        return a.code.intrinsic({"max": "maximum", "min": "minimum"}[name], a, b)
    if a.kind == "i1":
        return a | b if name == "max" else a & b
    return where(a > b if name == "max" else a < b, a, b)


def _divided(name: str, a: Value, b: Value) -> Value:
    """Of whole numbers as XLA has them, where a processor would end the program: -1 and a for a/0 and its rest."""
    if a.floating:
        return a.operation(name, b)
    least = -(2 ** (BITS[a.kind] - 1))
    none = b.compared("eq", 0)
    found = a.operation(name, where(none | (b.compared("eq", -1) & a.compared("eq", least)), 1, b))
    return where(none, -1 if name == "div" else a, found)


def _sign(x: Value) -> Value:
    if not x.floating:
        return where(x > 0, 1, where(x < 0, -1, x))
    return where(x.compared("eq", 0.0) | x.compared("ne", x), x, copysign(x.number(1.0), x))


def _elementary(name: str, *args: Value) -> Value:
    code, kind = args[0].code, args[0].kind
    code.needs.add(f"{name}.{kind}")
    given = ", ".join(f"{a.type} {a.name}" for a in args)
    return args[0].like(code(f"call {args[0].type} @mdsl.{name}.{kind}({given})"))


def _polynomial(x: Value, *coefficients: Value) -> Value:
    total = coefficients[-1]
    for c in reversed(coefficients[:-1]):
        total = total * x + c
    return total


def _logistic(x: Value) -> Value:
    return x.number(1.0) / (_elementary("exp", -x) + 1.0)


ELEMENTWISE: dict[str, Callable] = {
    "add": Value.__add__, "add_any": Value.__add__, "sub": Value.__sub__, "mul": Value.__mul__,
    "div": lambda a, b: _divided("div", a, b), "rem": lambda a, b: _divided("rem", a, b),
    "neg": Value.__neg__, "abs": Value.__abs__,
    "and": Value.__and__, "or": Value.__or__, "xor": Value.__xor__, "not": Value.__invert__,
    "max": lambda a, b: _larger("max", a, b), "min": lambda a, b: _larger("min", a, b), "sign": _sign,
    "sqrt": sqrt, "rsqrt": lambda x: x.number(1.0) / sqrt(x), "square": lambda x: x * x,
    "floor": lambda x: x.code.intrinsic("floor", x), "ceil": lambda x: x.code.intrinsic("ceil", x),
    "is_finite": lambda x: abs(x) < math.inf, "logistic": _logistic,
    "polynomial": _polynomial, "one_minus_square": lambda x: (-x + 1.0) * (x + 1.0),

    "stop_gradient": lambda x: x, "copy": lambda x: x, "copy_p": lambda x: x, "pvary": lambda x: x,
    "clamp": lambda low, x, high: _larger("min", _larger("max", x, low), high),
    **{name: lambda a, b, name=name: a.compared(name, b) for name in ("lt", "le", "gt", "ge", "eq", "ne")},
    **{name: lambda *args, name=name: _elementary(name, *args) for name in FUNCTIONS},
}  # fmt: skip


def _chosen(which: Value, *cases: Value) -> Value:
    if which.kind == "i1":
        return where(which, cases[1], cases[0])
    found = cases[-1]
    for k in reversed(range(len(cases) - 1)):
        found = where(which < k + 1, cases[k], found)
    return found


def mapped(function: Callable, *arrays: np.ndarray) -> np.ndarray:
    """For each entry; what has no axes is the same for all."""
    arrays = tuple(np.broadcast_arrays(*arrays))
    return filled(arrays[0].shape, [function(*given) for given in zip(*(a.ravel() for a in arrays))])


def _reduced(function: Callable) -> Callable:
    def reduced(eqn: JaxprEqn, values: np.ndarray) -> np.ndarray:
        axes = tuple(eqn.params["axes"])
        kept = [k for k in range(values.ndim) if k not in axes]
        rows = values.transpose(*kept, *axes).reshape(*(values.shape[k] for k in kept), -1)
        if not rows.shape[-1]:
            raise Unprintable("a sum of nothing")
        total = rows[..., 0]
        for k in range(1, rows.shape[-1]):
            total = mapped(function, single(total) if isinstance(total, Value) else total, _array(rows[..., k]))
        return _array(total)

    return reduced


def _array(values) -> np.ndarray:
    return single(values) if isinstance(values, Value) else values


def _broadcast(eqn: JaxprEqn, values: np.ndarray) -> np.ndarray:
    shape, places = eqn.params["shape"], eqn.params["broadcast_dimensions"]
    sizes = [1] * len(shape)
    for k, place in enumerate(places):
        sizes[place] = values.shape[k]
    return np.broadcast_to(values.reshape(sizes), shape)


def _cut(eqn: JaxprEqn, values: np.ndarray) -> np.ndarray:
    steps = eqn.params["strides"] or (1,) * values.ndim
    return _array(values[tuple(map(slice, eqn.params["start_indices"], eqn.params["limit_indices"], steps))])


def _padded(eqn: JaxprEqn, values: np.ndarray, edge: np.ndarray) -> np.ndarray:
    config = eqn.params["padding_config"]
    if any(inner or low < 0 or high < 0 for low, high, inner in config):
        raise Unprintable("pad with gaps")
    return np.pad(values, [(low, high) for low, high, _ in config], constant_values=edge.item())


SHAPED: dict[str, Callable] = {
    "broadcast_in_dim": _broadcast,
    "reshape": lambda eqn, v: v.reshape(eqn.params["new_sizes"]),
    "squeeze": lambda eqn, v: v.reshape(eqn.outvars[0].aval.shape),
    "expand_dims": lambda eqn, v: v.reshape(eqn.outvars[0].aval.shape),
    "transpose": lambda eqn, v: v.transpose(eqn.params["permutation"]),
    "rev": lambda eqn, v: np.flip(v, eqn.params["dimensions"]),
    "slice": _cut,
    "pad": _padded,
    "stack": lambda eqn, *v: np.stack(v, axis=eqn.params["axis"]),
    "concatenate": lambda eqn, *v: np.concatenate(v, axis=eqn.params["dimension"]),
    "reduce_sum": _reduced(Value.__add__),
    "reduce_max": _reduced(ELEMENTWISE["max"]),
    "reduce_min": _reduced(ELEMENTWISE["min"]),
    "reduce_and": _reduced(Value.__and__),
    "reduce_or": _reduced(Value.__or__),
}


class Printer:
    """Writes a kernel into some code. ``known``: what its variables are worth, vectors or tables."""

    def __init__(self, code: Code, known: Mapping):
        self.code, self.known = code, dict(known)

    def run(self, eqns: Sequence[JaxprEqn]) -> None:
        for eqn in eqns:
            if eqn.primitive.name == "row_of_four":
                table, index = self.known[eqn.invars[0]], self.values(eqn.invars[1])
                rows = [rows_of_four(table.pointer, k, table.kind) for k in index.ravel()]
                self.known.update(zip(eqn.outvars, (filled(index.shape, column) for column in zip(*rows))))
            elif eqn.primitive.name == "split":
                ends = np.cumsum(eqn.params["sizes"])[:-1]
                parts = np.split(self.values(eqn.invars[0]), ends, axis=eqn.params["axis"])
                self.known.update(zip(eqn.outvars, parts))
            elif eqn.primitive.name == "unstack":
                parts = np.moveaxis(self.values(eqn.invars[0]), eqn.params["axis"], 0)
                self.known.update(zip(eqn.outvars, map(_array, parts)))
            else:
                self.known[eqn.outvars[0]] = self._result(eqn)

    def numbers(self, outvars: Sequence) -> list[Value]:
        """What results are worth that are single numbers."""
        return [self.values(v).item() for v in outvars]

    def values(self, atom) -> np.ndarray:
        if isinstance(atom, Literal):
            kind = kind_of(atom.aval)
            number = np.asarray(atom.val)
            return filled(number.shape, [self.code.number(v, kind) for v in number.ravel()])
        found = self.known[atom]
        return found.values(self.code) if isinstance(found, Table) else found

    def _result(self, eqn: JaxprEqn) -> np.ndarray:
        name, out = eqn.primitive.name, eqn.outvars[0].aval
        kind = kind_of(out)
        if math.prod(out.shape) > MOST:
            raise Unprintable(f"{name}, of {math.prod(out.shape)} numbers")
        if name in ("gather", "dynamic_slice"):
            return self._from_table(eqn)
        if name not in OF_BITS and any(str(v.aval.dtype).startswith("uint") for v in (*eqn.invars, *eqn.outvars)):
            raise Unprintable(f"{name} of numbers without a sign")
        given = [self.values(v) for v in eqn.invars]
        if name in SHAPED:
            return _array(SHAPED[name](eqn, *given))
        if name in ELEMENTWISE:
            if name == "pow":
                given[1] = mapped(lambda v: v.to(given[0].flat[0].kind), given[1])
            return mapped(ELEMENTWISE[name], *given)
        match name:
            case "convert_element_type":
                return mapped(lambda v: v.to(kind), *given)
            case "bitcast_convert_type" if BITS[kind] == BITS[given[0].flat[0].kind]:
                return mapped(lambda v: v.bits() if v.floating else v.as_float(kind) if kind in WHOLE else v, *given)
            case "integer_pow":
                return mapped(lambda v: _by_products(v, eqn.params["y"]), *given)
            case "round":
                return mapped(lambda v: _rounded(v, int(eqn.params["rounding_method"])), *given)
            case "select_n":
                return mapped(_chosen, *given)
        raise Unprintable(name)

    def _from_table(self, eqn: JaxprEqn) -> np.ndarray:
        """One entry of a table at a time, at indices that are those of the pair."""
        name, table = eqn.primitive.name, self.known.get(eqn.invars[0])
        if not isinstance(table, Table) or any(s != 1 for s in eqn.params["slice_sizes"]):
            raise Unprintable(f"{name} of what is no table")
        shape = eqn.outvars[0].aval.shape
        if name == "dynamic_slice":
            index = [self.values(v).item() for v in eqn.invars[1:]]
            return filled(shape, [table.at(index, clip=True)])
        numbers, axes = eqn.params["dimension_numbers"], tuple(range(len(table.shape)))
        plain = not numbers.offset_dims and not getattr(numbers, "operand_batching_dims", ())
        if not plain or numbers.collapsed_slice_dims != axes or numbers.start_index_map != axes:
            raise Unprintable("gather of more than numbers")
        mode = eqn.params["mode"].name
        if mode not in ("CLIP", "PROMISE_IN_BOUNDS"):
            raise Unprintable(f"gather, {mode}")
        places = self.values(eqn.invars[1])
        places = places.reshape(-1, places.shape[-1])
        return filled(shape, [table.at(list(place), clip=mode == "CLIP") for place in places])
