"""The Field means what the Model means that it was derived from: energies, observables, forces, virial, derivatives.

Of the Field the formulas are added up in NumPy (`interpreted_field`), of the Model as it was written the interpreter
knows the numbers, by dual numbers and without SymPy. No kernel is in between.
"""

from pathlib import Path

import numpy as np
import pytest
import random_programs
from interpreted import jumbled, moved
from interpreted_field import FieldOfAtoms
from varied import Case, cases, names

from mdsl.compiler import compile_source
from mdsl.grammar.source import Source
from mdsl.interpret import meaning as interpret
from mdsl.model.nodes import Read, walk
from mdsl.resolve.program import resolve

TOPOLOGIES = {
    "bonds": np.array([[0, 1], [1, 2], [2, 3], [4, 3]]),
    "angles": np.array([[0, 1, 2], [1, 2, 3], [2, 3, 4]]),
    "dihedrals": np.array([[0, 1, 2, 3], [1, 2, 3, 4]]),
}
CHAIN = "topology bonds(i, j), angles(i, j, k), dihedrals(i, j, k, l)\n"
FREE = {"periodic": [False] * 3, "lengths": [1.0] * 3}
MORE = {
    "a molecule": Case(
        CHAIN + "param w = 1.4\ndata q[atoms]\nenergy B = 0.5*w*(sum((i, j) in bonds) (|x[i] - x[j]| - 1.1*q[j])^2)\n"
        "energy A = 2*sum((i, j, k) in angles) (angle(x[i], x[j], x[k]) - 1.7)^2\n"
        "energy C = sum((i, j, k) in angles) cos(angle(x[i], x[j], x[k]))^2\n"
        "energy D = sum((i, j, k, l) in dihedrals) (1 + cos(3*phi - 0.4))*w where phi = dihedral(x[i], x[j], x[k], "
        "x[l])\nenergy U = sum(i < j, (i, j) not in bonds) q[i]*q[j]*exp(-w*|x[i] - x[j]|)",
        jumbled(6, topologies=TOPOLOGIES, params={"q": np.linspace(0.4, 1.3, 6)}),
    ),
    "vectors of a molecule": Case(
        CHAIN + "param w = 1.4\nenergy A = sum((i, j, k) in angles) ((p - q/|q|)·(0.5*q - p/2) + (p·q)^2*w + (p - "
        "w*q).y) where p = x[i] - x[j], q = x[k] - x[j]\n"
        "energy C = sum((i, j, k) in angles) |cross(x[i] - x[j], x[k] - x[j])|*w\n"
        "energy E = sum((i, j) in bonds) (1 + trace(m·inverse(m + identity))) where m = outer(x[i] - x[j], x[i] - "
        "x[j])",
        jumbled(6, topologies=TOPOLOGIES),
    ),
    "neighbours that are not bonded": Case(
        CHAIN
        + "param a = 0.8\ndata q[atoms]\nquantity n[i] = sum(j != i, (i, j) not in bonds) q[j]*(if |x[i] - x[j]| < 2.9 "
        "then (2.9 - |x[i] - x[j]|)^3 else 0)\nenergy U = sum(i) (n[i]^1.5 + a*q[i]*n[i])\nenergy V = sum(i < j) "
        "(q[i] - q[j])^2*n[i]*n[j]*exp(-|x[i] - x[j]|)",
        jumbled(7, topologies=TOPOLOGIES, params={"q": np.linspace(0.4, 1.3, 7)}),
    ),
    "matrices": Case(
        "box free\nparam k = 0.3\nenergy U = sum(i) (cross(d, (1, k, 2)).y + cross((d.z, 1, d.x), (d.y, k, d.x)).z + "
        "(outer(d, (1, k, -1))·d).x + (d·outer((1, k, 2), d)).y + trace(outer(d, d)·outer((k, 1, 0), d))) where d = "
        "x[i] - origin\nenergy V = sum(i) trace(inverse(outer(d, (1, 0, k)) + 9*identity)·outer((1, 2, k), d)) where "
        "d = x[i] - origin",
        moved(jumbled(4), **FREE),
    ),
    "flat matrices": Case(
        "box free\ndim 2\nparam k = 0.3\nenergy U = sum(i) ((inverse(outer(d, (1, k)) + 9*identity)·(1, k)).x) "
        "where d = x[i] - origin",
        moved(jumbled(4, 2), periodic=[False] * 2, lengths=[1.0] * 2),
    ),
    "ends of either sign": Case(
        "param b = -2.1\nparam c = 1.6\nenergy U = sum(i < j) ((if r < b then 5 else r) + (if b < r then r^2 else 7*r) "
        "+ (if r < c then (r - c)^3 else 0) + (if c < r then exp(-r) else r)) where r = |x[i] - x[j]|",
        jumbled(7),
    ),
    "magnitudes and choices": Case(
        "param c = 1.6\nenergy U = sum(i < j) (|(r - c)^3| + |c - r|*r + abs(1 - r)*min(r, c) + max(0, c - r)^1.5 + "
        "(2*max(0, c - r))^1.5 + (c*max(c - r, 0))^2.5 + (if r > c or r < 0.9 then r else r^2) + r^-1.5 + (c - r - "
        "1/r)^2 + atan2(c, r) + |sin(3*r) - 0.4|*min(2*r, 3)) where r = |x[i] - x[j]|",
        jumbled(8),
    ),
    "a table": Case(
        f'table u = tabulated("{random_programs.TABLE}")\nparam c = 1.1\nenergy U = sum(i < j) (u(c*r) + D(u)(r)*r^2)'
        " where r = |x[i] - x[j]|",
        jumbled(7),
    ),
    "sums that are read within sums": Case(
        "param c = 0.7\nquantity n[i] = sum(j != i) (if |x[i] - x[j]| < 1.9 then (1.9 - |x[i] - x[j]|)^3 else 0)\n"
        "observe mean = (sum(i) n[i])/N\nobserve spread = sum(i) (n[i] - mean)^2\nquantity w[i] = n[i]*(spread + c)\n"
        "energy U = sum(i) (w[i] - mean)^2\nenergy V = c*mean*(sum(i < j) exp(-mean*|x[i] - x[j]|))",
        jumbled(7),
    ),
    "bins": Case(
        "energy U = sum(i < j) exp(-|x[i] - x[j]|)\n"
        "observe a[k in -2..5] = sum(i < j) (if k + 1 == floor(4*r) and r > 2 then r else 0) where r = |x[i] - "
        "x[j]|\nobserve b[k in 1..6] = sum(i < j) (if r < 2 then (if floor(4*r) == 2 + k then 1/r else 0) else 0) "
        "where r = |x[i] - x[j]|\nobserve c[k in -3..6] = sum(i < j) (if 3 - k == floor(4*r) then r else 0) where r = "
        "|x[i] - x[j]|\nobserve d[k in 1..9] = sum(i < j) 2*(if k - 1 == floor(4*r) then -r else 0)/r where r = |x[i] "
        "- x[j]|",
        jumbled(8),
    ),
}
CASES = MORE | cases()  # those of the kinds that go wrong first


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("tables")
    (place / random_programs.TABLE).write_text(random_programs.table())
    return place


def models(case: Case, folder: Path):
    """The Model as it was written, and the Field."""
    source = Source("test", case.head + case.text)
    model, report = resolve(source, folder)
    assert not report, [d.message for d in report]
    return model, compile_source(source, folder).field


def close(found, expected, what):
    scale = max(np.abs(expected).max(initial=0), 1e-3)
    assert np.shape(found) == np.shape(expected)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-10 * scale, err_msg=what)


def symmetric(slope):
    return slope + slope.T if np.ndim(slope) == 2 else slope


@pytest.mark.parametrize("name", CASES)
def test_a_field_means_what_the_model_does(name, folder):
    model, field = models(CASES[name], folder)
    system = CASES[name].system
    found = FieldOfAtoms(field, system)
    for observed in names(model):
        close(found.observed(observed), interpret.observe(model, observed, system), observed)
    close(found.forces, interpret.forces(model, system), "forces")
    close(found.virial, interpret.virial(model, system), "virial")
    for param in (p for p in model.params if p.lifetime == "param" or p.data is not None):
        expected = np.asarray(interpret.param_gradient(model, system, param.name), float)
        close(symmetric(found.by(param.name)), symmetric(expected), f"by {param.name}")


@pytest.mark.parametrize("name", ["sums that are read within sums", "functions of sums", "quantities of quantities"])
def test_which_sums_have_to_be_known_before(name, folder):
    """All that a summand reads, also through other sums and through values of atoms."""
    _, field = models(CASES[name], folder)
    inner = {key: field.sum(key).summand for key in field.inner}
    read_by = {v.name: v.summand for v in field.values} | inner
    for summand in (*(t.summand for t in field.terms), *(m.summand for m in field.measures)):
        found, pending = set(), [summand]
        while pending:
            new = {n.symbol for n in walk(pending.pop()) if isinstance(n, Read)} & read_by.keys() - found
            found |= new
            pending += [read_by[key] for key in new]
        assert field.within([summand]) == tuple(key for key in field.inner if key in found)
