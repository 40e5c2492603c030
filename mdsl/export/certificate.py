"""The proof of an export: what the engine says of random states, beside what the program means.

The states are those of the start and the start with every atom moved at random. Of few atoms the interpreter says what
is right, of many the program itself in double precision.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace

import numpy as np

from mdsl.interpret import meaning as interpret
from mdsl.interpret.meaning import System
from mdsl.model.domains import Around, Triples
from mdsl.model.nodes import Expr, Reduce, walk

from .subject import Subject

NAME, TEXT = "certificate.json", "certificate.txt"
TOLERANCE = 1e-9
STATES = 3
MOVED = 0.02  # of the mean distance of neighbours
COLUMNS = ("energy", "forces", "virial", "strained")
INTERPRETED, WITH_TRIPLES = 150, 30  # so many atoms at most are interpreted


@dataclass(frozen=True, eq=False)
class State:
    """Energy, forces [N, d] and virial [d, d] or None, in internal units."""

    energy: float
    forces: np.ndarray
    virial: np.ndarray | None = None


Evaluate = Callable[[np.ndarray, np.ndarray], State]  # of positions [N, d] in a box [d, d]


@dataclass(frozen=True)
class Differences:
    """Of one state, in parts of the largest that there are; ``virial`` and ``strained`` where they were compared:
    ``strained`` is that of the energies of boxes stretched along each axis."""

    seed: int | None
    energy: float
    forces: float
    virial: float | None = None
    strained: float | None = None

    @property
    def worst(self) -> float:
        return max(d for d in (self.energy, self.forces, self.virial, self.strained) if d is not None)


@dataclass(frozen=True)
class Certificate:
    """``checked``: whether the engine was here; ``by``: what said what is right."""

    engine: str
    version: str
    checked: bool
    by: str = ""
    why_not: str = ""
    tolerance: float = TOLERANCE
    states: tuple[Differences, ...] = ()

    @property
    def worst(self) -> float:
        return max((s.worst for s in self.states), default=float("nan"))

    @property
    def holds(self) -> bool:
        return self.checked and all(s.worst <= self.tolerance for s in self.states)

    def text(self, more: dict[str, object]) -> str:
        content = {**asdict(self), "holds": self.holds, "worst": self.worst if self.states else None, **more}
        return json.dumps(content, indent=2, ensure_ascii=False) + "\n"

    def lines(self) -> list[str]:
        """For the terminal."""
        if not self.checked:
            return [f"no certificate: {self.why_not}"]
        columns = [n for n in COLUMNS if any(getattr(s, n) is not None for s in self.states)]
        rows = [f"{self.engine} {self.version} beside {self.by}, differences in parts of the largest:"]
        rows.append("  state     " + "".join(f"{name:>10}" for name in columns))
        for s in self.states:
            name = "start" if s.seed is None else f"seed {s.seed}"
            numbers = (getattr(s, n) for n in columns)
            rows.append(f"  {name:<10}" + "".join(" " * 10 if d is None else f"{d:10.1e}" for d in numbers))
        rows.append(f"certified to {self.tolerance:g}" if self.holds else f"NOT the same to {self.tolerance:g}")
        return rows


def missing(engine: str, why: str) -> Certificate:
    return Certificate(engine, "", False, why_not=why)


def compared(
    subject: Subject,
    engine: str,
    version: str,
    evaluate: Evaluate,
    *,
    strained: bool = False,
    count: int = STATES,
    seed: int = 0,
) -> Certificate:
    """The engine beside the program. ``strained``: energies of stretched boxes stand for the virial."""
    by, right = reference(subject)
    states = []
    for number, x in moved(subject, count, seed):
        ours, theirs = right(x, subject.initial.cell), evaluate(x, subject.initial.cell)
        found = difference(subject, ours, theirs, number)
        if strained and number is not None:
            found = replace(found, strained=_stretched(subject, x, right, evaluate, ours))
        states.append(found)
    return Certificate(engine, version, True, by, states=tuple(states))


def spacing(subject: Subject) -> float:
    """How far apart neighbours are, roughly."""
    initial = subject.initial
    extent = np.where(initial.periodic, initial.lengths, np.ptp(initial.x, axis=0))
    extent = np.where(extent > 0, extent, 1.0)
    return float(np.prod(extent) / initial.atoms) ** (1 / initial.x.shape[1])


def moved(subject: Subject, count: int, seed: int) -> list[tuple[int | None, np.ndarray]]:
    """The start, and states near it by their seeds."""
    x, size = subject.initial.x, MOVED * spacing(subject)
    found: list[tuple[int | None, np.ndarray]] = [(None, x)]
    for k in range(seed, seed + count):
        found.append((k, x + size * np.random.default_rng(k).uniform(-1, 1, x.shape)))
    return found


def difference(subject: Subject, ours: State, theirs: State, seed: int | None) -> Differences:
    force = float(np.abs(ours.forces).max(initial=0.0))
    work = force * spacing(subject)
    energy = max(abs(ours.energy), work, 1e-300)
    virial = None
    if theirs.virial is not None and ours.virial is not None:
        virial = float(np.abs(theirs.virial - ours.virial).max()) / max(float(np.abs(ours.virial).max()), work, 1e-300)
    # At the start of a crystal all forces cancel: the energy of a bond says what rounding is.
    floor = max(force, abs(ours.energy) / subject.initial.atoms / spacing(subject), 1e-300)
    return Differences(
        seed,
        abs(theirs.energy - ours.energy) / energy,
        float(np.abs(theirs.forces - ours.forces).max()) / floor,
        virial,
    )


def _stretched(subject: Subject, x: np.ndarray, right: Evaluate, evaluate: Evaluate, ours: State) -> float:
    """The largest difference of energies of the box made 1% longer along each periodic axis."""
    worst, initial = 0.0, subject.initial
    for k, repeats in enumerate(initial.periodic):
        if repeats:
            strain = np.eye(len(initial.cell))
            strain[k, k] = 1.01
            a, b = (f(x @ strain, initial.cell @ strain).energy for f in (right, evaluate))
            worst = max(worst, abs(a - b) / max(abs(a), abs(ours.energy), 1e-300))
    return worst


# -- what is right ---------------------------------------------------------------------------------------


def reference(subject: Subject) -> tuple[str, Evaluate]:
    """Who says what is right, and what he says."""
    triples = any(isinstance(r.domain, Triples | Around) for e in subject.model.equations for r in _sums(e.body))
    if subject.initial.atoms <= (WITH_TRIPLES if triples else INTERPRETED):
        return "the interpreter", _interpreted(subject)
    return "the program in double precision", _compiled(subject)


def _sums(body: Expr) -> list[Reduce]:
    return [n for n in walk(body) if isinstance(n, Reduce)]


def _interpreted(subject: Subject) -> Evaluate:
    initial, model = subject.initial, subject.meant or subject.model

    def evaluate(x: np.ndarray, cell: np.ndarray) -> State:
        system = System(
            x,
            periodic=initial.periodic,
            species=initial.species,
            masses=initial.masses,
            params={**subject.params, **initial.data},
            topologies=initial.topologies,
            degrees_of_freedom=initial.dof,
            cell=cell,
        )
        return State(
            float(interpret.energy(model, system)),
            interpret.forces(model, system),
            np.asarray(interpret.virial(model, system)),
        )

    return evaluate


def _compiled(subject: Subject) -> Evaluate:
    import jax

    from mdsl.lowering.geometry.cell import of_matrix
    from mdsl.lowering.run.growing_energies import energies

    if not jax.config.jax_enable_x64:
        raise subject.refuse(
            "the certificate of so many atoms is computed in double precision, which JAX has switched off",
            help='jax.config.update("jax_enable_x64", True), or `certify=False`',
            id="precision",
        )
    params = {**subject.params, **subject.initial.data}
    growing = energies(subject.field, subject.initial, "double", params)

    def evaluate(x: np.ndarray, cell: np.ndarray) -> State:
        box = of_matrix(cell, subject.initial.tilted)
        energy, forces, virial = (
            np.asarray(growing.call(name, params, jax.numpy.asarray(x), box)) for name in ("energy", "forces", "virial")
        )
        return State(float(energy), forces, virial)

    return evaluate
