"""Syntax mistakes by example: which diagnostic, where, and in which words."""

import pytest
from mdsl.grammar.diagnostics import Rejected, render
from mdsl.grammar.parse import parse
from mdsl.grammar.source import Source


def mistakes(text):
    with pytest.raises(Rejected) as caught:
        parse(Source("t.mdsl", text))
    return caught.value.diagnostics


# The text with the mistake; its id; what is underlined; words of the message and the help.
EXAMPLES = [
    # missing operators and commas
    ("param a = 2 sigma", "missing-operator", "2 sigma", "between `2` and `sigma`"),
    ("param a = 2 sigma", "missing-operator", "2 sigma", "`2*sigma`"),
    ("param dt = 5 fs", "missing-operator", "5 fs", "`5 [fs]`"),
    ("param a = 2(x)", "missing-operator", "2(", "between `2` and `(`"),
    ("param a = (b) c", "missing-operator", ") c", "product is written with `*`"),
    ("param a = 2|x|", "missing-operator", "2|", ""),
    ("param a = f(dt 0.1)", "missing-operator", "dt 0.1", "`dt = 0.1`"),
    ("box if a b then 3 else 4", "missing-operator", "a b", ""),
    ("param a = f(b c)", "missing-operator", "b c", "separated by `,`"),
    ("run { f(dt = 1 T = 3) for 1 }", "missing-comma", " ", "between `1` and `T`"),
    ("param s = { A: 1 B: 2 }", "missing-comma", " ", "between `1` and `B`"),
    ("species A B", "missing-comma", " ", "between `A` and `B`"),
    ("run { f() for 1 record T P }", "missing-comma", " ", "between `T` and `P`"),
    ("energy U = u where u = r\n                 r = 2", "missing-comma", "\n", "between `r` and `r`"),
    ("param s[species species] = 1", "missing-comma", " ", ""),
    ("use pair lennard_jones", "syntax", "lennard_jones", "`use pair (lennard_jones)`"),
    # = and ==, comparisons, conditions
    ("box if a = b then c else d", "assignment-in-condition", "=", "write `==`"),
    ("box if (a = b) then c else d", "assignment-in-condition", "=", "write `==`"),
    ("param a == 3", "syntax", "==", "write `=`"),
    ("param a = b = c", "syntax", "=", "comparison is written `==`"),
    ("box a < b < c", "chained-comparison", "<", "`a < b and b < c`"),
    ("box if a < b <= c then 1 else 2", "chained-comparison", "<=", "do not chain"),
    ("box if a < b 3 else 4", "syntax", " ", "expected `then` before `3`"),
    ("box if a < b then 3", "syntax", "", "expected `else` before the end"),
    ("box (if a < b then 3)", "syntax", ")", "every `if` has an `else`"),
    ("energy U = if a then b\nobserve T = c", "syntax", "\n", "expected `else`"),
    # brackets
    ("box (1 + 2\ndim 2", "unclosed", "(", "`(` is not closed"),
    ("box (1 + 2", "unclosed", "(", "before the end of the text"),
    ("box x[1\ndim 2", "unclosed", "[", "`]` is missing before `dim`"),
    ("param s = { A: 1\ndim 2", "unclosed", "{", ""),
    ("box f(|x[i] - x[j])", "unclosed", "|", "before `)`"),
    ("box (a]", "unclosed", "(", "before `]`"),
    ("run {\n  x = f(a\n  v ~ g(b)\n}", "unclosed", "(", "before `v`"),
    ("run { x = 1\nobserve T = 2", "unclosed", "{", "before `observe`"),
    ("energy U = sum(i < j u(r)", "unclosed", "(", "before `u`"),
    ('run { f() for 1 write "melt\n}', "unclosed", '"melt', "no closing"),
    ("box f(x))", "unopened", ")", "closes nothing"),
    ("run { x = 1 }\n}", "unopened", "}", "closes nothing"),
    ("box f(x|)", "unopened", "|", "`|x|`"),
    # words as names
    ("param sum = 3", "reserved-name", "sum", "`sum_`"),
    ("param largest = 3", "reserved-name", "largest", "`largest_`"),
    ("energy U = smallest i f(i)", "bad-domain", "i", "parentheses"),
    ("const table = 3", "reserved-name", "table", ""),
    ("box every + 1", "reserved-name", "every", "word of the language"),
    ("box f(if = 2)", "reserved-name", "if", ""),
    ("box f(state)", "reserved-name", "state", ""),
    ("box sum * 2", "reserved-name", "sum", ""),
    ("def f(in)(r) = r", "reserved-name", "in", ""),
    # habits from elsewhere
    ("box a**2", "foreign-syntax", "**", "`a^b`"),
    ("box a && b", "foreign-syntax", "&&", "`and`"),
    ("box a || b", "foreign-syntax", "||", "`or`"),
    ("box !a", "foreign-syntax", "!", "`not`"),
    ("param a := 2", "foreign-syntax", ":=", "`=`"),
    ("box a -> b", "foreign-syntax", "->", ""),
    ("param a = 3;", "foreign-syntax", ";", "leave it out"),
    ("// a comment", "foreign-syntax", "//", "`#`"),
    ("box a // a comment", "foreign-syntax", "//", "`#`"),
    ("/* a comment */", "foreign-syntax", "/*", "`#`"),
    ("! a comment", "foreign-syntax", "!", "`#`"),
    ("% a comment", "foreign-syntax", "%", "`#`"),
    ("box a % 2", "foreign-syntax", "%", "remainder"),
    # characters
    ("box r² + 1", "bad-character", "r²", "`r^2`"),
    ("box a × b", "bad-character", "×", "multiplication sign"),
    ("box a − b", "bad-character", "−", "`-`"),
    ("box a ≤ b", "bad-character", "≤", "`<=`"),
    ("box “f”", "bad-character", "“", '`"`'),
    ("box a @ b", "bad-character", "@", ""),
    ("box a \0 b", "bad-character", "\0", "U+0000"),
    ("box \ud800", "bad-character", "\ud800", "U+D800"),
    # sums
    ("box sum i < j u", "bad-domain", "i", "stands in parentheses"),
    ("box sum_{i<j} u", "bad-domain", "{", ""),
    ("box sum(i<j, u(r))", "bad-domain", "u", "after its parenthesis"),
    ("box sum(i > j) u", "bad-domain", ">", "`sum(i < j)`"),
    ("box sum(i < j < k) u", "bad-domain", "<", "`sum(i; j < k)`"),
    ("flow a(h) { for k in 1..3 x += h*v }", "syntax", " ", "`for k in 1..3 { ... }`"),
    ("flow a(h) { for k in 3 { x += h*v } }", "syntax", " ", "expected `..`"),
    (
        "run {\n  x = fcc(a = 1, cells = 2)\n  for k in 1..3 { brownian(dt = 1) for 10 }\n}",
        "syntax",
        "for",
        "a run block has no loops",
    ),
    ("flow a(h) { for k 1..3 { x += h*v } }", "syntax", "1", "`k in 1..3`"),
    ("run { a(dt = 1) until U < 1 record U }", "syntax", " ", "`, at most`"),
    ("run { a(dt = 1) until U < 1, 50 }", "syntax", "50", "`at most`"),
    ("box sum(i in bonds) u", "bad-domain", "in", "`sum((i, j) in bonds)`"),
    ("box sum((i, j) bonds) u", "bad-domain", "bonds", ""),
    ("box sum(i j) u", "bad-domain", "j", ""),
    ("box sum() u", "bad-domain", ")", ""),
    # nothing there
    ("param a =\nparam b = 2", "missing-expression", "\n", "after `=`"),
    ("param a =\ndim 2", "missing-expression", "\n", "after `=`"),
    ("box 3 +", "missing-expression", "", "after `+`"),
    ("box a * / b", "missing-expression", "/", "between `*` and `/`"),
    ("box +3", "missing-expression", "+", "no sign `+`"),
    ("box f(1, 2,)", "missing-expression", ")", "remove the comma"),
    ("box ()", "missing-expression", ")", "between `(` and `)`"),
    ("energy U = sum(i < j)", "missing-expression", "", "the body of the sum"),
    ("run {\n  x =\n  v ~ f()\n}", "missing-expression", "\n", "after `=`"),
    ("run { f() for 1 record T every }", "missing-expression", "}", "number of steps after `every`"),
    ("box if then 1 else 2", "missing-expression", "then", "a condition after `if`"),
    # units and numbers
    ("param dt = [fs]", "bad-unit", "[", "`1 [fs]`"),
    ("param a = 3 [kcal mol]", "bad-unit", "mol", "`[kcal/mol]`"),
    ("data q[atoms] [e]", "bad-unit", "[", "`in`"),
    ("units { length = m }", "bad-unit", "m", "in brackets"),
    ("param a = 3 [2*fs]", "bad-number", "2", "before the bracket"),
    ("param a = 3 [fs^0.5]", "bad-number", "0.5", "whole number"),
    ("param a = 1,5", "syntax", ",", "`1.5`"),
    ("param a = 1e999", "bad-number", "1e999", "too large"),
    ("param a = 1e-999", "bad-number", "1e-999", "too small"),
    ("dim 2.5", "bad-number", "2.5", "whole number"),
    # statements
    ("import pair", "unknown-statement", "import", "`use`"),
    ("parm a = 3", "unknown-statement", "parm", "`param`"),
    ("a = 3", "unknown-statement", "a", "`param a = ...`"),
    ("v ~ maxwell(2)", "unknown-statement", "v", "`run { ... }`"),
    ("(a + b)", "unknown-statement", "(", ""),
    ("dim 2\nrecord T", "syntax", "record", "`run`"),
    ("box L where L = 2", "syntax", "where", "`where` follows"),
    ("param = 3", "syntax", "=", "a name after `param`"),
    ("param 2a = 3", "syntax", "2", "begins with a letter"),
    ("param a", "syntax", "", "expected `=` and a value"),
    ("param a: 3", "syntax", ":", "expected `=` and a value"),
    ("energy U(r) = 3", "syntax", "(", "`def f(r) = ...`"),
    ("def f = 3", "syntax", "=", "parameters in parentheses"),
    ("unit foo", "syntax", "", "`unit kcal = 4184 [J]`"),
    ("species A,", "syntax", "", "remove the comma"),
    ("param s = { A 1 }", "syntax", "1", "expected `:` and a value"),
    ("dim x", "syntax", "x", "a whole number after `dim`"),
    # runs and flows
    ("run\n  x = 1", "syntax", "\n", "expected `{`"),
    ("flow A(h) x += h*v", "syntax", "x", "stand in braces"),
    ("run {\n  f()\n  record T\n}", "syntax", "\n", "expected `for` and a number of steps"),
    ("run { f() for 100 steps record T }", "syntax", "steps", "remove `steps`"),
    ('run { f() for 100 record T every 10 steps write "f" }', "syntax", "steps", "remove `steps`"),
    ("run { f() for 1 write melt }", "syntax", "melt", "the name of a file"),
    ("run { f() for 1 record T, }", "syntax", "}", "a name after `,`"),
    ("box f(a = 1, b)", "syntax", "b", "without a name follows one with a name"),
    ("run { record T }", "syntax", "record", "follow an integrator"),
    ("use", "syntax", "", "a name after `use`"),
]


@pytest.mark.parametrize("text, id, underlined, words", EXAMPLES)
def test_mistake(text, id, underlined, words):
    found = mistakes(text)
    assert [d.id for d in found] == [id], "\n".join(map(str, found))
    assert found[0].span.text == underlined, str(found[0])
    assert words in f"{found[0].message} {found[0].help} {[s.text for s in found[0].secondary]}", str(found[0])


def test_messages_name_no_terminals():
    for text, *_ in EXAMPLES:
        for word in ("LPAR", "NUMBER", "ANON", "token", "$END", "Lark"):
            assert word not in str(mistakes(text)[0])


@pytest.mark.parametrize("text", ["(" * 200 + "a" + ")" * 200, "|a|" + " + |a|" * 100])
def test_depth_is_not_the_length_of_the_text(text):
    assert parse(Source("t.mdsl", f"box {text}"))


@pytest.mark.parametrize(
    "text", ["-" * 300 + "a", "f(" * 300 + "a" + ")" * 300, "a^" * 300 + "a", " + ".join("a" * 300)]
)
def test_nesting_is_bounded(text):
    (mistake,) = mistakes(f"dim 2\nbox {text}")
    assert mistake.id == "nesting" and mistake.span.line == 2


def test_an_unclosed_bracket_is_shown_where_it_opens_and_where_it_should_close():
    (mistake,) = mistakes("param a = f(1,\n  2\nparam b = 3")
    assert mistake.span.text == "(" and mistake.label == "opened here"
    (missing,) = mistake.secondary
    assert missing.span.line == 2 and missing.text == "`)` is missing before `param`"
    assert "t.mdsl:1:12" in render(mistake)


# -- several in one file -------------------------------------------------------------------------------


def test_all_mistakes_of_a_file_are_told():
    text = """use units.lj
param a = 2 sigma
param b = 3
param c == 4
energy U = sum(i < j) (|x[i] - x[j]
           where r = 2 +
def f(r) = if r = 2 then 3 else 4
run {
  x = fcc(density = 1.2, = 3,
          cells = 20)
  v ~ maxwell(1.44)
  velocity_verlet(dt = 0.005) for 100 steps
    record T P every 10
  v ~ maxwell(1.44
}
observe E = 2**3
observe F = 1
"""
    assert [(d.id, d.span.line) for d in mistakes(text)] == [
        ("missing-operator", 2),
        ("syntax", 4),
        ("unclosed", 5),
        ("assignment-in-condition", 7),
        ("missing-expression", 9),
        ("syntax", 12),
        ("unclosed", 14),
        ("foreign-syntax", 16),
    ]


def test_one_mistake_is_told_once():
    """The lines after a mistake are right, and nothing is said of them."""
    after = "\nparam b = 2\nenergy U = sum(i < j) u(r) where u = r\nrun {\n  x = fcc(a = 1,\n    species = Cu)\n}\n"
    for text, *_ in EXAMPLES:
        if not text.startswith(("run", "units")) and text != "param a" and "\nparam" not in text:
            found = mistakes(text + after)
            assert len(found) == 1, "\n".join(map(str, found))


def test_a_file_of_nothing_but_mistakes_tells_the_first_ones():
    assert len(mistakes("param a = )\n" * 1000)) == 20
