"""`verify` refutes a node that a pass has promised to remove, one without a type, and a name that nothing has, wherever it
stands in a Model."""

from dataclasses import fields, is_dataclass, replace

import pytest

import mdsl
from mdsl.model.nodes import SCALAR, Expr, Lambda, Number, Read, Table
from mdsl.passes.pipeline import PASSES, verify

TEXT = """use units.lj
use pair

use integrators (nose_hoover)
use observables
species C, D
param L = 8.0
param sigma[species] = { C: 1.0, D: 0.9 }
box triclinic((L, 0, 0), (0.5, L, 0), (0, 0, L))
quantity n[i] = sum(j != i) if |x[i] - x[j]| < 1.5 then (1.5 - |x[i] - x[j]|)^2 else 0
energy U = sum(i < j) force_shifted(lennard_jones(1.0, 1.0), 2.5)(|x[i] - x[j]|) + sum(i) n[i]^2
observe g[k in 1..4] = pair_correlation(k, 0.2)
integrator remembering(h, T) {
  state w = 0.5
  state z[k in 1..2] = 0.1*k
  observe level = w^2
  e ~ normal
  w += h*temperature
  for k in 1..2 { v += h*f/m*k }
  v += sqrt(h*T)*e
  x += h*v
}
run {
  x = fcc(density = 0.8, cells = 3, species = C)
  v ~ maxwell(1.0)
  remembering(h = 0.001, T = 1.0) for 10 record U, g every 2 write "a.extxyz" every 5
  nose_hoover(dt = 0.001, T = 1.0, tau = 0.1) until t > 0.004, at most 20 record level every 5
}
"""
TEXT = TEXT.replace("record level every 5", "record conserved every 5")


def planted(item, bad, place="model"):
    """The item with one of its expressions replaced, for each of them, and where that was."""
    if isinstance(item, Expr):
        yield place, bad
    elif isinstance(item, tuple):
        for k, part in enumerate(item):
            for where, other in planted(part, bad, f"{place}[{k}]"):
                yield where, type(item)((*item[:k], other, *item[k + 1 :]))
    elif is_dataclass(item) and not isinstance(item, Table):
        for part in fields(item):
            for where, other in planted(getattr(item, part.name), bad, f"{place}.{part.name}"):
                yield where, replace(item, **{part.name: other})


@pytest.fixture(scope="module")
def model():
    return mdsl.compile(TEXT).model


BAD = {
    "a function": Lambda(("r",), Number(1.0)),
    "no type": Number(1.0),
    "a name": Read("nothing", type=SCALAR),
    "an index": Read("x", ("nobody",), type=SCALAR),
}


@pytest.mark.parametrize("bad", BAD)
def test_what_is_wrong_is_refuted_in_every_place(model, bad):
    verify(model, PASSES[-1])
    places = dict(planted(model, BAD[bad]))
    expected = (".box.edges", ".box.tilts", ".params", ".equations", ".run[0].options", ".run[1].options", ".steps")
    expected += (".every", ".dt", ".until", ".states", ".body", ".observes")
    assert [e for e in expected if not any(e in place for place in places)] == []
    for place, wrong in places.items():
        with pytest.raises(AssertionError, match=r"still holds|without a type|which there is not"):
            verify(wrong, PASSES[-1])
            pytest.fail(f"nothing is said of {bad} in {place}")


def test_each_pass_promises_what_is_absent_from_then_on():
    for before, after in zip(PASSES, PASSES[1:]):
        assert set(before.absent) <= set(after.absent) and before.typed <= after.typed
