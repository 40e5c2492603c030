"""The numbers by which pairs are found in one way or another. Nothing here imports JAX."""

ALL_PAIRS = 400  # atoms up to which visiting every pair is faster than keeping a list
MOST_ALL_PAIRS = 20_000  # atoms beyond which a sum without a cutoff is refused
SKIN, SPACING = 0.12, 0.25  # what a list holds beyond the cutoff: a part of it, or of the spacing of atoms
MOST_SKIN = 0.3  # of the cutoff
ATOMS_EACH = 2_000  # atoms for each device, below which it does not pay to share them
MORE_LEGS = 1.5  # room for neighbours in three-body sums, over what the first positions need
CLOSER = 1.1  # and at least for those within so many times the cutoff


def skin_of(cutoff: float, spacing: float | None) -> float:
    """What a list holds beyond the cutoff. Atoms move by a part of their spacing before they have new neighbours: with
    a short cutoff a part of that alone would have the list rebuilt at nearly every step. ``spacing``: the edge of the
    cube (square) that an atom has for itself, None where it is not known."""
    return max(SKIN * cutoff, min(SPACING * (spacing or 0.0), MOST_SKIN * cutoff))


ROOM = 1.25  # of the slots of a list, over what the first positions need

# Seconds for a visit of a neighbour and for each operation with it, on one core of an AMD EPYC 9005 at AVX-512 in
# single precision: 32,000 Lennard-Jones atoms, 0.84 ns for the gathers alone and 1.43 ns with the force.
VISIT, OPERATION = 0.84e-9, 0.016e-9
DOUBLE = 1.8  # times as much in double precision
GEOMETRY = 17  # operations for the nearest image, the squared distance and the sum of the force
LONGEST = 1.12  # neighbours of the atom that has most, over the mean: all rows are gone through so far

# Rough costs of lists on a CPU, in visits of a pair (about 1.5 ns of one core in single precision): building one, for
# each atom, beside a visit of each of its slots.
BUILD = 300


def best_skin(cutoff: float, skin: float, most: float, neighbours: float, period: float, dim: int) -> float:
    """The skin, up to ``most``, with which steps and lists together cost least, where a list of ``neighbours`` with
    this ``skin`` held for ``period`` steps: atoms are taken to move evenly. No clock is read, so that runs repeat."""
    candidates = [skin * (0.5 + 0.05 * k) for k in range(200)]
    candidates = [s for s in candidates if s < most] + [most]

    def cost(s: float) -> float:
        visits = neighbours * ((cutoff + s) / (cutoff + skin)) ** dim
        return visits + (BUILD + visits) * skin / (period * s)

    return min(candidates, key=cost)
