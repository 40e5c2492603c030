"""Positions that no box wraps: read from image flags, observed, and written."""

import engines
import jax
import numpy as np
import pytest

import mdsl
from mdsl.interpret import meaning as interpret
from mdsl.interpret.meaning import System

# A chain of 12 atoms along a straight line that leaves a box of 5 twice, one of them moving.
BOND, EDGE = 0.9, 5.0
HEAD = """use units.lj
use integrators (velocity_verlet)
topology bonds(i, j)
energy U = sum((i, j) in bonds) (|x[i] - x[j]| - 0.9)^2
observe ends  = |sum(i) c[i]*unwrapped[i]|
observe radius = sqrt((sum(i) unwrapped[i]·unwrapped[i])/N - ((sum(i) unwrapped[i])/N)·((sum(i) unwrapped[i])/N))
data c[atoms]
"""
RUN = 'run { x = read("chain.data") velocity_verlet(dt = 0.01) for 400 record ends, radius every 20 }\n'


def straight(n=12):
    direction = np.array([2.0, 1, -1]) / np.sqrt(6)
    return np.array([0.3, 0.2, 4.6]) + BOND * np.arange(n)[:, None] * direction


def chain(folder, velocity=0.0):
    """The chain as LAMMPS writes it: wrapped, with image flags, in another order than that of the ids."""
    x = straight()
    flags = np.floor(x / EDGE).astype(int)
    wrapped = x - flags * EDGE
    rows = [
        f"{k + 1} 1 1 {' '.join(f'{a:.15g}' for a in wrapped[k])} {' '.join(map(str, flags[k]))}" for k in range(12)
    ]
    order = np.random.default_rng(2).permutation(12)
    text = ["LAMMPS", "", "12 atoms", "11 bonds", "1 atom types", "1 bond types", ""]
    text += [f"0 {EDGE} {a}lo {a}hi" for a in "xyz"] + ["", "Masses", "", "1 1.0", "", "Atoms # bond", ""]
    text += [rows[k] for k in order] + ["", "Velocities", ""]
    text += [f"{k + 1} {velocity} {-velocity} {velocity}" for k in range(12)]
    text += ["", "Bonds", ""] + [f"{k} 1 {k} {k + 1}" for k in range(1, 12)]
    (folder / "chain.data").write_text("\n".join(text) + "\n")
    return x, wrapped, flags


def ends():
    c = np.zeros(12)
    c[0], c[-1] = -1, 1
    return {"c": c}


def gyration(x):
    return np.sqrt(((x - x.mean(0)) ** 2).sum(1).mean())


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("velocity", [0.0, 3.0])
@pytest.mark.parametrize("traversal", ["run", "batch", "traced"])
def test_a_chain_longer_than_its_box_has_its_length(tmp_path, velocity, traversal):
    """The end-to-end distance of a straight chain is that of 11 bonds, also after it crossed the box many times."""
    x, wrapped, flags = chain(tmp_path, velocity)
    system = mdsl.compile(HEAD + RUN, tmp_path).bind(data=ends())
    np.testing.assert_array_equal(system.initial.images, flags)
    np.testing.assert_allclose(system.initial.x, wrapped, atol=1e-12)
    if traversal == "run":
        records = system.run(jax.random.key(0)).records
    elif traversal == "batch":
        records = {n: r[1] for n, r in system.run(jax.random.split(jax.random.key(0), 2)).records.items()}
    else:
        records = jax.jit(lambda key: system.run(key).records)(jax.random.key(0))
    np.testing.assert_allclose(records["ends"], 11 * BOND, rtol=1e-9)
    np.testing.assert_allclose(records["radius"], gyration(x), rtol=1e-9)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_positions_of_a_users_own_have_no_images(tmp_path):
    x, wrapped, flags = chain(tmp_path)
    system = mdsl.compile(HEAD + RUN, tmp_path).bind(data=ends())
    records = system.run(jax.random.key(0), x=x, steps=0).records  # outside of the box: not wrapped
    assert records["ends"][0] == pytest.approx(11 * BOND)
    records = system.run(jax.random.key(0), x=wrapped, steps=0).records
    assert records["ends"][0] == pytest.approx(np.linalg.norm(wrapped[-1] - wrapped[0]))


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_unwrapped_is_what_the_interpreter_says(tmp_path):
    x, _, _ = chain(tmp_path)
    program = mdsl.compile(HEAD + RUN, tmp_path)
    there = System(x, np.full(3, EDGE), params=ends(), topologies={"bonds": np.array([[0, 1]])})
    assert interpret.observe(program.model, "radius", there) == pytest.approx(gyration(x))


def test_an_energy_does_not_read_it():
    with pytest.raises(mdsl.Rejected) as caught:
        mdsl.compile("use units.lj\nenergy U = sum(i) unwrapped[i]·unwrapped[i]")
    assert caught.value.diagnostics[0].id == "misplaced"


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_lammps_finds_the_same_radius(tmp_path):
    """`compute gyration` of LAMMPS reads the image flags of the file."""
    x, _, _ = chain(tmp_path)
    lmp = engines.lammps()
    for line in (
        "units lj", "atom_style bond", "special_bonds lj 1 1 1", f"read_data {tmp_path}/chain.data", "pair_style "
                                                                                                     "zero 2.0",
        "pair_coeff * *", "bond_style zero", "bond_coeff *", "compute rg all gyration", "fix 1 all nve", "run 0",
    ):  # fmt: skip
        lmp.command(line)
    theirs = lmp.extract_compute("rg", 0, 0)
    lmp.close()
    records = mdsl.compile(HEAD + RUN, tmp_path).bind(data=ends()).run(jax.random.key(0), steps=0).records
    assert records["radius"][0] == pytest.approx(theirs, rel=1e-10) == gyration(x)


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("options", [[], ["--replicas", "2"]])
def test_frames_are_written_unwrapped(tmp_path, monkeypatch, options):
    """Of a chain that moves through the box: straight in every frame, beside frames that are wrapped."""
    from mdsl.command import cli
    from mdsl.files.reading import read

    x, wrapped, _ = chain(tmp_path, velocity=3.0)
    run = RUN.replace("record", 'write "a.extxyz", unwrapped every 100 write "b.extxyz" every 100 record')
    (tmp_path / "a.mdsl").write_text(
        (HEAD + run)
        .replace("data c[atoms]\n", "")
        .replace("observe ends  = |sum(i) c[i]*unwrapped[i]|", "")
        .replace("ends, ", "")
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("mdsl.command.run.set_up_jax", lambda *_: None)
    assert cli.main(["run", "a.mdsl", "--out", "out", "--quiet", *options]) == 0
    first, *others = sorted((tmp_path / "out").rglob("a.extxyz"))
    assert len(others) == (1 if options else 0)
    for k in range(5):
        frame = read(first, frame=k).positions
        np.testing.assert_allclose(frame, x + 3.0 * k * np.array([1, -1, 1]), atol=1e-6)
    assert len(first.read_text().splitlines()) == 5 * 14
    inside = read(first.with_name("b.extxyz")).positions
    assert (inside >= -1e-6).all() and (inside < EDGE + 1e-6).all()


def test_what_frames_hold_is_printed_and_checked():
    from mdsl.report.dump import dump

    text = (
        "use units.lj\nuse integrators\nenergy U = sum(i) |x[i] - origin|^2\nrun { x = sc(density = 1, cells = 3) "
        'velocity_verlet(dt = 1) for 2 write "a.xtc", unwrapped every 1 }'
    )
    assert 'write "a.xtc", unwrapped  every 1' in dump(mdsl.compile(text).compiled, "resolve")
    with pytest.raises(mdsl.Rejected) as caught:
        mdsl.compile(text.replace("unwrapped", "forces"))
    assert caught.value.diagnostics[0].id == "unknown-option"
