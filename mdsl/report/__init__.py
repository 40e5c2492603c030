"""What the compiler decided, in words."""
