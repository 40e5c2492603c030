"""The rates by which `explain` and `run.pace` reckon what pairs cost. Nothing here imports JAX."""

# Seconds for a visit of a neighbour and for each operation with it, on one core of an AMD EPYC 9005 at AVX-512 in
# single precision: 32,000 Lennard-Jones atoms, 0.84 ns for the gathers alone and 1.43 ns with the force.
VISIT, OPERATION = 0.84e-9, 0.016e-9
DOUBLE = 1.8  # times as much in double precision
GEOMETRY = 17  # operations for the nearest image, the squared distance and the sum of the force
LONGEST = 1.12  # neighbours of the atom that has most, over the mean: all rows are gone through so far
