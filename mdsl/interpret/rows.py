"""Where an expression is evaluated: rows, and the names they give a meaning to.

A sum over pairs evaluates its body once, in as many rows as there are pairs: in row n the index i is the first
atom of pair n and j the second. Sums inside sums have more rows, each owned by a row outside; the branches of a
choice have fewer: only those rows where it goes their way, so nothing is computed where it has no meaning.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from mdsl.model.domains import Centred, Domain, Each, Members, Pairs, Triples
from mdsl.model.nodes import Expr

from . import values as algebra
from .values import Value


class Rows:
    """``size`` rows. A name is bound to an index array (atoms, or whole numbers), a value, or a function."""

    def __init__(
        self,
        size: int,
        names: Mapping[str, object] | tuple[()] = (),
        outer: Rows | None = None,
        index: np.ndarray | None = None,
    ):
        self.size = size
        self._names = dict(names)
        self._outer = outer  # looked up for what is not bound here
        self._index = index  # the row of ``outer`` that owns each row; None: the same row
        self._known: dict[int, tuple[Expr, object]] = {}
        self._selected = False

    def select(self, index: np.ndarray) -> Rows:
        """Some of the rows, with the same names."""
        rows = Rows(len(index), {}, self, index)
        rows._selected = True
        return rows

    def expand(self, owner: np.ndarray, names: Mapping[str, object]) -> Rows:
        """Rows owned by these, where more names have a meaning."""
        return Rows(len(owner), names, self, owner)

    def bind(self, names: Mapping[str, object]) -> Rows:
        """The same rows, where more names have a meaning."""
        return Rows(self.size, names, self)

    def find(self, name: str) -> object | None:
        """What a name is bound to in these rows; None if to nothing."""
        if name not in self._names and self._outer is not None:
            found = self._outer.find(name)
            self._names[name] = found if found is None or self._index is None else take(found, self._index)
        return self._names.get(name)

    # Expressions are shared; what is known about one is kept, and holds in any selection of the rows.

    def recall(self, expr: Expr) -> object | None:
        if id(expr) in self._known:
            return self._known[id(expr)][1]
        if self._selected:
            found = self._outer.recall(expr)
            if found is not None:
                return self.keep(expr, take(found, self._index))
        return None

    def keep(self, expr: Expr, value: object) -> object:
        self._known[id(expr)] = (expr, value)
        return value


@dataclass(eq=False)
class Cells:
    """A state: its entries from ``first`` on; one without a range has ``first`` None."""

    first: int | None
    values: list


@dataclass(frozen=True, eq=False)
class Whole:
    """What a name of a flow stands for in all its entries, whichever row reads it: a value for each atom, or Cells."""

    value: object


def entries(name: str) -> str:
    """How rows call what is read of a name with an index."""
    return f"{name}[]"


@dataclass(frozen=True, eq=False)
class Closure:
    """A function, and the rows in which its body has a meaning. ``derived``: how often it is differentiated."""

    parameters: tuple[str, ...]
    body: Expr
    rows: Rows
    derived: int = 0


def take(value: object, index: np.ndarray) -> Value | Closure | str:
    """Anything that a name or an expression can stand for, in rows ``index``."""
    match value:
        case Closure():
            return Closure(value.parameters, value.body, value.rows.select(index), value.derived)
        case str() | Whole():
            return value
    return algebra.take(value, index)


# -- domains -------------------------------------------------------------------------------------------


def expand(domain: Domain, rows: Rows, atoms: int, topologies: Mapping[str, np.ndarray]) -> tuple[np.ndarray, Rows]:
    """The rows of a sum's body, and the row outside that owns each; ascending."""
    count = rows.size
    if isinstance(domain, Centred):
        tuples, centre = _around(domain, atoms, topologies), np.broadcast_to(rows.find(domain.centre), (count,))
        first, last = (np.searchsorted(tuples[:, 0], centre, side) for side in ("left", "right"))
        owner = np.repeat(np.arange(count), last - first)
        tuples = tuples[np.arange(len(owner)) - (np.cumsum(last - first) - last)[owner], 1:]
    else:
        members = _members(domain, atoms, topologies)
        owner = np.repeat(np.arange(count), len(members))
        tuples = np.tile(members, (count, 1))
    return owner, rows.expand(owner, dict(zip(domain.binders, tuples.T)))


def _around(domain: Centred, atoms: int, topologies: Mapping[str, np.ndarray]) -> np.ndarray:
    """All tuples of atoms in a domain around a centre, wherever that is: [n, 1 + len(binders)], ascending."""
    tuples = _members(domain.everywhere, atoms, topologies)
    if domain.mirrored:
        tuples = np.concatenate([tuples, tuples[:, ::-1]])
    return tuples[np.lexsort(tuples.T[::-1])]


def _members(domain: Domain, atoms: int, topologies: Mapping[str, np.ndarray]) -> np.ndarray:
    """All tuples of atoms in a domain that needs no centre: [n, len(binders)].

    A topology excludes the two ends of each of its members: bonds 1-2, angles 1-3, dihedrals 1-4.
    """
    if isinstance(domain, Members):
        return np.asarray(topologies[domain.topology], int).reshape(-1, len(domain.binders))
    every = np.indices((atoms,) * len(domain.binders)).reshape(len(domain.binders), -1)
    match domain:
        case Each():
            keep = np.ones(atoms, bool)
        case Pairs():
            i, j = every
            keep = i < j
            for name in domain.excluded:
                ends = np.sort(np.asarray(topologies[name], int)[:, [0, -1]], axis=1)
                keep &= ~np.isin(i * atoms + j, ends[:, 0] * atoms + ends[:, 1])
        case Triples():
            i, j, k = every
            keep = (j < k) & (i != j) & (i != k)
        case _:
            raise TypeError(f"unknown domain `{domain}`")
    return every[:, keep].T
