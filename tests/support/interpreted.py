"""Programs and random systems for the tests that interpret."""

import numpy as np

from mdsl.grammar.source import Source
from mdsl.interpret.meaning import System
from mdsl.resolve.program import resolve

LJ_HEAD = "use units.lj\nuse pair\n"


def program(text, head=LJ_HEAD):
    model, report = resolve(Source("test", head + text), None)
    assert not report, [d.message for d in report]
    return model


def jumbled(n, d=3, edge=4.0, seed=0, **more):
    """Atoms on a square lattice, moved about and thrown over the edges of the box."""
    rng = np.random.default_rng(seed)
    side = int(np.ceil(n ** (1 / d)))
    cells = np.stack(np.meshgrid(*[np.arange(side)] * d), -1).reshape(-1, d)[rng.permutation(side**d)[:n]]
    x = (cells + rng.uniform(0.2, 0.8, (n, d))) * edge / side + edge * rng.integers(-1, 2, (n, d))
    return System(x, np.full(d, edge) * np.linspace(1.0, 1.1, d), v=rng.normal(size=(n, d)), **more)


def moved(system, **changes):
    changes = {"lengths": None, **changes} if "cell" in changes else changes
    return System(**{**{f: getattr(system, f) for f in system.__dataclass_fields__}, **changes})


def skewed(system, *tilts):
    """The same fractions of a box whose vectors have these entries before the diagonal: (bx,) or (bx, cx, cy)."""
    cell = system.cell.copy()
    cell[np.tril_indices(len(cell), -1)] = tilts
    return moved(system, cell=cell, x=system.x @ np.linalg.inv(system.cell) @ cell)
