"""Derivatives through runs: by where they start, the box, and what schemes are given, in reverse and forward mode."""

import jax
import numpy as np
import pytest
from compiled import pairs_by, program, running

LIQUID = """dim 2
param sigma = 1.0
energy U = sum(i < j) switched(lennard_jones(sigma, 1.0), 1.3, 1.9)(|x[i] - x[j]|)"""
EDGE = 6.0


def disordered(seed=0, cells=4, edge=EDGE):
    """Atoms near the places of a square lattice, with velocities; x, v [N, 2]."""
    rng = np.random.default_rng(seed)
    places = np.stack(np.meshgrid(*[np.arange(cells)] * 2, indexing="ij"), -1).reshape(-1, 2) + 0.5
    return places / cells * edge + rng.uniform(-0.1, 0.1, places.shape), rng.normal(size=places.shape)


def outcome(result):
    return result.records["U"], result.x, result.v, result.box


def agree(found, expected):
    for a, b in zip(found, expected):
        assert np.allclose(a, b, rtol=1e-11, atol=1e-11)


def test_a_run_starts_from_what_it_is_given():
    """As if that had been bound; and another box, which the compiled run of the first does not serve."""
    compiled = running(LIQUID, "velocity_verlet(dt = 0.01)", 10, "record U every 5")
    (x, v), (y, w) = disordered(0), disordered(1)
    key = jax.random.key(0)
    system = compiled.bind(x, box=EDGE, velocities=v)
    first = outcome(system.run(key))
    for box in (EDGE, 6.3):
        expected = outcome(compiled.bind(y, box=box, velocities=w).run(key))
        given = {"x": y, "v": w} if box == EDGE else {"x": y, "v": w, "box": box}
        agree(outcome(system.run(key, **given)), expected)
        agree(jax.jit(lambda given: outcome(system.run(key, **given)))(given), expected)
    agree(outcome(system.run(key)), first)


def test_a_box_of_the_program_carries_a_given_start_along():
    """Positions are given in the box that was bound; params change the box, and the fractions stay."""
    compiled = running(LIQUID + "\nparam L = 6.0\nbox periodic(L)", "velocity_verlet(dt = 0.01)", 4, "record U every 4")
    (x, v), (y, _) = disordered(0), disordered(1)
    system = compiled.bind(x, velocities=v)
    key, params = jax.random.key(0), {**compiled.params, "L": 6.2}
    expected = outcome(compiled.bind(y, velocities=v).run(key, params=params))
    agree(outcome(system.run(key, x=y, params=params)), expected)
    agree(jax.jit(lambda y, p: outcome(system.run(key, x=y, params=p)))(y, params), expected)
