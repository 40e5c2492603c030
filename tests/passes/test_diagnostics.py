"""What `mdsl check` says of wrong programs: the diagnostic, the place that is marked, and words that help.

Each entry of tests/data/wrong/programs.toml is one mistake that a user makes. What only shows in a run or a call is in
test_diagnostics_run.py. The page docs/errors.md has an example of each diagnostic, run below.
"""

import re
import time

import make_errors
import pytest
from wrong_programs import each, heads

import mdsl
from mdsl.grammar.catalogue import CATALOGUE
from mdsl.grammar.diagnostics import EXIT_STATUS, Rejected

HEADS = heads("programs")
LJ, REAL = HEADS["LJ"], HEADS["REAL"]
U = {
    "LJ": "\nenergy U = sum(i < j) force_shifted(lennard_jones(sigma, epsilon), 2.5)(|x[i] - x[j]|)\n",
    "REAL": "\nenergy U = sum(i < j) force_shifted(lennard_jones(sigma, epsilon), 8.5 [angstrom])(|x[i] - x[j]|)\n",
}
U["FLAT"] = U["LJ"]


def run(body, x="x = fcc(density = 0.8, cells = 6, species = Cu)"):
    return f"run {{\n  {x}\n  {body}\n}}"


def pair(body):
    return f"energy W = sum(i < j) {body}"


D = "|x[i] - x[j]|"


def check(text, folder=None):
    """All diagnostics of a program, and the exit status of `mdsl check`."""
    try:
        return mdsl.compile(text, folder).warnings, 0
    except Rejected as rejected:
        return rejected.diagnostics, rejected.exit_status


def words(diagnostic):
    labels = [diagnostic.label, *(s.text for s in diagnostic.secondary)]
    return " | ".join(filter(None, [diagnostic.message, *labels, *diagnostic.notes, diagnostic.help]))


def complete(head, text):
    """A program with a head by its name: an energy is added where the mistake is elsewhere."""
    energy = "" if head not in U or "energy U" in text and "energy U = 0" not in text else U[head]
    return HEADS.get(head, "") + energy + text + "\n"


@each("programs")
def test_wrong_program(case):
    found, status = check(complete(case.head, case.text))
    shown = "\n".join(map(str, found))
    errors = [d for d in found if d.severity == CATALOGUE[case.id].severity]
    first = errors[0]
    assert first.id == case.id, shown
    assert first.span.source.name == "<string>", shown  # not in the library
    assert first.span.text == case.marks, shown
    assert case.says in words(first), shown
    assert status == EXIT_STATUS[CATALOGUE[case.id].severity]
    # The mistake is told once: whatever else is said has another index of the same kind at fault.
    assert {d.id for d in errors} == {case.id}, shown
    assert len(errors) <= 2, shown


# -- several mistakes ------------------------------------------------------------------------------------


def test_all_errors_are_told_in_the_order_of_the_text_and_none_follows_from_another():
    text = """use units.lj
use pair (lenard_jones, truncated)
use integrators (velocity_verlt)
param sigma = 1.0
param sigma = 2.0
species A, B
param eps[species] = { A: 1.0, C: 2 }
energy U = sum(i < j) truncated(lenard_jones(sigma, eps[i]), 2.5)(|x[i] + x[j]|)
energy W = sum(i) exq(x[i].x)
observe T = temprature
observe twice = 2*T + W
run {
  x = fcc(densty = 0.8, cells = 5)
  v ~ maxwell(1.0)
  velocity_verlt(dt = 0.005) for 100 record T, Q
}
"""
    found, status = check(text)
    assert status == 2
    assert [(d.id, d.span.line, d.span.text) for d in found] == [
        ("unknown-name", 2, "lenard_jones"),
        ("unknown-name", 3, "velocity_verlt"),
        ("duplicate-name", 5, "sigma"),
        ("unknown-species", 7, "C: 2"),
        ("point-plus-point", 8, "x[i] + x[j]"),
        ("unknown-name", 9, "exq"),
        ("unknown-name", 10, "temprature"),
        ("unknown-option", 13, "densty = 0.8"),
        ("unknown-name", 15, "Q"),
    ]


@pytest.mark.parametrize(
    "wrong, use",
    [
        ("def g(r) = r*typo", pair(f"g({D})")),
        ("param g = typo", pair(f"g*{D}")),
        ("param g[species] = { Cu: 1, Pb: 2 }", pair(f"(g[i] + g[j])*{D}")),
        ("observe g = typo", "observe h = g^2\n" + run("velocity_verlet(dt = 1) for 1 record g, h")),
        ("flow g(h) { v += h*typo*v }", "integrator mine(dt) { g(dt) }\n" + run("mine(dt = 1) for 1")),
        ("integrator g(dt) { A(typo) }", run("g(dt = 1) for 1")),
        ("use pair (typo)", pair(f"typo(1)({D})")),
        ("use typo (g)", pair(f"g(1)({D})")),
        ("use typo", pair(f"h(1)({D})")),
        ("use typo (g)", run("g(dt = 1) for 1")),
    ],
)
def test_a_wrong_declaration_is_told_once(wrong, use):
    found, _ = check(complete("LJ", f"{wrong}\n{use}"))
    assert len(found) == 1 and found[0].span.text in (wrong, "typo", "Pb: 2"), "\n".join(map(str, found))


def test_a_mistake_inside_a_library_formula_points_at_the_call_and_shows_the_formula():
    found, _ = check(complete("REAL", pair(f"lennard_jones(epsilon, sigma)({D})")))
    (first,) = found
    assert first.span.text == f"lennard_jones(epsilon, sigma)({D})"
    formula = first.secondary[0]
    assert formula.text == "in this formula" and formula.span.source.name == "stdlib/pair.mdsl"
    assert "::: stdlib/pair.mdsl" in str(first)
    assert "it takes `lennard_jones(sigma: length, epsilon: energy)(r: length)`" in first.notes


@pytest.mark.parametrize("unit, word", [("A", "angstrom"), ("u", "amu"), ("Ha", "hartree")])
def test_units_by_other_names(unit, word):
    (first, *_), _ = check(complete("REAL", pair(f"(1 [{unit}])*exp(-1)")))
    assert first.id == "unknown-unit" and first.help == f"it is written `{word}`"


DOUBLED = "def g0(r) = r\n" + "".join(f"def g{k + 1}(r) = g{k}(r) + g{k}(2*r)\n" for k in range(30))


@pytest.mark.parametrize(
    "text, id",
    [
        (f"def h(r) = h(h(r) + 1)*h(2)\n{pair(f'h({D})')}", "cyclic-definition"),
        (
            "integrator a(dt) { b(dt) b(dt) }\nintegrator b(dt) { a(dt) a(dt) }\n" + run("a(dt = 1) for 1"),
            "cyclic-definition",
        ),
        (DOUBLED + pair(f"g30({D})"), "nesting"),
        (pair(f"9^9^9^9*{D}"), None),
    ],
)
def test_definitions_that_grow_without_bound_are_refused_quickly(text, id):
    began = time.perf_counter()
    found, _ = check(complete("LJ", text))
    assert [d.id for d in found] == ([id] if id else [])
    assert time.perf_counter() - began < 20


# -- modules beside the program --------------------------------------------------------------------------


def test_modules_beside_the_program(tmp_path):
    (tmp_path / "pair.mdsl").write_text("def g(r) = r\n")
    (tmp_path / "mine.mdsl").write_text("param depth = 1.0\ndef well(r) = -depth/(1 + r^2)\n")
    (tmp_path / "broken.mdsl").write_text("def g(r) = r +\n")
    (tmp_path / "a.mdsl").write_text("use b\n")
    (tmp_path / "b.mdsl").write_text("use a\n")
    (tmp_path / "units").mkdir()
    (tmp_path / "units" / "empty.mdsl").write_text("units { }\n")
    (tmp_path / "units" / "half.mdsl").write_text("use units.names\nunits { length = [m] }\n")
    (tmp_path / "binary.mdsl").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "folder.mdsl").mkdir()
    energy = f"\nenergy U = sum(i < j) {D}\n"

    def told(text):
        found, _ = check(text, tmp_path)
        return [(d.id, d.span and d.span.text) for d in found if d.severity == "error"]

    assert told(f"use units.lj\nuse mine (well)\nenergy U = sum(i < j) well({D})\n") == []
    assert told("use units.lj\nuse pair (g)" + energy) == [("ambiguous-module", "use pair (g)")]
    assert told("use units.lj\nuse broken" + energy) == [("missing-expression", "\n")]
    assert told("use units.lj\nuse a" + energy)[0][0] == "cyclic-definition"
    assert told("use units.lj\nuse mine (well)\nparam depth = 3.0" + energy) == [
        ("duplicate-name", "param depth = 3.0")
    ]
    assert told("use units.lj\nuse mine (wel)" + energy) == [("unknown-name", "wel")]
    assert told("use units.empty" + energy) == [("bad-unit", "use units.empty")]
    assert told("use units.half" + energy)[0][0] == "bad-unit"
    assert told("use units.lj\nuse binary" + energy) == [("malformed-file", "use binary")]
    assert told("use units.lj\nuse folder" + energy) == [("unknown-module", "use folder")]


# -- the catalogue and its page --------------------------------------------------------------------------


SECTIONS = make_errors.sections(make_errors.PAGE.read_text(encoding="utf-8"))[1]
# Tested in test_diagnostics_run.py, and in test_export_command.py.
WITHOUT_EXAMPLE = {"unsupported-jax", "neighbour-overflow", "export-differs"}


def test_every_diagnostic_has_a_section_on_the_page():
    assert sorted(id for id, _ in SECTIONS) == sorted(CATALOGUE)


@pytest.mark.parametrize("id, text", SECTIONS)
def test_the_page_says_what_mdsl_says(id, text):
    said = [content for kind, name, content in make_errors.BLOCK.findall(text) if kind == "text" and not name]
    assert id in WITHOUT_EXAMPLE or any(re.search(rf"^(error|warning)\[{id}\]", s, re.M) for s in said)
    now = make_errors.renewed(f"## {id}\n{text}")
    if id == "blow-up":  # chaos: which atoms come too close depends on the machine
        now, text = (re.sub(r"\d[\d.e+]*|[\^-]{4,}", "#", t) for t in (now, text))
    assert now == f"## {id}\n{text}", "run tests/support/make_errors.py"
