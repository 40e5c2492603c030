"""Summands over pairs, and over the ends of triples, that change when the two are exchanged are refused; no others."""

from pathlib import Path

import pytest

from mdsl.compiler import compile_source
from mdsl.grammar.diagnostics import Rejected
from mdsl.grammar.source import Source

HEAD = """use units.lj
use pair
use integrators (A, B)
species S, T
param q[species] = { S: 1.0, T: 0.7 }
param s[species, species] = { S-S: 1.0, S-T: 0.9, T-T: 0.8 }
data d[atoms]
quantity n[i] = sum(j != i) exp(-|x[i] - x[j]|^2)
energy U = sum(i < j) exp(-|x[i] - x[j]|^2)
"""
PAIR = "observe O = sum(i < j) "
TRIPLE = "observe O = sum(i; j < k) "
AROUND = "quantity w[i] = sum(i; j < k) "
FLOW = "integrator mine(dt) { B(dt) A(dt) damp(dt) }\nrun { x = fcc(density = 0.1, cells = 2, species = S)\n"
SYMMETRIC = {
    "species": PAIR + "q[i]*q[j]*s[i, j]*|x[i] - x[j]|",
    "a table of pairs": PAIR + "s[i, j]*|x[i] - x[j]|",
    "data": PAIR + "(d[i] + d[j])*m[i]*m[j]*n[i]*n[j]*|x[i] - x[j]|",
    "velocities": PAIR + "(v[i] - v[j])·(x[i] - x[j])",
    "a root that ends": PAIR + "sqrt(1 - |x[i] - x[j]|)",
    "triples": TRIPLE + "q[i]*(x[j] - x[i])·(x[k] - x[i])*q[j]*q[k]",
    "around": AROUND + "q[i]*|x[j] - x[k]|",
    "entries": "observe O[k in 1..3] = sum(i < j) k*|x[i] - x[j]|",
    "sums inside": PAIR + "(sum(k != i) |x[i] - x[k]|)*(sum(k != j) |x[j] - x[k]|)",
}
ASYMMETRIC = {
    "species": PAIR + "q[i]*|x[i] - x[j]|",
    "masses": PAIR + "m[i]*|x[i] - x[j]|",
    "data": PAIR + "d[i]*|x[i] - x[j]|",
    "quantities": PAIR + "n[i]*|x[i] - x[j]|",
    "velocities": PAIR + "v[i].x*|x[i] - x[j]|",
    "directions": PAIR + "(x[i] - x[j]).x",
    "a little": PAIR + "(1e-4*q[i] + 1)*exp(-|x[i] - x[j]|)",
    "small numbers": PAIR + "1e-6*q[i]*|x[i] - x[j]|",
    "far apart": PAIR + "(if |x[i] - x[j]| > 8 then q[i] else 1)",
    "beyond a length": "param L = 1e4\n" + PAIR + "(if |x[i] - x[j]| > 2*L then q[i] else 1)",
    "near": PAIR + "(if |x[i] - x[j]| < 0.1 then q[i] else 1)",
    "a later entry": "observe O[k in 1..3] = sum(i < j) (if k == 3 then m[i] else 1)*|x[i] - x[j]|",
    "triples": TRIPLE + "q[j]*|x[j] - x[k]|",
    "around": AROUND + "q[j]*|x[j] - x[k]|",
    "sums inside": PAIR + "sum(k != i) |x[i] - x[k]|",
    "flows": "flow damp(h) { v = exp(-h*(sum(i < j) q[i]*|x[i] - x[j]|))*v }\n" + FLOW + "mine(dt = 0.1) for 1 }",
    "conditions of runs": "flow damp(h) { v = exp(-h)*v }\n"
    + FLOW
    + "mine(dt = 0.1) until (sum(i < j) q[i]*|x[i] - x[j]|) < 1, at most 9 }",
    "observables of schemes": FLOW.replace("{ B", "{ observe w = sum(i < j) q[i]*|x[i] - x[j]|  B", 1).replace(
        "damp(dt) ", ""
    )
    + "mine(dt = 0.1) for 1 record w every 1 }",
}


def faults(text):
    try:
        compile_source(Source("test", HEAD + text), Path("/nowhere"))
    except Rejected as rejected:
        return {d.id for d in rejected.diagnostics}
    return set()


@pytest.mark.parametrize("name", SYMMETRIC)
def test_what_is_symmetric_is_not_refused(name):
    assert "asymmetric-pair" not in faults(SYMMETRIC[name])


@pytest.mark.parametrize("name", ASYMMETRIC)
def test_what_is_not_symmetric_is_refused(name):
    assert faults(ASYMMETRIC[name]) == {"asymmetric-pair"}
