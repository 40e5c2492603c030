"""What sums over each kind of domain add up to: a file for each, with the same functions, and the list of them.

All else loops over `DOMAINS` and never asks which they are. A new domain is one more of what a file here is over, or a
file of its own that has what `Sums` says.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np

from mdsl.lowering.field.field import Measure, PerAtom, Term
from mdsl.model.domains import Domain
from mdsl.model.nodes import Read
from mdsl.start.initial import Initial

from . import each, members, pairs, triples, whole
from .configuration import Configuration
from .totals import Measures, Outputs, Quantities, Terms, Totals

if TYPE_CHECKING:
    from mdsl.lowering.arrays import Numbers, Scalar, Value, Values


class Sums(Protocol):
    """What there is of sums over one kind of domain.

    ``OVER``: the kinds of domain, and None of values without one. ``BY_ROWS``: each device computes those of its own
    rows; else every device computes all of them.
    """

    OVER: tuple[type[Domain] | None, ...]
    BY_ROWS: bool

    def values(self, now: Configuration, wanted: Quantities) -> Values:
        """Per-atom values by name, [n] or [C, n], in an order that lets each read those before it."""

    def totals(self, now: Configuration, outputs: Outputs, terms: Terms, measures: Measures, found: Totals) -> Totals:
        """``found`` with the outputs of terms and the sums of measures."""

    def partials(self, now: Configuration, terms: Terms) -> Iterator[tuple[Term, Read, Numbers]]:
        """The derivatives of terms by the per-atom values that they read, for each row."""

    def weighted(self, now: Configuration, term: Term) -> Scalar:
        """The sum of ``term.weighted`` over the rows here, in loops that reverse mode can go through."""

    # Of those that are `binned`: [K] for each component of the summand, each value added to the entry of its bin.
    histogram: Callable[[Configuration, Measure], Value] | None
    # Of those that can be told of: the atoms, as index arrays, among which the strongest interaction is.
    suspects: Callable[[Domain, Initial, np.ndarray], tuple[np.ndarray, ...]] | None


DOMAINS: tuple[Sums, ...] = (pairs, triples, members, each, whole)
OVER: Mapping[type[Domain] | None, Sums] = {kind: sums for sums in DOMAINS for kind in sums.OVER}


def over(part: Term | Measure | PerAtom) -> Sums:
    """What there is of the domain of a sum."""
    return OVER[None if part.domain is None else type(part.domain)]


def parted(*groups: Sequence) -> Iterator[tuple]:
    """Each domain that some sums are over, and its own of each group."""
    for domain in DOMAINS:
        own = [tuple(s for s in group if over(s) is domain) for group in groups]
        if any(own):
            yield domain, *own
