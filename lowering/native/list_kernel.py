"""A neighbour list as a function that XLA can call: the same atoms in the same columns as in `neighbours.lists`, found
by other means.

Atoms are counted into the bins of their columns, and their coordinates written in that order. A row goes through the
bins that are near it, in each column near its own, as many candidates at once as a vector has lanes: those that are
within the radius are packed and put behind those found before. Columns that are seen across the box, and what lies
beyond an end of a column, are compared with the row moved the other way, so that nothing is written for images. Rows
are filled a block after the other; a block is then written to slots, where its rows become lanes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from .control import Function, least, most
from .frame import Operand, closed, module, opened
from .ir import Code, Value, where

ROWS = 64  # of a block
NUMBERS = ("near", "radius", "origin", "width")  # that the kernel reads, and behind them the entries of the box


@dataclass(frozen=True)
class Shape:
    """What a text is made for: which axes are ``periodic``, along which of these the nearest image is found for each
    pair (``imaged``), and whether the box is ``tilted``. ``width``: of vectors; ``packs``: whether the processor brings
    chosen lanes together."""

    periodic: tuple[bool, ...]
    imaged: tuple[bool, ...]
    tilted: bool
    width: int
    packs: bool

    @property
    def dim(self) -> int:
        return len(self.periodic)

    @property
    def operands(self) -> tuple[Operand, ...]:
        """Of each atom its bin and its coordinates; the cells along each axis, and the first row; `NUMBERS`; and the
        list whose place is taken."""
        whole, real = Operand("i32", 1), Operand("f32", 1)
        return (whole, *(real,) * self.dim, whole, real, Operand("i32", 2))

    @property
    def results(self) -> tuple[str, ...]:
        """Order, slots, lengths, what was needed; and what is in between: bins, sorted coordinates, rows."""
        return ("i32", "i32", "i32", "i32", "i32", *("f32",) * self.dim, "i32")


def printed(shape: Shape, version: tuple[int, int]) -> str:
    """A module with one function, `%NAME%`, for a version of the API."""
    d = shape.dim
    pointers = ["pkey", *(f"px{a}" for a in range(d)), "pcells", "pnumbers", "pinto"]
    pointers += ["porder", "pslots", "plengths", "pfound", "pstart", *(f"psorted{a}" for a in range(d)), "prows"]
    build = Function("build", [*pointers, "n", "slots", "count"], shape.width)
    _Build(build, shape).write()
    code = Code(shape.width)
    opened(code, shape.operands, shape.results)
    into = len(shape.operands) - 1

    def size(of: int, axis: str) -> str:
        return code(f"load i64, ptr {code(f'getelementptr i64, ptr %sizes{of}, i64 {axis}')}")

    names = [f"%p{k}" for k in range(len(shape.operands))] + [f"%q{k}" for k in range(len(shape.results))]
    axes = size(into, "%lead"), size(into, code("add i64 %lead, 1"))
    code.raw(build.call([*names, "%n", *axes]), "br label %batchend")
    closed(code)
    code.needs |= build.each.needs
    return module(code, version, build.text())


class _Build:
    """Writes the function."""

    def __init__(self, function: Function, shape: Shape):
        self.f, self.shape, self.one, self.each = function, shape, function.one, function.each
        self.n, self.slots, self.count = map(function.argument, ("n", "slots", "count"))
        self.stride = self.slots + shape.width  # of a row: what is stored last may go beyond its slots

    def number(self, value: int) -> Value:
        return self.one.number(value, "i64")

    def write(self) -> None:
        f, d = self.f, self.shape.dim
        self.cells = [f.whole("%pcells", a) for a in range(d)]
        self.start, self.bins = f.whole("%pcells", d), prod(self.cells[1:], start=self.cells[0])
        real = lambda k: f.load("%pnumbers", self.number(k), "f32")  # noqa: E731
        self.near, self.radius, self.origin, self.bin = (real(k) for k in range(len(NUMBERS)))
        self.box, k = [], len(NUMBERS)
        for a in range(d):
            self.box.append([real(k + j) for j in range(a + 1)])
            k += a + 1
        self.degree, self.widest = f.local(self.number(0)), f.local(self.number(0))
        self._sort()
        with f.loop(0, self.count, ROWS) as first:
            last = least(first + ROWS, self.count)
            with f.loop(first, last) as row:
                f.store("%plengths", row, self._row(self.start + row, (row - first) * self.stride).to("i32"))
            self._to_slots(first, last)
        f.store("%pfound", self.number(0), self.degree.value.to("i32"))
        f.store("%pfound", self.number(1), self.widest.value.to("i32"))

    # -- order -----------------------------------------------------------------------------------------------

    def _sort(self) -> None:
        """By counting. `start` has one place more than there are bins: counts stand one to the right, and become where
        bins begin; when atoms are in their places, where they end, which is where the next begin."""
        f = self.f
        with f.loop(0, self.bins + 1) as k:
            f.store("%pstart", k, self.one.number(0, "i32"))
        with f.loop(0, self.n) as atom:
            after = self._key(atom) + 1
            f.store("%pstart", after, f.load("%pstart", after, "i32") + 1)
        total = f.local(self.one.number(0, "i32"))
        with f.loop(0, self.bins) as k:  # the first entry stays where it is: 0 atoms are before the first bin
            here = f.load("%pstart", k + 1, "i32")
            f.store("%pstart", k + 1, total.value)
            total.set(total.value + here)
        with f.loop(0, self.n) as atom:
            after = self._key(atom) + 1
            place = f.load("%pstart", after, "i32")
            f.store("%pstart", after, place + 1)
            f.store("%porder", place.to("i64"), atom.to("i32"))
            for a in range(self.shape.dim):
                f.store(f"%psorted{a}", place.to("i64"), f.load(f"%px{a}", atom, "f32"))

    def _key(self, atom: Value) -> Value:
        """The bin of an atom: what has no place, for it is no number, is in one all the same."""
        return least(most(self.f.whole("%pkey", atom), self.number(0)), self.bins - 1)

    # -- a row -----------------------------------------------------------------------------------------------

    def _row(self, row: Value, to: Value) -> Value:
        """Writes the neighbours of a row to `rows`, from the entry ``to`` on, and the row itself behind them; how many
        there are."""
        f, d = self.f, self.shape.dim
        self.row, self.to, self.held = row, to, f.local(self.number(0))
        with f.when(row < self.n):
            own = [f.load(f"%psorted{a}", row, "f32") for a in range(d)]
            column = self._key(f.whole("%porder", row)) / self.cells[-1]
            places: list[Value] = []
            for a in reversed(range(d - 1)):
                places.insert(0, column.operation("rem", self.cells[a]))
                column = column / self.cells[a]
            self._span(own[-1])
            self._columns(0, places, self.number(0), own)
        held = self.held.value
        self.degree.set(most(self.degree.value, held))
        me = f.splat(row.to("i32"))
        with f.loop(least(held, self.slots), self.slots, self.shape.width) as k:
            f.store("%prows", to + k, me)
        return held

    def _span(self, z: Value) -> None:
        """The bins that are near along the last axis, and the turns of the column that these are in."""
        one, bins = self.one, self.cells[-1]
        margin = self.radius + (self.radius + abs(z)) * one.number(2.0**-20, "f32")
        edge = lambda x: one.intrinsic("floor", (x - self.origin) / self.bin).to("i32").to("i64")  # noqa: E731
        low, high = edge(z - margin), edge(z + margin)
        if not self.shape.periodic[-1]:
            inside = lambda k: least(most(k, self.number(0)), bins - 1)  # noqa: E731
            self.low, self.high, self.turns = inside(low), inside(high), (self.number(0), self.number(0))
            return
        whole = (high - low + 1) >= bins
        low, high = most(low, -bins), least(high, bins * 2 - 1)
        low, high = least(low, bins * 2 - 1), most(high, low)
        if self.shape.imaged[-1]:  # each atom once
            low, high = where(whole, 0, low), where(whole, bins - 1, high)
        turn = lambda k: where(k < bins, 0, self.number(1)) - where(k < 0, 1, self.number(0))  # noqa: E731
        self.low, self.high, self.turns = low, high, (turn(low), turn(high))

    def _columns(self, axis: int, places: Sequence[Value], base: Value, own: Sequence[Value]) -> None:
        """Of the columns around, along this axis and those after it."""
        f, shape = self.f, self.shape
        if axis == shape.dim - 1:
            self._column(base * self.cells[-1], own)
            return
        cells, periodic = self.cells[axis], shape.periodic[axis]
        alone = cells < 2
        low, high = where(alone, 0, self.number(-1)), where(alone, 1, self.number(2))
        if periodic:  # each column once
            few = cells < 3
            low, high = where(few, 0, low), where(few, cells, high)
        with f.loop(low, high) as offset:
            place = places[axis] + offset
            if periodic:
                turn = where(place < cells, 0, self.number(1)) - where(place < 0, 1, self.number(0))
                self._columns(axis + 1, places, base * cells + place - turn * cells, self._moved(own, axis, turn))
            else:
                with f.when((place >= 0) & (place < cells)):
                    self._columns(axis + 1, places, base * cells + place, own)

    def _moved(self, own: Sequence[Value], axis: int, turn: Value) -> list[Value]:
        """A row as atoms see it that are so many turns away."""
        found = list(own)
        if not self.shape.imaged[axis]:
            for a in range(0 if self.shape.tilted else axis, axis + 1):
                found[a] = found[a] - turn.to("f32") * self.box[axis][a]
        return found

    def _column(self, base: Value, own: Sequence[Value]) -> None:
        """The bins of a column that are near; those beyond its ends are its images."""
        f, bins = self.f, self.cells[-1]
        with f.loop(self.turns[0], self.turns[1] + 1) as turn:
            low, high = most(self.low - turn * bins, self.number(0)), least(self.high - turn * bins, bins - 1)
            begin, end = f.whole("%pstart", base + low), f.whole("%pstart", base + high + 1)
            self.widest.set(most(self.widest.value, end - begin))
            here = self._moved(own, self.shape.dim - 1, turn) if self.shape.periodic[-1] else own
            self._candidates([f.splat(x) for x in here], begin, end)

    def _candidates(self, own: Sequence[Value], begin: Value, end: Value) -> None:
        f, each, width = self.f, self.each, self.shape.width
        near, me = f.splat(self.near), f.splat(self.row.to("i32"))
        with f.loop(begin, end, width) as first:
            apart = [x - f.loaded(f"%psorted{a}", first, "f32") for a, x in enumerate(own)]
            apart = self._nearest(apart)
            square = apart[0] * apart[0]
            for c in apart[1:]:
                square = square + c * c
            lane = each.lanes("i32")
            index = f.splat(first.to("i32")) + lane
            found = (square < near) & (lane < f.splat((end - first).to("i32"))) & index.compared("ne", me)
            self._append(index, found)

    def _nearest(self, d: list[Value]) -> list[Value]:
        """Along axes that need it: both atoms are wrapped into the box."""
        f, shape = self.f, self.shape
        if not any(shape.imaged):
            return d
        if not shape.tilted:
            edges = [f.splat(self.box[a][a]) for a in range(shape.dim)]
            nearer = lambda c, edge: where(c < edge - c, c, edge - c)  # noqa: E731
            return [nearer(abs(c), edge) if short else c for c, edge, short in zip(d, edges, shape.imaged)]
        rest = list(d)
        for a in reversed(range(shape.dim)):
            if shape.periodic[a]:
                turns = self.each.intrinsic("roundeven", rest[a] / f.splat(self.box[a][a]))
                for j, entry in enumerate(self.box[a]):
                    rest[j] = rest[j] - turns * f.splat(entry)
        return rest

    def _append(self, index: Value, found: Value) -> None:
        """Puts the lanes that are found behind what the row holds. What has no place is counted all the same."""
        f, one, each, width = self.f, self.one, self.each, self.shape.width
        held = self.held.value
        bits = f"i{width}"
        word = one(f"bitcast {found.type} {found.name} to {bits}")
        if self.shape.packs:
            name = f"llvm.x86.avx512.mask.compress.v{width}i32"
            each.needs.add(f"declare {index.type} @{name}({index.type}, {index.type}, {found.type})")
            given = f"{index.type} {index.name}, {index.type} zeroinitializer, {found.type} {found.name}"
            packed = Value(each, each(f"call {index.type} @{name}({given})"), "i32")
            f.store("%prows", self.to + least(held, self.slots), packed)
            each.needs.add(f"declare {bits} @llvm.ctpop.{bits}({bits})")
            number = one(f"call {bits} @llvm.ctpop.{bits}({bits} {word})")
            self.held.set(held + Value(one, one(f"zext {bits} {number} to i64"), "i64"))
            return
        for lane in range(width):  # each is stored, and overwritten by the next if it is none
            neighbour = Value(one, one(f"extractelement {index.type} {index.name}, i32 {lane}"), "i32")
            f.store("%prows", self.to + least(held, self.slots), neighbour)
            bit = one(f"extractelement {found.type} {found.name}, i32 {lane}")
            held = held + Value(one, one(f"zext i1 {bit} to i64"), "i64")
        self.held.set(held)

    # -- slots -----------------------------------------------------------------------------------------------

    def _to_slots(self, first: Value, last: Value) -> None:
        """Brings a block of rows to the slots."""
        f, width = self.f, self.shape.width
        whole = first + (last - first) / width * width
        with f.loop(0, self.slots, width) as slot, f.loop(first, whole, width) as row:
            at = (row - first) * self.stride + slot
            columns = transposed([f.loaded("%prows", at + self.stride * k, "i32") for k in range(width)])
            for k, column in enumerate(columns):
                with f.when(slot + k < self.slots):
                    f.store("%pslots", (slot + k) * self.count + row, column)
        with f.loop(whole, last) as row, f.loop(0, self.slots) as slot:
            f.store("%pslots", slot * self.count + row, f.load("%prows", (row - first) * self.stride + slot, "i32"))


def transposed(rows: Sequence[Value]) -> list[Value]:
    """As many vectors as they have lanes, with rows and lanes in each other's places: halves of groups of vectors
    change places with halves of groups of lanes, from the largest on."""
    rows, code, half = list(rows), rows[0].code, len(rows) // 2
    while half:
        lanes = range(len(rows))
        low = [k if k % (2 * half) < half else len(rows) + k - half for k in lanes]
        high = [k + half if k % (2 * half) < half else len(rows) + k for k in lanes]
        for k in (k for k in lanes if k % (2 * half) < half):
            a, b = rows[k], rows[k + half]
            rows[k], rows[k + half] = (_shuffled(code, a, b, which) for which in (low, high))
        half //= 2
    return rows


def _shuffled(code: Code, a: Value, b: Value, which: Sequence[int]) -> Value:
    every = ", ".join(f"i32 {k}" for k in which)
    given = f"{a.type} {a.name}, {b.type} {b.name}, <{len(which)} x i32> <{every}>"
    return a.like(code(f"shufflevector {given}"))
