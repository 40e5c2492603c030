"""How pairs are found for so many atoms in such a box, and for how much there is room."""
