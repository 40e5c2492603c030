"""Models printed as programs: they compile again, to the same meaning, after every pass."""

import re
from pathlib import Path

import numpy as np
import pytest
from reference import PROGRAMS

from mdsl.compiler import Compiled, compile_source
from mdsl.grammar.source import Source
from mdsl.interpret import meaning as interpret
from mdsl.interpret.dynamics import step
from mdsl.interpret.meaning import System
from mdsl.model.dimensions import ENERGY, FORCE, LENGTH, ONE
from mdsl.model.nodes import Advance, Model
from mdsl.passes.pipeline import PASSES
from mdsl.printing.numbers import library_units, number, unit_of
from mdsl.printing.program import print_model
from mdsl.report.dump import STAGES, dump
from mdsl.resolve.program import resolve
from mdsl.resolve.units import unit_value

HEAD = (
    "use units.lj\nuse pair (lennard_jones, force_shifted, switched, shifted, wca)\nuse integrators "
    "(velocity_verlet, baoab)\n"
)

TEXTS = {
    "melt": HEAD + "param sigma = 1.0\nconst rc = 2.5\nenergy U = sum(i < j) u(|x[i] - x[j]|) where u = "
                   "force_shifted(lennard_jones(sigma, 1.5), rc*sigma)\n"
    "run { x = fcc(density = 0.8, cells = (2, 2, 3))  v ~ maxwell(1.0)  baoab(dt = 0.01, T = 1.0, gamma = 0.5) for 3 "
    "record U every 1 write \"a.xyz\" }",
    "species": HEAD + "species A, B\nparam s[species, species] = { A-A: 1.0, A-B: 0.9, B-B: 0.8 }\nparam m[species] = "
                      "{ A: 1.0, B: 2.0 }\nparam q[species] = { A: 1, B: -2.5 }\n"
    "box periodic(6, 7, 8)\nenergy U = sum(i < j) q[i]*q[j]*switched(lennard_jones(s[i, j], 1.0), 2*s[i, j], 2.5*s[i, "
    "j])(|x[i] - x[j]|)\n"
    "energy V = s[A, B]*sum(i) m[i]*(x[i] - origin).x\nobserve K = sum(i) m[i]/2*v[i]·v[i]",
    "field": HEAD + "dim 2\nconst w[k in 1..3] = 0.5*k^2\nenergy U = sum(i) w[2]*h((x[i] - origin).y) where h(y) = y^2 "
                    "- g(y)(2), g(y)(n) = if y > 1 and not y > n then n*exp(-y) else y/(1 + y^2)\n"
    "observe far = max(sum(i) |x[i] - origin|, 3)",
    "slopes": HEAD + "def u(a)(r) = a*exp(-r/a)\nconst slope = D(u(2.0))(1.5)\nenergy U = sum(i < j) "
                     "(D(D(u(slope)))(r) + k*D(g)(r)) where r = |x[i] - x[j]|, g(s) = s^3*exp(-s)\nparam k = 0.3",
    "own": HEAD + "param T = 3.0\ndef T_bath(t) = 1.5 - 0.1*t\nflow A(h) { x += h*v  w = |v|^2  v = v/(1 + h*w) "
                  "}\nflow R(h, T) { xi ~ normal  v += sqrt(h*T)*xi }\n"
    "integrator mine(dt, T) { A(dt/2) R(dt, T) velocity_verlet(dt) R(dt, 2*T) A(dt/2) }\nenergy U = T*sum(i < j) "
    "wca(1.0, 1.0)(|x[i] - x[j]|)\n"
    "run { x ~ uniform(atoms = 20, density = 0.1) mine(dt = 0.01, T = T_bath) for 2 }",
    "units": "use units.real\nuse pair (force_shifted, lennard_jones)\nuse integrators (baoab)\nparam sigma = 3.405 "
             "[angstrom]\nparam m = 39.948 [g/mol]\nparam spring = 1.5 [kcal/mol/nm^2]\n"
    "box periodic(2 [nm])\nenergy U = sum(i < j) u(|x[i] - x[j]|) where u = force_shifted(lennard_jones(sigma, 0.2381 "
    "[kcal/mol]), 8.5 [angstrom])\nenergy V = sum(i) spring/2*|x[i] - origin|^2\n"
    "observe P = pressure\nrun { x = fcc(a = 0.53 [nm], cells = 2) v ~ maxwell(94.4 [K]) baoab(dt = 5 [fs], T = 90 "
    "[K], gamma = 1 [1/ps]) for 3 }",
    "clash": HEAD + "param s1 = 2.0\nparam r = 0.1\nconst g = 0.3\nspecies A, B, O\ndef spring(y) = s1*y^2\nenergy U = "
                    "sum(i < j) spring(|x[i] - x[j]|)*D(spring)(|x[i] - x[j]|) + sum(k) g*r*|x[k] - origin|\n"
    "run { x = fcc(density = 0.8, cells = 2, species = { A: 0.5, B: 0.5 }) baoab(dt = 0.01, T = 1.0, gamma = "
    "0.5) for 3 }",
}  # fmt: skip


def compiled(text: str) -> Compiled:
    return compile_source(Source("<test>", text), PROGRAMS)


def systems(model: Model) -> list[System]:
    rng = np.random.default_rng(1)
    unit = 1.0 if model.units.reduced else model.units.to_internal(3.4e-10, library_units()["m"])
    count = 8
    return [
        System(
            (
                np.indices((2,) * model.dim).reshape(model.dim, -1).T[rng.integers(0, 2**model.dim, count)] * 3
                + rng.uniform(0, 1.2, (count, model.dim))
            )
            * unit,
            np.full(model.dim, 8.0) * unit,
            v=rng.normal(size=(count, model.dim)),
            species=rng.integers(0, max(1, len(model.species)), count),
        )
        for _ in range(2)
    ]


def same_meaning(a: Model, b: Model) -> None:
    """Both give the same energies, forces and observables, and take the same step."""
    assert [(p.lifetime, p.name, p.axes) for p in a.params] == [(p.lifetime, p.name, p.axes) for p in b.params]
    assert a.units == b.units and a.dim == b.dim and a.species == b.species and a.topologies == b.topologies
    for name, value in interpret.defaults(a).items():
        assert np.array_equal(value, interpret.defaults(b)[name]), name
    for system in systems(a):
        for equation in a.of_kind("energy"):
            assert interpret.energy(a, system, equation.name) == pytest.approx(
                interpret.energy(b, system, equation.name), rel=1e-9
            )
        for equation in a.of_kind("observe"):
            assert np.allclose(
                interpret.observe(a, equation.name, system), interpret.observe(b, equation.name, system), rtol=1e-8
            )
        assert np.allclose(interpret.forces(a, system), interpret.forces(b, system), rtol=1e-9)
    assert len(a.run) == len(b.run)
    for old, new in zip(a.run, b.run, strict=True):
        if isinstance(old, Advance):
            same_step(a, old, b, new)
        else:
            assert (old.target, old.builder, [n for n, _ in old.options]) == (
                new.target,
                new.builder,
                [n for n, _ in new.options],
            )


def same_step(a: Model, old: Advance, b: Model, new: Advance) -> None:
    assert [(o.kind, o.names) for o in old.outputs] == [(o.kind, o.names) for o in new.outputs]
    assert len(old.body) == len(new.body)
    system = systems(a)[0]

    def noise(step: int, draw: int) -> np.ndarray:
        return np.random.default_rng([step, draw]).normal(size=system.x.shape)

    left, right = step(a, old, system, noise), step(b, new, system, noise)
    assert np.allclose(left.x, right.x, rtol=1e-9) and np.allclose(left.v, right.v, rtol=1e-9)


CASES = [(name, stage) for name in TEXTS for stage in STAGES[:-1]]


@pytest.fixture(scope="module")
def programs():
    return {name: compiled(text) for name, text in TEXTS.items()}


@pytest.mark.parametrize(("name", "stage"), CASES)
def test_every_stage_compiles_to_the_same_again(programs, name, stage):
    program = programs[name]
    again = compiled(print_model(program.stage(stage)))
    same_meaning(program.model, again.model)
    assert again.warnings == () or program.warnings != ()


@pytest.mark.parametrize("name", TEXTS)
def test_printing_settles(programs, name):
    """What is printed, compiled and printed again at the same stage does not change any more."""
    text = print_model(programs[name].stage("resolve"))
    assert print_model(compiled(text).stage("resolve")) == text


EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.mark.parametrize("path", sorted([*EXAMPLES.glob("*.mdsl"), *PROGRAMS.glob("*.mdsl")]), ids=lambda p: p.stem)
def test_examples_and_north_star_programs(path):
    text = path.read_text()
    for name in re.findall(r'(?:setfl|funcfl|tabulated)\("([^"]+)"', text):
        if not (path.parent / name).exists():
            pytest.skip(f"needs {name} beside it")  # tests/oracle/test_eam.py runs it where LAMMPS has the file
    for name, model in compile_source(Source(path.name, text), path.parent).stages:
        again = compiled(print_model(model))
        assert [e.name for e in again.model.equations] == [e.name for e in model.equations], name


DOMAINS = [
    "quantity rho[i] = sum(j != i) exp(-|x[i] - x[j]|)\nenergy U = sum(i) sqrt(rho[i])",
    "energy U = sum(i; j < k) g(d_ij·d_ik) where g(c) = (c + 1/3)^2, d_ij = x[j] - x[i], d_ik = x[k] - x[i]",
    "topology bonds(i, j), angles(i, j, k)\nenergy U = sum((a, b, c) in angles) angle(x[a], x[b], x[c])^2 + sum((i, j) "
    "in bonds) |x[i] - x[j]|^2\n"
    "energy V = sum(i < j, (i, j) not in bonds) 1/|x[i] - x[j]|",
    "topology bonds(i, j)\nquantity n[i] = sum(j in bonds[i]) |x[i] - x[j]|\nenergy U = sum(a) n[a]*(sum(q in bonds[a]) n[q])",
    "topology bonds(i, j)\nquantity n[i] = sum(j != i, (j, i) not in bonds) if |x[i] - x[j]| < 1.5 then 1 else "
    "0\nenergy U = sum(i) n[i]",
    "const k = 2.0\nenergy U = sum(i; j < k) |x[j] - x[i]| + sum(i) k*x[i].x",
]


@pytest.mark.parametrize("text", DOMAINS)
def test_every_domain(text):
    """Also those that are not lowered yet: Models that print alike are alike."""
    model, report = resolve(Source("<test>", "use units.lj\n" + text), None)
    stages = [("resolve", model)]
    for step_ in PASSES[:2]:
        model, found = step_.run(model)
        report += found
        stages.append((step_.name, model))
    assert [d.message for d in report if d.severity == "error"] == []
    for _, stage in stages:
        printed = print_model(stage)
        again, found = resolve(Source("<again>", printed), None)
        assert [d.message for d in found if d.severity == "error"] == []
        assert print_model(again) == printed


def test_library_functions_keep_their_short_names(programs):
    text = print_model(programs["melt"].stage("resolve"))
    assert "def lennard_jones(sigma, epsilon)(r)" in text
    assert "morse" not in text  # not used
    assert "flow B(h)" in text


def test_a_name_that_is_taken_gets_its_module(programs):
    text = print_model(programs["clash"].stage("resolve"))
    assert "flow integrators_A(h)" in text and "flow integrators_O(h, T, gamma)" in text


def test_an_inlined_scheme_is_an_integrator_of_updates(programs):
    text = print_model(programs["melt"].stage("exchange"))
    assert "integrator baoab(dt, T, gamma) {" in text
    assert "  v += dt/2*f/m\n  x += dt/2*v\n  xi ~ normal\n" in text
    assert "flow" not in text and "def" not in text


def test_slopes_are_derivatives_of_local_functions(programs):
    text = print_model(programs["melt"].stage("infer"))
    assert "D(g)(q)" in text and "q = rc*sigma" in text and "g(s1) =" in text
    assert "D(" not in print_model(programs["melt"].stage("differentiate"))


def test_what_is_shared_is_written_once(programs):
    text = print_model(programs["melt"].stage("inline"))
    assert text.count("|x[i] - x[j]|") == 1 and "where r = |x[i] - x[j]|" in text


def test_numbers_have_the_units_of_the_program(programs):
    text = print_model(programs["units"].stage("exchange"))
    assert "param sigma = 3.405 [angstrom]" in text
    assert "box periodic(20 [angstrom])" in text
    assert "dt = 5 [fs], T = 90 [K]" in text
    assert "kB =" not in text  # it comes with the unit system


def test_numbers_come_back_exactly():
    units = compiled(TEXTS["units"]).model.units
    rng = np.random.default_rng(3)
    for dimension in (LENGTH, ENERGY, FORCE, ENERGY / LENGTH**6, LENGTH**-3):
        unit = unit_value(unit_of(units, dimension), library_units())
        values = 10 ** rng.uniform(-12, 12, 50)
        written = [number(v, dimension, units) for v in values]
        back = np.array([units.to_internal(w.value, unit) for w in written])
        assert np.all(np.abs(back - values) <= np.spacing(values))
        assert np.mean(back == values) > 0.9
    assert number(-0.1, ONE, units).operand.text == "0.1"
    assert number(2e20, ONE, units).text == "2e+20"


def test_the_field_is_described(programs):
    text = dump(programs["melt"], "field")
    assert "term #0 of U: sum over i < j, d = x[i] - x[j], r = |d|" in text
    assert "support   below rc*sigma" in text
    assert "observe temperature = " in text
