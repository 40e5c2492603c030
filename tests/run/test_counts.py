"""How often things are done: force evaluations, neighbour lists, compilations. No clock is looked at."""

import contextlib
import re
from pathlib import Path

import jax
import numpy as np
import pytest
from compiled import PAIRS_BY

import mdsl
from mdsl.interpret import meaning as interpret
from mdsl.interpret.atoms import System
from mdsl.lowering.field.schedule import force_evaluations, statements
from mdsl.lowering.run.driver import Runner
from mdsl.lowering.run.members import single
from mdsl.model.nodes import Advance

HEAD = """use units.lj
use integrators
use barostats
use minimizers
use thermostats
use shear
param eps = 1.0
energy U = sum(i < j) if r < 1.2 then 20*eps*(1 - r/1.2)^2 else 0  where r = |x[i] - x[j]|
"""

# What a step of each scheme needs at least: the number of configurations at which it reads forces or the pressure,
# less the first of a step where that is the last of the step before.
EVALUATIONS = {
    "velocity_verlet(dt = 0.01)": 1,
    "baoab(dt = 0.01, T = 1, gamma = 1)": 1,
    "brownian(dt = 0.001, T = 1, gamma = 1)": 1,
    "nose_hoover(dt = 0.01, T = 1, tau = 0.5)": 1,
    "csvr(dt = 0.01, T = 1, tau = 0.5)": 1,
    "berendsen(dt = 0.01, T = 1, tau = 0.5)": 1,
    "velocity_rescaling(dt = 0.01, T = 1)": 1,
    "gradient_descent(h = 0.001)": 1,
    "fire(dt = 0.01)": 1,
    "mtk(dt = 0.01, T = 1, P = 1, tau = 0.5, tau_P = 1)": 1,
    "mtk_anisotropic(dt = 0.01, T = 1, P = 1, tau = 0.5, tau_P = 1)": 1,
    "stochastic_cell_rescaling(dt = 0.01, T = 1, P = 1, tau = 0.5, tau_P = 1, compressibility = 0.1)": 1,
    "berendsen_barostat(dt = 0.01, T = 1, P = 1, tau = 0.5, tau_P = 1, compressibility = 0.1)": 1,
    "fire_box(dt = 0.01)": 1,
    "sllod(dt = 0.01, G = planar_shear(1))": 1,
    "sllod_rescaling(dt = 0.01, T = 1, G = planar_shear(1))": 1,
    "sllod_nose_hoover(dt = 0.01, T = 1, tau = 0.5, G = planar_shear(1))": 1,
}


OF_REPLICAS = {"elastic_band(dt = 0.01, k = 1)": 1}  # beside these there must be others


def test_no_scheme_of_the_library_is_forgotten():
    declared = {
        n
        for path in Path(mdsl.__file__).parents[1].joinpath("stdlib").glob("*.mdsl")
        for n in re.findall(r"^(?:integrator|minimizer) (\w+)", path.read_text(), re.M)
    }
    assert declared == {scheme.partition("(")[0] for scheme in EVALUATIONS | OF_REPLICAS}


@pytest.mark.parametrize("head, schemes", [("", EVALUATIONS), ("use chains\nreplicas k in 1..3\n", OF_REPLICAS)])
def test_force_evaluations_per_step(head, schemes):
    run = "\n".join(f"  {scheme} for 1" for scheme in schemes)
    start = "x = fcc(density = 1, cells = 3) v ~ maxwell(1)"
    field = mdsl.compile(f"{HEAD}{head}run {{ {start}\n{run}\n}}").compiled.field
    found = [sum(force_evaluations(statements(a), False, field.due).before) for a in field.dynamics]
    assert dict(zip(schemes, found)) == schemes


@pytest.mark.parametrize(
    "scheme",
    (
        "velocity_verlet(dt = 0.01)",
        "berendsen_barostat(dt = 0.01, T = 1, P = 1, tau = 0.5, tau_P = 1, compressibility = 0.1)",
    ),
)
def test_force_evaluations_of_a_run(scheme):
    system = mdsl.compile(f"{HEAD}run {{ x = fcc(density = 1, cells = 2) v ~ maxwell(1)  {scheme} for 12 }}").bind()
    # That of the first configuration comes before the first step.
    assert system.run(jax.random.key(0)).counts.force_evaluations == 12 * EVALUATIONS[scheme] + 1


def test_lists_are_built_when_an_atom_has_moved_by_half_the_skin():
    """The interpreter carries out the same steps, and where atoms are at each force decides."""
    text = f"{HEAD}run {{ x = fcc(density = 0.9, cells = 2) v ~ maxwell(4)  velocity_verlet(dt = 0.01) for 40 }}"
    program, skin, steps = mdsl.compile(text), 0.15, 40
    bound = program.bind(skin=skin, policy=PAIRS_BY["list"])
    counts = bound.run(jax.random.key(0)).counts
    advance = next(s for s in program.model.run if isinstance(s, Advance))
    system = System(bound.x, bound.box, bound.v)
    at, expected = system.x, 1
    for _ in range(steps):
        _, system = interpret.run(program.model, advance, system, 1)
        if farthest(system.x, at, bound.box) > skin / 2:
            at, expected = system.x, expected + 1
    assert expected > 4
    assert counts.list_builds - counts.regrown == expected  # one that does not fit is built once more


def farthest(x, at, box):
    d = x - at
    d -= box * np.round(d / box)
    return np.sqrt((d**2).sum(axis=1).max())


@contextlib.contextmanager
def compilations():
    """The programs that XLA compiles within, as a list that grows."""
    found, watching = [], True

    def listen(event, seconds, **more):
        if watching and event.endswith("backend_compile_duration"):
            found.append(more.get("fun_name", event))

    jax.monitoring.register_event_duration_secs_listener(listen)
    yield found
    watching = False


RUN = (
    "run { x = fcc(density = 0.9, cells = 2) v ~ maxwell(0.5)  baoab(dt = 0.01, T = 0.5, gamma = 1) for 60 "
    "record U, "
    "kinetic every 10 }"
)


class Watch:
    """A listener that counts what is compiled after the first steps."""

    def __init__(self, compiled):
        self.compiled, self.known = compiled, None

    def progress(self, done, runner):
        if self.known is None:
            self.known = len(self.compiled)

    def __getattr__(self, name):
        return lambda *_: None


@pytest.mark.parametrize("traversal", ("all pairs", "list"))
def test_nothing_is_compiled_after_the_first_steps(traversal):
    system = mdsl.compile(HEAD + RUN).bind(skin=0.3, policy=PAIRS_BY[traversal])
    with compilations() as compiled:
        leaves = system.program.internal(None)
        runner = Runner(
            single(system.program.compiled.field, system.initial, leaves, jax.random.key(0), "double"),
            None,
            system.policy,
        )
        watch = Watch(compiled)
        runner.run(watch, seconds=0.0)  # the shortest chunks, the most calls
        assert (
            watch.known > 0 and runner.counts.regrown == 0 and (runner.counts.list_builds > 2) == (traversal == "list")
        )
        assert compiled[watch.known :] == []


@pytest.mark.parametrize("batch", (False, True))
def test_nothing_is_compiled_for_other_keys_and_parameters(batch):
    system = mdsl.compile(HEAD + RUN).bind()
    make = (lambda seed: jax.random.split(jax.random.key(seed), 3)) if batch else jax.random.key
    eps = (lambda value: value * np.array([1.0, 1.1, 1.2])) if batch else float
    keys, values = [make(k) for k in range(3)], [eps(v) for v in (1.0, 1.5, 2.0)]
    system.run(keys[0], params={"eps": values[0]})
    with compilations() as compiled:
        for key, value in zip(keys[1:], values[1:]):
            system.run(key, params={"eps": value})
    assert compiled == []
