"""Topologies: the tuples of atoms that come with the atoms, and those that follow from others.

`of_type(bonds, 2)` are the tuples to which the atoms' file gives that type; `apart(bonds, n)` are the pairs whose
shortest way along the bonds has n of them, each pair once; `path(bonds)` all chains of different atoms in which
neighbours are bonded, each once, as long as the tuple is.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

import numpy as np

from mdsl.grammar.diagnostics import Diagnostic, Rejected, suggest
from mdsl.model.dependencies import energetic
from mdsl.model.domains import Listed
from mdsl.model.nodes import Derived, Model, Reduce, walk

FARTHEST = 16  # bonds that `apart` may count


def complete(model: Model, given: Mapping[str, np.ndarray], atoms: int) -> dict[str, np.ndarray]:
    """The topologies that are given, [M, k] each, with those that follow from them."""
    found = dict(given)
    for item in model.derived:
        if item.of in found and not item.label:
            found[item.name] = members_of(item, np.asarray(found[item.of], int).reshape(-1, 2), atoms)
    return found


def members_of(item: Derived, bonds: np.ndarray, atoms: int) -> np.ndarray:
    """[M, k]: the tuples of a topology that follows from bonds [B, 2]."""
    return apart(bonds, atoms, item.count) if item.count else paths(bonds, atoms, item.width)


def apart(bonds: np.ndarray, atoms: int, count: int) -> np.ndarray:
    """[M, 2]: the pairs i < j whose shortest way along the bonds has ``count`` of them."""
    from scipy.sparse import csr_array, eye_array

    ones = np.ones(2 * len(bonds), np.int32)
    joined = csr_array((ones, (bonds.T.ravel(), bonds[:, ::-1].T.ravel())), shape=(atoms, atoms))
    seen = eye_array(atoms, dtype=np.int32, format="csr")
    front = seen
    for _ in range(count):
        front = ((front @ joined) > 0).astype(np.int32)
        front = front - front.multiply(seen > 0)
        front.eliminate_zeros()
        seen = seen + front
    first, second = front.nonzero()
    pairs = np.stack([first, second], axis=1)[first < second]
    return pairs[np.lexsort(pairs.T[::-1])].astype(np.int32)


def paths(bonds: np.ndarray, atoms: int, width: int) -> np.ndarray:
    """[M, width]: chains of different atoms in which neighbours are bonded; the first atom is before the last."""
    both = np.unique(np.concatenate([bonds, bonds[:, ::-1]]), axis=0)
    first = np.searchsorted(both[:, 0], np.arange(atoms + 1))
    chains = np.arange(atoms)[:, None]
    for _ in range(width - 1):
        ends = chains[:, -1]
        counts = (first[1:] - first[:-1])[ends]
        rows = np.repeat(np.arange(len(chains)), counts)
        within = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
        following = both[first[ends][rows] + within, 1] if len(rows) else np.zeros(0, int)
        chains = np.concatenate([chains[rows], following[:, None]], axis=1)
        chains = chains[(chains[:, :-1] != chains[:, -1:]).all(axis=1)]
    return chains[chains[:, 0] < chains[:, -1]].astype(np.int32)


# -- what comes with the atoms ---------------------------------------------------------------------------


def check_names(model: Model, topologies: Mapping[str, object] | None) -> Mapping[str, object]:
    """Topologies that a user gives must be those of the program, and not follow from bonds."""
    derived = {item.name: item.of for item in model.derived if not item.label}
    names = [name for name, _ in model.topologies if name not in derived]
    for name in topologies or ():
        if name in derived:
            raise Rejected(
                Diagnostic("bad-topology", f"the topology `{name}` follows from `{derived[name]}` and cannot be given")
            )
        if name not in names:
            help = suggest(name, names) or "the program declares " + (", ".join(names) or "none")
            raise Rejected(Diagnostic("unknown-name", f"the program has no topology `{name}`", help=help))
    return topologies or {}


def in_row(row: int) -> tuple[str, ...]:
    return (f"in row {row}; atoms and rows are counted from 0",)


def check_whole(
    model: Model,
    topologies: Mapping[str, np.ndarray],
    bonded: Collection[str],
    x: np.ndarray,
    nearest: Callable[[np.ndarray], np.ndarray],
    half: float,
    scale: float,
) -> None:
    """No tuple of an energy is torn: atoms that follow each other in it lie within half of the box, and not on one
    spot.

    bonded: the topologies whose atoms must be so near, since energies reach as far as their tuples do; x: [N, d];
    nearest: displacements [M, d] to those of the nearest images; half: half of the smallest edge of the box (inf where
    nothing repeats); scale: what a length is multiplied with to be shown. Raises Rejected: ``bad-topology``.
    """
    domains = [n.domain for e in energetic(model) for n in walk(e.body) if isinstance(n, Reduce)]
    summed = {d.topology for d in domains if isinstance(d, Listed)}
    for name, members in topologies.items():
        if name not in summed:
            continue
        for a, b in zip(members.T, members.T[1:]):
            distance = np.linalg.norm(nearest(x[a] - x[b]), axis=1)
            far, close = (distance > half) & (name in bonded), distance == 0
            if not (far | close).any():
                continue
            row = int(np.argmax(far | close))
            pair = f"atoms {a[row]} and {b[row]}, which follow each other in the topology `{name}`,"
            if close[row]:
                raise Rejected(Diagnostic("bad-topology", f"{pair} are at one place", notes=in_row(row)))
            notes = (*in_row(row), "from there on it is not clear to which image of an atom a bond leads")
            said = f"{distance[row] * scale:g} apart, more than half of the box, {half * scale:g}"
            raise Rejected(
                Diagnostic(
                    "bad-topology",
                    f"{pair} are {said}",
                    notes=notes,
                    help="the bond is broken, its atoms are those of another, or the box is too small",
                )
            )
