"""The part of `infer` for declarations: parameters, energies, quantities and observables, each when it is first
read."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from mdsl.grammar.diagnostics import Diagnostic
from mdsl.model import dimensions
from mdsl.model.dimensions import ONE
from mdsl.model.nodes import UNKNOWN, Equation, Expr, Number, Op, Param, Read, Reduce, TableOf, Type, walk

from .run import before_run

if TYPE_CHECKING:
    from .expressions import Inference

BEYOND_POSITIONS = {
    "v": "velocities", "f": "forces", "potential": "the potential", "virial": "the virial",
    "cell": "the box", "travelled": "the way of the atoms", "unwrapped": "the way of the atoms",
    "v_start": "velocities", "t_start": "the time of the run",
}  # fmt: skip


def infer_param(work: Inference, param: Param) -> Param:
    """A parameter with the type of its value."""
    known = work.params.get(param.name)
    if param.table is not None:
        return replace(param, type=Type("scalar"))
    if param.default is None:  # data, and the weights of a network
        return param
    if known is None:
        if param.name in work.active:
            work.report.append(
                Diagnostic(
                    "cyclic-definition",
                    f"`{param.name}` is defined by itself",
                    param.span,
                    notes=_circle(work, param.name),
                )
            )
            return replace(param, type=UNKNOWN)
        work.active.append(param.name)
        if param.binder is not None:
            work.locals[param.binder] = Type("scalar")
            work.ranges[param.binder] = param.axes[0]
        default = work.typed(param.default)
        if param.binder is not None:
            del work.locals[param.binder], work.ranges[param.binder]
            work.memo = {}
        work.active.pop()
        kind = default.type
        if kind.kind == "index":  # `const shift[k in 1..16] = k`
            kind = Type("scalar")
        before_run(work, default, f"`{param.name}`")
        if kind.kind not in ("scalar", "unknown"):
            work.fail("wrong-type", f"a {param.lifetime} is a number or a table of numbers, not {kind}", default)
            kind = UNKNOWN
        if param.declared is not None:
            kind = _as_declared(work, param, default, kind)
        if param.name == "m" and (len(param.axes) > 1 or param.binder is not None):
            work.report.append(
                Diagnostic(
                    "bad-axis",
                    "`m` is the mass of the atoms: one for all, or one for each species",
                    param.span,
                    help="`param m = 1.0` or `param m[species] = { A: 1.0, B: 2.0 }`",
                )
            )
        if param.name == "m" and kind.dimension not in (None, work.builtin("m").dimension):
            work.fail("wrong-unit", f"`m` is the mass of the atoms, but this is {kind}", default)
        if kind.dimension is None and kind.kind == "scalar":
            # A parameter that is 0 by default is what its unit says, without one a pure number.
            zeros = [v for _, v in default.entries] if isinstance(default, TableOf) else [default]
            kind = Type("scalar", next((z.dimension for z in zeros if isinstance(z, Number)), ONE))
        known = work.params[param.name] = replace(param, default=default, declared=None, type=kind)
    return known


def _as_declared(work: Inference, param: Param, default: Expr, kind: Type) -> Type:
    """The type that a program gives a parameter, which a value given from outside has too."""
    declared = infer_param(work.program, work.program.model.declaration(param.name)).type
    if declared.dimension is not None and kind.kind != "unknown" and kind.dimension not in (None, declared.dimension):
        shown = work.model.units.display(declared.dimension).text
        help = f"for example --set '{param.name}=1.0 [{shown}]'" if shown else None
        work.fail("wrong-unit", f"`{param.name}` is {declared}, but the value given is {kind}", default, help=help)
    return declared


def infer_equation(work: Inference, equation: Equation) -> Equation:
    """An energy, quantity or observable with types everywhere."""
    known = work.equations.get(equation.name)
    if known is None:
        if equation.name in work.active:
            work.report.append(
                Diagnostic(
                    "cyclic-definition",
                    f"`{equation.name}` is defined by itself",
                    equation.span,
                    notes=_circle(work, equation.name),
                )
            )
            return replace(equation, body=Read("?", span=equation.span, type=UNKNOWN))
        work.active.append(equation.name)
        outside = work.locals, work.ranges, work.memo
        if equation.series is not None or work.locals:
            series = {equation.binders[-1]: equation.series} if equation.series else {}
            work.locals, work.ranges, work.memo = {b: Type("scalar") for b in series}, series, {}
        body = work.typed(equation.body)
        work.locals, work.ranges, work.memo = outside
        work.active.pop()
        if equation.series is not None and body.type.kind == "index":  # `observe bin[k in 1..9] = k`
            body = Op("add", (body, Number(0.0, type=Type("scalar", None))), span=body.span, type=Type("scalar"))
        if equation.kind == "observe" and body.type.kind not in ("scalar", "vector", "matrix", "unknown"):
            help = "the vector from the corner of the box is `x[i] - origin`" if body.type.kind == "point" else None
            work.fail(
                "wrong-type", f"an observable is a number, a vector or a matrix, not {body.type}", body, help=help
            )
        if equation.kind == "quantity" and equation.series is not None and body.type.kind not in ("scalar", "unknown"):
            work.fail(
                "wrong-type", f"a quantity over a range is a number for each atom and entry, not {body.type}", body
            )
        elif equation.kind == "quantity" and body.type.kind not in ("scalar", "vector", "matrix", "unknown"):
            work.fail(
                "wrong-type", f"a quantity is a number, a vector or a matrix for each atom, not {body.type}", body
            )
        if equation.kind == "energy":
            wanted = work.model.units.dimension(dimensions.ENERGY)
            if body.type.kind not in ("scalar", "unknown"):
                vector = body.type.kind == "vector"
                work.fail(
                    "wrong-type",
                    f"an energy is a number, not {body.type}",
                    body,
                    help="of a vector take its length `|d|` or a component `d.x`" if vector else None,
                )
            elif body.type.kind == "scalar" and (found := _beyond_positions(work, body, {equation.name})):
                work.fail(
                    "misplaced",
                    f"an energy depends on positions, but this reads {found[1]}",
                    found[0],
                    help="forces are its derivative by positions; what is only to be recorded is an `observe`",
                )
            elif body.type.dimension not in (None, wanted) and body.type.kind == "scalar":
                work.fail("wrong-unit", f"`{equation.name}` should be an energy, but is {body.type}", body)
        known = work.equations[equation.name] = replace(equation, body=body)
    return known


def _circle(work: Inference, name: str) -> tuple[str, ...]:
    """How a definition comes back to itself."""
    names = [*work.active[work.active.index(name) :], name]
    return (" needs ".join(f"`{n}`" for n in names),) if len(names) > 2 else ()


def _beyond_positions(work: Inference, body: Expr, seen: set[str]) -> tuple[Expr, str] | None:
    """Where an energy reads, also through observables, what follows from forces or motion, or has none; None if
    nowhere."""
    for node in walk(body):
        if isinstance(node, Reduce) and node.op != "sum":
            return node, f"`{node.op}`, which has no force"
        if not isinstance(node, Read):
            continue
        param = work.model.param(node.symbol)
        if param is not None and param.lifetime == "state":
            return node, f"the state `{node.symbol}`"
        if node.symbol in BEYOND_POSITIONS and param is None:
            return node, BEYOND_POSITIONS[node.symbol]
        other = work.model.equation(node.symbol)
        if other is not None and other.name not in seen:
            found = _beyond_positions(work, other.body, seen | {other.name})
            if found is not None:
                return node, found[1]
    return None
