"""What an engine cannot be told is refused, at the term that is at fault, and nothing is written."""

import importlib.util

import numpy as np
import pytest
from exported import CHAIN, CHAIN_X, HEAD, lattice

import mdsl
from mdsl.grammar.diagnostics import Rejected

SOFT = "(if r < 2 then (2 - r)^2 else 0)"
PAIRS = f"energy P = sum(i < j) {SOFT} where r = |x[i] - x[j]|\n"
TOPOLOGY = "topology bonds(i, j), angles(i, j, k)\n"
BONDS = {"x": CHAIN_X, "topologies": {n: CHAIN[n] for n in ("bonds", "angles")}}
CASES = [  # engine, program, what is bound, what is marked, what is said
    (
        "lammps",
        "energy U = sqrt(1 + sum(i < j) if |x[i] - x[j]| < 2 then (2 - |x[i] - x[j]|)^2 else 0)",
        {},
        "sqrt(",
        "functions of their totals",
    ),
    ("lammps", PAIRS + "energy V = 3.5*N", {}, None, "no sum over atoms"),
    ("openmm", PAIRS + "energy V = 1/volume", {}, "1/volume", "no sum over atoms"),
    ("lammps", PAIRS + "energy V = sum(i) (1 + sin(t))*x[i].z^2", {}, "t", "depends on `t`"),
    ("lammps", "energy U = sum(i < j) (if r < 2 then (2 - r)^2*d.x^2/r^2 else 0) where d = x[i] - x[j], r = |d|", {}, None,
     "not told this function of positions"),
    ("lammps", "energy U = sum(i < j) exp(-|x[i] - x[j]|)", {"box": [np.inf] * 3}, "exp(", "has no end"),
    ("lammps", "data a[atoms]\ndata b[atoms]\nenergy U = sum(i < j) (if r < 2 then (a[i]*a[j] + b[i]*b[j])*(2 - r)^2 else 0) "
     "where r = |x[i] - x[j]|", {"data": {"a": np.ones(64), "b": np.ones(64)}}, None, "`a` and `b`"),
    ("lammps", PAIRS + "data k[atoms]\nenergy T = sum(i) k[i]*|x[i] - origin|^2",
     {"box": [np.inf] * 3, "data": {"k": np.ones(64)}}, "k[i]", "`k` of each atom"),
    ("lammps", TOPOLOGY + "energy B = sum((i, j, k) in angles) |x[i] - x[k]|*angle(x[i], x[j], x[k])", BONDS, None,
     "functions of one angle"),
    ("lammps", TOPOLOGY + f"energy P = sum(i < j, (i, j) not in bonds) {SOFT} where r = |x[i] - x[j]|\n"
     f"energy Q = sum(i < j) {SOFT} where r = |x[i] - x[j]|", BONDS, None, "these differ in that"),
    ("lammps", PAIRS + "learned net = mlp(1, 3, 1)\nquantity G[i] = sum(j != i) exp(-|x[i] - x[j]|^2)*(if |x[i] - x[j]| < 2 "
     "then 1 else 0)\nenergy W = sum(i) net(G[i])", {}, "net", "`net`"),
    ("openmm", PAIRS + "energy W = sum(i) net(x[i].z)\nlearned net = mlp(1, 3, 1)", {}, "net", "`net`"),
    ("openmm", PAIRS + "quantity n[i] = sum(j != i) if |x[i] - x[j]| < 2 then (2 - |x[i] - x[j]|) else 0\n"
     "quantity q[i] = sum(j != i) n[j]*(if |x[i] - x[j]| < 2 then (2 - |x[i] - x[j]|) else 0)\nenergy W = sum(i) q[i]^2", {},
     None, "n"),
    ("openmm", "energy T = sum(i) x[i].z^2", {"box": np.array([[7.6, 0, 0], [1, 7.6, 0], [0, 0, 7.6]])}, "x[i].z^2",
     "not rectangular"),
]  # fmt: skip


@pytest.mark.parametrize(("to", "text", "bind", "marks", "says"), CASES)
def test_refused(to, text, bind, marks, says, tmp_path):
    if to == "openmm" and importlib.util.find_spec("openmm") is None:
        pytest.skip("openmm is not installed")
    bound = mdsl.compile(HEAD + text).bind(**{"x": lattice(), "box": 7.6, **bind})
    with pytest.raises(Rejected) as caught:
        bound.export(to, tmp_path / "out", certify=False)
    (found,) = caught.value.diagnostics
    assert found.id == "cannot-export" and caught.value.exit_status == 2, str(found)
    assert says in f"{found.message} {found.help}", str(found)
    assert marks is None or found.span.text.startswith(marks), str(found)
    assert not (tmp_path / "out").exists()
