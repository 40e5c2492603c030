"""Finding who is to blame: the pair or atom with the strongest interaction, in plain NumPy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from mdsl.dimensions import ENERGY, LENGTH
from mdsl.evaluate import Interpreter
from mdsl.faults import place
from mdsl.grammar.diagnostics import Diagnostic, Label
from mdsl.grammar.source import Span
from mdsl.initial import Initial
from mdsl.model import Model
from mdsl.rows import Rows
from mdsl.system import System

from .field import Field, Term



@dataclass(frozen=True)
class Culprit:
    """A term of the energy and the atoms for which it is largest. ``distance`` is None for a single atom."""

    model: Model
    term: Term
    atoms: tuple[int, ...]
    distance: float | None
    energy: float

    @property
    def finite(self) -> bool:
        return bool(np.isfinite(self.energy))

    def diagnostic(self, id: str, message: str, help: str | None = None, statement: Span | None = None) -> Diagnostic:
        units = self.model.units
        equation = self.model.equation(self.term.equation)
        length = f"{self.distance * units.shown_per_internal(LENGTH):.6g} {units.display(LENGTH).text}".strip() if self.distance is not None else ""
        energy = f"the energy {self.energy * units.shown_per_internal(ENERGY):.6g} {units.display(ENERGY).text}".strip() if self.finite else "no finite energy"
        who = " and ".join(str(a) for a in self.atoms)
        apart = f", {length} apart," if length else ""
        noun = "atoms" if len(self.atoms) > 1 else "atom"
        return Diagnostic(
            id,
            message,
            place(self.model.source, equation.body),
            f"{noun} {who}{apart} {'have' if len(self.atoms) > 1 else 'has'} {energy} here",
            secondary=(Label(statement, "during this statement"),) if statement is not None else (),
            notes=(f"`{equation.name}` is strongest for {noun} {who} (counted from 0){apart.rstrip(',')}",),
            help=help,
        )


def culprit(field: Field, initial: Initial, params: Mapping[str, object], x: np.ndarray, cutoff: float | None) -> Culprit | None:
    """The strongest interaction at positions ``x`` [N, d]; one that is not finite comes before all others."""
    model = field.model
    values = {name: np.asarray(v, float) for name, v in params.items()}
    system = System(x, initial.lengths, periodic=initial.periodic, species=initial.species, masses=initial.masses, params=values)
    interpreter = Interpreter(model, system)
    best: Culprit | None = None
    pairs = _close_pairs(x, initial, cutoff) if field.pair_terms else None
    for term in (*field.pair_terms, *field.atom_terms):
        atoms = pairs if term in field.pair_terms else (np.arange(len(x)),)
        if len(atoms[0]) == 0:
            continue
        rows = Rows(len(atoms[0]), dict(zip(term.domain.binders, atoms)))
        with np.errstate(all="ignore"):
            energies = np.broadcast_to(np.asarray(interpreter.value(term.summand, rows), float), (len(atoms[0]),))
        strength = np.where(np.isfinite(energies), np.abs(energies), np.inf)
        k = int(np.argmax(strength))
        if best is None or strength[k] > (abs(best.energy) if best.finite else np.inf):
            who = tuple(int(a[k]) for a in atoms)
            distance = None
            if len(who) == 2:
                apart = x[who[0]] - x[who[1]]
                apart -= np.where(initial.periodic, initial.lengths * np.round(apart / initial.lengths), 0.0)
                distance = float(np.linalg.norm(apart))
            best = Culprit(model, term, who, distance, float(energies[k]))
    return best


def _close_pairs(x: np.ndarray, initial: Initial, cutoff: float | None) -> tuple[np.ndarray, np.ndarray]:
    """Pairs among which the strongest interaction is: the nearest neighbour of each atom, and all pairs of few atoms."""
    from scipy.spatial import cKDTree

    if len(x) < 2:
        return np.empty(0, int), np.empty(0, int)
    if len(x) <= 200:
        return np.triu_indices(len(x), 1)
    edges = np.where(initial.periodic, initial.lengths, 0.0)
    wrapped = np.where(initial.periodic, x % initial.lengths, x)
    if not np.isfinite(wrapped).all():
        return np.empty(0, int), np.empty(0, int)
    tree = cKDTree(wrapped, boxsize=edges)
    _, nearest = tree.query(wrapped, k=2)
    first = np.arange(len(x))
    other = np.where(nearest[:, 0] == first, nearest[:, 1], nearest[:, 0])
    return np.minimum(first, other), np.maximum(first, other)
