"""A sum over the neighbours of rows as a function that XLA can call: loops around the printed kernel of a pair.

For each block of as many rows as a vector has lanes, one neighbour of each after the other; what is added up stays in
registers. Lanes beyond the last row read nothing and store nothing. Arrays may have leading axes, of `vmap`: the rows
of each entry of these are gone through in turn, and an axis of size 1 is the same for all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .body import Separated, Table, kind_of
from .frame import Operand, closed, module, opened
from .ir import BITS, NAMES, WHOLE, Code, Value
from .memory import gathered, rows_of_four
from .pair_loop import LATER, TOGETHER, PairLoop

AHEAD = 4  # blocks of rows by which lists are fetched before they are read


@dataclass(frozen=True)
class Array(Operand):
    """An operand that begins at ``pointer``."""

    pointer: str


@dataclass(frozen=True)
class Slots:
    """Neighbours are read from a list [K, n], slot by slot; the row itself is none. How many slots are in use is known
    for all rows, or, if ``by_rows``, for each: a block goes as far as the longest of its own."""

    by_rows: bool = False

    @property
    def operands(self) -> tuple[Operand, ...]:
        return (Operand("i32", 2), Operand("i32", 1 if self.by_rows else 0))  # slots, and how many of them are in use

    def count(self, loop: Loop) -> str:
        code, used = loop.code, loop.lists[1]
        size = loop.size(0, "sub i64 %rank0, 2")
        if self.by_rows:
            lengths = loop.read(used, "i32")
            name = f"llvm.vector.reduce.smax.{code.mangled('i32')}"
            code.needs.add(f"declare i32 @{name}({lengths.type})")
            longest = code(f"call i32 @{name}({lengths.type} {lengths.name})")
        else:
            longest = code(f"load i32, ptr {used}")
        wanted = code(f"sext i32 {longest} to i64")
        code.needs.add("declare i64 @llvm.smin.i64(i64, i64)")
        return code(f"call i64 @llvm.smin.i64(i64 {wanted}, i64 {size})")

    def neighbour(self, loop: Loop) -> Value:
        code = loop.code
        at = code(f"getelementptr i32, ptr {loop.lists[0]}, i64 {code('mul i64 %k, %n')}")
        # What is read next of this slot lies as far from that of the next slot: no processor foresees that.
        ahead = code(f"getelementptr i32, ptr {at}, i64 {code(f'add i64 %row, {AHEAD * code.width}')}")
        code.needs.add("declare void @llvm.prefetch.p0(ptr, i32, i32, i32)")
        code.raw(f"call void @llvm.prefetch.p0(ptr {ahead}, i32 0, i32 3, i32 1)")
        return loop.read(at, "i32", loop.me)

    def scratch(self, count: int) -> int:
        """How many arrays [N, 4] the values of other atoms are brought into, which are read together."""
        return -(-count // 4) if count > 1 else 0

    def values(self, loop: Loop, others: Sequence[Array]) -> list[Value]:
        if len(others) == 1:
            return [gathered(others[0].pointer, loop.other, others[0].stored).to(others[0].kind)]
        found = [v for pointer in loop.scratch for v in rows_of_four(pointer, loop.other, loop.wide)]
        return [unpacked(v, o.kind) for v, o in zip(found, others)]

    def valid(self, loop: Loop) -> Value:
        return loop.other.compared("ne", loop.me)


@dataclass(frozen=True)
class Everyone:
    """All atoms are neighbours but the row itself, and those ``excluded``: as many for each row, [E, n]."""

    excluded: int

    @property
    def operands(self) -> tuple[Operand, ...]:
        return (Operand("i32", 1), *((Operand("i32", 2),) if self.excluded else ()))  # all atoms, and those excluded

    def count(self, loop: Loop) -> str:
        return loop.size(0, "sub i64 %rank0, 1")

    def neighbour(self, loop: Loop) -> Value:
        return loop.code.splat(loop.code("trunc i64 %k to i32"), "i32")

    def scratch(self, count: int) -> int:
        return 0

    def values(self, loop: Loop, others: Sequence[Array]) -> list[Value]:
        code, found = loop.code, []
        for o in others:
            word = NAMES[o.stored]
            place = code(f"getelementptr {word}, ptr {o.pointer}, i64 %k")
            found.append(code.splat(code(f"load {word}, ptr {place}"), o.stored).to(o.kind))
        return found

    def valid(self, loop: Loop) -> Value:
        code, valid = loop.code, loop.other.compared("ne", loop.me)
        for k in range(self.excluded):
            at = code(f"getelementptr i32, ptr {loop.lists[1]}, i64 {code(f'mul i64 {k}, %n')}")
            valid = valid & loop.other.compared("ne", loop.read(at, "i32", loop.me))
        return valid


@dataclass
class Loop:
    """Where the text of a sum is: ``lists`` are pointers to what the layout reads, ``scratch`` to arrays in which
    values of other atoms stand side by side as numbers of the kind ``wide``; ``me``, ``other``: the indices of rows and
    neighbours; ``active``: which lanes are rows."""

    code: Code
    lists: list[str]
    scratch: list[str]
    wide: str
    me: Value | None = None
    other: Value | None = None
    active: Value | None = None

    def size(self, operand: int, axis: str) -> str:
        """The length of an axis of an operand; ``axis``: an operation that tells which."""
        code = self.code
        place = code(f"getelementptr i64, ptr %sizes{operand}, i64 {code(axis)}")
        return code(f"load i64, ptr {place}")

    def read(self, pointer: str, kind: str, otherwise: Value | None = None) -> Value:
        """The values of rows, from those of the first on; ``otherwise`` where there are none."""
        code, vector = self.code, self.code.vector(kind)
        at = code(f"getelementptr {NAMES[kind]}, ptr {pointer}, i64 %row")
        other = code.number(0, kind) if otherwise is None else otherwise
        name = f"llvm.masked.load.{code.mangled(kind)}.p0"
        code.needs.add(f"declare {vector} @{name}(ptr, i32, {self.active.type}, {vector})")
        given = f"ptr {at}, i32 {BITS[kind] // 8}, {self.active.type} {self.active.name}, {vector} {other.name}"
        return Value(code, code(f"call {vector} @{name}({given})"), kind)

    def write(self, pointer: str, value: Value) -> None:
        code = self.code
        at = code(f"getelementptr {NAMES[value.kind]}, ptr {pointer}, i64 %row")
        name = f"llvm.masked.store.{code.mangled(value.kind)}.p0"
        code.needs.add(f"declare void @{name}({value.type}, ptr, i32, {self.active.type})")
        given = f"{value.type} {value.name}, ptr {at}, i32 {BITS[value.kind] // 8}"
        code.raw(f"call void @{name}({given}, {self.active.type} {self.active.name})")


def unpacked(value: Value, kind: str) -> Value:
    """What `_side_by_side` stored."""
    return value.to(kind) if kind in WHOLE else value.bits().to("i32" if kind == "i1" else kind).to(kind)


def _side_by_side(loop: Loop, others: Sequence[Array], count: str) -> None:
    """Writes the values of all atoms to the rows of ``scratch``; whole numbers by their bits."""
    code, word = loop.code, NAMES[loop.wide]
    code.raw("br label %atom", "atom:", "%a = phi i64 [ 0, %batch ], [ %nexta, %atom ]")
    for first, pointer in zip(range(0, len(others), 4), loop.scratch):
        row = "zeroinitializer"
        for m, o in enumerate(others[first : first + 4]):
            stored = NAMES[o.stored]
            value = code(f"load {stored}, ptr {code(f'getelementptr {stored}, ptr {o.pointer}, i64 %a')}")
            if o.stored in WHOLE and o.stored != loop.wide:
                value = code(f"fpext {stored} {value} to {word}")
            elif o.stored not in WHOLE:
                whole = NAMES[WHOLE[loop.wide]]
                value = value if stored == whole else code(f"sext {stored} {value} to {whole}")
                value = code(f"bitcast {whole} {value} to {word}")
            row = code(f"insertelement <4 x {word}> {row}, {word} {value}, i32 {m}")
        place = code(f"getelementptr {word}, ptr {pointer}, i64 {code('mul i64 %a, 4')}")
        code.raw(f"store <4 x {word}> {row}, ptr {place}, align {BITS[loop.wide] // 8}")
    code.raw("%nexta = add i64 %a, 1", f"%morea = icmp slt i64 %nexta, {count}")
    code.raw("br i1 %morea, label %atom, label %rows")


def printed(
    body: Separated,
    layout: Slots | Everyone,
    own: Sequence[bool],
    other: Sequence[bool],
    wide: str,
    width: int,
    version: tuple,
) -> str:
    """A module with one function, `%NAME%`. The inputs of ``body`` are the values of the own atom, those of the other,
    and whether this is a pair; ``own`` and ``other`` say which it reads. Operands: those of the layout; the indices of
    the rows [n]; what is read of rows [n], and of all atoms [N]; and what its constvars are. Results: the sums, and
    the layout's scratch of numbers of the kind ``wide``. ``version``: that of the API for which this is.
    """
    inputs = [Operand(kind_of(v.aval), 1) for v in body.invars[:-1]]
    read = [o for o, used in zip(inputs, (*own, *other), strict=True) if used]
    consts = [Operand(kind_of(v.aval), v.aval.ndim) for v in body.constvars]
    operands = (*layout.operands, Operand("i32", 1), *read, *consts)
    results = [kind_of(v.aval) for v in body.outvars]
    scratch = layout.scratch(sum(other))
    code, first = Code(width, contract=True), len(layout.operands)
    opened(code, operands, [*results, *(wide,) * scratch])
    loop = Loop(code, [f"%p{k}" for k in range(first)], [f"%q{len(results) + k}" for k in range(scratch)], wide)
    pointers = iter(range(first + 1, len(operands)))
    mine = [next(pointers) for u in own if u]
    theirs = [(n, next(pointers)) for n, u in enumerate(other) if u]
    tables = [Table(f"%p{next(pointers)}", o.kind, v.aval.shape) for o, v in zip(consts, body.constvars)]
    others = [Array(o.kind, 1, f"%p{k}") for o, (_, k) in zip(read[len(mine) :], theirs)]
    if scratch:
        _side_by_side(loop, others, loop.size(theirs[0][1], "add i64 %lead, 0"))
    else:
        code.raw("br label %rows")
    code.raw("rows:")
    tables = [table.before(code) for table in tables]
    code.raw("br label %block", "block:", "%row = phi i64 [ 0, %rows ], [ %nextrow, %blockend ]")
    rest = code(f"trunc i64 {code('sub i64 %n, %row')} to i32")
    loop.active = code.lanes("i32") < code.splat(rest, "i32")
    loop.me = loop.read(f"%p{first}", "i32")
    owned = iter([loop.read(f"%p{k}", o.stored).to(o.kind) for k, o in zip(mine, read)])
    code.raw(f"%count = add i64 0, {layout.count(loop)}")
    code.raw("%some = icmp sgt i64 %count, 0", "br label %before", "before:")
    given = [*(next(owned) if u else None for u in own), *(LATER if u else None for u in other), LATER]
    pair = PairLoop(body, layout, loop, others, dict(zip(body.invars, given)), dict(zip(body.constvars, tables)))
    last = pair.printed()
    code.raw("blockend:")
    for n, kind in enumerate(results):
        code.raw(f"%sum{n} = phi {code.vector(kind)} [ zeroinitializer, %before ], [ %new{n}, %{last} ]")
    for n, kind in enumerate(results):
        loop.write(f"%q{n}", Value(code, f"%sum{n}", kind))
    code.raw(f"%nextrow = add i64 %row, {width}", "%morerows = icmp slt i64 %nextrow, %n")
    code.raw("br i1 %morerows, label %block, label %batchend")
    closed(code)
    return module(code, version, rooms=TOGETHER)
