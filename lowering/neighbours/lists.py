"""Neighbour lists, in pure XLA: no sort of candidates, memory O(N K).

Where kernels of our own are chosen, one of them (`native.list_kernel`) makes
the same list, of the same atoms in the same columns.

The atoms are sorted by *column* (a prism along the last axis, at least one list
radius wide) and, inside a column, by bin along the last axis (`columns`).  Then

1. 16 atoms that follow each other in a column form a *cluster*, and all their
   neighbours lie in nine windows of the sorted order (three in two dimensions).
   Since the 16 atoms share their windows, a candidate is loaded once for all
   of them and no test needs a gather.  The results of the tests are bits of
   one 32-bit word per atom and window (or piece of a window) (`windows`);
2. every atom walks the bits of its words, and so fills its slots in order, a
   block of clusters after the other (`filling`).

Images: coordinates are written three times for each column, with its images
before and behind it, so that a window may reach over both ends, and a column
across the box is compared as far away as it is seen.  Only along axes so short
that two images of an atom may be near is the nearest image found for each pair.

Tests are in single precision, with a radius that is larger by what rounding may
do: no pair is lost of positions wrapped into the box, and few are too far apart.

Beside the slots only arrays of a few numbers for each atom are needed, and the
words of one block.  The slots may take the place of an old list.

The list is full (every pair stands in both rows) and slot-major, `[K, N]`: the
force loop reads one contiguous row per slot.  Unused slots hold the atom's own
index, so neither a dummy atom nor a mask array is needed.

Static is only the capacity (`planning.capacity.Plan`).  A list that does not fit, or a box that
has shrunk so far that the columns are too narrow for the radius, raises
`overflow`, and `capacity.grow` makes the plan that would have fitted.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import jax.numpy as jnp
from jax import lax

from mdsl.lowering.geometry.cell import Cell, cast
from mdsl.lowering.planning.capacity import Needed, overflows
from mdsl.lowering.planning.kernels import asked

from . import columns
from .slots import fill
from .windows import imaged

if TYPE_CHECKING:
    from mdsl.lowering.arrays import Count, Flag, Labels, Numbers, PerAtom, Positions, RowLabels, Scalar, Slots
    from mdsl.lowering.planning.capacity import Plan


class NeighbourList(NamedTuple):
    """order: `[N]` int32, caller's index of the atom at each sorted position.
    slots: `[K, rows]` int32, neighbours as sorted positions; unused: the row itself.
    lengths: `[rows]` int32, beyond which slot a row has no neighbours.
    needed, overflow: whether the list is complete, and what would make it so.
    """

    order: Labels
    slots: Slots
    lengths: RowLabels
    needed: Needed
    overflow: Flag


def build(
    plan: Plan,
    positions: Positions | Sequence[PerAtom],
    box: Cell | Numbers,
    radius: Scalar,
    rows: tuple[Count, int] | None = None,
    into: Slots | None = None,
) -> NeighbourList:
    """The list of the atoms within `radius` of each other.

    positions: `[N, d]`, or d arrays `[N]`; need not be wrapped
    box:       a `Cell`, or edges `[d]`; at least 2 radius on periodic axes, unused on free ones
    rows:      `(start, count)`: only these sorted positions, `count` static; rows
               from N on, 16 at most, are padding and have no neighbours.  All rows by default.
    into:      `[K, count]` int32, whose place the slots take, whatever it holds; it stays as it is unless
               the caller donates it
    """
    positions, box, radius = lax.stop_gradient((positions, box, radius))
    if not isinstance(positions, (tuple, list)):
        positions = [positions[:, a] for a in range(positions.shape[1])]
    cell = cast(
        box if isinstance(box, Cell) else Cell(tuple(box[a] for a in range(len(positions)))), positions[0].dtype
    )
    start, count = (0, plan.n_atoms) if rows is None else rows
    atoms = columns.placed(plan, tuple(positions), cell, radius)
    into = jnp.zeros((plan.slots, count), jnp.int32) if into is None else into
    given, by_xla = (atoms, jnp.asarray(start, jnp.int32), into), partial(_by_xla, plan)
    if _native():
        found = lax.platform_dependent(*given, cpu=partial(_natively, plan), default=by_xla)
    else:
        found = by_xla(*given)
    order, slots, lengths, degree, most = found
    needed = Needed(degree, most, jnp.stack([axis.wanted for axis in atoms.axes]))
    return NeighbourList(order, slots, lengths, needed, overflows(plan, needed))


def _native() -> bool:
    """Whether lists are to be built by a kernel of our own. Only then is it imported, which takes 40 ms."""
    if not asked():
        return False
    from mdsl.lowering.native.call import chosen

    return chosen()


def _by_xla(plan, atoms: columns.Placed, start, into):
    grid, order = columns.sort(plan, atoms)
    slots, degree, most = fill(plan, grid, start, into)
    return order, slots, jnp.broadcast_to(degree, into.shape[1:]), degree, most


def _natively(plan, atoms: columns.Placed, start, into):
    from mdsl.lowering.native.list_call import listed

    last = atoms.axes[-1]
    found = listed(
        plan.periodic,
        imaged(plan, atoms.cell),
        atoms.column * plan.cells[-1] + atoms.along,
        atoms.x,
        plan.cells,
        start,
        (atoms.radius * atoms.radius, atoms.radius, last.origin, last.width),
        [atoms.cell.row(k) for k in range(len(plan.cells))],
        bool(atoms.cell.tilts),
        into,
    )
    return tuple(found)
