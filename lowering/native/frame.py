"""How XLA calls a function: the frame that it hands over, and a loop over leading axes of arrays, those of `vmap`.

The frame is a structure in C (`xla/ffi/api/c_api.h`), of which these offsets are read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .compile import ATTRIBUTES
from .elementary import defined
from .ir import NAMES, Code

# Offsets in bytes: of a frame, of its arguments and results, of a buffer, and of what a handler tells of itself.
EXTENSION, STAGE, ARGUMENTS, RESULTS = 8, 32, 72, 112
DATA, RANK, SIZES = 24, 32, 40
METADATA, MAJOR, MINOR, TRAITS = 24, 24, 28, 32
EXECUTE = 3  # of the stages of a call the one in which it computes


@dataclass(frozen=True)
class Operand:
    """An array: what its numbers are, and how many axes it has without those of `vmap`."""

    kind: str
    axes: int

    @property
    def stored(self) -> str:
        return "i32" if self.kind == "i1" else self.kind


def opened(code: Code, operands: Sequence[Operand], results: Sequence[str]) -> None:
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


def closed(code: Code) -> None:
    """Ends the loop over leading axes, at the label `batchend`."""
    code.raw("batchend:", "%nextb = add i64 %b, 1", "%moreb = icmp slt i64 %nextb, %batches")
    code.raw("br i1 %moreb, label %batch, label %done")


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


def module(code: Code, version: tuple[int, int], *functions: str, rooms: int = 0) -> str:
    """The module of a handler with these lines, for a version of the API; ``functions``: others that these call;
    ``rooms``: for how many vectors there is to be room in each."""
    called = sorted(need for need in code.needs if not need.startswith("declare"))
    found, declared = list(functions), {need for need in code.needs if need.startswith("declare")}
    for name in called:
        text, needs = defined(*name.split("."), code.width)
        found.append(text)
        declared |= needs
    declared = {d for d in declared if "@mdsl." not in d}
    handler = HANDLER.format(
        attributes=ATTRIBUTES, extension=EXTENSION, metadata=METADATA, major=MAJOR, minor=MINOR, traits=TRAITS,
        version=version, stage=STAGE, execute=EXECUTE, lines=code.text(rooms),
    )  # fmt: skip
    return "\n".join([*sorted(declared), HELPERS, *found, handler])
