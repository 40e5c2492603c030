"""Sums over topologies, for engines that are told lists of tuples of a few kinds each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import sympy

from mdsl.model.domains import Members

from .pairs import exact
from .subject import Law, Scale, Subject


@dataclass(frozen=True, eq=False)
class Kind:
    """Tuples of one topology with the same numbers: ``expr`` in the engine's units, over symbols of the geometry of the
    law; ``members`` [M, k]."""

    law: Law
    expr: sympy.Expr
    members: np.ndarray

    @property
    def width(self) -> int:
        return self.members.shape[1]


def kinds(subject: Subject, law: Law, scale: Scale) -> list[Kind]:
    """The tuples of a law, by the numbers that it reads of their atoms."""
    domain = law.domain
    assert isinstance(domain, Members)
    members = np.asarray(subject.initial.topologies[domain.topology], int).reshape(-1, len(law.binders))
    if not len(members):
        return []
    symbols = list(law.reads)
    columns = [subject.numbers(law.reads[s], law.binders, members) for s in symbols]
    expr = scale.law(law)
    if not columns:
        return [Kind(law, expr, members)]
    rows, inverse = np.unique(np.stack(columns, axis=1), axis=0, return_inverse=True)
    inverse = inverse.reshape(-1)
    return [
        Kind(law, expr.xreplace(dict(zip(symbols, map(exact, map(float, row))))), members[inverse == k])
        for k, row in enumerate(rows)
    ]
