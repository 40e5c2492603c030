"""`data` statements: arrays that come with the atoms."""

from __future__ import annotations

from mdsl.files.reading import KNOWN_COLUMNS
from mdsl.grammar import tree
from mdsl.grammar.diagnostics import Rejected
from mdsl.model.dimensions import ONE
from mdsl.model.nodes import Axis, Data, Param, Type
from mdsl.model.units import UnitValue

from .expressions import Resolver
from .names import Resolution
from .units import unit_value


def data_declaration(work: Resolution, resolver: Resolver, statement: tree.Data) -> Param | None:
    """An array that comes with the atoms: its axes and its unit."""
    name = statement.name.id
    axes = tuple(Axis(a.name) for a in statement.axes)
    kinds = [a.kind for a in axes]
    for axis in statement.axes:
        if axis.range is not None or axis.name not in ("species", "atoms"):
            resolver.error("bad-axis", f"an axis of `data` is `atoms` or `species`, not `{axis.name}`", axis)
            return None
    if "atoms" in kinds and len(kinds) > 1 or len(kinds) > 2:
        resolver.error(
            "bad-axis",
            "`data` has one axis of atoms, or at most two of species",
            statement.axes[1],
            help=f"`data {name}[atoms]`, `data {name}[species, species]`",
        )
        return None
    if name == "m":
        resolver.error(
            "misplaced",
            "`m` is the mass, which atoms have already",
            statement.name,
            help="masses are bound as `masses=`, come with the structure, or are a `param m`",
        )
        return None
    if name in KNOWN_COLUMNS:
        resolver.error(
            "duplicate-name",
            f"`{name}` is a column of structure files with a meaning of its own",
            statement.name,
            help="choose another name",
        )
        return None
    unit = UnitValue(1.0, ONE)
    if statement.unit is not None:
        if work.units.reduced:
            resolver.error(
                "unit-in-reduced",
                f"`units.{work.units.name}` has no units: every quantity is a pure number",
                statement.unit,
                help=f"write `data {name}{'[' + ', '.join(kinds) + ']' if kinds else ''}`",
            )
            return None
        try:
            unit = unit_value(statement.unit, work.known_units)
        except Rejected as rejected:
            work.report += rejected.diagnostics
            return None
    kind = Type("scalar", unit.dimension)
    return Param(
        "data", name, axes, None, statement.span, kind, data=Data(statement.unit, work.units.to_internal(1.0, unit))
    )
