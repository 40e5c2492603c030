"""Symmetry functions of the library against the published formulas (Behler 2011), written out as loops over atoms."""

import itertools

import numpy as np
from interpreted import jumbled, program

from mdsl.interpret import meaning as interpret

# RC is less than a third of the box: then the nearest images of three atoms form one triangle.
ETA, ZETA, SIDE, RC = 0.2, (1.0, 4.0), (-1.0, 1.0), 1.3
PROGRAM = f"""use descriptors (g2, g4, g5)
const zeta[k in 1..2] = 1 + 3*(k - 1)
const side[k in 1..2] = 2*k - 3
quantity Q2[i, k in 1..3] = sum(j != i) g2({ETA}, 0.5*k, {RC})(|x[i] - x[j]|)
quantity Q4[i, k] = sum(i; j < l) g4({ETA}, zeta[k], side[k], {RC})(|a|, |b|, |a - b|, a·b/(|a|*|b|)) where a = x[j] - x[i], b = x[l] - x[i]
quantity Q5[i, k] = sum(i; j < l) g5({ETA}, zeta[k], side[k], {RC})(|a|, |b|, a·b/(|a|*|b|)) where a = x[j] - x[i], b = x[l] - x[i]
energy U = sum(i) Q2[i, 1] + sum(i) Q4[i, 1] + sum(i) Q5[i, 1]
"""


def window(r):
    return 0.5 * (np.cos(np.pi * r / RC) + 1) if r <= RC else 0.0


def published(system):
    """G2 [N, 3], G4 and G5 [N, 2], by nearest images."""
    atoms, edges = len(system.x), np.diag(system.cell)

    def between(i, j):
        d = system.x[j] - system.x[i]
        return d - edges * np.round(d / edges)

    two, four, five = np.zeros((atoms, 3)), np.zeros((atoms, 2)), np.zeros((atoms, 2))
    for i in range(atoms):
        others = [j for j in range(atoms) if j != i and np.linalg.norm(between(i, j)) < RC]
        for j, n in itertools.product(others, range(3)):
            r = np.linalg.norm(between(i, j))
            two[i, n] += np.exp(-ETA * (r - 0.5 * (n + 1)) ** 2) * window(r)
        for (j, k), n in itertools.product(itertools.combinations(others, 2), range(2)):
            rij, rik, rjk = (np.linalg.norm(between(*pair)) for pair in ((i, j), (i, k), (j, k)))
            cosine = between(i, j) @ between(i, k) / (rij * rik)
            angular = 2 ** (1 - ZETA[n]) * (1 + SIDE[n] * cosine) ** ZETA[n]
            five[i, n] += angular * np.exp(-ETA * (rij**2 + rik**2)) * window(rij) * window(rik)
            four[i, n] += angular * np.exp(-ETA * (rij**2 + rik**2 + rjk**2)) * window(rij) * window(rik) * window(rjk)
    return {"Q2": two, "Q4": four, "Q5": five}


def test_symmetry_functions_are_those_of_the_paper():
    model, system = program(PROGRAM), jumbled(48, edge=4.0, seed=2)
    for name, expected in published(system).items():
        assert (expected > 0).mean() > 0.9 and expected.max() > 0.01
        np.testing.assert_allclose(interpret.quantity(model, name, system), expected, rtol=1e-10, atol=1e-15)
