"""Properties of the grammar that hold for every tree and every text."""

import re
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_format import UNCHANGED

from mdsl.grammar import tree
from mdsl.grammar.diagnostics import Rejected, render
from mdsl.grammar.layout.format import format_expression, format_program, format_statement
from mdsl.grammar.parse import parse, tokenize
from mdsl.grammar.source import Source, Span

ROOT = Path(__file__).parents[2]
PROGRAMS = [
    p.read_text(encoding="utf-8") for folder in ("examples", "stdlib") for p in sorted((ROOT / folder).rglob("*.mdsl"))
]
PROGRAMS.append(UNCHANGED)
HERE = Span(Source("<test>", ""), 0, 0)

settings.register_profile(
    "grammar", deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
settings.load_profile("grammar")


# -- trees -> text -> trees ----------------------------------------------------------------------------

names = st.sampled_from(["a", "b", "x", "sigma", "r_ij", "u", "D", "N", "x1", "_"])
identifiers = st.builds(tree.Identifier, st.just(HERE), names)
numbers = st.sampled_from(["1", "2.5", "20_000", "1e-3", ".5", "3.", "6.02E23"])
powers = st.builds(tree.UnitPower, st.just(HERE), st.sampled_from(["fs", "kcal", "mol"]), st.integers(-3, 3))
units = st.builds(tree.Unit, st.just(HERE), st.lists(powers, max_size=3).map(tuple))


def several(strategy, least=0, most=3):
    return st.lists(strategy, min_size=least, max_size=most).map(tuple)


def node(kind, *parts):
    return st.builds(kind, st.just(HERE), *parts)


def of_form(form, *parts, conditions=st.just(())):
    return node(tree.Domain, st.just(form), st.tuples(*parts), conditions)


left_out = of_form(tree.NOT_IN, several(names, 2), names)
ranges = node(tree.Range, st.just(tree.Number(HERE, "1")), node(tree.Name, names))
domains = st.one_of(
    left_out,
    *(
        of_form(form, *parts, conditions=conditions)
        for conditions in (st.just(()), several(left_out, 1))
        for form, *parts in (
            ("{}", names),
            ("{} < {}", names, names),
            ("{} != {}", names, names),
            ("{}; {} < {}", names, names, names),
            ("({}) in {}", several(names, 2), names),
            ("{} in {}", names, ranges),
            ("{} in {}[{}]", names, names, names),
        )
    ),
)
leaves = st.one_of(
    node(tree.Name, names),
    node(tree.Number, numbers, st.none() | units),
    node(tree.Text, st.sampled_from(["", "a b", "#"])),
)
operators = st.sampled_from(["+", "-", "*", "/", "^", "·", "==", "!=", "<", "<=", ">", ">=", "and", "or"])


def grow(inner):
    return st.one_of(
        node(tree.Binary, operators, inner, inner),
        node(tree.Binary, operators, inner, inner),
        node(tree.Unary, st.sampled_from(["-", "not"]), inner),
        node(tree.If, inner, inner, inner),
        node(tree.Sum, domains, inner),
        node(tree.Norm, inner),
        node(tree.Index, inner, several(inner, 1)),
        node(tree.Call, inner, several(inner), several(node(tree.Named, names | st.just("species"), inner))),
        node(tree.Member, inner, names),
        node(tree.Tuple, several(inner, 2)),
        node(tree.Table, several(node(tree.Entry, several(names, 1), inner), 1)),
    )


expressions = st.recursive(leaves, grow, max_leaves=12)
small = st.recursive(leaves, grow, max_leaves=3)
axes = several(node(tree.Axis, names | st.just("species"), st.none() | node(tree.Range, small, small)))
groups = several(several(identifiers), 1)
where = several(node(tree.Binding, identifiers, several(several(identifiers), 0, 2), small))
settings_up = st.one_of(
    node(tree.Update, identifiers, st.sampled_from(["=", "+="]), small),
    node(tree.Draw, identifiers, small),
)
calls = node(tree.Call, node(tree.Name, names), several(small), several(node(tree.Named, names, small)))
flat_steps = st.one_of(
    settings_up,
    calls,
    node(tree.Update, identifiers, st.sampled_from(["=", "+="]), small, small),
    node(tree.Declaration, st.just("state"), identifiers, axes, small),
    node(tree.Equation, st.just("observe"), identifiers, axes, small, where),
)
# After `for` and `every` stands a number of steps, which no comparison is.
counts = st.one_of(leaves, st.builds(lambda a, b: tree.Binary(HERE, "*", a, b), leaves, leaves))
steps = st.recursive(
    flat_steps,
    lambda inner: node(tree.Loop, identifiers, node(tree.Range, counts, counts), st.booleans(), several(inner)),
    max_leaves=4,
)
parameters = several(node(tree.Parameter, names, st.none() | small))
outputs = st.one_of(
    node(tree.Record, several(identifiers, 1), st.none() | counts),
    node(tree.Write, node(tree.Text, st.just("f.xyz")), st.none() | counts),
)
statements = st.one_of(
    node(tree.Use, several(names | st.just("units"), 1), st.none() | several(identifiers, 1)),
    node(tree.Dim, st.integers(1, 9)),
    node(tree.SpeciesDecl, several(identifiers, 1)),
    node(tree.Frozen, several(identifiers, 1)),
    node(tree.Topology, several(node(tree.TopologyItem, identifiers, several(names, 1), st.none() | small), 1)),
    node(tree.Box, small),
    node(tree.Declaration, st.sampled_from(["const", "param", "state"]), identifiers, axes, small),
    node(tree.Data, identifiers, axes, st.none() | units),
    node(tree.TableDecl, several(node(tree.TableItem, identifiers, axes), 1), small),
    node(tree.Learned, identifiers, small),
    node(tree.Extern, identifiers, several(identifiers)),
    node(tree.Def, identifiers, groups, expressions, where),
    node(tree.Equation, st.sampled_from(["energy", "quantity", "observe"]), identifiers, axes, expressions, where),
    st.builds(lambda n, v: tree.UnitDecl(HERE, n, v, None), identifiers, small),
    st.builds(lambda n, d: tree.UnitDecl(HERE, n, None, d), identifiers, names),
    node(tree.UnitSystem, several(st.tuples(identifiers, units))),
    node(tree.Flow, identifiers, parameters, several(steps)),
    node(tree.Integrator, st.sampled_from(["integrator", "minimizer"]), identifiers, parameters, several(steps)),
    node(tree.Run, several(settings_up | node(tree.Advance, calls, counts, several(outputs), st.none() | small))),
)


def comments(text):
    return sorted(c.rstrip() for c in re.findall(r"#.*", re.sub(r'"[^"\n]*"', "", text)))


def parsed(text):
    return parse(Source("<test>", text))


@settings(max_examples=600)
@given(expressions)
def test_an_expression_survives_print_and_parse(expression):
    text = format_expression(expression)
    (statement,) = parsed(f"box {text}").statements
    assert statement.value == expression


@given(expressions)
def test_parentheses_are_few(expression):
    """No pair of parentheses can be left out, but for those that only help the reader."""
    text = format_expression(expression)
    for opening in re.finditer(r"(?<![\w)\]|}])\(", text):
        depth = 0
        for k in range(opening.start(), len(text)):
            depth += (text[k] == "(") - (text[k] == ")")
            if not depth:
                break
        without = f"{text[: opening.start()]} {text[opening.end() : k]} {text[k + 1 :]}"
        try:
            (statement,) = parsed(f"box {without}").statements
        except (Rejected, ValueError):
            continue
        inner = text[opening.end() : k]
        helps = inner.startswith("-") or text[k + 1 : k + 2] == "^"
        assert statement.value != expression or helps, (text, without)


@settings(max_examples=300)
@given(several(statements, 1, 4))
def test_statements_survive_print_and_parse(statements):
    text = "\n".join(map(format_statement, statements))
    program = parsed(text)
    assert program.statements == statements
    again = format_program(program, Source("<test>", text))
    assert parsed(again) == program
    assert format_program(parsed(again), Source("<test>", again)) == again


@settings(max_examples=200)
@given(several(statements, 1, 3), st.randoms(use_true_random=False))
def test_comments_and_spaces_anywhere_survive_the_formatter(statements, rng):
    """Between any two tokens there may be any white space and comments; none is lost, the tree stays."""
    clean = Source("<test>", "\n".join(map(format_statement, statements)))
    fillers = [" ", "  ", "\n", "\n\n\n", "\t", " # c\n", "\n# d\n", "\n\n  # e\n # f\n\n", "\r\n", "#g\r\n"]
    text = "".join(t.text + rng.choice(fillers) for t in tokenize(clean))
    program = parsed(text)
    assert program.statements == statements
    once = format_program(program, Source("<test>", text))
    assert parsed(once) == program
    assert comments(once) == comments(text)
    assert format_program(parsed(once), Source("<test>", once)) == once
    assert not re.search(r"[ \t]\n|\n\n\n", once)


# -- any text ------------------------------------------------------------------------------------------


def check(text):
    """A program or diagnostics, nothing else; and what a diagnostic points at is there."""
    try:
        program = parsed(text)
    except Rejected as rejected:
        assert rejected.diagnostics
        for diagnostic in rejected.diagnostics:
            assert 0 <= diagnostic.span.start <= diagnostic.span.end <= len(text)
            assert render(diagnostic)
            assert "unexpected token" not in render(diagnostic).lower()
        return
    once = format_program(program, Source("<test>", text))
    assert parsed(once) == program
    assert format_program(parsed(once), Source("<test>", once)) == once


@settings(max_examples=300)
@given(st.text())
def test_any_text_is_parsed_or_explained(text):
    check(text)


@settings(max_examples=300)
@given(
    st.text(alphabet='aσ19 .,;:=+-*/^·<>!()[]{}|"#~\n\t\0²')
    | st.lists(
        st.sampled_from(
            "param a = 1 ( ) [ ] { } | , sum i < j if then else run for every record where energy U - + * in not".split()
        )
    ).map(" ".join)
)
def test_any_row_of_tokens_is_parsed_or_explained(text):
    check(text)


@settings(max_examples=400)
@given(st.sampled_from(PROGRAMS), st.randoms(use_true_random=False), st.booleans())
def test_edited_programs_are_parsed_or_explained(text, rng, characters):
    pieces = list(text) if characters else re.findall(r"\w+|\s+|[^\w\s]", text)
    for _ in range(rng.choice([1, 1, 2, 5])):
        k, n = rng.randrange(len(pieces)), rng.randrange(len(pieces))
        edit = rng.randrange(4)
        if edit == 0:
            pieces[k] = ""
        elif edit == 1:
            pieces.insert(k, pieces[n])
        elif edit == 2:
            pieces[k], pieces[n] = pieces[n], pieces[k]
        else:
            pieces[k] = rng.choice(list('()[]{}|,="#\0²\ud800'))
    check("".join(pieces))


@pytest.mark.parametrize(
    "text",
    [
        "box " + "(" * 50_000,
        "box " + "(" * 20_000 + "a" + ")" * 20_000,
        "box " + "-" * 20_000 + "a",
        "box " + "a^" * 20_000 + "a",
        "box " + "a + " * 20_000 + "a",
        "box " + "f(" * 20_000,
        "box " + "|" * 20_000,
        "box " + "if a then " * 5_000,
        "param a = ) \n" * 5_000,
        "\0" * 10_000,
        "=" * 10_000,
    ],
)
def test_long_and_deep_texts_take_bounded_time(text):
    start = time.perf_counter()
    check(text)
    assert time.perf_counter() - start < 20  # seconds; a quadratic algorithm takes many minutes
