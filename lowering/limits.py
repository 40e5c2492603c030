"""The numbers by which pairs are found in one way or another. Nothing here imports JAX."""

ALL_PAIRS = 400  # atoms up to which visiting every pair is faster than keeping a list
MOST_ALL_PAIRS = 20_000  # atoms beyond which a sum without a cutoff is refused
SKIN = 0.12  # of the cutoff
ATOMS_EACH = 2_000  # atoms for each device, below which it does not pay to share them
MORE_LEGS = 1.5  # room for neighbours in three-body sums, over what the first positions need
