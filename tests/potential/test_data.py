"""`data`: numbers that come with the atoms, in energies, flows, observables, lists, files and derivatives."""

import jax
import numpy as np
import pytest
from compiled import PAIRS_BY, TRAVERSALS, bound, everything

import mdsl
from mdsl.command.cli import main
from mdsl.files.reading import read
from mdsl.interpret import meaning as interpret
from mdsl.interpret.meaning import System
from mdsl.lowering.field.cutoff_bounds import bounded, interval
from mdsl.lowering.kernels.globals import farthest
from mdsl.report.dump import dump

LJ = "use units.lj\nuse pair\nuse integrators (velocity_verlet)\n"
SPHERES = LJ + (
    "data d[atoms]\nparam k = 1.2\n"
    "energy U = sum(i < j) force_shifted(soft_sphere(s, k, 2.5), s)(|x[i] - x[j]|) where s = (d[i] + d[j])/2\n"
)
EVERY = SPHERES + (
    "species A, B\ndata q[atoms]\ndata lambda\ndata c[species]\ndata w[species, species]\ntopology bonds(i, j)\n"
    "energy C = sum(i < j) lambda*w[i, j]*q[i]*q[j]*truncated(g, 1.6)(|x[i] - x[j]|) where g(r) = exp(-r)\n"
    "energy E = sum(i) c[i]*q[i]*|x[i] - origin|^2\n"
    "energy bond = sum((i, j) in bonds) (q[i] + 2*q[j])*(|x[i] - x[j]| - 1)^2\n"
    "observe Q = sum(i) q[i]\nobserve near = sum(i < j) q[i]*q[j]*(if |x[i] - x[j]| < 1.6 then 1 else 0)\n"
)


def atoms(n=27, edge=5.0, seed=0):
    rng = np.random.default_rng(seed)
    side = round(n ** (1 / 3))
    cells = np.stack(np.meshgrid(*[np.arange(side)] * 3), -1).reshape(-1, 3)
    data = {
        "d": rng.uniform(0.6, 2.1, n),
        "q": rng.normal(size=n),
        "lambda": 1.5,
        "c": [0.3, -0.2],
        "w": [[1.0, 0.5], [0.5, 2.0]],
    }
    return (cells + rng.uniform(0.1, 0.9, (n, 3))) * edge / side, rng.integers(0, 2, n), data


def some(data, *names):
    return {name: data[name] for name in names}


@pytest.mark.parametrize("traversal", TRAVERSALS)
def test_compiled_is_interpreted(traversal):
    program = mdsl.compile(EVERY)
    x, species, data = atoms()
    bonds = np.array([[0, 1], [5, 3], [7, 8]])
    there = System(x, np.full(3, 5.0), species=species, params=data, topologies={"bonds": bonds})
    system = bound(program, x, traversal, box=5.0, species=species, data=data, topologies={"bonds": bonds})
    if traversal == "list":
        np.testing.assert_allclose(system.forces(), interpret.forces(program.model, there), atol=1e-12)
        return
    energy, forces, virial = everything(system)
    assert energy == pytest.approx(interpret.energy(program.model, there), rel=1e-12)
    np.testing.assert_allclose(forces, interpret.forces(program.model, there), atol=1e-12)
    np.testing.assert_allclose(virial, interpret.virial(program.model, there), atol=1e-12)
    slopes = jax.jit(jax.grad(lambda data: system.energy(data=data)))(
        {n: np.asarray(v, float) for n, v in data.items()}
    )
    for name in ("d", "q", "lambda", "c"):
        np.testing.assert_allclose(
            slopes[name], interpret.param_gradient(program.model, there, name), atol=1e-12, err_msg=name
        )


def test_many_body_energies_have_derivatives_by_data():
    """Through quantities and their cutoffs, and around triples."""
    program = mdsl.compile(
        LJ + "data d[atoms]\ndata q[atoms]\n"
        "quantity z[i] = q[i]*sum(j != i) q[j]*truncated(g, 1.5*(d[i] + d[j])/2)(|x[i] - x[j]|) where g(r) = (1 - "
        "r/2)^2\n"
        "energy many = sum(i) sqrt(4 + z[i]^2)*d[i]\n"
        "energy three = sum(i; j < k) q[i]*d[j]*d[k]*h(|x[i] - x[j]|)*h(|x[i] - x[k]|)*(cos(angle(x[j], x[i], x[k])) "
        "+ 0.3)^2"
        " where h(r) = if r < 1.4 then (1.4 - r)^3 else 0\n"
    )
    x, _, data = atoms(8, 3.0)
    data = {"d": data["d"][:8] / 2, "q": data["q"][:8]}
    there = System(x, np.full(3, 3.0), params=data)
    system = program.bind(x, box=3.0, data=data)
    slopes = jax.jit(jax.grad(lambda data: system.energy(data=data)))(data)
    for name in data:
        np.testing.assert_allclose(slopes[name], interpret.param_gradient(program.model, there, name), atol=1e-12)
    each = jax.vmap(lambda q: system.energy(data={"q": q}))(np.stack([data["q"], 2 * data["q"]]))
    np.testing.assert_allclose(each, [system.energy(), system.energy(data={"q": 2 * data["q"]})], rtol=1e-13)


def test_a_run_reads_data_in_flows_and_observables():
    text = EVERY.replace(
        "energy C",
        "flow push(h) { v += h*q^2*f/m }\nflow move(h) { x += h*v }\nintegrator own(dt) { push(dt/2) move(dt) "
        "push(dt/2) }\nenergy C",
    )
    program = mdsl.compile(text + 'run { x = read("bound in Python") own(dt = 0.002) for 6 record U, Q, near every 3 }')
    x, species, data = atoms()
    bonds = np.array([[0, 1], [5, 3]])
    start = System(x, np.full(3, 5.0), species=species, params=data, topologies={"bonds": bonds})
    advance = program.model.run[-1]
    rows, end = interpret.run(program.model, advance, start, 6, observe=("U", "Q", "near"))
    given = {"species": species, "data": data, "topologies": {"bonds": bonds}, "policy": PAIRS_BY["list"]}
    result = program.bind(x, box=5.0, **given).run(jax.random.key(0))
    for name in ("U", "Q", "near"):
        np.testing.assert_allclose(result.records[name], [r[name] for r in rows[::3]], rtol=1e-9)
    np.testing.assert_allclose(result.x, end.x % 5.0, atol=1e-10)


def test_a_run_has_derivatives_by_data():
    text = SPHERES + 'run { x = read("bound in Python") velocity_verlet(dt = 0.01) for 4 record U }'
    x, _, data = atoms(8, 3.0)
    d = data["d"][:8] / 2
    system = mdsl.compile(text).bind(x, box=3.0, data={"d": d})
    outcome = lambda d: system.run(jax.random.key(0), data={"d": d}).records["U"][-1]  # noqa: E731
    direction, h = np.random.default_rng(1).normal(size=8), 1e-6
    slope = jax.jit(lambda d: jax.jvp(outcome, (d,), (direction,))[1])(d)
    assert slope == pytest.approx((outcome(d + h * direction) - outcome(d - h * direction)) / (2 * h), rel=1e-6)


# -- lists -----------------------------------------------------------------------------------------------


def test_a_list_of_polydisperse_spheres_holds_all_pairs():
    """The largest pair is what the radius must hold: here two large spheres among small ones."""
    program = mdsl.compile(SPHERES)
    x, _, _ = atoms(64, 8.0, seed=2)
    d = np.random.default_rng(3).uniform(0.5, 1.5, 64)
    d[[11, 52]] = 3.9
    listed, every = (bound(program, x, traversal, box=8.0, data={"d": d}) for traversal in TRAVERSALS[::-1])
    np.testing.assert_allclose(listed.forces(), every.forces(), atol=1e-12)
    with pytest.raises(mdsl.Rejected, match="box-too-small"):
        program.bind(x, box=8.0, data={"d": np.where(d > 3, 4.1, d)}).energy()


def cutoff_of(text):
    program = mdsl.compile(
        f"{LJ}data d[atoms]\ndata e[atoms]\nparam s = 1.3\nenergy U = sum(i < j) truncated(wca(0.1, 1), {text})(|x[i] "
        f"- x[j]|)"
    )
    return program.model, program.compiled.field.terms[0].support.cutoff


@pytest.mark.parametrize(
    "text",
    [
        "2.5*(d[i] + d[j])/2",
        "2.5*sqrt(d[i]*d[j])",
        "s*(d[i]^3 + d[j]^3)^(1/3)",
        "max(d[i], d[j])",
        "s*d[i]*d[j]/(d[i] + d[j])",
        "abs(e[i] - e[j]) + 0.1",
        "1/(1 + e[i]^2 + e[j]^2)",
        "exp(e[i]*e[j])",
        "2 + tanh(e[i] + e[j])",
        "min(d[i] + d[j], 2)",
        "if d[i] + d[j] < 2 then 1 else d[i]*d[j]",
        "s^(d[i] + d[j])",
        "2 + log(d[i]*d[j])",
    ],
)
def test_bounds_hold_for_every_pair(text):
    model, cutoff = cutoff_of(text)
    assert cutoff is not None and bounded(cutoff, model)
    rng = np.random.default_rng(0)
    d, e = rng.uniform(0.7, 1.9, 12), rng.normal(size=12)
    there = System(np.zeros((12, 3)), np.ones(3), params={"d": d, "e": e})
    i, j = np.triu_indices(12, 1)
    largest = np.max(interpret.evaluate(model, cutoff, there, i=i, j=j))
    bound_ = float(farthest(model, {"d": d, "e": e, "s": 1.3}, cutoff, ("i", "j")))
    assert largest <= bound_ * (1 + 1e-12) and bound_ < 30 * largest
    same = interval(cutoff, lambda n: {"s": (1.3, 1.3), "d": (d.min(), d.max()), "e": (e.min(), e.max())}[n.symbol], np)
    assert same[1] == pytest.approx(bound_)


def test_mixing_has_an_exact_bound():
    model, cutoff = cutoff_of("2.5*(d[i] + d[j])/2")
    assert farthest(
        model, {"d": np.array([0.5, 1.7, 1.1]), "e": np.zeros(3), "s": 1.3}, cutoff, ("i", "j")
    ) == pytest.approx(2.5 * 1.7)


def test_what_has_no_bound_is_not_a_support():
    text = LJ + "data d[atoms]\nenergy U = sum(i < j) truncated(wca(0.1, 1), sin(d[i] + d[j]))(|x[i] - x[j]|)"
    assert "the bound is another for each atom" in mdsl.compile(text).explain()


def test_dividing_by_what_may_be_zero_reaches_without_end():
    model, cutoff = cutoff_of("1/(d[i] - d[j])^2")
    assert farthest(model, {"d": np.array([0.5, 1.7]), "e": np.zeros(2), "s": 1.3}, cutoff, ("i", "j")) == np.inf


# -- files and units -------------------------------------------------------------------------------------

REAL = (
    "use units.real\nuse pair\nuse integrators (velocity_verlet)\ndata q[atoms] in [e]\ndata d[atoms] in [nm]\nparam m "
    "= 10 [g/mol]\n"
    "energy U = sum(i < j) force_shifted(soft_sphere(s, 1 [kcal/mol], 2.5), s)(|x[i] - x[j]|) where s = (d[i] + "
    "d[j])/2\n"
    "energy C = sum(i) 0.1 [kcal/mol/e^2/angstrom^2]*q[i]^2*|x[i] - origin|^2\nobserve Q = sum(i) q[i]\nobserve widths "
    "= sum(i) d[i]\n"
)


def structure(path, q, d):
    x = atoms(len(q), 12.0)[0]
    rows = "\n".join(
        f"Ar {a:.12f} {b:.12f} {c:.12f} {q_!r} {d_!r} 3" for (a, b, c), q_, d_ in zip(x, map(float, q), map(float, d))
    )
    path.write_text(
        f'{len(q)}\nLattice="12 0 0 0 12 0 0 0 12" Properties=species:S:1:pos:R:3:q:R:1:d:R:1:charges:R:1 pbc="T T '
        f'T"\n{rows}\n'
    )
    return x


def test_columns_of_a_file_are_read_and_kept(tmp_path, capsys):
    rng = np.random.default_rng(5)
    q, d = rng.normal(size=8), rng.uniform(0.2, 0.5, 8)
    structure(tmp_path / "in.extxyz", q, d)
    (tmp_path / "a.mdsl").write_text(
        REAL
        + 'run {\n  x = read("in.extxyz")\n  velocity_verlet(dt = 1 [fs]) for 4\n    record Q, widths, U every 2\n    '
        'write "t.extxyz" every 2\n}\n'
    )
    assert main(["run", str(tmp_path / "a.mdsl"), "--out", str(tmp_path / "out"), "--quiet"]) == 0
    records = np.genfromtxt(tmp_path / "out" / "records.csv", delimiter=",", skip_header=1)
    np.testing.assert_allclose(records[:, 2:4], [[q.sum(), 10 * d.sum()]] * 3, rtol=1e-12)
    final = read(tmp_path / "out" / "final.extxyz")
    np.testing.assert_allclose(final.data["q"], q, rtol=1e-15)
    np.testing.assert_allclose(final.data["d"], d, rtol=1e-15)
    assert read(tmp_path / "out" / "t.extxyz").data["d"] == pytest.approx(d, rel=1e-8)


def test_arrays_are_in_the_unit_of_their_declaration(tmp_path):
    q, d = np.linspace(-1, 1, 8), np.linspace(0.2, 0.5, 8)
    x = structure(tmp_path / "in.extxyz", q, d)
    placed = mdsl.compile(REAL + 'run { x = read("in.extxyz") }', tmp_path).bind()
    given = mdsl.compile(REAL).bind(x, box=12.0, data={"q": q, "d": d})
    other = mdsl.compile(REAL.replace("[nm]", "[angstrom]")).bind(x, box=12.0, data={"q": q, "d": 10 * d})
    assert placed.energy() == pytest.approx(float(given.energy()), rel=1e-12)
    assert other.energy() == pytest.approx(float(given.energy()), rel=1e-12)
    again = mdsl.compile(REAL + 'run { x = read("in.extxyz") }', tmp_path).bind(data={"q": 2 * q})
    assert again.energy() != pytest.approx(float(given.energy()))  # what is given takes the place of the file's
    slope = jax.grad(lambda d: given.energy(data={"d": d}))(d)
    h = 1e-6
    e0 = np.eye(8)[0]
    assert slope[0] == pytest.approx(
        float(given.energy(data={"d": d + h * e0}) - given.energy(data={"d": d - h * e0})) / (2 * h), rel=1e-6
    )


def test_charges_of_a_lammps_file(tmp_path):
    x = atoms(8, 12.0)[0]
    rows = "\n".join(f"{k + 1} 1 {0.25 * k} {a} {b} {c}" for k, (a, b, c) in enumerate(x))
    (tmp_path / "a.data").write_text(
        f"made by a test, units = real\n\n8 atoms\n1 atom types\n0 12 xlo xhi\n0 12 ylo yhi\n0 12 zlo "
        f"zhi\n\nMasses\n\n1 40\n\nAtoms # charge\n\n{rows}\n"
    )
    text = (
        "use units.real\ndata q[atoms] in [{}]\nenergy C = sum(i) 1 [kcal/mol/angstrom^2]*(q[i]/(1 [e]))^2*|x[i] - "
        'origin|^2\nobserve Q = sum(i) q[i]\nrun {{ x = read("a.data") }}'
    )
    in_e, in_c = (mdsl.compile(text.format(unit), tmp_path).bind() for unit in ("e", "C"))
    assert in_e.initial.data["q"] == pytest.approx(0.25 * np.arange(8))
    assert in_c.energy() == pytest.approx(float(in_e.energy()), rel=1e-8)


@pytest.mark.parametrize("stage", ["resolve", "inline", "differentiate"])
def test_dumps_compile_to_the_same(stage):
    program = mdsl.compile(REAL)
    text = dump(program.compiled, stage)
    assert "data d[atoms] in [nm]" in text
    again = mdsl.compile(text)
    x, _, data = atoms(8)
    there = System(x, np.full(3, 5.0), params={"q": data["q"], "d": 3 * data["d"]})
    assert interpret.energy(again.model, there) == pytest.approx(interpret.energy(program.model, there), rel=1e-13)


def test_explain_tells_of_data():
    text = mdsl.compile(REAL).explain()
    assert (
        "q[atoms] in [e] (line 4)" in text
        and "known with the data of the atoms" in text
        and "another for each pair" in text
    )


def test_exchange_and_jumps_are_seen():
    with pytest.raises(mdsl.Rejected, match="asymmetric-pair"):
        mdsl.compile(LJ + "data q[atoms]\nenergy U = sum(i < j) q[i]*exp(-|x[i] - x[j]|)")
    jumps = mdsl.compile(
        LJ + "data d[atoms]\nenergy U = sum(i < j) truncated(gaussian(1, 1), d[i] + d[j])(|x[i] - x[j]|)"
    )
    assert [w.id for w in jumps.warnings] == ["energy-jump"] and not mdsl.compile(SPHERES).warnings


# -- what is wrong ---------------------------------------------------------------------------------------

U = "energy U = sum(i < j) q[i]*q[j]*exp(-|x[i] - x[j]|)"


@pytest.mark.parametrize(
    ("text", "id", "place", "words"),
    [
        ("use units.lj\ndata q[atoms] in [e]\n" + U, "unit-in-reduced", "[e]", "data q[atoms]"),
        ("use units.real\ndata q[atoms] in [ee]\n" + U, "unknown-unit", "ee", "did you mean"),
        ("use units.lj\ndata q[atoms, species]\n" + U, "bad-axis", "species", "one axis of atoms"),
        ("use units.lj\ndata q[bonds]\n" + U, "bad-axis", "bonds", "`atoms` or `species`"),
        ("use units.lj\ndata q[k in 1..3]\n" + U, "bad-axis", "k in 1..3", "`atoms` or `species`"),
        ("use units.lj\ndata m[atoms]\nenergy U = sum(i) m[i]*|x[i] - origin|", "misplaced", "m", "masses="),
        (
            "use units.lj\ndata forces[atoms]\nenergy U = sum(i) forces[i]*|x[i] - origin|",
            "duplicate-name",
            "forces",
            "choose another",
        ),
        ("use units.lj\ndata x[atoms]\nenergy U = sum(i) |x[i] - origin|", "duplicate-name", "x", "built into"),
        ("use units.lj\ndata q[atoms]\n" + U.replace("q[i]", "q"), "wrong-index", "q", "one index"),
        (
            "use units.lj\nspecies A\ndata q[atoms]\n" + U.replace("q[i]*q[j]", "q[A]"),
            "wrong-index",
            "q[A]",
            "are atoms",
        ),
        ("use units.lj\ndata q[atoms]\n" + U.replace("q[i]*q[j]", "q[1]"), "wrong-index", "q[1]", "no entry 1"),
        ("use units.real\ndata q[atoms] in [e]\n" + U.replace("/", ""), "wrong-unit", None, ""),
    ],
)
def test_diagnostics_of_declarations(text, id, place, words):
    with pytest.raises(mdsl.Rejected) as caught:
        mdsl.compile(text)
    found = caught.value.diagnostics[0]
    assert found.id == id and words in str(caught.value)
    assert place is None or found.span.text == place


@pytest.mark.parametrize(
    ("data", "id", "words"),
    [
        (None, "missing-data", "`program.bind(..., data="),
        ({"d": np.ones(27)}, "missing-data", "come with d"),
        ({"q": np.ones(26)}, "wrong-shape", "the number of atoms"),
        ({"q": np.ones((27, 1))}, "wrong-shape", "(27, 1), not (27,)"),
        ({"q": 1.0}, "wrong-shape", "(), not (27,)"),
        ({"q": np.where(np.arange(27) == 4, np.nan, 1)}, "not-finite", "of atom 4"),
        ({"q": ["a"] * 27}, "wrong-type", "no numbers"),
        ({"q": np.ones(27), "qq": 1}, "unknown-name", "did you mean `q`?"),
        ({"q": np.ones(27), "k": 1}, "unknown-name", "is a parameter"),
    ],
)
def test_diagnostics_of_binding(data, id, words):
    program = mdsl.compile("use units.lj\ndata q[atoms]\nparam k = 1.0\n" + U.replace("q[i]", "k*q[i]"))
    if data is not None and "d" in data:
        data = dict(data)
        program = mdsl.compile(
            "use units.lj\ndata d[atoms]\ndata q[atoms]\n" + U.replace("q[i]*q[j]", "q[i]*q[j]*d[i]*d[j]")
        )
    with pytest.raises(mdsl.Rejected) as caught:
        program.bind(atoms()[0], box=9.0, data=data)
    assert caught.value.diagnostics[0].id == id and words in str(caught.value)


def test_pairs_of_species_are_symmetric():
    program = mdsl.compile(
        "use units.lj\nspecies A, B\ndata w[species, species]\nenergy U = sum(i < j) w[i, j]*exp(-|x[i] - x[j]|)"
    )
    x, species, _ = atoms()
    with pytest.raises(mdsl.Rejected, match="bad-table"):
        program.bind(x, box=9.0, species=species, data={"w": [[1, 2], [3, 4]]})


def test_other_data_keep_their_shape():
    system = mdsl.compile("use units.lj\ndata q[atoms]\n" + U).bind(atoms()[0], box=9.0, data={"q": np.ones(27)})
    with pytest.raises(mdsl.Rejected, match="wrong-shape"):
        system.energy(data={"q": np.ones(3)})
    with pytest.raises(mdsl.Rejected, match="it is data"):
        system.energy(params={"q": np.ones(27)})


def test_data_cannot_be_set(tmp_path, capsys):
    (tmp_path / "a.mdsl").write_text(
        "use units.lj\nuse integrators (velocity_verlet)\ndata q[atoms]\n"
        + U
        + "\nrun { x = fcc(density = 1, cells = 2) velocity_verlet(dt = 0.01) for 1 }"
    )
    assert main(["run", str(tmp_path / "a.mdsl"), "--set", "q=1", "--out", str(tmp_path / "out")]) == 2
    assert "unknown-parameter" in (said := capsys.readouterr().err) and "come with the atoms" in said
    assert main(["run", str(tmp_path / "a.mdsl"), "--out", str(tmp_path / "out")]) == 2
    assert "missing-data" in capsys.readouterr().err
