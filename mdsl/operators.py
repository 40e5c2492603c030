"""The operations of the Model, and the names by which a program calls them.

Every stage that gives operations a meaning (the interpreter, SymPy, JAX) is a table over these names.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Operator:
    """``typing`` names the rule of `infer` that checks the arguments and gives the result's type."""

    arity: int
    typing: str
    meaning: str


OPERATORS: dict[str, Operator] = {
    # arithmetic, of numbers and (where it makes sense) of points, vectors and matrices
    "add": Operator(2, "sum", "a + b"),
    "sub": Operator(2, "difference", "a - b; of two points the displacement in the box, nearest image"),
    "displacement": Operator(2, "displacement", "point - point, nearest image (what `sub` becomes once types are known)"),
    "neg": Operator(1, "negation", "-a"),
    "mul": Operator(2, "product", "a*b"),
    "div": Operator(2, "quotient", "a/b"),
    "pow": Operator(2, "power", "a^b"),
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
        name: Operator(1, "elementary", f"{name}(a)")
        for name in ("exp", "log", "sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "tanh", "erf", "erfc")
    },
    "sqrt": Operator(1, "root", "the square root"),
    "abs": Operator(1, "negation", "the magnitude of a number"),
    "min": Operator(2, "sum", "the smaller of two numbers"),
    "max": Operator(2, "sum", "the larger of two numbers"),
    # vectors and matrices
    "norm": Operator(1, "norm", "|v|: the length of a vector, the magnitude of a number"),
    "dot": Operator(2, "dot", "a·b"),
    "cross": Operator(2, "cross", "the vector product, in three dimensions"),
    "outer": Operator(2, "outer", "the matrix a_i b_j"),
    "trace": Operator(1, "trace", "the sum of a matrix' diagonal"),
    "component_x": Operator(1, "component", "a.x"),
    "component_y": Operator(1, "component", "a.y"),
    "component_z": Operator(1, "component", "a.z"),
    # geometry of points
    "angle": Operator(3, "angle", "the angle at the second of three points, 0 to pi"),
    "dihedral": Operator(4, "angle", "the dihedral angle of four points, -pi to pi, trans = pi (IUPAC sign)"),
}

# What a program may call, by these names; the rest has its own notation.
CALLABLE = (
    "exp", "log", "sqrt", "sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "tanh", "erf", "erfc",
    "abs", "min", "max", "cross", "outer", "trace", "angle", "dihedral",
)  # fmt: skip

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
    "f": Builtin("vector", "force", "force: minus the gradient of the potential energy at the current x", per_atom=True),
    "m": Builtin("scalar", "mass", "mass", per_atom=True),
    "t": Builtin("scalar", "time", "time since the run began"),
    "N": Builtin("scalar", "a pure number", "number of atoms"),
    "dim": Builtin("scalar", "a pure number", "number of dimensions of space"),
    "degrees_of_freedom": Builtin("scalar", "a pure number", "dim*N, less the dim of the centre of mass where it rests"),
    "volume": Builtin("scalar", "volume", "volume of the box (area in two dimensions)"),
    "potential": Builtin("scalar", "energy", "sum of all energies"),
    "virial": Builtin("matrix", "energy", "sum of r f over interactions: minus the strain derivative of the potential"),
    "origin": Builtin("point", "length", "the corner of the box, where all coordinates are 0"),
    "pi": Builtin("scalar", "a pure number", "3.14159..."),
}
