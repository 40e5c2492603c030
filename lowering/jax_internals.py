"""All that mdsl needs of JAX beyond its public functions: operations with rules of their own, and their kernels as
data.

JAX promises nothing about these parts, and moves them. Each is looked for in the places where releases have had it, of
which the first is the most public; two have a stand-in here. Where one is in no place, `unsupported-jax` names it,
instead of an AttributeError in the middle of a trace. No other module reads `jax.core`, `jax.extend`,
`jax.interpreters`, `jax.custom_derivatives` or `jax._src`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from mdsl.grammar.diagnostics import Diagnostic, Rejected

from .jax_version import TESTED, check

check()

import jax  # noqa: E402


@dataclass(frozen=True)
class Part:
    """What it is needed for, and where it may be: ``module:name``."""

    why: str
    places: tuple[str, ...]


def _part(why: str, *places: str) -> Part:
    return Part(why, places)


PARTS = {
    "ShapedArray": _part(
        "operations say the types of their results", "jax.core:ShapedArray", "jax._src.core:ShapedArray"
    ),
    "Primitive": _part(
        "sums over pairs, and records without a derivative, are operations with rules of their own",
        "jax.extend.core:Primitive",
        "jax.core:Primitive",
        "jax._src.core:Primitive",
    ),
    "Jaxpr": _part(
        "the kernel of a sum over pairs is kept as data",
        "jax.extend.core:Jaxpr",
        "jax.core:Jaxpr",
        "jax._src.core:Jaxpr",
    ),
    "JaxprEqn": _part(
        "each operation of a kernel has a parity",
        "jax.extend.core:JaxprEqn",
        "jax.core:JaxprEqn",
        "jax._src.core:JaxprEqn",
    ),
    "Literal": _part(
        "numbers written into a kernel are no inputs",
        "jax.extend.core:Literal",
        "jax.core:Literal",
        "jax._src.core:Literal",
    ),
    "eval_jaxpr": _part(
        "kernels, and their operations one by one, are computed",
        "jax.core:eval_jaxpr",
        "jax._src.core:eval_jaxpr",
    ),
    "dce_jaxpr": _part(
        "a derived kernel is freed of what it does not use, and its sum of the arrays that only this read",
        "jax.interpreters.partial_eval:dce_jaxpr",
        "jax._src.interpreters.partial_eval:dce_jaxpr",
    ),
    "Zero": _part(
        "a tangent that is known to be 0 asks for no second sum",
        "jax.interpreters.ad:Zero",
        "jax._src.ad_util:Zero",
        "jax._src.interpreters.ad:Zero",
    ),
    "SymbolicZero": _part(
        "whether JAX has a derivative of what decides a count",
        "jax.custom_derivatives:SymbolicZero",
        "jax._src.ad_util:SymbolicZero",
    ),
    "is_undefined_primal": _part(
        "a transpose is taken by some operands only, and the others are numbers",
        "jax.interpreters.ad:is_undefined_primal",
        "jax._src.interpreters.ad:is_undefined_primal",
    ),
    "primitive_jvps": _part(
        "the rule of an operation in forward mode",
        "jax.interpreters.ad:primitive_jvps",
        "jax._src.interpreters.ad:primitive_jvps",
    ),
    "primitive_transposes": _part(
        "the rule of an operation in reverse mode",
        "jax.interpreters.ad:primitive_transposes",
        "jax._src.interpreters.ad:primitive_transposes",
    ),
    "primitive_batchers": _part(
        "the rule of an operation under `vmap`",
        "jax.interpreters.batching:primitive_batchers",
        "jax._src.interpreters.batching:primitive_batchers",
    ),
    "register_lowering": _part(
        "the rule by which an operation is compiled",
        "jax.interpreters.mlir:register_lowering",
        "jax._src.interpreters.mlir:register_lowering",
    ),
    "lower_fun": _part(
        "operations are compiled as the functions of JAX that they are",
        "jax.interpreters.mlir:lower_fun",
        "jax._src.interpreters.mlir:lower_fun",
    ),
}
STAND_INS = {"eval_jaxpr": "evaluated_here", "dce_jaxpr": "pruned_here"}


def find(name: str) -> Any:
    """A part of JAX, or the stand-in for it. Raises Rejected: ``unsupported-jax``."""
    for place in PARTS[name].places:
        module, _, attribute = place.partition(":")
        try:
            return getattr(import_module(module), attribute)
        except (ImportError, AttributeError):
            continue
    if name in STAND_INS:
        return globals()[STAND_INS[name]]
    raise Rejected(
        Diagnostic(
            "unsupported-jax",
            f"mdsl does not run on jax {jax.__version__}, which has no `{name}` any more",
            notes=(f"it is needed for this: {PARTS[name].why}",),
            help=f"jax {TESTED[-1]} is the newest that mdsl was tested with: pip install 'jax=={TESTED[-1]}'",
        )
    )


# -- stand-ins -------------------------------------------------------------------------------------------


def evaluated_here(jaxpr: Jaxpr, consts: Sequence, *values) -> list:
    """The results of a kernel: its operations, one after the other."""
    known = dict(zip((*jaxpr.constvars, *jaxpr.invars), (*consts, *values), strict=True))

    def read(atom):
        return atom.val if isinstance(atom, Literal) else known[atom]

    for eqn in jaxpr.eqns:
        known.update(zip(eqn.outvars, applied(eqn, [read(atom) for atom in eqn.invars])))
    return [read(atom) for atom in jaxpr.outvars]


def pruned_here(jaxpr: Jaxpr, used_outputs: Sequence[bool], instantiate: Sequence[bool]) -> tuple[Jaxpr, list[bool]]:
    """The kernel without operations of which no result is used, nor the inputs that only these read but for those to
    ``instantiate``; and which inputs are left. Calls are left whole."""
    outvars = [v for v, used in zip(jaxpr.outvars, used_outputs, strict=True) if used]
    needed = {v for v in outvars if not isinstance(v, Literal)}
    eqns: list[JaxprEqn] = []
    for eqn in reversed(jaxpr.eqns):
        if eqn.effects or not needed.isdisjoint(eqn.outvars):
            eqns.insert(0, eqn)
            needed.update(v for v in eqn.invars if not isinstance(v, Literal))
    used = [v in needed or always for v, always in zip(jaxpr.invars, instantiate, strict=True)]
    invars = [v for v, u in zip(jaxpr.invars, used) if u]
    return jaxpr.replace(invars=invars, outvars=outvars, eqns=eqns), used


def applied(eqn: JaxprEqn, values: Sequence) -> list:
    """The results of one operation of a kernel."""
    given = eqn.primitive.get_bind_params(eqn.params)
    functions, params = given if isinstance(given, tuple) else ((), given)
    found = eqn.primitive.bind(*functions, *values, **params)
    return list(found) if eqn.primitive.multiple_results else [found]


# -- what other modules use ------------------------------------------------------------------------------

if TYPE_CHECKING:
    from jax.custom_derivatives import SymbolicZero
    from jax.extend.core import Jaxpr, JaxprEqn, Literal, Primitive
else:
    SymbolicZero = find("SymbolicZero")
    Jaxpr, JaxprEqn, Literal, Primitive = find("Jaxpr"), find("JaxprEqn"), find("Literal"), find("Primitive")
_ShapedArray, _Zero, _undefined = find("ShapedArray"), find("Zero"), find("is_undefined_primal")
_eval, _dce = find("eval_jaxpr"), find("dce_jaxpr")


def traced(function: Callable, *types) -> tuple[Jaxpr, list]:
    """The operations of a function of arrays of these types, and the arrays that it holds (``constvars``)."""
    return opened(jax.make_jaxpr(function)(*types))


def opened(closed) -> tuple[Jaxpr, list]:
    """What is called by an operation, and the arrays that it holds. Newer releases have one class for both."""
    return getattr(closed, "jaxpr", closed), list(closed.consts)


def evaluated(jaxpr: Jaxpr, consts: Sequence, *values) -> list:
    """The results of a kernel; ``consts``: of its ``constvars``."""
    return _eval(jaxpr, consts, *values)


def operation_alone(jaxpr: Jaxpr, eqn: JaxprEqn, inputs: Sequence) -> Jaxpr:
    """One operation of a kernel as a kernel of its own."""
    return jaxpr.replace(constvars=[], invars=list(inputs), outvars=eqn.outvars, eqns=[eqn])


def pruned(jaxpr: Jaxpr, always: Sequence[bool]) -> tuple[Jaxpr, list[bool]]:
    """The kernel without what no result needs, and which of its inputs are left; these ``always``."""
    return _dce(jaxpr, [True] * len(jaxpr.outvars), list(always))


def array_type(shape: Sequence[int], dtype):
    return _ShapedArray(tuple(shape), dtype)


def is_zero(tangent) -> bool:
    """Whether a tangent or cotangent is known to be 0."""
    return type(tangent) is _Zero


def zero(aval):
    """A cotangent that is known to be 0."""
    return _Zero(aval)


def zero_tangent(value):
    """A tangent of ``value`` that is known to be 0."""
    return _Zero(jax.typeof(value).to_tangent_aval())


def is_linear(operand) -> bool:
    """Whether the transpose is taken by this operand, which then has no value."""
    return _undefined(operand)


def operation(
    name: str,
    evaluate: Callable,
    types: Callable,
    *,
    several: bool,
    impl: Callable,
    batched: Callable,
    jvp: Callable,
    transpose: Callable,
    platforms: Mapping[str, Callable] | None = None,
) -> Primitive:
    """An operation of JAX. ``evaluate`` is what it is compiled as, for these ``platforms`` what they have;
    ``impl``: what it does outside of transformations; ``types``: of its results from those of its operands;
    ``several``: whether its results are a list."""
    primitive = Primitive(name)
    primitive.multiple_results = several
    primitive.def_impl(impl)
    primitive.def_abstract_eval(types)
    for platform, function in {None: evaluate, **(platforms or {})}.items():
        rule = find("lower_fun")(function, multiple_results=several)
        find("register_lowering")(primitive, rule, platform=platform)
    find("primitive_batchers")[primitive] = batched
    find("primitive_jvps")[primitive] = jvp
    find("primitive_transposes")[primitive] = transpose
    return primitive
