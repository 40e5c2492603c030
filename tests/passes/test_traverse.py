"""Expressions are found by the types of fields: the same that are found by looking at every value there is."""

from collections import Counter
from dataclasses import fields, is_dataclass, replace

import pytest
from varied import cases

import mdsl
from mdsl.model import nodes
from mdsl.model.domains import Over
from mdsl.model.nodes import Expr, Number, Read, Species, Table, children, rebuild, walk
from mdsl.model.traverse import inside, mapped, places
from mdsl.report.dump import STAGES

SCHEMES = """use units.lj
use pair
use integrators (nose_hoover)
species A, B
param L = 8.0
param s[species, species] = { A-A: 1.0, A-B: 0.9, B-B: 0.8 }
box triclinic((L, 0, 0), (0.5, L, 0), (0, 0, L))
def sixth(r) = sum(k in 1..3) (r + k)^2
def total(a, b) = integral(sixth, a, b) + D(sixth)(a)
energy U = sum(i < j) truncated(lennard_jones(s[A, B], s[i, j]), total(1, 2))(|x[i] - x[j]|)
integrator remembering(h, n = 2) {
  state z[k in 1..n] = 0.1*k
  observe level = z[1]^2
  for k in 1..n { v += h*f/m*z[k] z[k] += h }
  e ~ normal
  x += h*v + h^2*e
}
run {
  x = fcc(density = 0.8, cells = 3, species = A)
  remembering(h = 0.001) for 10 record level every 2
  nose_hoover(dt = 0.001, T = 1.0, tau = 0.1) until t > 0.004, at most 20 record U every 5
}
"""


def by_value(item) -> list[Expr]:
    if isinstance(item, Expr):
        return [item]
    if isinstance(item, tuple):
        return [e for part in item for e in by_value(part)]
    if is_dataclass(item) and not isinstance(item, Table):
        return [e for f in fields(item) for e in by_value(getattr(item, f.name))]
    return []


@pytest.fixture(scope="module")
def models():
    whole = mdsl.compile("use units.lj\nparam c = 1.0\nextern energy E(x, neighbours = 2*c)")
    compiled = [mdsl.compile(SCHEMES), whole, *(mdsl.compile(c.head + c.text) for c in list(cases().values())[::5])]
    return [c.compiled.stage(name) for c in compiled for name in STAGES[:-1]]


def test_every_place_is_found_and_every_child(models):
    seen = Counter()
    for model in models:
        assert [*map(id, inside(model))] == [*map(id, by_value(model))]
        for expr in inside(model):
            for node in walk(expr):
                seen[type(node)] += 1
                direct = [e for f in fields(node) for e in by_value(getattr(node, f.name))]
                assert [*map(id, children(node))] == [*map(id, direct)]
                assert rebuild(node, children(node)) is node
    kinds = {k for k in vars(nodes).values() if isinstance(k, type) and issubclass(k, Expr) and k is not Expr}
    assert kinds - seen.keys() <= {nodes.Call, nodes.Text, nodes.Tabulated, nodes.TableOf}, "which no text here has"


def test_what_is_rewritten_is_every_place_and_nothing_else(models):
    for model in models:
        assert mapped(model, lambda expr: expr) is model
        other = mapped(model, lambda expr: Number(7.0))
        assert {e.value for e in inside(other)} == {7.0}
        assert [name for name, _ in places(other)] == [name for name, _ in places(model)]
        again = iter(inside(model))
        assert mapped(other, lambda _: next(again)) == model


def test_children_are_put_back_in_their_order():
    k, one = Read("k"), Number(1.0)
    for node in (
        nodes.Reduce(Over(("k",), (one, k)), k),
        nodes.TableOf(((("A",), one), (("B",), k))),
        Read("s", ("i", Species("A"), 3, k, one)),
        nodes.Integral(k, one, k),
    ):
        numbers = tuple(Number(float(n)) for n in range(len(children(node))))
        new = rebuild(node, numbers)
        assert children(new) == numbers and type(new) is type(node)
        assert rebuild(new, children(node)) == replace(node)
