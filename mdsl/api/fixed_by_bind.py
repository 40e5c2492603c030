"""Free parameters that decide what `bind` has done already, or how many steps there are: others come too late."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from mdsl.grammar.diagnostics import Diagnostic, Rejected
from mdsl.lowering.tracing import is_traced
from mdsl.model.dependencies import reads
from mdsl.model.nodes import Advance, Expr, Setup

from .no_derivative import refuse

if TYPE_CHECKING:
    from .system import System


def _free(system: System, exprs: Iterable[Expr]) -> frozenset[str]:
    return reads(system.model, tuple(exprs)) & system.program.params.keys()


def fixed_by_bind(system: System) -> dict[str, frozenset[str]]:
    """Free parameters by which `bind` placed the atoms, or made the box with them (x), and gave them velocities (v)."""
    setups = [step for step in system.model.run if isinstance(step, Setup)]
    by_program = {"x": system.placed, "v": system.drawn}
    return {
        target: _free(
            system, (value for step in setups if step.target == target and whose for _, value in step.options)
        )
        for target, whose in by_program.items()
    }


def counting(system: System) -> frozenset[str]:
    """Free parameters that say how many steps there are, or how many records."""
    runs = [step for step in system.model.run if isinstance(step, Advance)]
    return _free(system, [*(a.steps for a in runs), *(o.every for a in runs for o in a.outputs)])


def check_fixed(system: System, params: Mapping[str, object] | None, placed: bool = True, moving: bool = False) -> None:
    """Refuse values that would have changed what `bind` did: the positions and the box (``placed``), or the
    velocities (``moving``). Of traced values it is not known whether they would. Raises Rejected: ``nonconstant``,
    ``no-derivative``."""
    x, v = system.fixed["x"], system.fixed["v"]
    for name in ((x if placed else frozenset()) | (v if moving else frozenset())) & (params or {}).keys():
        value, what = params[name], "where the atoms start" if name in x else "the velocities at the start"
        if is_traced(value):
            raise refuse(
                f"`{name}` decides {what}, which `bind` has fixed, but is traced",
                f"give a start of your own, `run(key, {'x=...' if name in x else 'v=...'})`, or a number: "
                f'params={{**params, "{name}": ...}}',
            )
        if not np.array_equal(value, system.program.params[name]):
            raise Rejected(
                Diagnostic(
                    "nonconstant",
                    f"`{name}` decides {what}, which `bind` has fixed",
                    help=f"compile the program with another `{name}`, or bind arrays and a box of your own",
                )
            )


def check_freezing(system: System, name: str, values) -> None:
    """Refuse other data that say which atoms never move: `bind` has counted degrees of freedom by them. Raises
    Rejected: ``nonconstant``, ``no-derivative``."""
    if name not in system.model.freezing:
        return
    if is_traced(values):
        raise refuse(f"`{name}` decides which atoms never move, but is traced", "give numbers to `bind`")
    if not np.array_equal(np.asarray(values) != 0, np.asarray(system.initial.data[name]) != 0):
        raise Rejected(
            Diagnostic(
                "nonconstant",
                f"`{name}` decides which atoms never move, which `bind` has fixed",
                help="bind other data",
            )
        )


def check_counts(system: System, params: Mapping[str, object] | None, steps) -> None:
    """Refuse traced numbers of steps. Raises Rejected: ``bad-number``, ``no-derivative``."""
    if is_traced(steps):
        raise refuse("`steps` is traced", "how long a run is must be known when it is compiled")
    if isinstance(steps, bool) or steps is not None and (not isinstance(steps, (int, np.integer)) or steps < 0):
        raise Rejected(Diagnostic("bad-number", f"`steps` is a whole number, at least 0, not {steps!r}"))
    for name in counting(system) & (params or {}).keys():
        if is_traced(params[name]):
            raise refuse(
                f"`{name}` decides how many steps there are, but is traced",
                f'give a number: params={{**params, "{name}": ...}}, or declare it as `const {name} = ...`',
            )
