"""What SymPy sees of an expression, and what comes back."""
