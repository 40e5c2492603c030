"""What the terminal sees."""
