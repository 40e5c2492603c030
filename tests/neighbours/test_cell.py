"""Boxes that are not rectangular: nearest images, lists, derivatives, and the same crystal in different boxes."""

import functools

import engines
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compiled import HEAD, bound, program, run, running

import mdsl
from mdsl.files.reading import read
from mdsl.files.trajectories import open_trajectory
from mdsl.lowering.geometry.cell import of_matrix
from mdsl.lowering.neighbours import lists as neighbours
from mdsl.lowering.planning import capacity
from mdsl.lowering.planning.on_host import nearest

LJ = "param sigma = 1.0\nenergy U = sum(i < j) force_shifted(lennard_jones(sigma, 1), 1.9*sigma)(|x[i] - x[j]|)"
SKEW = np.array([[5.0, 0, 0], [2.1, 5.2, 0], [-1.7, 3.4, 5.6]])


def fractions(n, d=3, seed=0):
    """Atoms on a jittered lattice, some of them outside of the box."""
    rng = np.random.default_rng(seed)
    side = int(np.ceil(n ** (1 / d)))
    cells = np.stack(np.meshgrid(*[np.arange(side)] * d), -1).reshape(-1, d)[:n]
    return (cells + rng.uniform(0.4, 0.6, (n, d))) / side + rng.integers(-1, 2, (n, d))


# -- neighbour lists -----------------------------------------------------------------------------------

BOXES = {
    "skew": (np.array([[9.0, 0, 0], [4.0, 9.5, 0], [-3.0, 5.0, 10.0]]), (True,) * 3, 2.5),
    "very skew": (np.array([[9.0, 0, 0], [20.0, 9.0, 0], [-13.0, 31.0, 9.0]]), (True,) * 3, 2.5),
    "half the box": (np.array([[6.0, 0, 0], [3.0, 6.0, 0], [2.0, 2.9, 6.0]]), (True,) * 3, 2.999),
    "free b": (np.array([[9.0, 0, 0], [0, 1.0, 0], [-3.0, 5.0, 10.0]]), (True, False, True), 2.5),
    "free a": (np.array([[1.0, 0, 0], [3.0, 9.0, 0], [-3.0, 5.0, 10.0]]), (False, True, True), 2.5),
    "free c": (np.array([[9.0, 0, 0], [4.0, 9.0, 0], [0, 0, 1.0]]), (True, True, False), 2.5),
    "flat": (np.array([[12.0, 0], [7.0, 11.0]]), (True, True), 2.5),
    "flat and free": (np.array([[1.0, 0], [7.0, 11.0]]), (False, True), 2.5),
}


@pytest.mark.parametrize("kernels", ("xla", "native"))
@pytest.mark.parametrize("name", BOXES)
def test_lists_hold_all_pairs_of_skew_boxes(name, kernels, monkeypatch):
    if kernels == "native":
        pytest.importorskip("llvmlite")
    monkeypatch.setenv("MDSL_KERNELS", kernels)
    cell, periodic, radius = BOXES[name]
    d = len(cell)
    spread = np.where(np.array(periodic)[:, None], cell, 9.0 * np.eye(d))
    x = fractions(400 if d == 3 else 200, d) @ spread
    # All images that can be near, without any rounding.
    turns = np.stack(np.meshgrid(*[np.arange(-9, 10) if p else [0] for p in periodic], indexing="ij"), -1).reshape(
        -1, d
    )
    apart = nearest(x[:, None] - x[None], cell, periodic)
    sample = apart[:7]
    images = (sample[:, :, None] + (turns @ cell)[None, None]).reshape(7, len(x), -1, d)
    closest = np.linalg.norm(images, axis=-1).min(axis=-1)
    r = np.linalg.norm(apart, axis=-1)
    assert np.allclose(np.where(closest < radius, closest, radius), np.minimum(r[:7], radius))

    plan = capacity.plan(len(x), cell, periodic, radius, x)
    build = jax.jit(functools.partial(neighbours.build, plan))
    found = build(jnp.asarray(x, jnp.float32), of_matrix(jnp.asarray(cell, jnp.float32), True), radius)
    assert not bool(found.overflow)
    order, slots = np.asarray(found.order), np.asarray(found.slots)
    near = (r < radius) & ~np.eye(len(x), dtype=bool)
    unsure = np.abs(r - radius) < 1e-4
    listed = np.zeros_like(near)
    for row, neighbour in enumerate(slots.T):
        mine = neighbour[neighbour != row]
        assert len(set(mine)) == len(mine)
        listed[order[row], order[mine]] = True
    assert near.sum() > 100 and not ((listed != near) & ~unsure).any()


@pytest.mark.parametrize("periodic", [(True, False, True)])
def test_the_list_gives_what_all_pairs_give(periodic):
    box = np.where(np.eye(3, dtype=bool) & ~np.array(periodic)[:, None], np.inf, SKEW * np.array(periodic)[:, None])
    x = fractions(64) @ SKEW
    one, other = (bound(program(LJ), x, traversal, box=box) for traversal in ("all pairs", "list"))
    assert np.isclose(one.energy(), other.energy(), rtol=1e-12) and float(one.energy()) < 0
    np.testing.assert_allclose(one.forces(), other.forces(), atol=1e-10)
    np.testing.assert_allclose(one.virial(), other.virial(), atol=1e-9)


# -- the same crystal ----------------------------------------------------------------------------------


def test_a_crystal_has_the_energy_of_the_rectangular_box_in_each_equivalent_one():
    start = mdsl.compile(HEAD + LJ + "\nrun { x = fcc(density = 1.0, cells = 3) }").bind()
    edge = start.box[0]
    x = start.x + np.random.default_rng(0).normal(0, 0.05, start.x.shape)
    a, b, c = edge * np.eye(3)
    same = np.array([a, b + a, c - a + 2 * b])
    one, other = program(LJ).bind(x, box=start.box), program(LJ).bind(x, box=same)
    assert np.isclose(one.energy(), other.energy(), rtol=1e-13)
    np.testing.assert_allclose(one.forces(), other.forces(), atol=1e-11)
    np.testing.assert_allclose(one.stress(), other.stress(), atol=1e-11)


def test_the_primitive_cell_of_fcc_has_the_energy_per_atom_of_the_cubic_one():
    text = LJ.replace("1.9", "1.3")
    cubic = mdsl.compile(HEAD + text + "\nrun { x = fcc(density = 1.0, cells = 3) }").bind()
    a = 4 ** (1 / 3)
    side = a / np.sqrt(2)
    primitive = side * np.array([[1, 0, 0], [1 / 2, np.sqrt(3) / 2, 0], [1 / 2, np.sqrt(3) / 6, np.sqrt(2 / 3)]])
    cells = np.stack(np.meshgrid(*[np.arange(4)] * 3), -1).reshape(-1, 3)
    other = program(text).bind(cells @ primitive, box=4 * primitive)
    assert np.isclose(other.energy() / 64, cubic.energy() / 108, rtol=1e-12)


# -- derivatives ---------------------------------------------------------------------------------------


def test_the_strain_derivative_is_the_virial():
    x = fractions(64) @ SKEW
    system = bound(program(LJ), x, "list", box=SKEW)

    def strained(strain):
        return system.energy(x + x @ strain, box=SKEW + SKEW @ strain)

    slope = jax.grad(strained)(np.zeros((3, 3)))
    np.testing.assert_allclose(np.tril(slope), -np.tril(system.virial()), rtol=1e-10, atol=1e-10)


def test_the_derivative_by_the_box_has_its_shape():
    x = fractions(20) @ SKEW
    system = program(LJ).bind(x, box=SKEW)
    assert system.box.shape == (3, 3)
    slope = jax.grad(lambda box: system.energy(x, box=box))(SKEW)
    assert slope.shape == (3, 3) and not np.triu(slope, 1).any() and np.abs(slope[np.tril_indices(3)]).min() > 0
    h = 1e-5
    for entry in zip(*np.tril_indices(3)):
        step = np.zeros((3, 3))
        step[entry] = h
        difference = (system.energy(x, box=SKEW + step) - system.energy(x, box=SKEW - step)) / (2 * h)
        assert np.isclose(slope[entry], difference, rtol=1e-6, atol=1e-6)


def test_boxes_that_are_none():
    x = fractions(20) @ SKEW
    for box, id in ((SKEW.T, "bad-box"), (-SKEW, "bad-box"), (SKEW[:2], "wrong-shape")):
        with pytest.raises(mdsl.Rejected) as caught:
            program(LJ).bind(x, box=box)
        assert caught.value.diagnostics[0].id == id
    system = program(LJ).bind(x, box=SKEW)
    with pytest.raises(mdsl.Rejected):
        system.energy(box=SKEW.T)
    assert np.isnan(jax.jit(lambda box: system.energy(box=box))(SKEW.T))
    with pytest.raises(mdsl.Rejected) as caught:
        program(LJ).bind(x, box=SKEW * 0.7).energy()
    assert caught.value.diagnostics[0].id == "box-too-small"


# -- the language, and files ---------------------------------------------------------------------------


def test_a_declared_box():
    text = LJ + "\nparam L = 5.0\nparam skew = 0.4\nbox triclinic((L, 0, 0), (skew*L, 5.2, 0), (-1.7, 3.4, L + 0.6))"
    system = program(text).bind(fractions(20) @ SKEW)
    np.testing.assert_allclose(system.box, [[5, 0, 0], [2, 5.2, 0], [-1.7, 3.4, 5.6]])
    slab = program(LJ + "\nbox triclinic((5, 0, 0), (2, 5, 0), free)").bind(fractions(20) @ SKEW)
    np.testing.assert_array_equal(slab.box, [[5, 0, 0], [2, 5, 0], [0, 0, np.inf]])
    flat = program("dim 2\n" + LJ + "\nbox triclinic((5, 0), (2, 5))").bind(
        fractions(12, 2) @ np.array([[5, 0], [2, 5]])
    )
    assert np.isfinite(flat.energy())


def test_a_run_keeps_the_energy_and_the_list_follows():
    prog = running(LJ + "\nobserve E = potential + kinetic", "velocity_verlet(dt = 0.002)", 150, "record E every 50")
    x, v = fractions(64) @ SKEW, np.random.default_rng(3).normal(0, 1, (64, 3))
    results = [run(prog, x, traversal=t, box=SKEW, velocities=v - v.mean(0)) for t in ("all pairs", "list")]
    assert np.ptp(results[0].records["E"]) < 2e-3 * abs(results[0].records["E"][0])
    np.testing.assert_allclose(results[0].records["E"], results[1].records["E"], rtol=1e-9)
    s = results[0].x @ np.linalg.inv(SKEW)
    assert s.min() >= -1e-12 and s.max() <= 1 + 1e-12


def test_files_of_skew_boxes(tmp_path):
    (tmp_path / "a.data").write_text(
        "skew\n\n2 atoms\n1 atom types\n0 10 xlo xhi\n0 11 ylo yhi\n1 12 zlo zhi\n2 -3 4 xy xz yz\n\nAtoms # "
        "atomic\n\n1 1 1 2 3\n2 1 4 5 6\n"
    )
    found = read(tmp_path / "a.data")
    np.testing.assert_array_equal(found.cell, [[10, 0, 0], [2, 11, 0], [-3, 4, 11]])
    np.testing.assert_array_equal(found.positions, [[1, 2, 2], [4, 5, 5]])
    assert not found.notes
    # The primitive vectors of fcc as textbooks write them, which must be rotated.
    (tmp_path / "POSCAR").write_text("fcc\n1.0\n0 4 4\n4 0 4\n4 4 0\nAr\n2\nCartesian\n0 0 0\n1 2 3\n")
    found = read(tmp_path / "POSCAR")
    side = 4 * np.sqrt(2)
    np.testing.assert_allclose(
        found.cell,
        side * np.array([[1, 0, 0], [1 / 2, np.sqrt(3) / 2, 0], [1 / 2, np.sqrt(3) / 6, np.sqrt(2 / 3)]]),
        atol=1e-12,
    )
    assert np.isclose(np.linalg.norm(found.positions[1]), np.sqrt(14)) and "rotated" in found.notes[0]
    general = np.array([[0, 4, 4], [4, 0, 4], [4, 4, 0.0]])
    np.testing.assert_allclose(
        found.positions[1] @ np.linalg.inv(found.cell), np.array([1, 2, 3]) @ np.linalg.inv(general), atol=1e-12
    )


def test_a_structure_that_is_rotated_says_so(tmp_path):
    (tmp_path / "POSCAR").write_text("fcc\n1.0\n0 4 4\n4 0 4\n4 4 0\nAr\n2\nCartesian\n0 0 0\n1 2 3\n")
    text = (
        "use units.metal\nenergy U = sum(i < j) if r < 2 [angstrom] then (1 - r/(2 [angstrom]))^2*1 [eV] else 0 "
        "where r = |x[i] - x[j]|\n"
    )
    with pytest.warns(UserWarning, match="POSCAR: box, positions and velocities are rotated"):
        mdsl.compile(text + 'run { x = read("POSCAR") }', folder=tmp_path).bind()
    with pytest.raises(mdsl.Rejected) as caught:
        mdsl.compile(
            text
            + 'box triclinic((5 [angstrom], 0, 0), (1 [angstrom], 5 [angstrom], 0), free)\nrun { x = read("POSCAR") }',
            folder=tmp_path,
        ).bind()
    assert caught.value.diagnostics[0].id == "bad-box" and "(2.82843, 4.89898, 0)" in str(caught.value)


@pytest.mark.parametrize("kind", ["extxyz", "dcd", "xtc"])
def test_trajectories_of_skew_boxes(tmp_path, kind):
    path = tmp_path / f"a.{kind}"
    x = np.random.default_rng(0).uniform(0, 5, (4, 3))
    with open_trajectory(path, ["Ar"] * 4, angstrom_per_length=1.0, femtoseconds_per_time=1.0) as file:
        file.write(x, SKEW, 0, 0.0)
    if kind == "extxyz":
        back = read(path)
        np.testing.assert_allclose(back.cell, SKEW)
        np.testing.assert_allclose(back.positions, x, rtol=1e-8)
    elif kind == "xtc":
        from mdtraj.formats import XTCTrajectoryFile

        with XTCTrajectoryFile(str(path)) as file:
            np.testing.assert_allclose(10 * file.read()[3][0], SKEW, atol=1e-5)
    else:
        from mdtraj.formats import DCDTrajectoryFile

        with DCDTrajectoryFile(str(path)) as file:
            _, lengths, angles = file.read()
        np.testing.assert_allclose(lengths[0], np.linalg.norm(SKEW, axis=1), rtol=1e-6)
        cosines = np.cos(np.radians(angles[0]))
        wanted = [
            SKEW[i] @ SKEW[j] / np.linalg.norm(SKEW[i]) / np.linalg.norm(SKEW[j]) for i, j in ((1, 2), (0, 2), (0, 1))
        ]
        np.testing.assert_allclose(cosines, wanted, rtol=1e-5)


# -- LAMMPS --------------------------------------------------------------------------------------------


def test_lammps_agrees_on_a_skew_box():
    x = fractions(64) @ SKEW
    engine = engines.lammps()
    try:
        tilts = f"{SKEW[1, 0]} {SKEW[2, 0]} {SKEW[2, 1]}"
        engine.commands_string(
            f"units lj\natom_style atomic\natom_modify map array\nbox tilt large\nregion b prism 0 {SKEW[0, 0]} 0 "
            f"{SKEW[1, 1]} 0 {SKEW[2, 2]} {tilts}\n"
            "create_box 1 b\nmass 1 1.0\npair_style lj/smooth/linear 1.9\npair_coeff 1 1 1.0 1.0 1.9\nneigh_modify "
            "delay 0 every 1\n"
        )
        inside = x - np.floor(x @ np.linalg.inv(SKEW)) @ SKEW
        engine.create_atoms(len(x), None, np.ones(len(x), int).tolist(), inside.ravel().tolist())
        engine.commands_string("run 0 post no")
        energy = engine.get_thermo("pe") * (1 if engine.extract_setting("thermo_norm") != 1 else 64)
        force = engine.numpy.extract_atom("f")[:64].copy()
        order = np.argsort(engine.numpy.extract_atom("id")[:64])
        pressure = [engine.get_thermo(name) for name in ("pxx", "pyy", "pzz", "pxy", "pxz", "pyz")]
    finally:
        engine.close()
    system = program(LJ).bind(x, box=SKEW)
    np.testing.assert_allclose(system.forces(), force[order], atol=1e-9)
    assert np.isclose(system.energy(), energy, rtol=1e-11) or np.isclose(system.energy(), 64 * energy, rtol=1e-11)
    virial = np.asarray(system.virial()) / np.prod(np.diag(SKEW))
    np.testing.assert_allclose(
        [virial[k, k] for k in range(3)] + [virial[0, 1], virial[0, 2], virial[1, 2]], pressure, rtol=1e-9, atol=1e-9
    )
