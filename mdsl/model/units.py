"""Units and unit systems, as `stdlib/units/*.mdsl` declare them.

A program computes in a *coherent* set of units made of the system's length, mass and energy: the unit of
time is then sqrt(mass length²/energy), no constant stands between force and acceleration, and only text
(literals, records, files) is converted. In reduced units every quantity is a pure number.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from .dimensions import BASES, ENERGY, ONE, Dimension, base

# The units of files and of ASE in SI units, as in stdlib/units/names.mdsl.
ANGSTROM, FEMTOSECOND = 1e-10, 1e-15
DALTON, ELECTRONVOLT, ELEMENTARY_CHARGE = 1.66053906660e-27, 1.602176634e-19, 1.602176634e-19


@dataclass(frozen=True)
class UnitValue:
    """A unit: its size in SI base units, and its dimension."""

    si: float
    dimension: Dimension

    def __mul__(self, other: UnitValue) -> UnitValue:
        return UnitValue(self.si * other.si, self.dimension * other.dimension)

    def __pow__(self, exponent: int) -> UnitValue:
        return UnitValue(self.si**exponent, self.dimension**exponent)


@dataclass(frozen=True)
class Shown:
    """The unit in which a dimension is read and shown: its text, and its size."""

    text: str
    unit: UnitValue


@dataclass(frozen=True)
class UnitSystem:
    """A unit system. ``shown`` maps dimensions to display units; empty for reduced units."""

    name: str
    shown: tuple[Shown, ...] = ()
    internal: tuple[UnitValue, UnitValue, UnitValue] | None = None  # length, mass, energy

    @property
    def reduced(self) -> bool:
        return not self.shown

    def dimension(self, dimension: Dimension) -> Dimension:
        """The dimension as this system sees it: reduced units see pure numbers only."""
        return ONE if self.reduced else dimension

    def _internal_si(self, dimension: Dimension) -> float:
        if self.internal is None:  # reduced units
            return 1.0
        length, mass, energy = (u.si for u in self.internal)
        sizes = {
            "length": length,
            "mass": mass,
            "time": length * (mass / energy) ** 0.5,
            "temperature": self._shown_si("temperature"),
            "charge": self._shown_si("charge"),
        }
        size = 1.0
        for name, power in zip(BASES, dimension.powers):
            size *= sizes[name] ** float(power)
        return size

    def _shown_si(self, name: str) -> float:
        return next((s.unit.si for s in self.shown if s.unit.dimension == base(name)), 1.0)

    def to_internal(self, value: float, unit: UnitValue) -> float:
        """A number in ``unit`` as a number in the coherent units the program computes in."""
        return value * (unit.si / self._internal_si(unit.dimension))

    def display(self, dimension: Dimension) -> Shown:
        """How to show a quantity: the system's own unit for it, or a product of its base units."""
        if self.reduced or dimension.is_one:
            return Shown("", UnitValue(1.0, dimension))
        for entry in self.shown:
            if entry.unit.dimension == dimension:
                return entry
        # Energy reads better than mass·length²/time²: take out whole powers of it first.
        best: Shown | None = None
        for energies in (0, 1, -1, 2, -2):
            rest = dimension / ENERGY**energies
            parts: list[tuple[Dimension, int | Fraction]] = [(ENERGY, energies)]
            parts += [(base_dimension, rest.powers[k]) for k, base_dimension in enumerate(_BASE_DIMENSIONS)]
            parts = [(d, p) for d, p in parts if p]
            text, unit = "", UnitValue(1.0, ONE)
            for d, p in sorted(parts, key=lambda part: part[1] < 0):
                shown = next((s for s in self.shown if s.unit.dimension == d), None)
                if shown is None:
                    break
                name = f"({shown.text})" if "/" in shown.text and (p < 0 or p != 1) else shown.text
                power = abs(p)
                name = name if power == 1 else f"{name}^{power}"
                text += (("/" if text else "1/") if p < 0 else ("*" if text else "")) + name
                unit = UnitValue(unit.si * shown.unit.si ** float(p), unit.dimension * d**p)
            else:
                if best is None or len(text) < len(best.text):
                    best = Shown(text, unit)
        return best or Shown(str(dimension), UnitValue(self._internal_si(dimension), dimension))

    def shown_per_internal(self, dimension: Dimension) -> float:
        """Multiply a computed number by this to get the number to show."""
        if self.reduced or dimension.is_one:
            return 1.0
        factor = self._internal_si(dimension) / self.display(dimension).unit.si
        # A system's own length, mass and energy must come out untouched, not to the last bit or so.
        return 1.0 if abs(factor - 1.0) < 1e-14 else factor


_BASE_DIMENSIONS = tuple(base(name) for name in BASES)
