"""What Python sees."""
