"""The numbers by which everything about neighbour lists is decided: margins, room, and how it grows."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Policy:
    """When pairs are found in which way, and for how much more there is room than the first positions need.

    ``skin``: what a list holds beyond the cutoff, a length in internal units, that stays; None: it begins with
    `first_skin`, and follows how long lists hold.
    """

    # Which way
    all_pairs: int = 400  # atoms up to which visiting every pair is faster than keeping a list
    most_all_pairs: int = 20_000  # atoms beyond which a sum without a cutoff is refused
    most_of_box: float = 0.2  # of the box in the sphere of a list for observables, above which all pairs are as fast
    atoms_each: int = 2_000  # atoms for each device, below which it does not pay to share them
    apart: int = 1_000  # atoms from which on each replica of a batch has lists of its own: see `run.apart`
    rows_together: int = 1024  # atoms of all replicas that go through a loop together, at most: see `docs/running.md`

    # How long lists hold
    skin: float | None = None
    of_cutoff: float = 0.12  # the first skin: a part of the cutoff,
    of_spacing: float = 0.25  # or of the spacing of atoms,
    of_cutoff_at_most: float = 0.3  # though no more than this part of the cutoff
    longer: float = 3.0  # times the first skin: the plan has room for as much, where atoms are fast
    least_skin: float = 0.02  # of the cutoff: where the box leaves no room for it all pairs are visited

    # Room, over what the first positions need
    slots: float = 1.25  # for the neighbours of an atom
    window: float = 1.1  # for the atoms in a window
    shrinking: float = 1.1  # for both, and of the widths of columns, where the box may shrink
    later: tuple[float, int] = (1.3, 8)  # for both, times and beside it, where a list cannot grow
    legs: float = 1.5  # for neighbours in three-body sums,
    closer: float = 1.1  # and at least for those within so many times the cutoff

    # Growth: each compiles the programs that hold a list anew
    growth: float = 1.4  # of what has overflowed
    more_legs: int = 2  # times as many, in three-body sums
    most_growths: int = 20

    def first_skin(self, cutoff: float, spacing: float | None) -> float:
        """What a list holds beyond the cutoff. Atoms move by a part of their spacing before they have new neighbours:
        with a short cutoff a part of that alone would have the list rebuilt at nearly every step. ``spacing``: the
        edge of the cube (square) that an atom has for itself, None where it is not known."""
        return max(self.of_cutoff * cutoff, min(self.of_spacing * (spacing or 0.0), self.of_cutoff_at_most * cutoff))


DEFAULT = Policy()
