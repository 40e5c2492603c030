"""The passes from a resolved Model to one that can be lowered, in order, and what each promises.

`verify` runs after every pass. Each pass keeps the meaning of the program: for random systems the
interpreter gives the same before and after (tests/test_passes.py).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from mdsl.grammar.diagnostics import Diagnostic
from mdsl.model.nodes import (
    EACH,
    UNTYPED,
    Advance,
    Apply,
    Area,
    Derivative,
    Expr,
    Integral,
    Invoke,
    Lambda,
    Model,
    Op,
    Read,
    Slope,
    bound,
    walk,
)
from mdsl.model.operators import BUILTINS
from mdsl.model.traverse import places
from mdsl.passes.infer.expressions import infer
from mdsl.passes.inline.expressions import inline

from .differentiate import differentiate
from .ends import settle_ends
from .exchange import check_exchange


@dataclass(frozen=True)
class Pass:
    """A step from Model to Model. ``absent`` are the nodes that no longer occur after it."""

    name: str
    run: Callable[[Model], tuple[Model, list[Diagnostic]]]
    absent: tuple[type, ...]
    typed: bool
    promise: str


_CALLS = (Lambda, Apply, Derivative, Integral, Invoke)
_CALCULUS = (Slope, Area)

PASSES: tuple[Pass, ...] = (
    Pass("inline", inline, _CALLS, False, "functions, flows and integrators are written out where they are used"),
    Pass("infer", infer, _CALLS, True, "every expression has a type and a dimension"),
    Pass("ends", settle_ends, _CALLS, True, "every table says what its functions are outside of their knots"),
    Pass(
        "differentiate",
        differentiate,
        (*_CALLS, *_CALCULUS),
        True,
        "D(u) is the derivative, integral(u, a, b) the integral itself",
    ),
    Pass(
        "exchange",
        check_exchange,
        (*_CALLS, *_CALCULUS),
        True,
        "every summand over i < j, or over j < k around i, is symmetric in the two",
    ),
)


def verify(model: Model, after: Pass) -> None:
    """Check what a pass promises. Raises AssertionError: a fault of the compiler, never of the program."""
    declared = _declared(model)
    for name, expr in places(model):
        known = declared.union(*map(bound, walk(expr)))
        for node in walk(expr):
            if isinstance(node, after.absent):
                raise AssertionError(f"after {after.name}, {name} still holds {type(node).__name__}")
            if isinstance(node, Read) and not known.issuperset({node.symbol, *filter(_is_name, node.indices)}):
                raise AssertionError(f"after {after.name}, {name} reads {node}, which there is not")
            if after.typed:
                _verify_type(name, node, after)


def _declared(model: Model) -> set[str]:
    """The names that a Model gives to values and indices, also those of flows."""
    flows = [s for s in model.run if isinstance(s, Advance)]
    found = {EACH, *BUILTINS, *(n for p in model.params for n in (p.name, p.binder) if n is not None)}
    found |= {n for e in model.equations for n in (e.name, *e.binders)}
    found |= {s.target for a in flows for s in a.statements}
    return found.union(*({*(s.name for s in a.states), *(e.name for e in a.observes)} for a in flows))


def _is_name(index: object) -> bool:
    return isinstance(index, str)


def _verify_type(name: str, node: Expr, after: Pass) -> None:
    if node.type is UNTYPED:
        raise AssertionError(f"after {after.name}, {name} holds {node} without a type")
    if (
        isinstance(node, Op)
        and node.op == "sub"
        and any(a.type.kind == "point" for a in node.args)
        and node.type.kind == "vector"
    ):
        raise AssertionError(f"after {after.name}, {name} subtracts points without the box")
