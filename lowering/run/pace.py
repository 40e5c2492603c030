"""How many steps are taken together before the host looks in.

Where a chunk of steps ends decides its last bits: the head of the first step of a chunk is compiled apart from those
that follow in the loop, and what goes wrong is repeated from the beginning of the chunk. So chunks end at steps that
follow from the program and its atoms alone. A clock would have two runs of the same seed differ.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from mdsl.lowering.field.costs import DOUBLE, GEOMETRY, OPERATION, VISIT
from mdsl.lowering.field.schedule import cut, statements
from mdsl.model.nodes import Advance, Expr, Op, walk
from mdsl.model.traverse import inside

from .members import Members
from .plan import Arrangement

SLOWER = 2.0  # than the machine on which the rates of `costs` were measured, as others are
FIXED = 3e-6  # seconds of a step however few its atoms are
EACH = 5e-8  # seconds of a step for each atom, beside the operations of the scheme
WEIGHT = 2e-9  # seconds for each atom and each weight of a learned function
LEAST, LONGEST = 16, 2.0  # steps, since a chunk costs about half a step more; in so many seconds, as these are told


def end_of_chunk(done: int, together: int) -> int:
    """The step of a statement at which the chunk that begins at step ``done`` ends, if nothing is put out before. The
    first step, with which programs are compiled, is one of its own."""
    return 1 if done == 0 else (done // together + 1) * together


def together(arrangement: Arrangement, members: Members, advance: Advance, seconds: float) -> int:
    """How many steps of a statement take about so many ``seconds``, as far as can be told beforehand; rather fewer."""
    each = seconds_of_step(arrangement, members, advance)
    steps = max(seconds / each, min(LEAST, LONGEST / each))
    return 1 << int(np.log2(min(max(1.0, steps), 2.0**30)))


def seconds_of_step(arrangement: Arrangement, members: Members, advance: Advance) -> float:
    """What a step of all replicas takes, roughly and not too low."""
    field, atoms = members.lowered.field, members.first.initial.atoms
    near = atoms if arrangement.traversal.plan is None else arrangement.traversal.plan.slots
    pairs = [e for t in field.pair_terms for g in t.gradients for e in (g.radial, *(g.direct or ())) if e is not None]
    visits = near * (VISIT + OPERATION * (GEOMETRY + _operations(pairs))) if field.reaching else 0.0
    if field.triple_terms:
        legs = near if arrangement.traversal.legs is None else arrangement.traversal.legs
        triples = [t.summand for t in field.triple_terms]
        visits += legs**2 / 2 * OPERATION * 3 * (GEOMETRY + _operations(triples))
    weights = sum(np.size(members.first.params[p.name]) for p in field.model.params if p.learned)
    each = EACH + OPERATION * _operations(inside(statements(advance)))
    evaluations = 1 + sum(cut(field, advance).again)
    seconds = FIXED + SLOWER * DOUBLE * atoms * (each + evaluations * (visits + WEIGHT * weights))
    return seconds * len(members.all) / len(getattr(arrangement.layout, "devices", "1"))


def _operations(exprs: Iterable[Expr]) -> int:
    return len({id(n) for e in exprs for n in walk(e) if isinstance(n, Op)})
