"""A program as a deck of LAMMPS: data, forces, the statements that it has; and LAMMPS itself, where it is installed."""
