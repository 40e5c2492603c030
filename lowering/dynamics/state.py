"""What is carried from step to step, and what stays the same during a chunk of steps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from mdsl.lowering.geometry.cell import Cell

if TYPE_CHECKING:
    from mdsl.lowering.arrays import Count, Flag, Key, Labels, Params, PerAtom, RowLabels, Rows, Scalar, Slots, Values
    from mdsl.lowering.neighbours.lists import Needed

# How far a state is: its force is not known; it stands between two steps; the head of a step is done.
NEW, BETWEEN, WAITING = (np.int32(k) for k in range(3))
# Why a chunk ended: all steps done; the list no longer holds; so too, but inside a step; positions are lost;
# the list that was built does not fit; the box has become too small for the cutoff.
FINE, STALE, STALE_INSIDE, BLOW_UP, OVERFLOW, TOO_SMALL = (np.int32(k) for k in range(6))


class State(NamedTuple):
    """The rows of one device, in sorted order.

    x, v, f, images: tuples of [n] arrays; x and ``images`` times the box vectors make the position not wrapped into the
    box. held: what a head computed for each atom and its tail reads. ids, species, mass: [n], the user's index of each
    atom, its place in `species`, its mass. slots: [K, n] (K = 0: all pairs), lengths: [n], beyond which slot a row has
    no neighbours, at: x when the list was built, used: slots in use. kept: values that are one for all: states, what a
    head computed, and what the last evaluation gave beside the force. step: steps since the run began. evaluations: of
    the force, since the run began. needed: what the last list needed. met: whether the condition of `until` holds.
    cell, built: the box, and the one in which the atoms were ``at``; () where the box never changes. partners: see
    `bonds`.
    """

    x: tuple[Rows, ...]
    v: tuple[Rows, ...]
    f: tuple[Rows, ...]
    images: tuple[Rows, ...]
    held: Values
    ids: RowLabels
    species: RowLabels
    mass: Rows
    slots: Slots
    lengths: RowLabels
    at: tuple[Rows, ...]
    kept: Values
    used: Count
    step: Count
    phase: Count
    flag: Count
    evaluations: Count
    needed: Needed
    met: Flag
    cell: Cell | tuple[()] = ()
    built: Cell | tuple[()] = ()
    partners: Mapping[str, tuple] = {}


# Which parts of a state hold rows of atoms; the rest is the same on every device, and where it is said to be "one", of
# all replicas as well. What stays the same during a chunk is "inputs".
STATE = State(*("rows",) * 8, "slots", "rows", "rows", "all", *("one",) * 7, "all", "all", "slots")


class Inputs(NamedTuple):
    """What stays the same during a chunk. params: the free parameters; masses, species: [N] in the user's order;
    t: the time at step ``origin``; cell: the box, where it never changes; began: how the statement of dynamics began,
    () where nothing reads it; skin: what the list holds beyond the cutoff, None: what was planned."""

    params: Params
    cell: Cell
    masses: PerAtom
    species: Labels
    key: Key
    t: Scalar
    origin: Count
    began: Began | tuple[()] = ()
    skin: Scalar | None = None


class Began(NamedTuple):
    """Atoms when a statement of dynamics began: positions, box vectors to add to them, velocities, tuples of [N] arrays
    in the user's order; and the time."""

    x: tuple[PerAtom, ...]
    images: tuple[PerAtom, ...]
    v: tuple[PerAtom, ...]
    t: Scalar
