"""What is summed over which atoms, how far it reaches, and when within a step it is needed. No JAX."""
