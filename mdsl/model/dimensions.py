"""Physical dimensions: products of powers of length, mass, time, temperature and charge."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

BASES = ("length", "mass", "time", "temperature", "charge")


@dataclass(frozen=True)
class Dimension:
    """Exponents of the base dimensions, in the order of ``BASES``."""

    powers: tuple[Fraction, ...] = (Fraction(0),) * len(BASES)

    @property
    def is_one(self) -> bool:
        return not any(self.powers)

    def __mul__(self, other: Dimension) -> Dimension:
        return Dimension(tuple(a + b for a, b in zip(self.powers, other.powers)))

    def __truediv__(self, other: Dimension) -> Dimension:
        return Dimension(tuple(a - b for a, b in zip(self.powers, other.powers)))

    def __pow__(self, exponent: Fraction | int) -> Dimension:
        return Dimension(tuple(a * Fraction(exponent) for a in self.powers))

    def __str__(self) -> str:
        """The dimension in words: a known name, or a product of powers."""
        for name, dimension in NAMED.items():
            if dimension == self:
                return name
        parts = [b if p == 1 else f"{b}^{p}" for b, p in zip(BASES, self.powers) if p]
        return "·".join(parts) or "a pure number"


def base(name: str) -> Dimension:
    return Dimension(tuple(Fraction(b == name) for b in BASES))


ONE = Dimension()
LENGTH, MASS, TIME, TEMPERATURE, CHARGE = (base(b) for b in BASES)
VELOCITY = LENGTH / TIME
ENERGY = MASS * VELOCITY**2
FORCE = ENERGY / LENGTH
# The names by which messages call a dimension; pressure in two dimensions is energy per area.
NAMED = {
    "a pure number": ONE,
    "length": LENGTH,
    "mass": MASS,
    "time": TIME,
    "temperature": TEMPERATURE,
    "charge": CHARGE,
    "velocity": VELOCITY,
    "energy": ENERGY,
    "force": FORCE,
    "pressure": ENERGY / LENGTH**3,
    "volume": LENGTH**3,
    "area": LENGTH**2,
    "rate": ONE / TIME,
    "number density": ONE / LENGTH**3,
    "momentum": MASS * VELOCITY,
    "acceleration": LENGTH / TIME**2,
    "entropy": ENERGY / TEMPERATURE,
}
