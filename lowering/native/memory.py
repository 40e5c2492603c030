"""Numbers of many atoms from memory to registers."""

from __future__ import annotations

from .ir import BITS, NAMES, Code, Value


def gathered(pointer: str, index: Value, kind: str) -> Value:
    code, word = index.code, NAMES[kind]
    places = code(f"getelementptr {word}, ptr {pointer}, {index.type} {index.name}")
    pointers, mask = f"<{code.width} x ptr>", code.number(True, "i1")
    name = f"llvm.masked.gather.{code.mangled(kind)}.v{code.width}p0"
    code.needs.add(f"declare {code.vector(kind)} @{name}({pointers}, i32, {mask.type}, {code.vector(kind)})")
    given = f"{pointers} {places}, i32 {BITS[kind] // 8}, {mask.type} {mask.name}, {code.vector(kind)} poison"
    return Value(code, code(f"call {code.vector(kind)} @{name}({given})"), kind)


def rows_of_four(pointer: str, index: Value, kind: str) -> list[Value]:
    """The four columns of the rows [N, 4] at some indices: each row is loaded whole, which takes a third of the time of
    as many gathers, and groups of four rows change places with their columns."""
    code, word = index.code, NAMES[kind]
    if code.width < 4:
        return [gathered(pointer, index * 4 + m, kind) for m in range(4)]
    size = BITS[kind] // 8
    rows = []
    for offset in _offsets(index, 4 * size):
        at = code(f"getelementptr i8, ptr {pointer}, i64 {offset}")
        rows.append(code(f"load <4 x {word}>, ptr {at}, align {size}"))
    a, b, c, d = (_joined(code, rows[m::4], word) for m in range(4))
    if kind == "f64":  # pairs of lanes are halves of a group
        low, high = [(0, 4, 2, 6), (1, 5, 3, 7)]
        (u, v), (s, t) = ([_mixed(code, *two, word, w) for w in (low, high)] for two in ((a, b), (c, d)))
        found = [_mixed(code, *two, word, w) for w in ((0, 1, 4, 5), (2, 3, 6, 7)) for two in ((u, s), (v, t))]
    else:
        low, high = [(0, 4, 1, 5), (2, 6, 3, 7)]
        (u, v), (s, t) = ([_mixed(code, *two, word, w) for w in (low, high)] for two in ((a, b), (c, d)))
        found = [_mixed(code, *two, word, w) for two in ((u, s), (v, t)) for w in ((0, 1, 4, 5), (2, 3, 6, 7))]
    return [Value(code, name, kind) for name in found]


def _offsets(index: Value, size: int) -> list[str]:
    """Where the rows of so many bytes at some indices begin, below 4 GiB. They become numbers of their own by way of
    memory, for LLVM would take the vector apart, which is slower."""
    code, kind = index.code, index.type
    found = code(f"shl {kind} {index.name}, {code.number(size.bit_length() - 1, 'i32').name}")
    code.raw(f"store volatile {kind} {found}, ptr %indices")
    lanes = [
        code(f"load volatile i32, ptr {code(f'getelementptr i32, ptr %indices, i64 {lane}')}")
        for lane in range(code.width)
    ]
    return [code(f"zext i32 {lane} to i64") for lane in lanes]


def _joined(code: Code, rows: list[str], word: str) -> str:
    """Vectors one behind the other in one."""
    size = 4
    while len(rows) > 1:
        every = ", ".join(f"i32 {k}" for k in range(2 * size))
        kind = f"<{size} x {word}>"
        rows = [
            code(f"shufflevector {kind} {p}, {kind} {q}, <{2 * size} x i32> <{every}>")
            for p, q in zip(rows[::2], rows[1::2])
        ]
        size *= 2
    return rows[0]


def _mixed(code: Code, a: str, b: str, word: str, which: tuple[int, ...]) -> str:
    """From each group of four lanes of two vectors the lanes ``which``, those of the second from 4 on."""
    width = code.width
    lanes = (4 * g + w if w < 4 else width + 4 * g + w - 4 for g in range(width // 4) for w in which)
    kind = f"<{width} x {word}>"
    every = ", ".join(f"i32 {k}" for k in lanes)
    return code(f"shufflevector {kind} {a}, {kind} {b}, <{width} x i32> <{every}>")
