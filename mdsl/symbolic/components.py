"""Numbers that are made of vectors and matrices, written by the components of these.

SymPy sees scalars only. A length, a scalar product, a component or a trace is a function of the numbers that its
vectors are made of, and must be differentiated by all of them: so it is written out, down to components of what is no
expression of numbers (a displacement, a vector of the system), which are left as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from mdsl.model.nodes import Expr, Number, Op, Read, Type

AXES = "xyz"
COMPONENTS = tuple(f"component_{a}" for a in AXES)
SCALAR = Type("scalar", None)  # dimensions were checked before; from here on only the kind matters

Vector = tuple[Expr, ...]
Matrix = tuple[Vector, ...]


def op(name: str, *args: Expr, type: Type = SCALAR) -> Op:
    return Op(name, args, type=type)


def number(value: float) -> Number:
    return Number(value, type=SCALAR)


def added(terms: Sequence[Expr]) -> Expr:
    total = terms[0]
    for term in terms[1:]:
        total = op("add", total, term)
    return total


def by_components(dim: int) -> Callable[[Expr], Expr]:
    """A rewrite, bottom-up, of numbers that are made of vectors and matrices in ``dim`` dimensions."""
    return _Components(dim).number


class _Components:
    def __init__(self, dim: int):
        self.dim = dim
        # Each vector and matrix is taken apart once.
        self.vectors: dict[int, tuple[Expr, Vector]] = {}
        self.matrices: dict[int, tuple[Expr, Matrix]] = {}

    def number(self, expr: Expr) -> Expr:
        match expr:
            case Op(op="norm", args=(v,)) if v.type.kind == "vector":
                return op("sqrt", self.dot(self.vector(v), self.vector(v)))
            case Op(op="dot", args=(a, b)) if expr.type.kind == "scalar":
                return self.dot(self.vector(a), self.vector(b))
            case Op(op=name, args=(v,)) if name in COMPONENTS and v.type.kind == "vector":
                return self.vector(v)[COMPONENTS.index(name)]
            case Op(op="trace", args=(m,)):
                return added([row[k] for k, row in enumerate(self.matrix(m))])
            case Op(op=name, args=(m,)) if name.startswith("entry_"):
                row, column = map(AXES.index, name[-2:])
                return self.matrix(m)[row][column]
        return expr

    def vector(self, expr: Expr) -> Vector:
        if id(expr) not in self.vectors:
            self.vectors[id(expr)] = (expr, self._vector(expr))
        return self.vectors[id(expr)][1]

    def matrix(self, expr: Expr) -> Matrix:
        if id(expr) not in self.matrices:
            self.matrices[id(expr)] = (expr, self._matrix(expr))
        return self.matrices[id(expr)][1]

    def _vector(self, expr: Expr) -> Vector:
        match expr:
            case Op(op="vector", args=args):
                return args
            case Op(op="add" | "sub" | "neg" | "mul" | "div" | "choose"):
                return tuple(self._entry(expr, k) for k in range(self.dim))
            case Op(op="cross", args=(a, b)):
                return cross(self.vector(a), self.vector(b))
            case Op(op="dot", args=(a, b)) if a.type.kind == "matrix":
                return tuple(self.dot(row, self.vector(b)) for row in self.matrix(a))
            case Op(op="dot", args=(a, b)):
                return tuple(self.dot(self.vector(a), column) for column in zip(*self.matrix(b)))
        return tuple(op(c, expr) for c in COMPONENTS[: self.dim])

    def _matrix(self, expr: Expr) -> Matrix:
        places = range(self.dim)
        match expr:
            case Read(symbol="identity"):
                return tuple(tuple(number(float(a == b)) for b in places) for a in places)
            case Op(op="add" | "sub" | "neg" | "mul" | "div" | "choose"):
                return tuple(tuple(self._entry(expr, a, b) for b in places) for a in places)
            case Op(op="outer", args=(a, b)):
                return tuple(tuple(op("mul", p, q) for q in self.vector(b)) for p in self.vector(a))
            case Op(op="dot", args=(a, b)):
                return tuple(tuple(self.dot(row, c) for c in zip(*self.matrix(b))) for row in self.matrix(a))
            case Op(op="transpose", args=(a,)):
                return tuple(zip(*self.matrix(a)))
            case Op(op="diagonal", args=(a,)):
                rows = self.matrix(a)
                return tuple(tuple(rows[a][b] if a == b else number(0.0) for b in places) for a in places)
            case Op(op="inverse", args=(a,)):
                return inverse(self.matrix(a))
        return tuple(tuple(op(f"entry_{AXES[a]}{AXES[b]}", expr) for b in places) for a in places)

    def _entry(self, expr: Op, k: int, *column: int) -> Expr:
        """An entry of what does the same to each. Numbers and conditions count for all of them."""

        def entry(part: Expr) -> Expr:
            if part.type.kind not in ("vector", "matrix"):
                return part
            return self.matrix(part)[k][column[0]] if column else self.vector(part)[k]

        return op(expr.op, *map(entry, expr.args))

    def dot(self, a: Vector, b: Vector) -> Expr:
        return added([op("mul", p, q) for p, q in zip(a, b)])


def cross(a: Vector, b: Vector) -> Vector:
    def entry(k: int, n: int) -> Expr:
        return op("sub", op("mul", a[k], b[n]), op("mul", a[n], b[k]))

    return entry(1, 2), entry(2, 0), entry(0, 1)


def inverse(a: Matrix) -> Matrix:
    """By cofactors, of two or three rows."""
    if len(a) == 2:
        (p, q), (r, s) = a
        turned: Matrix = ((s, op("neg", q)), (op("neg", r), p))
        volume: Expr = op("sub", op("mul", p, s), op("mul", q, r))
    else:
        columns = [cross(a[(k + 1) % 3], a[(k + 2) % 3]) for k in range(3)]
        volume = added([op("mul", p, q) for p, q in zip(a[0], columns[0])])
        turned = tuple(zip(*columns))
    return tuple(tuple(op("div", e, volume) for e in row) for row in turned)
