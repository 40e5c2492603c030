"""What to say where the parser stopped."""
