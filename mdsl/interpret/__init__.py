"""What every expression is worth: the semantics in NumPy, and constants before a run."""
