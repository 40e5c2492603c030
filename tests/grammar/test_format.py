"""The canonical layout, by example, and what it leaves to the author."""

from pathlib import Path

import pytest

from mdsl.grammar import tree
from mdsl.grammar.layout.format import format_expression, format_program, format_statement
from mdsl.grammar.parse import parse
from mdsl.grammar.source import Source, Span

ROOT = Path(__file__).parents[2]
HERE = Span(Source("", ""), 0, 0)
FILES = [p for folder in ("examples", "stdlib") for p in sorted((ROOT / folder).rglob("*.mdsl"))]


def formatted(text):
    source = Source("<test>", text)
    program = parse(source)
    once = format_program(program, source)
    again = Source("<test>", once)
    assert parse(again) == program
    assert format_program(parse(again), again) == once
    return once


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.name)
def test_formatting_keeps_what_a_file_says(path):
    text = path.read_text(encoding="utf-8")
    assert formatted(formatted(text)) == formatted(text)


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.name)
def test_statements_print_from_their_trees(path):
    program = parse(Source(path.name, path.read_text(encoding="utf-8")))
    text = "\n".join(map(format_statement, program.statements))
    assert parse(Source("<test>", text)) == program


# Every layout rule in a program that is already right.
UNCHANGED = """\
# A title
# of two lines
use units.lj
use pair (lennard_jones, truncated)
dim 2

species small, large
topology bonds(i, j), angles(i, j, k) = path(bonds)

param D   = 0.8                                  # a column that the author chose
const phi = 0.98                                 # and kept

param σ[species, species] = { A-A: 1.0, B-B: 0.88, A-B: 0.80 }
param m[species]          = { A: 1.0, B: 1.0 }
data q[atoms] in [e]

param sigma = 1.0
param epsilon = 1.0

const eta   = 4.0
const rc    = 2.0
const shift[k in 1..16] = 0.1*k
learned net = mlp(16, 30, 30, 1)

table F[species], g[species] = setfl("Cu.eam.alloy")
box periodic(sqrt(pi*N*(D^2 + 1)/(8*phi)))

def lennard_jones(σ, ε)(r)  = 4*ε*((σ/r)^12 - (σ/r)^6)
def force_shifted(u, rc)(r) = if r < rc then u(r) - u(rc) - (r - rc)*D(u)(rc) else 0
def switched(u, r_on, rc)(r) =
  if r < r_on then u(r)
  else if r < rc then u(r)*(rc^2 - r^2)^2
  else 0

quantity G[i, k] = sum(j != i) exp(-eta*(r - shift[k])^2) * cosine_cutoff(rc)(r)
                   where r = |x[i] - x[j]|

energy two   = sum(i < j) u(σ[i,j], |x[i] - x[j]|)
energy three = sum(i; j < k) three(r_ij, r_ik, cosθ)
               where d_ij = x[j] - x[i], r_ij = |d_ij|,
                     d_ik = x[k] - x[i], r_ik = |d_ik|,
                     cosθ = d_ij·d_ik/(r_ij*r_ik)
energy bond  = sum((i, j) in bonds) fene(|x[i] - x[j]|)

observe K = sum(i) m[i]/2 * v[i]·v[i]

unit m : length
unit kcal = 4184 [J]

units {
  length = [angstrom]
  mass   = [g/mol]

  time = [fs]
}

flow A(h)           { x += h*v }                    # drift
flow B(h)           { v += h*f/m }                  # kick
flow O(h, T, gamma) {                               # friction and noise
  xi ~ normal
  v = exp(-gamma*h)*v + xi
}
integrator baoab(dt, T, γ) { B(dt/2) A(dt/2) O(dt, T, γ) A(dt/2) B(dt/2) }

run {
  x = fcc(density = 1.2, cells = 6, species = { A: 0.8, B: 0.2 })
  v ~ maxwell(94.4 [K])

  baoab(dt = 0.005, T = T_bath, gamma = 1.0 [1/ps])  for 20_000
    record U, T  every 200
    write "melt.extxyz"  every 50
  # the second part
  velocity_verlet(dt = 0.005)  for 50_000
    record U
}
# the end
"""


def test_what_is_right_stays():
    assert formatted(UNCHANGED) == UNCHANGED


def test_any_layout_of_a_program_becomes_a_right_one():
    crowded = " ".join(line.partition("#")[0] for line in UNCHANGED.split("\n"))
    assert parse(Source("<test>", formatted(crowded))) == parse(Source("<test>", UNCHANGED))


@pytest.mark.parametrize("text, expected", [
    ("", ""),
    ("\n\n", ""),
    ("\n\n# only\r\n\r\n\r\n\r\n# comments", "# only\n\n# comments\n"),
    ("param   a=1  param b =2", "param a = 1\nparam b = 2\n"),
    ("param a=1\n\n\n\nparam b=2", "param a = 1\n\nparam b = 2\n"),
    ("param a  = 1\nparam bbb = 2 [ fs ]", "param a   = 1\nparam bbb = 2 [fs]\n"),
    ("unit m   : length unit kg  :\nmass", "unit m  : length\nunit kg : mass\n"),
    ("box f( a,b , c = - 2 )[ i ] . x", "box f(a, b, c = -2)[i].x\n"),
    ("box a*b + a * b - a *b", "box a*b + a * b - a*b\n"),
    ("box ( (a) )", "box ((a))\n"),
    ("box a ^ - b · c", "box a^-b·c\n"),
    ("box a⋅b", "box a·b\n"),
    ("box |a|*| -b |", "box |a|*|-b|\n"),
    ("box a +\n  b", "box a\n    + b\n"),
    ("box f(\na,\nb\n)", "box f(\n  a,\n  b\n)\n"),
    ("box f(a,\nb\n)", "box f(a,\n      b)\n"),
    ("energy U=sum(i<j)u where u=1,v=2", "energy U = sum(i < j) u\n           where u = 1, v = 2\n"),
    ("run{v~f() g() for 1 record a,b every 2}", "run {\n  v ~ f()\n  g()  for 1\n    record a, b  every 2\n}\n"),
    ("flow A(h){x+=h*v}", "flow A(h) { x += h*v }\n"),
    ("flow A(h){\nx+=h*v}", "flow A(h) {\n  x += h*v\n}\n"),
    ("units{}run{}", "units { }\nrun { }\n"),
    ("const s[k in 1 .. 3] = 1", "const s[k in 1..3] = 1\n"),
    ("const s[k in 1. .. .3] = 1", "const s[k in 1. .. .3] = 1\n"),
])  # fmt: skip
def test_layout(text, expected):
    assert formatted(text) == expected


def test_comments_stay_where_they_were():
    text = """\
param a = 1# one
param bb = 22     # two
energy U = f(a, # first
   # own
   b) # last
  # before where
  where a = 1, # of a
    # before b
    b = 2
run { # starts
# before x
x = 1 # of x
f() # call
 for 10 # steps
# before record
 record U # of record
# at the end
} # ended


# after
"""
    assert (
        formatted(text)
        == """\
param a = 1       # one
param bb = 22     # two
energy U = f(a,   # first
             # own
             b)  # last
           # before where
           where a = 1,  # of a
                 # before b
                 b = 2
run {  # starts
  # before x
  x = 1     # of x
  f()       # call
    for 10  # steps
    # before record
    record U  # of record
  # at the end
}  # ended

# after
"""
    )


def test_long_lines_break_before_an_operator():
    term = "a_long_name*(another_long_name - some_number)^2"
    text = formatted(f"energy U = {' + '.join([term] * 5)}\n")
    assert text == f"energy U = {term} + {term}\n" + f"           + {term} + {term}\n" + f"           + {term}\n"
    text = formatted(f"observe V = function({', '.join(['argument'] * 15)})\n")
    assert all(len(line) <= 120 for line in text.split("\n")) and text.split("\n")[1].startswith(" " * 21 + "argument")


# -- trees without a text ------------------------------------------------------------------------------


@pytest.mark.parametrize("text", [
    "a + b - c", "a - (b - c)", "a - (b + c)", "a/(b*c)", "a/b*c", "(a + b)*c", "-a^2", "(-a)^2", "-(a*b)", "a*(-b)", "a^b^c", "(a^b)^c",
    "a^-b", "2^(1/6)*a", "(2 [fs])^2", "a·b/c", "(a*b)·c", "(sum(i) a)*b", "a*sum(i) b*c", "sum(i) a*b + c", "sum(i) (a + b)", "-sum(i) a",
    "(if a then b else c) + d", "a + if b then c else d", "sum(i) if a then b else c", "(a*if b then c else d) + e", "not a < b", "(not a) < b",
    "(a < b) == c", "a and (b or c)", "a and b or c", "(a or b)[i]", "(2).x", "||a| - b|", "f(g)(a, b = { A-B: 1 "
                                                                                           "})[i, j].x", "(a, b)",
    "(a and not b)", "|(a < b)|", "(sum(i) a)^2", "a - (-b)", "if (if a then b else c) then d else e",
])  # fmt: skip
def test_expressions_print_with_the_fewest_parentheses(text):
    node = parse(Source("<test>", f"box {text}")).statements[0].value
    expected = {
        "(a and not b)": "a and not b",
        "if (if a then b else c) then d else e": "if if a then b else c then d else e",
    }
    assert format_expression(node) == expected.get(text, text)


def test_synthetic_statements_are_laid_out():
    r = tree.Identifier(HERE, "r")
    name = tree.Name(HERE, "r")
    where = tuple(tree.Binding(HERE, r, (), name) for _ in range(2))
    equation = tree.Equation(
        HERE,
        "energy",
        tree.Identifier(HERE, "U"),
        (),
        tree.Sum(HERE, tree.Domain(HERE, "{} < {}", ("i", "j")), name),
        where,
    )
    assert format_statement(equation) == "energy U = sum(i < j) r\n           where r = r,\n                 r = r"


def test_statements_that_no_text_could_say_are_shown_all_the_same():
    declaration = tree.Declaration(HERE, "const", tree.Identifier(HERE, "%1"), (), tree.Name(HERE, "%0"))
    assert format_statement(declaration) == "const %1 = %0"


def test_texts_that_cannot_be_written_are_refused():
    with pytest.raises(ValueError, match="quotation mark"):
        format_expression(tree.Text(HERE, 'a"b'))
