"""Statements of dynamics as integrators of OpenMM: each update of a step as it is written, coordinate by coordinate."""

from __future__ import annotations

import sympy

from mdsl.export.steps import FIELDS, Scheme, Unsaid
from mdsl.export.subject import Scale
from mdsl.export.written import Lepton, Unwritable, number

# What 1 of an internal unit of these is in OpenMM's.
SIZES = {
    "x": lambda s: s.length,
    "v": lambda s: s.length / s.time,
    "f": lambda s: s.energy / s.length,
    "m": lambda s: s.mass,
    "t": lambda s: s.time,
}


def integrator(found: Scheme, s: Scale, began: float):
    """A CustomIntegrator of one statement, which begins at the time ``began``, in internal units. Raises Unsaid."""
    import openmm

    made = openmm.CustomIntegrator(found.dt * s.time)
    own = {stage.target for stage in found.stages} - FIELDS.keys()
    alone = {stage.target for stage in found.stages if stage.alone}
    names = {name: f"own_{k}" for k, name in enumerate(sorted(own))}
    if found.reads_time:
        made.addGlobalVariable("now", began * s.time)
    for name in sorted(own):
        (made.addGlobalVariable if name in alone else made.addPerDofVariable)(names[name], 0.0)
    made.addUpdateContextState()
    for stage in found.stages:
        target = names.get(stage.target, stage.target)
        add = made.addComputeGlobal if stage.alone else made.addComputePerDof
        if stage.expr is None:
            made.addComputePerDof(target, "gaussian")
            continue
        size = SIZES[stage.target](s) if stage.target in FIELDS else 1.0
        add(target, _text(stage.expr, size, s, names))
        if found.reads_time and stage.drift:  # the time goes on where the atoms move, and what is left of it at the end
            made.addComputeGlobal("now", f"now+{number(stage.drift * s.time)}")
    left = found.dt - sum(stage.drift for stage in found.stages)
    if found.reads_time and abs(left) > 1e-14 * found.dt:
        made.addComputeGlobal("now", f"now+{number(left * s.time)}")
    return made


def _text(expr: sympy.Expr, size: float, s: Scale, names: dict[str, str]) -> str:
    """In OpenMM's units; values that are no fields stay in internal ones."""
    changed, symbols = {}, {}
    for symbol in expr.free_symbols:
        name = symbol.name
        if name in SIZES:
            own = SIZES[name](s)
            if own != 1:
                changed[symbol] = symbol / sympy.Float(own, 17)
            symbols[symbol] = "now" if name == "t" else name
        else:
            symbols[symbol] = names[name]
    expr = expr.xreplace(changed) if changed else expr
    try:
        return Lepton(symbols)(sympy.expand(sympy.Float(size, 17) * expr) if size != 1 else expr)
    except Unwritable as error:
        raise Unsaid(f"OpenMM's formulas do not have {error.what}") from None
