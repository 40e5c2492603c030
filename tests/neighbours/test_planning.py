"""How pairs are found, and with how much room, by the numbers of a policy. Nothing here needs JAX."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mdsl.compiler import compile_source
from mdsl.grammar.diagnostics import Rejected
from mdsl.grammar.source import Source
from mdsl.lowering.planning.capacity import Needed
from mdsl.lowering.planning.policy import DEFAULT, Policy
from mdsl.lowering.planning.traversal import Facts, beyond, for_all, plan

FIELD = compile_source(
    Source("test.mdsl", "use units.lj\nenergy U = sum(i < j) |x[i] - x[j]|\n"), Path("/nowhere")
).field


def facts(n=10, edge=None, cutoff=2.5, **more):
    """A cubic gas of n^3 atoms."""
    edge = edge or 1.1 * n
    x = np.random.default_rng(0).random((n**3, 3)) * edge
    return Facts(n**3, np.diag([edge] * 3), (True,) * 3, cutoff, x=x, **more)


@pytest.mark.parametrize(
    "given, policy, listed",
    [
        (facts(7), DEFAULT, False),
        (facts(8), DEFAULT, True),
        (facts(8), Policy(all_pairs=512), False),
        (facts(7), Policy(all_pairs=342), True),
        (facts(9, edge=5.02), DEFAULT, False),  # the box leaves no room for a skin
        (facts(9, edge=5.02), Policy(most_all_pairs=728), True),
        (facts(9, edge=5.02), Policy(least_skin=0.003), True),
        (facts(9, cutoff=None), DEFAULT, False),
    ],
)
def test_which_way(given, policy, listed):
    found = plan(FIELD, given, policy)
    assert found.listed == listed == (found.plan is not None)
    assert found.radius == pytest.approx(min(2.8, given.half) if listed else given.cutoff or 0.0)
    # Without positions the way is the same, and nothing has room.
    known = plan(FIELD, replace(given, x=None), policy)
    assert (known.listed, known.radius, known.why, known.plan) == (listed, found.radius, found.why, None)


@pytest.mark.parametrize(
    "given, policy, id",
    [(facts(9, edge=4.9), DEFAULT, "box-too-small"), (facts(9, cutoff=None), Policy(most_all_pairs=728), "no-support")],
)
def test_what_is_refused(given, policy, id):
    with pytest.raises(Rejected) as found:
        plan(FIELD, given, policy)
    assert found.value.diagnostics[0].id == id


def test_room():
    first = plan(FIELD, facts())
    assert first.skin == first.most_skin == pytest.approx(0.12 * 2.5)
    for more in ({"slots": 2.5}, {"window": 2.2}):
        (name,) = more
        assert getattr(plan(FIELD, facts(), Policy(**more)).plan, name) == pytest.approx(
            2 * getattr(first.plan, name), abs=4
        )
    shrinking = plan(FIELD, facts(changing=True)).plan
    assert shrinking.slots > first.plan.slots and shrinking.window > first.plan.window
    # Where atoms are fast there is room for a longer skin; not where it was given.
    fast = plan(FIELD, facts(drift=0.1))
    assert fast.skin == first.skin < fast.most_skin and fast.plan.slots > first.plan.slots
    given = plan(FIELD, facts(drift=0.1), Policy(skin=0.2))
    assert given.skin == given.most_skin == 0.2
    # A list that serves one configuration has no skin, and room for others.
    once, tight = (plan(FIELD, facts(once=True), p).plan for p in (DEFAULT, Policy(later=(1.0, 0))))
    assert (once.slots, once.window) == (int(1.3 * tight.slots) + 8, int(1.3 * tight.window) + 8)
    assert tight == plan(FIELD, facts(), Policy(skin=0.0)).plan


def test_growth():
    found = plan(FIELD, facts(reach=1.0))
    needed = Needed(found.plan.slots + 1, found.plan.window, found.plan.cells)
    for growth in (1.4, 3.0):
        longer = found.longer(needed, Policy(growth=growth)).plan
        assert longer.slots == pytest.approx(growth * needed.slots, abs=4) and longer.window == found.plan.window
    assert found.longer(needed._replace(slots=1), DEFAULT) == found
    assert found.roomier(1000, DEFAULT).legs == 2 * found.legs
    assert found.roomier(1000, Policy(more_legs=1000)).legs is None  # room for all


def test_devices():
    assert [plan(FIELD, facts(devices=n), Policy(atoms_each=400)).devices for n in (0, 1, 2, 4)] == [1, 1, 2, 2]
    assert plan(FIELD, facts(devices=2), Policy(all_pairs=1000, atoms_each=400)).devices == 1


def test_one_way_for_all_replicas():
    sparse, dense = facts(edge=12.0, reach=1.0), facts(edge=9.0, reach=1.5, cutoff=2.6)
    both = [plan(FIELD, f) for f in (sparse, dense)]
    found = for_all(both)
    assert (found.cutoff, found.skin) == (2.6, min(t.skin for t in both))
    assert found.plan.slots == both[1].plan.slots and found.legs == both[1].legs > both[0].legs
    without = plan(FIELD, sparse, Policy(all_pairs=1000))
    assert not for_all([both[1], without]).listed and for_all([both[1], without]).legs == both[1].legs


def test_lists_of_observables():
    assert beyond(facts(), 3.0) is not None
    for given, radius, policy in (
        (facts(), 3.0, Policy(all_pairs=1000)),
        (facts(), 4.5, DEFAULT),  # more than a fifth of the box
        (facts(changing=True), 3.0, DEFAULT),
        (facts(), np.inf, DEFAULT),
        (facts(), 5.6, Policy(most_of_box=1.0)),  # more than half an edge
    ):
        assert beyond(given, radius, policy) is None
    assert beyond(facts(), 4.5, Policy(most_of_box=0.3)).slots > beyond(facts(), 3.0).slots
