"""Replicas of a batch that go wrong: the others go on, and a copy of one of them stands in for each that is lost.

A lost replica cannot be left where it is. Positions that are not numbers would call for a new list at every step, of
all replicas together, and a replica that does nothing would need programs in which replicas do different things. One
that does what another does costs its share of the time as before, and asks for nothing of its own. Nothing of what it
does is put out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import jax
import numpy as np

from mdsl.grammar.diagnostics import Diagnostic
from mdsl.lowering.dynamics.state import TOO_SMALL, State
from mdsl.model import nearest_image


@dataclass(frozen=True)
class Loss:
    """What went wrong with a replica; the last ``step`` and ``time`` at which it was sound; of which statement of
    dynamics, and how many of its steps were ``done`` then."""

    step: int
    time: float
    statement: int
    done: int
    diagnostic: Diagnostic


def fallen(
    flag: int, x: Iterable[np.ndarray], at: Iterable[np.ndarray], cells: np.ndarray, periodic, cutoffs: np.ndarray
) -> np.ndarray:
    """The systems, at least one, of which the ``flag`` tells. ``x``, ``at``: columns [B, n] of positions, now and when
    the list was built; ``cells``: [B, d, d]; ``cutoffs``: [B]."""
    edges = np.diagonal(cells, axis1=1, axis2=2)[:, list(periodic)].min(axis=1, initial=np.inf)
    with np.errstate(all="ignore"):
        if flag == TOO_SMALL:
            fits = nearest_image.fits(np.diagonal(cells, axis1=1, axis2=2).T, periodic, cutoffs)
            bad, most = (edges > 0) & ~np.asarray(fits), cutoffs / edges
        else:
            moved = sum((np.asarray(a, float) - np.asarray(b, float)) ** 2 for a, b in zip(x, at)).max(axis=1)
            most = np.where(np.isfinite(moved), moved, np.inf)
            # As `Dynamics.flag` has it; in a box without edges what is not finite.
            bad = ~(moved < (edges / 4) ** 2) | ~(edges > 0)
    return np.flatnonzero(bad) if bad.any() else np.array([int(np.argmax(most))])


def in_place(state: State, source: np.ndarray) -> State:
    """The state in which member k of a batch is member ``source[k]`` of this one. Its list is not: lists made since may
    have taken its place, so that there is to be a new one."""
    moved = jax.tree.map(lambda a: jax.device_put(a[source], a.sharding), state._replace(slots=()))
    return moved._replace(slots=state.slots)


def told(lost: Mapping[int, Loss], count: int, most: int = 3) -> list[Diagnostic]:
    """What went wrong with replicas, in the order in which it did: all that is known of the first of them, of the
    others who they are."""
    found = [loss.diagnostic for loss in list(lost.values())[:most]]
    rest = [f"{k} (step {loss.step + 1})" for k, loss in list(lost.items())[most:]]
    if rest:
        found.append(
            Diagnostic(
                "blow-up",
                f"{len(rest)} more of {count:,} replicas went wrong too",
                notes=(f"replicas {', '.join(rest)}",),
            )
        )
    return found
