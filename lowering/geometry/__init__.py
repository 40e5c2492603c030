"""What the box does to a displacement."""
