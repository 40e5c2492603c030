"""`System.run` with an array of keys: one program for all replicas of a batch."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from .before_run import factor
from .dimensions import LENGTH, TIME, VELOCITY
from .grammar.diagnostics import Diagnostic, Rejected
from .observables import observable_type
from .outcome import Outcome, not_converged

if TYPE_CHECKING:
    from .program import Result, System


def run(system: System, keys, x, v, box, params, data, steps: int | None) -> Result:
    """The run of a batch, whose start, box, parameters and data may be one for each replica; inside JAX transformations
    `jax.vmap` of the run."""
    import jax

    from .lowering.ensemble import Ensemble, Member
    from .lowering.losses import told
    from .program import Result

    if len(keys.shape) - (not jax.dtypes.issubdtype(keys.dtype, jax.dtypes.prng_key)) != 1 or len(keys) == 0:
        raise Rejected(Diagnostic("wrong-shape", f"the keys have the shape {keys.shape}; they are one key, or an array of keys"))
    count, initial = len(keys), system.initial
    own, params = _divided(params, {n: [np.shape(p)] for n, p in system.program.params.items()}, count)
    numbers, data = _divided(data, {n: [a.shape] for n, a in initial.data.items()}, count)
    given = {name: a for name, a in (("x", x), ("v", v), ("box", box)) if a is not None}
    dim = system.model.dim  # where there are as many replicas, [d, d] are the vectors of one box
    places, shared = _divided(given, {"x": [initial.x.shape], "v": [initial.x.shape], "box": [(), (1,), (dim,), (dim, dim)]}, count)
    if any(isinstance(a, jax.core.Tracer) for a in jax.tree.leaves((keys, own, params, x, v, box, numbers, data))):

        def one(key, own, numbers, places) -> tuple:
            found = system.run(key, **shared, **places, params={**params, **own}, data={**data, **numbers}, steps=steps)
            return found.records, found.x, found.v, found.step, found.time, found.box, [(o.steps, o.converged) for o in found.statements]

        *found, outcomes = jax.vmap(one)(keys, own, numbers, places)
        return Result(*found, statements=tuple(Outcome(*o) for o in outcomes))
    of = lambda values, k: {n: np.asarray(a)[k] for n, a in values.items()}  # noqa: E731
    common = {n: np.asarray(a) for n, a in {**system.program.internal(params), **system._data(data)}.items()}
    members = []
    for k in range(count):
        mine = of(own, k)
        system._check_fixed({**params, **mine}, x is None, v is None)
        leaves = {**common, **{n: a / factor(system.model, system.model.param(n).type.dimension) for n, a in mine.items()}}
        leaves |= {n: np.asarray(a) for n, a in system._data(of(numbers, k)).items() if n in numbers}
        start = {"x": None, "v": None, "box": None, **shared, **of(places, k)}
        members.append(Member(system._bound(leaves, *system._start(**start, leaves=leaves)), leaves, keys[k]))
    runner = system._runners.get("batch")
    if runner is None or not runner.fits(members):
        runner = Ensemble(system.program.compiled.field, members, system.precision, system.devices, system.skin)
        system._runners["batch"] = runner
    runner.prepare(members)
    memory = Memory(system.model, count)
    final = runner.run(memory, steps)
    if runner.lost:
        words = (d.message for d in told(runner.lost, count))
        warnings.warn(f"{len(runner.lost)} of {count} replicas were lost, and are NaN from there on: {'; '.join(words)}", stacklevel=3)
    scale = lambda dimension: factor(system.model, dimension)  # noqa: E731
    box = final.cell if members[0].initial.tilted else np.diagonal(final.cell, axis1=1, axis2=2)
    return Result(
        memory.arrays(),
        final.x * scale(LENGTH),
        final.v * scale(system.model.units.dimension(VELOCITY)),
        final.step,
        final.time * scale(system.model.units.dimension(TIME)),
        box * scale(LENGTH),
        runner.counts,
        tuple(runner.outcomes),
        {k: loss.diagnostic for k, loss in runner.lost.items()},
    )


def _divided(given: Mapping | None, shapes: Mapping[str, list[tuple[int, ...]]], count: int) -> tuple[dict, dict]:
    """Of values by name: those that have one for each replica, along a first axis, and those that all have alike.
    ``shapes``: that a single one may have. Raises Rejected: ``wrong-shape``."""
    own, shared = {}, {}
    for name, value in (given or {}).items():
        shape, single = np.shape(value), shapes.get(name, [np.shape(value)])
        if shape not in single and (len(shape) == 0 or (count, *shape[1:]) != shape or shape[1:] not in single):
            one, each = (" or ".join(map(str, dict.fromkeys(s))) for s in (single, [(count, *s) for s in single]))
            raise Rejected(Diagnostic("wrong-shape", f"`{name}` has the shape {shape}, not {one}, nor, one for each of {count} replicas, {each}"))
        (shared if shape in single else own)[name] = value
    return own, shared


class Memory:
    """Keeps the records of a batch in memory, in the units of the program."""

    def __init__(self, model, replicas: int):
        self.model = model
        self.rows: list[dict[int, dict[str, np.ndarray]]] = [{} for _ in range(replicas)]
        self.gone: list[int] = []

    def statement(self, index, advance, steps, done, dt) -> None:
        pass

    def frame(self, output, replicas, snapshot) -> None:
        pass

    def progress(self, done, runner) -> None:
        pass

    def ended(self, advance, outcome) -> None:
        warn_of(advance, outcome, self.gone)

    def lost(self, replica, loss) -> None:
        self.gone.append(replica)

    def record(self, replicas, step, t, values) -> None:
        scale = factor(self.model, self.model.units.dimension(TIME))
        shown = {n: a * factor(self.model, observable_type(self.model, n).dimension) for n, a in values.items()}
        for place, k in enumerate(replicas):
            row = self.rows[k].setdefault(int(step[place]), {"step": step[place], "time": t[place] * scale})
            row |= {name: a[place] for name, a in shown.items()}

    def arrays(self) -> dict[str, np.ndarray]:
        rows = [list(own.values()) for own in self.rows]
        most = max(map(len, rows))
        first: dict[str, np.ndarray] = {}
        for row in (r for own in rows for r in own):
            for name, value in row.items():
                first.setdefault(name, np.asarray(value))
        found = {}
        for name, example in first.items():
            kind, none = (int, -1) if name == "step" else (float, np.nan)
            array = np.full((len(rows), most, *example.shape), none, kind)
            for k, own in enumerate(rows):
                for j, row in enumerate(own):
                    if name in row:
                        array[k, j] = row[name]
            found[name] = array
        return found


def warn_of(advance, outcome, lost) -> None:
    """Tell of replicas that did not converge, but for those that were ``lost``."""
    failed = np.setdiff1d(np.flatnonzero(~np.asarray(outcome.converged)), lost) if outcome.converged is not None else []
    if not len(failed):
        return
    single = Outcome(int(np.max(outcome.steps)), False)
    warnings.warn(f"{len(failed)} of {len(outcome.converged)} replicas: {not_converged(advance, single)}", stacklevel=6)
