"""Functions and flows are written out where they are called."""
