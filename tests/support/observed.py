"""What a compiled program records at given positions and velocities, beside what the interpreter says of it."""

import numpy as np
from compiled import HEAD, PAIRS_BY, running

from mdsl.interpret import meaning as interpret
from mdsl.model.nodes import Advance


def both(text, system, traversal="all pairs", head=HEAD, names=None, **more):
    """{name: (compiled, interpreted)} of all that a program observes."""
    names = names or [
        line.split()[1].split("[")[0] for line in text.splitlines() if line.startswith(("observe", "energy"))
    ]
    program = running(text, "velocity_verlet(dt = 0.001)", 0, f"record {', '.join(names)} every 1", head)
    assert [a for a in program.model.run if isinstance(a, Advance)]
    return compared(program, system, names, traversal, **more)


def compared(program, system, names, traversal="all pairs", **more):
    import jax

    model, s = program.model, system
    box = None if model.box is not None else np.where(s.periodic, s.lengths, np.inf)
    given = {"species": s.species} if model.species else {}
    bound = program.bind(
        s.x,
        box=box,
        velocities=s.v,
        masses=None if model.param("m") else s.masses,
        topologies=s.topologies or None,
        **{"policy": PAIRS_BY[traversal], **given, **more},
    )
    records = bound.run(jax.random.key(0)).records
    return {name: (records[name][0], interpret.observe(model, name, system)) for name in names}


def agree(text, system, traversal="all pairs", tolerance=1e-12, **more):
    """Assert that all that a program observes is what the interpreter says; returns it."""
    found = both(text, system, traversal, **more)
    for name, (compiled, interpreted) in found.items():
        assert np.shape(compiled) == np.shape(interpreted), name
        scale = max(np.abs(interpreted).max(), 1e-3)
        assert np.isfinite(interpreted).all() and np.abs(compiled - interpreted).max() < tolerance * scale, (
            name,
            compiled,
            interpreted,
        )
    return {name: value for name, (value, _) in found.items()}
