"""The operations of the Model, and the names by which a program calls them.

Every stage that gives operations a meaning (the interpreter, SymPy, JAX) is a table over these names.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Operator:
    """``typing`` names the rule of `infer` that checks the arguments and gives the result's type; ``cost``: how many
    operations of arithmetic it takes; ``singular``: of which argument it may have no derivative, and a number of which
    it has; ``ends``: it is 0 where its argument is."""

    arity: int
    typing: str
    meaning: str
    cost: int = 1
    singular: tuple[int, float] | None = None
    ends: bool = False


COSTLY = 10
ELEMENTARY: dict[str, dict[str, Any]] = {  # functions of one number, and what is known of each
    "exp": {}, "log": {"singular": (0, 1.0)}, 
    "log1p": {"meaning": "log(1 + a), exact for a small a", "singular": (0, 0.0), "ends": True},
    "sin": {"ends": True}, "cos": {}, "tan": {"ends": True},
    "asin": {"singular": (0, 0.0), "ends": True}, "acos": {"singular": (0, 0.0)}, "atan": {"ends": True},
    "sinh": {"ends": True}, "cosh": {}, "tanh": {"ends": True},
    "erf": {"ends": True}, "erfc": {},
}  # fmt: skip


OPERATORS: dict[str, Operator] = {
    # arithmetic, of numbers and (where it makes sense) of points, vectors and matrices
    "add": Operator(2, "sum", "a + b"),
    "sub": Operator(2, "difference", "a - b; of two points the displacement in the box, nearest image"),
    "displacement": Operator(
        2, "displacement", "point - point, nearest image (what `sub` becomes once types are known)"
    ),
    "neg": Operator(1, "negation", "-a"),
    "mul": Operator(2, "product", "a*b"),
    "div": Operator(2, "quotient", "a/b", singular=(1, 1.0)),
    "pow": Operator(2, "power", "a^b", singular=(0, 1.0)),
    # choice
    "choose": Operator(3, "choice", "if a then b else c"),
    "lt": Operator(2, "comparison", "a < b"),
    "le": Operator(2, "comparison", "a <= b"),
    "gt": Operator(2, "comparison", "a > b"),
    "ge": Operator(2, "comparison", "a >= b"),
    "eq": Operator(2, "comparison", "a == b"),
    "ne": Operator(2, "comparison", "a != b"),
    "and": Operator(2, "logic", "a and b"),
    "or": Operator(2, "logic", "a or b"),
    "not": Operator(1, "logic", "not a"),
    # elementary functions of pure numbers
    **{
        name: Operator(1, "elementary", cost=COSTLY, **{"meaning": f"{name}(a)", **known})
        for name, known in ELEMENTARY.items()
    },
    "sqrt": Operator(1, "root", "the square root", singular=(0, 1.0)),
    "abs": Operator(1, "negation", "the magnitude of a number", ends=True),
    "atan2": Operator(
        2, "direction", "the angle of the direction with components b, a to the first axis, -pi to pi", COSTLY
    ),
    "floor": Operator(1, "elementary", "the largest whole number that is not above a number; its derivative is 0"),
    "round": Operator(1, "elementary", "the nearest whole number, halves to even; its derivative is 0"),
    "min": Operator(2, "sum", "the smaller of two numbers"),
    "max": Operator(2, "sum", "the larger of two numbers"),
    # vectors and matrices
    "norm": Operator(1, "norm", "|v|: the length of a vector, the magnitude of a number"),
    "vector": Operator(0, "vector", "(a, b) or (a, b, c): a vector by its components, one for each axis"),
    "dot": Operator(2, "dot", "a·b, of vectors and matrices: the product summed over the adjacent index"),
    "cross": Operator(2, "cross", "the vector product, in three dimensions"),
    "outer": Operator(2, "outer", "the matrix a_i b_j"),
    "trace": Operator(1, "trace", "the sum of a matrix' diagonal"),
    "transpose": Operator(1, "transpose", "the matrix with rows and columns exchanged"),
    "inverse": Operator(1, "inverse", "the inverse of a matrix"),
    "diagonal": Operator(1, "transpose", "the matrix with 0 beside its diagonal"),
    **{f"component_{a}": Operator(1, "component", f"a.{a}") for a in "xyz"},
    **{f"entry_{a}{b}": Operator(1, "entry", f"a.{a}{b}: row {a}, column {b}") for a in "xyz" for b in "xyz"},
    # replicas, in flows; of a system alone its own
    "next": Operator(1, "neighbour", "next(a): of the next replica, of the last its own; in flows"),
    "previous": Operator(1, "neighbour", "previous(a): of the replica before, of the first its own; in flows"),
    # geometry of points
    "angle": Operator(3, "angle", "the angle at the second of three points, 0 to pi"),
    "dihedral": Operator(4, "angle", "the dihedral angle of four points, -pi to pi, trans = pi (IUPAC sign)"),
}

# What a program may call, by these names; the rest has its own notation.
CALLABLE = (
    "exp", "log", "log1p", "sqrt", "sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "tanh", "erf", "erfc",
    "atan2", "floor", "round", "abs", "min", "max", "cross", "outer", "trace", "transpose", "inverse", "diagonal",
    "angle", "dihedral", "next", "previous",
)  # fmt: skip
NEIGHBOURS = {"next": 1, "previous": -1}  # of a replica

# What stands after the point: `d.x`, `stress.xy`.
MEMBERS = {op.partition("_")[2]: op for op in OPERATORS if op.startswith(("component_", "entry_"))}

# What takes a function of one number instead of numbers.
FUNCTIONALS = {
    "D": "D(u)(a): the derivative of a function of one number, at a",
    "integral": "integral(u, a, b): the integral of a function of one number from a to b, which may be infinity",
}

BINARY = {
    "+": "add", "-": "sub", "*": "mul", "/": "div", "^": "pow", "·": "dot",
    "<": "lt", "<=": "le", ">": "gt", ">=": "ge", "==": "eq", "!=": "ne", "and": "and", "or": "or",
}  # fmt: skip


@dataclass(frozen=True)
class Builtin:
    """A quantity that every program has. ``kind`` is its type, ``dimension`` its name in `dimensions`."""

    kind: str
    dimension: str
    meaning: str
    per_atom: bool = False


# Read("x", (i,)) and so on. `kinetic`, `temperature`, `pressure` and `stress` are written in the
# language, in stdlib/prelude.mdsl, on top of these.
BUILTINS: dict[str, Builtin] = {
    "x": Builtin("point", "length", "position", per_atom=True),
    "v": Builtin("vector", "velocity", "velocity", per_atom=True),
    "f": Builtin(
        "vector", "force", "force: minus the gradient of the potential energy at the current x", per_atom=True
    ),
    "m": Builtin("scalar", "mass", "mass", per_atom=True),
    "species": Builtin("label", "a pure number", "species, to be compared: `species[i] == A`", per_atom=True),
    "travelled": Builtin(
        "vector", "length", "the way since the present statement of dynamics began, through all periods", per_atom=True
    ),
    "unwrapped": Builtin(
        "vector",
        "length",
        "the position from the origin without jumps at the ends of the box: outside of it, too",
        per_atom=True,
    ),
    "v_start": Builtin("vector", "velocity", "velocity when the present statement of dynamics began", per_atom=True),
    "t_start": Builtin("scalar", "time", "time at which the present statement of dynamics began"),
    "t": Builtin("scalar", "time", "time since the run began"),
    "N": Builtin("scalar", "a pure number", "number of atoms"),
    "dim": Builtin("scalar", "a pure number", "number of dimensions of space"),
    "degrees_of_freedom": Builtin(
        "scalar", "a pure number", "dim*N, less the dim of the centre of mass where it rests"
    ),
    "volume": Builtin("scalar", "volume", "volume of the box (area in two dimensions)"),
    "potential": Builtin("scalar", "energy", "sum of all energies"),
    "virial": Builtin("matrix", "energy", "sum of r f over interactions: minus the strain derivative of the potential"),
    "cell": Builtin("matrix", "length", "the vectors of the box in its rows; 1 along a free axis"),
    "origin": Builtin("point", "length", "the corner of the box, where all coordinates are 0"),
    "identity": Builtin("matrix", "a pure number", "the matrix with 1 on its diagonal and 0 elsewhere"),
    "pi": Builtin("scalar", "a pure number", "3.14159..."),
    "infinity": Builtin("scalar", "any", "no end: only as a bound of an integral"),
}
