"""Where the atoms of a run begin."""
