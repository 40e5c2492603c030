"""A formula is a style's whatever way it is written, and is not where it is another function."""

from dataclasses import replace

import numpy as np
import pytest
import sympy
from exported import CASES, HEAD, lattice

import mdsl
from mdsl.export.certificate import compared, reference
from mdsl.export.lammps.forces import R
from mdsl.export.lammps.styles import style_of, styles
from mdsl.export.subject import Subject, scale
from mdsl.export.written import Lepton, Unwritable, Variable

RC = 2.7
ROUND = {"r_max": 4.0, "d": -1.0, "n": 3.0, "theta0": 1.9, "chi0": 0.4}
WAYS = {
    "as it is": lambda e: e,
    "multiplied out": sympy.expand,
}


def numbers(style, seed=0):
    """Coefficients at random, and the variables."""
    rng = np.random.default_rng(seed)
    found = {c.name: sympy.Float(ROUND.get(c.name, rng.uniform(0.5, 2.0)), 17) for c in style.form.coefficients}
    if "rc" in found or style.kind == "pair":
        found["rc"] = sympy.Float(RC, 17)
    return found


def formula(style, values):
    return style.form.expr.xreplace({c: values[c.name] for c in style.form.coefficients})


def at(expr, variables, seed=1):
    points = np.random.default_rng(seed).uniform(2.1, 2.6, (5, len(variables)))
    return np.array([float(expr.xreplace(dict(zip(variables, map(sympy.Float, p))))) for p in points])


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("style", styles(), ids=lambda s: s.form.name)
def test_every_form_is_recognised(style, way):
    if way != "as it is" and any(p.base.is_Add and not p.exp.is_positive for p in style.form.expr.atoms(sympy.Pow)):
        return  # powers of a sum in a denominator are not put together again: such formulas are written as they are
    values = numbers(style)
    expr = formula(style, values)
    found = style_of(style.kind, WAYS[way](expr), style.form.variables, RC if style.kind == "pair" else None)
    assert found is not None and found.style.kind == style.kind
    # Another style may be the same function: what counts is that its coefficients give this one.
    same = formula(found.style, {n: sympy.Float(v, 17) for n, v in {"rc": RC, **found.values}.items()})
    variables = dict(zip(found.style.form.variables, style.form.variables))
    assert np.allclose(at(same.xreplace(variables), style.form.variables), at(expr, style.form.variables), rtol=1e-12)


@pytest.mark.parametrize("style", styles(), ids=lambda s: s.form.name)
def test_a_function_that_is_nearly_one_is_not(style):
    values = numbers(style)
    x = style.form.variables[0]
    for more in (1e-7 * sympy.cos(3.3 * x) * x**3, 1e-7 / x**11):
        expr = formula(style, values) + more
        assert style_of(style.kind, expr, style.form.variables, RC if style.kind == "pair" else None) is None


def test_a_style_that_the_engine_lacks_is_not_used():
    lj = formula(
        next(s for s in styles() if s.form.name == "lj_cut"), {"epsilon": sympy.Float(1), "sigma": sympy.Float(1)}
    )
    r = sympy.Symbol("r", positive=True)
    assert style_of("pair", lj, (r,), 2.5, {"morse"}) is None
    assert style_of("pair", lj, (r,), 2.5, {"lj/cut"}).style.name == "lj/cut"


# -- text ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "lepton", "variable"),
    [
        ("if r < 2 then log(r) else 0", "select((1-step(r-(2))),log(r),0)", "ternary((r<2),ln(r),0)"),
        ("if r <= 2 and r > 1 then 1 else 0", None, None),
        ("max(0, 2 - r)^2.5 + |r - 1|", None, None),
        ("sqrt(r)/(1 + r)^(3/2) + atan2(r, 2)*exp(-r/3)", None, None),
        ("floor(r) + sin(r)*cos(r)*tan(r/9)", None, None),
    ],
)
def test_formulas_are_written_as_they_are(text, lepton, variable):
    """What Lepton is told is evaluated here by rules of its own, and gives what the interpreter gives."""
    program = mdsl.compile(f"use units.lj\nenergy U = sum(i < j) ({text}) where r = |x[i] - x[j]|")
    bound = program.bind(np.array([[0.0, 0, 0], [1.3, 0, 0]]), box=[np.inf] * 3)
    subject = Subject(program.compiled.field, bound.initial, {}, program.compiled.folder)
    (law,), right = subject.laws(), reference(subject)[1]
    written = [kind({s: "r" for s in law.geometry})(law.expr) for kind in (Lepton, Variable)]
    assert lepton is None or written == [lepton, variable]
    rules = {n: getattr(np, n) for n in ("exp", "log", "sin", "cos", "tan", "sqrt", "floor", "abs")}
    rules |= {"ln": np.log, "atan2": np.arctan2, "step": lambda a: float(a >= 0), "delta": lambda a: float(a == 0)}
    rules |= {"select": lambda c, a, b: a if c else b, "ternary": lambda c, a, b: a if c else b}
    for distance in (0.6, 1.0, 1.7, 2.0, 2.4):
        expected = right(np.array([[0.0, 0, 0], [distance, 0, 0]]), bound.initial.cell).energy
        for each in written:
            found = eval(each.replace("^", "**"), {"__builtins__": {}}, {**rules, "r": distance})
            assert found == pytest.approx(expected, rel=1e-14, abs=1e-15)


def test_what_a_language_lacks_is_not_written():
    with pytest.raises(Unwritable, match="erf"):
        Variable({R: "r"})(sympy.erf(R))
    with pytest.raises(Unwritable, match="not finite"):
        Lepton({R: "r"})(sympy.oo)


# -- the certificate notices -------------------------------------------------------------------------------


@pytest.mark.parametrize("wrong", ["energy", "forces", "virial"])
def test_the_certificate_notices_what_differs(wrong):
    program = mdsl.compile(HEAD + CASES["cut"].text)
    bound = program.bind(lattice(), box=7.6)
    subject = Subject(program.compiled.field, bound.initial, {}, program.compiled.folder)
    _, right = reference(subject)

    def evaluate(x, cell, size=1e-8):
        state = right(x, cell)
        return replace(state, **{wrong: getattr(state, wrong) * (1 + size)})

    assert not compared(subject, "wrong", "0", evaluate, count=1).holds
    found = compared(subject, "right", "0", lambda x, cell: evaluate(x, cell, 1e-11), count=1)
    assert found.holds and found.worst > 1e-13


def test_units_of_an_engine():
    program = mdsl.compile(
        "use units.metal\nenergy U = sum(i < j) if r < 3 [angstrom] then 1 [eV]*(1 - r/(3 [angstrom]))^2 "
        "else 0 [eV] where r = |x[i] - x[j]|"
    )
    bound = program.bind(lattice(), box=7.6, masses=np.full(64, 40.0))
    subject = Subject(program.compiled.field, bound.initial, {}, program.compiled.folder)
    to = scale(subject, 1e-9, 1e3 / 6.02214076e23, 1e-3 / 6.02214076e23)
    (law,) = subject.laws()
    assert to.length == pytest.approx(0.1) and to.energy == pytest.approx(96.48533212)
    (r,) = law.geometry
    assert float(to.law(law).subs(r, 0.15)) == pytest.approx(96.48533212 / 4)
