"""The loop over the neighbours of a block of rows: each at once, or some of them in two stages.

A processor looks a few hundred operations ahead. Where the kernel of a pair is that long, and most of them wait for
those before, it stands still. In two stages it has those of the next neighbours to do meanwhile; what the first leaves
to the second is kept in the fastest memory. More than two were no faster.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .body import Printer, Separated, filled, kind_of, single, variables

if TYPE_CHECKING:
    from .ir import Value
    from .kernel import Array, Everyone, Loop, Slots

TOGETHER = 16  # slots of which the first stage is done before the second
LATER = object()  # a value of the other atom, or of the pair


@dataclass
class PairLoop:
    """From the label `%before` to `%blockend`. ``inputs``: what those of the body are worth, or LATER; ``tables``: what
    its constants are."""

    body: Separated
    layout: Slots | Everyone
    loop: Loop
    others: Sequence[Array]
    inputs: dict
    tables: dict

    def printed(self) -> str:
        """The name of the last block, in which `%new0` ... are the sums."""
        first, second = self.body.stages
        return self._in_two(first, second) if second else self._at_once()

    def _at_once(self) -> str:
        code = self.loop.code
        code.raw("br i1 %some, label %slot, label %blockend", "slot:", "%k = phi i64 [ 0, %before ], [ %nextk, %slot ]")
        self._totals("%total", "zeroinitializer", "before", "slot")
        printer = Printer(code, self._known() | self._of_pair())
        printer.run(self.body.eqns)
        self._add(printer)
        code.raw("%nextk = add i64 %k, 1", "%more = icmp slt i64 %nextk, %count")
        code.raw("br i1 %more, label %slot, label %blockend")
        return "slot"

    def _in_two(self, first: Sequence, second: Sequence) -> str:
        code = self.loop.code
        code.raw("br i1 %some, label %few, label %blockend", "few:", "%k0 = phi i64 [ 0, %before ], [ %end, %fewend ]")
        self._totals("%sofar", "zeroinitializer", "before", "fewend")
        code.needs.add("declare i64 @llvm.smin.i64(i64, i64)")
        code.raw(f"%all = add i64 %k0, {TOGETHER}", "%end = call i64 @llvm.smin.i64(i64 %all, i64 %count)")
        code.raw("br label %slot", "slot:", "%k = phi i64 [ %k0, %few ], [ %nextk, %slot ]")
        printer = Printer(code, self._known() | self._of_pair())
        printer.run(first)
        wanted = dict.fromkeys(variables([*(v for eqn in second for v in eqn.invars), *self.body.outvars]))
        kept = [v for v in wanted if v in printer.known and v not in self._known()]
        code.raw("%place = sub i64 %k, %k0")
        places = {v: [self._keep(entry) for entry in printer.known[v].ravel()] for v in kept}
        code.raw("%nextk = add i64 %k, 1", "%more = icmp slt i64 %nextk, %end")
        code.raw("br i1 %more, label %slot, label %again", "again:", "%m = phi i64 [ 0, %slot ], [ %nextm, %again ]")
        self._totals("%total", "%sofar", "slot", "again")
        back = {v: filled(printer.known[v].shape, [self._kept(*place) for place in places[v]]) for v in kept}
        printer = Printer(code, self._known() | back)
        printer.run(second)
        self._add(printer)
        code.raw("%nextm = add i64 %m, 1", "%there = add i64 %k0, %nextm", "%still = icmp slt i64 %there, %end")
        code.raw("br i1 %still, label %again, label %fewend", "fewend:", "%further = icmp slt i64 %end, %count")
        code.raw("br i1 %further, label %few, label %blockend")
        return "fewend"

    def _keep(self, value: Value) -> tuple[str, Value]:
        """Stores a value of this neighbour: where, and what it is like."""
        code, place = value.code, value.code.room(value.type)
        code.raw(f"store {value.type} {value.name}, ptr {code(f'getelementptr {value.type}, ptr {place}, i64 %place')}")
        return place, value

    def _kept(self, place: str, like: Value) -> Value:
        code = like.code
        at = code(f"getelementptr {like.type}, ptr {place}, i64 %m")
        return like.like(code(f"load {like.type}, ptr {at}"))

    def _known(self) -> dict:
        """What is the same for all neighbours of the block."""
        own = {v: single(value) for v, value in self.inputs.items() if value is not LATER and value is not None}
        return self.tables | own

    def _of_pair(self) -> dict:
        """What the neighbour at `%k` is worth."""
        self.loop.other = self.layout.neighbour(self.loop)
        found = (*self.layout.values(self.loop, self.others), self.layout.valid(self.loop))
        return dict(zip((v for v, value in self.inputs.items() if value is LATER), map(single, found), strict=True))

    def _totals(self, name: str, first: str, before: str, last: str) -> None:
        """The sums where a block begins, which one comes to from ``before`` or, with more, from ``last``."""
        for n, v in enumerate(self.body.outvars):
            start = first if first == "zeroinitializer" else f"{first}{n}"
            kind = self.loop.code.vector(kind_of(v.aval))
            self.loop.code.raw(f"{name}{n} = phi {kind} [ {start}, %{before} ], [ %new{n}, %{last} ]")

    def _add(self, printer: Printer) -> None:
        for n, value in enumerate(printer.numbers(self.body.outvars)):
            plus = "fadd contract" if value.floating else "add"
            self.loop.code.raw(f"%new{n} = {plus} {value.type} %total{n}, {value.name}")
