"""A sum over the neighbours of rows as a function that XLA can call: loops around the printed kernel of a pair.

For each block of as many rows as a vector has lanes, one neighbour of each after the other; what is added up stays in
registers. Lanes beyond the last row read nothing and store nothing. Arrays may have leading axes, of `vmap`: the rows
of each entry of these are gone through in turn, and an axis of size 1 is the same for all.

XLA hands over a *frame*, a structure in C (`xla/ffi/api/c_api.h`), of which these offsets are read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .body import Separated, Table, kind_of
from .compile import ATTRIBUTES
from .elementary import defined
from .ir import BITS, NAMES, WHOLE, Code, Value
from .memory import gathered, rows_of_four
from .pair_loop import LATER, TOGETHER, PairLoop

# Offsets in bytes: of a frame, of its arguments and results, of a buffer, and of what a handler tells of itself.
EXTENSION, STAGE, ARGUMENTS, RESULTS = 8, 32, 72, 112
DATA, RANK, SIZES = 24, 32, 40
METADATA, MAJOR, MINOR, TRAITS = 24, 24, 28, 32
AHEAD = 4  # blocks of rows by which lists are fetched before they are read
EXECUTE = 3  # of the stages of a call the one in which it computes


@dataclass(frozen=True)
class Operand:
    """An array: what its numbers are, and how many axes it has without those of `vmap`."""

    kind: str
    axes: int

    @property
    def stored(self) -> str:
        return "i32" if self.kind == "i1" else self.kind


@dataclass(frozen=True)
class Array(Operand):
    """An operand that begins at ``pointer``."""

    pointer: str


@dataclass(frozen=True)
class Slots:
    """Neighbours are read from a list [K, n], slot by slot; the row itself is none."""

    operands = (Operand("i32", 2), Operand("i32", 0))  # the slots, and how many of them are in use

    def count(self, loop: Loop) -> str:
        code, used = loop.code, loop.lists[1]
        size = loop.size(0, "sub i64 %rank0, 2")
        wanted = code(f"sext i32 {code(f'load i32, ptr {used}')} to i64")
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
    _opened(code, operands, [*results, *(wide,) * scratch])
    loop = Loop(code, [f"%p{k}" for k in range(first)], [f"%q{len(results) + k}" for k in range(scratch)], wide)
    pointers = iter(range(first + 1, len(operands)))
    mine = [next(pointers) for u in own if u]
    theirs = [(n, next(pointers)) for n, u in enumerate(other) if u]
    tables = [Table(f"%p{next(pointers)}", o.kind, v.aval.shape) for o, v in zip(consts, body.constvars)]
    others = [Array(o.kind, 1, f"%p{k}") for o, (_, k) in zip(read[len(mine) :], theirs)]
    code.raw(f"%count = add i64 0, {layout.count(loop)}")
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
    code.raw("br i1 %morerows, label %block, label %batchend", "batchend:", "%nextb = add i64 %b, 1")
    code.raw("%moreb = icmp slt i64 %nextb, %batches", "br i1 %moreb, label %batch, label %done")
    return _module(code, version)


def _opened(code: Code, operands: Sequence[Operand], results: Sequence[str]) -> None:
    """Reads the frame, and begins the loop over leading axes: pointers `%p0` ... to operands and `%q0` ... to results,
    `%n` rows."""

    def load(what: str, pointer: str, offset: int | str) -> str:
        return code(f"load {what}, ptr {code(f'getelementptr i8, ptr {pointer}, i64 {offset}')}")

    args, found = load("ptr", "%frame", ARGUMENTS), load("ptr", "%frame", RESULTS)
    buffers = [load("ptr", args, 8 * k) for k in range(len(operands))]
    out = [load("ptr", found, 8 * k) for k in range(len(results))]
    data = [load("ptr", buffer, DATA) for buffer in (*buffers, *out)]
    code.raw(f"%rank0 = add i64 0, {load('i64', buffers[0], RANK)}")
    for k, buffer in enumerate(buffers):
        code.raw(f"%sizes{k} = getelementptr i8, ptr {load('ptr', buffer, SIZES)}, i64 0")
    sizes = load("ptr", out[0], SIZES)
    code.raw(f"%lead = sub i64 {load('i64', out[0], RANK)}, 1")
    code.raw(f"%n = load i64, ptr {code(f'getelementptr i64, ptr {sizes}, i64 %lead')}")
    code.raw(f"%batches = call i64 @product(ptr {sizes}, i64 0, i64 %lead)")
    code.raw("%any = icmp sgt i64 %n, 0", "%anyb = icmp sgt i64 %batches, 0", "%go = and i1 %any, %anyb")
    code.raw(
        f"%indices = alloca <{code.width} x i32>, align 64",
        code.rooms,
        "br label %start",
        "start:",
        "br i1 %go, label %batch, label %done",
        "batch:",
    )
    code.raw("%b = phi i64 [ 0, %start ], [ %nextb, %batchend ]")
    kinds = [*(o.stored for o in operands), *results]
    for k, (buffer, at, kind) in enumerate(zip((*buffers, *out), data, kinds)):
        place = code(f"call i64 @offset(ptr {buffer}, ptr {sizes}, i64 %lead, i64 %b)")
        name = f"%p{k}" if k < len(operands) else f"%q{k - len(operands)}"
        code.raw(f"{name} = getelementptr {NAMES[kind]}, ptr {at}, i64 {place}")


HELPERS = f"""
define internal i64 @product(ptr %sizes, i64 %first, i64 %last) nounwind noinline {{
entry:
  %some = icmp slt i64 %first, %last
  br i1 %some, label %next, label %end
next:
  %k = phi i64 [ %first, %entry ], [ %more, %next ]
  %so = phi i64 [ 1, %entry ], [ %far, %next ]
  %place = getelementptr i64, ptr %sizes, i64 %k
  %size = load i64, ptr %place
  %far = mul i64 %so, %size
  %more = add i64 %k, 1
  %go = icmp slt i64 %more, %last
  br i1 %go, label %next, label %end
end:
  %all = phi i64 [ 1, %entry ], [ %far, %next ]
  ret i64 %all
}}

define internal i64 @offset(ptr %buffer, ptr %like, i64 %lead, i64 %b) nounwind noinline {{
entry:
  %rankat = getelementptr i8, ptr %buffer, i64 {RANK}
  %rank = load i64, ptr %rankat
  %sizesat = getelementptr i8, ptr %buffer, i64 {SIZES}
  %sizes = load ptr, ptr %sizesat
  %inner = call i64 @product(ptr %sizes, i64 %lead, i64 %rank)
  %some = icmp sgt i64 %lead, 0
  br i1 %some, label %next, label %end
next:
  %k = phi i64 [ %lead, %entry ], [ %axis, %next ]
  %left = phi i64 [ %b, %entry ], [ %rest, %next ]
  %stride = phi i64 [ %inner, %entry ], [ %wider, %next ]
  %so = phi i64 [ 0, %entry ], [ %far, %next ]
  %axis = sub i64 %k, 1
  %likeat = getelementptr i64, ptr %like, i64 %axis
  %whole = load i64, ptr %likeat
  %ownat = getelementptr i64, ptr %sizes, i64 %axis
  %own = load i64, ptr %ownat
  %at = srem i64 %left, %whole
  %rest = sdiv i64 %left, %whole
  %shared = icmp eq i64 %own, 1
  %here = select i1 %shared, i64 0, i64 %at
  %step = mul i64 %here, %stride
  %far = add i64 %so, %step
  %wider = mul i64 %stride, %own
  %go = icmp sgt i64 %axis, 0
  br i1 %go, label %next, label %end
end:
  %all = phi i64 [ 0, %entry ], [ %far, %next ]
  ret i64 %all
}}
"""

HANDLER = """
define ptr @"%NAME%"(ptr %frame) {attributes} {{
entry:
  %extensionat = getelementptr i8, ptr %frame, i64 {extension}
  %extension = load ptr, ptr %extensionat
  %asked = icmp ne ptr %extension, null
  br i1 %asked, label %tell, label %stage
tell:
  %metadataat = getelementptr i8, ptr %extension, i64 {metadata}
  %metadata = load ptr, ptr %metadataat
  %majorat = getelementptr i8, ptr %metadata, i64 {major}
  store i32 {version[0]}, ptr %majorat
  %minorat = getelementptr i8, ptr %metadata, i64 {minor}
  store i32 {version[1]}, ptr %minorat
  %traitsat = getelementptr i8, ptr %metadata, i64 {traits}
  store i32 0, ptr %traitsat
  ret ptr null
stage:
  %stageat = getelementptr i8, ptr %frame, i64 {stage}
  %stagenow = load i32, ptr %stageat
  %executes = icmp eq i32 %stagenow, {execute}
  br i1 %executes, label %run, label %done
run:
{lines}
done:
  ret ptr null
}}
"""


def _module(code: Code, version: tuple[int, int]) -> str:
    called = sorted(need for need in code.needs if not need.startswith("declare"))
    functions, declared = [], {need for need in code.needs if need.startswith("declare")}
    for name in called:
        text, needs = defined(*name.split("."), code.width)
        functions.append(text)
        declared |= needs
    declared = {d for d in declared if "@mdsl." not in d}
    handler = HANDLER.format(
        attributes=ATTRIBUTES, extension=EXTENSION, metadata=METADATA, major=MAJOR, minor=MINOR, traits=TRAITS,
        version=version, stage=STAGE, execute=EXECUTE, lines=code.text(TOGETHER),
    )  # fmt: skip
    return "\n".join([*sorted(declared), HELPERS, *functions, handler])
