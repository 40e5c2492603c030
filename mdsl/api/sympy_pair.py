"""The door for SymPy: a pair energy written as a SymPy expression becomes a program.

    r, sigma, epsilon = mdsl.symbols("r sigma epsilon")
    program = mdsl.pair(4*epsilon*((sigma/r)**12 - (sigma/r)**6), r, cutoff=2.5*sigma, smoothing="force_shifted",
                        params={sigma: 1.0, epsilon: 1.0})

The expression goes through `symbolic` into the Model's operations and from there into the text of a program,
which is compiled like any other: it has units, diagnostics, `explain`, and lines that they can point at.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from numbers import Real

import sympy

from mdsl.compiler import compile_source
from mdsl.grammar import tree
from mdsl.grammar.diagnostics import Diagnostic, Rejected, suggest
from mdsl.grammar.parse import parse
from mdsl.grammar.source import Source, Span
from mdsl.grammar.tokens import canonical
from mdsl.model.nodes import Model, Read
from mdsl.model.units import UnitSystem
from mdsl.printing.expressions import text_of
from mdsl.symbolic.bridge import Leaves, from_sympy

from .program import Program

SMOOTHINGS = ("truncated", "shifted", "force_shifted", "switched")

Value = float | str | sympy.Expr
"""A value: a number, text of the language such as ``"3.4 [angstrom]"``, or an expression of other parameters."""


def symbols(names: str, positive: bool = True) -> sympy.Symbol | tuple[sympy.Symbol, ...]:
    """SymPy symbols of a program's names, separated by spaces or commas; Greek letters get their ASCII names.

    They are real, and positive unless ``positive=False`` (for what may be negative: charges, slopes).
    """
    found = tuple(_symbol(name, positive) for name in re.split(r"[\s,]+", names.strip()) if name)
    if not found:
        raise _rejected("wrong-arguments", "symbols() is given no name")
    return found if len(found) > 1 else found[0]


def _symbol(name: str, positive: bool) -> sympy.Symbol:
    spelled = _name(name)
    return sympy.Symbol(spelled, positive=True) if positive else sympy.Symbol(spelled, real=True)


def pair(
    expr: sympy.Expr,
    r: sympy.Symbol,
    *,
    cutoff: Value | None = None,
    smoothing: str | None = None,
    onset: Value | None = None,
    params: Mapping[sympy.Symbol, Value | Mapping[str, Value]] | None = None,
    species: Sequence[str] = (),
    units: str = "lj",
    dim: int = 3,
) -> Program:
    """The program whose energy is the sum of ``expr`` over all pairs, as a function of their distance ``r``.

    smoothing: how the function ends at ``cutoff``: truncated, shifted, force_shifted, or switched (off between
    ``onset`` and ``cutoff``). None, without a cutoff: as the expression says itself, for example a Piecewise.
    params: a default for each symbol but ``r``; for a table over pairs of ``species`` a mapping from ``"A-B"``.
    units: the unit system; in one with units, defaults are text with a unit, such as ``"3.4 [angstrom]"``.

    Raises Rejected with every error found.
    """
    text = _text(expr, r, cutoff, smoothing, onset, dict(params or {}), tuple(species), units, dim)
    return Program(compile_source(Source("<pair>", text)))


def _text(expr, r, cutoff, smoothing, onset, params, species, units, dim) -> str:
    """The program as text."""
    _check_types(expr, r, params)
    species, units, dim = tuple(map(_name, species)), _name(units), int(dim)
    _check_end(cutoff, smoothing, onset)
    bounds = {"cutoff": cutoff, "onset": onset}
    names = _names(r, params, {"the expression": expr, **bounds, **_defaults(params)})
    writer = _Writer(names, r, params, units, dim)
    u, energy = writer.fresh("u"), writer.fresh("U")
    body = writer.value("the expression", expr)
    ends = [
        writer.value(what, bounds[what], without_distance=True)
        for what in ("onset", "cutoff")
        if bounds[what] is not None
    ]
    function = f"{smoothing}({', '.join((u, *ends))})" if smoothing else u
    lines = [
        f"use units.{units}",
        *([f"use pair ({smoothing})"] if smoothing else []),
        *([f"dim {dim}"] if dim != 3 else []),
        "",
        *([f"species {', '.join(species)}", ""] if species else []),
        *writer.declarations(),
        "",
        f"energy {energy} = sum({writer.i} < {writer.j}) {function}(|x[{writer.i}] - x[{writer.j}]|)",
        f"           where {u}({names[r]}) = {body}",
    ]
    return "\n".join(lines) + "\n"


# -- what may be given -----------------------------------------------------------------------------------


def _rejected(
    id: str, message: str, help: str | None = None, notes: tuple[str, ...] = (), span: Span | None = None
) -> Rejected:
    return Rejected(Diagnostic(id, message, span, help=help, notes=notes))


def _check_types(expr, r, params) -> None:
    if not isinstance(r, sympy.Symbol):
        raise _rejected("wrong-type", f"the distance is a SymPy symbol, not {_kind(r)}", help='r = mdsl.symbols("r")')
    if not isinstance(expr, sympy.Expr):
        raise _rejected(
            "wrong-type",
            f"the energy of a pair is a SymPy expression, not {_kind(expr)}",
            help='build it from mdsl.symbols("r sigma epsilon"); text is compiled by mdsl.compile',
        )
    if r not in expr.free_symbols:
        raise _rejected(
            "wrong-arguments", f"the energy of a pair does not depend on the distance `{r}`", notes=_strangers(expr, r)
        )
    for key in params:
        if not isinstance(key, sympy.Symbol):
            raise _rejected("wrong-type", f"the keys of params are SymPy symbols, not {_kind(key)}")
    if r in params:
        raise _rejected("unknown-parameter", f"`{r}` is the distance, not a parameter")


def _strangers(expr: sympy.Expr, r: sympy.Symbol) -> tuple[str, ...]:
    """What to say where the expression holds a symbol of the name of ``r`` that is not ``r``."""
    same = any(s.name == r.name for s in expr.free_symbols)
    return ("SymPy symbols of one name with different assumptions are different symbols",) if same else ()


def _check_end(cutoff, smoothing, onset) -> None:
    if smoothing is not None and smoothing not in SMOOTHINGS:
        help = suggest(str(smoothing), SMOOTHINGS) or f"there are {', '.join(SMOOTHINGS)}"
        raise _rejected("unknown-option", f"there is no smoothing `{smoothing}`", help=help)
    if smoothing is None and cutoff is not None:
        raise _rejected(
            "missing-option",
            "a cutoff needs a `smoothing`: how the energy ends there",
            help=f"one of {', '.join(SMOOTHINGS)}",
        )
    if smoothing is not None and cutoff is None:
        raise _rejected("missing-option", f"`{smoothing}` needs a `cutoff`", help="a distance, such as 2.5*sigma")
    if smoothing == "switched" and onset is None:
        raise _rejected("missing-option", "`switched` needs an `onset`: the distance where switching begins")
    if smoothing != "switched" and onset is not None:
        raise _rejected("unknown-option", "only `switched` has an `onset`")


def _kind(value: object) -> str:
    return f"`{value!r}`, a {type(value).__name__}" if isinstance(value, str | Real) else f"a {type(value).__name__}"


# -- names -----------------------------------------------------------------------------------------------


def _name(text: str) -> str:
    """The identifier that a symbol's name spells. Raises Rejected."""
    name = canonical(text) if text else None
    if name is None or not re.fullmatch(r"[^\W\d]\w*", name):
        raise _rejected(
            "bad-character", f"`{text}` is not a name of the language", help="letters, digits and _, a letter first"
        )
    parse(Source("<symbol>", f"const {name} = 1"))  # reserved words say so themselves
    return name


def _defaults(params) -> dict[str, object]:
    out: dict[str, object] = {}
    for symbol, default in params.items():
        if isinstance(default, Mapping):
            out.update({f"the entry {key} of `{symbol}`": value for key, value in default.items()})
        else:
            out[f"the default of `{symbol}`"] = default
    return out


def _names(r: sympy.Symbol, params, given: Mapping[str, object]) -> dict[sympy.Symbol, str]:
    """The name of every symbol. Raises Rejected for symbols without a value, values without use, and clashes."""
    used = {s: what for what, value in given.items() if isinstance(value, sympy.Expr) for s in value.free_symbols}
    unknown = sorted((s for s in used if s not in params and s != r), key=str)
    known = [s.name for s in params]
    errors = []
    for symbol in unknown:
        twin = any(symbol.name == s.name for s in (*params, r))
        help = suggest(symbol.name, known) or f"params={{{symbol}: 1.0}}"
        notes = ("SymPy symbols of one name with different assumptions are different symbols",) if twin else ()
        errors.append(
            Diagnostic(
                "unknown-name",
                f"{used[symbol]} reads `{symbol}`, for which params gives no value",
                notes=notes,
                help=None if twin else help,
            )
        )
    for symbol in params:
        if symbol not in used:
            errors.append(
                Diagnostic(
                    "unknown-parameter",
                    f"nothing depends on the parameter `{symbol}`",
                    help=suggest(symbol.name, [s.name for s in used if s != r]),
                )
            )
    if errors:
        raise Rejected(*errors)
    names: dict[sympy.Symbol, str] = {}
    for symbol in (r, *params):
        name = _name(symbol.name)
        if name in names.values():
            raise _rejected("duplicate-name", f"two symbols are called `{name}`")
        if name == "m" and symbol != r:
            raise _rejected("duplicate-name", "`m` is the mass of the atoms", help="give the symbol another name")
        names[symbol] = name
    return names


class _Writer:
    """Writes SymPy expressions and plain values as text of the language."""

    def __init__(self, names: Mapping[sympy.Symbol, str], r: sympy.Symbol, params, units: str, dim: int):
        self.names, self.r, self.params = names, r, params
        self.taken = {*names.values(), *SMOOTHINGS}
        self.i, self.j = self.fresh("i"), self.fresh("j")
        # Only numbers without a dimension are written, which need no units.
        self.model = Model(Source("<pair>", ""), UnitSystem(units), dim, (), (), None, (), (), (), (), ())
        self.leaves = Leaves()
        for symbol, name in names.items():
            indices = (self.i, self.j) if isinstance(params.get(symbol), Mapping) else ()
            self.leaves.add(Read(name, indices), symbol)

    def fresh(self, stem: str) -> str:
        name = next(n for n in (stem, *(f"{stem}_{k}" for k in range(1, 1000))) if n not in self.taken)
        self.taken.add(name)
        return name

    def value(self, what: str, value: object, without_distance: bool = False, table: bool = True) -> str:
        """A value as text: an expression of SymPy, of the language, or a number."""
        match value:
            case bool():
                pass
            case sympy.Expr():
                if without_distance and self.r in value.free_symbols:
                    raise _rejected("wrong-arguments", f"{what} depends on the distance `{self.r}`")
                if not table and any(isinstance(self.params.get(s), Mapping) for s in value.free_symbols):
                    raise _rejected("wrong-index", f"{what} depends on a table over pairs of species")
                return self.sympy(what, value)
            case Real():
                if not math.isfinite(value):
                    raise _rejected("bad-number", f"{what} is {float(value)}, not a finite number")
                return self.sympy(what, sympy.Float(float(value), 17))
            case str():
                return _language(what, value)
        if hasattr(value, "__float__") and getattr(value, "shape", None) == ():  # an array of no axes
            return self.value(what, float(value))
        raise _rejected(
            "wrong-type", f"{what} is a number, a text with a unit or a SymPy expression, not {_kind(value)}"
        )

    def sympy(self, what: str, expr: sympy.Expr) -> str:
        if expr.has(sympy.I, sympy.zoo, sympy.oo, -sympy.oo, sympy.nan):
            raise _rejected("bad-number", f"{what} holds a number that is not real and finite: {expr}")
        for piecewise in expr.atoms(sympy.Piecewise):
            if piecewise.args[-1].cond != sympy.true:
                raise _rejected(
                    "wrong-arguments",
                    f"{what} has no value where none of its conditions holds",
                    help="end the Piecewise with (0, True)",
                )
        try:
            return text_of(self.model, from_sympy(expr, self.leaves))
        except (NotImplementedError, TypeError):
            raise _rejected(
                "unknown-name",
                f"{what} holds {_strange(expr, self.leaves)}, which the language does not have",
                help=_advice(expr),
            ) from None

    def declarations(self) -> Iterator[str]:
        for symbol, default in self.params.items():
            name = self.names[symbol]
            if isinstance(default, Mapping):
                entries = (
                    f"{_labels(name, key)}: {self.value(f'the entry {key} of `{name}`', value, True, False)}"
                    for key, value in default.items()
                )
                yield f"param {name}[species, species] = {{ {', '.join(entries)} }}"
            else:
                yield f"param {name} = {self.value(f'the default of `{name}`', default, True, False)}"


def _language(what: str, text: str) -> str:
    """Text that is one expression of the language. Raises Rejected: its syntax errors, ``wrong-arguments``."""
    statements = parse(Source(f"<{what}>", f"param value = {text}")).statements
    if len(statements) != 1 or not isinstance(statements[0], tree.Declaration) or "#" in text:
        raise _rejected("wrong-arguments", f"{what} is not one value: {text!r}")
    return text.strip()


def _labels(name: str, key: object) -> str:
    if not isinstance(key, str) or not re.fullmatch(r"\s*[^\W\d]\w*\s*-\s*[^\W\d]\w*\s*", key):
        raise _rejected("bad-table", f"an entry of `{name}` is for a pair of species, such as 'A-B', not {key!r}")
    return key.strip()


def _strange(expr: sympy.Expr, leaves: Leaves) -> str:
    """What in an expression has no counterpart: the smallest part that cannot be written."""
    for part in sympy.postorder_traversal(expr):
        try:
            from_sympy(part, leaves)
        except (NotImplementedError, TypeError, AttributeError):
            return f"`{part}`" if len(str(part)) < 60 else f"a {type(part).__name__}"
    return "something"


def _advice(expr: sympy.Expr) -> str | None:
    if expr.has(sympy.Derivative, sympy.Integral):
        return "evaluate it first: `.doit()`"
    if expr.has(sympy.Heaviside, sympy.sign):
        return "write the pieces as a sympy.Piecewise"
    return "`mdsl list functions` shows what it has"
