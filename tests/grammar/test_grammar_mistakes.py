"""Syntax mistakes by example: which diagnostic, where, and in which words."""

import pytest
from wrong_programs import Wrong, each, wrong

from mdsl.grammar.diagnostics import Rejected, render
from mdsl.grammar.parse import parse
from mdsl.grammar.source import Source


def mistakes(text):
    with pytest.raises(Rejected) as caught:
        parse(Source("t.mdsl", text))
    return caught.value.diagnostics


SURROGATE = Wrong("bad-character", "box \ud800", "\ud800", "U+D800")  # which no file can hold


@each("syntax", SURROGATE)
def test_mistake(case):
    found = mistakes(case.text)
    assert [d.id for d in found] == [case.id], "\n".join(map(str, found))
    assert found[0].span.text == case.marks, str(found[0])
    assert case.says in f"{found[0].message} {found[0].help} {[s.text for s in found[0].secondary]}", str(found[0])


def test_messages_name_no_terminals():
    for text in (case.text for case in wrong("syntax")):
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
    for text in (case.text for case in wrong("syntax")):
        if not text.startswith(("run", "units")) and text != "param a" and "\nparam" not in text:
            found = mistakes(text + after)
            assert len(found) == 1, "\n".join(map(str, found))


def test_a_file_of_nothing_but_mistakes_tells_the_first_ones():
    assert len(mistakes("param a = )\n" * 1000)) == 20
