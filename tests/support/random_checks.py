"""What the compiler makes of a random program, beside what the interpreter says of it."""

from dataclasses import replace

import jax
import numpy as np
from random_atoms import near_a_threshold
from random_programs import Grown
from random_programs import grown as another

import mdsl
from mdsl.grammar.source import Source
from mdsl.interpret import dual
from mdsl.interpret import meaning as interpret
from mdsl.interpret import quantities as physics
from mdsl.interpret.expressions import Interpreter
from mdsl.model.nodes import Advance
from mdsl.report.dump import STAGES, dump
from mdsl.resolve.program import resolve

TOLERANCE = 1e-9
OTHERS = 1_000_000  # from a seed to that of the program that is tried in its place


class AtThreshold(Exception):
    """Some atoms lie where a function jumps: rounding decides on which side."""


def check(grown: Grown, folder) -> None:
    """Compile, explain, dump and run a program, and compare all numbers. Raises AssertionError with what differs."""
    program = mdsl.compile(grown.text, folder)
    assert program.explain()
    assert all(dump(program.compiled, stage) for stage in STAGES)
    model = model_of(grown.text, folder)
    along = np.random.default_rng(grown.seed).normal(size=grown.system.x.shape)
    system = bound(program, grown)
    # Whether the centre of mass is at rest is the compiler's to find out, and tested elsewhere.
    grown = replace(grown, system=replace(grown.system, degrees_of_freedom=system.initial.dof, lengths=None))
    try:
        wanted = expected(model, grown, program, along)
    except AtThreshold:
        return check(another(grown.seed + OTHERS), folder)
    same(wanted, found(system, program, along))
    same(*steps(model, program, system, grown))


def model_of(text: str, folder):
    """The Model as it was written, for the interpreter."""
    model, report = resolve(Source("random", text), folder)
    assert not [d for d in report if d.severity == "error"], [d.message for d in report]
    return model


def bound(program, grown: Grown):
    s = grown.system
    return program.bind(
        s.x,
        box=grown.box,
        velocities=s.v,
        masses=s.masses,
        data=grown.data or None,
        topologies=s.topologies or None,
        **({"species": s.species} if program.model.species else {}),
    )


def same(expected: dict[str, np.ndarray], found: dict[str, np.ndarray]) -> None:
    """Each number relative to the largest of its kind."""
    wrong = {}
    for name, value in expected.items():
        a, b = np.asarray(value, float), np.asarray(found[name], float)
        assert a.shape == b.shape, f"{name}: the shape {b.shape}, not {a.shape}"
        assert np.array_equal(np.isnan(a), np.isnan(b)), f"{name}: {b}, not {a}"
        a, b = a[~np.isnan(a)], b[~np.isnan(a)]  # such as the root of a negative sum in an observable
        error = np.abs(a - b).max(initial=0) / max(1.0, np.abs(a).max(initial=0))
        if not error <= TOLERANCE:
            wrong[name] = float(error)
    assert not wrong, f"they differ: {wrong}"


def expected(model, grown: Grown, program, along) -> dict[str, np.ndarray]:
    """Energy, forces, virial, derivatives by parameters, and the product of the Hessian and a vector."""
    system, now = grown.system, Interpreter(model, grown.system)
    with np.errstate(all="ignore"):
        forces = interpret.forces(model, system)
        turned = dual.derivative(lambda x: physics.forces(now.changed(x=x)), now.x, along)
    if near_a_threshold(model, system, forces, along):
        raise AtThreshold
    slopes = {f"d/d{n}": symmetric(interpret.param_gradient(model, system, n)) for n in program.params}
    return {
        "energy": interpret.energy(model, system),
        "forces": forces,
        "virial": interpret.virial(model, system),
        "Hessian": -turned,
        **slopes,
    }


def found(system, program, along) -> dict[str, np.ndarray]:
    def everything(params, x):
        energy, slopes = jax.value_and_grad(lambda p: system.energy(x, params=p))(params)
        forces, turned = jax.jvp(lambda x: system.forces(x, params=params), (x,), (along,))
        return energy, forces, system.virial(x, params=params), -turned, slopes

    compiled = jax.jit(everything, compiler_options={"xla_backend_optimization_level": 0})
    energy, forces, virial, turned, slopes = compiled(program.params, system.x)
    return {
        "energy": energy,
        "forces": forces,
        "virial": virial,
        "Hessian": turned,
        **{f"d/d{n}": symmetric(slope) for n, slope in slopes.items()},
    }


def symmetric(slope):
    """What the entries A-B and B-A of a table add up to: a pair has no first atom."""
    return np.asarray(slope) + np.transpose(slope) if np.ndim(slope) == 2 else np.asarray(slope)


def steps(model, program, system, grown: Grown) -> tuple[dict, dict]:
    """What is recorded before the first step, and where the last one ends."""
    (advance,) = (a for a in model.run if isinstance(a, Advance))
    run = system.run(jax.random.key(0))
    start = {name: interpret.observe(model, name, grown.system) for name in grown.observed}
    _, end = interpret.run(model, advance, grown.system, 2, lambda *_: None)
    recorded = {name: np.asarray(run.records[name])[0] for name in grown.observed}
    off = run.x - end.x
    if grown.system.periodic.all():  # the run wraps positions
        off = off - np.round(off @ np.linalg.inv(grown.system.cell)) @ grown.system.cell
    return {**start, "x at the end": np.zeros_like(off), "v at the end": end.v}, {
        **recorded,
        "x at the end": off,
        "v at the end": run.v,
    }
