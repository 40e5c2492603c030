"""What flows compute and remember: states, loops, draws, defaults; errors, and runs that are cut off."""

from dataclasses import replace

import jax
import numpy as np
import pytest
from compiled import killed, program, run, running

import mdsl
from mdsl.command import cli
from mdsl.command import run as run_program
from mdsl.command.options import RunOptions, settings, sweeps
from mdsl.grammar.diagnostics import Rejected
from mdsl.model.dimensions import ENERGY, TIME
from mdsl.model.observable_types import observable_type
from mdsl.report.dump import dump
from mdsl.report.explain import explain

HEAD = "use units.lj\nuse pair\nuse integrators\nuse minimizers\n"
FREE = "box free\nenergy U = 0*(sum(i < j) exp(-|x[i] - x[j]|))\n"
LJ = "energy U = sum(i < j) force_shifted(lennard_jones(1, 1), 1.6)(|x[i] - x[j]|)\n"
START = np.arange(9.0).reshape(3, 3)


def free(text, scheme, steps=3, record="", **more):
    return run(running(FREE + text, scheme, steps, record, HEAD), START, box=np.inf, velocities=np.ones((3, 3)), **more)


# -- meaning -------------------------------------------------------------------------------------------


def test_a_state_begins_anew_with_every_statement():
    text = f"""{FREE}
state total = 10
observe twice = 2*total
integrator count(dt, by = 1) {{
  state n = 5
  observe counted = n
  n += by
  total += n
}}
run {{
  x = read("bound in Python")
  count(dt = 1) for 3  record counted, twice every 1
  velocity_verlet(dt = 1) for 1  record twice
  count(dt = 1, by = 2) for 2  record counted, twice every 1
}}"""
    records = run(program(text, HEAD), START, box=np.inf).records
    assert np.array_equal(records["counted"], [5, 6, 7, 8, np.nan, 7, 9], equal_nan=True)
    assert np.array_equal(records["twice"], [20, 32, 46, 62, 20, 34, 52])


def test_a_flow_shares_its_state_and_changes_the_states_that_it_is_given():
    text = """
flow own(h) { state n = 0   n += h }
flow given(p, k, by) { p[k] += by   p[1] = p[1]*2 }
integrator mine(dt, n = 3) {
  state p[k in 0..n] = 10*k
  state s = 0
  observe a = p[0] + 100*p[1] + 1e4*p[2]
  observe b = s
  own(1) own(2)
  given(p, 2, 0.5) given(p, 0, s)
  raise(s)
}
flow raise(s, by = s + 1) { s += by }
"""
    records = free(text, "mine(dt = 1)", 2, "record a, b every 1").records
    # s: 0, 1, 3; p[2] += 1/2; p[1] doubles twice a step; p[0] += s.
    assert np.array_equal(records["b"], [0, 1, 3])
    assert np.array_equal(records["a"], [0 + 1000 + 20e4, 0 + 4000 + 20.5e4, 1 + 16000 + 21e4])


def test_loops_and_ranges():
    text = """
const last = 4
def triangle(n) = sum(k in 1..n) k
integrator mine(dt, n = last - 1) {
  state up = 0   state down = 0   state none = 0   state most = 0
  observe all = up + 1e4*down + 1e8*none + 1e9*most
  up = 0  down = 0
  for k in 1..n { up = 10*up + k }
  for k in n..1 down { for j in k..k { down = 10*down + j } }
  for k in 2..1 { none += 1 }
  for k in 1..2 down { none += 1 }
  most = triangle(n) + largest(k in 1..n) (k - 2)^2 + sum(k in 3..2) k
}
observe total = triangle(last)
"""
    records = free(text, "mine(dt = 1)", 1, "record all, total every 1").records
    assert records["all"][-1] == 123 + 321e4 + 7e9 and records["total"][-1] == 10


def test_vectors_and_matrices_are_remembered():
    text = """
integrator mine(dt) {
  state drift = sum(i) m[i]*v[i]
  state spread = sum(i) outer(x[i] - origin, v[i])
  observe d = drift
  observe s = spread
  v += dt*(1, 0, 2)
  drift = 0.5*drift + (0, 1, 0)
  spread = spread - transpose(spread)
}"""
    records = free(text, "mine(dt = 1)", 1, "record d, s every 1").records
    spread = np.einsum("ia,ib->ab", START, np.ones((3, 3)))
    assert np.allclose(records["d"], [[3, 3, 3], [1.5, 2.5, 1.5]]) and np.allclose(
        records["s"], [spread, spread - spread.T]
    )


def test_draws_have_their_distributions():
    text = """
integrator mine(dt) {
  state a = 0  state b = 0  state c = 0  state d = 0
  observe A = a   observe B = b   observe C = c   observe D_ = d
  R ~ normal_number  u ~ uniform_number  S ~ chi_squared(2.5)  T ~ chi_squared(0)
  a = R  b = u  c = S  d = T
}"""
    n = 2000
    records = free(text, "mine(dt = 1)", n, "record A, B, C, D_ every 1").records
    A, B, C = (records[k][1:] for k in "ABC")
    for sample, mean, variance in ((A, 0, 1), (B, 0.5, 1 / 12), (C, 2.5, 5)):
        assert abs(sample.mean() - mean) < 4 * np.sqrt(variance / n) and abs(sample.var() / variance - 1) < 0.3
        assert abs(np.corrcoef(sample[1:], sample[:-1])[0, 1]) < 4 / np.sqrt(n)
    assert abs(np.corrcoef(A, B)[0, 1]) < 4 / np.sqrt(n) and not records["D_"].any()
    again = free(text, "mine(dt = 1)", 5, "record A, C every 5").records
    assert np.array_equal(again["A"][-1], records["A"][5]) and again["C"][-1] == records["C"][5]


def test_states_have_the_units_of_their_first_update():
    text = """use units.metal
use integrators
param m = 40 [g/mol]
box free
energy U = 0*(sum(i < j) exp(-|x[i] - x[j]|/(1 [angstrom])))*1 [eV]
integrator mine(dt) { state w = 0  state z = 0  observe W = w  observe Z = z  z += w*dt  w += 2*kinetic  velocity_verlet(dt) }
run { x = read("bound in Python")  mine(dt = 2 [fs]) for 2 record W, Z }"""
    result = run(program(text, ""), START, box=np.inf, velocities=np.ones((3, 3)))
    kinetic = 3 * 40 / 2 * 3 * 1.66053906892e-27 * 1e4 / 1.602176634e-19  # of 3 atoms, in angstrom/ps
    assert result.records["W"][0] == pytest.approx(4 * kinetic, rel=1e-8)
    assert result.records["Z"][0] == pytest.approx(2 * kinetic * 0.002, rel=1e-8)
    assert observable_type(mdsl.compile(text).model, "Z").dimension == ENERGY * TIME


def test_a_scheme_reads_forces_energies_and_virial_of_one_evaluation():
    p = mdsl.compile(
        HEAD
        + LJ
        + """
integrator mine(dt) {
  B(dt/2) A(dt)
  v += 1e-9*(potential + trace(virial) + pressure)*f
  B(dt/2)
}
run { x = fcc(density = 0.8, cells = 2)  mine(dt = 0.001) for 5 record U }"""
    )
    assert "1 evaluation of force and the virial and sums per step" in explain(p.compiled)
    assert p.bind().run(jax.random.key(0)).counts.force_evaluations == 6


def test_dumps_of_schemes_compile_to_the_same():
    text = (
        HEAD
        + LJ
        + """species A_, wall
frozen wall
state top[k in 1..2] = k
flow push(p, k, by = 1) { for j in 1..k { p[j] += by } }
integrator mine(dt, n = 2) {
  state p[k in 1..n] = 0
  observe Q = sum(k in 1..n) p[k] + top[1]
  push(p, n)  top[2] += p[1]
  R ~ chi_squared(n)   w = x - origin
  v = v + dt*R*(sum(i) |w[i]|)*w
  velocity_verlet(dt)
}
run { x = fcc(density = 0.8, cells = 2, species = { A_: 0.5, wall: 0.5 })
  mine(dt = 0.001) until U < 0 and largest(i) |f[i]| < 1, at most 5 record Q
  fire(dt = 0.001) for 2 }"""
    )
    for stage in ("resolve", "inline", "exchange"):
        printed = dump(mdsl.compile(text).compiled, stage)
        assert dump(mdsl.compile(printed).compiled, stage) == printed
    result = [mdsl.compile(t).bind(seed=1).run(jax.random.key(2)) for t in (text, printed)]
    assert np.array_equal(result[0].x, result[1].x) and np.array_equal(result[0].records["Q"], result[1].records["Q"])


# -- runs that are cut off -----------------------------------------------------------------------------


def test_a_resumed_run_goes_on_with_its_states(tmp_path):
    path = tmp_path / "chains.mdsl"
    path.write_text(
        HEAD
        + LJ
        + """run {
  x = fcc(density = 0.8, cells = 2)
  v ~ maxwell(1)
  nose_hoover(dt = 0.002, T = 1.5, tau = 0.1) for 60 record conserved, U every 20
  fire(dt = 0.002) until U < -40, at most 200 record U every 10
}"""
    )
    options = {"seed": 3, "precision": "double", "quiet": True}
    assert run_program.run_file(path, RunOptions(**options, out=tmp_path / "whole")) == 0
    killed(path, RunOptions(**options, out=tmp_path / "parts"), 30)
    assert cli.main(["run", str(path), "--resume", str(tmp_path / "parts"), "--quiet"]) == 0
    whole, parts = (
        np.genfromtxt(tmp_path / name / "records.csv", delimiter=",", skip_header=1) for name in ("whole", "parts")
    )
    assert np.array_equal(whole, parts, equal_nan=True)
    assert np.ptp(whole[:4, 2]) < 0.1 and whole[-1, 0] < 260 and whole[-1, 3] < -40


def test_a_constant_that_decides_a_loop_can_be_set_but_not_swept(tmp_path):
    path, options = tmp_path / "loop.mdsl", RunOptions(seed=3, precision="double", quiet=True)
    text = (
        HEAD
        + LJ
        + "const n = 2\nrun { x = fcc(density = 0.8, cells = 2)  v ~ maxwell(1)  nose_hoover(dt = 0.001, T = 1, tau = "
        "0.1, chain = n) for 20 record conserved every 5 }"
    )
    three = replace(options, settings=settings(["n=6/2"]))
    for name, written, given in (("two", text, options), ("three", text.replace("n = 2", "n = 3"), options)):
        path.write_text(written)
        run_program.run_file(path, replace(given, out=tmp_path / name))
    path.write_text(text)
    run_program.run_file(path, replace(three, out=tmp_path / "set"))
    killed(path, replace(three, out=tmp_path / "parts"), 10)
    run_program.run_file(path, RunOptions(quiet=True, resume=tmp_path / "parts"))
    two, *others = ((tmp_path / n / "records.csv").read_bytes() for n in ("two", "three", "set", "parts"))
    assert others == [others[0]] * 3 and two != others[0]
    with pytest.raises(Rejected, match="`n` is a constant, which is one for all replicas"):
        run_program.run_file(path, replace(options, sweeps=sweeps(["n=2,3"], ()), out=tmp_path / "swept"))


# -- what is wrong -------------------------------------------------------------------------------------

RUN = "\nrun { x = fcc(density = 0.8, cells = 2)  mine(dt = 1) for 1 }"


def mine(body, more=""):
    return f"{more}\nintegrator mine(dt, n = 3) {{ {body} }}{RUN}"


WRONG = {
    "an entry that is not there": (mine("state p[k in 1..n] = 0  p[n + 1] = 0"), "wrong-index", "no entry 4"),
    "an entry that is read": (
        mine("state p[k in 1..n] = 0  for k in 1..n { p[k] = p[k - 1] }"),
        "wrong-index",
        "no entry 0",
    ),
    "a state without its index": (mine("state p[k in 1..n] = 0  p = 1"), "wrong-index", "one index"),
    "an index of a plain state": (mine("state p = 0  p[1] = 1"), "wrong-index", "no index"),
    "an array as a number": (mine("state p[k in 1..n] = 0  v = p*v"), "wrong-index", "needs an index"),
    "an index that varies": (
        mine("state p[k in 1..n] = 0  p[1 + kinetic] = 1"),
        "wrong-index",
        "known when the program is compiled",
    ),
    "a loop whose bound varies": (mine("for k in 1..N { v = v }"), "nonconstant", "bound of a loop"),
    "a parameter as a bound": (mine("for k in 1..q { v = v }", "param q = 2"), "nonconstant", "bound of a loop"),
    "a bound that is not whole": (mine("for k in 1..n/2 { v = v }"), "bad-number", "whole number"),
    "a state in a loop": (mine("for k in 1..n { state p = 0 }"), "misplaced", "stands in a loop"),
    "a state that is not there": (mine("q += 1"), "misplaced", "cannot change `q`"),
    "a param that is changed": (mine("q = 1", "param q = 1"), "misplaced", "`state q = ...`"),
    "a state for each atom": (mine("state p = 0  p = v·v"), "wrong-type", "one for all atoms"),
    "a state that changes its kind": (mine("state p = 0  p = sum(i) v[i]"), "wrong-type", "wants a number"),
    "a state that begins with what is computed": (
        mine("inner(kinetic)", "flow inner(K) { state p = K  p += 1 }"),
        "misplaced",
        "begins before the first step",
    ),
    "a state that begins with forces": (
        mine("state p = potential  p += 1"),
        "not-yet",
        "cannot begin with `potential`",
    ),
    "a flow without its state": (mine("inner(2)", "flow inner(p) { p += 1 }"), "misplaced", "must be given a state"),
    "a state named twice": (mine("state p = 0  state p = 1"), "duplicate-name", "twice"),
    "a state with a built-in name": (mine("state v = 0"), "duplicate-name", "built into the language"),
    "a draw into a state": (mine("state p = 0  p ~ normal_number"), "misplaced", "is drawn, but is a state"),
    "an unknown distribution": (mine("p ~ chi_sqared(3)"), "wrong-arguments", "did you mean `chi_squared`?"),
    "a distribution without its argument": (mine("p ~ chi_squared"), "wrong-arguments", "draws from"),
    "a value of an atom in a sum": (mine("w = v  x += dt*(sum(i) w·w)*v"), "wrong-index", "`w[i]`"),
    "a parameter without default": ("integrator mine(dt, n = 3, q) { v = q*v }", "wrong-arguments", "has no default"),
    "too few arguments": (mine("inner()", "flow inner(a, b = 1) { v = a*b*v }"), "wrong-arguments", "1 to 2 arguments"),
    "a step that grows without end": (mine("for k in 1..2000 { for j in 1..20 { v = v } }"), "nesting", "updates"),
    "an observable of what is computed": (
        mine("inner(kinetic)", "flow inner(K) { observe Q = K  v = v }"),
        "misplaced",
        "observed between steps",
    ),
    "a sum over pairs of what is computed": (
        mine("w = kinetic  v = (sum(i < j) w*exp(-|x[i] - x[j]|))*v"),
        "not-yet",
        "cannot read `w`",
    ),
    "a sum over pairs in a flow without symmetry": (
        mine("v = (sum(i < j) x[i].x*exp(-|x[i] - x[j]|))*v"),
        "asymmetric-pair",
        "exchanged",
    ),
    "an energy that reads a state": (
        "state s = 1\nenergy W = s*(sum(i < j) exp(-|x[i] - x[j]|))",
        "misplaced",
        "the state `s`",
    ),
    "a condition that is none": (
        "run { x = fcc(density = 0.8, cells = 2)  fire(dt = 1) until potential, at most 5 }",
        "wrong-type",
        "wants a condition",
    ),
    "a condition of each atom": (
        "run { x = fcc(density = 0.8, cells = 2)  fire(dt = 1) until |f| < 1, at most 5 }",
        "wrong-index",
        "needs an index",
    ),
    "a condition without limit": (
        "run { x = fcc(density = 0.8, cells = 2)  fire(dt = 1) until U < 1 }",
        "syntax",
        "at most",
    ),
    "a limit that varies": (
        "run { x = fcc(density = 0.8, cells = 2)  fire(dt = 1) until U < 1, at most N }",
        "nonconstant",
        "number of steps",
    ),
    "frozen species that are not there": (
        "species one, two\nfrozen thre",
        "unknown-species",
        "there is no species `thre`",
    ),
    "observables of one name and two kinds": (
        "integrator a(dt) { observe Q = kinetic  velocity_verlet(dt) }\nintegrator b(dt) { observe Q = sum(i) v[i]  "
        "velocity_verlet(dt) }\n"
        "run { x = fcc(density = 0.8, cells = 2)  a(dt = 1) for 1  b(dt = 1) for 1 }",
        "wrong-type",
        "two schemes",
    ),
    "the name of what a scheme reads": (
        "observe temperature = kinetic\nrun { x = fcc(density = 0.8, cells = 2)  berendsen(dt = 1, T = 1, tau = "
        "1) for 1 }",
        "duplicate-name",
        "which `berendsen` reads",
    ),
    "a range without a largest": (mine("v = (largest(k in 2..1) k)*v"), "bad-axis", "is empty"),
    "a scheme's observable that is not there": (
        "run { x = fcc(density = 0.8, cells = 2)  csvr(dt = 1, T = 1, tau = 1) for 1 record conservd }",
        "unknown-name",
        "did you mean `conserved`?",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong(name):
    text, id, phrase = WRONG[name]
    with pytest.raises(Rejected) as rejected:
        mdsl.compile(HEAD + LJ + text)
    first = rejected.value.diagnostics[0]
    said = " ".join([first.message, first.help or "", *first.notes, *(label.text for label in first.secondary)])
    assert first.id == id and phrase in said, str(first)
    assert first.span.source.name == "<string>" and {d.id for d in rejected.value.diagnostics} == {id}


def test_a_condition_sees_the_end_of_the_step():
    """Time, and a box that follows it, are those that the row of the step records."""
    text = "use units.lj\nuse integrators (velocity_verlet)\n{}energy U = sum(i) 0.1*x[i].x^2\n"
    go = "run {{ {}\n velocity_verlet(dt = 0.005) until {}, at most 50 record t, volume every 1 }}\n"
    result = (
        mdsl.compile(text.format("") + go.format("x = sc(density = 0.9, cells = 2)", "t > 0.0149"))
        .bind()
        .run(jax.random.key(0))
    )
    assert result.step == 3 and result.records["t"][-1] > 0.0149
    result = (
        mdsl.compile(text.format("box periodic(8 - 0.2*t)\n") + go.format("x ~ uniform(atoms = 8)", "volume < 510"))
        .bind()
        .run(jax.random.key(0))
    )
    assert result.records["volume"][-1] < 510 <= result.records["volume"][-2]
