"""The numbers by which pairs are found in one way or another. Nothing here imports JAX."""

ALL_PAIRS = 400  # atoms up to which visiting every pair is faster than keeping a list
MOST_ALL_PAIRS = 20_000  # atoms beyond which a sum without a cutoff is refused
SKIN = 0.12  # of the cutoff
MANY_DEVICES = 4_000  # atoms from which it pays to share them among devices
