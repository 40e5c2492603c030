"""Places where a plausible compiler would give a wrong number: each of these once did."""

import jax
import numpy as np
import pytest

import mdsl

HEAD = "use units.lj\nuse pair\nuse integrators\n"
LJ = "energy U = sum(i < j) shifted(lennard_jones(1, 1), 2.5)(|x[i] - x[j]|)\n"
GAS = np.random.default_rng(0).uniform(0, 20, (512, 3))


def distances(x, box):
    i, j = np.triu_indices(len(x), 1)
    d = x[i] - x[j]
    return np.linalg.norm(d - box * np.round(d / box), axis=1)


def test_pair_observables_reach_farther_than_the_list_of_the_energies():
    system = mdsl.compile(
        HEAD + LJ + "observe n = sum(i < j) (if |x[i] - x[j]| < 3.2 then 1 else 0)\n"
        "observe near = sum(i < j) (if |x[i] - x[j]| < 2 then 1 else 0)\n"
        "observe q = sum(i < j) 1/|x[i] - x[j]|\n"
        "run { x = fcc(density = 0.8, cells = 5)  velocity_verlet(dt = 0.001) for 1 record n, near, q }"
    ).bind()
    result = system.run(jax.random.key(0))
    r = distances(result.x, system.box)
    assert result.records["n"][0] == (r < 3.2).sum()
    assert result.records["near"][0] == (r < 2).sum()
    assert result.records["q"][0] == pytest.approx((1 / r).sum(), rel=1e-12)


@pytest.mark.parametrize(
    ("text", "near"),
    [
        ("energy U = sum(i < j) if -r < -2.0 then 1/r else 0 where r = |x[i] - x[j]|", False),
        ("param k = -1.0\nenergy U = sum(i < j) if k*r < -2.0 then 1/r else 0 where r = |x[i] - x[j]|", False),
        ("param s = 2.0\nenergy U = sum(i < j) if r/s < 1 then 1/r else 0 where r = |x[i] - x[j]|", True),
    ],
)
def test_a_cutoff_is_proved_with_regard_to_signs(text, near):
    r = distances(GAS, 20.0)
    expected = (1 / r[(r < 2) == near]).sum()
    assert mdsl.compile(HEAD + text).bind(GAS, box=20.0).energy() == pytest.approx(expected, rel=1e-10)


def test_a_box_given_to_bind_is_the_box():
    system = mdsl.compile(HEAD + "box periodic(20)\n" + LJ).bind(GAS / 2, box=10.0)
    assert (system.box == 10.0).all()


def test_a_box_declared_and_another_built():
    program = mdsl.compile(HEAD + "box periodic(20)\n" + LJ + "run { x = fcc(density = 0.8, cells = 3) }")
    with pytest.raises(mdsl.Rejected) as caught:
        program.bind()
    assert caught.value.diagnostics[0].id == "bad-box"


def test_small_boxes_are_refused_without_a_list_too():
    text = "param rc = 2.5\nenergy U = sum(i < j) truncated(lennard_jones(1, 1), rc)(|x[i] - x[j]|)"
    system = mdsl.compile(HEAD + text).bind(np.array([[0.0, 0, 0], [1.2, 0, 0]]), box=10.0)
    for change in ({"box": 3.5}, {"params": {"rc": 8.0}}):
        with pytest.raises(mdsl.Rejected) as caught:
            system.energy(**change)
        assert caught.value.diagnostics[0].id == "box-too-small"
    assert np.isnan(jax.jit(lambda edge: system.energy(box=edge))(3.5))


def test_what_bind_has_fixed_cannot_change_in_a_run():
    text = "param rho = 6e-4\n" + LJ + "run { x ~ uniform(atoms = 5, density = rho)  velocity_verlet(dt = 1e-4) for 1 }"
    system = mdsl.compile(HEAD + text).bind()
    system.run(jax.random.key(0), params={"rho": 6e-4})
    with pytest.raises(mdsl.Rejected) as caught:
        system.run(jax.random.key(0), params={"rho": 8e-4})
    assert caught.value.diagnostics[0].id == "nonconstant"


def test_energies_of_positions_that_are_no_numbers_are_none():
    x = np.array([[0.0, 0, 0], [1.2, 0, 0], [np.nan, 0, 0]])
    for more in ("", "\nbox free"):
        system = mdsl.compile(HEAD + LJ + more).bind(np.nan_to_num(x, nan=2.5), **({} if more else {"box": 10.0}))
        assert np.isnan(system.energy(x)) and np.isnan(jax.jit(system.energy)(x)) and np.isfinite(system.energy())


@pytest.mark.parametrize("wrong", [{"key": 0}, {"steps": -1}, {"steps": 2.5}])
def test_runs_want_a_key_and_whole_steps(wrong):
    system = mdsl.compile(
        HEAD + LJ + "run { x ~ uniform(atoms = 5, density = 6e-4)  velocity_verlet(dt = 1e-4) for 1 }"
    ).bind()
    with pytest.raises(mdsl.Rejected, match="wrong-type|bad-number"):
        system.run(**{"key": jax.random.key(0), **wrong})


def test_a_scheme_that_kicks_and_never_moves():
    text = (
        "integrator kick(dt) { v += dt*f/m }\n"
        + LJ.replace("2.5", "1.5")
        + "run { x = fcc(density = 0.9, cells = 3)  kick(dt = 0.1) for 5 }"
    )
    program = mdsl.compile(HEAD + text)
    lattice = program.bind()
    system = program.bind(lattice.x + 0.05 * np.random.default_rng(1).normal(size=lattice.x.shape), box=lattice.box)
    assert np.allclose(system.run(jax.random.key(0)).v, 0.5 * np.asarray(system.forces()), atol=1e-12)


def test_draws_of_one_step_are_independent():
    text = "flow two(h) { aA ~ normal  BB ~ normal  v = aA - BB }\nintegrator both(dt) { two(dt) }\n"
    system = mdsl.compile(HEAD + text + LJ + "run { x = fcc(density = 0.8, cells = 3)  both(dt = 0.1) for 1 }").bind()
    assert np.var(system.run(jax.random.key(0)).v) == pytest.approx(2.0, rel=0.3)


@pytest.mark.parametrize("cells", [3, pytest.param(5, marks=pytest.mark.slow)])
def test_a_traced_run_is_the_run(cells):
    """Also where a statement leaves a force older than its positions to the next."""
    text = (
        LJ.replace("2.5", "2.0")
        + f"run {{ x = fcc(density = 0.8, cells = {cells})  v ~ maxwell(1)\n"
        + ("brownian(dt = 1e-4, T = 1, gamma = 1) for 3  velocity_verlet(dt = 0.005) for 4 record U every 2 }")
    )
    system = mdsl.compile(HEAD + text).bind()

    def outcome(key):
        result = system.run(key)
        return result.records["U"], result.x, result.v

    for one, other in zip(outcome(jax.random.key(3)), jax.jit(outcome)(jax.random.key(3))):
        assert np.allclose(one, other, atol=1e-10)


def test_a_traced_run_that_loses_an_atom_is_not_a_number():
    text = LJ + "run { x = fcc(density = 0.8, cells = 4)  velocity_verlet(dt = 0.01) for 3 record U every 1 }"
    program = mdsl.compile(HEAD + text)
    lattice = program.bind()
    v = np.zeros_like(lattice.x)
    v[0, 0] = 0.37 * lattice.box[0] / 0.01
    system = program.bind(lattice.x, box=lattice.box, velocities=v)
    assert np.isnan(jax.jit(lambda key: system.run(key).records["U"])(jax.random.key(0))[-1])
