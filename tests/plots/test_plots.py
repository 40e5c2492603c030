"""Pair functions as curves, beside what is known of them, and the pictures that `mdsl plot` makes."""

import builtins
from pathlib import Path

import numpy as np
import pytest
from mpmath import mp

import mdsl
from mdsl.command import cli
from mdsl.plots.pair_curves import pair_curves
from mdsl.plots.record_panels import Table, panels

ROOT = Path(__file__).parents[2]
LJ = "use units.lj\nuse pair (lennard_jones)\nenergy U = sum(i < j) lennard_jones(1.0, 1.0)(|x[i] - x[j]|)\n"
RECORDS = """replica,T [K],step,time [ps],U [eV],p_x,p_y,g[1],g[2],g[3],g[4],g[5]
0,1.0,0,0.0,-1.0,0.1,0.2,,,,,
1,2.0,0,0.0,-3.0,0.1,0.2,,,,,
0,1.0,10,0.5,-1.2,0.1,0.2,0,1,2,3,4
1,2.0,10,0.5,-3.2,0.1,0.2,0,1,2,3,4
0,1.0,20,1.0,-1.4,0.1,0.2,0,3,2,3,6
1,2.0,20,1.0,-3.4,0.1,0.2,0,3,2,3,8
"""


def curves(text):
    return pair_curves(mdsl.compile(text).compiled.field)


def test_lennard_jones():
    (c,), left = curves(LJ)
    assert not left and c.cutoff is None and c.label == "U"
    assert c.minimum == pytest.approx((2 ** (1 / 6), -1), rel=2e-3)
    inverse = 1 / c.r**6
    np.testing.assert_allclose(c.u, 4 * (inverse**2 - inverse), rtol=1e-12)
    np.testing.assert_allclose(c.force, 24 * (2 * inverse**2 - inverse) / c.r, rtol=1e-12)


def test_second_virial_coefficients_of_lennard_jones():
    """B₂/b₀ by its series in 1/T* (J. E. Jones, Proc. R. Soc. Lond. A 106, 463 (1924)); it is 0 at T* = 3.418."""
    (c,), _ = curves(LJ)
    for T in (1.0, 3.0, 3.418, 100.0):

        def term(j, T=T):
            return (
                -(2 ** (j + 0.5)) / (4 * mp.factorial(j)) * mp.gamma((2 * j - 1) / mp.mpf(4)) * T ** (-(2 * j + 1) / 4)
            )

        expected = float(mp.nsum(term, [0, mp.inf]))
        assert c.virial_coefficients([T])[0] / (2 * np.pi / 3) == pytest.approx(expected, abs=2e-3)


def test_a_repulsion_in_two_dimensions():
    """Of hard discs it is half the excluded area."""
    steep = "use units.lj\ndim 2\nenergy U = sum(i < j) if |x[i] - x[j]| < 1.5 then 1e4 else 0\n"
    (c,), _ = curves(steep)
    assert c.cutoff == 1.5 and c.minimum is None
    assert c.virial_coefficients([1.0])[0] == pytest.approx(np.pi * 1.5**2 / 2, rel=1e-3)


def test_pairs_of_species_in_the_units_of_the_program():
    field = mdsl.load(ROOT / "examples" / "kob_andersen.mdsl").compiled.field
    found = {c.pair: c for c in pair_curves(field)[0]}
    assert {pair: c.cutoff for pair, c in found.items()} == pytest.approx({"A-A": 2.5, "A-B": 2.0, "B-B": 2.2})
    assert found["A-B"].minimum[1] < found["A-A"].minimum[1] < found["B-B"].minimum[1]
    real = "use units.real\nuse pair (lennard_jones, truncated)\nenergy U = sum(i < j) truncated(lennard_jones("
    (c,), _ = curves(real + "3.4 [angstrom], 1 [kJ/mol]), 1 [nm])(|x[i] - x[j]|)\n")
    assert c.cutoff == pytest.approx(10) and c.minimum[1] == pytest.approx(-1 / 4.184, rel=1e-4)


def test_what_is_no_function_of_the_distance_is_told():
    text = LJ + "data q[atoms]\nenergy C = sum(i < j) q[i]*q[j]*exp(-|x[i] - x[j]|)\n"
    drawn, left = curves(text + "energy D = sum(i < j) (x[i] - x[j]).x^2*exp(-|x[i] - x[j]|)\n")
    assert [c.energy for c in drawn] == ["U"]
    assert left == ["the pairs of C (line 5) read q", "the pairs of D (line 6) depend on directions"]


def test_panels_of_records(tmp_path):
    (tmp_path / "records.csv").write_text(RECORDS)
    titles, *rows = [line.split(",") for line in RECORDS.splitlines()]
    table = Table(tuple(titles), np.array([[float(v or "nan") for v in row] for row in rows]))
    found = {p.title: p for p in panels(table)}
    assert list(found) == ["U [eV]", "p_x", "p_y", "g"]
    cold, hot = found["U [eV]"].lines
    assert (cold.label, hot.label) == ("T = 1", "T = 2")
    np.testing.assert_array_equal(hot.x, [0, 0.5, 1])
    np.testing.assert_array_equal(hot.mean, [-3, -3.2, -3.4])
    np.testing.assert_array_equal(found["g"].lines[1].mean, [0, 3, 2, 3, 8])  # of two records the second
    assert [p.title for p in panels(table, ["p"])] == ["p_x", "p_y"]


def test_pictures(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("run").mkdir()
    Path("run/records.csv").write_text(RECORDS)
    Path("lj.mdsl").write_text(LJ)
    for argv, made, first in (
        (["run"], "run/plot.png", b"\x89PNG"),
        (["run"], "run/plot-2.png", b"\x89PNG"),
        (["run/records.csv", "U", "--out", "u.svg"], "u.svg", b"<?xml"),
        (["lj.mdsl"], "lj.png", b"\x89PNG"),
    ):
        assert cli.main(["plot", *argv]) == 0
        assert capsys.readouterr().out.strip() == made
        assert Path(made).read_bytes().startswith(first) and Path(made).stat().st_size > 5000
    for argv, id in (
        (["lj.mdsl", "--out", "lj.png"], "output-exists"),
        (["lj.mdsl", "--out", "lj.mp3"], "bad-option"),
        (["run", "V"], "bad-option"),
    ):
        assert cli.main(["plot", *argv]) == 2
        assert f"error[{id}]" in capsys.readouterr().err


def test_without_matplotlib(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("lj.mdsl").write_text(LJ)
    there = builtins.__import__

    def without(name, *more):
        if name.partition(".")[0] == "matplotlib":
            raise ImportError(name)
        return there(name, *more)

    monkeypatch.setattr(builtins, "__import__", without)
    assert cli.main(["plot", "lj.mdsl"]) == 2
    assert "mdsl[plot]" in capsys.readouterr().err
