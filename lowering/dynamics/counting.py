"""Observables that count: how many pairs a bin holds changes in jumps, and JAX would give such a number the derivative
0.

Inside transformations a record that counts goes together with what decides its counts, of which only one thing is
used: whether JAX has a derivative of it. If so the derivative of the record is not a number, and reverse mode, which
begins with what is differentiated, says why (`no-derivative`) as soon as it comes to the record. Records that nobody
differentiates are as they are.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp

from mdsl.grammar.diagnostics import Diagnostic, Rejected
from mdsl.lowering import jax_internals as internals
from mdsl.lowering.field.field import Combination, Field, Measure
from mdsl.lowering.field.names import SumOf
from mdsl.lowering.jax_internals import SymbolicZero
from mdsl.lowering.kernels.globals import Globals
from mdsl.model.dependencies import closure
from mdsl.model.faults import fault
from mdsl.model.nodes import Advance, Expr, Model, Op, Read, children, names_in

from .state import Inputs, State

if TYPE_CHECKING:
    from mdsl.lowering.arrays import Scalar, Value

LABELS = frozenset({"species", "m"})
STEPS = frozenset({"floor", "round"})


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Counted:
    """A record, and a number with the derivatives of what decides its counts."""

    value: Value
    decided: Scalar


# -- what decides ----------------------------------------------------------------------------------------


def deciding(field: Field, combination: Combination, measures: Iterable[Measure]) -> frozenset[str]:
    """What decides in which bins an observable counts; or, where it depends on atoms through conditions alone, what
    these look at. ``measures``: its sums."""
    measures, names = tuple(measures), names_in(combination)
    binned = [m.bin for m in measures if m.bin is not None]
    if not binned and not names & {"potential", "virial", *(t.name for t in field.terms)}:
        moving = [m for m in measures if _of_atoms(m.summand, True)]
        binned = [m.summand for m in moving] if not any(_of_atoms(m.summand, False) for m in moving) else []
    return _behind(field, binned)


def _of_atoms(expr: Expr, conditions: bool) -> bool:
    """Whether an expression depends on where atoms are, how they move, or what is computed or given for each of them;
    also if it does through ``conditions`` alone."""
    if isinstance(expr, Read):
        return any(isinstance(i, str) for i in expr.indices) and expr.symbol not in LABELS
    if isinstance(expr, Op) and not conditions and expr.op in STEPS:
        return False
    if isinstance(expr, Op) and not conditions and expr.op == "choose":
        return any(_of_atoms(e, False) for e in expr.args[1:])
    return any(_of_atoms(e, conditions) for e in children(expr))


def _behind(field: Field, exprs: Iterable[Expr]) -> frozenset[str]:
    """All that expressions read, through sums and per-atom values."""
    sums = {s.name: s for s in (*field.terms, *field.measures, *field.values)}

    def behind(name: str) -> set[str]:
        found = sums.get(name)
        return set() if found is None else names_in((found.summand, getattr(found, "bin", None)))

    return frozenset(closure(names_in(tuple(exprs)), behind))


def decided(names: frozenset[str], state: State, inputs: Inputs, known: Globals):
    """A number with the derivatives of what has these names. ``inputs``: those of this moment."""
    found: list = []
    if names & {"x", "f", "travelled", "unwrapped", "virial", "potential"}:
        found += [state.x, inputs.cell, state.images]
    if names & {"f", "virial", "potential"}:
        found.append(known.params)
    if names & {"v", "v_start"}:
        found.append(state.v)
    if "m" in names:
        found.append(state.mass)
    if names & {"volume", "cell"}:
        found.append(inputs.cell)
    if names & {"t", "t_start"}:
        found.append(known.t)
    found += [
        values[name]
        for values in (known.params, known.more)
        for name in sorted(names)
        if name in values and not isinstance(name, SumOf)
    ]
    numbers = [a for a in map(jnp.asarray, jax.tree.leaves(found)) if a.size and jnp.issubdtype(a.dtype, jnp.floating)]
    return sum((jnp.ravel(a)[0].astype(state.x[0].dtype) for a in numbers), jnp.zeros_like(state.x[0][0]))


# -- what is told ----------------------------------------------------------------------------------------


def told(record, name: str, model: Model, advance: Advance):
    """What a statement recorded, which says that it has no derivative where it has none."""
    if not isinstance(record, Counted):
        return record
    equation = model.equation(name) or advance.observe(name)
    help = (
        "count with a function that has no edges, such as `radial_bin` of the library descriptors; or give "
        "`energy` "
        "and `forces` what you differentiate"
    )
    what = fault(
        model.source,
        "no-derivative",
        f"`{name}` has no derivative: it counts, and what decides its counts is differentiated",
        equation.body,
        help=help,
    )
    return jax.tree.map(lambda a: _told(a, jnp.sum(record.decided), what), record.value)


@partial(jax.custom_jvp, nondiff_argnums=(2,))
def _told(value, decided, what: Diagnostic):
    return value


@partial(_told.defjvp, symbolic_zeros=True)
def _(what: Diagnostic, primals, tangents):
    value, by_value, by_decided = primals[0], *tangents
    slope = jnp.zeros_like(value) if isinstance(by_value, SymbolicZero) else by_value
    if isinstance(by_decided, SymbolicZero):
        return value, slope
    return value, slope + none_p.bind(by_decided, what=what)


def _none(tangent, *, what: Diagnostic):
    return jnp.full_like(tangent, jnp.nan)


def _batched(operands, axes, *, what: Diagnostic):
    return none_p.bind(*operands, what=what), axes[0]


def _jvp(primals, tangents, *, what: Diagnostic):
    (tangent,) = tangents
    return none_p.bind(*primals, what=what), tangent if internals.is_zero(tangent) else none_p.bind(tangent, what=what)


def _refused(cotangent, tangent, *, what: Diagnostic):
    if internals.is_zero(cotangent):
        return [internals.zero(tangent.aval)]
    raise Rejected(what)


none_p = internals.operation(  # of a number: not a number
    "no_derivative",
    _none,
    lambda tangent, *, what: tangent,
    several=False,
    impl=_none,
    batched=_batched,
    jvp=_jvp,
    transpose=_refused,
)
