"""Whatever stands in a program, mdsl answers with a compiled program or with diagnostics, and with nothing else.

`MDSL_FUZZ=5000 pytest tests/passes/test_fuzz.py` tries so many random examples of each kind; by default there are a
few, always the same.
"""

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import mdsl
from mdsl.command.reformat import formatted
from mdsl.grammar.diagnostics import Rejected
from mdsl.grammar.parse import tokenize
from mdsl.grammar.source import Source

ROOT = Path(__file__).parents[2]
MANY = int(os.environ.get("MDSL_FUZZ", "0"))


def fuzz(examples):
    return settings(
        max_examples=MANY or examples,
        derandomize=not MANY,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )


def survives(text):
    """Compile, explain and format a text; what is said of it can be shown."""
    try:
        program = mdsl.compile(text, ROOT / "examples")
        shown = [*map(str, program.warnings), program.explain()]
    except Rejected as rejected:
        assert rejected.diagnostics
        shown = [str(d) for d in rejected.diagnostics]
        assert rejected.exit_status == 2 or all(d.severity != "error" for d in rejected.diagnostics)
        starts = [d.span.start for d in rejected.diagnostics if d.span is not None and d.span.source.name == "<string>"]
        assert starts == sorted(starts)
    assert all(shown)
    try:
        once = formatted(text)
    except Rejected:
        return
    assert formatted(once) == once


# -- good programs, edited ------------------------------------------------------------------------------

OWN = """use units.metal
use pair
use integrators (velocity_verlet, baoab, A, B)
dim 2
species Cu, Ag   # two metals
unit furlong = 201.168 [m]

const n = 6
param sigma[species, species] = { Cu-Cu: 2.3 [angstrom], Ag-Cu: 2.4 [angstrom], Ag-Ag: 2.6 [angstrom] }
param depth = 0.4 [eV]
param m[species] = { Cu: 63.5 [g/mol], Ag: 107.9 [g/mol] }
const weight[k in 1..3] = 0.5*k
param k_wall = 0.1 [eV/angstrom^2]

box periodic(40 [angstrom], free)

def soft(s, n)(r) = if r < s then (1 - r/s)^n else 0

energy pairs = sum(i < j) (u(r) - depth*soft(sigma[i, j], 2)(r))
               where u = switched(morse(depth, alpha, sigma[i, j]), 5 [angstrom], 6 [angstrom]),
                     alpha = weight[2]/sigma[Cu, Cu], r = |x[i] - x[j]|
energy wall  = sum(i) if y < 0 [angstrom] then k_wall*y^2 else 0 where y = (x[i] - origin).y

observe T = temperature
observe height = (sum(i) m[i]*x[i].y)/(sum(i) m[i])
observe slope = D(soft(2.0, n))(1.0)

def warm(t) = if t < 1 [ps] then 300 [K] else 500 [K]*exp(-t/(1 [ps]))

integrator mine(dt) { B(dt/2) A(dt) B(dt/2) }
flow friction(h, gamma) { xi ~ normal  v = exp(-gamma*h)*v + 0*v }

run {
  x ~ uniform(atoms = 100, density = 0.01 [angstrom^-2], species = { Cu: 0.5, Ag: 0.5 })
  v ~ maxwell(300 [K])
  mine(dt = 1 [fs]) for 100 record pairs, wall, T every 10
  baoab(dt = 0.001 [ps], T = warm, gamma = 1 [1/ps]) for 2*50 record height every 5 write "a.xyz" every 20
}
"""
GOOD = [OWN, *(p.read_text(encoding="utf-8") for p in sorted((ROOT / "examples").glob("*.mdsl")))]
LIBRARY = [p.read_text(encoding="utf-8") for p in sorted((ROOT / "stdlib").rglob("*.mdsl"))]
# What edits put in: tokens of the programs, and what users write by mistake.
WORDS = sorted({t.text for text in (*GOOD, *LIBRARY) for t in tokenize(Source("", text))})
WORDS += [
    "1e308",
    "-1",
    "0",
    "0.5",
    "1e999",
    '"',
    "''",
    "²",
    "\t",
    "\n",
    "D(D)",
    "[",
    "|",
    "sum(i < j)",
    "sum(j != i)",
    "sum(i; j < k)",
    "x[i]",
    "v",
    "f",
    "N",
    "virial",
    "1..3",
]
WORDS += [
    "quantity q[i] = m[i]\n",
    "state s = 1\n",
    "data q[atoms]\n",
    "topology bonds(i, j)\n",
    "where",
    "[K]",
    "[fs^2]",
    "in bonds",
    "volume",
    "potential",
    "kinetic",
    "{ Cu: 1 }",
]


@pytest.mark.parametrize("text", GOOD)
def test_good_programs_compile(text):
    mdsl.compile(text, ROOT / "examples").explain()


edits = st.tuples(
    st.sampled_from(["delete", "swap", "insert", "replace", "double", "copy"]),
    st.floats(0, 1, exclude_max=True),
    st.floats(0, 1, exclude_max=True),
    st.sampled_from(WORDS),
)


def edited(text, changes):
    """Tokens (with the space before them) deleted, swapped, inserted, replaced, doubled or copied elsewhere."""
    starts = [t.span.start for t in tokenize(Source("", text))]
    pieces = [text[a:b] for a, b in zip([0, *starts], [*starts, len(text)])]
    for kind, where, other, word in changes:
        a, b = int(where * len(pieces)), int(other * len(pieces))
        if kind == "delete":
            pieces[a] = ""
        elif kind == "swap":
            pieces[a], pieces[b] = pieces[b], pieces[a]
        elif kind == "insert":
            pieces.insert(a, f" {word} ")
        elif kind == "replace":
            pieces[a] = f"{word} "
        elif kind == "double":
            pieces[a] *= 2
        else:
            pieces[a] = pieces[b]
    return "".join(pieces)


@fuzz(90)
@given(st.sampled_from(GOOD), st.lists(edits, min_size=1, max_size=3))
def test_programs_with_other_tokens(text, changes):
    survives(edited(text, changes))


@fuzz(60)
@given(
    st.sampled_from(GOOD),
    st.lists(
        st.tuples(
            st.integers(0, 10**6),
            st.integers(0, 3),
            st.text(max_size=2) | st.sampled_from(list('()[]{}|=<>+-*/^.,~#"\\')),
        ),
        min_size=1,
        max_size=3,
    ),
)
def test_programs_with_other_characters(text, changes):
    for at, gone, new in changes:
        at %= len(text) + 1
        text = text[:at] + new + text[at + gone :]
    survives(text)


@fuzz(40)
@given(st.sampled_from(GOOD), st.randoms(use_true_random=False), st.integers(0, 6))
def test_programs_with_other_lines(text, random, count):
    """Lines, or whole statements, shuffled and left out."""
    lines = text.splitlines(True)
    for _ in range(count):
        a, b = random.randrange(len(lines)), random.randrange(len(lines))
        lines[a], lines[b] = lines[b], lines[a] if random.random() < 0.7 else ""
    survives("".join(lines))


# -- random programs -------------------------------------------------------------------------------------
# Texts that are often right: names are drawn from a few that are often declared.

scalars = st.sampled_from(
    [
        "a",
        "b",
        "c",
        "s[i]",
        "s[j]",
        "e[i, j]",
        "m[i]",
        "r",
        "1",
        "2",
        "0.5",
        "0",
        "-1",
        "pi",
        "N",
        "dim",
        "t",
        "q[2]",
        "U0",
        "kinetic",
        "1 [angstrom]",
        "3 [eV]",
        "z",
    ]
)
vectors = st.sampled_from(["(x[i] - x[j])", "v[i]", "f[i]", "(x[i] - origin)", "x[i]", "(x[j] - x[i])", "d"])
functions = st.sampled_from(
    [
        "g(a)",
        "h",
        "lennard_jones(a, b)",
        "morse(1, 2, 1)",
        "exp",
        "sqrt",
        "D(g(a))",
        "D(h)",
        "abs",
        "erfc",
        "truncated(g(a), 2)",
        "force_shifted(lennard_jones(1, 1), 2.5)",
        "shifted(h, c)",
        "switched(morse(a, b, 1), 2, 3)",
        "g",
        "u",
        "D",
        "integral(g(a), 0, b)*abs",
        "integral(h, 1, infinity)*exp",
        "integral(morse(1, a, b), c, infinity)*abs",
    ]
)


def grow(inner):
    two = lambda sign: st.tuples(inner, inner).map(sign.join)  # noqa: E731
    return st.one_of(
        two(" + "), two(" - "), two("*"), two("/"), two("^"), inner.map(lambda e: f"({e})"), inner.map(lambda e: f"-{e}"),
        st.tuples(functions, inner).map(lambda p: f"{p[0]}({p[1]})"),
        st.tuples(st.sampled_from(["min", "max"]), inner, inner).map(lambda p: f"{p[0]}({p[1]}, {p[2]})"),
        st.tuples(inner, st.sampled_from(["<", "<=", ">", "=="]), inner, inner, inner).map(lambda p: f"(if {p[0]} "
                                                                                                     f"{p[1]} {p[2]} "
                                                                                                     f"then {p[3]} "
                                                                                                     f"else {p[4]})"),
        vectors.map(lambda v: f"|{v}|"), st.tuples(vectors, st.sampled_from("xyz")).map(".".join), st.tuples(vectors, vectors).map("·".join),
        st.tuples(vectors, vectors).map(lambda p: f"trace(outer({p[0]}, {p[1]}))"),
    )  # fmt: skip


expressions = st.recursive(scalars, grow, max_leaves=5)
domains = st.sampled_from(["i < j", "i < j", "i < j", "i", "j != i", "i; j < k", "(i, j) in bonds"])
sums = st.tuples(domains, expressions).map(lambda p: f"sum({p[0]}) {p[1]}")
values = st.one_of(sums, sums, expressions, st.tuples(sums, sums).map(" + ".join))
wheres = st.sampled_from(
    [
        "",
        "",
        " where r = |x[i] - x[j]|",
        " where r = |x[i] - x[j]|, d = x[i] - x[j]",
        " where u(r) = r^2, r = 2",
        " where u = g(a), r = u(1)",
    ]
)
pair_energies = st.tuples(functions, st.sampled_from(["", "m[i]*m[j]*", "s[i]*", "a*", "e[i, j]*"])).map(
    lambda p: f"sum(i < j) {p[1]}{p[0]}(|x[i] - x[j]|)"
)
statements = st.one_of(
    expressions.map(lambda e: f"param z = {e}"),
    st.tuples(
        st.sampled_from(["energy", "observe"]), st.sampled_from(["U", "W", "temperature", "kinetic"]), values, wheres
    ).map(lambda p: f"{p[0]} {p[1]} = {p[2]}{p[3]}"),
    expressions.map(lambda e: f"def h(r) = {e}"),
    expressions.map(lambda e: f"flow C(k) {{ v += k*f*({e}) }}\nintegrator mine(dt) {{ C(dt) }}"),
    expressions.map(lambda e: f"box periodic({e})"),
    expressions.map(lambda e: f"quantity q[i] = sum(j != i) {e}"),
    pair_energies.map(lambda e: f"energy V = {e}"),
)
runs = st.tuples(
    st.sampled_from(
        ["velocity_verlet(dt = 0.1)", "baoab(dt = 0.1, T = h, gamma = 1)", "mine(dt = a)", "brownian(dt = 0.1, T = 1)"]
    ),
    expressions,
    st.sampled_from(["U", "V", "T", "temperature", "a"]),
)
run_blocks = runs.map(
    lambda p: f"run {{\n  x = sc(a = 1.2, cells = 4)\n  v ~ maxwell({p[1]})\n  {p[0]} for 10 record {p[2]} every 2\n}}"
)
HEAD = """use pair
use integrators (velocity_verlet, baoab, brownian)
species A, B
param a = 1.5
param b = 2
const c = 2.5
param s[species] = { A: 1, B: 2 }
param e[species, species] = { A-A: 1, A-B: 2, B-B: a }
const q[k in 1..3] = k/2
def g(w)(r) = if r < 2*w then (2*w - r)^2 else 0
"""


@fuzz(120)
@given(
    st.sampled_from(["use units.lj\n", "use units.lj\n", "use units.metal\n", ""]),
    st.sampled_from(["", "dim 2\n"]),
    st.lists(statements, min_size=1, max_size=4),
    st.one_of(st.just(""), run_blocks),
)
def test_random_programs(units, dim, body, run):
    survives(units + dim + HEAD + "\n".join(body) + "\n" + run + "\n")


@fuzz(60)
@given(pair_energies, st.sampled_from(["", "where r = 1"]))
def test_random_pair_energies(energy, where):
    survives(f"use units.lj\n{HEAD}def h(r) = 1/(1 + r)\nenergy U = {energy} {where}\n")


@fuzz(60)
@given(st.text(max_size=40) | st.lists(st.sampled_from(WORDS), max_size=12).map(" ".join))
def test_any_text(text):
    survives(text)
