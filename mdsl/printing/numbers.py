"""Numbers of the Model as they are written in a program: in the units of its unit system, exactly."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cache, lru_cache

from mdsl.grammar import tree
from mdsl.grammar.parse import parse
from mdsl.grammar.source import Source, Span
from mdsl.model.dimensions import BASES, ENERGY, Dimension, base
from mdsl.model.units import UnitSystem, UnitValue
from mdsl.resolve.modules import library_source
from mdsl.resolve.units import declare, unit_value

NOWHERE = Span(Source("<model>", ""), 0, 0)


def number(value: float, dimension: Dimension, units: UnitSystem) -> tree.Expr:
    """A number of the program's internal units, in the units that the program is written in."""
    if units.reduced or dimension.is_one or value == 0:
        return _literal(value, None)
    unit = unit_of(units, dimension)
    if unit is None:
        return _literal(value, None)
    size = unit_value(unit, library_units())
    return _literal(_inverse(units, value, size), unit)


def _literal(value: float, unit: tree.Unit | None) -> tree.Expr:
    value = float(value)
    whole = abs(value) < 1e15 and value == int(value)
    literal = tree.Number(NOWHERE, str(int(abs(value))) if whole else repr(abs(value)), unit)
    return tree.Unary(NOWHERE, "-", literal) if value < 0 else literal


def _inverse(units: UnitSystem, value: float, size: UnitValue) -> float:
    """The number that, read in a unit, is exactly ``value``: the shortest decimal of those that are."""
    first = value / units.to_internal(1.0, size)
    for digits in range(1, 18):
        candidate = float(f"{first:.{digits}g}")
        if units.to_internal(candidate, size) == value:
            return candidate
    for direction in (math.inf, -math.inf):
        candidate = first
        for _ in range(4):
            candidate = math.nextafter(candidate, direction)
            if units.to_internal(candidate, size) == value:
                return candidate
    return first


@lru_cache
def unit_of(units: UnitSystem, dimension: Dimension) -> tree.Unit | None:
    """The unit literal in which a system shows a dimension; None where it needs a root of a unit."""
    own = next((s for s in units.shown if s.unit.dimension == dimension), None)
    if own is not None:
        return _unit(own.text)
    shown = {s.unit.dimension: s.text for s in units.shown}
    best: dict[str, int] | None = None
    for energies in (0, 1, -1, 2, -2):
        rest = dimension / ENERGY**energies
        parts = [(ENERGY, energies), *((base(name), power) for name, power in zip(BASES, rest.powers))]
        parts = [(d, p) for d, p in parts if p]
        if any(d not in shown or p != int(p) for d, p in parts):
            continue
        factors: dict[str, int] = {}
        for d, p in parts:
            for factor in _unit(shown[d]).factors:
                factors[factor.name] = factors.get(factor.name, 0) + factor.power * int(p)
        factors = {name: power for name, power in factors.items() if power}
        if best is None or sum(map(abs, factors.values())) < sum(map(abs, best.values())):
            best = factors
    if best is None:
        return None
    ordered = sorted(best.items(), key=lambda item: item[1] < 0)
    return tree.Unit(NOWHERE, tuple(tree.UnitPower(NOWHERE, name, power) for name, power in ordered))


@cache
def _unit(text: str) -> tree.Unit:
    match parse(Source("<unit>", f"const a = 1 [{text}]")).statements:
        case (tree.Declaration(value=tree.Number(unit=tree.Unit() as unit)),):
            return unit
    raise AssertionError(f"{text} is no unit")


@cache
def library_units() -> Mapping[str, UnitValue]:
    known: dict[str, UnitValue] = {}
    for statement in parse(library_source("units.names")).statements:
        if isinstance(statement, tree.UnitDecl):
            known[statement.name.id] = declare(statement, known)
    return known
