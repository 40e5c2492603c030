"""Single numbers, variables, loops and branches in LLVM IR: the text of a function around its vectors.

Variables live in memory for LLVM to take into registers, so that no text has to say where they come from.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from .compile import ATTRIBUTES
from .ir import BITS, NAMES, Code, Value, literal


@dataclass
class Plain(Code):
    """Code of single numbers. Its lines may be those of code of vectors, for names differ."""

    def __call__(self, text: str) -> str:
        self.count += 1
        self.lines.append(f"  %s{self.count} = {text}")
        return f"%s{self.count}"

    def vector(self, kind: str) -> str:
        return NAMES[kind]

    def mangled(self, kind: str) -> str:
        return kind

    def number(self, value, kind: str) -> Value:
        return Value(self, literal(value, kind), kind)


@dataclass
class Function:
    """A function of pointers and whole numbers (i64) without a result. ``one``: its code of single numbers,
    ``each``: that of vectors."""

    name: str
    arguments: Sequence[str]  # names, of which those of pointers begin with p
    width: int
    each: Code = field(init=False)
    one: Plain = field(init=False)
    variables: list[str] = field(default_factory=list)
    labels: int = 0

    def __post_init__(self):
        self.each = Code(self.width, contract=True)
        self.one = Plain(1, contract=True, lines=self.each.lines, needs=self.each.needs)

    @property
    def _typed(self) -> list[str]:
        return [f"{'ptr' if a.startswith('p') else 'i64'} %{a}" for a in self.arguments]

    def argument(self, name: str) -> Value:
        return Value(self.one, f"%{name}", "i64")

    def call(self, values: Sequence[str]) -> str:
        """The line that calls it with these values."""
        types = [t.split()[0] for t in self._typed]
        return f"call void @{self.name}({', '.join(map(' '.join, zip(types, values, strict=True)))})"

    def text(self) -> str:
        head = f"define internal void @{self.name}({', '.join(self._typed)}) {ATTRIBUTES} {{"
        return "\n".join([head, "entry:", *self.variables, *self.each.lines, "  ret void", "}"])

    # -- memory ----------------------------------------------------------------------------------------------

    def local(self, first: Value) -> Variable:
        """A variable that begins with this value."""
        name = f"%x{len(self.variables)}"
        self.variables.append(f"  {name} = alloca {NAMES[first.kind]}")
        found = Variable(self.one, name, first.kind)
        found.set(first)
        return found

    def at(self, pointer: str, index: Value, kind: str) -> str:
        """Where an entry of an array is."""
        return self.one(f"getelementptr {NAMES[kind]}, ptr {pointer}, i64 {index.name}")

    def load(self, pointer: str, index: Value, kind: str) -> Value:
        return Value(self.one, self.one(f"load {NAMES[kind]}, ptr {self.at(pointer, index, kind)}"), kind)

    def whole(self, pointer: str, index: Value | int) -> Value:
        """An entry of an array i32, as i64."""
        index = self.one.number(index, "i64") if isinstance(index, int) else index
        return self.load(pointer, index, "i32").to("i64")

    def store(self, pointer: str, index: Value, value: Value) -> None:
        """One number, or a vector from this entry on."""
        place = self.at(pointer, index, value.kind)
        self.one.raw(f"store {value.type} {value.name}, ptr {place}, align {BITS[value.kind] // 8}")

    def loaded(self, pointer: str, index: Value, kind: str) -> Value:
        """A vector from this entry on."""
        place, code = self.at(pointer, index, kind), self.each
        return Value(code, code(f"load {code.vector(kind)}, ptr {place}, align {BITS[kind] // 8}"), kind)

    def splat(self, value: Value) -> Value:
        return self.each.splat(value.name, value.kind)

    # -- control ---------------------------------------------------------------------------------------------

    def _label(self) -> str:
        self.labels += 1
        return f"at{self.labels}"

    @contextmanager
    def loop(self, first: Value | int, last: Value, by: int = 1) -> Iterator[Value]:
        """From ``first`` on, for as long as it is less than ``last``."""
        k = self.local(self.one.number(first, "i64") if isinstance(first, int) else first)
        head, body, end = self._label(), self._label(), self._label()
        self.one.raw(f"br label %{head}", f"{head}:")
        now = k.value
        self.one.raw(f"br i1 {(now < last).name}, label %{body}, label %{end}", f"{body}:")
        yield now
        k.set(now + by)
        self.one.raw(f"br label %{head}", f"{end}:")

    @contextmanager
    def when(self, condition: Value) -> Iterator[None]:
        body, end = self._label(), self._label()
        self.one.raw(f"br i1 {condition.name}, label %{body}, label %{end}", f"{body}:")
        yield
        self.one.raw(f"br label %{end}", f"{end}:")


@dataclass(frozen=True)
class Variable:
    code: Code
    pointer: str
    kind: str

    @property
    def value(self) -> Value:
        return Value(self.code, self.code(f"load {NAMES[self.kind]}, ptr {self.pointer}"), self.kind)

    def set(self, value: Value) -> None:
        self.code.raw(f"store {value.type} {value.name}, ptr {self.pointer}")


def least(a: Value, b: Value) -> Value:
    return a.code.intrinsic("smin", a, a.number(b))


def most(a: Value, b: Value) -> Value:
    return a.code.intrinsic("smax", a, a.number(b))
