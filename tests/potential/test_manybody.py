"""Quantities, sums around atoms and three-body sums: what they mean, what is refused, what is told of them."""

import jax
import numpy as np
import pytest
from compiled import apart, bound, everything, program, run, running
from interpreted import jumbled

import mdsl
from mdsl.lowering.planning.policy import Policy
from mdsl.lowering.traversals import schedules
from mdsl.report.dump import dump

BELL = "def bell(a)(r) = if r < a then (1 - r/a)^3 else 0\n"
DENSITY = BELL + "param c = 1.2\nquantity rho[i] = sum(j != i) bell(1.9)(|x[i] - x[j]|)\n"
EMBEDDED = DENSITY + "energy E = -c*sum(i) sqrt(rho[i] + 0.1)\nenergy U = sum(i < j) wca(0.9, 1.0)(|x[i] - x[j]|)\n"
LEG = "def leg(a)(r) = if r < a then exp(1/(r - a)) else 0\n"
THREE = (
    LEG
    + "energy three = sum(i; j < k) 2*leg(1.8)(|d|)*leg(1.8)(|b|)*(d·b/(|d|*|b|) + 1/3)^2 where d = x[j] - x[i], b = "
    "x[k] - x[i]\n"
)


def atoms(n=40, edge=4.2, seed=3):
    return jumbled(n, edge=edge, seed=seed).x, np.full(3, edge) * np.linspace(1.0, 1.1, 3)


def test_the_force_is_the_slope_of_the_energy_with_a_list_too():
    x, box = atoms()
    plain, listed = (bound(program(EMBEDDED + THREE), x, how, box=box) for how in ("all pairs", "list"))
    energy, forces, virial = everything(plain)
    for a, b in zip(everything(listed), (energy, forces, virial)):
        assert np.allclose(a, b, rtol=1e-11, atol=1e-11)
    h, step = 1e-5, np.random.default_rng(0).normal(size=x.shape)
    slope = (plain.energy(x + h * step) - plain.energy(x - h * step)) / (2 * h)
    assert abs(slope + np.sum(forces * step)) < 1e-7 * max(1, abs(slope))
    strain = np.eye(3) + h * np.diag([1.0, 0.5, -0.3])
    back = 2 * np.eye(3) - strain
    change = (plain.energy(x @ strain, box=box * np.diag(strain)) - plain.energy(x @ back, box=box * np.diag(back))) / (
        2 * h
    )
    assert abs(change + np.sum(virial * np.diag([1.0, 0.5, -0.3]))) < 1e-6 * max(1, abs(change))


def test_an_atom_is_not_its_own_neighbour():
    """Two atoms at a distance r: each has the density bell(r), nothing of bell(0)."""
    system = program(DENSITY + "energy E = sum(i) rho[i]").bind(np.array([[0.0, 0, 0], [1.0, 0, 0]]), box=20.0)
    assert system.energy() == pytest.approx(2 * (1 - 1 / 1.9) ** 3, rel=1e-12)


def test_energy_is_conserved_through_lists():
    text = running(
        EMBEDDED + THREE + "observe H = potential + kinetic\n", "velocity_verlet(dt = 0.0005)", 200, "record H every 20"
    )
    box = np.full(3, 4.8)
    x = np.stack(np.meshgrid(*[np.arange(4) * 1.2] * 3), -1).reshape(-1, 3) + np.random.default_rng(2).uniform(
        0, 0.1, (64, 3)
    )
    v = np.random.default_rng(1).normal(size=x.shape) * 0.3
    results = [run(text, x, box=box, velocities=v, traversal=how) for how in ("all pairs", "list")]
    for result in results:
        assert np.abs(result.records["H"] - result.records["H"][0]).max() < 1e-4 * np.abs(result.records["H"][0])
    assert apart(results[0].x, results[1].x, box) < 1e-9


@pytest.mark.slow
def test_derivatives_go_through_runs():
    text = running(EMBEDDED + THREE, "velocity_verlet(dt = 0.002)", 5, "record E")
    x, box = atoms(20, 4.0)

    def outcome(c):
        return program_bound.run(jax.random.key(0), params={"c": c}).records["E"][-1]

    program_bound = text.bind(x % box, box=box)
    found, h = jax.grad(outcome)(1.2), 1e-4
    assert found == pytest.approx((outcome(1.2 + h) - outcome(1.2 - h)) / (2 * h), rel=1e-6)


def test_second_derivatives():
    x, box = atoms(12, 4.0)
    system = program(EMBEDDED + THREE).bind(x, box=box)
    direction = np.random.default_rng(5).normal(size=x.shape)
    along = jax.jvp(system.forces, (x,), (direction,))[1]
    against = jax.vjp(system.forces, x)[1](direction)[0]
    h = 1e-5
    differences = (system.forces(x + h * direction) - system.forces(x - h * direction)) / (2 * h)
    assert np.allclose(along, differences, atol=1e-6 * np.abs(differences).max())
    assert np.allclose(along, against, atol=1e-10 * np.abs(along).max())  # the Hessian is symmetric


def test_single_precision_is_near_double():
    x, box = atoms()
    exact = everything(program(EMBEDDED + THREE).bind(x, box=box))
    rough = everything(program(EMBEDDED + THREE).bind(x, box=box, precision="single"))
    assert rough[0] == pytest.approx(exact[0], rel=1e-5)
    assert np.abs(rough[1] - exact[1]).max() < 1e-4 * np.abs(exact[1]).max()


def test_equal_sums_are_computed_once():
    text = (
        "energy U = sum(i < j) (sum(k != i) bell(1.5)(|x[i] - x[k]|))*(sum(l != j) bell(1.5)(|x[j] - "
        "x[l]|))*bell(1.5)(|x[i] - x[j]|)"
    )
    assert len(program(BELL + text).compiled.field.values) == 1


@pytest.mark.parametrize(
    "text, id",
    [
        ("energy U = sum(i; j < k) |x[i] - x[j]|*bell(1.5)(|x[i] - x[k]|)", "asymmetric-pair"),
        ("quantity q = sum(i) 1", "misplaced"),
        ("quantity q[i, j] = |x[i] - x[j]|\nenergy U = sum(i < j) q[i, j]", "not-yet"),
        ("quantity q[k in 1..3] = k\nenergy U = sum(i < j) bell(1.5)(|x[i] - x[j]|)", "misplaced"),
        ("quantity q[i] = sum(j != k) 1\nenergy U = sum(i) q[i]", "wrong-index"),
        ("energy U = sum(i) q\nquantity q[i] = sum(j != i) bell(1.5)(|x[i] - x[j]|)", "wrong-index"),
        ("quantity q[i] = q[i] + 1\nenergy U = sum(i) q[i]", "cyclic-definition"),
        ("quantity q[i] = x[i]\nenergy U = sum(i) 1", "wrong-type"),
        ("quantity q[i] = sum(j != i) (x[i] - x[j])\nenergy U = sum(i) |q[i]|", "not-yet"),
        ("energy U = sum(i < j) sum(k != i) bell(1.5)(|x[j] - x[k]|)*bell(1.5)(|x[i] - x[k]|)", "not-yet"),
        ("energy U = sum(i) q[i]\nquantity q[i] = sum(j != i) q[j]", "cyclic-definition"),
        ("energy U = |sum(i) (x[i] - origin)|", "not-yet"),
        ("quantity q[i] = v[i]·v[i]\nenergy U = sum(i) q[i]", "misplaced"),
    ],
)
def test_what_is_wrong_is_said(text, id):
    with pytest.raises(mdsl.Rejected) as found:
        program(BELL + text)
    assert id in {d.id for d in found.value.diagnostics}, str(found.value)


def test_the_field_shows_values_and_their_derivatives():
    text = dump(program(EMBEDDED).compiled, "field")
    assert "value rho[i] of rho: sum over j != i" in text and "the derivative through rho: sum over i < j" in text
    explained = program(EMBEDDED + THREE).explain()
    assert "quantity rho, line" in explained and "many-body energy" in explained and "three-body energy" in explained


CROWD = """
def near(r) = if r < 1.8 then (1.8 - r)^3 else 0
species A, B
param s[species, species] = { A-A: 1.0, B-B: 1.3, A-B: 0.8 }
quantity c[i] = sum(i; j < k) near(|x[i] - x[j]|)*near(|x[i] - x[k]|)*(angle(x[j], x[i], x[k]) - 1)^2
energy apart = sum(i; j < k) s[i,j]*s[i,k]*near(|x[i] - x[j]|)*near(|x[i] - x[k]|)*(1 + 0.1*|x[j] - x[k]|^2)*c[j]*c[k]
observe P = pressure
"""


@pytest.mark.slow
def test_blocks_of_atoms_add_up(monkeypatch):
    """Runs take atoms with about as many legs together, and compute what depends on one leg once; functions do not."""
    monkeypatch.setattr("mdsl.lowering.neighbours.legs.BLOCK", 7)
    x, box = atoms(33, 4.0)
    x, dt = x % box, 0.001
    text = running(THREE + CROWD, f"velocity_verlet(dt = {dt})", 1, "record three, apart, P every 1")
    result = run(text, x, box=box, species=np.arange(33) % 2, traversal="list")
    energy, forces, virial = everything(text.bind(x, box=box, species=np.arange(33) % 2))
    first = {name: float(values[0]) for name, values in result.records.items()}
    assert first["three"] + first["apart"] == pytest.approx(float(energy), rel=1e-10)
    assert first["P"] == pytest.approx(np.trace(virial) / 3 / np.prod(box), rel=1e-10)
    moved = np.asarray(result.x) - x
    moved -= box * np.round(moved / box)
    assert np.allclose(moved, dt**2 / 2 * forces, rtol=1e-7, atol=1e-7 * np.abs(moved).max())


@pytest.mark.slow
def test_room_for_neighbours_grows():
    """Sums over triples make room for what the first positions need; where that is not enough, nothing is lost."""
    x, box = atoms(20, 4.0)
    text = running(THREE, "velocity_verlet(dt = 0.001)", 5, "record three")
    enough = text.bind(x % box, box=box)
    little = text.bind(x % box, box=box, policy=Policy(legs=0.0, closer=0.0))
    expected, found = enough.run(jax.random.key(0)), little.run(jax.random.key(0))
    assert found.counts.regrown >= 1 and expected.counts.regrown == 0
    assert np.array_equal(found.x, expected.x) and np.array_equal(found.records["three"], expected.records["three"])
    assert np.isnan(jax.jit(little.energy)(little.x)) and little.traversal.legs == 2
    assert np.isnan(jax.jvp(jax.grad(little.energy), (little.x,), (np.ones_like(little.x),))[1]).all()
    far = text.bind(np.arange(20.0)[:, None] * (3.0, 0.0, 0.0), box=60.0)  # no atom has a neighbour
    assert far.traversal.legs == 2 and np.isnan(jax.jit(lambda x: far.energy(x, box=box))(enough.x))
    assert float(far.energy(enough.x, box=box)) == pytest.approx(float(enough.energy()), rel=1e-12)


def test_an_atom_alone_leaves_the_others_their_forces():
    """The derivative of sqrt(rho) where rho is 0 is infinite, but no neighbour means no change."""
    text = (
        BELL
        + "param c = 1.2\nquantity rho[i] = sum(j != i) c*bell(1.9)(|x[i] - x[j]|)\nenergy E = -sum(i) sqrt(rho[i])"
    )
    x = np.array([[1, 1, 1], [2.1, 1, 1], [6, 6, 6.0]])
    system, pair = (program(text).bind(some, box=12.0) for some in (x, x[:2]))
    assert np.allclose(system.forces(x)[:2], pair.forces(x[:2]), rtol=1e-12) and np.all(
        np.asarray(system.forces(x)[2]) == 0
    )
    assert np.isfinite(system.virial(x)).all()
    slope = [jax.grad(lambda p, s=s: s.energy(params=p))(s.program.params)["c"] for s in (system, pair)]
    assert float(slope[0]) == pytest.approx(float(slope[1]), rel=1e-12)


@pytest.mark.parametrize("precision", ["single", "mixed", "double"])
def test_what_ends_as_an_exponential_of_a_pole_is_finite_at_its_end(precision):
    text = "energy a = sum(i < j) (if r < 1.8 then exp(1/(r - 1.8)) else 0) where r = |x[i] - x[j]|"
    rng = np.random.default_rng(4)
    d = rng.normal(size=(2000, 3))
    d *= (1.8 + 3e-7 * rng.normal(size=(2000, 1))) / np.linalg.norm(d, axis=1)[:, None]
    system = program(text).bind(np.stack([np.zeros(3), d[0]]), box=10.0, precision=precision)
    energies, forces = jax.vmap(
        lambda e: (system.energy(jax.numpy.stack([0 * e, e])), system.forces(jax.numpy.stack([0 * e, e])))
    )(d.astype("float32"))
    assert np.all(np.abs(energies) < 1e-30) and np.all(np.abs(forces) < 1e-30)


def test_mixed_precision_of_three_bodies():
    x, box = atoms(30, 4.0)
    results = [
        run(running(THREE, "velocity_verlet(dt = 0.001)", 3, "record three"), x % box, box=box, precision=p)
        for p in ("mixed", "double")
    ]
    assert np.allclose(results[0].records["three"], results[1].records["three"], rtol=1e-5)


def test_the_schedule_of_gpus_gives_the_same(monkeypatch):
    """There all slots are gathered at once. With a quantity, one with channels, a pair energy, and reverse mode."""
    text = running(
        EMBEDDED
        + "const a[k in 1..3] = 1 + 0.3*k\nquantity G[i, k] = sum(j != i) bell(a[k])(|x[i] - x[j]|)\nenergy W = sum(i) "
        "G[i, 2]*G[i, 3]",
        "velocity_verlet(dt = 0.002)",
        5,
        "record potential",
    )
    x, box = atoms(20, 4.0)
    found = {}
    for machine, schedule in (("cpu", schedules.slot_sum), ("gpu", schedules.row_sum)):
        monkeypatch.setitem(schedules.LISTED, "cpu", schedule)
        system = bound(text, x % box, "list", box=box)
        slope = jax.jit(jax.grad(lambda c, system=system: (system.forces(params={"c": c}) ** 2).sum()))(1.2)
        found[machine] = (slope, run(text, x % box, traversal="list", box=box).x)
    for one, other in zip(*found.values(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-10, atol=1e-10)
