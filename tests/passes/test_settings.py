"""What is given from outside, by `--set`, stands in the place of defaults: every pass sees it as the program's own."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mdsl.command.options import settings
from mdsl.compiler import compile_source
from mdsl.grammar.diagnostics import Rejected
from mdsl.grammar.source import Source
from mdsl.interpret.constants import whole
from mdsl.interpret.meaning import constant, defaults
from mdsl.model.nodes import Advance
from mdsl.passes.pipeline import PASSES

PROGRAM = """use units.real
use integrators (nose_hoover)
use pair (lennard_jones)
species A, B
param sigma[species] = { A: 3.0 [angstrom], B: 3.5 [angstrom] }
param mix[species, species] = { A-A: 1, A-B: 0.9, B-B: 1 }
param epsilon = 0.2 [kcal/mol]
param depth   = 2*epsilon
param share[k in 1..links] = k/links
param unset = 0 [kcal/mol]
param L = 30 [angstrom]
const rc      = 9 [angstrom]
const twice = 2*rc
const links = 2
const tick = 1 [fs]
const steps = 10
def half(a) = a/2
box periodic(L, L, 2*L)
energy U = sum(i < j) if r < rc then depth*(1 - r/rc)^2*(sigma[i] + sigma[j])/rc else 0 where r = |x[i] - x[j]|
run {
  x = read("nothing.xyz")
  nose_hoover(dt = tick, T = 300 [K], tau = 100 [fs], chain = links) for steps record U every steps/2
}
"""


def compiled(*texts, program=PROGRAM):
    given = tuple(s.declaration for s in settings(list(texts)))
    return compile_source(Source("a.mdsl", program), Path.cwd(), given=given)


def values(*texts):
    return defaults(compiled(*texts).model)


def rejected(*texts, program=PROGRAM):
    with pytest.raises(Rejected) as caught:
        compiled(*texts, program=program)
    return caught.value.diagnostics


PLAIN = values()


def test_what_is_set_may_read_other_parameters():
    found = values("depth=epsilon/4", "epsilon=0.4 [kcal/mol]", "rc=3*sigma[B]")
    np.testing.assert_allclose(found["depth"], PLAIN["epsilon"] / 2)  # it follows the other setting
    np.testing.assert_allclose(found["rc"], 3 * PLAIN["sigma"][1])
    np.testing.assert_allclose(values("epsilon=0.1 [kcal/mol]")["depth"], PLAIN["epsilon"])


@pytest.mark.parametrize("order", [1, -1])
def test_what_two_parameters_are_made_of_may_be_turned_round(order):
    found = values(*["epsilon=depth/4", "depth=1 [kcal/mol]"][::order])
    np.testing.assert_allclose(found["epsilon"], found["depth"] / 4)


def test_settings_that_need_each_other_are_refused():
    (found,) = rejected("epsilon=depth/3")
    assert found.id == "cyclic-definition" and found.notes == ("`epsilon` needs `depth` needs `epsilon`",)


@pytest.mark.parametrize(
    "text, name, expected",
    [
        ("epsilon=0.3 [kcal/mol]", "epsilon", 1.5 * PLAIN["epsilon"]),
        ("sigma={ A: 6 [angstrom], B: 3 [angstrom] }", "sigma", PLAIN["sigma"][0] * np.array([2.0, 1.0])),
        ("sigma=6 [angstrom]", "sigma", PLAIN["sigma"][0] * np.array([2.0, 2.0])),
        ("mix={ A-A: 1, B-A: 0.5, B-B: 2 }", "mix", np.array([[1.0, 0.5], [0.5, 2.0]])),
        ("share=3*k", "share", np.array([3.0, 6.0])),
        ("links=4", "share", np.array([0.25, 0.5, 0.75, 1.0])),
        ("rc=8 [angstrom]", "twice", 16 / 18 * PLAIN["twice"]),
        ("depth=half(3 [kcal/mol])", "depth", 7.5 * PLAIN["epsilon"]),
        ("depth=integral(half, 0, 2)*1 [kcal/mol]", "depth", 5 * PLAIN["epsilon"]),
        ("depth=D(half)(3)*1 [kcal/mol]", "depth", 2.5 * PLAIN["epsilon"]),
        ("unset=epsilon", "unset", PLAIN["epsilon"]),
        ("depth=0", "depth", 0.0),
    ],
)
def test_whatever_has_a_default_can_be_set(text, name, expected):
    np.testing.assert_allclose(values(text)[name], expected, rtol=1e-12)


def test_what_is_set_reaches_the_box_and_the_run():
    model = compiled("L=24 [angstrom]", "tick=2 [fs]", "steps=2*30", "links=3").model
    plain = compiled().model
    edges = [[constant(m, e) for e in m.box.edges] for m in (plain, model)]
    np.testing.assert_allclose(edges[1], 0.8 * np.array(edges[0]), rtol=1e-12)
    (before,), (after,) = ([s for s in m.run if isinstance(s, Advance)] for m in (plain, model))
    assert constant(model, after.dt) == pytest.approx(2 * constant(plain, before.dt), rel=1e-12)
    assert (whole(model, after.steps, {}, ""), whole(model, after.outputs[0].every, {}, "")) == (60, 30)
    assert len(after.body) > len(before.body)  # the loops over a longer chain


def test_a_module_s_own_parameter_can_be_set(tmp_path):
    (tmp_path / "mine.mdsl").write_text("param hidden = 2\nparam base = 1\ndef u(r) = hidden*r\n")
    text = "use units.lj\nuse mine (u)\nparam own = 3\nenergy U = sum(i < j) u(|x[i] - x[j]|)\n"
    given = tuple(s.declaration for s in settings(["hidden=base + own"]))
    assert defaults(compile_source(Source("a.mdsl", text), tmp_path, given=given).model)["hidden"] == 4


def test_it_is_the_program_with_other_defaults():
    other = PROGRAM.replace("2*epsilon", "half(epsilon)").replace("links = 2", "links = 3")
    names = ("depth=half(epsilon)", "links=3")
    assert compiled(*names).model.params == compiled(program=other).model.params
    assert compiled(*names).model.run == compiled(program=other).model.run
    assert compiled(*names).field.terms == compiled(program=other).field.terms


def test_every_pass_sees_it_and_is_held_to_its_promise(monkeypatch):
    resolved = compiled("depth=half(3 [kcal/mol])").stage("resolve").param("depth")
    assert resolved.default.span.source.name == "--set" and resolved.declared.span.text == "2*epsilon"
    inline, *rest = PASSES
    lazy = replace(inline, run=lambda model: (replace(inline.run(model)[0], params=model.params), []))
    monkeypatch.setattr("mdsl.compiler.PASSES", (lazy, *rest))
    compiled()  # no default of the program's own calls a function
    with pytest.raises(AssertionError, match=r"after inline, model.params.*default still holds Apply"):
        compiled("depth=half(3 [kcal/mol])")


@pytest.mark.parametrize(
    "text, id, place, help",
    [
        ("sigm=1", "unknown-parameter", "sigm", "did you mean `sigma`?"),
        ("kB=1", "unknown-parameter", "kB", "its parameters are"),
        ("half=1", "unknown-parameter", "half", "its parameters are"),
        ("rc=3*tau", "unknown-name", "tau", None),
        ("depth=2", "wrong-unit", "2", "for example --set 'depth=1.0 [kcal/mol]'"),
        ("depth=rc", "wrong-unit", "rc", "for example --set 'depth=1.0 [kcal/mol]'"),
        ("depth=epsilon + rc", "wrong-unit", "epsilon + rc", None),
        ("depth=lennard_jones(rc, epsilon)(epsilon)", "wrong-unit", "lennard_jones(rc, epsilon)(epsilon)", None),
        ("sigma={ A: 1 [angstrom] }", "missing-entry", "{ A: 1 [angstrom] }", "give each species an entry"),
        ("sigma={ A: 1 [angstrom], C: 1 [angstrom] }", "unknown-species", "C: 1 [angstrom]", None),
        ("share={ A: 1, B: 2 }", "bad-table", "{ A: 1, B: 2 }", None),
        ("epsilon={ A: 1, B: 2 }", "bad-table", "{ A: 1, B: 2 }", None),
        ("depth=kinetic", "nonconstant", "kinetic", None),
        ("depth=1 [kcal/mol]/0", "bad-number", "param depth = 1 [kcal/mol]/0", None),
        ("depth=half", "function-as-value", "half", None),
        ("links=2.5", "bad-axis", "1..links", None),
    ],
)
def test_what_is_wrong_with_it_is_shown_where_it_was_written(text, id, place, help):
    found = rejected(text)[0]
    assert (found.id, found.span.text) == (id, place), str(found)
    assert found.span.source.name == ("a.mdsl" if id == "bad-axis" else "--set")
    assert help is None or help in found.help
    assert id == "bad-axis" or len(rejected(text)) == 1


def test_quantities_that_do_not_go_together_are_both_marked():
    (found,) = rejected("depth=epsilon + rc")
    assert [s.span.text for s in found.secondary] == ["epsilon", "rc"]


def test_a_default_that_is_wrong_is_told_whatever_is_set():
    program = PROGRAM.replace("depth   = 2*epsilon", "depth   = epsilon + rc")
    (found,) = rejected("depth=1 [kcal/mol]", program=program)
    assert (found.id, found.span.text) == ("wrong-unit", "epsilon + rc"), str(found)


def test_all_settings_that_are_wrong_are_told():
    assert [d.span.text for d in rejected("sigm=1", "epsi=2")] == ["sigm", "epsi"]


FOREIGN = """use units.lj
species A
table u = tabulated("u.txt")
data q[atoms]
learned net = mlp(1, hidden, 1)
const hidden = 3
state heat = 0
param a = 1
energy U = sum(i < j) (a*q[i]*q[j] + net(r) + u(r))*(if r < 1 then 1 - r else 0) where r = |x[i] - x[j]|
"""


@pytest.fixture
def with_table(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("u.txt").write_text("".join(f"{0.1 * k} {(2 - 0.1 * k) ** 2}\n" for k in range(1, 21)))


def test_networks_and_states(with_table):
    model = compiled("hidden=5", "heat=2*a", program=FOREIGN).model
    assert model.param("net").learned.sizes == (1, 5, 1)
    assert defaults(model)["heat"] == 2 and model.param("heat").lifetime == "state"


@pytest.mark.parametrize(
    "text, message, help",
    [
        ("q=1", "`q` is data, which come with the atoms", "a `param` can be set"),
        ("u=1", "`u` is a function that is read from a file", "change the file"),
        ("net=1", "`net` is a learned function", "--params weights.safetensors"),
        ("A=1", "the program has no parameter `A`", "its parameters are"),
    ],
)
def test_what_has_no_default_cannot_be_set(text, message, help, with_table):
    (found,) = rejected(text, program=FOREIGN)
    assert (found.id, found.message) == ("unknown-parameter", message) and help in found.help
    assert found.span.source.name == "--set" and found.span.text == text.partition("=")[0]
