"""The type of an operation from the types of its arguments: one rule for each kind of operation."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from .dimensions import ONE, Dimension
from .nodes import BOOL, UNKNOWN, Type
from .operators import MEMBERS, OPERATORS

LENGTH_OF = "the length of a vector is `|d|`, a component `d.x`"


class Mismatch(Exception):
    """Types that do not go together: a diagnostic id, the sentence, and help."""

    def __init__(self, id: str, message: str, help: str | None = None):
        super().__init__(message)
        self.id, self.message, self.help = id, message, help


@dataclass(frozen=True)
class Context:
    """``length`` is the dimension of a displacement (one in reduced units), ``exponent`` the value of a
    constant second argument of a power, ``dim`` the dimension of space."""

    length: Dimension
    exponent: float | None = None
    dim: int = 3


def type_of(op: str, args: tuple[Type, ...], context: Context) -> Type:
    """The type of ``op(*args)``. Raises Mismatch."""
    if any(a.kind == "unknown" for a in args):
        return UNKNOWN
    if any(a.kind == "index" for a in args):  # the index of a range counts as a number
        args = tuple(Type("scalar") if a.kind == "index" else a for a in args)
    return RULES[OPERATORS[op].typing](op, args, context)


def article(dimension: Dimension) -> str:
    """A dimension in words, with its article."""
    name = str(Type("scalar", dimension))
    return name if name.startswith("a ") else f"{'an' if name[0] in 'aeiou' else 'a'} {name}"


def _same_dimension(a: Type, b: Type, verb: str) -> Dimension | None:
    if a.dimension is None or b.dimension is None:
        return b.dimension if a.dimension is None else a.dimension
    if a.dimension != b.dimension:
        bare = a.dimension.is_one or b.dimension.is_one
        raise Mismatch(
            "wrong-unit",
            f"{verb} {a} and {b}",
            "a number without a unit is a pure number: give it a unit in brackets, such as `1.0 [angstrom]`"
            if bare
            else None,
        )
    return a.dimension


def _need(kind: str, a: Type, op: str) -> None:
    if a.kind != kind:
        raise Mismatch("wrong-type", f"`{SPELLING.get(op, op)}` wants {Type(kind)}, not {a}")


def _sum(op: str, args: tuple[Type, ...], context: Context) -> Type:
    a, b = args
    if op in ("add", "sub") and a.kind == "point" and b.kind == "point":
        raise Mismatch(
            "point-plus-point", "two points cannot be added", "the displacement between two points is `x[i] - x[j]`"
        )
    if "point" in (a.kind, b.kind) and "vector" in (a.kind, b.kind) and op == "add":
        _same_dimension(Type("vector", context.length), a if a.kind == "vector" else b, "cannot move a point by")
        return Type("point", context.length)
    if a.kind != b.kind or a.kind not in ("scalar", "vector", "matrix"):
        raise Mismatch("wrong-type", f"cannot {VERBS.get(op, 'combine')} {a} and {b}")
    if op in ("min", "max") and a.kind != "scalar":
        raise Mismatch("wrong-type", f"`{op}` wants numbers, not {a}")
    return Type(a.kind, _same_dimension(a, b, f"cannot {VERBS.get(op, 'compare')}"))


def _difference(op: str, args: tuple[Type, ...], context: Context) -> Type:
    a, b = args
    if a.kind == "point" and b.kind == "point":
        return Type("vector", context.length)
    if a.kind == "point" and b.kind == "vector":
        return _sum("add", args, context)
    return _sum(op, args, context)


def _displacement(op: str, args: tuple[Type, ...], context: Context) -> Type:
    return Type("vector", context.length)


def _negation(op: str, args: tuple[Type, ...], context: Context) -> Type:
    if args[0].kind not in ("scalar", "vector", "matrix") or (op == "abs" and args[0].kind != "scalar"):
        raise Mismatch(
            "wrong-type",
            f"cannot take `{SPELLING.get(op, op)}` of {args[0]}",
            LENGTH_OF if op == "abs" and args[0].kind == "vector" else None,
        )
    return args[0]


def _product(op: str, args: tuple[Type, ...], context: Context) -> Type:
    a, b = args
    kinds = {a.kind, b.kind}
    if "point" in kinds:
        raise Mismatch("wrong-type", "a point cannot be scaled", "positions are points; their differences are vectors")
    if a.kind == b.kind == "vector":
        raise Mismatch("wrong-type", "cannot multiply two vectors with `*`", "the scalar product is `a·b`")
    if not kinds <= {"scalar", "vector", "matrix"} or "scalar" not in kinds:
        help = "the product of a matrix is `A·b`" if "matrix" in kinds else None
        raise Mismatch("wrong-type", f"cannot multiply {a} and {b}", help)
    kind = b.kind if a.kind == "scalar" else a.kind
    return Type(kind, a.times(b))


def _quotient(op: str, args: tuple[Type, ...], context: Context) -> Type:
    a, b = args
    if b.kind != "scalar" or a.kind not in ("scalar", "vector", "matrix"):
        raise Mismatch("wrong-type", f"cannot divide {a} by {b}")
    return Type(a.kind, a.over(b))


def _power(op: str, args: tuple[Type, ...], context: Context) -> Type:
    a, b = args
    if a.kind == "vector":
        raise Mismatch("wrong-type", "a vector has no power", "its squared length is `d·d`, its length `|d|`")
    _need("scalar", a, op)
    _need("scalar", b, op)
    if b.dimension is not None and not b.dimension.is_one:
        raise Mismatch("wrong-unit", f"an exponent is a pure number, not {b}")
    if a.dimension is None or a.dimension.is_one:
        return a
    if context.exponent is None:
        raise Mismatch("wrong-unit", f"{a} to a power that is not a constant has no unit")
    return Type("scalar", a.dimension ** Fraction(context.exponent).limit_denominator(1000))


def _root(op: str, args: tuple[Type, ...], context: Context) -> Type:
    _need("scalar", args[0], op)
    return Type("scalar", None if args[0].dimension is None else args[0].dimension ** Fraction(1, 2))


def _elementary(op: str, args: tuple[Type, ...], context: Context) -> Type:
    if op != "exp" or args[0].kind != "matrix":
        _need("scalar", args[0], op)
    if args[0].dimension is not None and not args[0].dimension.is_one:
        raise Mismatch(
            "wrong-unit",
            f"`{op}` wants a pure number, not {args[0]}",
            "divide by a quantity of the same dimension first",
        )
    return Type(args[0].kind, ONE)


def _direction(op: str, args: tuple[Type, ...], context: Context) -> Type:
    for a in args:
        _need("scalar", a, op)
    _same_dimension(args[0], args[1], "an angle of")
    return Type("scalar", ONE)


def _choice(op: str, args: tuple[Type, ...], context: Context) -> Type:
    condition, a, b = args
    if condition.kind != "bool":
        raise Mismatch("wrong-type", f"`if` wants a condition, not {condition}")
    if a.kind != b.kind:
        raise Mismatch("wrong-type", f"one branch of `if` is {a}, the other {b}")
    if a.kind == "array":
        raise Mismatch(
            "wrong-type", "`if` does not choose between arrays", "choose between what functions make of them"
        )
    return Type(a.kind, _same_dimension(a, b, "the branches of `if` are"))


def _comparison(op: str, args: tuple[Type, ...], context: Context) -> Type:
    a, b = args
    if a.kind == b.kind == "label" and op in ("eq", "ne"):
        return BOOL
    if a.kind != "scalar" or b.kind != "scalar":
        raise Mismatch("wrong-type", f"cannot compare {a} and {b}", LENGTH_OF if "vector" in (a.kind, b.kind) else None)
    _same_dimension(a, b, "cannot compare")
    return BOOL


def _logic(op: str, args: tuple[Type, ...], context: Context) -> Type:
    for a in args:
        if a.kind != "bool":
            raise Mismatch("wrong-type", f"`{op}` wants {'a condition' if op == 'not' else 'conditions'}, not {a}")
    return BOOL


def _norm(op: str, args: tuple[Type, ...], context: Context) -> Type:
    if args[0].kind == "point":
        raise Mismatch(
            "wrong-type",
            "a point has no length",
            "the distance of two points is `|x[i] - x[j]|`, from the origin `|x[i] - origin|`",
        )
    if args[0].kind not in ("scalar", "vector"):
        raise Mismatch("wrong-type", f"`| |` wants a vector or a number, not {args[0]}")
    return Type("scalar", args[0].dimension)


def _dot(op: str, args: tuple[Type, ...], context: Context) -> Type:
    a, b = args
    if "matrix" in (a.kind, b.kind) and {a.kind, b.kind} <= {"vector", "matrix"}:
        kind = "matrix" if a.kind == b.kind else "vector"
        return Type(kind, a.times(b))
    return _vectors("·", args)


def _vector(op: str, args: tuple[Type, ...], context: Context) -> Type:
    dimension = None
    for a in args:
        if a.kind != "scalar":
            raise Mismatch("wrong-type", f"the components of a vector are numbers, not {a}")
        dimension = _same_dimension(Type("scalar", dimension), a, "components of a vector are")
    if len(args) != context.dim:
        raise Mismatch("bad-dimension", f"a vector of {len(args)} components in {context.dim} dimensions")
    return Type("vector", dimension)


def _vectors(name: str, args: tuple[Type, ...]) -> Type:
    """The type of a component of the first vector times one of the second."""
    a, b = args
    if a.kind != "vector" or b.kind != "vector":
        help = "numbers are multiplied with `*`" if a.kind == b.kind == "scalar" else None
        raise Mismatch("wrong-type", f"`{name}` wants two vectors, not {a} and {b}", help)
    return Type("scalar", a.times(b))


def _three(context: Context, what: str) -> None:
    if context.dim != 3:
        raise Mismatch("bad-dimension", f"{what} in {context.dim} dimensions")


def _outer(op: str, args: tuple[Type, ...], context: Context) -> Type:
    return Type("matrix", _vectors("outer", args).dimension)


def _cross(op: str, args: tuple[Type, ...], context: Context) -> Type:
    _three(context, "there is no vector product")
    return Type("vector", _vectors("cross", args).dimension)


def _trace(op: str, args: tuple[Type, ...], context: Context) -> Type:
    _need("matrix", args[0], op)
    return Type("scalar", args[0].dimension)


def _transpose(op: str, args: tuple[Type, ...], context: Context) -> Type:
    _need("matrix", args[0], op)
    return args[0]


def _inverse(op: str, args: tuple[Type, ...], context: Context) -> Type:
    _need("matrix", args[0], op)
    return Type("matrix", None if args[0].dimension is None else ONE / args[0].dimension)


def _entry(op: str, args: tuple[Type, ...], context: Context) -> Type:
    if "z" in op.partition("_")[2]:
        _three(context, f"there is no `{SPELLING[op]}`")
    return _trace(op, args, context)


def _component(op: str, args: tuple[Type, ...], context: Context) -> Type:
    if op == "component_z":
        _three(context, "there is no `.z`")
    if args[0].kind == "point":
        return Type("scalar", context.length)
    _need("vector", args[0], op)
    return Type("scalar", args[0].dimension)


def _angle(op: str, args: tuple[Type, ...], context: Context) -> Type:
    if op == "dihedral":
        _three(context, "there is no dihedral angle")
    for a in args:
        _need("point", a, op)
    return Type("scalar", ONE)


def _neighbour(op: str, args: tuple[Type, ...], context: Context) -> Type:
    return args[0]


SPELLING = {"neg": "-", "pow": "^", "norm": "| |"} | {op: f".{member}" for member, op in MEMBERS.items()}
VERBS = {"add": "add", "sub": "subtract", "min": "compare", "max": "compare"}
RULES = {
    "sum": _sum,
    "difference": _difference,
    "displacement": _displacement,
    "negation": _negation,
    "product": _product,
    "quotient": _quotient,
    "power": _power,
    "root": _root,
    "elementary": _elementary,
    "direction": _direction,
    "choice": _choice,
    "comparison": _comparison,
    "logic": _logic,
    "norm": _norm,
    "vector": _vector,
    "dot": _dot,
    "outer": _outer,
    "cross": _cross,
    "trace": _trace,
    "transpose": _transpose,
    "inverse": _inverse,
    "component": _component,
    "entry": _entry,
    "angle": _angle,
    "neighbour": _neighbour,
}
