"""Lattices, random placements and velocities against what textbooks say of them."""

import numpy as np
import pytest
from scipy import stats
from scipy.spatial import cKDTree

from mdsl.files.lattices import LATTICES, crystal, shares, uniform
from mdsl.files.velocities import maxwell
from mdsl.grammar.diagnostics import Rejected


def shells(structure, count):
    """Distance and number of atoms of the first shells around atom 0, in a periodic box."""
    d = structure.positions - structure.positions[0]
    d -= structure.lengths * np.round(d / structure.lengths)
    r = np.round(np.linalg.norm(d, axis=1)[1:], 9)
    distances, numbers = np.unique(r, return_counts=True)
    return distances[:count], numbers[:count].tolist()


# Coordination shells: distances over the lattice constant, and numbers (Kittel, chapter 1).
SHELLS = {
    "sc": ([1, np.sqrt(2), np.sqrt(3)], [6, 12, 8]),
    "bcc": ([np.sqrt(3) / 2, 1, np.sqrt(2)], [8, 6, 12]),
    "fcc": ([np.sqrt(0.5), 1, np.sqrt(1.5)], [12, 6, 24]),
    "diamond": ([np.sqrt(3) / 4, np.sqrt(0.5), np.sqrt(11) / 4], [4, 12, 12]),
    "square": ([1, np.sqrt(2), 2], [4, 4, 4]),
    "hexagonal": ([1, np.sqrt(3), 2], [6, 6, 6]),
}


@pytest.mark.parametrize("name", LATTICES)
def test_coordination_shells(name):
    a = 1.7
    distances, numbers = shells(crystal(name, a=a, cells=6), 3)
    np.testing.assert_allclose(distances, a * np.array(SHELLS[name][0]), rtol=1e-8)
    assert numbers == SHELLS[name][1]


@pytest.mark.parametrize("name", LATTICES)
def test_density_is_exact_and_all_atoms_are_inside(name):
    cells = (2, 3, 4)[: LATTICES[name].dim]
    structure = crystal(name, density=0.8442, cells=cells)
    assert structure.density == pytest.approx(0.8442, rel=1e-14)
    assert structure.atoms == np.prod(cells) * len(LATTICES[name].basis)
    assert structure.dim == LATTICES[name].dim and all(structure.periodic)
    assert (structure.positions >= 0).all() and (structure.positions < structure.lengths).all()
    assert structure.cell.shape == (structure.dim, structure.dim)


def test_the_lammps_benchmark():
    structure = crystal("fcc", density=0.8442, cells=20)
    assert structure.atoms == 32000
    # bench/in.lj prints: Created orthogonal box = (0 0 0) to (33.591924 33.591924 33.591924)
    np.testing.assert_allclose(structure.lengths, 33.591924, atol=5e-7)


def test_lattice_sum_of_lennard_jones():
    # Kittel, table of lattice sums: sum r^-12 = 12.13188, sum r^-6 = 14.45392 for fcc, in nearest-neighbour distances.
    structure = crystal("fcc", a=np.sqrt(2.0), cells=12)
    d = structure.positions - structure.positions[0]
    d -= structure.lengths * np.round(d / structure.lengths)
    r = np.linalg.norm(d, axis=1)[1:]
    assert (r**-12).sum() == pytest.approx(12.13188, abs=1e-5)
    assert (r**-6).sum() == pytest.approx(14.45392, abs=0.01)  # the sum ends at half the box


def test_species_by_largest_remainder():
    assert shares({"A": 0.8, "B": 0.2}, 864) == {"A": 691, "B": 173}
    assert shares({"A": 1 / 3, "B": 1 / 3, "C": 1 / 3}, 100) == {"A": 34, "B": 33, "C": 33}
    assert shares({"A": 0.3, "B": 0.7}, 10) == {"A": 3, "B": 7}
    assert shares({"A": 0.0, "B": 1.0}, 7) == {"A": 0, "B": 7}
    for total in range(1, 60):
        assert sum(shares({"A": 0.21, "B": 0.33, "C": 0.46}, total).values()) == total


def test_species_are_placed_at_random_and_reproducibly():
    build = lambda seed: crystal(
        "fcc", density=1.2, cells=6, species={"A": 0.8, "B": 0.2}, rng=np.random.default_rng(seed)
    )  # noqa: E731
    first = build(1)
    assert first.species == build(1).species != build(2).species
    assert first.species.count("B") == 173
    assert 0 < first.species[:432].count("B") < 173
    assert crystal("fcc", a=3.615, cells=2, species="Cu").species == ("Cu",) * 32
    assert crystal("fcc", a=3.615, cells=2).species is None


def test_uniform():
    structure = uniform(4000, density=0.5, rng=np.random.default_rng(0), species={"small": 0.5, "large": 0.5})
    assert structure.density == pytest.approx(0.5, rel=1e-12) and structure.species.count("small") == 2000
    scaled = structure.positions / structure.lengths
    assert stats.kstest(scaled.ravel(), "uniform").pvalue > 0.01
    flat = uniform(32, density=1.0, rng=np.random.default_rng(0), dim=2)
    assert flat.positions.shape == (32, 2) and flat.volume == pytest.approx(32)
    boxed = uniform(50, box=(2.0, 5.0), rng=np.random.default_rng(0), dim=2)
    assert boxed.lengths.tolist() == [2.0, 5.0] and boxed.positions[:, 1].max() > 2.0
    assert cKDTree(flat.positions).query(flat.positions, 2)[0][:, 1].min() > 0


@pytest.mark.parametrize(
    ("id", "make", "words"),
    [
        ("bad-lattice", lambda: crystal("fcc", cells=2), "neither"),
        ("bad-lattice", lambda: crystal("fcc", cells=2, a=1.0, density=1.0), "both"),
        ("bad-lattice", lambda: crystal("fcc", cells=2, a=-1.0), "positive"),
        ("bad-lattice", lambda: crystal("fcc", cells=2, density=0.0), "positive"),
        ("bad-lattice", lambda: crystal("fcc", cells=2, density=float("nan")), "positive"),
        ("bad-lattice", lambda: crystal("fcc", cells=0, a=1.0), "whole"),
        ("bad-lattice", lambda: crystal("fcc", cells=2.5, a=1.0), "whole"),
        ("bad-lattice", lambda: crystal("fcc", cells=(2, 2), a=1.0), "3 axes"),
        ("bad-dimension", lambda: crystal("fcc", cells=2, a=1.0, dim=2), "hexagonal"),
        ("bad-dimension", lambda: crystal("square", cells=2, a=1.0, dim=3), "diamond"),
        ("unknown-name", lambda: crystal("fc", cells=2, a=1.0), "fcc"),
        ("bad-fractions", lambda: crystal("sc", cells=2, a=1.0, species={"A": 0.5, "B": 0.4}), "0.9"),
        ("bad-fractions", lambda: crystal("sc", cells=2, a=1.0, species={"A": 1.5, "B": -0.5}), "negative"),
        ("bad-fractions", lambda: crystal("sc", cells=2, a=1.0, species={}), "negative"),
        ("bad-lattice", lambda: uniform(0, density=1.0, rng=np.random.default_rng()), "atoms"),
        ("bad-lattice", lambda: uniform(5, rng=np.random.default_rng()), "density"),
        ("bad-lattice", lambda: uniform(5, density=1.0, box=3.0, rng=np.random.default_rng()), "box"),
        ("bad-lattice", lambda: uniform(5, density=-1.0, rng=np.random.default_rng()), "positive"),
        ("bad-temperature", lambda: maxwell(np.ones(3), -1.0, np.random.default_rng()), "-1"),
        ("bad-temperature", lambda: maxwell(np.ones(3), float("nan"), np.random.default_rng()), "nan"),
    ],
)
def test_rejected(id, make, words):
    with pytest.raises(Rejected) as caught:
        make()
    assert [d.id for d in caught.value.diagnostics] == [id]
    assert words in str(caught.value)


@pytest.mark.parametrize("dim", [2, 3])
def test_maxwell_temperature_and_momentum_are_exact(dim):
    rng = np.random.default_rng(3)
    m = rng.uniform(1, 40, 500)
    v = maxwell(m, 2.5, rng, dim)
    assert v.shape == (500, dim)
    assert (m @ v**2).sum() / (dim * 500 - dim) == pytest.approx(2.5, rel=1e-13)
    np.testing.assert_allclose(m @ v, 0, atol=1e-10)


def test_maxwell_distribution():
    m = np.repeat([1.0, 16.0], 100_000)
    v = maxwell(m, 1.44, np.random.default_rng(5))
    for mass in (1.0, 16.0):
        some = v[m == mass].ravel() / np.sqrt(1.44 / mass)
        assert some.std() == pytest.approx(1, abs=0.005)
        assert stats.kurtosis(some) == pytest.approx(0, abs=0.03)  # of 300 000 normal numbers: ± 0.009
        assert stats.kstest(some, "norm").pvalue > 0.01
    assert abs(np.corrcoef(v.T) - np.eye(3)).max() < 0.01


def test_maxwell_edges():
    assert not maxwell(np.ones(4), 0.0, np.random.default_rng(0)).any()
    alone = np.array([maxwell(np.array([2.0]), 3.0, np.random.default_rng(k))[0] for k in range(4000)])
    assert (2.0 * alone**2).mean() == pytest.approx(3.0, rel=0.05)
    two = maxwell(np.array([1.0, 3.0]), 1.0, np.random.default_rng(0))
    np.testing.assert_allclose(two[0], -3 * two[1], rtol=1e-12)
    assert maxwell(np.empty(0), 1.0, np.random.default_rng(0)).shape == (0, 3)
