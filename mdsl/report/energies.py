"""What `mdsl explain` says of energies: their domains, their supports and proofs, their forces."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import sympy

from mdsl.compiler import Compiled
from mdsl.grammar.source import Span
from mdsl.interpret.species_pairs import pair_constant
from mdsl.lowering.field.cutoff_bounds import varies
from mdsl.lowering.field.field import Field, PerAtom, Term
from mdsl.lowering.field.names import AdjointOf
from mdsl.lowering.field.smoothness import Cutoff, cutoffs
from mdsl.model.dependencies import energetic
from mdsl.model.dimensions import LENGTH, Dimension
from mdsl.model.domains import Each, Pairs, Triples, Whole
from mdsl.model.faults import place
from mdsl.model.nodes import Expr, Model, Number, Op, Tabulated, walk
from mdsl.passes.finite import knows
from mdsl.printing.expressions import text_of
from mdsl.symbolic.bridge import Leaves, to_sympy
from mdsl.symbolic.magnitude import derivative

LONGEST = 400  # characters of a formula that is shown
DIGITS = 6
FEW = 40  # operations up to which a formula is multiplied out if that makes it shorter


def energies(compiled: Compiled) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """For each energy, and each observable that one is made of, a heading, and facts under a word each (empty: more of
    the fact above)."""
    field = compiled.field
    ends = {id(end.term): end for end in cutoffs(field)}
    for equation in (e for e in energetic(field.model) if e.kind != "quantity"):
        terms = [t for t in field.terms if t.equation == equation.name]
        facts: list[tuple[str, str]] = []
        for term in terms:
            facts += _term(compiled, term, ends.get(id(term)))
        if not terms:
            facts.append(("domain", "no sum of its own: it is made of others, or does not depend on the atoms"))
            facts += [
                ("U" if k == 0 else "", line) for k, line in enumerate(_formula(_symbols(field.model, equation.body)))
            ]
        yield f"{equation.kind} {equation.name}, line {equation.span.line}", facts
    for value in field.values:
        equation = field.model.equation(value.equation)
        head = (
            f"quantity {value.name}"
            if value.name == equation.name
            else f"{'a sum around each atom' if value.domain else 'where each atom is,'} in {equation.kind} "
            f"{equation.name}"
        )
        yield f"{head}, line {equation.span.line}", list(_value(compiled, value, ends.get(id(value))))


def _symbols(model: Model, body: Expr) -> sympy.Expr:
    """An expression over symbols with the names of what it reads."""
    leaves = Leaves()
    written = to_sympy(body, leaves)
    return written.xreplace({s: sympy.Symbol(text_of(model, leaf), real=True) for s, leaf in leaves.exprs.items()})


def _term(compiled: Compiled, term: Term, end: Cutoff | None) -> Iterator[tuple[str, str]]:
    field = compiled.field
    many_body = isinstance(term.domain, Each) and term.gradients[0].none and term.partials
    yield (
        "domain",
        f"{term.domain}: " + ("every atom by its quantities: a many-body energy" if many_body else term.domain.words),
    )
    for name in term.domain.excluded:
        yield "", f"less the pairs of the two ends of each member of `{name}`"
    if term.name in field.inner:
        yield (
            "computed",
            f"before the sums that read it as {term.name}, by which the potential has the derivative "
            f"{AdjointOf(term.name)}",
        )
    if isinstance(term.domain, Whole) and term.domain.near:
        yield "pairs", f"it is told of those within {text_of(field.model, term.support.cutoff)}, by the common list"
    if isinstance(term.domain, Triples):
        yield from _support(compiled, term)
    if end is not None:
        yield from _support(compiled, term)
        if end.cutoff is not None:
            yield "smoothness", end.words + _jump(field, term, end)
    yield from _force(field, term)


def _value(compiled: Compiled, value: PerAtom, end: Cutoff | None) -> Iterator[tuple[str, str]]:
    """A per-atom value: what it sums over, and how derivatives go through it."""
    if value.domain is None:
        yield "domain", "every atom by itself"
    else:
        yield "domain", f"{value.domain}: {value.domain.words}"
    if end is not None:
        yield from _support(compiled, value)
        if end.cutoff is not None:
            what = (
                "continuous, with its derivative"
                if not (end.jump or end.kink)
                else "jumps at the cutoff"
                if end.jump
                else "its derivative jumps at the cutoff"
            )
            yield "smoothness", what
    yield (
        "computed",
        "once for each atom"
        + (f", in round {value.depth} through the neighbours" if value.domain is not None else "")
        + ", before the sums that read it",
    )
    if value.adjoint is None:
        yield "force", "none: only observables read it"
        return
    yield (
        "force",
        f"{value.adjoint.domain.like}, with the derivative of the potential by {value.name} of each atom in front; in "
        "one traversal with the other terms",
    )


# -- support -------------------------------------------------------------------------------------------


def _support(compiled: Compiled, term: Term | PerAtom) -> Iterator[tuple[str, str]]:
    model = compiled.model
    if term.support.cutoff is None:
        yield "support", f"all distances: {term.support.why}"
        return
    formula = text_of(model, term.support.cutoff)
    if not knows(model, term.support.cutoff):
        yield "support", f"0 for r >= {formula}, which is known with the data of the atoms"
        if varies(term.support.cutoff, model):
            yield (
                "",
                "another for each pair: lists reach as far as the smallest and largest data allow, by interval "
                "arithmetic",
            )
        return
    values = pair_constant(model, term.support.cutoff, term.binders)
    yield (
        "support",
        f"0 for r >= {by_species(model, values, model.units.dimension(LENGTH))}{_meaning(formula, values)}, at the "
        f"default parameters",
    )
    proof = _proof(compiled, term)
    if proof:
        yield "proof", proof


def _meaning(formula: str, values: np.ndarray) -> str:
    try:
        return "" if float(formula) == values.flat[0] else f" ({formula})"
    except ValueError:
        return f" ({formula})"


def by_species(model: Model, values: np.ndarray, dimension: Dimension) -> str:
    """One value, or one for each pair of species where they differ."""
    first = values.flat[0]
    if np.allclose(values, first, rtol=1e-12, atol=0):
        return shown(model, float(first), dimension)
    names = model.species
    pairs = [(a, b) for a in range(len(names)) for b in range(a, len(names))]
    return ", ".join(f"{shown(model, float(values[a, b]), dimension)} for {names[a]}-{names[b]}" for a, b in pairs)


def shown(model: Model, value: float, dimension: Dimension) -> str:
    """A number with its unit, as the program's unit system shows it."""
    unit = model.units.display(dimension).text
    number = f"{value * model.units.shown_per_internal(dimension):.6g}"
    return f"{number} {unit}" if unit else number


def _proof(compiled: Compiled, term: Term | PerAtom) -> str:
    """The condition that ends the function: its text, and where the program brings it in."""
    model = compiled.stage("inline") or compiled.model
    equation = model.equation(term.equation)
    for node in walk(equation.body):
        if (
            isinstance(node, Op)
            and node.op == "choose"
            and node.args[2] == Number(0.0)
            and node.args[0].span is not None
        ):
            condition = node.args[0]
            if not any(isinstance(n, Op) and n.op in ("norm", "dot") for n in walk(condition)):
                continue
            where, called = condition.span, place(model.source, condition)
            text = f"the formula is 0 where `{_one_line(where)}` does not hold"
            if called is where or called is None:
                return f"{text} (line {where.line})"
            names = (s for s in reversed(node.via) if s.source is model.source)
            line = next((s.line for s in names), called.line)
            return f"{text} ({where.source.name}, line {where.line}; used on line {line})"
    ended = (n for n in walk(equation.body) if isinstance(n, Tabulated) and n.curves.end is not None)
    return next(
        (
            f"the functions of `{n.table}` end there, read from a file on line {model.param(n.table).span.line}"
            for n in ended
        ),
        "",
    )


def _one_line(span: Span) -> str:
    return " ".join(span.text.split())


def _jump(field: Field, term: Term, end: Cutoff) -> str:
    if not end.jump or end.sampled:
        return ""
    energy = field.model.equation(term.equation).body.type.dimension
    return f", by {shown(field.model, end.jump, energy)}"


# -- the force -----------------------------------------------------------------------------------------


def _tuple_force(field: Field, term: Term) -> Iterator[tuple[str, str]]:
    """The summand of a sum over a topology, in its geometry, and along which displacements it acts."""
    leaves = Leaves()
    summand = to_sympy(term.summand, leaves)
    names = {}
    for symbol, leaf in leaves.exprs.items():
        text = text_of(field.model, leaf)
        if isinstance(leaf, Op) and leaf.op == "dot" and leaf.args[0] == leaf.args[1]:
            names[symbol] = sympy.Symbol(f"|{text_of(field.model, leaf.args[0])}|", positive=True) ** 2
        else:
            names[symbol] = sympy.Symbol(text, real=True)
    lines = _formula(summand.xreplace(names))
    yield "u", lines[0]
    yield from (("", line) for line in lines[1:])
    along = ", ".join(text_of(field.model, g.displacement) for g in term.gradients)
    yield "force", f"by symbolic derivative, opposite on the two atoms of each of {along}"


def _force(field: Field, term: Term) -> Iterator[tuple[str, str]]:
    if isinstance(term.domain, Whole):
        yield "force", "by the function's own derivative, of which the compiler knows nothing"
        return
    if term.domain.tuples:
        yield from _tuple_force(field, term)
        return
    gradient = term.gradients[0]
    leaves = Leaves()
    summand = to_sympy(term.written, leaves)
    square = leaves.symbols.get(Op("dot", (gradient.displacement, gradient.displacement)))
    r = sympy.Symbol("r", positive=True)
    names = {s: sympy.Symbol(text_of(field.model, leaf), real=True) for s, leaf in leaves.exprs.items() if s != square}
    if any(symbol.name == "r" for symbol in names.values()):
        r = sympy.Symbol("|d|", positive=True)
    if square is not None:
        names[square] = r**2
    pair = isinstance(term.domain, Pairs)
    lines = _formula(summand.xreplace(names))
    yield ("u" if square is None else f"u({r})"), lines[0]
    yield from (("", line) for line in lines[1:])
    if gradient.radial is not None:
        lines = _formula(-derivative(summand.xreplace(names), r))
        yield f"-du/d{r}", f"{lines[0]}"
        yield from (("", line) for line in lines[1:])
        yield (
            "",
            "the force along the line between the two atoms, by symbolic derivative"
            if pair
            else "the force away from the origin, by symbolic derivative",
        )
    if not field.model.units.reduced and any(
        isinstance(n, Number) and not n.dimension.is_one for n in walk(field.model.equation(term.equation).body)
    ):
        yield "", "numbers in these formulas are in the internal units, see above"
    if gradient.direct is not None:
        for axis, slope in zip("xyz", gradient.direct):
            lines = _formula(
                (-to_sympy(slope, leaves)).xreplace(
                    {
                        **names,
                        **{s: sympy.Symbol(text_of(field.model, e)) for s, e in leaves.exprs.items() if s not in names},
                    }
                )
            )
            yield f"f.{axis}", "; ".join(lines)


def _formula(e: sympy.Expr) -> list[str]:
    """A formula as text: one line, or one for each piece with its condition."""
    lines = []
    before: list[str] = []
    for value, condition in _pieces(e):
        text = _text(value)
        text = text if len(text) <= LONGEST else text[:LONGEST] + " ..."
        if condition == sympy.true:
            if value != 0 or not before:
                lines.append(text + (" otherwise" if before else ""))
            continue
        before.append(_condition(condition))
        lines.append(f"{text}  where {before[-1]}")
    return lines or ["0"]


def _pieces(e: sympy.Expr) -> list[tuple[sympy.Expr, sympy.Basic]]:
    if isinstance(e, sympy.Piecewise):
        # A piece of a piece: both conditions hold.
        return [
            (inner, sympy.And(condition, holds) if condition != sympy.true else holds)
            for value, condition in e.args
            for inner, holds in _pieces(value)
        ]
    if e.is_Mul:
        inside = [f for f in e.args if isinstance(f, sympy.Piecewise)]
        if len(inside) == 1:
            rest = e.func(*(f for f in e.args if f is not inside[0]))
            return [(rest * value, condition) for value, condition in _pieces(inside[0])]
    return [(e, sympy.true)]


def _text(e: sympy.Basic) -> str:
    if isinstance(e, sympy.Expr) and e.count_ops() < FEW and not e.has(sympy.Piecewise):
        multiplied = sympy.expand(e)
        e = multiplied if len(str(multiplied)) < 1.2 * len(str(e)) else e
    return sympy.sstr(_short(e), full_prec=False).replace("**", "^").replace(" & ", " and ").replace(" | ", " or ")


def _condition(e: sympy.Basic) -> str:
    """A condition with the distance on the left."""
    if isinstance(e, sympy.And | sympy.Or):
        word = " and " if isinstance(e, sympy.And) else " or "
        return word.join(
            sorted(f"({_condition(a)})" if isinstance(a, sympy.And | sympy.Or) else _condition(a) for a in e.args)
        )
    if isinstance(e, sympy.core.relational.Relational) and any(s.name in ("r", "|d|") for s in e.rhs.free_symbols):
        e = e.reversed
    return _text(e)


def _short(e: sympy.Basic) -> sympy.Basic:
    """Numbers to six digits, and fractions as decimals, but for exponents."""
    if isinstance(e, sympy.Float) or isinstance(e, sympy.Rational) and not e.is_Integer:
        return sympy.Float(e, DIGITS)
    if not e.args:
        return e
    if isinstance(e, sympy.Pow):
        return sympy.Pow(_short(e.base), e.exp, evaluate=False)
    if isinstance(e, sympy.Mul | sympy.Add | sympy.core.relational.Relational):
        return e.func(*map(_short, e.args), evaluate=False)
    return e.func(*map(_short, e.args))
