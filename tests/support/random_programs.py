"""Random valid programs, grown from the grammar's own nodes, with a small system of atoms for each.

`grown(seed)` is always the same program. Formulas are tame: whatever is divided by, rooted or raised to a power is kept
away from 0, so that numbers stay of the size of 1 and a relative difference means something. Thresholds (of `if`,
`min`, `max`, `round`, |a|, cutoffs) are made of random numbers with four digits, which positions meet with probability
0, and `random_atoms.near_a_threshold` finds the systems that lie so close to one that rounding might decide.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from random_atoms import EDGES, atoms
from random_formulas import Formulas, Place

from mdsl.interpret.meaning import System

TABLE = "u.txt"  # a file that programs read
STEP = 0.002  # of the dynamics
LABELS = ("Sa", "Sb", "Sc")


@dataclass(frozen=True)
class Grown:
    """A program, where its atoms are, and the data that come with them."""

    seed: int
    text: str
    system: System
    box: np.ndarray | None  # as `bind` takes it; None where the program declares it
    data: dict[str, np.ndarray]
    observed: tuple[str, ...]


def grown(seed: int) -> Grown:
    return Grower(seed).program()


def table() -> str:
    """The text of the file `TABLE`: a smooth function on [0.05, 2.1]."""
    s = np.linspace(0.05, 2.1, 42)
    return "".join(f"{a:.4f} {b:.17g}\n" for a, b in zip(s, np.exp(-s) * (2.1 - s) ** 3))


class Grower(Formulas):
    def __init__(self, seed: int):
        super().__init__(seed)
        self.seed = seed
        self.lines: list[str] = []
        self.dim = 2 if self.often(0.25) else 3
        self.species = self.often(0.7)
        self.data: list[str] = []
        self.quantities: list[str] = []
        self.ranged: list[str] = []
        self.sums: list[str] = []  # observables that are functions of positions alone
        self.observed: list[str] = []
        self.tables = self.often(0.3)
        self.topologies = self.often(0.4)

    # -- declarations ------------------------------------------------------------------------------------

    def declare(self) -> None:
        for _ in range(self.rng.integers(1, 4)):
            self.params.append(self.name("p"))
            self.lines.append(f"param {self.params[-1]} = {self.number(0.6, 1.6)}")
        if self.often(0.3):
            name = self.name("p")
            self.lines.append(f"param {name} = 0.5*{self.params[0]}^2 + 0.1")
            self.params.append(name)
        if self.often(0.4):
            self.consts.append(self.name("c"))
            self.lines.append(f"const {self.consts[-1]} = {self.number()}")
        if self.often(0.4):
            self.arrays.append(self.name("w"))
            self.lines.append(
                f"{self.one(('const', 'param'))} {self.arrays[-1]}[k in 1..4] = {self.number(0.2, 0.5)}*k"
            )
        if self.species:
            self.by_species.append(self.name("s"))
            entries = ", ".join(f"{a}: {self.number()}" for a in LABELS)
            self.lines.append(f"param {self.by_species[-1]}[species] = {{ {entries} }}")
            self.by_pair.append(self.name("t"))
            pairs = [(a, b) for n, a in enumerate(LABELS) for b in LABELS[n:]]
            entries = ", ".join(f"{a}-{b}: {self.number(0.8, 1.6)}" for a, b in pairs)
            self.lines.append(f"param {self.by_pair[-1]}[species, species] = {{ {entries} }}")
        if self.often(0.5):
            self.data.append(self.name("z"))
            self.lines.append(f"data {self.data[-1]}[atoms]")
        if self.tables:
            self.lines.append(f'table u = tabulated("{TABLE}")')
        if self.topologies:
            self.lines.append("topology bonds(i, j), angles(i, j, k), dihedrals(i, j, k, l)")
        for _ in range(self.rng.integers(1, 3)):
            name = self.name("f")
            self.lines.append(f"def {name}(s) = {self.formula(Place(['s']), 2)}")
            self.functions.append(name)
        if self.often(0.6):
            name = self.name("f")
            self.lines.append(f"def {name}(a)(s) = {self.formula(Place(['a', 's']), 2)}")
            self.curried.append(name)
        if self.often(0.5):
            name, c = self.name("g"), self.number(0.6, 1.6)
            body = self.one(
                (f"s^2*exp(-{c}*s)", f"2*exp(-{c}*s)", f"s*exp(-{c}*s^2)", f"s^2*exp(-{c}*s) + 0.3*exp(-0.5*s)")
            )
            self.lines.append(f"def {name}(s) = {body}")
            self.integrable.append(name)

    # -- places ------------------------------------------------------------------------------------------

    def own(self, i: str) -> list[str]:
        """What can be read of one atom."""
        found = [f"{s}[{i}]" for s in (*self.by_species, *self.data, *self.quantities)]
        found += [f"{q}[{i}, {self.one((1, 2, 3))}]" for q in self.ranged]
        return [*found, f"m[{i}]"]

    def alike(self, i: str, j: str) -> list[str]:
        """What can be read of two atoms, and is the same when they change places."""
        both = [
            self.one(
                (f"({a}*{b})", f"({a} + {b})", f"|{a} - {b}|", f"max({a}, {b})", f"({a}*{b}/(0.5 + {a}^2 + {b}^2))")
            )
            for a, b in ((t.replace("[§", f"[{i}"), t.replace("[§", f"[{j}")) for t in self.own("§"))
        ]
        return both + [f"{t}[{i}, {j}]" for t in self.by_pair]

    def kinds(self, i: str, j: str | None = None) -> list[str]:
        if not self.species:
            return []
        return (
            [f"species[{i}] == {self.one(LABELS)}"]
            if j is None
            else [f"species[{i}] == species[{j}]", f"species[{i}] != species[{j}]"]
        )

    def single(self) -> Place:
        along = ", ".join(["0.4", self.params[0], self.number()][: self.dim])
        where = [f"(({along})·d)", "x[i].x", "(x[i] - origin).y", "|x[i] - origin|", "(d·d)"]
        return Place(self.own("i") + where, self.kinds("i"))

    def pair(self) -> Place:
        return Place(["r", "r", "(r^2)", "(d.x^2)", "(d.x*d.y)", *self.alike("i", "j")], self.kinds("i", "j"))

    def neighbour(self) -> Place:
        return Place(["r", "r", "d.x", "(d·d)", *self.own("i"), *self.own("j")], self.kinds("j"))

    def triple(self) -> Place:
        return Place(
            [
                "w",
                "(w/(p*q))",
                "(p*q)",
                "(p + q)",
                "cos(angle(x[j], x[i], x[k]))",
                "|x[j] - x[k]|",
                *self.own("i"),
                *self.alike("j", "k"),
            ],
            self.kinds("i"),
        )

    def cut(self, r: str, pairwise: bool = False) -> str:
        """A factor that is 0 from some distance on."""
        ends = [self.number(1.3, 2.0), f"1.2*{self.params[0]}"]
        ends += [f"1.2*{t}[i, j]" for t in self.by_pair] if pairwise else []
        rc, power = self.one(ends), self.one((2, 3, 4))
        kinds = [
            f"(if {r} < {rc} then (1 - {r}/({rc}))^{power} else 0)",
            f"(if {r} >= {rc} then 0 else (1 - {r}/({rc}))^{power})",
            f"max(0, {rc} - {r})^{power}",
            f"(if {r}^2 < ({rc})^2 then (({rc})^2 - {r}^2)^{power} else 0)",
            f"{self.one(('truncated', 'shifted', 'force_shifted'))}({self.function()}, {rc})({r})",
            f"{self.one(('switched', 'force_switched', 'force_smoothed'))}({self.function()}, 0.7*{rc}, {rc})({r})",
        ]
        return self.one([*kinds, f"u({r})"] if self.tables else kinds)

    # -- equations ---------------------------------------------------------------------------------------

    def pair_sum(self) -> tuple[str, str]:
        """A sum over pairs, and the `where` that it needs."""
        place = self.pair()
        end = self.cut("r", pairwise=True) if self.often(0.8) else "exp(-r^2)"
        left_out = ", (i, j) not in bonds" if self.topologies and self.often(0.3) else ""
        body = [end, self.formula(place, self.rng.integers(1, 4))]
        if self.often(0.3):
            body.append(f"(if {self.condition(place, 1)} then {self.formula(place, 1)} else {self.number()})")
        self.rng.shuffle(body)
        return f"sum(i < j{left_out}) {'*'.join(body)}", "d = x[i] - x[j], r = |d|"

    def single_sum(self) -> tuple[str, str]:
        inner = self.formula(self.single(), self.rng.integers(1, 4))
        if self.dim == 3 and self.often(0.3):
            a, b, c = (self.formula(self.single(), 1) for _ in range(3))
            inner = self.one((f"|({a}, {b}, 1.3 + {c}^2)|", f"({a}, {b}, {c})·d", f"({a}, {b}, {c})·({b}, 1, {a})"))
        if self.often(0.3):
            inner += f"*sqrt(0.3 + sum(j != i) {self.cut('|x[i] - x[j]|')})"
        return f"sum(i) {inner}", "d = x[i] - origin"

    def triple_sum(self) -> tuple[str, str]:
        c = self.number(1.3, 2.0)
        legs = self.one(
            (f"max(0, {c} - p)^3*max(0, {c} - q)^3", f"(if p < {c} and q < {c} then (({c} - p)*({c} - q))^3 else 0)")
        )
        return (
            f"sum(i; j < k) {legs}*{self.formula(self.triple(), self.rng.integers(1, 3))}",
            "d = x[j] - x[i], b = x[k] - x[i], p = |d|, q = |b|, w = d·b",
        )

    def member_sum(self) -> tuple[str, str]:
        kind = self.one(("bonds", "angles", "dihedrals") if self.dim == 3 else ("bonds", "angles"))
        atoms = {"bonds": "ij", "angles": "ijk", "dihedrals": "ijkl"}[kind]
        numbers = [f"|x[{a}] - x[{b}]|" for a, b in zip(atoms, atoms[1:])] + [t for a in atoms[:2] for t in self.own(a)]
        numbers += {
            "bonds": ["(x[i] - x[j]).x"],
            "angles": ["angle(x[i], x[j], x[k])", "cos(angle(x[i], x[j], x[k]))", "((x[i] - x[j])·(x[k] - x[j]))"],
            "dihedrals": ["cos(dihedral(x[i], x[j], x[k], x[l]))", "sin(dihedral(x[i], x[j], x[k], x[l]))"],
        }[kind]
        return (
            f"sum(({', '.join(atoms)}) in {kind}) "
            f"{self.formula(Place(numbers, self.kinds('i')), self.rng.integers(1, 4))}",
            "",
        )

    def total(self) -> tuple[str, str]:
        kinds = [self.pair_sum, self.pair_sum, self.single_sum, self.triple_sum]
        return self.one([*kinds, self.member_sum] if self.topologies else kinds)()

    def collective(self) -> str:
        """A function of sums, some of which only a branch reads."""
        place = Place([*self.sums, *(f"tanh(0.1*{s})" for s in self.sums)])
        a, b = self.one(self.sums), self.one(self.sums)
        return self.one(
            [
                f"{self.number()}*(tanh(0.1*{a}) - {self.number()})^2",
                f"(if {a} < {self.number()} then tanh({b})^2 else {self.number()})",
                f"(if {self.condition(place, 1)} then sin({a}) else tanh({b}))",
                f"min(tanh({a}), tanh({b}))",
                f"tanh({self.formula(place, 2)})",
                f"0*{a}",
                f"({a} - {a})",
            ]
        )

    def quantity(self) -> None:
        name = self.name("n")
        kind = self.rng.random()
        if kind < 0.5:
            others = "j in bonds[i]" if self.topologies and self.seed % 3 == 0 else "j != i"
            body = f"sum({others}) {self.cut('r')}*{self.formula(self.neighbour(), self.rng.integers(0, 3))}"
            body = body if self.often(0.5) else f"tanh({self.formula(Place(self.own('i')), 1)}) + ({body})"
            self.lines.append(f"quantity {name}[i] = {body} where d = x[i] - x[j], r = |d|")
        elif kind < 0.7:
            c = self.number(1.3, 2.0)
            body = f"sum(i; j < k) max(0, {c} - p)^3*max(0, {c} - q)^3*{self.formula(self.triple(), 1)}"
            self.lines.append(
                f"quantity {name}[i] = {body} where d = x[j] - x[i], b = x[k] - x[i], p = |d|, q = |b|, w = d·b"
            )
        elif kind < 0.85 or not self.quantities:
            body = f"sum(j != i) {self.cut('r')}*exp(-{self.number(0.1, 0.4)}*k*r)*{self.formula(self.neighbour(), 1)}"
            self.lines.append(f"quantity {name}[i, k in 1..3] = {body} where d = x[i] - x[j], r = |d|")
            self.ranged.append(name)
            return
        else:
            self.lines.append(f"quantity {name}[i] = {self.formula(Place(self.own('i'), self.kinds('i')), 2)}")
        self.quantities.append(name)

    def equation(self, kind: str, name: str, body: str, where: str) -> None:
        used = [w for w in where.split(", ") if w]
        self.lines.append(f"{kind} {name} = {body}" + (f" where {', '.join(used)}" if used else ""))

    def observe(self) -> None:
        name = self.name("S")
        self.equation("observe", name, *self.total())
        self.sums.append(name)
        self.observed.append(name)

    def energy(self) -> None:
        name = self.name("U")
        self.observed.append(name)
        if self.sums and self.often(0.4):
            self.lines.append(f"energy {name} = {self.collective()}")
        elif self.sums and self.often(0.3):
            place = self.single()
            place.numbers += [f"tanh(0.2*{s})" for s in self.sums] * 2
            self.lines.append(f"energy {name} = sum(i) {self.formula(place, 2)} where d = x[i] - origin")
        else:
            body, where = self.total()
            factor = self.one(("", "", "-", f"{self.one(self.params)}*", f"{self.formula(Place([]), 2)}*"))
            self.equation("energy", name, factor + body, where)

    def more_observed(self) -> None:
        for _ in range(self.rng.integers(0, 3)):
            name = self.name("O")
            body, where = self.one(
                [
                    lambda: (
                        f"{self.one(('largest', 'smallest'))}(i) {self.formula(self.single(), 2)}",
                        "d = x[i] - origin",
                    ),
                    lambda: ("sum(i) m[i]*v[i]", ""),
                    lambda: (
                        self.formula(
                            Place(["kinetic", "potential", "temperature", "N", "trace(virial)", *self.sums]), 2
                        ),
                        "",
                    ),
                    lambda: ("virial/2 + identity*kinetic", ""),
                    lambda: ("sum(i) outer(v[i], f[i])", ""),
                    lambda: (f"cell·(sum(i) v[i])*{self.formula(Place([]), 1)}", ""),
                    self.total,
                ]
            )()
            self.equation("observe", name, body, where)
            self.observed.append(name)
        if self.often(0.3):
            name = self.name("O")
            self.lines.append(
                f"observe {name}[k in 1..3] = sum(i < j) if floor(r/0.7) == k then 1 else 0 where r = |x[i] - x[j]|"
            )
            self.observed.append(name)

    def dynamics(self) -> None:
        place = Place(
            [
                "zeta",
                "tanh(0.1*kinetic)",
                "tanh(0.1*potential)",
                "tanh(temperature)",
                *(f"tanh(0.1*{s})" for s in self.sums),
            ]
        )
        self.lines += [
            f"flow kick(h, zeta) {{ zeta += h*{self.formula(place, 2)}  v += h*f/m - 0.1*h*tanh(zeta)*v }}",
            f"integrator mine(dt) {{ state zeta = {self.number()}  state past[k in 1..2] = 0.1*k",
            "  kick(dt/2, zeta)  A(dt)  past[2] = past[1] + zeta  past[1] = tanh(past[2])",
            "  v = (1 - 0.01*dt*past[1])*v  kick(dt/2, zeta) }",
            'run {\n  x = read("bound in Python")',
            f"  mine(dt = {STEP}) for 2 record {', '.join(self.observed)} every 1\n}}",
        ]

    def program(self) -> Grown:
        self.declare()
        for _ in range(self.rng.integers(0, 3)):
            self.quantity()
        for _ in range(self.rng.integers(0, 3)):
            self.observe()
        for _ in range(self.rng.integers(1, 4)):
            self.energy()
        self.more_observed()
        self.dynamics()
        head = ["use units.lj", "use pair", "use integrators (A)", *(["dim 2"] if self.dim == 2 else [])]
        head += [f"species {', '.join(LABELS)}"] if self.species else []
        shape = self.one(("edges", "edges", "edges", "skew", "free", "declared"))
        head += ["box free"] if shape == "free" else []
        head += [f"box periodic({', '.join(map(str, EDGES[: self.dim]))})"] if shape == "declared" else []
        system = atoms(self.rng, self.dim, shape, 3 * self.species, self.topologies, self.data)
        box = None if shape in ("free", "declared") else system.cell if shape == "skew" else np.diag(system.cell)
        data = {n: np.asarray(system.params[n]) for n in self.data}
        return Grown(self.seed, "\n".join(head + self.lines) + "\n", system, box, data, tuple(self.observed))
