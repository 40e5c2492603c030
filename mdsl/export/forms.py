"""Whether a formula is one of an engine's own forms, and with which coefficients.

Both are written as sums of products of powers and functions, whatever way they were put. Two sums are the same where
their terms can be paired so that each pair differs in numbers only. These are equations for the coefficients of the
form: they are solved one unknown at a time, else, as products of powers are, by their logarithms. What is found is
put into the form, and counts only if every number of the formula comes out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import permutations, product

import numpy as np
import sympy

from mdsl.symbolic.magnitude import magnitude

CLOSE = 1e-12  # of numbers that are the same but for rounding
MOST_TERMS = 8

Equation = tuple[sympy.Expr, sympy.Expr]  # of the form, and the number of the formula


@dataclass(frozen=True)
class Factor:
    """A function of the variables to a power. ``kind``: exp, log, cos, or pow: then it is the argument itself."""

    kind: str
    argument: tuple[Term, ...]
    exponent: sympy.Expr


@dataclass(frozen=True)
class Term:
    """``factor`` times powers of the variables times functions of them."""

    factor: sympy.Expr
    powers: tuple[tuple[sympy.Symbol, sympy.Expr], ...] = ()
    functions: tuple[Factor, ...] = ()

    @property
    def shape(self) -> tuple:
        """What must be the same of two terms that can be paired, whatever the coefficients are."""
        return (
            tuple(sorted(s.name for s, _ in self.powers)),
            tuple(sorted((f.kind, *sorted(t.shape for t in f.argument)) for f in self.functions)),
        )


def terms(e: sympy.Expr, variables: frozenset[sympy.Symbol]) -> tuple[Term, ...] | None:
    """An expression as a sum of terms; None where it is none that is understood here."""
    found: dict[tuple, sympy.Expr] = {}
    for part in sympy.Add.make_args(_multiplied_out(e, variables)):
        term = _term(part, variables)
        if term is None:
            return None
        key = (term.powers, term.functions)
        found[key] = found.get(key, sympy.Integer(0)) + term.factor
    largest = max((abs(float(f)) for f in found.values() if f.is_number), default=0.0)
    return tuple(
        Term(factor, *key)
        for key, factor in found.items()
        if not (factor.is_number and abs(float(factor)) <= CLOSE * 1e-3 * largest)
    )


def _multiplied_out(e: sympy.Expr, variables: frozenset[sympy.Symbol]) -> sympy.Expr:
    """A sum multiplied out, without what is inside functions and broken or negative powers of sums."""
    hidden: dict[sympy.Expr, sympy.Symbol] = {}

    def hide(part: sympy.Expr) -> sympy.Expr:
        if part.is_Atom or not part.free_symbols & variables:
            return part
        whole = part.is_Pow and part.exp.is_Integer and part.exp > 0
        if isinstance(part, sympy.Add | sympy.Mul) or whole:
            return part.func(*map(hide, part.args))
        if part.is_Pow and part.base in variables:
            return part
        return hidden.setdefault(part, sympy.Dummy(positive=True))

    out = sympy.expand(hide(e), power_base=False, power_exp=False, log=False, trig=False)
    return out.xreplace({symbol: part for part, symbol in hidden.items()})


def _term(e: sympy.Expr, variables: frozenset[sympy.Symbol]) -> Term | None:
    factor, powers, functions = sympy.Integer(1), {}, []
    for part in sympy.Mul.make_args(e):
        if not part.free_symbols & variables:
            factor *= part
            continue
        base, exponent = (part, sympy.Integer(1)) if isinstance(part, sympy.exp) else part.as_base_exp()
        if exponent.free_symbols & variables:
            return None
        if base in variables:
            powers[base] = powers.get(base, 0) + exponent
            continue
        if isinstance(base, sympy.exp | sympy.log | sympy.cos | sympy.sin | sympy.erfc | magnitude):
            argument = terms(base.args[0], variables)
            if argument is None:
                return None
            if isinstance(base, sympy.exp):  # what does not change is a factor
                constant = [t for t in argument if not t.powers and not t.functions]
                factor *= sympy.Mul(*(sympy.exp(t.factor) for t in constant)) ** exponent
                argument = tuple(t for t in argument if t not in constant)
            functions.append(Factor(type(base).__name__, argument, exponent))
        elif base.is_Add:
            argument = terms(base, variables)
            if argument is None:
                return None
            leading = max(argument, key=lambda t: (not t.functions, bool(t.powers), str(t.powers)))
            if leading.factor != 1:
                factor *= leading.factor**exponent
                argument = tuple(Term(t.factor / leading.factor, t.powers, t.functions) for t in argument)
            functions.append(Factor("pow", argument, exponent))
        else:
            return None
    functions.sort(key=lambda f: (f.kind, str(f.argument)))
    return Term(factor, tuple(sorted(powers.items(), key=str)), tuple(functions))


def pairings(form: Sequence[Term], formula: Sequence[Term]) -> Iterator[list[Equation]]:
    """The equations of each way to pair the terms of a formula with those of a form. What is left of the form is 0."""
    if len(formula) > len(form) or len(form) > MOST_TERMS:
        return
    fitting = [[(k, list(_matched(f, t))) for k, f in enumerate(form) if f.shape == t.shape] for t in formula]

    def paired(place: int, taken: frozenset[int]) -> Iterator[list[Equation]]:
        if place == len(formula):
            yield [(f.factor, sympy.Integer(0)) for k, f in enumerate(form) if k not in taken]
            return
        for k, ways in fitting[place]:
            if k not in taken:
                for way in ways:
                    yield from (way + rest for rest in paired(place + 1, taken | {k}))

    yield from paired(0, frozenset())


def _matched(form: Term, formula: Term) -> Iterator[list[Equation]]:
    """The equations of each way in which two terms of one shape may be the same."""
    own: list[Equation] = [(form.factor, formula.factor)]
    exponents = dict(formula.powers)
    own += [(exponent, exponents[s]) for s, exponent in form.powers]
    for order in permutations(formula.functions):
        if any(a.kind != b.kind for a, b in zip(form.functions, order)):
            continue
        inner = [list(pairings(a.argument, b.argument)) for a, b in zip(form.functions, order)]
        powers = [(a.exponent, b.exponent) for a, b in zip(form.functions, order)]
        for chosen in product(*inner):
            found = own + powers + [e for part in chosen for e in part]
            if all(a.free_symbols or _same(a, b) for a, b in found):
                yield found


def solved(equations: Sequence[Equation], unknown: Iterable[sympy.Symbol]) -> dict[sympy.Symbol, float] | None:
    """The unknowns, where there are some that fulfil all equations."""
    wanted = tuple(unknown)
    for candidate in _candidates(equations, {}):
        values = {s: candidate.get(s, sympy.Integer(0)) for s in wanted}
        if all(_same(a.xreplace(values), b) for a, b in equations):
            return {s: float(v) for s, v in values.items()}
    return None


def _candidates(equations: Sequence[Equation], known: dict) -> Iterator[dict]:
    """What may fulfil them: the equations of one unknown first, then products of powers, then all that is left as 0."""
    now = [(a.xreplace(known), b) for a, b in equations]
    now = [(a, b) for a, b in now if a.free_symbols]
    if not now:
        yield known
        return
    single = [(a, b) for a, b in now if len(a.free_symbols) == 1]
    if single:
        a, b = min(single, key=lambda e: (e[1] == 0, sympy.count_ops(e[0])))
        (s,) = a.free_symbols
        for value in _roots(a, b, s):
            yield from _candidates(equations, {**known, s: value})
        return
    left = sorted(set().union(*(a.free_symbols for a, _ in now)), key=str)
    for found in _by_logarithms([(a, b) for a, b in now if b != 0], left) or []:
        yield {**known, **found}
    if all(b == 0 for _, b in now):
        yield {**known, **dict.fromkeys(left, sympy.Integer(0))}


def _same(a: sympy.Expr, b: sympy.Expr) -> bool:
    try:
        p, q = float(a), float(b)
    except TypeError:
        return False
    return abs(p - q) <= CLOSE * max(abs(p), abs(q), 1e-290)


def _roots(a: sympy.Expr, b: sympy.Expr, s: sympy.Symbol) -> list[sympy.Expr]:
    """The numbers at which an expression of one unknown has a value, those above 0 first."""
    quick = _by_logarithms([(a, b)], [s]) if b != 0 else None
    if quick is not None:
        return [f[s] for f in quick]
    try:
        found = [x.evalf(17) for x in sympy.solve(a - b, s)]
    except NotImplementedError:
        return []
    real = [sympy.re(x) for x in found if x.is_number and abs(sympy.im(x)) < 1e-14]
    return sorted(real, key=lambda x: (float(x) < 0, abs(float(x))))


def _by_logarithms(equations: Sequence[Equation], unknown: Sequence[sympy.Symbol]) -> list[dict] | None:
    """Products of powers of unknowns, and of exponentials of them, as linear equations; with all signs."""
    rows, right, exponential = [], [], set()
    for a, b in equations:
        row, constant = dict.fromkeys(unknown, 0.0), sympy.Integer(1)
        for part in sympy.Mul.make_args(sympy.expand_power_base(a, force=True)):
            if not part.free_symbols:
                constant *= part
            elif isinstance(part, sympy.exp):
                inside = sympy.expand(part.args[0])
                for s in inside.free_symbols:
                    slope = inside.coeff(s)
                    if slope.free_symbols:
                        return None
                    row[s] += float(slope)
                    exponential.add(s)
            else:
                base, exponent = part.as_base_exp()
                if base not in row or exponent.free_symbols:
                    row = None  # a sum: it is not needed to find the unknowns, and holds if they are right
                    break
                row[base] += float(exponent)
        if row is None:
            continue
        rows.append([row[s] for s in unknown])
        ratio = abs(float(b / constant)) if constant != 0 else 0.0
        if ratio == 0:
            return None
        right.append(np.log(ratio))
    if not rows:
        return None
    matrix = np.array(rows)
    if np.linalg.matrix_rank(matrix) < len(unknown):
        return None
    found = np.linalg.lstsq(matrix, np.array(right), rcond=None)[0]
    choices = [[f] if s in exponential else [np.exp(f), -np.exp(f)] for s, f in zip(unknown, found)]
    return [{s: sympy.Float(v, 17) for s, v in zip(unknown, values)} for values in product(*choices)]


# -- forms -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Form:
    """An engine's form: ``expr`` over ``variables`` and ``coefficients``; ``given``: those that are known before, as
    the cutoff is."""

    name: str
    variables: tuple[sympy.Symbol, ...]
    coefficients: tuple[sympy.Symbol, ...]
    expr: sympy.Expr
    arguments: str = ""
    cache: dict = field(default_factory=dict)


def recognised(form: Form, formula: sympy.Expr, given: Mapping[str, float] | None = None) -> dict[str, float] | None:
    """The coefficients with which a formula over the same variables is the form; None where it is not."""
    known = {s: sympy.Float(v, 17) for s in form.coefficients if (v := (given or {}).get(s.name)) is not None}
    variables = frozenset(form.variables)
    if formula.free_symbols - variables:
        return None
    right, left = terms(formula, variables), terms(form.expr.xreplace(known), variables)
    if left is None or right is None:
        return None
    unknown = [s for s in form.coefficients if s not in known]
    for equations in pairings(left, right):
        values = solved(equations, unknown)
        if values is not None:
            return {**{s.name: float(v) for s, v in known.items()}, **{s.name: v for s, v in values.items()}}
    return None
