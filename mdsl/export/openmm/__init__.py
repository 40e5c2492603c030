"""A program as a System of OpenMM with custom forces and integrators; and OpenMM itself, where it is installed."""
