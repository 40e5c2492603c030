"""The type of what can be recorded."""

from __future__ import annotations

from dataclasses import replace

from .dimensions import ENERGY, LENGTH, NAMED, Dimension
from .nodes import UNTYPED, Advance, Model, Type
from .operators import BUILTINS


def observable_type(model: Model, name: str) -> Type:
    """The kind and dimension of an energy, an observable (of the program, or of a scheme that it runs) or a built-in
    quantity."""
    own = (a.observe(name) for a in model.run if isinstance(a, Advance))
    equation = model.equation(name) or next((e for e in own if e is not None), None)
    if equation is not None and (kind := equation.body.type) is not UNTYPED:
        return replace(kind, dimension=kind.dimension or model.units.dimension(ENERGY))
    builtin = BUILTINS[name]
    dimension: Dimension = LENGTH**model.dim if name == "volume" else NAMED[builtin.dimension]
    return Type(builtin.kind, model.units.dimension(dimension))
