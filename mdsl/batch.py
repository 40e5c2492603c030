"""`System.run` with an array of keys: one program for all replicas of a batch."""

from __future__ import annotations

import warnings
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
    """The run of a batch; inside JAX transformations `jax.vmap` of the run."""
    import jax

    from .lowering.ensemble import Ensemble, Member
    from .program import Result

    if len(keys.shape) - (not jax.dtypes.issubdtype(keys.dtype, jax.dtypes.prng_key)) != 1 or len(keys) == 0:
        raise Rejected(Diagnostic("wrong-shape", f"the keys have the shape {keys.shape}; they are one key, or an array of keys"))
    count, atoms = len(keys), system.initial.x.shape
    own = {n: a for n, a in (params or {}).items() if n in system.program.params and np.shape(a) == (count, *np.shape(system.program.params[n]))}
    params = {n: a for n, a in (params or {}).items() if n not in own}
    places = {name: a for name, a in (("x", x), ("v", v)) if a is not None and np.shape(a) == (count, *atoms)}
    shared = {name: a for name, a in (("x", x), ("v", v)) if name not in places}
    if any(isinstance(a, jax.core.Tracer) for a in jax.tree.leaves((keys, own, params, x, v, box, data))):

        def one(key, own, places) -> tuple:
            found = system.run(key, **shared, **places, box=box, params={**params, **own}, data=data, steps=steps)
            return found.records, found.x, found.v, found.step, found.time, found.box, [(o.steps, o.converged) for o in found.statements]

        *found, outcomes = jax.vmap(one)(keys, own, places)
        return Result(*found, statements=tuple(Outcome(*o) for o in outcomes))
    common = {n: np.asarray(a) for n, a in {**system.program.internal(params), **system._data(data)}.items()}
    members = []
    for k in range(count):
        mine = {n: np.asarray(a)[k] for n, a in own.items()}
        system._check_fixed({**params, **mine}, x is None, v is None)
        leaves = {**common, **{n: a / factor(system.model, system.model.param(n).type.dimension) for n, a in mine.items()}}
        start = {**shared, **{name: np.asarray(a)[k] for name, a in places.items()}}
        initial = system._bound(leaves, *system._start(start.get("x"), start.get("v"), box, leaves))
        members.append(Member(initial, leaves, keys[k]))
    runner = system._runners.get("batch")
    if runner is None or not runner.fits(members):
        runner = Ensemble(system.program.compiled.field, members, system.precision, system.devices, system.skin)
        system._runners["batch"] = runner
    runner.prepare(members)
    memory = Memory(system.model, count)
    final = runner.run(memory, steps)
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
    )


class Memory:
    """Keeps the records of a batch in memory, in the units of the program."""

    def __init__(self, model, replicas: int):
        self.model = model
        self.rows: list[dict[int, dict[str, np.ndarray]]] = [{} for _ in range(replicas)]

    def statement(self, index, advance, steps, done, dt) -> None:
        pass

    def frame(self, output, replicas, snapshot) -> None:
        pass

    def progress(self, done, runner) -> None:
        pass

    def ended(self, advance, outcome) -> None:
        warn_of(advance, outcome)

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


def warn_of(advance, outcome) -> None:
    """Tell of replicas that did not converge."""
    if outcome.converged is None or np.all(outcome.converged):
        return
    failed = np.flatnonzero(~np.asarray(outcome.converged))
    single = Outcome(int(np.max(outcome.steps)), False)
    warnings.warn(f"{len(failed)} of {len(outcome.converged)} replicas: {not_converged(advance, single)}", stacklevel=6)
