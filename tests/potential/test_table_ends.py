"""Tabulated functions outside of their knots: what a statement says, what is decided without, and what a run is
told."""

import eam_files
import engines
import jax
import numpy as np
import pytest

import mdsl
from mdsl.interpret import meaning as interpret
from mdsl.interpret.meaning import System
from mdsl.model.curves import Curves
from mdsl.report.dump import dump

LJ = "use units.lj\nuse pair\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return eam_files.write(tmp_path_factory.mktemp("tables"))


def single(values, step=0.1, **more):
    return Curves(0.0, step, np.atleast_2d(np.asarray(values, float)), np.zeros(()), **more)


# -- outside of the knots --------------------------------------------------------------------------------

BOND = "use units.lj\nbox free\ntopology bonds(i, j)\n"
SPRING = "energy U = sum((i, j) in bonds) u(|x[i] - x[j]|)\n"


def spring(folder, options=""):
    """A table of 50 (r - 1)² from 0.8 to 1.2, for the length of a bond."""
    r = 0.8 + 0.01 * np.arange(41)
    (folder / "bond.txt").write_text("\n".join(f"{a:.2f} {50 * (a - 1) ** 2:.10f}" for a in r))
    return mdsl.compile(BOND + f'table u = tabulated("bond.txt"{options})\n' + SPRING, folder)


def two(r):
    return np.array([[0.0, 0, 0], [r, 0, 0]])


SLOPE = (2.0 - 50 * 0.19**2) / 0.01  # of the last two knots
BEYOND = {
    ", beyond = 0": (np.nan, 0.0, 0.0),
    ", beyond = hold": (2.0, 2.0, 0.0),
    ", beyond = continue": (2.0 + 0.1 * SLOPE, 2.0 + 0.05 * SLOPE, -SLOPE),
    ", beyond = stop": (np.nan, np.nan, np.nan),
    "": (np.nan, np.nan, np.nan),
}


@pytest.mark.parametrize("options", BEYOND)
def test_what_is_beyond_a_table_is_what_its_statement_says(folder, options):
    program = spring(folder, options)
    system = program.bind(two(1.0), topologies={"bonds": [[0, 1]]})
    before, beyond, force = BEYOND[options]
    np.testing.assert_allclose(system.energy(two(0.7)), before, rtol=1e-9)
    np.testing.assert_allclose(system.energy(two(1.25)), beyond, rtol=1e-9)
    np.testing.assert_allclose(system.forces(two(1.25))[1, 0], force, rtol=1e-9)
    for r, energy in ((0.8, 2.0), (1.0, 0.0), (1.2, 2.0)):  # at the knots themselves
        np.testing.assert_allclose(system.energy(two(r)), energy, atol=1e-9)
        there = System(two(r), np.full(3, 1.0), periodic=(False,) * 3, topologies={"bonds": np.array([[0, 1]])})
        np.testing.assert_allclose(interpret.energy(program.model, there), energy, atol=1e-9)


@pytest.mark.parametrize("precision", ["single", "double"])
def test_a_straight_angle_is_the_last_knot(folder, precision):
    """Also where 180/pi*pi is more than 180 by a rounding."""
    degrees = np.arange(181.0)
    (folder / "angle.txt").write_text("\n".join(f"{a:g} {10 * (np.radians(a) - 2) ** 2:.10f}" for a in degrees))
    program = mdsl.compile(
        'use units.lj\nbox free\ntopology angles(i, j, k)\ntable u = tabulated("angle.txt")\n'
        "energy U = sum((i, j, k) in angles) u(180/pi*angle(x[i], x[j], x[k]))",
        folder,
    )
    x = np.array([[0.0, 0, 0], [0.3, 0.7, 0.1], [0.6, 1.4, 0.2]])
    system = program.bind(x, topologies={"angles": [[0, 1, 2]]}, precision=precision)
    assert system.energy() == pytest.approx(10 * (np.pi - 2) ** 2, rel=1e-6 if precision == "double" else 1e-4)


@pytest.mark.parametrize("last", [True, False])
def test_a_table_of_a_dihedral_angle_repeats(folder, last):
    """K (1 + cos(3 phi - d)), its force also beside the trans angle; the last knot may be left out."""
    degrees = np.arange(-180.0, 181.0 if last else 180.0)
    energy = 2 * (1 + np.cos(3 * np.radians(degrees) - 0.4))
    (folder / "dihedral.txt").write_text("\n".join(f"{a:g} {u:.10f}" for a, u in zip(degrees, energy)))
    text = 'use units.lj\nbox free\ntopology tt(i, j, k, l)\ntable u = tabulated("dihedral.txt", period = 360)\n'
    program = mdsl.compile(
        text + "energy U = sum((i, j, k, l) in tt) u(180/pi*dihedral(x[i], x[j], x[k], x[l]))", folder
    )
    formula = mdsl.compile(
        "use units.lj\nbox free\ntopology tt(i, j, k, l)\n"
        "energy U = sum((i, j, k, l) in tt) 2*(1 + cos(3*dihedral(x[i], x[j], x[k], x[l]) - 0.4))"
    )
    assert not program.warnings
    for phi in np.radians([180, 180 - 1e-4, -180 + 1e-4, 179.5, -179.5, -178.7, 20.3]):
        x = np.array([[0.0, 1, 0], [0, 0, 0], [1, 0, 0], [1, np.cos(phi), np.sin(phi)]])
        a, b = (p.bind(x, topologies={"tt": [[0, 1, 2, 3]]}) for p in (program, formula))
        assert a.energy() == pytest.approx(float(b.energy()), abs=1e-6)
        np.testing.assert_allclose(a.forces(), b.forces(), atol=2e-4)
        there = System(x, np.full(3, 1.0), periodic=(False,) * 3, topologies={"tt": np.array([[0, 1, 2, 3]])})
        np.testing.assert_allclose(a.forces(), interpret.forces(program.model, there), atol=1e-12)


def test_curves_that_repeat_know_no_end():
    curves = single(np.sin(2 * np.pi * np.arange(50) / 50), step=0.02, beyond="repeat")
    x = np.linspace(-2.3, 3.1, 301)
    np.testing.assert_allclose(curves.value(0, 0, x), np.sin(2 * np.pi * x), atol=1e-5)
    np.testing.assert_allclose(curves.value(0, 1, x), 2 * np.pi * np.cos(2 * np.pi * x), atol=1e-3)
    np.testing.assert_allclose(curves.value(0, 0, x + 1), curves.value(0, 0, x), atol=1e-12)


@pytest.mark.parametrize(
    ("energy", "ends"),
    [
        ("sum(i < j) u(|x[i] - x[j]|)", "0 from 2 on"),
        ("sum(i < j) shifted(u, 2)(|x[i] - x[j]|)", "0 from 2 on"),
        ("sum(i < j) force_shifted(u, 1.5)(|x[i] - x[j]|)", "0 from 2 on"),
        ("sum(i < j) (if r < 1.5 then D(u)(r) else 0) where r = |x[i] - x[j]|", "0 from 2 on"),
        ("sum(i) (sum(j != i) u(|x[i] - x[j]|))^2", "0 from 2 on"),
        ("sum(i; j < k) u(|x[i] - x[j]|)*u(|x[i] - x[k]|)", "0 from 2 on"),
        ("sum((i, j) in tt) u(|x[i] - x[j]|)", "without values outside"),
        ("sum(i) u(|x[i] - origin|)", "without values outside"),
        ("sum(i < j) (if r < 1.5 then u(1 + 1/N)*r else 0) where r = |x[i] - x[j]|", "without values outside"),
        ("sum(i < j) u(|x[i] - x[j]|) + sum((i, j) in tt) u(|x[i] - x[j]|)", "0 from 2 on"),
    ],
)
def test_only_functions_of_pairs_are_0_beyond_their_tables(folder, energy, ends):
    text = f'{LJ}topology tt(i, j)\ntable u = tabulated("pair.txt")\nenergy U = {energy}'.replace(
        "pair.txt", "to_two.txt"
    )
    (folder / "to_two.txt").write_text("\n".join(f"{r:.1f} {(2.1 - r) ** 2:.6f}" for r in np.arange(0.5, 2.01, 0.1)))
    program = mdsl.compile(text, folder)
    assert ends in program.explain()
    for stage in ("resolve", "inline", "ends", "differentiate"):
        assert ends in mdsl.compile(dump(program.compiled, stage), folder).explain()


def test_a_shift_takes_the_value_at_the_last_knot(folder):
    (folder / "to_two.txt").write_text("\n".join(f"{r:.1f} {(2.1 - r) ** 2:.6f}" for r in np.arange(0.5, 2.01, 0.1)))
    text = f'{LJ}table u = tabulated("to_two.txt")\nenergy U = sum(i < j) shifted(u, 2)(|x[i] - x[j]|)'
    system = mdsl.compile(text, folder).bind(two(1.0), box=10.0)
    assert system.energy() == pytest.approx(1.1**2 - 0.1**2, rel=1e-9)


@pytest.mark.parametrize("options", [", beyond = 0", ", beyond = hold", ", beyond = continue", ", beyond = stop"])
def test_ends_are_printed(folder, options):
    program = spring(folder, options)
    for stage in ("resolve", "inline", "ends", "differentiate"):
        assert f'tabulated("bond.txt"{options})' in dump(program.compiled, stage)
    again = mdsl.compile(dump(program.compiled, "differentiate"), folder)
    assert (
        again.explain().split("tables")[1].split("energy")[0].split("from ")[1]
        == (program.explain().split("tables")[1].split("energy")[0].split("from ")[1])
    )


@pytest.mark.parametrize(("start", "when"), [(1.25, "at the start"), (1.15, "at step")])
def test_a_run_that_leaves_its_table_is_told_where(folder, start, when):
    """The bond and the table are named: three atoms, of which the last two are torn apart."""
    spring(folder)
    (folder / "three.extxyz").write_text(
        "3\n"
        + "Properties=species:S:1:pos:R:3:velo:R:3 units=reduced\n"
        + f"X 0 0 0 0 0 0\nX 1 0 0 0 0 0\nX {1 + start} 0 0 8 0 0\n"
    )
    text = (
        BOND.replace("topology", "use integrators\ntopology")
        + f'table u = tabulated("bond.txt")\n{SPRING}'
        + 'run { x = read("three.extxyz") velocity_verlet(dt = 0.002) for 200 record U every 1 }'
    )
    program = mdsl.compile(text, folder)
    system = program.bind(topologies={"bonds": [[0, 1], [1, 2]]})
    with pytest.raises(mdsl.Rejected) as caught:
        system.run(jax.random.key(0))
    (found,) = caught.value.diagnostics
    assert found.id == "outside-table" and when in found.message
    assert "`u` for 1." in found.notes[0] and "atoms 1, 2" in found.notes[0] and "from 0.8 to 1.2" in found.notes[1]


def test_a_schedule_that_ends_before_its_run_is_told_of(folder):
    (folder / "T.txt").write_text("\n".join(f"{a / 10} {1 + a / 10}" for a in range(11)))
    text = (
        'use units.lj\nuse integrators\ntable T = tabulated("T.txt")\nobserve now = T(t)\n'
        "energy U = sum(i < j) if r < 1 then (1 - r)^2 else 0 where r = |x[i] - x[j]|\n"
        "run { x = sc(density = 0.125, cells = 3) v ~ maxwell(1)\n"
        "baoab(dt = 0.05, T = T(t), gamma = 1) for 30 record now every 10 }\n"
    )
    with pytest.raises(mdsl.Rejected) as caught:
        mdsl.compile(text, folder).bind().run(jax.random.key(0))
    (found,) = caught.value.diagnostics
    assert found.id == "blow-up" and "`T` has no values outside of its table" in found.notes[-1]
    assert "from 0 to 1" in found.notes[-1] and "step 21" in found.message  # in which the bath is beyond the end
    records = mdsl.compile(text.replace('.txt"', '.txt", beyond = hold'), folder).bind().run(jax.random.key(0)).records
    np.testing.assert_allclose(records["now"], [1, 1.5, 2, 2])


def test_a_dihedral_angle_without_a_period_is_warned_of(folder):
    (folder / "dihedral.txt").write_text("\n".join(f"{a} 0.5" for a in range(-180, 181, 10)))
    text = 'use units.lj\ntopology tt(i, j, k, l)\ntable u = tabulated("dihedral.txt")\n'
    text += "energy U = sum((i, j, k, l) in tt) u(180/pi*dihedral(x[i], x[j], x[k], x[l]))"
    (found,) = mdsl.compile(text, folder).warnings
    assert found.id == "no-period" and "`u`" in found.message
    assert not mdsl.compile(text.replace(")\nenergy", ", period = 360)\nenergy"), folder).warnings


@pytest.mark.parametrize(
    ("options", "id", "words"),
    [
        ("beyond = 1", "wrong-type", "`beyond` is one of"),
        ("beyond = sideways", "wrong-type", "`beyond` is one of"),
        ("period = -1", "wrong-type", "`period` is what the argument grows by"),
        ("period = 1.2, beyond = hold", "wrong-arguments", "nothing beyond"),
        ("period = 7", "bad-table", "do not go once around"),
        ("period = 1.5", "bad-table", "other values at the beginning"),
        ("periode = 1.2", "unknown-option", "period"),
    ],
)
def test_ends_that_make_no_sense(folder, options, id, words):
    text = f'{LJ}table u = tabulated("line.txt", {options})\nenergy U = sum(i < j) u(|x[i] - x[j]|)'
    (folder / "line.txt").write_text("0 1\n0.3 2\n0.6 3\n0.9 4\n1.2 5\n1.5 9\n")
    with pytest.raises(mdsl.Rejected) as caught:
        mdsl.compile(text, folder)
    (found,) = caught.value.diagnostics
    assert found.id == id and words in str(caught.value)


def test_lammps_finds_the_same_torques_beside_the_trans_angle(folder):
    """`dihedral_style table` of LAMMPS, by splines through the same knots, which repeat too."""
    degrees = np.arange(-180.0, 180.0)
    energy = 2 * (1 + np.cos(3 * np.radians(degrees) - 0.4))
    slope = -6 * np.sin(3 * np.radians(degrees) - 0.4) * np.pi / 180
    (folder / "d.txt").write_text("\n".join(f"{a:g} {u:.12f}" for a, u in zip(degrees, energy)))
    rows = [f"{k} {a:g} {u:.12f} {-s:.12f}" for k, (a, u, s) in enumerate(zip(degrees, energy, slope), 1)]
    (folder / "d.lammps").write_text("\n".join(["T", "N 360 DEGREES", "", *rows, ""]))
    program = mdsl.compile(
        'use units.lj\nbox periodic(20)\ntopology tt(i, j, k, l)\ntable u = tabulated("d.txt", period = 360)\n'
        "energy U = sum((i, j, k, l) in tt) u(180/pi*dihedral(x[i], x[j], x[k], x[l]))",
        folder,
    )
    for phi in np.radians([180, 179.99, -179.99, -179.3, 12.3]):
        x = np.array([[0.0, 1, 0], [0, 0, 0], [1, 0, 0], [1, np.cos(phi), np.sin(phi)]]) + 5
        head = ["L", "", "4 atoms", "1 dihedrals", "1 atom types", "1 dihedral types"]
        head += [f"0 20 {a}lo {a}hi" for a in "xyz"] + ["", "Masses", "", "1 1", "", "Atoms # molecular", ""]
        places = [f"{k} 1 1 {' '.join(repr(float(v)) for v in row)}" for k, row in enumerate(x, 1)]
        (folder / "d.data").write_text("\n".join([*head, *places, "", "Dihedrals", "", "1 1 1 2 3 4", ""]))
        engine = engines.lammps()
        engine.commands_list(
            ["units lj", "atom_style molecular", f"read_data {folder}/d.data", "pair_style zero 5", "pair_coeff * *"]
            + ["dihedral_style table spline 720", f"dihedral_coeff 1 {folder}/d.lammps T", "run 0"]
        )
        theirs = np.array(engine.gather_atoms("f", 1, 3)).reshape(4, 3)
        engine.close()
        ours = program.bind(x, topologies={"tt": [[0, 1, 2, 3]]}).forces()
        np.testing.assert_allclose(ours, theirs, atol=1e-5)
