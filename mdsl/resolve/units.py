"""Reading unit declarations: `unit fs = 1e-15 [s]` and `units { length = [angstrom] ... }`."""

from __future__ import annotations

from collections.abc import Mapping

from mdsl.grammar import tree
from mdsl.grammar.diagnostics import Diagnostic, Rejected, suggest
from mdsl.model.dimensions import BASES, ENERGY, LENGTH, MASS, ONE, base
from mdsl.model.units import Shown, UnitSystem, UnitValue

INTERNAL = {"internal_length": LENGTH, "internal_mass": MASS, "internal_energy": ENERGY}

# Units by other names, and how they are written here.
USUAL = {
    "A": "angstrom",
    "Å": "angstrom",
    "Ang": "angstrom",
    "ang": "angstrom",
    "a0": "bohr",
    "u": "amu",
    "Da": "dalton",
    "Ha": "hartree",
    "Ry": "rydberg",
    "sec": "s",
}


def unit_value(unit: tree.Unit, known: Mapping[str, UnitValue]) -> UnitValue:
    """The size and dimension of a unit literal. Raises Rejected (``unknown-unit``)."""
    value = UnitValue(1.0, ONE)
    for factor in unit.factors:
        if factor.name not in known:
            raise Rejected(
                Diagnostic(
                    "unknown-unit",
                    f"there is no unit `{factor.name}`",
                    factor.span,
                    help=_meant(factor.name, known)
                    or (
                        "`mdsl list units.names` shows all units"
                        if known
                        else "units are known in units.metal, units.real and units.si"
                    ),
                )
            )
        value = value * known[factor.name] ** factor.power
    return value


def _meant(name: str, known: Mapping[str, UnitValue]) -> str | None:
    usual = USUAL.get(name)
    return f"it is written `{usual}`" if usual in known else suggest(name, known)


def declare(statement: tree.UnitDecl, known: Mapping[str, UnitValue]) -> UnitValue:
    """The value of one `unit` statement in terms of the units before it."""
    if statement.dimension is not None:
        if statement.dimension not in BASES:
            raise Rejected(
                Diagnostic(
                    "unknown-name",
                    f"`{statement.dimension}` is not a base dimension",
                    statement.span,
                    help=f"the base dimensions are {', '.join(BASES)}",
                )
            )
        return UnitValue(1.0, base(statement.dimension))
    if isinstance(statement.value, tree.Number):
        unit = unit_value(statement.value.unit, known) if statement.value.unit else UnitValue(1.0, ONE)
        return UnitValue(statement.value.value * unit.si, unit.dimension)
    raise Rejected(
        Diagnostic(
            "bad-unit",
            "a unit is a number times known units",
            statement.span,
            help="for example `unit kcal = 4184 [J]`",
        )
    )


def system(name: str, statement: tree.UnitSystem, known: Mapping[str, UnitValue]) -> UnitSystem:
    """A unit system from its `units { ... }` block.

    Length, mass and energy are required unless the block is empty (reduced units).
    """
    entries = {identifier.id: unit for identifier, unit in statement.entries}
    if not entries:
        return UnitSystem(name)
    shown: list[Shown] = []
    internal: dict[str, UnitValue] = {}
    for identifier, unit in statement.entries:
        value = unit_value(unit, known)
        if identifier.id in INTERNAL:
            internal[identifier.id] = value
        else:
            shown.append(Shown(unit.span.text.strip().removeprefix("[").removesuffix("]"), value))
    for key, dimension in INTERNAL.items():
        fallback = next((s.unit for s in shown if s.unit.dimension == dimension), None)
        found = internal.get(key, fallback)
        if found is None or found.dimension != dimension:
            raise Rejected(
                Diagnostic(
                    "bad-unit",
                    f"the unit system does not say its unit of {key.removeprefix('internal_')}",
                    statement.span,
                )
            )
        internal[key] = found
    length, mass, energy = (internal[key] for key in INTERNAL)
    return UnitSystem(name, tuple(shown), (length, mass, energy))
