"""In which order pairs, triples and tuples are visited, and on which device."""
