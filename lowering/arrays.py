"""What arrays are, for annotations alone: nothing imports this when a program runs.

N atoms in the user's order; n rows, the atoms of one device in the order of its list; K slots of that; d axes.
"""

from __future__ import annotations

from collections.abc import Mapping

from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

Numbers = Float[Array, "..."]
Integers = Int[Array, "..."] | int
Scalar = Float[Array, ""] | float
Count = Int[Array, ""] | int
Counts = Int[Array, "d"]
Flag = Bool[Array, ""] | bool
Key = PRNGKeyArray

Positions = Float[Array, "N d"]
PerAtom = Float[Array, "N"]
Labels = Int[Array, "N"]  # the species of atoms, or which of the user's they are
Rows = Float[Array, "n"]
RowLabels = Int[Array, "n"]
Slots = Int[Array, "K n"]

Vector = tuple[Numbers | float, ...]  # its d components, each for as many atoms or pairs as there are
Matrix = tuple[Vector, ...]  # its rows
Value = Numbers | float | Vector | Matrix  # of an expression
Values = Mapping[str, Value]
Params = Mapping[str, Numbers | float]
