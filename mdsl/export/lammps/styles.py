"""LAMMPS' styles, from `styles.mdsl`: the forms, and how LAMMPS is told their coefficients."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import sympy

from mdsl.export.forms import Form, recognised
from mdsl.export.written import number
from mdsl.grammar.source import Source
from mdsl.model.nodes import Lambda, Read
from mdsl.resolve.program import resolve
from mdsl.symbolic.bridge import Leaves, to_sympy

LIBRARY = Path(__file__).with_name("styles.mdsl")
HEADING = re.compile(r"^# (pair|bond|angle|dihedral|improper|sw_pair|sw_triple)(?: ([^:]+))?: (.+)\ndef (\w+)", re.M)
GIVEN, NOTE = "rc", "note:"


@dataclass(frozen=True, eq=False)
class Style:
    """``kind``: pair, bond, ...; ``name``: of the style, ``options``: what the style is told; ``told``: what is told of
    each type; ``more``: commands that go with it, and what there is to say of it, behind `note:`."""

    kind: str
    name: str
    options: tuple[str, ...]
    told: tuple[str, ...]
    more: tuple[str, ...]
    form: Form

    @property
    def commands(self) -> list[str]:
        return [line for line in self.more if not line.startswith(NOTE)]

    @property
    def notes(self) -> list[str]:
        return [line.removeprefix(NOTE).strip() for line in self.more if line.startswith(NOTE)]


@dataclass(frozen=True)
class Recognised:
    """A formula as a style with ``values`` of its coefficients."""

    style: Style
    values: Mapping[str, float]

    @property
    def coefficients(self) -> str:
        """As `..._coeff` is told them, in the engine's units."""
        return " ".join(self._told(word) for word in self.style.told)

    @property
    def options(self) -> tuple[str, ...]:
        return tuple(self._told(word) for word in self.style.options)

    def _told(self, word: str) -> str:
        name, _, how = word.rstrip("]").partition("[")
        if name[0].isdigit():
            return word
        total = 0.0
        for k, part in enumerate(name.split("-")):
            total += (-1) ** (k > 0) * self.values[part]
        if how == "degrees":
            total = math.degrees(total)
        return str(round(total)) if how == "whole" else number(total)


@cache
def styles() -> tuple[Style, ...]:
    text = LIBRARY.read_text(encoding="utf-8")
    model, report = resolve(Source(str(LIBRARY), f"{text}\nenergy none = 0"), LIBRARY.parent)
    assert not report, [d.message for d in report]
    functions = {f.name: f.value for f in model.functions}
    found = []
    for kind, style, told, name in HEADING.findall(text):
        head, *options = (style or "").split() or [""]
        told, *more = (part.strip() for part in told.split(";"))
        found.append(Style(kind, head, tuple(options), tuple(told.split()), tuple(more), _form(name, functions[name])))
    return tuple(found)


def _form(name: str, function: Lambda) -> Form:
    coefficients, inner = function.parameters, function.body
    leaves = Leaves()
    symbols = {n: sympy.Symbol(n, real=True) for n in (*coefficients, *inner.parameters)}
    for n in {"r", "s"}.intersection(inner.parameters):  # distances
        symbols[n] = sympy.Symbol(n, positive=True)
    for n, symbol in symbols.items():
        leaves.add(Read(n), symbol)
    expr = to_sympy(inner.body, leaves)
    return Form(name, tuple(symbols[v] for v in inner.parameters), tuple(symbols[c] for c in coefficients), expr)


def style_of(
    kind: str,
    formula: sympy.Expr,
    variables: tuple[sympy.Symbol, ...],
    cutoff: float | None = None,
    available: Collection[str] | None = None,
) -> Recognised | None:
    """The first style of a kind that a formula is; ``available``: the names of those that LAMMPS has."""
    given = {} if cutoff is None else {GIVEN: cutoff}
    for style in styles():
        if style.kind != kind or available is not None and style.name and style.name not in available:
            continue
        own = formula.xreplace(dict(zip(variables, style.form.variables)))
        values = recognised(style.form, own, given)
        if values is not None and _tellable(style, values):
            return Recognised(style, {**given, **values})
    return None


def _tellable(style: Style, values: Mapping[str, float]) -> bool:
    for word in style.told:
        name, _, how = word.rstrip("]").partition("[")
        if how == "whole" and abs(values[name] - round(values[name])) > 1e-12:
            return False
    if style.name == "harmonic" and style.kind == "dihedral":
        return round(values["d"]) in (1, -1) and values["n"] >= 0
    return True
