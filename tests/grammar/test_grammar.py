"""Text to tree: what the grammar says, and the few things that the parser does besides."""

import subprocess
import sys
from pathlib import Path

import pytest

from mdsl.grammar import tree
from mdsl.grammar.diagnostics import Rejected
from mdsl.grammar.layout.format import format_expression
from mdsl.grammar.parse import parse
from mdsl.grammar.source import Source, Span
from mdsl.grammar.tokens import canonical

ROOT = Path(__file__).parents[2]
HERE = Span(Source("", ""), 0, 0)


def program(text):
    return parse(Source("<test>", text))


def statement(text):
    (only,) = program(text).statements
    return only


def expression(text):
    return statement(f"box {text}").value


def bracketed(node):
    """An expression with parentheses around all that has parts: shows how it was taken apart."""
    match node:
        case tree.Binary(op=op, left=left, right=right):
            return f"({bracketed(left)} {op} {bracketed(right)})"
        case tree.Unary(op=op, operand=operand):
            return f"({op} {bracketed(operand)})"
        case tree.Sum(body=body):
            return f"(Σ {bracketed(body)})"
        case tree.If(condition=condition, then=then, otherwise=otherwise):
            return f"(if {bracketed(condition)} {bracketed(then)} {bracketed(otherwise)})"
    return format_expression(node)


@pytest.mark.parametrize(
    "text, expected",
    [
        ("a + b - c", "((a + b) - c)"),
        ("a - b*c/d", "(a - ((b * c) / d))"),
        ("-a^2", "(- (a ^ 2))"),
        ("-a*b", "((- a) * b)"),
        ("a^b^c", "(a ^ (b ^ c))"),
        ("a^-b^c", "(a ^ (- (b ^ c)))"),
        ("a*-b", "(a * (- b))"),
        ("a - -b", "(a - (- b))"),
        ("m*u·v/2", "((m * (u · v)) / 2)"),
        ("u·v^2", "(u · (v ^ 2))"),
        ("sum(i) a*b + c", "((Σ (a * b)) + c)"),
        ("a*sum(i) b*c - d", "((a * (Σ (b * c))) - d)"),
        ("-sum(i) a", "(- (Σ a))"),
        ("sum(i) sum(j != i) a/b", "(Σ (Σ (a / b)))"),
        ("sum(i) if a < b then c + d else e + f", "(Σ (if (a < b) (c + d) (e + f)))"),
        ("a + if b then c else d + e", "(a + (if b c (d + e)))"),
        ("a*if b then c else d + e", "(a * (if b c (d + e)))"),
        ("if a then if b then c else d else e", "(if a (if b c d) e)"),
        ("if a then b else if c then d else e", "(if a b (if c d e))"),
        ("not a < b and c or d", "(((not (a < b)) and c) or d)"),
        ("a or b and not c", "(a or (b and (not c)))"),
        ("a < b + c", "(a < (b + c))"),
        ("2 [fs]*a", "(2 [fs] * a)"),
        ("2^(1/6)*a", "((2 ^ (1 / 6)) * a)"),
        ("|a - b|*|c|", "(|a - b| * |c|)"),
        ("||a| - b|", "||a| - b|"),
        ("sum(i)|a|", "(Σ |a|)"),
    ],
)
def test_precedence(text, expected):
    assert bracketed(expression(text)) == expected


def test_postfix_operators_apply_in_sequence():
    node = expression("g(σ)(r)[i].x")
    assert format_expression(node) == "g(sigma)(r)[i].x"
    assert isinstance(node, tree.Member) and isinstance(node.base, tree.Index) and isinstance(node.base.base, tree.Call)


def test_calls_keep_order_and_names():
    call = expression("f(a, dt = 2, species = Cu)")
    assert [format_expression(a) for a in call.args] == ["a"]
    assert [(n.name, format_expression(n.value)) for n in call.named] == [("dt", "2"), ("species", "Cu")]


@pytest.mark.parametrize(
    "text, value", [("20_000", 20000), ("1e-3", 1e-3), (".5", 0.5), ("5.", 5), ("6.02E23", 6.02e23), ("1_0.2_5", 10.25)]
)
def test_numbers(text, value):
    number = expression(text)
    assert number == tree.Number(HERE, text, None) and number.value == value


def test_ranges_are_not_decimal_points():
    axis = statement("const s[k in 1..16] = k").axes[0]
    assert axis == tree.Axis(HERE, "k", tree.Range(HERE, tree.Number(HERE, "1"), tree.Number(HERE, "16")))


@pytest.mark.parametrize(
    "text, factors",
    [
        ("[fs]", (("fs", 1),)),
        ("[kcal/mol/angstrom]", (("kcal", 1), ("mol", -1), ("angstrom", -1))),
        ("[1/ps]", (("ps", -1),)),
        ("[g*cm^-3]", (("g", 1), ("cm", -3))),
        ("[g/cm^3]", (("g", 1), ("cm", -3))),
        ("[1]", ()),
    ],
)
def test_units(text, factors):
    unit = expression(f"2 {text}").unit
    assert tuple((f.name, f.power) for f in unit.factors) == factors
    assert expression(format_expression(expression(f"2 {text}"))).unit == unit


@pytest.mark.parametrize(
    "text, domain",
    [
        ("i", tree.Domain(HERE, "{}", ("i",))),
        ("i < j", tree.Domain(HERE, "{} < {}", ("i", "j"))),
        ("j != i", tree.Domain(HERE, "{} != {}", ("j", "i"))),
        ("i; j < k", tree.Domain(HERE, "{}; {} < {}", ("i", "j", "k"))),
        ("j in bonds[i]", tree.Domain(HERE, "{} in {}[{}]", ("j", "bonds", "i"))),
        ("(i, j) in bonds", tree.Domain(HERE, "({}) in {}", (("i", "j"), "bonds"))),
        (
            "i < j, (i, j) not in bonds",
            tree.Domain(HERE, "{} < {}", ("i", "j"), (tree.Domain(HERE, "({}) not in {}", (("i", "j"), "bonds")),)),
        ),
    ],
)
def test_domains(text, domain):
    found = expression(f"sum({text}) a").domain
    assert found == domain and found.negated is False and all(c.negated for c in found.conditions)


STATEMENTS = """
use units.lj
use pair (lennard_jones, truncated)
dim 2
species A, B
topology bonds(i, j), angles(i, j, k)
box periodic(L)
const rc = 2.5
param σ[species, species] = { A-A: 1.0, A-B: 0.8 }
state s = 0
data q[atoms] in [e]
data w
table F[species], g = setfl("Cu.eam")
learned net = mlp(16, 1)
extern g(a, b)
def f(a, b)(r) = c*r where c = a, d(x) = b
energy U = sum(i < j) u
quantity G[i, k in 1..4] = sum(j != i) r where r = 1
observe T = temperature
unit kcal = 4184 [J]
unit m : length
units { length = [angstrom] mass = [g/mol] }
flow O(h) { ξ ~ normal v = v + ξ x += h*v }
integrator verlet(dt) { B(dt/2) A(dt) }
minimizer fire(dt) { A(dt) }
run { x = 1 v ~ maxwell(T) fire(dt = 1) for 10 record U, T every 2 write "f" record U fire() for N }
"""


def test_every_statement():
    found = program(STATEMENTS).statements
    assert [type(s).__name__ for s in found] == (
        "Use Use Dim SpeciesDecl Topology Box Declaration Declaration Declaration Data Data TableDecl Learned Extern "
        "Def Equation Equation "
        "Equation UnitDecl UnitDecl UnitSystem Flow Integrator Integrator Run"
    ).split()
    assert found[0] == tree.Use(HERE, ("units", "lj"), None)
    assert found[9].unit.factors[0].name == "e" and found[10].unit is None
    assert [len(g) for g in found[14].groups] == [2, 1] and [len(b.groups) for b in found[14].where] == [0, 1]
    *_, first, second = found[-1].body
    assert [type(o).__name__ for o in first.outputs] == ["Record", "Write", "Record"] and second.outputs == ()
    assert first.outputs[0].every.value == 2 and first.outputs[1].every is None
    # Newlines are white space.
    assert program(" ".join(STATEMENTS.split("\n"))) == program(STATEMENTS)


def test_an_empty_program_is_a_program():
    assert program("").statements == program("# nothing\n").statements == ()


def test_spans_are_where_things_were_written():
    text = "param a = 1  # one\nenergy U = sum(i < j)\n  (σ + b)*|x[i]| where r = 2 [fs]\n"
    first, second = program(text).statements
    assert first.span.text == "param a = 1" and first.name.span.text == "a"
    assert second.span.text.startswith("energy") and second.span.text.endswith("2 [fs]") and second.span.line == 2
    product = second.value.body
    assert (
        product.span.text == "(σ + b)*|x[i]|"
        and product.left.span.text == "(σ + b)"
        and product.left.left.span.text == "σ"
    )
    assert second.value.domain.span.text == "i < j" and second.where[0].span.text == "r = 2 [fs]"
    assert second.where[0].value.unit.span.text == "[fs]"


# -- names ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("word, name", [
    ("σ", "sigma"), ("ϵ", "epsilon"), ("ε", "epsilon"), ("cosθ", "costheta"), ("Γ", "Gamma"), ("λ_1", "lambda_1"), ("ς", "sigma"),
    ("ϕ", "phi"), ("Ω", "Omega"), ("µ", "mu"), ("x₁", "x1"), ("ｒ", "r"), ("Å", "Å"), ("é", "é"), ("Λ", "Lambda"),
])  # fmt: skip
def test_greek_letters_are_their_names(word, name):
    assert canonical(word) == name
    assert expression(word) == tree.Name(HERE, name)


def test_the_dot_has_look_alikes():
    assert expression("a·b") == expression("a⋅b") == expression("a∙b")


@pytest.mark.parametrize("text", ["param suma = orb", "param in1 = ifx", "param dim2 = format"])
def test_words_end_where_names_end(text):
    assert statement(text)


def test_a_space_is_needed_after_a_word():
    with pytest.raises(Rejected):
        program("box if a thenb else c")


def test_line_ends_tabs_and_byte_order_marks_do_not_matter():
    assert program("\ufeffparam a = 1\r\nparam\tb = 2 # c\r\n") == program("param a = 1\nparam b = 2")


# -- the grammar file ----------------------------------------------------------------------------------


def test_the_grammar_has_no_conflicts(caplog):
    """Lark resolves a conflict of shift and reduce silently, except when it is asked to log."""
    import logging

    from lark import Lark, logger

    logger.setLevel(logging.DEBUG)
    logger.propagate = True
    with caplog.at_level(logging.DEBUG, logger=logger.name):
        Lark(
            (ROOT / "grammar/mdsl.lark").read_text(encoding="utf-8"),
            parser="lalr",
            start="program",
            debug=True,
            lexer="basic",
        )
    assert not [r for r in caplog.records if "conflict" in r.message.lower()]


def test_only_the_parser_needs_lark():
    """Importing the tree and the diagnostics stays cheap."""
    code = "import sys, mdsl.grammar.parse, mdsl.grammar.layout.format; sys.exit('lark' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
