"""Derivatives of higher order against physics: elastic constants, phonons, minima, and symmetry of the Hessian."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compiled import PROGRAMS, REFERENCE, pairs_by, program, running

import mdsl

BAR = 1e-4  # GPa


def test_elastic_constants_of_silicon():
    """Stillinger-Weber: C11 151.4, C12 76.4, C44 56.4 GPa, the last with relaxation within the cell: derivatives of
    the stress by strain, in forward mode."""
    text = (PROGRAMS / "silicon.mdsl").read_text().replace("cells = 8", "cells = 2").replace("record two, three, temperature  every 50", "")
    a = 2 * 5.43095
    x = np.asarray(mdsl.compile(text).bind().x) * 5.43095 / 5.431
    with pairs_by("list"):
        system = mdsl.compile(text).bind(x, box=a)

    def stress(strains):
        stretch, shear = strains
        strain = jnp.array([[1 + stretch, 0, 0], [0, 1, 0], [0, shear, 1]])
        box = a * strain
        return system.stress(system.relaxed(x @ strain, box=box), box=box) * BAR

    found = jax.jit(jax.jacfwd(stress))(jnp.zeros(2))
    np.testing.assert_allclose((found[0, 0, 0], found[1, 1, 0], found[1, 2, 1]), (151.4, 76.4, 56.4), atol=0.15)


def fcc(cells, a):
    corners = np.stack(np.meshgrid(*[np.arange(cells)] * 3, indexing="ij"), -1).reshape(-1, 1, 3)
    return (corners + np.array([[0, 0, 0], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]])).reshape(-1, 3) * a


def test_second_derivatives_by_the_box_of_a_crystal():
    """Lennard-Jones, fcc: the Hessian of the energy by strains against sums over the lattice."""
    a, reach = 1.55, 2.05
    x, edge = fcc(3, a), 3 * a
    compiled = program(f"energy U = sum(i < j) truncated(lennard_jones(1.0, 1.0), {reach})(|x[i] - x[j]|)")
    with pairs_by("list"):
        system = compiled.bind(x, box=edge)

    def energy(strains):
        along_x, along_y, shear = strains
        strain = jnp.array([[1 + along_x, 0, 0], [0, 1 + along_y, 0], [0, shear, 1]])
        return system.energy(x @ strain, box=edge * strain) / len(x)

    found = jax.jit(jax.hessian(energy))(jnp.zeros(3))
    d = fcc(7, a) - 3 * a
    r = np.linalg.norm(d, axis=1)
    d, r = d[(r > 0) & (r < reach)], r[(r > 0) & (r < reach)]
    first, second = 4 * (-12 * r**-13 + 6 * r**-7), 4 * (156 * r**-14 - 42 * r**-8)
    # Of r' = |strain d|: its derivatives by two strains that move d along u and w, and the product of both.
    moves = [d * (1, 0, 0), d * (0, 1, 0), d[:, [2]] * (0, 1, 0)]
    slopes = [np.sum(m * d, axis=1) / r for m in moves]
    for p in range(3):
        for q in range(3):
            bend = np.sum(moves[p] * moves[q], axis=1) / r - slopes[p] * slopes[q] / r
            expected = np.sum(second * slopes[p] * slopes[q] + first * bend) / 2
            np.testing.assert_allclose(found[p, q], expected, rtol=1e-9, atol=1e-9)


@pytest.mark.skipif(not REFERENCE.exists(), reason="reference data are not beside the repository")
def test_elastic_constants_of_jammed_packings():
    """Those of jax-md's data: second derivatives of the energy by strain, the packing relaxed: implicit derivatives."""
    packings = np.load(REFERENCE / "jaxmd" / "2d_polyuniform_N64_Lp-1.0.npz")
    k = 3
    fractions, box = packings["pos"][k].reshape(64, 2), packings["box"][k].reshape(2, 2)
    compiled = program("dim 2\ndata R[atoms]\nenergy U = sum(i < j) soft_sphere(R[i] + R[j], 1.0, 2)(|x[i] - x[j]|)")
    box = np.linalg.cholesky(box @ box.T)
    system = compiled.bind(fractions @ box, box=box, data={"R": packings["rad"][k]})

    def energy(strains):
        a, b, c = strains
        strained = box @ (jnp.eye(2) + jnp.array([[a, c / 2], [c / 2, b]]))
        cell = jnp.linalg.cholesky(strained @ strained.T)
        return system.energy(system.relaxed(fractions @ cell, box=cell), box=cell) / np.linalg.det(box)

    value, found = jax.jit(lambda e: (energy(e), jax.hessian(energy)(e)))(jnp.zeros(3))
    np.testing.assert_allclose(value * np.linalg.det(box), packings["Energy"][k], rtol=1e-10)
    xxxx, yyyy, xyxy, xxyy, xxxy, yyxy = packings["Cijkl"][k]
    np.testing.assert_allclose(found, [[xxxx, xxyy, xxxy], [xxyy, yyyy, yyxy], [xxxy, yyxy, xyxy]], rtol=1e-6, atol=1e-7)


def test_phonons_of_a_chain():
    """m ω² = sum over neighbours n of 2 c(n a) (1 - cos(n k a)), with c = u'' along the chain and u'/r across it:
    exact, from the Hessian."""
    n, a, reach, m = 12, 1.1, 2.5, 2.0
    compiled = program(f"dim 2\nenergy U = sum(i < j) truncated(lennard_jones(1.0, 1.0), {reach})(|x[i] - x[j]|)")
    x = np.arange(n)[:, None] * (a, 0.0)
    with pairs_by("list"):
        system = compiled.bind(x, box=[n * a, np.inf])
    hessian = jax.jit(jax.hessian(system.energy))(jnp.asarray(x)).reshape(2 * n, 2 * n)
    np.testing.assert_allclose(hessian, hessian.T, rtol=0, atol=1e-13 * np.abs(hessian).max())
    along, across = lambda r: 4 * (156 * r**-14 - 42 * r**-8), lambda r: 4 * (-12 * r**-14 + 6 * r**-8)
    k = 2 * np.pi * np.arange(n) / (n * a)
    expected = [sum(2 * c(j * a) * (1 - np.cos(j * k * a)) for j in (1, 2)) / m for c in (along, across)]
    np.testing.assert_allclose(np.linalg.eigvalsh(hessian / m), np.sort(np.ravel(expected)), rtol=1e-10, atol=1e-10)


MIXTURE = """species A, B
param eps[s, t] = { (A, A): 1.0, (A, B): 1.3, (B, B): 0.6 }
energy U = sum(i < j) force_shifted(lennard_jones(1.0, eps[i, j]), 1.7)(|x[i] - x[j]|)"""
