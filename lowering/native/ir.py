"""LLVM IR with vectors: the text of straight-line code, one operation a line, all values of one width."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

NAMES = {"f32": "float", "f64": "double", "i32": "i32", "i64": "i64", "i1": "i1"}
BITS = {"f32": 32, "f64": 64, "i32": 32, "i64": 64, "i1": 1}
WHOLE = {"f32": "i32", "f64": "i64"}  # whole numbers of the same size
FLOAT = {"add": "fadd", "sub": "fsub", "mul": "fmul", "div": "fdiv", "rem": "frem"}
INTEGER = {"add": "add", "sub": "sub", "mul": "mul", "div": "sdiv", "rem": "srem"}
# `ne` holds of what is not a number, the others do not.
ORDERS = {"lt": ("olt", "slt"), "le": ("ole", "sle"), "gt": ("ogt", "sgt"), "ge": ("oge", "sge")}
ORDERS |= {"eq": ("oeq", "eq"), "ne": ("une", "ne")}


@dataclass
class Code:
    """Lines of one function. ``width``: of its vectors; ``contract``: whether products and sums may be one rounding."""

    width: int
    contract: bool = False
    lines: list[str] = field(default_factory=list)
    needs: set[str] = field(default_factory=set)  # declarations, and names of elementary functions as `exp.f64`
    count: int = 0
    vectors: list[str] = field(default_factory=list)  # types of those for which there is room in memory
    rooms = "; rooms"  # the line where that is asked for

    def room(self, kind: str) -> str:
        """Memory for some vectors of a type."""
        self.vectors.append(kind)
        return f"%room{len(self.vectors) - 1}"

    def text(self, size: int) -> str:
        """All lines, with rooms for so many vectors."""
        rooms = [f"  %room{k} = alloca [{size} x {kind}], align 64" for k, kind in enumerate(self.vectors)]
        return "\n".join(self.lines).replace(f"  {self.rooms}", "\n".join(rooms))

    def __call__(self, text: str) -> str:
        """The name of the result of an operation."""
        self.count += 1
        self.lines.append(f"  %v{self.count} = {text}")
        return f"%v{self.count}"

    def raw(self, *texts: str) -> None:
        self.lines += [text if text.endswith(":") else f"  {text}" for text in texts]

    def vector(self, kind: str) -> str:
        return f"<{self.width} x {NAMES[kind]}>"

    def mangled(self, kind: str) -> str:
        """As in names of intrinsic functions: `v8f64`."""
        return f"v{self.width}{kind}"

    def number(self, value, kind: str) -> Value:
        return Value(self, f"<{', '.join([f'{NAMES[kind]} {literal(value, kind)}'] * self.width)}>", kind)

    def lanes(self, kind: str) -> Value:
        """0, 1, 2 ..."""
        return Value(self, f"<{', '.join(f'{NAMES[kind]} {k}' for k in range(self.width))}>", kind)

    def splat(self, name: str, kind: str) -> Value:
        """One number in all lanes."""
        one = self(f"insertelement {self.vector(kind)} poison, {NAMES[kind]} {name}, i32 0")
        zeros = f"<{self.width} x i32> zeroinitializer"
        return Value(self, self(f"shufflevector {self.vector(kind)} {one}, {self.vector(kind)} poison, {zeros}"), kind)

    def intrinsic(self, name: str, *args: Value) -> Value:
        return self.called(f"llvm.{name}.{self.mangled(args[0].kind)}", *args)

    def called(self, name: str, *args: Value) -> Value:
        """Of a function of vectors whose result is like its first argument."""
        types = ", ".join(a.type for a in args)
        self.needs.add(f"declare {args[0].type} @{name}({types})")
        flag = "contract " * (self.contract and args[0].floating)
        given = ", ".join(f"{a.type} {a.name}" for a in args)
        return args[0].like(self(f"call {flag}{args[0].type} @{name}({given})"))


def literal(value, kind: str) -> str:
    """A number as LLVM writes it: of any precision by the bits of a double."""
    if kind == "i1":
        return "true" if value else "false"
    if kind in ("i32", "i64"):
        half = 2 ** (BITS[kind] - 1)
        return str((int(value) + half) % (2 * half) - half)
    with np.errstate(over="ignore"):
        return f"0x{int(np.float64(np.float32(value) if kind == 'f32' else value).view(np.uint64)):016X}"


@dataclass(frozen=True, eq=False)
class Value:
    """A vector: the name of it in some code, and the kind of its numbers."""

    code: Code
    name: str
    kind: str

    @property
    def type(self) -> str:
        return self.code.vector(self.kind)

    @property
    def floating(self) -> bool:
        return self.kind in WHOLE

    def like(self, name: str) -> Value:
        return Value(self.code, name, self.kind)

    def number(self, value) -> Value:
        return value if isinstance(value, Value) else self.code.number(value, self.kind)

    def operation(self, name: str, other) -> Value:
        flag = " contract" * (self.code.contract and self.floating)
        word = FLOAT[name] + flag if self.floating else INTEGER[name]
        return self.like(self.code(f"{word} {self.type} {self.name}, {self.number(other).name}"))

    def __add__(self, other):
        return self.operation("add", other)

    def __sub__(self, other):
        return self.operation("sub", other)

    def __mul__(self, other):
        return self.operation("mul", other)

    def __truediv__(self, other):
        return self.operation("div", other)

    def __neg__(self):
        if not self.floating:
            return self.number(0) - self
        return self.like(self.code(f"fneg {self.type} {self.name}"))

    def __abs__(self):
        if not self.floating:
            return self.where_less(0, -self)
        return self.code.intrinsic("fabs", self)

    def where_less(self, bound, otherwise) -> Value:
        """``otherwise`` where it is less than the bound."""
        return where(self.compared("lt", bound), otherwise, self)

    def compared(self, order: str, other) -> Value:
        word = f"fcmp {ORDERS[order][0]}" if self.floating else f"icmp {ORDERS[order][1]}"
        return Value(self.code, self.code(f"{word} {self.type} {self.name}, {self.number(other).name}"), "i1")

    def __lt__(self, other):
        return self.compared("lt", other)

    def __gt__(self, other):
        return self.compared("gt", other)

    def __le__(self, other):
        return self.compared("le", other)

    def __ge__(self, other):
        return self.compared("ge", other)

    def bitwise(self, name: str, other) -> Value:
        return self.like(self.code(f"{name} {self.type} {self.name}, {self.number(other).name}"))

    def __and__(self, other):
        return self.bitwise("and", other)

    def __or__(self, other):
        return self.bitwise("or", other)

    def __xor__(self, other):
        return self.bitwise("xor", other)

    def __invert__(self):
        return self ^ (1 if self.kind == "i1" else -1)

    def __lshift__(self, other):
        return self.bitwise("shl", other)

    def __rshift__(self, other):
        return self.bitwise("ashr", other)

    def fma(self, factor, term) -> Value:
        """This times a factor, plus a term, rounded once."""
        return self.code.intrinsic("fma", self, self.number(factor), self.number(term))

    def bits(self) -> Value:
        return self.converted("bitcast", WHOLE[self.kind])

    def as_float(self, kind: str) -> Value:
        """The number with these bits."""
        return self.converted("bitcast", kind)

    def converted(self, how: str, kind: str) -> Value:
        new = self.code.vector(kind)
        return Value(self.code, self.code(f"{how} {self.type} {self.name} to {new}"), kind)

    def _whole(self, kind: str) -> Value:
        """Towards 0, the nearest there is, 0 of what is not a number. LLVM's own `fptosi.sat` takes vectors apart."""
        least, over = -(2.0 ** (BITS[kind] - 1)), 2.0 ** (BITS[kind] - 1)
        bounded = where(self >= least, self, least)  # also what is not a number
        found = where(bounded < over, bounded, 0.0).converted("fptosi", kind)
        found = where(self >= over, found.number(int(over) - 1), found)
        return where(self.compared("ne", self), 0, found)

    def to(self, kind: str) -> Value:
        """The nearest number of another kind; towards 0 for whole ones, and 0 where there is none."""
        if kind == self.kind:
            return self
        if kind == "i1":
            return self.compared("ne", 0)
        if self.kind == "i1":
            return self.converted("zext", kind) if kind not in WHOLE else self.converted("uitofp", kind)
        if self.floating and kind in WHOLE:
            return self.converted("fpext" if kind == "f64" else "fptrunc", kind)
        if self.floating:
            return self._whole(kind)
        if kind in WHOLE:
            return self.converted("sitofp", kind)
        return self.converted("sext" if BITS[kind] > BITS[self.kind] else "trunc", kind)


def where(condition: Value, then, otherwise) -> Value:
    then = then if isinstance(then, Value) else otherwise.number(then)
    other = then.number(otherwise)
    code = then.code
    return then.like(
        code(f"select {condition.type} {condition.name}, {then.type} {then.name}, {then.type} {other.name}")
    )


def sqrt(x: Value) -> Value:
    return x.code.intrinsic("sqrt", x)


def copysign(size: Value, sign: Value) -> Value:
    return size.code.intrinsic("copysign", size, sign)
