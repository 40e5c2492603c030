"""Random formulas that are tame: numbers stay of the size of 1, whatever they are made of."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

ELEMENTARY = ("sin", "cos", "tanh", "atan", "erf", "erfc")


@dataclass
class Place:
    """What formulas can be made of at one place: texts that stand for numbers, and conditions."""

    numbers: list[str]
    conditions: list[str] = field(default_factory=list)


class Formulas:
    """Formulas of what is declared so far: the lists hold the names."""

    def __init__(self, seed: int):
        self.rng = np.random.default_rng(seed)
        self.count = 0
        self.params: list[str] = []
        self.consts: list[str] = []
        self.arrays: list[str] = []  # of the range 1..4
        self.by_species: list[str] = []
        self.by_pair: list[str] = []
        self.functions: list[str] = []  # of one number
        self.curried: list[str] = []  # of a parameter, then of a number
        self.integrable: list[str] = []

    # -- chances -----------------------------------------------------------------------------------------

    def often(self, chance: float) -> bool:
        return bool(self.rng.random() < chance)

    def one(self, items):
        return items[int(self.rng.integers(len(items)))]

    def number(self, low: float = 0.3, high: float = 1.9) -> str:
        return f"{self.rng.uniform(low, high):.4g}"

    def name(self, stem: str) -> str:
        self.count += 1
        return f"{stem}{self.count}"

    # -- formulas ----------------------------------------------------------------------------------------

    def leaf(self, place: Place) -> str:
        known = [*self.params, *self.consts, "dim", *(f"{a}[{self.one((1, 2, 4))}]" for a in self.arrays)]
        known += [f"{s}[Sb]" for s in self.by_species] + [f"{t}[Sa, Sb]" for t in self.by_pair]
        kind = self.rng.random()
        return (
            self.one(place.numbers)
            if kind < 0.6 and place.numbers
            else self.one(known)
            if kind < 0.85
            else self.number()
        )

    def positive(self, place: Place, depth: int) -> str:
        """A number of the size of 1 that is never near 0."""
        a = self.formula(place, depth - 1)
        return self.one(
            [
                f"({self.number()} + |{a}|)",
                f"(1.5 + sin({a}))",
                f"sqrt(0.5 + {a}^2)",
                f"exp(tanh({a}))",
                f"(1 + ({a})^2)",
            ]
        )

    def formula(self, place: Place, depth: int) -> str:
        """A number, in parentheses where it is not one word."""
        if depth <= 0:
            return self.leaf(place)
        a = lambda: self.formula(place, depth - 1)  # noqa: E731
        kinds = [
            lambda: f"({a()} + {a()})",
            lambda: f"({a()} - {a()})",
            lambda: f"({a()}*{a()})",
            lambda: f"(-{a()})",
            lambda: f"({a()}/{self.positive(place, depth)})",
            lambda: f"{self.one(ELEMENTARY)}({a()})",
            lambda: f"sinh(tanh({a()}))",
            lambda: f"log({self.positive(place, depth)})",
            lambda: f"asin(0.9*cos({a()}))",
            lambda: f"acos(0.9*sin({a()}))",
            lambda: f"atan2({a()}, {self.positive(place, depth)})",
            lambda: f"|{a()}|",
            lambda: f"abs({a()})",
            lambda: f"(|{a()}| - {a()})",
            lambda: f"(tanh({a()})^{self.one((2, 3))})",
            lambda: f"({self.positive(place, depth)}^{self.one(('-2', '0.5', '-0.5', '1.5', '0.7', f'tanh({a()})'))})",
            lambda: f"(sqrt({self.positive(place, depth)}) - {self.number()})",
            lambda: f"min({a()}, {a()})",
            lambda: f"max({a()}, {a()})",
            lambda: f"max(min(dim, {self.number()}), {a()})",
            lambda: f"(if {self.condition(place, depth - 1)} then {a()} else {a()})",
            lambda: f"(round(2*{a()})*{a()})",
            lambda: f"(floor(1.7*{a()}) + {a()})",
            lambda: f"(sum(h in 1..3) h*{a()})",
            lambda: f"({self.number()}*{self.function()}({self.positive(place, depth)}))",
            lambda: f"D({self.function()})({self.positive(place, depth)})",
            lambda: f"D(D({self.function()}))({self.positive(place, depth)})",
            lambda: self.area(place, depth),
        ]
        return self.one(kinds)()

    def condition(self, place: Place, depth: int) -> str:
        if depth > 0 and self.often(0.3):
            return f"({self.condition(place, depth - 1)} {self.one(('and', 'or'))} {self.condition(place, depth - 1)})"
        if self.often(0.15):
            return f"not ({self.condition(place, 0)})"
        if place.conditions and self.often(0.3):
            return self.one(place.conditions)
        return f"{self.formula(place, depth)} {self.one(('<', '<=', '>', '>=', '!='))} {self.formula(place, depth)}"

    def function(self) -> str:
        known = ["sin", "tanh", *self.functions, *(f"{f}({self.leaf(Place([]))})" for f in self.curried)]
        return self.one(known)

    def area(self, place: Place, depth: int) -> str:
        if not self.integrable:
            return self.number()
        low = f"|{self.formula(place, depth - 2)}|"
        high = self.one(("infinity", f"({low} + {self.number()})"))
        return f"integral({self.one(self.integrable)}, {low}, {high})"
