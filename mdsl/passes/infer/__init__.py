"""Every expression gets its type and dimension."""
