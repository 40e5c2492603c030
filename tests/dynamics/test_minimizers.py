"""Minimizers: FIRE on jammed bubbles, against the published algorithm and JAX MD's; `until`."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import quick
from compiled import bound, program, run, running

from mdsl.lowering.run.outcome import Outcome

HEAD = "use units.lj\nuse pair\nuse integrators\nuse minimizers\n"
# Bubbles of two sizes at a fixed volume fraction: section 5.3 of the JAX MD paper.
BUBBLES = """dim 2
species small, large
param D = 0.8
param diameter[species] = { small: D, large: 1.0 }
energy U = sum(i < j) if r < s then (1 - r/s)^2 else 0 where r = |x[i] - x[j]|, s = (diameter[i] + diameter[j])/2
observe F = largest(i) |f[i]|
"""
PHI, D = 0.98, 0.8


def bubbles(n=64, seed=0):
    species = np.arange(n) % 2
    edge = np.sqrt(np.pi * n * (D**2 + 1) / (8 * PHI))
    return np.random.default_rng(seed).uniform(0, edge, (n, 2)), edge, species


def jammed(scheme, n=64, seed=0, record="record U, F", traversal="all pairs"):
    x, edge, species = bubbles(n, seed)
    return run(running(BUBBLES, scheme, record=record, head=HEAD), x, box=edge, species=species, traversal=traversal)


def until(scheme="fire(dt = 0.1)", condition="largest(i) |f[i]| < 1e-10", most=3000, **more):
    """A statement with a condition in the place of `for 100`."""
    x, edge, species = bubbles(**more)
    text = (
        f'{BUBBLES}\nrun {{\n  x = read("bound in Python")\n  {scheme} until {condition}, at most {most} record U, '
        f"F every 100 }}"
    )
    return program(text, HEAD), x, {"box": edge, "species": species}


def fire(force, x, dt, most, dt_max):
    """The algorithm as Bitzek et al. 2006 state it, on velocity Verlet steps; the last x and how many forces it
    took."""
    v, f, count, mixing, downhill, h = np.zeros_like(x), force(x), 1, 0.1, 0, dt
    while np.linalg.norm(f, axis=1).max() >= 1e-10 and count <= most:
        v = v + h / 2 * f
        x = x + h * v
        f, count = force(x), count + 1
        v = v + h / 2 * f
        power = (f * v).sum()
        v = (1 - mixing) * v + mixing * np.linalg.norm(v) * f / np.linalg.norm(f)
        if power > 0:
            downhill += 1
            if downhill > 5:
                h, mixing = min(1.1 * h, dt_max), 0.99 * mixing
        else:
            downhill, h, mixing, v = 0, 0.5 * h, 0.1, 0 * v
    return x, count


def test_fire_jams_bubbles():
    """To a force below 1e-10, where more pairs touch than rigidity needs, by the steps of the paper."""
    p, x, more = until()
    result = run(p, x, **more)
    (outcome,) = result.statements
    assert outcome.converged and outcome.steps < 1500
    assert result.step == outcome.steps == result.counts.force_evaluations - 1
    system = bound(p, x, **more)
    forces = np.asarray(system.forces(result.x))
    assert np.linalg.norm(forces, axis=1).max() < 1e-10
    assert result.records["F"][-1] == pytest.approx(np.linalg.norm(forces, axis=1).max(), rel=1e-2)
    assert result.records["step"][-1] == result.step and result.records["U"][-1] == pytest.approx(
        float(system.energy(result.x)), rel=1e-12
    )
    d = result.x[:, None] - result.x
    d -= more["box"] * np.round(d / more["box"])
    sizes = np.where(more["species"], 1.0, D)
    touching = (np.linalg.norm(d, axis=-1) < (sizes[:, None] + sizes) / 2).sum() - len(x)
    assert touching / len(x) > 4
    force = jax.jit(system.forces)
    _, count = fire(lambda x: np.asarray(force(x)), x, 0.1, 3000, 0.4)
    assert abs(count - result.counts.force_evaluations) <= 0.05 * count  # rounding grows: not step by step the same


@pytest.mark.slow
def test_fire_needs_no_more_forces_than_that_of_jax_md():
    """On three starts together, for single ones scatter: JAX MD adds 1e-6 to the squared force, which slows motion down
    towards the end, where the algorithm as published does not."""
    minimize = pytest.importorskip("jax_md.minimize")
    space = pytest.importorskip("jax_md.space")
    ours, theirs = [], []
    for seed in range(3):
        p, x, more = until(seed=seed)
        result = run(p, x, **more)
        assert result.statements[0].converged
        ours.append(result.counts.force_evaluations)
        _, shift = space.periodic(more["box"])
        force = bound(p, x, **more).forces
        init, apply = minimize.fire_descent(lambda x, force=force, **_: force(x), shift, dt_start=0.1, dt_max=0.4)
        moving = lambda c: (jnp.linalg.norm(c[0].force, axis=1).max() >= 1e-10) & (c[1] < 3000)  # noqa: E731
        step = lambda c, apply=apply: (apply(c[0]), c[1] + 1)  # noqa: E731
        _, count = jax.jit(lambda x, init=init, step=step: jax.lax.while_loop(moving, step, (init(x), 1)))(
            jnp.asarray(x)
        )
        theirs.append(int(count))
    assert max(theirs) < 3000
    assert sum(ours) <= 1.1 * sum(theirs), (ours, theirs)


def test_steepest_descent_lowers_the_energy():
    result = jammed("gradient_descent(h = 0.02)", n=24, record="record U every 10")
    assert (np.diff(result.records["U"]) < 0).all() and result.time == 0


def test_a_condition_that_is_not_reached():
    p, x, more = until(condition="U < 0", most=30, n=24)
    with pytest.warns(UserWarning, match="did not converge"):
        result = run(p, x, **more)
    assert result.statements == (Outcome(30, False),) and result.step == 30
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert run(p, x, steps=7, **more).statements == (Outcome(7, False),)


def test_a_condition_ends_a_statement_and_the_next_goes_on():
    text = """param k = 1.0
energy U = sum(i) k/2*d·d where d = x[i] - origin
box free
observe X = largest(i) |x[i] - origin|
run {
  x = read("bound in Python")
  velocity_verlet(dt = 0.1) until kinetic > 0.4, at most 100  record kinetic every 3
  velocity_verlet(dt = 0.1) for 5  record X every 5 }"""
    result = run(program(text, HEAD), np.array([[1.0, 0, 0]]), box=np.inf)
    first, second = result.statements
    # x = cos(t): K = sin²(t)/2 > 0.4 from t = 1.1071 on, so at step 12.
    assert first == Outcome(12, True) and second == Outcome(5, None)
    assert result.time == pytest.approx(1.7) and result.step == 17
    assert list(result.records["step"]) == [0, 3, 6, 9, 12, 17]


def test_a_condition_inside_transformations():
    """The same steps, then none; the outcome is differentiable by parameters."""
    p, x, more = until(most=150, condition="largest(i) |f[i]| < 1e-4", n=8)
    system = bound(p, x, **more)
    plain = system.run(jax.random.key(0))

    def outcome(params):
        result = system.run(jax.random.key(0), params=params)
        return result.records["U"][-1], (result.statements[0].steps, result.statements[0].converged)

    gradient = jax.jit(jax.value_and_grad(outcome, has_aux=True), compiler_options=quick.OPTIONS)
    (energy, (steps, converged)), slope = gradient(p.params)
    assert converged and int(steps) == plain.statements[0].steps < 150
    assert float(energy) == pytest.approx(plain.records["U"][-1], rel=1e-9)
    # At a minimum the energy follows a parameter as if the atoms stayed where they are.
    at_rest = jax.grad(lambda q: system.energy(plain.x, params=q))(p.params)
    assert float(slope["D"]) == pytest.approx(float(at_rest["D"]), rel=1e-3)
