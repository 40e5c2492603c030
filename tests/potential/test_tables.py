"""Tabulated functions: knots and what is between them, files, proofs, and compiled programs against the interpreter."""

import eam_files
import jax
import numpy as np
import pytest
from compiled import TRAVERSALS, bound, everything
from eam_files import CUT, RHO, R

import mdsl
from mdsl.interpret import meaning as interpret
from mdsl.interpret.meaning import System
from mdsl.model.curves import Curves
from mdsl.report.dump import dump

METAL, LJ = "use units.metal\nuse pair\n", "use units.lj\nuse pair\n"
READ = 'table F[species], g[species], phi[species, species] = setfl("alloy.setfl")\n'
ALLOY = METAL + "species Au, Cu\n" + READ
MANY = ALLOY + (
    "param lambda = 1.1\n"
    "energy pairs = lambda*sum(i < j) phi[i, j](|x[i] - x[j]|)\n"
    "energy other = sum(i < j) 0.1 [eV]*(g[i](lambda*r)*g[j](r) + g[j](lambda*r)*g[i](r)) where r = |x[i] - x[j]|\n"
    "energy field = sum(i) F[i](0.2*|x[i] - origin|/(1 [angstrom]))\n"
    "observe alone = F[Cu](0.33)\n"
    "observe near = sum(i < j) D(g[Cu])(|x[i] - x[j]|)\n"
)
PAIR = "energy U = sum(i < j) phi[i, j](|x[i] - x[j]|)\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return eam_files.write(tmp_path_factory.mktemp("tables"))


def atoms(n=24, edge=11.0, seed=3, species=2):
    """On a cubic lattice, moved about."""
    rng = np.random.default_rng(seed)
    side = int(np.ceil(n ** (1 / 3)))
    cells = np.stack(np.meshgrid(*[np.arange(side)] * 3), -1).reshape(-1, 3)[:n]
    return (cells + rng.uniform(0.1, 0.9, (n, 3))) * edge / side, rng.integers(0, species, n)


def single(values, step=0.1, **more):
    return Curves(0.0, step, np.atleast_2d(np.asarray(values, float)), np.zeros(()), **more)


# -- between the knots -----------------------------------------------------------------------------------


def test_knots_have_their_values_and_one_slope():
    values = np.random.default_rng(0).normal(size=(1, 12))
    curves = single(values)
    knots = 0.1 * np.arange(12)
    np.testing.assert_allclose(curves.value(0, 0, knots), values[0], atol=1e-14)
    before, after = (curves.value(0, 1, knots[1:-1] + d) for d in (-1e-9, 1e-9))
    np.testing.assert_allclose(before, after, atol=1e-4)
    bends = curves.value(0, 2, knots[1:-1] + 1e-9) - curves.value(0, 2, knots[1:-1] - 1e-9)
    assert np.abs(bends).max() > 1  # as documented: the second derivative jumps


@pytest.mark.parametrize("divided", [False, True])
@pytest.mark.parametrize("order", [0, 1, 2])
def test_derivatives_are_those_of_the_function(order, divided):
    curves = single(np.random.default_rng(1).normal(size=12), divided=divided)
    x = np.array([0.13, 0.27, 0.55, 0.98, 1.07])  # between knots
    h = 1e-5
    slope = (curves.value(0, order, x + h) - curves.value(0, order, x - h)) / (2 * h)
    np.testing.assert_allclose(curves.value(0, order + 1, x), slope, rtol=1e-6, atol=1e-4)


def test_five_point_slopes_are_exact_for_cubics_inside():
    x = 0.1 * np.arange(20)
    curves = single(1 - 2 * x + 3 * x**2 - x**3)
    inside = np.linspace(0.2, 1.7, 77)
    np.testing.assert_allclose(curves.value(0, 0, inside), 1 - 2 * inside + 3 * inside**2 - inside**3, atol=1e-13)
    np.testing.assert_allclose(curves.value(0, 1, inside), -2 + 6 * inside - 3 * inside**2, atol=1e-12)


def test_the_ends():
    values = np.sin(np.arange(9.0))
    endless, ended = single(values), single(values, end=0.75)
    beyond = endless.value(0, 0, [0.8, 0.9, 1.0, 2.0])
    np.testing.assert_allclose(beyond, values[-1] + (values[-1] - values[-2]) * np.array([0, 1, 2, 12]), rtol=1e-12)
    assert endless.value(0, 1, 2.0) == pytest.approx(10 * (values[-1] - values[-2]))
    assert ended.value(0, 0, 0.75) == 0 and ended.value(0, 0, 0.75 - 1e-9) == pytest.approx(
        float(endless.value(0, 0, 0.75)), rel=1e-6
    )
    assert ended.value(0, 0, 0.75, extended=True) == endless.value(0, 0, 0.75)
    late = Curves(0.5, 0.1, values[None], np.zeros(()), end=1.3)
    assert np.isnan(late.value(0, 0, 0.49)) and late.value(0, 0, 0.5) == values[0]


# -- files -----------------------------------------------------------------------------------------------


def function(text, folder, value):
    """What an observable is, in internal units."""
    program = mdsl.compile(
        f"{text}observe it = {value}\n{PAIR if 'phi' in text else 'energy U = sum(i < j) u(|x[i] - x[j]|)'}", folder
    )
    return interpret.observe(program.model, "it", System(np.zeros((1, 3)), np.full(3, 50.0)))


def test_functions_of_a_setfl_file_at_knots(folder):
    for a in ("Cu", "Au"):
        assert function(ALLOY, folder, f"F[{a}]({RHO[7]})") == pytest.approx(eam_files.embedding(a)[7], rel=1e-12)
        assert function(ALLOY, folder, f"g[{a}]({R[30]} [angstrom])") == pytest.approx(
            eam_files.density(a)[30], rel=1e-12
        )
        for b in ("Cu", "Au"):
            assert function(ALLOY, folder, f"phi[{a}, {b}]({R[30]} [angstrom])") == pytest.approx(
                eam_files.r_phi(a, b)[30] / R[30], rel=1e-12
            )


def test_the_first_species_of_a_finnis_sinclair_density_is_the_host(folder):
    text = (
        METAL
        + 'species Au, Ni\ntable F[species], g[species, species], phi[species, species] = finnis_sinclair("alloy.fs")\n'
    )
    for host, maker in (("Au", "Ni"), ("Ni", "Au"), ("Ni", "Ni")):
        assert function(text, folder, f"g[{host}, {maker}]({R[30]} [angstrom])") == pytest.approx(
            eam_files.density(maker, host)[30], rel=1e-12
        )


def test_charges_of_a_funcfl_file(folder):
    text = METAL + 'table F[species], g[species], phi[species, species] = funcfl("Cu.eam")\n'
    wanted = 27.2 * 0.529 * eam_files.charge("Cu")[30] ** 2 / R[30]
    assert function(text, folder, f"phi[Cu, Cu]({R[30]} [angstrom])") == pytest.approx(wanted, rel=1e-12)


def test_columns_and_their_units(folder):
    reduced = LJ + 'table u = tabulated("pair.txt")\n'
    assert function(reduced, folder, "u(1.25)") == pytest.approx(eam_files.pair(1.25), rel=1e-12)
    real = 'use units.real\ntable u = tabulated("pair.txt", x = 1 [nm], y = 2 [kJ/mol])\n'
    assert function(real, folder, "u(12.5 [angstrom])/(1 [kcal/mol])") == pytest.approx(
        2 * eam_files.pair(1.25) / 4.184, rel=1e-12
    )


def test_other_units_than_those_of_the_file(folder):
    text = "use units.real\nspecies Au, Cu\n" + READ
    assert function(text, folder, f"phi[Au, Cu]({R[30]} [angstrom])/(1 [eV])") == pytest.approx(
        eam_files.r_phi("Au", "Cu")[30] / R[30], rel=1e-12
    )


def test_numbers_of_fortran(folder, tmp_path):
    (tmp_path / "Cu.setfl").write_text((folder / "Cu.setfl").read_text().replace("e-", "D-"))
    text = METAL + READ.replace("alloy", "Cu") + PAIR
    for a, b in zip(mdsl.compile(text, tmp_path).model.params, mdsl.compile(text, folder).model.params):
        if a.table is not None:
            np.testing.assert_array_equal(a.table.curves.values, b.table.curves.values)


def test_without_species_a_program_has_those_of_the_file(folder):
    program = mdsl.compile(
        METAL + READ.replace("alloy", "Cu") + PAIR + "run { x = fcc(a = 3.6 [angstrom], cells = 3, species = Cu) }",
        folder,
    )
    assert program.model.species == ("Cu",)
    system = program.bind()
    assert set(system.initial.labels) == {"Cu"} and system.initial.masses[0] == pytest.approx(63.546, abs=0.01)
    with pytest.raises(mdsl.Rejected, match="unknown-species"):
        mdsl.compile(
            METAL + READ.replace("alloy", "Cu") + PAIR + "run { x = fcc(a = 3.6 [angstrom], cells = 3, species = Ag) }",
            folder,
        )


# -- compiled against interpreted ------------------------------------------------------------------------


@pytest.mark.parametrize("traversal", TRAVERSALS)
def test_compiled_is_interpreted(folder, traversal):
    program = mdsl.compile(MANY, folder)
    x, species = atoms()
    system = bound(program, x, traversal, box=11.0, species=species)
    there = System(x, np.full(3, 11.0), species=species)
    if traversal == "list":
        np.testing.assert_allclose(system.forces(), interpret.forces(program.model, there), atol=1e-12)
        return
    energy, forces, virial = everything(system)
    assert energy == pytest.approx(interpret.energy(program.model, there), rel=1e-13)
    np.testing.assert_allclose(forces, interpret.forces(program.model, there), atol=1e-12)
    np.testing.assert_allclose(virial, interpret.virial(program.model, there), atol=1e-11)
    slope = jax.grad(lambda p: system.energy(params=p))(program.params)["lambda"]
    assert slope == pytest.approx(interpret.param_gradient(program.model, there, "lambda"), rel=1e-12)


def test_forces_have_derivatives(folder):
    program = mdsl.compile(MANY, folder)
    x, species = atoms(8, 10.0)
    system = program.bind(x, box=10.0, species=species)
    v = np.random.default_rng(2).normal(size=x.shape)
    tangent = jax.jit(lambda x: jax.jvp(system.forces, (x,), (v,))[1])(x)
    h = 1e-5
    np.testing.assert_allclose(tangent, (system.forces(x + h * v) - system.forces(x - h * v)) / (2 * h), atol=1e-6)


def test_single_precision_is_near(folder):
    program = mdsl.compile(MANY, folder)
    x, species = atoms()
    single, double = (program.bind(x, box=11.0, species=species, precision=p) for p in ("single", "double"))
    assert single.energy() == pytest.approx(float(double.energy()), rel=1e-5)
    np.testing.assert_allclose(single.forces(), double.forces(), atol=2e-5)


def test_a_run_conserves_energy_and_observes(folder):
    text = MANY.replace("|x[i] - origin|/", "|x[i] - origin|^2/(8 [angstrom])/") + (
        "observe E = potential + kinetic\n"
        "run { x = fcc(a = 5.5 [angstrom], cells = 2, species = { Au: 0.5, Cu: 0.5 }) v ~ maxwell(20 [K])\n"
        "velocity_verlet(dt = 1 [fs]) for 100 record E, near, potential, alone every 50 }"
    )
    program = mdsl.compile(text.replace("use pair\n", "use pair\nuse integrators (velocity_verlet)\n"), folder)
    records = program.bind().run(jax.random.key(0)).records
    assert np.ptp(records["E"]) < 0.02 * np.ptp(records["potential"])
    np.testing.assert_allclose(
        records["alone"], interpret.constant(program.model, program.model.equation("alone").body)
    )
    assert np.isfinite(records["near"]).all()


def test_tables_of_a_module_and_outside_sums(folder):
    """As the weight of a sum, by a parameter; and a name that a function gives its own argument stays apart."""
    (folder / "shapes.mdsl").write_text('table u = tabulated("pair.txt")\ndef twice(v)(r) = 2*v(r) + u(r)\n')
    program = mdsl.compile(
        LJ + "use shapes\nparam a = 1.23\ndef squared(u)(r) = u(r)^2\nenergy U = sum(i < j) twice(squared(u))(|x[i] - "
        "x[j]|)\n"
        "energy V = N*u(a)*sum(i) |x[i] - origin|^2\nobserve bend = D(D(u))(a)\n",
        folder,
    )
    x, _ = atoms(8, 4.0)
    there = System(x, np.full(3, 6.0))
    system = program.bind(x, box=6.0)
    assert system.energy() == pytest.approx(interpret.energy(program.model, there), rel=1e-13)
    slope = jax.grad(lambda p: system.energy(params=p))(program.params)["a"]
    assert slope == pytest.approx(interpret.param_gradient(program.model, there, "a"), rel=1e-12)
    np.testing.assert_allclose(system.forces(), interpret.forces(program.model, there), atol=1e-12)


# -- proofs ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("u", "cutoff", "smooth"),
    [
        ("u", 3.0, "the force jumps"),  # (3 - r)²: its slope at the last knot is a difference of two
        ("truncated(u, 2)", 2.0, "the energy jumps"),
        ("truncated(u, 4)", 3.0, "the force jumps"),
        ("force_shifted(u, 2)", 2.0, "are continuous"),
        ("stretched", 1.5, "are continuous"),
        ("tail", 3.0, "the force jumps"),
    ],
)
def test_the_end_of_a_table_is_a_support(folder, u, cutoff, smooth):
    text = (
        f'{LJ}table u = tabulated("pair.txt")\ndef stretched(r) = u(2*r)^4\ndef tail(r) = (1 + r)*u(r) + if r < 1 '
        f"then (1 - r)^2 else 0\nenergy U = sum(i < j) {u}(|x[i] - x[j]|)"
    )
    explained = mdsl.compile(text, folder).explain()
    assert f"0 for r >= {cutoff:g}," in explained and smooth in explained


def test_the_end_of_an_alloy_is_its_cutoff(folder):
    program = mdsl.compile(ALLOY + PAIR, folder)
    assert f"0 for r >= {CUT:g} angstrom" in program.explain()
    assert not program.warnings
    x = np.array([[0.0, 0, 0], [CUT - 1e-3, 0, 0]])
    assert program.bind(x, box=20.0, species=["Au", "Cu"]).energy() != 0
    assert program.bind(x * (1 + 1e-3), box=20.0, species=["Au", "Cu"]).energy() == 0


def test_without_an_end_there_is_no_support(folder):
    program = mdsl.compile(
        ALLOY
        + "energy U = sum(i < j) F[i](r/(1 [angstrom])) + F[j](r/(1 [angstrom])) where r = |x[i] - x[j]|".replace(
            "F[i]", "(F[i]"
        ).replace(")) where", "))) where"),
        folder,
    )
    assert "no condition bounds the distance" in program.explain()


# -- printing --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stage", ["resolve", "inline", "differentiate", "field"])
def test_dumps_compile_to_the_same(folder, stage):
    program = mdsl.compile(
        MANY + "def steep(r) = D(D(g[Cu]))(r)\nobserve more = sum(i) steep(x[i].x - origin.x)/steep(2 [angstrom])\n",
        folder,
    )
    text = dump(program.compiled, stage)
    assert "phi[i, j]" in text
    if stage != "field":
        x, species = atoms(8)
        there = System(x, np.full(3, 11.0), species=species)
        again = mdsl.compile(text, folder)
        assert interpret.energy(again.model, there) == interpret.energy(program.model, there)
        assert dump(again.compiled, stage) == text


def test_explain_names_the_functions(folder):
    text = mdsl.compile(ALLOY + PAIR, folder).explain()
    assert "phi[i, j](r)" in text and "-phi[i, j]'(r)" in text
    assert 'setfl("alloy.setfl"), line 4' in text and "the functions of `phi` end there" in text
    assert "F     2 functions of 60 knots from 0 to 2.95, going on as straight lines" in text
    assert "phi   3 functions of 80 knots from 0 angstrom to 4.9375 angstrom, 0 from 4.8 angstrom on" in text


# -- what is wrong ---------------------------------------------------------------------------------------

U = "energy U = sum(i < j) u(|x[i] - x[j]|)"
COLUMNS = 'table u = tabulated("pair.txt", x = 1 [angstrom], y = 1 [eV])\n'


@pytest.mark.parametrize(
    ("text", "id", "place", "words"),
    [
        (METAL + READ.replace("alloy.setfl", "aloy.setfl") + PAIR, "missing-file", '"aloy.setfl"', "alloy.setfl"),
        (METAL + READ.replace("setfl(", "setf(") + PAIR, "unknown-name", "setf", "did you mean"),
        (METAL + READ.replace('setfl("alloy.setfl")', "3") + PAIR, "wrong-type", "3", "read from a file"),
        (METAL + READ.replace('"alloy.setfl"', "") + PAIR, "wrong-arguments", "setfl()", "name of a file"),
        (METAL + READ.replace("setfl(", "funcfl(") + PAIR, "malformed-file", '"alloy.setfl"', "no funcfl file"),
        (METAL + READ.replace("alloy.setfl", "Cu.eam") + PAIR, "malformed-file", '"Cu.eam"', "no setfl file"),
        (METAL + READ.replace("alloy.setfl", "long.setfl") + PAIR, "malformed-file", '"long.setfl"', "2 values follow"),
        (
            METAL + READ.replace("alloy.setfl", "short.setfl") + PAIR,
            "malformed-file",
            '"short.setfl"',
            "before its end",
        ),
        (
            METAL + READ.replace("alloy.setfl", "strange.setfl") + PAIR,
            "malformed-file",
            '"strange.setfl"',
            "not a number",
        ),
        (METAL + READ.replace("alloy.setfl", "empty.setfl") + PAIR, "malformed-file", '"empty.setfl"', "is empty"),
        (METAL + "species Cu, Ag\n" + READ + PAIR, "missing-entry", '"alloy.setfl"', "no functions of Ag"),
        (LJ + READ + PAIR, "unit-in-reduced", 'setfl("alloy.setfl")', "angstrom and eV"),
        (METAL + READ.replace(")", ", x = 1)") + PAIR, "unknown-option", "x = 1", "no option `x`"),
        (METAL + READ.replace("F[species], ", "") + PAIR, "bad-table", None, "gives 3 functions, and here are 2 names"),
        (
            METAL + READ.replace("g[species]", "g[species, species]") + PAIR,
            "bad-axis",
            "g[species, species]",
            "`g` has [species]",
        ),
        (METAL + READ + PAIR.replace("(|x[i] - x[j]|)", "(x[i] - x[j])"), "wrong-type", "x[i] - x[j]", "length `|d|`"),
        (METAL + READ + PAIR.replace("(|x[i] - x[j]|)", "(3)"), "wrong-unit", "3", "a function of a length"),
        (METAL + READ + PAIR.replace("[i, j]", "[i]"), "wrong-index", "phi[i]", "two indices"),
        (METAL + READ + PAIR.replace("[i, j]", ""), "wrong-index", "phi", "two indices"),
        (METAL + READ + PAIR.replace("[i, j]", "[1, j]"), "wrong-index", "1", "species or atoms"),
        (METAL + READ + PAIR.replace("(|x[i] - x[j]|)", ""), "function-as-value", "phi[i, j]", "one argument"),
        (METAL + COLUMNS.replace(", x = 1 [angstrom]", "") + U, "missing-option", None, "`tabulated` needs `x`"),
        (METAL + COLUMNS.replace("y =", "z =") + U, "unknown-option", "z = 1 [eV]", "x, y"),
        (METAL + COLUMNS.replace("1 [eV]", "a") + U, "wrong-type", "a", "positive number"),
        (METAL + COLUMNS.replace("[eV]", "[furlong]") + U, "unknown-unit", "furlong", "there is no unit"),
        (
            METAL + COLUMNS.replace("[eV]", "[e]") + U,
            "wrong-unit",
            "sum(i < j) u(|x[i] - x[j]|)",
            "should be an energy",
        ),
        (LJ + COLUMNS + U, "unit-in-reduced", "[angstrom]", "has no units"),
        (METAL + COLUMNS.replace("u =", "u[species] =") + U, "bad-axis", "u[species]", "no axes"),
        (
            METAL + COLUMNS.replace("pair.txt", "uneven.txt") + U,
            "malformed-file",
            '"uneven.txt"',
            "line 4: the knots are not evenly spaced",
        ),
        (METAL + COLUMNS.replace("pair.txt", "back.txt") + U, "malformed-file", '"back.txt"', "does not ascend"),
        (METAL + COLUMNS.replace("pair.txt", "words.txt") + U, "malformed-file", '"words.txt"', "line 2: `1 one`"),
        (METAL + COLUMNS.replace("pair.txt", "few.txt") + U, "malformed-file", '"few.txt"', "holds 2 knots"),
        (METAL + COLUMNS.replace("pair.txt", "nan.txt") + U, "malformed-file", '"nan.txt"', "not finite"),
        (METAL + COLUMNS + U.replace("u(", "u(1, "), "wrong-arguments", "u(1, |x[i] - x[j]|)", "takes 1 argument"),
        (METAL + COLUMNS + "param u = 1.0\n" + U, "duplicate-name", "u", "declared twice"),
    ],
)
def test_diagnostics(folder, text, id, place, words):
    files = {
        "short.setfl": "\n".join((folder / "alloy.setfl").read_text().split("\n")[:-3]),
        "strange.setfl": (folder / "alloy.setfl").read_text().replace("fcc\n", "fcc\nmany ", 1),
        "long.setfl": (folder / "alloy.setfl").read_text() + "0.0 0.0\n",
        "empty.setfl": "\n",
        "uneven.txt": "# r u\n1 4\n2 3\n3.1 2\n4 1\n5 0\n",
        "back.txt": "1 4\n2 3\n1.5 2\n4 1\n5 0\n",
        "words.txt": "0 1\n1 one\n",
        "few.txt": "0 1\n1 0\n",
        "nan.txt": "0 1\n1 nan\n",
    }
    for name, content in files.items():
        (folder / name).write_text(content)
    with pytest.raises(mdsl.Rejected) as caught:
        mdsl.compile(text, folder)
    (found,) = caught.value.diagnostics
    assert found.id == id and words in str(caught.value)
    assert place is None or found.span.text == place


def test_below_its_first_knot_a_table_has_no_value(folder):
    program = mdsl.compile(LJ + 'table u = tabulated("pair.txt")\n' + U, folder)
    system = program.bind(np.array([[0.0, 0, 0], [0.4, 0, 0]]), box=10.0)
    assert np.isnan(system.energy()) and np.isnan(system.forces()).any()
