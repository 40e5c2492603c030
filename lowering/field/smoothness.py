"""What happens at a cutoff: a jump of the energy or of the force is worth a warning."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mdsl.grammar.diagnostics import Diagnostic
from mdsl.interpret.species_pairs import pair_constant
from mdsl.model.dimensions import ONE
from mdsl.model.domains import Pairs
from mdsl.model.faults import fault
from mdsl.model.nodes import Read, Tabulated, walk
from mdsl.passes.exchange import sample_data
from mdsl.passes.finite import knows
from mdsl.passes.given import unknown_functions

from .field import CUTOFF, Field, PerAtom, Term
from .series import at_entry

BELOW = 1e-6  # of the cutoff
NEGLIGIBLE = 1e-9  # of the scale of the function, against rounding
# A table ends as well as its digits and its knots allow: what is smaller than this, of its values halfway, is no jump.
TABLE_JUMP, TABLE_KINK = 1e-5, 1e-3


@dataclass(frozen=True)
class Cutoff:
    """The end of a pair term, or of a sum over neighbours, at default parameters, for the species pair where it is
    farthest.

    ``cutoff`` is None where no support was proved; ``jump`` is the energy and ``kink`` the derivative just
    below the cutoff, both 0 where they are negligible.
    """

    term: Term | PerAtom
    cutoff: float | None
    jump: float
    kink: float
    sampled: bool = False  # at data that are only an example: the program's come with the atoms

    @property
    def words(self) -> str:
        if self.cutoff is None:
            return "reaches without end"
        if self.jump:
            return "the energy jumps at the cutoff"
        return "the force jumps at the cutoff" if self.kink else "energy and force are continuous at the cutoff"


def cutoffs(field: Field) -> tuple[Cutoff, ...]:
    """The end of every pair term, and of every sum over neighbours that energies are made of."""
    values = [v for v in field.values if v.pairs and v.adjoint is not None]
    sums: list[Term | PerAtom] = [*(t for t in field.terms if isinstance(t.domain, Pairs)), *values]
    return tuple(_cutoff(field, s) for s in sums)


def _cutoff(field: Field, term: Term | PerAtom) -> Cutoff:
    support = term.support
    if support.cutoff is None or support.jump is None or support.kink is None:
        return Cutoff(term, None, 0.0, 0.0)
    sampled = not all(knows(field.model, e) for e in (support.cutoff, support.jump, support.kink))
    data = sample_data(field.model, max(1, len(field.model.species)), 1.0, np.random.default_rng(7)) if sampled else {}
    ends = pair_constant(field.model, support.cutoff, term.binders, data=data)
    numbers = (
        at_entry(support.each, term.axis)
        if support.each is not None
        else [support.cutoff] * (1 if term.axis is None else term.axis.count)
    )
    own = [pair_constant(field.model, e, term.binders, data=data) for e in numbers]

    def largest(expr) -> float:
        if any(isinstance(n, Read) and n.indices and field.model.param(n.symbol) is None for n in walk(expr)):
            return 0.0  # another for each atom: nothing is said of it
        if any(isinstance(n, Read) and n.symbol in field.inner for n in walk(expr)):
            return 0.0
        if unknown_functions(expr):
            return 0.0
        with np.errstate(all="ignore"):
            at, below = (
                np.array(
                    [
                        pair_constant(field.model, e, term.binders, {CUTOFF: end * near}, data)
                        for e, end in zip(at_entry(expr, term.axis), own)
                    ]
                )
                for near in (1.0, 1 - BELOW)
            )
        # What has no value at the cutoff itself, such as exp(1/(r - rc)), has one just below.
        return float(max(np.where(np.isfinite(at), at, below).ravel(), key=abs))

    rc, jump, kink = float(ends.max()), largest(support.jump), largest(support.kink)
    scale = max(abs(jump), abs(kink) * rc)
    # The terms that cancel in a shifted function are of the size of the unshifted one; that is not known here,
    # so a residue is called negligible when it is small in absolute terms too.
    scale = max(scale, 1e-3)
    halfway = _halfway(term)
    jumps = abs(jump) > max(NEGLIGIBLE * scale, TABLE_JUMP * halfway)
    kinks = abs(kink) * rc > max(NEGLIGIBLE * scale, TABLE_KINK * halfway)
    return Cutoff(term, rc, jump if jumps else 0.0, kink if kinks else 0.0, sampled)


def _halfway(term: Term | PerAtom) -> float:
    """How large the functions of tables in a term are at half of their reach; 0 where there are none."""
    tables = {id(n.curves): n.curves for n in walk(term.summand) if isinstance(n, Tabulated)}
    middles = [(c, (c.first + c.end) / 2) for c in tables.values() if c.end is not None]
    return float(max((abs(c.value(range(len(c.values)), 0, x)).max() for c, x in middles), default=0.0))


def cutoff_warnings(field: Field) -> list[Diagnostic]:
    """A warning for each pair term whose energy or force jumps at its cutoff."""
    units = field.model.units
    equations = {e.name: e for e in field.model.equations}
    found: list[Diagnostic] = []
    for end in cutoffs(field):
        if end.cutoff is None or not (end.jump or end.kink):
            continue
        equation = equations[end.term.equation]
        what = "the energy" if isinstance(end.term, Term) else f"`{equation.name}`"
        if end.jump:
            dimension = equation.body.type.dimension or ONE
            shown = end.jump * units.shown_per_internal(dimension)
            value = f"{shown:.4g} {units.display(dimension).text}".strip()
            by = "" if end.sampled else f" by {value}"
            found.append(
                fault(
                    field.model.source,
                    "energy-jump",
                    f"{what} of a pair jumps{by} at the cutoff",
                    equation.body,
                    help="`shifted`, `force_shifted` or `switched` end it smoothly; `truncated` may be meant, as "
                    "in LAMMPS",
                )
            )
        else:
            what = "the force of a pair" if isinstance(end.term, Term) else f"the slope of `{equation.name}`"
            found.append(
                fault(
                    field.model.source,
                    "force-jump",
                    f"{what} jumps at the cutoff",
                    equation.body,
                    help="`force_shifted` or `switched` end it smoothly",
                )
            )
    return found
