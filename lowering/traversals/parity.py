"""What becomes of the values of a pair kernel when the two atoms change places.

A derivative in reverse mode needs the kernel of a pair both ways round. Most of it is the same: the displacement
changes its sign, its square and all that is made of it do not. So the kernel is evaluated once, and of each of its
values it is known whether it is *even*, *odd*, or has to be computed anew. The rules are those of operations on
numbers, and exact in floating point.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from mdsl.lowering import jax_internals as internals
from mdsl.lowering.jax_internals import Jaxpr, JaxprEqn, Literal

EVEN, ODD, ZERO, MIXED = "even", "odd", "zero", "mixed"

UNARY_EVEN = {"abs", "cos", "cosh", "square", "is_finite"}
UNARY_ODD = {
    "neg",
    "sign",
    "round",
    "sin",
    "tan",
    "asin",
    "atan",
    "sinh",
    "tanh",
    "asinh",
    "atanh",
    "erf",
    "erf_inv",
    "cbrt",
    "real",
    "imag",
}
LINEAR = {
    "add",
    "sub",
    "add_any",
    "convert_element_type",
    "copy",
    "copy_p",
    "broadcast_in_dim",
    "reshape",
    "squeeze",
    "expand_dims",
    "transpose",
    "reduce_sum",
    "reduce_precision",
}
PRODUCTS = {"mul", "div"}
COMMUTATIVE = {"add", "add_any", "mul", "max", "min", "eq", "ne", "and", "or", "xor"}
CALLS = {
    "pjit": "jaxpr",
    "jit": "jaxpr",
    "closed_call": "call_jaxpr",
    "core_call": "call_jaxpr",
    "eval_jaxpr": "call_jaxpr",
}


class Both(NamedTuple):
    """A value of the pair, and what it is when the atoms have changed places: the same, its negative (both if it is
    zero), or ``swapped``."""

    value: object
    parity: str = EVEN
    swapped: object = None

    @property
    def other(self):
        """The value when the atoms have changed places."""
        return (
            {EVEN: self.value, ZERO: self.value, MIXED: self.swapped}[self.parity]
            if self.parity != ODD
            else -self.value
        )


def both_ways(jaxpr: Jaxpr, inputs: Sequence[Both]) -> list[Both]:
    """The results of a kernel, from its inputs (those in ``constvars`` first)."""
    known = dict(zip((*jaxpr.constvars, *jaxpr.invars), inputs))

    def read(atom) -> Both:
        if not isinstance(atom, Literal):
            return known[atom]
        return Both(atom.val, ZERO if not getattr(atom.val, "shape", ()) and atom.val == 0 else EVEN)

    for eqn in jaxpr.eqns:
        given = [read(atom) for atom in eqn.invars]
        if eqn.primitive.name in CALLS:
            inner, consts = internals.opened(eqn.params[CALLS[eqn.primitive.name]])
            found = both_ways(inner, [*map(Both, consts), *given])
        else:
            found = _applied(jaxpr, eqn, given)
        known.update(zip(eqn.outvars, found))
    return [read(atom) for atom in jaxpr.outvars]


def _applied(jaxpr: Jaxpr, eqn: JaxprEqn, given: list[Both]) -> list[Both]:
    inputs = {atom: g for atom, g in zip(eqn.invars, given) if not isinstance(atom, Literal)}
    one = internals.operation_alone(jaxpr, eqn, list(inputs))
    values = internals.evaluated(one, (), *(g.value for g in inputs.values()))
    parity = _parity(eqn, given)
    if parity != MIXED:
        return [Both(v, parity) for v in values]
    return [
        Both(v, MIXED, s) for v, s in zip(values, internals.evaluated(one, (), *(g.other for g in inputs.values())))
    ]


def _parity(eqn: JaxprEqn, given: list[Both]) -> str:
    name, kinds = eqn.primitive.name, [g.parity for g in given]
    if name in ("sub", *COMMUTATIVE) and _exchanged(*given):
        return ODD if name == "sub" else EVEN
    if MIXED in kinds:
        return MIXED
    if name in LINEAR | {"select_n"}:
        kinds = set(kinds[1:] if name == "select_n" else kinds)
        if name == "select_n" and given[0].parity not in (EVEN, ZERO):
            return MIXED
        return ZERO if kinds == {ZERO} else ODD if kinds <= {ODD, ZERO} else EVEN if ODD not in kinds else MIXED
    if ODD not in kinds:
        return EVEN
    if name in PRODUCTS:
        return EVEN if kinds == [ODD, ODD] else ODD
    if name == "integer_pow":
        return ODD if eqn.params["y"] % 2 else EVEN
    return EVEN if name in UNARY_EVEN else ODD if name in UNARY_ODD else MIXED


def _exchanged(a: Both, b: Both) -> bool:
    """Whether the two are each other's values when the atoms change places."""
    return a.parity == b.parity == MIXED and a.swapped is b.value and b.swapped is a.value
