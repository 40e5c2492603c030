"""What one pair, or one atom, contributes, as JAX."""
